//! A dialogue that waits for a token. Never in here: a token that is kept.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::Talking;
use crate::helper::{Kind, TokenAnswer, TokenQuestion};
use crate::protocol::Event;
use crate::relay::ends::Ends;
use crate::relay::step::{Context, Ending};

/// After this long it is looked whether the keeper stands still: early enough for another to be asked. One that waits
/// for a token server says that it does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// A token that is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    question: TokenQuestion,
    /// The question's number; `None`: there was no keeper.
    id: Option<u64>,
    /// When the keeper has taken long.
    long: Option<Instant>,
    answer: Option<TokenAnswer>,
}

impl Wanted {
    pub(super) fn new(question: TokenQuestion, context: &mut Context<'_>) -> Wanted {
        let client = context.common.peer.map(|peer| peer.ip().to_canonical());
        let mut wanted = Wanted {
            question: TokenQuestion { client, ..question },
            id: None,
            long: None,
            answer: None,
        };
        wanted.ask(context);
        wanted
    }

    /// Asks a keeper, unless one is asked already, or none is there.
    fn ask(&mut self, context: &mut Context<'_>) {
        if self.id.is_some() || self.answer.is_some() {
            return;
        }
        let key = context.common.key;
        match context.resources.token(key, &self.question) {
            Ok(id) => {
                self.id = id;
                self.long = id.map(|_| context.resources.now + PATIENCE);
            }
            // No account has such a name, or such a password.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                self.answer = Some(TokenAnswer::WrongPassword);
            }
            Err(_) => {
                let why = "the keeper of tokens takes no more questions".to_owned();
                self.answer = Some(TokenAnswer::Away(why));
            }
        }
    }

    /// When it must be looked at though nothing happened.
    pub(super) fn due(&self) -> Option<Instant> {
        self.long
    }

    /// Whether it can be given to the dialogue.
    pub(super) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }
}

impl Talking {
    /// Takes the answer to question `id`; `None`: the keeper is gone, and another must be asked.
    pub(crate) fn token(&mut self, id: u64, answer: Option<TokenAnswer>) {
        if let Some(wanted) = &mut self.wanted
            && wanted.id == Some(id)
        {
            (wanted.id, wanted.long) = (None, None);
            wanted.answer = answer;
        }
    }

    /// Gives the dialogue the token that it waits for.
    pub(super) fn take_token(
        &mut self,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let Some(mut wanted) = self.wanted.take() else {
            return Ok(());
        };
        wanted.ask(context);
        if wanted
            .long
            .take_if(|long| *long <= context.resources.now)
            .is_some()
        {
            context.resources.is_silent(Kind::Keeper);
        }
        match wanted.answer.take() {
            Some(answer) => self.after = self.feed(Event::Token(&answer), ends, context)?,
            None => self.wanted = Some(wanted),
        }
        Ok(())
    }
}

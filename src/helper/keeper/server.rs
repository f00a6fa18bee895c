//! What the process does for its clients: each thread of its pool answers one question.

use std::io;
use std::time::Duration;

use super::accounts::Accounts;
use super::message::{self, MAX_QUESTION};
use super::question::{Question, TokenAnswer};
use crate::helper::Post;
use crate::helper::asker::Answer;
use crate::helper::pool::{self, Asked, Work};
use crate::jail::Unprivileged;
use crate::memory;
use crate::oauth::account::{Account, Secrets};
use crate::oauth::ask::{self, Server};
use crate::oauth::store::Store;

/// Serves with the folder, which is its one belonging.
///
/// # Errors
/// It has none; as [`pool::serve`].
pub(super) fn serve(mut post: Post, proof: &Unprivileged) -> io::Result<()> {
    let folder = post.belongings.pop().ok_or(io::ErrorKind::NotFound)?;
    let accounts = accounts(Store::new(folder))?;
    pool::serve_by(Grants(accounts), post, proof)
}

/// The accounts of this folder, and the token servers that they name.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn accounts(store: Store) -> io::Result<Accounts> {
    let ask = |account: &Account, secrets: &Secrets, deadline| {
        let server = Server {
            url: &account.token_url,
            authorities: account.authorities.as_deref(),
            deadline,
        };
        let answer = ask::tokens(server, &account.form(secrets));
        // The next is an hour away as a rule.
        memory::let_go();
        answer
    };
    Accounts::new(store, Box::new(ask))
}

/// Grants tokens.
pub(super) struct Grants(pub(super) Accounts);

impl Work for Grants {
    /// As many accounts may wait for their token servers before another has to wait for them.
    const THREADS: usize = 8;
    const KEPT: usize = 2;
    const SHARE: usize = 8;
    /// Each question to a token server has its time.
    const PATIENCE: Duration = Duration::from_mins(10);
    const THREAD: &'static str = "keep";
    const MAX_PACKET: usize = MAX_QUESTION;
    const SECRET: bool = true;

    type Key = Question;
    type Terms = ();
    type Lane = ();
    /// The question's number.
    type Ticket = u64;
    type Outcome = TokenAnswer;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let (ticket, key) = message::decode(packet)?;
        Some(Asked {
            key,
            terms: (),
            lane: (),
            ticket,
        })
    }

    fn perform(&self, question: &Question, (): ()) -> TokenAnswer {
        self.0.answer(question)
    }

    fn overloaded(_: &Question) -> TokenAnswer {
        TokenAnswer::Away("too many logins wait for a token".to_owned())
    }

    fn encode(answer: &TokenAnswer, id: u64) -> Vec<u8> {
        answer.encode(id)
    }
}

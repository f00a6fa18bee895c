//! A login by OAuth2: the program's password is the local one, and the keeper gives the token. Never in here: a wait
//! without an end, or a second try with a token that was refused.

use std::time::Duration;

use super::desk::{Desk, Login, Phase};
use super::entering::{Entering, Entry};
use super::private::Private;
use super::way::Exchange;
use super::words::{self, Nothing};
use crate::config::Secret;
use crate::helper::{AccessToken, TokenAnswer, TokenQuestion};
use crate::protocol::error::excerpt;
use crate::protocol::io::{Io, Occasion, Size, Step};
use crate::protocol::{Action, Awaited, ProtocolError, Question};

/// How long a login by a token may take in all; old programs wait for a minute.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where it stands.
#[derive(Debug)]
pub(super) enum ByToken {
    /// The keeper is asked; `true`: since the server has refused a token.
    Asked(Entry, bool),
    /// Waiting for another connection, to log in on with this.
    Leaving(Entry, AccessToken),
    /// Waiting for its greeting.
    Greeting(Entry, AccessToken, Size),
}

/// A token that is told to the server.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) entry: Entry,
    pub(super) token: AccessToken,
    /// It is the second one.
    pub(super) again: bool,
}

impl Desk {
    /// Begins a login by a token.
    pub(super) fn ask_for_a_token(
        self,
        entry: Entry,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        io.out.push(Action::Timer(PATIENCE));
        match question(&entry, None) {
            Some(question) => {
                io.out.push(Action::Ask(Question::Token(question)));
                Ok(self.at(Phase::entering(Entering::ByToken(ByToken::Asked(
                    entry, false,
                )))))
            }
            None => {
                let nothing = Nothing::wrong_local_password();
                self.comes_to_nothing(entry.tag, nothing, b"", io)
            }
        }
    }

    /// The server has refused a token, or has closed the connection: another one is asked for, once.
    pub(super) fn token_is_refused(
        self,
        told: Told,
        said: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let Told {
            entry,
            token,
            again,
        } = told;
        match question(&entry, Some(&token)).filter(|_| !again) {
            Some(question) => {
                io.out.push(Action::Ask(Question::Token(question)));
                Ok(self.at(Phase::entering(Entering::ByToken(ByToken::Asked(
                    entry, true,
                )))))
            }
            None => self.comes_to_nothing(entry.tag, Nothing::token_refused(), said, io),
        }
    }

    /// Tells the server the token, or asks first what it can do.
    pub(super) fn tell_token(
        self,
        told: Told,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let Some(offered) = &self.offered else {
            return Ok(self.ask_what_it_can(told.entry, Some((told.token, told.again)), io));
        };
        let Some(way) = offered.for_a_token() else {
            let nothing = words::no_token(&excerpt(&offered.names));
            return self.comes_to_nothing(told.entry.tag, nothing, b"", io);
        };
        let exchange = Exchange::with_token(way, &told.token.user, told.token.access.reveal());
        let first: Private = self.tongue.auth(way.mechanism().unwrap_or_default()).into();
        Ok(self.begin_telling(way, first, exchange, told, io))
    }
}

impl ByToken {
    pub(super) fn step(
        self,
        mut desk: Desk,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        match self {
            ByToken::Asked(entry, again) => match io.token.take() {
                None => Ok(desk.waits(by(ByToken::Asked(entry, again)))),
                Some(TokenAnswer::Granted(token)) if again => {
                    // What has refused a login may count it, or may have closed the connection.
                    desk.offered = None;
                    io.out.push(Action::ConnectAnew);
                    Ok(desk.at(by(ByToken::Leaving(entry, token))))
                }
                Some(TokenAnswer::Granted(token)) => desk.tell_token(
                    Told {
                        entry,
                        token,
                        again,
                    },
                    io,
                ),
                Some(answer) => {
                    let nothing = Nothing::without_token(&answer);
                    desk.comes_to_nothing(entry.tag, nothing, b"", io)
                }
            },
            ByToken::Leaving(entry, token) => match io.occasion {
                Occasion::Connected => {
                    Ok(desk.at(by(ByToken::Greeting(entry, token, Size::default()))))
                }
                Occasion::Unreachable => {
                    desk.comes_to_nothing(entry.tag, Nothing::server_away(), b"", io)?;
                    Ok(Step::End)
                }
                _ => Ok(desk.waits(by(ByToken::Leaving(entry, token)))),
            },
            ByToken::Greeting(entry, token, mut size) => {
                let Some(line) = io.server_line(Awaited::Greeting, &mut size)? else {
                    return Ok(desk.waits(by(ByToken::Greeting(entry, token, size))));
                };
                match desk.hears_anew(&line) {
                    Some(true) => Ok(desk.at(by(ByToken::Greeting(entry, token, size)))),
                    Some(false) => desk.tell_token(
                        Told {
                            entry,
                            token,
                            again: true,
                        },
                        io,
                    ),
                    None => {
                        desk.comes_to_nothing(entry.tag, Nothing::server_away(), &line, io)?;
                        Ok(Step::End)
                    }
                }
            }
        }
    }

    pub(super) fn into_tag(self) -> Option<Vec<u8>> {
        let (ByToken::Asked(entry, _) | ByToken::Leaving(entry, _) | ByToken::Greeting(entry, ..)) =
            self;
        entry.tag
    }
}

fn by(stage: ByToken) -> Phase {
    Phase::entering(Entering::ByToken(stage))
}

/// `None`: no account has such a name or password.
fn question(entry: &Entry, refused: Option<&AccessToken>) -> Option<TokenQuestion> {
    let text = |words: &Private| String::from_utf8(words.to_vec()).ok();
    Some(TokenQuestion {
        account: text(&entry.credentials.name)?,
        password: Secret::new(text(&entry.credentials.password)?),
        // The relay knows it.
        client: None,
        refused: refused.map(AccessToken::digest),
    })
}

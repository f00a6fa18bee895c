//! SMTP: a login in the local client's place, within TLS (RFC 4954, PLAIN and LOGIN). The client was greeted before,
//! and is not heard meanwhile. Never in here: a word of the server's, once it has heard a secret that it might repeat.

use super::ProtocolError;
use super::error::excerpt;
use super::io::{Io, Size, Step, begins};
use super::script::State;
use super::smtp::{ehlo, reply_line};
use super::{Action, Awaited};
use crate::base64;
use crate::config::{Authentication, DialogueOptions, Secret};

/// See the module.
#[derive(Debug)]
pub(super) enum Login {
    /// Nothing said yet.
    Start(Words),
    /// Reading the answer to EHLO.
    Ehlo {
        words: Words,
        /// The mechanisms of its line about AUTH, if there is one.
        offered: Option<Vec<u8>>,
        /// Its first line, which names the server, is behind.
        named: bool,
        size: Size,
    },
    /// Waiting for the answer to a word, which must have this code.
    Answer {
        words: Words,
        code: &'static str,
        size: Size,
    },
}

/// What is to be said.
#[derive(Debug)]
pub(super) struct Words {
    ehlo: String,
    way: Way,
    /// The server's name, if it is known.
    server: Option<String>,
    /// What is said next, the last one first, and the code of its answer.
    rest: Vec<(Secret, &'static str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Login,
}

impl Way {
    /// As AUTH has it.
    fn name(self) -> &'static str {
        match self {
            Way::Plain => "PLAIN",
            Way::Login => "LOGIN",
        }
    }

    fn awaited(self) -> Awaited {
        match self {
            Way::Plain => Awaited::Plain,
            Way::Login => Awaited::Login,
        }
    }
}

impl Login {
    pub(super) fn new(options: &DialogueOptions, server: Option<&str>) -> Login {
        let (name, password) = options.account().unwrap_or_default();
        let password = password.reveal();
        let (way, mut rest) = match options.authentication {
            Some(Authentication::Login) => {
                let [name, password] = [name, password].map(|word| base64::encode(word.as_bytes()));
                let words = vec![
                    (Secret::new("AUTH LOGIN"), "334"),
                    (Secret::new(name), "334"),
                    (Secret::new(password), "235"),
                ];
                (Way::Login, words)
            }
            _ => {
                let both = base64::encode(format!("\0{name}\0{password}").as_bytes());
                let word = (Secret::new(format!("AUTH PLAIN {both}")), "235");
                (Way::Plain, vec![word])
            }
        };
        rest.reverse();
        Login::Start(Words {
            ehlo: ehlo(options.host.as_deref()),
            way,
            server: server.map(str::to_owned),
            rest,
        })
    }
}

impl State for Login {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        match self {
            Login::Start(words) => {
                io.tell_server(&words.ehlo);
                Ok(Step::Next(Login::Ehlo {
                    words,
                    offered: None,
                    named: false,
                    size: Size::default(),
                }))
            }
            Login::Ehlo {
                words,
                mut offered,
                named,
                mut size,
            } => {
                let line = reply_line(io, Awaited::Ehlo, "250", &mut size, false)?;
                let (named, last) = match line {
                    None => (named, None),
                    Some(line) => {
                        if named && let Some(mechanisms) = mechanisms(&line.text) {
                            offered.get_or_insert_with(|| mechanisms.to_vec());
                        }
                        (true, Some(line.last))
                    }
                };
                if last == Some(true) {
                    fits(words.way, offered.as_deref(), io)?;
                    return Ok(words.next(io));
                }
                let login = Login::Ehlo {
                    words,
                    offered,
                    named,
                    size,
                };
                Ok(match last {
                    None => Step::Wait(login),
                    Some(_) => Step::Next(login),
                })
            }
            Login::Answer {
                words,
                code,
                mut size,
            } => {
                let line = reply_line(io, words.way.awaited(), code, &mut size, false);
                let server = words.server.as_deref();
                match line.map_err(|error| error.of_a_login(server))? {
                    None => Ok(Step::Wait(Login::Answer { words, code, size })),
                    Some(line) if !line.last => Ok(Step::Next(Login::Answer { words, code, size })),
                    Some(_) => Ok(words.next(io)),
                }
            }
        }
    }
}

impl Words {
    /// Says the next word, if there is one.
    fn next(mut self, io: &mut Io<'_>) -> Step<Login> {
        let Some((word, code)) = self.rest.pop() else {
            let text = "SMTP: logged in with protocolUsername".to_owned();
            io.out.push(Action::Log(6, text));
            return Step::Plain;
        };
        io.tell_server(word.reveal());
        Step::Next(Login::Answer {
            words: self,
            code,
            size: Size::default(),
        })
    }
}

/// The mechanisms in a line of the answer to EHLO, if it is the one about AUTH (RFC 4954, section 3). Servers for the
/// oldest programs also write `AUTH=`.
fn mechanisms(text: &[u8]) -> Option<&[u8]> {
    let list = begins(text, "AUTH").then(|| &text["AUTH".len()..])?;
    let [b' ' | b'=', list @ ..] = list else {
        return None;
    };
    Some(list.trim_ascii())
}

/// Whether the server takes this way, so that no password is sent in vain.
fn fits(way: Way, offered: Option<&[u8]>, io: &Io<'_>) -> Result<(), ProtocolError> {
    let has = |way: Way| {
        let mut all = offered.unwrap_or_default().split(|&byte| byte == b' ');
        all.any(|one| one.eq_ignore_ascii_case(way.name().as_bytes()))
    };
    if has(way) {
        return Ok(());
    }
    let mut others = [Way::Plain, Way::Login].into_iter();
    Err(ProtocolError::NoSuchLogin {
        protocol: io.protocol,
        awaited: way.awaited(),
        offered: offered.map(excerpt),
        instead: others.find(|way| has(*way)).map(|way| match way {
            Way::Plain => "plain",
            Way::Login => "login",
        }),
    })
}

//! ManageSieve: STARTTLS of RFC 5804, section 2.2. A server tells what it can do when it is connected and again within
//! TLS, so the client is greeted once TLS is there, where it waits for that. Never in here: a script.

use super::error::excerpt;
use super::io::{Count, Io, Size, Step, begins, first_word_is, split_word};
use super::script::State;
use super::{Awaited, ProtocolError, REPLY_MAX, Side};
use crate::config::Protocol::Sieve;

/// What a line of a server's answer is.
enum Line {
    /// One of a list.
    Listed(Vec<u8>),
    /// `OK`
    Ok(Vec<u8>),
}

/// The next line of an answer that must end with OK; `NO` and `BYE` are refusals.
fn line(io: &mut Io<'_>, awaited: Awaited, size: &mut Size) -> Result<Option<Line>, ProtocolError> {
    let Some(line) = io.server_line(awaited, size)? else {
        return Ok(None);
    };
    let said = excerpt(&line);
    if first_word_is(&line, "OK") {
        return Ok(Some(Line::Ok(line)));
    }
    if first_word_is(&line, "NO") || first_word_is(&line, "BYE") {
        return Err(ProtocolError::Refused {
            protocol: Sieve,
            awaited,
            said,
        });
    }
    match line.first() {
        Some(b'"') => Ok(Some(Line::Listed(line))),
        _ => Err(ProtocolError::Unintelligible {
            protocol: Sieve,
            awaited,
            said,
        }),
    }
}

fn is_offer(line: &[u8]) -> bool {
    begins(line, "\"STARTTLS\"")
}

/// A server with STARTTLS behind. The client is not heard: within TLS the server greets it.
#[derive(Debug)]
pub(super) enum Client {
    Greeting(Size),
    GoAhead(Size),
}

impl Client {
    pub(super) fn new() -> Client {
        Client::Greeting(Size::default())
    }
}

impl State for Client {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting(mut size) => match line(io, Awaited::Greeting, &mut size)? {
                None => Ok(Step::Wait(Client::Greeting(size))),
                Some(Line::Listed(_)) => Ok(Step::Next(Client::Greeting(size))),
                Some(Line::Ok(_)) => {
                    io.tell_server("STARTTLS");
                    Ok(Step::Next(Client::GoAhead(Size::default())))
                }
            },
            Client::GoAhead(mut size) => match line(io, Awaited::GoAhead, &mut size)? {
                None => Ok(Step::Wait(Client::GoAhead(size))),
                Some(Line::Listed(line)) => Err(ProtocolError::Unintelligible {
                    protocol: Sieve,
                    awaited: Awaited::GoAhead,
                    said: excerpt(&line),
                }),
                Some(Line::Ok(_)) => {
                    io.nothing_behind_starttls(Side::Back)?;
                    Ok(Step::Tls)
                }
            },
        }
    }
}

/// A client with STARTTLS in front, a plain server behind.
#[derive(Debug)]
pub(super) enum Server {
    /// Passing the greeting on, with the offer; the lines so far.
    Greeting { listed: Vec<u8>, size: Size },
    /// Answering commands until STARTTLS.
    Commands { listed: Vec<u8>, commands: Count },
}

impl Server {
    pub(super) fn new() -> Server {
        Server::Greeting {
            listed: Vec::new(),
            size: Size::default(),
        }
    }
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        match self {
            Server::Greeting {
                mut listed,
                mut size,
            } => match line(io, Awaited::Greeting, &mut size)? {
                None => Ok(Step::Wait(Server::Greeting { listed, size })),
                Some(Line::Listed(line)) => {
                    if !is_offer(&line) && listed.len() < REPLY_MAX {
                        listed.extend_from_slice(&line);
                        listed.extend_from_slice(b"\r\n");
                    }
                    Ok(Step::Next(Server::Greeting { listed, size }))
                }
                Some(Line::Ok(line)) => {
                    listed.extend_from_slice(b"\"STARTTLS\"\r\n");
                    listed.extend_from_slice(&line);
                    io.tell_client(&listed);
                    Ok(Step::Next(Server::Commands {
                        listed,
                        commands: Count::default(),
                    }))
                }
            },
            Server::Commands {
                listed,
                mut commands,
            } => {
                let Some(line) = io.command(&mut commands)? else {
                    return Ok(Step::Wait(Server::Commands { listed, commands }));
                };
                let is = |word| first_word_is(&line, word);
                if is("STARTTLS") && split_word(&line).1.is_empty() {
                    io.nothing_behind_starttls(Side::Front)?;
                    io.tell_client("OK \"Begin TLS negotiation now.\"");
                    return Ok(Step::Tls);
                }
                if is("LOGOUT") {
                    io.tell_client("OK \"Bye\"");
                    io.tell_server("LOGOUT");
                    return Ok(Step::End);
                }
                if is("CAPABILITY") {
                    io.tell_client(&listed);
                } else if is("NOOP") {
                    io.tell_client("OK \"Done\"");
                } else {
                    io.tell_client("NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"");
                }
                Ok(Step::Next(Server::Commands { listed, commands }))
            }
        }
    }
}

/// Server mode, within TLS: the client waits for the server's list again, without its own offer of TLS.
#[derive(Debug)]
pub(super) enum Again {
    Ask,
    List(Size),
}

impl State for Again {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Again>, ProtocolError> {
        match self {
            Again::Ask => {
                io.tell_server("CAPABILITY");
                Ok(Step::Next(Again::List(Size::default())))
            }
            Again::List(mut size) => match line(io, Awaited::Capability, &mut size)? {
                None => Ok(Step::Wait(Again::List(size))),
                Some(Line::Listed(line)) => {
                    if !is_offer(&line) {
                        io.tell_client(&line);
                    }
                    Ok(Step::Next(Again::List(size)))
                }
                Some(Line::Ok(line)) => {
                    io.tell_client(&line);
                    Ok(Step::Plain)
                }
            },
        }
    }
}

//! NNTP: STARTTLS of RFC 4642.

use super::error::excerpt;
use super::io::{Count, Io, Size, Step, first_word_is, split_word};
use super::script::State;
use super::{Awaited, ProtocolError, Side};
use crate::config::Protocol::Nntp;

/// A plain client in front, a server with STARTTLS behind.
#[derive(Debug)]
pub(super) enum Client {
    /// Waiting for the greeting.
    Greeting,
    /// Waiting for the go-ahead.
    GoAhead,
}

impl State for Client {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting => match greeting(io)? {
                None => Ok(Step::Wait(Client::Greeting)),
                Some(_) => {
                    io.tell_server("STARTTLS");
                    Ok(Step::Next(Client::GoAhead))
                }
            },
            Client::GoAhead => {
                let Some(line) = status(io, Awaited::GoAhead)? else {
                    return Ok(Step::Wait(Client::GoAhead));
                };
                if !first_word_is(&line, "382") {
                    return Err(ProtocolError::Refused {
                        protocol: Nntp,
                        awaited: Awaited::GoAhead,
                        said: excerpt(&line),
                    });
                }
                io.nothing_behind_starttls(Side::Back)?;
                Ok(Step::Tls)
            }
        }
    }
}

/// Whether a client may post, as the greeting's code says (RFC 3977, section 5.1).
#[derive(Debug, Clone, Copy)]
pub(super) enum Posting {
    Allowed,
    Prohibited,
}

/// Takes the greeting and passes it on, also one that refuses.
fn greeting(io: &mut Io<'_>) -> Result<Option<Posting>, ProtocolError> {
    let Some(line) = status(io, Awaited::Greeting)? else {
        return Ok(None);
    };
    io.tell_client(&line);
    if first_word_is(&line, "200") {
        Ok(Some(Posting::Allowed))
    } else if first_word_is(&line, "201") {
        Ok(Some(Posting::Prohibited))
    } else {
        Err(ProtocolError::Refused {
            protocol: Nntp,
            awaited: Awaited::Greeting,
            said: excerpt(&line),
        })
    }
}

/// Takes a status line (RFC 3977, section 3.2); those before TLS are one line each.
fn status(io: &mut Io<'_>, awaited: Awaited) -> Result<Option<Vec<u8>>, ProtocolError> {
    let Some(line) = io.server_line(awaited, &mut Size::default())? else {
        return Ok(None);
    };
    let well_formed = line.len() >= 3
        && line[..3].iter().all(u8::is_ascii_digit)
        && matches!(line.get(3), None | Some(b' '));
    match well_formed {
        true => Ok(Some(line)),
        false => Err(ProtocolError::Unintelligible {
            protocol: Nntp,
            awaited,
            said: excerpt(&line),
        }),
    }
}

/// A client with STARTTLS in front, a plain server behind. News servers have a port of their own for TLS
/// from the first byte, so there is no wait for it.
#[derive(Debug)]
pub(super) enum Server {
    /// Waiting for the greeting.
    Greeting,
    /// Answering commands until STARTTLS.
    Commands(Posting, Count),
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        match self {
            Server::Greeting => Ok(match greeting(io)? {
                None => Step::Wait(Server::Greeting),
                Some(posting) => Step::Next(Server::Commands(posting, Count::default())),
            }),
            Server::Commands(posting, mut commands) => {
                let Some(line) = io.command(&mut commands)? else {
                    return Ok(Step::Wait(Server::Commands(posting, commands)));
                };
                answer(io, &line, posting, commands)
            }
        }
    }
}

fn answer(
    io: &mut Io<'_>,
    line: &[u8],
    posting: Posting,
    commands: Count,
) -> Result<Step<Server>, ProtocolError> {
    let is = |word| first_word_is(line, word);
    let arguments = split_word(line).1;
    if is("STARTTLS") && arguments.is_empty() {
        io.nothing_behind_starttls(Side::Front)?;
        io.tell_client("382 Continue with TLS negotiation");
        return Ok(Step::Tls);
    }
    if is("QUIT") {
        io.tell_client("205 Closing connection");
        io.tell_server("QUIT");
        return Ok(Step::End);
    }
    if is("CAPABILITIES") {
        // What the server itself can do is asked again within TLS (RFC 4642, section 2.2.2); to offer a
        // login here would invite a password in plain.
        for line in ["101 Capability list:", "VERSION 2", "STARTTLS", "."] {
            io.tell_client(line);
        }
    } else if is("MODE") && arguments.eq_ignore_ascii_case(b"READER") {
        // It is forgotten with the handshake, and asked again within TLS.
        io.tell_client(match posting {
            Posting::Allowed => "200 Posting allowed",
            Posting::Prohibited => "201 Posting prohibited",
        });
    } else if is("STARTTLS") {
        io.tell_client("501 Syntax error (no parameters allowed)");
    } else {
        io.tell_client("483 Must issue a STARTTLS command first");
    }
    Ok(Step::Next(Server::Commands(posting, commands)))
}

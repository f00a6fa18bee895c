//! POP3: STLS of RFC 2595.

use super::error::excerpt;
use super::io::{Count, Io, Size, Step, first_word_is};
use super::login::without_stamp;
use super::script::State;
use super::{Awaited, ProtocolError, Side};
use crate::config::Protocol::Pop3;

/// A plain client in front, a server with STLS behind.
#[derive(Debug)]
pub(super) enum Client {
    /// Waiting for the greeting, which the client needs whole: APOP's challenge is in it.
    Greeting,
    /// Waiting for the go-ahead.
    GoAhead,
}

impl Client {
    pub(super) fn new() -> Client {
        Client::Greeting
    }
}

impl State for Client {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting => match status(io, Awaited::Greeting, false)? {
                None => Ok(Step::Wait(Client::Greeting)),
                Some(()) => {
                    io.tell_server("STLS");
                    Ok(Step::Next(Client::GoAhead))
                }
            },
            Client::GoAhead => match status(io, Awaited::GoAhead, false)? {
                None => Ok(Step::Wait(Client::GoAhead)),
                Some(()) => {
                    io.nothing_behind_starttls(Side::Back)?;
                    Ok(Step::Tls)
                }
            },
        }
    }
}

/// Takes a line that must begin with `+OK`; a greeting is passed on, also one that refuses, with or without APOP's
/// challenge.
fn status(
    io: &mut Io<'_>,
    awaited: Awaited,
    without_apop: bool,
) -> Result<Option<()>, ProtocolError> {
    // Every reply here is one line (RFC 1939, section 3).
    let Some(line) = io.server_line(awaited, &mut Size::default())? else {
        return Ok(None);
    };
    let accepted = first_word_is(&line, "+OK");
    if !accepted && !first_word_is(&line, "-ERR") {
        return Err(ProtocolError::Unintelligible {
            protocol: Pop3,
            awaited,
            said: excerpt(&line),
        });
    }
    if awaited == Awaited::Greeting {
        match without_apop {
            true => io.tell_client(without_stamp(&line)),
            false => io.tell_client(&line),
        }
    }
    match accepted {
        true => Ok(Some(())),
        false => Err(ProtocolError::Refused {
            protocol: Pop3,
            awaited,
            said: excerpt(&line),
        }),
    }
}

/// A client with STLS in front, a plain server behind. As in stunnel there is no wait for a client
/// that begins with TLS at once.
#[derive(Debug)]
pub(super) enum Server {
    /// Waiting for the greeting; whether it is shown without APOP's challenge.
    Greeting(bool),
    /// Answering commands until STLS.
    Commands(Count),
}

impl Server {
    pub(super) fn new() -> Server {
        Server::Greeting(false)
    }

    /// Its client shall not log in by APOP, if `without`.
    pub(super) fn without_apop(without: bool) -> Server {
        Server::Greeting(without)
    }
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        match self {
            Server::Greeting(without) => match status(io, Awaited::Greeting, without)? {
                None => Ok(Step::Wait(Server::Greeting(without))),
                Some(()) => Ok(Step::Next(Server::Commands(Count::default()))),
            },
            Server::Commands(mut commands) => {
                let Some(line) = io.command(&mut commands)? else {
                    return Ok(Step::Wait(Server::Commands(commands)));
                };
                let is = |word| first_word_is(&line, word);
                if is("STLS") {
                    io.nothing_behind_starttls(Side::Front)?;
                    io.tell_client("+OK Begin TLS negotiation");
                    return Ok(Step::Tls);
                }
                if is("QUIT") {
                    io.tell_client("+OK Bye");
                    io.tell_server("QUIT");
                    return Ok(Step::End);
                }
                if is("CAPA") {
                    // What the server itself can do is asked again within TLS (RFC 2595,
                    // section 4); to offer USER or SASL here would invite a password in plain.
                    io.tell_client("+OK Capability list follows");
                    io.tell_client("STLS");
                    io.tell_client(".");
                } else if is("NOOP") {
                    io.tell_client("+OK");
                } else {
                    io.tell_client("-ERR Must issue an STLS command first");
                }
                Ok(Step::Next(Server::Commands(commands)))
            }
        }
    }
}

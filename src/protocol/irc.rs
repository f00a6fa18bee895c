//! IRC: STARTTLS of IRCv3's capability `tls`, before a client registers. Both modes; in server mode a client may also
//! begin with TLS at once, since it speaks first. Never in here: a nickname or a password that is passed on.

use super::error::excerpt;
use super::io::{Count, Io, Size, Step, split_word};
use super::script::State;
use super::{Awaited, ProtocolError, Side};
use crate::config::Protocol::Irc;

/// A line without its tags and its prefix (RFC 1459, section 2.3.1): the command, and what it is given.
fn command(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = line;
    for mark in [b'@', b':'] {
        if rest.first() == Some(&mark) {
            rest = split_word(rest).1;
        }
    }
    let (word, parameters) = split_word(rest);
    (word.to_ascii_uppercase(), parameters)
}

/// A server with STARTTLS behind. The client is not heard: what it says goes on within TLS.
#[derive(Debug)]
pub(super) enum Client {
    Ask,
    GoAhead(Size),
}

impl State for Client {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        let Client::GoAhead(mut size) = self else {
            io.tell_server("STARTTLS");
            return Ok(Step::Next(Client::GoAhead(Size::default())));
        };
        let awaited = Awaited::GoAhead;
        let Some(line) = io.server_line(awaited, &mut size)? else {
            return Ok(Step::Wait(Client::GoAhead(size)));
        };
        let said = excerpt(&line);
        match (line.first(), &command(&line).0[..]) {
            (_, b"670") => {
                io.nothing_behind_starttls(Side::Back)?;
                Ok(Step::Tls)
            }
            // ERR_STARTTLS; not known; not registered, by servers that take nothing else first.
            (_, b"691" | b"421" | b"451" | b"ERROR") => Err(ProtocolError::Refused {
                protocol: Irc,
                awaited,
                said,
            }),
            // What stands in plain before TLS may be anyone's: the client does not get it.
            (Some(b':'), _) | (_, b"NOTICE" | b"PING") => Ok(Step::Next(Client::GoAhead(size))),
            _ => Err(ProtocolError::Unintelligible {
                protocol: Irc,
                awaited,
                said,
            }),
        }
    }
}

/// A client with STARTTLS in front. There is no server yet.
#[derive(Debug, Default)]
pub(super) struct Server {
    commands: Count,
    /// It spoke plain.
    spoke: bool,
}

impl State for Server {
    fn step(mut self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        if !self.spoke && io.client_began() == Some(true) {
            return Ok(Step::Tls);
        }
        let Some(line) = io.command(&mut self.commands)? else {
            return Ok(Step::Wait(self));
        };
        self.spoke = true;
        let (word, parameters) = command(&line);
        let capability = split_word(parameters).0.to_ascii_uppercase();
        match (&word[..], &capability[..]) {
            (b"STARTTLS", _) => {
                io.nothing_behind_starttls(Side::Front)?;
                io.tell_client(":adit 670 * :STARTTLS successful, proceed with TLS handshake");
                return Ok(Step::Tls);
            }
            (b"QUIT", _) => {
                io.tell_client("ERROR :Closing link");
                return Ok(Step::End);
            }
            (b"CAP", b"LS") => io.tell_client(":adit CAP * LS :tls"),
            (b"CAP", b"LIST") => io.tell_client(":adit CAP * LIST :"),
            (b"CAP", b"REQ") => {
                let asked = split_word(parameters).1;
                let asked = asked.strip_prefix(b":").unwrap_or(asked).trim_ascii();
                let answer = if asked == b"tls" { "ACK" } else { "NAK" };
                io.tell_client([b":adit CAP * ", answer.as_bytes(), b" :", asked].concat());
            }
            (b"PING", _) => io.tell_client([b":adit PONG adit ", parameters].concat()),
            (b"" | b"CAP" | b"PONG", _) => {}
            _ => io.tell_client(":adit 451 * :Use STARTTLS first"),
        }
        Ok(Step::Next(self))
    }
}

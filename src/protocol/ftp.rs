//! FTP: AUTH TLS of RFC 4217, for the control connection alone. Data connections do not come through adit: they go
//! between the program and the server as they would without it, in plain. Never in here: an address of PASV, or a word
//! to a client that its data is protected.

use super::error::excerpt;
use super::io::{Count, Io, Size, Step, begins, first_word_is, split_word};
use super::script::State;
use super::{Awaited, ProtocolError, Side};
use crate::config::Protocol::Ftp;

/// See the module.
#[derive(Debug)]
pub(super) enum Client {
    /// Passing the greeting on; in the middle of a reply of more lines.
    Greeting { within: bool, size: Size },
    /// Waiting for the go-ahead.
    GoAhead { within: bool, size: Size },
}

impl Client {
    pub(super) fn new() -> Client {
        Client::Greeting {
            within: false,
            size: Size::default(),
        }
    }
}

/// Takes a line of a reply (RFC 959, section 4.2) whose first and last must have this code; whether it is the last.
/// `pass_on`: the client gets it, also when it refuses.
fn reply_line(
    io: &mut Io<'_>,
    awaited: Awaited,
    code: &str,
    (within, size): (bool, &mut Size),
    pass_on: bool,
) -> Result<Option<bool>, ProtocolError> {
    let Some(line) = io.server_line(awaited, size)? else {
        return Ok(None);
    };
    if pass_on {
        io.tell_client(&line);
    }
    let coded = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
    let separator = line.get(3).copied();
    if within {
        // Lines between may be anything.
        return Ok(Some(begins(&line, code) && separator == Some(b' ')));
    }
    let said = excerpt(&line);
    let protocol = Ftp;
    match (coded, separator) {
        (true, None | Some(b' ' | b'-')) if begins(&line, code) => {
            Ok(Some(separator != Some(b'-')))
        }
        (true, None | Some(b' ' | b'-')) => Err(ProtocolError::Refused {
            protocol,
            awaited,
            said,
        }),
        _ => Err(ProtocolError::Unintelligible {
            protocol,
            awaited,
            said,
        }),
    }
}

impl State for Client {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting { within, mut size } => {
                let state = (within, &mut size);
                match reply_line(io, Awaited::Greeting, "220", state, true)? {
                    None => Ok(Step::Wait(Client::Greeting { within, size })),
                    Some(false) => Ok(Step::Next(Client::Greeting { within: true, size })),
                    Some(true) => {
                        io.tell_server("AUTH TLS");
                        Ok(Step::Next(Client::GoAhead {
                            within: false,
                            size: Size::default(),
                        }))
                    }
                }
            }
            Client::GoAhead { within, mut size } => {
                let state = (within, &mut size);
                match reply_line(io, Awaited::GoAhead, "234", state, false)? {
                    None => Ok(Step::Wait(Client::GoAhead { within, size })),
                    Some(false) => Ok(Step::Next(Client::GoAhead { within: true, size })),
                    Some(true) => {
                        io.nothing_behind_starttls(Side::Back)?;
                        Ok(Step::Tls)
                    }
                }
            }
        }
    }
}

/// A client with AUTH TLS in front, a plain server behind. PBSZ and PROT come within TLS: that server refuses them, so
/// a client that wants its data protected leaves.
#[derive(Debug)]
pub(super) enum Server {
    /// As of [`Client::Greeting`].
    Greeting { within: bool, size: Size },
    /// Answering commands until AUTH TLS.
    Commands(Count),
}

impl Server {
    pub(super) fn new() -> Server {
        Server::Greeting {
            within: false,
            size: Size::default(),
        }
    }
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        let mut commands = match self {
            Server::Greeting { within, mut size } => {
                let state = (within, &mut size);
                return Ok(
                    match reply_line(io, Awaited::Greeting, "220", state, true)? {
                        None => Step::Wait(Server::Greeting { within, size }),
                        Some(false) => Step::Next(Server::Greeting { within: true, size }),
                        Some(true) => Step::Next(Server::Commands(Count::default())),
                    },
                );
            }
            Server::Commands(commands) => commands,
        };
        let Some(line) = io.command(&mut commands)? else {
            return Ok(Step::Wait(Server::Commands(commands)));
        };
        let is = |word| first_word_is(&line, word);
        if is("AUTH") {
            let way = split_word(&line).1.to_ascii_uppercase();
            if matches!(&way[..], b"TLS" | b"TLS-C") {
                io.nothing_behind_starttls(Side::Front)?;
                io.tell_client("234 Begin TLS negotiation");
                return Ok(Step::Tls);
            }
            // AUTH SSL protects the data without a word more (RFC 4217, section 17).
            io.tell_client("504 AUTH TLS is known here");
        } else if is("QUIT") {
            io.tell_client("221 Goodbye");
            io.tell_server("QUIT");
            return Ok(Step::End);
        } else if is("FEAT") {
            // What the server itself can do is asked again within TLS.
            io.tell_client("211-Features:");
            io.tell_client(" AUTH TLS");
            io.tell_client("211 End");
        } else if is("NOOP") {
            io.tell_client("200 OK");
        } else {
            io.tell_client("530 Use AUTH TLS first");
        }
        Ok(Step::Next(Server::Commands(commands)))
    }
}

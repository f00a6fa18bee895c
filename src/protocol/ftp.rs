//! FTP: AUTH TLS of RFC 4217, a client's, for the control connection alone. Data connections do not come through adit:
//! they go between the program and the server as they would without it, in plain. Never in here: an address of PASV.

use super::error::excerpt;
use super::io::{Io, Size, Step, begins};
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

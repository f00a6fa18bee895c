//! `hold`: a mail program is kept in its dialogue while the server cannot be reached; then the server is greeted in its
//! name. Never in here: a reply to what only the server may answer, or a promise that it may not keep.

use super::error::excerpt;
use super::io::{Count, Io, Occasion, Size, Step, begins, first_word_is, split_word};
use super::script::State;
use super::smtp::{ehlo, reply_line};
use super::{Action, Awaited, COMMANDS_MAX, ProtocolError, Side};

/// What a program hears when its time is over.
const IN_VAIN: &str =
    "421 4.3.2 adit: the mail server cannot be reached now, and nothing was sent; try again later";

/// A program that is held, with no server.
#[derive(Debug)]
pub(super) enum Held {
    Start(Host),
    /// What needs no server is answered.
    Commands(Host, Count),
    /// Its next command is for the server, and waits.
    Waits,
}

/// As adit calls itself meanwhile.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    /// adit takes the login, so one may be offered.
    logs_in: bool,
}

impl Held {
    pub(super) fn new(host: Option<&str>, logs_in: bool) -> Held {
        let said = ehlo(host);
        let name = said["EHLO ".len()..].to_owned();
        Held::Start(Host { name, logs_in })
    }
}

impl State for Held {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Held>, ProtocolError> {
        let protocol = io.protocol;
        if io.occasion == Occasion::Unreachable {
            io.tell_client(IN_VAIN);
            return Ok(Step::End);
        }
        if io.client_began() == Some(true) {
            return Err(ProtocolError::TlsOutOfTurn { protocol });
        }
        let (host, mut commands) = match self {
            Held::Start(host) => {
                io.tell_client(format!("220 {} ESMTP adit", host.name));
                return Ok(Step::Next(Held::Commands(host, Count::default())));
            }
            // One that has left hears no reply.
            Held::Waits if io.front.ended => return Err(ProtocolError::ClientClosed { protocol }),
            Held::Waits => return Ok(Step::Wait(Held::Waits)),
            Held::Commands(host, commands) => (host, commands),
        };
        let line = match io.front.peek_line() {
            Ok(Some(line)) => line,
            Ok(None) if io.front.ended => return Err(ProtocolError::ClientClosed { protocol }),
            Ok(None) => return Ok(Step::Wait(Held::Commands(host, commands))),
            Err(_) => return Err(ProtocolError::CommandTooLong { protocol }),
        };
        if !commands.one_more(COMMANDS_MAX) {
            return Err(ProtocolError::TooManyCommands { protocol });
        }
        match answer(&host, line.trim_ascii_end(), io) {
            Answer::Given => {
                io.front.take(line.len());
                Ok(Step::Next(Held::Commands(host, commands)))
            }
            Answer::Bye => Ok(Step::End),
            Answer::ForTheServer => Ok(Step::Next(Held::Waits)),
        }
    }
}

enum Answer {
    Given,
    Bye,
    ForTheServer,
}

fn answer(host: &Host, line: &[u8], io: &mut Io<'_>) -> Answer {
    let name = &host.name;
    let is = |word| first_word_is(line, word);
    let called = split_word(line).1;
    if is("EHLO") && !called.is_empty() {
        io.out.push(Action::Named(called.to_vec()));
        // The server's extensions are not known.
        match host.logs_in {
            true => {
                io.tell_client(format!("250-{name}"));
                io.tell_client("250-AUTH PLAIN LOGIN");
                io.tell_client("250 AUTH=PLAIN LOGIN");
            }
            false => io.tell_client(format!("250 {name}")),
        }
    } else if is("HELO") && !called.is_empty() {
        io.out.push(Action::Named(called.to_vec()));
        io.tell_client(format!("250 {name}"));
    } else if is("EHLO") || is("HELO") {
        io.tell_client("501 5.5.4 adit: the name of your machine is missing");
    } else if is("NOOP") || is("RSET") {
        io.tell_client("250 2.0.0 adit: OK");
    } else if is("STARTTLS") {
        io.tell_client("502 5.5.1 adit: STARTTLS is not offered here");
    } else if is("QUIT") {
        io.tell_client(format!("221 2.0.0 {name} closing connection"));
        return Answer::Bye;
    } else {
        return Answer::ForTheServer;
    }
    Answer::Given
}

/// The server's side: its greeting, and EHLO in the name of a program that has been greeted.
#[derive(Debug)]
pub(super) enum Arrival {
    /// What it has said so far; the name that EHLO gives, or `None` where the program hears the greeting.
    Greeting(Vec<u8>, Option<String>, Size),
    Ehlo(Size),
}

impl Arrival {
    /// `greeted`: the program has been greeted, and calls itself so.
    pub(super) fn new(greeted: Option<&str>) -> Arrival {
        let said = greeted.map(|name| ehlo(Some(name)));
        Arrival::Greeting(Vec::new(), said, Size::default())
    }
}

impl State for Arrival {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Arrival>, ProtocolError> {
        match self {
            Arrival::Greeting(mut so_far, ehlo, mut size) => {
                let awaited = Awaited::Greeting;
                let Some(line) = io.server_line(awaited, &mut size)? else {
                    return Ok(Step::Wait(Arrival::Greeting(so_far, ehlo, size)));
                };
                let last = last_of_greeting(&line, io)?;
                so_far.extend_from_slice(&line);
                so_far.extend_from_slice(b"\r\n");
                match (last, ehlo) {
                    (false, ehlo) => Ok(Step::Next(Arrival::Greeting(so_far, ehlo, size))),
                    (true, None) => {
                        io.out.push(Action::Send(Side::Front, so_far));
                        Ok(Step::Plain)
                    }
                    (true, Some(ehlo)) => {
                        io.tell_server(ehlo);
                        Ok(Step::Next(Arrival::Ehlo(Size::default())))
                    }
                }
            }
            Arrival::Ehlo(mut size) => {
                match reply_line(io, Awaited::Ehlo, "250", &mut size, false)? {
                    None => Ok(Step::Wait(Arrival::Ehlo(size))),
                    Some(line) if !line.last => Ok(Step::Next(Arrival::Ehlo(size))),
                    Some(_) => Ok(Step::Plain),
                }
            }
        }
    }
}

/// Whether a line is the last of a good greeting. A program that is not greeted hears one that refuses for good.
fn last_of_greeting(line: &[u8], io: &mut Io<'_>) -> Result<bool, ProtocolError> {
    let (protocol, awaited) = (io.protocol, Awaited::Greeting);
    let said = excerpt(line);
    let end = match line.get(3) {
        None | Some(b' ') => Some(true),
        Some(b'-') => Some(false),
        _ => None,
    };
    let coded = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
    match end.filter(|_| coded) {
        None => Err(ProtocolError::Unintelligible {
            protocol,
            awaited,
            said,
        }),
        Some(last) if begins(line, "220") => Ok(last),
        Some(_) => {
            io.tell_client(line);
            Err(ProtocolError::Refused {
                protocol,
                awaited,
                said,
            })
        }
    }
}

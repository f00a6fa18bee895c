//! The server's side of a login: asked what it can do, and told name and password. Never in here: a word of the server's
//! in a log, once it has heard a secret that it might repeat.

use super::LoginError;
use super::desk::{Desk, Login, Phase};
use super::private::{Credentials, Private};
use super::scram::Fault;
use super::token::{ByToken, Told};
use super::tongue::{Reply, Said};
use super::way::{self, Exchange, Way};
use super::words::{self, Cause, Nothing};
use crate::base64;
use crate::config::Protocol;
use crate::helper::AccessToken;
use crate::protocol::error::{NOT_SHOWN, codes, excerpt};
use crate::protocol::io::{Io, Occasion, Size, Step, send};
use crate::protocol::{Awaited, ProtocolError, Side};

/// How much of a refusal is judged, and how much may stand beside a reply, in bytes.
const HEARD_MAX: usize = 2048;
const ASIDES_MAX: usize = 16 * 1024;

/// A login that is to be made.
#[derive(Debug)]
pub(super) struct Entry {
    /// The program's tag; `None`: it did not ask, and is told nothing.
    pub(super) tag: Option<Vec<u8>>,
    pub(super) credentials: Credentials,
}

impl Entry {
    /// Of a program that waits for its answer.
    pub(super) fn of(tag: Vec<u8>, credentials: Credentials) -> Entry {
        Entry {
            tag: Some(tag),
            credentials,
        }
    }

    /// Of one that goes on without a login of its own.
    pub(super) fn silent(credentials: Credentials) -> Entry {
        Entry {
            tag: None,
            credentials,
        }
    }
}

#[derive(Debug)]
pub(super) enum Entering {
    /// The server is asked what it can do; the token that it is told then, if it is one, and whether it is the second.
    Asking(Entry, Option<(AccessToken, bool)>, Reply, Size),
    ByToken(ByToken),
    /// It is told.
    Telling(Telling),
}

#[derive(Debug)]
pub(super) struct Telling {
    tag: Option<Vec<u8>>,
    /// By a token.
    told: Option<Told>,
    way: Way,
    next: NextWords,
    /// What it says so far of a refusal.
    heard: Vec<u8>,
    /// Lines beside the reply, for the program.
    asides: Vec<u8>,
    size: Size,
}

#[derive(Debug)]
enum NextWords {
    Sasl(Exchange),
    /// The protocol's own lines, the last first.
    Lines(Vec<Private>),
}

impl Entering {
    pub(super) fn step(self, desk: Desk, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        if desk.by_token && io.occasion == Occasion::Timer {
            return desk.gives_up(self, io);
        }
        match self {
            Entering::Asking(entry, token, reply, size) => desk.ask(entry, token, reply, size, io),
            Entering::ByToken(stage) => stage.step(desk, io),
            Entering::Telling(telling) => telling.step(desk, io),
        }
    }

    fn into_tag(self) -> Option<Vec<u8>> {
        match self {
            Entering::Asking(entry, ..) => entry.tag,
            Entering::ByToken(stage) => stage.into_tag(),
            Entering::Telling(telling) => telling.into_tag(),
        }
    }
}

impl Desk {
    /// Begins a login with the server.
    ///
    /// # Errors
    /// The program cannot be told that there is none.
    pub(super) fn enter(self, entry: Entry, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        if self.by_token {
            return self.ask_for_a_token(entry, io);
        }
        let Some(offered) = &self.offered else {
            return Ok(self.ask_what_it_can(entry, None, io));
        };
        let Entry { tag, credentials } = entry;
        let Some(way) = offered.best(&credentials, self.only) else {
            let nothing = words::no_way(&excerpt(&offered.names), self.only);
            return self.comes_to_nothing(tag, nothing, b"", io);
        };
        let (first, next) = match way.mechanism() {
            Some(mechanism) => {
                let exchange = Exchange::new(way, credentials, self.nonce.clone());
                let first = self.tongue.auth(mechanism).into();
                (Some(first), exchange.map(NextWords::Sasl))
            }
            None => {
                let mut lines = self.tongue.commands(way, &credentials, &self.stamp);
                lines.reverse();
                (lines.pop(), Some(NextWords::Lines(lines)))
            }
        };
        let (Some(first), Some(next)) = (first, next) else {
            return Err(self.alien());
        };
        io.tell_server(&*first);
        let telling = Telling::new(tag, None, way, next);
        Ok(self.at(Phase::entering(Entering::Telling(telling))))
    }

    /// The same by a token.
    pub(super) fn begin_telling(
        self,
        way: Way,
        first: Private,
        exchange: Exchange,
        told: Told,
        io: &mut Io<'_>,
    ) -> Step<Login> {
        io.tell_server(&*first);
        let telling = Telling::new(None, Some(told), way, NextWords::Sasl(exchange));
        self.at(Phase::entering(Entering::Telling(telling)))
    }

    pub(super) fn ask_what_it_can(
        self,
        entry: Entry,
        token: Option<(AccessToken, bool)>,
        io: &mut Io<'_>,
    ) -> Step<Login> {
        let (question, reply) = self.tongue.question(self.host.as_deref());
        io.tell_server(question);
        let asking = Entering::Asking(entry, token, reply, Size::default());
        self.at(Phase::entering(asking))
    }

    /// It takes too long. What the server says later would be no answer to anything, so the connection is over.
    fn gives_up(self, entering: Entering, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        let tag = entering.into_tag();
        self.comes_to_nothing(tag, Nothing::too_late(), b"", io)?;
        Ok(Step::End)
    }

    /// Hears what the server can do.
    fn ask(
        mut self,
        entry: Entry,
        token: Option<(AccessToken, bool)>,
        mut reply: Reply,
        mut size: Size,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let Some(line) = io.server_line(Awaited::Reply, &mut size)? else {
            let phase = Phase::entering(Entering::Asking(entry, token, reply, size));
            return Ok(self.waits(phase));
        };
        self.learn(&line);
        if self.tongue.ends(&line, &mut reply) {
            self.has_learned();
            return match token {
                None => self.enter(entry, io),
                Some((token, again)) => {
                    let told = Told {
                        entry,
                        token,
                        again,
                    };
                    self.tell_token(told, io)
                }
            };
        }
        let phase = Phase::entering(Entering::Asking(entry, token, reply, size));
        Ok(self.at(phase))
    }

    /// There is no login: the program is told, or the connection ends where it did not ask for one. `said`: the line
    /// of the server's that refused.
    pub(super) fn comes_to_nothing(
        self,
        tag: Option<Vec<u8>>,
        nothing: Nothing,
        said: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let Nothing {
            refusal,
            cause,
            words,
        } = nothing;
        let protocol = self.tongue.protocol();
        let code = code(protocol, said);
        let shown = match code.is_empty() {
            true => String::new(),
            false => format!(" ({code})"),
        };
        let reason = format!("login failed{shown}: {words}");
        let note = self.note(cause);
        let words = match &note {
            Some(note) => format!("{words}; {note}"),
            None => words.into_owned(),
        };
        self.log(4, &format!("login failed{shown}: {words}"), io);
        let Some(tag) = tag else {
            return Err(ProtocolError::Credentials {
                protocol,
                awaited: Awaited::Entry,
                given: Some(cause),
                said: code,
                note,
            });
        };
        self.keep(cause, &reason, words::remedy(cause), io);
        // What the server says is for the program that gave the password, and no other.
        let words = match self.account.is_none() && !said.is_empty() {
            true => format!("{words}; it said: {}", excerpt(said)),
            false => words,
        };
        Ok(self.refuse(&tag, refusal, &words, io))
    }

    fn alien(&self) -> ProtocolError {
        ProtocolError::Unintelligible {
            protocol: self.tongue.protocol(),
            awaited: Awaited::Entry,
            said: NOT_SHOWN.to_owned(),
        }
    }

    fn fault(&self, fault: Fault) -> ProtocolError {
        ProtocolError::Login(LoginError::of(fault, self.tongue.protocol()))
    }
}

impl Telling {
    fn new(tag: Option<Vec<u8>>, told: Option<Told>, way: Way, next: NextWords) -> Telling {
        Telling {
            tag,
            told,
            way,
            next,
            heard: Vec::new(),
            asides: Vec::new(),
            size: Size::default(),
        }
    }

    fn into_tag(self) -> Option<Vec<u8>> {
        self.told.map_or(self.tag, |told| told.entry.tag)
    }

    fn step(mut self, desk: Desk, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        let line = match (io.server_line(Awaited::Entry, &mut self.size), self.told) {
            (Ok(Some(line)), told) => {
                self.told = told;
                line
            }
            (Ok(None), told) => {
                self.told = told;
                return Ok(desk.waits(Phase::entering(Entering::Telling(self))));
            }
            // Some servers say no in this way.
            (Err(ProtocolError::ServerClosed { .. }), Some(told)) => {
                return desk.token_is_refused(told, b"", io);
            }
            (Err(error), _) => return Err(error),
        };
        match desk.tongue.said(&line) {
            Said::Challenge(text) => self.answer(&text, desk, io),
            Said::Accepted => self.accepted(&line, desk, io),
            Said::Refused => self.refused(&line, desk, io),
            Said::Part => {
                self.hear(&line);
                Ok(self.goes_on(desk))
            }
            Said::Aside => {
                self.hear(&line);
                if self.asides.len() + line.len() <= ASIDES_MAX {
                    self.asides.extend_from_slice(&line);
                    self.asides.extend_from_slice(b"\r\n");
                }
                Ok(self.goes_on(desk))
            }
            Said::Alien => Err(desk.alien()),
        }
    }

    fn goes_on(self, desk: Desk) -> Step<Login> {
        desk.at(Phase::entering(Entering::Telling(self)))
    }

    fn hear(&mut self, line: &[u8]) {
        if self.heard.len() + line.len() <= HEARD_MAX {
            self.heard.extend_from_slice(line);
            self.heard.push(b'\n');
        }
    }

    fn answer(
        mut self,
        challenge: &[u8],
        desk: Desk,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        self.next = match self.next {
            NextWords::Sasl(exchange) => {
                let challenge = match self.way {
                    // What it writes here is for people, and not always base64.
                    Way::Plain | Way::Login => Vec::new(),
                    _ => base64::decode(challenge.trim_ascii())
                        .ok_or_else(|| desk.fault(Fault::Malformed))?,
                };
                let answered = exchange.answer(&challenge);
                let (exchange, said) = answered.map_err(|fault| desk.fault(fault))?;
                io.tell_server(&*way::coded(&said));
                NextWords::Sasl(exchange)
            }
            NextWords::Lines(mut lines) => {
                let line = lines.pop().ok_or_else(|| desk.alien())?;
                io.tell_server(&*line);
                NextWords::Lines(lines)
            }
        };
        Ok(self.goes_on(desk))
    }

    fn accepted(
        mut self,
        line: &[u8],
        desk: Desk,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        match &mut self.next {
            NextWords::Lines(lines) => {
                // POP3: the name is taken, and the password is next.
                if let Some(line) = lines.pop() {
                    io.tell_server(&*line);
                    return Ok(self.goes_on(desk));
                }
            }
            NextWords::Sasl(exchange) if exchange.is_complete() => {}
            NextWords::Sasl(Exchange::Scram(_)) => return Err(desk.fault(Fault::Signature)),
            NextWords::Sasl(_) => return Err(desk.alien()),
        }
        desk.log(6, &format!("logged in by {}", self.way.name()), io);
        send(io.out, Side::Front, &self.asides);
        if let Some(tag) = self.into_tag() {
            io.tell_client(desk.tongue.welcome(&tag, line));
        }
        Ok(Step::Plain)
    }

    fn refused(
        mut self,
        line: &[u8],
        desk: Desk,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        self.hear(line);
        let cause: Cause = words::cause(&self.heard);
        if let Some(told) = self.told.take_if(|_| cause == Cause::Password) {
            return desk.token_is_refused(told, line, io);
        }
        let nothing = cause.nothing(self.way, desk.account.is_some());
        desk.comes_to_nothing(self.into_tag(), nothing, line, io)
    }
}

/// The code that a refusal begins with, of which the log may tell.
fn code(protocol: Protocol, said: &[u8]) -> String {
    if protocol == Protocol::Smtp {
        return codes(&excerpt(said));
    }
    let start = said.iter().position(|&byte| byte == b'[');
    let code = start.and_then(|start| {
        let length = said[start..].iter().position(|&byte| byte == b']')?;
        Some(&said[start..=start + length])
    });
    let known = |code: &&[u8]| {
        [
            "[AUTHENTICATIONFAILED]",
            "[AUTHORIZATIONFAILED]",
            "[UNAVAILABLE]",
            "[ALERT]",
            "[AUTH]",
            "[SYS/TEMP]",
            "[SYS/PERM]",
            "[IN-USE]",
            "[LOGIN-DELAY]",
        ]
        .iter()
        .any(|known| code.eq_ignore_ascii_case(known.as_bytes()))
    };
    code.filter(known).map_or_else(String::new, excerpt)
}

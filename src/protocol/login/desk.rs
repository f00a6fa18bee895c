//! The program's side of a login: what it asks and says until it has given name and password. Never in here: a login
//! with the server; that is for [`super::entering`].

use std::borrow::Cow;

use super::entering::{Entering, Entry};
use super::private::{Credentials, Private};
use super::tongue::{Command, Greeting, Refusal, Reply, Tongue};
use super::way::{Offered, Way};
use super::{pop3, provider_note, tongue, words};
use crate::base64;
use crate::config::{DialogueOptions, MailProtocol};
use crate::incidents::{Cause, Diagnosis};
use crate::protocol::error::excerpt;
use crate::protocol::io::{Io, Size, Step, send};
use crate::protocol::script::State;
use crate::protocol::{
    AHEAD_MAX, Action, Awaited, COMMANDS_MAX, Fresh, LINE_MAX, ProtocolError, Side,
};

/// "Username:" and "Password:", as LOGIN asks for them.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// See the module.
#[derive(Debug)]
pub(in crate::protocol) struct Login {
    pub(super) desk: Desk,
    pub(super) phase: Phase,
}

/// What is known, whatever the phase.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) tongue: &'static dyn Tongue,
    /// The name for EHLO.
    pub(super) host: Option<String>,
    /// The server's name, if it is known.
    server: Option<String>,
    /// The account of the configuration: it logs in, whatever the program says.
    pub(super) account: Option<Credentials>,
    /// `login = oauth2`
    pub(super) by_token: bool,
    /// `protocolAuthentication`
    pub(super) only: Option<Way>,
    pub(super) nonce: String,
    /// What the server offers, once it has been asked.
    pub(super) offered: Option<Offered>,
    /// The same while its list comes in.
    pub(super) learned: Offered,
    /// POP3: APOP's challenge.
    pub(super) stamp: Vec<u8>,
    /// POP3: the name that USER gave.
    user: Private,
    /// Commands so far.
    commands: u16,
}

#[derive(Debug)]
pub(super) enum Phase {
    Greeting(Size),
    Command,
    /// So many bytes of a literal are missing.
    Literal(Private, usize),
    /// The next word of SASL, for the command with this tag.
    Word(Vec<u8>, Word),
    /// The reply to a command that went to the server; whether the program leaves.
    Relaying(Reply, bool, Size),
    Entering(Box<Entering>),
}

impl Phase {
    pub(super) fn entering(entering: Entering) -> Phase {
        Phase::Entering(Box::new(entering))
    }
}

/// What the program says next in SASL.
#[derive(Debug)]
pub(super) enum Word {
    Plain,
    Name,
    Password(Private),
}

impl Login {
    /// `greeted`: the program has been greeted already.
    pub(in crate::protocol) fn new(
        mail: MailProtocol,
        by_token: bool,
        options: &DialogueOptions,
        greeted: bool,
        server: Option<&str>,
        fresh: Fresh,
    ) -> Login {
        let account = options.account();
        Login {
            desk: Desk {
                tongue: tongue(mail),
                host: options.host.clone(),
                server: server.map(str::to_owned),
                account: account.and_then(|(name, word)| Credentials::of_account(name, &word)),
                by_token,
                only: options.authentication.and_then(Way::of),
                nonce: base64::encode(&fresh.nonce),
                offered: None,
                learned: Offered::default(),
                stamp: Vec::new(),
                user: Private::default(),
                commands: 0,
            },
            phase: match greeted {
                true => Phase::Command,
                false => Phase::Greeting(Size::default()),
            },
        }
    }
}

impl State for Login {
    fn hears_client(&self) -> bool {
        matches!(
            self.phase,
            Phase::Command | Phase::Literal(..) | Phase::Word(..)
        )
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        let desk = self.desk;
        match self.phase {
            Phase::Greeting(size) => desk.greet(size, io),
            Phase::Command => desk.command(io),
            Phase::Literal(command, missing) => desk.literal(command, missing, io),
            Phase::Word(tag, word) => desk.word(tag, word, io),
            Phase::Relaying(reply, leaves, size) => desk.relay(reply, leaves, size, io),
            Phase::Entering(entering) => (*entering).step(desk, io),
        }
    }
}

impl Desk {
    /// A line of the server's greeting on a connection that is made anew; whether more follow.
    pub(super) fn hears_anew(&mut self, line: &[u8]) -> Option<bool> {
        match self.tongue.greeting(line) {
            Greeting::Shown(_, more) => Some(more),
            Greeting::Refused | Greeting::Alien => None,
        }
    }

    pub(super) fn at(self, phase: Phase) -> Step<Login> {
        Step::Next(Login { desk: self, phase })
    }

    pub(super) fn waits(self, phase: Phase) -> Step<Login> {
        Step::Wait(Login { desk: self, phase })
    }

    /// Tells the program that its login comes to nothing, and goes on.
    pub(super) fn refuse(
        self,
        tag: &[u8],
        refusal: Refusal,
        words: &str,
        io: &mut Io<'_>,
    ) -> Step<Login> {
        io.tell_client(self.tongue.refuse(tag, refusal, words));
        self.at(Phase::Command)
    }

    pub(super) fn log(&self, level: u8, text: &str, io: &mut Io<'_>) {
        let name = self.tongue.protocol().name().to_ascii_uppercase();
        io.out.push(Action::Log(level, format!("{name}: {text}")));
    }

    /// Has what went wrong kept.
    pub(super) fn keep(&self, cause: Cause, reason: &str, remedy: &'static str, io: &mut Io<'_>) {
        let name = self.tongue.protocol().name().to_ascii_uppercase();
        let remedy = match self.note(cause) {
            Some(note) => Cow::from(format!("{remedy}; {note}")),
            None => remedy.into(),
        };
        let diagnosis = Diagnosis::new(cause, format!("{name}: {reason}"), remedy);
        io.out.push(Action::Failed(Box::new(diagnosis)));
    }

    /// What the provider says of passwords, where that may be at fault.
    pub(super) fn note(&self, cause: Cause) -> Option<String> {
        provider_note(self.server.as_deref()?, cause)
    }

    /// What the server can do, line by line of its list.
    pub(super) fn learn(&mut self, line: &[u8]) {
        self.tongue.learn(line, &mut self.learned);
    }

    /// The list is complete.
    pub(super) fn has_learned(&mut self) {
        let mut learned = std::mem::take(&mut self.learned);
        if !self.stamp.is_empty() {
            learned.add(Way::Apop);
        }
        self.offered = Some(learned);
    }

    fn greet(mut self, mut size: Size, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        let awaited = Awaited::Greeting;
        let Some(line) = io.server_line(awaited, &mut size)? else {
            return Ok(self.waits(Phase::Greeting(size)));
        };
        let protocol = self.tongue.protocol();
        match self.tongue.greeting(&line) {
            Greeting::Shown(shown, more) => {
                if let (MailProtocol::Pop3, Some(stamp)) = (self.mail(), pop3::stamp(&line)) {
                    self.stamp = stamp.to_vec();
                }
                // IMAP servers may tell in their greeting.
                self.learn(&line);
                if self.learned != Offered::default() {
                    self.has_learned();
                }
                send(io.out, Side::Front, &shown);
                Ok(self.at(match more {
                    true => Phase::Greeting(size),
                    false => Phase::Command,
                }))
            }
            Greeting::Refused => {
                io.tell_client(&line);
                Err(ProtocolError::Refused {
                    protocol,
                    awaited,
                    said: excerpt(&line),
                })
            }
            Greeting::Alien => Err(ProtocolError::Unintelligible {
                protocol,
                awaited,
                said: excerpt(&line),
            }),
        }
    }

    fn mail(&self) -> MailProtocol {
        MailProtocol::of(self.tongue.protocol()).unwrap_or(MailProtocol::Smtp)
    }

    /// The next line of the program's with its end, left where it is.
    fn line(&self, io: &mut Io<'_>) -> Result<Option<Private>, ProtocolError> {
        let protocol = self.tongue.protocol();
        if io.back.ended {
            let awaited = Awaited::Program;
            return Err(ProtocolError::ServerClosed { protocol, awaited });
        }
        if io.client_began() == Some(true) {
            return Err(ProtocolError::TlsOutOfTurn { protocol });
        }
        match io.front.peek_line() {
            Ok(None) if io.front.ended => Err(ProtocolError::ClientClosed { protocol }),
            Ok(line) => Ok(line.map(Private::from)),
            Err(_) => Err(ProtocolError::CommandTooLong { protocol }),
        }
    }

    fn command(self, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        let Some(line) = self.line(io)? else {
            return Ok(self.waits(Phase::Command));
        };
        let (tag, command) = self.tongue.command(without_end(&line));
        if command == Command::Other {
            match self.account.clone() {
                // It is not needed: the program goes on as if it had logged in.
                Some(account) => return self.enter(Entry::silent(account), io),
                None if self.tongue.goes_on_without() => return Ok(Step::Plain),
                None => {}
            }
        }
        taken(line.len(), io);
        match self.tongue.literal(without_end(&line)) {
            Some((count, waits)) => self.begin_literal(line, count, waits, io),
            None => self.obey(&line, tag, command, io),
        }
    }

    fn begin_literal(
        self,
        line: Private,
        count: usize,
        waits: bool,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        if count > LINE_MAX || line.len() > AHEAD_MAX / 2 {
            let protocol = self.tongue.protocol();
            return Err(ProtocolError::CommandTooLong { protocol });
        }
        if waits {
            io.tell_client(self.tongue.prompt("go ahead"));
        }
        Ok(self.at(Phase::Literal(line, count)))
    }

    /// Completes a command by a literal and the line behind it.
    fn literal(
        self,
        command: Private,
        missing: usize,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let pending = io.front.pending();
        if missing > 0 && pending.len() < missing {
            if io.front.ended {
                let protocol = self.tongue.protocol();
                return Err(ProtocolError::ClientClosed { protocol });
            }
            return Ok(self.waits(Phase::Literal(command, missing)));
        }
        if missing > 0 {
            let command = Private::of(&[&command, &pending[..missing]]);
            taken(missing, io);
            return Ok(self.at(Phase::Literal(command, 0)));
        }
        let Some(line) = self.line(io)? else {
            return Ok(self.waits(Phase::Literal(command, 0)));
        };
        taken(line.len(), io);
        let whole = Private::of(&[&command, &line]);
        match self.tongue.literal(without_end(&line)) {
            Some((count, waits)) => self.begin_literal(whole, count, waits, io),
            None => {
                let (tag, command) = self.tongue.command(without_end(&whole));
                self.obey(&whole, tag, command, io)
            }
        }
    }

    fn obey(
        mut self,
        line: &[u8],
        tag: Vec<u8>,
        command: Command,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        self.commands += 1;
        if self.commands > COMMANDS_MAX {
            let protocol = self.tongue.protocol();
            return Err(ProtocolError::TooManyCommands { protocol });
        }
        let leaves = matches!(command, Command::Leave(_));
        Ok(match command {
            Command::Answer(words) => {
                io.tell_client(words);
                self.at(Phase::Command)
            }
            Command::Relay(reply) | Command::Leave(reply) => {
                io.tell_server(without_end(line));
                self.at(Phase::Relaying(reply, leaves, Size::default()))
            }
            Command::Sasl(way, None) => {
                let (prompt, word) = match way {
                    Way::Plain => ("", Word::Plain),
                    _ => (USERNAME, Word::Name),
                };
                io.tell_client(self.tongue.prompt(prompt));
                self.at(Phase::Word(tag, word))
            }
            Command::Sasl(way, Some(initial)) => {
                let word = match way {
                    Way::Plain => Word::Plain,
                    _ => Word::Name,
                };
                // RFC 4954, section 4: an empty one.
                let initial = if &*initial == b"=" { &[] } else { &*initial };
                return self.hear(tag, word, initial, io);
            }
            Command::Foreign(foreign) => {
                let words = words::foreign(foreign);
                let what = "the program's login cannot be taken";
                self.log(4, &format!("{what}: {words}"), io);
                self.keep(Cause::ProgramLogin, what, words, io);
                self.refuse(&tag, Refusal::Way, words, io)
            }
            Command::User(name) => {
                self.user = name;
                io.tell_client("+OK");
                self.at(Phase::Command)
            }
            Command::Password(_) if self.user.is_empty() => {
                self.refuse(&tag, Refusal::Due, "USER comes first", io)
            }
            Command::Password(password) => {
                let name = std::mem::take(&mut self.user);
                return self.take_on(tag, Credentials::new(name, password), io);
            }
            Command::Login(credentials) => return self.take_on(tag, credentials, io),
            Command::Other => self.refuse(&tag, Refusal::Due, "log in first", io),
        })
    }

    /// Takes the next word of SASL.
    fn word(self, tag: Vec<u8>, word: Word, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        let Some(line) = self.line(io)? else {
            return Ok(self.waits(Phase::Word(tag, word)));
        };
        taken(line.len(), io);
        let coded = without_end(&line);
        if coded == b"*" {
            let words = "the program took the login back";
            return Ok(self.refuse(&tag, Refusal::Malformed, words, io));
        }
        self.hear(tag, word, coded, io)
    }

    fn hear(
        self,
        tag: Vec<u8>,
        word: Word,
        coded: &[u8],
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let Some(said) = base64::decode(coded).map(Private::from) else {
            return Ok(self.refuse(&tag, Refusal::Malformed, "this is no base64", io));
        };
        match word {
            Word::Plain => self.take_on(tag, Credentials::of_plain(&said), io),
            Word::Name => {
                io.tell_client(self.tongue.prompt(PASSWORD));
                Ok(self.at(Phase::Word(tag, Word::Password(said))))
            }
            Word::Password(name) => self.take_on(tag, Credentials::new(name, said), io),
        }
    }

    fn take_on(
        self,
        tag: Vec<u8>,
        credentials: Option<Credentials>,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        match (self.account.clone(), credentials) {
            (Some(account), _) => self.enter(Entry::of(tag, account), io),
            (None, Some(credentials)) => self.enter(Entry::of(tag, credentials), io),
            (None, None) => {
                let words = "name and password cannot be read";
                Ok(self.refuse(&tag, Refusal::Malformed, words, io))
            }
        }
    }

    /// Passes the server's reply on.
    fn relay(
        mut self,
        mut reply: Reply,
        leaves: bool,
        mut size: Size,
        io: &mut Io<'_>,
    ) -> Result<Step<Login>, ProtocolError> {
        let Some(line) = io.server_line(Awaited::Reply, &mut size)? else {
            return Ok(self.waits(Phase::Relaying(reply, leaves, size)));
        };
        if reply.lists {
            self.learn(&line);
        }
        send(io.out, Side::Front, &self.tongue.shown(&line, &reply));
        if !self.tongue.ends(&line, &mut reply) {
            return Ok(self.at(Phase::Relaying(reply, leaves, size)));
        }
        if reply.lists {
            self.has_learned();
        }
        Ok(match leaves {
            true => Step::End,
            false => self.at(Phase::Command),
        })
    }
}

/// Takes away what may be a secret.
fn taken(count: usize, io: &mut Io<'_>) {
    io.front.take(count);
    io.front.wipe();
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

//! What is said in plain before TLS starts, sans-IO: one file a protocol; and what first words reveal. No socket, no clock:
//! events in, actions out. Never in here: I/O, TLS.
#![forbid(unsafe_code)]

mod commands;
mod error;
mod imap;
mod io;
mod offers;
mod opening;
mod pop3;
mod smtp;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::Protocol;

pub use error::{Awaited, ProtocolError, name};
use io::{Input, Io, Step};
pub use offers::Offers;
pub use opening::{Opening, OwnTls, greeting};

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Accepted: the client.
    Front,
    /// Connected: the server.
    Back,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Both ends are connected, in plain; given once, first.
    Start,
    /// Bytes came in from an end.
    Bytes(Side, &'a [u8]),
    /// An end will send no more.
    Eof(Side),
    /// The timer that was asked for ran out.
    Timer,
}

/// What to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes to that end.
    Send(Side, Vec<u8>),
    /// Give an `Event::Timer` after this long; a new one replaces it.
    Timer(Duration),
    /// Write a log line (level, text). Never payload.
    Log(u8, String),
}

/// How the dialogue stands after an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    More,
    /// TLS starts now on its side. What was read and not consumed: bytes of the plain side, to be
    /// relayed behind; and of the TLS side only where no plain word was exchanged with it at all
    /// (a client that begins with TLS at once).
    Done {
        /// Left over from the client.
        front: Vec<u8>,
        /// Left over from the server.
        back: Vec<u8>,
    },
    /// The client took its leave politely (QUIT, LOGOUT) before TLS: carry out the actions, then
    /// close both ends without a reset. No error.
    End,
}

/// A line may be this long, in bytes, its end not counted. RFC 5321 asks for 512, RFC 9051
/// suggests 8192.
pub const LINE_MAX: usize = 8 * 1024;
/// What one end may have said ahead of its turn, in bytes.
pub const AHEAD_MAX: usize = 64 * 1024;
/// A reply of the server may be this long, in bytes, in any number of lines: it is taken line by line.
pub const REPLY_MAX: usize = 1 << 20;
/// A client may give this many commands before the one that starts TLS.
pub const COMMANDS_MAX: u16 = 64;
/// How long a server-mode service waits for a client that begins with TLS at once, before it
/// speaks plain; stunnel's 200 ms.
pub const DIRECT_TLS_WAIT: Duration = Duration::from_millis(200);

/// The dialogue of one connection, from `Event::Start` to `Progress::Done`.
#[derive(Debug)]
pub struct Dialogue {
    protocol: Protocol,
    front: Input,
    back: Input,
    /// `None` once it is over.
    state: Option<State>,
}

/// One protocol in one mode; each is consumed by its step.
#[derive(Debug)]
enum State {
    SmtpClient(smtp::Client),
    SmtpServer(smtp::Server),
    Pop3Client(pop3::Client),
    Pop3Server(pop3::Server),
    ImapClient(imap::Client),
    ImapServer(imap::Server),
}

impl Dialogue {
    /// A dialogue that waits for `Event::Start`. `client`: a plain client in front and a server
    /// behind that speaks STARTTLS; otherwise the reverse. `protocol_host` is the name said in
    /// SMTP's EHLO (client mode), `localhost` when not given.
    pub fn new(protocol: Protocol, client: bool, protocol_host: Option<&str>) -> Dialogue {
        let state = match (protocol, client) {
            (Protocol::Smtp, true) => State::SmtpClient(smtp::Client::new(protocol_host)),
            (Protocol::Smtp, false) => State::SmtpServer(smtp::Server::new()),
            (Protocol::Pop3, true) => State::Pop3Client(pop3::Client::new()),
            (Protocol::Pop3, false) => State::Pop3Server(pop3::Server::new()),
            (Protocol::Imap, true) => State::ImapClient(imap::Client::new()),
            (Protocol::Imap, false) => State::ImapServer(imap::Server::new()),
        };
        Dialogue {
            protocol,
            front: Input::default(),
            back: Input::default(),
            state: Some(state),
        }
    }

    /// Takes an event and pushes what to do to `out`; that is to be carried out in order, also
    /// when an error is returned: a client that still speaks plain is told before it is cut.
    ///
    /// # Errors
    /// The first offence of either end. The dialogue is over then; feeding it again, as after
    /// `Done`, gives [`ProtocolError::Over`].
    pub fn feed(
        &mut self,
        event: Event<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Progress, ProtocolError> {
        let state = self.state.take().ok_or(ProtocolError::Over)?;
        let result = self.advance(state, event, out);
        if let Err(error) = &result
            && let Some(farewell) = error.farewell()
        {
            io::send_line(out, Side::Front, farewell.as_bytes());
        }
        result
    }

    fn advance(
        &mut self,
        mut state: State,
        event: Event<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Progress, ProtocolError> {
        let mut occasion = io::Occasion::Input;
        match event {
            Event::Start => occasion = io::Occasion::Start,
            Event::Timer => occasion = io::Occasion::Timer,
            Event::Bytes(Side::Front, bytes) => self.front.push(bytes),
            Event::Bytes(Side::Back, bytes) => self.back.push(bytes),
            Event::Eof(Side::Front) => self.front.ended = true,
            Event::Eof(Side::Back) => self.back.ended = true,
        }
        let mut io = Io {
            protocol: self.protocol,
            occasion,
            front: &mut self.front,
            back: &mut self.back,
            out,
        };
        loop {
            state = match state.step(&mut io)? {
                Step::Next(next) => next,
                Step::Wait(waiting) => {
                    io.check_waiting()?;
                    self.state = Some(waiting);
                    return Ok(Progress::More);
                }
                Step::Tls => {
                    return Ok(Progress::Done {
                        front: self.front.rest(),
                        back: self.back.rest(),
                    });
                }
                Step::End => return Ok(Progress::End),
            };
            // An event starts one state; what follows in the same turn has only the input.
            io.occasion = io::Occasion::Input;
        }
    }
}

impl State {
    fn step(self, io: &mut Io<'_>) -> Result<Step<State>, ProtocolError> {
        Ok(match self {
            State::SmtpClient(state) => state.step(io)?.map(State::SmtpClient),
            State::SmtpServer(state) => state.step(io)?.map(State::SmtpServer),
            State::Pop3Client(state) => state.step(io)?.map(State::Pop3Client),
            State::Pop3Server(state) => state.step(io)?.map(State::Pop3Server),
            State::ImapClient(state) => state.step(io)?.map(State::ImapClient),
            State::ImapServer(state) => state.step(io)?.map(State::ImapServer),
        })
    }
}

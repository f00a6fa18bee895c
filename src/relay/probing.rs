//! A look at a server, as `probe` asks for it: the connection, the handshake and the greeting that a session would
//! have, then a farewell. Never in here: a client, a count, a wait.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, SockaddrStorage, getpeername, recv, send, shutdown};

use super::end::take_error;
use super::outbound::{self, Progress, Refusal};
use super::{Reason, ServiceContext, Upstream};
use crate::config::Protocol;
use crate::ipc::probes::Server;
use crate::log::{Id, Log};
use crate::protocol::probing::{Greeting, farewell, greeting};
use crate::remedy;
use crate::tls::{Handshake, Step, Stream};

/// How long a server may take to end its side once it was taken leave of.
const LEAVING: Duration = Duration::from_secs(2);

/// The most ciphertext that waits for more, in bytes: as for a session's handshake.
const MOST: usize = 512 << 10;

/// Room that a record needs beside its payload, in bytes.
const RECORD: usize = 512;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server is ready for sessions.
    Answers,
    /// It is not, and why.
    Fails(String),
    /// This machine is at fault, and nothing is known of the server.
    Unknown,
}

/// A connection to a server that is looked at.
#[derive(Debug)]
pub(crate) struct Probe {
    upstream: Upstream,
    socket: OwnedFd,
    phase: Phase,
    deadline: Instant,
    tls: Option<Stream>,
    /// In which the server speaks first.
    protocol: Option<Protocol>,
    /// As it came in.
    input: Vec<u8>,
    /// Plaintext.
    heard: Vec<u8>,
    output: Vec<u8>,
    /// The server will say no more.
    ended: bool,
}

#[derive(Debug)]
enum Phase {
    Connecting,
    Handshaking(Handshake),
    Greeting,
    /// The verdict is known.
    Leaving,
    Over,
}

impl Upstream {
    /// What it is called where probes tell what they found.
    pub(crate) fn server(&self) -> Server {
        match self {
            Upstream::Tcp(address, _) => Server::of(&(address.ip(), address.port())),
            Upstream::Unix(path) => Server::of(path),
        }
    }
}

impl Probe {
    /// Begins to connect. Whatever is to be known must be known within `TIMEOUTconnect`.
    ///
    /// # Errors
    /// What is known at once.
    pub(crate) fn begin(
        service: &ServiceContext,
        upstream: Upstream,
        now: Instant,
    ) -> Result<Probe, Verdict> {
        let config = &service.config;
        match outbound::begin(&upstream, config, service.local, &SILENT) {
            // Whether it is connected is looked at in any case.
            Ok((socket, Progress::Connected | Progress::Pending)) => {
                let port = match &upstream {
                    Upstream::Tcp(address, _) => Some(address.port()),
                    Upstream::Unix(_) => None,
                };
                Ok(Probe {
                    protocol: config.greeted_in(port),
                    upstream,
                    socket,
                    phase: Phase::Connecting,
                    deadline: now + config.timeouts.connect,
                    tls: None,
                    input: Vec::new(),
                    heard: Vec::new(),
                    output: Vec::new(),
                    ended: false,
                })
            }
            Err(Refusal::Connect(errno)) => Err(refused(&upstream, errno)),
            Err(Refusal::Full) => Err(Verdict::Fails("its queue is full".to_owned())),
            Err(Refusal::NoSocket(_) | Refusal::Bind(_) | Refusal::Family) => Err(Verdict::Unknown),
        }
    }

    /// The server.
    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What to wait for.
    pub(crate) fn wants(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = match self.phase {
            Phase::Connecting => PollFlags::POLLOUT,
            _ if !self.output.is_empty() => PollFlags::POLLIN | PollFlags::POLLOUT,
            _ => PollFlags::POLLIN,
        };
        (self.socket.as_fd(), flags)
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Whether it is of no more use.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Goes on as far as it can without waiting; the verdict, once, when it is known.
    pub(crate) fn step(&mut self, service: &ServiceContext, now: Instant) -> Option<Verdict> {
        let leaves = matches!(self.phase, Phase::Leaving | Phase::Over);
        if now >= self.deadline {
            self.phase = Phase::Over;
            let late = "TIMEOUTconnect exceeded".to_owned();
            return (!leaves).then_some(Verdict::Fails(late));
        }
        let stepped = self.advance(service);
        if let Err(why) = self.flush() {
            self.phase = Phase::Over;
            return (!leaves).then_some(Verdict::Fails(why));
        }
        match stepped {
            Ok(false) => None,
            Ok(true) => {
                self.leave(now);
                (!leaves).then_some(Verdict::Answers)
            }
            Err(why) => {
                self.phase = Phase::Over;
                (!leaves).then_some(Verdict::Fails(why))
            }
        }
    }

    /// Whether all is known, and the server is ready.
    fn advance(&mut self, service: &ServiceContext) -> Result<bool, String> {
        if matches!(self.phase, Phase::Connecting) {
            if !self.is_connected()? {
                return Ok(false);
            }
            self.phase = self.first_phase(service)?;
        }
        self.hear()?;
        if let Phase::Handshaking(_) = self.phase {
            self.shake_hands()?;
        }
        match self.phase {
            Phase::Greeting => self.listen(),
            Phase::Leaving if self.ended => {
                self.phase = Phase::Over;
                Ok(false)
            }
            Phase::Leaving => {
                self.input.clear();
                Ok(false)
            }
            Phase::Connecting | Phase::Handshaking(_) | Phase::Over => Ok(false),
        }
    }

    fn is_connected(&self) -> Result<bool, String> {
        if let Some(errno) = take_error(&self.socket) {
            return Err(reason(&self.upstream, errno));
        }
        if matches!(self.upstream, Upstream::Unix(_)) {
            return Ok(true);
        }
        match getpeername::<SockaddrStorage>(self.socket.as_raw_fd()) {
            Ok(_) => Ok(true),
            Err(Errno::ENOTCONN) => Ok(false),
            Err(errno) => Err(reason(&self.upstream, errno)),
        }
    }

    fn first_phase(&self, service: &ServiceContext) -> Result<Phase, String> {
        let at_once = service.config.protocol.is_none();
        match &service.back {
            Some(tls) if at_once => {
                let host = match &self.upstream {
                    Upstream::Tcp(_, host) => Some(host.as_str()),
                    Upstream::Unix(_) => None,
                };
                let begun = tls.begin(host, &SILENT);
                let begun = begun.map_err(|failure| failure.to_string())?;
                Ok(Phase::Handshaking(begun))
            }
            _ => Ok(Phase::Greeting),
        }
    }

    fn shake_hands(&mut self) -> Result<(), String> {
        let Phase::Handshaking(handshake) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Ok(());
        };
        if self.ended {
            return Err(handshake.vanished().to_string());
        }
        let stepped = handshake.step(&mut self.input, &mut self.output, &SILENT);
        let (used, step) = stepped.map_err(|failure| failure.to_string())?;
        self.input.drain(..used);
        self.phase = match step {
            Step::More(handshake) => Phase::Handshaking(handshake),
            Step::Done(stream) => {
                self.tls = Some(stream);
                Phase::Greeting
            }
        };
        Ok(())
    }

    /// Whether the server has greeted, if it is one that does.
    fn listen(&mut self) -> Result<bool, String> {
        let Some(protocol) = self.protocol else {
            return Ok(true);
        };
        self.decrypt()?;
        match greeting(protocol, &self.heard) {
            Greeting::Well => Ok(true),
            Greeting::Badly(line) => Err(format!("it greets with: {line}")),
            Greeting::More if self.ended => {
                Err("it ends the connection without a greeting".to_owned())
            }
            Greeting::More => Ok(false),
        }
    }

    fn decrypt(&mut self) -> Result<(), String> {
        let Some(stream) = &mut self.tls else {
            self.heard.append(&mut self.input);
            return Ok(());
        };
        let mut plain: Vec<Range<usize>> = Vec::new();
        let decrypted = stream.decrypt(&mut self.input, &mut plain, &mut self.output);
        let decrypted = decrypted.map_err(|failure| failure.to_string())?;
        let pieces = plain.into_iter().filter_map(|range| self.input.get(range));
        pieces.for_each(|piece| self.heard.extend_from_slice(piece));
        self.input.drain(..decrypted.consumed);
        self.ended |= decrypted.closed;
        Ok(())
    }

    /// Says farewell, and that nothing more comes.
    fn leave(&mut self, now: Instant) {
        let words = self.protocol.map_or(&b""[..], farewell);
        match &mut self.tls {
            Some(stream) => {
                let mut record = vec![0; words.len() + RECORD];
                // Where it cannot be said, the end says enough.
                let filled = stream
                    .encrypt(words, &mut record)
                    .map_or(0, |(_, filled)| filled);
                self.output.extend_from_slice(&record[..filled]);
                stream.close_notify(&mut self.output);
            }
            None => self.output.extend_from_slice(words),
        }
        self.phase = Phase::Leaving;
        self.deadline = now + LEAVING;
        // Small as it is, a new socket has room for it.
        if self.flush().is_err() || !self.output.is_empty() {
            self.phase = Phase::Over;
            return;
        }
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    /// Reads what there is.
    fn hear(&mut self) -> Result<(), String> {
        let mut buffer = [0; 4096];
        while !self.ended && self.input.len() < MOST {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => self.ended = true,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(reason(&self.upstream, errno)),
            }
        }
        match self.ended {
            true => Ok(()),
            false => Err("it says too much".to_owned()),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while !self.output.is_empty() {
            match send(self.socket.as_raw_fd(), &self.output, flags) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(reason(&self.upstream, errno)),
            }
        }
        Ok(())
    }
}

/// What a handshake has to say is said in the verdict, once.
const SILENT: Log = Log {
    level: 0,
    id: Id::Main,
    from: None,
};

fn refused(upstream: &Upstream, errno: Errno) -> Verdict {
    Verdict::Fails(reason(upstream, errno))
}

fn reason(upstream: &Upstream, errno: Errno) -> String {
    let remedy = remedy::connecting(errno, matches!(upstream, Upstream::Unix(_)));
    format!("{} ({remedy})", Reason(errno))
}

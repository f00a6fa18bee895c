//! The side that asks: relay threads, for their sessions. Never in here: a wait.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

use super::message::{Answer, Failure, MAX_MESSAGE, Request, Step};
use crate::ipc::channel::{Channel, Cut};
use crate::log::Reason;

/// A socket with a client's address.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Non-blocking, of TCP.
    pub socket: OwnedFd,
    /// It has the client's port too; else connect(2) chooses one.
    pub has_port: bool,
}

/// Why there is no such socket, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The binder could not do it.
    Failed(Failure),
    /// The binder died before it answered.
    Gone,
    /// It has too much to read.
    Busy,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Failed(failure)
    }
}

/// In stunnel's words where it has them, each with the remedy.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { step, errno } = match self {
            Refused::Failed(failure) => *failure,
            Refused::Gone => {
                return f.write_str(
                    "transparent = source: the process that binds to clients' addresses has ended; another takes \
                     its place",
                );
            }
            Refused::Busy => {
                return f.write_str("transparent = source: too many sockets are asked for at once");
            }
        };
        let (what, remedy) = match step {
            Step::Verify => {
                let text = "transparent = source: the address is none that a client was accepted from: that is a \
                     fault of adit's, or an intruder's doing";
                return f.write_str(text);
            }
            Step::Socket => ("remote socket", "raise LimitNOFILE= or `ulimit -n`"),
            Step::Option => ("setsockopt IP_TRANSPARENT", "adit must keep CAP_NET_RAW"),
            Step::OriginalPort => ("bind (original port)", CANNOT_BIND),
            Step::AnyPort => ("bind (ephemeral port)", CANNOT_BIND),
            Step::Pass => ("passing a socket", "raise LimitNOFILE= or `ulimit -n`"),
        };
        write!(f, "{what}: {} ({remedy})", Reason(&errno.into()))
    }
}

const CANNOT_BIND: &str =
    "the kernel refuses this client's address: see `transparent` in adit.conf(5)";

/// One client's socket to the binder.
#[derive(Debug)]
pub(crate) struct Client {
    channel: Channel,
    next: u64,
    /// Asked and not answered.
    asked: HashSet<u64>,
    gone: bool,
}

impl Client {
    /// `socket` is SOCK_SEQPACKET; its other end is, or is on its way to be, the binder's. `first` is its first
    /// request's number: those of the client before it must not come again.
    pub(crate) fn new(socket: OwnedFd, first: u64) -> Client {
        Client {
            channel: socket.into(),
            next: first,
            asked: HashSet::new(),
            gone: false,
        }
    }

    /// The number that the next request gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Asks for a socket, under a number that replaces the request's own; gives that.
    ///
    /// # Errors
    /// The binder is gone, or has too much to read.
    pub(crate) fn ask(&mut self, request: Request) -> Result<u64, Refused> {
        let id = self.next;
        let packet = Request { id, ..request }.encode();
        let said = self.channel.send(&packet, &[], MsgFlags::MSG_DONTWAIT);
        said.map_err(|error| match Channel::is_busy(&error) {
            true => Refused::Busy,
            false => Refused::Gone,
        })?;
        self.next += 1;
        self.asked.insert(id);
        Ok(id)
    }

    /// What was answered by now. When the binder is gone, so is every open question.
    pub(crate) fn answers(&mut self) -> Vec<(u64, Result<Bound, Refused>)> {
        let mut told = Vec::new();
        let mut buffer = [0; MAX_MESSAGE];
        while !self.gone {
            match self.channel.receive(&mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(Some(received)) => {
                    let mut sockets = received.descriptors;
                    let packet = buffer.get(..received.len);
                    self.take(packet, sockets.pop(), &mut told);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return told,
                Err(error) => match Cut::of(&error) {
                    // No descriptor was left for the socket.
                    Some(cut) => self.take(buffer.get(..cut.len), None, &mut told),
                    None => self.gone = true,
                },
                Ok(None) => self.gone = true,
            }
        }
        let lost = self.asked.drain().map(|id| (id, Err(Refused::Gone)));
        told.extend(lost);
        told
    }

    fn take(
        &mut self,
        packet: Option<&[u8]>,
        socket: Option<OwnedFd>,
        told: &mut Vec<(u64, Result<Bound, Refused>)>,
    ) {
        let Some(Answer { id, result }) = packet.and_then(Answer::decode) else {
            self.gone = true;
            return;
        };
        if !self.asked.remove(&id) {
            return;
        }
        let no_room = Failure {
            step: Step::Pass,
            errno: Errno::EMFILE,
        };
        let result = result.map_err(Refused::from).and_then(|has_port| {
            let bound = socket.map(|socket| Bound { socket, has_port });
            bound.ok_or(no_room.into())
        });
        told.push((id, result));
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

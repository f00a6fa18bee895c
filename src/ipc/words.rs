//! The messages between processes, apart from the hand-off of sockets; rare, so JSON. Both sides are
//! forks of one program: an unreadable message is a bug or a compromised peer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{Channel, MAX_DESCRIPTORS};
use super::inquiry::Inquiry;
use crate::helper::{Kind, KnownNames};

/// The longest message, in bytes: the addresses of a few thousand services.
pub(crate) const MAX_WORD: usize = 128 * 1024;

/// Supervisor to master.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum ToMaster {
    /// Listening sockets, one descriptor each, and the index of each one's service. May come in several
    /// messages; after [`ToMaster::Serve`] too, of a service that is to be accepted for again.
    Listeners(Vec<usize>),
    /// No more listeners follow: enter the jail and serve.
    Serve,
    /// No handshake with a retired listener is under way: close those whose queues are empty.
    RetiredOver,
    /// Listening sockets that take no new connection ([`super::retire`]), one descriptor each, and the index of the
    /// service that their clients go to: take what is in their queues. May come in several messages.
    Retired(Vec<usize>),
    /// The configuration is in force, and its sockets listen: begin to accept.
    Accept,
    /// Fork a spare, which says what it has to say on this channel, beginning with
    /// [`FromMaster::Forked`]; where that cannot be, [`FromMaster::NotForked`] comes here.
    Spare,
    /// To a spare: the master is dead. Fork another, of this generation, with this channel and this memory of
    /// its counts; it answers as above.
    Replace(u64),
    /// The log file was reopened: its descriptor.
    LogFile,
    /// syslogd was restarted: a connection to it.
    Syslog,
    /// A helper was restarted: a channel on which clients are introduced to it.
    Helper(Kind),
    /// Names that were looked up again, with the addresses that they have now: none where there is no such name any
    /// more. To the master that serves and to its spare, in several messages where need be.
    Names(KnownNames),
    /// Log every connection, then answer [`FromMaster::Listed`].
    List,
    /// Have every worker answer that, over the socket that comes with it.
    Inquire(Inquiry),
    /// Accept nothing more for the service of this index. Connections under way to a retired listener
    /// ([`super::retire`]) still are.
    Withdraw(usize),
    /// Answer [`FromMaster::Alive`].
    Ask,
    /// Stop accepting, except connections under way to a retired listener ([`super::retire`]); exit
    /// when the last connection has ended.
    Drain,
    /// End every connection and exit.
    Cut,
}

/// Master to supervisor.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum FromMaster {
    /// Everything that the configuration names was read. The addresses each service accepts on, by
    /// service and `accept` entry.
    Loaded(Vec<Vec<Accept>>),
    /// Before `Loaded`: names that the configuration has, with their addresses. May come in several messages.
    Resolved(KnownNames),
    /// Something is wrong, and the log says what. The master is about to exit.
    Failed,
    /// The process is in the jail and its workers are up.
    Serving,
    /// The first word of a process that was not forked by the supervisor: its number.
    Forked(i32),
    /// A spare stands ready; the number of its zygote, if it has one.
    Standing(Option<i32>),
    /// The process that was to be forked could not be, and why.
    NotForked(String),
    /// It has stopped accepting: new connections go to the next generation.
    Draining,
    /// This many connections were listed.
    Listed(usize),
    /// The answer to `Ask`: its loop is turning.
    Alive,
    /// A message arrived without its descriptor, here or at a worker, because a descriptor table was
    /// full: send it again.
    Missed,
    /// A helper has not answered in time: it may stand still.
    Silent(Kind),
}

/// Where one `accept` entry listens: names are resolved, the port is still the configured one.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Accept {
    /// One address.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(std::path::PathBuf),
    /// A socket passed to the program, counted from 0.
    Passed(usize),
}

/// Master to worker.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum ToWorker {
    /// As [`ToMaster::LogFile`].
    LogFile,
    /// As [`ToMaster::Syslog`].
    Syslog,
    /// A helper was replaced: a client's socket for each relay thread, and of the fetcher one more, for what is
    /// stapled.
    Helper(Kind),
    /// As [`ToMaster::Names`].
    Names(KnownNames),
    /// As [`ToMaster::List`].
    List,
    /// As [`ToMaster::Inquire`].
    Inquire(Inquiry),
    /// As [`ToMaster::Drain`].
    Drain,
    /// As [`ToMaster::Cut`].
    Cut,
}

/// Worker to master.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum FromWorker {
    /// The relay threads are up.
    Ready,
    /// As [`FromMaster::Listed`].
    Listed(usize),
    /// As [`FromMaster::Missed`].
    Missed,
    /// As [`FromMaster::Silent`].
    Silent(Kind),
}

/// Sends one message.
///
/// # Errors
/// As [`Channel::send`].
pub(crate) fn say<W: Serialize>(
    channel: &Channel,
    word: &W,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.send(&serde_json::to_vec(word)?, descriptors, MsgFlags::empty())
}

/// Sends one message without waiting.
///
/// # Errors
/// As [`Channel::send`].
pub(crate) fn say_now<W: Serialize>(
    channel: &Channel,
    word: &W,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.send(
        &serde_json::to_vec(word)?,
        descriptors,
        MsgFlags::MSG_DONTWAIT,
    )
}

/// How a message to several processes was received.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// How many processes it was sent to.
    pub by: usize,
    /// At least one living process could not be told for now. A dead one does not count: its
    /// replacement starts with the current state.
    pub missed: bool,
}

impl Heard {
    /// Adds the outcome of sending another message.
    pub(crate) fn add(&mut self, other: Heard) {
        self.by += other.by;
        self.missed |= other.missed;
    }

    /// Adds the outcome for one process.
    pub(crate) fn count(&mut self, said: io::Result<()>) {
        match said {
            Ok(()) => self.by += 1,
            Err(error) => self.missed |= Channel::is_busy(&error),
        }
    }
}

/// Receives one message; `None` when the other side is gone.
///
/// # Errors
/// As [`Channel::receive`], and `InvalidData` for anything that is no such message.
pub(crate) fn hear<W: DeserializeOwned>(
    channel: &Channel,
    flags: MsgFlags,
) -> io::Result<Option<(W, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; MAX_WORD];
    match channel.receive(&mut buffer, flags)? {
        None => Ok(None),
        Some(received) => Ok(Some((
            serde_json::from_slice(&buffer[..received.len])?,
            received.descriptors,
        ))),
    }
}

/// Sends [`ToMaster::Listeners`] in as many parts as the descriptors need, then [`ToMaster::Serve`].
///
/// # Errors
/// As [`Channel::send`].
pub(crate) fn say_listeners(
    channel: &Channel,
    listeners: &[(usize, BorrowedFd<'_>)],
) -> io::Result<()> {
    for part in listeners.chunks(MAX_DESCRIPTORS) {
        let services = part.iter().map(|(service, _)| *service).collect();
        let descriptors: Vec<_> = part.iter().map(|(_, fd)| *fd).collect();
        say(channel, &ToMaster::Listeners(services), &descriptors)?;
    }
    say(channel, &ToMaster::Serve, &[])
}

/// Sends [`ToMaster::Retired`] in as many parts as the descriptors need, then [`ToMaster::Accept`].
///
/// # Errors
/// As [`Channel::send`].
pub(crate) fn say_accept(channel: &Channel, retired: &[(usize, BorrowedFd<'_>)]) -> io::Result<()> {
    for part in retired.chunks(MAX_DESCRIPTORS) {
        let services = part.iter().map(|(service, _)| *service).collect();
        let descriptors: Vec<_> = part.iter().map(|(_, fd)| *fd).collect();
        say(channel, &ToMaster::Retired(services), &descriptors)?;
    }
    say(channel, &ToMaster::Accept, &[])
}

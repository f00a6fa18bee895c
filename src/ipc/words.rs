//! The words that processes say to each other, apart from the hand-off of sockets: rare, so JSON.
//! Both sides are forks of one program, so a word that cannot be read is a bug or a broken peer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{Channel, MAX_DESCRIPTORS};
use crate::helper::Kind;

/// Longest word, in bytes: the addresses of a few thousand services.
pub const MAX_WORD: usize = 128 * 1024;

/// Supervisor to master.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum ToMaster {
    /// Listening sockets, one descriptor each; the index of the service of each. May come in parts.
    Listeners(Vec<usize>),
    /// No more listeners follow: enter the jail and serve.
    Serve,
    /// The log file was opened anew: its descriptor.
    LogFile,
    /// syslogd was started anew: a connection to it.
    Syslog,
    /// A helper was started anew: a channel to introduce clients on.
    Helper(Kind),
    /// List the connections in the log, then say [`FromMaster::Listed`].
    List,
    /// Say [`FromMaster::Alive`].
    Ask,
    /// Accept no more, but for what has begun to connect to a retired listener
    /// ([`super::retire`]); go when the last connection has ended.
    Drain,
    /// End every connection and go.
    Cut,
}

/// Master to supervisor.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub enum FromMaster {
    /// Everything that the configuration names was read; the addresses that each service accepts
    /// on, by service and `accept` entry.
    Loaded(Vec<Vec<Accept>>),
    /// Something was wrong, and the log says what. The master is about to go.
    Failed,
    /// The jail is entered and the workers are up.
    Serving,
    /// Told to drain, it accepts no more: whoever connects now meets the next generation.
    Draining,
    /// So many connections were listed.
    Listed(usize),
    /// Asked, its loop has come round.
    Alive,
    /// A word's descriptor found no room in its table, or a word none on its way to a worker: send
    /// again what was sent.
    Missed,
}

/// Where to listen for one `accept` entry: names are resolved, the port is still as asked for.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub enum Accept {
    /// One address.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(std::path::PathBuf),
    /// A socket that was passed to the program, counted from 0.
    Passed(usize),
}

/// Master to worker.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum ToWorker {
    /// As [`ToMaster::LogFile`].
    LogFile,
    /// As [`ToMaster::Syslog`].
    Syslog,
    /// There is another helper: one client's socket for each relay thread.
    Helper(Kind),
    /// As [`ToMaster::List`].
    List,
    /// As [`ToMaster::Drain`].
    Drain,
    /// As [`ToMaster::Cut`].
    Cut,
}

/// Worker to master.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum FromWorker {
    /// The relay threads are up.
    Ready,
    /// As [`FromMaster::Listed`].
    Listed(usize),
    /// As [`FromMaster::Missed`].
    Missed,
}

/// Says one word.
///
/// # Errors
/// As [`Channel::send`].
pub fn say<W: Serialize>(
    channel: &Channel,
    word: &W,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    channel.send(&serde_json::to_vec(word)?, descriptors, MsgFlags::empty())
}

/// Says one word without waiting.
///
/// # Errors
/// As [`Channel::send`].
pub fn say_now<W: Serialize>(
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

/// What became of a word that was said to several.
#[derive(Debug, Default)]
pub struct Heard {
    /// How many it was said to.
    pub by: usize,
    /// One that lives could not be told just now. One that is dead, or about to be noticed as such,
    /// does not count: whoever takes its place knows.
    pub missed: bool,
}

impl Heard {
    /// Adds what came of saying another word.
    pub fn add(&mut self, other: Heard) {
        self.by += other.by;
        self.missed |= other.missed;
    }

    /// Adds what came of saying it to one.
    pub fn count(&mut self, said: io::Result<()>) {
        match said {
            Ok(()) => self.by += 1,
            Err(error) => self.missed |= Channel::is_busy(&error),
        }
    }
}

/// Hears one word; `None` when the other side is gone.
///
/// # Errors
/// As [`Channel::receive`], and `InvalidData` for what is no such word.
pub fn hear<W: DeserializeOwned>(
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

/// Says [`ToMaster::Listeners`] in as many parts as the descriptors need, then [`ToMaster::Serve`].
///
/// # Errors
/// As [`Channel::send`].
pub fn say_listeners(channel: &Channel, listeners: &[(usize, BorrowedFd<'_>)]) -> io::Result<()> {
    for part in listeners.chunks(MAX_DESCRIPTORS) {
        let services = part.iter().map(|(service, _)| *service).collect();
        let descriptors: Vec<_> = part.iter().map(|(_, fd)| *fd).collect();
        say(channel, &ToMaster::Listeners(services), &descriptors)?;
    }
    say(channel, &ToMaster::Serve, &[])
}

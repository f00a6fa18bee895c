//! A worker: an inbox thread receives sockets, relay threads own them.

mod panics;
pub mod poller;
mod reactor;
pub mod slab;
#[cfg(test)]
mod support;
pub mod thread;
pub mod timers;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// A socket that the master handed over.
#[derive(Debug)]
pub struct Handed {
    /// The accepted socket, non-blocking.
    pub socket: OwnedFd,
    /// The master's number for this hand-off to this worker, from 1; claimed through
    /// `WorkerRow::claimed` with `fetch_max` when a relay thread takes it off the channel.
    pub sequence: u64,
    /// The connection's number, over all workers and generations.
    pub connection: u64,
    /// Index of the service.
    pub service: usize,
    /// Who connected; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
}

#[cfg(test)]
mod tests;

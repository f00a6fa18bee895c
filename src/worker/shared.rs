//! What a relay thread shares with the rest of its worker, and the commands it takes.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crossbeam_channel::Sender;

use crate::helper::{Kind, KnownNames};
use crate::ipc::inquiry::{Connection, Inquiry};
use crate::relay::poller::Poller;

/// A command to a relay thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Log a line for each connection, and send their number.
    List(Sender<usize>),
    /// Tell of the connections that are concerned.
    Inquire(Inquiry, Sender<Vec<Connection>>),
    /// Let the sessions end by themselves; exit after the last one, once the channel of sockets is
    /// closed and empty.
    Drain,
    /// End every session now.
    Cut,
    /// Names have other addresses now: new connections go to those.
    Names(KnownNames),
    /// A new helper of this kind; questions that the last one left open are asked again.
    Helper(Kind, OwnedFd),
}

/// What a thread shares with its handle and its siblings.
#[derive(Debug)]
pub(crate) struct Shared {
    pub poller: Arc<Poller>,
    /// Sockets that the thread is to take from the channel.
    pub permits: AtomicUsize,
    /// Its sessions.
    pub active: AtomicUsize,
}

impl Shared {
    /// Sessions that the thread has or is about to have.
    pub(crate) fn load(&self) -> usize {
        self.active.load(Relaxed) + self.permits.load(Acquire)
    }
}

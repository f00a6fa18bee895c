//! What a relay thread shares with the rest of its worker, and what it can be told.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crossbeam_channel::Sender;

use crate::helper::Kind;
use crate::relay::poller::Poller;

/// What a relay thread can be told.
#[derive(Debug)]
pub enum Command {
    /// Write a line for each connection, and send how many there were.
    List(Sender<usize>),
    /// Let the sessions end by themselves; end with the last one, when the channel of sockets is
    /// closed and empty.
    Drain,
    /// End every session now.
    Cut,
    /// There is a new helper of a kind; what the last one has not answered is asked again.
    Helper(Kind, OwnedFd),
}

/// What the thread, its handle and its siblings share.
#[derive(Debug)]
pub struct Shared {
    pub poller: Arc<Poller>,
    /// Sockets that the thread is to take off the channel.
    pub permits: AtomicUsize,
    /// Sessions that it has.
    pub active: AtomicUsize,
}

impl Shared {
    /// Sessions that the thread has or is about to have.
    pub fn load(&self) -> usize {
        self.active.load(Relaxed) + self.permits.load(Acquire)
    }
}

//! A relay thread from outside: what it is started with, and what it can be told.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::inlet::Inlet;
use super::reactor::Reactor;
use crate::helper::Kind;
use crate::ipc::handoff::Handed;
use crate::ipc::scoreboard::Scoreboard;
use crate::relay::ServiceContext;
use crate::relay::poller::Poller;
use crate::step::NameStep;

/// What a relay thread is started with.
#[derive(Debug)]
pub struct ThreadContext {
    /// The services, by index.
    pub services: Arc<[ServiceContext]>,
    /// Where is counted.
    pub scoreboard: Scoreboard,
    /// Which worker this is, from 0.
    pub worker: usize,
    /// A client's socket to each helper that workers ask.
    pub helpers: Vec<(Kind, OwnedFd)>,
    /// Where the worker's sockets come in, for the thread that receives them.
    pub inlet: Option<Inlet>,
}

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

/// What the thread and its handle share.
#[derive(Debug)]
pub(super) struct Shared {
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

/// A running relay thread.
#[derive(Debug)]
pub struct ThreadHandle {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

/// Starts a relay thread that takes its sockets off `receiver`, which all threads of a worker may
/// share.
///
/// # Errors
/// No descriptor, no memory or no thread is left.
pub fn spawn(context: ThreadContext, receiver: Receiver<Handed>) -> io::Result<ThreadHandle> {
    let shared = Arc::new(Shared {
        poller: Arc::new(Poller::new()?),
        permits: AtomicUsize::new(0),
        active: AtomicUsize::new(0),
    });
    let (commands, incoming) = unbounded();
    let reactor = Reactor::new(context, Arc::clone(&shared), receiver, incoming)?;
    let thread = Builder::new()
        .name("relay".to_owned())
        .spawn(move || reactor.run_or_abort())
        .step("starting a relay thread")?;
    Ok(ThreadHandle {
        shared,
        commands,
        thread,
    })
}

impl ThreadHandle {
    /// Tells the thread to take `sockets` more off the channel, where they are already.
    pub fn wake_for(&self, sockets: usize) {
        self.shared.permits.fetch_add(sockets, Release);
        self.shared.poller.notify();
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Sessions that it has.
    pub fn active(&self) -> usize {
        self.shared.active.load(Relaxed)
    }

    /// Sessions that it has or is about to have.
    pub fn load(&self) -> usize {
        self.shared.load()
    }

    /// Tells the thread to do something. One that has ended does nothing.
    pub fn command(&self, command: Command) {
        let _ = self.commands.send(command);
        self.shared.poller.notify();
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the thread has ended, which it does after [`Command::Drain`] once the sender of
    /// its sockets is dropped and its last session is over.
    ///
    /// # Errors
    /// It panicked outside of a session.
    pub fn join(self) -> std::thread::Result<()> {
        // The channel's closing makes no event: this lets the thread look once more.
        self.shared.poller.notify();
        self.thread.join()
    }
}

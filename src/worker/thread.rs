//! A relay thread seen from outside: starting it, commanding it, waiting for its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
#[cfg(test)]
use std::sync::atomic::Ordering::Release;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::reactor::{Reactor, ThreadContext};
use super::shared::{Command, Shared};
use crate::ipc::handoff::Handed;
use crate::relay::poller::Poller;
use crate::step::NameStep;

/// A running relay thread.
#[derive(Debug)]
pub(crate) struct ThreadHandle {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

/// Starts a relay thread that takes its sockets from `receiver`, which all threads of a worker may
/// share.
///
/// # Errors
/// No descriptor, no memory or no thread is left.
pub(crate) fn spawn(
    context: ThreadContext,
    receiver: Receiver<Handed>,
) -> io::Result<ThreadHandle> {
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
    /// A thread that does nothing, and the commands that it is sent.
    #[cfg(test)]
    pub(super) fn that_stands_still() -> (ThreadHandle, Receiver<Command>) {
        let (commands, incoming) = unbounded();
        let shared = Shared {
            poller: Arc::new(Poller::new().unwrap()),
            permits: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
        };
        let handle = ThreadHandle {
            shared: Arc::new(shared),
            commands,
            thread: std::thread::spawn(|| ()),
        };
        (handle, incoming)
    }

    /// Lets the thread take `sockets` more from the channel, where they are already.
    #[cfg(test)]
    pub(crate) fn wake_for(&self, sockets: usize) {
        self.shared.permits.fetch_add(sockets, Release);
        self.shared.poller.notify();
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Sessions that the thread has or is about to have.
    #[cfg(test)]
    pub(crate) fn load(&self) -> usize {
        self.shared.load()
    }

    /// Sends the thread a command. A thread that has ended ignores it.
    pub(crate) fn command(&self, command: Command) {
        let _ = self.commands.send(command);
        self.shared.poller.notify();
    }

    /// Whether the thread has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the thread has ended. After [`Command::Drain`] that is when the sender of its
    /// sockets is dropped and its last session is over.
    ///
    /// # Errors
    /// It panicked outside a session.
    #[cfg(test)]
    pub(crate) fn join(self) -> std::thread::Result<()> {
        // The closing of the channel makes no event, so wake the thread.
        self.shared.poller.notify();
        self.thread.join()
    }
}

//! A worker: an inbox thread hears the master's words; the first relay thread receives sockets, and
//! puts on a channel what others have more time for; relay threads own them.
//! Holds no listener. Never in here: what happens on a connection.

mod burst;
mod inbox;
pub mod inlet;
mod panics;
pub mod reactor;
pub mod slab;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod timers;

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::jail::Jailed;
use crate::log::{self, Log};
use crate::process::{self, Fresh};
use crate::relay::ServiceContext;

/// What a worker is born with.
#[derive(Debug)]
pub struct Start {
    /// Its number, from 0: its row on the scoreboard.
    pub index: usize,
    /// The generation it belongs to.
    pub generation: u64,
    /// The services of the configuration.
    pub services: Arc<[ServiceContext]>,
    /// Where it counts.
    pub scoreboard: Scoreboard,
    /// Words to and from the master.
    pub master: Channel,
    /// Sockets from the master.
    pub sockets: Channel,
    /// To the supervisor's life.
    pub leash: Leash,
    /// One resolver socket for each relay thread; may be empty when there is no resolver just now.
    pub resolver: Vec<OwnedFd>,
    /// How many relay threads.
    pub threads: usize,
    /// How long connections may go on when the master is gone; `None`: until they end.
    pub drain_timeout: Option<Duration>,
    /// How loud the main log is.
    pub log: Log,
}

/// The worker's life, from the fork to `_exit`.
pub fn run(start: Start, fresh: Fresh, jailed: &Jailed) -> Infallible {
    let log = start.log;
    if let Err(error) = live(start, fresh, jailed) {
        crate::error!(log, "Worker: {}", log::Reason(&error));
        process::exit(1);
    }
    process::exit(0)
}

fn live(start: Start, fresh: Fresh, _: &Jailed) -> std::io::Result<()> {
    process::close_all_but(&kept(&start))?;
    crate::sandbox::worker()?;
    process::title(
        &format!("adit: worker {}", start.index),
        &format!(" of generation {}", start.generation),
    );
    // Signals to a worker are the supervisor's business: heard nowhere, they are ignored.
    let _signals = fresh.hear(&[])?;
    let row = start.scoreboard.worker(start.index);
    row.pid().store(std::process::id().into(), Relaxed);
    row.starts().fetch_add(1, Relaxed);
    inbox::Inbox::open(start)?.run()
}

fn kept(start: &Start) -> Vec<RawFd> {
    let mut kept = log::descriptors();
    kept.extend([
        start.master.as_fd().as_raw_fd(),
        start.sockets.as_fd().as_raw_fd(),
        start.leash.as_fd().as_raw_fd(),
    ]);
    kept.extend(start.resolver.iter().map(AsRawFd::as_raw_fd));
    kept
}

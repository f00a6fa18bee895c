//! A worker: an inbox thread receives the master's messages. The first relay thread receives sockets,
//! and puts on a channel those that other threads have more time for. Relay threads own the sessions. A
//! worker holds no listener. Never in here: what happens on a connection.

mod burst;
mod complaints;
pub(crate) mod group;
mod inbox;
pub(crate) mod inlet;
mod inquiring;
mod panics;
mod prober;
pub(crate) mod reactor;
mod shared;
pub(crate) mod slab;
mod stapler;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
pub(crate) mod timers;
mod unfinished;

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::config::{LogFormat, Service};
use crate::helper::Kind;
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::jail::Jailed;
use crate::log::{self, Log};
use crate::process::{self, Fresh};
use crate::relay::ServiceContext;
use crate::sandbox::{self, Binds};
use group::Group;

/// What a worker is started with.
#[derive(Debug)]
pub(crate) struct Start {
    /// Its number, from 0: its row on the scoreboard.
    pub index: usize,
    /// The services that it is there for.
    pub group: Group,
    /// The generation it belongs to.
    pub generation: u64,
    /// The services of the configuration.
    pub services: Arc<[ServiceContext]>,
    /// This generation's counts.
    pub scoreboard: Scoreboard,
    /// Messages to and from the master.
    pub master: Channel,
    /// Sockets from the master.
    pub sockets: Channel,
    /// Readable once the supervisor is gone.
    pub leash: Leash,
    /// For each helper, one client socket for each relay thread, and of the fetcher one more, for what is stapled; a
    /// helper that is not running is missing.
    pub helpers: Vec<(Kind, Vec<OwnedFd>)>,
    /// How many relay threads.
    pub threads: usize,
    /// How long connections may go on when the master is gone; `None`: until they end.
    pub drain_timeout: Option<Duration>,
    /// The main log.
    pub log: Log,
}

/// The life of a worker, from the fork to `_exit`.
pub(crate) fn run(start: Start, fresh: Fresh, jailed: &Jailed) -> Infallible {
    let log = start.log;
    if let Err(error) = live(start, fresh, jailed) {
        crate::error!(log, "Worker: {}", log::Reason(&error));
        process::exit(1);
    }
    process::exit(0)
}

#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn live(start: Start, fresh: Fresh, _: &Jailed) -> std::io::Result<()> {
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&kept(&start)) }?;
    let binds = match start.services.iter().any(|s| binds(&s.config)) {
        true => Binds::Yes,
        false => Binds::No,
    };
    let sandboxed = match start.group {
        Group::Modern => sandbox::worker(binds)?,
        Group::Old => sandbox::old_worker(binds)?,
    };
    process::title(
        &match start.group {
            Group::Modern => format!("adit: worker {}", start.index),
            Group::Old => format!("adit: old worker {}", start.index),
        },
        &format!(" of generation {}", start.generation),
    );
    // Signals are the supervisor's business: a worker ignores them.
    let _signals = fresh.hear(&[])?;
    if log::format() == LogFormat::Json {
        log::name_services(start.services.iter().map(|one| one.config.name.clone()));
    }
    start.scoreboard.keep_log_losses();
    let row = start.scoreboard.worker(start.index);
    row.pid().store(std::process::id().into(), Relaxed);
    row.starts().fetch_add(1, Relaxed);
    inbox::Inbox::open(start, &sandboxed)?.run()
}

/// Whether a service has sockets bound to addresses of this machine: an identd knows a connection by those.
fn binds(service: &Service) -> bool {
    service.local.is_some() || service.admission.ident.is_some()
}

fn kept(start: &Start) -> Vec<RawFd> {
    let mut kept = log::descriptors();
    kept.extend([
        start.master.as_fd().as_raw_fd(),
        start.sockets.as_fd().as_raw_fd(),
        start.leash.as_fd().as_raw_fd(),
    ]);
    let clients = start.helpers.iter().flat_map(|(_, clients)| clients);
    kept.extend(clients.map(AsRawFd::as_raw_fd));
    kept
}

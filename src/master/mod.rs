//! The master of one generation: loads keys as root, enters the jail, forks the workers, accepts,
//! and hands each socket to the least busy of them. One thread; never a byte of a connection.

pub mod handoff;
mod listener;
pub mod load;
mod names;
mod problems;
mod reminders;
mod serve;
mod stall;
mod watch;
pub mod workers;

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use nix::sys::socket::MsgFlags;
use signal_hook::consts::SIGCHLD;

use crate::config::{Config, Foreground};
use crate::helper::{Contacts, NameClient};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::shared::SharedWords;
use crate::ipc::words::{FromMaster, ToMaster, hear, say};
use crate::jail::Jailed;
use crate::limits;
use crate::log::{self, Id, Log, Outputs};
use crate::process::{self, Fresh, OneThread};
use crate::step::NameStep;
use crate::tls::{CipherOrder, PassPhrases, Resumption};
use listener::Listener;
use load::Loaded;
use watch::Watch;
use workers::{Nursery, Workers};

/// Descriptors a worker needs besides two a session: logs, channels, and three a relay thread.
const RESERVED_DESCRIPTORS: usize = 32;
const DESCRIPTORS_PER_THREAD: usize = 4;

/// What a master is born with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The number of its generation.
    pub generation: u64,
    /// Inherited by the fork; nothing is serialised.
    pub config: &'a Config,
    /// Pass phrases for its keys.
    pub phrases: PassPhrases,
    /// Shared by all generations.
    pub resumption: &'a Resumption,
    /// The number of the last connection, over all generations, in its first word.
    pub connections: SharedWords,
    /// This generation's counts.
    pub scoreboard: Scoreboard,
    /// To the supervisor.
    pub supervisor: Channel,
    /// To the supervisor's life.
    pub leash: Leash,
    /// Where clients are introduced to helpers.
    pub helpers: Contacts,
    /// Where to log from now on, if that changes.
    pub outputs: Option<Outputs>,
    /// How loud the main log is.
    pub log: Log,
}

/// The master's life, from the fork to `_exit`.
pub fn run(start: Start<'_>, fresh: Fresh) -> Infallible {
    let log = start.log;
    match live(start, fresh) {
        Ok(()) => process::exit(0),
        Err(error) => {
            crate::error!(log, "Master: {}", log::Reason(&error));
            process::exit(1)
        }
    }
}

fn live(mut start: Start<'_>, fresh: Fresh) -> io::Result<()> {
    forget_the_supervisor(&start)?;
    process::title(
        "adit: master",
        &format!(" of generation {}", start.generation),
    );
    let Some(loaded) = load_or_say_why(&start)? else {
        return Ok(());
    };
    // The keys are open: nobody in the jail needs them.
    start.phrases = PassPhrases::none();
    let Some(listeners) = listeners(&mut start)? else {
        return Ok(());
    };
    start.log.id = Id::Main;
    // Only now: whatever was wrong was said in the log that is in force.
    if let Some(outputs) = start.outputs.take() {
        log::install(outputs);
    }
    let jailed = enter_jail(&start, &loaded)?;
    crate::sandbox::master()?;
    let signals = fresh.hear(&[SIGCHLD])?;
    let workers = Workers::new(Nursery {
        watch: Rc::new(Watch::new()?),
        generation: start.generation,
        services: loaded.services,
        scoreboard: start.scoreboard,
        leash: start.leash.try_clone()?,
        helpers: start.helpers,
        threads: start.config.global.threads,
        drain_timeout: start.config.global.drain_timeout,
        capacity: capacity(start.config.global.threads),
        log: start.log,
    });
    let serving = serve::Serving::new(
        start.supervisor,
        start.leash,
        start.connections,
        signals,
        listeners,
        workers,
        start.log,
    )?;
    serving.run(&jailed)
}

/// Closes every descriptor of the supervisor's that a master must not have: other generations'
/// channels and listeners, the control socket, the leash's other end.
fn forget_the_supervisor(start: &Start<'_>) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend(start.outputs.iter().flat_map(Outputs::descriptors));
    kept.extend([
        start.supervisor.as_fd().as_raw_fd(),
        start.leash.as_fd().as_raw_fd(),
    ]);
    kept.extend(start.helpers.descriptors());
    process::close_all_but(&kept)
}

/// Reads everything the configuration names and tells the supervisor how it went.
fn load_or_say_why(start: &Start<'_>) -> io::Result<Option<Loaded>> {
    let mut client =
        NameClient::introduced(&start.helpers).step("reaching the helper that resolves names")?;
    let (phrases, resumption) = (&start.phrases, start.resumption);
    match load::load(start.config, &mut client, phrases, resumption, &start.log) {
        Ok(loaded) => {
            load::tell(&loaded.warnings, &start.log);
            let order = CipherOrder::of(start.config.global.prefer_chacha20);
            if order.chacha20_first {
                crate::info!(start.log, "Ciphers: {order}");
            }
            for option in loaded.plan.not_in_force(&start.config.global) {
                crate::notice!(
                    start.log,
                    "Started as an ordinary user: {option} is not in force"
                );
            }
            let said = FromMaster::Loaded(loaded.accept.clone());
            say(&start.supervisor, &said, &[])?;
            Ok(Some(loaded))
        }
        Err(found) => {
            load::tell(&found, &start.log);
            say(&start.supervisor, &FromMaster::Failed, &[])?;
            Ok(None)
        }
    }
}

/// Waits for the listeners; `None` when the supervisor gave this generation up.
fn listeners(start: &mut Start<'_>) -> io::Result<Option<Vec<Listener>>> {
    let mut listeners = Vec::new();
    loop {
        match hear::<ToMaster>(&start.supervisor, MsgFlags::empty())? {
            Some((ToMaster::Listeners(services), sockets)) if services.len() == sockets.len() => {
                let pairs = sockets.into_iter().zip(services);
                listeners.extend(pairs.map(|(socket, service)| Listener::new(socket, service)));
            }
            Some((ToMaster::Serve, _)) => return Ok(Some(listeners)),
            Some((ToMaster::LogFile, mut files)) => {
                if let Some(file) = files.pop() {
                    log::replace_file(file)?;
                }
            }
            Some((ToMaster::Syslog, mut sockets)) => {
                if let Some(socket) = sockets.pop() {
                    // Not in use yet, perhaps: what is about to be installed may be.
                    let _ = log::replace_syslog(socket);
                }
            }
            Some((ToMaster::Helper(kind), mut channels)) => {
                if let Some(channel) = channels.pop() {
                    start.helpers.replace(kind, channel.into());
                }
            }
            Some((ToMaster::Drain | ToMaster::Cut, _)) | None => return Ok(None),
            Some((word, _)) => {
                return Err(io::Error::other(format!(
                    "not a word to wait with: {word:?}"
                )));
            }
        }
    }
}

fn enter_jail(start: &Start<'_>, loaded: &Loaded) -> io::Result<Jailed> {
    if start.config.global.foreground == Foreground::No {
        process::let_go_of_the_terminal()?;
    }
    let plan = loaded.plan.clone();
    let root = plan.root().map(|root| root.display().to_string());
    let entered = plan.enter(&OneThread::prove()?);
    let jailed =
        entered.map_err(|error| io::Error::other(format!("{error} ({})", error.remedy())))?;
    if let Some(root) = root {
        crate::info!(start.log, "Switched to chroot directory: {root}");
    }
    Ok(jailed)
}

/// Sessions for which a worker's descriptor table has room.
fn capacity(threads: usize) -> usize {
    let reserved = RESERVED_DESCRIPTORS + threads * DESCRIPTORS_PER_THREAD;
    (limits::open_files().saturating_sub(reserved) / 2).max(1)
}

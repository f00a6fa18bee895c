//! The master of one generation: loads keys as root, enters the jail, forks the workers, accepts, and
//! hands each socket to the least busy worker. It has one thread, and never touches a byte of a
//! connection.

mod balance;
mod fronts;
pub(crate) mod handoff;
mod listener;
pub(crate) mod load;
mod names;
mod poll;
mod post;
mod problems;
mod quotas;
mod reminders;
mod serve;
mod slot;
mod spare;
mod stall;
pub(crate) mod workers;
mod zygote;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::MsgFlags;
use signal_hook::consts::SIGCHLD;

use crate::config::{Config, Foreground, Severity};
use crate::helper::binder::{Key, Seal, Warrants};
use crate::helper::{Contacts, Kind, KnownNames, NameClient};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::shared::SharedWords;
use crate::ipc::words::{FromMaster, ToMaster, hear, say};
use crate::jail::{Bare, JailError, Jailed};
use crate::limits;
use crate::log::{self, Id, Log, Outputs};
use crate::memory;
use crate::process::{self, Fresh, OneThread};
use crate::sandbox::SandboxError;
use crate::step::NameStep;
use crate::tls::{CipherOrder, PassPhrases, Resumption};
use crate::worker::group::{self, Group};
use listener::Listener;
use load::{Addresses, Loaded, Presented};
use post::Post;
use quotas::Older;
use reminders::Reminders;
use serve::Serving;
use workers::WorkerConfig;
use zygote::Zygote;

/// Descriptors a worker needs besides two for each session: logs, channels, and three for each relay
/// thread.
const RESERVED_DESCRIPTORS: usize = 32;
const DESCRIPTORS_PER_THREAD: usize = 4;

/// What a master is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The number of its generation.
    pub generation: u64,
    /// Inherited through the fork; nothing is serialised.
    pub config: &'a Config,
    /// Pass phrases for the generation's keys.
    pub phrases: PassPhrases,
    /// Shared by all generations.
    pub resumption: &'a mut Resumption,
    /// The first word is the number of the last connection, over all generations.
    pub connections: SharedWords,
    /// What it issues warrants by; `None` once that is in memory that no fork inherits.
    pub warrants: Option<Key>,
    /// This generation's counts.
    pub scoreboard: Scoreboard,
    /// Those of the generations before, with the names of their services: they may have connections still.
    pub older: Vec<(Scoreboard, Vec<String>)>,
    /// The channel to the supervisor.
    pub supervisor: Channel,
    /// The addresses that names had before.
    pub names: KnownNames,
    /// Readable once the supervisor is gone.
    pub leash: Leash,
    /// Where clients are introduced to helpers.
    pub helpers: Contacts,
    /// The new log outputs, if they change.
    pub outputs: Option<Outputs>,
    /// The main log.
    pub log: Log,
}

/// Why a master ends early.
#[derive(Debug)]
enum Fatal {
    System(io::Error),
    Jail(JailError),
    Sandbox(SandboxError),
    /// A message that only a serving master can act on, before it serves.
    UnexpectedWord(ToMaster),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::System(error) => log::Reason(error).fmt(f),
            Fatal::Jail(error) => write!(f, "{error} ({})", error.remedy()),
            Fatal::Sandbox(error) => error.fmt(f),
            Fatal::UnexpectedWord(word) => write!(f, "unexpected message before serving: {word:?}"),
        }
    }
}

impl From<io::Error> for Fatal {
    fn from(error: io::Error) -> Fatal {
        Fatal::System(error)
    }
}

impl From<JailError> for Fatal {
    fn from(error: JailError) -> Fatal {
        Fatal::Jail(error)
    }
}

impl From<SandboxError> for Fatal {
    fn from(error: SandboxError) -> Fatal {
        Fatal::Sandbox(error)
    }
}

/// The life of a master, from the fork to `_exit`.
pub(crate) fn run(start: Start<'_>, fresh: Fresh) -> Infallible {
    let log = start.log;
    end("Master", log, live(start, fresh))
}

/// Ends a master or a spare; the log says why it had to.
fn end(role: &str, log: Log, outcome: Result<(), Fatal>) -> Infallible {
    match outcome {
        Ok(()) => process::exit(0),
        Err(fatal) => {
            crate::error!(log, "{role}: {fatal}");
            process::exit(1)
        }
    }
}

fn live(mut start: Start<'_>, fresh: Fresh) -> Result<(), Fatal> {
    forget_the_supervisor(&start)?;
    process::title(
        "adit: master",
        &format!(" of generation {}", start.generation),
    );
    log::limit_repeats(start.config.global.log_repeats);
    // Before anything is forked.
    let warrants = warrants(&mut start)?;
    let Some(generation) = load_or_say_why(&mut start, &fresh)? else {
        return Ok(());
    };
    let Ready {
        loaded,
        presented,
        mut zygote,
    } = generation;
    // The keys are decrypted; nothing in the jail needs the pass phrases.
    start.phrases = PassPhrases::none();
    let mut names = KnownNames::default();
    let Some(orders) = orders(
        &start.supervisor,
        &mut start.helpers,
        &mut names,
        zygote.as_ref(),
    )?
    else {
        return Ok(());
    };
    start.log.id = Id::Main;
    // Only now, so that anything wrong until here went to the log that is in force.
    if let Some(outputs) = start.outputs.take() {
        log::install(outputs);
    }
    let jailed = enter_jail(&start, &loaded)?;
    if let Some(zygote) = &mut zygote {
        zygote.enter_jail()?;
    }
    let jailed = jailed.within(&crate::sandbox::master()?);
    let older = std::mem::take(&mut start.older).into_iter();
    let older = older
        .map(|(board, names)| Older::of(board, &names, &loaded.services))
        .collect();
    let post = Post {
        supervisor: start.supervisor,
        connections: start.connections,
        reminders: Reminders::of(&presented, &start.config.services),
        warrants: warrants.map(Seal::Ours),
        workers: WorkerConfig {
            groups: group::crew(start.config),
            zygote,
            generation: start.generation,
            services: loaded.services,
            scoreboard: start.scoreboard,
            leash: start.leash,
            helpers: start.helpers,
            names,
            threads: start.config.global.threads,
            drain_timeout: start.config.global.drain_timeout,
            capacity: capacity(start.config.global.threads),
            max_connections: start.config.global.max_connections,
            older,
            log: start.log,
        },
    };
    serve(post, orders, fresh, &jailed)
}

/// Serves until there is nothing more to serve. Its spare comes before its workers, and before anything is
/// accepted.
fn serve(post: Post, orders: Orders, fresh: Fresh, jailed: &Jailed) -> Result<(), Fatal> {
    let signals = fresh.hear(&[SIGCHLD])?;
    let mut serving = Serving::new(post, orders.listeners, signals)?;
    // What loading left behind would stay in each process that is forked from here on.
    memory::trim();
    if let Some(channel) = orders.spare {
        serving.fork_spare(channel, jailed)?;
    }
    Ok(serving.run(jailed)?)
}

/// Closes every descriptor of the supervisor that a master must not have: other generations' channels
/// and listeners, the control socket, the other end of the leash.
#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn forget_the_supervisor(start: &Start<'_>) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend(start.outputs.iter().flat_map(Outputs::descriptors));
    kept.extend([
        start.supervisor.as_fd().as_raw_fd(),
        start.leash.as_fd().as_raw_fd(),
    ]);
    kept.extend(start.helpers.descriptors());
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&kept) }
}

/// The key for warrants, where a service needs them, in memory that no worker inherits.
fn warrants(start: &mut Start<'_>) -> io::Result<Option<Warrants>> {
    let mut services = start.config.services.iter();
    let needed = services.any(|service| service.transparent.source);
    let key = start.warrants.take().filter(|_| needed);
    key.as_ref().map(Warrants::with).transpose()
}

/// A generation that has loaded.
struct Ready {
    /// What the master itself has read: no key of a service with old TLS.
    loaded: Loaded,
    /// All certificates, also those that it has not read itself.
    presented: Vec<Presented>,
    /// Where a service has old TLS.
    zygote: Option<Zygote>,
}

/// Reads everything that the configuration names, and reports the result to the supervisor.
fn load_or_say_why(start: &mut Start<'_>, fresh: &Fresh) -> io::Result<Option<Ready>> {
    let mut client =
        NameClient::introduced(&start.helpers).step("reaching the helper that resolves names")?;
    let config = start.config;
    let addresses = Addresses::look_up(config, &mut client, &start.names);
    if addresses.came_late() {
        say(&start.supervisor, &FromMaster::Silent(Kind::Resolver), &[])?;
    }
    for part in addresses.known().parts() {
        say(&start.supervisor, &FromMaster::Resolved(part), &[])?;
    }
    // Before a key is read: it is a copy of this process.
    let mut zygote = match config.services.iter().any(|s| Group::of(s) == Group::Old) {
        true => Some(Zygote::start(start, &addresses, fresh)?),
        false => None,
    };
    // Sessions and tickets of old TLS are the zygote's business.
    start.resumption.forget_old()?;
    config.forget_secrets(|service| Group::of(service) == Group::Old);
    let (phrases, resumption) = (&start.phrases, &*start.resumption);
    let modern = Some(Group::Modern);
    let loaded = load::load_group(config, &addresses, modern, phrases, resumption, &start.log);
    // Both say all that is wrong.
    let old = match &mut zygote {
        Some(zygote) => zygote.loaded()?,
        None => Some(Vec::new()),
    };
    let ready = loaded.and_then(|loaded| {
        let Some(old) = old else {
            load::tell(&loaded.warnings, &start.log);
            return Err(Vec::new());
        };
        let presented = [loaded.presented(), old].concat();
        let shared = load::shared_keys(config, &presented);
        match shared.iter().any(|found| found.severity == Severity::Error) {
            true => Err(shared),
            false => {
                load::tell(&shared, &start.log);
                Ok((loaded, presented))
            }
        }
    });
    match ready {
        Ok((loaded, presented)) => {
            load::tell(&loaded.warnings, &start.log);
            loaded.note_staples(&start.scoreboard);
            load::note_ends(&presented, &start.scoreboard);
            reminders::keep(&presented, &start.scoreboard);
            let order = CipherOrder::of(start.config.global.prefer_chacha20);
            if order.chacha20_first {
                crate::info!(start.log, "Ciphers: {order}");
            }
            let idle = loaded.plan.not_in_force(&start.config.global);
            if !idle.is_empty() {
                crate::notice!(
                    start.log,
                    "Started as an ordinary user, so without effect: {}",
                    idle.join(", ")
                );
            }
            let said = FromMaster::Loaded(loaded.accept.clone());
            say(&start.supervisor, &said, &[])?;
            Ok(Some(Ready {
                loaded,
                presented,
                zygote,
            }))
        }
        Err(found) => {
            load::tell(&found, &start.log);
            problems::keep(&found, &start.scoreboard);
            say(&start.supervisor, &FromMaster::Failed, &[])?;
            Ok(None)
        }
    }
}

/// What the supervisor wants of a master that is ready to serve.
struct Orders {
    listeners: Vec<Listener>,
    /// The channel of the spare that it is to fork, if it is to.
    spare: Option<Channel>,
}

/// Waits for the listeners; `None` when the supervisor has given up this generation.
fn orders(
    supervisor: &Channel,
    helpers: &mut Contacts,
    names: &mut KnownNames,
    zygote: Option<&Zygote>,
) -> Result<Option<Orders>, Fatal> {
    let (mut listeners, mut spare) = (Vec::new(), None);
    loop {
        match hear::<ToMaster>(supervisor, MsgFlags::empty())? {
            Some((ToMaster::Listeners(services), sockets)) if services.len() == sockets.len() => {
                let pairs = sockets.into_iter().zip(services);
                listeners.extend(pairs.map(|(socket, service)| Listener::new(socket, service)));
            }
            Some((ToMaster::Spare, mut channels)) => spare = channels.pop().map(Channel::from),
            Some((ToMaster::Serve, _)) => return Ok(Some(Orders { listeners, spare })),
            Some((ToMaster::LogFile, mut files)) => {
                if let Some(file) = files.pop() {
                    if let Some(zygote) = zygote {
                        // One that is busy with so few messages does not load in time either.
                        let _ = zygote.replace_log(file.as_fd());
                    }
                    log::replace_file(file)?;
                }
            }
            Some((ToMaster::Syslog, mut sockets)) => {
                if let Some(socket) = sockets.pop() {
                    if let Some(zygote) = zygote {
                        // As above.
                        let _ = zygote.replace_syslog(socket.as_fd());
                    }
                    // syslog may not be in use yet; the outputs about to be installed may use it.
                    let _ = log::replace_syslog(socket);
                }
            }
            Some((ToMaster::Helper(kind), mut channels)) => {
                if let Some(channel) = channels.pop() {
                    helpers.replace(kind, channel.into());
                }
            }
            Some((ToMaster::Names(changed), _)) => names.add(changed),
            Some((ToMaster::Drain | ToMaster::Cut, _)) | None => return Ok(None),
            Some((word, _)) => return Err(Fatal::UnexpectedWord(word)),
        }
    }
}

fn enter_jail(start: &Start<'_>, loaded: &Loaded) -> Result<Bare<Jailed>, Fatal> {
    if start.config.global.foreground == Foreground::No {
        process::let_go_of_the_terminal()?;
    }
    let plan = loaded.plan.clone();
    let root = plan.root().map(|root| root.display().to_string());
    let jailed = plan.enter(&OneThread::prove()?)?;
    if let Some(root) = root {
        crate::info!(start.log, "Switched to chroot directory: {root}");
    }
    Ok(jailed)
}

/// Sessions that fit into a worker's descriptor table.
fn capacity(threads: usize) -> usize {
    let reserved = RESERVED_DESCRIPTORS + threads * DESCRIPTORS_PER_THREAD;
    (limits::open_files().saturating_sub(reserved) / 2).max(1)
}

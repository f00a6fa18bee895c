//! A generation: one master and its workers, from fork to last child, and how far it has come.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::carried::Carried;
use super::vault::Vault;
use crate::config::Config;
use crate::helper::Contacts;
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::shared::SharedWords;
use crate::ipc::words::{ToMaster, say_now};
use crate::log::{Log, Outputs};
use crate::master;
use crate::process::{self, OneThread};
use crate::step::NameStep;
use crate::tls::Resumption;

/// How long a master may take to end once it was told to end every connection: longer than it
/// waits for its workers.
const CUT_PATIENCE: Duration = Duration::from_secs(10);

/// How far a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Reads what the configuration names, still as root.
    Loading,
    /// Was given its listeners; enters the jail and starts workers.
    Starting,
    /// Accepts.
    Serving,
    /// Accepts no more; its connections go on until they end, or until then.
    Draining(Option<Instant>),
    /// Its master has died: see [`super::orphans`].
    Orphaned,
    /// Was told to end every connection; is killed if it has not ended by then.
    Cut(Instant),
}

impl State {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            State::Loading => "loading",
            State::Starting => "starting",
            State::Serving => "serving",
            State::Draining(_) => "draining",
            State::Orphaned => "orphaned",
            State::Cut(_) => "ending",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Generation {
    /// Counted from 1, by master started.
    pub number: u64,
    /// The master.
    pub pid: Pid,
    /// To the master.
    pub channel: Channel,
    /// Whether the master's end is still there.
    pub hears: bool,
    /// Its counts.
    pub scoreboard: Scoreboard,
    /// How far it has come.
    pub state: State,
    /// The memory of its counts, to be handed over an exec.
    pub board: OwnedFd,
    /// The names of its services.
    pub names: Vec<String>,
    /// How long it may drain.
    pub drain_timeout: Option<Duration>,
    /// When its master was forked.
    pub since: SystemTime,
    /// The same for measuring.
    pub started: Instant,
}

/// What generations share, and what a new one needs.
#[derive(Debug)]
pub struct Common {
    /// Ticket secret and session cache.
    pub resumption: Resumption,
    /// Counts connections, in its first word.
    pub connections: SharedWords,
    /// The children's end of the leash.
    pub leash: Leash,
    /// The memory of the session cache, and of `connections`, to be handed over an exec.
    pub memory: [OwnedFd; 2],
    /// The pass phrases of keys.
    pub vault: Vault,
    /// Counts of generations that no longer serve.
    pub carried: Carried,
}

impl Common {
    /// Draws secrets and makes memory.
    ///
    /// # Errors
    /// No memory, no descriptors left, no randomness.
    pub fn new(leash: Leash, vault: Vault) -> io::Result<Common> {
        let (resumption, sessions) = Resumption::transferable()?;
        let (connections, counter) = SharedWords::transferable(1)?;
        Ok(Common {
            resumption,
            connections,
            leash,
            memory: [sessions, counter],
            vault,
            carried: Carried::default(),
        })
    }
}

impl Generation {
    /// Forks the master of a new generation.
    ///
    /// # Errors
    /// No process, memory or descriptor to be had.
    pub fn start(
        number: u64,
        config: &Config,
        common: &Common,
        helpers: Contacts,
        outputs: &mut Option<Outputs>,
        log: Log,
    ) -> io::Result<Generation> {
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let (scoreboard, board) =
            Scoreboard::transferable(config.global.workers, config.services.len())?;
        let start = master::Start {
            generation: number,
            outputs: None,
            config,
            // The child's copy; this one is wiped when the child is there.
            phrases: common.vault.open(),
            resumption: &common.resumption,
            connections: common.connections.clone(),
            scoreboard: scoreboard.clone(),
            supervisor: theirs,
            leash: common.leash.try_clone()?,
            helpers,
            log,
        };
        let pid = process::spawn(&OneThread::prove()?, |fresh| {
            // The child's copy; the supervisor puts its own into force when the child serves.
            let outputs = outputs.take();
            master::run(master::Start { outputs, ..start }, fresh)
        })?;
        Ok(Generation {
            number,
            pid,
            channel: ours,
            hears: true,
            scoreboard,
            state: State::Loading,
            board,
            names: config.services.iter().map(|s| s.name.clone()).collect(),
            drain_timeout: config.global.drain_timeout,
            since: SystemTime::now(),
            started: Instant::now(),
        })
    }

    /// Tells the master to accept no more, and to end what is left by the configured time.
    pub fn drain(&mut self) {
        let deadline = self.drain_timeout.map(|t| Instant::now() + t);
        self.say(&ToMaster::Drain);
        self.state = State::Draining(deadline);
    }

    /// Tells the master to end everything.
    pub fn cut(&mut self) {
        self.say(&ToMaster::Cut);
        self.state = State::Cut(Instant::now() + CUT_PATIENCE);
    }

    /// Ends a master that does not hear. Its workers let their connections end, and go.
    pub fn kill(&mut self) {
        // Not reaped yet, or it would not stand here, so the number is still its own.
        let _ = kill(self.pid, Signal::SIGKILL);
        self.state = State::Cut(Instant::now() + CUT_PATIENCE);
    }

    /// Says a word that matters; a master that cannot be told it is dead, or must not go on.
    fn say(&mut self, word: &ToMaster) {
        if say_now(&self.channel, word, &[]).is_err() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

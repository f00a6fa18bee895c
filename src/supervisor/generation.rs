//! A generation's hands: its master's process and channel, and the counts of its workers. How far it has
//! come is known to [`super::decider`].

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::carried::Carried;
use super::vault::Vault;
use crate::config::{self, Config, Front, Service, TlsOptions};
use crate::helper::binder::Warrants;
use crate::helper::{Contacts, KnownNames};
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
use crate::worker::group;

#[derive(Debug)]
pub(super) struct Generation {
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
    /// The memory of its counts, to be handed over an exec.
    pub board: OwnedFd,
    /// The names of its services.
    pub names: Vec<String>,
    /// What `status` warns of.
    pub warnings: Vec<String>,
    /// What `status` says of each service; of those before an exec perhaps nothing.
    pub about: Vec<About>,
    /// Whether its master understands [`ToMaster::Inquire`].
    pub can_be_asked: bool,
    /// How long it may drain.
    pub drain_timeout: Option<Duration>,
    /// When its master was forked.
    pub since: SystemTime,
}

/// What a generation's configuration makes of it. The file's may be another by now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shape {
    workers: usize,
    names: Vec<String>,
    warnings: Vec<String>,
    #[serde(default)]
    about: Vec<About>,
    /// A spare of an older version forks masters of that.
    #[serde(default)]
    can_be_asked: bool,
    drain_timeout: Option<Duration>,
    /// A service tells its clients apart by their addresses.
    #[serde(default)]
    shares: bool,
}

/// What `status` says of a service as its configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The entries of `connect`, or the program.
    pub connect: Vec<String>,
    /// The file with the certificate that clients are shown.
    pub to_clients: Option<PathBuf>,
    /// The same for servers.
    pub to_servers: Option<PathBuf>,
}

impl About {
    pub(super) fn of(service: &Service) -> About {
        let cert = |tls: Option<&TlsOptions>| tls?.cert.clone();
        let program = service.program.as_ref();
        let program = program.filter(|_| service.front != Front::Program);
        let program = program.map(|program| program.path.display().to_string());
        let entries = service.connect.iter().map(ToString::to_string);
        About {
            connect: entries.chain(program).collect(),
            to_clients: cert(service.accepted_tls()),
            to_servers: cert(service.connected_tls()),
        }
    }
}

impl Shape {
    fn by(config: &Config) -> Shape {
        Shape {
            workers: group::crew(config).len(),
            names: config.services.iter().map(|s| s.name.clone()).collect(),
            warnings: config.services.iter().filter_map(warning).collect(),
            about: config.services.iter().map(About::of).collect(),
            can_be_asked: true,
            drain_timeout: config.global.drain_timeout,
            shares: config.services.iter().any(|s| s.quota.knows_addresses()),
        }
    }

    /// Memory for its counts.
    ///
    /// # Errors
    /// No memory or descriptors left.
    pub(super) fn board(&self) -> io::Result<(Scoreboard, OwnedFd)> {
        Scoreboard::transferable(self.workers, self.names.len(), self.shares)
    }
}

/// What generations share, and what a new one needs.
#[derive(Debug)]
pub(super) struct Common {
    /// Ticket secret and session cache.
    pub resumption: Resumption,
    /// Counts connections, in its first word.
    pub connections: SharedWords,
    /// The children's end of the leash.
    pub leash: Leash,
    /// The memory of the session cache, of `connections`, and of what is stapled, to be handed over an exec.
    pub memory: [OwnedFd; 3],
    /// The pass phrases of keys.
    pub vault: Vault,
    /// What masters issue to clients, and binders verify; once a configuration needs it.
    pub warrants: Option<Warrants>,
    /// Counts of generations that no longer serve.
    pub carried: Carried,
    /// The addresses of the names of the configuration in force.
    pub names: KnownNames,
}

impl Common {
    /// Draws secrets and makes memory.
    ///
    /// # Errors
    /// No memory, no descriptors left, no randomness.
    pub(super) fn new(leash: Leash, vault: Vault) -> io::Result<Common> {
        let (resumption, [sessions, staples]) = Resumption::transferable()?;
        let (connections, counter) = SharedWords::transferable(1)?;
        Ok(Common {
            resumption,
            connections,
            leash,
            memory: [sessions, counter, staples],
            vault,
            warrants: None,
            carried: Carried::default(),
            names: KnownNames::default(),
        })
    }

    /// Draws the key for warrants if this configuration is the first to need one.
    ///
    /// # Errors
    /// No memory, no randomness.
    pub(super) fn provide_warrants(&mut self, config: &Config) -> io::Result<()> {
        if self.warrants.is_none() && config.services.iter().any(|s| s.transparent.source) {
            self.warrants = Some(Warrants::draw()?);
        }
        Ok(())
    }
}

impl Generation {
    /// Forks the master of a new generation.
    ///
    /// # Errors
    /// No process, memory or descriptor to be had.
    pub(super) fn start(
        number: u64,
        config: &Config,
        common: &mut Common,
        helpers: Contacts,
        older: Vec<(Scoreboard, Vec<String>)>,
        outputs: &mut Option<Outputs>,
        log: Log,
    ) -> io::Result<Generation> {
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let shape = Shape::by(config);
        let (mut scoreboard, board) = shape.board()?;
        let newest_first: Vec<&Scoreboard> = older.iter().rev().map(|(board, _)| board).collect();
        scoreboard.follow(&newest_first);
        let start = master::Start {
            generation: number,
            outputs: None,
            config,
            // The child's copy; this one is wiped when the child is there.
            phrases: common.vault.open(),
            // The child's copy: it forgets what it must not know.
            resumption: &mut common.resumption,
            connections: common.connections.clone(),
            // As with the pass phrases.
            warrants: common.warrants.as_ref().map(Warrants::key),
            scoreboard: scoreboard.clone(),
            older,
            supervisor: theirs,
            names: common.names.clone(),
            leash: common.leash.try_clone()?,
            helpers,
            log,
        };
        let pid = process::spawn(&OneThread::prove()?, |fresh| {
            // The child's copy; the supervisor puts its own into force when the child serves.
            let outputs = outputs.take();
            master::run(master::Start { outputs, ..start }, fresh)
        })?;
        let board = (scoreboard, board);
        Ok(Generation::of(number, pid, shape, ours, board))
    }

    /// One whose master has just been forked.
    pub(super) fn of(
        number: u64,
        pid: Pid,
        shape: Shape,
        channel: Channel,
        (scoreboard, board): (Scoreboard, OwnedFd),
    ) -> Generation {
        Generation {
            number,
            pid,
            channel,
            hears: true,
            scoreboard,
            board,
            names: shape.names,
            warnings: shape.warnings,
            about: shape.about,
            can_be_asked: shape.can_be_asked,
            drain_timeout: shape.drain_timeout,
            since: SystemTime::now(),
        }
    }

    /// What another has that follows it.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            workers: self.scoreboard.workers(),
            names: self.names.clone(),
            warnings: self.warnings.clone(),
            about: self.about.clone(),
            can_be_asked: self.can_be_asked,
            drain_timeout: self.drain_timeout,
            shares: self.scoreboard.shares().is_some(),
        }
    }

    /// What a service connects to, in words.
    pub(super) fn connect(&self, service: usize) -> &[String] {
        self.about.get(service).map_or(&[], |about| &about.connect)
    }

    /// Whether something is stapled to a certificate of its services.
    pub(super) fn staples(&self) -> bool {
        let board = &self.scoreboard;
        (0..board.services()).any(|service| board.shared(service).staple().load(Relaxed) != 0)
    }

    /// Tells the master to accept no more.
    pub(super) fn drain(&self) {
        self.say(&ToMaster::Drain);
    }

    /// Tells the master to end everything.
    pub(super) fn cut(&self) {
        self.say(&ToMaster::Cut);
    }

    /// Ends a master that does not hear. Its workers let their connections end, and go.
    pub(super) fn kill(&self) {
        // Not reaped yet, or it would not stand here, so the number is still its own.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// Says a word that matters; a master that cannot be told it is dead, or must not go on.
    fn say(&self, word: &ToMaster) {
        if say_now(&self.channel, word, &[]).is_err() {
            self.kill();
        }
    }
}
/// What is dangerous about a service for as long as it runs.
fn warning(service: &Service) -> Option<String> {
    let text = config::exposed(service)?;
    Some(format!("Service [{}]: {text}", service.name))
}

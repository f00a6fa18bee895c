//! Root's part: parses, opens logs, binds, forks, and then only waits: for signals, children, words.
//! One thread; holds no private key and never reads a network byte.

mod control;
mod daemon;
mod generation;
mod listeners;
mod notify;
mod pid_file;
mod resolver;
mod running;
mod stopping;
mod transition;

use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::config::{self, Config, Foreground, Sources};
use crate::ipc::leash::leash;
use crate::ipc::shared::SharedWords;
use crate::log::{self, Id, Log, Outputs};
use crate::process::{self, OneThread};
use crate::signals::Signals;
use crate::tls::Resumption;
use generation::Common;
use pid_file::PidFile;
use resolver::Resolver;
use running::{Parts, Supervisor};

pub use resolver::Resolver as ResolverProcess;

const SIGNALS: [i32; 7] = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Runs adit with a configuration until it is stopped: `adit [FILE]`, and `adit relay`.
///
/// The order is stunnel's where it shows: configuration, logs, pid file, daemon, then the first
/// generation, which is a reload from nothing.
pub fn run(sources: Sources) -> ExitCode {
    process::find_command_line();
    let Some(config) = read(&sources) else {
        return ExitCode::FAILURE;
    };
    match start(sources, config) {
        Ok(supervisor) => supervisor.run(),
        Err(error) => {
            crate::error!(ui_log(), "{error}");
            crate::error!(ui_log(), "Configuration failed");
            ExitCode::FAILURE
        }
    }
}

/// Before any log is open, errors go to the terminal.
fn ui_log() -> Log {
    Log {
        level: 5,
        id: Id::Ui,
    }
}

/// Reads the configuration's text; what is wrong goes to the terminal, whole.
fn read(sources: &Sources) -> Option<Rc<Config>> {
    log::install(Outputs::stderr_only());
    match config::load(sources) {
        Ok(loaded) => {
            crate::master::load::tell(&loaded.diagnostics, &ui_log());
            Some(Rc::new(loaded.config))
        }
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            crate::error!(ui_log(), "Configuration failed");
            None
        }
    }
}

fn start(sources: Sources, config: Rc<Config>) -> io::Result<Supervisor> {
    let global = &config.global;
    let outputs = Outputs::open(global, global.foreground != Foreground::Quiet)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let pid_file = acquire_pid_file(&config)?;
    raise_descriptor_limit();
    let starter = match global.foreground {
        Foreground::Yes | Foreground::Quiet => None,
        Foreground::No => Some(daemon::detach(&OneThread::prove()?)?),
    };
    log::install(outputs);
    let log = Log {
        level: global.debug,
        id: Id::Main,
    };
    // Workers whose master was killed become ours, to be reaped here and not by init.
    nix::sys::prctl::set_child_subreaper(true)?;
    let signals = Signals::hear(&SIGNALS)?;
    let (holder, leash) = leash()?;
    let resolver = Resolver::start(&config.global, &leash, log)?;
    let common = Common {
        resumption: Resumption::new()?,
        connections: SharedWords::new(1)?,
        leash,
    };
    process::title("adit", ": supervisor");
    Supervisor::new(Parts {
        sources,
        config,
        common,
        leash: holder,
        resolver,
        signals,
        log,
        pid_file,
        starter,
    })
}

fn acquire_pid_file(config: &Config) -> io::Result<Option<PidFile>> {
    let root = config.global.chroot.as_deref();
    let acquire = |path| PidFile::acquire(root, path).map_err(|e| io::Error::other(e.to_string()));
    config.global.pid.as_deref().map(acquire).transpose()
}

/// Each connection needs two descriptors, so take all that the system's limit gives.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Refused, the lower limit stays in force, and capacities are counted from it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

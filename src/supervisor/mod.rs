//! Root's part: parses, opens logs, binds, forks, and then only waits: for signals, children, words.
//! One thread; holds no private key and never reads a network byte.

pub(crate) mod asking;
mod backlog;
mod bind_error;
mod carried;
pub(crate) mod clashes;
mod control;
mod daemon;
mod decider;
mod foreign;
mod generation;
pub(crate) mod helpers;
pub(crate) mod holder;
mod listeners;
mod lookups;
mod manager;
mod masters;
pub(crate) mod metrics;
mod notify;
mod orphans;
pub(crate) mod pid_file;
pub(crate) mod places;
mod running;
mod saved_phrases;
mod source;
mod spares;
mod syslog;
mod takeover;
pub(crate) mod trial;
pub(crate) mod vacancy;
mod vault;
mod watch;

use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::config::{self, Config, Diagnostic, Foreground, Loaded, Severity, Sources};
use crate::inetd;
use crate::ipc::leash::leash;
use crate::jail::Plan;
use crate::limits;
use crate::log::{self, Id, Log, Outputs};
use crate::process::{self, OneThread};
use crate::sandbox::Strength;
use crate::signals::Signals;
use crate::step::NameStep;
use control::Control;
use decider::Why;
use generation::Common;
use helpers::{Helpers, Start};
use listeners::Listeners;
use masters::Masters;
use metrics::Metrics;
use pid_file::PidFile;
use running::{Parts, Supervisor};
use source::Waiting;
use takeover::{Inherited, TakenOver};
use trial::Trial;
use vault::Vault;

const SIGNALS: [i32; 7] = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// It is not to be had, and the log has said why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logged;

/// Runs adit with a configuration until it is stopped: `adit [FILE]`, and `adit relay`.
///
/// The order is stunnel's where it shows: configuration, logs, pid file, daemon, then the first
/// generation, which is a reload from nothing.
pub(crate) fn run(mut sources: Sources) -> ExitCode {
    process::find_command_line();
    if std::process::id() == 1 {
        // Its end would be that of the container, and there is no syslogd.
        sources.stays = Some(Foreground::Yes);
    }
    takeover::remember_program();
    log::install(Outputs::stderr_only());
    let off_the_client = inetd::keep_off_the_client();
    let begun = match takeover::inherited() {
        Ok(None) => {
            let passed = Listeners::passed();
            sources.passed = passed.as_ref().map_or(0, Listeners::count_passed);
            let Some(mut loaded) = read(&sources, off_the_client) else {
                return ExitCode::FAILURE;
            };
            if loaded.config.is_for_inetd() {
                return inetd::run(loaded, off_the_client);
            }
            stay_if_kept(&mut sources, &mut loaded);
            passed
                .and_then(|passed| start(sources, loaded, passed))
                .map(|supervisor| (supervisor, Why::Start))
        }
        Ok(Some(Inherited::Rehearsal(state, proof))) => {
            process::exit(rehearse(sources, state, proof).into())
        }
        Ok(Some(Inherited::Service(state))) => {
            succeed(sources, state).map(|supervisor| (supervisor, Why::Reload))
        }
        Err(error) => Err(error),
    };
    match begun {
        Ok((supervisor, why)) => supervisor.run(why),
        Err(error) => {
            crate::error!(ui_log(), "{}", log::Reason(&error));
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
        from: None,
    }
}

/// Reads the configuration's text; what is wrong goes to the terminal, whole. So does what is wrong
/// with the files that it names, if there will be no master to say that.
fn read(sources: &Sources, off_the_client: bool) -> Option<Loaded> {
    let (config, mut diagnostics) = config::load_partly(sources);
    if let Some(config) = &config {
        diagnostics.0.extend(places::missing(&config.global));
        if diagnostics.failed() || Plan::look_up(&config.global).is_err() {
            diagnostics
                .0
                .extend(crate::master::load::look_at_files(config));
        }
    }
    match config {
        Some(config) if !diagnostics.failed() => Some(Loaded {
            config,
            diagnostics: diagnostics.0,
        }),
        _ => {
            diagnostics.sort();
            match off_the_client {
                true => inetd::tell(&diagnostics),
                false => eprintln!("{diagnostics}"),
            }
            crate::error!(ui_log(), "Configuration failed");
            None
        }
    }
}

/// A process that systemd keeps does not go into the background.
fn stay_if_kept(sources: &mut Sources, loaded: &mut Loaded) {
    let foreground = &mut loaded.config.global.foreground;
    if *foreground != Foreground::No {
        return;
    }
    if let Some(kind) = manager::keeps_this_process() {
        *foreground = Foreground::Quiet;
        sources.stays = Some(Foreground::Quiet);
        loaded.diagnostics.push(Diagnostic::new(
            Severity::Note,
            None,
            format!(
                "Started by systemd as a unit with Type={kind}: staying in the foreground, as by \
                 `foreground = quiet`"
            ),
        ));
    }
}

fn start(sources: Sources, loaded: Loaded, listeners: Listeners) -> io::Result<Supervisor> {
    let config = Rc::new(loaded.config);
    let global = &config.global;
    let outputs = Outputs::open(global, global.foreground != Foreground::Quiet)
        .map_err(|error| io::Error::other(error.to_string()))?;
    if global.foreground == Foreground::No && outputs.file.is_none() && !outputs.reach_syslog() {
        crate::warning!(
            ui_log(),
            "Nothing will be logged: there is no syslog here (give `output = FILE`)"
        );
    }
    let pid_file = acquire_pid_file(&config)?;
    limits::raise(process::MOST_DESCRIPTORS);
    // Kept as they are no longer than the fork below, which would wipe the vault.
    let phrases = asking::ask(&config, &ui_log())?;
    let starter = match global.foreground {
        Foreground::Yes | Foreground::Quiet => None,
        Foreground::No => Some(daemon::detach(&OneThread::prove()?)?),
    };
    let vault = Vault::new(&phrases)?;
    drop(phrases);
    if global.foreground == Foreground::Yes {
        log::own_stderr();
    }
    log::install(outputs);
    let log = Log {
        level: global.debug,
        id: Id::Main,
        from: None,
    };
    let ui = Log { id: Id::Ui, ..log };
    crate::master::load::tell(&loaded.diagnostics, &ui);
    crate::sandbox::supervisor()?;
    tell_of_the_sandbox(&ui);
    // Workers whose master was killed become ours, to be reaped here and not by init.
    nix::sys::prctl::set_child_subreaper(true).step("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let signals = Signals::hear(&SIGNALS)?;
    let (holder, leash) = leash()?;
    let wanted = config.global.metrics.as_ref();
    let metrics = wanted.map(|wanted| Metrics::open(wanted, None));
    let metrics = metrics.transpose()?;
    if let Some(metrics) = &metrics {
        crate::info!(ui, "{}", metrics.line());
    }
    let helpers = Helpers::start(Start {
        config: &config,
        leash: &leash,
        metrics: metrics.as_ref(),
        // Started with its generation.
        warrants: None,
        // Nothing else is known yet.
        forget: &mut || {
            config.forget_secrets(|_| true);
            Ok(())
        },
        log,
    })?;
    let common = Common::new(leash, vault)?;
    process::title("adit", ": supervisor");
    Ok(Supervisor::new(Parts {
        control: Control::of(&config.global, &ui)?,
        listeners,
        sources,
        allowed: config.global.metrics_allowed(),
        config,
        common,
        leash: holder,
        helpers,
        metrics,
        waiting: Waiting::new()?,
        signals,
        log,
        pid_file,
        starter,
        masters: Masters::default(),
    }))
}

/// A new binary tries whether it could take over; its exit status. It must run no destructor: what
/// it holds is the running program's.
fn rehearse(mut sources: Sources, state: File, proof: File) -> u8 {
    let tried = TakenOver::read(state).and_then(|taken| {
        sources.passed = taken.listeners.count_passed();
        let taken = std::mem::ManuallyDrop::new(taken);
        let loaded = config::load(&sources).map_err(|e| io::Error::other(e.to_string()))?;
        let (log, outputs) = successors_log(&loaded.config)?;
        log::install(outputs);
        if loaded.config.is_for_inetd() {
            crate::error!(log, "no [section] is left: that is for inetd");
            return Ok(1);
        }
        let trial = Trial::start(&loaded.config, log)?;
        // Only now: the vault is wiped in every child, and what is taken out of it is not.
        let common = &taken.common;
        let (found, _) = trial.load(&loaded.config, &common.names, &common.vault.open())?;
        crate::master::load::tell(&found, &log);
        if found.iter().any(|d| d.severity == Severity::Error) {
            return Ok(1);
        }
        takeover::prove(proof).map(|()| 0)
    });
    match tried {
        Ok(status) => status,
        Err(error) => {
            // Its own standard error may lead nowhere.
            if let Ok(loaded) = config::load(&sources)
                && let Ok((_, outputs)) = successors_log(&loaded.config)
            {
                log::install(outputs);
            }
            crate::error!(
                ui_log(),
                "The new binary cannot take over: {}; only a restart puts it into use",
                log::Reason(&error)
            );
            1
        }
    }
}

/// A new binary goes on where the old one was, in the same process.
fn succeed(mut sources: Sources, state: File) -> io::Result<Supervisor> {
    let taken = TakenOver::read(state)?;
    sources.passed = taken.listeners.count_passed();
    // Signals wait until they are heard.
    let signals = Signals::hear(&SIGNALS)?;
    takeover::let_signals_in()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    // It was good a moment ago, when this binary rehearsed; changed meanwhile, the reload that
    // follows says what is wrong, and what runs goes on.
    let config = match config::load(&sources) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => {
            crate::master::load::tell(&diagnostics.0, &ui_log());
            Config::empty()
        }
    };
    let (log, outputs) = successors_log(&config)?;
    log::install(outputs);
    process::title("adit", ": supervisor");
    crate::notice!(log, "{} has taken over", env!("CARGO_PKG_VERSION"));
    crate::sandbox::supervisor()?;
    tell_of_the_sandbox(&log);
    // Of the configuration in force: the file may say something else, and be refused.
    let allowed = taken.allowed.map(|allowed| allowed.networks);
    let allowed = allowed.unwrap_or_else(|| config.global.metrics_allowed());
    let mut supervisor = Supervisor::new(Parts {
        sources,
        config: Rc::new(config),
        common: taken.common,
        leash: taken.leash,
        helpers: taken.helpers,
        metrics: taken.metrics,
        allowed,
        waiting: Waiting::new()?,
        signals,
        log,
        pid_file: taken.pid_file,
        control: taken.control,
        listeners: taken.listeners,
        starter: None,
        masters: taken.masters,
    });
    let (reloads, next) = (taken.reloads, taken.next_number);
    supervisor.go_on(taken.progress, reloads, next, taken.spared);
    Ok(supervisor)
}

fn successors_log(config: &Config) -> io::Result<(Log, Outputs)> {
    let stderr = config.global.foreground == Foreground::Yes;
    let outputs = Outputs::open_again(&config.global, stderr);
    let log = Log {
        level: config.global.debug,
        id: Id::Main,
        from: None,
    };
    Ok((log, outputs.map_err(|e| io::Error::other(e.to_string()))?))
}

/// Half a sandbox must not go unnoticed.
fn tell_of_the_sandbox(log: &Log) {
    for gap in Strength::of_this_kernel().gaps() {
        crate::notice!(*log, "{gap}");
    }
}

fn acquire_pid_file(config: &Config) -> io::Result<Option<PidFile>> {
    let root = config.global.chroot.as_deref();
    let acquire = |path| PidFile::acquire(root, path).map_err(|e| io::Error::other(e.to_string()));
    config.global.pid.as_deref().map(acquire).transpose()
}

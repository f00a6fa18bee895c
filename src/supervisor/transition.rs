//! From one generation to the next, as a transaction: query (a candidate loads everything), commit
//! (bind, serve, only then drain the old), or roll back at any step and go on as before. The first
//! start is a transition from nothing; a master that died is replaced by one that changes nothing.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::control::Control;
use super::generation::{Generation, State};
use super::listeners::Prepared;
use super::metrics::Metrics;
use super::pid_file::PidFile;
use super::running::Supervisor;
use super::syslog::SyslogWatch;
use super::watch::Watch;
use crate::config::{self, Config, Foreground};
use crate::ipc::words::{Accept, say_listeners};
use crate::log::{self, Id, Log, Outputs};
use crate::master::load::tell;
use crate::process;
use crate::remedy;

/// How long a candidate may load: keys, and names that do not resolve.
const LOAD_PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to enter the jail and start workers.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long an old master may take to accept no more, once it was told.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a dead master's replacement that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Why there is a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The program starts.
    Start,
    /// SIGHUP.
    Reload,
    /// The master died; the configuration stays.
    Replace,
}

/// A transition under way; dropping it is the rollback of what it holds.
#[derive(Debug)]
pub struct Transition {
    why: Why,
    candidate: u64,
    config: Rc<Config>,
    change: Change,
    prepared: Option<Prepared>,
    deadline: Instant,
}

impl Why {
    /// The log of a transition, as loud as the new configuration says; stunnel's `ui` until it serves.
    fn log(self, config: &Config) -> Log {
        Log {
            level: config.global.debug,
            id: match self {
                Why::Start => Id::Ui,
                Why::Reload | Why::Replace => Id::Main,
            },
        }
    }
}

impl Transition {
    /// When patience ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Gives up what was made for it.
    pub(super) fn roll_back(self) {
        if let Some(prepared) = self.prepared {
            prepared.give_up();
        }
        self.change.roll_back();
    }
}

/// A reload that is in force, but for old masters that may still accept.
pub struct Handover {
    waiting: Vec<u64>,
    number: u64,
    lines: Vec<String>,
    deadline: Instant,
}

impl Handover {
    /// When patience with the old masters ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// What a reload changes besides the generation.
#[derive(Debug, Default)]
struct Change {
    outputs: Option<Outputs>,
    pid_file: Option<PidFile>,
    control: Option<Control>,
    metrics: Option<Metrics>,
}

impl Change {
    /// Removes the files that were made for it.
    fn roll_back(self) {
        if let Some(control) = self.control {
            control.remove();
        }
        if let Some(metrics) = self.metrics {
            metrics.remove();
        }
        if let Some(pid_file) = self.pid_file {
            pid_file.remove();
        }
    }
}

impl Supervisor {
    /// Begins a transition; on failure everything is as it was.
    pub(super) fn begin(&mut self, why: Why) {
        if why == Why::Reload {
            self.notifier.reloading();
        }
        self.logs_changed = false;
        let begun = match why {
            Why::Start | Why::Replace => Ok((Rc::clone(&self.config), Change::default())),
            Why::Reload => self.query(),
        };
        self.start_missing_helpers();
        let started = begun.and_then(|(config, mut change)| {
            let log = why.log(&config);
            let number = self.next_number();
            let outputs = &mut change.outputs;
            let started = self.helpers.contacts().and_then(|helpers| {
                Generation::start(number, &config, &self.common, helpers, outputs, log)
            });
            let generation = match started {
                Ok(generation) => generation,
                Err(error) => {
                    change.roll_back();
                    return Err(format!(
                        "A master cannot be started: {}",
                        log::Reason(&error)
                    ));
                }
            };
            self.generations.push(generation);
            self.transition = Some(Transition {
                why,
                candidate: number,
                config,
                change,
                prepared: None,
                deadline: Instant::now() + LOAD_PATIENCE,
            });
            Ok(())
        });
        if let Err(text) = started {
            if !text.is_empty() {
                crate::error!(self.log, "{text}");
            }
            self.failed(why);
        }
    }

    /// Reads the configuration again and opens what the supervisor itself must open for it.
    fn query(&self) -> Result<(Rc<Config>, Change), String> {
        let loaded = match config::load(&self.sources) {
            Ok(loaded) => loaded,
            Err(diagnostics) => {
                tell(&diagnostics.0, &self.log);
                return Err(String::new());
            }
        };
        tell(&loaded.diagnostics, &self.log);
        let mut change = Change::default();
        match self.open_for(&loaded.config, &mut change) {
            Ok(()) => Ok((Rc::new(loaded.config), change)),
            Err(text) => {
                change.roll_back();
                Err(text)
            }
        }
    }

    /// Opens what is not open already; what was opened before an error is in `change`.
    fn open_for(&self, config: &Config, change: &mut Change) -> Result<(), String> {
        let new = &config.global;
        let stderr = self.config.global.foreground == Foreground::Yes;
        let outputs = Outputs::open(new, stderr).map_err(|error| error.to_string())?;
        change.outputs = Some(outputs);
        let root = new.chroot.as_deref();
        let is_ours = |path: &Path| self.pid_file.as_ref().is_some_and(|f| f.is_at(root, path));
        if let Some(path) = new.pid.as_deref().filter(|path| !is_ours(path)) {
            let pid_file = PidFile::acquire(root, path).map_err(|error| error.to_string())?;
            change.pid_file = Some(pid_file);
        }
        let ours = self.control.as_ref().map(Control::path);
        if new.control.as_deref() != ours {
            change.control = Control::of(new, &self.log).map_err(|error| error.to_string())?;
        }
        let ours = self.metrics.as_ref();
        if let Some(wanted) = new
            .metrics
            .as_ref()
            .filter(|w| ours.map(Metrics::wanted) != Some(w))
        {
            let metrics = Metrics::open(wanted, ours).map_err(|error| error.to_string())?;
            change.metrics = Some(metrics);
        }
        Ok(())
    }

    /// The candidate has read everything: bind what is new and pass it the listeners.
    pub(super) fn loaded(&mut self, number: u64, accept: &[Vec<Accept>]) {
        let Some(transition) = self.transition.as_mut().filter(|t| t.candidate == number) else {
            return;
        };
        if transition.why != Why::Replace {
            crate::notice!(
                transition.why.log(&transition.config),
                "Configuration successful"
            );
        }
        let log = transition.why.log(&transition.config);
        let Ok(prepared) = self.listeners.prepare(&transition.config, accept, &log) else {
            self.candidate_failed(number);
            return;
        };
        if transition.why == Why::Start {
            for line in prepared.lines(&transition.config) {
                crate::info!(log, "{line}");
            }
        }
        let sockets = prepared.sockets();
        let Some(generation) = self.generations.iter_mut().find(|g| g.number == number) else {
            return;
        };
        let said = say_listeners(&generation.channel, &sockets);
        drop(sockets);
        transition.prepared = Some(prepared);
        transition.deadline = Instant::now() + START_PATIENCE;
        generation.state = State::Starting;
        if let Err(error) = said {
            crate::error!(
                self.log,
                "Generation {number} was not given its listeners: {} ({})",
                log::Reason(&error),
                remedy::starting_a_process(&error)
            );
            self.candidate_failed(number);
        }
    }

    /// The candidate serves: put everything that is new into force, and let the old one drain.
    pub(super) fn serving(&mut self, number: u64) {
        let Some(mut transition) = self.transition.take_if(|t| t.candidate == number) else {
            return;
        };
        // Whichever master died meanwhile, this one serves in its place.
        self.replace_at = None;
        let config = Rc::clone(&transition.config);
        let mut lines = Vec::new();
        if let Some(prepared) = transition.prepared.take() {
            lines = prepared.lines(&config);
            // Before the old master is told: it looks which of its listeners are retired.
            self.listeners.commit(prepared);
        }
        let mut draining = Vec::new();
        for generation in &mut self.generations {
            if generation.number == number {
                generation.state = State::Serving;
            } else if generation.state == State::Serving {
                generation.drain();
                draining.push(generation.number);
            }
        }
        self.carry_counts();
        self.log = Why::Reload.log(&config);
        let old = std::mem::replace(&mut self.config, Rc::clone(&config));
        self.watch = Watch::of(&config, &self.log).unwrap_or_else(|error| {
            let (reason, remedy) = (log::Reason(&error), remedy::starting_a_process(&error));
            crate::error!(self.log, "certWatch: {reason} ({remedy})");
            None
        });
        if config.global.syslog != self.syslog.is_some() {
            self.syslog = SyslogWatch::of(&config.global);
        }
        match transition.why {
            Why::Start => self.first_serving(),
            Why::Reload => {
                self.put_into_force(transition);
                // They were opened for it before somebody moved them away.
                if std::mem::take(&mut self.logs_changed) {
                    self.reopen_log();
                    let _ = self.pass_syslog();
                }
                self.renew_helpers(&old.global);
                self.hand_over(draining, number, lines);
            }
            Why::Replace => {
                crate::notice!(
                    self.log,
                    "Generation {number} serves in place of the dead one"
                );
            }
        }
    }

    fn put_into_force(&mut self, transition: Transition) {
        if let Some(outputs) = transition.change.outputs {
            log::install(outputs);
        }
        let new = &transition.config.global;
        if let Some(control) = transition.change.control {
            self.replace_control(Some(control));
        } else if new.control.is_none() {
            self.replace_control(None);
        }
        if let Some(metrics) = transition.change.metrics {
            crate::info!(self.log, "{}", metrics.line());
            self.replace_metrics(Some(metrics));
        } else if new.metrics.is_none() {
            self.replace_metrics(None);
        }
        let old = match (transition.change.pid_file, new.pid.as_deref()) {
            (Some(new), _) => self.pid_file.replace(new),
            (None, None) => self.pid_file.take(),
            (None, Some(path)) => {
                if let Some(same) = &mut self.pid_file {
                    same.move_to(new.chroot.as_deref(), path);
                }
                return;
            }
        };
        if let Some(old) = old {
            old.remove();
        }
        self.write_pid_file();
    }

    fn replace_metrics(&mut self, new: Option<Metrics>) {
        if let Some(old) = std::mem::replace(&mut self.metrics, new) {
            old.remove();
        }
    }

    /// A reload is announced when nobody can meet the old configuration any more.
    fn hand_over(&mut self, waiting: Vec<u64>, number: u64, lines: Vec<String>) {
        self.finish_handover();
        self.handover = Some(Handover {
            waiting,
            number,
            lines,
            deadline: Instant::now() + HANDOVER_PATIENCE,
        });
        self.drains(0);
    }

    /// A generation accepts no more, or is no more.
    pub(super) fn drains(&mut self, number: u64) {
        if let Some(handover) = &mut self.handover {
            handover.waiting.retain(|waiting| *waiting != number);
            if handover.waiting.is_empty() {
                self.finish_handover();
            }
        }
    }

    /// A master that goes on accepting, or stands still, after its time keeps its listeners only
    /// as long as it lives. Its workers let their connections end.
    pub(super) fn handover_timed_out(&mut self) {
        let Some(handover) = &mut self.handover else {
            return;
        };
        handover.deadline = Instant::now() + HANDOVER_PATIENCE;
        let waiting = handover.waiting.clone();
        for number in waiting {
            crate::error!(
                self.log,
                "Generation {number} goes on accepting: its master is killed"
            );
            if let Some(generation) = self.generation(number) {
                generation.kill();
            }
        }
    }

    fn finish_handover(&mut self) {
        let Some(handover) = self.handover.take() else {
            return;
        };
        for line in handover.lines {
            crate::info!(self.log, "{line}");
        }
        let number = handover.number;
        crate::notice!(
            self.log,
            "Configuration reloaded: generation {number} serves"
        );
        self.reloads.succeeded += 1;
        self.notifier.ready(&format!("Generation {number} serves"));
    }

    fn first_serving(&mut self) {
        self.write_pid_file();
        crate::info!(self.log, "Accepting new connections");
        self.notifier.ready("Accepting new connections");
        if let Some(starter) = self.starter.take() {
            starter.tell();
            if let Err(error) = process::let_go_of_the_terminal() {
                crate::warning!(self.log, "The terminal stays open: {}", log::Reason(&error));
            }
        }
    }

    fn write_pid_file(&mut self) {
        if let Some(Err(error)) = self.pid_file.as_mut().map(PidFile::write) {
            crate::error!(self.log, "{error}");
        }
    }

    /// The candidate said that it failed, died, or was too slow.
    pub(super) fn candidate_failed(&mut self, number: u64) {
        let Some(transition) = self.transition.take_if(|t| t.candidate == number) else {
            return;
        };
        let why = transition.why;
        transition.roll_back();
        if let Some(generation) = self.generation(number) {
            generation.cut();
        }
        self.failed(why);
    }

    pub(super) fn transition_timed_out(&mut self) {
        if let Some(number) = self.transition.as_ref().map(|t| t.candidate) {
            crate::error!(
                self.log,
                "Generation {number} does not come up in time (`adit check` shows what takes so long: a \
                 file system that hangs, or the machine)"
            );
            self.candidate_failed(number);
            if let Some(generation) = self.generation(number) {
                // It may be stuck in a call that no word ends.
                generation.kill();
            }
        }
    }

    fn failed(&mut self, why: Why) {
        match why {
            Why::Start => {
                crate::error!(why.log(&self.config), "Configuration failed");
                self.give_up();
            }
            Why::Reload => {
                let text =
                    "Failed to reload the configuration file: the running configuration goes on";
                crate::error!(self.log, "Configuration failed");
                crate::error!(self.log, "{text}");
                self.reloads.failed += 1;
                self.notifier.ready(text);
            }
            Why::Replace => {
                crate::error!(
                    self.log,
                    "No master serves; the next attempt is in {} s (what is said above must be mended)",
                    RETRY.as_secs()
                );
                self.replace_at = Some(Instant::now() + RETRY);
            }
        }
    }
}

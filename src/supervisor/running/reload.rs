//! What a transition does, in the order in which `supervisor/decider/reload.rs` orders it. What it
//! has made is pending until it is put into force as a whole, or given up as a whole.

use std::io::PipeReader;
use std::path::Path;
use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::Supervisor;
use super::errands::forget;
use crate::config::{self, Config, Foreground, MetricsAddress};
use crate::helper::{Kind, KnownNames};
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::words::{Accept, say_accept, say_listeners};
use crate::log::{self, Id, Log, Outputs, Reason};
use crate::master::load::tell;
use crate::remedy;
use crate::supervisor::control::Control;
use crate::supervisor::decider::{Binary, Event, Master, Rehearsed, Why};
use crate::supervisor::generation::Generation;
use crate::supervisor::helpers::{Helpers, Own, Start};
use crate::supervisor::listeners::Prepared;
use crate::supervisor::metrics::Metrics;
use crate::supervisor::pid_file::PidFile;
use crate::supervisor::takeover::{self, Handed};
use crate::supervisor::watch::Watch;

/// A new binary that rehearses.
pub(super) struct Rehearsal {
    pid: Pid,
    /// Where it leaves its proof.
    proof: PipeReader,
}

impl Rehearsal {
    pub(super) fn is(&self, child: Pid) -> bool {
        self.pid == child
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Its process has ended.
    pub(super) fn ended(mut self, well: bool, how: String) -> Rehearsed {
        // Another program than adit may end well too.
        match well && takeover::is_proven(&mut self.proof) {
            true => Rehearsed::Well,
            false => Rehearsed::Badly(how),
        }
    }
}

/// What a transition has made so far.
pub(super) struct Pending {
    pub(super) why: Why,
    config: Rc<Config>,
    change: Option<Change>,
    prepared: Option<Prepared>,
    /// The new generation's own helpers.
    own: Option<Own>,
    /// The addresses of its names, as its master says them while it loads.
    pub(super) names: KnownNames,
}

impl Pending {
    pub(super) fn log(&self) -> Log {
        log_of(self.why, &self.config)
    }

    /// The helpers of the new generation.
    pub(super) fn helpers(&self) -> impl Iterator<Item = (Kind, Pid)> {
        self.own.iter().flat_map(Own::processes)
    }

    /// A child was reaped; if it was a helper of the new generation, which.
    pub(super) fn helper_died(&mut self, pid: Pid) -> Option<Kind> {
        self.own.as_mut()?.died(pid)
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

/// The log of a transition, as loud as the new configuration says; stunnel's `ui` until it serves.
pub(super) fn log_of(why: Why, config: &Config) -> Log {
    Log {
        level: config.global.debug,
        id: match why {
            Why::Start => Id::Ui,
            Why::Reload | Why::Replace => Id::Main,
        },
        from: None,
    }
}

/// A new binary.
impl Supervisor {
    pub(super) fn compare(&self) -> Event {
        // What came by a descriptor cannot be read a second time.
        let new = takeover::is_newer() && self.sources.text.is_none();
        Event::Compared(if new { Binary::New } else { Binary::Same })
    }

    pub(super) fn rehearse(&mut self) -> Event {
        match self.handed().rehearse() {
            Ok((pid, proof)) => {
                crate::notice!(self.log, "There is a new binary: it rehearses as PID {pid}");
                self.rehearsal = Some(Rehearsal { pid, proof });
                Event::Rehearsing
            }
            Err(error) => {
                let reason = Reason(&error);
                crate::error!(self.log, "The new binary cannot rehearse: {reason}");
                Event::NotRehearsing
            }
        }
    }

    pub(super) fn kill_rehearsal(&self) {
        if let Some(rehearsal) = &self.rehearsal {
            // Not reaped yet, or it would not stand here, so the number is still its own.
            let _ = kill(rehearsal.pid, Signal::SIGKILL);
        }
    }

    pub(super) fn end_rehearsal(&mut self) {
        self.kill_rehearsal();
        if let Some(rehearsal) = self.rehearsal.take() {
            let _ = waitpid(rehearsal.pid, None);
        }
    }

    pub(super) fn take_over(&self) -> Event {
        let error = self.handed().take_over();
        let reason = Reason(&error);
        crate::error!(self.log, "The new binary cannot be executed: {reason}");
        Event::NotTakenOver
    }

    fn handed(&self) -> Handed<'_> {
        Handed {
            masters: &self.masters,
            decider: &self.decider,
            listeners: &self.listeners,
            helpers: &self.helpers,
            leash: &self.leash,
            common: &self.common,
            pid_file: self.pid_file.as_ref(),
            control: self.control.as_ref(),
            metrics: self.metrics.as_ref(),
            allowed: self.allowed.as_ref(),
            log: self.log,
        }
    }
}

/// Query.
impl Supervisor {
    pub(super) fn query(&mut self, why: Why) -> Event {
        // One that stands for a configuration that could not be read serves nothing.
        let read_already = !self.config.services.is_empty();
        let queried = match why {
            Why::Start | Why::Replace if read_already => Ok((Rc::clone(&self.config), None)),
            _ => self.read(),
        };
        let (config, change) = match queried {
            Ok(queried) => queried,
            Err(refusal) => {
                if why == Why::Reload {
                    self.refusal = Some(refusal);
                }
                return Event::NotQueried;
            }
        };
        self.pending = Some(Pending {
            why,
            config,
            change,
            prepared: None,
            own: None,
            names: KnownNames::default(),
        });
        Event::Queried
    }

    /// Reads the configuration again and opens what the supervisor itself must open for it.
    ///
    /// # Errors
    /// The first, of which all are logged.
    fn read(&self) -> Result<(Rc<Config>, Option<Change>), Diagnosis> {
        let refused = |text: &str| Diagnosis::new(Cause::Reload, text, "");
        let loaded = match config::load(&self.sources) {
            Ok(loaded) => loaded,
            Err(diagnostics) => {
                tell(&diagnostics.0, &self.log);
                return Err(diagnostics.diagnosis());
            }
        };
        tell(&loaded.diagnostics, &self.log);
        if loaded.config.is_for_inetd() {
            let text = "no [section] is left: a configuration without one serves a single connection, for inetd";
            crate::error!(self.log, "{text}");
            return Err(refused(text));
        }
        let mut change = Change::default();
        match self.open_for(&loaded.config, &mut change) {
            Ok(()) => Ok((Rc::new(loaded.config), Some(change))),
            Err(text) => {
                change.roll_back();
                crate::error!(self.log, "{text}");
                Err(refused(&text))
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
        let is_ours = |wanted: &&MetricsAddress| ours.is_some_and(|m| m.wanted() == *wanted);
        if let Some(wanted) = new.metrics.as_ref().filter(|wanted| !is_ours(wanted)) {
            let metrics = Metrics::open(wanted, ours).map_err(|error| error.to_string())?;
            change.metrics = Some(metrics);
        }
        Ok(())
    }

    pub(super) fn start(&mut self, number: u64) -> Event {
        let Some(pending) = &mut self.pending else {
            return Event::NotStarted(number);
        };
        let log = pending.log();
        if let Err(error) = self.common.provide_warrants(&pending.config) {
            crate::error!(self.log, "{}", Reason(&error));
            return Event::NotStarted(number);
        }
        // One master after another shares what there is.
        if pending.why != Why::Replace || pending.change.is_some() {
            let (common, masters) = (&mut self.common, &mut self.masters);
            let configs = [&pending.config, &self.config];
            let mut forget = || {
                configs
                    .iter()
                    .for_each(|config| config.forget_secrets(|_| true));
                forget(masters, &mut common.resumption, &mut common.connections)
            };
            let own = Helpers::start_own(Start {
                config: &pending.config,
                leash: &common.leash,
                metrics: None,
                warrants: common.warrants.as_ref(),
                forget: &mut forget,
                log: log_of(Why::Reload, &pending.config),
            });
            match own {
                Ok(own) => pending.own = Some(own),
                Err(error) => {
                    crate::error!(self.log, "{}", Reason(&error));
                    return Event::NotStarted(number);
                }
            }
        }
        let mut outputs = pending
            .change
            .as_mut()
            .and_then(|change| change.outputs.take());
        let started = self
            .helpers
            .contacts(pending.own.as_ref())
            .and_then(|helpers| {
                let (config, common) = (&pending.config, &mut self.common);
                let older = self.masters.boards();
                Generation::start(number, config, common, helpers, older, &mut outputs, log)
            });
        if let Some(change) = &mut pending.change {
            change.outputs = outputs;
        }
        match started {
            Ok(generation) => {
                let master = Master {
                    pid: generation.pid.as_raw(),
                    drain_timeout: generation.drain_timeout,
                };
                self.masters.add(generation);
                Event::Started(number, master)
            }
            Err(error) => {
                crate::error!(self.log, "A master cannot be started: {}", Reason(&error));
                Event::NotStarted(number)
            }
        }
    }
}

/// Commit, or roll back.
impl Supervisor {
    /// Binds what is new and passes the candidate its listeners.
    pub(super) fn listen(&mut self, number: u64, accept: &[Vec<Accept>]) -> Event {
        let (Some(pending), Some(master)) = (&mut self.pending, self.masters.get(number)) else {
            return Event::NotListening(number);
        };
        let log = pending.log();
        let Ok(prepared) = self.listeners.prepare(&pending.config, accept, &log) else {
            let text = "an address cannot be bound: the log names it, and what holds it";
            self.is_refused_by(|| Diagnosis::new(Cause::Reload, text, ""));
            return Event::NotListening(number);
        };
        // At a start there is no client to lose, and a port that is told to be bound can be connected to.
        let listens = match self.listeners.serve() {
            true => Ok(()),
            false => self.listeners.listen(&prepared),
        };
        let said = say_listeners(&master.channel, &prepared.sockets());
        let lines = prepared.lines(&pending.config);
        pending.prepared = Some(prepared);
        if let Err(text) = listens {
            crate::error!(self.log, "{text}");
            return Event::NotListening(number);
        }
        match said {
            Ok(()) => Event::Listening(number, lines),
            Err(error) => {
                crate::error!(
                    self.log,
                    "Generation {number} was not given its listeners: {} ({})",
                    Reason(&error),
                    remedy::starting_a_process(&error)
                );
                Event::NotListening(number)
            }
        }
    }

    pub(super) fn roll_back(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        if let Some(prepared) = pending.prepared {
            prepared.give_up();
        }
        if let Some(mut own) = pending.own {
            own.kill();
        }
        if let Some(change) = pending.change {
            change.roll_back();
        }
    }

    /// Has the candidate's listeners take connections, and the candidate accept them, and retires what only
    /// others had.
    pub(super) fn commit(&mut self, number: u64) -> Event {
        let prepared = self.pending.as_ref().and_then(|p| p.prepared.as_ref());
        if let Some(Err(text)) = prepared.map(|prepared| self.listeners.listen(prepared)) {
            crate::error!(self.log, "{text}");
            return Event::NotListening(number);
        }
        let prepared = self.pending.as_mut().and_then(|p| p.prepared.take());
        if let Some(prepared) = prepared {
            self.listeners.commit(prepared);
        }
        if let Some(master) = self.masters.get(number) {
            let retired = self.listeners.retired();
            if let Err(error) = say_accept(&master.channel, &retired) {
                crate::error!(
                    self.log,
                    "Generation {number} was not told to accept: {}",
                    Reason(&error)
                );
                // Its death has another started.
                master.kill();
            }
        }
        Event::Committed(number)
    }

    pub(super) fn put_into_force(&mut self, why: Why) -> Vec<Event> {
        let Some(Pending {
            config,
            change,
            own,
            names,
            ..
        }) = self.pending.take()
        else {
            return Vec::new();
        };
        self.carry_counts();
        self.common.names = names;
        self.log = log_of(Why::Reload, &config);
        let old = std::mem::replace(&mut self.config, Rc::clone(&config));
        self.allowed = config.global.metrics_allowed();
        self.watch = Watch::of(&config, &self.log).unwrap_or_else(|error| {
            let (reason, remedy) = (Reason(&error), remedy::starting_a_process(&error));
            crate::error!(self.log, "certWatch: {reason} ({remedy})");
            None
        });
        if let Some(change) = change {
            self.put_change_into_force(change, &config);
        }
        self.watch_backlog();
        let syslog = self.watch_syslog();
        if let Some(own) = own {
            self.helpers.adopt(own, &self.common.leash);
        }
        let staples = self.masters.all().last().is_some_and(Generation::staples);
        if why == Why::Reload {
            self.helpers.fit(&old.global, &config, staples);
        }
        let fetcher_is_new = staples && self.helpers.channel(Kind::Fetcher).is_none();
        if fetcher_is_new {
            self.helpers.need_fetcher();
        }
        let names_wanted = self.want_names();
        let missing = self.helpers.missing();
        let due = |kind: &Kind| {
            why == Why::Reload
                || kind.is_of_a_generation()
                || fetcher_is_new && *kind == Kind::Fetcher
        };
        missing
            .into_iter()
            .filter(due)
            .flat_map(|kind| self.start_helper(kind))
            .chain(syslog)
            .chain([names_wanted])
            .collect()
    }

    fn put_change_into_force(&mut self, change: Change, config: &Config) {
        if let Some(outputs) = change.outputs {
            log::install(outputs);
        }
        let new = &config.global;
        if change.control.is_some() || new.control.is_none() {
            let old = std::mem::replace(&mut self.control, change.control);
            old.into_iter().for_each(Control::remove);
        }
        if let Some(metrics) = &change.metrics {
            crate::info!(self.log, "{}", metrics.line());
        }
        if change.metrics.is_some() || new.metrics.is_none() {
            let old = std::mem::replace(&mut self.metrics, change.metrics);
            old.into_iter().for_each(Metrics::remove);
        }
        let old = match (change.pid_file, new.pid.as_deref()) {
            (Some(new), _) => self.pid_file.replace(new),
            (None, None) => self.pid_file.take(),
            (None, Some(path)) => {
                if let Some(same) = &mut self.pid_file {
                    same.move_to(new.chroot.as_deref(), path);
                }
                return;
            }
        };
        old.into_iter().for_each(PidFile::remove);
        self.write_pid_file();
    }
}

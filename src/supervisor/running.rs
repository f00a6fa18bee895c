//! The supervisor's loop: one wait. Signals, words and deaths become events for the
//! [decider](super::decider), and what it orders is done by the files below.

mod errands;
mod naming;
mod obey;
mod orders;
mod refusals;
mod reload;
mod sparing;
mod status;
mod telling;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::socket::MsgFlags;
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::backlog::Backlog;
use super::control::Control;
use super::daemon::Starter;
use super::decider::{Decider, Event, Master, Reloads, State, Why};
use super::generation::Common;
use super::helpers::Helpers;
use super::listeners::Listeners;
use super::lookups::Lookups;
use super::masters::Masters;
use super::metrics::Metrics;
use super::notify::Notifier;
use super::pid_file::PidFile;
use super::source::{Source, Waiting};
use super::syslog::SyslogWatch;
use super::watch::Watch;
use crate::children::{self, Death};
use crate::config::{Config, Networks, Sources};
use crate::incidents::Diagnosis;
use crate::ipc::leash::Holder;
use crate::ipc::words::{FromMaster, hear};
use crate::limits;
use crate::log::Log;
use crate::log::Reason;
use crate::signals::Signals;
use reload::{Pending, Rehearsal};
use telling::{HelperDeaths, Told};

/// Words that are still heard from a master that has died.
const LAST_WORDS: usize = 16;

/// All that the supervisor holds, and what decides about it.
pub(super) struct Supervisor {
    decider: Decider,
    sources: Sources,
    /// The configuration in force; before the first generation serves, the one it is to have.
    config: Rc<Config>,
    common: Common,
    /// Never read: its end of file is the message.
    leash: Holder,
    helpers: Helpers,
    metrics: Option<Metrics>,
    /// Networks that may ask it by the configuration in force; `None`: all.
    allowed: Option<Networks>,
    /// What the teller knows.
    told: Told,
    helper_deaths: HelperDeaths,
    waiting: Waiting,
    signals: Signals,
    log: Log,
    pid_file: Option<PidFile>,
    starter: Option<Starter>,
    masters: Masters,
    listeners: Listeners,
    control: Option<Control>,
    /// What a transition has made so far.
    pending: Option<Pending>,
    /// Why it comes to nothing.
    refusal: Option<Diagnosis>,
    /// Processes that were killed since they did not respond, and have not been reaped.
    stood_still: Vec<i32>,
    /// A new binary that is being tried.
    rehearsal: Option<Rehearsal>,
    notifier: Notifier,
    watch: Option<Watch>,
    syslog: Option<SyslogWatch>,
    lookups: Lookups,
    /// Awaits the next client; none once that has come.
    backlog: Option<Backlog>,
    /// The end.
    status: Option<ExitCode>,
}

/// What a supervisor is put together from.
pub(super) struct Parts {
    /// Where the configuration comes from, now and at each reload.
    pub sources: Sources,
    /// What it said at the start.
    pub config: Rc<Config>,
    /// What generations share.
    pub common: Common,
    /// To be held for as long as the supervisor lives.
    pub leash: Holder,
    /// The first helpers.
    pub helpers: Helpers,
    /// Where the teller listens.
    pub metrics: Option<Metrics>,
    /// Networks that may ask there.
    pub allowed: Option<Networks>,
    /// What the loop waits by.
    pub waiting: Waiting,
    /// The supervisor's signals.
    pub signals: Signals,
    /// The log of the loops.
    pub log: Log,
    /// Locked.
    pub pid_file: Option<PidFile>,
    /// Where `adit status` asks.
    pub control: Option<Control>,
    /// Sockets that are there already.
    pub listeners: Listeners,
    /// Who waits for the daemon to serve.
    pub starter: Option<Starter>,
    /// What the program before an exec had.
    pub masters: Masters,
}

impl Supervisor {
    /// A supervisor that has yet to start its first generation.
    pub(super) fn new(parts: Parts) -> Supervisor {
        let notifier = Notifier::from_environment(std::process::id());
        // For the workers, from within whose jail it cannot be seen.
        limits::measure_memory();
        refusals::keep_log_losses();
        let drain_timeout = parts.config.global.drain_timeout;
        Supervisor {
            decider: Decider::new(drain_timeout, notifier.watchdog(), Instant::now()),
            sources: parts.sources,
            config: parts.config,
            common: parts.common,
            leash: parts.leash,
            helpers: parts.helpers,
            metrics: parts.metrics,
            allowed: parts.allowed,
            told: Told::default(),
            helper_deaths: HelperDeaths::new(),
            waiting: parts.waiting,
            signals: parts.signals,
            log: parts.log,
            pid_file: parts.pid_file,
            starter: parts.starter,
            masters: parts.masters,
            listeners: parts.listeners,
            control: parts.control,
            pending: None,
            refusal: None,
            stood_still: Vec::new(),
            rehearsal: None,
            notifier,
            watch: None,
            syslog: None,
            lookups: Lookups::default(),
            backlog: None,
            status: None,
        }
    }

    /// Tells the decider what the program before this one had running: how far each generation had
    /// come, and how much longer it may drain.
    pub(super) fn go_on(
        &mut self,
        progress: Vec<(u64, State, Option<Duration>)>,
        reloads: Reloads,
        next_number: u64,
        spared: Vec<(u64, bool)>,
    ) {
        let now = Instant::now();
        self.decider.go_on_counting(next_number, reloads);
        for (number, stands) in spared {
            self.decider.go_on_with_spare(number, stands, now);
        }
        for (number, state, left) in progress {
            if let Some(generation) = self.masters.get(number) {
                let master = Master {
                    pid: generation.pid.as_raw(),
                    drain_timeout: generation.drain_timeout,
                };
                let until = left.map(|left| now + left);
                self.decider.go_on_with(number, master, state, until, now);
            }
        }
        for orphans in self.masters.orphans() {
            self.decider.go_on_with_orphans(orphans.generation.number);
        }
        for kind in self.helpers.missing() {
            self.decider.go_on_without(kind, now);
        }
    }

    /// Runs until it is stopped.
    pub(super) fn run(mut self, why: Why) -> ExitCode {
        self.happen(Event::Begin(why));
        loop {
            self.happen(Event::TurnOver);
            if let Some(status) = self.status {
                return status;
            }
            self.note_log_losses();
            self.keep_teller_informed();
            if let Err(error) = self.wait() {
                crate::error!(self.log, "Supervisor: {}", Reason(&error));
                return ExitCode::FAILURE;
            }
            self.obey_signals();
            self.look_at_the_clock();
        }
    }

    /// Tells the decider what has happened, does what it orders, and tells it what came of that.
    fn happen(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if self.status.is_some() {
                return;
            }
            self.told.follow(&event);
            for order in self.decider.on(event, Instant::now()) {
                self.told.follow_order(&order);
                events.extend(self.obey(order));
            }
        }
    }

    /// Waits for something to happen and hears what the masters say.
    fn wait(&mut self) -> io::Result<()> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd())];
        let masters = self.masters.all().iter().filter(|master| master.hears);
        sources.extend(masters.map(|m| (Source::Master(m.number), m.channel.as_fd())));
        let spares = self.masters.spares().iter().filter(|spare| spare.hears);
        sources.extend(spares.map(|s| (Source::Spare(s.behind), s.channel.as_fd())));
        let unborn = self.masters.unborn().iter();
        sources.extend(unborn.map(|u| (Source::Unborn(u.number), u.channel.as_fd())));
        sources.extend(self.watch.iter().map(|w| (Source::Files, w.as_fd())));
        sources.extend(self.syslog.iter().map(|s| (Source::Syslog, s.as_fd())));
        sources.extend(self.backlog.iter().map(|b| (Source::Backlog, b.as_fd())));
        sources.extend(self.lookups.fd().map(|fd| (Source::Names, fd)));
        let answers = self.helpers.answers();
        sources.extend(answers.map(|(kind, fd)| (Source::Helper(kind), fd)));
        sources.extend(self.control.iter().flat_map(Control::sources));
        let ready = self.waiting.wait_for(&sources, self.decider.soonest())?;
        let is_ready = |source| ready.contains(&source);
        if is_ready(Source::Files) && self.watch.as_mut().is_some_and(Watch::take_note) {
            self.happen(Event::FileWritten);
        }
        if is_ready(Source::Syslog) && self.syslog.as_mut().is_some_and(SyslogWatch::take_note) {
            self.happen(Event::SyslogAppeared);
        }
        if is_ready(Source::Names) {
            self.hear_names();
        }
        if is_ready(Source::Backlog) {
            self.backlog = None;
            self.happen(Event::ClientCame);
        }
        for source in &ready {
            match source {
                Source::Helper(kind) => {
                    self.helpers.answered(*kind);
                    self.happen(Event::HelperAnswered(*kind));
                }
                Source::Master(number) => drop(self.hear(*number)),
                Source::Spare(number) => self.hear_spare(*number),
                Source::Unborn(number) => self.hear_unborn(*number),
                _ => {}
            }
        }
        let of_control = [Source::Control, Source::Answer, Source::Request];
        if of_control.into_iter().any(is_ready) {
            self.serve_control();
        }
        Ok(())
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        while self.status.is_none() && self.decider.soonest().is_some_and(|at| at <= now) {
            self.happen(Event::Clock);
        }
    }

    fn obey_signals(&mut self) {
        for signal in self.signals.take() {
            match signal {
                SIGCHLD => self.reap(),
                SIGHUP => self.happen(Event::Reload),
                SIGUSR1 => self.happen(Event::ReopenLog),
                SIGUSR2 => self.happen(Event::List),
                SIGTERM => self.happen(Event::Stop("SIGTERM")),
                SIGINT => self.happen(Event::Stop("SIGINT")),
                SIGQUIT => self.happen(Event::Stop("SIGQUIT")),
                _ => {}
            }
        }
    }

    /// Hears one word of a master; whether there was one.
    fn hear(&mut self, number: u64) -> bool {
        let Some(generation) = self.masters.get(number) else {
            return false;
        };
        match hear::<FromMaster>(&generation.channel, MsgFlags::MSG_DONTWAIT) {
            Ok(Some((FromMaster::Resolved(names), _))) => {
                // From within the jail nothing of the kind is taken.
                let loads = self.decider.state(number) == Some(State::Loading);
                if let Some(pending) = self.pending.as_mut().filter(|_| loads) {
                    pending.names.add(names);
                }
                return true;
            }
            Ok(Some((word, _))) => {
                self.happen(Event::Said(number, word));
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Its death, which SIGCHLD tells, says the rest.
            Ok(None) => self.masters.is_deaf(number),
            Err(error) => {
                self.masters.is_deaf(number);
                self.happen(Event::InvalidMessage(number, error.to_string()));
            }
        }
        false
    }

    /// Takes note of every child that has died.
    fn reap(&mut self) {
        while let Some(death) = children::reap() {
            let Death {
                pid,
                well,
                how,
                status,
            } = death;
            if let Some((kind, pause)) = self.helpers.died(pid) {
                *self.helper_deaths.entry(kind).or_default() += 1;
                let pid = pid.as_raw();
                self.happen(Event::HelperDied {
                    kind,
                    pid,
                    how,
                    pause,
                });
            } else if let Some(kind) = self.helpers.has_left(pid) {
                crate::debug!(self.log, "A {kind} that was left alone (PID {pid}) {how}");
            } else if let Some(kind) = self.pending.as_mut().and_then(|p| p.helper_died(pid)) {
                // Once the generation serves, another takes its place.
                crate::error!(self.log, "The {kind} (PID {pid}) {how}");
            } else if let Some(rehearsal) = self.rehearsal.take_if(|r| r.is(pid)) {
                self.happen(Event::Rehearsed(rehearsal.ended(well, how)));
            } else if let Some(number) = self.masters.of_process(pid) {
                self.hear_last_words(number);
                self.happen(Event::MasterDied(number, how));
            } else if let Some(number) = self.masters.spare_died(pid) {
                self.happen(Event::SpareLost(number, how));
            } else if self.masters.has_left(pid) || self.masters.zygote_ended(pid) {
                crate::debug!(
                    self.log,
                    "A process that was not needed any more (PID {pid}) {how}"
                );
            } else if self.masters.has_worker(pid) {
                crate::debug!(self.log, "An orphaned worker (PID {pid}) {how}");
                self.orphan_ended(pid);
            } else if let Some(text) = children::of_program(&status) {
                // Of a launcher that has died: what it had started is a child of ours since then.
                crate::info!(self.log, "{text}");
            }
        }
    }

    /// What a master said last counts: that it failed, or that it serves.
    fn hear_last_words(&mut self, number: u64) {
        // No more than a master ever says: its end may have been left open in another process.
        for _ in 0..LAST_WORDS {
            if !self.hear(number) {
                break;
            }
        }
    }

    fn orphan_ended(&mut self, pid: Pid) {
        let gone = self.masters.orphan_ended(pid);
        self.carry_counts();
        self.told.is_outdated();
        self.masters.forget_the_gone();
        for number in gone {
            self.happen(Event::OrphansEnded(number));
        }
    }

    /// Moves the counts of every generation except the serving one.
    fn carry_counts(&mut self) {
        let serving = self.decider.serving();
        self.masters.carry_counts(serving, &mut self.common.carried);
        self.masters.carry_answers(serving);
    }
}

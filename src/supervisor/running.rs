//! The supervisor's loop: one poll(2); signals, words and deaths become steps of the transition
//! under way, of stopping, or of a repair.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::MsgFlags;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::daemon::Starter;
use super::generation::{Common, Generation, State};
use super::helpers::Helpers;
use super::listeners::Listeners;
use super::metrics::Metrics;
use super::notify::Notifier;
use super::orphans::Orphans;
use super::pid_file::PidFile;
use super::pulse::Asked;
use super::rehearsal::Rehearsal;
use super::requests::Listing;
use super::stopping::Stopping;
use super::syslog::SyslogWatch;
use super::telling::Told;
use super::transition::{Handover, Transition, Why};
use super::watch::Watch;
use crate::children::BackOff;
use crate::config::{Config, Sources};
use crate::ipc::leash::Holder;
use crate::ipc::wait::wait;
use crate::ipc::words::{FromMaster, hear};
use crate::log::Log;
use crate::log::Reason;
use crate::signals::Signals;

/// See the module.
pub struct Supervisor {
    pub(super) sources: Sources,
    /// The configuration in force; before the first generation serves, the one it is to have.
    pub(super) config: Rc<Config>,
    pub(super) common: Common,
    /// Nobody reads it: its end of file is the message.
    pub(super) leash: Holder,
    pub(super) helpers: Helpers,
    pub(super) metrics: Option<Metrics>,
    /// What the teller knows.
    pub(super) told: Told,
    pub(super) signals: Signals,
    pub(super) log: Log,
    pub(super) pid_file: Option<PidFile>,
    pub(super) starter: Option<Starter>,
    pub(super) generations: Vec<Generation>,
    pub(super) orphans: Vec<Orphans>,
    pub(super) listeners: Listeners,
    pub(super) control: Option<Control>,
    pub(super) transition: Option<Transition>,
    pub(super) reload_wanted: bool,
    pub(super) stopping: Option<Stopping>,
    pub(super) next_number: u64,
    /// A new binary that is being tried.
    pub(super) rehearsal: Option<Rehearsal>,
    pub(super) notifier: Notifier,
    pub(super) reloads: Reloads,
    pub(super) back_off: BackOff,
    /// When to start the next master in place of one that died.
    pub(super) replace_at: Option<Instant>,
    pub(super) send_again_at: Option<Instant>,
    pub(super) listing: Option<Listing>,
    pub(super) handover: Option<Handover>,
    pub(super) watch: Option<Watch>,
    pub(super) syslog: Option<SyslogWatch>,
    /// What the serving master was asked and has not answered.
    pub(super) asked: Option<Asked>,
    /// The log file or syslogd became another while a candidate had the old one open already.
    pub(super) logs_changed: bool,
}

/// Reloads that are over, by how they ended.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Reloads {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

/// What a supervisor is put together from.
pub struct Parts {
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
}

impl Supervisor {
    /// A supervisor that has yet to start its first generation.
    pub fn new(parts: Parts) -> Supervisor {
        Supervisor {
            control: parts.control,
            sources: parts.sources,
            config: parts.config,
            common: parts.common,
            leash: parts.leash,
            helpers: parts.helpers,
            metrics: parts.metrics,
            told: Told::default(),
            signals: parts.signals,
            log: parts.log,
            pid_file: parts.pid_file,
            starter: parts.starter,
            generations: Vec::new(),
            orphans: Vec::new(),
            listeners: parts.listeners,
            transition: None,
            reload_wanted: false,
            stopping: None,
            notifier: Notifier::from_environment(std::process::id()),
            reloads: Reloads::default(),
            next_number: 1,
            rehearsal: None,
            back_off: BackOff::default(),
            replace_at: None,
            send_again_at: None,
            listing: None,
            handover: None,
            watch: None,
            syslog: None,
            asked: None,
            logs_changed: false,
        }
    }

    /// Adds what the program before this one had running.
    pub fn go_on_with(
        &mut self,
        generations: Vec<Generation>,
        orphans: Vec<Orphans>,
        reloads: Reloads,
        next_number: u64,
    ) {
        self.generations = generations;
        self.orphans = orphans;
        self.reloads = reloads;
        self.next_number = next_number;
    }

    /// Runs until it is stopped.
    pub fn run(mut self, why: Why) -> ExitCode {
        self.begin(why);
        loop {
            if let Some(status) = self.finished() {
                return status;
            }
            self.keep_teller_informed();
            match self.wait() {
                Ok(()) => {}
                Err(error) => {
                    crate::error!(self.log, "Supervisor: {}", Reason(&error));
                    return ExitCode::FAILURE;
                }
            }
            self.obey_signals();
            self.look_at_the_clock();
            if self.transition.is_none() && self.stopping.is_none() {
                self.reload();
            }
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Waits for something to happen and hears what the masters say.
    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let heard: Vec<u64> = self
            .generations
            .iter()
            .filter(|g| g.hears)
            .map(|g| g.number)
            .collect();
        for generation in self.generations.iter().filter(|g| g.hears) {
            fds.push(PollFd::new(generation.channel.as_fd(), PollFlags::POLLIN));
        }
        let watch = fds.len();
        fds.extend(
            self.watch
                .iter()
                .map(|w| PollFd::new(w.as_fd(), PollFlags::POLLIN)),
        );
        let syslog = fds.len();
        fds.extend(
            self.syslog
                .iter()
                .map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)),
        );
        let first_control = fds.len();
        fds.extend(self.control.iter().flat_map(Control::interests));
        if wait(&mut fds, timeout)? == 0 {
            return Ok(());
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if let Some(changes) = self.watch.as_mut().filter(|_| ready[watch]) {
            changes.take_note();
        }
        if let Some(appeared) = self.syslog.as_mut().filter(|_| ready[syslog]) {
            appeared.take_note();
        }
        for (number, _) in heard.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            self.hear(*number);
        }
        if ready[first_control..].contains(&true) {
            self.answer_status();
        }
        Ok(())
    }

    fn timeout(&self) -> PollTimeout {
        let mut moments: Vec<Instant> = self
            .generations
            .iter()
            .filter_map(|generation| match generation.state {
                State::Draining(deadline) => deadline,
                State::Cut(deadline) => Some(deadline),
                _ => None,
            })
            .collect();
        match &self.transition {
            Some(transition) => moments.push(transition.deadline()),
            // It waits for the end of a transition, however long that takes.
            None => moments.extend(self.replace_at),
        }
        moments.extend(self.stopping.as_ref().map(Stopping::deadline));
        moments.extend(self.handover.as_ref().map(Handover::deadline));
        moments.extend(self.rehearsal.as_ref().and_then(Rehearsal::deadline));
        moments.extend(self.watch.as_ref().and_then(Watch::settles));
        moments.extend(self.syslog.as_ref().and_then(SyslogWatch::deadline));
        moments.extend(self.asked.as_ref().map(Asked::deadline));
        moments.extend(self.notifier.deadline());
        moments.extend(self.control.as_ref().and_then(Control::deadline));
        moments.extend(self.helpers.deadline());
        moments.extend(self.send_again_at);
        moments.extend(self.listing.as_ref().map(Listing::deadline));
        let Some(soonest) = moments.into_iter().min() else {
            return PollTimeout::NONE;
        };
        let left = soonest.saturating_duration_since(Instant::now());
        PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
    }

    pub(super) fn generation(&mut self, number: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.number == number)
    }

    /// Hears one word of a master; whether there was one.
    pub(super) fn hear(&mut self, number: u64) -> bool {
        let Some(generation) = self.generation(number) else {
            return false;
        };
        match hear::<FromMaster>(&generation.channel, MsgFlags::MSG_DONTWAIT) {
            Ok(Some((word, _))) => {
                let state = generation.state;
                self.heard(number, state, &word);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Its death, which SIGCHLD tells, says the rest.
            Ok(None) => generation.hears = false,
            Err(error) => {
                generation.hears = false;
                // Not reaped yet, so the number is still its own.
                let _ = kill(generation.pid, Signal::SIGKILL);
                crate::error!(
                    self.log,
                    "Generation {number} speaks nonsense: its master is killed: {error}"
                );
            }
        }
        false
    }

    /// A word counts in the state in which it may be said, and in no other: once it was given its
    /// listeners a master is in the jail or on its way there, and root takes no path from it.
    fn heard(&mut self, number: u64, state: State, word: &FromMaster) {
        match (word, state) {
            (FromMaster::Loaded(accept), State::Loading) => self.loaded(number, accept),
            (FromMaster::Failed, State::Loading) => self.candidate_failed(number),
            (FromMaster::Serving, State::Starting) => self.serving(number),
            (FromMaster::Draining, State::Draining(_) | State::Cut(_)) => self.drains(number),
            (FromMaster::Listed(count), _) => self.listed(number, *count),
            (FromMaster::Alive, _) => self.answered(number),
            (FromMaster::Missed, _) => self.missed(),
            (
                FromMaster::Loaded(_)
                | FromMaster::Failed
                | FromMaster::Serving
                | FromMaster::Draining,
                _,
            ) => crate::debug!(self.log, "Generation {number} said a word out of turn"),
        }
    }

    fn obey_signals(&mut self) {
        for signal in self.signals.take() {
            match signal {
                SIGCHLD => self.reap(),
                SIGHUP => self.reload_wanted = true,
                SIGUSR1 => self.reopen_log(),
                SIGUSR2 => self.list(),
                SIGTERM => self.stop("SIGTERM"),
                SIGINT => self.stop("SIGINT"),
                SIGQUIT => self.stop("SIGQUIT"),
                _ => {}
            }
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        if self.notifier.feed_watchdog(now) {
            self.ask_master(now);
        }
        self.watch_master(now);
        if let Some(control) = &mut self.control {
            control.look_at_the_clock(now);
        }
        for generation in &mut self.generations {
            match generation.state {
                State::Draining(Some(until)) if until <= now => generation.cut(),
                State::Cut(until) if until <= now => generation.kill(),
                _ => {}
            }
        }
        if self.handover.as_ref().is_some_and(|h| h.deadline() <= now) {
            self.handover_timed_out();
        }
        if self
            .transition
            .as_ref()
            .is_some_and(|t| t.deadline() <= now)
        {
            self.transition_timed_out();
        }
        self.watch_rehearsal(now);
        if self.listing.as_ref().is_some_and(|l| l.deadline() <= now) {
            self.finish_listing();
        }
        if self
            .watch
            .as_mut()
            .is_some_and(|watch| watch.has_settled(now))
        {
            crate::notice!(self.log, "certWatch: a file has changed, reloading");
            self.reload_wanted = true;
        }
        self.connect_syslog_again(now);
        if self.send_again_at.is_some_and(|at| at <= now) {
            self.send_again();
        }
        self.start_due_helpers(now);
        if self.replace_at.is_some_and(|at| at <= now) && self.transition.is_none() {
            self.replace_at = None;
            self.begin(Why::Replace);
        }
    }
}

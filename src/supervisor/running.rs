//! The supervisor's loop: one poll(2); signals, words and deaths become steps of the transition
//! under way, of stopping, or of a repair.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::MsgFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::daemon::Starter;
use super::generation::{Common, Generation, State};
use super::listeners::Listeners;
use super::notify::Notifier;
use super::pid_file::PidFile;
use super::resolver::Resolver;
use super::stopping::Stopping;
use super::takeover;
use super::transition::{Handover, Transition, Why};
use super::watch::Watch;
use crate::config::{Config, Sources};
use crate::ipc::leash::Holder;
use crate::ipc::words::{FromMaster, ToMaster, hear, say_now};
use crate::log::{self, Log};
use crate::signals::Signals;

/// A master that lived shorter than this died fast.
const FAST: Duration = Duration::from_secs(5);
/// The longest pause before a master that keeps dying is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a new binary may rehearse.
const REHEARSAL_PATIENCE: Duration = Duration::from_secs(60);
/// How long masters may take to list their connections.
const LIST_PATIENCE: Duration = Duration::from_secs(3);
/// Words that are still heard from a master that has died.
const LAST_WORDS: usize = 16;

/// See the module.
pub struct Supervisor {
    pub(super) sources: Sources,
    /// The configuration in force; before the first generation serves, the one it is to have.
    pub(super) config: Rc<Config>,
    pub(super) common: Common,
    /// Nobody reads it: its end of file is the message.
    pub(super) leash: Holder,
    pub(super) resolver: Resolver,
    pub(super) signals: Signals,
    pub(super) log: Log,
    pub(super) pid_file: Option<PidFile>,
    pub(super) starter: Option<Starter>,
    pub(super) generations: Vec<Generation>,
    pub(super) listeners: Listeners,
    pub(super) control: Option<Control>,
    pub(super) transition: Option<Transition>,
    pub(super) reload_wanted: bool,
    pub(super) stopping: Option<Stopping>,
    pub(super) next_number: u64,
    /// A new binary that is being tried.
    rehearsal: Option<Rehearsal>,
    pub(super) notifier: Notifier,
    pub(super) reloads: Reloads,
    /// Masters that died fast, in a row.
    fast_deaths: u32,
    /// When to start the next master in place of one that died.
    pub(super) replace_at: Option<Instant>,
    resolver_at: Option<Instant>,
    listing: Option<Listing>,
    pub(super) handover: Option<Handover>,
    pub(super) watch: Option<Watch>,
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
    /// The first resolver.
    pub resolver: Resolver,
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

/// How far the trial of a new binary has come.
enum Rehearsal {
    /// It runs as this process, and is killed then.
    Running(Pid, Instant),
    /// It may take over.
    Passed,
    /// It may not.
    Failed,
}

impl Rehearsal {
    fn is(&self, child: Pid) -> bool {
        matches!(self, Rehearsal::Running(pid, _) if *pid == child)
    }
}

/// A list of connections being put together (USR2).
struct Listing {
    waiting: Vec<u64>,
    count: usize,
    until: Instant,
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
            resolver: parts.resolver,
            signals: parts.signals,
            log: parts.log,
            pid_file: parts.pid_file,
            starter: parts.starter,
            generations: Vec::new(),
            listeners: parts.listeners,
            transition: None,
            reload_wanted: false,
            stopping: None,
            notifier: Notifier::from_environment(std::process::id()),
            reloads: Reloads::default(),
            next_number: 1,
            rehearsal: None,
            fast_deaths: 0,
            replace_at: None,
            resolver_at: None,
            listing: None,
            handover: None,
            watch: None,
        }
    }

    /// Adds what the program before this one had running.
    pub fn go_on_with(&mut self, generations: Vec<Generation>, reloads: Reloads, next_number: u64) {
        self.generations = generations;
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
            match self.wait() {
                Ok(()) => {}
                Err(error) => {
                    crate::error!(self.log, "Supervisor: {error}");
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

    /// Begins a reload if one is wanted; with a new binary, where there is one that is good.
    fn reload(&mut self) {
        match self.rehearsal.take() {
            Some(Rehearsal::Passed) => {
                let error = self.take_over();
                crate::error!(self.log, "The new binary cannot be executed: {error}");
                self.begin(Why::Reload);
            }
            Some(Rehearsal::Failed) => {
                crate::error!(self.log, "The running binary goes on");
                self.begin(Why::Reload);
            }
            None if self.reload_wanted => {
                self.reload_wanted = false;
                // What came by a descriptor cannot be read a second time.
                match takeover::is_newer() && self.sources.text.is_none() {
                    true => self.begin_rehearsal(),
                    false => self.begin(Why::Reload),
                }
            }
            running => self.rehearsal = running,
        }
    }

    /// Ends a trial: it holds the listeners and the leash like this process.
    pub(super) fn end_rehearsal(&mut self) {
        if let Some(Rehearsal::Running(pid, _)) = self.rehearsal.take() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    /// Whether a reload is wanted or under way.
    pub(super) fn is_reloading(&self) -> bool {
        self.reload_wanted
            || self.rehearsal.is_some()
            || self.transition.is_some()
            || self.handover.is_some()
    }

    fn begin_rehearsal(&mut self) {
        self.notifier.reloading();
        match self.rehearse() {
            Ok(pid) => {
                crate::notice!(self.log, "There is a new binary: it rehearses as PID {pid}");
                let deadline = Instant::now() + REHEARSAL_PATIENCE;
                self.rehearsal = Some(Rehearsal::Running(pid, deadline));
            }
            Err(error) => {
                crate::error!(self.log, "The new binary cannot rehearse: {error}");
                self.begin(Why::Reload);
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
        let first_control = fds.len();
        fds.extend(self.control.iter().flat_map(Control::interests));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if let Some(changes) = self.watch.as_mut().filter(|_| ready[watch]) {
            changes.take_note();
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
        if let Some(Rehearsal::Running(_, deadline)) = self.rehearsal {
            moments.push(deadline);
        }
        moments.extend(self.watch.as_ref().and_then(Watch::settles));
        moments.extend(self.notifier.deadline());
        moments.extend(self.resolver_at);
        moments.extend(self.listing.as_ref().map(|listing| listing.until));
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
    fn hear(&mut self, number: u64) -> bool {
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
        self.notifier.feed_watchdog(now);
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
        if let Some(Rehearsal::Running(pid, deadline)) = self.rehearsal
            && deadline <= now
        {
            // Its end, which SIGCHLD tells, says the rest.
            let _ = kill(pid, Signal::SIGKILL);
            self.rehearsal = Some(Rehearsal::Running(pid, now + REHEARSAL_PATIENCE));
        }
        if self.listing.as_ref().is_some_and(|l| l.until <= now) {
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
        if self.resolver_at.is_some_and(|at| at <= now) {
            self.restart_resolver();
        }
        if self.replace_at.is_some_and(|at| at <= now) && self.transition.is_none() {
            self.replace_at = None;
            self.begin(Why::Replace);
        }
    }

    fn reap(&mut self) {
        while let Ok(status) = waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            let (pid, how) = match status {
                WaitStatus::Exited(pid, 0) => (pid, "ended".to_owned()),
                WaitStatus::Exited(pid, code) => (pid, format!("failed with status {code}")),
                WaitStatus::Signaled(pid, signal, _) => (pid, format!("was killed by {signal}")),
                WaitStatus::StillAlive => return,
                _ => continue,
            };
            if self.resolver.pid == Some(pid) {
                self.resolver.pid = None;
                if self.stopping.is_none() {
                    crate::warning!(self.log, "The resolver (PID {pid}) {how}; starting another");
                    self.resolver_at = Some(Instant::now() + self.resolver.pause());
                }
            } else if self.rehearsal.as_ref().is_some_and(|r| r.is(pid)) {
                let passed = matches!(status, WaitStatus::Exited(_, 0));
                self.rehearsal = Some(match passed {
                    true => Rehearsal::Passed,
                    false => Rehearsal::Failed,
                });
                crate::notice!(self.log, "The new binary's rehearsal {how}");
            } else if let Some(at) = self.generations.iter().position(|g| g.pid == pid) {
                self.master_died(at, &how);
            } else {
                crate::debug!(self.log, "An orphaned worker (PID {pid}) {how}");
            }
        }
    }

    fn master_died(&mut self, at: usize, how: &str) {
        // What it said last counts: that it failed, or that it serves.
        let number = self.generations[at].number;
        // No more than a master ever says: its end may have been left open in another process.
        for _ in 0..LAST_WORDS {
            if !self.hear(number) {
                break;
            }
        }
        let dead = self.generations.remove(at);
        match dead.state {
            State::Loading | State::Starting => {
                let pid = dead.pid;
                crate::error!(
                    self.log,
                    "The master of generation {number} (PID {pid}) {how} before it served"
                );
                self.candidate_failed(number);
            }
            State::Serving if self.stopping.is_none() => self.schedule_replacement(&dead, how),
            State::Serving | State::Draining(_) | State::Cut(_) => {
                crate::info!(self.log, "Generation {number} has ended");
            }
        }
        self.drains(number);
        self.listed(number, 0);
    }

    fn schedule_replacement(&mut self, dead: &Generation, how: &str) {
        self.fast_deaths = if dead.started.elapsed() < FAST {
            self.fast_deaths + 1
        } else {
            0
        };
        let pause = match self.fast_deaths {
            0 | 1 => Duration::ZERO,
            n => LONGEST_PAUSE.min(Duration::from_millis(100) * 2u32.saturating_pow(n - 2)),
        };
        crate::error!(
            self.log,
            "The master of generation {} (PID {}) {how}; starting another in {} ms",
            dead.number,
            dead.pid,
            pause.as_millis()
        );
        self.replace_at = Some(Instant::now() + pause);
    }

    pub(super) fn restart_resolver(&mut self) {
        self.resolver_at = None;
        match Resolver::start(&self.config.global, &self.common.leash, self.log) {
            Ok(resolver) => {
                self.resolver = resolver;
                let channel = self.resolver.channel.as_fd();
                for generation in &self.generations {
                    // One that cannot hear it is dead or dying.
                    let _ = say_now(&generation.channel, &ToMaster::Resolver, &[channel]);
                }
            }
            Err(error) => {
                crate::error!(self.log, "The resolver cannot be started: {error}");
                self.resolver_at = Some(Instant::now() + FAST);
            }
        }
    }

    /// USR1: opens the log file anew and passes the descriptor down, so that every process changes
    /// over between two lines.
    fn reopen_log(&mut self) {
        if self.config.global.output.is_none() {
            return;
        }
        let reopened = log::reopen(&self.config.global).and_then(|file| {
            for generation in &self.generations {
                let file: BorrowedFd<'_> = file.as_fd();
                let _ = say_now(&generation.channel, &ToMaster::LogFile, &[file]);
            }
            // One that is dead just now will be started with the new one.
            let _ = crate::resolver::replace_log_file(&self.resolver.channel, file.as_fd());
            log::replace_file(file)
        });
        match reopened {
            Ok(()) => crate::notice!(self.log, "Log file reopened"),
            Err(error) => crate::error!(self.log, "Log file not reopened: {error}"),
        }
    }

    /// USR2: every worker lists its connections; the sum is the last line.
    fn list(&mut self) {
        let mut waiting = Vec::new();
        for generation in &self.generations {
            let serves = matches!(generation.state, State::Serving | State::Draining(_));
            if serves && say_now(&generation.channel, &ToMaster::List, &[]).is_ok() {
                waiting.push(generation.number);
            }
        }
        self.listing = Some(Listing {
            waiting,
            count: 0,
            until: Instant::now() + LIST_PATIENCE,
        });
        self.listed(0, 0);
    }

    fn listed(&mut self, number: u64, count: usize) {
        let Some(listing) = &mut self.listing else {
            return;
        };
        let waited = listing.waiting.len();
        listing.waiting.retain(|waiting| *waiting != number);
        if listing.waiting.len() < waited {
            listing.count = listing.count.saturating_add(count);
        }
        if listing.waiting.is_empty() {
            self.finish_listing();
        }
    }

    fn finish_listing(&mut self) {
        if let Some(listing) = self.listing.take() {
            crate::log_at!(self.log, 0, "Listed {} active connection(s)", listing.count);
        }
    }
}

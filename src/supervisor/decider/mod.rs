//! What the supervisor decides: an [`Event`] and the time in, [`Order`]s out. One place obeys them;
//! what comes of an order that can fail comes back as an event.
//!
//! The walk of a reload stands in [`reload`], in the order in which it happens.
//!
//! Never in here: a descriptor, a process, a file, a look at the clock, a log line that is written.

mod deaths;
pub(super) mod due;
mod errands;
mod event;
mod generations;
mod listing;
pub(super) mod note;
mod order;
mod pulse;
mod reload;
mod spares;
mod stopping;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::helper::Kind;
use deaths::Replacement;
use due::{Due, Timetable};
pub(super) use event::{Binary, Event, Master, Orphaned, Rehearsed};
pub(super) use generations::State;
use generations::{Generations, Life};
use listing::Listing;
use note::Note;
pub(super) use order::Order;
use pulse::Asked;
use reload::{Handover, Rehearsal, Transition};
pub(in crate::supervisor) use spares::Spare;
use spares::Spares;
use stopping::Stopping;

/// Why there is a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The program starts.
    Start,
    /// A reload: SIGHUP, certWatch, or a program that has just taken over.
    Reload,
    /// The master died; the configuration stays.
    Replace,
}

/// Reloads that are over, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reloads {
    succeeded: u64,
    failed: u64,
}

impl Reloads {
    /// Those that succeeded, and those that were refused.
    pub(super) fn counts(self) -> (u64, u64) {
        (self.succeeded, self.failed)
    }
}

/// All that the supervisor knows to decide by.
#[derive(Debug)]
pub(super) struct Decider {
    due: Timetable,
    generations: Generations,
    /// Generations whose master is dead and whose workers are not.
    orphaned: BTreeSet<u64>,
    next_number: u64,
    /// Of the configuration in force; before the first generation serves, of the one it is to have.
    drain_timeout: Option<Duration>,
    watchdog: Option<Duration>,
    /// How often names are looked up again.
    names_every: Option<Duration>,
    reload_wanted: bool,
    rehearsal: Option<Rehearsal>,
    transition: Option<Transition>,
    handover: Option<Handover>,
    replacement: Replacement,
    spares: Spares,
    /// The master that a spare is to fork.
    promotion: Option<u64>,
    listing: Option<Listing>,
    asked: Option<Asked>,
    stopping: Option<Stopping>,
    /// Helpers that died and have not been started again.
    missing: BTreeSet<Kind>,
    /// How often it was looked at the listeners that were retired last.
    looks_at_the_retired: u32,
    /// The log file or syslogd became another while a candidate had the old one open already.
    logs_changed: bool,
    /// How often connecting to a new syslogd may fail from here on.
    syslog_tries: u32,
    reloads: Reloads,
}

/// One event's turn: when it happened, and what is ordered on account of it.
struct Turn {
    now: Instant,
    orders: Vec<Order>,
}

impl Turn {
    fn order(&mut self, order: Order) {
        self.orders.push(order);
    }

    fn log(&mut self, note: Note) {
        self.order(Order::Log(note));
    }

    fn after(&self, pause: Duration) -> Instant {
        self.now + pause
    }
}

impl Decider {
    /// A supervisor that has no generation. `drain_timeout` is the configuration's, `watchdog` how
    /// often systemd's watchdog is to be fed.
    pub(super) fn new(
        drain_timeout: Option<Duration>,
        watchdog: Option<Duration>,
        now: Instant,
    ) -> Decider {
        let mut due = Timetable::default();
        if watchdog.is_some() {
            due.set(Due::Watchdog, now);
        }
        Decider {
            due,
            generations: Generations::default(),
            orphaned: BTreeSet::new(),
            next_number: 1,
            drain_timeout,
            watchdog,
            names_every: None,
            reload_wanted: false,
            rehearsal: None,
            transition: None,
            handover: None,
            replacement: Replacement::default(),
            spares: Spares::default(),
            promotion: None,
            listing: None,
            asked: None,
            stopping: None,
            missing: BTreeSet::new(),
            logs_changed: false,
            looks_at_the_retired: 0,
            syslog_tries: 0,
            reloads: Reloads::default(),
        }
    }

    /// Takes note of what happened; what is to be done about it, in this order.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Vec<Order> {
        let mut turn = Turn {
            now,
            orders: Vec::new(),
        };
        self.decide(event, &mut turn);
        turn.orders
    }

    fn decide(&mut self, event: Event, turn: &mut Turn) {
        match event {
            Event::Begin(why) => self.begin(why, turn),
            Event::TurnOver => self.turn_over(turn),
            Event::Clock => self.look_at_the_clock(turn),
            Event::Reload => self.reload_wanted = true,
            Event::Stop(signal) => self.stop(signal, turn),
            Event::Said(number, word) => self.heard(number, word, turn),
            Event::InvalidMessage(number, error) => self.heard_invalid_message(number, error, turn),
            // The walk of a transition.
            Event::Compared(binary) => self.compared(binary, turn),
            Event::Rehearsing => self.rehearsing(turn),
            Event::NotRehearsing | Event::NotTakenOver => self.begin(Why::Reload, turn),
            Event::Rehearsed(how) => self.rehearsed(how, turn),
            Event::Queried => self.queried(turn),
            Event::NotQueried => self.not_queried(turn),
            Event::Started(number, master) => self.started(number, master, turn),
            Event::NotStarted(number) => self.candidate_failed(number, turn),
            Event::Listening(number, lines) => self.listening(number, lines, turn),
            Event::NotListening(number) => self.candidate_failed(number, turn),
            Event::Committed(number) => self.committed(number, turn),
            Event::RetiredLeft => self.look_at_the_retired(turn),
            // Deaths.
            Event::MasterDied(number, how) => self.master_died(number, how, turn),
            Event::Buried(number, orphaned) => self.buried(number, orphaned, turn),
            // Spares.
            Event::SpareStands(number) => self.spare_stands(number, turn),
            Event::SpareLost(number, how) => self.spare_lost(number, how, turn),
            Event::NotSpared(number, reason) => self.not_spared(number, reason, turn),
            Event::Forked(number, master) => self.forked(number, master, turn),
            Event::NotForked(number, reason) => self.not_forked(number, reason, turn),
            Event::OrphansEnded(number) => drop(self.orphaned.remove(&number)),
            Event::HelperDied {
                kind,
                pid,
                how,
                pause,
            } => self.helper_died(kind, pid, how, pause, turn),
            Event::HelperAnswered(kind) => self.due.clear(Due::HelperAnswer(kind)),
            Event::ClientCame => self.client_came(turn),
            Event::ClientsWait => self.ask_master(turn),
            Event::ReadersWait => self.helper_is_silent(Kind::Teller, turn),
            Event::HelperStarted(kind) => self.helper_started(kind),
            Event::HelperNotStarted(kind) => self.helper_not_started(kind, turn),
            // Errands.
            Event::StatusWanted => self.ask_master(turn),
            Event::List => self.list(turn),
            Event::Unasked(number) => self.listed(number, 0, turn),
            Event::ReopenLog => self.reopen_log(turn),
            Event::FileWritten => self.file_written(turn),
            Event::NamesWanted(every) => self.names_wanted(every, turn),
            Event::SyslogAppeared => self.syslog_appeared(turn),
            Event::SyslogConnected => self.syslog_connected(),
            Event::SyslogRefused => self.syslog_refused(turn),
            Event::Missed => self.missed(turn),
            Event::ControlPaused => self.control_paused(turn),
        }
    }

    /// A turn of the loop is over. What is wanted begins when nothing else is under way, after every
    /// event of the turn is known: a program that is told to reload and to end does not reload.
    fn turn_over(&mut self, turn: &mut Turn) {
        if self.stopping.is_some() {
            self.end_if_nothing_is_left(turn);
        } else if self.transition.is_none() {
            match self.replacement.take() {
                true => self.begin(Why::Replace, turn),
                false => self.reload_if_wanted(turn),
            }
        }
    }

    /// When [`Event::Clock`] is to come.
    pub(super) fn soonest(&self) -> Option<Instant> {
        self.due.soonest()
    }

    fn look_at_the_clock(&mut self, turn: &mut Turn) {
        let Some((due, at)) = self.due.take(turn.now) else {
            return;
        };
        match due {
            Due::Generation(number) => self.generation_timed_out(number, turn),
            Due::Handover => self.handover_timed_out(turn),
            Due::Rehearsal => self.rehearsal_timed_out(turn),
            Due::Replacement => self.replacement_due(turn),
            Due::Retired => self.close_the_retired(turn),
            Due::Promotion => self.promotion_timed_out(turn),
            Due::Spare(number) => self.spare_due(number, turn),
            Due::Listing => self.finish_listing(turn),
            Due::Answer => self.answer_timed_out(at, turn),
            Due::Stopping => self.end(turn),
            Due::Watchdog => self.watchdog(turn),
            Due::FilesSettled => self.files_settled(turn),
            Due::Syslog => turn.order(Order::ConnectSyslog),
            Due::Resend => turn.order(Order::Resend),
            Due::Control => turn.order(Order::ResumeControl),
            Due::Helper(kind) => turn.order(Order::StartHelper(kind)),
            Due::HelperAnswer(kind) => self.helper_timed_out(kind, at, turn),
            Due::Backlog => self.look_at_the_backlog(turn),
            Due::Names => self.names_are_due(turn),
        }
    }
}

/// What others may know of it.
impl Decider {
    /// How far a generation has come; `None`: there is none of that number.
    pub(super) fn state(&self, number: u64) -> Option<State> {
        self.generations.state(number)
    }

    /// How long a generation may still drain, or take to end.
    pub(super) fn drains_until(&self, number: u64) -> Option<Instant> {
        match self.state(number)? {
            State::Draining | State::Ending => self.due.of(Due::Generation(number)),
            State::Loading | State::Starting | State::TakingOver | State::Serving => None,
        }
    }

    /// How far the spare of a generation has come; `None`: it has none, and is to have none.
    pub(super) fn spare(&self, number: u64) -> Option<Spare> {
        self.spares.of(number)
    }

    /// Whether a reload, or another transition, is wanted or under way.
    pub(super) fn is_reloading(&self) -> bool {
        self.reload_wanted
            || self.rehearsal.is_some()
            || self.transition.is_some()
            || self.handover.is_some()
    }

    /// How reloads ended.
    pub(super) fn reloads(&self) -> Reloads {
        self.reloads
    }

    /// The generation that serves.
    pub(super) fn serving(&self) -> Option<u64> {
        let serving = self.generations.in_state(&[State::Serving]);
        serving.first().copied()
    }

    /// The number of the next generation.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }
}

/// What the program before an exec had running.
impl Decider {
    /// Goes on counting where it was.
    pub(super) fn go_on_counting(&mut self, next_number: u64, reloads: Reloads) {
        self.next_number = next_number;
        self.reloads = reloads;
    }

    /// Adds a generation that served, or drained until then.
    pub(super) fn go_on_with(
        &mut self,
        number: u64,
        master: Master,
        state: State,
        until: Option<Instant>,
        now: Instant,
    ) {
        self.generations.add(number, Life::new(master, state));
        if state == State::Serving {
            self.client_may_wait(now);
        }
        if let (State::Draining, Some(until)) = (state, until) {
            self.due.set(Due::Generation(number), until);
        }
    }

    /// Adds a generation whose master was dead.
    pub(super) fn go_on_with_orphans(&mut self, number: u64) {
        self.orphaned.insert(number);
    }

    /// Notes that a helper was dead.
    pub(super) fn go_on_without(&mut self, kind: Kind, now: Instant) {
        self.missing.insert(kind);
        self.due.set(Due::Helper(kind), now);
    }
}

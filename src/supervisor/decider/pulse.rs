//! Whether the master that serves still goes round its loop. It is asked whenever systemd's watchdog is fed, whenever the
//! status is asked for, and when clients wait that it has not taken. Helpers are asked when they do not answer others.
//! One that does not answer is replaced; while there is no need to know, nothing wakes up.

use std::time::{Duration, Instant};

use super::due::Due;
use super::generations::State;
use super::note::Note;
use super::{Decider, Order, Turn};
use crate::helper::Kind;

/// How long a master, or a helper, may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may wait before it is looked whether the master takes any, and how long that look is good for.
const LOOK_AT_THE_BACKLOG: Duration = Duration::from_secs(1);
/// Woken so much later than wanted, this process was stopped itself, or the machine slept: then nothing
/// is known of the master.
const LATE: Duration = Duration::from_secs(1);

/// A question that is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    generation: u64,
}

impl Decider {
    /// The watchdog is fed.
    pub(super) fn watchdog(&mut self, turn: &mut Turn) {
        if let Some(every) = self.watchdog {
            self.due.set(Due::Watchdog, turn.after(every));
            turn.order(Order::FeedWatchdog);
            self.ask_master(turn);
        }
    }

    /// Asks the master that serves, unless it was asked already.
    pub(super) fn ask_master(&mut self, turn: &mut Turn) {
        if self.asked.is_some() {
            return;
        }
        if let [generation, ..] = self.generations.in_state(&[State::Serving])[..] {
            // One that is not there, or whose queue is full, does not answer either.
            turn.order(Order::Ask(generation));
            self.asked = Some(Asked { generation });
            self.due.set(Due::Answer, turn.after(ANSWER_TIMEOUT));
        }
    }

    pub(super) fn answered(&mut self, number: u64) {
        let asked = self.asked.take_if(|asked| asked.generation == number);
        if asked.is_some() {
            self.due.clear(Due::Answer);
        }
    }

    /// Kills a master that does not answer; its death has another started.
    pub(super) fn answer_timed_out(&mut self, at: Instant, turn: &mut Turn) {
        if turn.now.duration_since(at) > LATE {
            self.due.set(Due::Answer, turn.after(ANSWER_TIMEOUT));
            return;
        }
        let Some(Asked { generation: number }) = self.asked.take() else {
            return;
        };
        let serves = |life: &&super::Life| life.state() == State::Serving;
        if let Some(life) = self.generations.get(number).filter(serves) {
            let pid = life.pid();
            turn.order(Order::Kill(number));
            turn.log(Note::NotResponding { number, pid });
        }
    }
}

/// Clients that nothing takes.
impl Decider {
    /// From here on there may be one.
    pub(super) fn client_came(&mut self, turn: &mut Turn) {
        if self.stopping.is_none() {
            self.client_may_wait(turn.now);
        }
    }

    pub(super) fn client_may_wait(&mut self, now: Instant) {
        let at = now + LOOK_AT_THE_BACKLOG;
        self.due.set_unless_set(Due::Backlog, at);
    }

    pub(super) fn look_at_the_backlog(&mut self, turn: &mut Turn) {
        if self.stopping.is_none() {
            turn.order(Order::LookAtBacklog);
            turn.order(Order::WatchBacklog);
        }
    }
}

/// Helpers.
impl Decider {
    /// One has not answered those of a generation that ask it.
    pub(super) fn helper_does_not_answer(&mut self, number: u64, kind: Kind, turn: &mut Turn) {
        // Each generation has its own of some: those of one that drains have no place where others follow.
        if !kind.is_of_a_generation() || self.generations.state(number) == Some(State::Serving) {
            self.helper_is_silent(kind, turn);
        }
    }

    /// Helpers of its own take the place of those that were asked.
    pub(super) fn generation_brings_its_own(&mut self) {
        let own = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_of_a_generation());
        own.for_each(|kind| self.due.clear(Due::HelperAnswer(kind)));
    }

    /// Asks one whether its loop comes round, unless it was asked already: one that is busy answers that at once.
    pub(super) fn helper_is_silent(&mut self, kind: Kind, turn: &mut Turn) {
        let is_asked = self.due.of(Due::HelperAnswer(kind)).is_some();
        let is_there = !self.missing.contains(&kind);
        if is_there && !is_asked && self.stopping.is_none() {
            turn.order(Order::AskHelper(kind));
            let at = turn.after(ANSWER_TIMEOUT);
            self.due.set(Due::HelperAnswer(kind), at);
        }
    }

    /// Its death has another started.
    pub(super) fn helper_timed_out(&mut self, kind: Kind, at: Instant, turn: &mut Turn) {
        match turn.now.duration_since(at) > LATE {
            true => self
                .due
                .set(Due::HelperAnswer(kind), turn.after(ANSWER_TIMEOUT)),
            false => turn.order(Order::KillHelper(kind)),
        }
    }
}

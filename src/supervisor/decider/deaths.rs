//! Deaths of masters and helpers: what each means, and what is started in place of the dead.

use std::time::{Duration, Instant};

use super::due::Due;
use super::generations::State;
use super::note::Note;
use super::{Decider, Order, Orphaned, Spare, Turn};
use crate::children::BackOff;
use crate::helper::Kind;

/// Pause before a helper that could not be started is tried again.
const HELPER_RETRY: Duration = Duration::from_secs(5);

/// The master that is started in place of one that died.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    pub(super) back_off: BackOff,
    /// Its time has come; it begins when no transition is under way, however long that takes.
    wanted: bool,
    /// The generation that it is for, and when the back-off lets it begin.
    behind: Option<(u64, Instant)>,
}

impl Replacement {
    pub(super) fn want(&mut self) {
        self.wanted = true;
        self.behind = None;
    }

    /// It is for that dead master, and begins no sooner than that.
    pub(super) fn is_for(&mut self, dead: u64, at: Instant) {
        self.behind = Some((dead, at));
    }

    /// It is under way, or is not to come; the dead master.
    pub(super) fn begins(&mut self) -> Option<u64> {
        self.behind.take().map(|(dead, _)| dead)
    }

    /// The dead master.
    pub(super) fn behind(&self) -> Option<u64> {
        self.behind.map(|(dead, _)| dead)
    }

    /// Whether it waits for the spare of that master alone.
    pub(super) fn waits_for(&self, dead: u64, now: Instant) -> bool {
        self.behind
            .is_some_and(|(other, at)| other == dead && at <= now)
    }

    #[cfg(test)]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether it is wanted; from now on it is not.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.wanted)
    }
}

impl Decider {
    pub(super) fn master_died(&mut self, number: u64, how: String, turn: &mut Turn) {
        let Some(dead) = self.generations.remove(number) else {
            return;
        };
        self.due.clear(Due::Generation(number));
        let pid = dead.pid();
        match dead.state() {
            State::Loading | State::Starting => {
                turn.log(Note::DiedLoading { number, pid, how });
                self.candidate_failed(number, turn);
            }
            State::TakingOver | State::Serving if self.stopping.is_none() => {
                let pause = self.replacement.back_off.died(turn.now);
                let in_vain = self.spares.in_vain(dead.state() == State::TakingOver);
                let stands = self.spares.of(number) == Some(Spare::Standing);
                turn.log(Note::Died {
                    number,
                    pid,
                    how,
                    pause,
                    spared: stands && !in_vain,
                });
                match stands && in_vain {
                    true => self.replacement.want(),
                    false => self.replace(number, pause, turn),
                }
            }
            State::TakingOver | State::Serving | State::Draining | State::Ending => {
                self.drop_spare(number, turn);
                turn.log(Note::Ended(number));
            }
        }
        turn.order(Order::Bury(number));
    }

    pub(super) fn buried(&mut self, number: u64, orphaned: Orphaned, turn: &mut Turn) {
        if orphaned == Orphaned::Workers {
            self.orphaned.insert(number);
        }
        self.accepts_no_more(number, turn);
        self.listed(number, 0, turn);
    }

    /// A program that has taken over may find that the master had just died: should its reload be
    /// refused, the dead one is still to be replaced.
    pub(super) fn replace_if_none_serves(&mut self, turn: &mut Turn) {
        let there = [State::TakingOver, State::Serving];
        let comes = self.due.of(Due::Replacement).is_some() || self.promotion.is_some();
        if self.generations.in_state(&there).is_empty()
            && !comes
            && !self.promote_if_one_stands(turn)
        {
            self.replacement.want();
        }
    }

    pub(super) fn no_replacement(&mut self, turn: &mut Turn) {
        self.give_up_promotion(turn);
        self.replacement.take();
        self.due.clear(Due::Replacement);
    }
}

impl Decider {
    pub(super) fn helper_died(
        &mut self,
        kind: Kind,
        pid: i32,
        how: String,
        pause: Duration,
        turn: &mut Turn,
    ) {
        self.due.clear(Due::HelperAnswer(kind));
        if self.stopping.is_none() {
            turn.log(Note::HelperDied { kind, pid, how });
            self.missing.insert(kind);
            self.due.set(Due::Helper(kind), turn.after(pause));
        }
    }

    /// A helper died just now; a candidate could ask it nothing.
    pub(super) fn start_missing_helpers(&mut self, turn: &mut Turn) {
        for kind in &self.missing {
            self.due.clear(Due::Helper(*kind));
            turn.order(Order::StartHelper(*kind));
        }
    }

    pub(super) fn helper_started(&mut self, kind: Kind) {
        self.missing.remove(&kind);
        self.due.clear(Due::Helper(kind));
        // What the last one was asked.
        self.due.clear(Due::HelperAnswer(kind));
    }

    pub(super) fn helper_not_started(&mut self, kind: Kind, turn: &mut Turn) {
        self.missing.insert(kind);
        self.due.set(Due::Helper(kind), turn.after(HELPER_RETRY));
    }
}

//! The spare of each generation: a process that has in memory what its master was started with, and forks another
//! when that dies. So a death costs no look at a file, a name or a folder. A master that is to drain accepts
//! nothing more, so its spare goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::due::Due;
use super::generations::{Life, State};
use super::note::Note;
use super::{Decider, Master, Order, Turn};
use crate::children::BackOff;

/// How long a spare may take to stand, once its master serves.
pub(super) const STANDING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to fork a master.
pub(super) const FORKING_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause before a spare that could not fork a master is asked again, and nothing else is tried.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many masters of a spare's die before they serve until something else is tried.
const IN_VAIN: u32 = 3;
/// How long that one may take to start its workers.
pub(super) const TAKING_OVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a dead master waits for its spare, where that does not stand yet.
const STANDS_SOON: Duration = Duration::from_secs(1);
/// The least time until another spare is asked for, once one could not be had.
const AGAIN: Duration = Duration::from_secs(5);

/// How far a spare has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    /// The master was asked to fork it.
    Asked,
    /// It can take over.
    Standing,
    /// It is lost; another is asked for at its deadline.
    Missing,
}

/// By the generation behind which each stands.
#[derive(Debug, Default)]
pub(super) struct Spares {
    all: BTreeMap<u64, Spare>,
    back_off: BackOff,
    /// Masters in a row that were forked by a spare and died before they served.
    vain: u32,
}

impl Spares {
    pub(super) fn of(&self, number: u64) -> Option<Spare> {
        self.all.get(&number).copied()
    }

    pub(super) fn one_is_asked_for(&self) -> bool {
        self.all.values().any(|spare| *spare == Spare::Asked)
    }

    pub(super) fn behind(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    /// Counts the death of a master, which served or not; whether spares fork none that serves. Then all is read
    /// again, while the spare stays.
    pub(super) fn in_vain(&mut self, never_served: bool) -> bool {
        self.vain = if never_served { self.vain + 1 } else { 0 };
        let in_vain = self.vain >= IN_VAIN;
        if in_vain {
            self.vain = 0;
        }
        in_vain
    }

    fn set(&mut self, number: u64, spare: Spare) {
        self.all.insert(number, spare);
    }

    fn stands(&self, number: u64) -> bool {
        self.of(number) == Some(Spare::Standing)
    }
}

/// A spare comes, and goes.
impl Decider {
    /// Has a master fork its spare.
    pub(super) fn ask_for_spare(&mut self, number: u64, turn: &mut Turn) {
        self.spares.set(number, Spare::Asked);
        self.due.clear(Due::Spare(number));
        turn.order(Order::Spare(number));
    }

    /// Its master serves from now on.
    pub(super) fn expect_spare(&mut self, number: u64, turn: &mut Turn) {
        if self.spares.of(number) == Some(Spare::Asked) {
            self.due
                .set(Due::Spare(number), turn.after(STANDING_TIMEOUT));
        }
    }

    pub(super) fn spare_stands(&mut self, number: u64, turn: &mut Turn) {
        if self.spares.of(number) != Some(Spare::Asked) {
            return;
        }
        self.spares.set(number, Spare::Standing);
        self.due.clear(Due::Spare(number));
        turn.log(Note::Spared(number));
        if self.replacement.waits_for(number, turn.now) && self.due.of(Due::Replacement).is_some() {
            self.due.clear(Due::Replacement);
            self.promote(number, turn);
        }
    }

    /// It died, or could not be had.
    pub(super) fn spare_lost(&mut self, number: u64, how: String, turn: &mut Turn) {
        if self.spares.of(number).is_none_or(|s| s == Spare::Missing) {
            return;
        }
        self.due.clear(Due::Spare(number));
        if self.generations.get(number).is_none() {
            // Its master is dead too: there is nothing to fork another from.
            self.spares.all.remove(&number);
            return;
        }
        let pause = self.spares.back_off.died(turn.now);
        turn.log(Note::SpareLost { number, how, pause });
        self.spares.set(number, Spare::Missing);
        self.due.set(Due::Spare(number), turn.after(pause));
    }

    /// It could not be forked, by the reason given.
    pub(super) fn not_spared(&mut self, number: u64, reason: String, turn: &mut Turn) {
        if self.spares.of(number) != Some(Spare::Asked) {
            return;
        }
        turn.order(Order::DropSpare(number));
        turn.log(Note::NotSpared { number, reason });
        self.spares.set(number, Spare::Missing);
        let pause = self.spares.back_off.died(turn.now).max(AGAIN);
        self.due.set(Due::Spare(number), turn.after(pause));
    }

    /// It had its time to stand, or another is to be asked for.
    pub(super) fn spare_due(&mut self, number: u64, turn: &mut Turn) {
        match self.spares.of(number) {
            Some(Spare::Asked) => self.not_spared(number, "no answer in time".to_owned(), turn),
            Some(Spare::Missing) => match self.generations.state(number) {
                Some(State::Serving) => {
                    self.ask_for_spare(number, turn);
                    self.expect_spare(number, turn);
                }
                Some(_) => self.due.set(Due::Spare(number), turn.after(AGAIN)),
                None => drop(self.spares.all.remove(&number)),
            },
            Some(Spare::Standing) | None => {}
        }
    }

    /// There is nothing more to stand behind.
    pub(super) fn drop_spare(&mut self, number: u64, turn: &mut Turn) {
        self.due.clear(Due::Spare(number));
        match self.spares.all.remove(&number) {
            Some(Spare::Asked | Spare::Standing) => turn.order(Order::DropSpare(number)),
            Some(Spare::Missing) | None => {}
        }
    }
}

/// A spare has another master serve.
impl Decider {
    /// The master that served is dead: another comes at once, or after the back-off's pause.
    pub(super) fn replace(&mut self, dead: u64, pause: Duration, turn: &mut Turn) {
        self.replacement.is_for(dead, turn.after(pause));
        match self.spares.of(dead) {
            Some(Spare::Standing) if pause.is_zero() => self.promote(dead, turn),
            Some(Spare::Asked) => {
                let at = turn.after(pause.max(STANDS_SOON));
                self.due.set(Due::Replacement, at);
            }
            _ => self.due.set(Due::Replacement, turn.after(pause)),
        }
    }

    pub(super) fn replacement_due(&mut self, turn: &mut Turn) {
        match self.replacement.behind().filter(|n| self.spares.stands(*n)) {
            Some(dead) => self.promote(dead, turn),
            None if self.promote_if_one_stands(turn) => {}
            None => self.replace_from_disk(turn),
        }
    }

    fn replace_from_disk(&mut self, turn: &mut Turn) {
        if let Some(dead) = self.replacement.begins() {
            self.drop_spare(dead, turn);
        }
        self.replacement.want();
    }

    /// Whether a spare stands behind no generation, whose master it can replace.
    pub(super) fn promote_if_one_stands(&mut self, turn: &mut Turn) -> bool {
        let mut all = self.spares.all.keys().copied();
        let alone = all.find(|n| self.generations.get(*n).is_none() && self.spares.stands(*n));
        if let Some(dead) = alone {
            self.promote(dead, turn);
        }
        alone.is_some()
    }

    fn promote(&mut self, dead: u64, turn: &mut Turn) {
        self.replacement.begins();
        let number = self.next_number;
        self.next_number += 1;
        self.spares.all.remove(&dead);
        // From now on it stands behind that one.
        self.spares.set(number, Spare::Standing);
        self.promotion = Some(number);
        self.due.set(Due::Promotion, turn.after(FORKING_TIMEOUT));
        turn.order(Order::Replace { dead, by: number });
    }

    /// The spare has forked it.
    pub(super) fn forked(&mut self, number: u64, master: Master, turn: &mut Turn) {
        if self.promotion.take_if(|n| *n == number).is_none() {
            return;
        }
        self.due.clear(Due::Promotion);
        let life = Life::new(master, State::TakingOver);
        self.generations.add(number, life);
        let until = Some(turn.after(TAKING_OVER_TIMEOUT));
        self.enter(number, State::TakingOver, until);
        if self.spares.of(number).is_none() {
            // It died after that.
            self.spares.set(number, Spare::Missing);
            self.due.set(Due::Spare(number), turn.now);
        }
    }

    /// It has not, and is asked again a moment later. Where it keeps failing, what else there is, is to be read
    /// again; the spare stays, in case that fails too.
    pub(super) fn not_forked(&mut self, number: u64, reason: String, turn: &mut Turn) {
        if !self.ends_promotion(number, turn) {
            return;
        }
        let pause = self.replacement.back_off.died(turn.now);
        let again = Some(pause).filter(|pause| *pause <= PATIENCE && self.spares.stands(number));
        turn.log(Note::NotForked { reason, again });
        match again {
            Some(pause) => self.replace(number, pause, turn),
            None => self.replacement.want(),
        }
    }

    /// It does not answer: it is of no use any more.
    pub(super) fn promotion_timed_out(&mut self, turn: &mut Turn) {
        let promoted = self.promotion;
        if let Some(number) = promoted.filter(|number| self.ends_promotion(*number, turn)) {
            let (reason, again) = ("no answer in time".to_owned(), None);
            turn.log(Note::NotForked { reason, again });
            self.drop_spare(number, turn);
            self.replacement.want();
        }
    }

    /// Whether that was the master to be forked.
    fn ends_promotion(&mut self, number: u64, turn: &mut Turn) -> bool {
        let ended = self.promotion.take_if(|n| *n == number).is_some();
        if ended {
            self.due.clear(Due::Promotion);
            turn.order(Order::GiveUp(number));
        }
        ended
    }

    /// The master that a spare has forked serves.
    pub(super) fn replaced(&mut self, number: u64, turn: &mut Turn) {
        self.enter(number, State::Serving, None);
        turn.log(Note::InPlace(number));
    }

    /// It cannot be told: its death has another come.
    pub(super) fn taking_over_timed_out(&mut self, number: u64, turn: &mut Turn) {
        turn.log(Note::TooSlow(number));
        let until = Some(turn.after(TAKING_OVER_TIMEOUT));
        self.enter(number, State::TakingOver, until);
        turn.order(Order::Kill(number));
    }

    /// Another serves, or none is to.
    pub(super) fn give_up_promotion(&mut self, turn: &mut Turn) {
        self.due.clear(Due::Promotion);
        if let Some(number) = self.promotion.take() {
            turn.order(Order::GiveUp(number));
        }
        self.replacement.begins();
        let (spares, generations) = (self.spares.behind(), &self.generations);
        let alone = spares.into_iter().filter(|n| generations.get(*n).is_none());
        for number in alone.collect::<Vec<_>>() {
            self.drop_spare(number, turn);
        }
    }
}

/// What the program before an exec had.
impl Decider {
    /// A generation had this spare; with none, another is asked for if no reload comes first.
    pub(in crate::supervisor) fn go_on_with_spare(
        &mut self,
        number: u64,
        stands: bool,
        now: Instant,
    ) {
        match stands {
            true => self.spares.set(number, Spare::Standing),
            false => {
                self.spares.set(number, Spare::Missing);
                self.due.set(Due::Spare(number), now + AGAIN);
            }
        }
    }
}

//! What is promised, checked at every order and after every event.

use std::time::{Duration, Instant};

use super::world::{Mood, Phase, Process, World};
use crate::ipc::words::Accept;
use crate::supervisor::decider::due::Due;
use crate::supervisor::decider::listing::Listing;
use crate::supervisor::decider::note::Note;
use crate::supervisor::decider::pulse::Asked;
use crate::supervisor::decider::reload::{Handover, Rehearsal};
use crate::supervisor::decider::{Decider, Event, Order, Spare, State};

impl Decider {
    pub(super) fn rehearsal_runs(&self) -> bool {
        self.rehearsal == Some(Rehearsal::Running)
    }

    fn has(&self, due: Due) -> bool {
        self.due.of(due).is_some()
    }
}

/// Of each order.
impl World {
    /// No order refers to what is gone, or comes before its time.
    pub(super) fn check_order(&self, order: &Order) {
        let candidate = self.pending.as_ref().and_then(|p| p.candidate);
        match order {
            Order::Drain(number)
            | Order::Cut(number)
            | Order::Kill(number)
            | Order::Ask(number)
            | Order::List(number)
            | Order::Bury(number) => {
                assert!(self.masters.contains_key(number), "{number} is gone");
            }
            Order::Query(_) => assert!(self.pending.is_none(), "two transitions"),
            Order::Start(number) => {
                assert!(*number > self.last_started, "a number used twice");
                assert!(self.pending.is_some() && candidate.is_none());
            }
            Order::Listen(number, accept) => {
                assert_eq!(candidate, Some(*number), "not a candidate");
                assert!(self.masters.contains_key(number), "{number} is gone");
                assert!(!self.pending.as_ref().unwrap().bound, "bound twice");
                let config = self.masters[number].config;
                assert_eq!(*accept, [[Accept::Passed(config)]], "another's word");
            }
            // The one order that closes listeners while the program serves.
            Order::Commit(number) => {
                assert_eq!(candidate, Some(*number), "not a candidate");
                let pending = self.pending.as_ref().expect("nothing to commit");
                assert!(pending.bound, "committed before it is bound");
                let serves = &self.masters[&pending.candidate.unwrap()];
                assert!(
                    matches!(serves.phase, Phase::Accepts | Phase::Dead),
                    "listeners closed before others are served"
                );
            }
            Order::Spare(number) => {
                assert!(self.masters.contains_key(number), "{number} is gone");
                assert!(!self.spares.contains_key(number), "two spares");
            }
            Order::DropSpare(_) => {}
            Order::Replace { dead, by } => {
                assert!(*by > self.last_started, "a number used twice");
                assert!(self.unborn.is_none(), "two are forked");
                let spare = &self.spares[dead];
                assert_eq!(
                    Some(spare.config),
                    self.in_force,
                    "its listeners are closed"
                );
                assert!(spare.stands && !self.is_stopping());
                let accepts = self.masters.iter().filter(|(_, master)| {
                    master.config == spare.config
                        && !master.is_to_go
                        && !matches!(master.phase, Phase::Dead | Phase::Loads)
                });
                let candidate = self.pending.as_ref().and_then(|p| p.candidate);
                let others = accepts.filter(|(n, _)| Some(**n) != candidate);
                assert_eq!(others.count(), 0, "two masters of one generation");
            }
            Order::GiveUp(number) => assert!(self.unborn.is_none_or(|n| n == *number)),
            Order::PutIntoForce(_) | Order::RollBack => assert!(self.pending.is_some()),
            Order::CloseListeners => {
                assert!(self.stops_by.is_some() || self.in_force.is_none());
            }
            Order::Rehearse => assert!(!self.rehearses, "two rehearsals"),
            Order::TakeOver => {
                assert!(self.proven, "an unproven binary");
                assert!(self.pending.is_none() && !self.is_stopping());
            }
            Order::StartHelper(kind) => assert!(self.dead_helpers.contains(kind), "two helpers"),
            Order::Log(Note::NotResponding { number, .. }) => {
                let state = self.decider.state(*number);
                assert_eq!(
                    state,
                    Some(State::Serving),
                    "killed though it does not serve"
                );
            }
            Order::Log(Note::Died { .. } | Note::HelperDied { .. }) => {
                assert!(!self.is_stopping(), "another is promised at the end");
            }
            Order::Log(Note::Reloaded(number)) => self.check_announcement(*number),
            Order::Log(Note::Listed(_)) => assert!(self.to_list.is_empty(), "a list is missing"),
            Order::End(_) => {
                let dead = |p: &Process| p.phase == Phase::Dead;
                assert!(self.masters.values().all(dead), "a master is left");
                assert!(self.pending.is_none() && !self.rehearses);
            }
            _ => {}
        }
    }

    /// A reload is announced when no client can reach the old configuration any more; but for one that
    /// the next overtakes.
    fn check_announcement(&self, number: u64) {
        if self.decider.state(number) == Some(State::Serving) {
            let old = self.masters.keys().filter(|other| **other < number);
            let accepts = old.filter(|other| self.accepts(**other));
            assert_eq!(accepts.count(), 0, "announced while the old still accepts");
        }
    }

    /// Whether clients reach it.
    pub(super) fn accepts(&self, number: u64) -> bool {
        self.masters
            .get(&number)
            .is_some_and(|p| p.phase == Phase::Accepts)
    }
}

/// All that a refused reload must leave alone.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    others: Vec<(u64, Option<State>, Option<Instant>)>,
    in_force: (Option<usize>, Option<Duration>),
    handover: Option<Handover>,
    listing: Option<Listing>,
    rehearsal: Option<Rehearsal>,
    asked: Option<Asked>,
}

/// Of refusals: everything is as it was.
impl World {
    /// Of no interest where nothing can be refused.
    pub(super) fn snapshot(&self, event: &Event) -> Option<Snapshot> {
        if self.pending.is_none() && !matches!(event, Event::NotQueried) {
            return None;
        }
        let decider = &self.decider;
        let candidate = self.pending.as_ref().and_then(|p| p.candidate);
        let others = self.masters.keys().filter(|n| Some(**n) != candidate);
        Some(Snapshot {
            others: others
                .map(|n| (*n, decider.state(*n), decider.drains_until(*n)))
                .collect(),
            in_force: (self.in_force, decider.drain_timeout),
            handover: decider.handover.clone(),
            listing: decider.listing.clone(),
            rehearsal: decider.rehearsal,
            asked: decider.asked.clone(),
        })
    }

    pub(super) fn check_refusal(&self, event: &Event, before: Option<Snapshot>, orders: &[Order]) {
        let gives_up = orders.iter().any(|o| matches!(o, Order::RollBack));
        let refused = gives_up || matches!(event, Event::NotQueried);
        if !refused || orders.contains(&Order::CloseListeners) {
            return;
        }
        assert_eq!(
            before,
            self.snapshot(event),
            "a refused reload changed something"
        );
        let candidate = self.pending.as_ref().and_then(|p| p.candidate);
        for order in orders {
            match order {
                Order::Drain(number) | Order::Cut(number) | Order::Kill(number) => {
                    assert_eq!(candidate, Some(*number), "a refused reload meets another");
                }
                Order::Commit(_) | Order::PutIntoForce(_) => panic!("a refused reload in force"),
                _ => {}
            }
        }
        assert!(self.decider.transition.is_none());
    }
}

/// After each event.
impl World {
    pub(super) fn check_state(&self) {
        if self.has_ended() {
            return;
        }
        let known = self.decider.generations.all();
        assert!(known.iter().eq(self.masters.keys()), "{known:?}");
        self.check_who_accepts();
        self.check_that_something_comes();
    }

    /// Never two that are to accept, but for a candidate that has its listeners; and what the one
    /// accepts on is in force.
    fn check_who_accepts(&self) {
        let candidate = self.pending.as_ref().and_then(|p| p.candidate);
        let wanted = |(_, p): &(&u64, &Process)| {
            matches!(p.phase, Phase::Starts | Phase::Accepts) && !p.is_to_go
        };
        let wanted = self.masters.iter().filter(wanted);
        let others: Vec<_> = wanted.filter(|(n, _)| Some(**n) != candidate).collect();
        assert!(others.len() <= 1, "several are to accept: {others:?}");
        for (_, process) in others {
            assert_eq!(
                Some(process.config),
                self.in_force,
                "its listeners are closed"
            );
            assert!(!self.closed, "its listeners are closed");
        }
        assert!(
            !self.is_stopping() || self.pending.is_none(),
            "a start at the end"
        );
    }

    /// Every state that must not last has its deadline, and no deadline is for what is gone.
    fn check_that_something_comes(&self) {
        let decider = &self.decider;
        for number in decider.generations.all() {
            let life = decider.generations.get(number).unwrap();
            let has = decider.has(Due::Generation(number));
            match life.state() {
                State::Loading | State::Starting | State::TakingOver | State::Ending => {
                    assert!(has, "{life:?}");
                }
                // One that was to end when another program took over ends by draining.
                State::Draining => assert!(has || life.drain_timeout().is_none(), "{life:?}"),
                State::Serving => assert!(!has, "{life:?}"),
            }
        }
        for (due, _) in decider.due.all() {
            if let Due::Generation(number) = due {
                assert!(decider.state(number).is_some(), "{due:?}");
            }
        }
        assert_eq!(decider.has(Due::Handover), decider.handover.is_some());
        assert_eq!(decider.has(Due::Rehearsal), decider.rehearsal_runs());
        assert_eq!(decider.has(Due::Listing), decider.listing.is_some());
        let awaited = !self.to_list.is_empty();
        assert!(decider.listing.is_none() || awaited, "no list is awaited");
        assert_eq!(decider.has(Due::Answer), decider.asked.is_some());
        assert_eq!(decider.has(Due::Stopping), decider.stopping.is_some());
        for kind in &self.dead_helpers {
            let comes = decider.has(Due::Helper(*kind)) || decider.stopping.is_some();
            assert!(comes, "{kind} is not started again");
        }
        assert_eq!(decider.has(Due::Promotion), decider.promotion.is_some());
        self.check_spares();
        let there = [State::TakingOver, State::Serving];
        let serves = !decider.generations.in_state(&there).is_empty();
        let comes = decider.transition.is_some() || decider.replacement.is_wanted();
        let comes = comes || decider.has(Due::Replacement) || decider.promotion.is_some();
        let comes = comes || decider.stopping.is_some();
        assert!(serves || comes, "no master serves, and none will");
    }

    /// No spare is forgotten, and one that is not there is asked for; none stands behind a master that
    /// accepts nothing more.
    fn check_spares(&self) {
        let decider = &self.decider;
        for number in self.spares.keys() {
            assert!(
                decider.spare(*number).is_some(),
                "the spare of {number} is forgotten"
            );
        }
        for number in decider.spares.behind() {
            let state = decider.state(number);
            let comes = decider.has(Due::Spare(number)) || decider.promotion == Some(number);
            match decider.spare(number) {
                Some(Spare::Missing) => assert!(comes, "no spare of {number} comes"),
                Some(Spare::Asked) => {
                    let early = !matches!(state, Some(State::Serving | State::TakingOver));
                    assert!(comes || early, "a spare of {number} is not awaited");
                }
                Some(Spare::Standing) | None => {}
            }
            let goes = matches!(state, Some(State::Draining | State::Ending));
            assert!(!goes, "a spare of what goes: {number}");
        }
        if let Some(number) = decider.serving().filter(|_| decider.stopping.is_none()) {
            assert!(decider.spare(number).is_some(), "{number} has no spare");
        }
    }

    /// After a turn of the loop: what was due is done, and the end comes in time.
    pub(super) fn check_deadlines(&self) {
        if self.has_ended() {
            return;
        }
        for (due, at) in self.decider.due.all() {
            assert!(at > self.now || due == Due::Syslog, "{due:?} is forgotten");
        }
        if let Some(bound) = self.stops_by {
            assert!(self.now < bound, "it should have ended");
        }
    }
}

/// At the end.
impl World {
    /// Everything works from now on; it is given the time that it needs.
    pub(super) fn calm_down(&mut self) {
        self.mood = Mood::Calm;
        self.happen(Event::Reload);
        for _ in 0..100 {
            // Nothing that can happen waits for the clock.
            for number in self.decider.generations.all().repeat(3) {
                self.acts(number);
                self.happen(Event::TurnOver);
            }
            self.a_death_is_noticed();
            self.a_spare_acts();
            self.a_spare_forks();
            self.a_rehearsal_ends();
            self.orphans_end();
            self.happen(Event::TurnOver);
            if self.seeded.in_hundred(30) {
                self.now = self
                    .decider
                    .soonest()
                    .map_or(self.now, |at| at.max(self.now));
                // The decider looks for a master that does not respond only when a status is asked for.
                self.happen(Event::StatusWanted);
            }
            self.clock_comes_round();
            self.happen(Event::TurnOver);
            self.check_deadlines();
        }
    }

    pub(super) fn assert_settled(&self) {
        let serving = self.decider.generations.in_state(&[State::Serving]);
        assert_eq!(serving.len(), 1, "one serves");
        assert!(self.accepts(serving[0]), "and accepts");
        let others = self.masters.keys().filter(|n| **n != serving[0]);
        assert!(
            others.into_iter().all(|n| !self.accepts(*n)),
            "no other does"
        );
        assert!(!self.decider.is_reloading(), "no reload is under way");
        assert!(!self.manager_waits, "the manager is told that it is over");
        assert!(self.dead_helpers.is_empty(), "every helper is there");
        let spare = self.decider.spare(serving[0]);
        assert_eq!(spare, Some(Spare::Standing), "its spare stands");
    }
}

//! From one generation to the next, as a transaction, in the order in which it happens. Where there is
//! a new binary, it rehearses and takes over first. Then query (a candidate loads everything), commit
//! (bind, serve, only then drain the old), hand over; or roll back at any step and go on as before.
//! The first start is a transition from nothing; a master that died is replaced by one that changes
//! nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::due::Due;
use super::generations::{Life, State};
use super::note::Note;
use super::{Binary, Decider, Master, Order, Rehearsed, Turn, Why};
use crate::ipc::words::Accept;

/// How long a new binary may rehearse: longer than names may take to resolve.
pub(super) const REHEARSAL_TIMEOUT: Duration = Duration::from_secs(45);
/// How long a candidate may load: keys, and names that do not resolve.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_mins(2);
/// How long it may take to enter the jail and start workers.
pub(super) const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an old master may take to accept no more, once it was told.
pub(super) const HANDOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before it is first looked whether retired listeners have clients; each look doubles it.
const LOOK_AT_THE_RETIRED: Duration = Duration::from_millis(20);
/// The look from which on the pause stays. With it the last handshakes have had their time; what is in a queue then
/// may wait for a master that is full.
const LAST_LOOK: u32 = 7;
/// Pause before a dead master's replacement that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// How far the trial of a new binary has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rehearsal {
    /// It runs.
    Running,
    /// It may take over.
    Passed,
    /// It may not.
    Failed,
}

/// A transition under way.
#[derive(Debug)]
pub(super) struct Transition {
    why: Why,
    /// `None` until its master is started.
    candidate: Option<u64>,
    /// Where it listens, in the log's words.
    lines: Vec<String>,
}

/// A reload that is in force, but for old masters that may still accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handover {
    waiting: BTreeSet<u64>,
    number: u64,
    lines: Vec<String>,
}

/// Wanted: with this binary, or with a new one that has shown that it can.
impl Decider {
    pub(super) fn reload_if_wanted(&mut self, turn: &mut Turn) {
        match self.rehearsal {
            Some(Rehearsal::Running) => {}
            // What the new program would know nothing of ends first; each has its deadline.
            Some(Rehearsal::Passed) if self.must_end_first() => {}
            Some(Rehearsal::Passed) => {
                self.rehearsal = None;
                turn.order(Order::TakeOver);
            }
            Some(Rehearsal::Failed) => {
                self.rehearsal = None;
                turn.log(Note::OldBinaryGoesOn);
                self.begin(Why::Reload, turn);
            }
            None if self.reload_wanted => {
                self.reload_wanted = false;
                turn.order(Order::Compare);
            }
            None => {}
        }
    }

    fn must_end_first(&self) -> bool {
        let comes = self.promotion.is_some() || self.spares.one_is_asked_for();
        let takes_over = !self.generations.in_state(&[State::TakingOver]).is_empty();
        self.handover.is_some() || self.listing.is_some() || comes || takes_over || self.retires()
    }

    pub(super) fn compared(&mut self, binary: Binary, turn: &mut Turn) {
        match binary {
            Binary::New => {
                turn.order(Order::Reloading);
                turn.order(Order::Rehearse);
            }
            Binary::Same => self.begin(Why::Reload, turn),
        }
    }

    pub(super) fn rehearsing(&mut self, turn: &mut Turn) {
        self.rehearsal = Some(Rehearsal::Running);
        let deadline = turn.after(REHEARSAL_TIMEOUT);
        self.due.set(Due::Rehearsal, deadline);
    }

    pub(super) fn rehearsal_timed_out(&mut self, turn: &mut Turn) {
        // Its death says the rest.
        turn.order(Order::KillRehearsal);
        let deadline = turn.after(REHEARSAL_TIMEOUT);
        self.due.set(Due::Rehearsal, deadline);
    }

    pub(super) fn rehearsed(&mut self, how: Rehearsed, turn: &mut Turn) {
        if self.rehearsal != Some(Rehearsal::Running) {
            return;
        }
        self.due.clear(Due::Rehearsal);
        self.rehearsal = Some(match how {
            Rehearsed::Well => {
                turn.log(Note::CanTakeOver);
                Rehearsal::Passed
            }
            Rehearsed::Badly(how) => {
                turn.log(Note::CannotTakeOver(how));
                Rehearsal::Failed
            }
        });
    }

    /// Ends a trial: the new binary holds the listeners and the leash like this process.
    pub(super) fn end_rehearsal(&mut self, turn: &mut Turn) {
        self.due.clear(Due::Rehearsal);
        if let Some(Rehearsal::Running) = self.rehearsal.take() {
            turn.order(Order::EndRehearsal);
        }
    }
}

/// Query, and commit.
impl Decider {
    pub(super) fn begin(&mut self, why: Why, turn: &mut Turn) {
        if why == Why::Reload {
            turn.order(Order::Reloading);
            self.replace_if_none_serves(turn);
        }
        self.logs_changed = false;
        self.transition = Some(Transition {
            why,
            candidate: None,
            lines: Vec::new(),
        });
        turn.order(Order::Query(why));
    }

    pub(super) fn queried(&mut self, turn: &mut Turn) {
        self.start_missing_helpers(turn);
        let number = self.next_number;
        self.next_number += 1;
        if let Some(transition) = &mut self.transition {
            transition.candidate = Some(number);
            turn.order(Order::Start(number));
        }
    }

    pub(super) fn not_queried(&mut self, turn: &mut Turn) {
        self.start_missing_helpers(turn);
        if let Some(transition) = self.transition.take() {
            self.refused(transition.why, turn);
        }
    }

    pub(super) fn started(&mut self, number: u64, master: Master, turn: &mut Turn) {
        let life = Life::new(master, State::Loading);
        self.generations.add(number, life);
        self.enter(number, State::Loading, Some(turn.after(LOAD_TIMEOUT)));
    }

    /// The candidate has read everything: bind what is new and pass it the listeners.
    pub(super) fn loaded(&mut self, number: u64, accept: Vec<Vec<Accept>>, turn: &mut Turn) {
        let Some(why) = self.why_of(number) else {
            return;
        };
        if why != Why::Replace {
            turn.log(Note::Loaded(why));
        }
        self.enter(number, State::Starting, Some(turn.after(START_TIMEOUT)));
        // It forks its spare in the jail, before it starts workers.
        self.ask_for_spare(number, turn);
        turn.order(Order::Listen(number, accept));
    }

    pub(super) fn listening(&mut self, number: u64, lines: Vec<String>, turn: &mut Turn) {
        if self.why_of(number) == Some(Why::Start) {
            // A start that fails from here on has bound its ports, and says so.
            lines
                .iter()
                .for_each(|line| turn.log(Note::Bound(Why::Start, line.clone())));
        }
        if let Some(transition) = &mut self.transition {
            transition.lines = lines;
        }
    }

    /// The candidate could serve: now its listeners take connections.
    pub(super) fn candidate_serves(&mut self, number: u64, turn: &mut Turn) {
        if self.why_of(number).is_some() {
            // Before the old master is told: it looks which of its listeners are retired.
            turn.order(Order::Commit(number));
        }
    }

    /// It accepts: put everything that is new into force, and let the old one drain.
    pub(super) fn committed(&mut self, number: u64, turn: &mut Turn) {
        let Some(transition) = self.take_transition(number) else {
            return;
        };
        // A master that died meanwhile needs no other in its place.
        self.no_replacement(turn);
        self.looks_at_the_retired = 0;
        self.look_at_the_retired(turn);
        let accept = [State::TakingOver, State::Serving];
        let old = self.generations.in_state(&accept);
        old.iter().for_each(|old| self.drain(*old, turn));
        self.enter(number, State::Serving, None);
        self.expect_spare(number, turn);
        let drain_timeout = self.generations.get(number).and_then(Life::drain_timeout);
        self.drain_timeout = drain_timeout;
        // It watches the files of its own configuration, as they are now.
        self.due.clear(Due::FilesSettled);
        self.generation_brings_its_own();
        turn.order(Order::PutIntoForce(transition.why));
        match transition.why {
            Why::Start => {
                turn.order(Order::WritePidFile);
                turn.log(Note::Accepting);
                turn.order(Order::Ready(Note::Accepting.to_string()));
                turn.order(Order::ReleaseStarter);
            }
            Why::Reload => {
                self.renew_logs_if_changed(turn);
                self.hand_over(old, number, transition.lines, turn);
            }
            Why::Replace => turn.log(Note::InPlace(number)),
        }
    }
}

impl Decider {
    pub(super) fn look_at_the_retired(&mut self, turn: &mut Turn) {
        if self.stopping.is_none() {
            let pause = LOOK_AT_THE_RETIRED * 2_u32.pow(self.looks_at_the_retired);
            self.due.set(Due::Retired, turn.after(pause));
        }
    }

    pub(super) fn close_the_retired(&mut self, turn: &mut Turn) {
        self.looks_at_the_retired = LAST_LOOK.min(self.looks_at_the_retired + 1);
        let have_them = [State::TakingOver, State::Serving, State::Draining];
        turn.order(Order::CloseTheRetired(
            self.generations.in_state(&have_them),
        ));
    }

    /// Whether retired listeners may have clients that a new program would not know of. Not for as long as any are
    /// left: a queue that no master has room for may take hours.
    fn retires(&self) -> bool {
        self.due.of(Due::Retired).is_some() && self.looks_at_the_retired < LAST_LOOK
    }
}

/// Hand over: a reload is announced when no client can reach the old configuration any more.
impl Decider {
    fn hand_over(&mut self, old: Vec<u64>, number: u64, lines: Vec<String>, turn: &mut Turn) {
        // A reload that the next overtakes is announced with it; who accepted then may accept still.
        let mut waiting: BTreeSet<u64> = old.into_iter().collect();
        if let Some(overtaken) = &self.handover {
            waiting.extend(&overtaken.waiting);
        }
        self.finish_handover(turn);
        self.due.set(Due::Handover, turn.after(HANDOVER_TIMEOUT));
        self.handover = Some(Handover {
            waiting,
            number,
            lines,
        });
        self.finish_handover_if_done(turn);
    }

    /// A generation accepts no more, or is no more.
    pub(super) fn accepts_no_more(&mut self, number: u64, turn: &mut Turn) {
        if let Some(handover) = &mut self.handover {
            handover.waiting.remove(&number);
            self.finish_handover_if_done(turn);
        }
    }

    /// A master that is still accepting, or not responding, after its time keeps its listeners only
    /// as long as it lives. Its workers let their connections end.
    pub(super) fn handover_timed_out(&mut self, turn: &mut Turn) {
        let Some(handover) = &self.handover else {
            return;
        };
        let waiting: Vec<u64> = handover.waiting.iter().copied().collect();
        self.due.set(Due::Handover, turn.after(HANDOVER_TIMEOUT));
        for number in waiting {
            turn.log(Note::StillAccepting(number));
            self.kill(number, turn);
        }
    }

    fn finish_handover_if_done(&mut self, turn: &mut Turn) {
        let handover = self.handover.as_ref();
        if handover.is_some_and(|handover| handover.waiting.is_empty()) {
            self.finish_handover(turn);
        }
    }

    fn finish_handover(&mut self, turn: &mut Turn) {
        let Some(handover) = self.handover.take() else {
            return;
        };
        self.due.clear(Due::Handover);
        for line in handover.lines {
            turn.log(Note::Bound(Why::Reload, line));
        }
        let number = handover.number;
        turn.log(Note::Reloaded(number));
        self.reloads.succeeded += 1;
        turn.order(Order::Ready(format!("Generation {number} serves")));
    }
}

/// Roll back.
impl Decider {
    /// The candidate could not be started, said that it failed, got no listeners, died, or was too
    /// slow.
    pub(super) fn candidate_failed(&mut self, number: u64, turn: &mut Turn) {
        let Some(transition) = self.take_transition(number) else {
            return;
        };
        turn.order(Order::RollBack);
        self.drop_spare(number, turn);
        self.cut(number, turn);
        self.refused(transition.why, turn);
    }

    pub(super) fn candidate_timed_out(&mut self, number: u64, turn: &mut Turn) {
        turn.log(Note::TooSlow(number));
        self.candidate_failed(number, turn);
        // It may be stuck in a call that no word ends.
        self.kill(number, turn);
    }

    fn refused(&mut self, why: Why, turn: &mut Turn) {
        match why {
            Why::Start => {
                turn.log(Note::Refused(why));
                self.give_up(turn);
            }
            Why::Reload => {
                turn.log(Note::Refused(why));
                turn.log(Note::RunningGoesOn);
                self.reloads.failed += 1;
                turn.order(Order::Ready(Note::RunningGoesOn.to_string()));
            }
            Why::Replace => {
                turn.log(Note::NoMaster(RETRY));
                self.due.set(Due::Replacement, turn.after(RETRY));
            }
        }
    }

    /// Gives up a transition for good: the program ends.
    pub(super) fn abandon_transition(&mut self, turn: &mut Turn) {
        if self.transition.take().is_some() {
            turn.order(Order::RollBack);
        }
    }

    /// Why the generation is a candidate, if it is one.
    fn why_of(&self, number: u64) -> Option<Why> {
        let candidate = |transition: &&Transition| transition.candidate == Some(number);
        self.transition.as_ref().filter(candidate).map(|t| t.why)
    }

    fn take_transition(&mut self, candidate: u64) -> Option<Transition> {
        self.transition
            .take_if(|transition| transition.candidate == Some(candidate))
    }
}

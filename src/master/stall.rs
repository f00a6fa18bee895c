//! Detects a stalled worker: one that has been sent something and takes nothing. A worker that is sent
//! nothing is not checked, so that an idle one stays idle.

use std::time::{Duration, Instant};

/// A worker that takes nothing for this long gets nothing more, and others get what it has not claimed.
const STANDS_STILL: Duration = Duration::from_secs(3);
/// After this long it is killed, since its own connections are stalled as well.
pub(super) const LIFELESS: Duration = Duration::from_secs(20);
/// The most time that counts between two checks: a master that was itself stopped, or suspended with
/// its machine, has seen nothing of the rest.
const BEAT: Duration = Duration::from_millis(250);

/// The clock for stalls: only time in which the master itself ran.
#[derive(Debug)]
pub(super) struct StallClock(Instant);

impl StallClock {
    /// Starts now.
    pub(super) fn new() -> StallClock {
        StallClock(Instant::now())
    }

    /// The time observed since the last call.
    pub(super) fn look(&mut self, now: Instant) -> Duration {
        let passed = now.duration_since(self.0).min(BEAT);
        self.0 = now;
        passed
    }
}

/// What to do about a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StallAction {
    /// Nothing.
    Leave,
    /// Take back what it has not claimed.
    Revoke,
    /// It is stalled for good: kill it. Returned once.
    Kill,
}

/// One worker's stall.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// What it had claimed and closed at the last check.
    seen: (u64, u64),
    /// How long it has taken nothing.
    still: Duration,
    /// Its unclaimed sockets were taken back; it gets nothing until it has closed its copies.
    pub revoked: bool,
    killed: bool,
}

impl Stall {
    /// Checks a worker by what it has claimed and closed, and by whether anything waits for it;
    /// `passed` is the time since the last check.
    pub(super) fn look(&mut self, seen: (u64, u64), waits: bool, passed: Duration) -> StallAction {
        if seen != self.seen || !(self.revoked || waits) {
            self.seen = seen;
            self.still = Duration::ZERO;
            return StallAction::Leave;
        }
        self.still += passed;
        if self.revoked && !self.killed && self.still >= LIFELESS {
            self.killed = true;
            return StallAction::Kill;
        }
        if !self.revoked && self.still >= STANDS_STILL {
            self.revoked = true;
            return StallAction::Revoke;
        }
        StallAction::Leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long until an action other than `Leave`, checking every `BEAT`.
    fn until(stall: &mut Stall, waits: bool) -> (Duration, StallAction) {
        let mut passed = Duration::ZERO;
        while passed < Duration::from_hours(1) {
            passed += BEAT;
            let verdict = stall.look((7, 0), waits, BEAT);
            if verdict != StallAction::Leave {
                return (passed, verdict);
            }
        }
        (passed, StallAction::Leave)
    }

    #[test]
    fn one_that_takes_nothing_loses_what_waits_for_it_and_then_its_life() {
        let mut stall = Stall::default();
        // The first check only learns where the worker is.
        let first = STANDS_STILL + BEAT;
        assert_eq!(until(&mut stall, true), (first, StallAction::Revoke));
        let rest = LIFELESS - STANDS_STILL;
        assert_eq!(until(&mut stall, false), (rest, StallAction::Kill));
        assert_eq!(
            until(&mut stall, false).1,
            StallAction::Leave,
            "killed once"
        );
    }

    #[test]
    fn one_that_is_given_nothing_is_never_judged() {
        assert_eq!(until(&mut Stall::default(), false).1, StallAction::Leave);
    }

    #[test]
    fn whatever_it_takes_or_lets_go_of_counts_as_life() {
        let mut stall = Stall::default();
        for turn in 1..1000_u64 {
            let seen = (turn / 2, turn.div_ceil(2));
            assert_eq!(stall.look(seen, true, STANDS_STILL), StallAction::Leave);
        }
    }

    #[test]
    fn time_in_which_the_master_did_not_run_counts_for_no_more_than_a_beat() {
        let mut clock = StallClock::new();
        let later = clock.0 + Duration::from_hours(1);
        assert_eq!(clock.look(later), BEAT);
        let soon = later + Duration::from_millis(8);
        assert_eq!(clock.look(soon), Duration::from_millis(8));
    }
}

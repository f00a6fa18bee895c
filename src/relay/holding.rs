//! `hold`: how long a program is held while its server is tried, and when the next try is. Never in here: a word to either.

use std::time::{Duration, Instant};

use super::step::Common;
use super::talking::Talking;

/// A program is greeted after this long, though the first try is under way; sooner if that fails.
const GREET: Duration = Duration::from_secs(5);
/// A try takes no longer than this, its greeting included.
const TRY: Duration = Duration::from_mins(1);
/// So long a server's greeting is left to it, where the program has heard none.
const GREETING: Duration = Duration::from_secs(20);
/// Between two tries at first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Hold {
    /// When the program's time is over.
    until: Instant,
    /// When it is greeted.
    greet_at: Instant,
    /// When the try under way, or the next one, is over.
    try_until: Instant,
    pause: Duration,
    /// The dialogue with the program alone.
    pub(super) held: Option<Box<Talking>>,
    /// As the program calls itself.
    pub(super) called: Option<String>,
    /// The server said something that another try would not change.
    pub(super) for_good: bool,
    /// The server is there.
    met: bool,
}

impl Hold {
    fn begin(length: Duration, now: Instant) -> Hold {
        Hold {
            until: now + length,
            greet_at: now + GREET.min(length / 2),
            try_until: now + TRY,
            pause: PAUSE,
            held: None,
            called: None,
            for_good: false,
            met: false,
        }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn is_due_to_greet(&self, now: Instant) -> bool {
        self.greet_at <= now
    }

    pub(super) fn is_try_over(&self, now: Instant) -> bool {
        self.try_until <= now
    }

    /// When it must be looked after.
    pub(super) fn due(&self) -> Instant {
        let next = match &self.held {
            None => self.greet_at,
            Some(held) => held.due(),
        };
        next.min(self.until).min(self.try_until)
    }

    /// A try has failed. Returns when the next one is.
    pub(super) fn next_try(&mut self, now: Instant) -> Instant {
        let at = (now + self.pause).min(self.until);
        self.greet_at = self.greet_at.min(now);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.try_until = at + TRY;
        at
    }

    /// The server is there but for its greeting, which a program that is not greeted yet hears itself: it hears no other
    /// meanwhile.
    pub(super) fn leave_the_greeting(&mut self, now: Instant) {
        if self.held.is_none() {
            self.try_until = now + GREETING;
            self.greet_at = self.try_until;
        }
    }

    /// The server is there. Gives the dialogue with the program, if it has begun.
    pub(super) fn meet(&mut self) -> Option<Box<Talking>> {
        self.met = true;
        self.held.take()
    }
}

impl Common {
    /// The server is tried for the first time.
    pub(super) fn begin_hold(&mut self, now: Instant) {
        if let (Some(length), None) = (self.config().hold, &self.hold) {
            self.hold = Some(Box::new(Hold::begin(length, now)));
        }
    }

    /// When a client that is held must be looked after.
    pub(super) fn held_due(&self) -> Option<Instant> {
        let hold = self.hold.as_ref().filter(|hold| !hold.met);
        hold.map(|hold| hold.due())
    }

    /// While the server is not there, and may be tried again.
    pub(super) fn holds(&mut self) -> Option<&mut Hold> {
        self.hold.as_deref_mut().filter(|hold| !hold.met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_seldomer_and_never_after_the_end() {
        let now = Instant::now();
        let mut hold = Hold::begin(Duration::from_secs(100), now);
        let mut at = now;
        let mut pauses = Vec::new();
        while at < hold.until() {
            let next = hold.next_try(at);
            pauses.push((next - at).as_secs());
            assert!(!hold.is_try_over(next), "its time begins with it");
            at = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 9]);
    }

    #[test]
    fn a_program_is_greeted_at_the_first_failure_and_after_a_while_without_one() {
        let now = Instant::now();
        let mut hold = Hold::begin(Duration::from_secs(100), now);
        assert_eq!(hold.due(), now + GREET);
        assert!(!hold.is_due_to_greet(now));
        hold.next_try(now);
        assert!(hold.is_due_to_greet(now));
        // One greeting is enough.
        let mut first = Hold::begin(Duration::from_secs(100), now);
        let late = now + GREET;
        first.leave_the_greeting(late);
        assert!(!first.is_due_to_greet(late) && first.due() > late);
        first.next_try(late);
        assert!(first.is_due_to_greet(late));
        let short = Hold::begin(Duration::from_secs(2), now);
        assert!(short.due() < short.until());
    }
}

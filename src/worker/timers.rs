//! Deadlines, one for each session, moved lazily: activity only changes a number in the session. The
//! set changes when a deadline comes nearer or runs out, or its session ends.

use std::collections::BTreeSet;
use std::time::Instant;

/// What a session's timer is set to. It belongs to the session, and [`Timers`] maintains it.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: Option<Instant>,
}

/// All timers that are set. A timer may be set earlier than its session's deadline, never later.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Instant, u64)>,
}

impl Timers {
    /// An empty set.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Wakes the session with this key at `due` (`None`: never). Changes the set only if that is
    /// earlier than the timer was set to.
    pub(crate) fn settle(&mut self, key: u64, timer: &mut Timer, due: Option<Instant>) {
        let Some(due) = due else {
            return;
        };
        match timer.armed {
            Some(armed) if armed <= due => return,
            Some(armed) => {
                self.set.remove(&(armed, key));
            }
            None => {}
        }
        self.set.insert((due, key));
        timer.armed = Some(due);
    }

    /// The session has ended: removes its timer.
    pub(crate) fn cancel(&mut self, key: u64, timer: &mut Timer) {
        if let Some(armed) = timer.armed.take() {
            self.set.remove(&(armed, key));
        }
    }

    /// When the first timer runs out.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.set.first().map(|&(at, _)| at)
    }

    /// Removes one key whose time has come. Call [`Timers::fired`] for its session, and settle it
    /// again.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<u64> {
        let &(at, _) = self.set.first()?;
        (at <= now).then(|| self.set.pop_first().map(|(_, key)| key))?
    }

    /// Notes that [`Timers::expired`] removed the timer.
    pub(crate) fn fired(timer: &mut Timer) {
        timer.armed = None;
    }

    /// How many timers are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether no timer is set.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seconds(from: Instant, n: u64) -> Instant {
        from + Duration::from_secs(n)
    }

    #[test]
    fn a_deadline_that_moves_away_costs_nothing_until_it_fires() {
        let start = Instant::now();
        let (mut timers, mut timer) = (Timers::new(), Timer::default());
        timers.settle(1, &mut timer, Some(seconds(start, 10)));
        for n in 11..100 {
            timers.settle(1, &mut timer, Some(seconds(start, n)));
        }
        assert_eq!(timers.next(), Some(seconds(start, 10)));
        assert_eq!(timers.expired(seconds(start, 9)), None);
        assert_eq!(timers.expired(seconds(start, 10)), Some(1));
        Timers::fired(&mut timer);
        timers.settle(1, &mut timer, Some(seconds(start, 99)));
        assert_eq!(timers.next(), Some(seconds(start, 99)));
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_armed_anew() {
        let start = Instant::now();
        let (mut timers, mut timer) = (Timers::new(), Timer::default());
        timers.settle(1, &mut timer, Some(seconds(start, 10)));
        timers.settle(1, &mut timer, Some(seconds(start, 5)));
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.expired(seconds(start, 5)), Some(1));
        assert_eq!(timers.expired(seconds(start, 50)), None);
    }

    #[test]
    fn a_session_that_ends_leaves_nothing_behind() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for key in 0..1000 {
            let mut timer = Timer::default();
            timers.settle(key, &mut timer, Some(seconds(start, 43200)));
            timers.cancel(key, &mut timer);
        }
        assert!(timers.is_empty());
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn deadlines_run_out_in_their_order() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for (key, at) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            timers.settle(key, &mut Timer::default(), Some(seconds(start, at)));
        }
        let mut order = Vec::new();
        while let Some(key) = timers.expired(seconds(start, 25)) {
            order.push(key);
        }
        assert_eq!(order, [2, 4, 3]);
    }
}

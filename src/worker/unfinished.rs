//! What the unfinished handshakes of a relay thread hold together, and which of them is the oldest: strangers decide how
//! many there are, and how long they take. Never in here: the end of a session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often a line tells that handshakes were ended.
const TELLING: Duration = Duration::from_secs(10);

/// The least budget of a thread, in bytes: some hundred handshakes of today's browsers.
const LEAST: usize = 1 << 20;
/// The largest: more is never needed.
const MOST: usize = 256 << 20;

/// For so long a lowered budget stays, then it doubles: memory may be there again.
const LOWERED: Duration = Duration::from_mins(1);

/// What a session holds of the budget. It belongs to the session, and [`Unfinished`] maintains it.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Its place in the order, if it has one.
    place: Option<u64>,
    bytes: usize,
}

/// The unfinished handshakes of a thread, in the order in which they began.
#[derive(Debug)]
pub(super) struct Unfinished {
    order: BTreeSet<(u64, u64)>,
    /// The next place.
    next: u64,
    bytes: usize,
    budget: usize,
    /// The budget while memory lasts.
    full: usize,
    /// When it was changed last.
    changed: Option<Instant>,
}

/// Counts what is told of in a line every ten seconds at most.
#[derive(Debug, Default)]
pub(super) struct Telling {
    untold: u64,
    told_at: Option<Instant>,
}

impl Telling {
    /// One more. How many there were since the last line, where another is due.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now < at + TELLING) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// What the unfinished handshakes of a thread may hold, in bytes: an eighth of the memory that there is, divided by the
/// number of relay threads of all workers.
pub(super) fn budget(memory: u64, threads: usize) -> usize {
    let share = memory / 8 / threads.max(1) as u64;
    usize::try_from(share).map_or(MOST, |share| share.clamp(LEAST, MOST))
}

impl Unfinished {
    /// None yet, and this many bytes for all.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            order: BTreeSet::new(),
            next: 0,
            bytes: 0,
            budget,
            full: budget,
            changed: None,
        }
    }

    /// The session with this key holds that many bytes for its handshake now; none, once that is done.
    #[inline]
    pub(super) fn settle(&mut self, key: u64, share: &mut Share, bytes: usize) {
        if bytes != share.bytes {
            self.change(key, share, bytes);
        }
    }

    fn change(&mut self, key: u64, share: &mut Share, bytes: usize) {
        self.bytes = self.bytes - share.bytes + bytes;
        share.bytes = bytes;
        match (bytes, share.place) {
            (0, Some(place)) => {
                self.order.remove(&(place, key));
                share.place = None;
            }
            (1.., None) => {
                share.place = Some(self.next);
                self.order.insert((self.next, key));
                self.next += 1;
            }
            (0, None) | (1.., Some(_)) => {}
        }
    }

    /// The oldest, while they hold more than the budget together. The last one is never too many: what it may hold is
    /// bounded elsewhere.
    #[inline]
    pub(super) fn excess(&mut self, now: Instant) -> Option<u64> {
        if self.bytes <= self.budget || self.order.len() <= 1 {
            return None;
        }
        self.raise_budget(now);
        let over = self.bytes > self.budget;
        over.then(|| self.oldest())?
    }

    /// A budget that was lowered long ago grows, until it is as it was.
    fn raise_budget(&mut self, now: Instant) {
        while self.budget < self.full
            && let Some(changed) = self.changed.filter(|at| now >= *at + LOWERED)
        {
            self.changed = Some(changed + LOWERED);
            self.budget = self.budget.saturating_mul(2).min(self.full);
        }
    }

    /// The oldest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.order.first().map(|&(_, key)| key)
    }

    /// There was no memory for as much: three quarters of it are the budget for a while.
    pub(super) fn lower_budget(&mut self, now: Instant) {
        self.changed = Some(now);
        self.budget = self.budget.min((self.bytes / 4 * 3).max(LEAST));
    }

    /// The budget, in bytes.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_last_one_stays() {
        let now = Instant::now();
        let mut all = Unfinished::new(100);
        let mut shares: Vec<Share> = (0..4).map(|_| Share::default()).collect();
        for (key, share) in (0..).zip(&mut shares) {
            all.settle(key, share, 30);
        }
        assert_eq!((all.bytes, all.excess(now)), (120, Some(0)));
        // It goes on, and is the oldest still.
        all.settle(0, &mut shares[0], 31);
        assert_eq!((all.bytes, all.excess(now)), (121, Some(0)));
        all.settle(0, &mut shares[0], 0);
        assert_eq!(
            (all.bytes, all.excess(now), all.oldest()),
            (90, None, Some(1))
        );
        // One that is done and begins another handshake is the youngest.
        all.settle(0, &mut shares[0], 20);
        assert_eq!(all.excess(now), Some(1));
        for key in [1, 2, 3] {
            all.settle(key, &mut shares[key as usize], 0);
        }
        all.settle(0, &mut shares[0], 1000);
        assert_eq!((all.excess(now), all.oldest()), (None, Some(0)));
        all.settle(0, &mut shares[0], 0);
        assert_eq!((all.bytes, all.oldest()), (0, None));
    }

    #[test]
    fn the_budget_is_a_share_of_the_memory_within_bounds_and_is_lowered_for_a_while() {
        assert_eq!(budget(1 << 30, 4), 32 << 20);
        assert_eq!(budget(0, 4), LEAST);
        assert_eq!(budget(u64::MAX, 1), MOST);
        let start = Instant::now();
        let mut all = Unfinished::new(100 << 20);
        let (mut share, mut other) = (Share::default(), Share::default());
        all.settle(1, &mut share, 8 << 20);
        all.lower_budget(start);
        assert_eq!(all.budget(), 6 << 20);
        all.settle(1, &mut share, 10);
        all.lower_budget(start);
        assert_eq!(all.budget(), LEAST);
        // It is lower for a while.
        all.settle(1, &mut share, 3 << 20);
        all.settle(2, &mut other, 1);
        assert_eq!(all.excess(start + LOWERED / 2), Some(1));
        assert_eq!(all.excess(start + LOWERED), Some(1));
        assert_eq!(all.budget(), 2 << 20);
        assert_eq!(all.excess(start + 2 * LOWERED), None);
        all.settle(1, &mut share, 101 << 20);
        assert_eq!(all.excess(start + 100 * LOWERED), Some(1));
        assert_eq!(all.budget(), 100 << 20, "as it was, and no more");
    }

    #[test]
    fn a_line_in_ten_seconds_tells_of_all() {
        let start = Instant::now();
        let mut all = Telling::default();
        let mut told = Vec::new();
        for second in 0..25 {
            let now = start + Duration::from_secs(second);
            told.extend(all.count(now));
        }
        assert_eq!(told, [1, 10, 10]);
    }
}

//! How many connections each worker has open to an address, for `failover = leastconn`. Best effort: where a part of the
//! table is full, what comes then is not counted. Never in here: an address itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Scoreboard, rows_of_counts};

/// Rows of a worker.
pub(super) const ROWS: usize = 16;

/// Bits of a word that count; the others are of the address's hash.
const COUNTING: u32 = 24;
const MOST: u64 = (1 << COUNTING) - 1;
/// Words in which an address may stand.
const WINDOW: usize = 16;

/// What one worker has open. A word is a part of the hash of a service and an address over the number of connections;
/// one with none is free.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenTable<'a>(&'a [AtomicU64]);

/// A service and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target(u64);

impl Target {
    /// Of this service.
    pub(crate) fn of(service: usize, address: impl Hash) -> Target {
        // With the same keys in every worker.
        let mut hasher = DefaultHasher::new();
        (service, address).hash(&mut hasher);
        Target(hasher.finish())
    }

    fn tag(self) -> u64 {
        self.0 & !MOST
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    board: Scoreboard,
    worker: usize,
    target: Target,
}

impl Open {
    /// Counts one of this worker's; `None`: there is no room for it.
    pub(crate) fn count(board: &Scoreboard, worker: usize, target: Target) -> Option<Open> {
        board.open(worker).add(target).then(|| Open {
            board: board.clone(),
            worker,
            target,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.board.open(self.worker).take_away(self.target);
    }
}

impl Scoreboard {
    /// What worker `worker` has open.
    ///
    /// # Panics
    /// There is no such row.
    pub(super) fn open(&self, worker: usize) -> OpenTable<'_> {
        assert!(worker < self.workers);
        let first = rows_of_counts(self.workers, self.services) + worker * ROWS;
        OpenTable::on(self.rows(first, ROWS))
    }

    /// What all workers have open to an address.
    pub(crate) fn open_to(&self, target: Target) -> u64 {
        let workers = 0..self.workers;
        workers.map(|worker| self.open(worker).count(target)).sum()
    }
}

impl<'a> OpenTable<'a> {
    fn on(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Connections to that address.
    fn count(self, target: Target) -> u64 {
        let words = self.window(target).map(|word| word.load(Relaxed));
        let counts = words.filter(|word| word & !MOST == target.tag());
        counts.map(|word| word & MOST).sum()
    }

    /// Forgets all: the worker is dead.
    pub(super) fn clear(self) {
        self.0.iter().for_each(|word| word.store(0, Relaxed));
    }

    /// Whether there was room.
    fn add(self, target: Target) -> bool {
        let counted = self.window(target).any(|word| {
            let one_more = |value: u64| {
                let (tag, count) = (value & !MOST, value & MOST);
                (tag == target.tag() && 0 < count && count < MOST).then(|| value + 1)
            };
            word.fetch_update(Relaxed, Relaxed, one_more).is_ok()
        });
        // Two threads may each begin a word for it: they are summed.
        counted
            || self.window(target).any(|word| {
                let first = |value: u64| (value & MOST == 0).then(|| target.tag() | 1);
                word.fetch_update(Relaxed, Relaxed, first).is_ok()
            })
    }

    fn take_away(self, target: Target) {
        let _ = self.window(target).any(|word| {
            let one_less = |value: u64| {
                let (tag, count) = (value & !MOST, value & MOST);
                (tag == target.tag() && count > 0).then(|| value - 1)
            };
            word.fetch_update(Relaxed, Relaxed, one_less).is_ok()
        });
    }

    fn window(self, target: Target) -> impl Iterator<Item = &'a AtomicU64> {
        let words = self.0;
        // The remainder is below the length, so the cast drops nothing.
        let first = (target.0 % words.len().max(1) as u64) as usize;
        let (before, from) = words.split_at(first);
        from.iter().chain(before).take(WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_counted_until_it_is_dropped_or_its_worker_dies() {
        let board = Scoreboard::new(2, 2).unwrap();
        let [one, other] = ["192.0.2.1:25", "192.0.2.2:25"].map(|text| Target::of(1, text));
        assert_ne!(one, Target::of(0, "192.0.2.1:25"));
        let open = |worker, target| Open::count(&board, worker, target).expect("room");
        let counts = || [one, other].map(|target| board.open_to(target));
        let first = open(0, one);
        let second = open(1, one);
        let third = open(1, other);
        assert_eq!(counts(), [2, 1]);
        drop(first);
        assert_eq!(counts(), [1, 1]);
        board.clear_active(1);
        assert_eq!(counts(), [0, 0]);
        // Another has taken its place since.
        drop((second, third));
        let _again = open(1, other);
        assert_eq!(counts(), [0, 1]);
    }

    #[test]
    fn a_full_table_counts_what_it_has_and_room_comes_back() {
        let board = Scoreboard::new(1, 1).unwrap();
        let targets: Vec<Target> = (0..2000).map(|n| Target::of(0, n)).collect();
        let open: Vec<Option<Open>> = targets
            .iter()
            .map(|target| Open::count(&board, 0, *target))
            .collect();
        let counted = open.iter().flatten().count();
        assert!((200..=256).contains(&counted), "{counted}");
        let sum = |targets: &[Target]| targets.iter().map(|t| board.open_to(*t)).sum::<u64>();
        assert_eq!(sum(&targets), counted as u64);
        drop(open);
        assert_eq!(sum(&targets), 0);
        assert!(Open::count(&board, 0, targets[1999]).is_some());
    }

    #[test]
    fn threads_that_count_at_once_lose_nothing() {
        let board = Scoreboard::new(1, 1).unwrap();
        let target = Target::of(0, "a");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let open = [(); 3].map(|()| Open::count(&board, 0, target));
                        assert!(board.open_to(target) >= 3);
                        drop(open);
                    }
                });
            }
        });
        assert_eq!(board.open_to(target), 0);
    }
}

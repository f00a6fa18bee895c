//! What waits for a thread of a pool, in lanes that take turns: none holds more threads than its share, so what is
//! slow in one does not delay the others. Never in here: a wait, or the work itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What bounds a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Threads of the pool.
    pub threads: usize,
    /// Threads that one lane may hold.
    pub share: usize,
    /// Pieces of work that may wait in one lane.
    pub queue: usize,
    /// Pieces of work that may wait in all lanes together.
    pub all: usize,
    /// How long a piece of work may take until it counts as one that never ends.
    pub patience: Duration,
}

/// The lanes that have work; the one whose turn it is stands first.
#[derive(Debug)]
pub(super) struct Lanes<L, K> {
    bounds: Bounds,
    all: VecDeque<Lane<L, K>>,
    queued: usize,
}

#[derive(Debug)]
struct Lane<L, K> {
    name: L,
    queue: VecDeque<K>,
    /// When each piece of work began that is under way.
    running: Vec<Instant>,
}

/// A piece of work that has begun.
#[derive(Debug, Clone)]
pub(super) struct Begun<L> {
    lane: L,
    at: Instant,
}

impl<L: Clone + Eq, K> Lanes<L, K> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            all: VecDeque::new(),
            queued: 0,
        }
    }

    /// Whether there is room for one more piece of work in this lane.
    pub(super) fn have_room(&self, name: &L) -> bool {
        let mut lanes = self.all.iter();
        let lane = lanes.find(|lane| lane.name == *name);
        self.queued < self.bounds.all
            && lane.is_none_or(|lane| lane.queue.len() < self.bounds.queue)
    }

    /// Adds a piece of work, for which there is room.
    pub(super) fn push(&mut self, name: L, work: K) {
        self.queued += 1;
        if let Some(lane) = self.all.iter_mut().find(|lane| lane.name == name) {
            lane.queue.push_back(work);
            return;
        }
        self.all.push_back(Lane {
            name,
            queue: VecDeque::from([work]),
            running: Vec::new(),
        });
    }

    /// The next piece of work, of the lane whose turn it is among those that may have another thread.
    pub(super) fn begin(&mut self, now: Instant) -> Option<(Begun<L>, K)> {
        let share = self.bounds.share;
        let nth = self.all.iter().position(|lane| lane.ready(share) > 0)?;
        let mut lane = self.all.remove(nth)?;
        let work = lane.queue.pop_front();
        lane.running.push(now);
        let begun = Begun {
            lane: lane.name.clone(),
            at: now,
        };
        self.queued -= usize::from(work.is_some());
        self.all.push_back(lane);
        work.map(|work| (begun, work))
    }

    /// A piece of work is done.
    pub(super) fn end(&mut self, begun: &Begun<L>) {
        let Some(nth) = self.all.iter().position(|it| it.name == begun.lane) else {
            return;
        };
        let lane = &mut self.all[nth];
        if let Some(at) = lane.running.iter().position(|at| *at == begun.at) {
            lane.running.swap_remove(at);
        }
        if lane.running.is_empty() && lane.queue.is_empty() {
            self.all.remove(nth);
        }
    }

    /// How many pieces of work could begin, if there were threads for them.
    pub(super) fn ready(&self) -> usize {
        let share = self.bounds.share;
        self.all.iter().map(|lane| lane.ready(share)).sum()
    }

    /// Whether something waits behind work that will never end, as it seems: that of a whole lane, or of all threads.
    pub(super) fn are_stuck(&self, now: Instant) -> bool {
        let Bounds {
            threads,
            share,
            patience,
            ..
        } = self.bounds;
        let old = |lane: &Lane<L, K>| {
            let old = |at: &&Instant| now.duration_since(**at) >= patience;
            lane.running.iter().filter(old).count()
        };
        let stuck = |lane: &Lane<L, K>| !lane.queue.is_empty() && old(lane) >= share;
        self.queued > 0
            && (self.all.iter().any(stuck) || self.all.iter().map(old).sum::<usize>() >= threads)
    }
}

impl<L, K> Lane<L, K> {
    fn ready(&self, share: usize) -> usize {
        let left = share.saturating_sub(self.running.len());
        self.queue.len().min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn lanes() -> Lanes<char, u32> {
        Lanes::new(Bounds {
            threads: 4,
            share: 2,
            queue: 3,
            all: 5,
            patience: PATIENCE,
        })
    }

    #[test]
    fn lanes_take_turns_and_none_has_more_than_its_share() {
        let mut lanes = lanes();
        let now = Instant::now();
        for (name, work) in [('a', 1), ('a', 2), ('a', 3), ('b', 4)] {
            assert!(lanes.have_room(&name));
            lanes.push(name, work);
        }
        assert!(!lanes.have_room(&'a'), "its queue is full");
        assert_eq!(lanes.ready(), 3);
        let mut begun = Vec::new();
        while let Some(next) = lanes.begin(now) {
            begun.push(next);
        }
        let order: Vec<u32> = begun.iter().map(|(_, work)| *work).collect();
        assert_eq!(order, [1, 4, 2], "a's third waits for one of a's");
        lanes.push('c', 5);
        assert_eq!(lanes.begin(now).unwrap().1, 5);
        lanes.end(&begun[1].0);
        assert!(lanes.begin(now).is_none(), "b's end frees nothing for a");
        lanes.end(&begun[0].0);
        assert_eq!(lanes.begin(now).unwrap().1, 3);
    }

    #[test]
    fn all_lanes_together_are_bounded_and_what_is_done_leaves_nothing() {
        let mut lanes = lanes();
        for name in ['a', 'b', 'c', 'd', 'e'] {
            lanes.push(name, 0);
        }
        assert!(!lanes.have_room(&'f'));
        let now = Instant::now();
        let begun: Vec<_> = std::iter::from_fn(|| lanes.begin(now)).collect();
        assert!(lanes.have_room(&'f'));
        begun.iter().for_each(|(begun, _)| lanes.end(begun));
        assert!(lanes.all.is_empty());
        assert_eq!(lanes.queued, 0);
    }

    #[test]
    fn work_that_never_ends_counts_once_something_waits_for_it() {
        let mut lanes = lanes();
        let now = Instant::now();
        for work in 0..2 {
            lanes.push('a', work);
            assert!(lanes.begin(now).is_some());
        }
        let later = now + PATIENCE;
        assert!(!lanes.are_stuck(later), "nothing waits");
        lanes.push('b', 2);
        assert!(!lanes.are_stuck(later), "there are threads for b");
        lanes.push('a', 3);
        assert!(lanes.are_stuck(later));
        assert!(!lanes.are_stuck(later - Duration::from_millis(1)));
        // A younger one of the same lane may end.
        let (_, work) = lanes.begin(later).unwrap();
        assert_eq!(work, 2);
        let mut others = self::lanes();
        for (nth, name) in ['a', 'b', 'c', 'd', 'e'].into_iter().enumerate() {
            others.push(name, 0);
            let begun = (nth < 4).then(|| others.begin(now));
            assert!(begun.is_none_or(|begun| begun.is_some()));
        }
        assert!(others.are_stuck(later), "no thread is left for e");
    }
}

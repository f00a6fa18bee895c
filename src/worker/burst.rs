//! Returns memory to the kernel after a burst, once most of it was freed: the allocator alone would keep it, since what
//! is left lies scattered. Counted are bytes, since a few large hellos take as much as many connections.

use std::time::{Duration, Instant};

use crate::memory;

/// Freed memory that is worth the time, in bytes.
const MUCH: usize = 128 * 1024;

/// For so long that much must have stayed free: a thread with steady work takes it again at once.
const LULL: Duration = Duration::from_secs(1);

/// The ups and downs of what a relay thread holds.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// The most since it last returned memory: so much the allocator may still have.
    peak: isize,
    /// The most within the present lull, and when that began; `None`: there is not much to return.
    lull: Option<(Instant, isize)>,
}

impl Burst {
    /// Takes note of what the thread holds now. Whether to return memory.
    #[inline]
    pub(super) fn ebbs(&mut self, held: isize, now: Instant) -> bool {
        self.peak = self.peak.max(held);
        if self.peak - held < MUCH as isize {
            self.lull = None;
            return false;
        }
        let (began, most) = self.lull.get_or_insert((now, held));
        *most = held.max(*most);
        if now < *began + LULL {
            return false;
        }
        self.peak = *most;
        self.lull = None;
        true
    }

    /// When to ask again though nothing happens.
    #[inline]
    pub(super) fn due(&self) -> Option<Instant> {
        self.lull.map(|(began, _)| began + LULL)
    }
}

/// Returns the allocator's unused memory, from every thread's part of the heap, and from the calling thread's cache.
pub(super) fn trim() {
    memory::trim();
    empty_cache();
    memory::trim();
}

/// At least as many blocks of each size as glibc caches for a thread (glibc.malloc.tcache_count: 7, and
/// 16 since 2.42).
const CACHED: usize = 16;
/// The largest cached size, in bytes.
const LARGEST: usize = 1032;

/// Empties this thread's cache: the blocks that a burst left there are scattered, and each keeps its page. A block that
/// grows beyond what is cached joins what is free behind it, and is not cached when it is freed.
fn empty_cache() {
    for size in (24..=LARGEST).step_by(16) {
        let block = |_| std::hint::black_box(Vec::<u8>::with_capacity(size));
        let blocks: [_; CACHED] = std::array::from_fn(block);
        // What was not cached lies side by side: only behind the last one there is room.
        for mut block in blocks.into_iter().rev() {
            block.reserve_exact(LARGEST + 16);
            drop(std::hint::black_box(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_in_the_lull_after_a_burst_and_never_before_one() {
        const MIB: isize = 1 << 20;
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut burst = Burst::default();
        for (millis, held, ebbs) in [
            (0, 0, false),
            (1, 100, false),
            (2, 10 * MIB, false),
            // It goes up and down, as with steady work: the lull is short.
            (10, 5 * MIB, false),
            (500, 10 * MIB, false),
            (600, 2 * MIB, false),
            (1599, 3 * MIB, false),
            (1600, 2 * MIB, true),
            // The rest of the burst ends, and what was free is taken again.
            (1601, MIB, false),
            (2600, 3 * MIB, false),
            (2601, 0, false),
            (3600, 0, false),
            (3601, 0, true),
            (9000, 0, false),
        ] {
            assert_eq!(burst.ebbs(held, at(millis)), ebbs, "at {millis} ms");
        }
        assert_eq!(burst.due(), None, "an idle thread is not woken");
        assert!(!burst.ebbs(MIB, at(9001)) && !burst.ebbs(0, at(9002)));
        assert_eq!(burst.due(), Some(at(9002) + LULL));
        assert!(!burst.ebbs(MIB, at(9003)));
        assert_eq!(burst.due(), None);
    }

    #[test]
    fn what_a_burst_left_in_the_cache_is_free_afterwards() {
        const SIZE: usize = 104;
        const BETWEEN: usize = 3000;
        const BLOCKS: usize = 7;
        let block = |size| std::hint::black_box(Vec::<u8>::with_capacity(size));
        /// Where the next blocks of that size lie; they return to the cache in the same order.
        fn next() -> [usize; BLOCKS] {
            let blocks: [Vec<u8>; BLOCKS] = std::array::from_fn(|_| Vec::with_capacity(SIZE));
            blocks.each_ref().map(|block| block.as_ptr().addr())
        }
        // A new thread has a cache of its own.
        let thread = std::thread::spawn(move || {
            let burst: Vec<_> = (0..BLOCKS).map(|_| (block(BETWEEN), block(SIZE))).collect();
            drop(burst);
            let left = next();
            let apart = left.windows(2).all(|two| two[0].abs_diff(two[1]) > BETWEEN);
            assert!(apart, "what glibc does without it: {left:x?}");
            trim();
            let next = next();
            let again = next.iter().filter(|block| left.contains(block)).count();
            assert!(again <= BLOCKS / 2, "{left:x?}, then {next:x?}");
        });
        thread.join().unwrap();
    }
}

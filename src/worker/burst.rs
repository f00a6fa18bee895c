//! Returns memory to the kernel after a burst of connections, once most of them have ended. The
//! allocator alone would keep it, since what is left lies scattered among what was freed.
#![expect(unsafe_code, reason = "malloc_trim(3)")]

/// Connections that make a burst; the memory of fewer is not worth the time.
const MANY: usize = 128;
/// With this few left it does not matter where they lie.
const FEW: usize = 8;

/// The most connections of a relay thread since it last returned memory.
#[derive(Debug, Default)]
pub(super) struct Burst {
    peak: usize,
    /// There was a burst, and more than a few of its connections are left.
    going: bool,
}

impl Burst {
    /// Whether to return memory at this number of connections: whenever three quarters of the
    /// connections at the last return have ended.
    pub(super) fn ebbs(&mut self, now: usize) -> bool {
        self.peak = self.peak.max(now);
        self.going |= self.peak >= MANY;
        if now > self.peak / 4 {
            return false;
        }
        self.peak = now;
        let ebbs = self.going;
        self.going &= now > FEW;
        ebbs
    }
}

/// Returns the allocator's unused memory, from every thread's part of the heap, and renews the calling
/// thread's cache.
pub(super) fn trim() {
    trim_heap();
    renew_cache();
    trim_heap();
}

fn trim_heap() {
    // SAFETY: malloc_trim(3) is thread-safe and leaves allocated memory alone.
    unsafe { libc::malloc_trim(0) };
}

/// At least as many blocks of each size as glibc caches for a thread (glibc.malloc.tcache_count: 7, and
/// 16 since 2.42).
const CACHED: usize = 16;
/// The largest cached size, in bytes.
const LARGEST: usize = 1032;

/// Replaces the blocks in this thread's cache. Those that a burst left there are scattered, and each
/// keeps its page, about a hundred in all; new ones lie side by side.
fn renew_cache() {
    let block = |size| std::hint::black_box(Vec::<u8>::with_capacity(size));
    for size in (24..=LARGEST).step_by(16) {
        let old: [_; CACHED] = std::array::from_fn(|_| block(size));
        let new: [_; CACHED] = std::array::from_fn(|_| block(size));
        // The cache takes the blocks that are freed first, until it is full.
        drop(new);
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_while_a_burst_ebbs_and_for_no_small_one() {
        let ebbs = |counts: &[usize]| -> Vec<usize> {
            let mut burst = Burst::default();
            let ebbs = counts.iter().filter(|&&count| burst.ebbs(count));
            ebbs.copied().collect()
        };
        assert_eq!(ebbs(&[0, 1, 127, 2, 0, 1, 0]), [0; 0]);
        assert_eq!(ebbs(&[4000, 1001, 1000, 999, 251, 250, 0]), [1000, 250, 0]);
        assert_eq!(ebbs(&[128, 32, 8, 2, 0, 1, 0]), [32, 8], "the rest is few");
        assert_eq!(ebbs(&[500, 0, 1, 0, 500, 0]), [0, 0]);
    }

    #[test]
    fn the_cache_is_made_of_other_blocks_than_the_burst_left_in_it() {
        const SIZE: usize = 104;
        /// Where the next blocks of that size lie; they return to the cache in the same order.
        fn next_blocks() -> [usize; 7] {
            let blocks: [Vec<u8>; 7] = std::array::from_fn(|_| Vec::with_capacity(SIZE));
            blocks.each_ref().map(|block| block.as_ptr().addr())
        }
        // A new thread has a cache of its own.
        let thread = std::thread::spawn(|| {
            let mut left = next_blocks();
            let mut again = next_blocks();
            left.sort_unstable();
            again.sort_unstable();
            assert_eq!(left, again, "what glibc does without it");
            renew_cache();
            let renewed = next_blocks();
            assert!(renewed.iter().all(|block| !left.contains(block)));
        });
        thread.join().unwrap();
    }
}

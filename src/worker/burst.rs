//! Memory after a burst of connections: it goes back to the kernel when most of them have ended.
//! The allocator alone keeps it, since what is left lies scattered among what was freed.

/// Connections that are a burst; the memory of fewer is not worth the time.
const MANY: usize = 128;

/// The most connections a relay thread has had since memory was last given back.
#[derive(Debug, Default)]
pub struct Burst {
    peak: usize,
}

impl Burst {
    /// Whether, with so many connections now, a burst is over. Said once for each.
    pub fn is_over(&mut self, now: usize) -> bool {
        let over = self.peak >= MANY && now <= self.peak / 4;
        self.peak = if over { now } else { self.peak.max(now) };
        over
    }
}

/// Gives back what the allocator has and nobody uses, in every thread's part of the heap.
pub fn trim() {
    // SAFETY: malloc_trim(3) is thread-safe and touches nothing that is allocated.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_when_a_quarter_is_left_and_that_is_said_once() {
        let mut burst = Burst::default();
        let over = |burst: &mut Burst, counts: &[usize]| -> Vec<usize> {
            let over = counts.iter().filter(|&&count| burst.is_over(count));
            over.copied().collect()
        };
        assert_eq!(over(&mut burst, &[0, 1, 127, 2, 0]), [0; 0]);
        assert_eq!(over(&mut burst, &[4000, 1001, 1000, 999]), [1000]);
        assert_eq!(over(&mut burst, &[300, 250, 249, 63, 62, 0]), [250, 62]);
    }
}

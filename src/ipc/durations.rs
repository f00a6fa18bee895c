//! How long things took, counted in buckets: what Prometheus calls a histogram. Never in here: a bound that changes
//! while it runs, since counts are carried from one generation to the next.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of a histogram; what takes longer than the last goes into a bucket of its own.
pub(crate) const BOUNDS: usize = 13;

/// Words of a histogram on the scoreboard: its buckets, the sum, and what pads them to two cache lines.
const HISTOGRAM: usize = 16;

/// Words of all histograms of a service.
pub(super) const WORDS: usize = 3 * HISTOGRAM;

/// Upper bounds of what happens once for a connection (a handshake, connecting), in milliseconds.
pub(crate) const STEP_MILLIS: [u64; BOUNDS] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/// Upper bounds of whole connections: from 10 milliseconds to a day, in milliseconds.
pub(crate) const SESSION_MILLIS: [u64; BOUNDS] = [
    10, 50, 200, 1000, 5000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 43_200_000,
    86_400_000,
];

/// Durations, by how long they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Histogram {
    /// How many there were up to each bound and above the one before; the last: above all bounds.
    pub buckets: [u64; BOUNDS + 1],
    /// All of them together, in microseconds.
    pub micros: u64,
}

impl Histogram {
    /// How many there were.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// How many there were up to each bound, as Prometheus wants them, and how many there were at all.
    pub(crate) fn up_to(&self) -> [u64; BOUNDS + 1] {
        let mut sum = 0_u64;
        self.buckets.map(|count| {
            sum = sum.wrapping_add(count);
            sum
        })
    }

    /// Whether there was none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Histogram::default()
    }

    /// Adds another's.
    pub(super) fn add(&mut self, other: Histogram) {
        *self = self.with(other, u64::wrapping_add);
    }

    /// The higher of two, bucket by bucket.
    pub(super) fn highest(self, other: Histogram) -> Histogram {
        self.with(other, u64::max)
    }

    fn with(self, other: Histogram, join: fn(u64, u64) -> u64) -> Histogram {
        let mut buckets = self.buckets;
        for (bucket, other) in buckets.iter_mut().zip(other.buckets) {
            *bucket = join(*bucket, other);
        }
        Histogram {
            buckets,
            micros: join(self.micros, other.micros),
        }
    }
}

/// How long things took for one service, as one worker counted it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durations<'a>(&'a [AtomicU64]);

impl<'a> Durations<'a> {
    /// Those in these words, of which there are [`WORDS`].
    pub(super) fn on(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// TLS handshakes that succeeded, at either end, from their first byte on; bounds: [`STEP_MILLIS`].
    pub(crate) fn handshake(&self) -> HistogramRow<'a> {
        self.nth(0, &STEP_MILLIS)
    }

    /// Reaching a server, from looking its name up on; bounds: [`STEP_MILLIS`].
    pub(crate) fn connect(&self) -> HistogramRow<'a> {
        self.nth(1, &STEP_MILLIS)
    }

    /// Connections that are over, from when they were taken on; bounds: [`SESSION_MILLIS`].
    pub(crate) fn session(&self) -> HistogramRow<'a> {
        self.nth(2, &SESSION_MILLIS)
    }

    fn nth(&self, nth: usize, bounds: &'static [u64; BOUNDS]) -> HistogramRow<'a> {
        let words = &self.0[nth * HISTOGRAM..(nth + 1) * HISTOGRAM];
        HistogramRow { words, bounds }
    }
}

/// A histogram on the scoreboard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistogramRow<'a> {
    words: &'a [AtomicU64],
    bounds: &'static [u64; BOUNDS],
}

impl HistogramRow<'_> {
    /// Counts one.
    pub(crate) fn count(&self, took: Duration) {
        let millis = took.as_nanos().div_ceil(1_000_000);
        let bucket = self.bounds.partition_point(|at| u128::from(*at) < millis);
        self.words[bucket].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.words[BOUNDS + 1].fetch_add(micros, Relaxed);
    }

    /// What is counted.
    pub(super) fn read(&self, read: fn(&AtomicU64) -> u64) -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|bucket| read(&self.words[bucket])),
            micros: read(&self.words[BOUNDS + 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let words: [AtomicU64; WORDS] = std::array::from_fn(|_| AtomicU64::new(0));
        let row = Durations::on(&words).connect();
        for micros in [0, 1000, 1001, 2000, 9_999_999, 10_000_000, 10_000_001] {
            row.count(Duration::from_micros(micros));
        }
        let read = row.read(|cell| cell.load(Relaxed));
        assert_eq!(read.buckets, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        assert_eq!(read.up_to()[..3], [2, 4, 4]);
        assert_eq!((read.up_to()[BOUNDS], read.count()), (7, 7));
        assert_eq!(read.micros, 30_004_001);
        let mut sum = read;
        sum.add(read);
        assert_eq!((sum.count(), sum.highest(read)), (14, sum));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [STEP_MILLIS, SESSION_MILLIS] {
            assert!(bounds.is_sorted_by(|one, next| one < next));
        }
    }
}

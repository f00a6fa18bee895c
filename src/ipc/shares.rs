//! What share each address of clients has, as a service sees it: the connections that are open, in a table for each worker,
//! and the pace at which new ones come, in one table. They are fixed, of one word an entry, in the scoreboard's memory, so
//! that no flood makes them grow. Never in here: an address that can be read, a verdict on it.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_lc_rs::{hmac, rand};
use nix::time::{ClockId, clock_gettime};

use super::shared::SharedWords;
use crate::config::Pace;
use crate::log::Origin;

/// Words of a bucket: a cache line.
const WAYS: usize = 8;
const BUCKETS: usize = 1 << 13;
/// Words of a table.
const TABLE: usize = WAYS * BUCKETS;
/// Words of the secret, by which a stranger cannot tell what shares a bucket.
const SECRET: usize = 4;
/// Whether the table of paces was ever written to.
const PACED: usize = SECRET;
/// Words before those that say whether a worker's table was ever written to.
const HEAD: usize = 8;
/// Attempts at a word that others change too.
const TRIES: usize = 16;

/// Connections of an entry: the lowest bits; the others tell the address.
const COUNT: u64 = (1 << 16) - 1;
/// Bits of an entry of the table of paces that are a time; the others tell the address.
const TIME_BITS: u32 = 44;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Units of time in a second: 10 µs each.
const SECOND: u64 = 100_000;
/// By so much the time of another thread may be ahead.
const SLACK: u64 = 60 * SECOND;

/// An address, or the /64 of an IPv6 address, with regard to one service: which, cannot be told from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(NonZeroU64);

/// A moment, in units of 10 µs of the clock that all processes share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl Moment {
    /// The present one.
    pub(crate) fn now() -> Moment {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
        // It does not fail; if it did, no pace would be kept.
        let (seconds, nanos) = now.map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec()));
        let units = seconds.cast_unsigned().wrapping_mul(SECOND) + nanos.cast_unsigned() / 10_000;
        Moment(units & TIME)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    words: SharedWords,
    /// Where they begin.
    start: usize,
    workers: usize,
    secret: hmac::Key,
    /// Those of generations that may have connections still: they count.
    older: Arc<[Shares]>,
}

/// How many words they are, for so many workers.
pub(super) fn length(workers: usize) -> usize {
    let tables = TABLE.saturating_mul(workers.saturating_add(1));
    tables.saturating_add(head(workers))
}

/// Words before the first table, which begins a cache line.
fn head(workers: usize) -> usize {
    (HEAD + workers).next_multiple_of(WAYS)
}

/// Draws the secret of tables that begin at `start`.
///
/// # Errors
/// No randomness.
pub(super) fn draw(words: &SharedWords, start: usize) -> io::Result<()> {
    let mut secret = [0; SECRET * 8];
    rand::fill(&mut secret).map_err(|_| io::Error::other("no randomness"))?;
    let (parts, _) = secret.as_chunks::<8>();
    for (word, part) in words[start..start + SECRET].iter().zip(parts) {
        word.store(u64::from_ne_bytes(*part), Relaxed);
    }
    Ok(())
}

impl Shares {
    /// Those that begin at `start`.
    pub(super) fn on(words: SharedWords, start: usize, workers: usize) -> Shares {
        let mut secret = [0; SECRET * 8];
        let (parts, _) = secret.as_chunks_mut::<8>();
        for (word, part) in words[start..start + SECRET].iter().zip(parts) {
            *part = word.load(Relaxed).to_ne_bytes();
        }
        Shares {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            words,
            start,
            workers,
            older: Arc::default(),
        }
    }

    /// What an address is known by, with regard to the service of that name.
    pub(crate) fn key(&self, service: &str, address: IpAddr) -> Key {
        let (family, bits) = match Origin::of(address) {
            Origin::V4(bits) => (4, u64::from(bits)),
            Origin::V6(bits) => (6, bits),
        };
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(&[family]);
        context.update(&bits.to_be_bytes());
        context.update(service.as_bytes());
        let tag = context.sign();
        let (first, _) = tag.as_ref().as_chunks::<8>();
        let bits = first.first().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Key(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// One more connection of an address in a worker. One for which there is no room is not counted: none is refused
    /// for what others have.
    pub(crate) fn enter(&self, worker: usize, key: Key) {
        let Some(table) = self.open_in(worker) else {
            return;
        };
        self.words[self.start + HEAD + worker].store(1, Relaxed);
        for _ in 0..TRIES {
            let [one, other] = key.buckets().map(|nth| bucket(table, nth));
            let mine = one
                .iter()
                .chain(other)
                .find(|word| key.is_in(word.load(Relaxed)));
            let free = |words: &[AtomicU64]| words.iter().filter(|w| w.load(Relaxed) == 0).count();
            let emptier = if free(one) >= free(other) { one } else { other };
            let place = mine.or_else(|| emptier.iter().find(|word| word.load(Relaxed) == 0));
            let Some(place) = place else {
                return;
            };
            let before = place.load(Relaxed);
            let after = match before {
                0 => key.mark() | 1,
                full if full & COUNT == COUNT => return,
                some if key.is_in(some) => some + 1,
                // Another process was quicker.
                _ => continue,
            };
            let changed = place.compare_exchange(before, after, Relaxed, Relaxed);
            if changed.is_ok() {
                return;
            }
        }
    }

    /// One less.
    pub(crate) fn leave(&self, worker: usize, key: Key) {
        let Some(table) = self.open_in(worker) else {
            return;
        };
        for nth in key.buckets() {
            for word in bucket(table, nth) {
                let left = word.fetch_update(Relaxed, Relaxed, |word| {
                    key.is_in(word).then(|| match word & COUNT {
                        0 | 1 => 0,
                        _ => word - 1,
                    })
                });
                if left.is_ok() {
                    return;
                }
            }
        }
    }

    /// Connections of an address, in all workers of all generations.
    pub(crate) fn open(&self, key: Key) -> u64 {
        let older: u64 = self.older.iter().map(|older| older.open_here(key)).sum();
        older + self.open_here(key)
    }

    fn open_here(&self, key: Key) -> u64 {
        let tables = (0..self.workers).filter_map(|worker| self.open_in(worker));
        let [first, second] = key.buckets();
        let words =
            tables.flat_map(|table| bucket(table, first).iter().chain(bucket(table, second)));
        let words = words.map(|word| word.load(Relaxed));
        let mine = words.filter(|word| key.is_in(*word));
        mine.map(|word| word & COUNT).sum()
    }

    /// What a dead worker had open.
    pub(super) fn clear(&self, worker: usize) {
        // What was never written to has no page of memory yet, and needs none.
        if self.words[self.start + HEAD + worker].swap(0, Relaxed) != 0 {
            let table = self.open_in(worker).into_iter().flatten();
            table.for_each(|word| word.store(0, Relaxed));
        }
    }

    /// Takes over the secret and the paces of the newest of older generations, which comes first, and counts what they
    /// have from now on. Only while none works by these.
    pub(super) fn follow(self, others: &[&Shares]) -> Shares {
        let Some(newest) = others.first() else {
            return self;
        };
        for at in 0..SECRET {
            let word = newest.words[newest.start + at].load(Relaxed);
            self.words[self.start + at].store(word, Relaxed);
        }
        if newest.words[newest.start + PACED].load(Relaxed) != 0 {
            self.words[self.start + PACED].store(1, Relaxed);
            for (to, from) in self.paces().iter().zip(newest.paces()) {
                match from.load(Relaxed) {
                    0 => {}
                    word => to.store(word, Relaxed),
                }
            }
        }
        let all = others
            .iter()
            .flat_map(|one| one.older.iter().cloned().chain([one.alone()]));
        Shares {
            older: all.filter(Shares::has_some).collect(),
            ..Shares::on(self.words, self.start, self.workers)
        }
    }

    /// Without those of older generations.
    pub(super) fn alone(&self) -> Shares {
        Shares {
            older: Arc::default(),
            ..self.clone()
        }
    }

    /// Whether a worker that lives has counted a connection in it.
    fn has_some(&self) -> bool {
        let used = &self.words[self.start + HEAD..][..self.workers];
        used.iter().any(|word| word.load(Relaxed) != 0)
    }

    /// Whether an address may make a connection now; if so, it counts. That is so many at once, and then one each time
    /// that a part of the period has passed (GCRA, as in ITU-T I.371): an entry whose time has come is as good as none.
    /// Where a bucket is full, what is nearest to that gives way: of a flood from many addresses, its own.
    pub(crate) fn paces_out(&self, key: Key, pace: Pace, now: Moment) -> bool {
        let period = pace.period.as_secs() * SECOND;
        let part = (period / u64::from(pace.count)).max(1);
        let latest = now.0.saturating_add(period - part.min(period));
        self.words[self.start + PACED].store(1, Relaxed);
        let mark = key.0.get() & !TIME;
        let bucket = bucket(self.paces(), key.buckets()[0]);
        for _ in 0..TRIES {
            let words = bucket.iter().map(|word| (word, word.load(Relaxed)));
            let mine = words
                .clone()
                .find(|(_, word)| *word != 0 && word & !TIME == mark);
            let Some((place, before)) = mine.or_else(|| words.min_by_key(|(_, word)| word & TIME))
            else {
                return true;
            };
            // Nothing that this pace has made is due later: the period was longer, or the clock has gone round.
            let longest = now.0.saturating_add(period.max(part) + SLACK);
            let due = mine.map_or(0, |_| before & TIME);
            let due = if due > longest { 0 } else { due };
            if due > latest {
                return false;
            }
            let after = mark | (due.max(now.0).saturating_add(part)).min(TIME);
            if place
                .compare_exchange(before, after, Relaxed, Relaxed)
                .is_ok()
            {
                return true;
            }
        }
        true
    }

    fn paces(&self) -> &[AtomicU64] {
        let start = self.start + head(self.workers);
        &self.words[start..start + TABLE]
    }

    fn open_in(&self, worker: usize) -> Option<&[AtomicU64]> {
        let start = self.start + head(self.workers) + TABLE * (1 + worker);
        (worker < self.workers).then(|| &self.words[start..start + TABLE])
    }
}

impl Key {
    /// The buckets that it may be in: of two, since they fill more evenly.
    fn buckets(self) -> [usize; 2] {
        let one = self.0.get() as usize % BUCKETS;
        let other = (self.0.get() / BUCKETS as u64) as usize % BUCKETS;
        [one, if one == other { one ^ 1 } else { other }]
    }

    /// What an entry shows of it, beside the count.
    fn mark(self) -> u64 {
        self.0.get() & !COUNT
    }

    fn is_in(self, word: u64) -> bool {
        word & COUNT != 0 && word & !COUNT == self.mark()
    }
}

fn bucket(table: &[AtomicU64], nth: usize) -> &[AtomicU64] {
    &table[nth * WAYS..(nth + 1) * WAYS]
}

#[cfg(test)]
mod tests;

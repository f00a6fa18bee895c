//! Sessions of servers, stored under an identifier, and shared between workers in memory that only atomics touch.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use aws_lc_rs::digest;
use rustls::server::StoresServerSessions;

use super::tickets::{EPOCH, unix_time};
use crate::config::SessionOptions;
use crate::ipc::shared::SharedWords;

/// How the shared memory of one library is divided.
#[derive(Clone, Copy)]
struct Layout {
    /// Slots, in sets of `WAYS`.
    slots: usize,
    /// Words of a slot: sequence, expiry, length, two of tag, and the value.
    slot: usize,
}

const WAYS: usize = 4;
const SEQUENCE: usize = 0;
const EXPIRY: usize = 1;
const LENGTH: usize = 2;
const TAG: usize = 3;
const VALUE: usize = 5;

/// 2048 slots of 8 KiB are 16 MiB, of which only used pages exist. A value contains the client's chain:
/// three certificates with 4096-bit RSA fit.
const RUSTLS: Layout = Layout {
    slots: 2048,
    slot: 1024,
};
/// A value of s2n's has 138 bytes: 4096 slots of 192 bytes are 0.8 MiB.
const S2N: Layout = Layout {
    slots: 4096,
    slot: 24,
};

impl Layout {
    const fn words(self) -> usize {
        self.slots * self.slot
    }

    /// The longest stored session, in bytes.
    const fn max_value(self) -> usize {
        (self.slot - VALUE) * 8
    }
}

/// How many sessions are kept by their identifier, of services that rustls serves and of others.
pub(super) const KEPT: [usize; 2] = [RUSTLS.slots, S2N.slots];

/// Words of the memory that all workers of rustls' services share, and of that of s2n's. Each kind of worker
/// maps its own alone: what is in the other would open connections of services whose keys it may not have.
pub(super) const WORDS: [usize; 2] = [RUSTLS.words(), S2N.words()];

/// The sessions of one service, in the memory that all services of one library share.
pub(super) struct SharedSessions {
    words: SharedWords,
    layout: Layout,
    /// A hash over what a session must not outlive; part of every tag.
    identity: [u8; 32],
    /// How many sets of slots they may fill.
    sets: usize,
    /// How long they live, in seconds.
    lifetime: u64,
    clock: fn() -> u64,
}

impl SharedSessions {
    /// Those of a service that rustls serves.
    pub(super) fn new(words: SharedWords, identity: [u8; 32]) -> Self {
        Self {
            words,
            layout: RUSTLS,
            identity,
            sets: RUSTLS.slots / WAYS,
            lifetime: EPOCH,
            clock: unix_time,
        }
    }

    /// Those of a service that s2n-tls serves.
    pub(super) fn of_s2n(words: SharedWords, identity: [u8; 32]) -> Self {
        Self {
            layout: S2N,
            sets: S2N.slots / WAYS,
            ..Self::new(words, identity)
        }
    }

    /// The same with bounds: on their number, rounded up to a set, and on the seconds that they live.
    pub(super) fn within(self, options: &SessionOptions) -> Self {
        let asked = options.cache_size.filter(|size| *size > 0);
        let asked = asked.map(|size| (size as usize).div_ceil(WAYS));
        Self {
            sets: asked.map_or(self.sets, |asked| asked.min(self.sets)),
            lifetime: options.lifetime.map_or(self.lifetime, u64::from),
            ..self
        }
    }

    /// 128 bits of a hash, so that a peer cannot choose its slot by choosing identifiers.
    fn tag(&self, id: &[u8]) -> [u64; 2] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&self.identity);
        hash.update(id);
        let hash = hash.finish();
        let word = |at: usize| {
            hash.as_ref()[at..at + 8]
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        [word(0), word(8)]
    }

    fn set(&self, tag: [u64; 2]) -> impl Iterator<Item = Slot<'_>> {
        let slot = self.layout.slot;
        let first = (tag[0] as usize % self.sets) * WAYS;
        let at = move |index: usize| index * slot;
        (first..first + WAYS).map(move |index| Slot(&self.words[at(index)..at(index + 1)]))
    }
}

/// One slot, a seqlock. Even: at rest. Odd: being written, or its writer died, which costs this one
/// slot for good.
#[derive(Clone, Copy)]
struct Slot<'a>(&'a [AtomicU64]);

impl Slot<'_> {
    fn has(self, tag: [u64; 2]) -> bool {
        self.0[TAG].load(Relaxed) == tag[0] && self.0[TAG + 1].load(Relaxed) == tag[1]
    }

    /// The sequence, unless the slot is being written.
    fn at_rest(self) -> Option<u64> {
        let sequence = self.0[SEQUENCE].load(Acquire);
        sequence.is_multiple_of(2).then_some(sequence)
    }

    /// Locks the slot, if it is still at `sequence`.
    fn lock(self, sequence: u64) -> bool {
        let won = self.0[SEQUENCE]
            .compare_exchange(sequence, sequence + 1, Acquire, Relaxed)
            .is_ok();
        // A reader that sees what is stored below must see the odd sequence too.
        fence(Release);
        won
    }

    fn unlock(self, sequence: u64) {
        self.0[SEQUENCE].store(sequence.wrapping_add(2), Release);
    }

    fn copy(self) -> Vec<u8> {
        let longest = (self.0.len() - VALUE) * 8;
        let length = (self.0[LENGTH].load(Relaxed) as usize).min(longest);
        let mut value: Vec<u8> = self.0[VALUE..VALUE + length.div_ceil(8)]
            .iter()
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        value.truncate(length);
        value
    }

    fn fill(self, tag: [u64; 2], expiry: u64, value: &[u8]) {
        self.0[EXPIRY].store(expiry, Relaxed);
        self.0[LENGTH].store(value.len() as u64, Relaxed);
        self.0[TAG].store(tag[0], Relaxed);
        self.0[TAG + 1].store(tag[1], Relaxed);
        for (word, bytes) in self.0[VALUE..].iter().zip(value.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
    }
}

impl fmt::Debug for SharedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSessions")
    }
}

impl StoresServerSessions for SharedSessions {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        if value.len() > self.layout.max_value() {
            return false;
        }
        let tag = self.tag(&id);
        let mut slots: Vec<Slot<'_>> = self.set(tag).collect();
        // The same identifier first, then the earliest expiry, past or future; an unused slot has
        // expiry 0.
        slots.sort_by_key(|slot| (!slot.has(tag), slot.0[EXPIRY].load(Relaxed)));
        for slot in slots {
            if let Some(sequence) = slot.at_rest()
                && slot.lock(sequence)
            {
                slot.fill(tag, (self.clock)() + self.lifetime, &value);
                slot.unlock(sequence);
                return true;
            }
        }
        false
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let tag = self.tag(id);
        self.set(tag).find_map(|slot| {
            let sequence = slot.at_rest()?;
            if !slot.has(tag) || slot.0[EXPIRY].load(Relaxed) < (self.clock)() {
                return None;
            }
            let value = slot.copy();
            fence(Acquire);
            (slot.0[SEQUENCE].load(Relaxed) == sequence).then_some(value)
        })
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let tag = self.tag(id);
        self.set(tag).find_map(|slot| {
            let sequence = slot.at_rest()?;
            if !slot.has(tag) || !slot.lock(sequence) {
                return None;
            }
            // Locked at `sequence`, so it has not been changed or taken since.
            let fresh = slot.has(tag) && slot.0[EXPIRY].load(Relaxed) >= (self.clock)();
            let value = fresh.then(|| slot.copy());
            slot.fill([0; 2], 0, &[]);
            slot.unlock(sequence);
            value
        })
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SharedSessions, SharedSessions) {
        let words = SharedWords::new(WORDS[0]).unwrap();
        (
            SharedSessions::new(words.clone(), [1; 32]),
            SharedSessions::new(words, [1; 32]),
        )
    }

    #[test]
    fn what_one_worker_puts_another_gets_and_takes_once() {
        let (one, two) = pair();
        assert!(one.put(b"id".to_vec(), b"a session".to_vec()));
        assert_eq!(two.get(b"id"), Some(b"a session".to_vec()));
        assert_eq!(two.take(b"id"), Some(b"a session".to_vec()));
        assert_eq!(one.take(b"id"), None);
        assert_eq!(one.get(b"id"), None);
    }

    #[test]
    fn another_service_finds_nothing() {
        let (one, _) = pair();
        let other = SharedSessions::new(one.words.clone(), [2; 32]);
        assert!(one.put(b"id".to_vec(), b"a session".to_vec()));
        assert_eq!(other.get(b"id"), None);
        assert_eq!(other.take(b"id"), None);
        assert!(one.get(b"id").is_some());
    }

    #[test]
    fn values_of_every_length_come_back_whole_and_a_longer_one_is_refused() {
        let (one, two) = pair();
        const MAX_VALUE: usize = RUSTLS.max_value();
        for length in [0, 1, 7, 8, 9, MAX_VALUE - 1, MAX_VALUE] {
            let value: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            assert!(one.put(vec![length as u8, 1], value.clone()));
            assert_eq!(two.get(&[length as u8, 1]), Some(value));
        }
        assert!(!one.put(b"id".to_vec(), vec![0; MAX_VALUE + 1]));
    }

    #[test]
    fn s2ns_sessions_fit_into_slots_of_their_own() {
        let words = SharedWords::new(WORDS[1]).unwrap();
        let s2n = SharedSessions::of_s2n(words, [1; 32]);
        let value = vec![7; S2N.max_value()];
        for nth in 0..20_000u32 {
            let id = nth.to_be_bytes();
            assert!(s2n.put(id.to_vec(), value.clone()));
            assert_eq!(s2n.get(&id), Some(value.clone()));
        }
        assert!(!s2n.put(b"id".to_vec(), vec![0; S2N.max_value() + 1]));
        // What s2n stores (S2N_TLS12_TICKET_SIZE_IN_BYTES).
        const { assert!(S2N.max_value() >= 138) };
        // The memory behind it begins with a page.
        const { assert!((RUSTLS.words() * 8).is_multiple_of(65_536)) };
    }

    #[test]
    fn an_old_session_is_gone() {
        let (mut one, mut two) = pair();
        one.clock = || 1000;
        two.clock = || 1001 + EPOCH;
        assert!(one.put(b"id".to_vec(), b"a session".to_vec()));
        assert_eq!(two.get(b"id"), None);
        assert_eq!(two.take(b"id"), None);
    }

    #[test]
    fn no_more_are_kept_than_is_asked_for_and_no_longer() {
        let bounded = |cache_size, lifetime| {
            let words = SharedWords::new(WORDS[0]).unwrap();
            let options = SessionOptions {
                cache_size,
                lifetime,
                ..SessionOptions::default()
            };
            SharedSessions::new(words, [1; 32]).within(&options)
        };
        for (size, kept) in [(Some(1), 4), (Some(8), 8), (Some(9), 12)] {
            let sessions = bounded(size, None);
            let ids: Vec<_> = (0..200u32).map(|n| [size.unwrap(), n]).collect();
            let id = |id: &[u32; 2]| id.map(u32::to_be_bytes).concat();
            for one in &ids {
                assert!(sessions.put(id(one), b"a session".to_vec()));
            }
            let found = ids.iter().filter(|one| sessions.get(&id(one)).is_some());
            assert_eq!(found.count(), kept, "{size:?}");
        }
        assert_eq!(bounded(Some(0), None).sets, RUSTLS.slots / WAYS);
        assert_eq!(bounded(Some(u32::MAX), None).sets, RUSTLS.slots / WAYS);
        let mut short = bounded(None, Some(300));
        short.clock = || 1000;
        assert!(short.put(b"id".to_vec(), b"a session".to_vec()));
        short.clock = || 1300;
        assert!(short.get(b"id").is_some());
        short.clock = || 1301;
        assert_eq!(short.get(b"id"), None);
    }

    #[test]
    fn a_writer_that_died_costs_its_slot_and_no_more() {
        let (one, two) = pair();
        let tag = one.tag(b"id");
        let first = one.set(tag).next().unwrap();
        assert!(
            first.lock(first.at_rest().unwrap()),
            "and is never unlocked"
        );
        assert!(one.put(b"id".to_vec(), b"a session".to_vec()));
        assert_eq!(two.get(b"id"), Some(b"a session".to_vec()));
        for slot in one.set(tag) {
            if let Some(sequence) = slot.at_rest() {
                slot.lock(sequence);
            }
        }
        assert!(!one.put(b"id".to_vec(), b"a session".to_vec()));
        assert_eq!(two.get(b"id"), None);
    }

    #[test]
    fn threads_that_put_and_get_at_once_never_see_a_torn_value() {
        let (one, two) = pair();
        std::thread::scope(|scope| {
            for byte in 1..=2 {
                let one = &one;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        one.put(b"id".to_vec(), vec![byte; 1000]);
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..2000 {
                    if let Some(value) = two.get(b"id") {
                        assert_eq!(value.len(), 1000);
                        assert!(value.iter().all(|byte| *byte == value[0]));
                    }
                }
            });
        });
    }

    #[test]
    fn threads_that_take_at_once_never_take_the_same_twice() {
        let (one, two) = pair();
        for _ in 0..200 {
            one.put(b"id".to_vec(), b"a session".to_vec());
            let takers: Vec<bool> = std::thread::scope(|scope| {
                let takers: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| two.take(b"id").is_some()))
                    .collect();
                takers
                    .into_iter()
                    .map(|taker| taker.join().unwrap())
                    .collect()
            });
            assert_eq!(takers.iter().filter(|taken| **taken).count(), 1);
        }
    }
}

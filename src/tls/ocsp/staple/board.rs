//! What responders have said about our own certificates, in memory that all workers of all generations share:
//! so one asks for all, and a reload or a new program begins with what is known. Only atomics touch it. Never in
//! here: an answer that is taken for true; each worker judges it anew.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use crate::ipc::shared::SharedWords;

/// Certificates that have a slot at a time. 4096 slots of 8 KiB are 32 MiB, of which only used pages exist.
const SLOTS: usize = 4096;
/// Words of a slot.
const SLOT: usize = 1024;
/// Slots in which a certificate may have its place.
const PROBES: usize = 64;

const TAG: usize = 0;
const SEQUENCE: usize = 1;
const DUE: usize = 2;
const FAILURES: usize = 3;
const STATE: usize = 4;
const UNTIL: usize = 5;
const LENGTH: usize = 6;
const VALUE: usize = 7;

/// The longest response that is stapled, in bytes; one with a delegate's certificate has 2 to 3 KiB.
pub(super) const MAX_RESPONSE: usize = (SLOT - VALUE) * 8;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Staples(SharedWords);

/// What is known of a certificate, for `adit status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No responder has answered yet.
    Waiting,
    Good,
    Revoked,
}

impl State {
    fn of(word: u64) -> Self {
        match word {
            1 => State::Good,
            2 => State::Revoked,
            _ => State::Waiting,
        }
    }
}

/// What is seen of a slot from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: State,
    /// Until when the answer counts, in seconds since 1970.
    pub(crate) until: u64,
    /// Tries without an answer since the last one.
    pub(crate) failures: u64,
}

impl Staples {
    /// Maps empty memory.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(SharedWords::new(SLOTS * SLOT)?))
    }

    /// As [`Staples::new`], with a descriptor that keeps it across an exec.
    ///
    /// # Errors
    /// No memory or descriptors left.
    pub(crate) fn transferable() -> io::Result<(Self, OwnedFd)> {
        let (words, descriptor) = SharedWords::transferable(SLOTS * SLOT)?;
        Ok((Self(words), descriptor))
    }

    /// What the program before an exec had.
    ///
    /// # Errors
    /// It has another size; no memory.
    pub(crate) fn taken_over(descriptor: &OwnedFd) -> io::Result<Self> {
        Ok(Self(SharedWords::taken_over(descriptor, SLOTS * SLOT)?))
    }

    /// What is seen of slot `index`; `None`: there is no such slot.
    pub(crate) fn see(&self, index: usize) -> Option<Seen> {
        let words = self.0.get(index.checked_mul(SLOT)?..)?.get(..SLOT)?;
        Some(Seen {
            state: State::of(words[STATE].load(Relaxed)),
            until: words[UNTIL].load(Relaxed),
            failures: words[FAILURES].load(Relaxed),
        })
    }

    /// The place of the certificate with this tag, which is not 0: its own, else a free one, else the one that was
    /// to be renewed the longest ago.
    pub(super) fn place(&self, tag: u64) -> Place {
        let first = tag as usize % SLOTS;
        let probes = || (0..PROBES).map(|nth| self.at((first + nth) % SLOTS, tag));
        if let Some(own) = probes().find(Place::is_ours) {
            return own;
        }
        if let Some(free) = probes().find(|place| place.take(0)) {
            return free;
        }
        let oldest = probes().min_by_key(|place| place.word(DUE).load(Relaxed));
        let place = oldest.unwrap_or_else(|| self.at(first, tag));
        place.take(place.word(TAG).load(Relaxed));
        place
    }

    fn at(&self, index: usize, tag: u64) -> Place {
        let words = self.0.clone();
        Place { words, index, tag }
    }
}

/// A certificate's slot, for as long as no other takes it.
#[derive(Debug)]
pub(super) struct Place {
    words: SharedWords,
    index: usize,
    tag: u64,
}

impl Place {
    pub(super) fn index(&self) -> usize {
        self.index
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[self.index * SLOT + at]
    }

    fn is_ours(&self) -> bool {
        self.word(TAG).load(Acquire) == self.tag
    }

    /// Takes the slot from the holder of tag `from`; whether it is ours.
    fn take(&self, from: u64) -> bool {
        let taken = self
            .word(TAG)
            .compare_exchange(from, self.tag, Acquire, Acquire);
        if taken.is_ok() && from != 0 {
            for word in [DUE, FAILURES, STATE, UNTIL, LENGTH] {
                self.word(word).store(0, Relaxed);
            }
            self.word(SEQUENCE).fetch_add(2, Release);
        }
        taken.is_ok() || taken == Err(self.tag)
    }

    /// Changes with each response that is put here; one number never comes again.
    pub(super) fn sequence(&self) -> u64 {
        self.word(SEQUENCE).load(Acquire)
    }

    /// The response, and the number that it came with; `None`: there is none, or it is being written.
    pub(super) fn response(&self) -> Option<(u64, Vec<u8>)> {
        let sequence = self.sequence();
        let length = self.word(LENGTH).load(Relaxed) as usize;
        if !sequence.is_multiple_of(2) || !self.is_ours() || !(1..=MAX_RESPONSE).contains(&length) {
            return None;
        }
        let words = (0..length.div_ceil(8)).map(|nth| self.word(VALUE + nth).load(Relaxed));
        let mut response: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        response.truncate(length);
        fence(Acquire);
        (self.word(SEQUENCE).load(Relaxed) == sequence).then_some((sequence, response))
    }

    /// Puts a response there that is [`MAX_RESPONSE`] long at most. A writer that died halfway stops no other; what
    /// two make of it at once passes no judgement.
    pub(super) fn put(&self, response: &[u8], state: State, until: u64) {
        if !self.is_ours() {
            return;
        }
        self.word(SEQUENCE).fetch_or(1, Acquire);
        // A reader that sees what is stored below must see the odd sequence too.
        fence(Release);
        self.word(LENGTH).store(response.len() as u64, Relaxed);
        for (nth, bytes) in response.chunks(8).take(SLOT - VALUE).enumerate() {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            self.word(VALUE + nth)
                .store(u64::from_le_bytes(whole), Relaxed);
        }
        let state = match state {
            State::Waiting => 0,
            State::Good => 1,
            State::Revoked => 2,
        };
        self.word(STATE).store(state, Relaxed);
        self.word(UNTIL).store(until, Relaxed);
        self.word(FAILURES).store(0, Relaxed);
        // Another writer may have come to its end meanwhile: what it left must be looked at anew.
        let odd = self.word(SEQUENCE).load(Relaxed) | 1;
        self.word(SEQUENCE).store(odd.wrapping_add(1), Release);
    }

    /// When a responder is to be asked, in seconds since 1970; `None`: another certificate has the slot.
    pub(super) fn due(&self) -> Option<u64> {
        self.is_ours().then(|| self.word(DUE).load(Relaxed))
    }

    /// Moves the time, if it is still `from`: of all workers that find it come, one wins, and asks.
    pub(super) fn claim(&self, from: u64, until: u64) -> bool {
        self.is_ours()
            && self
                .word(DUE)
                .compare_exchange(from, until, Relaxed, Relaxed)
                .is_ok()
    }

    /// Moves the time.
    pub(super) fn postpone(&self, until: u64) {
        if self.is_ours() {
            self.word(DUE).store(until, Relaxed);
        }
    }

    /// Until when the response counts, as its writer has it, in seconds since 1970.
    pub(super) fn until(&self) -> u64 {
        self.word(UNTIL).load(Relaxed)
    }

    /// How many tries have brought nothing since the last answer.
    pub(super) fn failures(&self) -> u64 {
        self.word(FAILURES).load(Relaxed)
    }

    /// Counts a try that brought nothing; how many there were since the last answer.
    pub(super) fn fail(&self) -> u64 {
        self.word(FAILURES).fetch_add(1, Relaxed).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_by_its_tag_and_by_no_other() {
        let staples = Staples::new().unwrap();
        let place = staples.place(7);
        assert_eq!(place.response(), None);
        for (response, state) in [
            (vec![1; 9], State::Good),
            (vec![2; MAX_RESPONSE], State::Revoked),
        ] {
            place.put(&response, state, 99);
            let found = staples.place(7).response().unwrap();
            assert_eq!(found, (place.sequence(), response));
            let seen = staples.see(place.index()).unwrap();
            assert_eq!((seen.state, seen.until), (state, 99));
        }
        let other = staples.place(7 + SLOTS as u64);
        assert_ne!(other.index(), place.index());
        assert_eq!(other.response(), None);
        assert_eq!(staples.see(SLOTS), None);
    }

    #[test]
    fn one_of_many_wins_the_claim() {
        let staples = Staples::new().unwrap();
        let place = staples.place(7);
        let due = place.due().unwrap();
        assert!(place.claim(due, 10));
        assert!(!place.claim(due, 10));
        assert_eq!(place.due(), Some(10));
        assert_eq!((place.fail(), place.fail()), (1, 2));
        place.put(&[1], State::Good, 1);
        assert_eq!(place.fail(), 1, "an answer begins the count anew");
    }

    #[test]
    fn without_a_free_slot_the_oldest_goes() {
        let staples = Staples::new().unwrap();
        let tag = |nth: usize| 7 + (nth * SLOTS) as u64;
        let places: Vec<Place> = (0..PROBES).map(|nth| staples.place(tag(nth))).collect();
        for (nth, place) in places.iter().enumerate() {
            place.put(&[1], State::Good, 1);
            place.postpone(1000 - nth as u64);
        }
        let late = staples.place(tag(PROBES));
        let last = &places[PROBES - 1];
        assert_eq!(late.index(), last.index());
        assert_eq!((last.due(), last.response()), (None, None));
        assert_eq!((late.due(), late.response()), (Some(0), None));
        last.put(&[2], State::Good, 1);
        assert_eq!(late.response(), None, "it is not the last one's any more");
    }

    #[test]
    fn a_writer_that_died_halfway_stops_no_other() {
        let staples = Staples::new().unwrap();
        let place = staples.place(7);
        place.put(&[1; 100], State::Good, 1);
        place.word(SEQUENCE).fetch_or(1, Relaxed);
        assert_eq!(place.response(), None);
        place.put(&[2; 100], State::Good, 1);
        assert_eq!(place.response().unwrap().1, [2; 100]);
    }
}

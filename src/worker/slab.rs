//! A table whose slots get a new generation at each reuse, so that a late event for a finished session
//! never reaches the next one in its slot.

/// The position of an element of a [`Slab`], with the generation of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As a number whose lowest bit is free: 31 bits of generation, 32 of index.
    pub(crate) fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 33) | (u64::from(self.index) << 1)
    }

    /// The inverse of [`Key::to_bits`]; the lowest bit belongs to the caller.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            // Both casts are lossless: 32 bits and 31 bits are left.
            index: (bits >> 1) as u32,
            generation: (bits >> 33) as u32,
        }
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slot<T> {
    /// Skips the highest generation: with it a key could be all ones, which is the waker's.
    fn next_life(&mut self) {
        self.generation = (self.generation + 1) % 0x7fff_ffff;
    }
}

/// Slots that are allocated and freed together: one in use keeps this many.
const CHUNK: usize = 16;

/// The table.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// `None`: freed.
    chunks: Vec<Option<Box<[Slot<T>]>>>,
    /// How many of them are allocated.
    made: usize,
    /// The empty slots of the allocated chunks.
    free: Vec<u32>,
    /// The first generation of a new slot: later than any of a slot that was freed.
    first: u32,
}

impl<T> Slab<T> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            made: 0,
            free: Vec::new(),
            first: 0,
        }
    }

    /// Inserts what `make` makes of its key, if anything.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> Option<T>) -> Option<Key> {
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop()?;
        let slot = slot(&mut self.chunks, index)?;
        let key = Key {
            index,
            generation: slot.generation,
        };
        slot.value = make(key);
        if slot.value.is_some() {
            return Some(key);
        }
        slot.next_life();
        self.free.push(index);
        None
    }

    fn grow(&mut self) {
        let place = self.chunks.iter().position(Option::is_none);
        let place = place.unwrap_or_else(|| {
            self.chunks.push(None);
            self.chunks.len() - 1
        });
        let new = |_| Slot {
            generation: self.first,
            value: None,
        };
        self.chunks[place] = Some((0..CHUNK).map(new).collect());
        self.made += 1;
        // Each element has a descriptor, so a table never holds 2^32. The lowest slot is taken first.
        let first = place * CHUNK;
        let indices = (first..first + CHUNK).rev().map(|index| index as u32);
        self.free.extend(indices);
    }

    /// The element with this key, unless it is gone.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = slot(&mut self.chunks, key.index)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.value.as_mut()
    }

    /// Removes the element; its key is then invalid.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = slot(&mut self.chunks, key.index)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.next_life();
        self.free.push(key.index);
        Some(value)
    }

    /// Frees the chunks without elements, wherever they are.
    pub(crate) fn shrink(&mut self) {
        for chunk in &mut self.chunks {
            let Some(slots) = chunk.take_if(|slots| slots.iter().all(|s| s.value.is_none())) else {
                continue;
            };
            let latest = slots.iter().map(|slot| slot.generation).max();
            self.first = self.first.max(latest.unwrap_or_default());
            self.made -= 1;
        }
        let chunks = &self.chunks;
        self.free
            .retain(|&index| chunks[index as usize / CHUNK].is_some());
        let last = self.chunks.iter().rposition(Option::is_some);
        self.chunks.truncate(last.map_or(0, |last| last + 1));
        self.chunks.shrink_to_fit();
        self.free.shrink_to_fit();
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.made * CHUNK - self.free.len()
    }

    /// Whether it has no elements.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements, with their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let chunks = self.chunks.iter().zip((0..).step_by(CHUNK));
        let slots = chunks.flat_map(|(chunk, first)| chunk.iter().flatten().zip(first..));
        slots.filter_map(|(slot, index)| {
            let generation = slot.generation;
            slot.value
                .as_ref()
                .map(|value| (Key { index, generation }, value))
        })
    }
}

fn slot<T>(chunks: &mut [Option<Box<[Slot<T>]>>], index: u32) -> Option<&mut Slot<T>> {
    let index = index as usize;
    let chunk = chunks.get_mut(index / CHUNK)?.as_mut()?;
    chunk.get_mut(index % CHUNK)
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_life_finds_nothing() {
        let mut slab = Slab::new();
        let old = slab.insert_with(|_| Some("first")).unwrap();
        assert_eq!(slab.remove(old), Some("first"));
        let new = slab.insert_with(|_| Some("second")).unwrap();
        assert_eq!(old.index, new.index);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get_mut(new), Some(&mut "second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_slot_that_was_given_back_and_made_again_has_another_life() {
        let mut slab = Slab::new();
        let count = 3 * CHUNK;
        let keys: Vec<Key> = (0..count)
            .map(|n| slab.insert_with(|_| Some(n)).unwrap())
            .collect();
        let kept = keys[2 * CHUNK + 1];
        for key in keys.iter().filter(|key| **key != kept) {
            slab.remove(*key);
        }
        slab.shrink();
        let there: Vec<bool> = slab.chunks.iter().map(Option::is_some).collect();
        assert_eq!(there, [false, false, true], "whatever is behind them");
        assert_eq!((slab.len(), slab.free.len()), (1, CHUNK - 1));
        assert_eq!(slab.get_mut(kept), Some(&mut (2 * CHUNK + 1)));
        let new: Vec<Key> = (0..count - 1)
            .map(|n| slab.insert_with(|_| Some(n)).unwrap())
            .collect();
        assert_eq!((slab.chunks.len(), slab.len()), (3, count));
        for old in keys.iter().filter(|key| **key != kept) {
            assert!(!new.contains(old));
            assert_eq!(slab.get_mut(*old), None);
        }
        for key in new.into_iter().chain([kept]) {
            slab.remove(key);
        }
        slab.shrink();
        assert!(slab.is_empty() && slab.chunks.is_empty() && slab.free.is_empty());
    }

    #[test]
    fn a_key_survives_being_a_number_with_a_free_bit() {
        for (index, generation) in [(0, 0), (u32::MAX, 0x7fff_fffe), (5, 77)] {
            let key = Key { index, generation };
            assert_eq!(key.to_bits() & 1, 0);
            assert_eq!(Key::from_bits(key.to_bits() | 1), key);
            assert!(key.to_bits() | 1 < u64::MAX - 1);
        }
    }

    #[test]
    fn slots_are_reused_and_listed() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..10)
            .filter_map(|n| slab.insert_with(|_| Some(n)))
            .collect();
        for key in &keys[..5] {
            slab.remove(*key);
        }
        assert_eq!(slab.insert_with(|_| None), None);
        slab.insert_with(|_| Some(99)).unwrap();
        assert_eq!(slab.chunks.len(), 1);
        let mut left: Vec<i32> = slab.iter().map(|(_, value)| *value).collect();
        left.sort_unstable();
        assert_eq!(left, [5, 6, 7, 8, 9, 99]);
    }

    #[test]
    fn whatever_comes_goes_and_is_given_back_each_key_finds_its_own_and_never_returns() {
        let mut seed = 1u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        let mut slab = Slab::new();
        let (mut there, mut gone) = (Vec::new(), std::collections::HashSet::new());
        for step in 0..20_000 {
            // Phases in which many are added alternate with phases in which many are removed.
            let comes = if step / 500 % 2 == 0 { 7 } else { 3 };
            match random(10) {
                n if n < comes => {
                    let key = slab.insert_with(|_| Some(step)).unwrap();
                    assert!(!gone.contains(&key) && there.iter().all(|(other, _)| *other != key));
                    there.push((key, step));
                }
                _ if !there.is_empty() => {
                    let (key, value) = there.swap_remove(random(there.len()));
                    assert_eq!(slab.remove(key), Some(value));
                    gone.insert(key);
                }
                _ => {}
            }
            if random(50) == 0 {
                slab.shrink();
                let in_use = slab.chunks.iter().flatten();
                assert!(
                    in_use
                        .into_iter()
                        .all(|c| c.iter().any(|s| s.value.is_some()))
                );
            }
            assert_eq!(slab.len(), there.len());
        }
        assert!(
            there
                .iter()
                .all(|(key, value)| slab.get_mut(*key).map(|v| *v) == Some(*value))
        );
        assert!(gone.iter().all(|key| slab.get_mut(*key).is_none()));
        let mut listed: Vec<usize> = slab.iter().map(|(_, value)| *value).collect();
        let mut expected: Vec<usize> = there.into_iter().map(|(_, value)| value).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }
}

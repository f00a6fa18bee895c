//! A table whose slots are reused under a new generation each time, so that an event that was meant
//! for a session that is gone never reaches the one that has its slot now.

/// Where something stands in a [`Slab`], and in which of the slot's lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As a number with its lowest bit free: 31 bits of generation, 32 of index.
    pub fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 33) | (u64::from(self.index) << 1)
    }

    /// The inverse of [`Key::to_bits`]; the lowest bit is the caller's.
    pub fn from_bits(bits: u64) -> Self {
        Self {
            // Both casts drop nothing: 32 bits and 31 bits are left.
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
    /// The highest generation is left out: with it a key could be all ones, the waker's.
    fn next_life(&mut self) {
        self.generation = (self.generation + 1) % 0x7fff_ffff;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// The first life of a new slot: later than any of a slot that was there once.
    first: u32,
}

impl<T> Slab<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            first: 0,
        }
    }

    /// Puts in what `make` makes of its key, if it makes something.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> Option<T>) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot {
                    generation: self.first,
                    value: None,
                });
                // A descriptor each at least, so a table never holds 2^32.
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
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

    /// What stands there, unless that life is over.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.value.as_mut()
    }

    /// Takes it out; the key is worth nothing afterwards.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.next_life();
        self.free.push(key.index);
        Some(value)
    }

    /// Gives back the memory of the free slots behind the last one that is in use.
    pub fn shrink(&mut self) {
        let used = self.slots.iter().rposition(|slot| slot.value.is_some());
        let kept = used.map_or(0, |last| last + 1);
        for slot in self.slots.drain(kept..) {
            self.first = self.first.max(slot.generation);
        }
        self.free.retain(|&index| (index as usize) < kept);
        self.slots.shrink_to_fit();
        self.free.shrink_to_fit();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything in it, with its key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let generation = slot.generation;
            slot.value
                .as_ref()
                .map(|value| (Key { index, generation }, value))
        })
    }
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
        let keys: Vec<Key> = (0..4)
            .map(|n| slab.insert_with(|_| Some(n)).unwrap())
            .collect();
        for key in [keys[0], keys[2], keys[3]] {
            slab.remove(key);
        }
        slab.shrink();
        assert_eq!((slab.slots.len(), slab.free.len()), (2, 1));
        assert_eq!(slab.get_mut(keys[1]), Some(&mut 1));
        assert_eq!(slab.len(), 1);
        let new: Vec<Key> = (10..13)
            .map(|n| slab.insert_with(|_| Some(n)).unwrap())
            .collect();
        for old in [keys[0], keys[2], keys[3]] {
            assert!(!new.contains(&old));
            assert_eq!(slab.get_mut(old), None);
        }
        assert_eq!(slab.len(), 4);
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
        assert_eq!(slab.slots.len(), 10);
        let mut left: Vec<i32> = slab.iter().map(|(_, value)| *value).collect();
        left.sort_unstable();
        assert_eq!(left, [5, 6, 7, 8, 9, 99]);
    }
}

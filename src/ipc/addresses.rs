//! What all workers know of a service's addresses: which did not answer before another that was tried later, so that
//! they come last for a while. Best effort: a full table forgets. Never in here: an address itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a slow address comes last, in seconds; RFC 6555, section 4.2 has the same.
const MEMORY: u64 = 600;

/// Words before the table: a time for each family.
const FAMILIES: usize = 2;

/// One service's addresses. A word of the table is 32 bits of an address's hash over the time until which it is
/// slow, in seconds since 1970; 0: free.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressRow<'a>(&'a [AtomicU64]);

impl<'a> AddressRow<'a> {
    pub(crate) fn on(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Whether no address was ever slow: the rule, and there is no more to look at.
    pub(crate) fn is_blank(&self) -> bool {
        self.0.iter().all(|word| word.load(Relaxed) == 0)
    }

    /// Whether others are to be tried before it at `now`, as [`now`] gives it.
    pub(crate) fn is_slow(&self, address: SocketAddr, now: u64) -> bool {
        let until = self.family(address).load(Relaxed);
        let slot = self.slot_of(address);
        until > now || slot.is_some_and(|slot| until_of(slot.load(Relaxed)) > now)
    }

    /// It did not answer before another that was tried later did, or was never heard of. Where that is of the other
    /// family, so is the whole family: it leads nowhere, as a rule.
    pub(crate) fn overtaken(&self, address: SocketAddr, by: SocketAddr, now: u64) {
        let until = now.saturating_add(MEMORY).min(u64::from(u32::MAX));
        if address.is_ipv4() != by.is_ipv4() {
            self.family(address).store(until, Relaxed);
        }
        let word = hash_of(address) << 32 | until;
        let own = self.slot_of(address);
        let oldest = || {
            self.table()
                .iter()
                .min_by_key(|it| until_of(it.load(Relaxed)))
        };
        if let Some(slot) = own.or_else(oldest) {
            slot.store(word, Relaxed);
        }
    }

    /// It has answered.
    pub(crate) fn answered(&self, address: SocketAddr) {
        if self.is_blank() {
            return;
        }
        self.family(address).store(0, Relaxed);
        if let Some(slot) = self.slot_of(address) {
            slot.store(0, Relaxed);
        }
    }

    fn family(&self, address: SocketAddr) -> &'a AtomicU64 {
        &self.0[usize::from(address.is_ipv6())]
    }

    fn table(&self) -> &'a [AtomicU64] {
        &self.0[FAMILIES..]
    }

    fn slot_of(&self, address: SocketAddr) -> Option<&'a AtomicU64> {
        let hash = hash_of(address);
        let mut table = self.table().iter();
        table.find(|slot| slot.load(Relaxed) >> 32 == hash)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn until_of(word: u64) -> u64 {
    word & u64::from(u32::MAX)
}

fn hash_of(address: SocketAddr) -> u64 {
    hash(&(address.ip(), address.port()))
}

/// 32 bits, never 0; the same in all processes.
pub(super) fn hash(it: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    (hasher.finish() >> 32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_slow_address_is_known_for_a_while_and_its_family_if_the_other_is_quicker() {
        let words: [AtomicU64; 6] = Default::default();
        let row = AddressRow::on(&words);
        let [a, b] = ["192.0.2.1:25", "192.0.2.2:25"].map(address);
        let [six, other_six] = ["[2001:db8::1]:25", "[2001:db8::2]:25"].map(address);
        assert!(row.is_blank());
        row.overtaken(a, b, 1000);
        let slow = |now| [a, b, six, other_six].map(|it| row.is_slow(it, now));
        assert_eq!(slow(1000), [true, false, false, false]);
        assert_eq!(slow(1000 + MEMORY), [false; 4]);
        row.overtaken(six, b, 1000);
        assert_eq!(slow(1001), [true, false, true, true]);
        row.answered(other_six);
        assert_eq!(slow(1001), [true, false, true, false]);
        row.answered(six);
        row.answered(a);
        assert!(row.is_blank());
    }

    #[test]
    fn a_full_table_forgets_the_oldest() {
        let words: [AtomicU64; 6] = Default::default();
        let row = AddressRow::on(&words);
        let all: Vec<SocketAddr> = (1..=5)
            .map(|n| address(&format!("192.0.2.{n}:25")))
            .collect();
        for (now, it) in (100..).zip(&all) {
            row.overtaken(*it, all[0], now);
        }
        let slow: Vec<bool> = all.iter().map(|it| row.is_slow(*it, 105)).collect();
        assert_eq!(slow, [false, true, true, true, true]);
    }
}

//! What probes found of a service's servers, for all workers: which do not answer, and when they are due again. The
//! worker that claims a round writes. Never in here: a connection.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::addresses::hash;

/// Failures in a row that take a server out of use.
pub(crate) const FAILURES: u64 = 2;

/// How far in the future a round may be, in seconds, beside its interval: further, the clock was set back.
const CLOCK_SET: u64 = 60;

/// Words before the table: when a round is due, and what the last one found.
const HEAD: usize = 2;

/// One service's servers. A word of the table is 32 bits of a server's hash over its failures in a row; 0: free.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbeRow<'a>(&'a [AtomicU64]);

/// What a round found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Servers that were probed; 0: none ever was.
    pub probed: u32,
    /// Those of them that are out of use.
    pub ejected: u32,
}

impl Tally {
    /// Whether no server is left.
    pub(crate) fn none_left(self) -> bool {
        self.probed > 0 && self.ejected >= self.probed
    }
}

/// A server's name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server(u64);

impl Server {
    /// That of an address, or a path.
    pub(crate) fn of(address: &impl Hash) -> Server {
        Server(hash(address))
    }
}

impl<'a> ProbeRow<'a> {
    pub(crate) fn on(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// When a round is due, in seconds since 1970.
    pub(crate) fn due(&self, now: u64, every: u64) -> u64 {
        let due = self.0[0].load(Relaxed);
        match due > now.saturating_add(every).saturating_add(CLOCK_SET) {
            true => now,
            false => due,
        }
    }

    /// Takes the round that is due for this process, which has until `lease` for it; a process that dies costs no more.
    pub(crate) fn claim(&self, now: u64, every: u64, lease: u64) -> bool {
        let word = self.0[0].load(Relaxed);
        let is_due = self.due(now, every) <= now;
        is_due && self.renew(word, lease)
    }

    /// Has until `next` for its round in place of `lease`; false: it stood still, and another process has taken it.
    pub(crate) fn renew(&self, lease: u64, next: u64) -> bool {
        self.0[0]
            .compare_exchange(lease, next, Relaxed, Relaxed)
            .is_ok()
    }

    /// The round is over, whose process had until `lease`: these servers are probed again then. What is known of others
    /// is forgotten. Nothing, where another process has taken it.
    pub(crate) fn finish(&self, servers: &[Server], lease: u64, next: u64) {
        if self.0[0].load(Relaxed) != lease {
            return;
        }
        for slot in self.table() {
            let server = Server(slot.load(Relaxed) >> 32);
            if !servers.contains(&server) {
                slot.store(0, Relaxed);
            }
        }
        let ejected = servers.iter().filter(|it| self.is_ejected(**it)).count();
        let tally = (servers.len() as u64) << 32 | ejected as u64;
        self.0[1].store(tally, Relaxed);
        // Last: the next round, of any process, writes to the table.
        self.renew(lease, next);
    }

    /// What the last round found.
    pub(crate) fn tally(&self) -> Tally {
        let tally = self.0[1].load(Relaxed);
        Tally {
            probed: (tally >> 32) as u32,
            ejected: tally as u32,
        }
    }

    /// A server did not answer; how often in a row.
    pub(crate) fn failed(&self, server: Server) -> u64 {
        let failures = self.failures(server).saturating_add(1).min(FAILURES + 1);
        let own = self.slot_of(server);
        let free = || self.table().iter().find(|slot| slot.load(Relaxed) == 0);
        if let Some(slot) = own.or_else(free) {
            slot.store(server.0 << 32 | failures, Relaxed);
        }
        failures
    }

    /// A server has answered; whether it was out of use.
    pub(crate) fn answered(&self, server: Server) -> bool {
        let was_ejected = self.is_ejected(server);
        if let Some(slot) = self.slot_of(server) {
            slot.store(0, Relaxed);
        }
        was_ejected
    }

    /// Failures in a row.
    pub(crate) fn failures(&self, server: Server) -> u64 {
        let slot = self.slot_of(server);
        slot.map_or(0, |slot| slot.load(Relaxed) & u64::from(u32::MAX))
    }

    /// Whether a server is out of use.
    pub(crate) fn is_ejected(&self, server: Server) -> bool {
        self.failures(server) >= FAILURES
    }

    fn table(&self) -> &'a [AtomicU64] {
        &self.0[HEAD..]
    }

    fn slot_of(&self, server: Server) -> Option<&'a AtomicU64> {
        let mut table = self.table().iter();
        table.find(|slot| slot.load(Relaxed) >> 32 == server.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_take_a_server_out_of_use_until_it_answers() {
        let words: [AtomicU64; 6] = Default::default();
        let row = ProbeRow::on(&words);
        let all: Vec<Server> = (0..5).map(|n| Server::of(&n)).collect();
        let ejected = || all.iter().filter(|it| row.is_ejected(**it)).count();
        assert!(!row.tally().none_left());
        assert_eq!(row.failed(all[0]), 1);
        assert!(!row.is_ejected(all[0]));
        assert_eq!(row.failed(all[0]), 2);
        assert!(row.is_ejected(all[0]));
        row.finish(&all, 0, 9);
        assert_eq!((row.tally().probed, row.tally().ejected), (5, 1));
        // There is room for four; more are not taken out of use.
        for server in &all {
            row.failed(*server);
            row.failed(*server);
        }
        assert_eq!(ejected(), 4);
        assert!(row.answered(all[0]) && !row.answered(all[0]));
        // Servers that a name has no more are forgotten.
        row.finish(&all[..2], 9, 9);
        assert_eq!(ejected(), 1);
        row.finish(&all[1..2], 9, 9);
        assert!(row.tally().none_left());
    }

    #[test]
    fn a_round_is_claimed_once_and_a_clock_that_was_set_back_loses_none() {
        let words: [AtomicU64; 4] = Default::default();
        let row = ProbeRow::on(&words);
        assert!(row.claim(1000, 10, 1015));
        assert!(!row.claim(1000, 10, 1015));
        assert!(!row.claim(1014, 10, 1030));
        assert!(row.claim(1015, 10, 1030));
        row.finish(&[], 1030, 1025);
        assert_eq!(row.due(1020, 10), 1025);
        assert!(row.claim(20, 10, 35));
        assert_eq!(row.due(20, 10), 35);
    }

    #[test]
    fn a_round_is_its_workers_for_as_long_as_that_renews_its_lease_and_one_that_stood_still_has_lost_it()
     {
        let words: [AtomicU64; 4] = Default::default();
        let (one, other) = (ProbeRow::on(&words), ProbeRow::on(&words));
        let server = [Server::of(&1)];
        assert!(one.claim(1000, 5, 1010));
        // A hundred silent servers take their time.
        for now in (1004..1300).step_by(4) {
            assert!(!other.claim(now, 5, now + 10), "{now}");
            assert!(one.renew(now + 6, now + 10), "{now}");
        }
        let lease = words[0].load(Relaxed);
        // It stands still, and another takes the round.
        assert!(other.claim(lease, 5, lease + 10));
        assert!(!one.renew(lease, lease + 20));
        one.finish(&server, lease, lease + 1);
        assert_eq!((one.tally().probed, one.due(lease, 5)), (0, lease + 10));
        other.finish(&server, lease + 10, lease + 5);
        assert_eq!((one.tally().probed, one.due(lease, 5)), (1, lease + 5));
    }
}

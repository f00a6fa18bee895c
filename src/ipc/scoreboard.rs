//! The scoreboard: what every worker counts, readable by the master, the supervisor and `adit status`.
//! One mapping for each generation, made by the supervisor before it forks the master.
//!
//! Rows are padded to cache lines and each is written by one process, so writers never contend for a
//! line. Only the supervisor resets counts, and only those of a generation that no longer serves.

pub(crate) mod answered;
mod counts;
mod lengths;
mod open;
mod own;
mod read_only;
mod servers;
mod succession;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use counts::Counts;
use lengths::{length, rows_of_counts, whole_length};
pub(crate) use open::{Open, Target};
pub(crate) use own::of_log_losses;
pub(crate) use read_only::ReadOnlyBoard;

use super::durations::{self, Durations};
use super::incidents::Incidents;
use super::shared::SharedWords;
use super::shares::{self, Shares};
use crate::incidents::Ledger;

/// Words of a row: 128 bytes, two cache lines, since the prefetcher fetches pairs.
const ROW: usize = 16;

/// Rows that all workers share for a service: [`SharedRow`], what is known of its addresses, and two of what probes
/// found.
const SHARED_ROWS: usize = 4;

/// Rows of a service's counters in one worker.
const COUNTERS: usize = 2;

/// Rows of what a worker counts for a service: the counters, and the histograms.
const SERVICE_ROWS: usize = COUNTERS + durations::WORDS / ROW;

/// A bit beside the number in [`WorkerRow::claimed`]: the master has taken back everything after that
/// number.
pub(crate) const REVOKED: u64 = 1 << 63;

/// Why a handshake failed, as the scoreboard counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// The peer's certificate, or the lack of one.
    Certificate,
    /// No version, suite or group in common.
    Negotiation,
    /// Garbage, or a protocol violation.
    Protocol,
    /// The peer disconnected, or was silent for too long.
    Vanished,
}

/// One generation's counts.
#[derive(Debug, Clone)]
pub(crate) struct Scoreboard {
    words: SharedWords,
    workers: usize,
    services: usize,
    /// Behind the rows, where a service tells its clients apart by their addresses.
    shares: Option<Shares>,
}

macro_rules! cells {
    ($(#[$doc:meta])* $row:ident { $($(#[$field_doc:meta])* $name:ident = $index:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $row<'a>(&'a [AtomicU64]);

        impl<'a> $row<'a> {
            $($(#[$field_doc])* pub(crate) fn $name(&self) -> &'a AtomicU64 { &self.0[$index] })*
        }
    };
}

cells! {
    /// A worker's own row.
    WorkerRow {
        /// Process id; 0 while there is no process.
        pid = 0,
        /// Connections that it has claimed and not finished.
        active = 1,
        /// Number of the last socket it claimed, with [`REVOKED`]. The master numbers sockets from 1
        /// for each process; the worker writes this through [`WorkerRow::claim`].
        claimed = 2,
        /// Sockets it closed because the master had taken them back.
        let_go = 3,
        /// Times this worker was started.
        starts = 4,
        /// 1 for a worker of services with old TLS.
        old = 5,
        /// The process that forks it, if that is not the master.
        zygote = 6,
    }
}

cells! {
    /// What one worker counted for one service.
    ServiceRow {
        /// Connections accepted.
        accepted = 0,
        /// Connections open now.
        active = 1,
        /// Full TLS handshakes.
        handshakes_new = 2,
        /// Resumed TLS handshakes.
        handshakes_resumed = 3,
        /// Failed handshakes: see [`HandshakeFailure::Certificate`].
        failed_certificate = 4,
        /// Failed handshakes: see [`HandshakeFailure::Negotiation`].
        failed_negotiation = 5,
        /// Failed handshakes: see [`HandshakeFailure::Protocol`].
        failed_protocol = 6,
        /// Failed handshakes: see [`HandshakeFailure::Vanished`].
        failed_vanished = 7,
        /// Bytes of payload carried from front to back.
        bytes_to_back = 8,
        /// Bytes of payload carried from back to front.
        bytes_to_front = 9,
        /// Connections for which no upstream could be reached.
        connect_failed = 10,
        /// Dialogues before TLS (`protocol`) that failed.
        failed_before_tls = 11,
        /// Dialogues within TLS that failed.
        failed_within_tls = 12,
        /// Clients that may not connect, by their address.
        refused = 13,
        /// Unfinished handshakes that were ended, and connections not taken, for want of memory.
        shed = 14,
        /// Clients that came and went without a byte.
        probes = 15,
        /// Full handshakes of TLS 1.0; see [`ServiceRow::handshake`].
        full_tls10 = 16,
        /// The same of TLS 1.1.
        full_tls11 = 17,
        /// The same of TLS 1.2.
        full_tls12 = 18,
        /// The same of TLS 1.3.
        full_tls13 = 19,
        /// Resumed handshakes of TLS 1.0.
        resumed_tls10 = 20,
        /// The same of TLS 1.1.
        resumed_tls11 = 21,
        /// The same of TLS 1.2.
        resumed_tls12 = 22,
        /// The same of TLS 1.3.
        resumed_tls13 = 23,
        /// Clients that were not relayed in time: TIMEOUThandshake.
        late = 28,
        /// Clients that were refused: `connectRate`. The master counts these and the next in the first worker's row.
        over_rate = 29,
        /// Clients that were refused: `maxConnectionsPerAddress`.
        over_address = 30,
        /// Times that accepting stopped: `maxConnections`.
        full = 31,
    }
}

cells! {
    /// What all workers share for one service.
    SharedRow {
        /// `failover = rr`: the entry to start with next.
        round_robin = 0,
        /// One bit for each piece of advice that this service has logged: see `relay::advice`.
        advised = 1,
        /// One more than the number of the slot in which what is stapled to its certificate stands; 0: nothing is.
        staple = 2,
        /// When the certificate ends that it shows to clients, in seconds since 1970; 0: it shows none.
        ends_to_clients = 3,
        /// The same of the one that it shows to servers.
        ends_to_servers = 4,
        /// The upstream that answered last: see [`answered`].
        answered_kind = 5,
        answered_high = 6,
        answered_low = 7,
        answered_at = 8,
    }
}

impl Scoreboard {
    /// Maps a board with rows for this many workers and services.
    ///
    /// # Errors
    /// What mmap(2) gives.
    #[cfg(test)]
    pub(crate) fn new(workers: usize, services: usize) -> io::Result<Self> {
        let words = SharedWords::new(length(workers, services))?;
        Ok(Self::on(words, workers, services))
    }

    /// Maps a board with rows for this many workers and services, with a descriptor that keeps it across an exec.
    /// `shares`: with tables for what each address has.
    ///
    /// # Errors
    /// As [`SharedWords::transferable`]; no randomness.
    pub(crate) fn transferable(
        workers: usize,
        services: usize,
        shares: bool,
    ) -> io::Result<(Self, OwnedFd)> {
        let rows = length(workers, services);
        let more = if shares { shares::length(workers) } else { 0 };
        let (words, descriptor) = SharedWords::transferable(rows + more)?;
        if shares {
            shares::draw(&words, rows)?;
        }
        Ok((Self::on(words, workers, services), descriptor))
    }

    /// Maps a board that [`Scoreboard::transferable`] made.
    ///
    /// # Errors
    /// As [`SharedWords::taken_over`].
    pub(crate) fn taken_over(
        descriptor: &OwnedFd,
        workers: usize,
        services: usize,
    ) -> io::Result<Self> {
        let whole = whole_length(descriptor, length(workers, services), workers)?;
        let words = SharedWords::taken_over(descriptor, whole)?;
        Ok(Self::on(words, workers, services))
    }

    fn on(words: SharedWords, workers: usize, services: usize) -> Self {
        let rows = length(workers, services);
        let more = words.len() > rows;
        Self {
            shares: more.then(|| Shares::on(words.clone(), rows, workers)),
            words,
            workers,
            services,
        }
    }

    /// What each address has, if that is counted.
    pub(crate) fn shares(&self) -> Option<&Shares> {
        self.shares.as_ref()
    }

    /// How many workers it has rows for.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// How many services it has rows for.
    pub(crate) fn services(&self) -> usize {
        self.services
    }

    fn row(&self, index: usize) -> &[AtomicU64] {
        self.rows(index, 1)
    }

    fn rows(&self, index: usize, count: usize) -> &[AtomicU64] {
        &self.words[index * ROW..(index + count) * ROW]
    }

    /// The first of the rows of a worker and a service.
    fn first_row(&self, worker: usize, service: usize) -> usize {
        assert!(worker < self.workers && service < self.services);
        let before = worker * self.services + service;
        self.workers + self.services * SHARED_ROWS + before * SERVICE_ROWS
    }

    /// The row of worker `worker`, from 0.
    ///
    /// # Panics
    /// There is no such row.
    pub(crate) fn worker(&self, worker: usize) -> WorkerRow<'_> {
        assert!(worker < self.workers);
        WorkerRow(self.row(worker))
    }

    /// What all workers share for service `service`, from 0.
    ///
    /// # Panics
    /// There is no such row.
    pub(crate) fn shared(&self, service: usize) -> SharedRow<'_> {
        assert!(service < self.services);
        SharedRow(self.row(self.workers + service * SHARED_ROWS))
    }

    /// What worker `worker` counted for service `service`.
    ///
    /// # Panics
    /// There is no such row.
    pub(crate) fn service(&self, worker: usize, service: usize) -> ServiceRow<'_> {
        ServiceRow(self.rows(self.first_row(worker, service), COUNTERS))
    }

    /// How long things took in worker `worker` for service `service`.
    ///
    /// # Panics
    /// There is no such row.
    pub(crate) fn durations(&self, worker: usize, service: usize) -> Durations<'_> {
        let first = self.first_row(worker, service) + COUNTERS;
        Durations::on(self.rows(first, SERVICE_ROWS - COUNTERS))
    }

    /// What went wrong with service `service`, or behind the last one with adit itself; `None`: there is no such
    /// service.
    pub(crate) fn incidents(&self, service: usize) -> Option<Incidents<'_>> {
        let counted = lengths::counted(self.workers, self.services);
        let parts = self.services + 1;
        Incidents::of(self.words.get(counted..)?, parts, service)
    }

    /// As [`Incidents::ledger`].
    pub(crate) fn ledger(&self, service: usize) -> Ledger {
        let incidents = self.incidents(service);
        incidents.map_or_else(Ledger::default, |incidents| incidents.ledger())
    }

    /// As [`Incidents::take`].
    pub(crate) fn take_ledger(&self, service: usize) -> Ledger {
        let incidents = self.incidents(service);
        incidents.map_or_else(Ledger::default, |incidents| incidents.take())
    }

    /// Open connections of service `service`, in all workers.
    pub(crate) fn active(&self, service: usize) -> u64 {
        let workers = 0..self.workers;
        let active = workers.map(|worker| self.service(worker, service).active().load(Relaxed));
        active.fold(0, u64::saturating_add)
    }

    /// Clears what a dead worker had open.
    pub(crate) fn clear_active(&self, worker: usize) {
        let row = self.worker(worker);
        row.pid().store(0, Relaxed);
        row.active().store(0, Relaxed);
        row.claimed().store(0, Relaxed);
        row.let_go().store(0, Relaxed);
        for service in 0..self.services {
            self.service(worker, service).active().store(0, Relaxed);
        }
        self.open(worker).clear();
        if let Some(shares) = &self.shares {
            shares.clear(worker);
        }
    }

    /// Clears what all workers had open: none of them is left.
    pub(crate) fn clear_all(&self) {
        (0..self.workers).for_each(|worker| self.clear_active(worker));
    }
}

impl WorkerRow<'_> {
    /// Claims the socket with this number for the worker. False: the master has taken it back, and the
    /// worker must close it unseen.
    ///
    /// One atomic word decides between the two, so a connection is never served twice.
    pub(crate) fn claim(&self, sequence: u64) -> bool {
        let claimed = self.claimed().fetch_update(Relaxed, Relaxed, |claimed| {
            (claimed & REVOKED == 0).then(|| claimed.max(sequence))
        });
        // Another thread may have claimed a later one; then the master has released this one as well.
        claimed.is_ok() || sequence <= self.last_claimed()
    }

    /// The number of the last socket that was claimed.
    pub(crate) fn last_claimed(&self) -> u64 {
        self.claimed().load(Relaxed) & !REVOKED
    }

    /// The master takes back every unclaimed socket; returns the last number that was claimed.
    pub(crate) fn revoke(&self) -> u64 {
        self.claimed().fetch_or(REVOKED, Relaxed) & !REVOKED
    }

    /// The worker has closed everything that was taken back, up to and including number `last`, and may
    /// claim again.
    pub(crate) fn restore(&self, last: u64) {
        self.claimed().store(last, Relaxed);
    }
}

impl ServiceRow<'_> {
    /// Counts a handshake that succeeded, by what the log calls its version.
    pub(crate) fn handshake(&self, version: &str, resumed: bool) {
        let by_version = match (version, resumed) {
            ("TLSv1", false) => Some(self.full_tls10()),
            ("TLSv1.1", false) => Some(self.full_tls11()),
            ("TLSv1.2", false) => Some(self.full_tls12()),
            ("TLSv1.3", false) => Some(self.full_tls13()),
            ("TLSv1", true) => Some(self.resumed_tls10()),
            ("TLSv1.1", true) => Some(self.resumed_tls11()),
            ("TLSv1.2", true) => Some(self.resumed_tls12()),
            ("TLSv1.3", true) => Some(self.resumed_tls13()),
            _ => None,
        };
        let all = match resumed {
            true => self.handshakes_resumed(),
            false => self.handshakes_new(),
        };
        for cell in by_version.into_iter().chain([all]) {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// Counts a failed handshake.
    pub(crate) fn handshake_failed(&self, why: HandshakeFailure) {
        let cell = match why {
            HandshakeFailure::Certificate => self.failed_certificate(),
            HandshakeFailure::Negotiation => self.failed_negotiation(),
            HandshakeFailure::Protocol => self.failed_protocol(),
            HandshakeFailure::Vanished => self.failed_vanished(),
        };
        cell.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_workers_and_taken_once() {
        let board = Scoreboard::new(2, 2).unwrap();
        for worker in 0..2 {
            let took = std::time::Duration::from_millis(3);
            let row = board.durations(worker, 1);
            row.handshake().count(took);
            row.connect().count(took * 10);
            row.session().count(took * 1000);
            board.service(worker, 1).handshake("TLSv1.2", true);
            board.service(worker, 1).handshake("TLSv1.3", false);
        }
        assert_eq!(board.counts(0), Counts::default());
        let counts = board.counts(1);
        assert_eq!((counts.handshakes_new, counts.full_tls13), (2, 2));
        assert_eq!((counts.handshakes_resumed, counts.resumed_tls12), (2, 2));
        assert_eq!(
            (counts.handshake.buckets[2], counts.handshake.micros),
            (2, 6000)
        );
        assert_eq!(
            (counts.connect.buckets[5], counts.session.buckets[4]),
            (2, 2)
        );
        assert_eq!(board.take_counts(1), counts);
        assert_eq!(board.counts(1), Counts::default());
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<Counts>(&json).unwrap(), counts);
    }

    #[test]
    fn a_socket_is_the_workers_or_the_masters_and_never_both() {
        let board = Scoreboard::new(1, 1).unwrap();
        let row = board.worker(0);
        assert!(row.claim(2));
        assert_eq!(row.revoke(), 2);
        assert!(!row.claim(3), "the master has it");
        assert!(row.claim(1), "the master let go of it when 2 was claimed");
        assert_eq!(row.last_claimed(), 2);
        row.restore(3);
        assert!(row.claim(4));
        assert_eq!(row.last_claimed(), 4);

        // Both sides at once: exactly one of them gets the socket.
        for sequence in 5..2005 {
            let start = std::sync::Barrier::new(2);
            let (claimed, last) = std::thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    start.wait();
                    row.claim(sequence)
                });
                start.wait();
                let last = row.revoke();
                (worker.join().unwrap(), last)
            });
            assert_eq!(claimed, last == sequence);
            row.restore(sequence);
        }
    }
}

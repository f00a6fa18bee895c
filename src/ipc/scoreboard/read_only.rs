//! A board as a process has it that only tells what it reads. Never in here: a word that is written.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use super::lengths::{checked_length, whole_length};
use super::{Counts, Scoreboard};
use crate::incidents::Ledger;
use crate::ipc::probes::Tally;
use crate::ipc::shared::SharedWords;

/// A board that its holder can only read: what is written to it kills the process.
#[derive(Debug)]
pub(crate) struct ReadOnlyBoard(Scoreboard);

/// A worker's row at one moment; see [`super::WorkerRow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerCounts {
    pub pid: u64,
    pub active: u64,
    pub starts: u64,
}

impl ReadOnlyBoard {
    /// Maps a board that [`Scoreboard::transferable`] made; a descriptor for reading is enough.
    ///
    /// # Errors
    /// As [`SharedWords::taken_over`].
    pub(crate) fn of(descriptor: &OwnedFd, workers: usize, services: usize) -> io::Result<Self> {
        let rows = checked_length(workers, services).ok_or(io::ErrorKind::InvalidInput)?;
        let whole = whole_length(descriptor, rows, workers)?;
        let words = SharedWords::read_only(descriptor, whole)?;
        Ok(Self(Scoreboard::on(words, workers, services)))
    }

    /// How many workers it has rows for.
    pub(crate) fn workers(&self) -> usize {
        self.0.workers
    }

    /// As [`Scoreboard::counts`]; nothing for a service that it has no rows for.
    pub(crate) fn counts(&self, service: usize) -> Counts {
        match service < self.0.services {
            true => self.0.counts(service),
            false => Counts::default(),
        }
    }

    /// What the last probes found of the servers of a service; nothing for a service that it has no rows for.
    pub(crate) fn tally(&self, service: usize) -> Tally {
        match service < self.0.services {
            true => self.0.probes(service).tally(),
            false => Tally::default(),
        }
    }

    /// Open connections of a service, in all workers.
    pub(crate) fn active(&self, service: usize) -> u64 {
        match service < self.0.services {
            true => self.0.active(service),
            false => 0,
        }
    }

    /// As [`Scoreboard::ledger`].
    pub(crate) fn ledger(&self, service: usize) -> Ledger {
        self.0.ledger(service)
    }

    /// As [`Scoreboard::own_ledger`].
    pub(crate) fn own_ledger(&self) -> Ledger {
        self.0.own_ledger()
    }

    /// Open connections of all services.
    pub(crate) fn connections(&self) -> u64 {
        let services = 0..self.0.services;
        services.fold(0, |sum, service| sum.saturating_add(self.0.active(service)))
    }

    /// When the certificates of a service end that clients and servers are shown, in seconds since 1970.
    pub(crate) fn ends(&self, service: usize) -> [Option<u64>; 2] {
        if service >= self.0.services {
            return [None; 2];
        }
        let row = self.0.shared(service);
        [row.ends_to_clients(), row.ends_to_servers()]
            .map(|cell| Some(cell.load(Relaxed)).filter(|at| *at != 0))
    }

    /// The row of a worker, from 0.
    pub(crate) fn worker(&self, worker: usize) -> WorkerCounts {
        let row = self.0.worker(worker);
        WorkerCounts {
            pid: row.pid().load(Relaxed),
            active: row.active().load(Relaxed),
            starts: row.starts().load(Relaxed),
        }
    }
}

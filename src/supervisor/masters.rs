//! The masters that run, and the workers that dead ones have left: their channels, processes and counts.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::unistd::Pid;

use super::carried::Carried;
use super::generation::Generation;
use super::orphans::Orphans;
use crate::ipc::words::{Heard, ToMaster, say_now};

/// In the order in which they were started.
#[derive(Debug, Default)]
pub(super) struct Masters {
    generations: Vec<Generation>,
    orphans: Vec<Orphans>,
}

impl Masters {
    /// Those that the program before an exec had.
    pub(super) fn taken_over(generations: Vec<Generation>, orphans: Vec<Orphans>) -> Masters {
        Masters {
            generations,
            orphans,
        }
    }

    /// Adds one that was just started.
    pub(super) fn add(&mut self, generation: Generation) {
        self.generations.push(generation);
    }

    /// Those that were not reaped yet.
    pub(super) fn all(&self) -> &[Generation] {
        &self.generations
    }

    /// What is left of dead ones.
    pub(super) fn orphans(&self) -> &[Orphans] {
        &self.orphans
    }

    /// One of them.
    pub(super) fn get(&self, number: u64) -> Option<&Generation> {
        self.generations.iter().find(|g| g.number == number)
    }

    /// The generation whose master is that process.
    pub(super) fn of_process(&self, pid: Pid) -> Option<u64> {
        let generation = self.generations.iter().find(|g| g.pid == pid);
        generation.map(|generation| generation.number)
    }

    /// Nothing more comes from this one.
    pub(super) fn is_deaf(&mut self, number: u64) {
        let mut all = self.generations.iter_mut();
        if let Some(generation) = all.find(|g| g.number == number) {
            generation.hears = false;
        }
    }

    /// Has every generation work with another file, socket or channel.
    pub(super) fn pass_down(&self, word: &ToMaster, descriptor: BorrowedFd<'_>) -> Heard {
        let mut heard = Heard::default();
        for generation in &self.generations {
            heard.count(say_now(&generation.channel, word, &[descriptor]));
        }
        heard
    }

    /// Keeps the counts of a master that was reaped, and its workers if any are left; whether there are.
    pub(super) fn bury(&mut self, number: u64, carried: &mut Carried) -> bool {
        let Some(at) = self.generations.iter().position(|g| g.number == number) else {
            return false;
        };
        let dead = self.generations.remove(at);
        carried.take(&dead.names, &dead.scoreboard);
        let orphans = Orphans::of(dead);
        let left = orphans.is_some();
        self.orphans.extend(orphans);
        left
    }

    /// Whether that is a worker: one that a dead master has left, or will have left once it is reaped.
    pub(super) fn has_worker(&self, pid: Pid) -> bool {
        let left = self.orphans.iter().any(|o| o.workers.contains(&pid));
        left || self.generations.iter().any(|generation| {
            let board = &generation.scoreboard;
            let mut pids =
                (0..board.workers()).map(|index| board.worker(index).pid().load(Relaxed));
            pids.any(|worker| i64::try_from(worker) == Ok(pid.as_raw().into()))
        })
    }

    /// A worker of a dead master has ended; the generations of which none is left by that.
    pub(super) fn orphan_ended(&mut self, pid: Pid) -> Vec<u64> {
        for orphans in &mut self.orphans {
            orphans.ended(pid);
        }
        let gone = self.orphans.iter().filter(|o| o.workers.is_empty());
        gone.map(|orphans| orphans.generation.number).collect()
    }

    /// Forgets generations of which nothing is left.
    pub(super) fn forget_the_gone(&mut self) {
        self.orphans.retain(|orphans| !orphans.workers.is_empty());
    }

    /// Moves the counts of every generation but the serving one.
    pub(super) fn carry_counts(&self, serving: Option<u64>, carried: &mut Carried) {
        let superseded = self
            .generations
            .iter()
            .filter(|g| Some(g.number) != serving);
        let orphans = self.orphans.iter().map(|orphans| &orphans.generation);
        for generation in superseded.chain(orphans) {
            carried.take(&generation.names, &generation.scoreboard);
        }
    }
}

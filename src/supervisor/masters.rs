//! The masters that run, and the workers that dead ones have left: their channels, processes and counts.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::unistd::Pid;

use super::carried::Carried;
use super::generation::Generation;
use super::orphans::Orphans;
use super::spares::{News, Spare, Unborn};
use crate::ipc::channel::Channel;
use crate::ipc::words::{Heard, ToMaster, say_now};

/// In the order in which they were started.
#[derive(Debug, Default)]
pub(super) struct Masters {
    generations: Vec<Generation>,
    orphans: Vec<Orphans>,
    spares: Vec<Spare>,
    unborn: Vec<Unborn>,
    /// Processes that were ended, and are to be reaped.
    leaving: Vec<Pid>,
}

impl Masters {
    /// Those that the program before an exec had.
    pub(super) fn taken_over(
        generations: Vec<Generation>,
        orphans: Vec<Orphans>,
        spares: Vec<Spare>,
        leaving: Vec<Pid>,
    ) -> Masters {
        Masters {
            generations,
            orphans,
            spares,
            unborn: Vec::new(),
            leaving,
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
        let masters = self.generations.iter().map(|master| &master.channel);
        for channel in masters.chain(self.channels_of_spares(|_| true)) {
            heard.count(say_now(channel, word, &[descriptor]));
        }
        heard
    }

    /// The channels of spares, and of masters that they are forking, of these generations.
    pub(super) fn channels_of_spares(
        &self,
        of: impl Fn(u64) -> bool,
    ) -> impl Iterator<Item = &Channel> {
        let of = move |number| of(number);
        let spares = self.spares.iter().map(|s| (s.behind, &s.channel));
        let unborn = self.unborn.iter().map(|u| (u.number, &u.channel));
        let all = spares.chain(unborn).filter(move |(number, _)| of(*number));
        all.map(|(_, channel)| channel)
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

    /// A process that forks old workers has died, if it is one: its number may be another's from now on.
    pub(super) fn zygote_ended(&mut self, pid: Pid) -> bool {
        let orphans = self.orphans.iter().map(|orphans| &orphans.generation);
        let mut was_one = false;
        for spare in &mut self.spares {
            was_one |= spare.zygote.take_if(|zygote| *zygote == pid).is_some();
        }
        for generation in self.generations.iter().chain(orphans) {
            let board = &generation.scoreboard;
            for index in 0..board.workers() {
                let row = board.worker(index);
                if i64::try_from(row.zygote().load(Relaxed)) == Ok(pid.as_raw().into()) {
                    row.zygote().store(0, Relaxed);
                    was_one = true;
                }
            }
        }
        was_one
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

/// Spares.
impl Masters {
    /// Those that were asked for, or stand.
    pub(super) fn spares(&self) -> &[Spare] {
        &self.spares
    }

    /// The masters that spares are forking.
    pub(super) fn unborn(&self) -> &[Unborn] {
        &self.unborn
    }

    /// Processes that were ended, and are to be reaped.
    pub(super) fn leaving(&self) -> &[Pid] {
        &self.leaving
    }

    /// Adds one that was just asked for.
    pub(super) fn add_spare(&mut self, spare: Spare) {
        self.spares.push(spare);
    }

    /// The spare of that generation, which stands behind another from now on.
    pub(super) fn spare_goes_behind(&mut self, dead: u64, number: u64) -> Option<&Spare> {
        let spare = self.spares.iter_mut().find(|s| s.behind == dead)?;
        spare.behind = number;
        Some(spare)
    }

    /// Adds a master that a spare is forking.
    pub(super) fn expect(&mut self, unborn: Unborn) {
        self.unborn.push(unborn);
    }

    /// Forgets such a master; if it was forked, it finds its channel closed.
    pub(super) fn give_up(&mut self, number: u64) {
        self.unborn.retain(|unborn| unborn.number != number);
    }

    /// Ends the spare of a generation.
    pub(super) fn drop_spare(&mut self, number: u64) {
        let dropped = self.spares.extract_if(.., |s| s.behind == number);
        let processes: Vec<Pid> = dropped.flat_map(Spare::end).collect();
        self.leaving.extend(processes);
    }

    /// Hears one word of a spare.
    pub(super) fn hear_spare(&mut self, number: u64) -> Option<News> {
        let at = self.spares.iter().position(|s| s.behind == number)?;
        let mut spare = self.spares.remove(at);
        let news = spare.hear(|pid| self.knows(pid));
        self.spares.insert(at, spare);
        news
    }

    /// Hears the first word of a master that a spare was to fork. Once it is heard, that is one of
    /// [`Masters::all`], or is forgotten.
    pub(super) fn hear_unborn(&mut self, number: u64) -> Option<Result<&Generation, String>> {
        let at = self.unborn.iter().position(|u| u.number == number)?;
        let pid = self.unborn[at].hear(|pid| self.knows(pid))?;
        let unborn = self.unborn.remove(at);
        Some(pid.map(|pid| {
            self.generations.push(unborn.born(pid));
            &self.generations[self.generations.len() - 1]
        }))
    }

    /// A child was reaped; the generation whose spare it was.
    pub(super) fn spare_died(&mut self, pid: Pid) -> Option<u64> {
        let at = self.spares.iter().position(|s| s.pid == Some(pid))?;
        let spare = self.spares.remove(at);
        self.leaving.extend(spare.zygote);
        Some(spare.behind)
    }

    /// A child was reaped; whether it was one that was ended.
    pub(super) fn has_left(&mut self, pid: Pid) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|left| *left != pid);
        self.leaving.len() < before
    }

    /// Whether a process has a role among these already.
    fn knows(&self, pid: Pid) -> bool {
        let spares = self.spares.iter().flat_map(|s| [s.pid, s.zygote]);
        self.of_process(pid).is_some()
            || self.has_worker(pid)
            || self.leaving.contains(&pid)
            || spares.flatten().any(|other| other == pid)
    }
}

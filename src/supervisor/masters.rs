//! The masters that run, and the workers that dead ones have left: their channels, processes and counts.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::unistd::Pid;

use super::carried::Carried;
use super::generation::Generation;
use super::orphans::Orphans;
use super::spares::{News, Spare, Unborn};
use crate::ipc::channel::Channel;
use crate::ipc::scoreboard::Scoreboard;
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

    /// The counts of all generations, those of dead masters too, with the names of their services; the newest last.
    pub(super) fn boards(&self) -> Vec<(Scoreboard, Vec<String>)> {
        let orphans = self.orphans.iter().map(|orphans| &orphans.generation);
        let all = orphans.chain(&self.generations);
        all.map(|one| (one.scoreboard.alone(), one.names.clone()))
            .collect()
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

    /// Keeps the counts of a master that was reaped, and its workers if any are left; whether there are. `others`:
    /// children of no generation.
    pub(super) fn bury(&mut self, number: u64, carried: &mut Carried, others: &[Pid]) -> bool {
        let Some(at) = self.generations.iter().position(|g| g.number == number) else {
            return false;
        };
        let dead = self.generations.remove(at);
        carried.take(&dead.names, &dead.scoreboard);
        let board = dead.scoreboard.clone();
        let orphans = Orphans::of(dead, |pid| self.knows(pid) || others.contains(&pid));
        let left = orphans.is_some();
        if !left {
            // What younger generations still count of it.
            board.clear_all();
        }
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

impl Masters {
    /// Has the serving generation know which upstreams answered last before it, where they are the same.
    pub(super) fn carry_answers(&self, serving: Option<u64>) {
        let Some(new) = serving.and_then(|number| self.get(number)) else {
            return;
        };
        let orphans = self.orphans.iter().map(|orphans| &orphans.generation);
        let others = self.generations.iter().chain(orphans);
        for old in others.filter(|old| old.number < new.number) {
            for (index, name) in new.names.iter().enumerate() {
                let before = old.names.iter().position(|other| other == name);
                let Some(before) = before.filter(|&at| old.connect(at) == new.connect(index))
                else {
                    continue;
                };
                let known = new.scoreboard.shared(index);
                if let Some(answer) = old.scoreboard.shared(before).answer()
                    && known.answer().is_none_or(|newer| newer.at < answer.at)
                {
                    known.note_answer(answer);
                }
            }
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

    /// Hears one word of a spare. `others`: children of no generation.
    pub(super) fn hear_spare(&mut self, number: u64, others: &[Pid]) -> Option<News> {
        let at = self.spares.iter().position(|s| s.behind == number)?;
        let mut spare = self.spares.remove(at);
        let news = spare.hear(|pid| self.knows(pid) || others.contains(&pid));
        self.spares.insert(at, spare);
        news
    }

    /// Hears the first word of a master that a spare was to fork. Once it is heard, that is one of
    /// [`Masters::all`], or is forgotten. `others`: children of no generation.
    pub(super) fn hear_unborn(
        &mut self,
        number: u64,
        others: &[Pid],
    ) -> Option<Result<&Generation, String>> {
        let at = self.unborn.iter().position(|u| u.number == number)?;
        let known = |pid| self.knows(pid) || others.contains(&pid);
        let pid = self.unborn[at].hear(known)?;
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

    /// Whether a process has a role among these already. That of others a compromised process could name as its
    /// own, and have it ended or taken for a master.
    fn knows(&self, pid: Pid) -> bool {
        let spares = self.spares.iter().flat_map(|s| [s.pid, s.zygote]);
        self.of_process(pid).is_some()
            || self.has_worker(pid)
            || self.leaving.contains(&pid)
            || spares.flatten().any(|other| other == pid)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use nix::sys::signal::Signal;

    use super::*;
    use crate::ipc::words::{FromMaster, say};
    use crate::supervisor::generation::Shape;

    /// A child of this process, which ends only by a signal.
    fn child() -> (Child, Pid) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        (child, pid)
    }

    fn shape() -> Shape {
        let text = r#"{"workers":1,"names":["test"],"warnings":[],"drain_timeout":null}"#;
        serde_json::from_str(text).unwrap()
    }

    /// What the supervisor hears when a spare of generation 1 says that.
    fn heard(masters: &mut Masters, words: &[FromMaster], others: &[Pid]) -> Option<News> {
        let (ours, theirs) = Channel::pair().unwrap();
        masters.add_spare(Spare::behind(1, shape(), ours));
        let mut news = None;
        for word in words {
            say(&theirs, word, &[]).unwrap();
            news = masters.hear_spare(1, others);
        }
        news
    }

    #[test]
    fn a_spare_names_neither_a_helper_nor_another_child_as_its_own() {
        let (mut own, spare) = child();
        let (mut other, helper) = child();
        for (named, zygote) in [(helper, None), (spare, Some(helper))] {
            let mut masters = Masters::default();
            let words = [
                FromMaster::Forked(named.as_raw()),
                FromMaster::Standing(zygote.map(Pid::as_raw)),
            ];
            let count = if named == helper { 1 } else { 2 };
            let news = heard(&mut masters, &words[..count], &[helper]);
            assert!(matches!(news, Some(News::Lost(_))), "{news:?}");
            // What it has named is not ended with it.
            masters.drop_spare(1);
            assert_eq!(other.try_wait().unwrap(), None, "the helper lives");
        }
        // The test can tell: a child without a role is taken.
        let mut masters = Masters::default();
        let words = [FromMaster::Forked(helper.as_raw())];
        assert!(heard(&mut masters, &words, &[]).is_none());
        assert_eq!(masters.spares()[0].pid, Some(helper));
        other.kill().unwrap();
        other.wait().unwrap();
        let _ = own.kill();
        own.wait().unwrap();
    }

    #[test]
    fn what_a_worker_writes_on_the_scoreboard_ends_no_process_of_another_role() {
        let (mut other, helper) = child();
        for others in [&[helper][..], &[]] {
            let mut masters = Masters::default();
            let (ours, _theirs) = Channel::pair().unwrap();
            let board = shape().board().unwrap();
            let row = board.0.worker(0);
            row.pid()
                .store(helper.as_raw().unsigned_abs().into(), Relaxed);
            row.zygote()
                .store(helper.as_raw().unsigned_abs().into(), Relaxed);
            // Any number of a process that was reaped.
            let master = Pid::from_raw(i32::MAX);
            let generation = Generation::of(1, master, shape(), ours, board);
            masters.add(generation);
            let left = masters.bury(1, &mut Carried::default(), others);
            assert!(!left && masters.orphans().is_empty());
            assert_eq!(other.try_wait().ok().flatten(), None);
            // Where it has no role it passes for the zygote, which is reaped at once.
            let lives = nix::sys::signal::kill(helper, None::<Signal>).is_ok();
            assert_eq!(lives, !others.is_empty());
        }
    }
}

//! Children that died: what each death means, and who is started in their place.

use std::os::fd::AsFd;
use std::time::Instant;

use super::generation::{Generation, State};
use super::helpers::{Helpers, Start};
use super::orphans::Orphans;
use super::running::Supervisor;
use super::telling::Told;
use crate::children;
use crate::config::Global;
use crate::helper::Kind;
use crate::ipc::shared::SharedWords;
use crate::ipc::words::{Heard, ToMaster};

/// Words that are still heard from a master that has died.
const LAST_WORDS: usize = 16;

impl Supervisor {
    /// Takes note of every child that has died.
    pub(super) fn reap(&mut self) {
        while let Some(death) = children::reap() {
            let is_helper = self
                .helpers
                .died(&death, self.stopping.is_some(), &self.log);
            let children::Death { pid, well, how } = death;
            if is_helper || self.rehearsal_ended(pid, well, &how) {
            } else if let Some(at) = self.generations.iter().position(|g| g.pid == pid) {
                self.master_died(at, &how);
            } else {
                self.orphan_ended(pid, &how);
            }
        }
    }

    fn master_died(&mut self, at: usize, how: &str) {
        // What it said last counts: that it failed, or that it serves.
        let number = self.generations[at].number;
        // No more than a master ever says: its end may have been left open in another process.
        for _ in 0..LAST_WORDS {
            if !self.hear(number) {
                break;
            }
        }
        let dead = self.generations.remove(at);
        match dead.state {
            State::Loading | State::Starting => {
                let pid = dead.pid;
                crate::error!(
                    self.log,
                    "The master of generation {number} (PID {pid}) {how} before it served"
                );
                self.candidate_failed(number);
            }
            State::Serving if self.stopping.is_none() => self.schedule_replacement(&dead, how),
            State::Serving | State::Draining(_) | State::Cut(_) | State::Orphaned => {
                crate::info!(self.log, "Generation {number} has ended");
            }
        }
        self.carry_counts_of(&dead);
        self.orphans.extend(Orphans::of(dead));
        self.drains(number);
        self.listed(number, 0);
    }

    fn schedule_replacement(&mut self, dead: &Generation, how: &str) {
        let pause = self.back_off.died(dead.started.elapsed());
        crate::error!(
            self.log,
            "The master of generation {} (PID {}) {how}; starting another in {} ms",
            dead.number,
            dead.pid,
            pause.as_millis()
        );
        self.replace_at = Some(Instant::now() + pause);
    }

    /// Tells the masters where these helpers are.
    pub(super) fn introduce(&mut self, kinds: &[Kind]) {
        let mut heard = Heard::default();
        for &kind in kinds.iter().filter(|kind| kind.is_asked()) {
            let Some(channel) = self.helpers.channel(kind) else {
                continue;
            };
            heard.add(self.pass_down(&ToMaster::Helper(kind), channel.as_fd()));
        }
        self.send_again_unless(&heard);
    }

    /// Starts helpers whose time has come, and tells the masters.
    pub(super) fn start_due_helpers(&mut self, now: Instant) {
        let started = self.with_helpers(|helpers, start| helpers.start_due(now, start));
        self.introduce(&started);
    }

    /// Starts helpers that died just now: a candidate could look up nothing.
    pub(super) fn start_missing_helpers(&mut self) {
        let started = self.with_helpers(Helpers::start_missing);
        self.introduce(&started);
    }

    /// Replaces helpers that the new configuration has other wishes for.
    pub(super) fn renew_helpers(&mut self, old: &Global) {
        let started = self.with_helpers(|helpers, start| helpers.renew(old, start));
        self.introduce(&started);
    }

    fn with_helpers(
        &mut self,
        act: impl FnOnce(&mut Helpers, Start<'_>) -> Vec<Kind>,
    ) -> Vec<Kind> {
        let common = &mut self.common;
        let (generations, orphans) = (&mut self.generations, &mut self.orphans);
        // Counts, and what resumption needs, are nothing that a helper may write to or know.
        let mut forget = || {
            generations.clear();
            orphans.clear();
            common.resumption.forget()?;
            common.connections = SharedWords::new(1)?;
            Ok(())
        };
        let start = Start {
            global: &self.config.global,
            leash: &common.leash,
            metrics: self.metrics.as_ref(),
            forget: &mut forget,
            log: self.log,
        };
        let started = act(&mut self.helpers, start);
        if started.contains(&Kind::Teller) {
            self.told = Told::default();
        }
        started
    }
}

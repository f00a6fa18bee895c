//! Children that died: what each death means, and who is started in their place.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::generation::{Generation, State};
use super::orphans::Orphans;
use super::running::Supervisor;
use crate::children;
use crate::helper::process::Resolver;
use crate::ipc::words::ToMaster;
use crate::log::Reason;

/// Pause before a resolver that could not be started is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Words that are still heard from a master that has died.
const LAST_WORDS: usize = 16;

impl Supervisor {
    /// Takes note of every child that has died.
    pub(super) fn reap(&mut self) {
        while let Some(children::Death { pid, well, how }) = children::reap() {
            if self.resolver.pid == Some(pid) {
                self.resolver.pid = None;
                if self.stopping.is_none() {
                    crate::warning!(self.log, "The resolver (PID {pid}) {how}; starting another");
                    self.resolver_at = Some(Instant::now() + self.resolver.pause());
                }
            } else if self.rehearsal_ended(pid, well, &how) {
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

    /// Tells the masters where the resolver is.
    pub(super) fn introduce_resolver(&mut self) {
        let heard = self.pass_down(&ToMaster::Resolver, self.resolver.channel.as_fd());
        self.send_again_unless(&heard);
    }

    /// Starts another resolver and tells the masters.
    pub(super) fn restart_resolver(&mut self) {
        self.resolver_at = None;
        match Resolver::start(&self.config.global, &self.common.leash, self.log) {
            Ok(resolver) => {
                self.resolver = resolver;
                self.introduce_resolver();
            }
            Err(error) => {
                crate::error!(
                    self.log,
                    "The resolver cannot be started: {}",
                    Reason(&error)
                );
                self.resolver_at = Some(Instant::now() + RETRY);
            }
        }
    }
}

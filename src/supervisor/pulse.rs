//! Whether the master that serves still goes round its loop: it is asked whenever systemd's watchdog is
//! fed, and whenever somebody asks for the status. One that does not answer is replaced; while nobody
//! wants to know, nothing wakes up.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::generation::State;
use super::running::Supervisor;
use crate::ipc::words::{ToMaster, say_now};

/// How long a master may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Woken so much later than wanted, this process was stopped itself, or the machine slept: then nothing
/// is known of the master.
const LATE: Duration = Duration::from_secs(1);

/// A question that is not answered yet.
#[derive(Debug)]
pub struct Asked {
    generation: u64,
    until: Instant,
}

impl Asked {
    /// When patience ends.
    pub fn deadline(&self) -> Instant {
        self.until
    }
}

impl Supervisor {
    /// Asks the master that serves, unless it was asked already.
    pub(super) fn ask_master(&mut self, now: Instant) {
        if self.asked.is_some() {
            return;
        }
        let serving = |state| state == State::Serving;
        let mut serving = self.generations.iter().filter(|g| serving(g.state));
        if let Some(generation) = serving.next() {
            // One that is not there, or whose queue is full, does not answer either.
            let _ = say_now(&generation.channel, &ToMaster::Ask, &[]);
            self.asked = Some(Asked {
                generation: generation.number,
                until: now + PATIENCE,
            });
        }
    }

    /// A master answered.
    pub(super) fn answered(&mut self, number: u64) {
        self.asked.take_if(|asked| asked.generation == number);
    }

    /// Kills a master that does not answer; its death, which SIGCHLD tells, has another started.
    pub(super) fn watch_master(&mut self, now: Instant) {
        let Some(asked) = self.asked.take_if(|asked| asked.until <= now) else {
            return;
        };
        if now.duration_since(asked.until) > LATE {
            self.asked = Some(Asked {
                until: now + PATIENCE,
                ..asked
            });
            return;
        }
        let number = asked.generation;
        let serving = |g: &&mut super::generation::Generation| g.state == State::Serving;
        if let Some(generation) = self.generation(number).filter(serving) {
            let pid = generation.pid;
            // Not reaped yet, or it would not stand there, so the number is still its own.
            let _ = kill(pid, Signal::SIGKILL);
            crate::error!(
                self.log,
                "The master of generation {number} (PID {pid}) stands still: it is killed"
            );
        }
    }
}

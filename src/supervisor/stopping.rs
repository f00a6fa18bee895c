//! The end: every generation is told, given its time, and at last killed; then nothing is left behind.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::generation::State;
use super::running::Supervisor;

/// How long masters may take to end after their connections were cut.
const PATIENCE: Duration = Duration::from_secs(5);

/// Stopping under way.
#[derive(Debug)]
pub struct Stopping {
    status: u8,
    deadline: Instant,
    /// Connections are waited for.
    drains: bool,
}

impl Stopping {
    /// When what is left is killed.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Supervisor {
    /// A signal to end: connections have `drainTimeout`, or none; a second signal cuts them.
    pub(super) fn stop(&mut self, signal: &str) {
        crate::notice!(self.log, "Received {signal}; terminating");
        let patience = match (&self.stopping, self.config.global.drain_timeout) {
            (None, Some(drain)) => drain,
            _ => Duration::ZERO,
        };
        self.end_all(0, patience);
    }

    /// The first generation failed: nothing serves, so nothing is left to do.
    pub(super) fn give_up(&mut self) {
        self.end_all(1, Duration::ZERO);
    }

    fn end_all(&mut self, status: u8, drain: Duration) {
        if let Some(transition) = self.transition.take() {
            transition.roll_back();
        }
        self.replace_at = None;
        self.end_rehearsal();
        for generation in &mut self.generations {
            match generation.state {
                State::Serving | State::Draining(_) if !drain.is_zero() => {
                    generation.drain();
                }
                _ => generation.cut(),
            }
        }
        self.listeners.close();
        // Twice, so that the manager is not the first to lose it.
        self.notifier.stopping(drain + 2 * PATIENCE);
        self.stopping = Some(Stopping {
            status,
            deadline: Instant::now() + drain + PATIENCE,
            drains: !drain.is_zero(),
        });
    }

    /// The exit status once everything has ended, or had its time.
    pub(super) fn finished(&mut self) -> Option<ExitCode> {
        let stopping = self.stopping.as_ref()?;
        // Orphans hear no word; they go with this process.
        let waits = !self.generations.is_empty() || (stopping.drains && !self.orphans.is_empty());
        if waits && Instant::now() < stopping.deadline {
            return None;
        }
        for generation in &self.generations {
            crate::warning!(self.log, "Generation {} is killed", generation.number);
            // Its workers and the helpers follow when the leash is gone.
            let _ = kill(generation.pid, Signal::SIGKILL);
        }
        let status = stopping.status;
        self.helpers.kill();
        if let Some(metrics) = self.metrics.take() {
            metrics.remove();
        }
        if let Some(control) = self.control.take() {
            control.remove();
        }
        if let Some(pid_file) = self.pid_file.take() {
            pid_file.remove();
        }
        if status == 0 {
            crate::notice!(self.log, "Terminated");
        }
        Some(ExitCode::from(status))
    }
}

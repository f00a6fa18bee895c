//! When a reload is wanted: with this binary, or with a new one that has shown that it can.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::running::Supervisor;
use super::takeover;
use super::transition::Why;
use crate::log::Reason;

/// How long a new binary may rehearse: longer than names may take to resolve.
const PATIENCE: Duration = Duration::from_secs(45);

/// How far the trial of a new binary has come.
pub enum Rehearsal {
    /// It runs as this process, is killed then, and leaves its proof there.
    Running(Pid, Instant, PipeReader),
    /// It may take over.
    Passed,
    /// It may not.
    Failed,
}

impl Rehearsal {
    fn is(&self, child: Pid) -> bool {
        matches!(self, Rehearsal::Running(pid, ..) if *pid == child)
    }

    /// When its patience ends.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Rehearsal::Running(_, deadline, _) => Some(*deadline),
            Rehearsal::Passed | Rehearsal::Failed => None,
        }
    }
}

impl Supervisor {
    /// Begins a reload if one is wanted; with a new binary, where there is one that is good.
    pub(super) fn reload(&mut self) {
        match self.rehearsal.take() {
            Some(Rehearsal::Passed) => {
                let error = self.take_over();
                crate::error!(
                    self.log,
                    "The new binary cannot be executed: {}",
                    Reason(&error)
                );
                self.begin(Why::Reload);
            }
            Some(Rehearsal::Failed) => {
                crate::error!(self.log, "The running binary goes on");
                self.begin(Why::Reload);
            }
            None if self.reload_wanted => {
                self.reload_wanted = false;
                // What came by a descriptor cannot be read a second time.
                match takeover::is_newer() && self.sources.text.is_none() {
                    true => self.begin_rehearsal(),
                    false => self.begin(Why::Reload),
                }
            }
            running => self.rehearsal = running,
        }
    }

    /// Ends a trial: it holds the listeners and the leash like this process.
    pub(super) fn end_rehearsal(&mut self) {
        if let Some(Rehearsal::Running(pid, ..)) = self.rehearsal.take() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }

    /// Whether a reload is wanted or under way.
    pub(super) fn is_reloading(&self) -> bool {
        self.reload_wanted
            || self.rehearsal.is_some()
            || self.transition.is_some()
            || self.handover.is_some()
    }

    fn begin_rehearsal(&mut self) {
        self.notifier.reloading();
        match self.rehearse() {
            Ok((pid, proof)) => {
                crate::notice!(self.log, "There is a new binary: it rehearses as PID {pid}");
                let deadline = Instant::now() + PATIENCE;
                self.rehearsal = Some(Rehearsal::Running(pid, deadline, proof));
            }
            Err(error) => {
                crate::error!(
                    self.log,
                    "The new binary cannot rehearse: {}",
                    Reason(&error)
                );
                self.begin(Why::Reload);
            }
        }
    }

    /// A child ended; whether it was the one that rehearsed.
    pub(super) fn rehearsal_ended(&mut self, ended: Pid, well: bool, how: &str) -> bool {
        let Some(Rehearsal::Running(_, _, proof)) = self.rehearsal.as_mut().filter(|r| r.is(ended))
        else {
            return false;
        };
        // Another program than adit may end well too.
        let proven = well && takeover::is_proven(proof);
        self.rehearsal = Some(if proven {
            crate::notice!(self.log, "The new binary can take over");
            Rehearsal::Passed
        } else {
            crate::error!(
                self.log,
                "The new binary's rehearsal {how}: it cannot take over"
            );
            Rehearsal::Failed
        });
        true
    }

    /// Kills a new binary that takes too long.
    pub(super) fn watch_rehearsal(&mut self, now: Instant) {
        if let Some(Rehearsal::Running(pid, deadline, _)) = &mut self.rehearsal
            && *deadline <= now
        {
            // Its end, which SIGCHLD tells, says the rest.
            let _ = kill(*pid, Signal::SIGKILL);
            *deadline = now + PATIENCE;
        }
    }
}

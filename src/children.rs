//! What a parent process does about children that die; used by the supervisor and by masters.
#![forbid(unsafe_code)]

use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A process that lived for less than this died fast.
const FAST: Duration = Duration::from_secs(5);
/// The longest pause before a process that keeps dying is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Death {
    /// The process that died.
    pub pid: Pid,
    /// Whether it exited with status 0.
    pub well: bool,
    /// For the log: `was killed by SIGKILL`.
    pub how: String,
    /// As waitpid(2) tells it.
    pub status: WaitStatus,
}

/// Reaps the next dead child, if there is one; never waits.
pub(crate) fn reap() -> Option<Death> {
    loop {
        let status = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(status) => status,
        };
        if let (Some(pid), Some(how)) = (status.pid(), how(&status)) {
            let well = matches!(status, WaitStatus::Exited(_, 0));
            return Some(Death {
                pid,
                well,
                how,
                status,
            });
        }
    }
}

/// How a child ended, for the log; `None` if it has not ended.
pub(crate) fn how(status: &WaitStatus) -> Option<String> {
    match status {
        WaitStatus::Exited(_, 0) => Some("ended".to_owned()),
        WaitStatus::Exited(_, code) => Some(format!("failed with status {code}")),
        WaitStatus::Signaled(_, signal, _) => Some(format!("was killed by {signal}")),
        _ => None,
    }
}

/// What the log says of a program of `exec` that has ended, in stunnel's words; `None` if it has not.
pub(crate) fn of_program(status: &WaitStatus) -> Option<String> {
    match status {
        WaitStatus::Exited(pid, code) => {
            Some(format!("Child process {pid} finished with code {code}"))
        }
        WaitStatus::Signaled(pid, signal, _) => {
            Some(format!("Child process {pid} terminated on {signal}"))
        }
        _ => None,
    }
}

/// The pause before a process is started again: none, unless it keeps dying fast.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BackOff {
    /// Fast deaths in a row.
    fast: u32,
}

impl BackOff {
    /// Records a death after this lifetime; returns the pause before the next start.
    pub(crate) fn died(&mut self, lived: Duration) -> Duration {
        self.fast = if lived < FAST { self.fast + 1 } else { 0 };
        match self.fast {
            0 | 1 => Duration::ZERO,
            n => LONGEST_PAUSE.min(Duration::from_millis(100) * 2u32.saturating_pow(n - 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_no_time_and_many_fast_ones_cost_more_up_to_a_bound() {
        let mut back_off = BackOff::default();
        let fast = Duration::from_millis(10);
        assert_eq!(back_off.died(fast), Duration::ZERO);
        assert_eq!(back_off.died(fast), Duration::from_millis(100));
        assert_eq!(back_off.died(fast), Duration::from_millis(200));
        let pauses: Vec<_> = (0..100).map(|_| back_off.died(fast)).collect();
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
        assert_eq!(back_off.died(Duration::from_mins(1)), Duration::ZERO);
        assert_eq!(back_off.died(fast), Duration::ZERO);
    }
}

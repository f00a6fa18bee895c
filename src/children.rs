//! What a parent process does about children that die; used by the supervisor and by masters.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Deaths that are no further apart than this come fast; a pause that was kept between them does not count.
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

/// The pause before a process is started again: none, unless deaths come fast. How old the dead were does not
/// matter: young ones that die an hour apart are no crash loop.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BackOff {
    /// Deaths in a row that came fast.
    row: u32,
    /// When the pause after the last one was over.
    go_on: Option<Instant>,
}

impl BackOff {
    /// Records a death; returns the pause before the next start.
    pub(crate) fn died(&mut self, now: Instant) -> Duration {
        let is_fast = self.go_on.is_some_and(|at| now < at + FAST);
        self.row = if is_fast {
            self.row.saturating_add(1)
        } else {
            1
        };
        let pause = match self.row {
            0 | 1 => Duration::ZERO,
            n => LONGEST_PAUSE.min(Duration::from_millis(100) * 2u32.saturating_pow(n - 2)),
        };
        self.go_on = Some(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_no_time_and_many_fast_ones_cost_more_up_to_a_bound() {
        let (mut back_off, mut now) = (BackOff::default(), Instant::now());
        let mut after = |pause: Duration| {
            now += pause;
            back_off.died(now)
        };
        let fast = Duration::from_millis(10);
        assert_eq!(after(fast), Duration::ZERO);
        assert_eq!(after(fast), Duration::from_millis(100));
        // The pause that was kept is no sign of health.
        let mut pause = after(fast + Duration::from_millis(100));
        assert_eq!(pause, Duration::from_millis(200));
        for _ in 0..100 {
            pause = after(fast + pause);
        }
        assert_eq!(pause, LONGEST_PAUSE);
        assert_eq!(after(pause + FAST), Duration::ZERO);
        assert_eq!(after(fast), Duration::from_millis(100));
    }

    #[test]
    fn deaths_that_are_far_apart_never_add_up() {
        let (mut back_off, now) = (BackOff::default(), Instant::now());
        for hour in 0..100 {
            let at = now + Duration::from_hours(hour);
            assert_eq!(back_off.died(at), Duration::ZERO);
        }
    }
}

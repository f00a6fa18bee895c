//! Workers whose master has died. They let their connections end, and go; until then they are shown,
//! and an end that waits for connections waits for theirs.

use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use super::generation::Generation;
use crate::ipc::scoreboard::Scoreboard;

/// The rest of a generation.
#[derive(Debug)]
pub(super) struct Orphans {
    /// What it was; its master is dead.
    pub generation: Generation,
    /// Its workers that live.
    pub workers: Vec<Pid>,
}

impl Orphans {
    /// Those that a master left which has just died and was reaped; `None`: there is none. `is_known`: a process
    /// has another role.
    pub(super) fn of(
        mut generation: Generation,
        is_known: impl Fn(Pid) -> bool,
    ) -> Option<Orphans> {
        generation.hears = false;
        let board = &generation.scoreboard;
        end_zygote(board, &is_known);
        let pids = (0..board.workers()).map(|index| board.worker(index).pid().load(Relaxed));
        // Whose number it is a worker says itself; it counts if that is a child of ours, as all are
        // by now (prctl(2), PR_SET_CHILD_SUBREAPER), and has no other role: any worker can write there.
        let workers: Vec<Pid> = pids
            .filter_map(|pid| i32::try_from(pid).ok().filter(|&pid| pid > 0))
            .map(Pid::from_raw)
            .filter(|&pid| is_child(pid) && !is_known(pid))
            .collect();
        (!workers.is_empty()).then_some(Orphans {
            generation,
            workers,
        })
    }

    /// Connections that they have.
    pub(super) fn active(&self) -> u64 {
        let board = &self.generation.scoreboard;
        let active = (0..board.workers()).map(|index| board.worker(index).active().load(Relaxed));
        active.fold(0, u64::saturating_add)
    }

    /// They end when this process has, but for one that SIGSTOP has stopped: it would be left behind.
    pub(super) fn wake(&self) {
        for worker in &self.workers {
            // A child that was not reaped yet, so the number is its own.
            let _ = kill(*worker, Signal::SIGCONT);
        }
    }

    /// One has ended, if it was one of them.
    pub(super) fn ended(&mut self, pid: Pid) {
        self.workers.retain(|worker| *worker != pid);
        let board = &self.generation.scoreboard;
        for index in 0..board.workers() {
            if i64::try_from(board.worker(index).pid().load(Relaxed)) == Ok(pid.as_raw().into()) {
                board.clear_active(index);
            }
        }
    }
}

/// Ends the process that the old workers are forks of: without its master it has nothing to do, and may stand
/// still. Only then they are children of ours.
fn end_zygote(board: &Scoreboard, is_known: impl Fn(Pid) -> bool) {
    let zygotes = (0..board.workers()).map(|index| board.worker(index).zygote().load(Relaxed));
    let Some(zygote) = zygotes.max().filter(|&pid| pid > 0) else {
        return;
    };
    let zygote = i32::try_from(zygote).map(Pid::from_raw);
    let is_one = |&pid: &Pid| is_child(pid) && !is_known(pid);
    if let Some(zygote) = zygote.ok().filter(is_one) {
        // Not reaped yet, so the number is its own. What gets this signal ends at once.
        let _ = kill(zygote, Signal::SIGKILL);
        let _ = waitpid(zygote, None);
    }
}

/// Whether it is a child of this process, dead or alive.
pub(super) fn is_child(pid: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(pid), look), Err(Errno::ECHILD))
}

//! Proof from inside that a sandbox is in force: the kernel says so, and what must fail is tried. Never in here: a
//! trial for which the filters kill.
#![expect(unsafe_code, reason = "prctl(2) and fork(2)")]

use std::fs;
use std::io::{Read, Seek};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};

use super::SandboxError;

/// Proof that this process is in the sandbox of its role, as far as the kernel has one. What is missing is no
/// secret: see [`super::Strength`].
#[derive(Debug)]
pub(crate) struct Sandboxed(());

/// Which parts are in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub seccomp: bool,
    pub landlock: bool,
}

/// Whether a role makes processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forks {
    Yes,
    No,
}

/// Filters of one sandbox.
const FILTERS: usize = 3;

/// What is looked at before.
#[derive(Debug)]
pub(super) struct Before {
    /// `/proc/self/status`, where /proc is visible: in a jail it is not. And its number of filters.
    status: Option<(fs::File, usize)>,
}

impl Before {
    pub(super) fn look() -> Before {
        let opened = fs::File::open("/proc/self/status").ok();
        let counted = opened.and_then(|mut status| {
            let count = filters(&mut status)?;
            Some((status, count))
        });
        Before { status: counted }
    }

    /// Holds the kernel to what it has put into force.
    ///
    /// # Errors
    /// Something is possible that must not be.
    pub(super) fn prove(self, parts: Parts, forks: Forks) -> Result<Sandboxed, SandboxError> {
        let failed = |what: &str| {
            Err(SandboxError {
                mechanism: "proof",
                reason: format!("refusing to run: {what}"),
            })
        };
        if parts.landlock && can_open(OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            return failed("a folder can still be opened");
        }
        if !parts.seccomp {
            return Ok(Sandboxed(()));
        }
        if !is_filtered() {
            return failed("the kernel says that there is no seccomp filter");
        }
        if let Some((mut status, before)) = self.status
            && filters(&mut status).is_some_and(|now| now != before + FILTERS)
        {
            return failed("the number of seccomp filters is wrong");
        }
        if can_open(OFlag::O_WRONLY) {
            return failed("a file can still be opened for writing");
        }
        if forks == Forks::No && can_fork() {
            return failed("a process can still be created");
        }
        Ok(Sandboxed(()))
    }
}

/// `Seccomp_filters`, since Linux 5.9.
fn filters(status: &mut fs::File) -> Option<usize> {
    let mut text = String::new();
    status.rewind().ok()?;
    status.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("Seccomp_filters:"))?;
    count.trim().parse().ok()
}

/// Whether the kernel says that filters are in force; one that does not know the question has none of our filters
/// either, but another's may forbid it.
fn is_filtered() -> bool {
    // SAFETY: PR_GET_SECCOMP takes nothing.
    let mode = Errno::result(unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) });
    mode.map_or(true, |mode| mode == libc::SECCOMP_MODE_FILTER as i32)
}

/// The root directory is always there. Without a filter a folder cannot be written to either, but for another
/// reason.
fn can_open(how: OFlag) -> bool {
    match open("/", how | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(_) | Err(Errno::EISDIR) => true,
        Err(_) => false,
    }
}

fn can_fork() -> bool {
    // SAFETY: a child would end at once, and this process has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => crate::process::exit(0),
        Ok(ForkResult::Parent { child }) => {
            let _ = waitpid(child, None);
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a jail /proc shows nothing, so these are all that there is.
    #[test]
    fn without_a_sandbox_each_proof_fails() {
        let before = || Before { status: None };
        let none = Parts {
            seccomp: false,
            landlock: false,
        };
        before().prove(none, Forks::No).unwrap();
        let refused = |parts| before().prove(parts, Forks::No).unwrap_err().to_string();
        let seccomp = Parts {
            seccomp: true,
            ..none
        };
        // The kernel's word, or where the runner has filters itself, the trial.
        let said = refused(seccomp);
        assert!(said.contains("refusing to run: "), "{said}");
        let landlock = Parts {
            landlock: true,
            ..none
        };
        assert!(refused(landlock).contains("a folder can still be opened"));
        assert!(can_open(OFlag::O_WRONLY), "told by EISDIR");
        assert!(can_fork());
        let before = Before::look();
        assert!(before.status.is_none_or(|(_, count)| count < 64));
    }
}

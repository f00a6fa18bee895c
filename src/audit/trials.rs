//! What a process is tried to do, from inside. What its filters let through is done only if that changes nothing, and
//! what they would kill it for is not done at all: then the filters, which the kernel hands out, tell. Never in here:
//! a trial that could end a process, or leave something behind.
#![forbid(unsafe_code)]

use std::io;

use nix::errno::Errno;
use serde::Serialize;

use super::filter::{self, Action, Call, Filter};
use super::process::Process;
use super::tracee::Tracee;

/// A call that an intruder would make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// Opening a folder that exists, `/`, to read it.
    Open,
    Mkdir,
    Fork,
    Exec,
    /// A TCP socket.
    Socket,
    /// Of a descriptor that is none: EBADF is what comes of a call that is let through.
    Connect,
    /// Of another process of adit.
    Ptrace,
    /// Signal 0, to another process of adit.
    Kill,
    /// To be root.
    SetUid,
    /// Memory that can be written to and executed.
    WriteExec,
}

/// Every one, in the order of the table.
pub(super) const ALL: [Trial; 10] = [
    Trial::Open,
    Trial::Mkdir,
    Trial::Fork,
    Trial::Exec,
    Trial::Socket,
    Trial::Connect,
    Trial::Ptrace,
    Trial::Kill,
    Trial::SetUid,
    Trial::WriteExec,
];

/// What came of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    /// As [`Trial::name`].
    pub call: &'static str,
    /// An error's name, `killed`, or `allowed`.
    pub answer: String,
    /// Whether the process may.
    pub allowed: bool,
    /// Whether it was done, or read from the filters alone.
    pub tried: bool,
}

impl Trial {
    /// The system call's name, and `mmap` for memory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Trial::Open => "open",
            Trial::Mkdir => "mkdir",
            Trial::Fork => "fork",
            Trial::Exec => "exec",
            Trial::Socket => "socket",
            Trial::Connect => "connect",
            Trial::Ptrace => "ptrace",
            Trial::Kill => "kill",
            Trial::SetUid => "setuid",
            Trial::WriteExec => "mmap",
        }
    }

    fn call(self, path: u64, sibling: u64) -> Call {
        let here = libc::AT_FDCWD as u64;
        let (number, arguments) = match self {
            Trial::Open => {
                let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
                (libc::SYS_openat, [here, path, flags as u64, 0, 0, 0])
            }
            Trial::Mkdir => (libc::SYS_mkdirat, [here, path, 0o700, 0, 0, 0]),
            Trial::Fork => (libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
            Trial::Exec => (libc::SYS_execve, [path, 0, 0, 0, 0, 0]),
            Trial::Socket => {
                let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
                (libc::SYS_socket, [libc::AF_INET as u64, kind, 0, 0, 0, 0])
            }
            Trial::Connect => (libc::SYS_connect, [u64::MAX, 0, 0, 0, 0, 0]),
            Trial::Ptrace => {
                let attach = u64::from(libc::PTRACE_ATTACH);
                (libc::SYS_ptrace, [attach, sibling, 0, 0, 0, 0])
            }
            Trial::Kill => (libc::SYS_kill, [sibling, 0, 0, 0, 0, 0]),
            Trial::SetUid => (libc::SYS_setuid, [0; 6]),
            Trial::WriteExec => {
                let access = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
                let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
                (libc::SYS_mmap, [0, PAGE, access, flags, u64::MAX, 0])
            }
        };
        Call { number, arguments }
    }

    /// Whether it changes nothing, once it is undone.
    fn is_harmless(self) -> bool {
        match self {
            Trial::Open | Trial::Socket | Trial::Connect | Trial::Kill | Trial::WriteExec => true,
            Trial::Mkdir | Trial::Fork | Trial::Exec | Trial::Ptrace | Trial::SetUid => false,
        }
    }

    /// What undoes one that has succeeded.
    fn undoing(self, result: u64) -> Option<Call> {
        let (number, arguments) = match self {
            Trial::Open | Trial::Socket => (libc::SYS_close, [result, 0, 0, 0, 0, 0]),
            Trial::WriteExec => (libc::SYS_munmap, [result, PAGE, 0, 0, 0, 0]),
            _ => return None,
        };
        Some(Call { number, arguments })
    }
}

const PAGE: u64 = 4096;

/// Tries everything in this process, which stands still for that.
pub(super) fn run(
    process: &mut Process,
    sibling: Option<i32>,
    note: &mut impl FnMut(&'static str, &io::Error),
) {
    match Inside::of(process).and_then(|mut inside| inside.try_all(process, sibling)) {
        Ok(()) => {}
        Err(error) => note("what it may do", &error),
    }
}

/// A process that stands still, and its filters.
struct Inside {
    tracee: Tracee,
    filters: Vec<Filter>,
    path: u64,
}

impl Inside {
    fn of(process: &Process) -> io::Result<Inside> {
        let tracee = Tracee::stop(process.pid, process.started)?;
        let filters = match process.seccomp {
            0 => Vec::new(),
            _ => tracee.filters().map_err(|error| {
                // Without them it is not known what would kill it.
                let reason = crate::log::Reason(&error);
                let text = format!(
                    "its seccomp filters cannot be read: {reason} (run this as root, outside a container)"
                );
                io::Error::new(error.kind(), text)
            })?,
        };
        let path = tracee.write(b"/\0")?;
        Ok(Inside {
            tracee,
            filters,
            path,
        })
    }

    fn try_all(&mut self, process: &mut Process, sibling: Option<i32>) -> io::Result<()> {
        let get_dumpable = Call {
            number: libc::SYS_prctl,
            arguments: [libc::PR_GET_DUMPABLE as u64, 0, 0, 0, 0, 0],
        };
        if filter::answer(&self.filters, &get_dumpable) == Some(Action::Allow) {
            process.dumpable = match self.tracee.call(&get_dumpable)? {
                0 => Some(false),
                1.. => Some(true),
                _ => None,
            };
        }
        for trial in ALL {
            let needs_other = matches!(trial, Trial::Ptrace | Trial::Kill);
            let sibling = match sibling {
                None if needs_other => continue,
                sibling => sibling.unwrap_or_default().unsigned_abs().into(),
            };
            if let Some(tried) = self.attempt(trial, sibling)? {
                process.trials.push(tried);
            }
        }
        process.landlock = self.landlock(process);
        Ok(())
    }

    fn attempt(&mut self, trial: Trial, sibling: u64) -> io::Result<Option<Outcome>> {
        let call = trial.call(self.path, sibling);
        let said = |answer: String, allowed, tried| Outcome {
            call: trial.name(),
            answer,
            allowed,
            tried,
        };
        let let_through = match filter::answer(&self.filters, &call) {
            Some(Action::Kill) => return Ok(Some(said("killed".to_owned(), false, false))),
            Some(Action::Errno(_)) => false,
            Some(Action::Allow) if !trial.is_harmless() => {
                return Ok(Some(said("allowed".to_owned(), true, false)));
            }
            Some(Action::Allow) => true,
            Some(Action::AskedElsewhere) | None => return Ok(None),
        };
        let result = self.tracee.call(&call)?;
        let Some(errno) = errno(result) else {
            if let Some(undoing) = trial.undoing(result.cast_unsigned()) {
                self.tracee.call(&undoing)?;
            }
            return Ok(Some(said("allowed".to_owned(), true, true)));
        };
        let allowed = let_through && trial == Trial::Connect && errno == Errno::EBADF;
        Ok(Some(match allowed {
            true => said("allowed".to_owned(), true, true),
            false => said(format!("{errno:?}"), false, true),
        }))
    }

    /// EACCES of a folder that all may read, which the filters let through, comes from landlock.
    fn landlock(&self, process: &Process) -> Option<bool> {
        use std::os::unix::fs::MetadataExt;
        let open = Trial::Open.call(self.path, 0);
        if filter::answer(&self.filters, &open) != Some(Action::Allow) {
            return None;
        }
        let root = std::fs::metadata(format!("/proc/{}/root", process.pid)).ok()?;
        let mut trials = process.trials.iter();
        let opened = trials.find(|tried| tried.call == Trial::Open.name())?;
        match opened.allowed {
            true => Some(false),
            false => (root.mode() & 0o004 != 0).then_some(opened.answer == "EACCES"),
        }
    }
}

/// What a negative result means: the kernel's errors are above -4096.
fn errno(result: i64) -> Option<Errno> {
    (-4095..0)
        .contains(&result)
        .then(|| Errno::from_raw(-result as i32))
}

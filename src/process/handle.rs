//! A handle on a process that is no child of this one. A bare number would not do: once the process has
//! ended, the kernel may give its number to another.
#![expect(unsafe_code, reason = "pidfd_open(2) and pidfd_send_signal(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ipc::wait::wait;
use crate::step::NameStep;

/// How often to check whether a process has ended, where no descriptor reports it.
const LOOK: Duration = Duration::from_millis(20);

/// One process, and never another that was given its number later.
#[derive(Debug)]
pub(crate) enum Handle {
    /// pidfd_open(2), since Linux 5.3, and the process's number.
    Descriptor(OwnedFd, Pid),
    /// The number and the start time: a later process with this number started later.
    Number(Pid, u64),
}

impl Handle {
    /// The process that has this number now.
    ///
    /// # Errors
    /// There is none; without pidfd_open(2), /proc cannot be read.
    pub(crate) fn of(pid: Pid) -> io::Result<Handle> {
        // SAFETY: pidfd_open(2) takes two numbers.
        let made = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        match Errno::result(made) {
            Ok(made) => {
                let number = i32::try_from(made).map_err(io::Error::other)?;
                // SAFETY: the kernel has just opened it for this call, and nothing else owns it.
                let opened = unsafe { OwnedFd::from_raw_fd(number) };
                Ok(Handle::Descriptor(opened, pid))
            }
            // EPERM comes from a seccomp filter that does not know the call.
            Err(Errno::ENOSYS | Errno::EPERM) => Ok(Handle::Number(pid, began(pid)?)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended, or this user may not.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Handle::Descriptor(handle, pid) => match signal_through(handle, signal) {
                // A filter may know pidfd_open(2) alone. A real EPERM comes again from kill(2).
                Err(Errno::ENOSYS | Errno::EPERM) if !has_ended(handle)? => kill(*pid, signal)?,
                sent => sent?,
            },
            Handle::Number(pid, at) if began(*pid)? == *at => kill(*pid, signal)?,
            Handle::Number(..) => return Err(Errno::ESRCH.into()),
        }
        Ok(())
    }

    /// Waits until the process has ended, however long that takes.
    ///
    /// # Errors
    /// What poll(2) gives.
    pub(crate) fn wait_for_end(&self) -> io::Result<()> {
        match self {
            Handle::Descriptor(handle, _) => {
                let mut ended = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
                while wait(&mut ended, PollTimeout::NONE)? == 0 {}
            }
            Handle::Number(pid, at) => {
                while began(*pid).is_ok_and(|began| began == *at) {
                    sleep(LOOK);
                }
            }
        }
        Ok(())
    }
}

/// pidfd_send_signal(2).
fn signal_through(handle: &OwnedFd, signal: Signal) -> nix::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel reads nothing from memory.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            handle.as_raw_fd(),
            signal as i32,
            no_info,
            0,
        )
    };
    Errno::result(sent).map(drop)
}

fn has_ended(handle: &OwnedFd) -> io::Result<bool> {
    let mut ended = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    Ok(wait(&mut ended, PollTimeout::ZERO)? != 0)
}

/// When a running process was started, in clock ticks since boot.
fn began(pid: Pid) -> io::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Errno::ESRCH.into()),
        read => read.step(format_args!("reading {path}"))?,
    };
    // proc_pid_stat(5): the state is field 3, the start time field 22. The name in field 2 may contain
    // blanks, so count from its closing bracket.
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    match fields.next() {
        Some("Z" | "X") | None => Err(Errno::ESRCH.into()),
        Some(_) => {
            let start = fields.nth(18).and_then(|field| field.parse().ok());
            start.ok_or_else(|| io::Error::other(format!("{path} is not understood")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn by_its_number_a_process_is_signalled_and_its_end_awaited() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let process = Handle::Number(pid, began(pid).unwrap());
        let earlier = Handle::Number(pid, 0);
        let refused = earlier.signal(Signal::SIGKILL).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ESRCH), "it was another");
        process.signal(Signal::SIGKILL).unwrap();
        // A zombie counts as ended.
        process.wait_for_end().unwrap();
        child.wait().unwrap();
        assert!(process.signal(Signal::SIGKILL).is_err());
    }
}

//! A process that is not a child of ours, meant itself: its number may be given to another one once it
//! has ended.
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

/// How often it is looked whether a process has ended, where no descriptor tells.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub enum Handle {
    /// pidfd_open(2), from Linux 5.3 on, and its number.
    Descriptor(OwnedFd, Pid),
    /// Its number, and when it began: another one with this number began later.
    Number(Pid, u64),
}

impl Handle {
    /// Of the process that has this number now.
    ///
    /// # Errors
    /// There is none; without pidfd_open(2), /proc cannot be read.
    pub fn of(pid: Pid) -> io::Result<Handle> {
        // SAFETY: pidfd_open(2) takes two numbers.
        let made = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        match Errno::result(made) {
            Ok(made) => {
                let number = i32::try_from(made).map_err(io::Error::other)?;
                // SAFETY: the kernel has just opened it, for this call alone.
                let opened = unsafe { OwnedFd::from_raw_fd(number) };
                Ok(Handle::Descriptor(opened, pid))
            }
            // EPERM: from a filter of system calls that does not know it.
            Err(Errno::ENOSYS | Errno::EPERM) => Ok(Handle::Number(pid, began(pid)?)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended, or this user may not.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Handle::Descriptor(handle, pid) => match signal_through(handle, signal) {
                // A filter may know pidfd_open(2) alone. An EPERM that is meant comes again.
                Err(Errno::ENOSYS | Errno::EPERM) if !has_ended(handle)? => kill(*pid, signal)?,
                sent => sent?,
            },
            Handle::Number(pid, at) if began(*pid)? == *at => kill(*pid, signal)?,
            Handle::Number(..) => return Err(Errno::ESRCH.into()),
        }
        Ok(())
    }

    /// Waits until it has ended, however long that takes.
    ///
    /// # Errors
    /// What poll(2) gives.
    pub fn wait_for_end(&self) -> io::Result<()> {
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
    // SAFETY: without a siginfo nothing is read from memory.
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

/// When a process that runs began, in ticks since the machine did.
fn began(pid: Pid) -> io::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Errno::ESRCH.into()),
        read => read.step(format_args!("reading {path}"))?,
    };
    // proc_pid_stat(5): the state is field 3, the start field 22; the name in field 2 may hold blanks,
    // so count from behind its bracket.
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
        // A zombie has ended.
        process.wait_for_end().unwrap();
        child.wait().unwrap();
        assert!(process.signal(Signal::SIGKILL).is_err());
    }
}

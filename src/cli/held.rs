//! A handle on the process that answers at a control socket, so that a signal can reach no other: once
//! a process has ended, the kernel may give its number to another.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::running::{Another, is_said};
use super::status::{self, Unanswered};
use crate::log::Reason;
use crate::process::Handle;
use crate::status::Status;

/// The process, and no other that is given its number later.
#[derive(Debug)]
pub(super) struct Held {
    pub pid: Pid,
    process: Handle,
}

/// Why no signal was sent.
#[derive(Debug)]
pub(super) enum HoldError {
    /// No answer at the control socket.
    Unanswered(PathBuf, io::Error),
    /// The process that listens there is not the one that its answer names.
    Impostor(PathBuf, Pid, u32),
    /// It runs with another configuration.
    Another(Another),
    /// Another process than before now answers there.
    Replaced(PathBuf, Pid),
    /// The signal cannot be sent, or the exit cannot be awaited.
    Signal(Signal, Pid, io::Error),
}

impl fmt::Display for HoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(path, error) => Unanswered(path, error).fmt(f),
            Self::Impostor(path, pid, said) => status::impostor(f, path, *pid, *said),
            Self::Another(another) => another.fmt(f),
            Self::Replaced(path, pid) => write!(
                f,
                "{}: PID {pid} answered there, and now another process does (try again: adit has \
                 been restarted)",
                path.display()
            ),
            Self::Signal(signal, pid, error) => write!(
                f,
                "{signal} to PID {pid}: {} (run this as root, or as the user who started adit)",
                Reason(error)
            ),
        }
    }
}

impl Held {
    /// The adit that answers at `socket`. If `file` is given, it must be running with this
    /// configuration.
    pub(super) fn at(
        socket: &Path,
        file: Option<&Path>,
        signal: Signal,
    ) -> Result<Held, HoldError> {
        Held::of(socket, signal, || {
            let told = status::of_process(socket);
            let (status, pid) =
                told.map_err(|error| HoldError::Unanswered(socket.to_owned(), error))?;
            match Another::instead_of(file, &status, socket) {
                Some(another) => Err(HoldError::Another(another)),
                None => Ok((status, pid)),
            }
        })
    }

    /// Asks, takes the handle, and asks again: if the same process answers, the number was its own when
    /// the handle was taken.
    fn of(
        socket: &Path,
        signal: Signal,
        mut ask: impl FnMut() -> Result<(Status, Pid), HoldError>,
    ) -> Result<Held, HoldError> {
        let mut answers = || match ask()? {
            (status, pid) if is_said(pid, status.pid) => Ok(pid),
            (status, pid) => Err(HoldError::Impostor(socket.to_owned(), pid, status.pid)),
        };
        let pid = answers()?;
        let process = Handle::of(pid).map_err(|error| HoldError::Signal(signal, pid, error))?;
        match answers()? == pid {
            true => Ok(Held { pid, process }),
            false => Err(HoldError::Replaced(socket.to_owned(), pid)),
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), HoldError> {
        let sent = self.process.signal(signal);
        sent.map_err(|error| HoldError::Signal(signal, self.pid, error))
    }

    /// Waits for the exit that `signal` causes.
    pub(super) fn wait_for_end(&self, signal: Signal) -> Result<(), HoldError> {
        let ended = self.process.wait_for_end();
        ended.map_err(|error| HoldError::Signal(signal, self.pid, error))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process's own status.
    fn answer(process: &Child) -> (Status, Pid) {
        let status = Status {
            pid: process.id(),
            ..Status::default()
        };
        (status, Pid::from_raw(process.id() as i32))
    }

    #[test]
    fn only_what_answers_the_same_twice_is_held() {
        let mut two: Vec<Child> = (0..2)
            .map(|_| Command::new("sleep").arg("600").spawn().unwrap())
            .collect();
        let (first, second) = (answer(&two[0]), answer(&two[1]));
        let hold = |answers: [(Status, Pid); 2]| {
            let mut answers = answers.into_iter();
            let socket = Path::new("/run/control");
            Held::of(socket, Signal::SIGTERM, || Ok(answers.next().unwrap()))
        };
        let replaced = hold([first.clone(), second.clone()]).unwrap_err();
        assert!(matches!(replaced, HoldError::Replaced(_, pid) if pid == first.1));
        let impostor = hold([first.clone(), (second.0, first.1)]).unwrap_err();
        assert!(matches!(impostor, HoldError::Impostor(..)), "{impostor}");
        assert!(two[0].try_wait().unwrap().is_none(), "nothing was sent");
        let held = hold([first.clone(), first]).unwrap();
        held.signal(Signal::SIGKILL).unwrap();
        held.wait_for_end(Signal::SIGKILL).unwrap();
        two[0].wait().unwrap();
        assert!(held.signal(Signal::SIGKILL).is_err());
        two[1].kill().unwrap();
        two[1].wait().unwrap();
    }
}

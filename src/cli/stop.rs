//! `adit stop`: SIGTERM, and the wait for the end.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::complain;
use super::running::is_said;
use super::status::{self, Unanswered};
use crate::log::Reason;
use crate::process::Handle;

/// Why it was not stopped.
#[derive(Debug)]
enum StopError {
    /// No answer at the control socket.
    Unanswered(PathBuf, io::Error),
    /// Another process listens there than the one that it says.
    Impostor(PathBuf, Pid, u32),
    /// It cannot be told, or its end cannot be awaited.
    Signal(Pid, io::Error),
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(path, error) => Unanswered(path, error).fmt(f),
            Self::Impostor(path, pid, said) => status::impostor(f, path, *pid, *said),
            Self::Signal(pid, error) => write!(
                f,
                "SIGTERM to PID {pid}: {} (run this as root, or as the user who started adit)",
                Reason(error)
            ),
        }
    }
}

/// Stops the adit that answers at `socket`, and waits until it has ended: as long as its connections
/// have by `drainTimeout`.
pub(super) fn run(socket: PathBuf) -> ExitCode {
    match stop(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("not stopped: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn stop(socket: PathBuf) -> Result<(), StopError> {
    let (status, pid) = match status::of_process(&socket) {
        Ok(told) => told,
        Err(error) => return Err(StopError::Unanswered(socket, error)),
    };
    if !is_said(pid, status.pid) {
        return Err(StopError::Impostor(socket, pid, status.pid));
    }
    let failed = |error| StopError::Signal(pid, error);
    let process = Handle::of(pid).map_err(failed)?;
    process.signal(Signal::SIGTERM).map_err(failed)?;
    process.wait_for_end().map_err(failed)
}

//! `adit stop`: SIGTERM, and the wait for the end.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
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
    /// It runs with another configuration, whose file has the same `control`.
    Another(PathBuf, PathBuf, Pid),
    /// It cannot be told, or its end cannot be awaited.
    Signal(Pid, io::Error),
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(path, error) => Unanswered(path, error).fmt(f),
            Self::Impostor(path, pid, said) => status::impostor(f, path, *pid, *said),
            Self::Another(socket, file, pid) => {
                let (socket, file) = (socket.display(), file.display());
                write!(
                    f,
                    "{socket}: the adit there, PID {pid}, runs with {file} (to stop it: `adit stop {file}`)"
                )
            }
            Self::Signal(pid, error) => write!(
                f,
                "SIGTERM to PID {pid}: {} (run this as root, or as the user who started adit)",
                Reason(error)
            ),
        }
    }
}

/// Stops the adit that answers at `socket`, and waits until it has ended: as long as its connections
/// have by `drainTimeout`. With `file` it must be the one that runs with this configuration.
pub(super) fn run(socket: PathBuf, file: Option<&Path>) -> ExitCode {
    match stop(socket, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("not stopped: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn stop(socket: PathBuf, file: Option<&Path>) -> Result<(), StopError> {
    let (status, pid) = match status::of_process(&socket) {
        Ok(told) => told,
        Err(error) => return Err(StopError::Unanswered(socket, error)),
    };
    if !is_said(pid, status.pid) {
        return Err(StopError::Impostor(socket, pid, status.pid));
    }
    if let (Some(meant), Some(other)) = (file, status.file)
        && !is_same(meant, &other)
    {
        return Err(StopError::Another(socket, other, pid));
    }
    let failed = |error| StopError::Signal(pid, error);
    let process = Handle::of(pid).map_err(failed)?;
    process.signal(Signal::SIGTERM).map_err(failed)?;
    process.wait_for_end().map_err(failed)
}

/// Whether two paths are of one file, which may be gone by now.
fn is_same(meant: &Path, other: &Path) -> bool {
    let absolute = std::path::absolute(meant);
    let real = |path: &Path| fs::canonicalize(path).ok();
    absolute.is_ok_and(|path| path == other)
        || real(meant).is_some_and(|path| Some(path) == real(other))
}

//! `adit reload`: SIGHUP, and the wait for what comes of it, so that an init system and an
//! administrator learn the result without reading the log.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::status::{self, ReloadStatus};
use super::{check, complain};
use crate::config::{self, Sources};
use crate::log::Reason;

/// Longer than a supervisor gives a candidate to load and to start.
const PATIENCE: Duration = Duration::from_secs(200);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the changed configuration is not in force.
#[derive(Debug)]
enum ReloadError {
    /// Nobody to ask.
    NoControl,
    /// The supervisor does not answer.
    Control(io::Error),
    /// It cannot be told.
    Signal(u32, nix::Error),
    /// The supervisor gave it up.
    Refused,
    /// Neither result came.
    TimedOut,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoControl => f.write_str(
                "the configuration has no control = SOCKET, which tells how a reload went; \
                 send SIGHUP instead, and read the log",
            ),
            Self::Control(error) => write!(f, "the control socket: {}", Reason(error)),
            Self::Signal(pid, errno) => {
                write!(
                    f,
                    "SIGHUP to PID {pid}: {} ({})",
                    errno.desc(),
                    *errno as i32
                )
            }
            Self::Refused => f.write_str("the running configuration goes on; the log says why"),
            Self::TimedOut => write!(f, "no result after {} s", PATIENCE.as_secs()),
        }
    }
}

/// Checks the configuration, has the running adit take it over, and waits until it has.
pub(super) fn run(sources: &Sources) -> ExitCode {
    let checked = check::run(sources, false);
    if checked != ExitCode::SUCCESS {
        complain(format_args!(
            "not reloaded: the running configuration goes on"
        ));
        return checked;
    }
    let control = config::load(sources)
        .ok()
        .and_then(|loaded| loaded.config.global.control);
    let reloaded = control
        .ok_or(ReloadError::NoControl)
        .and_then(|control| reload(&control));
    match reloaded {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("not reloaded: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn reload(control: &Path) -> Result<(), ReloadError> {
    // One that is under way may have read the file before it was changed.
    let before = wait_until(control, |reloads| !reloads.under_way)?;
    let pid = status::of(control).map_err(ReloadError::Control)?.pid;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP)
        .map_err(|errno| ReloadError::Signal(pid, errno))?;
    let over = |reloads: &ReloadStatus| reloads.succeeded + reloads.failed;
    let after = wait_until(control, |reloads| over(reloads) > over(&before))?;
    match after.succeeded > before.succeeded {
        true => Ok(()),
        false => Err(ReloadError::Refused),
    }
}

/// Asks until the answer is as wanted.
fn wait_until(
    control: &Path,
    wanted: impl Fn(&ReloadStatus) -> bool,
) -> Result<ReloadStatus, ReloadError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let reloads = status::of(control).map_err(ReloadError::Control)?.reloads;
        if wanted(&reloads) {
            return Ok(reloads);
        }
        if Instant::now() >= end {
            return Err(ReloadError::TimedOut);
        }
        thread::sleep(PAUSE);
    }
}

//! `adit reload`: sends SIGHUP and waits for the outcome, so that an init system and an administrator
//! learn it without reading the log.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::held::{Held, HoldError};
use super::running::{self, NotFound};
use super::status::{self, Unanswered};
use super::{check, complain};
use crate::config::{self, Config, Sources};
use crate::status::ReloadStatus;

/// Longer than the time a supervisor gives a candidate to load and to start.
const RESULT_TIMEOUT: Duration = Duration::from_secs(200);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the changed configuration is not in force.
#[derive(Debug)]
enum ReloadError {
    /// There is no socket to ask for the outcome.
    NoControl,
    /// No adit answers.
    NotFound(NotFound),
    /// The supervisor did not answer there.
    Control(PathBuf, io::Error),
    /// It cannot be signalled.
    Held(HoldError),
    /// The supervisor rejected it.
    Refused,
    /// No outcome in time.
    TimedOut,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoControl => f.write_str(
                "with this configuration adit has no control socket, which would tell how a reload \
                 went (send SIGHUP instead, and read the log; or give `control = /path`)",
            ),
            Self::NotFound(error) => {
                write!(f, "{error}")?;
                if matches!(error, NotFound::Unanswered(_, error) if error.kind() == io::ErrorKind::NotFound)
                {
                    f.write_str("; if it runs, send SIGHUP to it, and read the log")?;
                }
                Ok(())
            }
            Self::Control(path, error) => Unanswered(path, error).fmt(f),
            Self::Held(error) => error.fmt(f),
            Self::Refused => {
                f.write_str("the running configuration stays in force; the log says why")
            }
            Self::TimedOut => write!(
                f,
                "no result after {} s (the log says how far it came)",
                RESULT_TIMEOUT.as_secs()
            ),
        }
    }
}

/// Checks the configuration, makes the running adit load it, and waits for the outcome.
pub(super) fn run(sources: &Sources) -> ExitCode {
    // The running adit knows the pass phrases of its keys, or reports that it does not.
    let checked = check::run(sources, check::Asked::default());
    if checked != ExitCode::SUCCESS {
        match running::find(sources).map(|running| running.status()) {
            Ok(Ok(status)) => complain(format_args!(
                "not reloaded: the running configuration stays in force, in PID {}",
                status.pid
            )),
            Ok(Err(error)) => complain(format_args!("not reloaded: {error}")),
            Err(error) => complain(format_args!("not reloaded: {error}")),
        }
        return checked;
    }
    let reloaded = match config::load(sources) {
        Ok(loaded) => reload(sources, &loaded.config),
        // It was valid a moment ago.
        Err(diagnostics) => {
            complain(format_args!("{diagnostics}"));
            return ExitCode::FAILURE;
        }
    };
    match reloaded {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("not reloaded: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn reload(sources: &Sources, config: &Config) -> Result<(), ReloadError> {
    let control = config.global.control.as_deref();
    let control = control.ok_or(ReloadError::NoControl)?;
    // Until the configuration is in force, the socket is where the previous one put it.
    let now = running::find(sources)
        .map_err(ReloadError::NotFound)?
        .socket;
    let file = sources.file.as_deref();
    let adit = Held::at(&now, file, Signal::SIGHUP).map_err(ReloadError::Held)?;
    // A reload under way may have read the file before it was changed.
    let before = wait_until(&adit, &[&now], |reloads| !reloads.under_way)?;
    adit.signal(Signal::SIGHUP).map_err(ReloadError::Held)?;
    let over = |reloads: &ReloadStatus| reloads.succeeded + reloads.failed;
    let after = wait_until(&adit, &[&now, control], |reloads| {
        over(reloads) > over(&before)
    })?;
    if is_of_another_file(adit.pid) {
        complain(format_args!(
            "PID {} is still the program from before: the one that is installed now cannot take over, and the log says \
             why; only a restart puts it into use, and that ends connections",
            adit.pid
        ));
    }
    match after.succeeded > before.succeeded {
        true => Ok(()),
        false => Err(ReloadError::Refused),
    }
}

/// Whether the file that this process was started from is gone, or another has its name: proc(5).
fn is_of_another_file(pid: Pid) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|path| path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)"))
}

/// Asks the first of these sockets that answers for this adit, until the answer is as wanted.
fn wait_until(
    adit: &Held,
    sockets: &[&Path],
    wanted: impl Fn(&ReloadStatus) -> bool,
) -> Result<ReloadStatus, ReloadError> {
    let end = Instant::now() + RESULT_TIMEOUT;
    loop {
        let mut answer = Err(ReloadError::NoControl);
        for socket in sockets {
            let path = || (*socket).to_owned();
            answer = match status::of_process(socket) {
                Ok((status, pid)) if pid == adit.pid => Ok(status),
                Ok(_) => Err(ReloadError::Held(HoldError::Replaced(path(), adit.pid))),
                Err(error) => Err(ReloadError::Control(path(), error)),
            };
            if answer.is_ok() {
                break;
            }
        }
        let reloads = answer?.reloads;
        if wanted(&reloads) {
            return Ok(reloads);
        }
        if Instant::now() >= end {
            return Err(ReloadError::TimedOut);
        }
        thread::sleep(PAUSE);
    }
}

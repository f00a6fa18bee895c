//! `adit reload`: SIGHUP, and the wait for what comes of it, so that an init system and an
//! administrator learn the result without reading the log.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::status::{self, ReloadStatus, Unanswered};
use super::{check, complain};
use crate::config::{self, Config, Endpoint, Sources};
use crate::supervisor::pid_file;

/// Longer than a supervisor gives a candidate to load and to start.
const PATIENCE: Duration = Duration::from_secs(200);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the changed configuration is not in force.
#[derive(Debug)]
enum ReloadError {
    /// Nobody to ask.
    NoControl,
    /// The supervisor does not answer there.
    Control(PathBuf, io::Error),
    /// Another process listens there than the one that it says.
    Impostor(PathBuf, Pid, u32),
    /// It cannot be told.
    Signal(Pid, nix::Error),
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
            Self::Control(path, error) => {
                write!(f, "{}", Unanswered(path, error))?;
                if error.kind() == io::ErrorKind::NotFound {
                    f.write_str("; if it runs, send SIGHUP to it, and read the log")?;
                }
                Ok(())
            }
            Self::Impostor(path, pid, said) => write!(
                f,
                "{}: process {pid} listens there, and says that it is {said}",
                path.display()
            ),
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
    // The running adit knows the pass phrases of its keys, or says that it does not.
    let checked = check::run(sources, false, false);
    if checked != ExitCode::SUCCESS {
        complain(format_args!(
            "not reloaded: the running configuration goes on"
        ));
        return checked;
    }
    let reloaded = match config::load(sources) {
        Ok(loaded) => reload(&loaded.config),
        // It was good a moment ago.
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

fn reload(config: &Config) -> Result<(), ReloadError> {
    let control = config.global.control.as_deref();
    let control = control.ok_or(ReloadError::NoControl)?;
    // As long as the configuration is not in force, the socket is where the one before had it.
    let now = match status::of(control) {
        Err(error) if is_nobody(&error) => {
            control_before(config).ok_or_else(|| ReloadError::Control(control.to_owned(), error))?
        }
        _ => control.to_owned(),
    };
    // One that is under way may have read the file before it was changed.
    let before = wait_until(&[&now], |reloads| !reloads.under_way)?;
    let failed = |error| ReloadError::Control(now.clone(), error);
    let (status, pid) = status::of_process(&now).map_err(failed)?;
    if !is_said(pid, status.pid) {
        return Err(ReloadError::Impostor(now, pid, status.pid));
    }
    kill(pid, Signal::SIGHUP).map_err(|errno| ReloadError::Signal(pid, errno))?;
    let over = |reloads: &ReloadStatus| reloads.succeeded + reloads.failed;
    let after = wait_until(&[&now, control], |reloads| over(reloads) > over(&before))?;
    match after.succeeded > before.succeeded {
        true => Ok(()),
        false => Err(ReloadError::Refused),
    }
}

/// Whether an answer says of its process what the kernel does. No signal goes to a number from an
/// answer alone: it may be made up, or count in another PID namespace.
fn is_said(pid: Pid, said: u32) -> bool {
    pid.as_raw() > 0 && pid.as_raw().cast_unsigned() == said
}

fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

/// The control socket of the instance that holds the pid file, wherever it is. What the pid file says
/// is not trusted, since it may lie in the jail: the socket must be that process's, and answer as it.
fn control_before(config: &Config) -> Option<PathBuf> {
    let global = &config.global;
    let pid = pid_file::holder(global.chroot.as_deref(), global.pid.as_deref()?)?;
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    let held: Vec<PathBuf> = targets.collect();
    let table = fs::read_to_string("/proc/self/net/unix").ok()?;
    let services = config.services.iter().flat_map(|service| &service.accept);
    let services: Vec<&Path> = services
        .filter_map(|endpoint| match endpoint {
            Endpoint::Unix(path) => Some(path.as_path()),
            Endpoint::Tcp { .. } => None,
        })
        .collect();
    let mut sockets = table.lines().filter_map(|line| {
        // proc_pid_net(5): the address in memory, references, protocol, flags, type, state, inode, path.
        let mut fields = line.split_ascii_whitespace().skip(3);
        let listens = fields.next()? == "00010000";
        let inode = format!("socket:[{}]", fields.nth(2)?);
        let path = PathBuf::from(fields.next()?);
        let ours = listens && held.iter().any(|target| *target == Path::new(&inode));
        (ours && !services.contains(&path.as_path())).then_some(path)
    });
    sockets.find(|path| {
        status::of_process(path)
            .is_ok_and(|(status, listens)| status.pid == pid && is_said(listens, status.pid))
    })
}

/// Asks, where the first of these sockets answers, until the answer is as wanted.
fn wait_until(
    sockets: &[&Path],
    wanted: impl Fn(&ReloadStatus) -> bool,
) -> Result<ReloadStatus, ReloadError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut answer = Err(ReloadError::NoControl);
        for socket in sockets {
            let told = status::of(socket);
            answer = told.map_err(|error| ReloadError::Control((*socket).to_owned(), error));
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

//! One program: its socket or its terminal, its process, and what both inherit.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, ttyname};

use super::line;
use crate::config::Program;
use crate::ipc::leash::Leash;
use crate::log::Reason;
use crate::process;
use crate::remedy;
use crate::step::NameStep;

/// A program that was started.
pub(super) struct Running {
    pub pid: Pid,
    /// What the session talks to.
    pub socket: OwnedFd,
    /// Its terminal's name.
    pub terminal: Option<String>,
}

/// What all programs of a generation have in common.
pub(super) struct Surroundings<'a> {
    pub environment: &'a [(OsString, OsString)],
    /// Descriptor 2 is adit's own, as with stunnel in the foreground; else it is the session's.
    pub stderr_is_ours: bool,
    pub leash: &'a Leash,
}

/// Starts a program.
///
/// # Errors
/// It cannot be executed; no process, descriptor or terminal is to be had. Why, with the remedy.
pub(super) fn start(
    program: &Program,
    of_session: Vec<(&'static str, String)>,
    surroundings: &Surroundings<'_>,
) -> Result<Running, String> {
    start_any(program, of_session, surroundings).map_err(|failure| match failure {
        Failure::Exec(error) => format!(
            "exec {}: {} ({})",
            program.path.display(),
            Reason(&error),
            remedy::executing(&error)
        ),
        Failure::System(error) => Reason(&error).to_string(),
    })
}

enum Failure {
    /// execve(2), or the fork before it.
    Exec(io::Error),
    /// A step that names itself.
    System(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error)
    }
}

fn start_any(
    program: &Program,
    of_session: Vec<(&'static str, String)>,
    surroundings: &Surroundings<'_>,
) -> Result<Running, Failure> {
    let (ours, theirs) = sockets()?;
    if !program.pty {
        let pid = run(program, of_session, surroundings, theirs, false)?;
        return Ok(Running {
            pid,
            socket: ours,
            terminal: None,
        });
    }
    let (master, slave) = terminal()?;
    let terminal =
        ttyname(&slave).map_or_else(|_| "?".to_owned(), |path| path.display().to_string());
    let pid = run(program, of_session, surroundings, slave, true)?;
    // Should that fail, the program loses its terminal with `master`, and ends of SIGHUP.
    line::start(master, theirs, surroundings.leash)?;
    Ok(Running {
        pid,
        socket: ours,
        terminal: Some(terminal),
    })
}

/// A pair of sockets, as stunnel gives a program: it can tell apart its client's end of file from its own.
fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, flags).step("socketpair(2)")?;
    // The session's end alone: a program expects to be waited for.
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// A pseudoterminal: where its bytes come from and go to, and what the program has. Not by openpty(3), for which
/// C libraries before glibc 2.34 have a library of its own (libutil).
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master =
        posix_openpt(flags).step("posix_openpt(3) (in a jail, /dev/ptmx must be there)")?;
    grantpt(&master).step("grantpt(3)")?;
    unlockpt(&master).step("unlockpt(3)")?;
    let name = ptsname_r(&master).step("ptsname(3)")?;
    let slave = open(name.as_str(), flags, Mode::empty())
        .step("opening a terminal (in a jail, /dev/pts must be there)")?;
    Ok((master.into(), slave))
}

fn run(
    program: &Program,
    of_session: Vec<(&'static str, String)>,
    surroundings: &Surroundings<'_>,
    end: OwnedFd,
    is_terminal: bool,
) -> Result<Pid, Failure> {
    let mut command = Command::new(as_execve(&program.path));
    let mut args = program.args.iter();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let stderr = match surroundings.stderr_is_ours {
        true => Stdio::inherit(),
        false => end.try_clone()?.into(),
    };
    command
        .args(args)
        .env_clear()
        .envs(
            surroundings
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(of_session)
        .stdin(end.as_fd().try_clone_to_owned()?)
        .stdout(end)
        .stderr(stderr);
    process::begin_anew(&mut command, is_terminal);
    let child = command.spawn().map_err(Failure::Exec)?;
    // It is reaped with the others.
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// As execve(2) takes it, without a search in $PATH.
fn as_execve(path: &Path) -> PathBuf {
    match path.components().count() {
        1 if path.is_relative() => Path::new(".").join(path),
        _ => path.to_owned(),
    }
}

//! Finds the running adit of a configuration by its control socket. The file may be invalid by now, or
//! name another socket: the running adit uses what it said at the start.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::status::{self, Unanswered};
use crate::config::{self, Config, Endpoint, Sources};
use crate::status::Status;
use crate::supervisor::pid_file;

/// An adit that answers.
pub(super) struct Running {
    /// Its control socket.
    pub socket: PathBuf,
    /// Its status, as JSON.
    pub document: Vec<u8>,
}

impl Running {
    /// Its status.
    ///
    /// # Errors
    /// The document is not one of this version of adit.
    pub(super) fn status(&self) -> io::Result<Status> {
        status::understood(&self.socket, &self.document)
    }
}

/// An adit that answers, but runs with another configuration.
#[derive(Debug)]
pub(super) struct Another {
    socket: PathBuf,
    meant: PathBuf,
    pid: u32,
    /// `None` if it was started without a file.
    file: Option<PathBuf>,
}

impl Another {
    /// The adit that answered at `socket`, if it does not run with `meant`.
    pub(super) fn instead_of(
        meant: Option<&Path>,
        status: &Status,
        socket: &Path,
    ) -> Option<Another> {
        let meant = meant?;
        match &status.file {
            Some(file) if is_same(meant, file) => None,
            file => Some(Another {
                socket: socket.to_owned(),
                meant: meant.to_owned(),
                pid: status.pid,
                file: file.clone(),
            }),
        }
    }
}

impl fmt::Display for Another {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (socket, meant, pid) = (self.socket.display(), self.meant.display(), self.pid);
        match &self.file {
            Some(file) => write!(
                f,
                "{socket}: the adit there, PID {pid}, runs with {}, not with {meant} (name that \
                 file, or give each configuration a `control` of its own)",
                file.display()
            ),
            None => write!(
                f,
                "{socket}: the adit there, PID {pid}, runs without a file, not with {meant} (for \
                 `status` and `stop` give `--control {socket}`; to reload it, send SIGHUP to it)"
            ),
        }
    }
}

/// Whether two paths name one file, even if it is gone by now.
fn is_same(meant: &Path, other: &Path) -> bool {
    let absolute = std::path::absolute(meant);
    let real = |path: &Path| fs::canonicalize(path).ok();
    absolute.is_ok_and(|path| path == other)
        || real(meant).is_some_and(|path| Some(path) == real(other))
}

/// Why no running adit was found.
#[derive(Debug)]
pub(super) enum NotFound {
    /// There is no socket to ask.
    NoSocket,
    /// The most telling socket, and its error.
    Unanswered(PathBuf, io::Error),
    /// The adit there runs with another configuration.
    Another(Another),
}

impl NotFound {
    /// How telling it is: a socket that exists says more than a missing one, and an answer the most.
    fn weight(&self) -> u8 {
        match self {
            Self::NoSocket => 0,
            Self::Unanswered(_, error) if error.kind() == io::ErrorKind::NotFound => 1,
            Self::Unanswered(..) => 2,
            Self::Another(_) => 3,
        }
    }

    /// The more telling of the two; if equal, `self`.
    fn or(self, other: NotFound) -> NotFound {
        match other.weight() > self.weight() {
            true => other,
            false => self,
        }
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket => f.write_str(
                "no control socket to ask: the configuration has an empty `control`, or adit runs \
                 as a user without a folder for sockets (give `control = /path`, and restart adit); an \
                 adit of root's is asked as root",
            ),
            Self::Unanswered(path, error) => Unanswered(path, error).fmt(f),
            Self::Another(another) => another.fmt(f),
        }
    }
}

/// Asks at every socket where an adit with this configuration may be.
pub(super) fn find(sources: &Sources) -> Result<Running, NotFound> {
    // Whether its services have sockets does not matter here.
    let sources = Sources {
        passed: usize::MAX,
        ..sources.clone()
    };
    let file = sources.file.as_deref();
    let mut told = NotFound::NoSocket;
    for socket in config::control_sockets(&sources) {
        match ask(socket, file) {
            Ok(running) => return Ok(running),
            Err(error) => told = told.or(error),
        }
    }
    let (config, _) = config::load_partly(&sources);
    let before = config.as_ref().and_then(by_pid_file);
    match before.map(|socket| ask(socket, file)) {
        Some(Ok(running)) => Ok(running),
        Some(Err(error)) => Err(told.or(error)),
        None => Err(told),
    }
}

/// Every adit that answers this user at a socket that no configuration names, with its status.
pub(super) fn all() -> Vec<(PathBuf, Status)> {
    let folders = config::control_folders().into_iter();
    let entries = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten();
    let mut sockets: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
        .collect();
    sockets.sort();
    sockets.dedup();
    let running = sockets.into_iter().filter_map(|socket| {
        let (status, listens) = status::of_process(&socket).ok()?;
        is_said(listens, status.pid).then_some((socket, status))
    });
    running.collect()
}

/// The adit that answers at this socket. If `file` is given, it must be running with this
/// configuration; an answer that is not understood is left to [`Running::status`].
fn ask(socket: PathBuf, file: Option<&Path>) -> Result<Running, NotFound> {
    let document = match status::ask(&socket) {
        Ok((document, _)) => document,
        Err(error) => return Err(NotFound::Unanswered(socket, error)),
    };
    let running = Running { socket, document };
    let another = match running.status() {
        Ok(status) => Another::instead_of(file, &status, &running.socket),
        Err(_) => None,
    };
    match another {
        Some(another) => Err(NotFound::Another(another)),
        None => Ok(running),
    }
}

/// The control socket of the instance that holds the pid file, wherever that socket is. The pid file
/// may lie in the jail and is not trusted: the socket must belong to that process, and answer with its
/// number.
fn by_pid_file(config: &Config) -> Option<PathBuf> {
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

/// Whether the kernel and the answer name the same process. No signal is sent to a number from an
/// answer alone: it may be forged, or belong to another PID namespace.
pub(super) fn is_said(pid: Pid, said: u32) -> bool {
    pid.as_raw() > 0 && pid.as_raw().cast_unsigned() == said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adit_is_meant_by_its_file_alone() {
        let file = Path::new("/etc/adit/a.conf");
        let other = |meant: Option<&Path>, runs: Option<&Path>| {
            let status = Status {
                pid: 7,
                file: runs.map(Path::to_owned),
                ..Status::default()
            };
            Another::instead_of(meant, &status, Path::new("/run/c")).map(|other| other.to_string())
        };
        assert_eq!(other(Some(file), Some(file)), None);
        assert_eq!(other(None, Some(file)), None, "found by its socket");
        let said = other(Some(Path::new("/b.conf")), Some(file)).unwrap();
        assert!(
            said.starts_with(
                "/run/c: the adit there, PID 7, runs with /etc/adit/a.conf, not with /b.conf ("
            ),
            "{said}"
        );
        let said = other(Some(file), None).unwrap();
        assert!(
            said.contains("runs without a file, not with /etc/adit/a.conf"),
            "{said}"
        );
    }
}

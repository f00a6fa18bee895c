//! The running adit that a configuration is about, found by its control socket. The file may be
//! wrong by now, or say another socket: what runs was started with what it said before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::status::{self, Status, Unanswered};
use crate::config::{self, Config, Endpoint, Sources};
use crate::supervisor::pid_file;

/// One that answers.
pub(super) struct Running {
    /// Where.
    pub socket: PathBuf,
    /// What it says of itself: its status, as JSON.
    pub document: Vec<u8>,
}

impl Running {
    /// What it says of itself, understood.
    ///
    /// # Errors
    /// It speaks otherwise than an adit of this version.
    pub(super) fn status(&self) -> io::Result<Status> {
        status::understood(&self.socket, &self.document)
    }
}

/// Why none is found.
#[derive(Debug)]
pub(super) enum NotFound {
    /// There is no place to ask.
    NoSocket,
    /// The best place, and what happened there.
    Unanswered(PathBuf, io::Error),
}

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSocket => f.write_str(
                "no control socket to ask: the configuration has an empty `control`, or adit runs \
                 as a user without a folder for sockets (give `control = /path`, and restart adit)",
            ),
            Self::Unanswered(path, error) => Unanswered(path, error).fmt(f),
        }
    }
}

/// Asks wherever an adit with this configuration may be.
pub(super) fn find(sources: &Sources) -> Result<Running, NotFound> {
    // Whether its services have sockets makes no difference here.
    let sources = Sources {
        passed: usize::MAX,
        ..sources.clone()
    };
    let mut told = NotFound::NoSocket;
    for socket in config::control_sockets(&sources) {
        match status::ask(&socket) {
            Ok((document, _)) => return Ok(Running { socket, document }),
            Err(error) => {
                // A socket that is there says more than one that is not.
                let better = match &told {
                    NotFound::NoSocket => true,
                    NotFound::Unanswered(_, before) => {
                        before.kind() == io::ErrorKind::NotFound
                            && error.kind() != io::ErrorKind::NotFound
                    }
                };
                if better {
                    told = NotFound::Unanswered(socket, error);
                }
            }
        }
    }
    let (config, _) = config::load_partly(&sources);
    let before = config.as_ref().and_then(by_pid_file);
    match before.map(|socket| (status::ask(&socket), socket)) {
        Some((Ok((document, _)), socket)) => Ok(Running { socket, document }),
        _ => Err(told),
    }
}

/// The control socket of the instance that holds the pid file, wherever it is. What the pid file says
/// is not trusted, since it may lie in the jail: the socket must be that process's, and answer as it.
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

/// Whether an answer says of its process what the kernel does. No signal goes to a number from an
/// answer alone: it may be made up, or count in another PID namespace.
pub(super) fn is_said(pid: Pid, said: u32) -> bool {
    pid.as_raw() > 0 && pid.as_raw().cast_unsigned() == said
}

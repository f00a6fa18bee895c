//! The listener of `metrics`. Root binds it and keeps it, so that no client is refused while one teller
//! replaces another. Never in here: accepting from it.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, getsockname,
    listen, setsockopt, socket,
};
use nix::sys::stat::{Mode, umask};

use super::bind_error::BindError;
use super::listeners::remove_stale;
use crate::config::MetricsAddress;
use crate::ipc::words::Accept;
use crate::sys::diag;

/// Mode bits that a Unix socket lacks: execute. Every user with access to its folder may ask, as every
/// local user may ask on loopback.
const UMASK: Mode = Mode::from_bits_truncate(0o111);

#[derive(Debug)]
pub(crate) struct Metrics {
    socket: OwnedFd,
    /// As it was asked for.
    wanted: MetricsAddress,
}

/// The address of `metrics` cannot be bound.
#[derive(Debug)]
pub struct MetricsError {
    cause: Box<BindError>,
    remedy: &'static str,
}

impl MetricsError {
    /// What is wrong, without the remedy.
    pub fn text(&self) -> String {
        self.cause.text()
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding metrics to {} ({})", self.text(), self.remedy)
    }
}

impl From<MetricsError> for io::Error {
    fn from(error: MetricsError) -> io::Error {
        io::Error::other(error.to_string())
    }
}

impl Metrics {
    /// Binds it and listens. `old` is the listener that it is to follow: it may have the same port.
    ///
    /// # Errors
    /// The address is another's, or not this machine's, or may not be bound.
    pub(crate) fn open(
        wanted: &MetricsAddress,
        old: Option<&Metrics>,
    ) -> Result<Metrics, MetricsError> {
        let opened = match wanted {
            MetricsAddress::Tcp(_) => open_tcp(wanted, old),
            MetricsAddress::Unix(path) => open_unix(path),
        };
        match opened {
            Ok(socket) => Ok(Metrics {
                socket,
                wanted: wanted.clone(),
            }),
            Err(errno) => Err(failed(wanted, errno)),
        }
    }

    /// The listener that the program before an exec had.
    pub(crate) fn taken_over(socket: OwnedFd, wanted: MetricsAddress) -> Metrics {
        Metrics { socket, wanted }
    }

    /// What was asked for.
    pub(crate) fn wanted(&self) -> &MetricsAddress {
        &self.wanted
    }

    /// What a teller works with: the socket, and one by which it asks the kernel how many wait at each listener,
    /// where there is one.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn of_a_teller(&self) -> io::Result<Vec<OwnedFd>> {
        let listener = self.socket.try_clone()?;
        Ok([listener].into_iter().chain(diag::open()).collect())
    }

    /// The socket, for the next program of this process.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The line about it, with the port that the kernel chose.
    pub(crate) fn line(&self) -> String {
        let address = match (
            &self.wanted,
            getsockname::<SockaddrStorage>(self.socket.as_raw_fd()),
        ) {
            (MetricsAddress::Tcp(_), Ok(bound)) => bound.to_string(),
            (wanted, _) => wanted.to_string(),
        };
        format!("Metrics bound to {address}")
    }

    /// Closes it, and removes a Unix socket.
    pub(crate) fn remove(self) {
        if let MetricsAddress::Unix(path) = &self.wanted {
            // Nothing is left to be done about a file that cannot be removed.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a start could bind it now, for `adit check`. What the process `running` has counts as free.
///
/// # Errors
/// It could not.
pub(crate) fn try_address(
    wanted: &MetricsAddress,
    running: Option<u32>,
) -> Result<(), MetricsError> {
    let MetricsAddress::Tcp(address) = wanted else {
        return Ok(());
    };
    let bound = unbound_tcp(wanted)
        .and_then(|socket| bind(socket.as_raw_fd(), &SockaddrStorage::from(*address)));
    match bound {
        // Ports below 1024 are root's.
        Err(Errno::EACCES) if !nix::unistd::Uid::effective().is_root() => Ok(()),
        Err(errno) => {
            let error = failed(wanted, errno);
            match running.is_some_and(|process| error.cause.is_held_by(process)) {
                true => Ok(()),
                false => Err(error),
            }
        }
        Ok(()) => Ok(()),
    }
}

fn unbound_tcp(wanted: &MetricsAddress) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let is_v6 = matches!(wanted, MetricsAddress::Tcp(address) if address.is_ipv6());
    let family = match is_v6 {
        true => AddressFamily::Inet6,
        false => AddressFamily::Inet,
    };
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    if is_v6 {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    Ok(socket)
}

fn open_tcp(wanted: &MetricsAddress, old: Option<&Metrics>) -> Result<OwnedFd, Errno> {
    let MetricsAddress::Tcp(address) = wanted else {
        return Err(Errno::EINVAL);
    };
    let socket = unbound_tcp(wanted)?;
    let name = SockaddrStorage::from(*address);
    let port = |metrics: &&Metrics| matches!(metrics.wanted(), MetricsAddress::Tcp(old) if old.port() == address.port());
    let bind_and_listen = || {
        bind(socket.as_raw_fd(), &name)?;
        listen(&socket, Backlog::MAXCONN)
    };
    match (bind_and_listen(), old.filter(port)) {
        // The other address of a port that is ours: both stand until the old one is closed. socket(7):
        // SO_REUSEPORT on both lets them, and no process of another user.
        (Err(Errno::EADDRINUSE), Some(old)) => {
            let share = |yes: bool| {
                setsockopt(&old.socket, ReusePort, &yes)?;
                setsockopt(&socket, ReusePort, &yes)
            };
            let bound = share(true).and_then(|()| bind_and_listen());
            share(false)?;
            bound?;
        }
        (bound, _) => bound?,
    }
    Ok(socket)
}

fn open_unix(path: &Path) -> Result<OwnedFd, Errno> {
    let plain = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    remove_stale(path).map_err(plain)?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The mode is right from the start: a chmod(2) by path could follow a link. One thread, so the mask
    // is no other's.
    let before = umask(UMASK);
    let bound = bind(socket.as_raw_fd(), &UnixAddr::new(path)?);
    umask(before);
    bound?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket)
}

fn failed(wanted: &MetricsAddress, errno: Errno) -> MetricsError {
    let is_unix = matches!(wanted, MetricsAddress::Unix(_));
    let remedy = match errno {
        Errno::EADDRINUSE if is_unix => {
            "stop the program that has it, or remove the file if it is no socket, or give `metrics` \
             another path"
        }
        Errno::EADDRINUSE => {
            "stop the program that has it, or give `metrics` another port; `ss -ltnp` as root lists \
             them all"
        }
        Errno::EACCES | Errno::EPERM | Errno::EROFS if is_unix => {
            "let the user who starts adit write to its folder, or give `metrics` another path"
        }
        Errno::EACCES => "a port below 1024 is for root alone: give `metrics` a port from 1024 on",
        Errno::EADDRNOTAVAIL => {
            "this machine does not have that address, see `ip address`; a port alone is on loopback"
        }
        Errno::EAFNOSUPPORT => {
            "IPv6 is switched off on this machine: give `metrics` an IPv4 address"
        }
        Errno::ENOENT => "make its folder, or give `metrics` another path",
        Errno::EMFILE | Errno::ENFILE => {
            "raise the limit of open files: `LimitNOFILE=` in the unit, or `ulimit -n`"
        }
        _ => "see `metrics`, and socket(7)",
    };
    let address = match wanted {
        MetricsAddress::Tcp(address) => Accept::Tcp(*address),
        MetricsAddress::Unix(path) => Accept::Unix(path.clone()),
    };
    MetricsError {
        cause: Box::new(BindError::of(&address, &errno.into())),
        remedy,
    }
}

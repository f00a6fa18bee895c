//! One listening socket: made and bound. Never in here: which ones there are.

use std::cell::Cell;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open as open_file};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, listen, socket,
};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};

use super::{Listeners, Listening};
use crate::config::Service;
use crate::ipc::words::Accept;
use crate::jail;
use crate::sys::sockopt;

/// `socket = a:NAME=VALUE`
pub(super) fn set_options(socket: &OwnedFd, service: &Service) -> io::Result<()> {
    let mut ours = service.socket.iter().filter(|option| option.on == 'a');
    ours.try_for_each(|option| sockopt::set(socket.as_fd(), option))
}

/// A socket that is bound and does not listen: to see whether it can be.
///
/// # Errors
/// It cannot.
pub(in crate::supervisor) fn bound(
    service: &Service,
    address: &Accept,
    tcp: SocketAddr,
) -> io::Result<OwnedFd> {
    let socket = unbound(service, address)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(tcp))?;
    Ok(socket)
}

fn unbound(service: &Service, address: &Accept) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let family = match address {
        Accept::Tcp(SocketAddr::V4(_)) => AddressFamily::Inet,
        Accept::Tcp(SocketAddr::V6(_)) => AddressFamily::Inet6,
        Accept::Unix(_) => AddressFamily::Unix,
        // It was not passed, or it would be there.
        Accept::Passed(_) => return Err(Errno::EBADF.into()),
    };
    let socket = socket(family, SockType::Stream, flags, None)?;
    set_options(&socket, service)?;
    Ok(socket)
}

/// Binds an address; it listens later.
pub(super) fn open(
    service: &Service,
    address: &Accept,
    others: &Listeners,
) -> io::Result<Listening> {
    let socket = unbound(service, address)?;
    match address {
        Accept::Tcp(address) => {
            let bind = || bind(socket.as_raw_fd(), &SockaddrStorage::from(*address));
            match bind() {
                Err(Errno::EADDRINUSE) => others.share(Some(address.port()), &socket, bind)?,
                bound => bound?,
            }
        }
        Accept::Unix(path) => {
            bind_unix(&socket, path, service)?;
            // At once: another instance that starts now would take one that does not listen for a leftover, and
            // remove it.
            listen(&socket, Backlog::MAXCONN)?;
        }
        // It listens already.
        Accept::Passed(_) => {}
    }
    let text = match address {
        Accept::Unix(path) => path.display().to_string(),
        Accept::Tcp(_) | Accept::Passed(_) => bound_to(&socket)?,
    };
    Ok(Listening {
        socket,
        address: text,
        listens: Cell::new(!matches!(address, Accept::Tcp(_))),
    })
}

pub(super) fn bound_to(socket: &OwnedFd) -> io::Result<String> {
    let storage: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    Ok(storage.to_string())
}

/// Removes a Unix socket that no process answers on any more. Never waits for one that does.
///
/// # Errors
/// It cannot be removed.
pub(in crate::supervisor) fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
        return Ok(());
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        // EAGAIN: its owner is there, and busy.
        _ => Ok(()),
    }
}

fn bind_unix(socket: &OwnedFd, path: &Path, service: &Service) -> io::Result<()> {
    remove_stale(path)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let (uid, gid) = jail::owner(service.setuid.as_deref(), service.setgid.as_deref())
        .map_err(|error| io::Error::other(error.to_string()))?;
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    // By a descriptor: where others may write to the folder, the name may mean another file by now.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open_file(path, flags, Mode::empty())?;
    let kind = SFlag::from_bits_truncate(fstat(&file)?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFSOCK {
        return Err(Errno::EADDRINUSE.into());
    }
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    Ok(fchownat(&file, "", uid, gid, AtFlags::AT_EMPTY_PATH)?)
}

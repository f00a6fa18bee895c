//! A socket on its way to an upstream: made, bound, connecting.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, getsockname,
    setsockopt, socket,
};

use super::Upstream;
use super::step::set_options;
use crate::config::Service;
use crate::log::Log;
use crate::sys::sockopt::BindAddressNoPort;
use crate::{debug, info};

/// Why a socket could not be sent on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No socket could be made: no descriptor or no memory is left, so no other address will do.
    NoSocket(Errno),
    /// The address of `local` cannot be used for this one.
    Bind(Errno),
    /// Told at debug level only, as stunnel does: `local` is of the other family.
    Family,
    /// connect(2) failed at once.
    Connect(Errno),
    /// The queue of a Unix listener is full. Nothing tells when it has room: try again.
    Full,
}

/// Whether connect(2) is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The socket is connected.
    Connected,
    /// An event will tell.
    Pending,
}

/// Makes a socket for `upstream`, with the service's options, bound to its `local` address, and
/// begins to connect it.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn begin(
    upstream: &Upstream,
    config: &Service,
    local: Option<IpAddr>,
    log: &Log,
) -> Result<(OwnedFd, Progress), Refusal> {
    match upstream {
        Upstream::Tcp(address, _) => tcp(*address, config, local, log),
        Upstream::Unix(path) => {
            let socket = new(AddressFamily::Unix)?;
            let address = UnixAddr::new(path).map_err(Refusal::Connect)?;
            let progress = start(connect(socket.as_raw_fd(), &address))?;
            Ok((socket, progress))
        }
    }
}

fn tcp(
    address: SocketAddr,
    config: &Service,
    local: Option<IpAddr>,
    log: &Log,
) -> Result<(OwnedFd, Progress), Refusal> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    if let Some(local) = local
        && local.is_ipv4() != address.is_ipv4()
    {
        debug!(
            log,
            "Cannot bind {local}: it is not of the family of {address}"
        );
        return Err(Refusal::Family);
    }
    let socket = new(family)?;
    set_options(&socket, 'r', config, log);
    if let Some(local) = local {
        bind_ephemeral(&socket, local)?;
        info!(log, "bind succeeded on an ephemeral port");
    }
    send(socket, address)
}

/// As [`begin`], with a socket of TCP that has its address already.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn begin_bound(
    socket: OwnedFd,
    address: SocketAddr,
    config: &Service,
    log: &Log,
) -> Result<(OwnedFd, Progress), Refusal> {
    set_options(&socket, 'r', config, log);
    send(socket, address)
}

/// Begins to connect a socket of TCP.
fn send(socket: OwnedFd, address: SocketAddr) -> Result<(OwnedFd, Progress), Refusal> {
    let storage = SockaddrStorage::from(address);
    let progress = match connect(socket.as_raw_fd(), &storage) {
        // No port is left that is free towards this address: not a queue to wait for.
        Err(Errno::EAGAIN) => return Err(Refusal::Connect(Errno::EADDRNOTAVAIL)),
        result => start(result)?,
    };
    if progress == Progress::Pending && address.ip().is_loopback() {
        // On loopback the answer is here when connect(2) returns: asking again is cheaper than an
        // event and a look at SO_ERROR.
        return match connect(socket.as_raw_fd(), &storage) {
            Ok(()) | Err(Errno::EISCONN) => Ok((socket, Progress::Connected)),
            Err(Errno::EALREADY | Errno::EINPROGRESS | Errno::EINTR) => Ok((socket, progress)),
            Err(errno) => Err(Refusal::Connect(errno)),
        };
    }
    Ok((socket, progress))
}

fn new(family: AddressFamily) -> Result<OwnedFd, Refusal> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(family, SockType::Stream, flags, None).map_err(|errno| match errno {
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS => Refusal::NoSocket(errno),
        other => Refusal::Connect(other),
    })
}

fn start(result: Result<(), Errno>) -> Result<Progress, Refusal> {
    match result {
        Ok(()) => Ok(Progress::Connected),
        Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(Progress::Pending),
        Err(Errno::EAGAIN) => Err(Refusal::Full),
        Err(errno) => Err(Refusal::Connect(errno)),
    }
}

fn bind_ephemeral(socket: &OwnedFd, local: IpAddr) -> Result<(), Refusal> {
    // The port is then chosen by connect(2), per destination, so that one source address is good
    // for more than 64k connections (ip(7)). Without it only that is lost.
    let _ = setsockopt(socket, BindAddressNoPort, &true);
    let storage = SockaddrStorage::from(SocketAddr::new(local, 0));
    bind(socket.as_raw_fd(), &storage).map_err(Refusal::Bind)
}

/// The address that a connected socket has on our side; `None` for a Unix socket.
pub(crate) fn local_address(socket: &OwnedFd) -> Option<SocketAddr> {
    let storage = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
    let v4 = storage.as_sockaddr_in().map(|&a| SocketAddr::V4(a.into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|&a| SocketAddr::V6(a.into())))
}

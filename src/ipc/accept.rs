//! accept4(2) with the peer's address in one call, where std and nix each need a second; and that address
//! of any socket.
#![expect(
    unsafe_code,
    reason = "accept4(2) and getpeername(2) that give the address"
)]

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Takes one connection from a listener: non-blocking, close-on-exec; the peer is `None` for a Unix
/// socket.
///
/// # Errors
/// What accept4(2) gives; `WouldBlock` when there is none.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `storage` is `len` bytes long and aligned for every kind of address.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &raw mut len,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: zeroed, then filled by the kernel: every bit pattern is a valid sockaddr_storage.
    let storage = unsafe { storage.assume_init() };
    Ok((socket, address(&storage)))
}

/// The address of a socket's peer; `None` for what is no TCP socket, or not connected.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: as in `accept`.
    let got = unsafe {
        libc::getpeername(
            socket.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // SAFETY: zeroed, and filled by the kernel if it had an address.
    (got == 0)
        .then(|| unsafe { storage.assume_init() })
        .as_ref()
        .and_then(address)
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let start = &raw const *storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in stands here; the storage is larger and aligned.
            let v4 = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some((ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => (ip, port).into(),
                None => SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

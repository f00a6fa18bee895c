//! How a listening socket takes leave: it hears no new connection, and serves those it has.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// As SO_BINDTODEVICE in socket(7), by number; the kernel does not ask whether the device exists.
    BindToIndex,
    Both,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    i32
);

/// The number of no device: the kernel counts them from 1.
const NOWHERE: i32 = i32::MAX;

/// How long a retired listener stays open for those whose handshake of TCP is under way: enough for
/// a way round the earth, or for one packet that is lost (RFC 6298: sent again after a second).
pub const LAST_HANDSHAKES: Duration = Duration::from_secs(2);

/// Lets a listening socket hear no new connection; those in its queue, and those whose handshake is
/// under way, can still be accepted. Closing it would reset them, and between the last accept4(2)
/// and close(2) there is always time for one more.
///
/// # Errors
/// `EPERM`: it is bound to a device already, or the kernel is older than 5.7, and CAP_NET_RAW is
/// missing. `ENOPROTOOPT`: the kernel is older than 5.1.
pub fn retire(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    setsockopt(&listener, BindToIndex, &NOWHERE)
}

/// Whether [`retire`] was called on this socket, in whichever process.
pub fn is_retired(listener: BorrowedFd<'_>) -> bool {
    getsockopt(&listener, BindToIndex) == Ok(NOWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_retired_listener_hears_nobody_and_keeps_whom_it_has() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let early = TcpStream::connect(address).unwrap();
        assert!(!is_retired(listener.as_fd()));
        match retire(listener.as_fd()) {
            Err(Errno::ENOPROTOOPT) => return crate::skips::say("this kernel is older than 5.1"),
            retired => retired.unwrap(),
        }
        assert!(is_retired(listener.try_clone().unwrap().as_fd()));
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
    }
}

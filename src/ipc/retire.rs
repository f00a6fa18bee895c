//! Retiring a listening socket: it takes no new connection, and those that it has can still be
//! accepted.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, setsockopt};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// SO_BINDTODEVICE of socket(7), by index; the kernel does not check that the device exists.
    BindToIndex,
    Both,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    i32
);

/// The index of no device: the kernel counts them from 1.
const NOWHERE: i32 = i32::MAX;

/// How long a retired listener stays open for TCP handshakes that are under way: enough for a round
/// trip around the earth, or for one lost packet (RFC 6298: retransmitted after a second).
pub(crate) const LAST_HANDSHAKES: Duration = Duration::from_secs(2);

/// Stops a listening socket from taking new connections; those in its queue, and those whose handshake
/// is under way, can still be accepted. Closing it would reset them, and a connection can always arrive
/// between the last accept4(2) and close(2).
///
/// # Errors
/// `EPERM`: it is bound to a device already, or the kernel is older than 5.7 and CAP_NET_RAW is
/// missing. `ENOPROTOOPT`: the kernel is older than 5.1.
pub(crate) fn retire(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    setsockopt(&listener, BindToIndex, &NOWHERE)
}

/// Whether nothing waits in its queue.
pub(crate) fn is_empty(listener: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(listener, PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::ZERO) == Ok(0)
}

/// Whether [`retire`] was called on this socket, in any process.
pub(crate) fn is_retired(listener: BorrowedFd<'_>) -> bool {
    getsockopt(&listener, BindToIndex) == Ok(NOWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_retired_listener_takes_no_new_connection_and_keeps_those_it_has() {
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
        assert!(!is_empty(listener.as_fd()));
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
        assert!(is_empty(listener.as_fd()));
    }
}

//! setsockopt(2) for options that the configuration names by number (`socket = l:NAME=VALUE`), and for
//! those that nix does not name.
#![expect(unsafe_code, reason = "setsockopt(2) by numbers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

use crate::config::{SocketOption, SocketOptionValue};

sockopt_impl!(
    /// TCP_QUICKACK of tcp(7): sends a delayed acknowledgement at once.
    QuickAck,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_QUICKACK,
    bool
);

sockopt_impl!(
    /// IP_TRANSPARENT of ip(7): addresses that are none of this machine's.
    Transparent,
    Both,
    libc::SOL_IP,
    libc::IP_TRANSPARENT,
    bool
);

sockopt_impl!(
    /// The same for IPv6.
    TransparentV6,
    Both,
    libc::SOL_IPV6,
    libc::IPV6_TRANSPARENT,
    bool
);

sockopt_impl!(
    /// IP_BIND_ADDRESS_NO_PORT of ip(7): connect(2) chooses the port. It counts for IPv6 too.
    BindAddressNoPort,
    Both,
    libc::SOL_IP,
    libc::IP_BIND_ADDRESS_NO_PORT,
    bool
);

/// Sets one option.
///
/// # Errors
/// What setsockopt(2) gives.
pub(crate) fn set(socket: BorrowedFd<'_>, option: &SocketOption) -> io::Result<()> {
    match &option.value {
        SocketOptionValue::Int(value) => raw(socket, option, value),
        SocketOptionValue::Linger(on, seconds) => {
            let linger = libc::linger {
                l_onoff: i32::from(*on),
                l_linger: *seconds,
            };
            raw(socket, option, &linger)
        }
        SocketOptionValue::Duration(duration) => {
            let time = libc::timeval {
                tv_sec: duration.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_usec: duration.subsec_micros().into(),
            };
            raw(socket, option, &time)
        }
        SocketOptionValue::Text(text) => bytes(socket, option, text.as_bytes()),
    }
}

/// Values that setsockopt reads from memory as they are.
trait Plain: Copy {}
impl Plain for i32 {}
impl Plain for libc::linger {}
impl Plain for libc::timeval {}

fn raw<T: Plain>(socket: BorrowedFd<'_>, option: &SocketOption, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one live value; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            option.level,
            option.option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    outcome(result)
}

fn bytes(socket: BorrowedFd<'_>, option: &SocketOption, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer and the length are those of one live slice; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            option.level,
            option.option,
            value.as_ptr().cast(),
            length,
        )
    };
    outcome(result)
}

fn outcome(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{getsockopt, sockopt};
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn option(
        name: &'static str,
        level: i32,
        option: i32,
        value: SocketOptionValue,
    ) -> SocketOption {
        SocketOption {
            on: 'l',
            name,
            level,
            option,
            value,
        }
    }

    #[test]
    fn each_kind_of_value_reaches_the_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let nodelay = SocketOptionValue::Int(1);
        set(
            socket.as_fd(),
            &option("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY, nodelay),
        )
        .unwrap();
        assert!(socket.nodelay().unwrap());
        let linger = SocketOptionValue::Linger(true, 7);
        set(
            socket.as_fd(),
            &option("SO_LINGER", libc::SOL_SOCKET, libc::SO_LINGER, linger),
        )
        .unwrap();
        assert_eq!(getsockopt(&socket, sockopt::Linger).unwrap().l_linger, 7);
        let time = SocketOptionValue::Duration(Duration::from_millis(1500));
        set(
            socket.as_fd(),
            &option("SO_RCVTIMEO", libc::SOL_SOCKET, libc::SO_RCVTIMEO, time),
        )
        .unwrap();
        let read = socket.read_timeout().unwrap().unwrap();
        assert!(read >= Duration::from_millis(1500) && read < Duration::from_millis(1600));
    }

    #[test]
    fn an_option_that_the_socket_has_not_is_an_error() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let value = SocketOptionValue::Int(1);
        let nodelay = option("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY, value);
        assert!(set(socket.as_fd(), &nodelay).is_err());
    }
}

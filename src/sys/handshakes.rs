//! Which TCP handshakes are under way at a port, as the kernel tells it: sock_diag(7). Never in here: what follows
//! from that.

use std::collections::HashSet;
use std::io;

use super::diag;

/// A handshake: both addresses and ports, as sock_diag(7) has them.
pub(crate) type Handshake = [u8; 36];

/// Where in `struct inet_diag_msg` the ports and addresses stand.
const ID: usize = 4;
/// The state SYN_RECV, as a bit.
const SYN_RECV: u32 = 1 << 3;

/// The handshakes that clients have begun with this port of this network namespace and not yet completed.
///
/// # Errors
/// The kernel has no sock_diag, or a filter refuses it.
pub(crate) fn under_way(port: u16) -> io::Result<HashSet<Handshake>> {
    let mut found = HashSet::new();
    diag::each(&diag::open()?, SYN_RECV, port, |body| {
        found.extend(body.get(ID..).and_then(|id| id.first_chunk()).copied());
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    use nix::sys::socket::setsockopt;
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// TCP_DEFER_ACCEPT of tcp(7): a handshake ends with the first data.
        DeferAccept,
        SetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        i32
    );

    #[test]
    fn a_handshake_under_way_is_found_by_its_port() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(under_way(port).unwrap().is_empty());
            setsockopt(&listener, DeferAccept, &30).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let found = under_way(port).unwrap();
            assert_eq!(found.len(), 1, "{address}");
            let one = found.iter().next().unwrap();
            assert_eq!(one[..2], port.to_be_bytes());
            let own = client.local_addr().unwrap().port();
            assert_eq!(one[2..4], own.to_be_bytes());
            let other = TcpListener::bind(address).unwrap();
            assert!(
                under_way(other.local_addr().unwrap().port())
                    .unwrap()
                    .is_empty()
            );
        }
    }
}

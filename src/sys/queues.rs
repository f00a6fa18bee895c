//! How many connections wait at each listener to be accepted, as the kernel tells it: sock_diag(7). Never in
//! here: what follows from that.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use super::diag;

/// The queue of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Queue {
    /// Connections that wait.
    pub waiting: u32,
    /// How many may.
    pub most: u32,
}

/// The queues of listeners, by the inode of the socket.
pub(crate) type Queues = HashMap<u64, Queue>;

/// The state LISTEN, as a bit.
const LISTEN: u32 = 1 << 10;
/// Where in `struct inet_diag_msg` the two lengths stand, and where the inode.
const LENGTHS: usize = 56;
const INODE: usize = 68;

/// The queues of all listeners of TCP in this network namespace.
///
/// # Errors
/// As [`diag::each`].
pub(crate) fn of_listeners(socket: &OwnedFd) -> io::Result<Queues> {
    let mut found = Queues::new();
    diag::each(socket, LISTEN, 0, |body| found.extend(read(body)))?;
    Ok(found)
}

fn read(body: &[u8]) -> Option<(u64, Queue)> {
    let number = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
    let queue = Queue {
        waiting: number(LENGTHS)?,
        most: number(LENGTHS + 4)?,
    };
    Some((number(INODE)?.into(), queue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    use nix::sys::stat::fstat;

    #[test]
    fn who_waits_at_a_listener_is_counted() {
        let socket = diag::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let inode = fstat(&listener).unwrap().st_ino;
            let waiting = || of_listeners(&socket).unwrap()[&inode].waiting;
            assert_eq!(waiting(), 0);
            let clients = [0, 1].map(|_| TcpStream::connect(listener.local_addr().unwrap()));
            assert_eq!(waiting(), 2, "{address}");
            drop(listener.accept().unwrap());
            assert_eq!(waiting(), 1, "{address}");
            assert!(of_listeners(&socket).unwrap()[&inode].most >= 2);
            drop(clients);
        }
        assert_eq!(read(&[0; 71]), None);
    }
}

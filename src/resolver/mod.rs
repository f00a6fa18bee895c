//! The DNS process: getaddrinfo for all the others. Holds no key and no listener.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// scaffold
#[derive(Debug)]
pub struct ResolveError {}
impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("scaffold: name unknown")
    }
}
/// scaffold
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    next: u64,
    pending: Vec<(u64, Result<Vec<SocketAddr>, ResolveError>)>,
}
impl Client {
    /// scaffold
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            next: 0,
            pending: Vec::new(),
        }
    }
    /// scaffold: asks by a line on the socket; the answer is a line of addresses.
    pub fn ask(&mut self, host: &str, port: u16) -> std::io::Result<u64> {
        self.next += 1;
        let line = format!("{} {host} {port}", self.next);
        nix::unistd::write(&self.socket, line.as_bytes())?;
        Ok(self.next)
    }
    /// scaffold
    pub fn answers(&mut self) -> Vec<(u64, Result<Vec<SocketAddr>, ResolveError>)> {
        let mut buffer = [0; 512];
        while let Ok(n @ 1..) = nix::unistd::read(&self.socket, &mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            let mut words = text.split(' ');
            let id = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
            let list: Vec<SocketAddr> = words.filter_map(|w| w.parse().ok()).collect();
            self.pending.push((
                id,
                if list.is_empty() {
                    Err(ResolveError {})
                } else {
                    Ok(list)
                },
            ));
        }
        std::mem::take(&mut self.pending)
    }
}
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

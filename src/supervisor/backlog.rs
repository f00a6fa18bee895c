//! The next client that comes to any listener: until then this process is not woken. Never in here: an accept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// Readable once a client waits. The listeners are looked at in a set of their own, so that however many they are,
/// a turn of the loop costs no more.
#[derive(Debug)]
pub(super) struct Backlog(Epoll);

impl Backlog {
    /// Of these listeners.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub(super) fn of(listeners: &[(usize, BorrowedFd<'_>)]) -> io::Result<Backlog> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (_, listener) in listeners {
            match epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
                // Two services of one listener.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Backlog(epoll))
    }
}

/// Whether a client waits at any of these listeners now.
pub(super) fn clients_wait(listeners: &[(usize, BorrowedFd<'_>)]) -> bool {
    let mut fds: Vec<PollFd<'_>> = listeners
        .iter()
        .map(|(_, listener)| PollFd::new(*listener, PollFlags::POLLIN))
        .collect();
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

impl AsFd for Backlog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

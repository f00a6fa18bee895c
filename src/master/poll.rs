//! The master's event sources, by level-triggered epoll(7): a turn costs the same with one listener as
//! with a thousand.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::step::NameStep;

/// Events taken in one turn. Any more stay in the kernel for the next.
const BATCH: usize = 64;

/// An event source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The signal pipe.
    Signals,
    /// Messages from the supervisor.
    Supervisor,
    /// The supervisor's leash.
    Leash,
    /// Messages from the zygote.
    Zygote,
    /// Answers of the process that starts programs.
    Launcher,
    /// Messages from a worker.
    Worker(usize),
    /// Room for sockets in a worker's channel.
    Room(usize),
    /// A listener with connections.
    Listener(usize),
}

impl Source {
    fn key(self) -> u64 {
        let (kind, index) = match self {
            Source::Signals => (0, 0),
            Source::Supervisor => (1, 0),
            Source::Leash => (2, 0),
            Source::Zygote => (3, 0),
            Source::Launcher => (4, 0),
            Source::Worker(index) => (5, index),
            Source::Room(index) => (6, index),
            Source::Listener(index) => (7, index),
        };
        kind << 32 | index as u64
    }

    fn of(key: u64) -> Source {
        let index = (key & u64::from(u32::MAX)) as usize;
        match key >> 32 {
            0 => Source::Signals,
            1 => Source::Supervisor,
            2 => Source::Leash,
            3 => Source::Zygote,
            4 => Source::Launcher,
            5 => Source::Worker(index),
            6 => Source::Room(index),
            _ => Source::Listener(index),
        }
    }
}

/// The epoll instance of a master.
#[derive(Debug)]
pub(crate) struct Poll(Epoll);

impl Poll {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What epoll_create1(2) gives.
    pub(crate) fn new() -> io::Result<Poll> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map(Poll)
            .step("epoll_create1(2)")
    }

    /// Watches `fd` as `source`.
    ///
    /// # Errors
    /// What epoll_ctl(2) gives: no memory, too many watches.
    pub(crate) fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let wanted = match source {
            Source::Room(_) => EpollFlags::EPOLLOUT,
            _ => EpollFlags::EPOLLIN,
        };
        Ok(self.0.add(fd, EpollEvent::new(wanted, source.key()))?)
    }

    /// Stops watching `fd`. Closing it is not enough: a child that was just forked has a copy.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // ENOENT: it was not watched.
        let _ = self.0.delete(fd);
    }

    /// Waits until something happens or the timeout ends. A signal's interruption returns no source.
    ///
    /// # Errors
    /// What epoll_wait(2) gives; none is expected.
    pub(crate) fn wait(&self, timeout: EpollTimeout) -> io::Result<Vec<Source>> {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.0.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut sources: Vec<Source> = events[..count]
            .iter()
            .map(|event| Source::of(event.data()))
            .collect();
        // A child's death before its end of file, and an order to drain before the next connection.
        sources.sort_by_key(|source| source.key());
        Ok(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn every_source_comes_back_as_what_it_is_and_what_must_be_known_first_comes_first() {
        let poll = Poll::new().unwrap();
        let sources = [
            Source::Listener(999),
            Source::Room(3),
            Source::Worker(3),
            Source::Launcher,
            Source::Zygote,
            Source::Leash,
            Source::Supervisor,
            Source::Signals,
        ];
        let pairs: Vec<_> = sources
            .map(|source| {
                let (ours, theirs) = UnixStream::pair().unwrap();
                poll.add(&ours, source).unwrap();
                (ours, theirs)
            })
            .into();
        assert_eq!(poll.wait(EpollTimeout::ZERO).unwrap(), [Source::Room(3)]);
        poll.remove(&pairs[1].0);
        let copies: Vec<_> = pairs.iter().map(|(ours, _)| ours.try_clone()).collect();
        poll.remove(&pairs[2].0);
        drop(pairs);
        assert_eq!(
            poll.wait(EpollTimeout::ZERO).unwrap(),
            [
                Source::Signals,
                Source::Supervisor,
                Source::Leash,
                Source::Zygote,
                Source::Launcher,
                Source::Listener(999)
            ]
        );
        drop(copies);
        assert!(poll.wait(EpollTimeout::ZERO).unwrap().is_empty());
    }
}

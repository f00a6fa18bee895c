//! Readiness by epoll(7), edge-triggered, each socket registered once, so that an event costs no
//! epoll_ctl. Room to write is only watched on a socket that was full once: a new socket has room,
//! and would report it by a useless event. Never in here: what a key means.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::step::NameStep;

/// The key of the events that [`Poller::notify`] makes; no registration may use it.
pub(crate) const NOTIFIED: u64 = u64::MAX;

/// Events taken in one turn. More stay in the kernel for the next.
const BATCH: usize = 256;

const INCOMING: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLET);
const BOTH: EpollFlags = INCOMING.union(EpollFlags::EPOLLOUT);

/// Events on a socket since it was last drained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// There is something to read, be it the end or an error.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// Behind what can be read now comes something that makes no further edge (the end, an error,
    /// urgent data): a short read does not mean that the socket is empty.
    pub more_behind: bool,
    /// The socket has failed (EPOLLERR), as after an RST.
    pub failed: bool,
    /// Both directions are over (EPOLLHUP).
    pub hung_up: bool,
}

impl Readiness {
    fn of(flags: EpollFlags) -> Self {
        let failed = flags.contains(EpollFlags::EPOLLERR);
        let hung_up = flags.contains(EpollFlags::EPOLLHUP);
        let behind = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLPRI;
        let more_behind = failed || hung_up || flags.intersects(behind);
        Self {
            readable: more_behind || flags.contains(EpollFlags::EPOLLIN),
            writable: failed || hung_up || flags.contains(EpollFlags::EPOLLOUT),
            more_behind,
            failed,
            hung_up,
        }
    }

    /// Adds what a later event says.
    #[inline]
    pub(crate) fn merge(&mut self, later: Self) {
        self.readable |= later.readable;
        self.writable |= later.writable;
        self.more_behind |= later.more_behind;
        self.failed |= later.failed;
        self.hung_up |= later.hung_up;
    }
}

/// An epoll instance that another thread can wake.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Epoll,
    wake: EventFd,
}

/// The events of one turn, reused from turn to turn.
#[derive(Debug)]
pub(crate) struct Events {
    slots: Vec<EpollEvent>,
    filled: usize,
}

impl Events {
    /// Room for a turn's events.
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![EpollEvent::empty(); BATCH],
            filled: 0,
        }
    }

    /// Each event's key and what happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Readiness)> + '_ {
        self.slots[..self.filled]
            .iter()
            .map(|event| (event.data(), Readiness::of(event.events())))
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Poller {
    /// Makes one.
    ///
    /// # Errors
    /// What epoll_create1(2) and eventfd(2) give: no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).step("epoll_create1(2)")?;
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .step("eventfd2(2)")?;
        // Edge-triggered, so the counter is never read: each write makes an edge of its own.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&wake, EpollEvent::new(flags, NOTIFIED))?;
        Ok(Self { epoll, wake })
    }

    /// Registers `source` for what comes in; closing it takes it off again, once no other process
    /// has it.
    ///
    /// # Errors
    /// What epoll_ctl(2) gives: no memory, too many watches.
    pub(crate) fn add(&self, source: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        Ok(self.epoll.add(source, EpollEvent::new(INCOMING, key))?)
    }

    /// As [`Poller::add`], for room to write too, which is also how connect(2) ends.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub(crate) fn add_both(&self, source: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        Ok(self.epoll.add(source, EpollEvent::new(BOTH, key))?)
    }

    /// Registers `source` for what comes in, level-triggered: what is left makes another event.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub(crate) fn add_level(&self, source: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, key);
        Ok(self.epoll.add(source, event)?)
    }

    /// From now on room to write is watched too. Room that came before makes an event at once.
    ///
    /// # Errors
    /// As [`Poller::add`]; `source` was not registered.
    pub(crate) fn watch_room(&self, source: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let mut event = EpollEvent::new(BOTH, key);
        Ok(self.epoll.modify(source, &mut event)?)
    }

    /// Takes `source` off.
    pub(crate) fn remove(&self, source: BorrowedFd<'_>) {
        // ENOENT: it is not there.
        let _ = self.epoll.delete(source);
    }

    /// Waits until something happens, at most `timeout` (`None`: for ever). An interruption by a
    /// signal comes back as an empty batch.
    ///
    /// # Errors
    /// What epoll_wait(2) gives; none is expected.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.filled = 0;
        match self.epoll.wait(&mut events.slots, milliseconds(timeout)) {
            Ok(filled) => events.filled = filled,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Wakes the thread that waits, or keeps its next wait from sleeping. Any thread may call it.
    pub(crate) fn notify(&self) {
        // EAGAIN: the counter is full after 2^64 wakings; emptying it makes room for this one.
        if let Err(Errno::EAGAIN) = self.wake.write(1) {
            let _ = self.wake.read();
            let _ = self.wake.write(1);
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// Rounded up: a wait that ends before its deadline would only be done again.
fn milliseconds(timeout: Option<Duration>) -> EpollTimeout {
    let Some(timeout) = timeout else {
        return EpollTimeout::NONE;
    };
    let up = timeout.as_nanos().div_ceil(1_000_000);
    let capped = i32::try_from(up).unwrap_or(i32::MAX);
    EpollTimeout::try_from(capped).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn turn(poller: &Poller, timeout: Duration) -> Vec<(u64, Readiness)> {
        let mut events = Events::new();
        poller.wait(&mut events, Some(timeout)).unwrap();
        events.iter().collect()
    }

    #[test]
    fn a_notification_makes_an_edge_each_time() {
        let poller = Poller::new().unwrap();
        for _ in 0..3 {
            poller.notify();
            assert_eq!(turn(&poller, Duration::from_secs(5))[0].0, NOTIFIED);
            assert!(turn(&poller, Duration::ZERO).is_empty());
        }
    }

    #[test]
    fn room_is_told_of_once_it_is_watched() {
        let poller = Poller::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        poller.add(ours.as_fd(), 7).unwrap();
        assert!(turn(&poller, Duration::ZERO).is_empty());
        while (&ours).write(&[1; 4096]).is_ok() {}
        poller.watch_room(ours.as_fd(), 7).unwrap();
        assert!(turn(&poller, Duration::ZERO).is_empty());
        while (&theirs).read(&mut [0; 65536]).is_ok() {}
        assert!(turn(&poller, Duration::from_secs(5))[0].1.writable);
    }

    #[test]
    fn the_end_of_a_stream_is_seen_behind_its_last_data() {
        let poller = Poller::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.add(ours.as_fd(), 7).unwrap();
        theirs.write_all(b"last").unwrap();
        drop(theirs);
        let events = turn(&poller, Duration::from_secs(5));
        assert_eq!(events[0].0, 7);
        assert!(events[0].1.readable && events[0].1.more_behind && events[0].1.hung_up);
        let mut all = Vec::new();
        (&ours).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"last");
    }

    #[test]
    fn a_wait_is_rounded_up_to_its_deadline() {
        assert_eq!(
            milliseconds(Some(Duration::from_micros(1))),
            EpollTimeout::from(1u8)
        );
        assert_eq!(milliseconds(Some(Duration::ZERO)), EpollTimeout::ZERO);
        assert_eq!(milliseconds(None), EpollTimeout::NONE);
        assert_eq!(
            milliseconds(Some(Duration::MAX)),
            EpollTimeout::try_from(i32::MAX).unwrap()
        );
    }
}

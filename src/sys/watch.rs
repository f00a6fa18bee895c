//! Waiting for descriptors, by the crate `polling`: the one loop of the supervisor and the helpers, which
//! wait seldom.
//!
//! Masters and relay threads use epoll(7) itself, in `master/poll.rs` and `relay/poller.rs`. `polling`
//! makes four more system calls each time it waits (timerfd_settime, an eventfd read and two epoll_ctl):
//! measured, 6.2 us of processor time a wait and not 1.1, so that the one wait or more that a master has
//! for each connection would cost over 2 % of a handshake of 249 us. It hides EPOLLRDHUP besides, which
//! relay threads need.

#![expect(unsafe_code, reason = "registering with `polling`")]

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use polling::{Event, Events, PollMode, Poller};

use crate::step::NameStep;

/// Events taken in one turn. More stay in the kernel for the next.
const BATCH: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// Pause when the kernel has no memory for a call: its next turn may have.
const PAUSE: Duration = Duration::from_millis(100);
/// How often something is tried to be watched.
const TRIES: u32 = 4;

/// What is waited for on a descriptor. Its end and its errors always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Nothing but the end.
    End,
}

/// What a process waits for, each thing under a number of its own.
pub(crate) trait Source: Copy {
    /// The number; `usize::MAX` is `polling`'s own.
    fn key(self) -> usize;
    /// The source with this number, which was one of [`Source::key`].
    fn of(key: usize) -> Self;
    /// What is waited for.
    fn interest(self) -> Interest;
}

/// Level-triggered: what was not dealt with comes again.
pub(crate) struct Watch<S> {
    poller: Poller,
    events: RefCell<Events>,
    sources: PhantomData<S>,
}

impl<S: Source> Watch<S> {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What epoll_create1(2) and its like give: no descriptors left.
    pub(crate) fn new() -> io::Result<Watch<S>> {
        Ok(Watch {
            poller: Poller::new().step("epoll_create1(2)")?,
            events: RefCell::new(Events::with_capacity(BATCH)),
            sources: PhantomData,
        })
    }

    /// From now on `fd` is watched as `source`, until [`Watch::remove`]. Where the kernel has no memory
    /// for it, it is tried again, a few tenths of a second long.
    ///
    /// # Errors
    /// What epoll_ctl(2) gives: no memory, too many watches.
    pub(crate) fn add(&self, fd: impl AsFd, source: S) -> io::Result<()> {
        let borrowed = fd.as_fd();
        let (fd, event) = (borrowed.as_raw_fd(), event(source));
        let mut tries = 1..TRIES;
        loop {
            // SAFETY: `polling` asks for this where a poller looks at descriptors by itself. epoll(7),
            // all there is on Linux, holds the open file: closed too early, it costs an event of a
            // source that is gone, which every caller passes over.
            let added = unsafe { self.poller.add_with_mode(fd, event, PollMode::Level) };
            match added {
                Err(error) if is_short(&error) && tries.next().is_some() => sleep(PAUSE),
                // It was not removed, since the kernel had no memory for that.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return self.change(borrowed, source);
                }
                added => return added,
            }
        }
    }

    /// From now on `fd`, which is watched, is watched as another source.
    ///
    /// # Errors
    /// As [`Watch::add`].
    pub(crate) fn change(&self, fd: impl AsFd, source: S) -> io::Result<()> {
        self.poller
            .modify_with_mode(fd.as_fd(), event(source), PollMode::Level)
    }

    /// `fd` is watched no more. To close it is not enough where another process, or a thread that is
    /// at work, has a copy.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // ENOENT: it was not watched.
        let _ = self.poller.delete(fd.as_fd());
    }

    /// Waits until something happens or the time has come. What passes, as the kernel's lack of memory,
    /// comes back as nothing.
    ///
    /// # Errors
    /// What epoll_wait(2) gives; none is expected.
    pub(crate) fn wait(&self, until: Option<Instant>) -> io::Result<Vec<S>> {
        let events = &mut *self.events.borrow_mut();
        events.clear();
        let waited = match until {
            Some(until) => self.poller.wait_deadline(events, until),
            None => self.poller.wait(events, None),
        };
        match waited {
            Ok(_) => Ok(events.iter().map(|event| S::of(event.key)).collect()),
            Err(error) => pause(error),
        }
    }

    /// As [`Watch::wait`], for these descriptors and for this call alone: nothing stays watched. For
    /// processes that fork: a child shares what is watched, and its copies would keep it alive.
    ///
    /// # Errors
    /// As [`Watch::add`] and [`Watch::wait`].
    pub(crate) fn wait_for(
        &self,
        sources: &[(S, BorrowedFd<'_>)],
        until: Option<Instant>,
    ) -> io::Result<Vec<S>> {
        let mut added = sources.iter().map(|(source, fd)| self.add(fd, *source));
        let waited = match added.find_map(Result::err) {
            None => self.wait(until),
            Some(error) => pause(error),
        };
        for (_, fd) in sources {
            self.remove(fd);
        }
        waited
    }
}

impl<S> fmt::Debug for Watch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.poller.fmt(f)
    }
}

fn event<S: Source>(source: S) -> Event {
    let key = source.key();
    match source.interest() {
        Interest::Read => Event::readable(key),
        Interest::Write => Event::writable(key),
        Interest::End => Event::none(key),
    }
}

/// Nothing, a moment later, where the kernel was short of something.
fn pause<S>(error: io::Error) -> io::Result<Vec<S>> {
    if !is_short(&error) {
        return Err(error);
    }
    sleep(PAUSE);
    Ok(Vec::new())
}

/// Whether the kernel has no memory, or no room for another watch, just now.
fn is_short(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOMEM | Errno::ENOSPC))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Numbered(usize, Interest);

    impl Source for Numbered {
        fn key(self) -> usize {
            self.0 << 2 | self.1 as usize
        }

        fn of(key: usize) -> Self {
            let interests = [Interest::Read, Interest::Write, Interest::End];
            Numbered(key >> 2, interests[key & 3])
        }

        fn interest(self) -> Interest {
            self.1
        }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    #[test]
    fn what_was_not_dealt_with_comes_again_until_it_is_removed() {
        let watch = Watch::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let read = Numbered(7, Interest::Read);
        watch.add(&far, read).unwrap();
        assert_eq!(watch.wait(soon()).unwrap(), []);
        near.write_all(b"x").unwrap();
        assert_eq!(watch.wait(None).unwrap(), [read]);
        assert_eq!(watch.wait(None).unwrap(), [read]);
        let write = Numbered(8, Interest::Write);
        watch.change(&far, write).unwrap();
        assert_eq!(watch.wait(None).unwrap(), [write]);
        watch.remove(&far);
        watch.remove(&far);
        assert_eq!(watch.wait(soon()).unwrap(), []);
    }

    #[test]
    fn an_end_is_told_and_what_comes_before_it_is_not() {
        let watch = Watch::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let end = Numbered(1, Interest::End);
        watch.add(&reader, end).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(watch.wait(soon()).unwrap(), []);
        drop(writer);
        assert_eq!(watch.wait(None).unwrap(), [end]);
    }

    #[test]
    fn what_is_watched_for_one_call_is_not_watched_afterwards() {
        let watch = Watch::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"x").unwrap();
        let read = Numbered(usize::MAX >> 3, Interest::Read);
        for _ in 0..2 {
            assert_eq!(
                watch.wait_for(&[(read, far.as_fd())], None).unwrap(),
                [read]
            );
        }
        assert_eq!(watch.wait(soon()).unwrap(), []);
        // What the kernel cannot watch is an error, and leaves nothing behind.
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let both = [(read, far.as_fd()), (read, file.as_fd())];
        assert!(watch.wait_for(&both, None).is_err());
        assert_eq!(watch.wait(soon()).unwrap(), []);
    }
}

//! Addresses of one name side by side (happy eyeballs, RFC 8305): the next is tried where the last has not answered
//! soon, and the first that connects wins. Never in here: which address is the next; an address of another name.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Connection;
use super::attempt::{Attempt, Judged, judge};
use crate::debug;
use crate::ipc::addresses::{self, AddressRow};
use crate::log::Log;
use crate::relay::Upstream;
use crate::relay::poller::Readiness;
use crate::relay::resources::Resources;
use crate::relay::step::Context;

/// How long an address has before the next is tried beside it: RFC 8305, section 8.
const HEAD_START: Duration = Duration::from_millis(250);
/// The shortest that it ever is: there too.
const SHORTEST: Duration = Duration::from_millis(10);

/// POLLRDHUP, which nix has no name for.
const END: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);

/// The attempts at addresses of one name that go on beside the stage's own.
#[derive(Debug, Default)]
pub(super) struct Race {
    /// Begun before the stage's own, the oldest first.
    rivals: Vec<Attempt>,
    /// When the name that is tried is given up, and how long its next address waits.
    entry: Option<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    deadline: Instant,
    head_start: Duration,
}

/// Whether both are addresses of one `connect` entry.
pub(super) fn of_one_entry(one: &Upstream, other: &Upstream) -> bool {
    match (one, other) {
        (Upstream::Tcp(address, host), Upstream::Tcp(next, other)) => {
            address.port() == next.port() && host == other
        }
        (Upstream::Unix(_), _) | (_, Upstream::Unix(_)) => false,
    }
}

impl Race {
    /// Whether the stage's own attempt is the only one.
    pub(super) fn is_single(&self) -> bool {
        self.rivals.is_empty()
    }

    /// The next address to try, of those that are left (the last one first), and when it is to be given up.
    pub(super) fn next(
        &mut self,
        left: &mut Vec<Upstream>,
        failed: &[Upstream],
        now: Instant,
        timeout: Duration,
    ) -> Option<(Upstream, Instant)> {
        let last = self.rivals.last().map(|rival| &rival.upstream);
        let goes_on = last.or(failed.last()).zip(left.last());
        let goes_on = goes_on.is_some_and(|(last, next)| of_one_entry(last, next));
        if !goes_on && !self.is_single() {
            return None;
        }
        let upstream = left.pop()?;
        let entry = match self.entry.filter(|_| goes_on) {
            Some(entry) => entry,
            None => {
                let others = left.iter().rev();
                let others = others.take_while(|other| of_one_entry(&upstream, other));
                Entry::new(others.count(), now, timeout)
            }
        };
        self.entry = Some(entry);
        Some((upstream, entry.deadline))
    }

    /// When the address after this attempt's is due, if one of the same name is left.
    pub(super) fn next_at(&self, attempt: &Attempt, left: &[Upstream]) -> Option<Instant> {
        let next = left.last()?;
        let entry = self.entry?;
        of_one_entry(&attempt.upstream, next).then(|| attempt.began + entry.head_start)
    }

    /// The attempt goes on beside the next one.
    pub(super) fn add(&mut self, attempt: Attempt, log: &Log) {
        let head_start = self.entry.map_or(HEAD_START, |entry| entry.head_start);
        debug!(
            log,
            "s_connect: no answer from {} within {} ms: trying the next address beside it",
            attempt.upstream,
            head_start.as_millis()
        );
        self.rivals.push(attempt);
    }

    /// The attempt that goes on when no other can be begun.
    pub(super) fn take(&mut self) -> Option<Attempt> {
        self.rivals.pop()
    }

    /// Takes note of what happened: an event does not tell on which of the sockets.
    pub(super) fn look(&mut self, own: Option<&mut Attempt>) {
        let mut all: Vec<&mut Attempt> = self.rivals.iter_mut().chain(own).collect();
        // The edge that tells of an end will not come again.
        let wanted = PollFlags::POLLIN | PollFlags::POLLOUT | END;
        let seen: Vec<Readiness> = {
            let sockets = all.iter().map(|attempt| attempt.socket.as_fd());
            let mut fds: Vec<PollFd<'_>> =
                sockets.map(|socket| PollFd::new(socket, wanted)).collect();
            if poll(&mut fds, PollTimeout::ZERO).is_err() {
                // For want of memory. An event or a deadline comes.
                return;
            }
            fds.iter().map(|fd| readiness(fd.revents())).collect()
        };
        for (attempt, seen) in all.iter_mut().zip(seen) {
            attempt.ready.merge(seen);
        }
    }

    /// How the attempts stand that began before the stage's own.
    pub(super) fn judge(
        &mut self,
        failed: &mut Vec<Upstream>,
        context: &mut Context<'_>,
    ) -> Option<Connection> {
        let mut before = Vec::new();
        let mut rivals = std::mem::take(&mut self.rivals).into_iter();
        while let Some(rival) = rivals.next() {
            let upstream = rival.upstream.clone();
            match judge(rival, failed, context) {
                Judged::Waiting(rival) => before.push(rival),
                Judged::Failed => {}
                Judged::Connected(connection) => {
                    let after: Vec<Attempt> = rivals.collect();
                    close(after, &upstream, context);
                    self.rivals = before;
                    self.lose(&upstream, context);
                    return Some(connection);
                }
            }
        }
        self.rivals = before;
        None
    }

    /// All that are left have been overtaken by the attempt at `winner`, which began later.
    pub(super) fn lose(&mut self, winner: &Upstream, context: &mut Context<'_>) {
        let losers = std::mem::take(&mut self.rivals);
        if !losers.is_empty() {
            let row = context
                .resources
                .scoreboard
                .addresses(context.common.index());
            note_losers(&losers, winner, row);
        }
        close(losers, winner, context);
    }

    /// Gives back what it holds.
    pub(super) fn release(self, resources: &mut Resources) {
        let sockets = self.rivals.into_iter().map(|rival| rival.socket);
        resources.closing.extend(sockets);
    }
}

impl Entry {
    /// Of a name with so many addresses beside the first: each of them is tried before its time is over.
    fn new(others: usize, now: Instant, timeout: Duration) -> Entry {
        let parts = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(2);
        Entry {
            deadline: now + timeout,
            head_start: HEAD_START.min(timeout / parts).max(SHORTEST),
        }
    }
}

fn note_losers(losers: &[Attempt], winner: &Upstream, row: AddressRow<'_>) {
    let now = addresses::now();
    for loser in losers {
        if let (Upstream::Tcp(slow, _), Upstream::Tcp(quick, _)) = (&loser.upstream, winner) {
            row.overtaken(*slow, *quick, now);
        }
    }
}

fn close(losers: Vec<Attempt>, winner: &Upstream, context: &mut Context<'_>) {
    for loser in losers {
        debug!(
            context.common.log,
            "s_connect: {} was quicker than {}", winner, loser.upstream
        );
        context.resources.closing.push(loser.socket);
    }
}

/// `None`: something that poll(2) tells unasked, and nix has no name for.
fn readiness(flags: Option<PollFlags>) -> Readiness {
    let unknown = flags.is_none();
    let flags = flags.unwrap_or(PollFlags::POLLIN | PollFlags::POLLOUT);
    let failed = flags.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL);
    let hung_up = flags.contains(PollFlags::POLLHUP);
    let over = failed || hung_up;
    Readiness {
        readable: over || flags.contains(PollFlags::POLLIN),
        writable: over || flags.contains(PollFlags::POLLOUT),
        more_behind: over || unknown,
        failed,
        hung_up,
    }
}

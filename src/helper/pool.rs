//! Answers clients by a pool of threads; those that ask the same share one piece of work. Each request belongs to a
//! lane ([`lanes`]), which has a share of the threads. What a kind does for its clients is its [`Work`]. Never in here:
//! what a request or an answer means.

mod lanes;
mod threads;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use zeroize::Zeroize;

use super::Post;
use super::words::{self, Heard};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::Unprivileged;
use crate::sys::watch::{self, Interest, Watch};
use threads::{Taken, Threads};

/// Requests taken from one client before the next has its turn.
const TURN: usize = 64;
/// How long a client that does not read may hold a thread, in milliseconds.
const WRITE_TIMEOUT_MS: u16 = 1000;

/// What a kind does for its clients.
pub(super) trait Work: Sized + Send + Sync + 'static {
    /// Pieces of work under way at a time; each has a thread.
    const THREADS: usize;
    /// So many of the threads stay when there is nothing to do.
    const KEPT: usize;
    /// So many of them one lane may hold.
    const SHARE: usize;
    /// How long a piece of work may take until it counts as one that never ends. Where those hold all that another
    /// may have, the process ends, and the supervisor starts another.
    const PATIENCE: Duration;
    /// What a thread is called, before its number.
    const THREAD: &'static str;
    /// Longest request, in bytes, and one more, so that a longer one does not pass for it.
    const MAX_PACKET: usize;
    /// Whether requests or answers have secrets, so that each packet is wiped.
    const SECRET: bool = false;

    /// What is done once, for all that ask for it.
    type Key: Clone + Eq + Hash + Send;
    /// What the first that asks says of it besides.
    type Terms: Send;
    /// For whose sake it is done.
    type Lane: Clone + Eq + Send;
    /// What the answer to one request needs of it.
    type Ticket: Send;
    /// What came of the work.
    type Outcome;

    /// A request from a packet; `None` if it is not one.
    fn decode(packet: &[u8]) -> Option<Asked<Self>>;

    /// Does the work, in a thread of the pool. It may take its time.
    fn perform(&self, key: &Self::Key, terms: Self::Terms) -> Self::Outcome;

    /// What those are told for which there is no room.
    fn overloaded(key: &Self::Key) -> Self::Outcome;

    /// The answer to one request, as a packet.
    fn encode(outcome: &Self::Outcome, ticket: Self::Ticket) -> Vec<u8>;
}

/// A request.
pub(super) struct Asked<W: Work> {
    pub key: W::Key,
    pub terms: W::Terms,
    pub lane: W::Lane,
    pub ticket: W::Ticket,
}

/// Answers clients until none is left that could ask.
///
/// Returns once the channel or the leash is at its end. Threads may be at work for a good while then, so the
/// process should go by `_exit`. Starts threads: the sandbox comes before.
///
/// # Errors
/// No thread can be started; waiting or the channel fails.
pub(super) fn serve<W: Work + Default>(post: Post, proof: &Unprivileged) -> io::Result<()> {
    serve_by(W::default(), post, proof)
}

/// As [`serve`], by what was made of the kind's belongings.
///
/// # Errors
/// As [`serve`].
pub(super) fn serve_by<W: Work>(work: W, post: Post, _: &Unprivileged) -> io::Result<()> {
    answer_all(work, &post.channel, &post.leash)
}

/// As [`serve`], which alone may be handed what is hostile.
fn answer_all<W: Work>(work: W, channel: &Channel, leash: &Leash) -> io::Result<()> {
    let threads = Threads::start(work)?;
    let watch = Watch::new()?;
    watch.add(leash, Source::Leash)?;
    watch.add(channel, Source::Channel)?;
    let mut clients: HashMap<usize, Client> = HashMap::new();
    let mut next = 0;
    let mut packet = vec![0; W::MAX_PACKET];
    loop {
        let ready = watch.wait(None)?;
        if ready.contains(&Source::Leash) {
            return Ok(());
        }
        for source in &ready {
            let Source::Client(number) = source else {
                continue;
            };
            if let Some(client) = clients.get(number)
                && !take_requests(client, &mut packet, &threads)?
            {
                // Work under way may hold it open.
                watch.remove(&**client);
                clients.remove(number);
            }
        }
        if ready.contains(&Source::Channel) {
            let new = match words::hear(channel)? {
                Heard::Clients(clients) => clients,
                Heard::News(..) | Heard::Nothing => Vec::new(),
                Heard::End => return Ok(()),
            };
            for client in new {
                // Closed for want of memory, it is introduced again.
                if watch.add(&client, Source::Client(next)).is_ok() {
                    clients.insert(next, Arc::new(client));
                    next += 1;
                }
            }
        }
    }
}

/// What is waited for; clients by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Leash,
    Channel,
    Client(usize),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Leash => 0,
            Source::Channel => 1,
            Source::Client(number) => 2 + number,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Channel,
            key => Source::Client(key - 2),
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Channel | Source::Client(_) => Interest::Read,
        }
    }
}

/// A client's socket; work that is under way keeps it open. Each call on it says that it must not wait.
type Client = Arc<OwnedFd>;

/// A request that waits for its answer.
struct Waiter<W: Work> {
    client: Client,
    ticket: W::Ticket,
}

/// Takes what a client asks; false when it is gone.
///
/// # Errors
/// Work that never ends leaves no thread for this.
fn take_requests<W: Work>(
    client: &Client,
    packet: &mut [u8],
    threads: &Threads<W>,
) -> io::Result<bool> {
    for _ in 0..TURN {
        match recv(client.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                // A client that sends what is no request is broken, or worse: it is heard no more.
                let asked = W::decode(&packet[..length]);
                if W::SECRET {
                    packet[..length].zeroize();
                }
                let Some(asked) = asked else {
                    return Ok(false);
                };
                let client = Arc::clone(client);
                match threads.take(client, asked) {
                    Taken::Queued => {}
                    Taken::Refused(key, waiter) => tell(vec![waiter], &W::overloaded(&key)),
                    Taken::Stuck => return Err(stuck::<W>()),
                }
            }
            Err(Errno::EINTR) => (),
            Err(Errno::EAGAIN) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn stuck<W: Work>() -> io::Error {
    let seconds = W::PATIENCE.as_secs();
    io::Error::other(format!(
        "no {} of those that others wait for has ended for {seconds} s",
        W::THREAD
    ))
}

/// Tells all that waited. A client that does not read loses its answers; it has time limits of its own.
fn tell<W: Work>(waiters: Vec<Waiter<W>>, outcome: &W::Outcome) {
    let mut deaf: Vec<Client> = Vec::new();
    for Waiter { client, ticket } in waiters {
        if deaf.iter().any(|other| Arc::ptr_eq(other, &client)) {
            continue;
        }
        let mut packet = W::encode(outcome, ticket);
        if !answer(&client, &packet) {
            deaf.push(client);
        }
        if W::SECRET {
            packet.zeroize();
        }
    }
}

/// Sends an answer; false if it could not be sent.
fn answer(client: &Client, packet: &[u8]) -> bool {
    loop {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(client.as_raw_fd(), packet, flags) {
            Ok(_) => return true,
            Err(Errno::EINTR) => (),
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
                if !matches!(poll(&mut fds, PollTimeout::from(WRITE_TIMEOUT_MS)), Ok(1..)) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

/// What serves, for the tests of clients.
#[cfg(test)]
pub(super) mod support {
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A helper in a thread of this process.
    pub(in crate::helper) struct Served {
        pub control: Channel,
        pub leash: io::PipeWriter,
        pub thread: JoinHandle<io::Result<()>>,
    }

    impl Served {
        pub(in crate::helper) fn start<W: Work + Default>() -> Self {
            Self::start_by(W::default())
        }

        pub(in crate::helper) fn start_by<W: Work>(work: W) -> Self {
            let (control, theirs) = Channel::pair().unwrap();
            let (reader, leash) = io::pipe().unwrap();
            let thread =
                thread::spawn(move || answer_all(work, &theirs, &OwnedFd::from(reader).into()));
            Self {
                control,
                leash,
                thread,
            }
        }

        /// The sockets of clients that are introduced by one word.
        pub(in crate::helper) fn clients<const N: usize>(&self) -> [OwnedFd; N] {
            let pairs: [_; N] = std::array::from_fn(|_| Channel::pair().unwrap());
            let theirs = pairs.each_ref().map(|(_, theirs)| theirs.as_fd());
            self.control.send(b"c", &theirs, MsgFlags::empty()).unwrap();
            pairs.map(|(ours, _)| ours.into())
        }
    }
}

#[cfg(test)]
mod tests;

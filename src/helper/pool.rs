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
mod tests {
    use std::sync::{Barrier, mpsc};
    use std::thread;
    use std::time::Instant;

    use super::support::Served;
    use super::threads::QUEUE;
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Says again what it is asked, with the ticket of the first that asked it and the waiter's own, which is a
    /// request's last byte. What starts with `!` is no request.
    #[derive(Default)]
    struct Echo;

    /// Where `same` is met as it starts, and again before it goes on.
    static GATE: Barrier = Barrier::new(2);

    impl Work for Echo {
        const THREADS: usize = 1;
        const KEPT: usize = 1;
        const SHARE: usize = 1;
        const PATIENCE: Duration = Duration::MAX;
        const THREAD: &'static str = "echo";
        const MAX_PACKET: usize = 8 + 1;

        type Key = Vec<u8>;
        type Terms = u8;
        type Lane = ();
        type Ticket = u8;
        type Outcome = Vec<u8>;

        fn decode(packet: &[u8]) -> Option<Asked<Self>> {
            let (ticket, key) = packet.split_last()?;
            (packet.len() < Self::MAX_PACKET && !key.starts_with(b"!")).then(|| Asked {
                key: key.to_vec(),
                terms: *ticket,
                lane: (),
                ticket: *ticket,
            })
        }

        fn perform(&self, key: &Vec<u8>, first: u8) -> Vec<u8> {
            if key == b"same" {
                GATE.wait();
                GATE.wait();
            }
            [key.as_slice(), &[b' ', first]].concat()
        }

        fn overloaded(key: &Vec<u8>) -> Vec<u8> {
            [key.as_slice(), b" no"].concat()
        }

        fn encode(outcome: &Vec<u8>, ticket: u8) -> Vec<u8> {
            [outcome.as_slice(), &[b' ', ticket]].concat()
        }
    }

    fn say(client: &OwnedFd, packet: &[u8]) {
        send(client.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL).unwrap();
    }

    /// The next answer; empty at the end.
    fn heard(client: &OwnedFd) -> String {
        let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
        let mut packet = [0; 64];
        let length = recv(client.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT).unwrap();
        String::from_utf8(packet[..length].to_vec()).unwrap()
    }

    #[test]
    fn those_that_ask_the_same_share_one_piece_of_work_and_what_finds_no_room_is_told() {
        let served = Served::start::<Echo>();
        let [one, other] = served.clients();
        say(&one, b"same1");
        GATE.wait();
        for number in 0..=QUEUE {
            say(&one, format!("{number:04}n").as_bytes());
        }
        assert_eq!(heard(&one), format!("{QUEUE} no n"));
        // For the same there is room. That no more finds any says that what came before it was taken.
        for (client, same) in [(&one, b"same2"), (&other, b"same3")] {
            say(client, same);
            say(client, b"morem");
            assert_eq!(heard(client), "more no m");
        }
        GATE.wait();
        assert_eq!(heard(&one), "same 1 1");
        assert_eq!(heard(&one), "same 1 2");
        assert_eq!(heard(&other), "same 1 3");
        for number in 0..QUEUE {
            assert_eq!(heard(&one), format!("{number:04} n n"));
        }
    }

    #[test]
    fn a_client_that_sends_nonsense_is_let_go_of_and_the_others_are_not() {
        let served = Served::start::<Echo>();
        let [bad, long, good] = served.clients();
        for (client, nonsense) in [(&bad, b"!1".as_slice()), (&long, b"longer than one")] {
            say(client, nonsense);
            assert_eq!(heard(client), "");
        }
        say(&good, b"good1");
        assert_eq!(heard(&good), "good 1 1");
    }

    #[test]
    fn it_ends_with_its_supervisor_or_its_control() {
        for by_leash in [true, false] {
            let Served {
                control,
                leash,
                thread,
            } = Served::start::<Echo>();
            let (mut control, mut leash) = (Some(control), Some(leash));
            match by_leash {
                true => drop(leash.take()),
                false => drop(control.take()),
            }
            let (done, waits) = mpsc::channel();
            thread::spawn(move || done.send(thread.join()));
            waits.recv_timeout(DEADLINE).unwrap().unwrap().unwrap();
            drop((control, leash));
        }
    }

    /// Never answers, unless it is asked for `quick`. The lane is a request's first byte.
    #[derive(Default)]
    struct Never<const SHARE: usize, const SECONDS: u64>;

    impl<const SHARE: usize, const SECONDS: u64> Work for Never<SHARE, SECONDS> {
        const THREADS: usize = 8;
        const KEPT: usize = 1;
        const SHARE: usize = SHARE;
        const PATIENCE: Duration = Duration::from_secs(SECONDS);
        const THREAD: &'static str = "never";
        const MAX_PACKET: usize = 8;

        type Key = Vec<u8>;
        type Terms = ();
        type Lane = u8;
        type Ticket = ();
        type Outcome = ();

        fn decode(packet: &[u8]) -> Option<Asked<Self>> {
            let (lane, key) = packet.split_first()?;
            Some(Asked {
                key: key.to_vec(),
                terms: (),
                lane: *lane,
                ticket: (),
            })
        }

        fn perform(&self, key: &Vec<u8>, (): ()) {
            if key != b"quick" {
                loop {
                    thread::park();
                }
            }
        }

        fn overloaded(_: &Vec<u8>) {}

        fn encode((): &(), (): ()) -> Vec<u8> {
            b"done".to_vec()
        }
    }

    #[test]
    fn what_never_ends_in_one_lane_delays_no_other_that_asks_for_the_same_or_for_something_else() {
        let served = Served::start::<Never<2, 3600>>();
        let [client] = served.clients();
        for number in 0..20 {
            say(&client, format!("a{number}").as_bytes());
        }
        // It waits in a's queue as well.
        for packet in [b"aquick", b"bquick"] {
            say(&client, packet);
        }
        assert_eq!(heard(&client), "done");
        assert_eq!(heard(&client), "done");
        say(&client, b"cquick");
        assert_eq!(heard(&client), "done");
    }

    #[test]
    fn it_ends_when_nothing_of_what_is_waited_for_ever_ends() {
        let served = Served::start::<Never<2, 0>>();
        let [client] = served.clients();
        let end = Instant::now() + DEADLINE;
        // The two that never end must have begun.
        for number in 0.. {
            let packet = format!("a{number}");
            let sent = send(
                client.as_raw_fd(),
                packet.as_bytes(),
                MsgFlags::MSG_NOSIGNAL,
            );
            if sent.is_err() || served.thread.is_finished() {
                break;
            }
            assert!(Instant::now() < end, "{number}");
            thread::yield_now();
        }
        let error = served.thread.join().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "no never of those that others wait for has ended for 0 s"
        );
    }
}

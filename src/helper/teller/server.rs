//! The process's loop: news from the supervisor, requests from clients. One thread. No client is waited
//! for: each has its time, and one too many costs the oldest its place.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, SockaddrStorage, getsockname, recv, send, shutdown};

use super::http::{self, MAX_REQUEST, Progress};
use super::known::{self, Known};
use super::page::Whence;
use crate::helper::Post;
use crate::ipc::accept::accept;
use crate::ipc::channel::Channel;
use crate::jail::Unprivileged;
use crate::sys::watch::{self, Interest, Watch};

/// Clients at a time.
const MAX_CLIENTS: usize = 32;
/// How long a client may take for its request, and again for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what a client goes on to send is thrown away: closed before, its answer would be lost.
const LINGERING: Duration = Duration::from_secs(1);
/// How long to accept no client when descriptors run out.
const PAUSE: Duration = Duration::from_secs(1);
/// Reads, words or clients taken in a row before others have their turn.
const TURN: usize = 16;

/// Answers until the channel or the leash is at its end. The listener is the first of the belongings; what asks the
/// kernel for the queues comes behind it, if it does.
///
/// # Errors
/// There is no listener; waiting or the channel fails.
pub(super) fn serve(post: Post, _: &Unprivileged) -> io::Result<()> {
    let mut belongings = post.belongings.into_iter();
    let listener = belongings.next();
    let listener = listener.ok_or_else(|| io::Error::other("there is no listener"))?;
    let watch = Watch::new()?;
    watch.add(&post.leash, Source::Leash)?;
    watch.add(&post.channel, Source::Channel)?;
    Server {
        watch,
        listener,
        taking: false,
        paused_until: None,
        clients: BTreeMap::new(),
        next: 0,
        known: Known::new(belongings.next()),
    }
    .run(&post.channel)
}

/// What is waited for; clients by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Leash,
    Channel,
    Listener,
    Reading(usize),
    Writing(usize),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Leash => 0,
            Source::Channel => 1,
            Source::Listener => 2,
            Source::Reading(number) => 4 + 2 * number,
            Source::Writing(number) => 5 + 2 * number,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Channel,
            2 | 3 => Source::Listener,
            key if key % 2 == 0 => Source::Reading((key - 4) / 2),
            key => Source::Writing((key - 5) / 2),
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Channel | Source::Listener | Source::Reading(_) => Interest::Read,
            Source::Writing(_) => Interest::Write,
        }
    }
}

struct Server {
    watch: Watch<Source>,
    listener: OwnedFd,
    /// The listener is watched.
    taking: bool,
    paused_until: Option<Instant>,
    /// By number, the oldest first.
    clients: BTreeMap<usize, Client>,
    next: usize,
    known: Known,
}

impl Server {
    fn run(mut self, channel: &Channel) -> io::Result<()> {
        loop {
            let now = Instant::now();
            self.clients.retain(|_, client| now < client.deadline);
            self.paused_until.take_if(|until| *until <= now);
            self.look_at_the_listener()?;
            let deadlines = self.clients.values().map(|client| client.deadline);
            let until = deadlines.chain(self.paused_until).min();
            let ready = self.watch.wait(until)?;
            if ready.contains(&Source::Leash) {
                return Ok(());
            }
            // Before the clients, so that they are told the newest.
            if ready.contains(&Source::Channel) && !self.known.hear(channel)? {
                return Ok(());
            }
            for source in &ready {
                if let Source::Reading(number) | Source::Writing(number) = source {
                    self.go_on(*number);
                }
            }
            if ready.contains(&Source::Listener) {
                self.take();
            }
        }
    }

    /// Nothing can be answered before the supervisor has said the first word, nor without a descriptor:
    /// clients wait in the listener's queue.
    fn look_at_the_listener(&mut self) -> io::Result<()> {
        let takes = self.paused_until.is_none() && self.known.has_been_told();
        match (self.taking, takes) {
            (false, true) => self.watch.add(&self.listener, Source::Listener)?,
            (true, false) => self.watch.remove(&self.listener),
            _ => {}
        }
        self.taking = takes;
        Ok(())
    }

    /// Takes clients off the listener.
    fn take(&mut self) {
        for _ in 0..TURN {
            match accept(self.listener.as_fd()) {
                Ok((socket, peer)) => self.begin(socket, peer),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return,
                    // This one is gone already.
                    Some(Errno::ECONNABORTED | Errno::EINTR) => {}
                    _ => {
                        self.paused_until = Some(Instant::now() + PAUSE);
                        return;
                    }
                },
            }
        }
    }

    fn begin(&mut self, socket: OwnedFd, peer: Option<SocketAddr>) {
        if self.clients.len() >= MAX_CLIENTS {
            self.clients.pop_first();
        }
        let number = self.next;
        self.next += 1;
        // Without memory for it there is none for an answer.
        if self.watch.add(&socket, Source::Reading(number)).is_ok() {
            self.clients.insert(number, Client::new(socket, peer));
        }
    }

    fn go_on(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        let before = client.source(number);
        let goes_on = client.go_on(&mut self.known);
        let source = client.source(number);
        if !goes_on || (source != before && self.watch.change(&client.socket, source).is_err()) {
            self.clients.remove(&number);
        }
    }
}

/// A connection, for one request.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    whence: Whence,
    stage: Stage,
    /// When it is closed, whatever it does.
    deadline: Instant,
}

#[derive(Debug)]
enum Stage {
    /// What came of the request.
    Asking(Vec<u8>),
    /// The answer, and how much of it was sent.
    Answering(Vec<u8>, usize),
    /// It was answered; what it still sends is thrown away.
    Lingering,
}

impl Client {
    fn new(socket: OwnedFd, peer: Option<SocketAddr>) -> Client {
        let whence = peer.map_or(Whence::Here, |peer| whence(&socket, peer));
        Client {
            socket,
            whence,
            stage: Stage::Asking(Vec::new()),
            deadline: Instant::now() + REQUEST_TIMEOUT,
        }
    }

    /// What it waits for.
    fn source(&self, number: usize) -> Source {
        match self.stage {
            Stage::Asking(_) | Stage::Lingering => Source::Reading(number),
            Stage::Answering(..) => Source::Writing(number),
        }
    }

    /// Reads, answers, writes; false when it is over.
    fn go_on(&mut self, known: &mut Known) -> bool {
        for _ in 0..TURN {
            let went = match &mut self.stage {
                Stage::Asking(request) => match read(&self.socket, request, MAX_REQUEST) {
                    Ok(0) => return false,
                    Ok(_) => {
                        let answer = match http::read(request) {
                            Progress::More => continue,
                            Progress::Request(request) => known.answer(&request, self.whence),
                            Progress::Refused(status) => known::refusal(status, false),
                        };
                        self.deadline = Instant::now() + REQUEST_TIMEOUT;
                        self.stage = Stage::Answering(answer, 0);
                        continue;
                    }
                    Err(errno) => Err(errno),
                },
                Stage::Answering(answer, sent) if *sent == answer.len() => {
                    if shutdown(self.socket.as_raw_fd(), Shutdown::Write).is_err() {
                        return false;
                    }
                    self.deadline = Instant::now() + LINGERING;
                    self.stage = Stage::Lingering;
                    continue;
                }
                Stage::Answering(answer, sent) => {
                    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                    send(self.socket.as_raw_fd(), &answer[*sent..], flags).map(|n| *sent += n)
                }
                Stage::Lingering => match read(&self.socket, &mut Vec::new(), MAX_REQUEST) {
                    Ok(0) => return false,
                    read => read.map(drop),
                },
            };
            match went {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(errno) => return errno == Errno::EAGAIN,
            }
        }
        true
    }
}

/// Where a peer is: one that has the address that it asked is on this machine.
fn whence(socket: &OwnedFd, peer: SocketAddr) -> Whence {
    let own = getsockname::<SockaddrStorage>(socket.as_raw_fd());
    let own = own.ok().and_then(|own| {
        let v4 = own.as_sockaddr_in().map(|own| own.ip().into());
        v4.or_else(|| own.as_sockaddr_in6().map(|own| own.ip().to_canonical()))
    });
    let peer = peer.ip().to_canonical();
    match peer.is_loopback() || own == Some(peer) {
        true => Whence::Here,
        false => Whence::At(peer),
    }
}

/// Reads what there is, up to `most` bytes in all; how much more there is now.
fn read(socket: &OwnedFd, into: &mut Vec<u8>, most: usize) -> nix::Result<usize> {
    let before = into.len();
    into.resize(most.max(before), 0);
    let read = recv(
        socket.as_raw_fd(),
        &mut into[before..],
        MsgFlags::MSG_DONTWAIT,
    );
    into.truncate(before + read.unwrap_or(0));
    read
}

//! The process's loop: news from the supervisor, requests from clients. One thread. No client is waited
//! for: each has its time, and one too many costs the oldest its place.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::exposition::{self, Boards, CONTENT_TYPE, Seen, Totals};
use super::health;
use super::http::{self, MAX_REQUEST, Progress, Request, Status};
use super::news::{self, News};
use super::picture::Picture;
use crate::helper::Post;
use crate::helper::words::{self, Heard};
use crate::ipc::accept::accept;
use crate::ipc::channel::Channel;
use crate::ipc::scoreboard::ReadOnlyBoard;
use crate::jail::Unprivileged;
use crate::sys::queues;
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

const TEXT: &str = "text/plain; charset=utf-8";

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
        known: Known {
            kernel: belongings.next(),
            ..Known::default()
        },
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
        let takes = self.paused_until.is_none() && self.known.picture.is_some();
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
                Ok((socket, _)) => self.begin(socket),
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

    fn begin(&mut self, socket: OwnedFd) {
        if self.clients.len() >= MAX_CLIENTS {
            self.clients.pop_first();
        }
        let number = self.next;
        self.next += 1;
        // Without memory for it there is none for an answer.
        if self.watch.add(&socket, Source::Reading(number)).is_ok() {
            self.clients.insert(number, Client::new(socket));
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

/// What the supervisor has told.
#[derive(Debug, Default)]
struct Known {
    picture: Option<Picture>,
    boards: Boards,
    totals: Totals,
    /// Where the kernel is asked for the listeners' queues.
    kernel: Option<OwnedFd>,
}

impl Known {
    /// Hears what the supervisor says; false at its end.
    fn hear(&mut self, channel: &Channel) -> io::Result<bool> {
        for _ in 0..TURN {
            match words::hear(channel)? {
                Heard::News(head, descriptors) => self.learn(&head, descriptors),
                // None is introduced here.
                Heard::Clients(_) => {}
                Heard::Nothing => return Ok(true),
                Heard::End => return Ok(false),
            }
        }
        Ok(true)
    }

    fn learn(&mut self, head: &[u8], descriptors: Vec<OwnedFd>) {
        match news::understand(head, descriptors) {
            Some(News::Board(size, memory)) => {
                let board = ReadOnlyBoard::of(&memory, size.workers, size.services);
                self.boards.extend(board.ok().map(|b| (size.generation, b)));
            }
            Some(News::Picture(picture)) => {
                let is_there = |number| picture.generations.iter().any(|g| g.number == number);
                self.boards.retain(|number, _| is_there(*number));
                // What it said is on the board and in the picture now, and may be on neither later.
                self.totals.update(&picture, &self.boards);
                self.picture = Some(picture);
            }
            None => {}
        }
    }

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let Some(picture) = &self.picture else {
            return refusal(Status::Unavailable, request.head);
        };
        let health = health::check(picture, &self.boards);
        let (status, kind, body) = match (&*request.path, health) {
            ("/metrics", health) => {
                self.totals.update(picture, &self.boards);
                let queues = self
                    .kernel
                    .as_ref()
                    .and_then(|kernel| queues::of_listeners(kernel).ok());
                // Refused once, it is refused the next time.
                self.kernel.take_if(|_| queues.is_none());
                let seen = Seen {
                    picture,
                    boards: &self.boards,
                    totals: &self.totals,
                    healthy: health.is_ok(),
                };
                let page = exposition::page(&seen, queues.as_ref());
                (Status::Ok, CONTENT_TYPE, page)
            }
            ("/health", Ok(())) => (Status::Ok, TEXT, "ok\n".to_owned()),
            ("/health", Err(why)) => (Status::Unavailable, TEXT, why + "\n"),
            _ => return refusal(Status::NotFound, request.head),
        };
        http::answer(status, kind, &body, request.head)
    }
}

fn refusal(status: Status, head: bool) -> Vec<u8> {
    let body = match status {
        Status::NotFound => "There are /metrics and /health.\n".to_owned(),
        status => format!("{}\n", status.line()),
    };
    http::answer(status, TEXT, &body, head)
}

/// A connection, for one request.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
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
    fn new(socket: OwnedFd) -> Client {
        Client {
            socket,
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
                            Progress::Request(request) => known.answer(&request),
                            Progress::Refused(status) => refusal(status, false),
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

//! The process's loop: news from the supervisor, requests from clients. One thread. No client is waited
//! for: each has its time, and one too many costs the oldest its place.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::exposition::{self, Boards, CONTENT_TYPE, Totals};
use super::health;
use super::http::{self, MAX_REQUEST, Progress, Request, Status};
use super::news::{self, News};
use super::picture::Picture;
use crate::helper::Post;
use crate::helper::words::{self, Heard};
use crate::ipc::accept::accept;
use crate::ipc::channel::Channel;
use crate::ipc::scoreboard::ReadOnlyBoard;
use crate::ipc::wait::wait;
use crate::jail::Unprivileged;

/// Clients at a time.
const MAX_CLIENTS: usize = 32;
/// How long a client may take for its request, and again for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what a client goes on to send is thrown away: closed before, its answer would be lost.
const LINGERING: Duration = Duration::from_secs(1);
/// How long nobody is accepted when descriptors run out.
const PAUSE: Duration = Duration::from_secs(1);
/// Reads, words or clients taken in a row before others have their turn.
const TURN: usize = 16;

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers until the channel or the leash is at its end. The listener is the first of the belongings.
///
/// # Errors
/// There is no listener; poll(2) or the channel fails.
pub(super) fn serve(post: Post, _: &Unprivileged) -> io::Result<()> {
    let listener = post.belongings.into_iter().next();
    let listener = listener.ok_or_else(|| io::Error::other("there is no listener"))?;
    let mut clients: VecDeque<Client> = VecDeque::new();
    let mut known = Known::default();
    let mut paused_until: Option<Instant> = None;
    loop {
        let now = Instant::now();
        clients.retain(|client| now < client.deadline);
        paused_until.take_if(|until| *until <= now);
        let deadlines = clients.iter().map(|client| client.deadline);
        let timeout = timeout(deadlines.chain(paused_until).min(), now);
        let mut fds = vec![
            PollFd::new(post.leash.as_fd(), PollFlags::empty()),
            PollFd::new(post.channel.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(clients.iter().map(Client::interest));
        // Nothing can be answered before the supervisor has said the first word: clients wait in the queue.
        let taking = paused_until.is_none() && known.picture.is_some();
        if taking {
            fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        }
        if wait(&mut fds, timeout)? == 0 {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready[0] {
            return Ok(());
        }
        // Before the clients, so that they are told the newest.
        if ready[1] && !known.hear(&post.channel)? {
            return Ok(());
        }
        let mut polled = ready[2..].iter();
        clients.retain_mut(|client| {
            let ready = polled.next().copied().unwrap_or(false);
            !ready || client.go_on(&mut known)
        });
        if taking && ready[ready.len() - 1] && !take(&listener, &mut clients) {
            paused_until = Some(Instant::now() + PAUSE);
        }
    }
}

fn timeout(soonest: Option<Instant>, now: Instant) -> PollTimeout {
    let Some(soonest) = soonest else {
        return PollTimeout::NONE;
    };
    let left = soonest.saturating_duration_since(now);
    PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

/// Takes clients off the listener; false when none can be had just now.
fn take(listener: &OwnedFd, clients: &mut VecDeque<Client>) -> bool {
    for _ in 0..TURN {
        match accept(listener.as_fd()) {
            Ok((socket, _)) => {
                if clients.len() >= MAX_CLIENTS {
                    clients.pop_front();
                }
                clients.push_back(Client::new(socket));
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => return true,
                // This one is gone already.
                Some(Errno::ECONNABORTED | Errno::EINTR) => {}
                _ => return false,
            },
        }
    }
    true
}

/// What the supervisor has told.
#[derive(Debug, Default)]
struct Known {
    picture: Option<Picture>,
    boards: Boards,
    totals: Totals,
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
                let page = exposition::page(picture, &self.boards, &self.totals, health.is_ok());
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
            deadline: Instant::now() + PATIENCE,
        }
    }

    fn interest(&self) -> PollFd<'_> {
        let flags = match self.stage {
            Stage::Asking(_) | Stage::Lingering => PollFlags::POLLIN,
            Stage::Answering(..) => PollFlags::POLLOUT,
        };
        PollFd::new(self.socket.as_fd(), flags)
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
                        self.deadline = Instant::now() + PATIENCE;
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

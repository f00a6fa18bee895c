//! What the supervisor has told, and what requests are answered from it. Never in here: a socket of a client.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::exposition::{self, Boards, Seen, Totals};
use super::failures;
use super::health;
use super::http::{self, Request, Status};
use super::news::{self, News};
use super::page::{self, History, Refusal, View, Whence};
use super::picture::Picture;
use crate::helper::words::{self, Heard};
use crate::ipc::channel::Channel;
use crate::ipc::scoreboard::ReadOnlyBoard;
use crate::sys::queues::{self, Queues};

/// Words taken in a row before clients have their turn.
const TURN: usize = 16;

const TEXT: &str = "text/plain; charset=utf-8";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    picture: Option<Picture>,
    boards: Boards,
    totals: Totals,
    /// Where the kernel is asked for the listeners' queues.
    kernel: Option<OwnedFd>,
    history: History,
}

impl Known {
    /// Nothing yet. `kernel`: where the kernel is asked for queues, if it can be.
    pub(super) fn new(kernel: Option<OwnedFd>) -> Known {
        Known {
            kernel,
            ..Known::default()
        }
    }

    /// Whether there is anything to answer from.
    pub(super) fn has_been_told(&self) -> bool {
        self.picture.is_some()
    }

    /// Hears what the supervisor says; false at its end.
    ///
    /// # Errors
    /// As [`words::hear`].
    pub(super) fn hear(&mut self, channel: &Channel) -> io::Result<bool> {
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
                self.picture = Some(*picture);
            }
            None => {}
        }
    }

    /// Answers a request that came from there.
    pub(super) fn answer(&mut self, request: &Request, whence: Whence) -> Vec<u8> {
        let Some(picture) = &self.picture else {
            return refusal(Status::Unavailable, request.head);
        };
        let allowed = picture.allowed.as_ref();
        let is_page = request.path == "/";
        let judged = page::may_ask(whence, allowed)
            .and_then(|()| match is_page {
                true => page::may_look(whence, allowed),
                false => Ok(()),
            })
            .and_then(|()| match is_page || request.browses {
                true => page::may_name(request.host.as_deref()),
                false => Ok(()),
            });
        if let Err(refused) = judged {
            return refused_with(refused, request.head);
        }
        let health = health::check(picture, &self.boards);
        match &*request.path {
            "/health" => {
                let (status, body) = match health {
                    Ok(()) => (Status::Ok, "ok\n".to_owned()),
                    Err(why) => (Status::Unavailable, format!("{why}\n")),
                };
                http::answer(status, TEXT, "", &body, request.head)
            }
            "/metrics" => {
                let queues = asked(&mut self.kernel);
                self.totals.update(picture, &self.boards);
                let seen = Seen {
                    picture,
                    boards: &self.boards,
                    totals: &self.totals,
                    healthy: health.is_ok(),
                };
                let body = exposition::page(&seen, queues.as_ref());
                http::answer(
                    Status::Ok,
                    exposition::CONTENT_TYPE,
                    "",
                    &body,
                    request.head,
                )
            }
            "/" => {
                let queues = asked(&mut self.kernel);
                self.totals.update(picture, &self.boards);
                let seen = Seen {
                    picture,
                    boards: &self.boards,
                    totals: &self.totals,
                    healthy: health.is_ok(),
                };
                page::note(&mut self.history, &seen, Instant::now());
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let view = View {
                    seen,
                    health,
                    failures: failures::by_service(picture, &self.boards),
                    own_failures: failures::of_adit(picture, &self.boards),
                    queues: queues.as_ref(),
                    history: &self.history,
                    now: now.map_or(0, |now| now.as_secs()),
                };
                let body = page::page(&view);
                http::answer(
                    Status::Ok,
                    page::CONTENT_TYPE,
                    &page::HEADERS,
                    &body,
                    request.head,
                )
            }
            _ => refusal(Status::NotFound, request.head),
        }
    }
}

/// The queues; refused once, the kernel refuses them the next time.
fn asked(kernel: &mut Option<OwnedFd>) -> Option<Queues> {
    let queues = queues::of_listeners(kernel.as_ref()?).ok();
    kernel.take_if(|_| queues.is_none());
    queues
}

fn refused_with(refused: Refusal, head: bool) -> Vec<u8> {
    let status = match refused {
        Refusal::Unlisted(_) | Refusal::Elsewhere(_) => Status::Forbidden,
        Refusal::Name => Status::Misdirected,
    };
    http::answer(status, TEXT, "", &refused.text(), head)
}

/// An answer without anything of ours.
pub(super) fn refusal(status: Status, head: bool) -> Vec<u8> {
    let body = match status {
        Status::NotFound => "There are /, /metrics and /health.\n".to_owned(),
        status => format!("{}\n", status.line()),
    };
    http::answer(status, TEXT, "", &body, head)
}

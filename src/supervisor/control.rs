//! The control socket: whoever may open it is told, as one JSON document, what the scoreboards say.
//! Nothing is ever read from it.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags};

use super::generation::{Generation, State};
use super::listeners::remove_stale;
use super::running::Supervisor;
use crate::cli::status::{GenerationStatus, ReloadStatus, ServiceStatus, Status, WorkerStatus};
use crate::sandbox::Strength;
use crate::tls::CipherOrder;

/// The listening socket, removed by [`Control::remove`].
#[derive(Debug)]
pub struct Control {
    socket: UnixListener,
    path: PathBuf,
    /// What is being told to whom, and how much of it is.
    answers: Vec<Answer>,
    /// Nobody is answered before: there were no descriptors left.
    paused_until: Option<Instant>,
}

/// How long to pause when a client cannot be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// An answer that does not fit into a socket's buffer at once.
#[derive(Debug)]
struct Answer {
    client: UnixStream,
    document: Vec<u8>,
    written: usize,
}

/// Clients answered at once; one that does not read is dropped for the next.
const MAX_ANSWERS: usize = 8;

impl Answer {
    /// Writes what there is room for; whether anything is left to write.
    fn go_on(&mut self) -> bool {
        while let Some(rest) = self.document.get(self.written..).filter(|r| !r.is_empty()) {
            match self.client.write(rest) {
                Ok(count) => self.written += count,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl Control {
    /// Makes the socket, for its owner alone; one that nobody answers any more is replaced.
    ///
    /// # Errors
    /// The folder is missing, or somebody else answers there; it names the option.
    pub fn open(path: &Path) -> io::Result<Control> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("control = {}: {error}", path.display()),
            )
        };
        let listen = || {
            remove_stale(path)?;
            let socket = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = listen().map_err(named)?;
        Ok(Control {
            socket,
            path: path.to_owned(),
            answers: Vec::new(),
            paused_until: None,
        })
    }

    /// When clients are taken again.
    pub fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Takes clients again when it is time.
    pub fn look_at_the_clock(&mut self, now: Instant) {
        self.paused_until.take_if(|until| *until <= now);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listening socket, for the next program of this process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket that the program before an exec had.
    pub fn taken_over(socket: OwnedFd, path: PathBuf) -> Control {
        Control {
            socket: socket.into(),
            path,
            answers: Vec::new(),
            paused_until: None,
        }
    }

    /// Everything to poll for: who connects, and who has room for more of an answer.
    pub fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let answers = self.answers.iter();
        let listens = self.paused_until.is_none();
        let socket = listens.then(|| PollFd::new(self.socket.as_fd(), PollFlags::POLLIN));
        socket
            .into_iter()
            .chain(answers.map(|a| PollFd::new(a.client.as_fd(), PollFlags::POLLOUT)))
    }

    /// Closes the socket and removes its file.
    pub fn remove(self) {
        // Nothing is left to be done about a file that cannot be removed.
        let _ = fs::remove_file(self.path);
    }
}

impl Supervisor {
    pub(super) fn replace_control(&mut self, new: Option<Control>) {
        if let Some(old) = std::mem::replace(&mut self.control, new) {
            old.remove();
        }
    }

    /// Answers whoever connected, without ever waiting for it.
    pub(super) fn answer_status(&mut self) {
        self.ask_master(Instant::now());
        let status = self.status();
        let Some(control) = &mut self.control else {
            return;
        };
        loop {
            let client = match control.socket.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It would be readable again at once, and for as long as this lasts.
                Err(_) => {
                    control.paused_until = Some(Instant::now() + PAUSE);
                    break;
                }
            };
            let document = serde_json::to_vec(&status);
            if let (Ok(document), Ok(())) = (document, client.set_nonblocking(true)) {
                control.answers.push(Answer {
                    client,
                    document,
                    written: 0,
                });
            }
        }
        let surplus = control.answers.len().saturating_sub(MAX_ANSWERS);
        control.answers.drain(..surplus);
        control.answers.retain_mut(Answer::go_on);
    }

    fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            passed: self.listeners.count_passed(),
            sandbox: Some(Strength::of_this_kernel()),
            ciphers: Some(CipherOrder::of(self.config.global.prefer_chacha20)),
            reloads: ReloadStatus {
                succeeded: self.reloads.succeeded,
                failed: self.reloads.failed,
                under_way: self.is_reloading(),
            },
            generations: self
                .generations
                .iter()
                .chain(self.orphans.iter().map(|orphans| &orphans.generation))
                .map(generation)
                .collect(),
        }
    }
}

fn generation(generation: &Generation) -> GenerationStatus {
    let board = &generation.scoreboard;
    let since = generation.since.duration_since(UNIX_EPOCH);
    GenerationStatus {
        number: generation.number,
        state: generation.state.name().to_owned(),
        pid: match generation.state {
            State::Orphaned => 0,
            _ => generation.pid.as_raw().unsigned_abs(),
        },
        since: since.map_or(0, |since| since.as_secs()),
        workers: (0..board.workers())
            .map(|index| worker(generation, index))
            .collect(),
        services: (0..board.services())
            .map(|index| service(generation, index))
            .collect(),
    }
}

fn worker(generation: &Generation, index: usize) -> WorkerStatus {
    let row = generation.scoreboard.worker(index);
    WorkerStatus {
        index,
        pid: row.pid().load(Relaxed) as u32,
        active: row.active().load(Relaxed),
        claimed: row.last_claimed(),
        starts: row.starts().load(Relaxed),
    }
}

/// The counts of one service, over all workers.
fn service(generation: &Generation, index: usize) -> ServiceStatus {
    let board = &generation.scoreboard;
    let mut status = ServiceStatus {
        name: generation.names[index].clone(),
        ..ServiceStatus::default()
    };
    for worker in 0..board.workers() {
        let row = board.service(worker, index);
        status.accepted += row.accepted().load(Relaxed);
        status.active += row.active().load(Relaxed);
        status.handshakes_new += row.handshakes_new().load(Relaxed);
        status.handshakes_resumed += row.handshakes_resumed().load(Relaxed);
        status.failed_certificate += row.failed_certificate().load(Relaxed);
        status.failed_negotiation += row.failed_negotiation().load(Relaxed);
        status.failed_protocol += row.failed_protocol().load(Relaxed);
        status.failed_vanished += row.failed_vanished().load(Relaxed);
        status.connect_failed += row.connect_failed().load(Relaxed);
        status.bytes_to_back += row.bytes_to_back().load(Relaxed);
        status.bytes_to_front += row.bytes_to_front().load(Relaxed);
    }
    status
}

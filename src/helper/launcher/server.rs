//! The process's loop: requests are answered, and programs that have ended are told of.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::MsgFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::SIGCHLD;

use super::environment;
use super::message::{self, Answer, MAX_MESSAGE, Request, Started};
use super::start::{self, Surroundings};
use crate::config::{Config, Foreground, Program};
use crate::helper::Post;
use crate::helper::words::{self, Heard};
use crate::ipc::channel::Channel;
use crate::jail::Confined;
use crate::log::Log;
use crate::process::Fresh;
use crate::sys::watch::{self, Interest, Watch};

/// Requests taken from one client before the next has its turn.
const TURN: usize = 16;

/// The programs of a configuration, and what they have in common.
#[derive(Debug)]
pub(crate) struct Programs {
    /// By the index of the service.
    by_service: Vec<Option<Program>>,
    /// `setEnv`
    set: Vec<(String, String)>,
    /// They share descriptor 2 with adit.
    stderr_is_ours: bool,
}

impl Programs {
    /// Those of a configuration; none where it has none.
    pub(crate) fn of(config: &Config) -> Option<Programs> {
        let all = config.services.iter();
        let by_service: Vec<_> = all
            .map(|service| service.program.as_deref().cloned())
            .collect();
        by_service.iter().any(Option::is_some).then(|| Programs {
            by_service,
            set: config.global.set_env.clone(),
            stderr_is_ours: config.global.foreground != Foreground::No,
        })
    }
}

/// Starts programs for clients until none is left that could ask, and each of its programs has ended.
///
/// # Errors
/// Waiting or the channel fails.
pub(super) fn serve(post: Post, fresh: Fresh, _: &Confined) -> io::Result<()> {
    let mut signals = fresh.hear(&[SIGCHLD])?;
    let watch = Watch::new()?;
    watch.add(&post.leash, Source::Leash)?;
    watch.add(&post.channel, Source::Channel)?;
    watch.add(&signals, Source::Signals)?;
    let set = post.programs.as_ref().map_or(&[][..], |all| &all.set);
    let mut launcher = Launcher {
        environment: environment::common(set),
        post: &post,
        clients: HashMap::new(),
        next: 0,
        programs: HashMap::new(),
        left_alone: false,
    };
    loop {
        for source in watch.wait(None)? {
            match source {
                Source::Leash => return Ok(()),
                Source::Signals => {
                    signals.take();
                    launcher.reap();
                }
                Source::Channel => launcher.hear(&watch)?,
                Source::Client(number) => launcher.serve_client(number, &watch),
            }
        }
        if launcher.left_alone && launcher.clients.is_empty() && launcher.programs.is_empty() {
            return Ok(());
        }
    }
}

/// What is waited for; clients by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Leash,
    Channel,
    Signals,
    Client(usize),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Leash => 0,
            Source::Channel => 1,
            Source::Signals => 2,
            Source::Client(number) => 3 + number,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Channel,
            2 => Source::Signals,
            key => Source::Client(key - 3),
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Channel | Source::Signals | Source::Client(_) => Interest::Read,
        }
    }
}

struct Launcher<'a> {
    post: &'a Post,
    environment: Vec<(OsString, OsString)>,
    clients: HashMap<usize, Channel>,
    next: usize,
    /// Those that run.
    programs: HashMap<Pid, Log>,
    /// No client comes any more: another generation serves.
    left_alone: bool,
}

impl Launcher<'_> {
    fn hear(&mut self, watch: &Watch<Source>) -> io::Result<()> {
        match words::hear(&self.post.channel)? {
            Heard::Clients(clients) => {
                for client in clients {
                    // Closed for want of memory, it is introduced again.
                    if watch.add(&client, Source::Client(self.next)).is_ok() {
                        self.clients.insert(self.next, client.into());
                        self.next += 1;
                    }
                }
            }
            Heard::News(..) => self.left_alone = true,
            Heard::Nothing => {}
            Heard::End => {
                watch.remove(&self.post.channel);
                self.left_alone = true;
            }
        }
        Ok(())
    }

    fn serve_client(&mut self, number: usize, watch: &Watch<Source>) {
        let mut packet = vec![0; MAX_MESSAGE];
        for _ in 0..TURN {
            let Some(client) = self.clients.get(&number) else {
                return;
            };
            let request = match client.receive(&mut packet, MsgFlags::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Some(received)) => message::decode::<Request>(&packet[..received.len]),
                Ok(None) | Err(_) => None,
            };
            // One that sends what is no request is broken, or worse: it is heard no more.
            let answered = request.filter(Request::is_fit).is_some_and(|request| {
                let (answer, socket) = self.answer(&request);
                self.clients
                    .get(&number)
                    .is_some_and(|client| say(client, &answer, socket))
            });
            if !answered && let Some(client) = self.clients.remove(&number) {
                watch.remove(&client);
            }
        }
    }

    fn answer(&mut self, request: &Request) -> (Answer, Option<OwnedFd>) {
        let id = request.id;
        match self.start(request) {
            Ok((started, socket)) => {
                let result = Ok(started);
                (Answer { id, result }, Some(socket))
            }
            Err(why) => (
                Answer {
                    id,
                    result: Err(why),
                },
                None,
            ),
        }
    }

    fn start(&mut self, request: &Request) -> Result<(Started, OwnedFd), String> {
        let programs = self.post.programs.as_ref();
        let Some((program, all)) = programs.and_then(|all| {
            let program = all.by_service.get(request.service)?.as_ref()?;
            Some((program, all))
        }) else {
            return Err("the service has no program".to_owned());
        };
        let surroundings = Surroundings {
            environment: &self.environment,
            stderr_is_ours: all.stderr_is_ours,
            leash: &self.post.leash,
        };
        let of_session = environment::of_session(request);
        let running = start::start(program, of_session, &surroundings)?;
        self.programs.insert(running.pid, self.post.log);
        let started = Started {
            pid: running.pid.as_raw(),
            terminal: running.terminal,
        };
        Ok((started, running.socket))
    }

    /// Tells of programs that have ended, in stunnel's words.
    fn reap(&mut self) {
        loop {
            let status = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(status) => status,
            };
            // A process that carries a terminal's bytes ends too.
            let Some(log) = status.pid().and_then(|pid| self.programs.remove(&pid)) else {
                continue;
            };
            match status {
                WaitStatus::Exited(pid, code) => {
                    crate::info!(log, "Child process {pid} finished with code {code}");
                }
                WaitStatus::Signaled(pid, signal, _) => {
                    crate::info!(log, "Child process {pid} terminated on {signal}");
                }
                _ => {}
            }
        }
    }
}

/// Whether the client could be told. The program of one that could not reads an end of file.
fn say(client: &Channel, answer: &Answer, socket: Option<OwnedFd>) -> bool {
    let Some(packet) = message::encode(answer) else {
        return false;
    };
    let socket = socket.as_ref().map(AsFd::as_fd);
    client
        .send(&packet, socket.as_slice(), MsgFlags::MSG_DONTWAIT)
        .is_ok()
}

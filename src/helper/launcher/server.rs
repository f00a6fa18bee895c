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
use crate::children;
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
                Source::Client(number) | Source::Room(number) => {
                    launcher.serve_client(number, &watch);
                }
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
    /// Room for an answer to a client.
    Room(usize),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Leash => 0,
            Source::Channel => 1,
            Source::Signals => 2,
            Source::Client(number) => 3 + 2 * number,
            Source::Room(number) => 4 + 2 * number,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Channel,
            2 => Source::Signals,
            key if key % 2 == 1 => Source::Client((key - 3) / 2),
            key => Source::Room((key - 4) / 2),
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Channel | Source::Signals | Source::Client(_) => Interest::Read,
            Source::Room(_) => Interest::Write,
        }
    }
}

/// Nothing introduces a client again while this process lives, so one that is well must not be dropped.
struct Client {
    channel: Channel,
    /// What it has no room for yet. Until it has, no more of it is heard.
    unsaid: Option<Unsaid>,
}

/// An answer, with the program's socket.
type Unsaid = (Answer, Option<OwnedFd>);

struct Launcher<'a> {
    post: &'a Post,
    environment: Vec<(OsString, OsString)>,
    clients: HashMap<usize, Client>,
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
                        let channel = client.into();
                        let unsaid = None;
                        self.clients.insert(self.next, Client { channel, unsaid });
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
            match self.turn(number, &mut packet, watch) {
                Ok(true) => {}
                Ok(false) => return,
                Err(Broken) => {
                    if let Some(client) = self.clients.remove(&number) {
                        watch.remove(&client.channel);
                    }
                    return;
                }
            }
        }
    }

    /// Says what is unsaid, or else hears a request and answers it; whether there may be more to do.
    fn turn(
        &mut self,
        number: usize,
        packet: &mut [u8],
        watch: &Watch<Source>,
    ) -> Result<bool, Broken> {
        let Some(client) = self.clients.get_mut(&number) else {
            return Ok(false);
        };
        let waited = client.unsaid.is_some();
        let unsaid = match client.unsaid.take() {
            Some(unsaid) => unsaid,
            None => match client.channel.receive(packet, MsgFlags::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) | Ok(None) => return Err(Broken),
                Ok(Some(received)) => {
                    // One that sends what is no request is broken, or worse: it is heard no more.
                    let request = message::decode::<Request>(&packet[..received.len]);
                    let request = request.filter(Request::is_fit).ok_or(Broken)?;
                    self.answer(&request)
                }
            },
        };
        let Some(client) = self.clients.get_mut(&number) else {
            return Ok(false);
        };
        client.unsaid = say(&client.channel, unsaid)?;
        let now = match client.unsaid {
            Some(_) => Source::Room(number),
            None => Source::Client(number),
        };
        if waited != client.unsaid.is_some() {
            // Where it fails, the next request wakes this process, and the answer is tried first.
            let _ = watch.change(&client.channel, now);
        }
        Ok(client.unsaid.is_none())
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
            if let Some(text) = children::of_program(&status) {
                crate::info!(log, "{text}");
            }
        }
    }
}

/// The client is gone, or what it sends is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken;

/// Tells the client; what it has no room for comes back.
fn say(client: &Channel, (answer, socket): Unsaid) -> Result<Option<Unsaid>, Broken> {
    let packet = message::encode(&answer).ok_or(Broken)?;
    let sockets = socket.as_ref().map(AsFd::as_fd);
    let said = client.send(&packet, sockets.as_slice(), MsgFlags::MSG_DONTWAIT);
    match said {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some((answer, socket))),
        // Too many descriptors are on their way. No event tells when there are fewer, so the socket is kept
        // back: the program reads an end of file.
        Err(error) if socket.is_some() && Channel::is_busy(&error) => {
            let text = "too many programs are started at once: no more sockets can be passed";
            let result = Err(text.to_owned());
            let id = answer.id;
            say(client, (Answer { id, result }, None))
        }
        Err(error) if Channel::is_busy(&error) => Ok(Some((answer, None))),
        Err(_) => Err(Broken),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::client;
    use super::*;
    use crate::ipc::leash;
    use crate::log::Id;

    #[test]
    fn a_source_is_found_by_its_key() {
        let numbered = (0..3).flat_map(|number| [Source::Client(number), Source::Room(number)]);
        let all = [Source::Leash, Source::Channel, Source::Signals].into_iter();
        for source in all.chain(numbered) {
            assert_eq!(
                <Source as watch::Source>::of(watch::Source::key(source)),
                source
            );
        }
    }

    #[test]
    fn a_client_that_reads_late_is_told_everything_and_heard_again() {
        let (channel, _supervisor) = Channel::pair().unwrap();
        let (_holder, leash) = leash::leash().unwrap();
        let post = Post {
            channel,
            leash,
            belongings: Vec::new(),
            programs: None,
            log: Log {
                level: 0,
                id: Id::Main,
            },
        };
        let (near, far) = Channel::pair().unwrap();
        let watch = Watch::new().unwrap();
        watch.add(&far, Source::Client(0)).unwrap();
        let unsaid = None;
        let channel = far;
        let mut launcher = Launcher {
            post: &post,
            environment: Vec::new(),
            clients: HashMap::from([(0, Client { channel, unsaid })]),
            next: 1,
            programs: HashMap::new(),
            left_alone: false,
        };
        let mut client = client::Client::new(near.into());
        let request = || Request {
            id: 0,
            service: 0,
            peer: None,
            names: None,
        };
        let mut asked = HashSet::new();
        // Until both queues are full.
        while let Ok(id) = client.ask(request()) {
            asked.insert(id);
            launcher.serve_client(0, &watch);
        }
        assert!(launcher.clients[&0].unsaid.is_some());
        let now = Some(std::time::Instant::now());
        assert_eq!(watch.wait(now).unwrap(), [], "it waits for room");
        let mut answered = HashSet::new();
        while answered.len() < asked.len() {
            for (id, answer) in client.answers() {
                assert_eq!(answer.unwrap_err().0, "the service has no program");
                answered.insert(id);
            }
            for source in watch.wait(now).unwrap() {
                assert!(matches!(source, Source::Client(0) | Source::Room(0)));
                launcher.serve_client(0, &watch);
            }
        }
        assert_eq!(answered, asked);
        // Nothing is left to say, and the next request is heard.
        client.ask(request()).unwrap();
        assert_eq!(watch.wait(now).unwrap(), [Source::Client(0)]);
        launcher.serve_client(0, &watch);
        assert_eq!(client.answers().len(), 1);
        drop(client);
        launcher.serve_client(0, &watch);
        assert!(launcher.clients.is_empty());
    }
}

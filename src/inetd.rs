//! inetd mode: a configuration without a section serves the one connection that descriptors 0 and 1 are.
//! A worker serves it, in its jail and sandbox, as any other. Never in here: a line of log, or of an error, to
//! the client: under most inetds descriptor 2 is the client too.

use std::io::{self, IsTerminal};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{MsgFlags, SockType, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::wait::{WaitStatus, waitpid};

use crate::carry::Way;
use crate::config::{Config, Diagnostics, Foreground, Loaded};
use crate::helper::binder::Warrants;
use crate::helper::{Contacts, KnownNames, NameClient};
use crate::ipc::accept;
use crate::ipc::channel::Channel;
use crate::ipc::handoff::{self, Connection, Entry, Warrant};
use crate::ipc::leash::{Leash, leash};
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::wait::wait;
use crate::ipc::words::{FromWorker, hear};
use crate::jail::Jailed;
use crate::log::{self, Id, Log, Outputs};
use crate::master::load;
use crate::process::{self, OneThread};
use crate::step::NameStep;
use crate::supervisor::asking;
use crate::supervisor::helpers::{Helpers, Start};
use crate::tls::{PassPhrases, Resumption};
use crate::worker::{self, group};

/// Whether descriptor 2 is the client: then it is /dev/null from now on, and what would go there goes to syslog.
pub(crate) fn keep_off_the_client() -> bool {
    let (client, standard_error) = (io::stdin(), io::stderr());
    let about = |fd: BorrowedFd<'_>| fstat(fd).ok();
    let (Some(client), Some(error)) = (about(client.as_fd()), about(standard_error.as_fd())) else {
        return false;
    };
    let is_socket = SFlag::from_bits_truncate(client.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
    if !is_socket || (client.st_dev, client.st_ino) != (error.st_dev, error.st_ino) {
        return false;
    }
    log::install(Outputs::syslog_only());
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stderr(&null);
    }
    true
}

/// Says what is wrong with a configuration where descriptor 2 is the client.
pub(crate) fn tell(found: &Diagnostics) {
    load::tell(&found.0, &ui_log());
}

/// For what is said before there is a configuration.
pub(crate) fn ui_log() -> Log {
    Log {
        level: 5,
        id: Id::Ui,
        from: None,
    }
}

/// Serves the connection, until it is over.
pub(crate) fn run(loaded: Loaded, off_the_client: bool) -> ExitCode {
    let config = loaded.config;
    let log = Log {
        level: config.global.debug,
        id: Id::Ui,
        from: None,
    };
    let stderr = config.global.foreground == Foreground::Yes && !off_the_client;
    let served = Outputs::open(&config.global, stderr)
        .map_err(|error| io::Error::other(error.to_string()))
        .and_then(|outputs| {
            log::install(outputs);
            load::tell(&loaded.diagnostics, &log);
            serve(&config, log)
        });
    match served {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            crate::error!(log, "Inetd mode: {}", log::Reason(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether the connection was served; why not is told.
fn serve(config: &Config, log: Log) -> io::Result<bool> {
    let (session, mut pipes) = client()?;
    // Held by others, it would stay open when the session has closed it.
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)
        .and_then(|()| nix::unistd::dup2_stdout(&null))
        .step("dup2(2) of /dev/null")?;
    let phrases = match asking::obstacle() {
        None => asking::ask(config, &log)?,
        Some(reason) => PassPhrases::unasked(reason),
    };
    let (_holder, leash) = leash()?;
    let needed = config.services.iter().any(|s| s.transparent.source);
    let warrants = needed.then(Warrants::draw).transpose()?;
    let mut helpers = start_helpers(config, &leash, warrants.as_ref(), log)?;
    let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
    let contacts = helpers.contacts(None)?;
    let peer = accept::peer(session.as_fd());
    let balancer = config.services.iter().any(|s| s.balancers.have(peer));
    let warrant = warrants.as_ref().and_then(|warrants| match balancer {
        true => Some(warrants.issue_for_any()),
        false => peer.map(|peer| warrants.issue(peer)),
    });
    let worker = process::spawn(&OneThread::prove()?, |fresh| {
        let start = Worker {
            config,
            phrases,
            master: theirs,
            leash: &leash,
            contacts,
            session,
            warrant,
            log,
        };
        match start.prepare() {
            Ok((start, jailed)) => worker::run(start, fresh, &jailed),
            Err(error) => {
                crate::error!(log, "Inetd mode: {}", log::Reason(&error));
                process::exit(1)
            }
        }
    })?;
    // Once it serves, its only connection is its last.
    let ready = hear::<FromWorker>(&ours, MsgFlags::empty());
    drop(ours);
    if let (Ok(Some(_)), Some(pipes)) = (ready, &mut pipes) {
        // The worker's end tells the rest.
        let _ = pipes.carry();
    }
    drop(pipes);
    let status = waitpid(worker, None)?;
    helpers.kill();
    Ok(matches!(status, WaitStatus::Exited(_, 0)))
}

fn start_helpers(
    config: &Config,
    leash: &Leash,
    warrants: Option<&Warrants>,
    log: Log,
) -> io::Result<Helpers> {
    let forget = || {
        config.forget_secrets(|_| true);
        Ok(())
    };
    let (one, other) = (&mut forget.clone(), &mut forget.clone());
    let log = Log {
        id: Id::Main,
        ..log
    };
    let mut helpers = Helpers::start_all_asked(Start {
        config,
        leash,
        metrics: None,
        warrants: None,
        forget: one,
        log,
    })?;
    let own = Helpers::start_own(Start {
        config,
        leash,
        metrics: None,
        warrants,
        forget: other,
        log,
    })?;
    helpers.adopt(own, leash);
    Ok(helpers)
}

/// The client's socket. What is none is carried to and from one.
fn client() -> io::Result<(OwnedFd, Option<Pipes>)> {
    let stdin = io::stdin();
    let input = stdin.as_fd();
    match getsockopt(&input, sockopt::SockType) {
        Ok(SockType::Stream) => {
            if getsockopt(&input, sockopt::AcceptConn).unwrap_or(false) {
                return Err(io::Error::other(
                    "descriptor 0 is a listener, not a connection (`nowait` in inetd.conf, `wait = no` in \
                     xinetd.conf, `Accept=yes` in a systemd socket)",
                ));
            }
            Ok((input.try_clone_to_owned()?, None))
        }
        Ok(_) => Err(io::Error::other(
            "descriptor 0 is a socket, but no stream: inetd must give a TCP connection",
        )),
        Err(_) if input.is_terminal() => Err(io::Error::other(
            "descriptor 0 is a terminal: a configuration without a [section] is for inetd, which gives a \
             connection there",
        )),
        Err(_) => {
            let (ours, theirs) = UnixStream::pair()?;
            Ok((theirs.into(), Some(Pipes::new(ours)?)))
        }
    }
}

/// Pipes, as a shell or ssh gives them, and the worker's socket.
struct Pipes {
    input: std::fs::File,
    output: std::fs::File,
    socket: UnixStream,
    there: Way,
    back: Way,
}

impl Pipes {
    fn new(socket: UnixStream) -> io::Result<Pipes> {
        socket.set_nonblocking(true)?;
        Ok(Pipes {
            input: io::stdin().as_fd().try_clone_to_owned()?.into(),
            output: io::stdout().as_fd().try_clone_to_owned()?.into(),
            socket,
            there: Way::default(),
            back: Way::default(),
        })
    }

    /// Carries until the worker has closed its socket. The pipes are other programs' too, so they stay as they
    /// are: what is not ready is not tried.
    fn carry(&mut self) -> io::Result<()> {
        while !self.back.is_over() {
            let (input, output) = self.wait()?;
            if input || !self.there.is_empty() {
                self.there.carry(&mut self.input, &mut self.socket)?;
            }
            if self.there.is_over() && !self.there.told {
                self.there.told = true;
                self.socket.shutdown(Shutdown::Write)?;
            }
            if output || self.back.is_empty() {
                self.back.carry(&mut self.socket, &mut self.output)?;
            }
        }
        Ok(())
    }

    /// Waits; whether there is input, and room for output.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let mut socket = PollFlags::empty();
        socket.set(PollFlags::POLLIN, !self.back.ended && self.back.is_empty());
        socket.set(PollFlags::POLLOUT, !self.there.is_empty());
        // One that is not waited for is left out: it would report its end for ever.
        let wanted = [
            (self.socket.as_fd(), socket),
            (self.input.as_fd(), {
                let mut flags = PollFlags::empty();
                flags.set(
                    PollFlags::POLLIN,
                    !self.there.ended && self.there.is_empty(),
                );
                flags
            }),
            (self.output.as_fd(), {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::POLLOUT, !self.back.is_empty());
                flags
            }),
        ];
        let waited = wanted.map(|(fd, flags)| (!flags.is_empty()).then(|| PollFd::new(fd, flags)));
        let mut fds: Vec<PollFd<'_>> = waited.iter().flatten().cloned().collect();
        wait(&mut fds, PollTimeout::NONE)?;
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut is_ready = |nth: usize| waited[nth].is_some() && ready.next().unwrap_or(false);
        let _ = is_ready(0);
        Ok((is_ready(1), is_ready(2)))
    }
}

/// The process that serves the connection, as it begins.
struct Worker<'a> {
    config: &'a Config,
    phrases: PassPhrases,
    master: Channel,
    leash: &'a Leash,
    contacts: Contacts,
    session: OwnedFd,
    warrant: Option<Warrant>,
    log: Log,
}

impl Worker<'_> {
    /// Loads everything as root, and enters the jail.
    fn prepare(mut self) -> io::Result<(worker::Start, Jailed)> {
        let mut names = NameClient::introduced(&self.contacts)?;
        let loaded = load::load(
            self.config,
            &mut names,
            &KnownNames::default(),
            &self.phrases,
            &Resumption::new()?,
            &self.log,
        );
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(found) => {
                load::tell(&found, &self.log);
                crate::error!(self.log, "Configuration failed");
                process::exit(1)
            }
        };
        load::tell(&loaded.warnings, &self.log);
        crate::notice!(self.log, "Configuration successful");
        drop(names);
        // As in a master: nothing in the jail needs them.
        self.phrases = PassPhrases::none();
        let mut helpers = Vec::new();
        for kind in self.contacts.kinds() {
            helpers.push((kind, vec![self.contacts.introduce(kind)?]));
        }
        let sockets = self.hand_over()?;
        let log = Log {
            id: Id::Main,
            ..self.log
        };
        if let Some(root) = loaded.plan.root() {
            crate::info!(log, "Switched to chroot directory: {}", root.display());
        }
        let jailed = loaded.plan.clone().enter(&OneThread::prove()?);
        let jailed = jailed.map_err(|error| io::Error::other(error.to_string()))?;
        // A worker's sandbox is its first step.
        let jailed = jailed.outside_any();
        let group = self.config.services.first().map(group::Group::of);
        let start = worker::Start {
            index: 0,
            group: group.unwrap_or(group::Group::Modern),
            generation: 1,
            services: Arc::clone(&loaded.services),
            scoreboard: Scoreboard::transferable(1, loaded.services.len(), false)?.0,
            master: self.master,
            sockets,
            leash: self.leash.try_clone()?,
            helpers,
            threads: 1,
            // The end of its master, which is no end of service, comes at once.
            drain_timeout: None,
            log,
        };
        Ok((start, jailed))
    }

    /// A channel in which the session waits.
    fn hand_over(&self) -> io::Result<Channel> {
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        fcntl(
            &self.session,
            FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
        )?;
        let entry = Entry {
            sequence: 1,
            connection: Connection {
                number: 0,
                service: 0,
                peer: accept::peer(self.session.as_fd()),
                warrant: self.warrant,
            },
        };
        let mut message = vec![handoff::TAG];
        handoff::encode(&entry, &mut message);
        ours.send(&message, &[self.session.as_fd()], MsgFlags::empty())?;
        Ok(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_carried_both_ways_to_their_ends() {
        use std::io::{Read, Write};
        let (worker, ours) = UnixStream::pair().unwrap();
        let (input, mut typed) = io::pipe().unwrap();
        let (mut shown, output) = io::pipe().unwrap();
        let mut pipes = Pipes {
            input: OwnedFd::from(input).into(),
            output: OwnedFd::from(output).into(),
            ..Pipes::new(ours).unwrap()
        };
        let carrying = std::thread::spawn(move || pipes.carry());
        typed.write_all(b"hello").unwrap();
        drop(typed);
        let mut worker = worker;
        let mut heard = String::new();
        worker.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        let text = "0123456789abcdef".repeat(1 << 13);
        let long = text.clone();
        let writing = std::thread::spawn(move || worker.write_all(long.as_bytes()));
        let mut heard = String::new();
        shown.read_to_string(&mut heard).unwrap();
        writing.join().unwrap().unwrap();
        carrying.join().unwrap().unwrap();
        assert!(heard == text);
    }
}

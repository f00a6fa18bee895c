//! The zygote's own life: it loads, enters the jail, and forks old workers and copies of itself until the master's
//! end or the supervisor's is gone. Never in here: what [`super`] forbids.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::MsgFlags;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::SIGCHLD;

use super::{FromZygote, ToZygote};
use crate::children;
use crate::config::{Config, Foreground, Service};
use crate::helper::Kind;
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::words::{hear, say};
use crate::jail::Jailed;
use crate::log::{self, Log, Outputs};
use crate::master::load::{self, Addresses};
use crate::master::{Fatal, Start};
use crate::process::{self, Fresh, OneThread};
use crate::relay::ServiceContext;
use crate::signals::Signals;
use crate::sys::watch::{self, Interest, Watch};
use crate::tls::{self, PassPhrases};
use crate::worker::{self, group::Group};

/// Certificates in one message: far fewer than fit.
const PRESENTED: usize = 256;

/// The zygote's life, from the fork to `_exit`.
pub(super) fn run(
    start: &mut Start<'_>,
    addresses: &Addresses,
    master: &Channel,
    fresh: Fresh,
) -> Infallible {
    let log = start.log;
    match live(start, addresses, master, fresh) {
        Ok(()) => process::exit(0),
        Err(fatal) => {
            crate::error!(log, "Zygote: {fatal}");
            process::exit(1)
        }
    }
}

#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn live(
    start: &mut Start<'_>,
    addresses: &Addresses,
    master: &Channel,
    fresh: Fresh,
) -> Result<(), Fatal> {
    let mut kept = log::descriptors();
    kept.extend(start.outputs.iter().flat_map(Outputs::descriptors));
    kept.extend([master.as_fd().as_raw_fd(), start.leash.as_fd().as_raw_fd()]);
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&kept) }?;
    process::title(
        "adit: zygote",
        &format!(" of generation {}", start.generation),
    );
    // A fault here shall open no connection of a modern service.
    start.resumption.forget_modern()?;
    let modern = |service: &Service| Group::of(service) == Group::Modern;
    start.config.forget_secrets(modern);
    tls::prepare_old()?;
    let found = load::load_group(
        start.config,
        addresses,
        Some(Group::Old),
        &start.phrases,
        start.resumption,
        &start.log,
    );
    start.phrases = PassPhrases::none();
    let loaded = match found {
        Ok(loaded) => {
            load::tell(&loaded.warnings, &start.log);
            loaded.note_staples(&start.scoreboard);
            loaded
        }
        Err(found) => {
            load::tell(&found, &start.log);
            say(master, &FromZygote::Failed, &[])?;
            return Ok(());
        }
    };
    for part in loaded.presented().chunks(PRESENTED) {
        say(master, &FromZygote::Presented(part.to_vec()), &[])?;
    }
    say(master, &FromZygote::Loaded, &[])?;
    if !wait_for_the_word(master)? {
        return Ok(());
    }
    start.log.id = log::Id::Main;
    if let Some(outputs) = start.outputs.take() {
        log::install(outputs);
    }
    if start.config.global.foreground == Foreground::No {
        process::let_go_of_the_terminal()?;
    }
    let jailed = loaded.plan.clone().enter(&OneThread::prove()?)?;
    let jailed = jailed.within(&crate::sandbox::zygote()?);
    let signals = fresh.hear(&[SIGCHLD])?;
    say(master, &FromZygote::Jailed, &[])?;
    let forking = Forking {
        generation: start.generation,
        config: start.config,
        scoreboard: start.scoreboard.clone(),
        leash: &start.leash,
        services: loaded.services,
        master,
        children: Vec::new(),
        helpers: Vec::new(),
        log: start.log,
    };
    Ok(forking.run(signals, &jailed)?)
}

/// The life of a zygote that another has forked, from the fork to `_exit`.
fn run_copy(copied: Forking<'_>, fresh: Fresh, jailed: &Jailed) -> Infallible {
    let log = copied.log;
    match live_copied(copied, fresh, jailed) {
        Ok(()) => process::exit(0),
        Err(error) => {
            crate::error!(log, "Zygote: {}", log::Reason(&error));
            process::exit(1)
        }
    }
}

#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn live_copied(copied: Forking<'_>, fresh: Fresh, jailed: &Jailed) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend([
        copied.master.as_fd().as_raw_fd(),
        copied.leash.as_fd().as_raw_fd(),
    ]);
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&kept) }?;
    process::title(
        "adit: zygote",
        &format!(" of generation {}", copied.generation),
    );
    let signals = fresh.hear(&[SIGCHLD])?;
    let pid = nix::unistd::getpid().as_raw();
    say(copied.master, &FromZygote::There(pid), &[])?;
    copied.run(signals, jailed)
}

/// Waits for [`ToZygote::Serve`]; false: the master has given up.
fn wait_for_the_word(master: &Channel) -> io::Result<bool> {
    loop {
        match hear::<ToZygote>(master, MsgFlags::empty())? {
            Some((ToZygote::Serve, _)) => return Ok(true),
            Some((word, descriptors)) => replace_output(&word, descriptors)?,
            None => return Ok(false),
        }
    }
}

/// Puts a log that was opened anew into force.
fn replace_output(word: &ToZygote, mut descriptors: Vec<OwnedFd>) -> io::Result<()> {
    match (word, descriptors.pop()) {
        (ToZygote::LogFile, Some(file)) => log::replace_file(file),
        (ToZygote::Syslog, Some(socket)) => {
            // A generation without syslog does not need it.
            let _ = log::replace_syslog(socket);
            Ok(())
        }
        // Its descriptor did not fit into this process's table.
        (ToZygote::LogFile | ToZygote::Syslog, None) => Ok(()),
        _ => Err(io::Error::other(format!("unexpected message: {word:?}"))),
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Leash,
    Master,
    Signals,
}

impl watch::Source for Source {
    fn key(self) -> usize {
        self as usize
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Master,
            _ => Source::Signals,
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Master | Source::Signals => Interest::Read,
        }
    }
}

/// A zygote in the jail.
struct Forking<'a> {
    generation: u64,
    config: &'a Config,
    scoreboard: Scoreboard,
    leash: &'a Leash,
    services: Arc<[ServiceContext]>,
    master: &'a Channel,
    /// Its workers; told of: their deaths.
    children: Vec<(Pid, bool)>,
    /// For the next worker.
    helpers: Vec<(Kind, Vec<OwnedFd>)>,
    log: Log,
}

impl Forking<'_> {
    fn run(mut self, mut signals: Signals, jailed: &Jailed) -> io::Result<()> {
        let watch = Watch::new()?;
        loop {
            let sources = [
                (Source::Leash, self.leash.as_fd()),
                (Source::Master, self.master.as_fd()),
                (Source::Signals, signals.as_fd()),
            ];
            // For this turn alone: a worker shares what is watched.
            let ready = watch.wait_for(&sources, None)?;
            if ready.contains(&Source::Leash) {
                return Ok(());
            }
            if ready.contains(&Source::Signals) {
                signals.take();
                self.tell_of_deaths()?;
            }
            if ready.contains(&Source::Master) {
                match hear::<ToZygote>(self.master, MsgFlags::MSG_DONTWAIT) {
                    Ok(Some((word, descriptors))) => self.obey(word, descriptors, jailed)?,
                    // The workers see the master's end too, and go on until their connections end.
                    Ok(None) => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // The message's descriptor did not fit into this process's table: no reason to exit.
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        crate::error!(self.log, "Zygote: {}", log::Reason(&error));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn obey(
        &mut self,
        word: ToZygote,
        descriptors: Vec<OwnedFd>,
        jailed: &Jailed,
    ) -> io::Result<()> {
        match word {
            ToZygote::Helper(kind) => {
                // An order that did not arrive leaves its own behind.
                self.helpers.retain(|(other, _)| *other != kind);
                self.helpers.push((kind, descriptors));
            }
            ToZygote::Start { order, index } => {
                let answer = match self.fork(index, descriptors, jailed) {
                    Ok(pid) => {
                        self.children.push((pid, false));
                        FromZygote::Started {
                            order,
                            pid: pid.as_raw(),
                        }
                    }
                    Err(error) => FromZygote::NotStarted {
                        order,
                        reason: log::Reason(&error).to_string(),
                    },
                };
                say(self.master, &answer, &[])?;
            }
            ToZygote::Kill(pid) => {
                let pid = Pid::from_raw(pid);
                // It is not reaped, so the number is its own.
                if self.children.iter().any(|(child, _)| *child == pid) {
                    let _ = kill(pid, Signal::SIGKILL);
                }
            }
            ToZygote::Reap(pid) => {
                let pid = Pid::from_raw(pid);
                self.children.retain(|(child, _)| *child != pid);
                // It is dead, or was never ours.
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
            ToZygote::Copy(generation) => {
                if let Err(error) = self.copy(generation, descriptors, jailed) {
                    // Its channel is closed, which says the same to the process that waits for it.
                    crate::error!(self.log, "Zygote: {}", log::Reason(&error));
                }
            }
            word => {
                if let Err(error) = replace_output(&word, descriptors) {
                    crate::error!(self.log, "Zygote: {}", log::Reason(&error));
                }
            }
        }
        Ok(())
    }

    fn fork(
        &mut self,
        index: usize,
        descriptors: Vec<OwnedFd>,
        jailed: &Jailed,
    ) -> io::Result<Pid> {
        let helpers = std::mem::take(&mut self.helpers);
        let Ok([words, sockets]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(io::Error::other("a worker's channels did not arrive"));
        };
        let global = &self.config.global;
        let start = worker::Start {
            index,
            group: Group::Old,
            generation: self.generation,
            services: self.services.clone(),
            scoreboard: self.scoreboard.clone(),
            master: words.into(),
            sockets: sockets.into(),
            leash: self.leash.try_clone()?,
            helpers,
            threads: global.threads,
            drain_timeout: global.drain_timeout,
            log: self.log,
        };
        process::spawn(&OneThread::prove()?, |fresh| {
            worker::run(start, fresh, jailed)
        })
    }

    /// Forks another zygote, which is no child of this one: it outlives it.
    fn copy(&self, generation: u64, descriptors: Vec<OwnedFd>, jailed: &Jailed) -> io::Result<()> {
        let mut descriptors = descriptors.into_iter();
        let Some(channel) = descriptors.next().map(Channel::from) else {
            return Err(io::Error::other("a channel did not arrive"));
        };
        let scoreboard = match descriptors.next() {
            Some(board) => self.scoreboard.successor(&board)?,
            None => self.scoreboard.clone(),
        };
        let copied = Forking {
            generation,
            scoreboard,
            services: Arc::clone(&self.services),
            master: &channel,
            children: Vec::new(),
            helpers: Vec::new(),
            ..*self
        };
        process::spawn_away(&OneThread::prove()?, |fresh| {
            run_copy(copied, fresh, jailed)
        })
    }

    /// Tells the master of each death once. The dead stay until it knows, so that no other process has their
    /// numbers before.
    fn tell_of_deaths(&mut self) -> io::Result<()> {
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        for (pid, told) in &mut self.children {
            if *told {
                continue;
            }
            match waitid(Id::Pid(*pid), options) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => {
                    *told = true;
                    let how = children::how(&status).unwrap_or_else(|| "ended".to_owned());
                    let pid = pid.as_raw();
                    say(self.master, &FromZygote::Died { pid, how }, &[])?;
                }
                // ECHILD: it was reaped.
                Err(_) => *told = true,
            }
        }
        Ok(())
    }
}

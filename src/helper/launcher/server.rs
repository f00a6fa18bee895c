//! The process's loop: requests are answered, and programs that have ended are told of.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::SIGCHLD;

use super::environment;
use super::message::{self, Answer, MAX_MESSAGE, Request, Started};
use super::start::{self, Surroundings};
use crate::children;
use crate::config::{Config, Foreground, Program};
use crate::helper::Post;
use crate::helper::desk::{Desk, Reply, Source};
use crate::jail::Confined;
use crate::log::Log;
use crate::process::Fresh;
use crate::sys::watch::Watch;

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
        programs: HashMap::new(),
    };
    let mut desk = Desk::new(MAX_MESSAGE);
    loop {
        for source in watch.wait(None)? {
            match source {
                Source::Leash => return Ok(()),
                Source::Signals => {
                    signals.take();
                    launcher.reap();
                }
                Source::Channel => desk.hear(&post.channel, &watch)?,
                Source::Client(number) | Source::Room(number) => {
                    desk.serve(number, &watch, |packet| launcher.reply(packet));
                }
            }
        }
        if desk.is_deserted() && launcher.programs.is_empty() {
            return Ok(());
        }
    }
}

struct Launcher<'a> {
    post: &'a Post,
    environment: Vec<(OsString, OsString)>,
    /// Those that run.
    programs: HashMap<Pid, Log>,
}

impl Launcher<'_> {
    fn reply(&mut self, packet: &[u8]) -> Option<Reply> {
        let request = message::decode::<Request>(packet).filter(Request::is_fit)?;
        let id = request.id;
        let say = |result| message::encode(&Answer { id, result });
        Some(match self.start(&request) {
            Ok((started, socket)) => {
                // Without its socket the program reads an end of file.
                let busy = "too many programs are started at once: no more sockets can be passed";
                Reply {
                    packet: say(Ok(started))?,
                    passed: Some((socket, say(Err(busy.to_owned()))?)),
                }
            }
            Err(why) => Reply {
                packet: say(Err(why))?,
                passed: None,
            },
        })
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

//! The spares of the masters, and the masters that spares are forking. They are children of this process as masters
//! are, though it has not forked them: each tells its number, which counts if it is a child's.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::MsgFlags;
use nix::unistd::Pid;

use super::generation::{Generation, Shape};
use super::orphans::is_child;
use crate::ipc::channel::Channel;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::words::{FromMaster, hear};

/// What a word of a spare's, or its end, comes to.
#[derive(Debug)]
pub(super) enum News {
    /// It stands ready.
    Stands,
    /// It could not fork a master, and why.
    NotForked(String),
    /// It had no room for what it was sent.
    Missed,
    /// It is of no use any more; in words, why.
    Lost(String),
}

/// A spare that was asked for, or stands.
#[derive(Debug)]
pub(super) struct Spare {
    /// The generation behind which it stands.
    pub behind: u64,
    /// That of its generation, and of those to come.
    pub shape: Shape,
    /// To the spare.
    pub channel: Channel,
    /// Its process, once it has said so.
    pub pid: Option<Pid>,
    /// The process that would fork old workers.
    pub zygote: Option<Pid>,
    /// Whether anything more may come from it.
    pub hears: bool,
}

impl Spare {
    /// One that a master is to fork.
    pub(super) fn behind(number: u64, shape: Shape, channel: Channel) -> Spare {
        Spare {
            behind: number,
            shape,
            channel,
            pid: None,
            zygote: None,
            hears: true,
        }
    }

    /// Hears one word; `None`: there is none, or it means nothing by itself. `is_known`: a process has a role
    /// already.
    pub(super) fn hear(&mut self, is_known: impl Fn(Pid) -> bool) -> Option<News> {
        match hear::<FromMaster>(&self.channel, MsgFlags::MSG_DONTWAIT) {
            Ok(Some((FromMaster::Forked(pid), _))) if self.pid.is_none() => {
                self.pid = own(pid, is_known);
                self.pid.is_none().then(|| lost("is no child"))
            }
            Ok(Some((FromMaster::Standing(zygote), _))) if self.pid.is_some() => {
                self.zygote = zygote.and_then(|pid| own(pid, is_known));
                match zygote.is_some() && self.zygote.is_none() {
                    true => Some(lost("has a zygote that is no child")),
                    false => Some(News::Stands),
                }
            }
            Ok(Some((FromMaster::NotForked(reason), _))) => Some(News::NotForked(reason)),
            Ok(Some((FromMaster::Missed, _))) => Some(News::Missed),
            Ok(Some(_)) => Some(lost("said a word out of turn")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(None) => {
                self.hears = false;
                // Else its death, which SIGCHLD tells, says the rest.
                self.pid.is_none().then(|| lost("ended before it stood"))
            }
            Err(error) => Some(lost(&error.to_string())),
        }
    }

    /// Ends it; its processes that are to be reaped.
    pub(super) fn end(self) -> Vec<Pid> {
        let processes: Vec<Pid> = self.pid.into_iter().chain(self.zygote).collect();
        for &process in &processes {
            // A child that was not reaped: its number is its own.
            if is_child(process) {
                let _ = kill(process, Signal::SIGKILL);
            }
        }
        processes
    }
}

fn lost(how: &str) -> News {
    News::Lost(how.to_owned())
}

/// The number that a process has named as its own, if it may be.
fn own(pid: i32, is_known: impl Fn(Pid) -> bool) -> Option<Pid> {
    let pid = Some(pid).filter(|pid| *pid > 0).map(Pid::from_raw)?;
    (is_child(pid) && !is_known(pid)).then_some(pid)
}

/// A master that a spare is forking.
#[derive(Debug)]
pub(super) struct Unborn {
    /// The number of its generation.
    pub number: u64,
    /// That of its generation.
    pub shape: Shape,
    /// To that master.
    pub channel: Channel,
    /// Its counts, and their memory.
    pub board: (Scoreboard, OwnedFd),
}

impl Unborn {
    /// Hears its first word; `None`: there is none yet.
    ///
    /// # Errors
    /// It was not forked, or is none of ours; in words.
    pub(super) fn hear(&self, is_known: impl Fn(Pid) -> bool) -> Option<Result<Pid, String>> {
        match hear::<FromMaster>(&self.channel, MsgFlags::MSG_DONTWAIT) {
            Ok(Some((FromMaster::Forked(pid), _))) => {
                Some(own(pid, is_known).ok_or_else(|| "it is no child".to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(Some(_)) => Some(Err("a word out of turn".to_owned())),
            Ok(None) => Some(Err("it has ended".to_owned())),
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// It runs.
    pub(super) fn born(self, pid: Pid) -> Generation {
        Generation::of(self.number, pid, self.shape, self.channel, self.board)
    }
}

//! The process that old workers are forks of. It is forked from the master before any other service's key is read,
//! loads the old services' certificates and keys, enters the jail, and from then on only forks. Never in here: a
//! byte of a connection, a listener, the key of a service that is not old.

mod forking;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Start;
use super::load::{Addresses, Presented};
use crate::helper::Kind;
use crate::ipc::channel::Channel;
use crate::ipc::words::{hear, say, say_now};
use crate::process::{self, Fresh, OneThread};
use crate::step::NameStep;

/// Master to zygote.
#[derive(Debug, Serialize, Deserialize)]
enum ToZygote {
    /// Enter the jail and answer [`FromZygote::Jailed`].
    Serve,
    /// The log file was reopened: its descriptor.
    LogFile,
    /// syslogd was restarted: a connection to it.
    Syslog,
    /// For the next worker: a client's socket to this helper for each relay thread.
    Helper(Kind),
    /// Fork this worker: its channels for words and for sockets.
    Start { order: u64, index: usize },
    /// End this worker.
    Kill(i32),
    /// The master knows of this worker's death, and has no more use for its number.
    Reap(i32),
    /// Fork another zygote, for a process of this generation that talks on this channel; with the memory of that
    /// generation's counts, if they are others.
    Copy(u64),
}

/// Zygote to master.
#[derive(Debug, Serialize, Deserialize)]
enum FromZygote {
    /// Certificates that were read; in as many messages as they need.
    Presented(Vec<Presented>),
    /// Everything was read.
    Loaded,
    /// Something is wrong, and the log says what.
    Failed,
    /// It is in the jail.
    Jailed,
    /// The worker of this order has this number.
    Started { order: u64, pid: i32 },
    /// The worker of this order could not be forked.
    NotStarted { order: u64, reason: String },
    /// A worker has died, and how; it is not reaped yet.
    Died { pid: i32, how: String },
    /// A copy is there, and its number.
    There(i32),
}

/// What a serving zygote tells.
#[derive(Debug)]
pub(super) enum News {
    /// The worker of this order has this number.
    Started(u64, Pid),
    /// The worker of this order could not be forked, and why.
    NotStarted(u64, String),
    /// A worker has died, and how; until [`Zygote::reap`] its number is its own.
    Died(Pid, String),
}

/// The master's side. Once it serves, it never waits for the zygote.
#[derive(Debug)]
pub(super) struct Zygote {
    /// A copy tells it by itself.
    pid: Option<Pid>,
    channel: Channel,
    orders: u64,
    /// The dead that it could not be told of yet.
    unreaped: Vec<Pid>,
}

impl Zygote {
    /// Forks it, before the master has read a key.
    ///
    /// # Errors
    /// No process, no descriptors left.
    pub(super) fn start(
        start: &mut Start<'_>,
        addresses: &Addresses,
        fresh: &Fresh,
    ) -> io::Result<Zygote> {
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        // The master hears no signal yet, and the mask to go back to is its own.
        let pid = process::spawn(&OneThread::prove()?, |_| {
            forking::run(start, addresses, &theirs, fresh.of_child())
        })?;
        Ok(Zygote::behind(ours, Some(pid)))
    }

    fn behind(channel: Channel, pid: Option<Pid>) -> Zygote {
        Zygote {
            pid,
            channel,
            orders: 0,
            unreaped: Vec::new(),
        }
    }

    /// Has it fork another, for another process of a generation: its counts are in `board`, if they are others.
    ///
    /// # Errors
    /// As [`say_now`]; no descriptors left.
    pub(super) fn copy(
        &self,
        generation: u64,
        board: Option<BorrowedFd<'_>>,
    ) -> io::Result<Zygote> {
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let descriptors: Vec<_> = [theirs.as_fd()].into_iter().chain(board).collect();
        say_now(&self.channel, &ToZygote::Copy(generation), &descriptors)?;
        Ok(Zygote::behind(ours, None))
    }

    /// Waits until a copy is there.
    ///
    /// # Errors
    /// It could not be forked, or has died.
    pub(super) fn wait_until_it_is_there(&mut self) -> io::Result<()> {
        match self.hear(MsgFlags::empty())? {
            FromZygote::There(pid) => {
                self.pid = Some(Pid::from_raw(pid));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until it has loaded; `None`: something is wrong, and the log says what.
    ///
    /// # Errors
    /// It died, or says what it must not say now.
    pub(super) fn loaded(&mut self) -> io::Result<Option<Vec<Presented>>> {
        let mut presented = Vec::new();
        loop {
            match self.hear(MsgFlags::empty())? {
                FromZygote::Presented(more) => presented.extend(more),
                FromZygote::Loaded => return Ok(Some(presented)),
                FromZygote::Failed => return Ok(None),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Sends it into the jail, and waits until it is there.
    ///
    /// # Errors
    /// It could not enter the jail, which the log says.
    pub(super) fn enter_jail(&mut self) -> io::Result<()> {
        say(&self.channel, &ToZygote::Serve, &[])?;
        match self.hear(MsgFlags::empty())? {
            FromZygote::Jailed => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Hands it the log file that was opened anew.
    ///
    /// # Errors
    /// As [`say_now`].
    pub(super) fn replace_log(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        say_now(&self.channel, &ToZygote::LogFile, &[file])
    }

    /// Hands it a connection to the new syslogd.
    ///
    /// # Errors
    /// As [`say_now`].
    pub(super) fn replace_syslog(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        say_now(&self.channel, &ToZygote::Syslog, &[socket])
    }

    /// Orders a worker. Gives the order's number, under which [`News`] come of it.
    ///
    /// # Errors
    /// As [`say_now`].
    pub(super) fn order(
        &mut self,
        index: usize,
        channels: [BorrowedFd<'_>; 2],
        helpers: &[(Kind, Vec<OwnedFd>)],
    ) -> io::Result<u64> {
        self.orders += 1;
        for (kind, clients) in helpers {
            let clients: Vec<BorrowedFd<'_>> = clients.iter().map(AsFd::as_fd).collect();
            say_now(&self.channel, &ToZygote::Helper(*kind), &clients)?;
        }
        let order = ToZygote::Start {
            order: self.orders,
            index,
        };
        say_now(&self.channel, &order, &channels)?;
        Ok(self.orders)
    }

    /// What it has told since it was asked last.
    ///
    /// # Errors
    /// The zygote is gone.
    pub(super) fn take_news(&self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        loop {
            news.push(match self.hear(MsgFlags::MSG_DONTWAIT) {
                Ok(FromZygote::Started { order, pid }) => News::Started(order, Pid::from_raw(pid)),
                Ok(FromZygote::NotStarted { order, reason }) => News::NotStarted(order, reason),
                Ok(FromZygote::Died { pid, how }) => News::Died(Pid::from_raw(pid), how),
                Ok(other) => return Err(unexpected(&other)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(news),
                Err(error) => return Err(error),
            });
        }
    }

    /// A dead worker's number may be given to another process.
    pub(super) fn reap(&mut self, pid: Pid) {
        self.unreaped.push(pid);
        let channel = &self.channel;
        self.unreaped.retain(|pid| {
            // One that is busy is told with the next. A zygote that is gone has no children.
            let said = say_now(channel, &ToZygote::Reap(pid.as_raw()), &[]);
            said.is_err_and(|error| Channel::is_busy(&error))
        });
    }

    /// Ends one of its workers.
    pub(super) fn kill(&self, pid: Pid) {
        // One that does not hear it is looked after itself.
        let _ = say_now(&self.channel, &ToZygote::Kill(pid.as_raw()), &[]);
    }

    /// Its process, for the scoreboard.
    pub(super) fn pid(&self) -> u64 {
        self.number().map_or(0, |pid| pid.unsigned_abs().into())
    }

    /// Its process.
    pub(super) fn number(&self) -> Option<i32> {
        self.pid.map(Pid::as_raw)
    }

    fn hear(&self, flags: MsgFlags) -> io::Result<FromZygote> {
        let heard = hear::<FromZygote>(&self.channel, flags)?;
        let gone = || io::Error::other("the process that forks old workers has died");
        heard.map(|(word, _)| word).ok_or_else(gone)
    }
}

impl AsFd for Zygote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn unexpected(word: &FromZygote) -> io::Error {
    io::Error::other(format!(
        "unexpected message of the process that forks old workers: {word:?}"
    ))
}

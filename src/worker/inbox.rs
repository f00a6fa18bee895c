//! The worker's main thread: messages from the master in, sockets and commands to the relay threads.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::MsgFlags;

use super::Start;
use super::reactor::{Command, ThreadContext, ThreadHandle};
use crate::ipc::channel::Cut;
use crate::ipc::handoff;
use crate::ipc::handoff::{Entry, Handed};
use crate::ipc::wait::wait;
use crate::ipc::words::{FromWorker, MAX_WORD, ToWorker, say};
use crate::log;
use crate::process;

/// How often a draining worker looks whether its threads have ended.
const DRAIN_TICK: u16 = 50;
/// How long a relay thread may take to write its list.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
pub struct Inbox {
    start: Start,
    threads: Vec<ThreadHandle>,
    /// `None` once nothing more will come.
    sockets: Option<Sender<Handed>>,
    /// The master is gone.
    orphaned: bool,
    /// Nobody is left to say when connections are to end: then.
    cut_at: Option<Instant>,
}

impl Inbox {
    /// Starts the relay threads and tells the master.
    ///
    /// # Errors
    /// A thread or its poller cannot be made; the master is gone.
    pub fn open(mut start: Start) -> io::Result<Inbox> {
        let (sender, receiver): (_, Receiver<Handed>) = unbounded();
        let mut resolver = std::mem::take(&mut start.resolver).into_iter();
        let threads = (0..start.threads)
            .map(|_| {
                let context = ThreadContext {
                    services: start.services.clone(),
                    scoreboard: start.scoreboard.clone(),
                    worker: start.index,
                    resolver: resolver.next(),
                };
                super::reactor::spawn(context, receiver.clone())
            })
            .collect::<io::Result<_>>()?;
        say(&start.master, &FromWorker::Ready, &[])?;
        Ok(Inbox {
            start,
            threads,
            sockets: Some(sender),
            orphaned: false,
            cut_at: None,
        })
    }

    /// Runs until the supervisor is gone, or everything is drained.
    ///
    /// # Errors
    /// What poll(2) gives.
    pub fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_WORD];
        loop {
            let (master, leash) = self.wait()?;
            if leash {
                process::exit(0);
            }
            if master {
                self.receive(&mut buffer);
            }
            if self.cut_at.is_some_and(|at| at <= Instant::now()) {
                self.cut_at = None;
                self.cut();
            }
            if self.sockets.is_none() && self.threads.iter().all(ThreadHandle::is_finished) {
                return Ok(());
            }
        }
    }

    /// Waits; whether the master has something to say, and whether the supervisor is gone.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(self.start.leash.as_fd(), PollFlags::POLLIN)];
        // A dead master's end stays readable for ever: look at it no more.
        if !self.orphaned {
            fds.push(PollFd::new(self.start.master.as_fd(), PollFlags::POLLIN));
        }
        let timeout = match self.sockets {
            Some(_) => PollTimeout::NONE,
            None => PollTimeout::from(DRAIN_TICK),
        };
        if wait(&mut fds, timeout)? == 0 {
            return Ok((false, false));
        }
        let ready = |n: usize| {
            let fd: Option<&PollFd<'_>> = fds.get(n);
            fd.and_then(PollFd::any).unwrap_or(false)
        };
        Ok((ready(1), ready(0)))
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        match self.start.master.receive(buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(Some(message)) if buffer[0] == handoff::TAG => {
                self.take_sockets(&buffer[..message.len], message.descriptors);
            }
            Ok(Some(message)) => match serde_json::from_slice(&buffer[..message.len]) {
                Ok(word) => self.obey(&word, message.descriptors),
                Err(error) => crate::error!(self.start.log, "Worker: unknown word: {error}"),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                crate::error!(self.start.log, "Worker: {error}");
                let cut = error.get_ref().and_then(|cut| cut.downcast_ref::<Cut>());
                let entries = cut.and_then(|cut| handoff::decode(buffer.get(..cut.len)?));
                self.lose(&entries.unwrap_or_default());
            }
            // The master died: what is here goes on to its end, nothing new will come.
            Ok(None) | Err(_) => {
                self.orphaned = true;
                self.cut_at = self.start.drain_timeout.map(|t| Instant::now() + t);
                self.drain();
            }
        }
    }

    fn take_sockets(&mut self, message: &[u8], descriptors: Vec<OwnedFd>) {
        let Some(entries) = handoff::decode(message).filter(|e| e.len() == descriptors.len())
        else {
            crate::error!(self.start.log, "Worker: a hand-off that cannot be read");
            return;
        };
        let Some(sender) = &self.sockets else { return };
        for (entry, socket) in entries.into_iter().zip(descriptors) {
            let handed = Handed {
                socket,
                sequence: entry.sequence,
                connection: entry.connection,
                service: entry.service as usize,
                peer: entry.peer,
            };
            if sender.send(handed).is_ok()
                && let Some(idlest) = self.threads.iter().min_by_key(|thread| thread.load())
            {
                idlest.wake_for(1);
            }
        }
    }

    /// These sockets found no descriptor here: they are claimed and gone, or the master would wait
    /// for that.
    fn lose(&self, entries: &[Entry]) {
        let row = self.start.scoreboard.worker(self.start.index);
        for entry in entries {
            if !row.claim(entry.sequence) {
                row.let_go().fetch_add(1, Relaxed);
            }
        }
    }

    fn obey(&mut self, word: &ToWorker, mut descriptors: Vec<OwnedFd>) {
        match word {
            ToWorker::LogFile => {
                if let Some(file) = descriptors.pop()
                    && let Err(error) = log::replace_file(file)
                {
                    crate::error!(self.start.log, "Worker: log file not reopened: {error}");
                }
            }
            ToWorker::Syslog => {
                if let Some(socket) = descriptors.pop() {
                    // A generation without syslog has no use for it.
                    let _ = log::replace_syslog(socket);
                }
            }
            ToWorker::Resolver => {
                for (thread, socket) in self.threads.iter().zip(descriptors) {
                    thread.command(Command::Resolver(socket));
                }
            }
            ToWorker::List => self.list(),
            ToWorker::Drain => self.drain(),
            ToWorker::Cut => self.cut(),
        }
    }

    fn cut(&mut self) {
        self.drain();
        for thread in &self.threads {
            thread.command(Command::Cut);
        }
    }

    fn drain(&mut self) {
        self.sockets = None;
        for thread in &self.threads {
            thread.command(Command::Drain);
        }
    }

    fn list(&self) {
        let (sender, receiver) = unbounded();
        for thread in &self.threads {
            thread.command(Command::List(sender.clone()));
        }
        drop(sender);
        let mut count = 0;
        while let Ok(listed) = receiver.recv_timeout(LIST_PATIENCE) {
            count += listed;
        }
        // A master that is gone needs no answer.
        let _ = say(&self.start.master, &FromWorker::Listed(count), &[]);
    }
}

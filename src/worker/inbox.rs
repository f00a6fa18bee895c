//! The worker's main thread: passes the master's messages to the relay threads as commands. Sockets
//! bypass it and go straight to the first relay thread ([`super::inlet`]), which saves waking a thread.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::MsgFlags;

use super::Start;
use super::inlet::Inlet;
use super::inquiring::{Place, tell_all};
use super::prober::Prober;
use super::reactor::ThreadContext;
use super::shared::Command;
use super::stapler::Stapler;
use super::thread::{self, ThreadHandle};
use super::unfinished;
use crate::helper::Kind;
use crate::ipc::channel::{Channel, Cut};
use crate::ipc::handoff::Handed;
use crate::ipc::leash::Leash;
use crate::ipc::wait::wait;
use crate::ipc::words::{FromWorker, MAX_WORD, ToWorker, say, say_now};
use crate::limits;
use crate::log::{self, Log};
use crate::memory;
use crate::process;
use crate::sandbox::Sandboxed;
use crate::sys::zeros::Zeros;

/// How often a draining worker checks whether its threads have ended, in milliseconds.
const DRAIN_TICK: u16 = 50;
/// How long a relay thread may take to write its list.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// The worker's main thread.
pub(super) struct Inbox {
    master: Channel,
    leash: Leash,
    log: Log,
    drain_timeout: Option<Duration>,
    threads: Vec<ThreadHandle>,
    /// No more sockets will come.
    draining: bool,
    /// The master is gone.
    orphaned: bool,
    /// Fetches what is stapled; none while there is nothing to staple, or nothing new is accepted.
    stapler: Option<Stapler>,
    /// Looks at servers; as the stapler.
    prober: Option<Prober>,
    place: Place,
    /// When to cut the connections, now that the master is gone and cannot order it.
    cut_at: Option<Instant>,
}

impl Inbox {
    /// Starts the relay threads and reports to the master.
    ///
    /// # Errors
    /// A thread or its poller cannot be made; the master is gone.
    pub(super) fn open(mut start: Start, _: &Sandboxed) -> io::Result<Inbox> {
        let (sender, receiver): (_, Receiver<Handed>) = unbounded();
        let mut helpers = std::mem::take(&mut start.helpers);
        let fetcher = helpers.iter_mut().find(|(kind, _)| *kind == Kind::Fetcher);
        let fetcher = fetcher.and_then(|(_, clients)| clients.pop());
        let stapler = Stapler::of(&start.services, fetcher, start.log);
        let prober = Prober::of(&start.services, start.group, &start.scoreboard, start.log);
        let threads = start.scoreboard.workers() * start.threads;
        let mut context = |inlet| ThreadContext {
            master: start
                .master
                .as_fd()
                .try_clone_to_owned()
                .ok()
                .map(Channel::from),
            services: start.services.clone(),
            scoreboard: start.scoreboard.clone(),
            worker: start.index,
            helpers: helpers
                .iter_mut()
                .filter_map(|(kind, clients)| Some((*kind, clients.pop()?)))
                .collect(),
            inlet,
            handshake_memory: unfinished::budget(limits::memory(), threads),
        };
        let mut threads = (1..start.threads)
            .map(|_| thread::spawn(context(None), receiver.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let siblings = threads.iter().map(ThreadHandle::shared).collect();
        let inlet = Inlet::new(start.sockets, sender, siblings);
        let first = thread::spawn(context(Some(inlet)), receiver)?;
        threads.push(first);
        say(&start.master, &FromWorker::Ready, &[])?;
        memory::let_go();
        Ok(Inbox {
            master: start.master,
            leash: start.leash,
            log: start.log,
            drain_timeout: start.drain_timeout,
            threads,
            draining: false,
            orphaned: false,
            stapler,
            prober,
            place: Place {
                generation: start.generation,
                worker: start.index,
            },
            cut_at: None,
        })
    }

    /// Runs until the supervisor is gone, or everything is drained.
    ///
    /// # Errors
    /// What poll(2) gives.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut buffer = Zeros::new(const { NonZeroUsize::new(MAX_WORD).unwrap() });
        loop {
            let (master, leash) = self.wait()?;
            if leash {
                log::sum_up_all_repeats();
                process::exit(0);
            }
            if master {
                self.receive(&mut buffer);
            }
            if let Some(stapler) = &mut self.stapler
                && stapler.turn()
            {
                // A master that has no room for it is told the next time.
                let _ = say_now(&self.master, &FromWorker::Silent(Kind::Fetcher), &[]);
            }
            if let Some(prober) = &mut self.prober {
                prober.turn();
            }
            if self.cut_at.is_some_and(|at| at <= Instant::now()) {
                self.cut_at = None;
                self.cut();
            }
            if self.draining && self.threads.iter().all(ThreadHandle::is_finished) {
                // The master kills a worker that has closed its channel.
                log::sum_up_all_repeats();
                return Ok(());
            }
        }
    }

    /// Waits; returns whether the master sent something, and whether the supervisor is gone.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(self.leash.as_fd(), PollFlags::POLLIN)];
        // A dead master's channel stays readable forever: stop polling it.
        if !self.orphaned {
            fds.push(PollFd::new(self.master.as_fd(), PollFlags::POLLIN));
        }
        let master = fds.len() - 1;
        let stapler = self.stapler.as_ref();
        let answers = stapler.and_then(Stapler::fd);
        fds.extend(answers.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let prober = self.prober.as_ref();
        let wants = prober.into_iter().flat_map(Prober::wants);
        fds.extend(wants.map(|(fd, flags)| PollFd::new(fd, flags)));
        let waits = [stapler.and_then(Stapler::wait), prober.map(Prober::wait)];
        let timeout = match (self.draining, waits.into_iter().flatten().min()) {
            (true, _) => PollTimeout::from(DRAIN_TICK),
            // Rounded up, or the last millisecond would be a loop of empty waits.
            (false, Some(wait)) => {
                let wait = wait.saturating_add(Duration::from_millis(1));
                PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
            }
            (false, None) => PollTimeout::NONE,
        };
        if wait(&mut fds, timeout)? == 0 {
            return Ok((false, false));
        }
        let ready = |n: usize| {
            let fd: Option<&PollFd<'_>> = fds.get(n);
            fd.and_then(PollFd::any).unwrap_or(false)
        };
        Ok((master == 1 && ready(master), ready(0)))
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        match self.master.receive(buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(Some(message)) => match serde_json::from_slice(&buffer[..message.len]) {
                Ok(word) => self.obey(&word, message.descriptors),
                Err(error) => crate::error!(self.log, "Worker: unknown message: {error}"),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                crate::error!(self.log, "Worker: {error}");
                if Cut::of(&error).is_some() {
                    // A master that is gone sends nothing again.
                    let _ = say(&self.master, &FromWorker::Missed, &[]);
                }
            }
            // The master died: current connections continue to their end, and no new ones will come.
            Ok(None) | Err(_) => {
                self.orphaned = true;
                self.cut_at = self.drain_timeout.map(|t| Instant::now() + t);
                self.drain();
            }
        }
    }

    fn obey(&mut self, word: &ToWorker, mut descriptors: Vec<OwnedFd>) {
        match word {
            ToWorker::LogFile => {
                if let Some(file) = descriptors.pop()
                    && let Err(error) = log::replace_file(file)
                {
                    crate::error!(
                        self.log,
                        "Worker: log file not reopened: {}",
                        log::Reason(&error)
                    );
                }
            }
            ToWorker::Syslog => {
                if let Some(socket) = descriptors.pop() {
                    // A generation without syslog does not need it.
                    let _ = log::replace_syslog(socket);
                }
            }
            ToWorker::Helper(kind) => {
                if *kind == Kind::Fetcher
                    && let (Some(socket), Some(stapler)) = (descriptors.pop(), &mut self.stapler)
                {
                    stapler.meet(socket);
                }
                for (thread, socket) in self.threads.iter().zip(descriptors) {
                    thread.command(Command::Helper(*kind, socket));
                }
            }
            ToWorker::Names(changed) => {
                if let Some(prober) = &mut self.prober {
                    prober.learn(changed);
                }
                for thread in &self.threads {
                    thread.command(Command::Names(changed.clone()));
                }
            }
            ToWorker::List => self.list(),
            ToWorker::Inquire(inquiry) => {
                if let Some(asker) = descriptors.pop() {
                    tell_all(
                        &self.threads,
                        *inquiry,
                        self.place,
                        &asker.into(),
                        LIST_TIMEOUT,
                    );
                }
            }
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
        self.draining = true;
        self.stapler = None;
        self.prober = None;
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
        while let Ok(listed) = receiver.recv_timeout(LIST_TIMEOUT) {
            count += listed;
        }
        // A master that is gone needs no answer.
        let _ = say(&self.master, &FromWorker::Listed(count), &[]);
    }
}

//! The master's loop: one poll(2), sockets accepted in batches, children watched, words obeyed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::MsgFlags;

use super::Listener;
use super::handoff::Accepted;
use super::workers::Workers;
use crate::children;
use crate::ipc::accept::accept;
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::shared::SharedWords;
use crate::ipc::wait::wait;
use crate::ipc::words::{FromMaster, FromWorker, ToMaster, ToWorker, hear, say};
use crate::jail::Jailed;
use crate::log::{self, Log};
use crate::process;
use crate::signals::Signals;

/// Connections accepted from one listener in one turn.
const ACCEPT_BATCH: usize = 64;
/// Batches accepted from one listener before it is closed: as many as the longest backlog holds.
const LAST_BATCHES: usize = 64;
/// How long accepting pauses when descriptors run out, as stunnel.
const PAUSE: Duration = Duration::from_secs(1);
/// How soon, and at last how seldom, the master looks whether what it handed over was claimed: it
/// keeps a descriptor of each until then, which would keep a closed connection open.
const CLAIM_TICK: Duration = Duration::from_millis(8);
const LONGEST_CLAIM_TICK: Duration = Duration::from_millis(64);

/// A master at work.
pub struct Serving {
    supervisor: Channel,
    leash: Leash,
    connections: SharedWords,
    signals: Signals,
    listeners: Vec<Listener>,
    workers: Workers,
    log: Log,
    announced: bool,
    draining: bool,
    paused_until: Option<Instant>,
    claim_tick: Duration,
    /// Workers that have yet to answer a `List`, and what the others listed.
    listing: Option<(usize, usize)>,
}

/// What poll(2) found.
#[derive(Default)]
struct Ready {
    signals: bool,
    supervisor: bool,
    leash: bool,
    workers: Vec<usize>,
    listeners: Vec<usize>,
}

impl Serving {
    /// See the module.
    pub fn new(
        supervisor: Channel,
        leash: Leash,
        connections: SharedWords,
        signals: Signals,
        listeners: Vec<Listener>,
        workers: Workers,
        log: Log,
    ) -> Serving {
        Serving {
            supervisor,
            leash,
            connections,
            signals,
            listeners,
            workers,
            log,
            announced: false,
            draining: false,
            paused_until: None,
            claim_tick: CLAIM_TICK,
            listing: None,
        }
    }

    /// Runs until everything is drained, or the supervisor is gone.
    ///
    /// # Errors
    /// What poll(2) gives; the supervisor cannot be spoken to.
    pub fn run(mut self, jailed: &Jailed) -> io::Result<()> {
        loop {
            if let Err(error) = self.workers.start_due(jailed) {
                crate::error!(self.log, "A worker cannot be started: {error}");
            }
            self.workers.look_after();
            let unclaimed = self.workers.flush();
            if self.draining {
                self.workers.drain();
            }
            self.workers.kill_overdue();
            if self.draining && self.workers.none_left() && self.workers.next_start().is_none() {
                return Ok(());
            }
            let ready = self.wait(unclaimed)?;
            if ready.leash {
                return Ok(());
            }
            if ready.signals {
                self.signals.take();
                self.reap();
            }
            for index in ready.workers {
                self.hear_worker(index)?;
            }
            if ready.supervisor {
                self.hear_supervisor()?;
            }
            for index in ready.listeners {
                self.accept_batch(index);
            }
        }
    }

    fn accepting(&mut self) -> bool {
        if self
            .paused_until
            .is_some_and(|until| until <= Instant::now())
        {
            self.paused_until = None;
        }
        if self.draining || self.paused_until.is_some() || !self.announced {
            return false;
        }
        if self.workers.at_capacity() {
            self.pause();
            return false;
        }
        self.workers.have_room()
    }

    fn pause(&mut self) {
        crate::warning!(self.log, "Accepting new connections suspended for 1 second");
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    fn wait(&mut self, unclaimed: bool) -> io::Result<Ready> {
        let accepting = self.accepting();
        let timeout = self.timeout(unclaimed);
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.supervisor.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.leash.as_fd(), PollFlags::POLLIN),
        ];
        let mut workers = Vec::new();
        for (index, channel, stuck) in self.workers.channels() {
            let mut wanted = PollFlags::POLLIN;
            wanted.set(PollFlags::POLLOUT, stuck);
            fds.push(PollFd::new(channel.as_fd(), wanted));
            workers.push(index);
        }
        if accepting {
            for listener in &self.listeners {
                fds.push(PollFd::new(listener.socket.as_fd(), PollFlags::POLLIN));
            }
        }
        if wait(&mut fds, timeout)? == 0 {
            return Ok(Ready::default());
        }
        let is = |n: usize| fds[n].any().unwrap_or(false);
        let first_listener = 3 + workers.len();
        Ok(Ready {
            signals: is(0),
            supervisor: is(1),
            leash: is(2),
            listeners: (first_listener..fds.len())
                .filter(|&n| is(n))
                .map(|n| n - first_listener)
                .collect(),
            workers: workers
                .into_iter()
                .enumerate()
                .filter_map(|(n, index)| is(3 + n).then_some(index))
                .collect(),
        })
    }

    fn timeout(&mut self, unclaimed: bool) -> PollTimeout {
        let now = Instant::now();
        let ours = [self.workers.next_start(), self.workers.patience_ends()];
        let mut soonest = ours.into_iter().flatten().min();
        let mut at = |when: Instant| soonest = Some(soonest.map_or(when, |s| s.min(when)));
        if let Some(until) = self.paused_until {
            at(until);
        }
        if unclaimed {
            at(now + self.claim_tick);
            self.claim_tick = (self.claim_tick * 2).min(LONGEST_CLAIM_TICK);
        } else {
            self.claim_tick = CLAIM_TICK;
        }
        let Some(soonest) = soonest else {
            return PollTimeout::NONE;
        };
        // Rounded up, or the last millisecond would be spent in a busy loop.
        let millis = soonest
            .saturating_duration_since(now)
            .as_micros()
            .div_ceil(1000);
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
    }

    /// Accepts what waits at one listener, so many at most; how many there were.
    fn accept_batch(&mut self, index: usize) -> usize {
        // The word before it in this turn may have been to drain: then there are none any more.
        let Some(listener) = self.listeners.get(index) else {
            return 0;
        };
        let service = listener.service;
        for taken in 0..ACCEPT_BATCH {
            if !self.workers.have_room() {
                return taken;
            }
            match accept(self.listeners[index].socket.as_fd()) {
                Ok((socket, peer)) => {
                    let connection = self.connections[0].fetch_add(1, Relaxed);
                    self.workers.assign(Accepted {
                        socket,
                        connection,
                        service: service as u32,
                        peer,
                    });
                    self.claim_tick = CLAIM_TICK;
                }
                Err(error) => {
                    self.accept_failed(&error);
                    return taken;
                }
            }
        }
        ACCEPT_BATCH
    }

    /// Takes what waits in the backlogs: an address that is configured no more is about to be closed
    /// for good, and with it whoever has connected there already.
    fn accept_the_rest(&mut self) {
        if !self.announced {
            return;
        }
        for index in 0..self.listeners.len() {
            for _ in 0..LAST_BATCHES {
                if self.accept_batch(index) < ACCEPT_BATCH {
                    break;
                }
                self.workers.flush();
            }
        }
    }

    fn accept_failed(&mut self, error: &io::Error) {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => {}
            // accept(2): network errors of the new connection; others wait behind it.
            Some(Errno::EPROTO | Errno::EPERM | Errno::ENETDOWN | Errno::EHOSTUNREACH) => {
                crate::info!(self.log, "accept: {error}");
            }
            _ => {
                crate::error!(self.log, "accept: {error}");
                self.pause();
            }
        }
    }

    fn reap(&mut self) {
        while let Some(death) = children::reap() {
            self.workers.died(death.pid, &death.how, !self.draining);
            self.finish_listing(0);
        }
    }

    fn hear_worker(&mut self, index: usize) -> io::Result<()> {
        let Some(channel) = self.workers.channel(index) else {
            return Ok(());
        };
        match hear::<FromWorker>(channel, MsgFlags::MSG_DONTWAIT) {
            Ok(Some((FromWorker::Ready, _))) => {
                self.workers.mark_ready(index);
                if !self.announced && self.workers.all_ready() {
                    self.announced = true;
                    say(&self.supervisor, &FromMaster::Serving, &[])?;
                }
            }
            Ok(Some((FromWorker::Listed(count), _))) => self.finish_listing(count),
            Ok(None) => self.workers.hung_up(index),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                crate::error!(self.log, "Worker {index}: {error}");
                self.workers.hung_up(index);
            }
        }
        Ok(())
    }

    fn hear_supervisor(&mut self) -> io::Result<()> {
        let (word, mut descriptors) =
            match hear::<ToMaster>(&self.supervisor, MsgFlags::MSG_DONTWAIT) {
                Ok(Some(heard)) => heard,
                // The leash says the same; there is nobody left to serve for.
                Ok(None) => process::exit(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // What came with it found no descriptor free: no reason to die.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    crate::error!(self.log, "Master: {error}");
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        match word {
            ToMaster::LogFile => {
                if let Some(file) = descriptors.pop() {
                    self.replace_log(file);
                }
            }
            ToMaster::Syslog => {
                if let Some(socket) = descriptors.pop() {
                    self.workers.say(&ToWorker::Syslog, &[socket.as_fd()]);
                    // A generation without syslog has no use for it.
                    let _ = log::replace_syslog(socket);
                }
            }
            ToMaster::Resolver => {
                if let Some(channel) = descriptors.pop() {
                    self.workers.replace_resolver(channel.into());
                }
            }
            ToMaster::List => {
                let heard = self.workers.say(&ToWorker::List, &[]);
                self.listing = Some((heard + 1, 0));
                self.finish_listing(0);
            }
            ToMaster::Ask => say(&self.supervisor, &FromMaster::Alive, &[])?,
            ToMaster::Drain => {
                self.accept_the_rest();
                self.drain();
                say(&self.supervisor, &FromMaster::Draining, &[])?;
            }
            ToMaster::Cut => {
                self.drain();
                self.workers.cut();
            }
            ToMaster::Listeners(_) | ToMaster::Serve => {
                crate::error!(
                    self.log,
                    "Master: {word:?} is no word to a master that serves"
                );
            }
        }
        Ok(())
    }

    fn replace_log(&mut self, file: OwnedFd) {
        self.workers.say(&ToWorker::LogFile, &[file.as_fd()]);
        if let Err(error) = log::replace_file(file) {
            crate::error!(self.log, "Master: log file not reopened: {error}");
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.listeners.clear();
        self.workers.stop_starting();
    }

    fn finish_listing(&mut self, count: usize) {
        let Some((left, sum)) = &mut self.listing else {
            return;
        };
        *left -= 1;
        *sum = sum.saturating_add(count);
        if *left == 0 {
            let listed = FromMaster::Listed(*sum);
            self.listing = None;
            // A supervisor that is gone is noticed by the leash.
            let _ = say(&self.supervisor, &listed, &[]);
        }
    }
}

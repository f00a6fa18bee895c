//! The master's loop: one wait, sockets accepted in batches, children supervised, messages obeyed.

mod accepting;
mod asked;
mod sparing;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollTimeout;
use nix::sys::socket::MsgFlags;

use super::fronts::Fronts;
use super::listener::Listener;
use super::poll::{Poll, Source};
use super::post::Post;
use super::quotas::Quotas;
use super::reminders::Reminders;
use super::stall::LIFELESS;
use super::workers::Workers;
use super::zygote::News;
use crate::children;
use crate::helper::Kind;
use crate::helper::binder::Seal;
use crate::ipc::channel::{Channel, Cut};
use crate::ipc::retire::{self, LAST_HANDSHAKES};
use crate::ipc::shared::SharedWords;
use crate::ipc::words::{FromMaster, FromWorker, Heard, ToMaster, ToWorker, hear, say};
use crate::jail::Jailed;
use crate::log::{self, Log, Seldom};
use crate::memory;
use crate::process;
use crate::signals::Signals;
use crate::worker::group::Group;

/// The shortest and longest interval at which the master checks whether its hand-offs were claimed.
/// Until then it keeps a descriptor of each, which keeps a closed connection open.
const CLAIM_TICK: Duration = Duration::from_millis(8);
const LONGEST_CLAIM_TICK: Duration = Duration::from_millis(64);
/// How often it is looked whether the queues of retired listeners are empty, once that should be.
const CLOSING_TICK: Duration = Duration::from_millis(100);
const GROUPS: [Group; 2] = [Group::Modern, Group::Old];

/// A serving master.
pub(super) struct Serving {
    poll: Rc<Poll>,
    /// The listeners of services of each group are being polled.
    listening: [bool; GROUPS.len()],
    supervisor: Channel,
    connections: SharedWords,
    signals: Signals,
    listeners: Vec<Listener>,
    workers: Workers,
    log: Log,
    announced: bool,
    /// The supervisor has said that the configuration is in force.
    accepts: bool,
    draining: bool,
    /// When a draining master closes its retired listeners.
    closing_at: Option<Instant>,
    /// Accepting pauses, by the group of the services.
    paused_until: [Option<Instant>; GROUPS.len()],
    capacity_told: Seldom,
    exhaustion_told: Seldom,
    quotas: Quotas,
    claim_tick: Duration,
    reminders: Reminders,
    /// For the clients of services that need them.
    warrants: Option<Seal>,
    fronts: Fronts,
    listing: Option<Listing>,
}

/// A listing of the connections that all workers are writing at once.
struct Listing {
    /// Workers that have not answered yet.
    awaited: usize,
    /// Connections that the others listed.
    listed: usize,
}

impl Serving {
    /// Starts polling signals, the supervisor and the leash.
    ///
    /// # Errors
    /// One of them cannot be polled.
    pub(super) fn new(
        post: Post,
        listeners: Vec<Listener>,
        signals: Signals,
    ) -> io::Result<Serving> {
        let Post {
            supervisor,
            connections,
            reminders,
            warrants,
            workers,
        } = post;
        let log = workers.log;
        workers.scoreboard.keep_log_losses();
        let quotas = Quotas::of(&workers);
        let poll = Rc::new(Poll::new()?);
        let mut workers = Workers::new(workers, Rc::clone(&poll));
        let fronts = workers.fronts();
        if let Some(zygote) = workers.zygote() {
            poll.add(&*zygote, Source::Zygote)?;
        }
        poll.add(&signals, Source::Signals)?;
        poll.add(&supervisor, Source::Supervisor)?;
        poll.add(&workers.config().leash, Source::Leash)?;
        Ok(Serving {
            poll,
            listening: [false; GROUPS.len()],
            supervisor,
            connections,
            signals,
            listeners,
            workers,
            log,
            announced: false,
            accepts: false,
            draining: false,
            closing_at: None,
            paused_until: [None; GROUPS.len()],
            capacity_told: Seldom::default(),
            exhaustion_told: Seldom::default(),
            quotas,
            claim_tick: CLAIM_TICK,
            reminders,
            warrants,
            fronts,
            listing: None,
        })
    }

    /// Runs until everything is drained, or the supervisor is gone.
    ///
    /// # Errors
    /// What epoll_wait(2) gives; the supervisor cannot be reached.
    pub(super) fn run(mut self, jailed: &Jailed) -> io::Result<()> {
        loop {
            if let Err(error) = self.workers.start_due(jailed) {
                self.workers.cannot_start(&log::Reason(&error));
            }
            self.workers.look_after();
            if self
                .workers
                .zygote_deadline()
                .is_some_and(|at| at <= Instant::now())
            {
                let seconds = LIFELESS.as_secs();
                let text =
                    format!("the process that forks old workers has not responded for {seconds} s");
                return Err(io::Error::other(text));
            }
            if self.announced {
                self.fronts.start_due(Instant::now());
            }
            if !self.draining {
                let board = &self.workers.config().scoreboard;
                self.reminders.remind(Instant::now(), board, &self.log);
            }
            // Before the flush, so that what is accepted here is sent in this turn: there may be no
            // other.
            if self.closing_at.is_some_and(|at| at <= Instant::now()) {
                self.close_the_retired();
            }
            let unclaimed = self.workers.flush();
            if self.draining && self.listeners.is_empty() {
                self.workers.drain();
            }
            self.workers.kill_overdue();
            if self.draining && self.workers.none_left() && self.workers.next_start().is_none() {
                return Ok(());
            }
            for source in self.wait(unclaimed)? {
                match source {
                    Source::Leash => return Ok(()),
                    Source::Signals => {
                        self.signals.take();
                        self.reap();
                    }
                    Source::Supervisor => self.hear_supervisor(jailed)?,
                    Source::Zygote => self.hear_zygote()?,
                    Source::Launcher => self.take_programs(),
                    Source::Worker(index) => self.hear_worker(index)?,
                    // The next turn sends what was waiting for room.
                    Source::Room(_) => {}
                    Source::Listener(index) => {
                        self.accept_batch(index);
                    }
                }
            }
        }
    }

    fn wait(&mut self, unclaimed: bool) -> io::Result<Vec<Source>> {
        self.read_held();
        for group in GROUPS {
            let accepting = self.accepting(group);
            self.listen(group, accepting);
        }
        let timeout = self.timeout(unclaimed);
        self.poll.wait(timeout)
    }

    fn timeout(&mut self, unclaimed: bool) -> EpollTimeout {
        let now = Instant::now();
        let ours = [
            self.workers.next_start(),
            self.workers.cut_deadline(),
            self.workers.zygote_deadline(),
            self.reminders.deadline().filter(|_| !self.draining),
            self.fronts.deadline().filter(|_| self.announced),
            self.quotas.deadline(),
        ];
        let mut soonest = ours.into_iter().flatten().min();
        let mut at = |when: Instant| soonest = Some(soonest.map_or(when, |s| s.min(when)));
        let waits = self.paused_until.into_iter().chain([self.closing_at]);
        for when in waits.flatten() {
            at(when);
        }
        if unclaimed {
            at(now + self.claim_tick);
            self.claim_tick = (self.claim_tick * 2).min(LONGEST_CLAIM_TICK);
        } else {
            self.claim_tick = CLAIM_TICK;
        }
        let Some(soonest) = soonest else {
            return EpollTimeout::NONE;
        };
        // Rounded up, or the last millisecond would be spent in a busy loop.
        let millis = soonest
            .saturating_duration_since(now)
            .as_micros()
            .div_ceil(1000);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
    }

    /// Hands over the sockets of programs that stand in place of clients.
    fn take_programs(&mut self) {
        let connections = &self.connections;
        let number = || connections[0].fetch_add(1, Relaxed);
        for accepted in self.fronts.started(&self.poll, number) {
            self.workers.assign(accepted);
            self.claim_tick = CLAIM_TICK;
        }
    }

    fn reap(&mut self) {
        while let Some(death) = children::reap() {
            if !self.workers.died(death.pid, &death.how, !self.draining) {
                continue;
            }
            // If it was still writing its list, no answer will come.
            self.answered_list(0);
        }
    }

    /// The zygote tells of old workers that live, or have died.
    fn hear_zygote(&mut self) -> io::Result<()> {
        let Some(zygote) = self.workers.zygote() else {
            return Ok(());
        };
        for news in zygote.take_news()? {
            match news {
                News::Started(order, pid) => self.workers.forked(order, pid)?,
                News::NotStarted(order, reason) => self.workers.not_forked(order, &reason),
                News::Died(pid, how) => {
                    let ours = self.workers.died(pid, &how, !self.draining);
                    if let Some(zygote) = self.workers.zygote() {
                        zygote.reap(pid);
                    }
                    if ours {
                        // As in `reap`.
                        self.answered_list(0);
                    }
                }
            }
        }
        Ok(())
    }

    fn hear_worker(&mut self, index: usize) -> io::Result<()> {
        let Some(channel) = self.workers.channel(index) else {
            return Ok(());
        };
        match hear::<FromWorker>(channel, MsgFlags::MSG_DONTWAIT) {
            Ok(Some((FromWorker::Ready, _))) => {
                let heard = self.workers.mark_ready(index);
                self.tell_again_unless(&heard)?;
                if !self.announced && self.workers.all_ready() {
                    self.announced = true;
                    say(&self.supervisor, &FromMaster::Serving, &[])?;
                    memory::let_go();
                }
            }
            Ok(Some((FromWorker::Listed(count), _))) => self.answered_list(count),
            Ok(Some((FromWorker::Silent(kind), _))) => {
                say(&self.supervisor, &FromMaster::Silent(kind), &[])?;
            }
            Ok(Some((FromWorker::Missed, _))) => say(&self.supervisor, &FromMaster::Missed, &[])?,
            Ok(None) => self.workers.hung_up(index),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                crate::error!(self.log, "Worker {index}: {}", log::Reason(&error));
                self.workers.hung_up(index);
            }
        }
        Ok(())
    }

    fn hear_supervisor(&mut self, jailed: &Jailed) -> io::Result<()> {
        let (word, mut descriptors) =
            match hear::<ToMaster>(&self.supervisor, MsgFlags::MSG_DONTWAIT) {
                Ok(Some(heard)) => heard,
                // The leash says the same: without a supervisor there is no reason to serve.
                Ok(None) => process::exit(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The message's descriptor did not fit into this process's table: no reason to exit.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    crate::error!(self.log, "Master: {}", log::Reason(&error));
                    if Cut::of(&error).is_some() {
                        say(&self.supervisor, &FromMaster::Missed, &[])?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        match word {
            ToMaster::LogFile => {
                if let Some(file) = descriptors.pop() {
                    self.replace_log(file)?;
                }
            }
            ToMaster::Syslog => {
                if let Some(socket) = descriptors.pop() {
                    let mut heard = self.workers.say(&ToWorker::Syslog, &[socket.as_fd()]);
                    if let Some(zygote) = self.workers.zygote() {
                        heard.count(zygote.replace_syslog(socket.as_fd()));
                    }
                    self.tell_again_unless(&heard)?;
                    // A generation without syslog does not need it.
                    let _ = log::replace_syslog(socket);
                }
            }
            ToMaster::Helper(kind) => {
                if let Some(channel) = descriptors.pop() {
                    let heard = self.workers.replace_helper(kind, channel.into());
                    if kind == Kind::Launcher {
                        self.fronts.meet(self.workers.contacts(), &self.poll);
                    }
                    self.tell_again_unless(&heard)?;
                }
            }
            ToMaster::Names(changed) => {
                let heard = self.workers.tell_names(changed);
                self.tell_again_unless(&heard)?;
            }
            ToMaster::List => {
                let awaited = self.workers.say(&ToWorker::List, &[]).by;
                self.listing = Some(Listing { awaited, listed: 0 });
                self.finish_listing();
            }
            ToMaster::Inquire(inquiry) => self.inquire(inquiry, descriptors),
            ToMaster::Withdraw(service) => self.withdraw(service),
            ToMaster::Listeners(services) => self.take_back(services, descriptors),
            ToMaster::Retired(services) => self.take_retired(services, descriptors),
            ToMaster::RetiredOver => self.close_the_retired(),
            ToMaster::Accept => self.accepts = true,
            ToMaster::Spare => {
                if let Some(channel) = descriptors.pop() {
                    self.fork_spare(channel.into(), jailed)?;
                }
            }
            ToMaster::Ask => say(&self.supervisor, &FromMaster::Alive, &[])?,
            ToMaster::Drain => {
                self.accept_the_rest();
                self.drain();
                say(&self.supervisor, &FromMaster::Draining, &[])?;
            }
            ToMaster::Cut => {
                self.drain();
                self.close_listeners();
                self.workers.cut();
            }
            ToMaster::Serve | ToMaster::Replace(_) => {
                crate::error!(
                    self.log,
                    "Master: unexpected message while serving: {word:?}"
                );
            }
        }
        Ok(())
    }

    fn replace_log(&mut self, file: OwnedFd) -> io::Result<()> {
        let mut heard = self.workers.say(&ToWorker::LogFile, &[file.as_fd()]);
        if let Some(zygote) = self.workers.zygote() {
            heard.count(zygote.replace_log(file.as_fd()));
        }
        if let Err(error) = log::replace_file(file) {
            crate::error!(
                self.log,
                "Master: log file not reopened: {}",
                log::Reason(&error)
            );
        }
        self.tell_again_unless(&heard)
    }

    /// A worker that missed a message stays out of date: asks the supervisor to send it again.
    fn tell_again_unless(&self, heard: &Heard) -> io::Result<()> {
        match heard.missed {
            true => say(&self.supervisor, &FromMaster::Missed, &[]),
            false => Ok(()),
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.quotas.tell(Instant::now(), true);
        self.fronts.stop();
        self.stop_polling_listeners();
        // The other listeners now belong to the next master.
        self.listeners
            .retain(|listener| retire::is_retired(listener.socket.as_fd()));
        if !self.listeners.is_empty() {
            let last = Instant::now() + LAST_HANDSHAKES;
            self.closing_at.get_or_insert(last);
        }
        self.workers.stop_starting();
    }

    /// Listeners of a generation before this one, which may be dead, or full: what is in their queues is served
    /// here too.
    fn take_retired(&mut self, services: Vec<usize>, sockets: Vec<OwnedFd>) {
        self.stop_polling_listeners();
        let pairs = sockets.into_iter().zip(services);
        let retired = pairs.map(|(socket, service)| Listener::new(socket, service));
        self.listeners.extend(retired);
        self.closing_at = Some(Instant::now() + LAST_HANDSHAKES);
    }

    /// Closes retired listeners whose queue is empty. The others are looked at again.
    fn close_the_retired(&mut self) {
        self.accept_the_rest();
        self.stop_polling_listeners();
        let is_over = |listener: &Listener| {
            let socket = listener.socket.as_fd();
            retire::is_retired(socket) && retire::is_empty(socket)
        };
        self.listeners.retain(|listener| !is_over(listener));
        let mut left = self.listeners.iter();
        let left = left.any(|listener| retire::is_retired(listener.socket.as_fd()));
        self.closing_at = left.then(|| Instant::now() + CLOSING_TICK);
    }

    /// Other processes have these listeners too: closed only here, they would still be polled.
    fn stop_polling_listeners(&mut self) {
        for group in GROUPS {
            self.listen(group, false);
        }
    }

    fn close_listeners(&mut self) {
        self.stop_polling_listeners();
        self.listeners.clear();
        self.closing_at = None;
    }

    /// A worker has listed `count` connections, or has died.
    fn answered_list(&mut self, count: usize) {
        if let Some(listing) = &mut self.listing {
            listing.awaited -= 1;
            listing.listed = listing.listed.saturating_add(count);
            self.finish_listing();
        }
    }

    /// Reports the list once every worker has answered.
    fn finish_listing(&mut self) {
        if let Some(listing) = self.listing.take_if(|listing| listing.awaited == 0) {
            // The leash reports a supervisor that is gone.
            let _ = say(&self.supervisor, &FromMaster::Listed(listing.listed), &[]);
        }
    }
}

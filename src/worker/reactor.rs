//! The loop of a relay thread: events, deadlines, new sockets, commands. Threads share no session. A
//! turn waits, notes every event, steps each session that has a reason, and closes finished ones. Never
//! in here: what a session does with its bytes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use nix::errno::Errno;

use super::burst::Burst;
use super::complaints::Complaints;
use super::inlet::{Inlet, Message};
use super::panics;
use super::shared::{Command, Shared};
use super::slab::{Key, Slab};
use super::timers::{Timer, Timers};
use super::unfinished::{Share, Telling, Unfinished};
use crate::error;
use crate::helper::Kind;
use crate::ipc::channel::Channel;
use crate::ipc::handoff::Handed;
use crate::ipc::scoreboard::Scoreboard;
use crate::limits;
use crate::log::{self, Id, Log};
use crate::memory;
use crate::protocol::Side;
use crate::relay::ServiceContext;
use crate::relay::poller::{Events, NOTIFIED};
use crate::relay::resources::Resources;
use crate::relay::session::{Outcome, Session, earlier};
use crate::relay::step::Ending;

/// The key of the name helper's events.
const NAMES: u64 = NOTIFIED - 1;
/// The key of the inlet's events.
const INLET: u64 = NOTIFIED - 2;
/// The key of the events of the process that starts programs.
const LAUNCHER: u64 = NOTIFIED - 3;
/// The key of the fetcher's events.
const FETCHER: u64 = NOTIFIED - 4;
/// The key of the gatekeeper's events.
const GATEKEEPER: u64 = NOTIFIED - 5;
/// The key of the binder's events.
const BINDER: u64 = NOTIFIED - 6;
/// The key of the keeper's events.
const KEEPER: u64 = NOTIFIED - 7;

/// A session, and what the loop knows about it.
#[derive(Debug)]
struct Entry {
    session: Session,
    timer: Timer,
    share: Share,
    /// It is in `due` already.
    queued: bool,
}

/// What a relay thread is started with.
#[derive(Debug)]
pub(crate) struct ThreadContext {
    /// The services, by index.
    pub services: Arc<[ServiceContext]>,
    /// This generation's counts.
    pub scoreboard: Scoreboard,
    /// Which worker this is, from 0.
    pub worker: usize,
    /// Where the master is told what a thread alone knows.
    pub master: Option<Channel>,
    /// A client's socket to each helper that workers ask.
    pub helpers: Vec<(Kind, OwnedFd)>,
    /// Where the worker's sockets arrive, for the thread that receives them.
    pub inlet: Option<Inlet>,
    /// What its unfinished handshakes may hold together, in bytes.
    pub handshake_memory: usize,
}

/// The loop's state.
#[derive(Debug)]
pub(super) struct Reactor {
    sessions: Slab<Entry>,
    timers: Timers,
    /// Sessions to step in this turn, or at the start of the next.
    due: Vec<Key>,
    /// Swapped with `due`, so that neither is reallocated.
    stepping: Vec<Key>,
    resources: Resources,
    burst: Burst,
    unfinished: Unfinished,
    /// Handshakes that were ended for their budget.
    shed: Telling,
    /// Times that there was no memory.
    refusals: Telling,
    receiver: Receiver<Handed>,
    commands: Receiver<Command>,
    /// Where the worker's sockets arrive, in the thread that receives them.
    inlet: Option<Inlet>,
    complaints: Complaints,
    shared: Arc<Shared>,
    log: Log,
    draining: bool,
}

impl Reactor {
    /// Makes the loop.
    ///
    /// # Errors
    /// A helper's socket cannot be polled.
    pub(super) fn new(
        context: ThreadContext,
        shared: Arc<Shared>,
        receiver: Receiver<Handed>,
        commands: Receiver<Command>,
    ) -> io::Result<Self> {
        // As verbose as its most verbose service; the thread does not know the global level.
        let level = context.services.iter().map(|service| service.config.debug);
        let log = Log {
            level: level.max().unwrap_or_default(),
            id: Id::Main,
            from: None,
        };
        let resources = Resources::new(
            context.services,
            context.scoreboard,
            context.worker,
            Arc::clone(&shared.poller),
        );
        let mut reactor = Self {
            sessions: Slab::new(),
            timers: Timers::new(),
            due: Vec::new(),
            stepping: Vec::new(),
            resources,
            burst: Burst::default(),
            unfinished: Unfinished::new(context.handshake_memory),
            shed: Telling::default(),
            refusals: Telling::default(),
            receiver,
            commands,
            inlet: context.inlet,
            complaints: Complaints::to(context.master),
            shared,
            log,
            draining: false,
        };
        if let Some(inlet) = &reactor.inlet {
            reactor.shared.poller.add_level(inlet.as_fd(), INLET)?;
        }
        for (kind, socket) in context.helpers {
            reactor.set_helper(kind, socket)?;
        }
        Ok(reactor)
    }

    /// As [`Reactor::run`]. A panic outside a session's step ends the worker, which the master
    /// replaces: without this thread, the sockets it is given would wait forever.
    pub(super) fn run_or_abort(self) {
        panics::keep_places();
        memory::keep_reserve();
        let log = self.log;
        if let Err(what) = panics::caught(|| self.run()) {
            error!(log, "INTERNAL ERROR: {what}");
            std::process::abort();
        }
    }

    /// Runs until it is drained.
    fn run(mut self) {
        let mut events = Events::new();
        while !self.drained() {
            let timeout = self.timeout();
            self.wait(&mut events, timeout);
            self.turn(&events);
        }
    }

    fn wait(&self, events: &mut Events, timeout: Option<Duration>) {
        if let Err(error) = self.shared.poller.wait(events, timeout) {
            // Without events nothing works; the master replaces a worker that ends.
            error!(
                self.log,
                "INTERNAL ERROR: epoll_wait: {}",
                log::Reason(&error)
            );
            std::process::abort();
        }
    }

    fn turn(&mut self, events: &Events) {
        self.resources.now = Instant::now();
        let (mut notified, mut answered, mut handed) = (false, false, false);
        let mut fetched = false;
        for (key, ready) in events.iter() {
            match key {
                NOTIFIED => notified = true,
                NAMES => answered = true,
                INLET => handed = true,
                LAUNCHER => self.take_launched(),
                BINDER => self.take_bound(),
                FETCHER => fetched = true,
                GATEKEEPER => self.take_judgements(),
                KEEPER => self.take_tokens(),
                bits => {
                    let key = Key::from_bits(bits);
                    let side = if bits & 1 == 0 {
                        Side::Front
                    } else {
                        Side::Back
                    };
                    if let Some(entry) = self.sessions.get_mut(key) {
                        entry.session.note(side, ready);
                        queue(&mut self.due, key, entry);
                    }
                }
            }
        }
        while let Some(bits) = self.timers.expired(self.resources.now) {
            let key = Key::from_bits(bits);
            if let Some(entry) = self.sessions.get_mut(key) {
                Timers::fired(&mut entry.timer);
                queue(&mut self.due, key, entry);
            }
        }
        if answered {
            self.take_answers();
        }
        if fetched {
            self.take_fetched();
        }
        if handed {
            self.receive();
        }
        if notified {
            self.take_sockets();
            self.obey();
        }
        self.step_all();
        self.complaints.make(&mut self.resources);
        // Only now, with all events handled, may these descriptor numbers be reused.
        self.resources.closing.clear();
        if log::repeats_due().is_some_and(|at| at <= self.resources.now) {
            log::sum_up_repeats(self.resources.now);
        }
        let held = memory::held() - self.resources.pool.idle() as isize;
        if self.burst.ebbs(held, self.resources.now) {
            self.give_back();
        }
    }

    /// How long to wait; not at all while a session has more to do.
    fn timeout(&self) -> Option<Duration> {
        if !self.due.is_empty() {
            return Some(Duration::ZERO);
        }
        let first = earlier(self.timers.next(), self.burst.due());
        let first = earlier(first, log::repeats_due())?;
        // The clock was read before the last turn's work; being late by that much is acceptable.
        Some(first.saturating_duration_since(self.resources.now))
    }

    fn step_all(&mut self) {
        std::mem::swap(&mut self.due, &mut self.stepping);
        let mut stepping = std::mem::take(&mut self.stepping);
        for key in stepping.drain(..) {
            self.step(key);
        }
        self.stepping = stepping;
    }

    fn step(&mut self, key: Key) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        entry.queued = false;
        let resources = &mut self.resources;
        match panics::caught(|| entry.session.step(resources)) {
            Ok(Outcome::Done(ending)) => self.finish(key, ending),
            Ok(outcome) => {
                let due = entry.session.due();
                self.timers.settle(key.to_bits(), &mut entry.timer, due);
                let held = entry.session.unfinished();
                self.unfinished
                    .settle(key.to_bits(), &mut entry.share, held);
                if outcome == Outcome::Again {
                    queue(&mut self.due, key, entry);
                }
                self.keep_budget();
            }
            Err(what) => {
                entry.session.panicked(&what);
                self.finish(key, Ending::Reset);
            }
        }
        if memory::was_refused() {
            self.relieve(key);
        }
    }

    fn finish(&mut self, key: Key, ending: Ending) {
        let Some(mut entry) = self.sessions.remove(key) else {
            return;
        };
        self.timers.cancel(key.to_bits(), &mut entry.timer);
        self.unfinished.settle(key.to_bits(), &mut entry.share, 0);
        let resources = &mut self.resources;
        if let Err(what) = panics::caught(|| entry.session.finish(ending, resources)) {
            error!(self.log, "INTERNAL ERROR: {what}");
        }
        self.shared.active.fetch_sub(1, Relaxed);
    }

    /// Takes from the channel what this thread was woken for.
    fn take_sockets(&mut self) {
        let permits = self.shared.permits.load(Acquire);
        for _ in 0..permits {
            // Another thread may have been quicker, or the channel is closed.
            if let Ok(handed) = self.receiver.try_recv() {
                self.begin(handed);
            }
            // After the session counts, so that a load read in between is never too low.
            self.shared.permits.fetch_sub(1, Release);
        }
    }

    /// Takes one message from the master; returns whether there may be another.
    fn receive(&mut self) -> bool {
        let Some(inlet) = &mut self.inlet else {
            return false;
        };
        match inlet.receive() {
            Ok(Message::Sockets(sockets)) => {
                for handed in sockets {
                    let load = self.shared.load();
                    let inlet = self.inlet.as_ref();
                    let ours = match inlet {
                        Some(inlet) => inlet.pass_on(handed, load),
                        None => Some(handed),
                    };
                    if let Some(handed) = ours {
                        self.begin(handed);
                    }
                }
                true
            }
            Ok(Message::Lost(entries, error)) => {
                let advice = limits::Advice {
                    errno: Errno::EMFILE,
                    connections: self.resources.active_here(),
                };
                error!(self.log, "Worker: {error}{advice}");
                // Claims the lost sockets, or the master would wait for that.
                let worker = self.resources.scoreboard.worker(self.resources.worker);
                for entry in entries {
                    match worker.claim(entry.sequence) {
                        true => self.resources.leave(self.resources.key(&entry.connection)),
                        false => drop(worker.let_go().fetch_add(1, Relaxed)),
                    }
                }
                true
            }
            Ok(Message::Nothing) => false,
            Ok(Message::End) => {
                self.inlet = None;
                false
            }
            Err(error) => {
                error!(self.log, "Worker: {error}");
                // A bad message is gone; any other error would only repeat.
                error.kind() == io::ErrorKind::InvalidData
            }
        }
    }

    /// Takes what the master has sent, and then no more.
    fn close_inlet(&mut self) {
        while self.receive() {}
        self.inlet = None;
    }

    fn begin(&mut self, handed: Handed) {
        let connection = handed.connection;
        // Before it is claimed: the master counts it until then.
        self.resources.opened(connection.service);
        let worker = self.resources.scoreboard.worker(self.resources.worker);
        if !worker.claim(handed.sequence) {
            self.resources.closed(connection.service);
            drop(handed);
            worker.let_go().fetch_add(1, Relaxed);
            return;
        }
        if !memory::keep_reserve() {
            self.refuse(&handed);
            return;
        }
        self.shared.active.fetch_add(1, Relaxed);
        let resources = &mut self.resources;
        let mut panic = None;
        let key = self.sessions.insert_with(|key| {
            match panics::caught(|| Session::begin(handed, key.to_bits(), resources)) {
                Ok(session) => session.map(|session| Entry {
                    session,
                    timer: Timer::default(),
                    share: Share::default(),
                    queued: true,
                }),
                Err(what) => {
                    panic = Some(what);
                    None
                }
            }
        });
        if let Some(what) = panic {
            error!(
                self.log,
                "INTERNAL ERROR: {what}; only this connection is ended"
            );
            self.resources.closed(connection.service);
            self.resources.leave(self.resources.key(&connection));
        }
        match key {
            Some(key) => self.due.push(key),
            None => {
                self.shared.active.fetch_sub(1, Relaxed);
            }
        }
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::List(reply) => {
                    for (_, entry) in self.sessions.iter() {
                        entry.session.list(&self.log);
                    }
                    // A receiver that has timed out needs no answer.
                    let _ = reply.send(self.sessions.len());
                }
                Command::Inquire(inquiry, reply) => {
                    let told = self.told(inquiry);
                    let _ = reply.send(told);
                }
                Command::Drain => {
                    self.close_inlet();
                    self.draining = true;
                    // It may be there for long, and takes nothing new.
                    self.give_back();
                }
                Command::Cut => {
                    let keys: Vec<Key> = self.sessions.iter().map(|(key, _)| key).collect();
                    for key in keys {
                        if let Some(entry) = self.sessions.get_mut(key) {
                            entry.session.cut();
                        }
                        self.finish(key, Ending::Reset);
                    }
                }
                Command::Names(changed) => self.resources.learn(&changed),
                Command::Helper(kind, socket) => {
                    if let Err(error) = self.set_helper(kind, socket) {
                        error!(self.log, "epoll_ctl ({kind}): {}", log::Reason(&error));
                    }
                }
            }
        }
    }

    /// Whether the thread may end. A socket that still arrives is served.
    fn drained(&mut self) -> bool {
        if !self.draining || !self.sessions.is_empty() {
            return false;
        }
        match self.receiver.try_recv() {
            Ok(handed) => {
                self.begin(handed);
                false
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => true,
        }
    }
}

fn queue(due: &mut Vec<Key>, key: Key, entry: &mut Entry) {
    if !entry.queued {
        entry.queued = true;
        due.push(key);
    }
}

mod asked;
mod binding;
mod helpers;
mod memory_kept;
#[cfg(test)]
mod tests;

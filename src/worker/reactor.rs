//! The loop of a relay thread: events to sessions, deadlines, sockets off the channel, commands.
//! Threads share no session. A turn is: wait; take note of every event; step each session that has
//! a reason; close what is over. Never in here: what a session does with its bytes.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use nix::errno::Errno;

use super::burst::{self, Burst};
use super::inlet::{Inlet, Message};
use super::panics;
use super::slab::{Key, Slab};
use super::thread::Shared;
pub use super::thread::{Command, ThreadContext, ThreadHandle, spawn};
use super::timers::{Entry, Timers};
use crate::error;
use crate::ipc::handoff::Handed;
use crate::limits;
use crate::log::{self, Id, Log};
use crate::protocol::Side;
use crate::relay::poller::{Events, NOTIFIED};
use crate::relay::resources::Resources;
use crate::relay::session::{Outcome, Session};
use crate::relay::step::Ending;
use crate::resolver;

/// The key of the resolver's events.
const RESOLVER: u64 = NOTIFIED - 1;
/// The key of the inlet's events.
const INLET: u64 = NOTIFIED - 2;

/// A session and what the loop knows of it.
#[derive(Debug)]
struct Seat {
    session: Session,
    entry: Entry,
    /// It is in `due` already.
    queued: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reactor {
    sessions: Slab<Seat>,
    timers: Timers,
    /// Sessions to be stepped in this turn, or at the start of the next.
    due: Vec<Key>,
    /// The other half of `due`, so that neither is allocated anew.
    stepping: Vec<Key>,
    resources: Resources,
    burst: Burst,
    receiver: Receiver<Handed>,
    commands: Receiver<Command>,
    /// Where the worker's sockets come in, in the thread that receives them.
    inlet: Option<Inlet>,
    shared: Arc<Shared>,
    log: Log,
    draining: bool,
}

impl Reactor {
    /// Gathers what the loop needs.
    ///
    /// # Errors
    /// The resolver's socket cannot be watched.
    pub(super) fn new(
        context: ThreadContext,
        shared: Arc<Shared>,
        receiver: Receiver<Handed>,
        commands: Receiver<Command>,
    ) -> io::Result<Self> {
        // As loud as the loudest of its services; the global level it does not know.
        let level = context.services.iter().map(|service| service.config.debug);
        let log = Log {
            level: level.max().unwrap_or_default(),
            id: Id::Main,
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
            receiver,
            commands,
            inlet: context.inlet,
            shared,
            log,
            draining: false,
        };
        if let Some(inlet) = &reactor.inlet {
            reactor.shared.poller.add_level(inlet.as_fd(), INLET)?;
        }
        if let Some(socket) = context.resolver {
            reactor.set_resolver(resolver::Client::new(socket))?;
        }
        Ok(reactor)
    }

    /// As [`Reactor::run`]. A panic outside of a session's step ends the worker, which the master
    /// replaces: without the thread, what the inbox goes on to give it would wait for ever.
    pub(super) fn run_or_abort(self) {
        panics::keep_places();
        let log = self.log;
        if let Err(what) = panics::caught(|| self.run()) {
            error!(log, "INTERNAL ERROR: {what}");
            std::process::abort();
        }
    }

    /// Goes on until it is drained.
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
            // Nothing can be waited for any more; the master replaces a worker that ends.
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
        for (key, ready) in events.iter() {
            match key {
                NOTIFIED => notified = true,
                RESOLVER => answered = true,
                INLET => handed = true,
                bits => {
                    let key = Key::from_bits(bits);
                    let side = if bits & 1 == 0 {
                        Side::Front
                    } else {
                        Side::Back
                    };
                    if let Some(seat) = self.sessions.get_mut(key) {
                        seat.session.note(side, ready);
                        queue(&mut self.due, key, seat);
                    }
                }
            }
        }
        while let Some(bits) = self.timers.expired(self.resources.now) {
            let key = Key::from_bits(bits);
            if let Some(seat) = self.sessions.get_mut(key) {
                Timers::fired(&mut seat.entry);
                queue(&mut self.due, key, seat);
            }
        }
        if answered {
            self.take_answers();
        }
        if handed {
            self.receive();
        }
        if notified {
            self.take_sockets();
            self.obey();
        }
        self.step_all();
        // Only now, with the batch done, may the numbers of these descriptors be used again.
        self.resources.closing.clear();
        if self.burst.ebbs(self.sessions.len()) {
            self.give_back();
        }
    }

    /// Gives back the memory of a burst.
    fn give_back(&mut self) {
        self.sessions.shrink();
        self.due.shrink_to_fit();
        self.stepping.shrink_to_fit();
        self.resources.shrink();
        burst::trim();
    }

    /// How long to wait: not at all while a session has more to do.
    fn timeout(&self) -> Option<Duration> {
        if !self.due.is_empty() {
            return Some(Duration::ZERO);
        }
        let first = self.timers.next()?;
        // The clock was read before the last turn's work: later by that much is early enough.
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
        let Some(seat) = self.sessions.get_mut(key) else {
            return;
        };
        seat.queued = false;
        let resources = &mut self.resources;
        let ending = match panics::caught(|| seat.session.step(resources)) {
            Ok(Outcome::Done(ending)) => ending,
            Ok(outcome) => {
                let due = seat.session.due();
                self.timers.settle(key.to_bits(), &mut seat.entry, due);
                if outcome == Outcome::Again {
                    queue(&mut self.due, key, seat);
                }
                return;
            }
            Err(what) => {
                seat.session.panicked(&what);
                Ending::Reset
            }
        };
        self.finish(key, ending);
    }

    fn finish(&mut self, key: Key, ending: Ending) {
        let Some(mut seat) = self.sessions.remove(key) else {
            return;
        };
        self.timers.cancel(key.to_bits(), &mut seat.entry);
        let resources = &mut self.resources;
        if let Err(what) = panics::caught(|| seat.session.finish(ending, resources)) {
            error!(self.log, "INTERNAL ERROR: {what}");
        }
        self.shared.active.fetch_sub(1, Relaxed);
    }

    /// Takes off the channel what this thread was woken for.
    fn take_sockets(&mut self) {
        let permits = self.shared.permits.load(Acquire);
        for _ in 0..permits {
            // Another thread may have been quicker, or nothing more will come.
            if let Ok(handed) = self.receiver.try_recv() {
                self.begin(handed);
            }
            // After the session counts: a load that is read in between is never too low.
            self.shared.permits.fetch_sub(1, Release);
        }
    }

    /// Takes one message of the master's; whether there may be another.
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
                // Claimed and gone, or the master would wait for that.
                let worker = self.resources.scoreboard.worker(self.resources.worker);
                for entry in entries {
                    if !worker.claim(entry.sequence) {
                        worker.let_go().fetch_add(1, Relaxed);
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
                // Of a message that is bad, nothing is left; anything else would only fail again.
                error.kind() == io::ErrorKind::InvalidData
            }
        }
    }

    /// Nothing more comes from the master; what came before is served.
    fn close_inlet(&mut self) {
        while self.receive() {}
        self.inlet = None;
    }

    fn begin(&mut self, handed: Handed) {
        let worker = self.resources.scoreboard.worker(self.resources.worker);
        worker.active().fetch_add(1, Relaxed);
        if !worker.claim(handed.sequence) {
            worker.active().fetch_sub(1, Relaxed);
            drop(handed);
            worker.let_go().fetch_add(1, Relaxed);
            return;
        }
        self.shared.active.fetch_add(1, Relaxed);
        let resources = &mut self.resources;
        let mut panic = None;
        let key = self.sessions.insert_with(|key| {
            match panics::caught(|| Session::begin(handed, key.to_bits(), resources)) {
                Ok(session) => session.map(|session| Seat {
                    session,
                    entry: Entry::default(),
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
            let worker = self.resources.scoreboard.worker(self.resources.worker);
            worker.active().fetch_sub(1, Relaxed);
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
                    for (_, seat) in self.sessions.iter() {
                        seat.session.list(&self.log);
                    }
                    // Nobody waits for it: then nobody is told.
                    let _ = reply.send(self.sessions.len());
                }
                Command::Drain => {
                    self.close_inlet();
                    self.draining = true;
                }
                Command::Cut => {
                    let keys: Vec<Key> = self.sessions.iter().map(|(key, _)| key).collect();
                    for key in keys {
                        self.finish(key, Ending::Reset);
                    }
                }
                Command::Resolver(socket) => {
                    if let Err(error) = self.set_resolver(resolver::Client::new(socket)) {
                        error!(self.log, "epoll_ctl (resolver): {}", log::Reason(&error));
                    }
                }
            }
        }
    }

    fn set_resolver(&mut self, client: resolver::Client) -> io::Result<()> {
        self.shared.poller.add(client.as_fd(), RESOLVER)?;
        self.resources.resolver = Some(client);
        let lost: Vec<(u64, u64)> = self.resources.questions.drain().collect();
        for (question, bits) in lost {
            self.answer(question, bits, None);
        }
        Ok(())
    }

    fn take_answers(&mut self) {
        let Some(resolver) = &mut self.resources.resolver else {
            return;
        };
        for (question, answer) in resolver.answers() {
            if let Some(bits) = self.resources.questions.remove(&question) {
                self.answer(question, bits, Some(answer));
            }
        }
    }

    fn answer(
        &mut self,
        question: u64,
        bits: u64,
        answer: Option<Result<Vec<std::net::SocketAddr>, resolver::ResolveError>>,
    ) {
        let key = Key::from_bits(bits);
        if let Some(seat) = self.sessions.get_mut(key) {
            seat.session.answer(question, answer);
            queue(&mut self.due, key, seat);
        }
    }

    /// Whether the thread may end. A socket that came after all is still served.
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

fn queue(due: &mut Vec<Key>, key: Key, seat: &mut Seat) {
    if !seat.queued {
        seat.queued = true;
        due.push(key);
    }
}

#[cfg(test)]
mod tests;

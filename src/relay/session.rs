//! A session: its two ends, the stage it is in, and what is counted and said about it from the
//! first line to the last.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::connecting::Connecting;
use super::end::{End, Writing};
use super::first_words::FirstWords;
use super::handshaking::Handshaking;
use super::poller::Readiness;
use super::pump::Pump;
use super::resources::Resources;
use super::talking::Talking;
use super::{Address, Reason, ServiceContext};
use crate::config::{LogId, Service};
use crate::helper::ResolveError;
use crate::ipc::handoff::Handed;
use crate::ipc::sockopt;
use crate::log::{self, Id, Log};
use crate::protocol::Side;
use crate::{debug, error, log_at, notice, warning};

/// How often a long connection's bytes are put on the scoreboard.
const REPORT: Duration = Duration::from_secs(5);

/// What must be done before bytes are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connect the back.
    Connect,
    /// The dialogue in plain.
    Dialogue,
    /// TLS on one end.
    Handshake(Side),
}

/// The stages of a service's sessions, in their order.
fn plan(service: &ServiceContext) -> &'static [Stage] {
    use Stage::{Connect, Dialogue, Handshake};
    match (
        service.tls.is_some(),
        service.config.client,
        service.config.protocol.is_some(),
    ) {
        (false, _, false) => &[Connect],
        (false, _, true) => &[Connect, Dialogue],
        (true, true, false) => &[Connect, Handshake(Side::Back)],
        (true, true, true) => &[Connect, Dialogue, Handshake(Side::Back)],
        (true, false, false) => &[Handshake(Side::Front), Connect],
        (true, false, true) => &[Connect, Dialogue, Handshake(Side::Front)],
    }
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Closed,
    /// Broken: passed on as an RST, with `reset = yes`.
    Reset,
    /// Broken, and the peer of that side was told so, by an alert or in the protocol's own words;
    /// they must not be overtaken by an RST, so only the other side gets one.
    Alerted(Side),
}

/// What a stage's step comes to.
#[derive(Debug)]
pub enum Next<S> {
    /// It waits for an event or its time.
    Wait(S),
    /// It has more to do, after others had their turn.
    Again(S),
    /// It is done, and the next stage begins.
    Advance,
    /// The session is over, in order.
    Over,
}

impl<S> Next<S> {
    fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Next<T> {
        match self {
            Next::Wait(stage) => Next::Wait(wrap(stage)),
            Next::Again(stage) => Next::Again(wrap(stage)),
            Next::Advance => Next::Advance,
            Next::Over => Next::Over,
        }
    }
}

/// What the reactor does with a session after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Wait for an event or the deadline.
    Wait,
    /// Step it again in the next turn.
    Again,
    /// Call [`Session::finish`].
    Done(Ending),
}

/// What a session is known by, whatever stage it is in.
#[derive(Debug)]
pub struct Common {
    /// The key under which its events come; the lowest bit is set for the back.
    pub key: u64,
    /// Its number, over all workers.
    pub number: u64,
    /// Where its lines go.
    pub log: Log,
    /// The host of the `connect` entry in use, once connected by TCP.
    pub upstream: Option<String>,
    /// Payload carried from the front to the back, in bytes.
    pub to_back: u64,
    /// Payload carried from the back to the front, in bytes.
    pub to_front: u64,
    /// Inspects the session's first plaintext.
    pub(super) first_words: FirstWords,
    services: Arc<[ServiceContext]>,
    service: usize,
    reported: (u64, u64),
    report_at: Option<Instant>,
}

impl Common {
    /// The service it belongs to.
    pub fn service(&self) -> &ServiceContext {
        &self.services[self.service]
    }

    /// The service's options.
    pub fn config(&self) -> &Service {
        &self.service().config
    }

    /// The service's index.
    pub fn index(&self) -> usize {
        self.service
    }

    /// The end that TLS is on; with both in plain, the one that it would be on.
    pub fn tls_side(&self) -> Side {
        match self.config().client {
            true => Side::Back,
            false => Side::Front,
        }
    }

    /// Bytes sent to the TLS end and to the plain end, as the last line gives them.
    fn sent(&self) -> (u64, u64) {
        match self.tls_side() {
            Side::Back => (self.to_back, self.to_front),
            Side::Front => (self.to_front, self.to_back),
        }
    }

    fn report(&mut self, resources: &Resources) {
        let row = resources.row(self.service);
        let (back, front) = self.reported;
        row.bytes_to_back().fetch_add(self.to_back - back, Relaxed);
        row.bytes_to_front()
            .fetch_add(self.to_front - front, Relaxed);
        self.reported = (self.to_back, self.to_front);
        self.report_at = None;
    }
}

/// What a stage's step works on.
#[derive(Debug)]
pub struct Context<'a> {
    /// What the session is known by.
    pub common: &'a mut Common,
    /// The accepted end.
    pub front: &'a mut End,
    /// The connected end, once it is.
    pub back: &'a mut Option<End>,
    /// What the thread's sessions share.
    pub resources: &'a mut Resources,
}

#[derive(Debug)]
enum Phase {
    Connecting(Connecting),
    Talking(Talking),
    Handshaking(Handshaking),
    Pump(Pump),
    /// Only while a step runs, and after its panic.
    Stepping,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    common: Common,
    stages: &'static [Stage],
    front: End,
    back: Option<End>,
    phase: Phase,
}

impl Session {
    /// Takes on an accepted socket: says so, sets its options, and begins with the first stage.
    /// `None`: it ended at once, and its last line is written.
    pub fn begin(handed: Handed, key: u64, resources: &mut Resources) -> Option<Self> {
        let services = Arc::clone(&resources.services);
        let service = &services[handed.service];
        let log = Log {
            level: service.config.debug,
            id: log_id(service.config.log_id, handed.connection),
        };
        let stages = plan(service);
        let mut session = Self {
            common: Common {
                key,
                number: handed.connection,
                log,
                upstream: None,
                to_back: 0,
                to_front: 0,
                first_words: FirstWords::of(&service.config),
                service: handed.service,
                services,
                reported: (0, 0),
                report_at: None,
            },
            stages,
            front: End::new(handed.socket, handed.peer.is_some(), false),
            back: None,
            phase: Phase::Stepping,
        };
        session.announce(handed.peer, resources);
        if let [Stage::Handshake(Side::Front), ..] = stages {
            // The first words are the client's, and as a rule they are here already.
            session.front.note(Readiness {
                readable: true,
                ..Readiness::default()
            });
        }
        if let Err(error) = resources.poller.add(session.front.as_fd(), key) {
            error!(log, "epoll_ctl: {}", log::Reason(&error));
            session.finish(Ending::Reset, resources);
            return None;
        }
        match session.advance(resources) {
            Ok(()) => Some(session),
            Err(ending) => {
                session.finish(ending, resources);
                None
            }
        }
    }

    fn announce(&self, peer: Option<SocketAddr>, resources: &Resources) {
        let (log, config) = (self.common.log, self.common.config());
        let row = resources.row(self.common.service);
        row.accepted().fetch_add(1, Relaxed);
        row.active().fetch_add(1, Relaxed);
        debug!(log, "Service [{}] started", config.name);
        if peer.is_some() {
            set_options(&self.front, 'l', config, &log);
        }
        let from = Address(peer);
        notice!(
            log,
            "Service [{}] accepted connection from {from}",
            config.name
        );
    }

    /// Takes note of an event on the socket of one side.
    pub fn note(&mut self, side: Side, ready: Readiness) {
        match (side, &mut self.back, &mut self.phase) {
            (Side::Front, _, _) => self.front.note(ready),
            (Side::Back, Some(back), _) => back.note(ready),
            (Side::Back, None, Phase::Connecting(connecting)) => connecting.note(ready),
            (Side::Back, None, _) => {}
        }
    }

    /// Takes the answer to question `id`; `None`: the helper that was asked is gone.
    pub fn answer(&mut self, id: u64, answer: Option<Result<Vec<SocketAddr>, ResolveError>>) {
        if let Phase::Connecting(connecting) = &mut self.phase {
            connecting.answer(id, answer, &self.common.log);
        }
    }

    /// When it must be stepped though nothing happened.
    pub fn due(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Connecting(connecting) => connecting.due(),
            Phase::Talking(talking) => Some(talking.due()),
            Phase::Handshaking(handshaking) => Some(handshaking.due()),
            Phase::Pump(pump) => Some(pump.due()),
            Phase::Stepping => None,
        };
        match (phase, self.common.report_at) {
            (Some(phase), Some(report)) => Some(phase.min(report)),
            (one, other) => one.or(other),
        }
    }

    /// Goes on as far as it can without waiting and without starving others.
    pub fn step(&mut self, resources: &mut Resources) -> Outcome {
        let outcome = self.run(resources);
        match outcome {
            Outcome::Done(_) => return outcome,
            Outcome::Wait if self.is_unanswered() => self.acknowledge(),
            Outcome::Wait | Outcome::Again => {}
        }
        let common = &mut self.common;
        let back = self.back.as_mut().map(|back| (back, common.key | 1));
        for (end, key) in [(&mut self.front, common.key)].into_iter().chain(back) {
            if end.must_watch_room()
                && let Err(error) = resources.poller.watch_room(end.as_fd(), key)
            {
                error!(common.log, "epoll_ctl: {}", log::Reason(&error));
                return Outcome::Done(Ending::Reset);
            }
        }
        match common.report_at {
            Some(at) if at <= resources.now => common.report(resources),
            None if (common.to_back, common.to_front) != common.reported => {
                common.report_at = Some(resources.now + REPORT);
            }
            _ => {}
        }
        outcome
    }

    fn is_unanswered(&self) -> bool {
        self.front.is_unanswered() || self.back.as_ref().is_some_and(End::is_unanswered)
    }

    /// What TLS keeps to itself is acknowledged at once. Payload is not: an answer is on its way.
    fn acknowledge(&mut self) {
        if self.common.service().tls.is_none() {
            return;
        }
        match self.common.tls_side() {
            Side::Front => self.front.acknowledge(),
            Side::Back => {
                if let Some(back) = &mut self.back {
                    back.acknowledge();
                }
            }
        }
    }

    fn run(&mut self, resources: &mut Resources) -> Outcome {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Stepping);
            let context = Context {
                common: &mut self.common,
                front: &mut self.front,
                back: &mut self.back,
                resources,
            };
            let next = match phase {
                Phase::Connecting(stage) => stage.step(context).map(|n| n.map(Phase::Connecting)),
                Phase::Talking(stage) => stage.step(context).map(|n| n.map(Phase::Talking)),
                Phase::Handshaking(stage) => stage.step(context).map(|n| n.map(Phase::Handshaking)),
                Phase::Pump(stage) => stage.step(context).map(|n| n.map(Phase::Pump)),
                Phase::Stepping => Err(Ending::Reset),
            };
            match next {
                Ok(Next::Wait(phase)) => {
                    self.phase = phase;
                    return Outcome::Wait;
                }
                Ok(Next::Again(phase)) => {
                    self.phase = phase;
                    return Outcome::Again;
                }
                Ok(Next::Advance) => {
                    if let Err(ending) = self.advance(resources) {
                        return Outcome::Done(ending);
                    }
                }
                Ok(Next::Over) => return Outcome::Done(Ending::Closed),
                Err(ending) => return Outcome::Done(ending),
            }
        }
    }

    /// Begins the next stage of the plan.
    fn advance(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let mut context = Context {
            common: &mut self.common,
            front: &mut self.front,
            back: &mut self.back,
            resources,
        };
        let Some((stage, rest)) = self.stages.split_first() else {
            self.phase = Phase::Pump(Pump::begin(&mut context));
            return Ok(());
        };
        self.stages = rest;
        self.phase = match *stage {
            Stage::Connect => Phase::Connecting(Connecting::begin(context)),
            Stage::Dialogue => Phase::Talking(Talking::begin(context)?),
            Stage::Handshake(side) => Phase::Handshaking(Handshaking::begin(side, context)?),
        };
        Ok(())
    }

    /// Writes the last lines, settles the counts, gives the memory back and the sockets to those
    /// that are closed at the end of the turn.
    pub fn finish(mut self, ending: Ending, resources: &mut Resources) {
        let config = self.common.config();
        let (log, reset) = (self.common.log, config.reset);
        let status = close_status(ending, reset);
        let (tls, plain) = self.common.sent();
        notice!(
            log,
            "Connection {status}: {tls} byte(s) sent to TLS, {plain} byte(s) sent to socket"
        );
        self.common.report(resources);
        if let Phase::Connecting(connecting) = self.phase {
            connecting.dissolve(resources);
        }
        if let Some(back) = self.back {
            part(back, Side::Back, ending, reset, resources);
        }
        part(self.front, Side::Front, ending, reset, resources);
        let row = resources.row(self.common.service);
        row.active().fetch_sub(1, Relaxed);
        let worker = resources.scoreboard.worker(resources.worker);
        worker.active().fetch_sub(1, Relaxed);
        if log.enabled(7) {
            let left = resources.active();
            let name = &self.common.config().name;
            debug!(log, "Service [{name}] finished ({left} left)");
        }
    }

    /// Writes that a step of it panicked, and where.
    pub fn panicked(&self, what: &str) {
        let name = &self.common.config().name;
        error!(
            self.common.log,
            "INTERNAL ERROR: Service [{name}]: {what}; only this connection is ended"
        );
    }

    /// Writes its line in the list of connections.
    pub fn list(&self, log: &Log) {
        let n = self.common.number;
        let (tls, plain) = self.common.sent();
        let name = &self.common.config().name;
        log_at!(
            log,
            0,
            "Active connection {n}: Service [{name}], {tls} byte(s) sent to TLS, {plain} byte(s) sent to socket"
        );
    }
}

fn log_id(kind: LogId, connection: u64) -> Id {
    match kind {
        LogId::Sequential => Id::Connection(connection),
        LogId::Process => Id::Connection(u64::from(std::process::id())),
        LogId::Thread => {
            let thread = nix::unistd::gettid().as_raw();
            Id::Connection(u64::try_from(thread).unwrap_or_default())
        }
        LogId::Unique => {
            let mut random = [0; 16];
            match aws_lc_rs::rand::fill(&mut random) {
                Ok(()) => Id::Unique(u128::from_ne_bytes(random)),
                Err(_) => Id::Connection(connection),
            }
        }
    }
}

/// Sets the options of `socket = l:…` or `r:…`, as stunnel with a warning for what is refused.
pub fn set_options(end: &impl AsFd, on: char, config: &Service, log: &Log) {
    let mut failed = false;
    for option in config.socket.iter().filter(|option| option.on == on) {
        if let Err(error) = sockopt::set(end.as_fd(), option) {
            error!(log, "setsockopt {}: {}", option.name, log::Reason(&error));
            failed = true;
        }
    }
    if failed {
        let which = if on == 'l' { "local" } else { "remote" };
        warning!(log, "Failed to set {which} socket options");
    }
}

fn is_reset(side: Side, ending: Ending, reset: bool) -> bool {
    match ending {
        Ending::Closed => false,
        Ending::Reset => reset,
        Ending::Alerted(alerted) => reset && side != alerted,
    }
}

/// stunnel's word for it: of the remote side, then of the local one if that went otherwise.
fn close_status(ending: Ending, reset: bool) -> &'static str {
    let remote = is_reset(Side::Back, ending, reset);
    let local = is_reset(Side::Front, ending, reset);
    match (remote, local) {
        (true, true) => "reset",
        (true, false) => "reset/closed",
        (false, true) => "closed/reset",
        (false, false) => "closed",
    }
}

/// The end of an end.
fn part(mut end: End, side: Side, ending: Ending, reset: bool, resources: &mut Resources) {
    if is_reset(side, ending, reset) {
        // The socket is closed anyway; without the option it ends by a FIN.
        let _ = end.reset_on_close();
    } else if ending == Ending::Alerted(side) || end.writing != Writing::Over {
        end.let_last_words_arrive(&mut resources.scratch.read, &mut resources.pool);
    }
    let socket = end.dissolve(&mut resources.pool);
    if side == Side::Front {
        // The master may still have it: then closing it would not take it off, and what comes
        // in later would wake this thread for nothing.
        resources.poller.remove(socket.as_fd());
    }
    resources.closing.push(socket);
}

/// A line about a socket's failure, as stunnel words it, and the ending that it means.
pub fn broken(log: &Log, doing: &str, errno: nix::errno::Errno) -> Ending {
    error!(log, "{doing}: {}", Reason(errno));
    Ending::Reset
}

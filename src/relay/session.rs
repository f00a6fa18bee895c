//! A session: its ends, the stage of its route that it is in, and what is counted and said about it
//! from the first line to the last.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Address;
use super::admitting;
use super::choosing::Choosing;
use super::connecting::{Connecting, Connection, Reached};
use super::end::{End, Writing};
use super::ends::{Ends, Pair};
use super::gatekeeping::Gatekeeping;
use super::handshaking::Handshaking;
use super::identifying::Identifying;
use super::launching::{self, Launching};
use super::poller::Readiness;
use super::pump::Pump;
use super::resources::Resources;
use super::route;
use super::step::{Common, Context, Ending, Next, set_options};
use super::talking::Talking;
use super::verdict::Verdict;
use crate::config::{Front, LogId};
use crate::helper::{Bound, Judgement, Launched, NotBound, Refused, ResolveError};
use crate::ipc::handoff::Handed;
use crate::log::{self, Id, Log};
use crate::protocol::Side;
use crate::{debug, error, log_at, notice};

/// What the reactor must do with a session after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Wait for an event or the deadline.
    Wait,
    /// Step it again in the next turn.
    Again,
    /// Call [`Session::finish`].
    Done(Ending),
}

/// The ends that are there, and the stage that works on them.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every session is joined, and each is in its slab's place, not moved"
)]
enum Life {
    /// The server is not connected yet.
    Alone(End, Early),
    /// Both ends are there.
    Joined(Pair, Late),
    /// Only while it goes from the one to the other.
    Between,
}

impl Life {
    fn end(&mut self, side: Side) -> Option<&mut End> {
        match self {
            Life::Alone(front, _) => (side == Side::Front).then_some(front),
            Life::Joined(pair, _) => Some(pair.end(side)),
            Life::Between => None,
        }
    }

    /// TLS gives back the memory that it needs only while it works.
    fn rest(&mut self) {
        if let Life::Joined(pair, _) = self {
            for end in [&mut pair.front, &mut pair.back] {
                if let Some(stream) = &mut end.tls {
                    stream.rest();
                }
            }
        }
    }
}

#[derive(Debug)]
enum Early {
    Gatekeeping(Gatekeeping),
    Identifying(Identifying),
    Choosing(Choosing),
    Talking(Talking),
    Handshaking(Handshaking),
    Verdict(Verdict),
    Connecting(Connecting),
    Launching(Launching),
    /// Only while a step runs, and after its panic.
    Stepping,
}

#[derive(Debug)]
enum Late {
    Choosing(Choosing),
    Talking(Talking),
    Handshaking(Handshaking),
    Verdict(Verdict),
    Pump(Pump),
    /// As of [`Early`].
    Stepping,
}

/// The result of a step of the present stage.
enum Turn {
    /// The stage goes on later.
    Later(Outcome),
    /// It is over, and the next begins.
    Advance,
    /// The service is chosen.
    Chosen,
    /// It is over, and the handshake with the client comes before the next.
    Handshake,
    /// The server is connected.
    Connected(Connection),
    /// The session is over, in order.
    Over,
}

/// Puts the stage back if it goes on.
fn turn<S, P>(next: Next<S>, place: &mut P, wrap: impl FnOnce(S) -> P) -> Turn {
    match next {
        Next::Wait(stage) => {
            *place = wrap(stage);
            Turn::Later(Outcome::Wait)
        }
        Next::Again(stage) => {
            *place = wrap(stage);
            Turn::Later(Outcome::Again)
        }
        Next::Advance => Turn::Advance,
        Next::Handshake => Turn::Handshake,
        Next::Over => Turn::Over,
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    common: Common,
    life: Life,
    /// The next stage, of those that the route has for this part of its life.
    next: usize,
    /// The dialogue that asked for the connection, while that is made.
    waiting: Option<Box<Talking>>,
    /// It is over, and ends so when the time has come; until then nothing is seen of that.
    blinded: Option<(Instant, Side)>,
}

impl Session {
    /// Takes on an accepted socket: says so, sets its options, and begins with the first stage.
    /// `None`: it ended at once, and its last line is written.
    pub(crate) fn begin(handed: Handed, key: u64, resources: &mut Resources) -> Option<Self> {
        let services = Arc::clone(&resources.services);
        let service = &services[handed.connection.service];
        let log = Log {
            level: service.config.debug,
            id: log_id(service.config.log_id, handed.connection.number),
        };
        let gates = service.route.gates();
        let client_speaks = service.route.early(gates).is_some();
        let common = Common::new(&handed, key, log, services, resources.now);
        let mut front = match common.config().front {
            Front::Program => End::of_a_program(handed.socket),
            Front::Listener | Front::Inetd => {
                End::new(handed.socket, handed.connection.peer.is_some(), false)
            }
        };
        announce(&common, &front, resources);
        if client_speaks {
            // The first words are the client's, and as a rule they are here already.
            front.note(Readiness {
                readable: true,
                ..Readiness::default()
            });
        }
        let added = resources.poller.add(front.as_fd(), key);
        let mut session = Self {
            common,
            life: Life::Alone(front, Early::Stepping),
            next: 0,
            waiting: None,
            blinded: None,
        };
        if let Err(error) = added {
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

    /// Takes note of an event on the socket of one side.
    pub(crate) fn note(&mut self, side: Side, ready: Readiness) {
        match (side, &mut self.life) {
            (Side::Front, Life::Alone(front, _)) => front.note(ready),
            (Side::Back, Life::Alone(_, Early::Connecting(connecting))) => connecting.note(ready),
            (Side::Back, Life::Alone(_, Early::Identifying(stage))) => stage.note(ready),
            (side, Life::Joined(pair, _)) => pair.end(side).note(ready),
            (Side::Back, Life::Alone(..)) | (_, Life::Between) => {}
        }
    }

    /// Takes the answer to question `id`; `None`: the helper that was asked is gone.
    pub(crate) fn answer(
        &mut self,
        id: u64,
        answer: Option<Result<Vec<SocketAddr>, ResolveError>>,
    ) {
        let log = &self.common.log;
        match &mut self.life {
            Life::Alone(_, Early::Connecting(stage)) => stage.answer(id, answer, log),
            Life::Alone(_, Early::Talking(stage)) | Life::Joined(_, Late::Talking(stage)) => {
                stage.answer(id, answer, log);
            }
            _ => {}
        }
    }

    /// Takes the answer to question `id` about its program.
    pub(crate) fn launched(&mut self, id: u64, answer: Result<Launched, Refused>) {
        if let Life::Alone(_, Early::Launching(stage)) = &mut self.life {
            stage.answer(id, answer);
        }
    }

    /// Takes the answer to question `id` about a socket with its client's address.
    pub(crate) fn bound(&mut self, id: u64, answer: Result<Bound, NotBound>) {
        if let Life::Alone(_, Early::Connecting(stage)) = &mut self.life {
            stage.bound(id, answer);
        }
    }

    /// Takes what came of request `id` to a responder.
    pub(crate) fn fetched(&mut self, id: u64, answer: Result<Vec<u8>, String>) {
        if let Life::Alone(_, Early::Verdict(stage)) | Life::Joined(_, Late::Verdict(stage)) =
            &mut self.life
        {
            stage.fetched(id, answer, &self.common.log);
        }
    }

    /// Takes the answer to question `id` about its client; `None`: the helper that was asked is gone.
    pub(crate) fn judged(&mut self, id: u64, judgement: Option<Judgement>) {
        if let Life::Alone(_, Early::Gatekeeping(stage)) = &mut self.life {
            stage.judged(id, judgement);
        }
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Option<Instant> {
        if let Some((at, _)) = self.blinded {
            return Some(at);
        }
        let stage = match &self.life {
            Life::Alone(_, Early::Gatekeeping(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Identifying(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Choosing(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Talking(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Handshaking(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Verdict(stage)) | Life::Joined(_, Late::Verdict(stage)) => {
                Some(stage.due())
            }
            Life::Alone(_, Early::Connecting(stage)) => stage.due(),
            Life::Joined(_, Late::Choosing(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Launching(stage)) => Some(stage.due()),
            Life::Joined(_, Late::Talking(stage)) => Some(stage.due()),
            Life::Joined(_, Late::Handshaking(stage)) => Some(stage.due()),
            Life::Joined(_, Late::Pump(stage)) => Some(stage.due()),
            Life::Alone(_, Early::Stepping) | Life::Joined(_, Late::Stepping) | Life::Between => {
                None
            }
        };
        match (stage, self.common.report_at()) {
            (Some(stage), Some(report)) => Some(stage.min(report)),
            (one, other) => one.or(other),
        }
    }

    /// Goes on as far as it can without waiting and without starving others.
    pub(crate) fn step(&mut self, resources: &mut Resources) -> Outcome {
        if let Some((at, side)) = self.blinded {
            // A peer that has gone measures nothing any more.
            let gone = self.life.end(side).is_some_and(|end| end.failed());
            return match at <= resources.now || gone {
                true => Outcome::Done(Ending::Alerted(side)),
                false => Outcome::Wait,
            };
        }
        let outcome = self.run(resources);
        if let Outcome::Done(Ending::Blinded(side, time)) = outcome {
            self.blinded = Some((resources.now + time, side));
            return Outcome::Wait;
        }
        if let Outcome::Done(_) = outcome {
            return outcome;
        }
        let common = &mut self.common;
        let watched = match &mut self.life {
            Life::Alone(front, _) => settle(front, Side::Front, outcome, common, resources),
            Life::Joined(pair, _) => {
                settle(&mut pair.front, Side::Front, outcome, common, resources)
                    .and_then(|()| settle(&mut pair.back, Side::Back, outcome, common, resources))
            }
            Life::Between => Ok(()),
        };
        if let Err(ending) = watched {
            return Outcome::Done(ending);
        }
        if common.report_if_due(resources) {
            // Some seconds after the last payload; at each wait it would cost a twentieth of bulk.
            self.life.rest();
        }
        outcome
    }

    fn run(&mut self, resources: &mut Resources) -> Outcome {
        loop {
            let common = &mut self.common;
            let context = Context { common, resources };
            let turn = match &mut self.life {
                Life::Alone(front, phase) => step_early(front, phase, &mut self.waiting, context),
                Life::Joined(pair, phase) => step_late(pair, phase, context),
                Life::Between => Err(inconsistent(&self.common)),
            };
            let advanced = match turn {
                Ok(Turn::Later(outcome)) => return outcome,
                Ok(Turn::Over) => return Outcome::Done(Ending::Closed),
                Ok(Turn::Advance) => self.advance(resources),
                Ok(Turn::Chosen) => self.go_on_as_chosen(resources),
                Ok(Turn::Handshake) => self.meet(resources),
                Ok(Turn::Connected(back)) => self.join(back, resources),
                Err(ending) => Err(ending),
            };
            if let Err(ending) = advanced {
                return Outcome::Done(ending);
            }
        }
    }

    /// Begins the next stage of the route.
    fn advance(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let nth = self.next;
        self.next += 1;
        let common = &mut self.common;
        let (early, late) = {
            let route = &common.service().route;
            (route.early(nth), route.late(nth))
        };
        let mut context = Context { common, resources };
        match &mut self.life {
            Life::Alone(front, phase) => {
                if nth == context.common.service().route.gates() {
                    welcome(context.common);
                }
                *phase = match early {
                    Some(route::Early::Admit) => {
                        admitting::by_lists(&context)?;
                        return self.advance(resources);
                    }
                    Some(route::Early::AskTheGate) => match Gatekeeping::begin(&context) {
                        Some(stage) => Early::Gatekeeping(stage),
                        None => return self.advance(resources),
                    },
                    Some(route::Early::Identify) => match Identifying::begin(front, &context) {
                        Some(stage) => Early::Identifying(stage),
                        None => return self.advance(resources),
                    },
                    Some(route::Early::Hello) => {
                        Early::Choosing(Choosing::begin(front, &mut context))
                    }
                    Some(route::Early::Handshake) => {
                        Early::Handshaking(Handshaking::begin(Side::Front, front, &mut context)?)
                    }
                    Some(route::Early::Verdict) => {
                        match Verdict::begin(Side::Front, front, &context) {
                            Some(verdict) => Early::Verdict(verdict),
                            None => return self.advance(resources),
                        }
                    }
                    Some(route::Early::Look) => {
                        let ends = &mut Ends::Front(front);
                        Early::Talking(Talking::look(ends, &mut context)?)
                    }
                    // It is for the server that the client is not connected to.
                    Some(route::Early::Talk(_)) if context.common.redirected => {
                        Early::Connecting(Connecting::begin(None, front, &mut context))
                    }
                    Some(route::Early::Talk(part)) => {
                        let ends = &mut Ends::Front(front);
                        Early::Talking(Talking::begin(part, ends, &mut context)?)
                    }
                    None if starts_a_program(context.common) => {
                        Early::Launching(Launching::begin(front, &mut context))
                    }
                    None => Early::Connecting(Connecting::begin(None, front, &mut context)),
                }
            }
            // It has begun TLS already.
            Life::Joined(pair, _)
                if late.is_some_and(route::Late::is_for_plain) && pair.front.tls.is_some() =>
            {
                return self.advance(resources);
            }
            Life::Joined(pair, phase) => {
                *phase = match late {
                    Some(route::Late::Hello) => {
                        Late::Choosing(Choosing::begin(&mut pair.front, &mut context))
                    }
                    Some(route::Late::Verdict(side)) => {
                        match Verdict::begin(side, pair.end(side), &context) {
                            Some(verdict) => Late::Verdict(verdict),
                            None => return self.advance(resources),
                        }
                    }
                    Some(route::Late::Receive(reception)) => {
                        let ends = &mut Ends::Both(pair);
                        Late::Talking(Talking::receive(reception, ends, &mut context)?)
                    }
                    Some(route::Late::Talk(part)) => {
                        let ends = &mut Ends::Both(pair);
                        Late::Talking(Talking::begin(part, ends, &mut context)?)
                    }
                    Some(route::Late::Handshake(side)) => {
                        let end = pair.end(side);
                        Late::Handshaking(Handshaking::begin(side, end, &mut context)?)
                    }
                    None => Late::Pump(Pump::begin(pair, &mut context)),
                }
            }
            Life::Between => return Err(inconsistent(&self.common)),
        }
        Ok(())
    }

    /// A dialogue has ended in TLS with the client: the handshake begins, or the choice before it.
    fn meet(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        if self.common.service().hosts.is_none() {
            return self.shake_hands(resources);
        }
        let common = &mut self.common;
        let mut context = Context { common, resources };
        match &mut self.life {
            Life::Alone(front, phase) => {
                *phase = Early::Choosing(Choosing::begin(front, &mut context));
            }
            Life::Joined(pair, phase) => {
                *phase = Late::Choosing(Choosing::begin(&mut pair.front, &mut context));
            }
            Life::Between => return Err(inconsistent(&self.common)),
        }
        Ok(())
    }

    /// Begins the handshake with the client, and goes on behind it by the route of the service that it has
    /// chosen.
    fn go_on_as_chosen(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let route = &self.common.service().route;
        self.next = match self.life {
            Life::Alone(..) => route.early_behind_handshake(),
            Life::Joined(..) | Life::Between => route.late_behind_handshake(),
        };
        // It is the one that it wanted to connect to.
        let common = &mut self.common;
        admitting::by_lists(&Context { common, resources })?;
        self.shake_hands(resources)
    }

    /// Begins the handshake with the client, which is no stage of the route: the client asks for it.
    fn shake_hands(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let common = &mut self.common;
        let mut context = Context { common, resources };
        let mut begin = |front: &mut End| Handshaking::begin(Side::Front, front, &mut context);
        match &mut self.life {
            Life::Alone(front, phase) => *phase = Early::Handshaking(begin(front)?),
            Life::Joined(pair, phase) => *phase = Late::Handshaking(begin(&mut pair.front)?),
            Life::Between => return Err(inconsistent(&self.common)),
        }
        Ok(())
    }

    /// Both ends are there from now on.
    fn join(&mut self, back: Connection, resources: &mut Resources) -> Result<(), Ending> {
        self.life = match std::mem::replace(&mut self.life, Life::Between) {
            Life::Alone(front, _) => {
                let back = back.into();
                Life::Joined(Pair { front, back }, Late::Stepping)
            }
            other => other,
        };
        self.next = 0;
        let (Some(waiting), Life::Joined(pair, phase)) = (self.waiting.take(), &mut self.life)
        else {
            return self.advance(resources);
        };
        let common = &mut self.common;
        let mut context = Context { common, resources };
        let bound = pair.back.local_address();
        let ends = &mut Ends::Both(pair);
        *phase = Late::Talking(waiting.connected(bound, ends, &mut context)?);
        Ok(())
    }

    /// Writes the last lines, settles the counts, gives the memory back and the sockets to those
    /// that are closed at the end of the turn.
    pub(crate) fn finish(mut self, ending: Ending, resources: &mut Resources) {
        let config = self.common.config();
        let (log, reset) = (self.common.log, config.reset);
        let status = close_status(ending, reset);
        let (tls, plain) = self.common.sent();
        notice!(
            log,
            "Connection {status}: {tls} byte(s) sent to TLS, {plain} byte(s) sent to socket"
        );
        self.common.report(resources);
        match self.life {
            Life::Alone(front, phase) => {
                match phase {
                    Early::Gatekeeping(stage) => stage.release(resources),
                    Early::Identifying(stage) => stage.release(resources),
                    Early::Connecting(stage) => stage.release(resources),
                    Early::Talking(stage) => stage.release(resources),
                    Early::Launching(stage) => stage.release(resources),
                    Early::Verdict(stage) => stage.release(resources),
                    Early::Choosing(_) | Early::Handshaking(_) | Early::Stepping => {}
                }
                close_end(front, Side::Front, ending, reset, resources);
            }
            Life::Joined(pair, phase) => {
                if let Late::Verdict(stage) = phase {
                    stage.release(resources);
                }
                close_end(pair.back, Side::Back, ending, reset, resources);
                close_end(pair.front, Side::Front, ending, reset, resources);
            }
            Life::Between => {}
        }
        let row = resources.row(self.common.index());
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
    pub(crate) fn panicked(&self, what: &str) {
        let name = &self.common.config().name;
        error!(
            self.common.log,
            "INTERNAL ERROR: Service [{name}]: {what}; only this connection is ended"
        );
    }

    /// Writes its line in the list of connections.
    pub(crate) fn list(&self, log: &Log) {
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

fn is_reset(side: Side, ending: Ending, reset: bool) -> bool {
    match ending {
        Ending::Closed => false,
        Ending::Reset => reset,
        Ending::Alerted(alerted) | Ending::Blinded(alerted, _) => reset && side != alerted,
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

/// Closes an end as its session ended.
fn close_end(mut end: End, side: Side, ending: Ending, reset: bool, resources: &mut Resources) {
    if is_reset(side, ending, reset) {
        // The socket is closed anyway; without the option it ends by a FIN.
        let _ = end.reset_on_close();
    } else {
        if ending == Ending::Closed && end.writing == Writing::Open {
            // A dialogue that ends within TLS ends with close_notify. A peer that cannot be reached any more
            // needs none.
            let _ = end.finish(&mut resources.scratch.tls, &mut resources.pool);
        }
        if ending == Ending::Alerted(side) || end.writing != Writing::Over {
            end.let_last_words_arrive(&mut resources.scratch.read, &mut resources.pool);
        }
    }
    let socket = end.into_socket(&mut resources.pool);
    if side == Side::Front {
        // The master may still have it: then closing it would not take it off, and what comes
        // in later would wake this thread for nothing.
        resources.poller.remove(socket.as_fd());
    }
    resources.closing.push(socket);
}

fn announce(common: &Common, front: &End, resources: &Resources) {
    let (log, config) = (common.log, common.config());
    let row = resources.row(common.index());
    row.accepted().fetch_add(1, Relaxed);
    row.active().fetch_add(1, Relaxed);
    debug!(log, "Service [{}] started", config.name);
    if common.peer.is_some() {
        set_options(front, 'l', config, &log);
    }
}

/// Says that the client may connect.
fn welcome(common: &Common) {
    let (log, config, peer) = (common.log, common.config(), common.peer);
    match (peer, config.front) {
        (None, Front::Program | Front::Inetd) => {
            notice!(log, "Service [{}] accepted connection", config.name);
        }
        _ => {
            let (name, from) = (&config.name, Address(peer));
            notice!(log, "Service [{name}] accepted connection from {from}");
        }
    }
}

fn step_early(
    front: &mut End,
    phase: &mut Early,
    waiting: &mut Option<Box<Talking>>,
    mut context: Context<'_>,
) -> Result<Turn, Ending> {
    match std::mem::replace(phase, Early::Stepping) {
        Early::Gatekeeping(stage) => {
            let next = stage.step(front, context)?;
            Ok(turn(next, phase, Early::Gatekeeping))
        }
        Early::Identifying(stage) => {
            let next = stage.step(front, context)?;
            Ok(turn(next, phase, Early::Identifying))
        }
        Early::Choosing(stage) => match stage.step(front, None, context)? {
            Next::Advance => Ok(Turn::Chosen),
            next => Ok(turn(next, phase, Early::Choosing)),
        },
        Early::Handshaking(stage) => {
            let next = stage.step(front, None, context)?;
            Ok(turn(next, phase, Early::Handshaking))
        }
        Early::Verdict(stage) => {
            let next = stage.step(front, None, context)?;
            Ok(turn(next, phase, Early::Verdict))
        }
        Early::Talking(stage) => {
            let (common, resources) = (&mut *context.common, &mut *context.resources);
            let borrowed = Context { common, resources };
            match stage.step(&mut Ends::Front(front), borrowed)? {
                Next::Wait(mut stage) if stage.is_to_connect() => {
                    let target = stage.wants();
                    *waiting = Some(Box::new(stage));
                    *phase = Early::Connecting(Connecting::begin(target, front, &mut context));
                    Ok(Turn::Later(Outcome::Again))
                }
                next => Ok(turn(next, phase, Early::Talking)),
            }
        }
        Early::Connecting(stage) => {
            let (common, resources) = (&mut *context.common, &mut *context.resources);
            let borrowed = Context { common, resources };
            match stage.step(front, borrowed) {
                Ok(Reached::Waiting(stage)) => {
                    *phase = Early::Connecting(stage);
                    Ok(Turn::Later(Outcome::Wait))
                }
                Ok(Reached::Connected(back)) => Ok(Turn::Connected(back)),
                Err(ending) => Err(match waiting.take() {
                    Some(dialogue) if !front.failed() => {
                        let why = context.common.unreachable;
                        dialogue.unreachable(why, front, &mut context)
                    }
                    _ => ending,
                }),
            }
        }
        Early::Launching(stage) => match stage.step(front, context)? {
            launching::Step::Waiting(stage) => {
                *phase = Early::Launching(stage);
                Ok(Turn::Later(Outcome::Wait))
            }
            launching::Step::Running(back) => Ok(Turn::Connected(back)),
        },
        Early::Stepping => Err(inconsistent(context.common)),
    }
}

/// Whether the back is a program. It is none of a client's that is sent elsewhere.
fn starts_a_program(common: &Common) -> bool {
    common.service().route.starts_a_program() && !common.redirected
}

fn step_late(pair: &mut Pair, phase: &mut Late, context: Context<'_>) -> Result<Turn, Ending> {
    // The hot path: this stage stays where it is.
    if let Late::Pump(stage) = phase {
        return Ok(match stage.step(pair, context)? {
            Next::Wait(()) => Turn::Later(Outcome::Wait),
            Next::Again(()) => Turn::Later(Outcome::Again),
            Next::Advance | Next::Handshake | Next::Over => Turn::Over,
        });
    }
    match std::mem::replace(phase, Late::Stepping) {
        Late::Choosing(stage) => match stage.step(&mut pair.front, Some(&pair.back), context)? {
            Next::Advance => Ok(Turn::Chosen),
            next => Ok(turn(next, phase, Late::Choosing)),
        },
        Late::Talking(stage) => {
            let next = stage.step(&mut Ends::Both(pair), context)?;
            Ok(turn(next, phase, Late::Talking))
        }
        Late::Handshaking(stage) => {
            let (end, other) = pair.facing(stage.side());
            let next = stage.step(end, Some(other), context)?;
            Ok(turn(next, phase, Late::Handshaking))
        }
        Late::Verdict(stage) => {
            let (end, other) = pair.facing(stage.side());
            let next = stage.step(end, Some(other), context)?;
            Ok(turn(next, phase, Late::Verdict))
        }
        Late::Pump(_) | Late::Stepping => Err(inconsistent(context.common)),
    }
}

/// A session is stepped no more once a step of it has ended it or panicked.
fn inconsistent(common: &Common) -> Ending {
    error!(common.log, "INTERNAL ERROR: a session without a stage");
    Ending::Reset
}

/// Finishes a step on one end: acknowledges bytes that caused no answer, and watches a full socket for room.
fn settle(
    end: &mut End,
    side: Side,
    outcome: Outcome,
    common: &Common,
    resources: &Resources,
) -> Result<(), Ending> {
    if outcome == Outcome::Wait && end.is_unanswered() {
        let service = common.service();
        let tls = match side {
            Side::Front => &service.front,
            Side::Back => &service.back,
        };
        // Bytes that TLS keeps to itself are acknowledged at once. Payload is not: an answer is on its way.
        if tls.is_some() {
            end.acknowledge();
        }
    }
    if !end.must_watch_room() {
        return Ok(());
    }
    let key = match side {
        Side::Front => common.key,
        Side::Back => common.key | 1,
    };
    resources
        .poller
        .watch_room(end.as_fd(), key)
        .map_err(|error| {
            error!(common.log, "epoll_ctl: {}", log::Reason(&error));
            Ending::Reset
        })
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

//! A session: its ends, the stage of its route that it is in, and what is counted and said about it
//! from the first line to the last.

mod advancing;
mod closing;
mod holding;
mod lateness;
mod life;
mod parting;
mod telling;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use closing::{close, close_status};
use life::{Early, Late, Life, Turn, inconsistent, step_early, step_late};
use parting::{Parted, Parting};

use super::end::End;
use super::poller::Readiness;
use super::record::{Fault, How, level_of_steps};
use super::resources::Resources;
use super::step::{Common, Context, Ending, set_options};
use super::talking::Talking;
use crate::config::{Front, LogId};
use crate::helper::{Bound, Judgement, Launched, NotBound, Refused, Resolved, TokenAnswer};
use crate::ipc::handoff::Handed;
use crate::log::{self, Id, Log, Subject};
use crate::protocol::Side;
use crate::{debug, error, info, log_at, notice};

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

#[derive(Debug)]
pub(crate) struct Session {
    common: Common,
    life: Life,
    /// The next stage, of those that the route has for this part of its life.
    next: usize,
    /// The dialogue that asked for the connection, while that is made.
    waiting: Option<Box<Talking>>,
    /// It is over, and what is to be waited for before its sockets are closed.
    parting: Option<Parting>,
    /// See [`Session::has_settled`]: it stays so.
    settled: bool,
}

impl Session {
    /// Takes on an accepted socket: says so, sets its options, and begins with the first stage.
    /// `None`: it ended at once, and its last line is written.
    pub(crate) fn begin(handed: Handed, key: u64, resources: &mut Resources) -> Option<Self> {
        let services = Arc::clone(&resources.services);
        let service = &services[handed.connection.service];
        let log = Log {
            level: level_of_steps(service.config.debug),
            id: log_id(service.config.log_id, handed.connection.number),
            from: Some(Subject::new(
                handed.connection.peer.map(|peer| peer.ip()),
                handed.connection.service,
            )),
        };
        let gates = service.route.gates();
        let client_speaks = service.route.early(gates).is_some();
        let mut common = Common::new(&handed, key, log, services, resources.now);
        common.counted_by = resources.key(&handed.connection);
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
            parting: None,
            settled: false,
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
            (side, Life::Leaving(left, end)) if side == *left => end.note(ready),
            (Side::Back, Life::Alone(..)) | (_, Life::Between | Life::Leaving(..)) => {}
        }
    }

    /// Takes the answer to question `id`; `None`: the helper that was asked is gone.
    pub(crate) fn answer(&mut self, id: u64, answer: Option<Resolved>) {
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

    /// Takes the answer to question `id` about a token; `None`: the helper that was asked is gone.
    pub(crate) fn token(&mut self, id: u64, answer: Option<TokenAnswer>) {
        if let Life::Joined(_, Late::Talking(stage)) = &mut self.life {
            stage.token(id, answer);
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
        if let Some(parting) = &self.parting {
            return Some(parting.due());
        }
        let stage = match &self.life {
            Life::Alone(_, Early::Introducing(stage)) => Some(stage.due()),
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
            Life::Alone(_, Early::Pausing(at)) => Some(*at),
            Life::Alone(_, Early::Stepping)
            | Life::Joined(_, Late::Stepping)
            | Life::Between
            | Life::Leaving(..) => None,
        };
        let due = earlier(stage, self.common.report_at());
        if self.settled {
            return due;
        }
        let due = earlier(due, self.common.relayed_by);
        let due = earlier(due, self.common.welcome_at());
        match self.has_no_server() {
            false => due,
            true => earlier(due, self.due_without_server()),
        }
    }

    /// Whether its client may wait for a server that is tried again, or connected anew.
    #[inline]
    pub(super) fn has_no_server(&self) -> bool {
        self.common.again || self.common.hold.is_some()
    }

    /// When a client that waits so is to be looked after.
    #[cold]
    fn due_without_server(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().filter(|_| self.common.again);
        let patience = waiting.and_then(|waiting| waiting.patience());
        earlier(patience, self.common.held_due())
    }

    /// Looks after its client. Returns how the session ends, if it does.
    #[cold]
    fn look_after(&mut self, resources: &mut Resources) -> Option<Ending> {
        self.common.welcome_if_due(resources.now);
        let lost = self.is_late(resources);
        let lost = lost.or_else(|| self.lose_patience(resources));
        lost.or_else(|| self.attend(resources))
    }

    /// The memory that it holds while its handshakes are not over, in bytes; 0 when they are.
    pub(crate) fn unfinished(&self) -> usize {
        self.life.unfinished()
    }

    /// It is ended to give its memory to others; counts that.
    pub(crate) fn shed(&self, resources: &Resources) {
        let row = resources.row(self.common.index());
        row.shed().fetch_add(1, Relaxed);
        info!(self.common.log, "Connection ended: its memory is needed");
        let reason = "its memory was needed";
        self.common.blame(How::Cut, Some(Fault::Adit), reason);
    }

    /// Goes on as far as it can without waiting and without starving others.
    pub(crate) fn step(&mut self, resources: &mut Resources) -> Outcome {
        if self.parting.is_some() {
            return self.part(resources);
        }
        let outcome = self.run(resources);
        if let Outcome::Done(ending) = outcome {
            self.parting = Parting::after(ending, resources);
            let Some(parting) = &self.parting else {
                return outcome;
            };
            if let Some(end) = self.life.end(parting.side()) {
                // It counts no more as unfinished, and a stranger may keep it waiting.
                end.forget(&mut resources.pool);
            }
            return self.part(resources);
        }
        let common = &mut self.common;
        let watched = match &mut self.life {
            Life::Alone(front, _) => settle(front, Side::Front, outcome, common, resources),
            // The hot path.
            Life::Joined(pair, _) if !pair.front.is_unsettled() && !pair.back.is_unsettled() => {
                Ok(())
            }
            Life::Joined(pair, _) => {
                settle(&mut pair.front, Side::Front, outcome, common, resources)
                    .and_then(|()| settle(&mut pair.back, Side::Back, outcome, common, resources))
            }
            Life::Between | Life::Leaving(..) => Ok(()),
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

    /// Waits for what is left to wait for once it is over.
    fn part(&mut self, resources: &mut Resources) -> Outcome {
        let Some(parting) = &mut self.parting else {
            return Outcome::Done(Ending::Reset);
        };
        let side = parting.side();
        let over = Outcome::Done(Ending::Alerted(side));
        let mut end = self.life.end(side);
        let outcome = match parting.step(end.as_deref_mut(), resources) {
            Parted::Over => return over,
            Parted::Waits => Outcome::Wait,
            Parted::Reads => Outcome::Again,
        };
        let Some(end) = end else {
            return over;
        };
        if settle(end, side, outcome, &self.common, resources).is_err() {
            return over;
        }
        if parting.is_farewell() && !matches!(self.life, Life::Leaving(..)) {
            // The other end need not wait for this one.
            let life = std::mem::replace(&mut self.life, Life::Between);
            let reset = self.common.config().reset;
            let ending = Ending::Alerted(side);
            if let Some(end) = close(life, Some(side), ending, reset, resources) {
                self.life = Life::Leaving(side, end);
            }
        }
        outcome
    }

    fn run(&mut self, resources: &mut Resources) -> Outcome {
        // Carrying bytes is the hot path, and it leads to no other stage.
        if !self.settled {
            if self.needs_a_look(resources.now)
                && let Some(ending) = self.look_after(resources)
            {
                return Outcome::Done(ending);
            }
            self.settled = self.has_settled();
        }
        loop {
            let common = &mut self.common;
            let context = Context { common, resources };
            let turn = match &mut self.life {
                Life::Alone(front, phase) => step_early(front, phase, &mut self.waiting, context),
                Life::Joined(pair, phase) => step_late(pair, phase, context),
                Life::Between | Life::Leaving(..) => Err(inconsistent(&self.common)),
            };
            let advanced = match turn {
                Ok(Turn::Later(outcome)) => return outcome,
                Ok(Turn::Over) => return Outcome::Done(Ending::Closed),
                Ok(Turn::Advance) => self.advance(resources),
                Ok(Turn::Chosen) => self.go_on_as_chosen(resources),
                Ok(Turn::Handshake) => self.meet(resources),
                Ok(Turn::Connected(back)) => self.join(back, resources),
                Ok(Turn::Anew(talking)) => self.connect_anew(talking, resources),
                Err(ending) => Err(ending),
            };
            if let Err(ending) = advanced
                && let Err(ending) = self.hold_on(ending, resources)
            {
                return Outcome::Done(ending);
            }
        }
    }

    /// Writes the last lines, settles the counts, gives the memory back and the sockets to those
    /// that are closed at the end of the turn.
    pub(crate) fn finish(mut self, ending: Ending, resources: &mut Resources) {
        if self.common.to_back + self.common.to_front > 0 {
            self.common.has_carried();
        }
        let config = self.common.config();
        let (log, reset) = (self.common.log, config.reset);
        let status = close_status(ending, reset);
        let (tls, plain) = self.common.sent();
        let text = format_args!(
            "Connection {status}: {tls} byte(s) sent to TLS, {plain} byte(s) sent to socket"
        );
        let was_a_check = self.common.was_a_check();
        if !was_a_check {
            self.common.is_heard();
        }
        match self.common.record {
            None if was_a_check => debug!(log, "{text}"),
            None => notice!(log, "{text}"),
            Some(_) => self.common.summarise(ending, text),
        }
        self.common.report(resources);
        close(self.life, None, ending, reset, resources);
        let lasted = resources.now.saturating_duration_since(self.common.began);
        let took = resources.durations(self.common.index());
        took.session().count(lasted);
        if was_a_check || ending == Ending::Closed && self.common.has_said_nothing() {
            let row = resources.row(self.common.index());
            row.probes().fetch_add(1, Relaxed);
        }
        resources.leave(self.common.counted_by);
        resources.closed(self.common.index());
        if log.enabled(7) {
            let left = resources.active();
            let name = &self.common.config().name;
            debug!(log, "Service [{name}] finished ({left} left)");
        }
    }

    /// It is ended by a command, or with its generation.
    pub(crate) fn cut(&self) {
        let reason = "ended by the administrator";
        let fault = Some(Fault::Administrator);
        self.common.blame(How::Cut, fault, reason);
    }

    /// Writes that a step of it panicked, and where.
    pub(crate) fn panicked(&self, what: &str) {
        self.common.blame(How::Failed, Some(Fault::Adit), what);
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

fn announce(common: &Common, front: &End, resources: &Resources) {
    let (log, config) = (common.log, common.config());
    let row = resources.row(common.index());
    row.accepted().fetch_add(1, Relaxed);
    debug!(log, "Service [{}] started", config.name);
    if common.peer.is_some() {
        set_options(front, 'l', config, &log);
    }
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

/// The earlier of two moments, of which either may never come.
#[inline]
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

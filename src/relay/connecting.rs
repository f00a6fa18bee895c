//! Connecting the back: the entries of `connect` one after the other, the addresses of one side by side, and when all
//! have failed the names again. The front is watched meanwhile, so that a client that is gone costs nothing more.

mod addresses;
mod attempt;
mod racing;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use addresses::{allowed, endpoint, in_order, wanted_by};
use attempt::{Attempt, Judged, Tried, begin, begin_bound, judge, tried};
use racing::Race;

use super::Upstream;
use super::binding::{self, Binding};
use super::end::End;
use super::lookup::Lookup;
use super::outbound::{Progress, Refusal};
use super::poller::Readiness;
use super::resources::Resources;
use super::step::{Context, Ending, broken};
use crate::helper::{Bound, NotBound, Resolved};
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::scoreboard::Open;
use crate::log::Log;
use crate::protocol::{Target, Unreachable};
use crate::{debug, error, info};

#[derive(Debug)]
pub(crate) struct Connecting {
    began: Instant,
    stage: Stage,
    /// Addresses not tried yet, the next one last.
    left: Vec<Upstream>,
    /// Addresses that failed.
    failed: Vec<Upstream>,
    /// Attempts beside the stage's.
    race: Race,
    /// The names were resolved for this session already.
    asked: bool,
    /// Where the client wants to be connected to; `None`: to what `connect` says.
    target: Option<Target>,
}

/// A connection to the server, of which the back is made.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// TCP, not a Unix socket.
    tcp: bool,
    /// A program's.
    program: bool,
    /// The poller tells of room to write.
    room_watched: bool,
    ready: Readiness,
    /// It counts among those that are open to its address, as long as this is kept.
    counted: Option<Box<Open>>,
}

impl Connection {
    /// With a program, whose socket is watched for what comes in.
    pub(crate) fn with_a_program(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            tcp: false,
            program: true,
            room_watched: false,
            ready: Readiness::default(),
            counted: None,
        }
    }

    /// What is to be kept as long as the connection.
    pub(crate) fn take_count(&mut self) -> Option<Box<Open>> {
        self.counted.take()
    }
}

impl From<Connection> for End {
    fn from(connection: Connection) -> End {
        let mut end = match connection.program {
            true => End::of_a_program(connection.socket),
            false => End::new(connection.socket, connection.tcp, connection.room_watched),
        };
        end.note(connection.ready);
        end
    }
}

/// How far connecting got.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it goes back to its place in the session, and a box would be an allocation at each wait"
)]
pub(crate) enum Reached {
    /// It waits for an event or its time.
    Waiting(Connecting),
    /// The server is reached.
    Connected(Connection),
}

#[derive(Debug)]
enum Stage {
    /// Names are being resolved, until then at the latest.
    Resolving(Lookup, Instant),
    /// The next address is due.
    Next,
    /// A socket with the client's address is being made.
    Binding(Binding),
    /// connect(2) is under way.
    Pending(Attempt),
    /// To be tried at the first time (later than now where a Unix listener's queue was full), given
    /// up at the second.
    Trying(Upstream, Instant, Instant),
}

impl Connecting {
    /// Chooses the addresses, or begins to resolve them.
    pub(crate) fn begin(target: Option<Target>, front: &End, context: &mut Context<'_>) -> Self {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let config = common.config();
        let wanted;
        let endpoints = match &target {
            None => common.destinations(),
            Some(target) => {
                wanted = [endpoint(target)];
                &wanted
            }
        };
        let known = match resources.fresh(common.index(), common.redirected) {
            _ if config.delay || target.is_some() => Vec::new(),
            Some(fresh) => fresh.to_vec(),
            None => common.addresses().to_vec(),
        };
        let mut connecting = Self {
            began: resources.now,
            stage: Stage::Next,
            left: Vec::new(),
            failed: Vec::new(),
            race: Race::default(),
            asked: false,
            target: None,
        };
        if target.is_none() && common.goes_where_it_wanted() {
            connecting.asked = true;
            connecting.left = wanted_by(front, common).into_iter().collect();
        } else if known.is_empty() {
            connecting.asked = true;
            let mut lookup = Lookup::new(endpoints);
            lookup.ask(common.key, common.index(), &common.log, resources);
            let until = resources.now + config.timeouts.connect;
            connecting.stage = Stage::Resolving(lookup, until);
        } else {
            connecting.left = in_order(
                known,
                common.index(),
                config.failover,
                &common.log,
                resources,
            );
        }
        connecting.target = target;
        context.common.unreachable = Unreachable::NoSuchName;
        connecting
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Resolving(_, deadline) => Some(*deadline),
            Stage::Next => None,
            Stage::Binding(binding) => Some(binding.deadline),
            Stage::Pending(attempt) => {
                let next = self.race.next_at(attempt, &self.left);
                Some(next.unwrap_or(attempt.deadline).min(attempt.deadline))
            }
            Stage::Trying(_, again, _) => Some(*again),
        }
    }

    /// Takes note of an event on a connecting socket.
    pub(crate) fn note(&mut self, ready: Readiness) {
        if let Stage::Pending(attempt) = &mut self.stage
            && self.race.is_single()
        {
            attempt.ready.merge(ready);
        }
    }

    /// Takes an answer to a question about a name.
    pub(crate) fn answer(&mut self, id: u64, answer: Option<Resolved>, log: &Log) {
        if let Stage::Resolving(lookup, _) = &mut self.stage {
            lookup.answer(id, answer, log);
        }
    }

    /// Takes the answer to a question about a socket.
    pub(crate) fn bound(&mut self, id: u64, answer: Result<Bound, NotBound>) {
        if let Stage::Binding(binding) = &mut self.stage {
            binding.answer(id, answer);
        }
    }

    /// Goes on until it must wait, is connected, or has no address left.
    ///
    /// # Errors
    /// No address is left, or the client is gone.
    pub(crate) fn step(
        mut self,
        front: &mut End,
        mut context: Context<'_>,
    ) -> Result<Reached, Ending> {
        if let Err(ending) = watch_front(front, &mut context) {
            self.release(context.resources);
            return Err(ending);
        }
        if let Some(back) = self.judge_rivals(&mut context) {
            self.release(context.resources);
            return Ok(Reached::Connected(back));
        }
        loop {
            let now = context.resources.now;
            let tried = match std::mem::replace(&mut self.stage, Stage::Next) {
                Stage::Resolving(lookup, deadline) => {
                    match self.left_after(lookup, deadline, &mut context)? {
                        Ok(left) => {
                            self.left = left;
                            self.race = Race::default();
                        }
                        Err(lookup) => {
                            self.stage = Stage::Resolving(lookup, deadline);
                            return Ok(Reached::Waiting(self));
                        }
                    }
                    continue;
                }
                Stage::Next => Tried::Stage(self.next(&mut context)?),
                Stage::Binding(binding) => match binding.step(&mut context) {
                    binding::Step::Waiting(binding) => {
                        self.stage = Stage::Binding(binding);
                        return Ok(Reached::Waiting(self));
                    }
                    binding::Step::Failed(upstream) => {
                        Tried::Stage(self.not_bound(upstream, &mut context))
                    }
                    binding::Step::Bound(bound, upstream, deadline) => {
                        let begun = begin_bound(bound, &upstream, &context);
                        self.tried(begun, upstream, deadline, &mut context)?
                    }
                },
                Stage::Pending(attempt) => match self.judged(attempt, &mut context) {
                    Judged::Waiting(attempt) => {
                        self.stage = Stage::Pending(attempt);
                        return Ok(Reached::Waiting(self));
                    }
                    Judged::Failed => continue,
                    Judged::Connected(back) => Tried::Connected(back),
                },
                Stage::Trying(upstream, again, deadline) if now < again => {
                    self.stage = Stage::Trying(upstream, again, deadline);
                    return Ok(Reached::Waiting(self));
                }
                Stage::Trying(upstream, _, deadline) => {
                    let begun = begin(&upstream, &context);
                    self.tried(begun, upstream, deadline, &mut context)?
                }
            };
            match tried {
                Tried::Stage(stage) => self.stage = stage,
                Tried::Connected(back) => return Ok(Reached::Connected(back)),
            }
        }
    }

    /// Gives back what it holds.
    pub(crate) fn release(self, resources: &mut Resources) {
        self.race.release(resources);
        match self.stage {
            Stage::Resolving(lookup, _) => lookup.release(resources),
            Stage::Binding(binding) => binding.release(resources),
            Stage::Pending(attempt) => resources.closing.push(attempt.socket),
            Stage::Next | Stage::Trying(..) => {}
        }
    }

    /// Begins with the next address; or goes on with those that were begun.
    fn next(&mut self, context: &mut Context<'_>) -> Result<Stage, Ending> {
        let now = context.resources.now;
        let timeout = context.common.config().timeouts.connect;
        match self.race.next(&mut self.left, &self.failed, now, timeout) {
            Some((upstream, deadline)) => {
                info!(context.common.log, "s_connect: connecting {upstream}");
                Ok(match context.common.config().transparent.source {
                    true => self.bind(upstream, deadline, context),
                    false => Stage::Trying(upstream, now, deadline),
                })
            }
            None => match self.race.take() {
                Some(attempt) => Ok(Stage::Pending(attempt)),
                None => self.ask_again(context),
            },
        }
    }

    /// How the attempts stand that go on beside the stage's.
    fn judge_rivals(&mut self, context: &mut Context<'_>) -> Option<Connection> {
        if self.race.is_single() {
            return None;
        }
        self.race.look(match &mut self.stage {
            Stage::Pending(attempt) => Some(attempt),
            _ => None,
        });
        self.race.judge(&mut self.failed, context)
    }

    /// How the stage's attempt stands; one that takes long is put beside the next.
    fn judged(&mut self, attempt: Attempt, context: &mut Context<'_>) -> Judged {
        let winner = (!self.race.is_single()).then(|| attempt.upstream.clone());
        match judge(attempt, &mut self.failed, context) {
            Judged::Waiting(attempt) => {
                let next = self.race.next_at(&attempt, &self.left);
                if next.is_none_or(|at| context.resources.now < at) {
                    return Judged::Waiting(attempt);
                }
                self.race.add(attempt, &context.common.log);
                Judged::Failed
            }
            Judged::Connected(back) => {
                if let Some(winner) = winner {
                    self.race.lose(&winner, context);
                }
                Judged::Connected(back)
            }
            Judged::Failed => Judged::Failed,
        }
    }

    /// What came of sending a socket on its way.
    fn tried(
        &mut self,
        begun: Result<(OwnedFd, Progress), Refusal>,
        upstream: Upstream,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Result<Tried, Ending> {
        let winner = (!self.race.is_single()).then(|| upstream.clone());
        let alone = winner.is_none();
        let failed = &mut self.failed;
        let tried = tried(begun, upstream, deadline, alone, failed, context)?;
        if let (Tried::Connected(_), Some(winner)) = (&tried, winner) {
            self.race.lose(&winner, context);
        }
        Ok(tried)
    }

    /// Asks for a socket with the client's address.
    fn bind(&mut self, upstream: Upstream, deadline: Instant, context: &mut Context<'_>) -> Stage {
        match Binding::begin(upstream, deadline, context) {
            Ok(binding) => Stage::Binding(binding),
            Err(upstream) => self.not_bound(upstream, context),
        }
    }

    /// There is no such socket, which was told.
    fn not_bound(&mut self, upstream: Upstream, context: &mut Context<'_>) -> Stage {
        context.common.unreachable = Unreachable::Other;
        self.failed.push(upstream);
        Stage::Next
    }

    /// The addresses that a lookup gave, without those that have failed just now; the lookup itself while it
    /// goes on.
    fn left_after(
        &self,
        mut lookup: Lookup,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Result<Result<Vec<Upstream>, Lookup>, Ending> {
        let (common, resources) = (&*context.common, &mut *context.resources);
        lookup.ask(common.key, common.index(), &common.log, resources);
        let found = match lookup.done() {
            Some(found) => found,
            None if resources.now < deadline => return Ok(Err(lookup)),
            None => lookup.give_up(&common.log, resources),
        };
        if found.is_empty() && self.failed.is_empty() {
            context.common.finding = lookup.take_finding().map(Box::new);
        }
        let found = match self.target {
            Some(_) => allowed(found, context.common),
            None => found,
        };
        let (common, resources) = (&*context.common, &mut *context.resources);
        let config = common.config();
        if !found.is_empty() && !config.delay && self.target.is_none() {
            resources.keep_fresh(common.index(), common.redirected, &found);
        }
        let fresh: Vec<Upstream> = found
            .into_iter()
            .filter(|upstream| !self.failed.contains(upstream))
            .collect();
        if fresh.is_empty() {
            if self.failed.is_empty() {
                error!(common.log, "No remote host resolved");
            }
            return Err(give_up(context));
        }
        Ok(Ok(in_order(
            fresh,
            common.index(),
            config.failover,
            &common.log,
            resources,
        )))
    }

    /// All addresses have failed: the names may stand for others by now.
    fn ask_again(&mut self, context: &mut Context<'_>) -> Result<Stage, Ending> {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let config = common.config();
        let lookup = Lookup::new(common.destinations());
        if self.asked || self.target.is_some() || !lookup.has_names() || resources.names.is_none() {
            return Err(give_up(context));
        }
        self.asked = true;
        debug!(
            common.log,
            "All addresses failed: resolving the names again"
        );
        let until = resources.now + config.timeouts.connect;
        Ok(Stage::Resolving(lookup, until))
    }
}

/// The client may be gone by now; and a full socket may have kept back the end of its handshake.
pub(super) fn watch_front(front: &mut End, context: &mut Context<'_>) -> Result<(), Ending> {
    let log = context.common.log;
    if front.failed() {
        info!(
            log,
            "The client reset the connection before the server was connected"
        );
        return Err(Ending::Reset);
    }
    let flushed = front.flush(&mut context.resources.pool);
    flushed.map_err(|errno| broken(&log, "s_write", errno))?;
    Ok(())
}

fn give_up(context: &mut Context<'_>) -> Ending {
    const REASON: &str = "No more addresses to connect";
    error!(context.common.log, "{REASON}");
    let row = context.resources.row(context.common.index());
    row.connect_failed().fetch_add(1, Relaxed);
    context.keep_finding(|| {
        let remedy = "check `connect`, and the lines of the log above";
        Diagnosis::new(Cause::UpstreamOther, REASON, remedy)
    });
    Ending::Reset
}

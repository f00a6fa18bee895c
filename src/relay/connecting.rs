//! Connecting the back: the addresses one after the other, and when all have failed the names
//! again. The front is watched meanwhile, so that a client that is gone costs nothing more.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::binding::{self, Binding};
use super::end::{End, take_error};
use super::lookup::Lookup;
use super::outbound::{self, Progress, Refusal};
use super::poller::Readiness;
use super::resources::Resources;
use super::step::{Common, Context, Ending, broken};
use super::{Address, Reason, Upstream};
use crate::config::{Endpoint, Failover};
use crate::helper::{Bound, NO_ANSWER, NotBound, ResolveError};
use crate::limits;
use crate::log::{self, Log};
use crate::protocol::{Target, Unreachable};
use crate::remedy;
use crate::{debug, error, info, notice};
use nix::errno::Errno;

/// How long to leave a Unix listener with a full queue alone.
const RETRY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Connecting {
    stage: Stage,
    /// Addresses not tried yet, the next one last.
    left: Vec<Upstream>,
    /// Addresses that failed.
    failed: Vec<Upstream>,
    /// The names were resolved for this session already.
    asked: bool,
    /// Where the client wants to be connected to; `None`: to what `connect` says.
    target: Option<Target>,
    local: Option<IpAddr>,
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
        }
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

#[derive(Debug)]
struct Attempt {
    socket: OwnedFd,
    ready: Readiness,
    upstream: Upstream,
    deadline: Instant,
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
            stage: Stage::Next,
            left: Vec::new(),
            failed: Vec::new(),
            asked: false,
            local: common.service().local,
            target: None,
        };
        if target.is_none() && common.goes_where_it_wanted() {
            connecting.asked = true;
            connecting.left = wanted_by(front, common).into_iter().collect();
        } else if known.is_empty() {
            connecting.asked = true;
            let mut lookup = Lookup::new(endpoints);
            lookup.ask(common.key, &common.log, resources);
            connecting.stage = Stage::Resolving(lookup, resources.now + config.timeouts.busy);
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

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Resolving(_, deadline) => Some(*deadline),
            Stage::Next => None,
            Stage::Binding(binding) => Some(binding.deadline),
            Stage::Pending(attempt) => Some(attempt.deadline),
            Stage::Trying(_, again, _) => Some(*again),
        }
    }

    /// Takes note of an event on the connecting socket.
    pub(crate) fn note(&mut self, ready: Readiness) {
        if let Stage::Pending(attempt) = &mut self.stage {
            attempt.ready.merge(ready);
        }
    }

    /// Takes an answer to a question about a name.
    pub(crate) fn answer(
        &mut self,
        id: u64,
        answer: Option<Result<Vec<SocketAddr>, ResolveError>>,
        log: &Log,
    ) {
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
        loop {
            let now = context.resources.now;
            self.stage = match std::mem::replace(&mut self.stage, Stage::Next) {
                Stage::Resolving(lookup, deadline) => {
                    match self.left_after(lookup, deadline, &mut context)? {
                        Ok(left) => {
                            self.left = left;
                            Stage::Next
                        }
                        Err(lookup) => {
                            self.stage = Stage::Resolving(lookup, deadline);
                            return Ok(Reached::Waiting(self));
                        }
                    }
                }
                Stage::Next => match self.left.pop() {
                    Some(upstream) => {
                        let deadline = now + context.common.config().timeouts.connect;
                        info!(context.common.log, "s_connect: connecting {upstream}");
                        match context.common.config().transparent.source {
                            true => self.bind(upstream, deadline, &mut context),
                            false => Stage::Trying(upstream, now, deadline),
                        }
                    }
                    None => self.ask_again(&mut context)?,
                },
                Stage::Binding(binding) => match binding.step(&mut context) {
                    binding::Step::Waiting(binding) => {
                        self.stage = Stage::Binding(binding);
                        return Ok(Reached::Waiting(self));
                    }
                    binding::Step::Failed(upstream) => self.not_bound(upstream, &mut context),
                    binding::Step::Bound(bound, upstream, deadline) => {
                        let begun = begin_bound(bound, &upstream, &context);
                        match tried(begun, upstream, deadline, &mut self.failed, &mut context)? {
                            Tried::Stage(stage) => stage,
                            Tried::Connected(back) => return Ok(Reached::Connected(back)),
                        }
                    }
                },
                Stage::Pending(attempt) => match judge(attempt, &mut self.failed, &mut context) {
                    Judged::Waiting(attempt) => {
                        self.stage = Stage::Pending(attempt);
                        return Ok(Reached::Waiting(self));
                    }
                    Judged::Failed => Stage::Next,
                    Judged::Connected(back) => return Ok(Reached::Connected(back)),
                },
                Stage::Trying(upstream, again, deadline) if now < again => {
                    self.stage = Stage::Trying(upstream, again, deadline);
                    return Ok(Reached::Waiting(self));
                }
                Stage::Trying(upstream, _, deadline) => {
                    match try_one(
                        upstream,
                        deadline,
                        self.local,
                        &mut self.failed,
                        &mut context,
                    )? {
                        Tried::Stage(stage) => stage,
                        Tried::Connected(back) => return Ok(Reached::Connected(back)),
                    }
                }
            };
        }
    }

    /// Gives back what it holds.
    pub(crate) fn release(self, resources: &mut Resources) {
        match self.stage {
            Stage::Resolving(lookup, _) => lookup.release(resources),
            Stage::Binding(binding) => binding.release(resources),
            Stage::Pending(attempt) => resources.closing.push(attempt.socket),
            Stage::Next | Stage::Trying(..) => {}
        }
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
        lookup.ask(common.key, &common.log, resources);
        let found = match lookup.done() {
            Some(found) => found,
            None if resources.now < deadline => return Ok(Err(lookup)),
            None => {
                error!(
                    common.log,
                    "TIMEOUTbusy exceeded: {NO_ANSWER} ({})",
                    remedy::RESOLVING
                );
                lookup.release(resources);
                Vec::new()
            }
        };
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
        Ok(Stage::Resolving(
            lookup,
            resources.now + config.timeouts.busy,
        ))
    }
}

/// Leaves out the addresses that a SOCKS client may not be connected to, as in stunnel: those of this
/// machine, whose servers trust local clients.
fn allowed(found: Vec<Upstream>, common: &mut Common) -> Vec<Upstream> {
    let (denied, allowed): (Vec<Upstream>, Vec<Upstream>) = found
        .into_iter()
        .partition(|upstream| upstream.ip().is_some_and(is_this_machine));
    if let [Upstream::Tcp(address, _), ..] = &denied[..] {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        error!(
            common.log,
            "SOCKS connection to the {family} loopback rejected"
        );
        common.unreachable = Unreachable::Forbidden;
    }
    allowed
}

/// Loopback, whatever it is written as; and the unspecified address, which connect(2) takes for it.
fn is_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// Where the client wanted to go before it was sent here.
fn wanted_by(front: &End, common: &Common) -> Option<Upstream> {
    let wanted = front.wanted(common.service().ports.as_deref());
    if wanted.is_none() {
        error!(
            common.log,
            "getsockopt SO_ORIGINAL_DST: the client was not redirected to this service: redirect its connections \
             here (REDIRECT or TPROXY: see `transparent` in adit.conf(5))"
        );
    }
    wanted.map(|address| Upstream::Tcp(address, address.ip().to_string()))
}

fn endpoint(target: &Target) -> Endpoint {
    let (host, port) = match target {
        Target::Address(address) => (address.ip().to_string(), address.port()),
        Target::Name(name, port) => (name.clone(), *port),
    };
    Endpoint::Tcp {
        host: Some(host),
        port,
    }
}

/// Translates a failed connect(2) for the client that asked for it.
fn reason(errno: Errno) -> Unreachable {
    match errno {
        Errno::ECONNREFUSED => Unreachable::Refused,
        Errno::ENETUNREACH => Unreachable::Network,
        Errno::EHOSTUNREACH => Unreachable::Host,
        Errno::ETIMEDOUT => Unreachable::TimedOut,
        _ => Unreachable::Other,
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
    error!(context.common.log, "No more addresses to connect");
    let row = context.resources.row(context.common.index());
    row.connect_failed().fetch_add(1, Relaxed);
    Ending::Reset
}

/// The order of trying, last one first.
fn in_order(
    mut upstreams: Vec<Upstream>,
    service: usize,
    failover: Failover,
    log: &Log,
    resources: &Resources,
) -> Vec<Upstream> {
    let count = upstreams.len();
    if count > 1 {
        match failover {
            Failover::RoundRobin => {
                let shared = resources.scoreboard.shared(service);
                let turn = shared.round_robin().fetch_add(1, Relaxed);
                // The remainder is below `count`, so the cast drops nothing.
                let start = (turn % count as u64) as usize;
                debug!(log, "failover: round-robin, starting at entry #{start}");
                upstreams.rotate_left(start);
            }
            Failover::Priority => debug!(log, "failover: priority, starting at entry #0"),
        }
    }
    upstreams.reverse();
    upstreams
}

/// How trying an address went.
enum Tried {
    /// On with this stage.
    Stage(Stage),
    Connected(Connection),
}

/// Sends a socket on its way.
fn try_one(
    upstream: Upstream,
    deadline: Instant,
    local: Option<IpAddr>,
    failed: &mut Vec<Upstream>,
    context: &mut Context<'_>,
) -> Result<Tried, Ending> {
    let common = &*context.common;
    let begun = outbound::begin(&upstream, common.config(), local, &common.log);
    tried(begun, upstream, deadline, failed, context)
}

/// The same for a socket that is bound already.
fn begin_bound(
    bound: Bound,
    upstream: &Upstream,
    context: &Context<'_>,
) -> Result<(OwnedFd, Progress), Refusal> {
    let common = &*context.common;
    match upstream {
        Upstream::Tcp(address, _) => {
            outbound::begin_bound(bound.socket, *address, common.config(), &common.log)
        }
        Upstream::Unix(_) => Err(Refusal::Family),
    }
}

/// What came of sending a socket on its way.
fn tried(
    begun: Result<(OwnedFd, Progress), Refusal>,
    upstream: Upstream,
    deadline: Instant,
    failed: &mut Vec<Upstream>,
    context: &mut Context<'_>,
) -> Result<Tried, Ending> {
    let (common, resources) = (&*context.common, &mut *context.resources);
    let log = common.log;
    match begun {
        Ok((socket, progress)) => {
            let key = common.key | 1;
            let added = match progress {
                Progress::Connected => resources.poller.add(socket.as_fd(), key),
                Progress::Pending => resources.poller.add_both(socket.as_fd(), key),
            };
            if let Err(error) = added {
                error!(log, "epoll_ctl: {}", log::Reason(&error));
                return Err(Ending::Reset);
            }
            let attempt = Attempt {
                socket,
                ready: Readiness::default(),
                upstream,
                deadline,
            };
            if progress == Progress::Pending {
                return Ok(Tried::Stage(Stage::Pending(attempt)));
            }
            Ok(Tried::Connected(connected(attempt, progress, context)))
        }
        Err(Refusal::NoSocket(errno)) => {
            let advice = limits::Advice {
                errno,
                connections: resources.active_here(),
            };
            error!(log, "remote socket: {}{advice}", Reason(errno));
            Err(give_up(context))
        }
        Err(Refusal::Full) if resources.now < deadline => {
            let again = deadline.min(resources.now + RETRY);
            Ok(Tried::Stage(Stage::Trying(upstream, again, deadline)))
        }
        Err(refusal) => {
            context.common.unreachable = match refusal {
                Refusal::Connect(errno) => reason(errno),
                Refusal::Full => Unreachable::TimedOut,
                Refusal::Bind(_) | Refusal::NoSocket(_) | Refusal::Family => Unreachable::Other,
            };
            match refusal {
                Refusal::Bind(errno) => error!(
                    log,
                    "bind (ephemeral port): {} (`local` must be an address of this machine: `ip address`)",
                    Reason(errno)
                ),
                Refusal::Connect(errno) => refused(&upstream, errno, &log),
                Refusal::Full | Refusal::NoSocket(_) => timed_out(&upstream, &log),
                Refusal::Family => {}
            }
            failed.push(upstream);
            Ok(Tried::Stage(Stage::Next))
        }
    }
}

enum Judged {
    Waiting(Attempt),
    Failed,
    Connected(Connection),
}

fn refused(upstream: &Upstream, errno: Errno, log: &Log) {
    let remedy = remedy::connecting(errno, matches!(upstream, Upstream::Unix(_)));
    error!(
        log,
        "s_connect: connect {upstream}: {} ({remedy})",
        Reason(errno)
    );
}

fn timed_out(upstream: &Upstream, log: &Log) {
    let remedy = match upstream {
        Upstream::Tcp(..) => remedy::connecting(Errno::ETIMEDOUT, false),
        Upstream::Unix(_) => "the server takes no connection from its queue: see its log",
    };
    error!(
        log,
        "s_connect: s_poll_wait {upstream}: TIMEOUTconnect exceeded ({remedy})"
    );
}

/// How a connect(2) under way stands.
fn judge(attempt: Attempt, failed: &mut Vec<Upstream>, context: &mut Context<'_>) -> Judged {
    let log = context.common.log;
    let Attempt {
        ready, upstream, ..
    } = &attempt;
    let happened = ready.writable || ready.failed || ready.hung_up;
    match happened.then(|| take_error(&attempt.socket)) {
        Some(None) => {
            return Judged::Connected(connected(attempt, Progress::Pending, context));
        }
        Some(Some(errno)) => {
            context.common.unreachable = reason(errno);
            refused(upstream, errno, &log);
        }
        None if context.resources.now < attempt.deadline => return Judged::Waiting(attempt),
        None => {
            context.common.unreachable = Unreachable::TimedOut;
            timed_out(upstream, &log);
        }
    }
    context.resources.closing.push(attempt.socket);
    failed.push(attempt.upstream);
    Judged::Failed
}

/// Says so, and makes a connection of it. `before` it was: how it was registered with the poller.
fn connected(attempt: Attempt, before: Progress, context: &mut Context<'_>) -> Connection {
    let log = context.common.log;
    notice!(log, "s_connect: connected {}", attempt.upstream);
    if log.enabled(5) {
        let from = Address(outbound::local_address(&attempt.socket));
        let name = &context.common.config().name;
        notice!(log, "Service [{name}] connected remote server from {from}");
    }
    let tcp = matches!(attempt.upstream, Upstream::Tcp(..));
    if let Upstream::Tcp(_, host) = attempt.upstream {
        context.common.upstream = Some(host);
    }
    Connection {
        socket: attempt.socket,
        tcp,
        program: false,
        room_watched: before == Progress::Pending,
        ready: attempt.ready,
    }
}

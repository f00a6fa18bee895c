//! One address: a socket on its way to it, and what comes of that. Never in here: which address is the next.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Connection, Stage, give_up};
use crate::config::Failover;
use crate::helper::Bound;
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::scoreboard::Open;
use crate::limits;
use crate::log::{self, Log};
use crate::protocol::Unreachable;
use crate::relay::end::take_error;
use crate::relay::outbound::{self, Progress, Refusal};
use crate::relay::poller::Readiness;
use crate::relay::resources::Resources;
use crate::relay::step::{Common, Context, Ending};
use crate::relay::{Address, Reason, Upstream};
use crate::remedy;
use crate::{error, notice};

/// Where a socket cannot have the address of `local`.
const LOCAL: &str = "`local` must be an address of this machine: `ip address`";

/// How long to leave a Unix listener with a full queue alone.
const RETRY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) socket: OwnedFd,
    pub(super) ready: Readiness,
    pub(super) upstream: Upstream,
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    /// As of [`Connection`].
    pub(super) counted: Option<Box<Open>>,
}

/// How trying an address went.
pub(super) enum Tried {
    /// On with this stage.
    Stage(Stage),
    Connected(Connection),
}

/// Sends a socket on its way.
pub(super) fn begin(
    upstream: &Upstream,
    context: &Context<'_>,
) -> Result<(OwnedFd, Progress), Refusal> {
    let common = &*context.common;
    let local = common.service().local;
    outbound::begin(upstream, common.config(), local, &common.log)
}

/// The same for a socket that is bound already.
pub(super) fn begin_bound(
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

/// What came of sending a socket on its way. `alone`: no other is on its way.
pub(super) fn tried(
    begun: Result<(OwnedFd, Progress), Refusal>,
    upstream: Upstream,
    deadline: Instant,
    alone: bool,
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
            let counted = count(&upstream, common, resources);
            let attempt = Attempt {
                counted,
                socket,
                ready: Readiness::default(),
                upstream,
                began: resources.now,
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
            let reason = format!("remote socket: {}{advice}", Reason(errno));
            error!(log, "{reason}");
            let finding = Diagnosis::new(Cause::Memory, reason, "");
            context.common.found(finding);
            if alone {
                return Err(give_up(context));
            }
            failed.push(upstream);
            Ok(Tried::Stage(Stage::Next))
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
            let finding = match refusal {
                Refusal::Bind(errno) => {
                    let reason = format!("bind (ephemeral port): {}", Reason(errno));
                    error!(log, "{reason} ({LOCAL})");
                    Some(Diagnosis::new(Cause::UpstreamOther, reason, LOCAL))
                }
                Refusal::Connect(errno) => Some(refused(&upstream, errno, &log)),
                Refusal::Full | Refusal::NoSocket(_) => Some(timed_out(&upstream, &log)),
                Refusal::Family => None,
            };
            finding
                .into_iter()
                .for_each(|finding| context.common.found(finding));
            failed.push(upstream);
            Ok(Tried::Stage(Stage::Next))
        }
    }
}

pub(super) enum Judged {
    Waiting(Attempt),
    Failed,
    Connected(Connection),
}

/// How a connect(2) under way stands.
pub(super) fn judge(
    attempt: Attempt,
    failed: &mut Vec<Upstream>,
    context: &mut Context<'_>,
) -> Judged {
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
            context.common.found(refused(upstream, errno, &log));
        }
        None if context.resources.now < attempt.deadline => return Judged::Waiting(attempt),
        None => {
            context.common.unreachable = Unreachable::TimedOut;
            context.common.found(timed_out(upstream, &log));
        }
    }
    context.resources.closing.push(attempt.socket);
    failed.push(attempt.upstream);
    Judged::Failed
}

fn refused(upstream: &Upstream, errno: Errno, log: &Log) -> Diagnosis {
    let remedy = remedy::connecting(errno, matches!(upstream, Upstream::Unix(_)));
    let reason = format!("s_connect: connect {upstream}: {}", Reason(errno));
    error!(log, "{reason} ({remedy})");
    let cause = match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET => Cause::UpstreamRefused,
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EHOSTDOWN => {
            Cause::UpstreamUnreachable
        }
        Errno::ETIMEDOUT => Cause::UpstreamSilent,
        _ => Cause::UpstreamOther,
    };
    Diagnosis::new(cause, reason, remedy)
}

fn timed_out(upstream: &Upstream, log: &Log) -> Diagnosis {
    let remedy = match upstream {
        Upstream::Tcp(..) => remedy::connecting(Errno::ETIMEDOUT, false),
        Upstream::Unix(_) => "the server takes no connection from its queue: see its log",
    };
    let reason = format!("s_connect: s_poll_wait {upstream}: TIMEOUTconnect exceeded");
    error!(log, "{reason} ({remedy})");
    Diagnosis::new(Cause::UpstreamSilent, reason, remedy)
}

/// Says so, and makes a connection of it. `before` it was: how it was registered with the poller.
fn connected(attempt: Attempt, before: Progress, context: &mut Context<'_>) -> Connection {
    let log = context.common.log;
    // Of an address before this one.
    context.common.finding = None;
    notice!(log, "s_connect: connected {}", attempt.upstream);
    if log.enabled(5) {
        let from = Address(outbound::local_address(&attempt.socket));
        let name = &context.common.config().name;
        notice!(log, "Service [{name}] connected remote server from {from}");
    }
    context.note_answer(&attempt.upstream);
    let tcp = matches!(attempt.upstream, Upstream::Tcp(..));
    context.common.is_connected_to(&attempt.upstream);
    if let Upstream::Tcp(address, host) = attempt.upstream {
        let row = context
            .resources
            .scoreboard
            .addresses(context.common.index());
        row.answered(address);
        context.common.upstream = Some(host);
    }
    Connection {
        socket: attempt.socket,
        tcp,
        program: false,
        room_watched: before == Progress::Pending,
        ready: attempt.ready,
        counted: attempt.counted,
    }
}

/// Counts it among those that are open, for a service that goes by that.
fn count(upstream: &Upstream, common: &Common, resources: &Resources) -> Option<Box<Open>> {
    if common.config().failover != Failover::LeastConnections {
        return None;
    }
    let target = upstream.target(common.index());
    Open::count(&resources.scoreboard, resources.worker, target).map(Box::new)
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

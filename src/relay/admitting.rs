//! Whether a client may connect, by its address. Never in here: a wait, a byte of the client's.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::Address;
use super::failing;
use super::step::{Context, Ending};
use crate::incidents::{Cause, Diagnosis};
use crate::warning;

/// What helps a client that `acceptFrom` or `denyFrom` refuses.
const BY_LISTS: &str =
    "where it is to be let in, add its network to `acceptFrom`, or take it out of `denyFrom`";

/// Judges by the lists of the service. A client without an address, as of a Unix socket, is not theirs to judge.
///
/// # Errors
/// It is refused.
pub(super) fn by_lists(context: &mut Context<'_>) -> Result<(), Ending> {
    let Some(peer) = context.common.peer else {
        return Ok(());
    };
    let admission = &context.common.config().admission;
    admission
        .judge(peer.ip())
        .map_err(|refusal| refused(refusal, BY_LISTS, peer, context))
}

/// Judges a client that a balancer has named by what its address has; the others are judged where they are accepted.
///
/// # Errors
/// It is refused.
pub(super) fn by_share(context: &mut Context<'_>) -> Result<(), Ending> {
    let (common, resources) = (&mut *context.common, &*context.resources);
    let introduced = common.introduced.as_ref();
    let Some((client, _)) = introduced.and_then(|introduced| introduced.addresses) else {
        return Ok(());
    };
    match resources.enter(common.index(), client.ip()) {
        Ok(counted_by) => common.counted_by = counted_by,
        Err(over) => {
            let (name, from) = (&common.config().name, Address(Some(client)));
            warning!(common.log, "Service [{name}] REFUSED by {over} from {from}");
            failing::keep(&over.diagnosis(), common, resources);
            return Err(Ending::Reset);
        }
    }
    Ok(())
}

/// Says by what a client is refused, and counts it.
pub(super) fn refused(
    by: impl Display,
    remedy: &'static str,
    peer: SocketAddr,
    context: &mut Context<'_>,
) -> Ending {
    context.common.is_no_check();
    let common = &*context.common;
    let (name, from) = (&common.config().name, Address(Some(peer)));
    warning!(common.log, "Service [{name}] REFUSED by {by} from {from}");
    count(format!("REFUSED by {by}"), remedy, context)
}

/// Counts a client that is refused.
pub(super) fn count(
    reason: impl Into<String>,
    remedy: &'static str,
    context: &mut Context<'_>,
) -> Ending {
    context.common.is_no_check();
    let row = context.resources.row(context.common.index());
    row.refused().fetch_add(1, Relaxed);
    context.keep(&Diagnosis::new(Cause::Refused, reason, remedy));
    Ending::Reset
}

//! Which addresses a session may be connected to, and in which order. Never in here: a socket of the server's.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use crate::config::{Endpoint, Failover};
use crate::log::Log;
use crate::protocol::{Target, Unreachable};
use crate::relay::Upstream;
use crate::relay::end::End;
use crate::relay::resources::Resources;
use crate::relay::step::Common;
use crate::{debug, error};

/// The order of trying, last one first.
pub(super) fn in_order(
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

/// Where the client wanted to go before it was sent here.
pub(super) fn wanted_by(front: &End, common: &Common) -> Option<Upstream> {
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

pub(super) fn endpoint(target: &Target) -> Endpoint {
    let (host, port) = match target {
        Target::Address(address) => (address.ip().to_string(), address.port()),
        Target::Name(name, port) => (name.clone(), *port),
    };
    Endpoint::Tcp {
        host: Some(host),
        port,
    }
}

/// Leaves out the addresses that a SOCKS client may not be connected to, as in stunnel: those of this
/// machine, whose servers trust local clients.
pub(super) fn allowed(found: Vec<Upstream>, common: &mut Common) -> Vec<Upstream> {
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

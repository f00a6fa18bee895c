//! Which addresses a session may be connected to, and in which order. Never in here: a socket of the server's.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::racing::of_one_entry;
use crate::config::{Endpoint, Failover};
use crate::ipc::addresses::{self, AddressRow};
use crate::log::Log;
use crate::protocol::{Target, Unreachable};
use crate::relay::Upstream;
use crate::relay::end::End;
use crate::relay::resources::Resources;
use crate::relay::step::Common;
use crate::{debug, error};

/// The order of trying, last one first.
pub(super) fn in_order(
    upstreams: Vec<Upstream>,
    service: usize,
    failover: Failover,
    log: &Log,
    resources: &Resources,
) -> Vec<Upstream> {
    let (mut upstreams, ejected) = without_ejected(upstreams, service, resources);
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
            Failover::LeastConnections => {}
        }
        let row = resources.scoreboard.addresses(service);
        upstreams = match failover {
            Failover::LeastConnections => least_first(&upstreams, service, log, resources),
            Failover::RoundRobin | Failover::Priority => arranged(&upstreams, row),
        };
    }
    upstreams.extend(ejected);
    upstreams.reverse();
    upstreams
}

/// Apart from those that do not answer probes, and come last; unless none does.
fn without_ejected(
    upstreams: Vec<Upstream>,
    service: usize,
    resources: &Resources,
) -> (Vec<Upstream>, Vec<Upstream>) {
    if resources.services[service].config.probe.is_none() {
        return (upstreams, Vec::new());
    }
    let row = resources.scoreboard.probes(service);
    let is_ejected = |upstream: &Upstream| row.is_ejected(upstream.server());
    match upstreams.iter().all(is_ejected) {
        true => (upstreams, Vec::new()),
        false => upstreams.into_iter().partition(|it| !is_ejected(it)),
    }
}

/// Those with the fewest open connections first, in their order where that is the same; those that were slow last.
fn least_first(
    upstreams: &[Upstream],
    service: usize,
    log: &Log,
    resources: &Resources,
) -> Vec<Upstream> {
    let board = &resources.scoreboard;
    let is_slow = slow_ones(board.addresses(service));
    let rank = |upstream: &Upstream| {
        let open = board.open_to(upstream.target(service));
        (is_slow(upstream), open)
    };
    let mut ranked: Vec<_> = upstreams.iter().map(|it| (rank(it), it)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    if let Some(((_, open), first)) = ranked.first() {
        debug!(
            log,
            "failover: least connections, starting at {first} with {open}"
        );
    }
    ranked.into_iter().map(|(_, it)| it.clone()).collect()
}

/// Tells which did not answer lately before others that were tried later.
fn slow_ones(row: AddressRow<'_>) -> impl Fn(&Upstream) -> bool {
    let now = (!row.is_blank()).then(addresses::now);
    move |upstream| match (upstream, now) {
        (Upstream::Tcp(address, _), Some(now)) => row.is_slow(*address, now),
        _ => false,
    }
}

/// The addresses of each entry: those that were slow last, the families in turn (RFC 8305, section 4).
fn arranged(upstreams: &[Upstream], row: AddressRow<'_>) -> Vec<Upstream> {
    let is_slow = slow_ones(row);
    let mut all = Vec::with_capacity(upstreams.len());
    for entry in upstreams.chunk_by(of_one_entry) {
        let (slow, others): (Vec<&Upstream>, Vec<&Upstream>) =
            entry.iter().partition(|upstream| is_slow(upstream));
        for part in [others, slow] {
            all.extend(in_turn(part).into_iter().cloned());
        }
    }
    all
}

/// One of each family after the other, beginning with that of the first.
fn in_turn(addresses: Vec<&Upstream>) -> Vec<&Upstream> {
    let is_v6 = |upstream: &&Upstream| upstream.ip().is_some_and(|ip| ip.is_ipv6());
    let of_the_first = addresses.first().is_some_and(&is_v6);
    let count = addresses.len();
    let (first, second): (Vec<&Upstream>, Vec<&Upstream>) = addresses
        .into_iter()
        .partition(|it| is_v6(it) == of_the_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let pairs = std::iter::repeat_with(|| [first.next(), second.next()]);
    pairs.take(count).flatten().flatten().collect()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn arranged_text(upstreams: &[(&str, &str)], row: AddressRow<'_>) -> Vec<String> {
        let upstreams: Vec<Upstream> = upstreams
            .iter()
            .map(|(host, address)| Upstream::Tcp(address.parse().unwrap(), (*host).to_owned()))
            .collect();
        let arranged = arranged(&upstreams, row);
        arranged.iter().map(Upstream::to_string).collect()
    }

    #[test]
    fn families_take_turns_within_an_entry_and_what_was_slow_comes_last() {
        let words: [AtomicU64; 16] = Default::default();
        let row = AddressRow::on(&words);
        let all = [
            ("a", "[2001:db8::1]:1"),
            ("a", "[2001:db8::2]:1"),
            ("a", "[2001:db8::3]:1"),
            ("a", "192.0.2.1:1"),
            ("b", "[2001:db8::9]:1"),
            ("b", "192.0.2.9:1"),
            ("b", "192.0.2.9:2"),
        ];
        assert_eq!(
            arranged_text(&all, row),
            [
                "2001:db8::1:1",
                "192.0.2.1:1",
                "2001:db8::2:1",
                "2001:db8::3:1",
                "2001:db8::9:1",
                "192.0.2.9:1",
                "192.0.2.9:2",
            ]
        );
        let [slow, quick] = ["[2001:db8::1]:1", "192.0.2.1:1"].map(|it| it.parse().unwrap());
        row.overtaken(slow, quick, addresses::now());
        assert_eq!(
            arranged_text(&all, row),
            [
                "192.0.2.1:1",
                "2001:db8::1:1",
                "2001:db8::2:1",
                "2001:db8::3:1",
                "192.0.2.9:1",
                "2001:db8::9:1",
                "192.0.2.9:2",
            ]
        );
    }
}

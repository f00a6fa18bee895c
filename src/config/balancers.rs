//! `acceptProxy`: which peers name their client first, by a PROXY header. Never in here: a header; nor a peer that is taken
//! at its word without being named.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::checks::Faults;
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::networks::{self, Network, Networks};
use super::option::{Fault, parts};
use super::program::Front;
use super::service::{Draft, Service};

/// The peers whose header counts, and who must send one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Balancers {
    networks: Networks,
    /// Those of a Unix socket, too.
    unix: bool,
}

impl Balancers {
    /// Whether there is any.
    pub(crate) fn are_there(&self) -> bool {
        self.unix || !self.networks.is_empty()
    }

    /// Whether this is one of them; `None`: at a Unix socket.
    pub(crate) fn have(&self, peer: Option<SocketAddr>) -> bool {
        match peer {
            Some(peer) => self.networks.find(peer.ip()).is_some(),
            None => self.unix,
        }
    }

    /// Whether those of a Unix socket are.
    pub(super) fn have_unix(&self) -> bool {
        self.unix
    }
}

/// What the lines say.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    general: Lines,
    own: Lines,
}

#[derive(Debug, Clone, Default)]
struct Lines {
    networks: Vec<Network>,
    unix: bool,
}

/// As with `acceptFrom`, what a section says takes the place of what stands before the first one.
pub(super) fn set(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let lines = match draft.defaults {
        true => &mut draft.balancers.general,
        false => &mut draft.balancers.own,
    };
    if value.eq_ignore_ascii_case("yes") {
        let fault = Fault::new("a header is a claim: this names those who may make one");
        return Err(fault.help("the balancers' addresses, as 192.0.2.10 or 192.0.2.0/28"));
    }
    let parts = parts(value, &[','])?.into_iter();
    let (unix, others): (Vec<&str>, Vec<&str>) =
        parts.partition(|part| part.eq_ignore_ascii_case("unix"));
    if unix.is_empty() || !others.is_empty() {
        lines.networks.extend(networks::parse(&others.join(","))?);
    }
    lines.unix |= !unix.is_empty();
    Ok(())
}

/// Puts them in their place.
pub(super) fn finish(service: &mut Service, given: Given) {
    let own = given.own.unix || !given.own.networks.is_empty();
    let lines = if own { given.own } else { given.general };
    service.balancers = Balancers {
        networks: Networks::of(lines.networks),
        unix: lines.unix,
    };
}

/// Refuses or warns of what does not go with them. `own`: what the section itself gave.
pub(super) fn limit(service: &mut Service, own: &BTreeSet<&'static str>, faults: &mut Faults) {
    if !service.balancers.are_there() {
        return;
    }
    if let Some(why) = useless(service) {
        service.balancers = Balancers::default();
        if own.contains("acceptProxy") {
            let text = format!("`acceptProxy` has no effect: {why}");
            faults.push(
                Severity::Warning,
                "acceptProxy",
                &text,
                "leave the line out",
            );
        }
        return;
    }
    if service.balancers.networks.has_everything() {
        let text = "anyone who connects may name any address, and is believed";
        let help = "the balancers' own addresses";
        faults.push(Severity::Warning, "acceptProxy", text, help);
    }
    if service.transparent.destination {
        let text = "`acceptProxy` does not go with `transparent = destination`: the header tells where the client \
             reached the balancer, which is no server to connect to";
        let help =
            "`connect`, with `transparent = source` if the server is to see the client's address";
        faults.error("acceptProxy", text, help);
    }
    if service.admission.ident.is_some() {
        let text = "`ident` refuses the balancers' clients as a rule: their machines know a connection to the \
             balancer, and answer the balancer alone";
        faults.push(Severity::Warning, "acceptProxy", text, "leave out `ident`");
    }
}

/// Why none of them connects.
fn useless(service: &Service) -> Option<&'static str> {
    let unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_));
    let (balancers, accept) = (&service.balancers, &service.accept);
    if service.virtual_host.is_some() {
        return Some("the primary service accepts the clients");
    }
    match service.front {
        Front::Program => Some("the client is a program that adit starts"),
        Front::Inetd => None,
        Front::Listener if accept.is_empty() => None,
        Front::Listener if !balancers.unix && accept.iter().all(unix) => {
            Some("peers at a Unix socket have no address; `acceptProxy = unix` means them")
        }
        Front::Listener if balancers.networks.is_empty() && !accept.iter().any(unix) => {
            Some("no `accept` is a Unix socket")
        }
        Front::Listener => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn have(value: &str, peer: Option<&str>) -> bool {
        let mut draft = Draft::blank();
        set(&mut draft, value).unwrap();
        let mut service = draft.service;
        finish(&mut service, draft.balancers);
        assert!(service.balancers.are_there());
        let peer = peer.map(|peer| format!("{peer}:1").parse().unwrap());
        service.balancers.have(peer)
    }

    #[test]
    fn who_is_named_is_believed_and_no_other() {
        for (value, peer, believed) in [
            ("192.0.2.10", Some("192.0.2.10"), true),
            ("192.0.2.10", Some("[::ffff:192.0.2.10]"), true),
            ("192.0.2.10", Some("192.0.2.11"), false),
            ("192.0.2.10", None, false),
            ("unix", None, true),
            ("UNIX", Some("192.0.2.10"), false),
            ("192.0.2.0/28, unix", Some("192.0.2.1"), true),
            ("unix 2001:db8::/32", Some("[2001:db8::7]"), true),
            ("unix 2001:db8::/32", None, true),
        ] {
            assert_eq!(have(value, peer), believed, "{value} {peer:?}");
        }
        for value in ["", "yes", "no", "localhost", "unix:192.0.2.1"] {
            assert!(set(&mut Draft::blank(), value).is_err(), "{value}");
        }
    }
}

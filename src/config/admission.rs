//! `acceptFrom` and `denyFrom`: who may connect, by address. Never in here: a question to another machine.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::accepted::{Beginning, Reception};
use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::networks::{self, Network, Networks};
use super::option::{Fault, yes_no};
use super::program::Front;
use super::service::{Draft, Service};

/// Which clients a service takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Admission {
    /// Where clients must come from; `None`: from anywhere.
    accept: Option<Networks>,
    /// Where none may come from, whatever `accept` says.
    deny: Networks,
    /// hosts.allow and hosts.deny are asked.
    pub libwrap: bool,
    /// The user of the client's machine that the connection must belong to.
    pub ident: Option<String>,
}

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is in no network of `acceptFrom`.
    NotAccepted,
    /// It is in this network of `denyFrom`.
    Denied(Network),
}

impl Admission {
    /// Whether there is a list to look a client up in.
    pub(crate) fn has_lists(&self) -> bool {
        self.accept.is_some() || !self.deny.is_empty()
    }

    /// Whether clients must come from listed addresses.
    pub(super) fn accepts_listed_alone(&self) -> bool {
        self.accept.is_some()
    }

    /// Judges a client by its address.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn judge(&self, address: IpAddr) -> Result<(), Refusal> {
        if let Some(network) = self.deny.find(address) {
            return Err(Refusal::Denied(network));
        }
        match &self.accept {
            Some(networks) if networks.find(address).is_none() => Err(Refusal::NotAccepted),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotAccepted => f.write_str("acceptFrom"),
            Refusal::Denied(network) => write!(f, "denyFrom = {network}"),
        }
    }
}

/// What the lines say.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// `acceptFrom` before the first section.
    general: Vec<Network>,
    /// `acceptFrom` in the section.
    own: Vec<Network>,
    deny: Vec<Network>,
    libwrap: bool,
    ident: Option<String>,
}

/// `acceptFrom`: what a section says takes the place of what stands before the first one, so that it can say
/// less.
pub(super) fn set_accept(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let networks = networks::parse(value)?;
    let given = &mut draft.admission;
    match draft.defaults {
        true => given.general.extend(networks),
        false => given.own.extend(networks),
    }
    Ok(())
}

/// `denyFrom`: what stands before the first section stays denied in each.
pub(super) fn set_deny(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.admission.deny.extend(networks::parse(value)?);
    Ok(())
}

/// `libwrap`
pub(super) fn set_libwrap(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.admission.libwrap = yes_no(value)?;
    Ok(())
}

/// `ident`; stunnel would ask for a user without a name too, and refuse every client: no user has none.
pub(super) fn set_ident(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.admission.ident = Some(value).filter(|v| !v.is_empty()).map(str::to_owned);
    match value.is_empty() {
        false => Ok(()),
        true => {
            let fault = Fault::warning("`ident` names no user: adit asks for none");
            Err(fault.help("leave the line out; stunnel refuses every client here"))
        }
    }
}

/// Puts the lists in their place; warns of those that nothing is looked up in, and where there should be one.
pub(super) fn finish(
    service: &mut Service,
    given: Given,
    own: &BTreeSet<&'static str>,
    meant: &Meant,
    faults: &mut Faults,
) {
    let accept = match given.own.is_empty() {
        true => given.general,
        false => given.own,
    };
    service.admission = Admission {
        accept: (!accept.is_empty()).then(|| Networks::of(accept)),
        deny: Networks::of(given.deny),
        libwrap: given.libwrap,
        ident: given.ident,
    };
    let why = without_addresses(service);
    for (option, asks) in [
        ("acceptFrom", true),
        ("denyFrom", true),
        ("libwrap", service.admission.libwrap),
        ("ident", service.admission.ident.is_some()),
    ] {
        if let Some(why) = why
            && asks
            && own.contains(option)
        {
            let text = format!("`{option}` has no effect: {why}");
            faults.push(Severity::Warning, option, &text, "leave the line out");
        }
    }
    leave_to_the_primary(service, own, faults);
    openness(service, meant, faults);
}

/// What has to be asked for is asked by the service that accepts, as in stunnel.
fn leave_to_the_primary(service: &mut Service, own: &BTreeSet<&'static str>, faults: &mut Faults) {
    if service.virtual_host.is_none() {
        return;
    }
    let admission = &mut service.admission;
    let asks = [
        ("libwrap", std::mem::take(&mut admission.libwrap)),
        ("ident", admission.ident.take().is_some()),
    ];
    for (option, asks) in asks {
        if asks && own.contains(option) {
            let text = format!("`{option}` has no effect: the primary service accepts the clients");
            let help = "give it to that service; `acceptFrom` and `denyFrom` count here too";
            faults.push(Severity::Warning, option, &text, help);
        }
    }
}

/// Why no client of the service has an address.
fn without_addresses(service: &Service) -> Option<&'static str> {
    let unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_));
    match service.front {
        Front::Program => Some("the client is a program that adit starts"),
        Front::Listener if service.balancers.have_unix() => None,
        Front::Listener if !service.accept.is_empty() && service.accept.iter().all(unix) => Some(
            "clients of a Unix socket have no address; the permissions of its folder say who may connect",
        ),
        Front::Listener | Front::Inetd => None,
    }
}

/// Warns where others than this machine may send through a service in plain, and nothing says that it is meant:
/// in client mode they get a way to the server, and its certificate's trust, without proving anything.
fn openness(service: &Service, meant: &Meant, faults: &mut Faults) {
    let plain = matches!(
        service.beginning(),
        None | Some(Beginning::Received(Reception::Offered(_)))
    );
    let said = [
        "acceptFrom",
        "acceptAnywhere",
        "acceptTLS",
        "libwrap",
        "client",
    ];
    let said = said.iter().any(|option| meant.contains(option));
    let own = service.front == Front::Listener && service.virtual_host.is_none();
    if !(service.client && plain && own)
        || said
        || service.admission.accept.is_some()
        || service.admission.libwrap
        || service.accept_anywhere
    {
        return;
    }
    let open = service.accept.iter().position(|at| !is_of_this_machine(at));
    if let Some(nth) = open {
        let text = format!(
            "`accept = {}`: other machines may connect, and all they send goes on to the server",
            service.accept[nth]
        );
        let fault = Fault::warning(text).help(
            "`accept` on 127.0.0.1 if the program is here; else `acceptFrom = NETWORKS`, or `acceptAnywhere = yes` \
             if it is meant",
        );
        faults.add("accept", None, fault);
    }
}

/// Whether none but this machine can connect there.
pub(super) fn is_of_this_machine(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(_) => true,
        Endpoint::Tcp { host: None, .. } => false,
        Endpoint::Tcp {
            host: Some(host), ..
        } => match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            // Where else it leads only the resolver knows.
            Err(_) => ["localhost", "ip6-localhost", "ip6-loopback"].contains(&host.as_str()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(accept: &str, deny: &str, address: &str) -> String {
        let networks = |text| Networks::of(networks::parse(text).unwrap());
        let admission = Admission {
            accept: Some(accept).filter(|a| !a.is_empty()).map(networks),
            deny: match deny {
                "" => Networks::default(),
                _ => networks(deny),
            },
            ..Admission::default()
        };
        match admission.judge(address.parse().unwrap()) {
            Ok(()) => String::new(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn what_is_denied_is_so_whatever_is_accepted() {
        for (accept, deny, address, refusal) in [
            ("", "", "192.0.2.1", ""),
            ("192.0.2.0/24", "", "192.0.2.1", ""),
            ("192.0.2.0/24", "", "192.0.3.1", "acceptFrom"),
            ("192.0.2.0/24", "", "2001:db8::1", "acceptFrom"),
            ("", "192.0.2.0/24", "192.0.2.1", "denyFrom = 192.0.2.0/24"),
            ("", "192.0.2.0/24", "2001:db8::1", ""),
            (
                "192.0.2.1",
                "192.0.2.0/24",
                "192.0.2.1",
                "denyFrom = 192.0.2.0/24",
            ),
            ("192.0.2.0/24", "192.0.2.1", "192.0.2.2", ""),
            (
                "192.0.2.0/24",
                "192.0.2.1",
                "::ffff:192.0.2.1",
                "denyFrom = 192.0.2.1",
            ),
        ] {
            assert_eq!(
                judged(accept, deny, address),
                refusal,
                "{accept}, {deny}, {address}"
            );
        }
    }
}

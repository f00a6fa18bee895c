//! Who may ask. Nothing has a password: so the page is for this machine, and for networks that the configuration names.
//! A browser that a stranger's page has sent here under a name of the stranger's own is refused (DNS rebinding), whatever
//! it asks for. Programs that do not look like one run no stranger's script, and may ask for all but the page by any name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::unistd::gethostname;

use crate::config::{Network, Networks};

/// Ends of names that no stranger can have in DNS: RFC 6761, 6762, 8375, and ICANN's for private use.
const PRIVATE: [&str; 4] = [".localhost", ".local", ".home.arpa", ".internal"];

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Whence {
    /// At a Unix socket, or on this machine.
    Here,
    At(IpAddr),
}

/// Judges a client by the networks that the configuration names, if it does.
///
/// # Errors
/// It may not ask for anything.
pub(in super::super) fn may_ask(whence: Whence, allowed: Option<&Networks>) -> Result<(), Refusal> {
    match (whence, allowed) {
        (Whence::At(address), Some(allowed)) if allowed.find(address).is_none() => {
            Err(Refusal::Unlisted(address))
        }
        _ => Ok(()),
    }
}

/// Judges one that may ask and wants the page.
///
/// # Errors
/// It is for others.
pub(in super::super) fn may_look(
    whence: Whence,
    allowed: Option<&Networks>,
) -> Result<(), Refusal> {
    match (whence, allowed) {
        (Whence::At(address), None) => Err(Refusal::Elsewhere(address)),
        _ => Ok(()),
    }
}

/// Judges what may be a browser by the name under which it asks.
///
/// # Errors
/// A stranger may have that.
pub(in super::super) fn may_name(host: Option<&str>) -> Result<(), Refusal> {
    let own = || gethostname().ok()?.into_string().ok();
    match host {
        Some(host) if !is_ours(host, &own().unwrap_or_default()) => Err(Refusal::Name),
        _ => Ok(()),
    }
}

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// The configuration names networks, and not its own.
    Unlisted(IpAddr),
    /// It comes from elsewhere, and the configuration names no network.
    Elsewhere(IpAddr),
    /// It asks under a name that may be a stranger's.
    Name,
}

impl Refusal {
    /// What the client is told.
    pub(in super::super) fn text(self) -> String {
        let (why, address) = match self {
            Refusal::Unlisted(address) => (
                "adit's configuration names the networks that may ask here, and not yours.",
                address,
            ),
            Refusal::Elsewhere(address) => (
                "This page is shown on the machine that adit runs on, and to no other.",
                address,
            ),
            Refusal::Name => {
                return "Let a browser ask by an IP address, as http://192.0.2.1:9797/, or by the name of\n\
                        the machine that adit runs on: the one that was asked for may be a stranger's.\n"
                    .to_owned();
            }
        };
        let bits = if address.is_ipv4() { 24 } else { 64 };
        let network = Network::of(address, bits);
        format!(
            "{why}\n\nTo let the network in that you ask from, write this line before the first section\n\
             of the configuration, and reload adit:\n\n    metricsAllow = {network}\n"
        )
    }
}

/// Whether the value of Host cannot be the name of a stranger's site.
fn is_ours(host: &str, own_name: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            return rest.split_once(']').is_some_and(|(address, port)| {
                let ends = port.is_empty() || port.starts_with(':');
                ends && address.parse::<Ipv6Addr>().is_ok()
            });
        }
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(is_name) {
        return false;
    }
    name.parse::<Ipv4Addr>().is_ok()
        || !name.contains('.')
        || PRIVATE.iter().any(|end| name.ends_with(end))
        || name == own_name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_stranger_may_have_are_not_ours() {
        for host in [
            "127.0.0.1:9797",
            "192.0.2.7",
            "[::1]:9797",
            "[2001:db8::1]",
            "localhost:9797",
            "LOCALHOST",
            "mailbox",
            "mailbox.local:80",
            "box.example.com",
            "BOX.example.com.:9797",
            "adit.localhost",
        ] {
            assert!(is_ours(host, "Box.Example.com"), "{host}");
        }
        for host in [
            "",
            ":9797",
            "evil.example",
            "evil.example.com:9797",
            "127.0.0.1.evil.example",
            "local.evil.example",
            "evil.example/.local",
            "user@localhost",
            "[::1].evil.example",
            "[evil.example]",
            "box.example.com.evil.example",
        ] {
            assert!(!is_ours(host, "Box.Example.com"), "{host}");
        }
    }

    #[test]
    fn others_see_it_where_the_configuration_says_so() {
        let [inside, outside] =
            ["192.0.2.9", "198.51.100.9"].map(|address| address.parse::<IpAddr>().unwrap());
        let listed = Networks::of_text("192.0.2.0/24");
        let listed = Some(&listed);
        for (whence, allowed, asks, looks) in [
            (Whence::Here, None, Ok(()), Ok(())),
            (Whence::Here, listed, Ok(()), Ok(())),
            (Whence::At(inside), listed, Ok(()), Ok(())),
            (
                Whence::At(inside),
                None,
                Ok(()),
                Err(Refusal::Elsewhere(inside)),
            ),
            (
                Whence::At(outside),
                listed,
                Err(Refusal::Unlisted(outside)),
                Ok(()),
            ),
        ] {
            assert_eq!(may_ask(whence, allowed), asks, "{whence:?}");
            assert_eq!(may_look(whence, allowed), looks, "{whence:?}");
        }
        assert_eq!(may_name(Some("evil.example")), Err(Refusal::Name));
        assert_eq!(may_name(Some("10.0.0.1")), Ok(()));
        assert_eq!(may_name(None), Ok(()));
        let told = Refusal::Elsewhere(outside).text();
        assert!(
            told.contains("\n    metricsAllow = 198.51.100.0/24\n"),
            "{told}"
        );
        let told = Refusal::Unlisted("2001:db8::7".parse().unwrap()).text();
        assert!(
            told.contains("    metricsAllow = 2001:db8::/64\n"),
            "{told}"
        );
    }
}

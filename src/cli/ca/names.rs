//! What a certificate is made out to: names and addresses. Never in here: asking the network.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use nix::ifaddrs::getifaddrs;

/// The longest name of DNS, and the longest part between two dots (RFC 1035, section 2.3.4), in bytes.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// One entry of subjectAltName (RFC 5280, section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// dNSName
    Dns(String),
    /// iPAddress
    Address(IpAddr),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Dns(name) => f.write_str(name),
            Name::Address(address) => address.fmt(f),
        }
    }
}

impl Name {
    /// A host name, `*.` before it or not, or an address; `None` for anything else.
    pub fn parse(text: &str) -> Option<Name> {
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Some(Name::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        let is_label = |label: &str| {
            // An underscore is in no host name (RFC 952), and in the names of many Windows machines.
            let letters = label.bytes();
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=MAX_LABEL).contains(&label.len()) && letters.into_iter().all(known)
        };
        let is_name = name.len() <= MAX_NAME && labels.split('.').all(is_label);
        // Digits alone would be a mistyped address.
        let has_letter = labels.bytes().any(|byte| byte.is_ascii_alphabetic());
        (is_name && has_letter).then_some(Name::Dns(name))
    }
}

/// Adds those of `more` that are not there yet; whether there were any.
pub(super) fn add(names: &mut Vec<Name>, more: impl IntoIterator<Item = Name>) -> bool {
    let before = names.len();
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.len() > before
}

/// This machine's name, as far as it can be one, which a certificate's subject shows.
pub(super) fn host() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    match Name::parse(name.trim()) {
        Some(Name::Dns(name)) => Some(name),
        _ => None,
    }
}

/// The names and addresses of this machine: its own name, `localhost`, loopback, and what its interfaces
/// have. Link-local IPv6 addresses need a zone and are left out.
pub(super) fn of_this_machine() -> Vec<Name> {
    let mut names: Vec<Name> = host().map(Name::Dns).into_iter().collect();
    add(
        &mut names,
        [
            Name::Dns("localhost".to_owned()),
            Name::Address(Ipv4Addr::LOCALHOST.into()),
            Name::Address(Ipv6Addr::LOCALHOST.into()),
        ],
    );
    add(&mut names, interfaces().into_iter().map(Name::Address));
    names
}

/// The addresses of this machine's interfaces that others can reach, IPv4 first.
pub(in crate::cli) fn interfaces() -> Vec<IpAddr> {
    // Without them the certificate has the names alone, and the report shows which.
    let Ok(found) = getifaddrs() else {
        return Vec::new();
    };
    let mut addresses: Vec<IpAddr> = found
        .filter_map(|interface| {
            let address = interface.address?;
            if let Some(v4) = address.as_sockaddr_in() {
                return Some(IpAddr::V4(*SocketAddrV4::from(*v4).ip()));
            }
            let v6 = address.as_sockaddr_in6()?;
            Some(IpAddr::V6(*SocketAddrV6::from(*v6).ip()))
        })
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// How many bits of an address of this machine are its network's; `None` if no interface has it.
pub(in crate::cli) fn prefix_of(address: IpAddr) -> Option<u8> {
    let of = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage
            .as_sockaddr_in()
            .map(|v4| IpAddr::V4(*SocketAddrV4::from(*v4).ip()));
        v4.or_else(|| {
            Some(IpAddr::V6(
                *SocketAddrV6::from(*storage.as_sockaddr_in6()?).ip(),
            ))
        })
    };
    let mut found = getifaddrs().ok()?;
    found.find_map(|interface| {
        (of(interface.address?)? == address).then_some(())?;
        // Ones alone, from the left.
        let ones = match of(interface.netmask?)? {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        u8::try_from(ones).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let dns = |name: &str| Some(Name::Dns(name.to_owned()));
        let address = |text: &str| Some(Name::Address(text.parse().unwrap()));
        for (text, name) in [
            ("Mail.Example.com", dns("mail.example.com")),
            ("mail.example.com.", dns("mail.example.com")),
            ("*.example.com", dns("*.example.com")),
            ("old_pc", dns("old_pc")),
            ("192.0.2.1", address("192.0.2.1")),
            ("2001:db8::1", address("2001:db8::1")),
            ("[2001:db8::1]", address("2001:db8::1")),
            ("192.0.2.300", None),
            ("", None),
            ("a b", None),
            ("a..b", None),
            ("*", None),
            ("a.*.b", None),
            ("m\u{fc}hle", None),
        ] {
            assert_eq!(Name::parse(text), name, "{text}");
        }
        assert_eq!(Name::parse(&"a".repeat(64)), None);
        assert_eq!(Name::parse(&"a.".repeat(130)), None);
    }

    #[test]
    fn the_network_of_an_address_is_its_interfaces() {
        // Each machine has it.
        assert_eq!(prefix_of(Ipv4Addr::LOCALHOST.into()), Some(8));
        assert_eq!(prefix_of("192.0.2.254".parse().unwrap()), None);
    }

    #[test]
    fn this_machine_has_loopback_and_no_name_twice() {
        let names = of_this_machine();
        assert!(names.contains(&Name::Dns("localhost".to_owned())));
        assert!(names.contains(&Name::Address(Ipv4Addr::LOCALHOST.into())));
        let mut again = names.clone();
        assert!(!add(&mut again, names.clone()));
        assert_eq!(again, names);
    }
}

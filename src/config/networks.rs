//! Lists of networks, as `acceptFrom` takes them. Never in here: a name, which would have to be asked for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::option::{Fault, parts};

/// A network: all addresses of its family that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Its first address; IPv4 that is written as IPv6 (RFC 4291, section 2.5.5.2) is IPv4 here.
    first: IpAddr,
    /// How many of its bits count.
    bits: u8,
}

/// Bits of an address of that family.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// An address as a number.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    fn parse(text: &str) -> Result<Network, Fault> {
        let (host, bits) = match text.split_once('/') {
            Some((host, bits)) => (host, Some(bits)),
            None => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let address = bare.unwrap_or(host).parse::<IpAddr>().map_err(|_| {
            let fault = Fault::new(format!("`{text}` is neither an IP address nor a network"));
            fault.help("as 192.0.2.25, 192.0.2.0/24 or 2001:db8::/32; names are not looked up here")
        })?;
        let bits = match bits {
            None => width(address),
            Some(bits) => prefix(bits, address).ok_or_else(|| {
                let fault = Fault::new(format!("`{text}` has no prefix that fits the address"));
                fault.help(format!(
                    "the number of its bits that count, 0 to {}",
                    width(address)
                ))
            })?,
        };
        let network = Network::of(address, bits);
        if network.first != address.to_canonical() {
            let fault = Fault::new(format!(
                "`{text}`: the address has bits behind the prefix, so that one of the two is wrong"
            ));
            return Err(fault.help(format!("`{network}` is the network that it is in")));
        }
        Ok(network)
    }

    /// The network that `address` is in.
    pub(crate) fn of(address: IpAddr, bits: u8) -> Network {
        let canonical = address.to_canonical();
        let bits = match (address, canonical) {
            (IpAddr::V6(_), IpAddr::V4(_)) if bits >= 96 => bits - 96,
            // It has more than IPv4 in it.
            (IpAddr::V6(v6), IpAddr::V4(_)) => return Network::masked(IpAddr::V6(v6), bits),
            _ => bits,
        };
        Network::masked(canonical, bits)
    }

    fn masked(address: IpAddr, bits: u8) -> Network {
        let behind = u32::from(width(address) - bits);
        let cut = |number: u128| number.checked_shr(behind).unwrap_or(0);
        let first = cut(number(address)).checked_shl(behind).unwrap_or(0);
        let first = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(first as u32)),
            IpAddr::V6(_) => IpAddr::V6(first.into()),
        };
        Network { first, bits }
    }

    fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4()
            && Network::masked(address, self.bits).first == self.first
    }
}

/// Reads networks as `acceptFrom` takes them, for a flag of a command that serves no configuration.
///
/// # Errors
/// One is none; the remedy is in the text.
pub(crate) fn accept_networks(text: &str) -> Result<Vec<Network>, String> {
    parse(text).map_err(|fault| match fault.help {
        Some(help) => format!("{} ({help})", fault.text),
        None => fault.text,
    })
}

/// The prefix of an address: a number of bits, or a mask of IPv4's.
fn prefix(text: &str, address: IpAddr) -> Option<u8> {
    if let (IpAddr::V4(_), Ok(mask)) = (address, text.parse::<Ipv4Addr>()) {
        let ones = mask.to_bits().leading_ones();
        return (mask.to_bits().count_ones() == ones).then_some(ones as u8);
    }
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u8 = text.parse().ok().filter(|_| digits)?;
    (bits <= width(address)).then_some(bits)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match self.bits == width(self.first) {
            true => Ok(()),
            false => write!(f, "/{}", self.bits),
        }
    }
}

/// A list of networks. None lies within another, so that one search finds what an address is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Networks {
    /// Sorted by family and first address.
    sorted: Vec<Network>,
}

impl Networks {
    /// Of what such a list says.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Networks {
        Networks::of(parse(text).unwrap())
    }

    /// Of these, in any order.
    pub(super) fn of(mut networks: Vec<Network>) -> Networks {
        // The wider of two that begin alike comes first.
        networks.sort_by_key(|network| (key(network.first), network.bits));
        let mut sorted: Vec<Network> = Vec::with_capacity(networks.len());
        for network in networks {
            let within = |last: &Network| last.contains(network.first);
            if !sorted.last().is_some_and(within) {
                sorted.push(network);
            }
        }
        Networks { sorted }
    }

    /// The network of the list that an address is in. IPv4 that came by IPv6 is IPv4.
    pub(crate) fn find(&self, address: IpAddr) -> Option<Network> {
        let address = address.to_canonical();
        let behind = self
            .sorted
            .partition_point(|network| key(network.first) <= key(address));
        let last = self.sorted.get(behind.checked_sub(1)?)?;
        last.contains(address).then_some(*last)
    }

    /// Whether every address of a family is in it.
    pub(super) fn has_everything(&self) -> bool {
        self.sorted.iter().any(|network| network.bits == 0)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

fn key(address: IpAddr) -> (bool, u128) {
    (address.is_ipv6(), number(address))
}

/// Reads a list, parted by commas or blanks.
pub(super) fn parse(value: &str) -> Result<Vec<Network>, Fault> {
    let parts = parts(value, &[','])?.into_iter();
    let networks = parts.map(Network::parse).collect::<Result<Vec<_>, _>>()?;
    if networks.is_empty() {
        let fault = Fault::new("a list of networks is missing behind the `=`");
        return Err(fault.help("as 192.0.2.0/24, 2001:db8::/32; or leave the line out"));
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_the_network_that_it_is_in() {
        let list = Networks::of_text(
            "192.0.2.0/24,10.0.0.0/8 10.1.2.3, 2001:db8::/32\t[::1] 198.51.100.0/255.255.255.128 \
             fe80::/10 203.0.113.7/32",
        );
        for (address, found) in [
            ("192.0.2.0", Some("192.0.2.0/24")),
            ("192.0.2.255", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.9", Some("192.0.2.0/24")),
            ("192.0.3.0", None),
            ("192.0.1.255", None),
            ("10.1.2.3", Some("10.0.0.0/8")),
            ("10.255.255.255", Some("10.0.0.0/8")),
            ("198.51.100.127", Some("198.51.100.0/25")),
            ("198.51.100.128", None),
            ("203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.8", None),
            ("2001:db8::7", Some("2001:db8::/32")),
            ("2001:db9::", None),
            ("::1", Some("::1")),
            ("::", None),
            ("fe80::1", Some("fe80::/10")),
            ("0.0.0.0", None),
            ("255.255.255.255", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
        ] {
            let network = list.find(address.parse().unwrap());
            let network = network.map(|network| network.to_string());
            assert_eq!(network.as_deref(), found, "{address}");
        }
    }

    #[test]
    fn each_family_has_an_everything_of_its_own() {
        let (four, six) = (Networks::of_text("0.0.0.0/0"), Networks::of_text("::/0"));
        let mapped = Networks::of_text("::ffff:0:0/96");
        assert_eq!(mapped, four);
        assert_eq!(
            Networks::of_text("::ffff:192.0.2.0/120"),
            Networks::of_text("192.0.2.0/24")
        );
        for address in ["192.0.2.1", "::ffff:192.0.2.1", "0.0.0.0"] {
            let address = address.parse().unwrap();
            assert!(four.find(address).is_some() && six.find(address).is_none());
        }
        let address = "2001:db8::1".parse().unwrap();
        assert!(four.find(address).is_none() && six.find(address).is_some());
        assert_eq!(Networks::default().find(address), None);
    }

    #[test]
    fn the_search_finds_what_looking_at_each_finds() {
        // Random networks that lie within each other, and addresses around them.
        let mut state = 7_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..200 {
            let count = random(12) as usize;
            let network = |_| {
                let address = IpAddr::V4(Ipv4Addr::from_bits(random(64) << 26 | random(16)));
                Network::masked(address, random(33) as u8)
            };
            let all: Vec<Network> = (0..count).map(network).collect();
            let list = Networks::of(all.clone());
            for _ in 0..50 {
                let address = IpAddr::V4(Ipv4Addr::from_bits(random(64) << 26 | random(16)));
                let expected = all.iter().any(|network| network.contains(address));
                assert_eq!(list.find(address).is_some(), expected, "{address} {all:?}");
            }
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_would_be_right() {
        for (text, part) in [
            ("", "missing"),
            (" , ", "missing"),
            ("localhost", "names are not looked up"),
            ("10.", "neither"),
            ("10.1.0.0/8", "`10.0.0.0/8` is the network"),
            ("2001:db8::1/32", "`2001:db8::/32` is the network"),
            ("::ffff:10.1.0.0/104", "`10.0.0.0/8` is the network"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("10.0.0.0/255.0.255.0", "0 to 32"),
            ("::/129", "0 to 128"),
            ("::/255.0.0.0", "0 to 128"),
            ("fe80::1%eth0", "neither"),
            ("10.0.0.0/8/8", "0 to 32"),
            ("192.0.2.1:25", "neither"),
        ] {
            let fault = parse(text).unwrap_err();
            let said = format!("{} {}", fault.text, fault.help.unwrap_or_default());
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}

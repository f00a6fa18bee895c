//! The patterns of hosts_access(5) that need nothing but an address and a name. libwrap's readings are kept, also where
//! they surprise: people's files go by them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text::{is, number, split_at};

/// Compares a text with `*`, `?`, a part of it, a word, or ALL and KNOWN.
pub(super) fn text_matches(pattern: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    match pattern {
        [] => false,
        _ if pattern.iter().any(|byte| matches!(byte, b'*' | b'?')) => glob(pattern, text),
        [b'.', ..] => text.len() > pattern.len() && ends_with(text, pattern),
        _ if is(pattern, "ALL") => true,
        _ if is(pattern, "KNOWN") => !is(text, "unknown"),
        [.., b'.'] => text
            .get(..pattern.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(pattern)),
        _ => text.eq_ignore_ascii_case(pattern),
    }
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let at = text.len().checked_sub(end.len());
    at.is_some_and(|at| text[at..].eq_ignore_ascii_case(end))
}

/// In a time that grows with the product of the two lengths at most.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Behind the last star, and what it stands for so far.
    let mut star = None;
    while of < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, of));
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&text[of]) => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((behind, taken)) = star else {
                    return false;
                };
                star = Some((behind, taken + 1));
                (at, of) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a pattern can be of addresses alone: then no name is looked up for it.
pub(super) fn is_of_addresses(pattern: &[u8]) -> bool {
    pattern.iter().all(|byte| b"01234567890./".contains(byte))
}

/// A network that is written with a `/`, or in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    V4 {
        net: u32,
        mask: u32,
    },
    V6 {
        net: u128,
        mask: u128,
    },
    /// It is none, and nothing is in it.
    Wrong,
}

impl Net {
    /// Reads a pattern; `None`: it is no network.
    pub(super) fn of(pattern: &[u8]) -> Option<Net> {
        if pattern.starts_with(b"[") {
            return Some(in_brackets(pattern).unwrap_or(Net::Wrong));
        }
        let (net, Some(mask)) = split_at(pattern, b'/') else {
            return None;
        };
        Some(dotted(net, mask).unwrap_or(Net::Wrong))
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Net::V4 { net, mask }, IpAddr::V4(v4)) => v4.to_bits() & mask == net,
            (Net::V6 { net, mask }, IpAddr::V6(v6)) => v6.to_bits() & mask == net & mask,
            _ => false,
        }
    }
}

/// `[NET]` or `[NET]/PREFIX`.
fn in_brackets(pattern: &[u8]) -> Option<Net> {
    let end = pattern.iter().position(|byte| *byte == b']')?;
    let address = std::str::from_utf8(&pattern[1..end]).ok()?;
    let net: Ipv6Addr = address.parse().ok()?;
    let bits = match pattern[end + 1..].split_first() {
        None => 128,
        Some((b'/', prefix)) => number(prefix),
        Some(_) => return None,
    };
    let behind = u32::try_from(128_i64.checked_sub(bits)?).ok()?;
    let mask = match behind {
        0..=127 => u128::MAX << behind,
        128 => 0,
        _ => return None,
    };
    Some(Net::V6 {
        net: net.to_bits(),
        mask,
    })
}

/// `NET/MASK` or `NET/PREFIX`; a prefix of 0 is none, and 255.255.255.255 is no mask.
fn dotted(net: &[u8], mask: &[u8]) -> Option<Net> {
    let net = quad(net)?.to_bits();
    let mask = match (quad(mask), number(mask)) {
        (Some(mask), _) => mask.to_bits(),
        (None, prefix @ 1..=32) => u32::MAX << (32 - prefix),
        (None, _) => return None,
    };
    Some(Net::V4 { net, mask })
}

/// Four numbers, as inet_addr(3) reads them; that takes 255.255.255.255 for an error.
pub(super) fn quad(text: &[u8]) -> Option<Ipv4Addr> {
    let text = std::str::from_utf8(text).ok()?;
    let parts: Vec<u8> = text.split('.').map(part).collect::<Option<_>>()?;
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(parts).ok()?);
    (!address.is_broadcast()).then_some(address)
}

fn part(text: &str) -> Option<u8> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let digits = Some(digits).filter(|digits| !digits.starts_with(['+', '-']))?;
    u8::from_str_radix(digits, radix).ok()
}

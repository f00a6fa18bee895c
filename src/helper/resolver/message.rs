//! What goes over a client's socket: one message a packet, integers little endian. Both sides
//! check all of it: a worker in its jail trusts this process as little as it is trusted.
//!
//! ```text
//! request  id u64 | port u16 | want u8 | service u32 | host
//! answer   id u64 | 0 u8 | addresses, each 4 u8, port u16, 4 bytes
//!                                     or 6 u8, port u16, 16 bytes, scope u32
//!                 | 1 u8 or 2 u8 | length of host u8 | host | reason
//! ```
//! 1 is what DNS says of the name; with 2 it says nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{ResolveError, Resolved};
use crate::helper::asker::Answer;

/// Longest host, in bytes: a name in DNS has at most 253 characters (RFC 1035).
const MAX_HOST: usize = 255;
/// Longest request as a packet, and one more byte, so that one that was cut shows.
pub(super) const MAX_REQUEST_PACKET: usize = 15 + MAX_HOST + 1;
/// Longest reason, in bytes; a longer one is cut.
const MAX_REASON: usize = 255;
/// Most addresses of one answer; others are dropped.
pub(super) const MAX_ADDRESSES: usize = 64;
/// Longest message, in bytes: room for [`MAX_ADDRESSES`], and one more byte, so that a message
/// that was cut shows.
const MAX_MESSAGE: usize = 9 + MAX_ADDRESSES * 23 + 1;

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Want {
    /// All, in getaddrinfo's order (RFC 6724).
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// A client asks for the addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The client's number for it.
    pub id: u64,
    /// The name; not empty, no NUL, at most [`MAX_HOST`] bytes.
    pub host: String,
    /// The port to put into the addresses.
    pub port: u16,
    /// Which addresses.
    pub want: Want,
    /// The service for which it is asked, by its number: those take turns.
    pub service: u32,
}

/// Whether a host may be asked for at all.
pub(super) fn is_host(host: &str) -> bool {
    (1..=MAX_HOST).contains(&host.len()) && !host.contains('\0')
}

impl Request {
    /// As a packet. The host must satisfy [`is_host`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let want = match self.want {
            Want::Any => 0,
            Want::V4 => 4,
            Want::V6 => 6,
        };
        let mut packet = Vec::with_capacity(15 + self.host.len());
        packet.extend(self.id.to_le_bytes());
        packet.extend(self.port.to_le_bytes());
        packet.push(want);
        packet.extend(self.service.to_le_bytes());
        packet.extend(self.host.as_bytes());
        packet
    }

    /// From a packet; `None` if it is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let mut rest = Cursor(packet);
        let id = u64::from_le_bytes(rest.take()?);
        let port = u16::from_le_bytes(rest.take()?);
        let want = match rest.byte()? {
            0 => Want::Any,
            4 => Want::V4,
            6 => Want::V6,
            _ => return None,
        };
        let service = u32::from_le_bytes(rest.take()?);
        let host = rest.text(rest.0.len())?;
        is_host(&host).then_some(Self {
            id,
            host,
            port,
            want,
            service,
        })
    }
}

impl Answer for Resolved {
    const MAX_PACKET: usize = MAX_MESSAGE;

    /// Cut to what a packet holds.
    fn encode(&self, id: u64) -> Vec<u8> {
        let mut packet = Vec::with_capacity(64);
        packet.extend(id.to_le_bytes());
        match self {
            Ok(addresses) => {
                packet.push(0);
                for address in addresses.iter().take(MAX_ADDRESSES) {
                    encode_address(&mut packet, address);
                }
            }
            Err(error) => {
                packet.push(if error.answered { 1 } else { 2 });
                let host = cut(&error.host, MAX_HOST);
                packet.push(u8::try_from(host.len()).unwrap_or(0));
                packet.extend(host.as_bytes());
                packet.extend(cut(&error.reason, MAX_REASON).as_bytes());
            }
        }
        packet
    }

    fn decode(packet: &[u8]) -> Option<(u64, Self)> {
        let mut rest = Cursor(packet);
        let id = u64::from_le_bytes(rest.take()?);
        let answer = match rest.byte()? {
            0 => {
                let mut addresses = Vec::new();
                while !rest.0.is_empty() {
                    addresses.push(decode_address(&mut rest)?);
                }
                (1..=MAX_ADDRESSES)
                    .contains(&addresses.len())
                    .then_some(Ok(addresses))?
            }
            kind @ (1 | 2) => {
                let length = usize::from(rest.byte()?);
                let error = ResolveError {
                    host: rest.text(length)?,
                    reason: rest.text(rest.0.len())?,
                    answered: kind == 1,
                };
                (error.reason.len() <= MAX_REASON).then_some(Err(error))?
            }
            _ => return None,
        };
        Some((id, answer))
    }
}

fn encode_address(packet: &mut Vec<u8>, address: &SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            packet.push(4);
            packet.extend(v4.port().to_le_bytes());
            packet.extend(v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            packet.push(6);
            packet.extend(v6.port().to_le_bytes());
            packet.extend(v6.ip().octets());
            packet.extend(v6.scope_id().to_le_bytes());
        }
    }
}

fn decode_address(rest: &mut Cursor<'_>) -> Option<SocketAddr> {
    let family = rest.byte()?;
    let port = u16::from_le_bytes(rest.take()?);
    match family {
        4 => {
            let ip = Ipv4Addr::from(rest.take::<4>()?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        6 => {
            let ip = Ipv6Addr::from(rest.take::<16>()?);
            let scope = u32::from_le_bytes(rest.take()?);
            Some(SocketAddrV6::new(ip, port, 0, scope).into())
        }
        _ => None,
    }
}

/// The longest beginning of `text` that has at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// What is left of a packet.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

/// What `fuzz/` does with this room: what is read is written and read the same.
#[cfg(fuzzing)]
pub(crate) fn fuzz(packet: &[u8]) {
    if let Some(request) = Request::decode(packet) {
        assert!(is_host(&request.host));
        assert_eq!(request.encode(), packet);
    }
    if let Some((id, answer)) = Resolved::decode(packet) {
        let again = answer.encode(id);
        assert!(again.len() < MAX_MESSAGE);
        assert_eq!(Resolved::decode(&again), Some((id, answer)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            id: 0x0102_0304_0506_0708,
            host: "mail.example".into(),
            port: 587,
            want: Want::V6,
            service: 0x0a0b_0c0d,
        }
    }

    fn answers() -> Vec<(u64, Resolved)> {
        let v4: SocketAddr = "192.0.2.1:25".parse().unwrap();
        let v6 = SocketAddrV6::new("fe80::1".parse().unwrap(), 993, 0, 7).into();
        let error = |answered| ResolveError {
            host: "mail.example".into(),
            reason: "Name or service not known".into(),
            answered,
        };
        vec![
            (1, Ok(vec![v4, v6, v4])),
            (2, Err(error(true))),
            (u64::MAX, Err(error(false))),
        ]
    }

    #[test]
    fn a_request_is_written_as_documented_and_read_back() {
        let packet = request().encode();
        assert_eq!(
            packet,
            b"\x08\x07\x06\x05\x04\x03\x02\x01\x4b\x02\x06\x0d\x0c\x0b\x0amail.example"
        );
        assert_eq!(Request::decode(&packet), Some(request()));
        for want in [Want::Any, Want::V4] {
            let request = Request { want, ..request() };
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
    }

    #[test]
    fn answers_are_read_back() {
        for (id, answer) in answers() {
            assert_eq!(Resolved::decode(&answer.encode(id)), Some((id, answer)));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_fits() {
        let address = "[2001:db8::1]:1".parse().unwrap();
        let many: Resolved = Ok(vec![address; MAX_ADDRESSES + 1]);
        let packet = many.encode(1);
        assert!(packet.len() < MAX_MESSAGE);
        let (_, back) = Resolved::decode(&packet).unwrap();
        assert_eq!(back.unwrap().len(), MAX_ADDRESSES);

        let long: Resolved = Err(ResolveError {
            host: "é".repeat(200),
            reason: "ü".repeat(200),
            answered: true,
        });
        let (_, back) = Resolved::decode(&long.encode(1)).unwrap();
        let back = back.unwrap_err();
        assert_eq!((back.host.len(), back.reason.len()), (254, 254));
    }

    #[test]
    fn hosts_that_cannot_be_asked_for_are_refused() {
        for host in [String::new(), "a\0b".into(), "a".repeat(MAX_HOST + 1)] {
            let request = Request { host, ..request() };
            assert_eq!(Request::decode(&request.encode()), None);
        }
        assert!(is_host(&"a".repeat(MAX_HOST)));
    }

    #[test]
    fn no_packet_that_was_cut_or_changed_panics() {
        let answers = answers().into_iter();
        let mut packets: Vec<_> = answers.map(|(id, answer)| answer.encode(id)).collect();
        packets.push(request().encode());
        for packet in packets {
            for length in 0..packet.len() {
                let _ = Request::decode(&packet[..length]);
                let _ = Resolved::decode(&packet[..length]);
            }
            for at in 0..packet.len() {
                for byte in 0..=255 {
                    let mut changed = packet.clone();
                    changed[at] = byte;
                    if let Some(request) = Request::decode(&changed) {
                        assert!(is_host(&request.host));
                    }
                    if let Some((_, Ok(addresses))) = Resolved::decode(&changed) {
                        assert!((1..=MAX_ADDRESSES).contains(&addresses.len()));
                    }
                }
            }
        }
    }
}

//! What goes over a client's socket: one message a packet, integers little endian. Both sides check all of it.
//!
//! ```text
//! question  id u64 | client | server | port u16 | daemon
//! answer    id u64 | 0 u8
//!                  | 1 u8 or 2 u8 | reason
//! ```
//! An address is IPv6, 16 bytes; IPv4 is mapped to it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::judge::{Judgement, Question};
use crate::helper::asker::Answer;

/// Longest name of a service, in bytes; a longer one is cut, and a pattern that names it whole does not match.
const MAX_DAEMON: usize = 1024;
/// Longest reason, in bytes; a longer one is cut.
const MAX_REASON: usize = 1024;
/// Longest question as a packet, and one more byte, so that one that was cut shows.
pub(super) const MAX_QUESTION: usize = 8 + 16 + 16 + 2 + MAX_DAEMON + 1;

/// As a packet.
pub(super) fn encode(id: u64, question: &Question) -> Vec<u8> {
    let Question {
        daemon,
        client,
        server,
    } = question;
    let mut packet = id.to_le_bytes().to_vec();
    packet.extend(octets(*client));
    packet.extend(octets(server.ip()));
    packet.extend(server.port().to_le_bytes());
    packet.extend(&daemon.as_bytes()[..daemon.floor_char_boundary(MAX_DAEMON)]);
    packet
}

/// From a packet; `None` if it is not one.
pub(super) fn decode(packet: &[u8]) -> Option<(u64, Question)> {
    let (id, rest) = packet.split_first_chunk()?;
    let (client, rest) = rest.split_first_chunk()?;
    let (server, rest) = rest.split_first_chunk()?;
    let (port, daemon) = rest.split_first_chunk()?;
    let daemon = std::str::from_utf8(daemon).ok()?;
    (daemon.len() <= MAX_DAEMON).then(|| {
        let question = Question {
            daemon: daemon.to_owned(),
            client: address(*client),
            server: SocketAddr::new(address(*server), u16::from_le_bytes(*port)),
        };
        (u64::from_le_bytes(*id), question)
    })
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

impl Answer for Judgement {
    const MAX_PACKET: usize = 8 + 1 + MAX_REASON + 1;

    fn encode(&self, id: u64) -> Vec<u8> {
        let (kind, reason) = match self {
            Judgement::Permitted => (0, ""),
            Judgement::Refused(reason) => (1, reason.as_str()),
            Judgement::Undecided(reason) => (2, reason.as_str()),
        };
        let reason = &reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)];
        [&id.to_le_bytes(), &[kind][..], reason].concat()
    }

    fn decode(packet: &[u8]) -> Option<(u64, Self)> {
        let (id, rest) = packet.split_first_chunk()?;
        let (kind, reason) = rest.split_first()?;
        let reason = std::str::from_utf8(reason).ok()?;
        let fits = reason.len() <= MAX_REASON;
        let answer = match kind {
            0 if reason.is_empty() => Judgement::Permitted,
            1 if fits => Judgement::Refused(reason.to_owned()),
            2 if fits => Judgement::Undecided(reason.to_owned()),
            _ => return None,
        };
        Some((u64::from_le_bytes(*id), answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        for (client, server) in [
            ("192.0.2.1", "192.0.2.2:25"),
            ("2001:db8::1", "[2001:db8::2]:465"),
        ] {
            let question = Question {
                daemon: "smtp".to_owned(),
                client: client.parse().unwrap(),
                server: server.parse().unwrap(),
            };
            let packet = encode(7, &question);
            assert!(packet.len() < MAX_QUESTION);
            assert_eq!(decode(&packet), Some((7, question)));
        }
        for answer in [
            Judgement::Permitted,
            Judgement::Refused("/etc/hosts.deny, line 1".to_owned()),
            Judgement::Undecided(String::new()),
        ] {
            let packet = answer.encode(u64::MAX);
            assert!(packet.len() < Judgement::MAX_PACKET);
            assert_eq!(Judgement::decode(&packet), Some((u64::MAX, answer)));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_nonsense_is_refused() {
        let question = Question {
            daemon: "\u{e4}".repeat(MAX_DAEMON),
            client: "::1".parse().unwrap(),
            server: "[::1]:1".parse().unwrap(),
        };
        let (_, heard) = decode(&encode(1, &question)).unwrap();
        assert_eq!(heard.daemon, "\u{e4}".repeat(MAX_DAEMON / 2));
        let long = Judgement::Refused("\u{e4}".repeat(MAX_REASON));
        assert!(Judgement::decode(&long.encode(1)).is_some());
        for packet in [
            &b""[..],
            &[0; 8],
            &[3; 9],
            &[0; 10],
            &[[1; 9].as_slice(), &[0xff]].concat(),
        ] {
            assert_eq!(Judgement::decode(packet), None, "{packet:?}");
        }
        for packet in [&b""[..], &[0; 41], &[0; MAX_QUESTION], &[0xff; 43]] {
            assert_eq!(decode(packet), None, "{packet:?}");
        }
    }
}

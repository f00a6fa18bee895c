//! The hand-off of sockets from the master to a worker, many in one message. Binary, since every
//! connection passes here.
//!
//! A message is the byte 1, then one entry for each descriptor, in their order: sequence, connection
//! (u64 each), service (u32), the client's address ([`encode_address`]), a warrant (16 bytes, zeros for none);
//! little endian.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// The first byte of a hand-off; a JSON message begins with `{` or `"`.
pub(crate) const TAG: u8 = 1;
/// The most sockets in one message.
pub(crate) const BATCH: usize = 64;
/// Bytes of one entry.
const ENTRY: usize = 8 + 8 + 4 + ADDRESS + WARRANT;
/// Bytes of an address.
pub(crate) const ADDRESS: usize = 1 + 2 + 16;
/// Bytes of a warrant.
pub(crate) const WARRANT: usize = 16;
/// Bytes of the longest message.
pub(crate) const MAX_MESSAGE: usize = 1 + BATCH * ENTRY;

/// An accepted connection, as the master and the workers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Counted over all workers and generations.
    pub number: u64,
    /// Index of the service.
    pub service: usize,
    /// The client's address; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The right to that address; `None`: the service has no use for one.
    pub warrant: Option<Warrant>,
}

/// Proof for the binder that the master has accepted a client from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Warrant(pub [u8; WARRANT]);

/// What a message says of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The master's number for this hand-off to this worker process, from 1.
    pub sequence: u64,
    /// What was accepted.
    pub connection: Connection,
}

/// A socket that the master handed over.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The accepted socket, non-blocking.
    pub socket: OwnedFd,
    /// The master's number for this hand-off to this worker, from 1; claimed through
    /// `WorkerRow::claim` when a relay thread takes it off the channel.
    pub sequence: u64,
    /// What was accepted.
    pub connection: Connection,
}

/// Appends an entry to a message that begins with [`TAG`].
pub(crate) fn encode(entry: &Entry, message: &mut Vec<u8>) {
    message.extend(entry.sequence.to_le_bytes());
    let connection = &entry.connection;
    message.extend(connection.number.to_le_bytes());
    message.extend((connection.service as u32).to_le_bytes());
    encode_address(connection.peer, message);
    message.extend(
        connection
            .warrant
            .map_or([0; WARRANT], |Warrant(bytes)| bytes),
    );
}

/// Appends an address: family (0 for none, 4 or 6), port (u16), address (16 bytes).
pub(crate) fn encode_address(address: Option<SocketAddr>, message: &mut Vec<u8>) {
    let (family, port, address) = match address {
        None => (0, 0, [0; 16]),
        Some(SocketAddr::V4(peer)) => {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&peer.ip().octets());
            (4, peer.port(), address)
        }
        Some(SocketAddr::V6(peer)) => (6, peer.port(), peer.ip().octets()),
    };
    message.push(family);
    message.extend(port.to_le_bytes());
    message.extend(address);
}

/// Reads the entries of a message; `None` if it is malformed.
pub(crate) fn decode(message: &[u8]) -> Option<Vec<Entry>> {
    let (&tag, entries) = message.split_first()?;
    if tag != TAG || !entries.len().is_multiple_of(ENTRY) {
        return None;
    }
    entries.chunks_exact(ENTRY).map(decode_entry).collect()
}

fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let warrant: [u8; WARRANT] = bytes.get(20 + ADDRESS..)?.try_into().ok()?;
    Some(Entry {
        sequence: u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?),
        connection: Connection {
            number: u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?),
            service: u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?) as usize,
            peer: decode_address(bytes.get(20..20 + ADDRESS)?.try_into().ok()?).ok()?,
            warrant: (warrant != [0; WARRANT]).then_some(Warrant(warrant)),
        },
    })
}

/// It is none that [`encode_address`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads what [`encode_address`] has written.
///
/// # Errors
/// It is malformed.
pub(crate) fn decode_address(bytes: &[u8; ADDRESS]) -> Result<Option<SocketAddr>, Malformed> {
    let [family, low, high, address @ ..] = bytes;
    let port = u16::from_le_bytes([*low, *high]);
    let ip = match family {
        0 => return Ok(None),
        4 => IpAddr::V4(Ipv4Addr::new(
            address[0], address[1], address[2], address[3],
        )),
        6 => IpAddr::V6(Ipv6Addr::from(*address)),
        _ => return Err(Malformed),
    };
    Ok(Some(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went_and_anything_else_is_refused() {
        let peers = [
            None,
            Some("192.0.2.7:1042".parse().unwrap()),
            Some("[2001:db8::7]:65535".parse().unwrap()),
        ];
        let mut message = vec![TAG];
        let mut sent = Vec::new();
        for (n, peer) in peers.into_iter().enumerate() {
            let entry = Entry {
                sequence: n as u64 + 1,
                connection: Connection {
                    number: u64::MAX - n as u64,
                    service: n,
                    peer,
                    warrant: (n > 0).then_some(Warrant([n as u8; WARRANT])),
                },
            };
            encode(&entry, &mut message);
            sent.push(entry);
        }
        assert_eq!(decode(&message), Some(sent));
        assert_eq!(decode(&message[..message.len() - 1]), None);
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(b""), None);
        message[21] = 9;
        assert_eq!(decode(&message), None);
    }
}

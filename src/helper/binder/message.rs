//! What goes over a client's socket: one message a packet, integers little endian. Both sides check all of it; a
//! worker may be an intruder's.
//!
//! ```text
//! request  id u64 | address (ipc::handoff) | keeps the port u8 | warrant, 16 bytes
//! answer   id u64 | 0 u8 | has the port u8          with a socket
//!                 | 1 u8 | step u8 | errno i32
//! ```

use std::net::SocketAddr;

use nix::errno::Errno;

use crate::ipc::handoff::{ADDRESS, WARRANT, Warrant, decode_address, encode_address};

const REQUEST: usize = 8 + ADDRESS + 1 + WARRANT;
/// Longest packet, in bytes, and one more, so that a longer one does not pass for it.
pub(super) const MAX_MESSAGE: usize = REQUEST + 1;

/// Asks for a socket that is bound to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// The client's number for it; [`super::Client::ask`] gives one.
    pub id: u64,
    /// The address of the session's client.
    pub address: SocketAddr,
    /// The client's port is wanted too, if it is free and not below 1024.
    pub keeps_port: bool,
    /// The master's.
    pub warrant: Warrant,
}

/// Answers a request; the socket comes with `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// The request's number.
    pub id: u64,
    /// Whether it has the client's port; or why there is none.
    pub result: Result<bool, Failure>,
}

/// What failed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub step: Step,
    pub errno: Errno,
}

/// What the binder does for a request, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Verifying the warrant.
    Verify,
    /// socket(2)
    Socket,
    /// IP_TRANSPARENT, or IPV6_TRANSPARENT.
    Option,
    /// bind(2) to the client's port.
    OriginalPort,
    /// bind(2) to any port.
    AnyPort,
    /// Passing the socket.
    Pass,
}

impl Step {
    const ALL: [Step; 6] = [
        Step::Verify,
        Step::Socket,
        Step::Option,
        Step::OriginalPort,
        Step::AnyPort,
        Step::Pass,
    ];
}

impl Request {
    /// As a packet.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(REQUEST);
        packet.extend(self.id.to_le_bytes());
        encode_address(Some(self.address), &mut packet);
        packet.push(self.keeps_port.into());
        packet.extend(self.warrant.0);
        packet
    }

    /// From a packet; `None` if it is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<Request> {
        if packet.len() != REQUEST {
            return None;
        }
        let (id, rest) = packet.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk::<ADDRESS>()?;
        let (keeps_port, warrant) = rest.split_first()?;
        Some(Request {
            id: u64::from_le_bytes(*id),
            address: decode_address(address).ok()??,
            keeps_port: flag(*keeps_port)?,
            warrant: Warrant(warrant.try_into().ok()?),
        })
    }
}

impl Answer {
    /// As a packet.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut packet = self.id.to_le_bytes().to_vec();
        match self.result {
            Ok(has_port) => packet.extend([0, has_port.into()]),
            Err(Failure { step, errno }) => {
                packet.extend([1, step as u8]);
                packet.extend((errno as i32).to_le_bytes());
            }
        }
        packet
    }

    /// From a packet; `None` if it is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<Answer> {
        let (id, rest) = packet.split_first_chunk()?;
        let result = match rest {
            [0, has_port] => Ok(flag(*has_port)?),
            [1, step, errno @ ..] => Err(Failure {
                step: *Step::ALL.get(usize::from(*step))?,
                errno: Errno::from_raw(i32::from_le_bytes(errno.try_into().ok()?)),
            }),
            _ => return None,
        };
        let id = u64::from_le_bytes(*id);
        Some(Answer { id, result })
    }
}

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// What `fuzz/` does with this room.
#[cfg(fuzzing)]
pub(crate) fn fuzz(packet: &[u8]) {
    if let Some(request) = Request::decode(packet) {
        assert_eq!(Request::decode(&request.encode()), Some(request));
    }
    if let Some(answer) = Answer::decode(packet) {
        assert_eq!(Answer::decode(&answer.encode()), Some(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back_and_nothing_else_is() {
        for (address, keeps_port) in [("192.0.2.7:1042", true), ("[2001:db8::7]:65535", false)] {
            let request = Request {
                id: u64::MAX - 3,
                address: address.parse().unwrap(),
                keeps_port,
                warrant: Warrant([9; WARRANT]),
            };
            let packet = request.encode();
            assert_eq!(Request::decode(&packet), Some(request));
            assert_eq!(Request::decode(&packet[1..]), None);
            assert_eq!(Request::decode(&[&packet[..], b"x"].concat()), None);
            for at in [8, 8 + ADDRESS] {
                let mut broken = packet.clone();
                broken[at] = 2;
                assert_eq!(Request::decode(&broken), None, "byte {at}");
            }
            let mut nowhere = packet;
            nowhere[8] = 0;
            assert_eq!(Request::decode(&nowhere), None, "no address");
        }
        let errno = Errno::EADDRNOTAVAIL;
        let failures = Step::ALL.map(|step| Err(Failure { step, errno }));
        for result in [Ok(true), Ok(false)].into_iter().chain(failures) {
            let answer = Answer { id: 7, result };
            let packet = answer.encode();
            assert_eq!(Answer::decode(&packet), Some(answer));
            assert_eq!(Answer::decode(&packet[..packet.len() - 1]), None);
        }
        assert_eq!(
            Answer::decode(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0]),
            None
        );
    }
}

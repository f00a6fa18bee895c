//! What goes over a client's socket: one message a packet, integers little endian. Both sides check all of it.
//!
//! ```text
//! request  id u64 | milliseconds u32 | length of URL u16 | URL | body
//! answer   id u64 | 0 u8 | body
//!                 | 1 u8 | reason
//! ```

use std::time::Duration;

use super::{MAX_REQUEST, MAX_URL};
use crate::helper::asker;
use crate::http::MAX_ANSWER;

/// Longest reason, in bytes; a longer one is cut.
const MAX_REASON: usize = 512;
/// Longest request as a packet, and one more byte, so that one that was cut shows.
pub(super) const MAX_REQUEST_PACKET: usize = 14 + MAX_URL + MAX_REQUEST + 1;
/// The same for an answer.
const MAX_ANSWER_PACKET: usize = 9 + MAX_ANSWER + 1;

/// A client asks for the answer to a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The client's number for it.
    pub id: u64,
    /// How long the client waits.
    pub patience: Duration,
    pub url: String,
    pub body: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The request's number.
    pub id: u64,
    /// The answer's body, or why there is none.
    pub result: Result<Vec<u8>, String>,
}

/// Whether this may be asked for at all.
pub(super) fn may_ask(url: &str, body: &[u8]) -> bool {
    (1..=MAX_URL).contains(&url.len()) && body.len() <= MAX_REQUEST
}

impl Request {
    /// As a packet. URL and body must satisfy [`may_ask`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(14 + self.url.len() + self.body.len());
        packet.extend(self.id.to_le_bytes());
        let patience = u32::try_from(self.patience.as_millis()).unwrap_or(u32::MAX);
        packet.extend(patience.to_le_bytes());
        packet.extend(u16::try_from(self.url.len()).unwrap_or(0).to_le_bytes());
        packet.extend(self.url.as_bytes());
        packet.extend(&self.body);
        packet
    }

    /// From a packet; `None` if it is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (id, rest) = packet.split_first_chunk()?;
        let (patience, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (url, body) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        let url = std::str::from_utf8(url).ok()?;
        may_ask(url, body).then(|| Self {
            id: u64::from_le_bytes(*id),
            patience: Duration::from_millis(u32::from_le_bytes(*patience).into()),
            url: url.to_owned(),
            body: body.to_vec(),
        })
    }
}

impl Answer {
    /// As a packet, a reason cut to what it holds.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(64);
        packet.extend(self.id.to_le_bytes());
        match &self.result {
            Ok(body) => {
                packet.push(0);
                packet.extend(body);
            }
            Err(reason) => {
                packet.push(1);
                let end = reason.floor_char_boundary(MAX_REASON);
                packet.extend(&reason.as_bytes()[..end]);
            }
        }
        packet
    }

    /// From a packet; `None` if it is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (id, rest) = packet.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let result = match kind {
            0 if rest.len() <= MAX_ANSWER => Ok(rest.to_vec()),
            1 if rest.len() <= MAX_REASON => Err(std::str::from_utf8(rest).ok()?.to_owned()),
            _ => return None,
        };
        let id = u64::from_le_bytes(*id);
        Some(Self { id, result })
    }
}

impl asker::Answer for Result<Vec<u8>, String> {
    const MAX_PACKET: usize = MAX_ANSWER_PACKET;

    fn encode(&self, id: u64) -> Vec<u8> {
        let result = self.clone();
        Answer { id, result }.encode()
    }

    fn decode(packet: &[u8]) -> Option<(u64, Self)> {
        let Answer { id, result } = Answer::decode(packet)?;
        Some((id, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        for (url, body) in [("http://a/", &b"x"[..]), ("h", &[0; MAX_REQUEST])] {
            let request = Request {
                id: 7,
                patience: Duration::from_millis(5001),
                url: url.to_owned(),
                body: body.to_vec(),
            };
            let packet = request.encode();
            assert!(packet.len() < MAX_REQUEST_PACKET);
            assert_eq!(Request::decode(&packet), Some(request));
        }
        for result in [
            Ok(vec![1; MAX_ANSWER]),
            Ok(Vec::new()),
            Err("why".to_owned()),
        ] {
            let answer = Answer { id: 9, result };
            let packet = answer.encode();
            assert!(packet.len() < MAX_ANSWER_PACKET);
            assert_eq!(Answer::decode(&packet), Some(answer));
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "\u{e4}".repeat(MAX_REASON);
        let answer = Answer {
            id: 1,
            result: Err(reason),
        };
        let heard = Answer::decode(&answer.encode()).unwrap();
        assert_eq!(heard.result, Err("\u{e4}".repeat(MAX_REASON / 2)));
    }

    #[test]
    fn nonsense_is_refused() {
        for packet in [
            &b""[..],
            b"nonsense",
            &[0; 14],
            &[[0; 12].as_slice(), &[9, 0, b'u']].concat(),
            &[[0; 12].as_slice(), &[1, 0, 0xff]].concat(),
        ] {
            assert_eq!(Request::decode(packet), None, "{packet:?}");
        }
        for packet in [
            &b""[..],
            &[0; 8],
            &[[0; 8].as_slice(), &[2]].concat(),
            &[[0; 8].as_slice(), &[1, 0xff]].concat(),
            &[0; MAX_ANSWER_PACKET],
        ] {
            assert_eq!(Answer::decode(packet), None);
        }
    }
}

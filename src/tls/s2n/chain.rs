//! The peer's certificates in its Certificate message, which s2n-tls hands out only where it has verified
//! them itself. Up to TLS 1.2 a server's message is not encrypted, so it is read from the records on their
//! way to s2n. Never in here: a verdict.

use super::bindings::Stop;
use crate::tls::record::HEADER;

/// The content types of records, and the type of the message.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CERTIFICATE: u8 = 11;
/// A server's first flight that is longer is refused: in bytes. s2n takes messages of 64 KiB.
const MAX_HEARD: usize = 128 << 10;

/// What a server says before anything is encrypted, as handshake messages.
#[derive(Default)]
pub(super) struct Heard {
    messages: Vec<u8>,
    /// The rest is encrypted.
    over: bool,
}

impl Heard {
    /// Takes whole records.
    ///
    /// # Errors
    /// They are too many.
    pub(super) fn push(&mut self, records: &[u8]) -> Result<(), Stop> {
        let mut rest = records;
        while let (Some([kind, _, _, high, low]), false) = (rest.first_chunk::<HEADER>(), self.over)
        {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let body = rest.get(HEADER..HEADER + length).unwrap_or_default();
            match *kind {
                HANDSHAKE => self.messages.extend_from_slice(body),
                CHANGE_CIPHER_SPEC => self.over = true,
                _ => {}
            }
            rest = rest.get(HEADER + length..).unwrap_or_default();
        }
        match self.messages.len() > MAX_HEARD {
            true => Err(Stop::Failed {
                name: "too long a flight",
                by_peer: true,
            }),
            false => Ok(()),
        }
    }

    /// The certificates, the server's own first; `None`: they have not come.
    pub(super) fn chain(&self) -> Option<Vec<Vec<u8>>> {
        let mut rest = &self.messages[..];
        loop {
            let (kind, behind) = rest.split_first()?;
            let (message, behind) = block(behind)?;
            if *kind == CERTIFICATE {
                return list(block(message)?.0);
            }
            rest = behind;
        }
    }
}

/// The certificates of a list, as `certificate_list` of TLS 1.2 has it (RFC 5246, section 7.4.2).
pub(super) fn list(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut chain = Vec::new();
    while !bytes.is_empty() {
        let (certificate, behind) = block(bytes)?;
        chain.push(certificate.to_vec());
        bytes = behind;
    }
    Some(chain)
}

/// Bytes behind their length, which has three bytes; and what is behind them.
fn block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[a, b, c], rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind_its_length(bytes: &[u8]) -> Vec<u8> {
        let length = (bytes.len() as u32).to_be_bytes();
        [&length[1..], bytes].concat()
    }

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind][..], &behind_its_length(content)].concat()
    }

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&[kind, 3, 1][..], &length, body].concat()
    }

    #[test]
    fn a_chain_is_found_behind_other_messages_however_it_is_cut() {
        let certificates = [vec![7; 300], vec![8; 5]];
        let each: Vec<u8> = certificates
            .iter()
            .flat_map(|one| behind_its_length(one))
            .collect();
        let flight = [
            message(2, &[1; 40]),
            message(CERTIFICATE, &behind_its_length(&each)),
            message(14, &[]),
        ]
        .concat();
        for piece in [1, 7, 100, 1000] {
            let mut heard = Heard::default();
            for part in flight.chunks(piece) {
                heard.push(&record(HANDSHAKE, part)).unwrap();
            }
            heard.push(&record(CHANGE_CIPHER_SPEC, &[1])).unwrap();
            heard
                .push(&record(HANDSHAKE, &[CERTIFICATE, 0, 0, 0]))
                .unwrap();
            assert_eq!(heard.chain().as_deref(), Some(&certificates[..]));
        }
        let mut heard = Heard::default();
        heard.push(&record(HANDSHAKE, &flight[..200])).unwrap();
        assert_eq!(heard.chain(), None);
        assert!(
            heard
                .push(&record(HANDSHAKE, &[0; 65_000]).repeat(3))
                .is_err()
        );
    }

    #[test]
    fn whole_lists_and_broken_ones() {
        let one = behind_its_length(&[5; 9]);
        assert_eq!(list(&one.repeat(2)), Some(vec![vec![5; 9]; 2]));
        assert_eq!(list(&[]), Some(Vec::new()));
        for length in 1..one.len() {
            assert_eq!(list(&one[..length]), None);
        }
    }
}

//! What a server says in a handshake, as a client needs it: its random, and its certificates, which
//! s2n-tls hands out only where it has verified them itself. They are read from the records on their way
//! to s2n: up to TLS 1.2 these are not encrypted, and for TLS 1.3 s2n tells the secret. Never in here: a
//! verdict.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use super::bindings::Stop;
use super::store::Length;
use crate::tls::record::HEADER;

/// The content types of records, and the types of messages.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_STATUS: u8 = 22;
/// The extension of a certificate in TLS 1.3 that has the same (RFC 8446, section 4.4.2.1).
const STATUS_REQUEST: u16 = 5;
/// A server's first flight that is longer is refused: in bytes. s2n takes messages of 64 KiB.
const MAX_HEARD: usize = 128 << 10;
/// How far ahead a stapled response is looked for, in bytes: more than the longest that any responder gives.
const MAX_AHEAD: usize = 32 << 10;

/// What a server says in a handshake.
#[derive(Default)]
pub(super) struct Heard {
    /// Handshake messages that are not encrypted.
    messages: Vec<u8>,
    /// The rest of them is.
    over: bool,
    /// Records of TLS 1.3 that are.
    encrypted: Vec<u8>,
}

impl Heard {
    /// Takes whole records.
    ///
    /// # Errors
    /// They are too many.
    pub(super) fn push(&mut self, records: &[u8]) -> Result<(), Stop> {
        for record in whole(records) {
            match record[0] {
                HANDSHAKE if !self.over => self.messages.extend_from_slice(&record[HEADER..]),
                CHANGE_CIPHER_SPEC => self.over = true,
                APPLICATION_DATA => self.encrypted.extend_from_slice(record),
                _ => {}
            }
        }
        match self.messages.len() + self.encrypted.len() > MAX_HEARD {
            true => Err(Stop::Failed {
                name: "too long a flight",
                by_peer: true,
            }),
            false => Ok(()),
        }
    }

    /// The certificates, the server's own first; `None`: they have not come.
    pub(super) fn chain(&self) -> Option<Vec<Vec<u8>>> {
        list(block(self.message(CERTIFICATE)?)?.0)
    }

    /// The OCSP response that it staples up to TLS 1.2, behind its certificates: perhaps in records that are `ahead`
    /// of what was pushed. Empty: there is none. `None`: it has not come yet.
    pub(super) fn stapled(&self, ahead: &[u8]) -> Option<Vec<u8>> {
        let mut messages = self.messages.clone();
        for record in whole(ahead) {
            // An alert, say, after which nothing comes.
            if record[0] != HANDSHAKE || messages.len() > self.messages.len() + MAX_AHEAD {
                return Some(Vec::new());
            }
            messages.extend_from_slice(&record[HEADER..]);
        }
        let mut rest = &messages[..];
        loop {
            let (kind, behind) = rest.split_first()?;
            let is_certificate = *kind == CERTIFICATE;
            rest = block(behind)?.1;
            if !is_certificate {
                continue;
            }
            let (kind, behind) = rest.split_first()?;
            if *kind != CERTIFICATE_STATUS {
                return Some(Vec::new());
            }
            return Some(response(block(behind)?.0).unwrap_or_default());
        }
    }

    /// The server's random; `None`: it has not come.
    pub(super) fn random(&self) -> Option<[u8; 32]> {
        self.message(SERVER_HELLO)?.get(2..)?.first_chunk().copied()
    }

    fn message(&self, wanted: u8) -> Option<&[u8]> {
        message(&self.messages, wanted)
    }

    /// The certificates of a TLS 1.3 server, and the OCSP response that it staples to its own, by its handshake
    /// traffic secret and the suite.
    pub(super) fn encrypted_chain(
        &self,
        secret: &[u8],
        suite: u16,
    ) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
        let mut keys = Keys::new(secret, suite)?;
        let mut messages = Vec::new();
        let mut rest = &self.encrypted[..];
        while let Some((head, behind)) = rest.split_first_chunk::<HEADER>() {
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            let (body, behind) = behind.split_at_checked(length)?;
            messages.extend(keys.open(*head, body.to_vec())?);
            rest = behind;
        }
        let certificate = message(&messages, CERTIFICATE)?;
        // Behind the request's context, which is empty (RFC 8446, section 4.4.2).
        let (context, entries) = certificate.split_first()?;
        let (mut entries, _) = block(entries.get(usize::from(*context)..)?)?;
        let mut chain = Vec::new();
        let mut stapled = None;
        while !entries.is_empty() {
            let (one, behind) = block(entries)?;
            let (length, behind) = behind.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (extensions, behind) = behind.split_at_checked(length)?;
            entries = behind;
            if chain.is_empty() {
                stapled = status(extensions).and_then(response);
            }
            chain.push(one.to_vec());
        }
        Some((chain, stapled.unwrap_or_default()))
    }
}

/// The whole records at the front of these bytes, each with its header.
fn whole(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [_, _, _, high, low] = records.first_chunk::<HEADER>()?;
        let length = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, behind) = records.split_at_checked(length)?;
        records = behind;
        Some(record)
    })
}

/// The content of the extension `status_request` among those of a certificate.
fn status(mut extensions: &[u8]) -> Option<&[u8]> {
    loop {
        let (kind, behind) = extensions.split_first_chunk()?;
        let (length, behind) = behind.split_first_chunk()?;
        let (content, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
        if u16::from_be_bytes(*kind) == STATUS_REQUEST {
            return Some(content);
        }
        extensions = behind;
    }
}

/// The response in a CertificateStatus (RFC 6066, section 8).
fn response(status: &[u8]) -> Option<Vec<u8>> {
    /// ocsp
    const OCSP: u8 = 1;
    match status.split_first()? {
        (&OCSP, behind) => Some(block(behind)?.0.to_vec()),
        _ => None,
    }
}

/// What opens a TLS 1.3 server's handshake records.
struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Keys {
    /// RFC 8446, section 7.3.
    fn new(secret: &[u8], suite: u16) -> Option<Self> {
        let (hash, cipher): (_, &Algorithm) = match suite {
            0x1301 => (hkdf::HKDF_SHA256, &AES_128_GCM),
            0x1302 => (hkdf::HKDF_SHA384, &AES_256_GCM),
            0x1303 => (hkdf::HKDF_SHA256, &CHACHA20_POLY1305),
            _ => return None,
        };
        let secret = hkdf::Prk::new_less_safe(hash, secret);
        let mut key = Zeroizing::new(vec![0; cipher.key_len()]);
        expand(&secret, b"key", &mut key)?;
        let mut iv = [0; NONCE_LEN];
        expand(&secret, b"iv", &mut iv)?;
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(cipher, &key).ok()?),
            iv,
            sequence: 0,
        })
    }

    /// The handshake messages in a record.
    fn open(&mut self, head: [u8; HEADER], mut body: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        self.sequence += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(head), &mut body)
            .ok()?;
        // The content type stands behind, and zeros behind that (section 5.4).
        let end = plain.iter().rposition(|byte| *byte != 0)?;
        match plain[end] {
            HANDSHAKE => Some(plain[..end].to_vec()),
            _ => Some(Vec::new()),
        }
    }
}

/// HKDF-Expand-Label without a context (RFC 8446, section 7.1).
fn expand(secret: &hkdf::Prk, label: &[u8], output: &mut [u8]) -> Option<()> {
    let length = (output.len() as u16).to_be_bytes();
    let label_length = [(b"tls13 ".len() + label.len()) as u8];
    let info: [&[u8]; 5] = [&length, &label_length, b"tls13 ", label, &[0]];
    let expanded = secret.expand(&info, Length(output.len())).ok()?;
    expanded.fill(output).ok()
}

/// The content of the first whole message of this type.
fn message(mut messages: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (kind, behind) = messages.split_first()?;
        let (message, behind) = block(behind)?;
        if *kind == wanted {
            return Some(message);
        }
        messages = behind;
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
    fn what_is_stapled_is_found_behind_the_certificates_or_ahead() {
        let certificates = message(
            CERTIFICATE,
            &behind_its_length(&behind_its_length(&[7; 300])),
        );
        let stapled = [&[1][..], &behind_its_length(&[9; 500])].concat();
        let status = message(CERTIFICATE_STATUS, &stapled);
        let hello = message(2, &[1; 40]);
        let done = message(14, &[]);
        let mut heard = Heard::default();
        heard
            .push(&record(HANDSHAKE, &[hello, certificates].concat()))
            .unwrap();
        assert_eq!(heard.stapled(&[]), None);
        assert_eq!(heard.stapled(&record(HANDSHAKE, &done)), Some(Vec::new()));
        assert_eq!(heard.stapled(&record(21, &[2, 40])), Some(Vec::new()));
        let whole = record(HANDSHAKE, &status);
        for length in 0..whole.len() {
            assert_eq!(heard.stapled(&whole[..length]), None, "{length}");
        }
        assert_eq!(heard.stapled(&whole), Some(vec![9; 500]));
        let (first, second) = status.split_at(7);
        let cut = [record(HANDSHAKE, first), record(HANDSHAKE, second)].concat();
        assert_eq!(heard.stapled(&cut), Some(vec![9; 500]));
        let other = message(CERTIFICATE_STATUS, &[2, 0, 0, 0]);
        assert_eq!(heard.stapled(&record(HANDSHAKE, &other)), Some(Vec::new()));
        let endless = record(HANDSHAKE, &[CERTIFICATE_STATUS, 255, 255, 255]);
        let endless = [endless, record(HANDSHAKE, &[0; 16_000]).repeat(4)].concat();
        assert_eq!(heard.stapled(&endless), Some(Vec::new()));
        heard.push(&whole).unwrap();
        assert_eq!(heard.stapled(&[]), Some(vec![9; 500]));
    }

    #[test]
    fn extensions_of_a_certificate() {
        let response = [1, 0, 0, 2, 7, 8];
        let whole = [&[0, 18, 0, 1, 9, 0, 5, 0, 6][..], &response].concat();
        assert_eq!(status(&whole), Some(&response[..]));
        assert_eq!(super::response(&response), Some(vec![7, 8]));
        for length in 0..whole.len() {
            assert_eq!(status(&whole[..length]), None);
        }
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

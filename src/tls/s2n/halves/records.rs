//! Records of TLS 1.2 and older, sealed and opened with keys that are known. Never in here: where they come
//! from.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use crate::tls::failure::Offence;
use crate::tls::record::HEADER;
use crate::tls::s2n::bindings;

const EXPLICIT_NONCE: usize = 8;
const TAG: usize = 16;

pub(super) enum Key<T> {
    Cbc(T),
    /// With the part of the nonce that stays.
    Gcm(LessSafeKey, [u8; 4]),
    /// With what the sequence number is mixed with.
    ChaCha20(LessSafeKey, [u8; 12]),
    Rc4(bindings::Rc4),
}

pub(super) struct State {
    pub(super) sequence: u64,
    /// The version's second byte.
    pub(super) minor: u8,
    /// How long the vector is that each record carries, in bytes.
    pub(super) explicit: usize,
}

impl State {
    /// What a record's MAC is over, besides its plaintext and its length.
    pub(super) fn associated(&self, kind: u8) -> [u8; 11] {
        let mut associated = [0; 11];
        associated[..8].copy_from_slice(&self.sequence.to_be_bytes());
        associated[8..].copy_from_slice(&[kind, 3, self.minor]);
        associated
    }

    /// The same with the length.
    fn aad(&self, kind: u8, length: usize) -> Aad<[u8; 13]> {
        let mut whole = [0; 13];
        whole[..11].copy_from_slice(&self.associated(kind));
        whole[11..].copy_from_slice(&(length as u16).to_be_bytes());
        Aad::from(whole)
    }

    /// The nonce of RFC 5288, section 3, with its explicit part.
    fn gcm(salt: [u8; 4], explicit: [u8; EXPLICIT_NONCE]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&salt);
        nonce[4..].copy_from_slice(&explicit);
        Nonce::assume_unique_for_key(nonce)
    }

    /// The nonce of RFC 7905, section 2.
    fn chacha20(&self, mut nonce: [u8; 12]) -> Nonce {
        let sequence = self.sequence.to_be_bytes();
        for (byte, mixed) in nonce[4..].iter_mut().zip(sequence) {
            *byte ^= mixed;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals what is still to be sent.
pub(in crate::tls::s2n) struct Writer {
    pub(super) key: Key<bindings::Sealer>,
    pub(super) state: State,
    /// A client of TLS 1.0 sends the first byte of each piece by itself (BEAST).
    pub(super) splits: bool,
}

impl Writer {
    /// Seals a piece of payload into `output`: how much of that is filled. `None`: it cannot be sealed.
    pub(in crate::tls::s2n) fn payload(
        &mut self,
        plain: &[u8],
        output: &mut [u8],
    ) -> Option<usize> {
        match plain.split_at_checked(1) {
            Some((first, rest)) if self.splits && !rest.is_empty() => {
                let filled = self.seal(23, first, output)?;
                Some(filled + self.seal(23, rest, output.get_mut(filled..)?)?)
            }
            _ => self.seal(23, plain, output),
        }
    }

    /// Seals one record.
    pub(in crate::tls::s2n) fn seal(
        &mut self,
        kind: u8,
        plain: &[u8],
        output: &mut [u8],
    ) -> Option<usize> {
        let associated = self.state.associated(kind);
        let (head, body) = output.split_first_chunk_mut::<HEADER>()?;
        let length = match &mut self.key {
            Key::Cbc(sealer) => sealer.seal(self.state.explicit, &associated, plain, body)?,
            Key::Gcm(key, salt) => {
                let explicit = self.state.sequence.to_be_bytes();
                let nonce = State::gcm(*salt, explicit);
                let aad = self.state.aad(kind, plain.len());
                let (place, sealed) = body.split_at_mut_checked(EXPLICIT_NONCE)?;
                place.copy_from_slice(&explicit);
                EXPLICIT_NONCE + seal(key, nonce, aad, plain, sealed)?
            }
            Key::ChaCha20(key, mixed) => {
                let nonce = self.state.chacha20(*mixed);
                let aad = self.state.aad(kind, plain.len());
                seal(key, nonce, aad, plain, body)?
            }
            Key::Rc4(key) => key.seal(&associated, plain, body)?,
        };
        let [high, low] = (length as u16).to_be_bytes();
        head.copy_from_slice(&[kind, 3, self.state.minor, high, low]);
        self.state.sequence += 1;
        Some(HEADER + length)
    }
}

/// Opens what is still to be received.
pub(in crate::tls::s2n) struct Reader {
    pub(super) key: Key<bindings::Opener>,
    pub(super) state: State,
}

impl Reader {
    /// Opens the whole record in `record` in place: where its plaintext begins, and how long that is.
    ///
    /// # Errors
    /// It is not authentic.
    pub(in crate::tls::s2n) fn open(
        &mut self,
        record: &mut [u8],
    ) -> Result<(usize, usize), Offence> {
        self.opened(record).ok_or(Offence::BadRecordMac)
    }

    fn opened(&mut self, record: &mut [u8]) -> Option<(usize, usize)> {
        let (head, body) = record.split_first_chunk_mut::<HEADER>()?;
        let kind = head[0];
        let associated = self.state.associated(kind);
        let found = match &mut self.key {
            Key::Cbc(opener) => {
                let explicit = self.state.explicit;
                let (iv, sealed) = body.split_at_mut_checked(explicit)?;
                (HEADER + explicit, opener.open(iv, &associated, sealed)?)
            }
            Key::Gcm(key, salt) => {
                let length = body.len().checked_sub(EXPLICIT_NONCE + TAG)?;
                let (explicit, sealed) = body.split_first_chunk_mut()?;
                let nonce = State::gcm(*salt, *explicit);
                let aad = self.state.aad(kind, length);
                key.open_in_place(nonce, aad, sealed).ok()?;
                (HEADER + EXPLICIT_NONCE, length)
            }
            Key::ChaCha20(key, mixed) => {
                let length = body.len().checked_sub(TAG)?;
                let nonce = self.state.chacha20(*mixed);
                let aad = self.state.aad(kind, length);
                key.open_in_place(nonce, aad, body).ok()?;
                (HEADER, length)
            }
            Key::Rc4(key) => (HEADER, key.open(&associated, body)?),
        };
        self.state.sequence += 1;
        Some(found)
    }
}

/// Seals `plain` into `output`: how much of that is filled.
fn seal(
    key: &LessSafeKey,
    nonce: Nonce,
    aad: Aad<[u8; 13]>,
    plain: &[u8],
    output: &mut [u8],
) -> Option<usize> {
    let (text, rest) = output.split_at_mut_checked(plain.len())?;
    text.copy_from_slice(plain);
    let tag = key.seal_in_place_separate_tag(nonce, aad, text).ok()?;
    rest.get_mut(..TAG)?.copy_from_slice(tag.as_ref());
    Some(plain.len() + TAG)
}

pub(super) fn gcm<T>(key: &[u8], length: usize) -> Option<Key<T>> {
    let algorithm = match length {
        16 => &AES_128_GCM,
        _ => &AES_256_GCM,
    };
    let (key, salt) = split(algorithm, key)?;
    Some(Key::Gcm(key, salt))
}

pub(super) fn chacha20<T>(key: &[u8]) -> Option<Key<T>> {
    let (key, mixed) = split(&CHACHA20_POLY1305, key)?;
    Some(Key::ChaCha20(key, mixed))
}

/// A key, and what stays of its nonces.
fn split<const N: usize>(
    algorithm: &'static Algorithm,
    key: &[u8],
) -> Option<(LessSafeKey, [u8; N])> {
    let (key, rest) = key.split_at_checked(algorithm.key_len())?;
    let key = UnboundKey::new(algorithm, key).ok()?;
    Some((LessSafeKey::new(key), *rest.first_chunk()?))
}

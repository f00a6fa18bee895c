//! The record layer of an established connection (RFC 8446, section 5; RFC 5246, section 6.2, with RFC
//! 5288 and RFC 7905). rustls makes the keys and hands them over. Sealing goes straight from the
//! caller's plaintext into the caller's buffer, where rustls would allocate and copy twice for each
//! record; opening is rustls' own decrypter, in place.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, Nonce as RecordNonce, make_tls12_aad, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

/// The length of a record's header, in bytes.
pub(super) const HEADER: usize = 5;
/// The most plaintext in a record, in bytes.
pub(super) const MAX_PLAIN: usize = 1 << 14;
/// The most ciphertext in a record: TLS 1.2 allows 2048 bytes more than plaintext, TLS 1.3 256.
pub(super) const MAX_CIPHERTEXT: usize = MAX_PLAIN + 2048;
const MAX_CIPHERTEXT_13: usize = MAX_PLAIN + 256;

const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;

/// The longest incoming record, in bytes: a buffer for an incomplete one never exceeds it.
#[cfg(any(test, fuzzing))]
pub(super) const MAX_RECORD: usize = HEADER + MAX_CIPHERTEXT;
/// The most that a record adds to its plaintext (TLS 1.2 with AES-GCM). A buffer of `plain +
/// MAX_RECORD_OVERHEAD * (plain.div_ceil(16384) + 10)` bytes takes everything `encrypt` makes of
/// `plain` (its first records are small), except for a rare key update.
#[cfg(test)]
pub(super) const MAX_RECORD_OVERHEAD: usize = HEADER + EXPLICIT_NONCE + TAG;

/// A record's layout, by suite and version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// The content type is inside, the header is associated data.
    Tls13,
    /// Each record carries eight bytes of nonce.
    Tls12Gcm,
    Tls12ChaCha,
}

/// Seals what is sent.
pub(super) struct Sealer {
    key: LessSafeKey,
    iv: Iv,
    sequence: u64,
    /// The most records for one key (RFC 8446, section 5.5).
    limit: u64,
    layout: Layout,
}

/// Records reserved below the limit, so that an alert can still be sealed.
const RESERVE: u64 = 64;

impl Sealer {
    pub(super) fn new(
        suite: SupportedCipherSuite,
        sequence: u64,
        secrets: ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        let (algorithm, key, iv, tls12) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, key, iv, Layout::Tls12Gcm)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, key, iv, Layout::Tls12Gcm)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, Layout::Tls12ChaCha)
            }
            _ => return Err(unsupported()),
        };
        let (layout, limit) = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                (Layout::Tls13, suite.common.confidentiality_limit)
            }
            SupportedCipherSuite::Tls12(suite) => (tls12, suite.common.confidentiality_limit),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unsupported())?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv,
            sequence,
            limit: limit.saturating_sub(RESERVE),
            layout,
        })
    }

    /// Whether this key has sealed as much as it should.
    pub(super) fn worn(&self) -> bool {
        self.sequence >= self.limit
    }

    #[cfg(test)]
    pub(super) fn wear(&mut self, records_left: u64) {
        self.limit = self.sequence + records_left;
    }

    /// How many bytes a record adds to its plaintext.
    pub(super) fn overhead(&self) -> usize {
        HEADER
            + TAG
            + match self.layout {
                Layout::Tls13 => 1,
                Layout::Tls12Gcm => EXPLICIT_NONCE,
                Layout::Tls12ChaCha => 0,
            }
    }

    /// Seals one record of at most `MAX_PLAIN` bytes into the front of `output`, which must have room
    /// for it; returns its length.
    pub(super) fn seal(
        &mut self,
        kind: ContentType,
        plain: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Error> {
        let length = plain.len() + self.overhead();
        let record = output.get_mut(..length).ok_or(Error::EncryptError)?;
        let (head, body) = record.split_at_mut(HEADER);
        let nonce = RecordNonce::new(&self.iv, self.sequence).0;
        let inner = [u8::from(kind)];
        let outer = match self.layout {
            Layout::Tls13 => u8::from(ContentType::ApplicationData),
            _ => inner[0],
        };
        let body_length = (body.len() as u16).to_be_bytes();
        head.copy_from_slice(&[outer, 3, 3, body_length[0], body_length[1]]);
        let aad13 = make_tls13_aad(body.len());
        let aad12 = make_tls12_aad(self.sequence, kind, ProtocolVersion::TLSv1_2, plain.len());
        let (aad, extra, sealed): (&[u8], &[u8], &mut [u8]) = match self.layout {
            Layout::Tls13 => (&aad13, &inner, body),
            Layout::Tls12ChaCha => (&aad12, &[], body),
            Layout::Tls12Gcm => {
                let (explicit, sealed) = body.split_at_mut(EXPLICIT_NONCE);
                explicit.copy_from_slice(&nonce[nonce.len() - EXPLICIT_NONCE..]);
                (&aad12, &[], sealed)
            }
        };
        let (ciphertext, rest) = sealed.split_at_mut(plain.len());
        self.key
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plain,
                ciphertext,
                extra,
                rest,
            )
            .map_err(|_| Error::EncryptError)?;
        // A nonce is never reused, not even after an error: a failed seal ends the stream.
        self.sequence += 1;
        Ok(length)
    }
}

/// Opens what is received: rustls' decrypter and its sequence number.
pub(super) struct Opener {
    decrypter: Box<dyn MessageDecrypter>,
    pub(super) sequence: u64,
    pub(super) max_ciphertext: usize,
}

impl Opener {
    pub(super) fn new(
        suite: SupportedCipherSuite,
        sequence: u64,
        secrets: ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        let (key, iv): (AeadKey, Iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => return Err(unsupported()),
        };
        let (decrypter, max_ciphertext) = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                (suite.aead_alg.decrypter(key, iv), MAX_CIPHERTEXT_13)
            }
            SupportedCipherSuite::Tls12(suite) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                let iv = iv.as_ref().get(..fixed).ok_or_else(unsupported)?;
                (suite.aead_alg.decrypter(key, iv), MAX_CIPHERTEXT)
            }
        };
        Ok(Self {
            decrypter,
            sequence,
            max_ciphertext,
        })
    }

    /// Opens a record's body in place.
    pub(super) fn open<'a>(
        &mut self,
        kind: ContentType,
        body: &'a mut [u8],
    ) -> Result<(ContentType, &'a [u8]), Error> {
        let record =
            rustls::crypto::cipher::InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, body);
        let opened = self.decrypter.decrypt(record, self.sequence)?;
        self.sequence += 1;
        Ok((opened.typ, opened.payload))
    }
}

fn unsupported() -> Error {
    Error::General("a suite that the record layer does not know".into())
}

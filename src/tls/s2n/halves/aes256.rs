//! The records of a connection with AES-256 in CBC and SHA-256 that s2n is told nothing of. Never in here: a
//! record whose length only its padding tells.

use aws_lc_rs::{constant_time, hmac, rand};
use zeroize::Zeroizing;

use super::{BLOCK, Cipher, Halves, MASTER, Way, bindings};
use crate::tls::record::HEADER;

/// The lengths of a key for HMAC with SHA-256, and of one for AES-256, in bytes.
pub(super) const SHA256: usize = 32;
pub(super) const AES_256: usize = 32;
/// For the MAC, and for the cipher.
type AlertKeys = (Zeroizing<[u8; SHA256]>, Zeroizing<[u8; AES_256]>);
/// An alert's content type, and its usual level.
pub(super) const ALERT: u8 = 21;
const WARNING: u8 = 1;
/// A handshake's content type, and the message by which a client begins one.
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const CLIENT_HELLO: u8 = 1;

impl Halves {
    /// Our close_notify, where s2n is not told of it; `None`: it is to send its own.
    pub(in crate::tls::s2n) fn close_notify(&self, master: &[u8; MASTER]) -> Option<Vec<u8>> {
        let Way { records, tail } = self.sent?;
        let (mac, key) = self.alert_keys(master, self.client, &tail)?;
        let mut vector = [0; BLOCK];
        rand::fill(&mut vector).ok()?;
        let mut blocks = self.blocks(&mac, records, ALERT, &[WARNING, 0], 3 * BLOCK)?;
        bindings::aes_256_cbc(true, &key, vector, &mut blocks)?;
        let length = (vector.len() + blocks.len()) as u16;
        let [high, low] = length.to_be_bytes();
        let head = [ALERT, 3, self.version.wire().0 as u8, high, low];
        Some([&head[..], &vector, &blocks].concat())
    }

    /// Whether this record, which is the next one, is the peer's close_notify, of which s2n is not told then.
    pub(in crate::tls::s2n) fn is_close_notify(
        &self,
        master: &[u8; MASTER],
        record: &[u8],
    ) -> bool {
        let opened = self.opened(master, record, ALERT, |_| Some(2));
        matches!(opened.as_deref(), Some([_, 0]))
    }

    /// Whether this record, which is the next one, is a client's wish for another handshake. s2n has one error for
    /// that and for a MAC that is wrong, and the second alone is to be met by silence.
    pub(in crate::tls::s2n) fn is_client_hello(
        &self,
        master: &[u8; MASTER],
        record: &[u8],
    ) -> bool {
        let length = |blocks: &[u8]| match *blocks {
            [CLIENT_HELLO, high, middle, low, ..] => {
                Some(4 + u32::from_be_bytes([0, high, middle, low]) as usize)
            }
            _ => None,
        };
        !self.client && self.opened(master, record, HANDSHAKE, length).is_some()
    }

    /// What is in this record, which is the next one; `None`: it is not of this kind, or damaged. The length is
    /// told by how the content begins, so that this takes the same time for whatever padding there is; what is
    /// damaged goes on to s2n, whose silence hides the rest.
    fn opened(
        &self,
        master: &[u8; MASTER],
        record: &[u8],
        kind: u8,
        length: impl Fn(&[u8]) -> Option<usize>,
    ) -> Option<Vec<u8>> {
        let Way { records, tail } = self.received?;
        let (head, body) = record.split_first_chunk::<HEADER>()?;
        let (vector, sealed) = body.split_first_chunk()?;
        if head[0] != kind || sealed.is_empty() {
            return None;
        }
        let (mac, key) = self.alert_keys(master, !self.client, &tail)?;
        let mut blocks = sealed.to_vec();
        bindings::aes_256_cbc(false, &key, *vector, &mut blocks)?;
        let content = blocks.get(..length(&blocks)?)?;
        let expected = self.blocks(&mac, records, kind, content, blocks.len())?;
        constant_time::verify_slices_are_equal(&blocks, &expected).ok()?;
        Some(content.to_vec())
    }

    /// The two keys of one side, for the MAC and the cipher.
    pub(super) fn alert_keys(
        &self,
        master: &[u8; MASTER],
        of_client: bool,
        tail: &[u8; BLOCK],
    ) -> Option<AlertKeys> {
        if !matches!(self.cipher, Cipher::Alerts) {
            return None;
        }
        let (keys, _) = self.key(master, of_client, tail)?;
        let (mac, rest) = keys.split_first_chunk()?;
        Some((Zeroizing::new(*mac), Zeroizing::new(*rest.first_chunk()?)))
    }

    /// Content with its MAC and its padding, `length` bytes together; `None`: that is not possible.
    pub(super) fn blocks(
        &self,
        mac: &[u8; SHA256],
        sequence: u64,
        kind: u8,
        content: &[u8],
        length: usize,
    ) -> Option<Vec<u8>> {
        let state = self.state(sequence, false);
        let long = u16::try_from(content.len()).ok()?.to_be_bytes();
        let signed = [&state.associated(kind)[..], &long, content].concat();
        let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, mac), &signed);
        let padding = length.checked_sub(content.len() + SHA256)?;
        let last = u8::try_from(padding.checked_sub(1)?).ok()?;
        Some([content, code.as_ref(), &vec![last; padding]].concat())
    }
}

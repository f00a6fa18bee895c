//! The records of a handshake, from outside: where whole ones end, and of which kinds they are. Never in here: what is
//! in one.

use crate::tls::record::{HEADER, MAX_CIPHERTEXT};

/// Content types of records.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// The content types of whole records, as a set.
#[derive(Clone, Copy, Default)]
pub(super) struct Kinds(u32);

impl Kinds {
    pub(super) fn of(mut records: &[u8]) -> Self {
        let mut kinds = 0;
        while let [kind @ 20..=23, _, _, high, low, rest @ ..] = records {
            kinds |= 1 << kind;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            records = rest.get(length..).unwrap_or_default();
        }
        Self(kinds)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, kind: u8) -> bool {
        self.0 & (1 << kind) != 0
    }
}

/// How much of the front of `input` is whole records, in bytes: s2n never holds a part of one. What
/// cannot be a record is handed on, for s2n to refuse it.
pub(super) fn whole_records(input: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = &input[length..];
        let record = match *rest {
            // The form of SSLv2: only the first hello can have it.
            [high @ 0x80..=0xff, low, ..] if length == 0 => {
                2 + usize::from(u16::from_be_bytes([high & 0x7f, low]))
            }
            [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([high, low])),
            _ => return length,
        };
        if record > HEADER + MAX_CIPHERTEXT {
            return input.len();
        }
        if record > rest.len() {
            return length;
        }
        length += record;
    }
}

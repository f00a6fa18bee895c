//! Pass phrases as they are handed to a new binary: lists of bytes. They are read into one buffer,
//! since a vector that grows would leave a copy in each of its former places, and each later child
//! would have it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use zeroize::Zeroizing;

use super::vault;
use crate::tls::PassPhrases;

/// For serde.
///
/// # Errors
/// The serializer's.
pub(super) fn serialize<S: Serializer>(
    phrases: &PassPhrases,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for phrase in phrases.iter() {
        list.serialize_element(phrase)?;
    }
    list.end()
}

/// For serde.
///
/// # Errors
/// They are no lists of bytes; one is too long for the vault.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PassPhrases, D::Error> {
    deserializer.deserialize_seq(All)
}

/// Reads all of them.
struct All;

impl<'de> Visitor<'de> for All {
    type Value = PassPhrases;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pass phrases")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PassPhrases, A::Error> {
        let mut phrases = PassPhrases::none();
        let mut buffer = Zeroizing::new([0; vault::SIZE.get()]);
        while let Some(length) = list.next_element_seed(One(buffer.as_mut_slice()))? {
            phrases.push(&buffer[..length]);
        }
        Ok(phrases)
    }
}

/// Reads one into this; its length.
struct One<'a>(&'a mut [u8]);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pass phrase, as bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
        let mut length = 0;
        while let Some(byte) = list.next_element()? {
            let place = self.0.get_mut(length);
            *place.ok_or_else(|| A::Error::custom("a pass phrase that is too long"))? = byte;
            length += 1;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Saved(#[serde(with = "super")] PassPhrases);

    #[test]
    fn they_come_through_as_lists_of_bytes() {
        let long = [b'x'; 5000];
        let mut phrases = PassPhrases::none();
        let all = [&b"one"[..], &long, b"\xff\0"];
        all.iter().for_each(|phrase| phrases.push(phrase));
        let saved = serde_json::to_value(Saved(phrases)).unwrap();
        assert_eq!(saved[0], serde_json::json!([111, 110, 101]));
        let Saved(read) = serde_json::from_str(&saved.to_string()).unwrap();
        assert!(read.iter().eq(all));
    }

    #[test]
    fn what_is_too_long_or_no_bytes_is_refused() {
        let long = serde_json::json!([vec![1; vault::SIZE.get() + 1]]).to_string();
        for text in [&long, "[[256]]", "[\"one\"]", "1"] {
            assert!(serde_json::from_str::<Saved>(text).is_err());
        }
    }
}

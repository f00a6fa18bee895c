//! The ASN.1 of encrypted keys, element by element. BER, not only DER: some programs write PKCS#12 with
//! lengths of unknown size, and with strings in pieces (X.690, sections 8.1.3 and 8.7.3).

use std::borrow::Cow;

use x509_parser::asn1_rs::{Any, Class, FromBer, Tag};

/// The deepest nesting of a string in pieces.
const MAX_DEPTH: u8 = 8;

/// Something else is there than should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// The remaining elements of a sequence.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements in these bytes.
    pub(super) fn of(bytes: &'a [u8]) -> Elements<'a> {
        Elements(bytes)
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rest, undecoded.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Result<Any<'a>, Damaged> {
        let (rest, any) = Any::from_ber(self.0).map_err(|_| Damaged)?;
        self.0 = rest;
        Ok(any)
    }

    /// Whether exactly one SEQUENCE is left.
    pub(super) fn is_one_sequence(&self) -> bool {
        let mut ahead = self.clone();
        ahead.sequence().is_ok() && ahead.is_empty()
    }

    fn universal(&mut self, tag: Tag) -> Result<Any<'a>, Damaged> {
        self.optional(Class::Universal, tag)?.ok_or(Damaged)
    }

    /// The next element, if it has this tag.
    fn optional(&mut self, class: Class, tag: Tag) -> Result<Option<Any<'a>>, Damaged> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut ahead = self.clone();
        let any = ahead.any()?;
        if any.class() != class || any.tag() != tag {
            return Ok(None);
        }
        *self = ahead;
        Ok(Some(any))
    }

    /// The elements of a SEQUENCE.
    pub(super) fn sequence(&mut self) -> Result<Elements<'a>, Damaged> {
        Ok(Elements(self.universal(Tag::Sequence)?.data))
    }

    /// The elements of an optional SEQUENCE.
    pub(super) fn optional_sequence(&mut self) -> Result<Option<Elements<'a>>, Damaged> {
        let any = self.optional(Class::Universal, Tag::Sequence)?;
        Ok(any.map(|any| Elements(any.data)))
    }

    /// The content of `[0]`.
    pub(super) fn tagged(&mut self) -> Result<Elements<'a>, Damaged> {
        let any = self.optional(Class::ContextSpecific, Tag(0))?;
        Ok(Elements(any.ok_or(Damaged)?.data))
    }

    /// An OBJECT IDENTIFIER, encoded.
    pub(super) fn identifier(&mut self) -> Result<&'a [u8], Damaged> {
        Ok(self.universal(Tag::Oid)?.data)
    }

    /// A non-negative INTEGER.
    pub(super) fn number(&mut self) -> Result<u32, Damaged> {
        self.optional_number()?.ok_or(Damaged)
    }

    /// An optional, non-negative INTEGER.
    pub(super) fn optional_number(&mut self) -> Result<Option<u32>, Damaged> {
        let any = self.optional(Class::Universal, Tag::Integer)?;
        any.map(|any| any.u32().map_err(|_| Damaged)).transpose()
    }

    /// An OCTET STRING.
    pub(super) fn octets(&mut self) -> Result<Cow<'a, [u8]>, Damaged> {
        joined(&self.universal(Tag::OctetString)?, MAX_DEPTH)
    }

    /// An OCTET STRING whose tag is replaced by `[0]`.
    pub(super) fn tagged_octets(&mut self) -> Result<Cow<'a, [u8]>, Damaged> {
        let any = self.optional(Class::ContextSpecific, Tag(0))?;
        joined(&any.ok_or(Damaged)?, MAX_DEPTH)
    }
}

/// The bytes of a string in one piece or in several.
fn joined<'a>(any: &Any<'a>, depth: u8) -> Result<Cow<'a, [u8]>, Damaged> {
    if !any.header.is_constructed() {
        return Ok(Cow::Borrowed(any.data));
    }
    let depth = depth.checked_sub(1).ok_or(Damaged)?;
    let (mut pieces, mut all) = (Elements(any.data), Vec::new());
    while !pieces.is_empty() {
        let piece = pieces.universal(Tag::OctetString)?;
        all.extend_from_slice(&joined(&piece, depth)?);
    }
    Ok(Cow::Owned(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_in_pieces_and_of_unknown_length_is_read() {
        let bytes = [
            0x30, 0x80, 0x24, 0x80, 4, 1, b'a', 0x24, 3, 4, 1, b'b', 0, 0, 2, 1, 7, 0, 0,
        ];
        let mut elements = Elements::of(&bytes).sequence().unwrap();
        assert_eq!(elements.octets().unwrap().as_ref(), b"ab");
        assert_eq!(elements.optional_sequence().map(|s| s.is_some()), Ok(false));
        assert_eq!(elements.number(), Ok(7));
        assert!(elements.is_empty());
    }

    #[test]
    fn what_is_not_there_or_too_deep_is_damage() {
        assert_eq!(Elements::of(&[]).number(), Err(Damaged));
        assert_eq!(Elements::of(&[2, 1, 0xff]).number(), Err(Damaged));
        assert_eq!(Elements::of(&[2, 9, 1]).number(), Err(Damaged));
        let mut nested = vec![4, 0];
        for _ in 0..20 {
            nested = [&[0x24, nested.len() as u8][..], &nested].concat();
        }
        assert_eq!(Elements::of(&nested).octets().err(), Some(Damaged));
    }
}

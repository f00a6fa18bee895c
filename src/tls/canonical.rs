//! Names as OpenSSL compares them: by their text, not by its encoding. Each string becomes UTF-8, ASCII
//! letters become lower case, blanks at the ends are removed and others collapsed (x509_name_canon).

use aws_lc_rs::digest;

use super::der::{self, OBJECT_IDENTIFIER, SEQUENCE, SET};

/// The canonical form, equal for equal names: the RDNs without the SEQUENCE around them. `None` for
/// what is no name, or contains a string that cannot be decoded; OpenSSL reads no certificate with such
/// a name.
pub(super) fn name(name: &[u8]) -> Option<Vec<u8>> {
    let mut canonical = Vec::with_capacity(name.len());
    for rdn in der::all(der::only(name, SEQUENCE)?)? {
        if rdn.tag != SET {
            return None;
        }
        let attributes = der::all(rdn.content)?;
        let attributes: Option<Vec<_>> = attributes.iter().map(attribute).collect();
        let mut attributes = attributes?;
        // DER sorts the elements of a SET OF (X.690, section 11.6), and a changed text may move.
        attributes.sort_unstable();
        if !attributes.is_empty() {
            der::push(&mut canonical, SET, &attributes.concat());
        }
    }
    Some(canonical)
}

/// The number in the names of a certificate folder's files (X509_NAME_hash).
pub(super) fn hash(canonical: &[u8]) -> u32 {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, canonical);
    let first = digest.as_ref().first_chunk();
    first.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// A type with its value.
fn attribute(attribute: &der::Element<'_>) -> Option<Vec<u8>> {
    let [kind, value] = <[_; 2]>::try_from(der::all(attribute.content)?).ok()?;
    if attribute.tag != SEQUENCE || kind.tag != OBJECT_IDENTIFIER {
        return None;
    }
    let mut canonical = kind.whole.to_vec();
    match text(value.tag, value.content) {
        Text::Is(text) => der::push(&mut canonical, UTF8_STRING, folded(&text).as_bytes()),
        Text::IsNone => canonical.extend_from_slice(value.whole),
        Text::Damaged => return None,
    }
    Some(der::element(SEQUENCE, &canonical))
}

const UTF8_STRING: u8 = 0x0c;

enum Text {
    Is(String),
    /// A type that is compared as it stands: a number, bits, a sequence.
    IsNone,
    Damaged,
}

/// The text of a string, by its tag.
fn text(tag: u8, content: &[u8]) -> Text {
    let decoded = match tag {
        UTF8_STRING => std::str::from_utf8(content).ok().map(str::to_owned),
        // PrintableString, TeletexString, IA5String, VisibleString: OpenSSL treats them as Latin-1.
        0x13 | 0x14 | 0x16 | 0x1a => Some(content.iter().map(|byte| char::from(*byte)).collect()),
        // UniversalString
        0x1c => characters::<4>(content, u32::from_be_bytes),
        // BMPString
        0x1e => characters::<2>(content, |pair| u16::from_be_bytes(pair).into()),
        _ => return Text::IsNone,
    };
    decoded.map_or(Text::Damaged, Text::Is)
}

fn characters<const N: usize>(content: &[u8], number: fn([u8; N]) -> u32) -> Option<String> {
    let (characters, rest) = content.as_chunks::<N>();
    let characters = characters.iter().map(|one| char::from_u32(number(*one)));
    characters
        .collect::<Option<String>>()
        .filter(|_| rest.is_empty())
}

fn folded(text: &str) -> String {
    let is_blank = |c: char| matches!(c, ' ' | '\t'..='\r');
    let mut folded = String::with_capacity(text.len());
    for word in text.split(is_blank).filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name with one common name.
    fn common(tag: u8, value: &[u8]) -> Vec<u8> {
        of(&[&[(3, tag, value)]])
    }

    /// RDNs of attributes under 2.5.4.
    fn of(rdns: &[&[(u8, u8, &[u8])]]) -> Vec<u8> {
        let rdns = rdns.iter().map(|rdn| {
            let attributes = rdn.iter().map(|(kind, tag, value)| {
                let parts = [
                    der::element(OBJECT_IDENTIFIER, &[0x55, 4, *kind]),
                    der::element(*tag, value),
                ];
                der::element(SEQUENCE, &parts.concat())
            });
            der::element(SET, &attributes.collect::<Vec<_>>().concat())
        });
        der::element(SEQUENCE, &rdns.collect::<Vec<_>>().concat())
    }

    #[test]
    fn text_counts_and_not_its_encoding() {
        let expected = name(&common(UTF8_STRING, b"example root"));
        assert!(expected.is_some());
        for (tag, value) in [
            (0x13, &b"Example Root"[..]),
            (0x16, b"EXAMPLE ROOT"),
            (0x14, b" example\t\n\x0b\x0c\r root  "),
            (0x1a, b"example  Root"),
            (0x1e, b"\0e\0x\0a\0m\0p\0l\0e\0 \0 \0R\0o\0o\0t"),
            (0x1c, b"\0\0\0e\0\0\0x\0\0\0a\0\0\0m\0\0\0p\0\0\0l\0\0\0e\0\0\0 \0\0\0r\0\0\0o\0\0\0o\0\0\0t"),
        ] {
            assert_eq!(name(&common(tag, value)), expected, "{tag:#x}");
        }
        for (tag, value) in [
            (UTF8_STRING, &b"exampleroot"[..]),
            (UTF8_STRING, b"example root\0"),
            (UTF8_STRING, b"example\xc2\xa0root"),
            // NumericString is compared as it stands.
            (0x12, b"example root"),
        ] {
            assert_ne!(name(&common(tag, value)), expected, "{tag:#x} {value:?}");
        }
    }

    #[test]
    fn letters_beyond_ascii_keep_their_case_and_latin_1_becomes_utf_8() {
        let (small, large) = ("\u{e4}".as_bytes(), "\u{c4}".as_bytes());
        assert_ne!(name(&common(0x0c, small)), name(&common(0x0c, large)));
        assert_eq!(name(&common(0x14, &[0xe4])), name(&common(0x0c, small)));
        assert_eq!(name(&common(0x1e, &[0, 0xe4])), name(&common(0x0c, small)));
    }

    #[test]
    fn order_counts_between_rdns_and_not_within_one() {
        let a = (3, 0x13, &b"Z"[..]);
        let b = (10, 0x0c, &b"A"[..]);
        assert_eq!(name(&of(&[&[a, b]])), name(&of(&[&[b, a]])));
        assert_ne!(name(&of(&[&[a], &[b]])), name(&of(&[&[b], &[a]])));
        assert_ne!(name(&of(&[&[a], &[b]])), name(&of(&[&[a, b]])));
        assert_eq!(name(&of(&[])), Some(Vec::new()));
    }

    #[test]
    fn a_canonical_name_is_its_own() {
        let canonical = name(&of(&[
            &[(3, 0x13, b" A  b "), (10, 0x12, b"1")],
            &[(6, 0x13, b"PL")],
        ]));
        let canonical = canonical.unwrap();
        assert_eq!(name(&der::element(SEQUENCE, &canonical)), Some(canonical));
    }

    #[test]
    fn what_cannot_be_decoded_is_no_name() {
        for damaged in [
            common(0x0c, b"\xff"),
            common(0x1e, b"\0a\0"),
            common(0x1e, b"\xd8\0\xd8\0"),
            common(0x1c, b"\0\x11\0\0"),
            b"".to_vec(),
            b"\x30\x02\x30\0".to_vec(),
            b"\x30\x04\x31\x02\x30\0".to_vec(),
            [&common(0x0c, b"a")[..], b"\0"].concat(),
        ] {
            assert_eq!(name(&damaged), None, "{damaged:?}");
        }
    }
}

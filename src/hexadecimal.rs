//! Hexadecimal digits to bytes, which may be a secret and are wiped.

use zeroize::Zeroizing;

/// What pairs of digits say; `None`: there is something else.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    read(text, false)
}

/// The same with colons between the pairs or without (OPENSSL_hexstr2buf(3)).
pub(crate) fn decode_with_colons(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    read(text, true)
}

/// The digits of bytes, in lower case.
pub(crate) fn lower(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(text: &[u8], colons: bool) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut binary = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let mut rest = text;
    loop {
        rest = match *rest {
            [] => return Some(binary),
            [b':', ref behind @ ..] if colons => behind,
            [high, low, ref behind @ ..] => {
                binary.push(digit(high)? << 4 | digit(low)?);
                behind
            }
            [_] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_digits_with_colons_or_without() {
        for (text, plain, with_colons) in [
            ("", Some(&b""[..]), Some(&b""[..])),
            ("00fFA0", Some(b"\0\xff\xa0"), Some(b"\0\xff\xa0")),
            ("00:ff:a0", None, Some(b"\0\xff\xa0")),
            (":00ff::a0:", None, Some(b"\0\xff\xa0")),
            ("0", None, None),
            ("0:0", None, None),
            ("+1", None, None),
            ("0 00", None, None),
            ("\u{e9}", None, None),
        ] {
            let bytes = |read: Option<Zeroizing<Vec<u8>>>| read.map(|bytes| bytes.to_vec());
            let text = text.as_bytes();
            assert_eq!(bytes(decode(text)).as_deref(), plain);
            assert_eq!(bytes(decode_with_colons(text)).as_deref(), with_colons);
        }
    }
}

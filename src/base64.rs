//! Base64 as RFC 4648, section 4, has it, for logins in the dialogues of mail and of proxies. Never in here: a
//! guess at what is no base64.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes, with `=` at the end.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let byte = |n| u32::from(chunk.get(n).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            (0..4).map(move |n| match n <= chunk.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]),
                false => '=',
            })
        })
        .collect()
}

/// Decodes, with or without `=` at the end; `None`: it is no base64.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
        digits => digits,
    };
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(digits.len() / 4 * 3), 0_u32, 0);
    for digit in digits {
        let value = DIGITS.iter().position(|known| known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    // A digit alone is no byte.
    (digits.len() % 4 != 1).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_rfc_4648_lists_it() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded.as_bytes()), Some(plain.into()));
        }
    }

    #[test]
    fn what_is_no_base64_is_not_decoded() {
        for text in ["Z", "Zg===", "Zm9vY", "Zm 9", "Zm9-", "="] {
            let decoded = decode(text.as_bytes());
            assert!(decoded.is_none_or(|bytes| bytes.is_empty()), "{text}");
        }
        assert_eq!(decode(b"Zm9vYg"), Some(b"foob".to_vec()));
    }
}

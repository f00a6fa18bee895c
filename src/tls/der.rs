//! DER, one element at a time: enough to take a certificate apart and put it together again. Never in
//! here: what an element means.

/// SEQUENCE
pub(super) const SEQUENCE: u8 = 0x30;
/// SET
pub(super) const SET: u8 = 0x31;
/// OBJECT IDENTIFIER
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;

/// One element: tag, length, content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// The three together.
    pub(super) whole: &'a [u8],
}

/// The first element, and what follows it; `None` unless it is complete, with a one-byte tag and the
/// shortest form of its length (X.690, section 10.1).
pub(super) fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (long, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            let length = long
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            let shortest = length > 0x7f && long.first().is_some_and(|byte| *byte != 0);
            (shortest.then_some(length)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((
        Element {
            tag,
            content,
            whole,
        },
        rest,
    ))
}

/// The content of the single element in `bytes`.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (element, rest) = first(bytes)?;
    (element.tag == tag && rest.is_empty()).then_some(element.content)
}

/// All elements in `bytes`.
pub(super) fn all(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = first(bytes)?;
        elements.push(element);
        bytes = rest;
    }
    Some(elements)
}

/// Appends an element.
pub(super) fn push(to: &mut Vec<u8>, tag: u8, content: &[u8]) {
    to.push(tag);
    let length = content.len();
    if length <= 0x7f {
        to.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        to.push(0x80 | (bytes.len() - zeros) as u8);
        to.extend_from_slice(&bytes[zeros..]);
    }
    to.extend_from_slice(content);
}

/// An element by itself.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 6);
    push(&mut bytes, tag, content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_whatever_its_length() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let bytes = element(SEQUENCE, &content);
            assert_eq!(only(&bytes, SEQUENCE), Some(&content[..]));
            assert_eq!(only(&bytes, SET), None);
            assert_eq!(first(&bytes[..bytes.len() - 1]), None);
            let two = [&bytes[..], &bytes].concat();
            assert_eq!(only(&two, SEQUENCE), None);
            assert_eq!(all(&two).unwrap().len(), 2);
        }
    }

    #[test]
    fn only_the_shortest_lengths_and_short_tags_are_der() {
        for bytes in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x1f, 1, 0],
            &[0x30],
            &[],
        ] {
            assert_eq!(first(bytes), None, "{bytes:?}");
        }
    }
}

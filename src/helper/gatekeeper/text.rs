//! The text of hosts_access(5), as libwrap cuts it: lines, fields, words. Never in here: what a word means.

/// The longest line, in bytes, with its newline and without what continues it.
const MAX_LINE: usize = 2047;
/// Between the words of a list.
const SEPARATORS: &[u8] = b", \t\r\n";

/// A line; one that ends with a backslash goes on with the next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The number of its last line in the file.
    pub number: usize,
    pub text: Vec<u8>,
    /// It ends with a newline, and is not too long. libwrap goes past another in hosts.allow, and refuses each client
    /// that comes to it in hosts.deny.
    pub whole: bool,
}

/// The lines of a file.
pub(super) fn lines(file: &[u8]) -> Vec<Line> {
    let (mut lines, mut rest, mut number) = (Vec::new(), file, 0);
    while !rest.is_empty() {
        let (mut text, mut whole) = (Vec::new(), false);
        while !rest.is_empty() && text.len() < MAX_LINE {
            let room = rest.len().min(MAX_LINE - text.len());
            let newline = rest[..room].iter().position(|byte| *byte == b'\n');
            let (part, behind) = rest.split_at(newline.map_or(room, |at| at + 1));
            rest = behind;
            let Some(part) = part.strip_suffix(b"\n") else {
                text.extend(part);
                continue;
            };
            number += 1;
            match part.strip_suffix(b"\\") {
                Some(part) => text.extend(part),
                None => {
                    text.extend(part);
                    whole = true;
                    break;
                }
            }
        }
        if text.is_empty() && !whole {
            // A backslash that nothing follows: there is no line.
            break;
        }
        // It has begun a line that has no number yet.
        let number =
            number + usize::from(!whole && !file[..file.len() - rest.len()].ends_with(b"\n"));
        // For a text in C it ends there.
        whole &= !text.contains(&0);
        lines.push(Line {
            number,
            text,
            whole,
        });
    }
    lines
}

/// What stands before and behind a delimiter; one within brackets is none.
pub(super) fn split_at(text: &[u8], delimiter: u8) -> (&[u8], Option<&[u8]>) {
    let mut depth = 0_i32;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            byte if *byte == delimiter && depth == 0 => {
                return (&text[..at], Some(&text[at + 1..]));
            }
            _ => {}
        }
    }
    (text, None)
}

/// The words of a list.
pub(super) fn words(list: &[u8]) -> Vec<&[u8]> {
    let words = list.split(|byte| SEPARATORS.contains(byte));
    words.filter(|word| !word.is_empty()).collect()
}

/// Parts the options of a rule; a backslash takes a colon its meaning.
pub(super) fn options(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut options, mut option) = (Vec::new(), Vec::new());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if bytes.peek() == Some(&b':') => option.extend(bytes.next()),
            b':' => options.push(std::mem::take(&mut option)),
            byte => option.push(byte),
        }
    }
    options.push(option);
    let chopped = options.iter().map(|option| option.trim_ascii().to_vec());
    chopped.collect()
}

/// Whether a word is this one, whatever its case.
pub(super) fn is(word: &[u8], other: &str) -> bool {
    word.eq_ignore_ascii_case(other.as_bytes())
}

/// The number that a text begins with, as atoi(3) reads it; what is no number is 0.
pub(super) fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_i64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    sign * number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(file: &str) -> Vec<(usize, String, bool)> {
        let lines = lines(file.as_bytes()).into_iter();
        let told = lines.map(|l| (l.number, String::from_utf8(l.text).unwrap(), l.whole));
        told.collect()
    }

    #[test]
    fn lines_are_cut_as_libwrap_cuts_them() {
        let line = |number, text: &str, whole| (number, text.to_owned(), whole);
        assert_eq!(cut(""), []);
        assert_eq!(
            cut("a\n\nb"),
            [line(1, "a", true), line(2, "", true), line(3, "b", false)]
        );
        assert_eq!(
            cut("a\\\nb\nc\n"),
            [line(2, "ab", true), line(3, "c", true)]
        );
        assert_eq!(cut("a\\\n"), [line(1, "a", false)]);
        assert_eq!(cut("a\n\\\n\\\n"), [line(1, "a", true)]);
        assert_eq!(cut("a\\"), [line(1, "a\\", false)]);
        assert_eq!(
            cut("a\0b\nc\n"),
            [line(1, "a\0b", false), line(2, "c", true)]
        );
        let longest = "x".repeat(MAX_LINE - 1);
        assert_eq!(cut(&format!("{longest}\n")), [line(1, &longest, true)]);
        let longer = "x".repeat(MAX_LINE);
        assert_eq!(
            cut(&format!("{longer}yz\nb\n")),
            [
                line(1, &longer, false),
                line(1, "yz", true),
                line(2, "b", true)
            ]
        );
    }

    #[test]
    fn fields_and_words() {
        assert_eq!(split_at(b"a:b:c", b':'), (&b"a"[..], Some(&b"b:c"[..])));
        assert_eq!(split_at(b"[a:b]:c", b':'), (&b"[a:b]"[..], Some(&b"c"[..])));
        assert_eq!(split_at(b"[a:b", b':'), (&b"[a:b"[..], None));
        assert_eq!(words(b" a,b\t,c\r "), [b"a", b"b", b"c"]);
        assert_eq!(
            options(b"a b : c\\:d :"),
            [&b"a b"[..], &b"c:d"[..], &b""[..]]
        );
        for (text, value) in [
            ("8", 8),
            ("+8x", 8),
            ("-3", -3),
            ("x", 0),
            ("", 0),
            ("010", 10),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
        assert_eq!(number(&[b'9'; 40]), i64::MAX);
    }
}

//! What a server that is probed greets with, and how it is taken leave of, so that its log tells of no lost connection.

use crate::config::Protocol;

/// The longest greeting that is heard, in bytes.
const LONGEST: usize = 64 << 10;

/// How much of a line is shown.
const SHOWN: usize = 100;

/// What a greeting comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// There must be more.
    More,
    /// The server is ready.
    Well,
    /// It is not, by this line.
    Badly(String),
}

/// Judges what a server has said so far; `protocol` is one whose servers speak first.
pub(crate) fn greeting(protocol: Protocol, heard: &[u8]) -> Greeting {
    let whole = heard.iter().rposition(|byte| *byte == b'\n');
    let whole = whole.map_or(&[][..], |end| &heard[..end]);
    for line in whole.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match judge(protocol, line) {
            judged @ (Greeting::Well | Greeting::Badly(_)) if !line.is_empty() => return judged,
            _ => {}
        }
    }
    match heard.len() < LONGEST {
        true => Greeting::More,
        false => Greeting::Badly("no end of it".to_owned()),
    }
}

fn judge(protocol: Protocol, line: &[u8]) -> Greeting {
    let begins = |words: &[&[u8]]| {
        let mut words = words.iter();
        words.any(|word| {
            line.get(..word.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(word))
        })
    };
    let well = match protocol {
        Protocol::Pop3 => begins(&[b"+OK"]),
        Protocol::Imap => begins(&[b"* OK", b"* PREAUTH"]),
        // First it says what it can.
        Protocol::Sieve if !begins(&[b"NO", b"BYE"]) => match begins(&[b"OK"]) {
            true => true,
            false => return Greeting::More,
        },
        Protocol::Sieve => false,
        // More lines of the reply follow.
        _ if line.get(3) == Some(&b'-') => return Greeting::More,
        _ => begins(&[b"2"]),
    };
    match well {
        true => Greeting::Well,
        false => Greeting::Badly(shown(line)),
    }
}

/// The words that end a session which has said nothing else.
pub(crate) fn farewell(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Imap => b"a LOGOUT\r\n",
        Protocol::Sieve => b"LOGOUT\r\n",
        _ => b"QUIT\r\n",
    }
}

fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect()
}

/// What has been judged once stays so, whatever comes behind it, and a log line can show it.
#[cfg(fuzzing)]
pub(crate) fn fuzz(input: &[u8]) {
    use Protocol::{Ftp, Imap, Lmtp, Nntp, Pop3, Sieve, Smtp};
    let all = [Ftp, Imap, Lmtp, Nntp, Pop3, Sieve, Smtp];
    let Some((which, heard)) = input.split_first() else {
        return;
    };
    let protocol = all[usize::from(*which) % all.len()];
    let whole = greeting(protocol, heard);
    assert!(whole != Greeting::More || heard.len() < LONGEST);
    if let Greeting::Badly(line) = &whole {
        assert!(!line.chars().any(char::is_control));
    }
    let ends = heard.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    for (end, _) in ends.take(16) {
        let part = greeting(protocol, &heard[..=end]);
        assert!(part == Greeting::More || part == whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_heard_to_its_end_and_no_further() {
        use Protocol::{Ftp, Imap, Nntp, Pop3, Sieve, Smtp};
        let bad = |line: &str| Greeting::Badly(line.to_owned());
        for (protocol, heard, expected) in [
            (Smtp, "", Greeting::More),
            (Smtp, "220 mail.example", Greeting::More),
            (Smtp, "220 mail.example\r\n", Greeting::Well),
            (Smtp, "220-mail.example\r\n", Greeting::More),
            (Smtp, "220-mail\r\n220 ready\r\n", Greeting::Well),
            (Smtp, "421 too busy\r\n", bad("421 too busy")),
            (Smtp, "554-no\r\n554 never\n", bad("554 never")),
            (Ftp, "\r\n220 x\r\n", Greeting::Well),
            (Nntp, "201 read alone\r\n", Greeting::Well),
            (Nntp, "400 away\r\n", bad("400 away")),
            (Pop3, "", Greeting::More),
            (Imap, "* O", Greeting::More),
            (Sieve, "OK", Greeting::More),
            (Pop3, "+OK ready\r\n", Greeting::Well),
            (Pop3, "-ERR\t\x07\r\n", bad("-ERR\\t\\u{7}")),
            (Imap, "* OK ready\r\n", Greeting::Well),
            (Imap, "* preauth\r\n", Greeting::Well),
            (Imap, "* BYE away\r\n", bad("* BYE away")),
            (Sieve, "\"SIEVE\" \"fileinto\"\r\n", Greeting::More),
            (Sieve, "\"SIEVE\" \"\"\r\nOK \"x\"\r\n", Greeting::Well),
            (Sieve, "BYE\r\n", bad("BYE")),
        ] {
            let judged = greeting(protocol, heard.as_bytes());
            assert_eq!(judged, expected, "{protocol:?} {heard:?}");
        }
        assert_eq!(greeting(Smtp, &[b'x'; LONGEST - 1]), Greeting::More);
        let endless = greeting(Smtp, &[b'x'; LONGEST]);
        assert_eq!(endless, bad("no end of it"));
    }
}

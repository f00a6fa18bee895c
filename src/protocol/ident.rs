//! IDENT (RFC 1413): which user of the client's machine a connection belongs to, as that machine says. Never in
//! here: a socket, or whether the user is the right one.

use std::fmt;

/// The longest answer, in bytes: 1000 characters and some white space (section 6).
const MAX_ANSWER: usize = 1024;

/// The two ports of a connection: the client's and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub client: u16,
    pub server: u16,
}

/// Why an answer names no user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no answer, or one about another connection.
    Malformed,
    /// It tells of an error, in this word of section 5.
    Error(String),
    /// It has no end.
    TooLong,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // stunnel's words.
        match self {
            Wrong::Malformed => f.write_str("Malformed IDENT response"),
            Wrong::Error(word) => write!(f, "Incorrect IDENT response type: {word}"),
            Wrong::TooLong => f.write_str("Malformed IDENT response: it has no end"),
        }
    }
}

/// The question.
pub(crate) fn question(ports: Ports) -> String {
    format!("{} , {}\r\n", ports.client, ports.server)
}

/// The user that an answer names, whatever characters that has; `Ok(None)` while more is to come.
///
/// # Errors
/// See [`Wrong`].
pub(crate) fn read(heard: &[u8], ports: Ports) -> Result<Option<String>, Wrong> {
    let end = heard.iter().position(|byte| *byte == b'\n');
    let line = match end {
        Some(end) if end <= MAX_ANSWER => &heard[..end],
        None if heard.len() <= MAX_ANSWER => return Ok(None),
        _ => return Err(Wrong::TooLong),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut fields = line.splitn(4, |byte| *byte == b':');
    let mut field = || fields.next().ok_or(Wrong::Malformed);
    let (about, kind, system) = (field()?, field()?, field()?);
    if !is_about(about, ports) {
        return Err(Wrong::Malformed);
    }
    if !kind.trim_ascii().eq_ignore_ascii_case(b"USERID") {
        return Err(Wrong::Error(shown(system)));
    }
    // Blanks in front are the identd's habit, and no part of the name; stunnel leaves them out too.
    let user = field()?;
    let blanks = user.iter().take_while(|byte| **byte == b' ').count();
    Ok(Some(String::from_utf8_lossy(&user[blanks..]).into_owned()))
}

/// `PORT , PORT`
fn is_about(field: &[u8], ports: Ports) -> bool {
    let mut numbers = field.split(|byte| *byte == b',').map(|number| {
        let number = std::str::from_utf8(number.trim_ascii()).ok()?;
        number.parse::<u16>().ok()
    });
    let both = [numbers.next().flatten(), numbers.next().flatten()];
    both == [Some(ports.client), Some(ports.server)] && numbers.next().is_none()
}

/// A stranger's word, as the log may show it.
fn shown(word: &[u8]) -> String {
    let text = String::from_utf8_lossy(word.trim_ascii());
    let start = text.floor_char_boundary(64);
    text[..start].escape_debug().to_string()
}

/// What `fuzz/` does with this room: an answer that is taken ends in a line, and what comes behind changes nothing.
#[cfg(fuzzing)]
#[expect(
    clippy::expect_used,
    reason = "a panic is how libFuzzer learns of a fault"
)]
pub(crate) fn fuzz(heard: &[u8]) {
    let ports = Ports {
        client: 6193,
        server: 23,
    };
    let read_of = |bytes: &[u8]| read(bytes, ports);
    if let Ok(Some(user)) = read_of(heard) {
        assert!(!user.contains('\n') && user.len() <= 3 * MAX_ANSWER);
        let end = heard.iter().position(|byte| *byte == b'\n');
        let line = &heard[..=end.expect("the end of a line")];
        assert_eq!(read_of(line), Ok(Some(user)));
        for length in 0..line.len() {
            assert_eq!(read_of(&line[..length]), Ok(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        client: 6193,
        server: 23,
    };

    #[test]
    fn answers_are_read_as_in_the_rfc_and_by_stunnel() {
        assert_eq!(question(PORTS), "6193 , 23\r\n");
        for (heard, user) in [
            // The examples of RFC 1413, sections 4 and 6.
            ("6193, 23 : USERID : UNIX : stjohns\r\n", "stjohns"),
            ("6193,23:USERID:UNIX,US-ASCII:joe\r\n", "joe"),
            (
                "6193, 23 : USERID : OTHER : StJohns/DCA:x\r\n",
                "StJohns/DCA:x",
            ),
            ("6193 , 23 : userid : UNIX : root\n", "root"),
            ("6193 , 23 : USERID : UNIX : a b \r\n", "a b "),
            ("6193 , 23 : USERID : UNIX :\r\n", ""),
            ("6193 , 23 : USERID : UNIX : root\r\nmore\r\n", "root"),
        ] {
            assert_eq!(
                read(heard.as_bytes(), PORTS),
                Ok(Some(user.to_owned())),
                "{heard}"
            );
            for length in 0..heard.find('\n').unwrap() {
                assert_eq!(
                    read(&heard.as_bytes()[..length], PORTS),
                    Ok(None),
                    "{heard}"
                );
            }
        }
    }

    #[test]
    fn what_names_no_user_is_told_in_stunnels_words() {
        for (heard, told) in [
            (
                "6193, 23 : ERROR : NO-USER\r\n",
                "Incorrect IDENT response type: NO-USER",
            ),
            (
                "6193, 23 : ERROR : \x1b[2J\r\n",
                "Incorrect IDENT response type: \\u{1b}[2J",
            ),
            ("\r\n", "Malformed IDENT response"),
            ("6193, 23 : USERID\r\n", "Malformed IDENT response"),
            ("6193, 23 : USERID : UNIX\r\n", "Malformed IDENT response"),
            (
                "6193, 24 : USERID : UNIX : root\r\n",
                "Malformed IDENT response",
            ),
            (
                "23, 6193 : USERID : UNIX : root\r\n",
                "Malformed IDENT response",
            ),
            (
                "6193 : USERID : UNIX : root\r\n",
                "Malformed IDENT response",
            ),
            (
                "6193, 23, 1 : USERID : UNIX : root\r\n",
                "Malformed IDENT response",
            ),
        ] {
            let wrong = read(heard.as_bytes(), PORTS).unwrap_err();
            assert_eq!(wrong.to_string(), told, "{heard}");
        }
        let endless = [b'x'; MAX_ANSWER + 1];
        assert_eq!(read(&endless[1..], PORTS), Ok(None));
        assert_eq!(read(&endless, PORTS), Err(Wrong::TooLong));
    }
}

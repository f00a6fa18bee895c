//! One request in HTTP/1.0 and what comes back, sans-IO. Never in here: what a body means, a redirection.

use crate::config::HttpUrl;

/// The longest body of an answer, in bytes: an OCSP response with its certificates has 2 to 6 KiB.
pub(crate) const MAX_ANSWER: usize = 64 << 10;

/// The longest status line and headers, in bytes.
const MAX_HEAD: usize = 8 << 10;
/// The longest line of a chunk's length, or behind the last chunk, in bytes.
const MAX_LINE: usize = 1024;

/// A POST whose answer ends with its connection at the latest.
pub(crate) fn post(url: &HttpUrl, types: Types, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: adit\r\nContent-Type: {}\r\n\
         Accept: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        url.target(),
        url.authority(),
        types.sent,
        types.wanted,
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// What is posted, and what is to come back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Types {
    pub sent: &'static str,
    pub wanted: &'static str,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// After so many bytes.
    Told(usize),
    Chunked,
    /// With the connection.
    Open,
}

/// Reads an answer of status 200.
///
/// Gives `Ok(None)` while more is to come; `over`: nothing will.
///
/// # Errors
/// It is no answer that can be used, and why.
pub(crate) fn read(heard: &[u8], over: bool) -> Result<Option<Vec<u8>>, String> {
    let answer = read_some(heard, over, |status| match status {
        200 => Ok(()),
        other => Err(format!("the responder answers with HTTP status {other}")),
    })?;
    Ok(answer.map(|(_, body)| body))
}

/// As [`read`], of any status, which comes with it.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_any(heard: &[u8], over: bool) -> Result<Option<(u16, Vec<u8>)>, String> {
    read_some(heard, over, |_| Ok(()))
}

fn read_some(
    heard: &[u8],
    over: bool,
    wanted: impl Fn(u16) -> Result<(), String>,
) -> Result<Option<(u16, Vec<u8>)>, String> {
    let mut rest = heard;
    let (status, length) = loop {
        let Some((head, behind)) = split_head(rest) else {
            return match () {
                () if rest.len() > MAX_HEAD => Err("the answer's headers have no end".into()),
                () if over && heard.is_empty() => Err("the server answers nothing".into()),
                () if over => Err("the answer is cut short".into()),
                () => Ok(None),
            };
        };
        rest = behind;
        match status(head)? {
            // Another answer follows (RFC 9110, section 15.2).
            100..=199 => {}
            status => {
                wanted(status)?;
                break (status, length_of(head)?);
            }
        }
    };
    let body = match length {
        Length::Told(length) if length > MAX_ANSWER => return Err(too_long()),
        Length::Told(length) => rest.get(..length).map(<[u8]>::to_vec),
        Length::Open if rest.len() > MAX_ANSWER => return Err(too_long()),
        Length::Open => over.then(|| rest.to_vec()),
        Length::Chunked => chunks(rest)?,
    };
    match body {
        None if over => Err("the answer is cut short".into()),
        body => Ok(body.map(|body| (status, body))),
    }
}

/// The most bytes that an answer may have on the way.
pub(crate) const MAX_HEARD: usize = 4 * MAX_ANSWER;

fn too_long() -> String {
    format!("the answer is longer than {MAX_ANSWER} bytes")
}

/// The status line and headers, and what follows the empty line.
fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let within = &bytes[..bytes.len().min(MAX_HEAD)];
    let mut ends = within.windows(4).enumerate();
    let (at, _) = ends.find(|(_, four)| four == b"\r\n\r\n")?;
    Some((&bytes[..at], &bytes[at + 4..]))
}

/// The status of an answer.
fn status(head: &[u8]) -> Result<u16, String> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0' | b'1',
            b' ',
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            rest @ ..,
        ] if !rest.first().is_some_and(u8::is_ascii_digit) => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Ok(100 * digit(a) + 10 * digit(b) + digit(c))
        }
        _ => Err("the answer is not HTTP".into()),
    }
}

fn length_of(head: &[u8]) -> Result<Length, String> {
    let mut told = None;
    let mut chunked = false;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("the answer is in a transfer encoding other than chunked".into());
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10).ok_or("the answer's Content-Length is no number")?;
            if told.is_some_and(|told| told != length) {
                return Err("the answer has two lengths".into());
            }
            told = Some(length);
        }
    }
    Ok(match (chunked, told) {
        (true, _) => Length::Chunked,
        (false, Some(length)) => Length::Told(length),
        (false, None) => Length::Open,
    })
}

/// A number without a sign; one that is too large for any body counts as that.
fn number(digits: &[u8], radix: u32) -> Option<usize> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    if digits.is_empty() || !digits.iter().all(is_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(usize::from_str_radix(text, radix).unwrap_or(usize::MAX))
}

/// The body in chunks (RFC 9112, section 7.1), once its end is there.
fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some((line, behind)) = split_line(rest)? else {
            return Ok(None);
        };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let length = number(digits.trim_ascii(), 16).ok_or("the answer has a broken chunk")?;
        if length == 0 {
            return Ok(behind_trailers(behind)?.then_some(body));
        }
        if length > MAX_ANSWER - body.len() {
            return Err(too_long());
        }
        let Some((chunk, behind)) = behind.split_at_checked(length) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = match behind {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Ok(None),
            _ => return Err("the answer has a broken chunk".into()),
        };
    }
}

/// Whether the lines behind the last chunk have ended.
fn behind_trailers(mut rest: &[u8]) -> Result<bool, String> {
    loop {
        match split_line(rest)? {
            None => return Ok(false),
            Some(([], _)) => return Ok(true),
            Some((_, behind)) => rest = behind,
        }
    }
}

type Line<'a> = Option<(&'a [u8], &'a [u8])>;

fn split_line(bytes: &[u8]) -> Result<Line<'_>, String> {
    let within = &bytes[..bytes.len().min(MAX_LINE)];
    match within.windows(2).position(|two| two == b"\r\n") {
        Some(at) => Ok(Some((&bytes[..at], &bytes[at + 2..]))),
        None if bytes.len() >= MAX_LINE => Err("the answer has a line without end".into()),
        None => Ok(None),
    }
}

/// Of fuzz/: an answer is read the same however it comes in, and its body is within bounds.
#[cfg(fuzzing)]
#[expect(clippy::expect_used, reason = "that is how libFuzzer learns of it")]
pub(crate) fn fuzz(heard: &[u8]) {
    let whole = read(heard, true);
    let first = (0..=heard.len()).find_map(|end| match read(&heard[..end], false) {
        Ok(None) => None,
        other => Some(other),
    });
    match first {
        Some(Ok(body)) => {
            let body = body.expect("not none");
            assert!(body.len() <= MAX_ANSWER);
            assert_eq!(whole, Ok(Some(body)));
        }
        Some(Err(_)) => assert!(whole.is_err()),
        None => assert!(!matches!(whole, Ok(None))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_host_and_its_length() {
        let url = HttpUrl::parse("http://ocsp.example:8080/ca?x").unwrap();
        let types = Types {
            sent: "text/plain",
            wanted: "text/html",
        };
        let text = String::from_utf8(post(&url, types, b"body")).unwrap();
        assert!(text.starts_with("POST /ca?x HTTP/1.1\r\nHost: ocsp.example:8080\r\n"));
        assert!(text.contains(
            "\r\nContent-Type: text/plain\r\nAccept: text/html\r\nContent-Length: 4\r\n"
        ));
        assert!(text.ends_with("\r\n\r\nbody"));
    }

    /// What was heard until the end; the body, or a part of the reason.
    const ANSWERS: &[(&str, Result<&str, &str>)] = &[
        ("HTTP/1.0 200 OK\r\n\r\nbody", Ok("body")),
        (
            "HTTP/1.1 200\r\ncontent-length:4\r\n\r\nbody, and more",
            Ok("body"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok("")),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            Ok("x"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nbod\r\n01\r\ny\r\n0\r\nA: b\r\n\r\n",
            Ok("body"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            Ok("x"),
        ),
        ("", Err("answers nothing")),
        ("HTTP/1.1 200 OK\r\n", Err("cut short")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
            Err("cut short"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
            Err("cut short"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n",
            Err("broken chunk"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n",
            Err("broken chunk"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            Err("transfer encoding"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
            Err("longer than 65536"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            Err("longer than"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n",
            Err("longer than"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
            Err("two lengths"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            Err("no number"),
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n", Err("HTTP status 404")),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n",
            Err("HTTP status 302"),
        ),
        ("HTTP/1.1 2000 OK\r\n\r\n", Err("not HTTP")),
        ("SSH-2.0-OpenSSH\r\n\r\n", Err("not HTTP")),
    ];

    #[test]
    fn answers_are_read_to_their_end() {
        for (heard, expected) in ANSWERS {
            let read = read(heard.as_bytes(), true);
            match (expected, &read) {
                (Ok(body), Ok(Some(found))) => assert_eq!(found, body.as_bytes(), "{heard}"),
                (Err(part), Err(why)) => assert!(why.contains(part), "{heard}: {why}"),
                _ => panic!("{heard}: {read:?}"),
            }
        }
    }

    #[test]
    fn an_answer_of_another_status_can_be_asked_for() {
        let heard = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read_any(heard, false), Ok(Some((400, b"{}".to_vec()))));
        assert!(read(heard, false).is_err());
    }

    #[test]
    fn bytes_that_trickle_in_come_to_the_same() {
        for (heard, _) in ANSWERS.iter().filter(|(_, expected)| expected.is_ok()) {
            let whole = read(heard.as_bytes(), true);
            for end in 0..heard.len() {
                let part = read(&heard.as_bytes()[..end], false);
                assert!(
                    part == Ok(None) || part == whole,
                    "{heard} to {end}: {part:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_read_without_end() {
        let head = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; MAX_HEAD]].concat();
        assert!(read(&head, false).unwrap_err().contains("no end"));
        let line = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let line = [line, vec![b'0'; MAX_LINE]].concat();
        assert!(read(&line, false).unwrap_err().contains("without end"));
        let open = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![0; MAX_ANSWER + 1]].concat();
        assert!(read(&open, false).unwrap_err().contains("longer"));
    }
}

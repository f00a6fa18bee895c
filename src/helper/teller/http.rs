//! As much of HTTP/1.1 (RFC 9110, RFC 9112) as GET and HEAD of a few pages need: bytes in, a request or a
//! refusal out. One request a connection. No socket, no clock in here.

use std::fmt::Write;

/// Longest request, in bytes: headers of browsers and proxies are far shorter.
pub(super) const MAX_REQUEST: usize = 8192;

/// Statuses that are answered (RFC 9110, section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Misdirected,
    TooLong,
    OtherVersion,
    Unavailable,
}

impl Status {
    /// The status line behind the version.
    pub(super) fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::Misdirected => "421 Misdirected Request",
            Status::TooLong => "431 Request Header Fields Too Large",
            Status::OtherVersion => "505 HTTP Version Not Supported",
            Status::Unavailable => "503 Service Unavailable",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Without query.
    pub path: String,
    /// HEAD: the headers alone are wanted.
    pub head: bool,
    /// The name and port that were asked for, where they were told.
    pub host: Option<String>,
    /// A browser may have sent it: see [`is_of_a_browser`].
    pub browses: bool,
}

/// What has come so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not all of a request.
    More,
    Request(Request),
    Refused(Status),
}

/// Reads what has come of a request.
pub(super) fn read(bytes: &[u8]) -> Progress {
    // RFC 9112, section 2.2: empty lines before a request are passed over.
    let whole_length = bytes.len();
    let blanks = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    let bytes = &bytes[blanks.count()..];
    if bytes.first().is_some_and(|&first| !is_token(&[first])) {
        // TLS, say: it would wait for an answer for ever.
        return Progress::Refused(Status::BadRequest);
    }
    let Some(end) = end_of_head(bytes) else {
        return match whole_length < MAX_REQUEST {
            true => Progress::More,
            false => Progress::Refused(Status::TooLong),
        };
    };
    match whole(&bytes[..end]) {
        Ok(request) => Progress::Request(request),
        Err(status) => Progress::Refused(status),
    }
}

/// Where the empty line is that ends a request's head.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut after = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    after.find_map(|(at, _)| {
        let rest = &bytes[at + 1..];
        (rest.starts_with(b"\n") || rest.starts_with(b"\r\n")).then_some(at)
    })
}

fn whole(head: &[u8]) -> Result<Request, Status> {
    let mut lines = head
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, version] = words[..] else {
        return Err(Status::BadRequest);
    };
    let &[b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = version else {
        return Err(Status::BadRequest);
    };
    if !is_token(method) || !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return Err(Status::BadRequest);
    }
    if major != b'1' {
        return Err(Status::OtherVersion);
    }
    let (mut hosts, mut browses) = (Vec::new(), false);
    for line in lines {
        let colon = line.iter().position(|b| *b == b':');
        let (name, value) = line.split_at(colon.ok_or(Status::BadRequest)?);
        // Blanks before the colon, and lines that go on, are attacks (sections 5.1 and 5.2).
        let control = |b: &u8| b.is_ascii_control() && *b != b'\t';
        if !is_token(name) || value.iter().any(control) {
            return Err(Status::BadRequest);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            hosts.push(value);
        }
        browses |= is_of_a_browser(name);
    }
    if hosts.len() > 1 || (minor != b'0' && hosts.is_empty()) {
        return Err(Status::BadRequest);
    }
    if !matches!(method, b"GET" | b"HEAD") {
        return Err(Status::MethodNotAllowed);
    }
    let (named, path) = parts(target).ok_or(Status::BadRequest)?;
    let told = hosts.first().map(|host| String::from_utf8_lossy(host));
    Ok(Request {
        path,
        head: method == b"HEAD",
        // The one in the target counts (section 3.2.2).
        host: named.or_else(|| told.map(String::from)),
        browses,
    })
}

/// Whether a header is one that browsers send, and other programs hardly: scripts may change Accept-Language, and cannot
/// take it away (the Fetch standard). What compresses is no sign: curl, Zabbix and Python's requests ask for that too.
fn is_of_a_browser(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    is(b"accept-language")
        || is(b"origin")
        || is(b"referer")
        || name.to_ascii_lowercase().starts_with(b"sec-")
}

/// The host, if it is there, and the path of `/path?query` or `http://host/path` (RFC 9112, section 3.2).
fn parts(target: &[u8]) -> Option<(Option<String>, String)> {
    let target = std::str::from_utf8(target).ok()?;
    if target.contains(|c: char| c.is_control()) {
        return None;
    }
    let (host, target) = match target.split_once("://") {
        Some(("http", rest)) => {
            let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(host.to_owned()), target)
        }
        _ => (None, target),
    };
    let path = target.split(['?', '#']).next()?;
    match path {
        "" => Some((host, "/".to_owned())),
        path => path.starts_with('/').then(|| (host, path.to_owned())),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(is)
}

/// A whole answer; `headers` are further ones, each with its end of line. The connection ends with it.
pub(super) fn answer(status: Status, kind: &str, headers: &str, body: &str, head: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {}\r\n", status.line());
    if status == Status::MethodNotAllowed {
        text.push_str("Allow: GET, HEAD\r\n");
    }
    let _ = write!(
        text,
        "Content-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{headers}Connection: close\r\n\r\n",
        body.len()
    );
    if !head {
        text.push_str(body);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Status {
        match read(text.as_bytes()) {
            Progress::Refused(status) => status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn path_of(text: &str) -> String {
        match read(text.as_bytes()) {
            Progress::Request(request) => request.path,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_however_it_is_cut() {
        let text = b"\r\nGET /metrics?a=b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), Progress::More, "{end}");
        }
        let wanted = |head: bool| {
            let (path, host) = ("/metrics".to_owned(), (!head).then(|| "h".to_owned()));
            Progress::Request(Request {
                path,
                head,
                host,
                browses: false,
            })
        };
        assert_eq!(read(text), wanted(false));
        assert_eq!(read(b"HEAD /metrics HTTP/1.0\n\n"), wanted(true));
        assert_eq!(
            path_of("GET http://h:1/health HTTP/1.1\r\nhost:h\r\n\r\n"),
            "/health"
        );
        assert_eq!(path_of("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n"), "/");
        assert_eq!(path_of("GET /? HTTP/1.0\r\n\r\n"), "/");
    }

    #[test]
    fn the_host_of_the_target_counts_for_more_than_that_of_the_header() {
        let host_of = |text: &str| match read(text.as_bytes()) {
            Progress::Request(request) => request.host,
            other => panic!("{text:?}: {other:?}"),
        };
        for (text, host) in [
            ("GET / HTTP/1.1\r\nhOST:  h:1 \t\r\n\r\n", Some("h:1")),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Some("")),
            ("GET http://a:2?b HTTP/1.1\r\nHost: h\r\n\r\n", Some("a:2")),
            ("GET http:///b HTTP/1.1\r\nHost: h\r\n\r\n", Some("")),
            ("GET / HTTP/1.0\r\n\r\n", None),
        ] {
            assert_eq!(host_of(text).as_deref(), host, "{text:?}");
        }
    }

    #[test]
    fn a_browser_is_known_by_what_it_always_sends() {
        let browses = |header: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n");
            match read(text.as_bytes()) {
                Progress::Request(request) => request.browses,
                other => panic!("{text:?}: {other:?}"),
            }
        };
        for header in [
            "Accept-Language: de",
            "accept-language:",
            "Sec-Fetch-Site: same-origin",
            "Origin: http://evil.example",
            "Referer: http://evil.example/",
        ] {
            assert!(browses(header), "{header}");
        }
        // Prometheus, curl, wget, and a load balancer.
        for header in [
            "Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10",
            "User-Agent: curl/8.5.0\r\nAccept: */*",
            "Accept-Encoding: deflate, gzip, br",
            "Connection: close",
        ] {
            assert!(!browses(header), "{header}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "\u{16}\u{3}\u{1}",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\rX\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\0\r\n\r\n",
            "GET / http/1.1\r\nHost: h\r\n\r\n",
            "GET metrics HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        ] {
            assert_eq!(refused(text), Status::BadRequest, "{text:?}");
        }
        assert_eq!(
            refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            Status::OtherVersion
        );
        for method in ["POST", "OPTIONS", "BREW", "get"] {
            let text = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(refused(&text), Status::MethodNotAllowed);
        }
        let long = format!("GET / HTTP/1.1\r\nHost: {}", "h".repeat(MAX_REQUEST));
        assert_eq!(refused(&long), Status::TooLong);
        assert_eq!(refused(&"\r\n".repeat(MAX_REQUEST)), Status::TooLong);
    }

    #[test]
    fn no_bytes_at_all_make_it_panic() {
        let pieces = [
            "GET", " ", "/", "HTTP/1.1", "\r", "\n", ":", "h", "\0", "\u{ff}", "?", "://",
        ];
        let mut state = 7_u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
            }
            let _ = read(text.as_bytes());
        }
    }

    #[test]
    fn an_answer_to_head_has_the_length_of_the_body_that_it_leaves_out() {
        let text =
            String::from_utf8(answer(Status::Ok, "text/plain", "A: b\r\n", "four", true)).unwrap();
        assert!(text.contains("Content-Length: 4\r\n") && text.ends_with("\r\n\r\n"));
        assert!(text.contains("\r\nA: b\r\nConnection: close\r\n"));
        let text = answer(Status::MethodNotAllowed, "text/plain", "", "four", false);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("Allow: GET, HEAD\r\n") && text.ends_with("\r\n\r\nfour"));
    }
}

//! `adit ca show --serve`: gives the authority's certificate to one browser, over plain HTTP, and ends.
//! Never in here: a key, or another file.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::cli::listener::{canonical, is_passing, take_leave};
use crate::log::Reason;

/// How long a browser may be silent.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest request that is read, in bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// What a request is answered with.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// More of it is needed.
    Incomplete,
    /// The certificate.
    Certificate,
    /// Its headers alone, for HEAD.
    Headers,
    /// This status, and no certificate.
    Refused(&'static str),
}

/// Serves until one browser has got the certificate, which is in DER.
///
/// # Errors
/// No connection can be accepted any more.
pub(super) fn hand_out(
    listener: &TcpListener,
    certificate: &[u8],
    progress: &mut dyn io::Write,
) -> io::Result<()> {
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        let peer = canonical(peer);
        // Standard error may be closed; what is handed out counts.
        match answer(stream, certificate) {
            Ok(Answer::Certificate) => {
                let _ = writeln!(progress, "{peer} has the certificate.");
                return Ok(());
            }
            Ok(Answer::Incomplete) => {
                let _ = writeln!(progress, "{peer} asked for nothing. Waiting for another.");
            }
            Ok(Answer::Headers) => {}
            Ok(Answer::Refused(status)) => {
                let _ = writeln!(
                    progress,
                    "{peer} was answered {status}. Waiting for another."
                );
            }
            Err(error) => {
                let reason = Reason(&error);
                let _ = writeln!(progress, "{peer} broke off: {reason}. Waiting for another.");
            }
        }
    }
}

fn answer(mut stream: TcpStream, certificate: &[u8]) -> io::Result<Answer> {
    stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let (mut request, mut scratch) = (Vec::new(), [0; 2048]);
    let answer = loop {
        match judged(&request) {
            Answer::Incomplete => {}
            answer => break answer,
        }
        match stream.read(&mut scratch)? {
            0 => return Ok(Answer::Incomplete),
            length => request.extend_from_slice(&scratch[..length]),
        }
    };
    stream.write_all(&response(&answer, certificate))?;
    take_leave(&stream);
    Ok(answer)
}

/// Which answer a request gets (RFC 9112).
fn judged(request: &[u8]) -> Answer {
    let has = |end: &[u8]| request.windows(end.len()).any(|window| window == end);
    if !has(b"\r\n\r\n") && !has(b"\n\n") {
        return match request.len() >= MAX_REQUEST {
            true => Answer::Refused("431 Request Header Fields Too Large"),
            false => Answer::Incomplete,
        };
    }
    let line = request.split(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default().trim_ascii();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next()) {
        // Browsers ask for it by themselves.
        (Some(b"GET" | b"HEAD"), Some(b"/favicon.ico"), _) => Answer::Refused("404 Not Found"),
        (Some(b"GET"), Some(_), Some(version)) if version.starts_with(b"HTTP/1.") => {
            Answer::Certificate
        }
        (Some(b"HEAD"), Some(_), Some(version)) if version.starts_with(b"HTTP/1.") => {
            Answer::Headers
        }
        (Some(b"POST" | b"PUT" | b"CONNECT"), ..) => Answer::Refused("405 Method Not Allowed"),
        _ => Answer::Refused("400 Bad Request"),
    }
}

fn response(answer: &Answer, certificate: &[u8]) -> Vec<u8> {
    let (status, body) = match answer {
        Answer::Incomplete => return Vec::new(),
        Answer::Refused(status) => {
            let text = "HTTP/1.1 ".to_owned()
                + status
                + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return text.into_bytes();
        }
        Answer::Certificate => ("200 OK", certificate),
        Answer::Headers => ("200 OK", &[][..]),
    };
    // By the type Internet Explorer and Netscape offer to install it; by the name Windows knows what to do
    // with the file.
    let head = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: application/x-x509-ca-cert\r\n\
         Content-Disposition: attachment; filename=\"adit-ca.crt\"\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        certificate.len()
    );
    [head.as_bytes(), body].concat()
}

/// A target of `fuzz/`: a request, whole and byte by byte, gets one answer.
#[cfg(fuzzing)]
pub(crate) fn fuzz(request: &[u8]) {
    if request.len() < 2048 {
        let early = (0..request.len()).map(|length| judged(&request[..length]));
        let early = early
            .into_iter()
            .find(|answer| *answer != Answer::Incomplete);
        assert!(early.is_none_or(|early| early == judged(request)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_get_takes_the_certificate() {
        for (request, answer) in [
            ("GET / HTTP/1.1\r\nHost: mill\r\n\r\n", Answer::Certificate),
            ("GET /adit-ca.crt HTTP/1.0\n\n", Answer::Certificate),
            ("HEAD / HTTP/1.1\r\n\r\n", Answer::Headers),
            ("GET / HTTP/1.1\r\nHost: mill\r\n", Answer::Incomplete),
            ("", Answer::Incomplete),
            (
                "GET /favicon.ico HTTP/1.1\r\n\r\n",
                Answer::Refused("404 Not Found"),
            ),
            (
                "POST / HTTP/1.1\r\n\r\n",
                Answer::Refused("405 Method Not Allowed"),
            ),
            ("\x16\x03\x01\n\n", Answer::Refused("400 Bad Request")),
            ("GET /\r\n\r\n", Answer::Refused("400 Bad Request")),
        ] {
            assert_eq!(judged(request.as_bytes()), answer, "{request}");
        }
        let endless = judged(&vec![b'a'; MAX_REQUEST]);
        assert_eq!(
            endless,
            Answer::Refused("431 Request Header Fields Too Large")
        );
    }

    #[test]
    fn the_certificate_goes_out_with_the_type_that_browsers_install() {
        let response = response(&Answer::Certificate, b"\x30\x01\xff");
        let end = response
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .unwrap()
            + 4;
        assert_eq!(&response[end..], b"\x30\x01\xff");
        let head = String::from_utf8_lossy(&response[..end]);
        for line in [
            "HTTP/1.1 200 OK",
            "Content-Type: application/x-x509-ca-cert",
            "Content-Disposition: attachment; filename=\"adit-ca.crt\"",
            "Content-Length: 3",
        ] {
            assert!(head.contains(&format!("{line}\r\n")), "{head}");
        }
    }
}

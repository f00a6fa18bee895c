//! One request: the name, the connection, the bytes there and back, all before a deadline. It blocks its thread.
//! Only getaddrinfo may hold it longer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::HttpUrl;
use crate::helper::resolver::{self, Want};
use crate::http::{self, MAX_HEARD};
use crate::log::Reason;

/// Posts `body` to `url` and gives the answer's body.
///
/// # Errors
/// Why there is none, with the URL's host or its address.
pub(super) fn post(url: &str, body: &[u8], deadline: Instant) -> Result<Vec<u8>, String> {
    let url = HttpUrl::parse(url).map_err(|why| why.to_string())?;
    let stream = connect(&url, deadline)?;
    let peer = format!("{}:{}", url.host(), url.port());
    let answer = exchange(&stream, &http::post(&url, body), deadline);
    answer.map_err(|why| format!("{peer}: {why}"))
}

fn connect(url: &HttpUrl, deadline: Instant) -> Result<TcpStream, String> {
    let addresses = match resolver::literal(url.host()) {
        Some(ip) => vec![SocketAddr::new(ip, url.port())],
        None => {
            let found = resolver::lookup(url.host(), Want::Any);
            let found = found.map_err(|error| {
                format!("Failed to resolve the OCSP responder address: {error}")
            })?;
            found
                .iter()
                .map(|one| resolver::with_port(one, url.port()))
                .collect()
        }
    };
    let mut failure = late().to_string();
    let count = addresses.len() as u32;
    for (nth, address) in (0..).zip(addresses) {
        let left = left(deadline).map_err(|error| error.to_string())?;
        // A silent address leaves time for the others.
        match TcpStream::connect_timeout(&address, left / (count - nth)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = format!("connect {address}: {}", said(&error)),
        }
    }
    Err(failure)
}

fn exchange(mut stream: &TcpStream, request: &[u8], deadline: Instant) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| said(&error);
    stream
        .set_write_timeout(Some(left(deadline).map_err(told)?))
        .map_err(told)?;
    stream.write_all(request).map_err(told)?;
    let mut heard = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        stream
            .set_read_timeout(Some(left(deadline).map_err(told)?))
            .map_err(told)?;
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(told(error)),
        };
        heard.extend_from_slice(&buffer[..count]);
        if let Some(body) = http::read(&heard, count == 0)? {
            return Ok(body);
        }
        if heard.len() > MAX_HEARD {
            return Err("the answer has no end".into());
        }
    }
}

/// What is left of the time.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(late()),
        false => Ok(left),
    }
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// A socket's timeout reads as EAGAIN.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "TIMEOUTocsp exceeded".into(),
        _ => Reason(error).to_string(),
    }
}

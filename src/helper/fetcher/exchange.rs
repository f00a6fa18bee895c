//! One request: the name, the connection, the bytes there and back, all before a deadline. It blocks its thread.

use std::io;
use std::time::Instant;

use crate::config::HttpUrl;
use crate::dial::{self, Timed, Unreached};
use crate::http;
use crate::log::Reason;

/// RFC 6960, appendix A.
const TYPES: http::Types = http::Types {
    sent: "application/ocsp-request",
    wanted: "application/ocsp-response",
};

/// Posts `body` to `url` and gives the answer's body.
///
/// # Errors
/// Why there is none, with the URL's host or its address.
pub(super) fn post(url: &str, body: &[u8], deadline: Instant) -> Result<Vec<u8>, String> {
    let url = HttpUrl::parse(url).map_err(|why| why.to_string())?;
    let stream = connect(&url, deadline)?;
    let answer = dial::converse(stream, &http::post(&url, TYPES, body), http::read, said);
    answer.map_err(|why| format!("{}:{}: {why}", url.host(), url.port()))
}

fn connect(url: &HttpUrl, deadline: Instant) -> Result<Timed, String> {
    dial::dial(url.host(), url.port(), deadline).map_err(|why| match why {
        Unreached::Name(error) => format!("Failed to resolve the OCSP responder address: {error}"),
        Unreached::Late => io::Error::from(io::ErrorKind::TimedOut).to_string(),
        Unreached::Address(address, error) => format!("connect {address}: {}", said(&error)),
    })
}

fn said(error: &io::Error) -> String {
    match dial::is_late(error) {
        true => "TIMEOUTocsp exceeded".into(),
        false => Reason(error).to_string(),
    }
}

//! One request to a token server over HTTPS, before a deadline; it blocks its thread. Never in here: a server that is not
//! verified, a redirection that is followed.

use std::io;
use std::time::Instant;

use zeroize::Zeroizing;

use super::answer::{self, DeviceCode, Refusal, Tokens};
use super::form::Form;
use crate::config::HttpUrl;
use crate::dial;
use crate::http;
use crate::log::Reason;
use crate::tls::outward::Outward;

const TYPES: http::Types = http::Types {
    sent: "application/x-www-form-urlencoded",
    wanted: "application/json",
};

/// Where is asked, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub url: &'a str,
    /// The authorities that vouch for it, in PEM; the system's, unless given.
    pub authorities: Option<&'a str>,
    pub deadline: Instant,
}

/// Asks for tokens.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn tokens(server: Server<'_>, form: &Form) -> Result<Tokens, Refusal> {
    let (status, body) = post(server, form)?;
    answer::tokens(status, &body)
}

/// Asks for a device code.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn device(server: Server<'_>, form: &Form) -> Result<DeviceCode, Refusal> {
    let (status, body) = post(server, form)?;
    answer::device(status, &body)
}

fn post(server: Server<'_>, form: &Form) -> Result<(u16, Zeroizing<Vec<u8>>), Refusal> {
    let url = HttpUrl::parse_https(server.url).map_err(|why| {
        Refusal::Away(format!("the token server's address {}: {why}", server.url))
    })?;
    let heard = exchange(&url, server, form);
    let (status, body) = heard.map_err(|why| {
        Refusal::Away(format!(
            "token server {}:{}: {}",
            url.host(),
            url.port(),
            one_line(&why)
        ))
    })?;
    Ok((status, Zeroizing::new(body)))
}

fn exchange(url: &HttpUrl, server: Server<'_>, form: &Form) -> Result<(u16, Vec<u8>), String> {
    let trust = Outward::trusting(server.authorities)?;
    let plain = dial::dial(url.host(), url.port(), server.deadline);
    let plain = plain.map_err(|why| why.to_string())?;
    let stream = trust.connect(url.host(), plain).map_err(|why| said(&why))?;
    let request = Zeroizing::new(http::post(url, TYPES, form.text().as_bytes()));
    dial::converse(stream, &request, http::read_any, said)
}

fn said(error: &io::Error) -> String {
    match dial::is_late(error) {
        true => "no answer in time".to_owned(),
        false => Reason(error).to_string(),
    }
}

/// A name server's or a library's words, as they may go into a dialogue.
fn one_line(text: &str) -> String {
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { ' ' };
    text.chars().map(printable).collect()
}

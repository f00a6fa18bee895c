//! Advice in the log when the two sides disagree about who starts TLS and when: adit waits for a
//! greeting where the server waits for a handshake, or the local program encrypts what adit encrypts.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Address;
use super::failing;
use super::resources::Resources;
use super::step::Common;
use crate::config::Protocol;
use crate::incidents::{Cause, Diagnosis};
use crate::protocol::{OwnTls, usual_ports};
use crate::{notice, warning};

/// A server that is silent for this long is probably waiting for something else.
const LONG: Duration = Duration::from_secs(10);

/// Watches for a server that stays silent after it was connected.
#[derive(Debug)]
pub(crate) struct Silence {
    /// When to warn; `None` once the server has spoken or the warning was given.
    at: Option<Instant>,
}

impl Silence {
    /// The server was connected just now.
    pub(crate) fn begin(now: Instant) -> Self {
        Self {
            at: Some(now + LONG),
        }
    }

    /// Nothing to watch: the client speaks first.
    pub(crate) fn none() -> Self {
        Self { at: None }
    }

    /// The server spoke.
    pub(crate) fn end(&mut self) {
        self.at = None;
    }

    /// When to warn.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.at
    }

    /// Whether to warn now, at the latest when `patience` ends. True once.
    pub(crate) fn is_long(&mut self, now: Instant, patience: Instant) -> bool {
        self.at
            .take_if(|at| now >= *at || now >= patience)
            .is_some()
    }
}

/// For a server that does not send the greeting that the dialogue waits for.
pub(crate) fn for_no_greeting(protocol: Protocol, common: &Common) -> Option<String> {
    let word = protocol.name();
    let (direct, plain) = usual_ports(protocol)?;
    let advice = match common.config().client {
        true => {
            format!("remove \"protocol = {word}\", or connect to a port with STARTTLS ({plain})")
        }
        false => format!("connect to a port without TLS ({plain})"),
    };
    Some(format!(
        "if its port speaks TLS from the first byte, as {direct} does, {advice}"
    ))
}

/// Warns of it.
pub(crate) fn no_greeting(protocol: Protocol, waited: Duration, common: &Common) {
    let (service, word) = (&common.config().name, protocol.name());
    let seconds = waited.as_secs();
    if let Some(advice) = for_no_greeting(protocol, common) {
        warning!(
            common.log,
            "Service [{service}]: the server has said nothing for {seconds} s, and protocol = {word} waits for \
             its greeting: {advice}"
        );
    }
}

/// For a server that does not answer the ClientHello.
pub(crate) const NO_HELLO: &str =
    "check that its port speaks TLS from the first byte; a port with STARTTLS needs protocol";
/// For a client that says nothing where it must begin with TLS.
pub(crate) const SILENT_CLIENT: &str =
    "if the program begins in plain, with or without STARTTLS, set \"acceptTLS = auto\"";
/// For one that begins in plain there.
pub(crate) const PLAIN_CLIENT: &str = "switch that on in the program, or set \"acceptTLS = auto\"";

/// Warns that the server does not answer the ClientHello.
pub(crate) fn no_hello(waited: Duration, common: &Common) {
    let (service, seconds) = (&common.config().name, waited.as_secs());
    warning!(
        common.log,
        "Service [{service}]: the server has said nothing for {seconds} s, and the TLS handshake waits for \
         it: {NO_HELLO}"
    );
}

/// Warns that a client does not begin with TLS, though it must: it may wait for a greeting.
pub(crate) fn silent_client(waited: Duration, common: &Common) {
    let (service, seconds) = (&common.config().name, waited.as_secs());
    warning!(
        common.log,
        "Service [{service}]: the client has said nothing for {seconds} s, and acceptTLS = yes waits for its TLS: \
         {SILENT_CLIENT}"
    );
}

/// Warns that a client begins in plain where it must begin with TLS.
pub(crate) fn plain_client(common: &Common) {
    let service = &common.config().name;
    warning!(
        common.log,
        "Service [{service}]: the client speaks plain, and acceptTLS = yes wants TLS from the first byte: \
         {PLAIN_CLIENT}"
    );
}

/// Warns that a peer says for whom it connects, and is not named as one that may.
pub(crate) fn unasked_header(common: &Common) {
    let service = &common.config().name;
    if common.introduced.is_some() {
        warning!(
            common.log,
            "Service [{service}]: a second PROXY header follows the first: let one balancer alone send it, and the \
             others pass on what they accept"
        );
        return;
    }
    let (said, value) = match common.peer {
        Some(peer) => (
            Address(common.peer).to_string(),
            peer.ip().to_canonical().to_string(),
        ),
        None => ("a client of the Unix socket".to_owned(), "unix".to_owned()),
    };
    warning!(
        common.log,
        "Service [{service}]: {said} begins with a PROXY header: if it is a balancer of yours, set \"acceptProxy = \
         {value}\""
    );
}

/// Warns that the server answered the ClientHello with a plain-text greeting, and returns the advice.
pub(crate) fn plain_greeting(protocol: Protocol, common: &Common) -> Option<String> {
    let (service, word) = (&common.config().name, protocol.name());
    let (direct, _) = usual_ports(protocol)?;
    let advice = format!(
        "set \"protocol = {word}\" to use its STARTTLS, or connect to a port that speaks TLS from the first byte \
         (usually {direct})"
    );
    warning!(
        common.log,
        "Service [{service}]: the server speaks plain {word} on this port: {advice}"
    );
    Some(advice)
}

/// Says that the local client starts TLS itself; in the log once for each service.
pub(crate) fn own_tls(how: OwnTls, common: &Common, resources: &Resources) {
    let (what, remedy) = match how {
        OwnTls::Handshake => (
            "the local client speaks TLS itself, inside the TLS that adit adds",
            "switch encryption off in the program (no SSL/TLS, no STARTTLS), or set \"acceptTLS = auto\"",
        ),
        OwnTls::Starttls => (
            "the local client asks for TLS itself (STARTTLS or STLS), but adit already encrypts for it",
            "switch encryption off in the program (fetchmail: sslproto ''; mutt, neomutt: ssl_force_tls=no; aerc: \
             imap+insecure), or set \"acceptTLS = auto\"",
        ),
    };
    let diagnosis = Diagnosis::new(Cause::ClientEncrypts, what, remedy);
    failing::keep(&diagnosis, common, resources);
    let bit = match how {
        OwnTls::Handshake => 1,
        OwnTls::Starttls => 2,
    };
    let advised = resources.scoreboard.shared(common.index()).advised();
    if advised.fetch_or(bit, Relaxed) & bit != 0 {
        return;
    }
    let service = &common.config().name;
    match how {
        OwnTls::Handshake => warning!(common.log, "Service [{service}]: {what}: {remedy}"),
        OwnTls::Starttls => notice!(common.log, "Service [{service}]: {what}: {remedy}"),
    }
}

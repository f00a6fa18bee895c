//! What to change where the two sides were set up for different ways of TLS: adit to find a greeting
//! where the server waits for a handshake, the local program to encrypt what adit encrypts.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::resources::Resources;
use super::session::Common;
use crate::config::Protocol;
use crate::protocol::{Wish, name};
use crate::{notice, warning};

/// A server that has said nothing for this long waits for something else than it was sent.
const LONG: Duration = Duration::from_secs(10);

/// A server's silence, from its connection to its first word.
#[derive(Debug)]
pub struct Silence {
    /// When it is remarked on; `None` when there is nothing to remark on any more.
    at: Option<Instant>,
}

impl Silence {
    /// The server was connected just now.
    pub fn begin(now: Instant) -> Self {
        Self {
            at: Some(now + LONG),
        }
    }

    /// A silence that is not the server's.
    pub fn none() -> Self {
        Self { at: None }
    }

    /// The server said something.
    pub fn end(&mut self) {
        self.at = None;
    }

    /// When it has lasted long.
    pub fn due(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it has lasted long by now, or to the end of the patience that there is; said once.
    pub fn is_long(&mut self, now: Instant, patience: Instant) -> bool {
        self.at
            .take_if(|at| now >= *at || now >= patience)
            .is_some()
    }
}

/// The server's ports for TLS from the first byte, and for plain text and STARTTLS.
fn ports(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::Smtp => ("465", "587 or 25"),
        Protocol::Pop3 => ("995", "110"),
        Protocol::Imap => ("993", "143"),
    }
}

/// The server keeps the dialogue waiting for its greeting.
pub fn no_greeting(protocol: Protocol, waited: Duration, common: &Common) {
    let (config, seconds) = (common.config(), waited.as_secs());
    let (service, word) = (&config.name, name(protocol));
    let (direct, plain) = ports(protocol);
    let advice = match config.client {
        true => {
            format!("remove \"protocol = {word}\", or connect to a port with STARTTLS ({plain})")
        }
        false => format!("connect to a port without TLS ({plain})"),
    };
    warning!(
        common.log,
        "Service [{service}]: the server has said nothing for {seconds} s; with protocol = {word} it must \
         speak first. If its port is one for TLS from the first byte (as {direct} is), {advice}"
    );
}

/// The server does not answer the beginning of a TLS handshake.
pub fn no_hello(waited: Duration, common: &Common) {
    let (service, seconds) = (&common.config().name, waited.as_secs());
    warning!(
        common.log,
        "Service [{service}]: the server has said nothing for {seconds} s where TLS should begin. Check that \
         its port is one for TLS from the first byte; a port with STARTTLS needs protocol"
    );
}

/// The server greeted in plain where TLS should begin.
pub fn plain_greeting(protocol: Protocol, common: &Common) {
    let (service, word) = (&common.config().name, name(protocol));
    let (direct, _) = ports(protocol);
    warning!(
        common.log,
        "Service [{service}]: the server speaks plain {word} at this port: set \"protocol = {word}\" to use its \
         STARTTLS, or connect to a port for TLS from the first byte (as a rule {direct})"
    );
}

/// The local client wants TLS of its own. Said once for each service.
pub fn own_tls(wish: Wish, common: &Common, resources: &Resources) {
    let bit = match wish {
        Wish::Tls => 1,
        Wish::Starttls => 2,
    };
    let told = resources.scoreboard.shared(common.index()).told();
    if told.fetch_or(bit, Relaxed) & bit != 0 {
        return;
    }
    let service = &common.config().name;
    match wish {
        Wish::Tls => warning!(
            common.log,
            "Service [{service}]: the local client speaks TLS itself, and adit puts TLS around that: switch \
             encryption off in the program (no SSL/TLS, no STARTTLS)"
        ),
        Wish::Starttls => notice!(
            common.log,
            "Service [{service}]: the local client asks for TLS itself (STARTTLS or STLS), which adit does \
             for it: switch encryption off in the program (fetchmail: sslproto ''; mutt, neomutt: \
             ssl_force_tls=no; aerc: imap+insecure)"
        ),
    }
}

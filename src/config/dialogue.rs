//! The options of the dialogue: `protocol`, and what only some protocols have a use for.

use super::option::{Fault, one_of};

/// `protocol = ...`: what is said in plain before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Pop3,
    Imap,
    Nntp,
    Socks,
}

/// stunnel's protocols that are still to be built.
pub(super) const PROTOCOLS_NOT_YET: &[&str] = &[
    "ldap",
    "pgsql",
    "cifs",
    "connect",
    "proxy",
    "capwin",
    "capwinctrl",
];

/// Whether it is one of them.
pub(super) fn not_yet(protocol: &str) -> bool {
    PROTOCOLS_NOT_YET
        .iter()
        .any(|known| known.eq_ignore_ascii_case(protocol))
}

pub(super) fn protocol(value: &str) -> Result<Protocol, Fault> {
    let served = [
        ("smtp", Protocol::Smtp),
        ("pop3", Protocol::Pop3),
        ("imap", Protocol::Imap),
        ("nntp", Protocol::Nntp),
        ("socks", Protocol::Socks),
    ];
    if not_yet(value) {
        let fault = Fault::new(format!("adit does not serve `protocol = {value}` yet"));
        return Err(fault.help("smtp, pop3, imap, nntp and socks are served"));
    }
    one_of(value, &served).map_err(|fault| Fault {
        text: format!("Protocol not supported: `{value}` is not known"),
        help: fault
            .help
            .or(Some("smtp, pop3, imap, nntp or socks".into())),
        ..fault
    })
}

//! What is called how in a message about a dialogue, and what of a server's words may stand in it. Never in
//! here: a client's words.

use super::Awaited;
use crate::config::Protocol;

pub(super) fn when(within: bool) -> &'static str {
    match within {
        true => "within TLS",
        false => "before TLS",
    }
}

/// stunnel's words for it.
pub(super) fn phrase(protocol: Protocol, awaited: Awaited) -> &'static str {
    match (awaited, protocol) {
        (Awaited::Greeting, _) => "Unknown server welcome",
        (Awaited::Ehlo, _) => "Remote server is not RFC 1425 compliant",
        (Awaited::GoAhead, Protocol::Smtp | Protocol::Lmtp) => {
            "Remote server is not RFC 2487 compliant"
        }
        (Awaited::GoAhead, _) => "Server does not support TLS",
        (Awaited::Capability, _) => "Unexpected server response",
        (Awaited::Answer, Protocol::Connect) => "CONNECT request rejected",
        (Awaited::Answer, _) => "Server does not support TLS",
        (Awaited::Plain, _) => "PLAIN Authentication Failed",
        (Awaited::Login, _) => "LOGIN authentication failed",
        (Awaited::Program | Awaited::Reply | Awaited::Entry, _) => "Login failed",
        (Awaited::Command, Protocol::Pop3) => "Client does not want TLS",
        (Awaited::Command, _) => "STARTTLS expected",
    }
}

pub(super) fn expected(protocol: Protocol, awaited: Awaited) -> &'static str {
    match (awaited, protocol) {
        (Awaited::Greeting, Protocol::Smtp | Protocol::Lmtp | Protocol::Ftp) => "a greeting (220)",
        (Awaited::Greeting, Protocol::Pop3) => "a greeting (+OK)",
        (Awaited::Greeting, Protocol::Imap) => "a greeting (* OK)",
        (Awaited::Greeting, Protocol::Sieve) => "its list and OK",
        (Awaited::Greeting, Protocol::Nntp) => "a greeting (200 or 201)",
        (_, Protocol::Socks) => "a SOCKS request",
        (Awaited::Program, _) => "the program's login",
        (Awaited::Reply, _) => "a reply",
        (Awaited::Entry, _) => "the answer to the login",
        (Awaited::Ehlo, Protocol::Lmtp) => "the answer to LHLO (250)",
        (Awaited::Ehlo, _) => "the answer to EHLO (250)",
        (Awaited::GoAhead, Protocol::Smtp | Protocol::Lmtp) => "the answer to STARTTLS (220)",
        (Awaited::GoAhead, Protocol::Pop3) => "the answer to STLS (+OK)",
        (Awaited::GoAhead, Protocol::Ftp) => "the answer to AUTH TLS (234)",
        (Awaited::GoAhead, Protocol::Irc) => "the answer to STARTTLS (670)",
        (Awaited::GoAhead, Protocol::Imap | Protocol::Sieve) => "the answer to STARTTLS (OK)",
        (Awaited::GoAhead, _) => "the answer to STARTTLS (382)",
        (Awaited::Capability, _) => "the answer to CAPABILITY (OK)",
        (Awaited::Command, Protocol::Pop3) => "the client's STLS",
        (Awaited::Command, Protocol::Ftp) => "the client's AUTH TLS",
        (Awaited::Command, _) => "the client's STARTTLS",
        (Awaited::Answer, Protocol::Connect) => "the answer to CONNECT (HTTP/1.x 2xx)",
        (Awaited::Greeting | Awaited::Answer, _) => "an answer",
        (Awaited::Plain, _) => "the answer to AUTH PLAIN (235)",
        (Awaited::Login, _) => "the answer to AUTH LOGIN (334, then 235)",
    }
}

/// The command that starts TLS.
pub(super) fn starter(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Pop3 => "STLS",
        Protocol::Ftp => "AUTH TLS",
        _ => "STARTTLS",
    }
}

/// A protocol's usual ports: TLS from the first byte, and plain text with STARTTLS.
pub(crate) fn usual_ports(protocol: Protocol) -> Option<(&'static str, &'static str)> {
    Some(match protocol {
        Protocol::Smtp => ("465", "587 or 25"),
        Protocol::Pop3 => ("995", "110"),
        Protocol::Imap => ("993", "143"),
        Protocol::Nntp => ("563", "119"),
        _ => return None,
    })
}

/// Which server it is that is spoken with.
pub(super) fn server(protocol: Protocol) -> String {
    match protocol {
        Protocol::Connect => "proxy".to_owned(),
        _ => format!("{} server", protocol.name()),
    }
}

/// Stands for what a server said that may repeat a secret.
pub(in crate::protocol) const NOT_SHOWN: &str = "(not shown: it may repeat the login)";

/// The codes that a refusal begins with.
pub(in crate::protocol) fn codes(said: &str) -> String {
    let enhanced = |word: &&str| {
        let mut numbers = word.split('.');
        let is_number = |part: &str| {
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        matches!(numbers.next(), Some("4" | "5"))
            && numbers.clone().count() == 2
            && numbers.all(is_number)
    };
    let (code, text) = said.split_at_checked(3).unwrap_or((said, ""));
    let first = text.get(1..).and_then(|text| text.split(' ').next());
    match first.filter(enhanced) {
        Some(enhanced) => format!("{code} {enhanced}"),
        None => code.to_owned(),
    }
}

/// A server's line as a log may show it: its first 80 printable characters.
pub(in crate::protocol) fn excerpt(line: &[u8]) -> String {
    line.iter()
        .filter(|byte| matches!(byte, b' '..=b'~'))
        .take(80)
        .map(|&byte| char::from(byte))
        .collect()
}

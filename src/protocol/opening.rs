//! Wrong settings that the first words of either end reveal. Never in here: changing a
//! word.

use super::io::{begins, split_word};
pub(super) use crate::config::MailProtocol as Mail;
use crate::config::Protocol;

/// How mail servers greet.
pub(super) const GREETINGS: [(&str, Mail); 7] = [
    ("220 ", Mail::Smtp),
    ("220-", Mail::Smtp),
    ("* OK ", Mail::Imap),
    ("* PREAUTH ", Mail::Imap),
    ("+OK ", Mail::Pop3),
    ("+OK\r", Mail::Pop3),
    ("+OK\n", Mail::Pop3),
];

/// How news servers greet (RFC 3977, section 5.1).
const NEWS: [&str; 2] = ["200 ", "201 "];

impl Mail {
    /// The one whose server greets so; `None` for any other.
    pub(super) fn greeting(words: &[u8]) -> Option<Mail> {
        let mut known = GREETINGS.iter();
        let found = known.find(|(greeting, _)| begins(words, greeting));
        found.map(|(_, mail)| *mail)
    }
}

/// The protocol whose server greets so and starts TLS on demand; `None` for any other.
pub(crate) fn greeting(words: &[u8]) -> Option<Protocol> {
    match Mail::greeting(words) {
        Some(mail) => Some(mail.into()),
        None => {
            let news = NEWS.iter().any(|greeting| begins(words, greeting));
            news.then_some(Protocol::Nntp)
        }
    }
}

/// How a local client starts TLS itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnTls {
    /// It sends a ClientHello.
    Handshake,
    /// It sends `STARTTLS` or `STLS`, with or without a tag.
    Starttls,
}

/// How many lines to inspect: mail programs ask for capabilities and the like first.
const LINES: u8 = 8;

/// Room for a line that asks for TLS; a longer one does not.
const ROOM: usize = 24;

/// A line this long ends the inspection.
const LONGEST: u16 = 4096;

/// Inspects the first lines of a local client.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    line: [u8; ROOM],
    /// Length of the line so far; only the first [`ROOM`] bytes are kept.
    length: u16,
    /// Complete lines so far.
    lines: u8,
    over: bool,
}

impl Opening {
    /// Whether the inspection has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what the client says. Returns a finding once.
    pub(crate) fn hear(&mut self, words: &[u8]) -> Option<OwnTls> {
        for &byte in words {
            if self.over {
                return None;
            }
            if let Some(how) = self.hear_byte(byte) {
                self.over = true;
                return Some(how);
            }
        }
        None
    }

    fn hear_byte(&mut self, byte: u8) -> Option<OwnTls> {
        if byte == b'\n' {
            let line = self
                .line
                .get(..usize::from(self.length))
                .unwrap_or_default();
            let asks = asks_for_tls(line.trim_ascii());
            self.length = 0;
            self.lines += 1;
            self.over = self.lines >= LINES;
            return asks.then_some(OwnTls::Starttls);
        }
        if let Some(place) = self.line.get_mut(usize::from(self.length)) {
            *place = byte;
        }
        self.length += 1;
        match (self.lines, self.length, &self.line) {
            // A record of a handshake, of any version of TLS (RFC 8446, section 5.1).
            (0, 2, [0x16, 0x03, ..]) => return Some(OwnTls::Handshake),
            (0, 1, [0x16, ..]) => {}
            // Binary data or an endless line: not a mail protocol.
            _ => self.over = is_binary(byte) || self.length == LONGEST,
        }
        None
    }
}

fn is_binary(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\r' | b'\t')
}

fn asks_for_tls(line: &[u8]) -> bool {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let (first, rest) = split_word(line);
    is(line, "STLS") || is(line, "STARTTLS") || (!first.is_empty() && is(rest, "STARTTLS"))
}

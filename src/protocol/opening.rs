//! What the first words of either end tell of a setting that is wrong there. They are looked at, and
//! carried as they are. Never in here: a word that is changed.

use super::io::{begins, split_word};
use crate::config::Protocol;

/// How mail servers greet.
pub(super) const GREETINGS: [(&str, Protocol); 7] = [
    ("220 ", Protocol::Smtp),
    ("220-", Protocol::Smtp),
    ("* OK ", Protocol::Imap),
    ("* PREAUTH ", Protocol::Imap),
    ("+OK ", Protocol::Pop3),
    ("+OK\r", Protocol::Pop3),
    ("+OK\n", Protocol::Pop3),
];

/// The mail protocol whose server greets so; `None` for any other.
pub fn greeting(words: &[u8]) -> Option<Protocol> {
    let found = GREETINGS
        .iter()
        .find(|(greeting, _)| begins(words, greeting));
    found.map(|(_, protocol)| *protocol)
}

/// What a local client wants to do itself, though adit does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It begins a TLS handshake.
    Tls,
    /// It asks for one: `STARTTLS` or `STLS`, with a tag before it or not.
    Starttls,
}

/// Lines looked at: a mail program asks for the capabilities and its like before.
const LINES: u8 = 8;

/// Room for a line that asks for TLS. A longer one is another.
const ROOM: usize = 24;

/// What is no line by then is listened to no more.
const LONGEST: u16 = 4096;

/// Listens to the first words of a local client.
#[derive(Debug, Default)]
pub struct Opening {
    line: [u8; ROOM],
    /// Bytes of the line so far, also of those that `line` has no room for.
    length: u16,
    /// Lines that are over.
    lines: u8,
    over: bool,
}

impl Opening {
    /// Whether nothing more can be learnt.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what the client says; gives its wish once.
    pub fn hear(&mut self, words: &[u8]) -> Option<Wish> {
        for &byte in words {
            if self.over {
                return None;
            }
            if let Some(wish) = self.hear_byte(byte) {
                self.over = true;
                return Some(wish);
            }
        }
        None
    }

    fn hear_byte(&mut self, byte: u8) -> Option<Wish> {
        if byte == b'\n' {
            let line = self
                .line
                .get(..usize::from(self.length))
                .unwrap_or_default();
            let asks = asks_for_tls(line.trim_ascii());
            self.length = 0;
            self.lines += 1;
            self.over = self.lines >= LINES;
            return asks.then_some(Wish::Starttls);
        }
        if let Some(place) = self.line.get_mut(usize::from(self.length)) {
            *place = byte;
        }
        self.length += 1;
        match (self.lines, self.length, &self.line) {
            // A record of a handshake, of any version of TLS (RFC 8446, section 5.1).
            (0, 2, [0x16, 0x03, ..]) => return Some(Wish::Tls),
            (0, 1, [0x16, ..]) => {}
            // Binary data, or a line that is none: another kind of protocol.
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

//! How a mail client's commands affect the offers of STARTTLS in the replies: which reply has them,
//! and behind which command the stream may no longer be lines. Never in here: a byte of the server's.

use super::io::first_word_is;
use super::opening::Mail;

/// The kind of command that awaits a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// EHLO or CAPA, whose reply has the offers.
    Offers,
    /// Another command that may precede them, and whose reply is lines.
    Other,
    /// Any other, which may switch the stream: what follows is not filtered.
    Last,
}

/// How many bytes tell SMTP's and POP3's commands apart.
const COMMAND: usize = 5;

/// The client's SMTP or POP3 commands.
#[derive(Debug)]
pub(super) struct Commands {
    protocol: Mail,
    /// The first [`COMMAND`] bytes of the command so far.
    command: Vec<u8>,
}

impl Commands {
    pub(super) fn new(protocol: Mail) -> Commands {
        Commands {
            protocol,
            command: Vec::new(),
        }
    }

    /// Takes a byte. Returns a command's kind at its end.
    pub(super) fn hear(&mut self, byte: u8) -> Option<Pending> {
        if byte == b'\n' {
            let pending = classify(self.protocol, self.command.trim_ascii());
            self.command.clear();
            return Some(pending);
        }
        if self.command.len() < COMMAND {
            self.command.push(byte);
        }
        None
    }
}

/// Classifies a command. STARTTLS and STLS are not among the others: a server may accept them without an
/// offer.
fn classify(protocol: Mail, command: &[u8]) -> Pending {
    let is = |words: &[&str]| words.iter().any(|word| first_word_is(command, word));
    let (offers, others): (&[&str], &[&str]) = match protocol {
        Mail::Smtp => (
            &["EHLO", "LHLO"],
            &["HELO", "NOOP", "RSET", "HELP", "VRFY", "QUIT"],
        ),
        _ => (&["CAPA"], &["NOOP", "USER", "UTF8", "QUIT"]),
    };
    if is(offers) {
        Pending::Offers
    } else if is(others) {
        Pending::Other
    } else {
        Pending::Last
    }
}

/// The longest tag of an IMAP command or reply that is inspected; the one of a client is a few bytes.
pub(super) const TAG_MAX: usize = 64;
/// IMAP commands whose replies may offer STARTTLS and leave the stream lines.
const HARMLESS: [&str; 4] = ["CAPABILITY", "NOOP", "ID", "LOGOUT"];
/// IMAP commands behind whose tagged OK the client is logged in, and a SASL security layer may begin.
const LOGINS: [&str; 2] = ["LOGIN", "AUTHENTICATE"];
/// The longest of both.
const WORD_MAX: usize = 12;

/// Where in an IMAP command the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Tag,
    Word,
    /// Behind the word; whether the last byte but CR was `}`, the end of a literal's length.
    Rest(bool),
}

/// The client's IMAP commands, up to the one that ends the filter.
#[derive(Debug)]
pub(super) struct Tagged {
    tag: Vec<u8>,
    word: Vec<u8>,
    place: Place,
    /// `tag` is that of a login: what the client says before the reply is no command, or comes too late
    /// to matter.
    logs_in: bool,
}

impl Tagged {
    pub(super) fn new() -> Tagged {
        Tagged {
            tag: Vec::new(),
            word: Vec::new(),
            place: Place::Tag,
            logs_in: false,
        }
    }

    /// Takes what the client says. Returns whether the filter must end at once.
    pub(super) fn hear(&mut self, words: &[u8]) -> bool {
        for &byte in words {
            if self.logs_in {
                return false;
            }
            if !self.hear_byte(byte) {
                return true;
            }
        }
        false
    }

    /// Whether a server's line with this tag is the reply to the login.
    pub(super) fn is_login(&self, tag: &[u8]) -> bool {
        self.logs_in && tag == self.tag
    }

    /// Returns whether the filter may go on.
    fn hear_byte(&mut self, byte: u8) -> bool {
        match (self.place, byte) {
            (Place::Tag, b' ') => {
                self.place = Place::Word;
                !self.tag.is_empty()
            }
            (Place::Tag, b'\r' | b'\n') => false,
            (Place::Tag, _) => {
                self.tag.push(byte);
                self.tag.len() <= TAG_MAX
            }
            (Place::Word, b' ' | b'\r' | b'\n') => self.end_word(byte),
            (Place::Word, _) => {
                self.word.push(byte);
                self.word.len() <= WORD_MAX
            }
            // The text behind a literal's length need not be a command.
            (Place::Rest(literal), b'\n') => {
                self.next();
                !literal
            }
            (Place::Rest(_), b'\r') => true,
            (Place::Rest(_), _) => {
                self.place = Place::Rest(byte == b'}');
                true
            }
        }
    }

    fn end_word(&mut self, byte: u8) -> bool {
        let word = &self.word;
        let is = |words: &[&str]| {
            let same = |other: &&str| word.eq_ignore_ascii_case(other.as_bytes());
            words.iter().any(same)
        };
        if is(&LOGINS) {
            self.logs_in = true;
            return true;
        }
        let goes_on = is(&HARMLESS);
        match byte {
            b'\n' => self.next(),
            _ => self.place = Place::Rest(false),
        }
        goes_on
    }

    fn next(&mut self) {
        self.tag.clear();
        self.word.clear();
        self.place = Place::Tag;
    }
}

//! Server mode: removes a mail server's offer of STARTTLS or STLS from its answer to EHLO, CAPABILITY
//! or CAPA. The client has TLS already, and would speak TLS inside TLS if it accepted the offer. Only a
//! server that greets before the client speaks, as mail servers do, is filtered, and only until the
//! client logs in or turns to its mail. Never in here: adding a word.

use std::collections::VecDeque;
use std::ops::Range;

use super::LINE_MAX;
use super::io::{begins, first_word_is, split_word};
use super::opening::{GREETINGS, greeting};
use crate::config::Protocol;

/// Bound on the commands that await a reply, and on the IMAP lines inspected; beyond it everything
/// passes unchanged.
const MOST: usize = 64;

/// The longest of [`GREETINGS`].
const GREETING: usize = 10;

/// See the module.
#[derive(Debug)]
pub enum Offers {
    /// The server has sent only this much of a greeting, which was passed on.
    Greeting([u8; GREETING], usize),
    /// It is a mail server.
    Mail(Box<Mail>),
    /// Everything passes unchanged.
    Over,
}

impl Offers {
    /// `greeted`: the protocol of the dialogue before TLS, in which the server has greeted already.
    pub fn new(greeted: Option<Protocol>) -> Offers {
        match greeted {
            Some(protocol) => Offers::Mail(Box::new(Mail::new(protocol))),
            None => Offers::Greeting([0; GREETING], 0),
        }
    }

    /// Whether everything passes unchanged from here on.
    pub fn is_over(&self) -> bool {
        matches!(self, Offers::Over)
    }

    /// Takes note of what the client says.
    pub fn client_says(&mut self, words: &[u8]) {
        match self {
            Offers::Greeting(..) if !words.is_empty() => *self = Offers::Over,
            Offers::Mail(mail) => {
                mail.hear(words);
                self.end_with_mail();
            }
            _ => {}
        }
    }

    /// Filters what the server says; what may pass is appended to `out`.
    pub fn server_says(&mut self, words: &[u8], out: &mut Vec<u8>) {
        let mut rest = words;
        while let Offers::Greeting(head, length) = self
            && let Some((&byte, behind)) = rest.split_first()
        {
            // Passed on at once: it may be the prompt of another protocol.
            out.push(byte);
            rest = behind;
            head[*length] = byte;
            *length += 1;
            *self = judge(*head, *length);
        }
        match self {
            Offers::Mail(mail) => {
                mail.pass(rest, out);
                self.end_with_mail();
            }
            _ => out.extend_from_slice(rest),
        }
    }

    /// The server sent its last byte: appends what was held back to `out`.
    pub fn server_ends(&mut self, out: &mut Vec<u8>) {
        if let Offers::Mail(mail) = self {
            mail.release(out);
        }
        *self = Offers::Over;
    }

    fn end_with_mail(&mut self) {
        if matches!(self, Offers::Mail(mail) if mail.over && !mail.holds_back()) {
            *self = Offers::Over;
        }
    }

    /// How much is held in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match self {
            Offers::Mail(mail) => mail.line.len() + mail.previous.len() + mail.pending.len(),
            _ => 0,
        }
    }
}

/// Recognises a greeting by its first `length` bytes.
fn judge(head: [u8; GREETING], length: usize) -> Offers {
    let said = &head[..length];
    if let Some(protocol) = greeting(said) {
        return Offers::Mail(Box::new(Mail::greeting(protocol, said)));
    }
    let may_be = |(greeting, _): &(&str, Protocol)| {
        let begun = greeting.as_bytes().get(..length);
        begun.is_some_and(|begun| begun.eq_ignore_ascii_case(said))
    };
    match GREETINGS.iter().any(may_be) {
        true => Offers::Greeting(head, length),
        false => Offers::Over,
    }
}

/// What kind of command awaits a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// EHLO or CAPA, whose reply has the offers.
    Offers,
    /// Another command that may precede them.
    Other,
    /// Any other: what follows is not filtered.
    Last,
}

/// The conversation with a mail server.
#[derive(Debug)]
pub struct Mail {
    protocol: Protocol,
    /// The first [`COMMAND`] bytes of the client's command so far.
    command: Vec<u8>,
    /// Commands that await a reply, oldest first.
    pending: VecDeque<Pending>,
    /// The server's line so far; only its first bytes if it is not held back.
    line: Vec<u8>,
    /// How many bytes of `line` were passed on already.
    passed: usize,
    /// Whether `line` is held back.
    holds: bool,
    /// SMTP: the previous line of the reply. It is held back because it becomes the last line if that
    /// is an offer.
    previous: Vec<u8>,
    /// POP3: in the list that follows CAPA's status line.
    lists: bool,
    /// Lines of the server so far.
    lines: usize,
    over: bool,
}

/// How many bytes tell a client's commands apart.
const COMMAND: usize = 5;
/// How many bytes tell a server's lines apart: SMTP's code and separator, POP3's status.
const STATUS: usize = 4;

impl Mail {
    fn new(protocol: Protocol) -> Mail {
        Mail {
            protocol,
            command: Vec::new(),
            pending: VecDeque::new(),
            line: Vec::new(),
            passed: 0,
            holds: false,
            previous: Vec::new(),
            lists: false,
            lines: 0,
            over: false,
        }
    }

    /// In the middle of a greeting; `said` was passed on already.
    fn greeting(protocol: Protocol, said: &[u8]) -> Mail {
        let mut mail = Mail::new(protocol);
        mail.line.extend_from_slice(said);
        mail.passed = said.len();
        mail.holds = protocol == Protocol::Imap;
        mail.pending.push_back(Pending::Other);
        if said.ends_with(b"\n") {
            mail.end_line(&mut Vec::new());
        }
        mail
    }

    /// Takes note of the client's commands, which IMAP does not need: its replies say what they are.
    fn hear(&mut self, words: &[u8]) {
        if self.protocol == Protocol::Imap {
            return;
        }
        for &byte in words {
            if byte != b'\n' {
                if self.command.len() < COMMAND {
                    self.command.push(byte);
                }
                continue;
            }
            let pending = classify(self.protocol, self.command.trim_ascii());
            self.command.clear();
            self.pending.push_back(pending);
            self.over |= self.pending.len() > MOST;
        }
        self.end_at_last();
    }

    fn end_at_last(&mut self) {
        self.over |= self.pending.front() == Some(&Pending::Last);
    }

    /// Passes on what the server says, except what is removed or held back.
    fn pass(&mut self, words: &[u8], out: &mut Vec<u8>) {
        let mut rest = words;
        while !rest.is_empty() && !self.over {
            let end = rest.iter().position(|&byte| byte == b'\n');
            let (piece, behind) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            rest = behind;
            if self.line.is_empty() {
                self.holds = match self.protocol {
                    Protocol::Imap => true,
                    Protocol::Smtp => self.pending.front() == Some(&Pending::Offers),
                    Protocol::Pop3 => self.lists,
                };
            }
            if self.holds {
                self.line.extend_from_slice(piece);
            } else {
                let missing = STATUS.saturating_sub(self.line.len());
                self.line
                    .extend_from_slice(&piece[..missing.min(piece.len())]);
                out.extend_from_slice(piece);
            }
            if self.line.len() > LINE_MAX {
                self.over = true;
            } else if end.is_some() {
                self.end_line(out);
            }
        }
        if self.over {
            self.release(out);
            out.extend_from_slice(rest);
        }
    }

    /// A line is complete: judges it, and passes it on if it was held back.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        match (self.protocol, self.holds) {
            (Protocol::Smtp, true) => self.end_offer_of_smtp(out),
            (Protocol::Smtp, false) => {
                if is_last(&self.line) {
                    self.answered();
                }
            }
            (Protocol::Pop3, true) => {
                let line = self.line.trim_ascii();
                self.lists = line != b".";
                if !line.eq_ignore_ascii_case(b"STLS") {
                    out.extend_from_slice(&self.line);
                }
                if !self.lists {
                    self.answered();
                }
            }
            (Protocol::Pop3, false) => {
                let offers = self.pending.front() == Some(&Pending::Offers);
                self.lists = offers && begins(&self.line, "+OK");
                if !self.lists {
                    self.answered();
                }
            }
            (Protocol::Imap, _) => self.end_line_of_imap(out),
        }
        self.line.clear();
        self.passed = 0;
        self.lines += 1;
        // SMTP and POP3 lists may be long; there the pending commands are bounded.
        self.over |= self.protocol == Protocol::Imap && self.lines > MOST;
    }

    fn answered(&mut self) {
        self.pending.pop_front();
        self.end_at_last();
    }

    /// A line of the answer to EHLO.
    fn end_offer_of_smtp(&mut self, out: &mut Vec<u8>) {
        let last = is_last(&self.line);
        let keyword = self.line.get(4..).unwrap_or_default().trim_ascii();
        let offers = begins(&self.line, "250") && keyword.eq_ignore_ascii_case(b"STARTTLS");
        // The first line names the server.
        if offers && !self.previous.is_empty() {
            if last && let Some(separator) = self.previous.get_mut(3) {
                *separator = b' ';
            }
        } else {
            out.append(&mut self.previous);
            std::mem::swap(&mut self.previous, &mut self.line);
        }
        if last {
            out.append(&mut self.previous);
            self.answered();
        }
    }

    fn end_line_of_imap(&mut self, out: &mut Vec<u8>) {
        let line = without_starttls(&self.line);
        out.extend_from_slice(&line[self.passed..]);
        let (tag, rest) = split_word(self.line.trim_ascii());
        let goes_on = [
            "OK",
            "NO",
            "BAD",
            "BYE",
            "PREAUTH",
            "CAPABILITY",
            "ID",
            "ENABLED",
        ];
        let is_data = tag == b"*" && !goes_on.iter().any(|word| first_word_is(rest, word));
        // A literal follows, which need not be lines.
        self.over |= is_data || rest.ends_with(b"}");
    }

    fn holds_back(&self) -> bool {
        !self.previous.is_empty() || (self.holds && !self.line.is_empty())
    }

    /// Passes on everything that is held back.
    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.previous);
        if self.holds {
            out.extend_from_slice(&self.line[self.passed..]);
        }
        self.line.clear();
        self.passed = 0;
    }
}

/// Classifies a command.
fn classify(protocol: Protocol, command: &[u8]) -> Pending {
    let is = |words: &[&str]| words.iter().any(|word| first_word_is(command, word));
    let (offers, others): (&[&str], &[&str]) = match protocol {
        Protocol::Smtp => (
            &["EHLO", "LHLO"],
            &["HELO", "NOOP", "RSET", "HELP", "VRFY", "QUIT", "START"],
        ),
        _ => (&["CAPA"], &["NOOP", "USER", "UTF8", "QUIT", "STLS"]),
    };
    if is(offers) {
        Pending::Offers
    } else if is(others) {
        Pending::Other
    } else {
        Pending::Last
    }
}

/// Whether a line is the last of an SMTP reply.
fn is_last(line: &[u8]) -> bool {
    line.get(3) != Some(&b'-')
}

/// Removes STARTTLS from the capabilities in an IMAP server's line.
fn without_starttls(line: &[u8]) -> Vec<u8> {
    let Some(list) = capabilities(line) else {
        return line.to_vec();
    };
    let words = line[list.clone()].trim_ascii_end();
    let kept: Vec<&[u8]> = words
        .split(|&byte| byte == b' ')
        .filter(|word| !word.eq_ignore_ascii_case(b"STARTTLS"))
        .collect();
    let behind = &line[list.start + words.len()..];
    [&line[..list.start], &kept.join(&b' '), behind].concat()
}

/// The capabilities in a line: `* CAPABILITY ...`, or the code `[CAPABILITY ...]` of a greeting or a
/// tagged OK.
fn capabilities(line: &[u8]) -> Option<Range<usize>> {
    let tag = line.iter().position(|&byte| byte == b' ')?;
    let status = &line[tag + 1..];
    if tag == 1 && line[0] == b'*' && begins(status, "CAPABILITY ") {
        return Some(tag + 1..line.len());
    }
    let word = ["OK ", "PREAUTH "]
        .into_iter()
        .find(|word| begins(status, word))?;
    let start = tag + 1 + word.len();
    let code = begins(&line[start..], "[CAPABILITY ").then_some(&line[start..])?;
    let end = code.iter().position(|&byte| byte == b']');
    Some(start..end.map_or(line.len(), |at| start + at))
}

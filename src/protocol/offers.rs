//! Server mode: TLS is on already, so what a mail server offers of STARTTLS or STLS is taken out of
//! its answer to EHLO, CAPABILITY or CAPA; a client that took the offer up would speak TLS inside TLS.
//! Only a server that greets before the client speaks, as mail servers do, is listened to, and only
//! until the client logs in or goes about its mail. Never in here: a word that is added.

use std::collections::VecDeque;
use std::ops::Range;

use super::LINE_MAX;
use super::io::{begins, first_word_is, split_word};
use super::opening::{GREETINGS, greeting};
use crate::config::Protocol;

/// Commands that may wait for their replies, and lines that are listened to. A client that says more
/// than this and never logs in is let be.
const MOST: usize = 64;

/// The longest of [`GREETINGS`].
const GREETING: usize = 10;

/// See the module.
#[derive(Debug)]
pub enum Offers {
    /// The server has said no more than this, and it passed.
    Greeting([u8; GREETING], usize),
    /// It is a mail server.
    Mail(Box<Mail>),
    /// There is nothing to take out, or no longer.
    Over,
}

impl Offers {
    /// A server that has yet to greet; or that has, in a dialogue of this protocol.
    pub fn new(greeted: Option<Protocol>) -> Offers {
        match greeted {
            Some(protocol) => Offers::Mail(Box::new(Mail::new(protocol))),
            None => Offers::Greeting([0; GREETING], 0),
        }
    }

    /// Whether everything passes from here on.
    pub fn is_over(&self) -> bool {
        matches!(self, Offers::Over)
    }

    /// Listens to what the client says.
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

    /// Adds to `out` what the client may hear of the server's words.
    pub fn server_says(&mut self, words: &[u8], out: &mut Vec<u8>) {
        let mut rest = words;
        while let Offers::Greeting(head, length) = self
            && let Some((&byte, behind)) = rest.split_first()
        {
            // Not held back: it stays as it is, and may be a prompt of any other protocol.
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

    /// Adds to `out` what was held back when the server ended.
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

    /// Bytes that are held back.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match self {
            Offers::Mail(mail) => mail.line.len() + mail.previous.len() + mail.turns.len(),
            _ => 0,
        }
    }
}

/// What the first `length` bytes of a server tell.
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

/// What the server's next reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// EHLO or CAPA: the offers.
    Offers,
    /// Something else that comes before a login.
    Other,
    /// Anything after which nothing is offered that matters.
    Last,
}

/// A mail server's part of the conversation.
#[derive(Debug)]
pub struct Mail {
    protocol: Protocol,
    /// The client's command so far: as much as tells which it is.
    command: Vec<u8>,
    /// The commands that the server has yet to answer.
    turns: VecDeque<Turn>,
    /// The server's line so far; its first bytes alone if it is not held back.
    line: Vec<u8>,
    /// Bytes of `line` that passed already.
    passed: usize,
    /// Whether `line` is held back.
    holds: bool,
    /// SMTP: the reply's line before, held back since it becomes the last one if an offer is.
    previous: Vec<u8>,
    /// POP3: the list behind CAPA's status is under way.
    lists: bool,
    /// Lines heard.
    lines: usize,
    over: bool,
}

/// How much of a client's command tells which it is.
const COMMAND: usize = 5;
/// How much of a server's line tells what it is: SMTP's code and what follows it, POP3's status.
const STATUS: usize = 4;

impl Mail {
    fn new(protocol: Protocol) -> Mail {
        Mail {
            protocol,
            command: Vec::new(),
            turns: VecDeque::new(),
            line: Vec::new(),
            passed: 0,
            holds: false,
            previous: Vec::new(),
            lists: false,
            lines: 0,
            over: false,
        }
    }

    /// In the middle of the greeting, of which this has passed.
    fn greeting(protocol: Protocol, said: &[u8]) -> Mail {
        let mut mail = Mail::new(protocol);
        mail.line.extend_from_slice(said);
        mail.passed = said.len();
        mail.holds = protocol == Protocol::Imap;
        mail.turns.push_back(Turn::Other);
        if said.ends_with(b"\n") {
            mail.end_line(&mut Vec::new());
        }
        mail
    }

    /// Takes note of the client's commands. IMAP's replies tell by themselves what they are.
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
            let turn = turn(self.protocol, self.command.trim_ascii());
            self.command.clear();
            self.turns.push_back(turn);
            self.over |= self.turns.len() > MOST;
        }
        self.end_at_last_turn();
    }

    fn end_at_last_turn(&mut self) {
        self.over |= self.turns.front() == Some(&Turn::Last);
    }

    /// Passes on what the server says, but for what is held back.
    fn pass(&mut self, words: &[u8], out: &mut Vec<u8>) {
        let mut rest = words;
        while !rest.is_empty() && !self.over {
            let end = rest.iter().position(|&byte| byte == b'\n');
            let (piece, behind) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            rest = behind;
            if self.line.is_empty() {
                self.holds = match self.protocol {
                    Protocol::Imap => true,
                    Protocol::Smtp => self.turns.front() == Some(&Turn::Offers),
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

    /// A line is whole: passes it on if it was held back, and takes note of what it was.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        match (self.protocol, self.holds) {
            (Protocol::Smtp, true) => self.end_offer_of_smtp(out),
            (Protocol::Smtp, false) => {
                if is_last(&self.line) {
                    self.end_turn();
                }
            }
            (Protocol::Pop3, true) => {
                let line = self.line.trim_ascii();
                self.lists = line != b".";
                if !line.eq_ignore_ascii_case(b"STLS") {
                    out.extend_from_slice(&self.line);
                }
                if !self.lists {
                    self.end_turn();
                }
            }
            (Protocol::Pop3, false) => {
                let offers = self.turns.front() == Some(&Turn::Offers);
                self.lists = offers && begins(&self.line, "+OK");
                if !self.lists {
                    self.end_turn();
                }
            }
            (Protocol::Imap, _) => self.end_line_of_imap(out),
        }
        self.line.clear();
        self.passed = 0;
        self.lines += 1;
        // A list may be long in SMTP and POP3: there the commands are counted.
        self.over |= self.protocol == Protocol::Imap && self.lines > MOST;
    }

    fn end_turn(&mut self) {
        self.turns.pop_front();
        self.end_at_last_turn();
    }

    /// A line of the answer to EHLO.
    fn end_offer_of_smtp(&mut self, out: &mut Vec<u8>) {
        let last = is_last(&self.line);
        let keyword = self.line.get(4..).unwrap_or_default().trim_ascii();
        let offers = begins(&self.line, "250") && keyword.eq_ignore_ascii_case(b"STARTTLS");
        // The first line has the server's name.
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
            self.end_turn();
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
        // What follows a literal's size is no line.
        self.over |= is_data || rest.ends_with(b"}");
    }

    fn holds_back(&self) -> bool {
        !self.previous.is_empty() || (self.holds && !self.line.is_empty())
    }

    /// Gives up everything that is held back.
    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.previous);
        if self.holds {
            out.extend_from_slice(&self.line[self.passed..]);
        }
        self.line.clear();
        self.passed = 0;
    }
}

/// What a command's reply is.
fn turn(protocol: Protocol, command: &[u8]) -> Turn {
    let is = |words: &[&str]| words.iter().any(|word| first_word_is(command, word));
    let (offers, others): (&[&str], &[&str]) = match protocol {
        Protocol::Smtp => (
            &["EHLO", "LHLO"],
            &["HELO", "NOOP", "RSET", "HELP", "VRFY", "QUIT", "START"],
        ),
        _ => (&["CAPA"], &["NOOP", "USER", "UTF8", "QUIT", "STLS"]),
    };
    if is(offers) {
        Turn::Offers
    } else if is(others) {
        Turn::Other
    } else {
        Turn::Last
    }
}

/// Whether a line is the last of SMTP's reply.
fn is_last(line: &[u8]) -> bool {
    line.get(3) != Some(&b'-')
}

/// A line of an IMAP server without STARTTLS among its capabilities.
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

/// Where the capabilities stand in a line: `* CAPABILITY ...`, or the code `[CAPABILITY ...]` of a
/// greeting or of a command's OK.
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

//! Server mode: removes a mail server's offer of STARTTLS or STLS from its answer to EHLO, CAPABILITY
//! or CAPA. The client has TLS already, and would speak TLS inside TLS if it accepted the offer. Only a
//! server that greets before the client speaks, as mail servers do, is filtered, and only until the
//! client logs in, turns to its mail, or sends a command behind which the stream may be binary. A line is
//! held back only while it may still be an offer, and in SMTP the line before it, which may become the
//! last. Never in here: adding a word.

use std::collections::VecDeque;
use std::ops::Range;

use super::LINE_MAX;
use super::commands::{Commands, Pending, TAG_MAX, Tagged};
use super::io::{begins, first_word_is, split_word};
use super::opening::{GREETINGS, Mail as Kind};
use crate::config::Protocol;

/// Bound on the commands that await a reply, and on the IMAP lines inspected; beyond it everything
/// passes unchanged.
const MOST: usize = 64;

/// The longest of [`GREETINGS`].
const GREETING: usize = 10;

#[derive(Debug)]
pub(crate) enum Offers {
    /// The server has sent only this much of a greeting, which was passed on.
    Greeting([u8; GREETING], usize),
    /// It is a mail server.
    Mail(Box<Mail>),
    /// Everything passes unchanged.
    Over,
}

impl Offers {
    /// `greeted`: the protocol of the dialogue before TLS, in which the server has greeted already.
    pub(crate) fn new(greeted: Option<Protocol>) -> Offers {
        match greeted {
            Some(Protocol::Smtp) => Offers::Mail(Box::new(Mail::new(Kind::Smtp))),
            Some(Protocol::Pop3) => Offers::Mail(Box::new(Mail::new(Kind::Pop3))),
            Some(Protocol::Imap) => Offers::Mail(Box::new(Mail::new(Kind::Imap))),
            None | Some(Protocol::Proxy) => Offers::Greeting([0; GREETING], 0),
            // Their clients start no TLS within TLS, whatever a server offers.
            Some(_) => Offers::Over,
        }
    }

    /// Whether everything passes unchanged from here on.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Offers::Over)
    }

    /// Takes note of what the client says. If that ends the filter, what was held back of the server's
    /// words is appended to `out`.
    pub(crate) fn client_says(&mut self, words: &[u8], out: &mut Vec<u8>) {
        match self {
            Offers::Greeting(..) if !words.is_empty() => *self = Offers::Over,
            Offers::Mail(mail) => {
                mail.hear(words, out);
                self.end_with_mail();
            }
            _ => {}
        }
    }

    /// Filters what the server says; what may pass is appended to `out`.
    pub(crate) fn server_says(&mut self, words: &[u8], out: &mut Vec<u8>) {
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
    pub(crate) fn server_ends(&mut self, out: &mut Vec<u8>) {
        if let Offers::Mail(mail) = self {
            mail.release(out);
        }
        *self = Offers::Over;
    }

    fn end_with_mail(&mut self) {
        if matches!(self, Offers::Mail(mail) if mail.over) {
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

    /// Whose words are filtered.
    #[cfg(test)]
    pub(super) fn protocol(&self) -> Option<Kind> {
        match self {
            Offers::Mail(mail) => Some(mail.protocol),
            _ => None,
        }
    }

    /// What is held back: SMTP's line before, and the line so far.
    #[cfg(test)]
    pub(super) fn held_back(&self) -> (&[u8], &[u8]) {
        match self {
            Offers::Mail(mail) => (&mail.previous, &mail.line[mail.passed..]),
            _ => (&[], &[]),
        }
    }
}

/// Recognises a greeting by its first `length` bytes.
fn judge(head: [u8; GREETING], length: usize) -> Offers {
    let said = &head[..length];
    if let Some(protocol) = Kind::greeting(said) {
        return Offers::Mail(Box::new(Mail::greeting(protocol, said)));
    }
    let may_be = |(greeting, _): &(&str, Kind)| {
        let begun = greeting.as_bytes().get(..length);
        begun.is_some_and(|begun| begun.eq_ignore_ascii_case(said))
    };
    match GREETINGS.iter().any(may_be) {
        true => Offers::Greeting(head, length),
        false => Offers::Over,
    }
}

/// The conversation with a mail server.
#[derive(Debug)]
pub(crate) struct Mail {
    protocol: Kind,
    client: Client,
    /// SMTP, POP3: commands that await a reply, oldest first.
    pending: VecDeque<Pending>,
    /// The server's line so far.
    line: Vec<u8>,
    /// How many bytes of `line` were passed on already.
    passed: usize,
    /// Whether `line` stands where an offer may stand.
    inspects: bool,
    /// SMTP: the previous line of the reply. It is held back because it becomes the last line if that
    /// is an offer.
    previous: Vec<u8>,
    /// POP3: in the list that follows CAPA's status line.
    lists: bool,
    /// Lines of the server so far.
    lines: usize,
    over: bool,
}

/// The client's part.
#[derive(Debug)]
enum Client {
    /// In SMTP and POP3.
    Plain(Commands),
    /// In IMAP.
    Tagged(Tagged),
}

impl Mail {
    fn new(protocol: Kind) -> Mail {
        let client = match protocol {
            Kind::Imap => Client::Tagged(Tagged::new()),
            _ => Client::Plain(Commands::new(protocol)),
        };
        Mail {
            protocol,
            client,
            pending: VecDeque::new(),
            line: Vec::new(),
            passed: 0,
            inspects: false,
            previous: Vec::new(),
            lists: false,
            lines: 0,
            over: false,
        }
    }

    /// In the middle of a greeting; `said` was passed on already.
    fn greeting(protocol: Kind, said: &[u8]) -> Mail {
        let mut mail = Mail::new(protocol);
        mail.line.extend_from_slice(said);
        mail.passed = said.len();
        mail.inspects = protocol == Kind::Imap;
        mail.pending.push_back(Pending::Other);
        if said.ends_with(b"\n") {
            mail.end_line(&mut Vec::new());
        }
        mail
    }

    /// Takes note of the client's commands.
    fn hear(&mut self, words: &[u8], out: &mut Vec<u8>) {
        match &mut self.client {
            Client::Tagged(tagged) => self.over |= tagged.hear(words),
            Client::Plain(commands) => {
                for &byte in words {
                    self.pending.extend(commands.hear(byte));
                    if self.pending.len() > MOST {
                        self.over = true;
                        break;
                    }
                }
                self.end_at_last();
            }
        }
        if self.over {
            self.release(out);
        }
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
                self.inspects = match self.protocol {
                    Kind::Imap => true,
                    Kind::Smtp => self.pending.front() == Some(&Pending::Offers),
                    Kind::Pop3 => self.lists,
                };
            }
            self.line.extend_from_slice(piece);
            if self.line.len() > LINE_MAX || piece.iter().any(|&byte| is_binary(byte)) {
                self.over = true;
                break;
            }
            self.pass_what_is_no_offer(out);
            if end.is_some() {
                self.end_line(out);
            }
        }
        if self.over {
            self.release(out);
            out.extend_from_slice(rest);
        }
    }

    /// Passes on what need not be held back any longer.
    fn pass_what_is_no_offer(&mut self, out: &mut Vec<u8>) {
        let may_offer = self.inspects && may_offer(self.protocol, &self.line);
        if !may_offer {
            out.append(&mut self.previous);
        }
        let may_become_last =
            self.inspects && self.protocol == Kind::Smtp && begins(&self.line, "250-");
        if !may_offer && !may_become_last {
            out.extend_from_slice(&self.line[self.passed..]);
            self.passed = self.line.len();
        }
    }

    /// A line is complete: judges it, and passes on or removes what was held back of it.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        match (self.protocol, self.inspects) {
            (Kind::Smtp, true) => self.end_offer_of_smtp(out),
            (Kind::Smtp, false) => {
                if is_last(&self.line) {
                    self.answered();
                }
            }
            (Kind::Pop3, true) => {
                let line = self.line.trim_ascii();
                self.lists = line != b".";
                if !line.eq_ignore_ascii_case(b"STLS") {
                    out.extend_from_slice(&self.line[self.passed..]);
                }
                if !self.lists {
                    self.answered();
                }
            }
            (Kind::Pop3, false) => {
                let offers = self.pending.front() == Some(&Pending::Offers);
                self.lists = offers && begins(&self.line, "+OK");
                if !self.lists {
                    self.answered();
                }
            }
            (Kind::Imap, _) => self.end_line_of_imap(out),
        }
        self.line.clear();
        self.passed = 0;
        self.lines += 1;
        // SMTP and POP3 lists may be long; there the pending commands are bounded.
        self.over |= self.protocol == Kind::Imap && self.lines > MOST;
    }

    fn answered(&mut self) {
        self.pending.pop_front();
        self.end_at_last();
    }

    /// A line of the answer to EHLO.
    fn end_offer_of_smtp(&mut self, out: &mut Vec<u8>) {
        let last = is_last(&self.line);
        let keyword = self.line.get(4..).unwrap_or_default().trim_ascii();
        let offers = may_offer(Kind::Smtp, &self.line) && keyword.eq_ignore_ascii_case(b"STARTTLS");
        // The first line names the server.
        if offers && !self.previous.is_empty() {
            if last && let Some(separator) = self.previous.get_mut(3) {
                *separator = b' ';
            }
        } else {
            out.append(&mut self.previous);
            self.previous.extend_from_slice(&self.line[self.passed..]);
        }
        if last {
            out.append(&mut self.previous);
            self.answered();
        }
    }

    fn end_line_of_imap(&mut self, out: &mut Vec<u8>) {
        if self.passed < self.line.len() {
            let line = without_starttls(&self.line);
            out.extend_from_slice(&line[self.passed..]);
        }
        let (tag, rest) = split_word(self.line.trim_ascii());
        let goes_on = ["OK", "NO", "BAD", "BYE", "PREAUTH", "CAPABILITY", "ID"];
        let is_data = tag == b"*" && !goes_on.iter().any(|word| first_word_is(rest, word));
        let logged_in = matches!(&self.client, Client::Tagged(tagged) if tagged.is_login(tag));
        // A literal follows, which need not be lines.
        self.over |= is_data || logged_in || rest.ends_with(b"}");
    }

    /// Passes on everything that is held back.
    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.previous);
        out.extend_from_slice(&self.line[self.passed..]);
        self.line.clear();
        self.passed = 0;
    }
}

/// Whether a mail server's line never has this byte: the stream has turned binary.
fn is_binary(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t')
}

/// Whether a line of which this much is known may still be, or is, an offer.
fn may_offer(protocol: Kind, line: &[u8]) -> bool {
    match protocol {
        Kind::Smtp => {
            may_begin(line, "250")
                && matches!(line.get(3), None | Some(b' ' | b'-'))
                && may_be(line.get(4..).unwrap_or_default(), "STARTTLS")
        }
        Kind::Pop3 => may_be(line, "STLS"),
        Kind::Imap => may_list_capabilities(line),
    }
}

/// Whether `line` may still turn out to begin with `prefix`, or does.
fn may_begin(line: &[u8], prefix: &str) -> bool {
    begins(line, &prefix[..prefix.len().min(line.len())])
}

/// Whether `text` may still turn out to be `word` between blanks, or is.
fn may_be(text: &[u8], word: &str) -> bool {
    let text = text.trim_ascii_start();
    let behind = text.get(word.len()..).unwrap_or_default();
    may_begin(text, word) && behind.trim_ascii().is_empty()
}

/// As [`capabilities`], for a line that goes on.
fn may_list_capabilities(line: &[u8]) -> bool {
    let Some(tag) = line.iter().position(|&byte| byte == b' ') else {
        return line.len() <= TAG_MAX && !line.ends_with(b"\n");
    };
    let status = &line[tag + 1..];
    let codes = ["OK [CAPABILITY ", "PREAUTH [CAPABILITY "];
    let has_code = codes.iter().any(|code| may_begin(status, code));
    let is_list = &line[..tag] == b"*" && may_begin(status, "CAPABILITY ");
    tag <= TAG_MAX && (has_code || is_list)
}

/// Whether a line is the last of an SMTP reply.
pub(super) fn is_last(line: &[u8]) -> bool {
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
pub(super) fn capabilities(line: &[u8]) -> Option<Range<usize>> {
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

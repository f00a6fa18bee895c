//! STARTTLS offered to a client that may also go on in plain. Its commands go to the server and the server's
//! replies to the client, in whole lines; the offer is added to the list of what the server can do, and
//! the client's STARTTLS is answered here. The first command of another kind, or anything that is no such
//! dialogue, ends it: what is left goes on in plain, and nothing is lost. Never in here: an error for
//! what a plain client may do.

use std::ops::Range;

use super::io::{Io, Step, begins, first_word_is, send, split_word};
use super::offers::{capabilities, is_last};
use super::opening::Mail;
use super::script::State;
use super::{AHEAD_MAX, COMMANDS_MAX, ProtocolError, Side, login, look};

#[derive(Debug)]
pub(super) struct Offering {
    protocol: Mail,
    /// adit logs in for the client.
    logs_in: bool,
    /// Commands so far.
    commands: u16,
    awaits: Awaits,
}

#[derive(Debug)]
enum Awaits {
    Greeting,
    Command,
    /// The reply to a command; `offers`: it lists what the server can do.
    Reply {
        offers: bool,
    },
    /// POP3: the lines behind the status of CAPA.
    List,
    /// IMAP: the reply with this tag.
    Tagged(Vec<u8>),
}

/// A client's command.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    /// It starts TLS.
    Starttls,
    /// It does so in words that are refused.
    Malformed,
    /// Its reply lists what the server can do.
    Capabilities,
    /// One that may stand before STARTTLS, and whose reply is lines.
    Other,
    /// The client goes on in plain.
    Plain,
}

impl Offering {
    pub(super) fn new(protocol: Mail, logs_in: bool) -> Offering {
        Offering {
            protocol,
            logs_in,
            commands: 0,
            awaits: Awaits::Greeting,
        }
    }

    /// Passes on a line of the server's, with the offer where it belongs. Returns whether the dialogue goes
    /// on.
    fn server_says(&mut self, line: &[u8], io: &mut Io<'_>) -> bool {
        match self.protocol {
            Mail::Smtp => self.smtp_server_says(line, io),
            Mail::Pop3 => self.pop3_server_says(line, io),
            Mail::Imap => self.imap_server_says(line, io),
        }
    }

    fn smtp_server_says(&mut self, line: &[u8], io: &mut Io<'_>) -> bool {
        let last = is_last(line);
        let well_formed = line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit);
        match self.awaits {
            // The first line names the server; the offer comes behind it.
            Awaits::Reply { offers: true } if begins(line, "250") && well_formed => {
                self.awaits = Awaits::Reply { offers: false };
                let behind = if last { " " } else { "-" };
                let text = match line.get(3) {
                    Some(b' ' | b'-') => &line[4..],
                    _ => &line[3..],
                };
                tell(io, &[b"250-", text].concat());
                tell(io, &[b"250", behind.as_bytes(), b"STARTTLS\r\n"].concat());
            }
            _ => tell(io, &self.shown(line)),
        }
        let goes_on = match self.awaits {
            Awaits::Greeting => begins(line, "220"),
            _ => true,
        };
        if last {
            self.awaits = Awaits::Command;
        }
        well_formed && goes_on
    }

    fn pop3_server_says(&mut self, line: &[u8], io: &mut Io<'_>) -> bool {
        let in_list = matches!(self.awaits, Awaits::List);
        match self.logs_in && matches!(self.awaits, Awaits::Greeting) {
            true => tell(io, &login::without_stamp(line)),
            false if in_list => tell(io, &self.shown(line)),
            false => tell(io, line),
        }
        let accepts = begins(line, "+OK");
        match self.awaits {
            Awaits::Greeting if !accepts => return false,
            Awaits::Reply { offers: true } if accepts => {
                tell(io, b"STLS\r\n");
                self.awaits = Awaits::List;
            }
            Awaits::List if line.trim_ascii() != b"." => {}
            _ => self.awaits = Awaits::Command,
        }
        true
    }

    fn imap_server_says(&mut self, line: &[u8], io: &mut Io<'_>) -> bool {
        let shown = self.shown(line);
        match capabilities(&shown) {
            Some(list) => tell(io, &with_offer(&shown, list)),
            None => tell(io, &shown),
        }
        let (tag, _) = split_word(line.trim_ascii());
        match &self.awaits {
            Awaits::Greeting => {
                self.awaits = Awaits::Command;
                // No TLS begins behind `* PREAUTH` (RFC 9051, section 7.1.4), nor behind `* BYE`.
                first_word_is(line.trim_ascii(), "* OK")
            }
            Awaits::Tagged(awaited) if tag == awaited => {
                self.awaits = Awaits::Command;
                true
            }
            // A literal follows, which need not be lines.
            _ => !line.trim_ascii().ends_with(b"}"),
        }
    }

    /// A line of a list as the client may see it.
    fn shown(&self, line: &[u8]) -> Vec<u8> {
        match self.logs_in {
            true => login::shown(self.protocol, line),
            false => line.to_vec(),
        }
    }

    /// Judges a client's command.
    fn judge(&self, line: &[u8]) -> Command {
        let line = line.trim_ascii();
        let is = |words: &[&str]| words.iter().any(|word| first_word_is(line, word));
        let arguments = split_word(line).1;
        match self.protocol {
            Mail::Smtp if is(&["STARTTLS"]) => match arguments {
                [] => Command::Starttls,
                _ => Command::Malformed,
            },
            Mail::Smtp if is(&["EHLO", "LHLO"]) => Command::Capabilities,
            Mail::Smtp if is(&["HELO", "NOOP", "RSET", "HELP", "VRFY"]) => Command::Other,
            Mail::Pop3 if is(&["STLS"]) => Command::Starttls,
            Mail::Pop3 if is(&["CAPA"]) => Command::Capabilities,
            Mail::Pop3 if is(&["NOOP"]) => Command::Other,
            Mail::Imap => judge_tagged(line),
            Mail::Smtp | Mail::Pop3 => Command::Plain,
        }
    }

    /// Does what a command asks for; it is taken only then.
    fn obey(mut self, line: &[u8], io: &mut Io<'_>) -> Result<Step<Self>, ProtocolError> {
        let command = self.judge(line);
        self.commands += 1;
        if command == Command::Plain || self.commands > COMMANDS_MAX {
            return Ok(Step::Plain);
        }
        io.front.take(line.len());
        let tag = split_word(line.trim_ascii()).0;
        match command {
            Command::Starttls => {
                io.nothing_behind_starttls(Side::Front)?;
                match self.protocol {
                    Mail::Smtp => io.tell_client("220 Go ahead"),
                    Mail::Pop3 => io.tell_client("+OK Begin TLS negotiation"),
                    Mail::Imap => io.tell_client([tag, b" OK Begin TLS negotiation now"].concat()),
                }
                return Ok(Step::Tls);
            }
            Command::Malformed => io.tell_client("501 Syntax error (no parameters allowed)"),
            _ => {
                send(io.out, Side::Back, line);
                self.awaits = match self.protocol {
                    Mail::Imap => Awaits::Tagged(tag.to_vec()),
                    _ => Awaits::Reply {
                        offers: command == Command::Capabilities,
                    },
                };
            }
        }
        Ok(Step::Next(self))
    }
}

impl State for Offering {
    fn step(mut self, io: &mut Io<'_>) -> Result<Step<Self>, ProtocolError> {
        loop {
            let hello = look::is_hello(io.front.pending());
            if hello == Some(true) {
                let protocol = io.protocol;
                return Err(ProtocolError::TlsTooLate { protocol });
            }
            // A command goes as soon as it may, so that how the server's lines were cut never matters. What may be
            // a hello yet is none.
            if matches!(self.awaits, Awaits::Command) && hello == Some(false) {
                match io.front.peek_line() {
                    Ok(Some(line)) => return self.obey(&line, io),
                    Ok(None) => {}
                    Err(_) => return Ok(Step::Plain),
                }
            }
            let Ok(line) = io.back.whole_line() else {
                return Ok(Step::Plain);
            };
            let Some(line) = line else { break };
            if !self.server_says(&line, io) {
                return Ok(Step::Plain);
            }
        }
        // Nothing that a plain connection may do is an error here.
        let ended = io.front.ended || io.back.ended;
        let ahead = io.front.pending().len().max(io.back.pending().len());
        Ok(match ended || ahead > AHEAD_MAX {
            true => Step::Plain,
            false => Step::Wait(self),
        })
    }
}

/// Sends the client bytes as they are.
fn tell(io: &mut Io<'_>, bytes: &[u8]) {
    send(io.out, Side::Front, bytes);
}

fn judge_tagged(line: &[u8]) -> Command {
    let (tag, command) = split_word(line);
    // A literal follows, which need not be lines.
    if tag.is_empty() || line.ends_with(b"}") {
        return Command::Plain;
    }
    if command.eq_ignore_ascii_case(b"STARTTLS") {
        return Command::Starttls;
    }
    let harmless = ["CAPABILITY", "NOOP", "ID"];
    match harmless.iter().any(|word| first_word_is(command, word)) {
        true => Command::Other,
        false => Command::Plain,
    }
}

/// IMAP capabilities, with the offer behind them unless it is there.
fn with_offer(line: &[u8], list: Range<usize>) -> Vec<u8> {
    let words = line[list.clone()].trim_ascii_end();
    let mut all = words.split(|&byte| byte == b' ');
    if all.any(|word| word.eq_ignore_ascii_case(b"STARTTLS")) {
        return line.to_vec();
    }
    let end = list.start + words.len();
    [&line[..end], b" STARTTLS", &line[end..]].concat()
}

//! The old mail program: it speaks plain SMTP and POP3, as Outlook Express does.

use std::io::{self, Read, Write};

use super::wire::Wire;
use crate::base64;

/// A user name and password.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) user: &'static str,
    pub(super) password: &'static str,
}

/// The lines of a conversation: `C: ...` or `S: ...`, passwords masked.
pub(super) type Transcript = Vec<String>;

/// A conversation with its transcript.
struct Spoken<'a, S> {
    wire: &'a mut Wire<S>,
    transcript: &'a mut Transcript,
}

impl<S: Read + Write> Spoken<'_, S> {
    /// Sends a line and waits for an answer that begins with `expected`.
    fn say(&mut self, line: &str, expected: &str) -> io::Result<String> {
        self.say_as(line, line, expected)
    }

    /// As `say`, with `shown` in the transcript instead of `line`.
    fn say_as(&mut self, line: &str, shown: &str, expected: &str) -> io::Result<String> {
        self.transcript.push(format!("C: {shown}"));
        self.wire.send(line)?;
        self.hear(expected)
    }

    /// Waits for a reply, which may have several lines (`250-`), and returns its last line.
    fn hear(&mut self, expected: &str) -> io::Result<String> {
        loop {
            let line = self.wire.text()?;
            self.transcript.push(format!("S: {line}"));
            if !line.starts_with(expected) {
                return Err(io::Error::other(format!(
                    "the mail program expected \"{expected}\" and received \"{line}\""
                )));
            }
            if line.as_bytes().get(3) != Some(&b'-') || expected.starts_with('+') {
                return Ok(line);
            }
        }
    }
}

/// Sends `mail`: EHLO, AUTH LOGIN, MAIL, RCPT, DATA, QUIT.
pub(super) fn submit<S: Read + Write>(
    wire: &mut Wire<S>,
    account: Account,
    mail: &[u8],
    transcript: &mut Transcript,
) -> io::Result<()> {
    let mut spoken = Spoken { wire, transcript };
    spoken.hear("220")?;
    spoken.say("EHLO oldpc", "250")?;
    spoken.say("AUTH LOGIN", "334")?;
    spoken.say(&base64::encode(account.user.as_bytes()), "334")?;
    spoken.say_as(
        &base64::encode(account.password.as_bytes()),
        "********",
        "235",
    )?;
    spoken.say(&format!("MAIL FROM:<{}>", account.user), "250")?;
    spoken.say(&format!("RCPT TO:<{}>", account.user), "250")?;
    spoken.say("DATA", "354")?;
    spoken.wire.send_mail(mail)?;
    spoken
        .transcript
        .push(format!("C: (the mail, {} bytes)", mail.len()));
    spoken.hear("250")?;
    spoken.say("QUIT", "221")?;
    wire.end()
}

/// Fetches the one mail and deletes it: USER, PASS, STAT, RETR, DELE, QUIT.
pub(super) fn fetch<S: Read + Write>(
    wire: &mut Wire<S>,
    account: Account,
    transcript: &mut Transcript,
) -> io::Result<Vec<u8>> {
    let mut spoken = Spoken { wire, transcript };
    spoken.hear("+OK")?;
    spoken.say(&format!("USER {}", account.user), "+OK")?;
    spoken.say_as(
        &format!("PASS {}", account.password),
        "PASS ********",
        "+OK",
    )?;
    spoken.say("STAT", "+OK 1 ")?;
    spoken.say("RETR 1", "+OK")?;
    let mail = spoken.wire.mail()?;
    spoken
        .transcript
        .push(format!("S: (the mail, {} bytes)", mail.len()));
    spoken.say("DELE 1", "+OK")?;
    spoken.say("QUIT", "+OK")?;
    wire.end()?;
    Ok(mail)
}

//! Checks what each side carried, and tells the story.

use std::io::{self, Write};

use super::client::Transcript;
use super::server::{MailServer, Seen};
use super::{ACCOUNT, Reason, SENTENCE};

/// The ports for the old mail program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) smtp: u16,
    pub(super) pop3: u16,
}

/// Both conversations, from both sides.
pub(super) struct Story<'a> {
    pub(super) ports: Ports,
    pub(super) server: &'a MailServer,
    pub(super) mail: &'a [u8],
    pub(super) sending: &'a Transcript,
    pub(super) sent: &'a Seen,
    pub(super) fetching: &'a Transcript,
    pub(super) got: &'a Seen,
}

impl Story<'_> {
    /// Checks for TLS 1.3 on the server's side, with nothing readable in it.
    pub(super) fn check(&self) -> Result<(), Reason> {
        let password = ACCOUNT.password.as_bytes();
        let coded = crate::base64::encode(password);
        for seen in [self.sent, self.got] {
            if seen.negotiated.version != "TLSv1.3" {
                return Err(Reason::NotTls13(seen.negotiated.version.clone()));
            }
            let before: Vec<u8> = seen.before_tls.join("\n").into_bytes();
            for heard in [&before, &seen.on_the_wire] {
                if contains(heard, password) || contains(heard, coded.as_bytes()) {
                    return Err(Reason::Readable("the password"));
                }
                if contains(heard, SENTENCE.as_bytes()) {
                    return Err(Reason::Readable("the mail"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        let Ports { smtp, pop3 } = self.ports;
        let (submission, pop3s) = (self.server.submission, self.server.pop3s);
        writeln!(
            out,
            "An old mail program that speaks no TLS sends a mail and fetches it again."
        )?;
        writeln!(
            out,
            "adit stands between it and a mail server that takes TLS 1.3 only.\n"
        )?;
        writeln!(
            out,
            "  mail program --plain--> adit 127.0.0.1:{smtp} --STARTTLS--> {submission}  SMTP"
        )?;
        writeln!(
            out,
            "  mail program --plain--> adit 127.0.0.1:{pop3} --TLS-------> {pop3s}  POP3"
        )?;

        writeln!(out, "\n1. Sending. Here, in plain, to port {smtp}:\n")?;
        lines(out, self.sending)?;
        writeln!(
            out,
            "\n   There, at the server: before TLS, from adit alone,\n"
        )?;
        lines(out, &self.sent.before_tls)?;
        there(out, self.sent)?;

        writeln!(out, "\n2. Fetching. Here, in plain, to port {pop3}:\n")?;
        lines(out, self.fetching)?;
        writeln!(out, "\n   There, at the server: not a word before TLS,")?;
        there(out, self.got)?;

        writeln!(
            out,
            "\nThe mail came back byte for byte ({} bytes). Neither it nor the password could be \
             read\non the way to the server, whose certificate adit verified.",
            self.mail.len(),
        )
    }
}

fn lines(out: &mut dyn Write, transcript: &[String]) -> io::Result<()> {
    transcript
        .iter()
        .try_for_each(|line| writeln!(out, "      {line}"))
}

fn there(out: &mut dyn Write, seen: &Seen) -> io::Result<()> {
    let negotiated = &seen.negotiated;
    writeln!(
        out,
        "\n   then {}, cipher {}, key exchange {}:\n",
        negotiated.version, negotiated.suite, negotiated.group,
    )?;
    let heard = &seen.on_the_wire;
    let middle = &heard[heard.len() / 2..];
    let shown: Vec<String> = middle.iter().take(20).map(|b| format!("{b:02x}")).collect();
    writeln!(
        out,
        "      ... {} ... ({} bytes in all)",
        shown.join(" "),
        heard.len()
    )
}

fn contains(heard: &[u8], secret: &[u8]) -> bool {
    heard.windows(secret.len()).any(|window| window == secret)
}

//! What a program says on its connection, and what it is answered until it has shown what it speaks.
//! Never in here: a socket, a clock; a word of the program's in what is found out, but for commands of
//! a fixed list.

use std::time::Duration;

use crate::tls::hello::{self, Fault, Hello, Reading};

/// How long a program may be silent before it counts as one that waits for a greeting. One that speaks
/// first does so within a round trip.
const MOMENT: Duration = Duration::from_secs(1);
/// How long it may be silent in the middle of a hello, or between commands: old machines take a second
/// or two to make random numbers.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// As much as decides what was said first, where it is not TLS.
const FIRST_WORDS: usize = 64;
/// The longest line of a dialogue, in bytes.
const LINE_MAX: usize = 8 * 1024;
/// So many commands are answered.
const COMMANDS_MAX: u8 = 32;

/// A protocol that begins in plain and changes to TLS on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    /// RFC 3207
    Smtp,
    /// RFC 2595
    Pop3,
    /// RFC 9051
    Imap,
}

impl Mail {
    /// By its name in the configuration.
    pub fn named(name: &str) -> Option<Mail> {
        [Mail::Smtp, Mail::Pop3, Mail::Imap]
            .into_iter()
            .find(|mail| mail.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Mail::Smtp => "smtp",
            Mail::Pop3 => "pop3",
            Mail::Imap => "imap",
        }
    }

    /// The command that starts TLS.
    pub(super) fn starts_tls(self) -> &'static str {
        match self {
            Mail::Smtp | Mail::Imap => "STARTTLS",
            Mail::Pop3 => "STLS",
        }
    }

    /// The protocol whose servers have this port without TLS, also with thousands before it (1587).
    pub(super) fn of_port(port: u16) -> Option<Mail> {
        match port % 1000 {
            25 | 587 => Some(Mail::Smtp),
            110 => Some(Mail::Pop3),
            143 => Some(Mail::Imap),
            _ => None,
        }
    }

    fn greeting(self) -> &'static [u8] {
        match self {
            Mail::Smtp => b"220 localhost ESMTP adit listen-in\r\n",
            Mail::Pop3 => b"+OK adit listen-in\r\n",
            Mail::Imap => b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] adit listen-in\r\n",
        }
    }
}

/// How a program came to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With its first byte.
    AtOnce,
    /// It asked for it in plain.
    Starttls(Mail),
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It speaks TLS.
    Tls(Start, Box<Hello>),
    /// It began as TLS does; what came then cannot be read, or did not come.
    Unreadable(Start, Option<Fault>),
    /// It speaks first, in plain; the protocol, where it is known.
    SpeaksFirst(Option<&'static str>),
    /// It was offered STARTTLS and went on in plain, with this command, if it is a known one.
    GoesOnInPlain(Mail, Option<&'static str>),
    /// It waits for a greeting.
    Waits,
    /// It closed without a word, as a port scanner or a monitor does.
    Nothing,
}

/// One connection, heard until it has a [`Finding`].
#[derive(Debug)]
pub(super) struct Hearing {
    /// How a silent program is greeted.
    greets: Option<Mail>,
    stage: Stage,
    input: Vec<u8>,
    commands: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    /// Greeted.
    Greeted(Mail, Refused),
    Handshake(Start),
}

/// What a program was refused before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Nothing,
    /// This command, if it is a known one.
    Command(Option<&'static str>),
}

impl Refused {
    fn command(self) -> Option<&'static str> {
        match self {
            Refused::Nothing => None,
            Refused::Command(command) => command,
        }
    }
}

impl Hearing {
    pub(super) fn new(greets: Option<Mail>) -> Hearing {
        Hearing {
            greets,
            stage: Stage::First,
            input: Vec::new(),
            commands: 0,
        }
    }

    /// For how long the program may be silent now.
    pub(super) fn patience(&self) -> Duration {
        match self.stage {
            Stage::First if self.input.is_empty() => MOMENT,
            Stage::First if hello::read(&self.input) == Reading::NotTls => MOMENT,
            _ => SILENCE_TIMEOUT,
        }
    }

    /// It said this; `out` gets the answer.
    pub(super) fn says(&mut self, words: &[u8], out: &mut Vec<u8>) -> Option<Finding> {
        self.input.extend_from_slice(words);
        loop {
            match self.stage {
                Stage::First => return self.first(),
                Stage::Handshake(start) => return self.hello(start),
                Stage::Greeted(mail, refused) => {
                    // It took its time for the hello.
                    if self.commands == 0 && hello::read(&self.input) != Reading::NotTls {
                        self.stage = Stage::Handshake(Start::AtOnce);
                        continue;
                    }
                    let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
                        let endless = self.input.len() > LINE_MAX;
                        return endless.then_some(Finding::GoesOnInPlain(mail, refused.command()));
                    };
                    let line: Vec<u8> = self.input.drain(..=end).collect();
                    if let Some(finding) = self.command(mail, refused, line.trim_ascii(), out) {
                        return Some(finding);
                    }
                }
            }
        }
    }

    /// It has been silent for as long as [`Hearing::patience`] says.
    pub(super) fn is_silent(&mut self, out: &mut Vec<u8>) -> Option<Finding> {
        match (self.stage, self.greets) {
            (Stage::First, Some(mail)) if self.input.is_empty() => {
                out.extend_from_slice(mail.greeting());
                self.stage = Stage::Greeted(mail, Refused::Nothing);
                None
            }
            (Stage::First, None) if self.input.is_empty() => Some(Finding::Waits),
            _ => Some(self.ends()),
        }
    }

    /// It will say no more.
    pub(super) fn ends(&mut self) -> Finding {
        match self.stage {
            Stage::First if self.input.is_empty() => Finding::Nothing,
            Stage::First if hello::read(&self.input) == Reading::NotTls => {
                Finding::SpeaksFirst(guess(&self.input))
            }
            Stage::First => Finding::Unreadable(Start::AtOnce, None),
            Stage::Greeted(mail, refused) => Finding::GoesOnInPlain(mail, refused.command()),
            Stage::Handshake(start) => Finding::Unreadable(start, None),
        }
    }

    fn first(&mut self) -> Option<Finding> {
        if hello::read(&self.input) == Reading::NotTls {
            let enough = self.input.contains(&b'\n') || self.input.len() >= FIRST_WORDS;
            return enough.then(|| Finding::SpeaksFirst(guess(&self.input)));
        }
        self.hello(Start::AtOnce)
    }

    fn hello(&mut self, start: Start) -> Option<Finding> {
        match hello::read(&self.input) {
            Reading::Incomplete => None,
            Reading::NotTls => Some(Finding::Unreadable(start, None)),
            Reading::Malformed(fault) => Some(Finding::Unreadable(start, Some(fault))),
            Reading::Hello(hello) => Some(Finding::Tls(start, hello)),
        }
    }

    /// Answers a command, as a server does that lets nothing happen before TLS.
    fn command(
        &mut self,
        mail: Mail,
        refused: Refused,
        line: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Finding> {
        self.commands = self.commands.saturating_add(1);
        let line = String::from_utf8_lossy(line);
        let (tag, command) = match mail {
            Mail::Imap => line.split_once(' ').unwrap_or((&line, "")),
            _ => ("", &*line),
        };
        let verb = command.split(' ').next().unwrap_or_default();
        let verb = verb.to_ascii_uppercase();
        let answer = answer(mail, tag, &verb);
        out.extend_from_slice(answer.text().as_bytes());
        match answer {
            Answer::Goes(_) if self.commands < COMMANDS_MAX => None,
            Answer::Tls(_) => {
                self.stage = Stage::Handshake(Start::Starttls(mail));
                None
            }
            // Some try a second way to log in before they ask for TLS.
            Answer::Refused(_) if refused == Refused::Nothing => {
                self.stage = Stage::Greeted(mail, Refused::Command(known(mail, &verb)));
                None
            }
            _ => Some(Finding::GoesOnInPlain(mail, refused.command())),
        }
    }
}

enum Answer {
    Goes(String),
    Tls(String),
    Refused(String),
    Ends(String),
}

impl Answer {
    fn text(&self) -> &str {
        match self {
            Answer::Goes(text) | Answer::Tls(text) | Answer::Refused(text) | Answer::Ends(text) => {
                text
            }
        }
    }
}

fn answer(mail: Mail, tag: &str, verb: &str) -> Answer {
    match (mail, verb) {
        (Mail::Smtp, "EHLO") => Answer::Goes("250-localhost\r\n250 STARTTLS\r\n".into()),
        (Mail::Smtp, "HELO" | "NOOP" | "RSET") => Answer::Goes("250 localhost\r\n".into()),
        (Mail::Smtp, "STARTTLS") => Answer::Tls("220 Ready to start TLS\r\n".into()),
        (Mail::Smtp, "QUIT") => Answer::Ends("221 Bye\r\n".into()),
        (Mail::Smtp, _) => {
            Answer::Refused("530 5.7.0 Must issue a STARTTLS command first\r\n".into())
        }
        (Mail::Pop3, "CAPA") => Answer::Goes("+OK\r\nSTLS\r\nUSER\r\n.\r\n".into()),
        (Mail::Pop3, "NOOP") => Answer::Goes("+OK\r\n".into()),
        (Mail::Pop3, "STLS") => Answer::Tls("+OK Begin TLS\r\n".into()),
        (Mail::Pop3, "QUIT") => Answer::Ends("+OK Bye\r\n".into()),
        (Mail::Pop3, _) => Answer::Refused("-ERR Must issue a STLS command first\r\n".into()),
        (Mail::Imap, "CAPABILITY") => Answer::Goes(format!(
            "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n{tag} OK done\r\n"
        )),
        (Mail::Imap, "NOOP") => Answer::Goes(format!("{tag} OK done\r\n")),
        (Mail::Imap, "ID") => Answer::Goes(format!("* ID NIL\r\n{tag} OK done\r\n")),
        (Mail::Imap, "STARTTLS") => Answer::Tls(format!("{tag} OK Begin TLS\r\n")),
        (Mail::Imap, "LOGOUT") => Answer::Ends(format!("* BYE\r\n{tag} OK done\r\n")),
        (Mail::Imap, _) => Answer::Refused(format!("{tag} NO Must issue STARTTLS first\r\n")),
    }
}

/// The command, if it is a known one: what a program says else may be a password.
fn known(mail: Mail, verb: &str) -> Option<&'static str> {
    let known: &[&str] = match mail {
        Mail::Smtp => &["AUTH", "MAIL", "RCPT", "DATA", "VRFY"],
        Mail::Pop3 => &["USER", "PASS", "APOP", "AUTH", "STAT", "LIST"],
        Mail::Imap => &["LOGIN", "AUTHENTICATE", "SELECT", "LIST"],
    };
    known.iter().copied().find(|word| *word == verb)
}

/// How the clients of some protocols begin, where they speak first.
const FIRST: [(&[u8], &str); 24] = [
    (b"GET ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"OPTIONS ", "HTTP or RTSP"),
    (b"PROPFIND ", "HTTP (WebDAV)"),
    (b"CONNECT ", "HTTP, to a proxy"),
    (b"EHLO ", "SMTP"),
    (b"HELO ", "SMTP"),
    (b"USER ", "POP3, FTP or IRC"),
    (b"CAPA", "POP3"),
    (b"NICK ", "IRC"),
    (b"CAP LS", "IRC"),
    (b"MODE READER", "NNTP"),
    (b"SSH-", "SSH, which has an encryption of its own"),
    (b"<?xml", "XMPP"),
    (b"<stream:stream", "XMPP"),
    (b"SIP/2.0", "SIP"),
    (b"REGISTER sip", "SIP"),
    // SSLRequest: the server has to say that it knows TLS.
    (
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        "PostgreSQL, and asks for TLS in that protocol's way",
    ),
    (b"\x05", "SOCKS 5"),
    (b"\x04\x01", "SOCKS 4"),
    // A message of BER: a bind, a search or StartTLS.
    (b"\x30", "LDAP"),
    // CONNECT
    (b"\x10", "MQTT"),
];

fn guess(words: &[u8]) -> Option<&'static str> {
    let begins = |beginning: &[u8]| {
        let front = words.get(..beginning.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(beginning))
    };
    let known = FIRST.iter().find(|(beginning, _)| begins(beginning));
    // A tag and a command, which is how IMAP's clients speak.
    let imap = || {
        let line = words.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let verb = line.split(|byte| *byte == b' ').nth(1)?;
        [&b"CAPABILITY"[..], b"LOGIN", b"STARTTLS", b"NOOP"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(verb))
            .then_some("IMAP")
    };
    known.map(|(_, name)| *name).or_else(imap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = include_bytes!("../../../fuzz/seeds/hello/openssl-1.0");

    /// What the program says, `.` where it is silent and `!` where it closes; what it hears, and what is
    /// found out.
    fn heard(greets: Option<Mail>, script: &[&[u8]]) -> (String, Option<Finding>) {
        let mut hearing = Hearing::new(greets);
        let mut out = Vec::new();
        let mut found = None;
        for words in script {
            assert_eq!(found, None, "it goes on behind what is found");
            found = match *words {
                b"." => hearing.is_silent(&mut out),
                b"!" => Some(hearing.ends()),
                words => hearing.says(words, &mut out),
            };
        }
        (String::from_utf8(out).unwrap(), found)
    }

    #[test]
    fn tls_from_the_first_byte_is_heard() {
        for greets in [None, Some(Mail::Smtp)] {
            let (said, found) = heard(greets, &[&HELLO[..1], &HELLO[1..20], &HELLO[20..]]);
            assert_eq!(said, "");
            assert!(matches!(found, Some(Finding::Tls(Start::AtOnce, _))));
        }
        // It needs longer than a moment.
        let (said, found) = heard(Some(Mail::Imap), &[b".", &HELLO[..9], &HELLO[9..]]);
        assert!(said.starts_with("* OK "));
        assert!(matches!(found, Some(Finding::Tls(Start::AtOnce, _))));
    }

    #[test]
    fn starttls_is_offered_to_a_silent_program() {
        let words = |text: &'static str| text.as_bytes();
        for (mail, script, said) in [
            (
                Mail::Smtp,
                &[words("EHLO pc.example.com\r\n"), words("StartTLS\r\n")][..],
                "220 localhost ESMTP adit listen-in\r\n250-localhost\r\n250 STARTTLS\r\n220 Ready to \
                 start TLS\r\n",
            ),
            (
                Mail::Pop3,
                &[words("CAPA\r\n"), words("STLS\r\n")],
                "+OK adit listen-in\r\n+OK\r\nSTLS\r\nUSER\r\n.\r\n+OK Begin TLS\r\n",
            ),
            (
                Mail::Imap,
                &[words("a1 CAPABILITY\r\na2 STARTTLS\r\n")],
                "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] adit listen-in\r\n* CAPABILITY \
                 IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK done\r\na2 OK Begin TLS\r\n",
            ),
        ] {
            let script: Vec<&[u8]> = [&[words(".")], script, &[HELLO]].concat();
            let (heard, found) = heard(Some(mail), &script);
            assert_eq!(heard, said);
            let start = Start::Starttls(mail);
            assert!(
                matches!(found, Some(Finding::Tls(by, _)) if by == start),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_program_that_goes_on_in_plain_is_refused_and_told_by_its_command() {
        for (mail, script, command) in [
            (
                Mail::Smtp,
                "HELO pc\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n",
                Some("MAIL"),
            ),
            (Mail::Pop3, "USER secret\r\nPASS secret\r\n", Some("USER")),
            (
                Mail::Imap,
                "1 LOGIN secret secret\r\n2 LOGOUT\r\n",
                Some("LOGIN"),
            ),
            // No known command: it may be anything.
            (Mail::Smtp, "secret\r\nsecret\r\n", None),
        ] {
            let (said, found) = heard(Some(mail), &[b".", script.as_bytes()]);
            assert_eq!(found, Some(Finding::GoesOnInPlain(mail, command)), "{said}");
        }
        let endless = heard(Some(Mail::Smtp), &[b".", &[b'a'; LINE_MAX + 1]]);
        assert_eq!(endless.1, Some(Finding::GoesOnInPlain(Mail::Smtp, None)));
        let silent = heard(Some(Mail::Smtp), &[b".", b"AUTH LOGIN\r\n", b"."]);
        let auth = Finding::GoesOnInPlain(Mail::Smtp, Some("AUTH"));
        assert_eq!(silent.1, Some(auth));
    }

    #[test]
    fn a_program_that_speaks_first_in_plain_is_told_by_its_first_words() {
        for (words, protocol) in [
            (&b"GET / HTTP/1.0\r\n"[..], Some("HTTP")),
            (b"ehlo pc\r\n", Some("SMTP")),
            (b"a1 login x y\r\n", Some("IMAP")),
            (b"secret secrets\r\n", None),
        ] {
            let (_, found) = heard(None, &[words]);
            assert_eq!(found, Some(Finding::SpeaksFirst(protocol)));
        }
        // A message without lines is judged when no more comes.
        let (_, found) = heard(None, &[b"\x30\x0c\x02\x01\x01", b"."]);
        assert_eq!(found, Some(Finding::SpeaksFirst(Some("LDAP"))));
    }

    #[test]
    fn silence_and_broken_hellos_are_told_apart() {
        assert_eq!(heard(None, &[b"."]).1, Some(Finding::Waits));
        assert_eq!(heard(None, &[b"!"]).1, Some(Finding::Nothing));
        let broken = Finding::Unreadable(Start::AtOnce, None);
        assert_eq!(heard(None, &[&HELLO[..30], b"!"]).1, Some(broken));
        let start = Start::Starttls(Mail::Smtp);
        let after = heard(Some(Mail::Smtp), &[b".", b"STARTTLS\r\n", b"!"]);
        assert_eq!(after.1, Some(Finding::Unreadable(start, None)));
        let bad = heard(None, &[b"\x16\x03\x01\0\x01\x02"]);
        let fault = Some(Fault::OtherMessage);
        assert_eq!(bad.1, Some(Finding::Unreadable(Start::AtOnce, fault)));
    }
}

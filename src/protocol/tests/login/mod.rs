//! A login in the program's place: transcripts of each protocol's forms, on both sides.

mod causes;
mod imap;
mod pop3;
mod smtp;
mod token;

use super::{Ends, Ev, check_each, run};
use crate::config::{Authentication, DialogueOptions, MailProtocol, Secret};
use crate::protocol::{Dialogue, Fresh, Side, login};

/// \0anna\0geheim, anna, geheim.
const BOTH: &str = "AGFubmEAZ2VoZWlt";
const NAME: &str = "YW5uYQ==";
const PASSWORD: &str = "Z2VoZWlt";

fn new(mail: MailProtocol, greeted: bool, options: &DialogueOptions) -> Box<dyn Dialogue> {
    login(mail, false, options, greeted, None, Fresh::default())
}

/// A program's own login.
fn translating(mail: MailProtocol) -> Box<dyn Dialogue> {
    new(mail, true, &DialogueOptions::default())
}

/// With a way that is asked for.
fn only(mail: MailProtocol, way: Authentication) -> Box<dyn Dialogue> {
    let authentication = Some(way);
    let options = DialogueOptions {
        authentication,
        ..DialogueOptions::default()
    };
    new(mail, true, &options)
}

/// An account of the configuration's.
fn account(mail: MailProtocol) -> Box<dyn Dialogue> {
    let options = DialogueOptions {
        username: Some("anna".to_owned()),
        password: Some(Secret::new("geheim").into()),
        ..DialogueOptions::default()
    };
    new(mail, true, &options)
}

/// (what happens, what the client hears, what the server hears, how it ends); `{BOTH}` and the like stand for the words.
type Row<'a> = (&'a [Ev], &'a str, &'a str, Ends);

fn with_words(text: &str) -> String {
    text.replace("{BOTH}", BOTH)
        .replace("{NAME}", NAME)
        .replace("{PASSWORD}", PASSWORD)
}

/// Checks rows that hold no password in clear; the table's words are filled in.
fn check(new: impl Fn() -> Box<dyn Dialogue>, rows: &[Row<'_>]) {
    let filled: Vec<(Vec<Ev>, String, String, Ends)> = rows
        .iter()
        .map(|(events, front, back, ends)| {
            let events = events.iter().map(|event| match *event {
                Ev::F(words) => Ev::F(with_words(words).leak()),
                Ev::B(words) => Ev::B(with_words(words).leak()),
                other => other,
            });
            let (front, back) = (with_words(front), with_words(back));
            (events.collect(), front, back, ends.clone())
        })
        .collect();
    for (events, front, back, ends) in filled {
        let events: &'static [Ev] = events.leak();
        let row: super::Row = (events, front.leak(), back.leak(), ends);
        check_each(&new, &[row]);
        let (said, ends) = run(new(), events, |n| n);
        let told = format!("{:?}{ends:?}", said.log);
        for secret in [BOTH, NAME, PASSWORD, "geheim"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

/// What was left over goes on.
fn goes_on(front: &str, back: &str) -> Ends {
    Ends::Next(front.to_owned(), back.to_owned())
}

fn logged(dialogue: Box<dyn Dialogue>, events: &[Ev]) -> Vec<String> {
    run(dialogue, events, |n| n).0.log
}

#[test]
fn the_program_waits_in_its_socket_while_the_server_is_spoken_with() {
    let mut dialogue = translating(MailProtocol::Smtp);
    let mut out = Vec::new();
    let mut feed = |event| {
        dialogue.feed(event, &mut out).unwrap();
        dialogue.hears(Side::Front)
    };
    assert!(feed(crate::protocol::Event::Start));
    let auth = format!("AUTH PLAIN {BOTH}\r\n");
    assert!(!feed(crate::protocol::Event::Bytes(
        Side::Front,
        auth.as_bytes()
    )));
    let no = "250-x\r\n250 AUTH PLAIN\r\n334 \r\n535 no\r\n";
    assert!(feed(crate::protocol::Event::Bytes(
        Side::Back,
        no.as_bytes()
    )));
    assert!(!format!("{dialogue:?}").contains("geheim"));
}

/// Words of programs and servers, right and wrong.
const WORDS: &[&str] = &[
    "EHLO x\r\n",
    "AUTH PLAIN AGFubmEAZ2VoZWlt\r\n",
    "AUTH LOGIN\r\n",
    "AUTH PLAIN\r\n",
    "AGFubmEAZ2VoZWlt\r\n",
    "YW5uYQ==\r\n",
    "*\r\n",
    "a LOGIN anna geheim\r\n",
    "a LOGIN {4}\r\n",
    "anna {6+}\r\ngeheim\r\n",
    "a AUTHENTICATE LOGIN\r\n",
    "a CAPABILITY\r\n",
    "USER anna\r\n",
    "PASS geheim\r\n",
    "CAPA\r\n",
    "STAT\r\n",
    "MAIL FROM:<a@b>\r\n",
    "QUIT\r\n",
    "220 hi\r\n",
    "250-x\r\n",
    "250-AUTH SCRAM-SHA-256 CRAM-MD5\r\n",
    "250 AUTH PLAIN LOGIN\r\n",
    "250 x\r\n",
    "334 \r\n",
    "334 VXNlcm5hbWU6\r\n",
    "235 ok\r\n",
    "535-no\r\n",
    "535 no\r\n",
    "+OK <1@x>\r\n",
    "SASL LOGIN\r\n",
    ".\r\n",
    "-ERR no\r\n",
    "+ \r\n",
    "+\r\n",
    "* OK hi\r\n",
    "* CAPABILITY AUTH=PLAIN\r\n",
    "adit OK in\r\n",
    "adit NO no\r\n",
    "a OK\r\n",
    "\x16\x03\x01",
    "}",
    "\r\n",
];

/// A login that succeeds, of a program that has been greeted or not.
fn good(mail: MailProtocol) -> &'static [Ev] {
    match mail {
        MailProtocol::Smtp => &[
            Ev::B("220 hi\r\n"),
            Ev::F("EHLO x\r\n"),
            Ev::B("250-x\r\n250 AUTH PLAIN LOGIN\r\n"),
            Ev::F("AUTH LOGIN\r\n"),
            Ev::F("YW5uYQ==\r\n"),
            Ev::F("Z2VoZWlt\r\n"),
            Ev::B("334 \r\n"),
            Ev::B("235 ok\r\n"),
        ],
        MailProtocol::Imap => &[
            Ev::B("* OK hi\r\n"),
            Ev::F("a LOGIN {4}\r\n"),
            Ev::F("anna {6+}\r\ngeheim\r\nb SELECT INBOX\r\n"),
            Ev::B("* CAPABILITY AUTH=PLAIN\r\nadit OK\r\n"),
            Ev::B("+ \r\n"),
            Ev::B("adit OK in\r\n"),
        ],
        MailProtocol::Pop3 => &[
            Ev::B("+OK <1@x> hi\r\n"),
            Ev::F("USER anna\r\nPASS geheim\r\nSTAT\r\n"),
            Ev::B("+OK\r\nSASL LOGIN\r\n.\r\n"),
            Ev::B("+ \r\n"),
            Ev::B("+ \r\n"),
            Ev::B("+OK in\r\n"),
        ],
    }
}

#[test]
fn how_words_are_cut_never_matters_and_no_secret_is_logged() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % bound
    };
    let mut logged_in = 0;
    for round in 0..8_000 {
        let mail = [MailProtocol::Smtp, MailProtocol::Pop3, MailProtocol::Imap][below(3)];
        let mut events = good(mail).to_vec();
        for _ in 0..below(4) {
            let word = WORDS[below(WORDS.len())];
            let event = match below(12) {
                0 => Ev::FrontEof,
                1 => Ev::BackEof,
                2..7 => Ev::F(word),
                _ => Ev::B(word),
            };
            let at = below(events.len());
            match below(2) {
                0 => events[at] = event,
                _ => events.insert(at, event),
            }
        }
        let new = || match round % 4 {
            0 => account(mail),
            1 => new(mail, false, &DialogueOptions::default()),
            _ => translating(mail),
        };
        let (said, ended) = run(new(), &events, |n| n);
        let pieces = run(new(), &events, |n| 1 + below(n));
        assert_eq!(pieces.1, ended, "{mail:?} {events:?}");
        logged_in += usize::from(said.log.iter().any(|line| line.contains("logged in")));
        let told = said.log.concat();
        assert!(!told.contains("geheim") && !told.contains(BOTH), "{told}");
        assert_eq!(pieces.0.untimed(), said.untimed(), "{mail:?} {events:?}");
    }
    assert!(logged_in > 2_000, "{logged_in}");
}

//! What has no end, and what no transcript lists.

use super::Ev::{B, BackEof, F, FrontEof, T};
use super::{Ends, Ev, run};
use crate::config::Protocol::{self, Imap, Nntp, Pop3, Smtp};
use crate::config::{MailProtocol, Reception};
use crate::protocol::look::is_hello;
use crate::protocol::{
    AHEAD_MAX, Action, Dialogue, Event, HELLO_WAIT, LINE_MAX, Progress, ProtocolError, REPLY_MAX,
    Side, receive,
};

/// Feeds `words` after the greeting-time `before`, in pieces of 1000 bytes and whole; the same
/// error is wanted, before more was fed than a reply or an end ahead of its turn may say.
fn overflow(protocol: Protocol, client: bool, before: &[Ev], side: Side, words: &[u8]) -> String {
    let errors = [1000, words.len()].map(|piece| {
        let mut out = Vec::new();
        let mut dialogue = super::dialogue(protocol, client);
        let mut feed = |event| dialogue.feed(event, &mut out);
        feed(Event::Start).unwrap();
        for event in before {
            feed(match event {
                F(words) => Event::Bytes(Side::Front, words.as_bytes()),
                B(words) => Event::Bytes(Side::Back, words.as_bytes()),
                T => Event::Timer,
                FrontEof => Event::Eof(Side::Front),
                BackEof => Event::Eof(Side::Back),
            })
            .unwrap();
        }
        let mut fed = 0;
        for chunk in words.chunks(piece) {
            fed += chunk.len();
            if let Err(error) = feed(Event::Bytes(side, chunk)) {
                let bound = match error {
                    ProtocolError::ReplyTooLong { .. } => REPLY_MAX + REPLY_MAX / 4,
                    _ => AHEAD_MAX,
                };
                assert!(
                    piece == words.len() || fed <= bound + 1000,
                    "noticed after {fed}"
                );
                return error.to_string();
            }
        }
        panic!("{} bytes were taken", words.len());
    });
    assert_eq!(errors[0], errors[1]);
    let [error, _] = errors;
    error
}

#[test]
fn what_has_no_end_is_refused_early() {
    let endless = vec![b'2'; 1 << 20];
    let greetings = "220-x\r\n".repeat(200_000);
    let untagged = "* OK x\r\n".repeat(200_000);
    let commands = "a NOOP\r\n".repeat(200);
    for (protocol, client, before, side, words, wanted) in [
        (
            Smtp,
            true,
            &[][..],
            Side::Back,
            &endless[..],
            "Line too long: the smtp server sent over 8192 bytes without an end of line where a greeting",
        ),
        (
            Smtp,
            true,
            &[B("220 x\r\n")],
            Side::Back,
            &endless,
            "Line too long: the smtp server sent over 8192 bytes without an end of line where the answer to EHLO",
        ),
        (
            Smtp,
            true,
            &[],
            Side::Back,
            greetings.as_bytes(),
            "Reply too long: the smtp server sent over 1048576 bytes where a greeting",
        ),
        (
            Smtp,
            true,
            &[],
            Side::Front,
            &endless,
            "Too much data before TLS: the smtp client",
        ),
        (
            Smtp,
            false,
            &[],
            Side::Back,
            &endless,
            "Too much data before TLS: the smtp server",
        ),
        (
            Smtp,
            false,
            &[T, B("220 x\r\n")],
            Side::Front,
            &endless,
            "Line too long: the smtp client",
        ),
        (
            Smtp,
            false,
            &[T, B("220 x\r\n")],
            Side::Front,
            commands.as_bytes(),
            "STARTTLS expected: the smtp client gave 64 commands",
        ),
        (
            Pop3,
            true,
            &[],
            Side::Back,
            &endless,
            "Line too long: the pop3 server",
        ),
        (
            Pop3,
            false,
            &[B("+OK\r\n")],
            Side::Front,
            commands.as_bytes(),
            "Client does not want TLS: the pop3 client gave 64 commands",
        ),
        (
            Pop3,
            false,
            &[B("+OK\r\n")],
            Side::Back,
            &endless,
            "Too much data before TLS: the pop3 server",
        ),
        (
            Imap,
            true,
            &[B("* OK\r\n")],
            Side::Back,
            untagged.as_bytes(),
            "Reply too long: the imap server",
        ),
        (
            Imap,
            false,
            &[T, B("* OK\r\n")],
            Side::Front,
            commands.as_bytes(),
            "STARTTLS expected: the imap client gave 64",
        ),
        (
            Imap,
            false,
            &[T, B("* OK\r\n"), F("a CAPABILITY\r\n")],
            Side::Back,
            untagged.as_bytes(),
            "Reply too long: the imap server sent over 1048576 bytes where the answer to CAPABILITY",
        ),
        (
            Imap,
            false,
            &[T, B("* OK\r\n"), F("a CAPABILITY\r\n")],
            Side::Front,
            &endless,
            "Too much data before TLS: the imap client",
        ),
    ] {
        let error = overflow(protocol, client, before, side, words);
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn an_answer_to_ehlo_of_a_megabyte_is_taken_and_none_of_it_kept() {
    for line in [
        "250-x\r\n",
        "250-\n",
        &format!("250-{}\r\n", "x".repeat(8000)),
    ] {
        let mut dialogue = super::dialogue(Smtp, true);
        let mut out = Vec::new();
        let mut feed = |words: &[u8], held: &mut usize| {
            for chunk in words.chunks(1000) {
                dialogue
                    .feed(Event::Bytes(Side::Back, chunk), &mut out)
                    .unwrap();
                *held = dialogue.held(Side::Back).max(*held);
            }
        };
        let mut held = 0;
        feed(b"220 mx\r\n", &mut held);
        let reply = line.repeat((1_000_000 - 10) / line.len());
        feed(reply.as_bytes(), &mut held);
        feed(b"250 end\r\n", &mut held);
        assert!(held <= LINE_MAX + 1000, "{held} bytes were kept");
        let said = out.pop();
        assert_eq!(
            said,
            Some(Action::Send(
                Side::Back,
                b"EHLO localhost\r\nSTARTTLS\r\n".to_vec()
            ))
        );
    }
}

#[test]
fn a_line_may_have_8_kib_and_not_a_byte_more() {
    for (length, taken) in [(LINE_MAX, true), (LINE_MAX + 1, false)] {
        let line = format!("220 {}\r\n", "x".repeat(length - 4));
        for piece in [1, line.len()] {
            let mut dialogue = super::dialogue(Smtp, true);
            let mut out = Vec::new();
            let fed = line.as_bytes().chunks(piece).try_for_each(|chunk| {
                dialogue
                    .feed(Event::Bytes(Side::Back, chunk), &mut out)
                    .map(|_| ())
            });
            assert_eq!(fed.is_ok(), taken, "{length} in pieces of {piece}");
        }
    }
}

/// xorshift64*: the same hostile input for the same seed.
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

const WORDS: &[&str] = &[
    "220 mx ESMTP\r\n",
    "220-mx\r\n",
    "250-mx\r\n",
    "250 mx\r\n",
    "454 no\r\n",
    "220",
    "\r\n",
    "\n",
    "\r",
    "+OK\r\n",
    "+OK go <1@x>\r\n",
    "-ERR\r\n",
    "* OK [CAPABILITY X",
    "* OK hi\r\n",
    "* BYE\r\n",
    "* CAPABILITY AUTH=X\r\n",
    "adit OK\r\n",
    "adit NO\r\n",
    "EHLO pc\r\n",
    "STARTTLS\r\n",
    "STLS\r\n",
    "CAPA\r\n",
    "a STARTTLS\r\n",
    "a CAPABILITY\r\n",
    "b NOOP\r\n",
    "QUIT\r\n",
    "200 news\r\n",
    "382 go\r\n",
    "CAPABILITIES\r\n",
    "MODE READER\r\n",
    "z LOGOUT\r\n",
    "\x16\x03\x01",
    "\0",
    " ",
    "[",
    "]",
    "\u{fe}",
];

fn hostile_events(seeded: &mut Seeded) -> Vec<Ev> {
    let word = |seeded: &mut Seeded| WORDS[seeded.below(WORDS.len())];
    (0..2 + seeded.below(24))
        .map(|_| match seeded.below(40) {
            0 => FrontEof,
            1 => BackEof,
            2..6 => T,
            6..22 => F(word(seeded)),
            _ => B(word(seeded)),
        })
        .collect()
}

/// A dialogue of any kind.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// In front of a server that speaks STARTTLS.
    Client(Protocol),
    /// In front of a plain server.
    Server(Protocol),
    Received(Reception),
}

impl Kind {
    fn any(seeded: &mut Seeded) -> Kind {
        let protocol = [Smtp, Pop3, Imap, Nntp][seeded.below(4)];
        let mail = [MailProtocol::Smtp, MailProtocol::Pop3, MailProtocol::Imap][seeded.below(3)];
        match seeded.below(5) {
            0 => Kind::Client(protocol),
            1 => Kind::Server(protocol),
            2 => Kind::Received(Reception::Required(mail)),
            3 => Kind::Received(Reception::Offered(Some(mail))),
            _ => Kind::Received(Reception::Offered(None)),
        }
    }

    fn dialogue(self) -> Box<dyn Dialogue> {
        match self {
            Kind::Client(protocol) => super::dialogue(protocol, true),
            Kind::Server(protocol) => super::dialogue(protocol, false),
            Kind::Received(reception) => receive(reception, HELLO_WAIT, false),
        }
    }
}

#[test]
fn no_input_breaks_the_promises() {
    for seed in 1..=30_000_u64 {
        let mut seeded = Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let kind = Kind::any(&mut seeded);
        let events = hostile_events(&mut seeded);
        let new = || kind.dialogue();
        let (said, ended) = run(new(), &events, |rest| rest);
        let case = format!("seed {seed}: {kind:?}: {events:?}");

        // Only what was said behind the last plain word may be left over on the TLS side, and
        // whole events show none: each ends at the latest with the go-ahead's read.
        let (pieces, pieces_end) = run(new(), &events, |rest| 1 + seeded.below(rest));
        match &ended {
            Ends::Fails(error) if error.starts_with("plaintext behind") => {}
            _ => assert_eq!(
                (pieces.untimed(), pieces_end),
                (said.untimed(), ended),
                "{case}"
            ),
        }
    }
}

#[test]
fn no_plain_word_passes_for_a_protected_one_and_no_buffer_grows() {
    for seed in 1..=20_000_u64 {
        let mut seeded = Seeded(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        let kind = Kind::any(&mut seeded);
        let mut dialogue = kind.dialogue();
        let mut out = Vec::new();
        let _ = dialogue.feed(Event::Start, &mut out);
        for _ in 0..60 {
            let mut bytes = WORDS[seeded.below(WORDS.len())].as_bytes().to_vec();
            match seeded.below(12) {
                0 => bytes = bytes.repeat(seeded.below(3000)),
                1 => bytes.extend((0..seeded.below(300)).map(|_| seeded.below(256) as u8)),
                _ => {}
            }
            let event = match seeded.below(9) {
                0 => Event::Timer,
                1..5 => Event::Bytes(Side::Front, &bytes),
                _ => Event::Bytes(Side::Back, &bytes),
            };
            let plain_before = out.iter().any(|action| matches!(action, Action::Send(..)));
            let progress = dialogue.feed(event, &mut out);
            let case = format!("seed {seed}: {kind:?}");
            for side in [Side::Front, Side::Back] {
                let held = dialogue.held(side);
                let over = progress != Ok(Progress::More);
                assert!(held <= AHEAD_MAX || over, "{case}");
            }
            match (progress, kind) {
                (Ok(Progress::More), _) => continue,
                (Ok(Progress::Next), Kind::Client(_)) => {
                    assert!(dialogue.take_rest(Side::Back).is_empty(), "{case}");
                }
                // It goes on in plain.
                (Ok(Progress::Next), Kind::Received(Reception::Offered(_))) => {}
                (Ok(Progress::Next | Progress::Tls), _) if plain_before => {
                    assert!(dialogue.take_rest(Side::Front).is_empty(), "{case}");
                }
                (Ok(Progress::Next | Progress::Tls), _) => {
                    let front = dialogue.take_rest(Side::Front);
                    assert!(
                        front.is_empty() || is_hello(&front) != Some(false),
                        "{case}"
                    );
                }
                (Ok(Progress::End) | Err(_), _) => {}
            }
            break;
        }
    }
}

/// A server's words, without what an offer of STARTTLS makes of them.
fn without_offers(words: &str, mail: MailProtocol) -> String {
    let words = words.to_ascii_uppercase();
    match mail {
        // A line before the offer is not the last any more.
        MailProtocol::Smtp => words
            .replace("250 STARTTLS\r\n", "")
            .replace("250-STARTTLS\r\n", "")
            .replace("250 ", "250-"),
        MailProtocol::Pop3 => words.replace("STLS\r\n", ""),
        MailProtocol::Imap => words.replace(" STARTTLS", ""),
    }
}

#[test]
fn nothing_is_lost_when_a_client_goes_on_in_plain() {
    let mut plain = 0;
    for seed in 1..=30_000_u64 {
        let mut seeded = Seeded(seed.wrapping_mul(0xA24B_AED4_963E_E407));
        let mail = [MailProtocol::Smtp, MailProtocol::Pop3, MailProtocol::Imap][seeded.below(3)];
        let events = hostile_events(&mut seeded);
        let dialogue = receive(Reception::Offered(Some(mail)), HELLO_WAIT, false);
        let (said, ended) = run(dialogue, &events, |rest| 1 + seeded.below(rest));
        let Ends::Next(front, back) = ended else {
            continue;
        };
        let heard = |side: Side| -> String {
            let words = events.iter().map(|event| match (event, side) {
                (F(words), Side::Front) | (B(words), Side::Back) => super::text(words.as_bytes()),
                _ => String::new(),
            });
            words.collect()
        };
        let case = format!("seed {seed}: {mail:?}: {events:?}");
        assert_eq!(said.back + &front, heard(Side::Front), "{case}");
        let told = said.front + &back;
        assert_eq!(
            without_offers(&told, mail),
            without_offers(&heard(Side::Back), mail),
            "{case}"
        );
        plain += 1;
    }
    assert!(plain > 10_000, "{plain}");
}

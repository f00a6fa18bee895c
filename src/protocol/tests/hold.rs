//! A program that is held while there is no server, and a server that is away in every state.

use super::Ev::{B, BackEof, F, FrontEof};
use super::{Ends, Ev, check_each, fails, run, text, tls};
use crate::config::DialogueOptions;
use crate::protocol::{Action, Dialogue, Event, Progress, Side, Unreachable, arrival, held};

fn holding(logs_in: bool) -> Box<dyn Dialogue> {
    held(&DialogueOptions::default(), logs_in)
}

const HI: &str = "220 localhost ESMTP adit\r\n";

/// The greeting, and then these lines.
fn hi(then: &str) -> &'static str {
    format!("{HI}{then}").leak()
}

#[test]
fn a_program_is_answered_what_needs_no_server_and_all_else_waits() {
    let rows = [
        (&[][..], hi(""), "", Ends::Open),
        (
            &[F("EHLO till\r\n")],
            hi("250 localhost\r\n"),
            "",
            Ends::Open,
        ),
        (&[F("helo till\n")], hi("250 localhost\r\n"), "", Ends::Open),
        (
            &[F("EHLO\r\nHELO \r\n")],
            hi("501 5.5.4 adit: the name of your machine is missing\r\n\
                501 5.5.4 adit: the name of your machine is missing\r\n"),
            "",
            Ends::Open,
        ),
        (
            &[F("NOOP\r\nRSET\r\n")],
            hi("250 2.0.0 adit: OK\r\n250 2.0.0 adit: OK\r\n"),
            "",
            Ends::Open,
        ),
        (
            &[F("STARTTLS\r\n")],
            hi("502 5.5.1 adit: STARTTLS is not offered here\r\n"),
            "",
            Ends::Open,
        ),
        (
            &[F("QUIT\r\n")],
            hi("221 2.0.0 localhost closing connection\r\n"),
            "",
            Ends::Bye,
        ),
        // For the server; and so is all that comes behind it.
        (&[F("MAIL FROM:<a@b>\r\n")], hi(""), "", Ends::Open),
        (&[F("RCPT TO:<a@b>\r\nNOOP\r\n")], hi(""), "", Ends::Open),
        (&[F("DATA\r\nQUIT\r\n")], hi(""), "", Ends::Open),
        (&[F("AUTH LOGIN\r\n")], hi(""), "", Ends::Open),
        (&[F("VRFY a\r\n")], hi(""), "", Ends::Open),
        (
            &[F("MAIL FROM:<a@b>\r\n"), FrontEof],
            hi(""),
            "",
            fails("Client closed within TLS"),
        ),
        (&[FrontEof], hi(""), "", fails("Client closed within TLS")),
    ];
    check_each(|| holding(false), &rows);
    let gone_wrong = [F("\x16\x03\x01")];
    let (said, ended) = run(holding(false), &gone_wrong, |n| n);
    assert!(matches!(ended, Ends::Fails(_)), "{said:?}");
}

#[test]
fn a_login_is_offered_only_where_adit_takes_it() {
    let offers = "250-localhost\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=PLAIN LOGIN\r\n";
    let rows = [
        (&[F("EHLO till\r\n")][..], hi(offers), "", Ends::Open),
        (
            &[F("HELO till\r\n")],
            hi("250 localhost\r\n"),
            "",
            Ends::Open,
        ),
    ];
    check_each(|| holding(true), &rows);
    let (said, _) = run(holding(true), &[F("EHLO a\r\nEHLO till\r\n")], |n| n);
    assert_eq!(said.log, ["named a", "named till"]);
}

#[test]
fn there_is_no_end_of_commands_nor_of_words_ahead() {
    let noops: &'static str = "NOOP\r\n".repeat(65).leak();
    let (_, ended) = run(holding(false), &[F(noops)], |n| n);
    assert!(matches!(ended, Ends::Fails(error) if error.contains("64 commands")));
    let ahead: &'static str = format!("DATA\r\n{}", "x".repeat(70_000)).leak();
    let (said, ended) = run(holding(false), &[F(ahead)], |n| n.min(1000));
    assert!(matches!(ended, Ends::Fails(error) if error.starts_with("Too much data")));
    assert!(said.front.starts_with(HI) && !said.front.contains("\r\n250"));
}

/// Words of a mail, one after the other; the last of each is what waits.
const COMMANDS: [&[Ev]; 6] = [
    &[],
    &[F("EHLO till\r\n")],
    &[F("EHLO till\r\n"), F("MAIL FROM:<a@b>\r\n")],
    &[F("RCPT TO:<a@b>\r\n")],
    &[F("DATA\r\n")],
    &[F("EHLO till\r\n"), F("AUTH PLAIN AGFubmEAZ2VoZWlt\r\n")],
];

#[test]
fn a_time_that_is_over_is_told_in_every_state() {
    for words in COMMANDS {
        for logs_in in [false, true] {
            let mut dialogue = holding(logs_in);
            let mut out = Vec::new();
            dialogue.feed(Event::Start, &mut out).unwrap();
            for word in words {
                let F(word) = word else { unreachable!() };
                let event = Event::Bytes(Side::Front, word.as_bytes());
                dialogue.feed(event, &mut out).unwrap();
            }
            out.clear();
            let ended = dialogue.feed(Event::Unreachable(Unreachable::TimedOut), &mut out);
            assert_eq!(ended, Ok(Progress::End), "{words:?}");
            let [Action::Send(Side::Front, said)] = &out[..] else {
                panic!("{out:?}: {words:?}");
            };
            let said = text(said);
            assert!(said.starts_with("421 4.3.2 adit: "), "{said}");
            assert!(
                said.ends_with("\r\n") && said.lines().count() == 1,
                "{said}"
            );
        }
    }
}

#[test]
fn what_waits_is_left_to_the_server_whole() {
    let words = F("EHLO till\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    let F(whole) = words else { unreachable!() };
    for piece in [1, 7, whole.len()] {
        let mut dialogue = holding(false);
        let mut out = Vec::new();
        dialogue.feed(Event::Start, &mut out).unwrap();
        for chunk in whole.as_bytes().chunks(piece) {
            dialogue
                .feed(Event::Bytes(Side::Front, chunk), &mut out)
                .unwrap();
        }
        let rest = text(&dialogue.take_rest(Side::Front));
        assert_eq!(rest, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    }
}

#[test]
fn a_server_that_comes_greets_the_program_or_hears_its_name() {
    let rows = [
        (&[B("220 mx\r\n")][..], "220 mx\r\n", "", tls("", "")),
        (
            &[B("220-mx\r\n"), B("220 at work\r\n")],
            "220-mx\r\n220 at work\r\n",
            "",
            tls("", ""),
        ),
        (&[B("220-mx\r\n")], "", "", Ends::Open),
    ];
    check_each(|| arrival(None), &rows);
    let rows = [
        (&[B("220 mx\r\n")][..], "", "EHLO till\r\n", Ends::Open),
        (
            &[
                B("220 mx\r\n"),
                B("250-mx\r\n250-PIPELINING\r\n"),
                B("250 SIZE 1\r\n"),
            ],
            "",
            "EHLO till\r\n",
            tls("", ""),
        ),
    ];
    check_each(|| arrival(Some("till")), &rows);
    let (said, _) = run(arrival(Some("a\r\nDATA")), &[B("220 mx\r\n")], |n| n);
    assert_eq!(said.back, "EHLO aDATA\r\n", "one command");
}

/// What the server says until it is lost, and whether another try may go well.
const LOST: [(&[Ev], bool); 11] = [
    (&[BackEof], true),
    (&[B("220-mx\r\n"), BackEof], true),
    (&[B("220 mx\r\n"), BackEof], true),
    (&[B("220 mx\r\n"), B("250-mx\r\n"), BackEof], true),
    (&[B("421 busy\r\n")], true),
    (&[B("220-mx\r\n"), B("450 busy\r\n")], true),
    (&[B("220 mx\r\n"), B("421 going down\r\n")], true),
    (&[B("220 mx\r\n"), B("250-mx\r\n451 no\r\n")], true),
    (&[B("554 go away\r\n")], false),
    (&[B("220 mx\r\n"), B("550 go away\r\n")], false),
    (&[B("HTTP/1.1 400 Bad Request\r\n")], false),
];

#[test]
fn a_server_that_is_lost_in_any_state_promises_nothing() {
    for (events, again) in LOST {
        let mut dialogue = arrival(Some("till"));
        let mut out = Vec::new();
        dialogue.feed(Event::Start, &mut out).unwrap();
        let mut end = None;
        for event in events {
            let event = match event {
                B(words) => Event::Bytes(Side::Back, words.as_bytes()),
                _ => Event::Eof(Side::Back),
            };
            match dialogue.feed(event, &mut out) {
                Ok(progress) => {
                    assert_eq!(progress, Progress::More, "{events:?}");
                    assert!(!dialogue.hears(Side::Front));
                }
                Err(error) => end = Some(error),
            }
        }
        let error = end.expect("a failure");
        assert_eq!(error.may_pass(), again, "{events:?}: {error}");
        for action in out {
            if let Action::Send(Side::Front, said) = action {
                assert!(
                    matches!(said[0], b'4' | b'5'),
                    "{events:?}: {}",
                    text(&said)
                );
            }
        }
    }
}

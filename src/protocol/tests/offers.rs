//! Offers of STARTTLS within TLS are removed, and everything else stays as it is.

use super::bounds::Seeded;
use crate::config::Protocol::{self, Imap, Pop3, Smtp};
use crate::protocol::LINE_MAX;
use crate::protocol::offers::Offers;
use crate::protocol::opening::Mail;

/// One side's words.
#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    Client(&'static str),
    Server(&'static str),
}
use Says::{Client, Server};

/// What the client hears, and whether everything passes unchanged from then on.
fn heard(
    greeted: Option<Protocol>,
    conversation: &[Says],
    mut piece: impl FnMut(usize) -> usize,
) -> (String, bool) {
    let (mut offers, mut out) = (Offers::new(greeted), Vec::new());
    say(&mut offers, conversation, &mut out, &mut piece);
    let over = offers.is_over();
    offers.server_ends(&mut out);
    (super::text(&out), over)
}

/// Feeds a conversation in pieces. Returns how much the server said.
pub(super) fn say(
    offers: &mut Offers,
    conversation: &[Says],
    out: &mut Vec<u8>,
    mut piece: impl FnMut(usize) -> usize,
) -> usize {
    let mut said = 0;
    for words in conversation {
        let (Client(text) | Server(text)) = words;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (head, behind) = rest.split_at(piece(rest.len()).clamp(1, rest.len()));
            match words {
                Client(_) => offers.client_says(head, out),
                Server(_) => {
                    offers.server_says(head, out);
                    said += head.len();
                }
            }
            check_held_back(offers);
            rest = behind;
        }
    }
    said
}

/// What is held back is never more than a line that may still be an offer, and in SMTP the line before it,
/// which may become the last one.
#[track_caller]
fn check_held_back(offers: &Offers) {
    let (previous, line) = offers.held_back();
    assert!(previous.is_empty() || (previous.starts_with(b"250-") && previous.ends_with(b"\n")));
    assert!(previous.len() <= LINE_MAX && line.len() <= LINE_MAX);
    if line.is_empty() {
        return;
    }
    let line = super::text(line).to_ascii_uppercase();
    assert!(!line.contains('\n'), "a whole line: {line:?}");
    let either = |said: &str, whole: &str| said.starts_with(whole) || whole.starts_with(said);
    let only = |said: &str, word: &str| word.starts_with(said) || said.trim_end() == word;
    let may_offer = match offers.protocol() {
        Some(Mail::Smtp) => {
            let keyword = line.get(4..).unwrap_or_default().trim_start();
            either(&line, "250-") || (either(&line, "250 ") && only(keyword, "STARTTLS"))
        }
        Some(Mail::Pop3) => only(line.trim_start(), "STLS"),
        Some(Mail::Imap) => {
            let lists = ["CAPABILITY ", "OK [CAPABILITY ", "PREAUTH [CAPABILITY "];
            let status = line.split_once(' ').map_or("", |(_, status)| status);
            // The beginning of a greeting was passed on.
            let code = either(&line, "[CAPABILITY ");
            code || (line.len() <= 64 || line.contains(' '))
                && lists.iter().any(|list| either(status, list))
        }
        None => false,
    };
    assert!(may_offer, "no offer: {line:?}");
}

#[track_caller]
pub(super) fn check(greeted: Option<Protocol>, conversation: &[Says], wanted: &str, over: bool) {
    for size in [usize::MAX, 1, 3] {
        let heard = heard(greeted, conversation, |_| size);
        assert_eq!(
            heard,
            (wanted.to_owned(), over),
            "in pieces of {size}: {conversation:?}"
        );
    }
}

#[test]
fn smtp_offers_are_taken_out_of_the_answer_to_ehlo() {
    let mx = Server("220 mx ESMTP\r\n");
    for (conversation, wanted, over) in [
        (
            &[
                mx,
                Client("EHLO pc\r\n"),
                Server("250-mx\r\n250-SIZE 1\r\n250-STARTTLS\r\n250 HELP\r\n"),
            ][..],
            "220 mx ESMTP\r\n250-mx\r\n250-SIZE 1\r\n250 HELP\r\n",
            false,
        ),
        // the last line, the only one, none, in any case, with a blank behind, by bare LF
        (
            &[
                mx,
                Client("ehlo pc\r\n"),
                Server("250-mx\r\n250-SIZE 1\r\n250 STARTTLS\r\n"),
            ],
            "220 mx ESMTP\r\n250-mx\r\n250 SIZE 1\r\n",
            false,
        ),
        (
            &[mx, Client("EHLO pc\r\n"), Server("250-mx\n250 starttls \n")],
            "220 mx ESMTP\r\n250 mx\n",
            false,
        ),
        (
            &[mx, Client("EHLO pc\r\n"), Server("250 mx\r\n")],
            "220 mx ESMTP\r\n250 mx\r\n",
            false,
        ),
        // the server's name is no offer, and other keywords are others
        (
            &[
                mx,
                Client("EHLO pc\r\n"),
                Server("250-STARTTLS\r\n250-XSTARTTLS\r\n250-STARTTLS 1\r\n250 STARTTLSX\r\n"),
            ],
            "220 mx ESMTP\r\n250-STARTTLS\r\n250-XSTARTTLS\r\n250-STARTTLS 1\r\n250 STARTTLSX\r\n",
            false,
        ),
        // LMTP; a second answer; a refusal
        (
            &[
                mx,
                Client("LHLO pc\r\n"),
                Server("250-mx\r\n250-STARTTLS\r\n250 X\r\n"),
            ],
            "220 mx ESMTP\r\n250-mx\r\n250 X\r\n",
            false,
        ),
        (
            &[
                mx,
                Client("EHLO pc\r\n"),
                Server("502 what\r\n"),
                Client("NOOP\r\nEHLO pc\r\n"),
                Server("250-x\r\n250 STARTTLS\r\n250-mx\r\n250-STARTTLS\r\n250 X\r\n"),
            ],
            "220 mx ESMTP\r\n502 what\r\n250-x\r\n250 STARTTLS\r\n250-mx\r\n250 X\r\n",
            false,
        ),
        // a greeting of lines; pipelined commands
        (
            &[
                Server("220-STARTTLS\r\n220-250-STARTTLS\r\n220 mx\r\n"),
                Client("EHLO pc\r\nMAIL FROM:<a@b>\r\n"),
                Server("250-mx\r\n250 STARTTLS\r\n250 STARTTLS\r\n250-\r\n250-STARTTLS\r\n"),
            ],
            "220-STARTTLS\r\n220-250-STARTTLS\r\n220 mx\r\n250 mx\r\n250 STARTTLS\r\n250-\r\n250-STARTTLS\r\n",
            true,
        ),
        // after the login nothing is touched
        (
            &[
                mx,
                Client("EHLO pc\r\n"),
                Server("250-mx\r\n250 X\r\n"),
                Client("AUTH PLAIN eA==\r\nEHLO pc\r\n"),
                Server("235 ok\r\n250-mx\r\n250-STARTTLS\r\n250 X\r\n"),
            ],
            "220 mx ESMTP\r\n250-mx\r\n250 X\r\n235 ok\r\n250-mx\r\n250-STARTTLS\r\n250 X\r\n",
            true,
        ),
        // FTP greets alike
        (
            &[
                Server("220 ftp\r\n"),
                Client("FEAT\r\n"),
                Server("250-mx\r\n250-STARTTLS\r\n250 X\r\n"),
            ],
            "220 ftp\r\n250-mx\r\n250-STARTTLS\r\n250 X\r\n",
            true,
        ),
    ] {
        check(None, conversation, wanted, over);
    }
    let after_starttls = [
        Client("EHLO pc\r\n"),
        Server("250-mx\r\n250-STARTTLS\r\n250 X\r\n"),
    ];
    check(Some(Smtp), &after_starttls, "250-mx\r\n250 X\r\n", false);
    // The server ends in the middle: what was held back goes.
    let cut = [mx, Client("EHLO pc\r\n"), Server("250-mx\r\n250-START")];
    check(None, &cut, "220 mx ESMTP\r\n250-mx\r\n250-START", false);
}

#[test]
fn imap_capabilities_lose_starttls_wherever_they_stand() {
    for (conversation, wanted, over) in [
        (
            &[Server(
                "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hi\r\n",
            )][..],
            "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n",
            false,
        ),
        (
            &[Server(
                "* PREAUTH [capability IMAP4rev1 starttls] STARTTLS\r\n",
            )],
            "* PREAUTH [capability IMAP4rev1] STARTTLS\r\n",
            false,
        ),
        (
            &[
                Server("* OK hi\r\n"),
                Client("a CAPABILITY\r\n"),
                Server("* CAPABILITY STARTTLS IMAP4rev1 XSTARTTLS STARTTLS\r\na OK done\r\n"),
            ],
            "* OK hi\r\n* CAPABILITY IMAP4rev1 XSTARTTLS\r\na OK done\r\n",
            false,
        ),
        (
            &[
                Server("* OK [ALERT] STARTTLS\r\n"),
                Client("a LOGIN x y\r\n"),
                Server(
                    "a OK [CAPABILITY IMAP4rev1 STARTTLS IDLE] in\r\n* OK [X STARTTLS] y\r\nb NO [CAPABILITY STARTTLS] y\r\n",
                ),
            ],
            "* OK [ALERT] STARTTLS\r\na OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* OK [X STARTTLS] y\r\nb NO [CAPABILITY STARTTLS] y\r\n",
            true,
        ),
        // as soon as there is mail, a mail may say anything
        (
            &[Server(
                "* OK hi\r\n* LIST () \"/\" INBOX\r\n* CAPABILITY STARTTLS\r\n",
            )],
            "* OK hi\r\n* LIST () \"/\" INBOX\r\n* CAPABILITY STARTTLS\r\n",
            true,
        ),
        (
            &[Server(
                "* OK hi\r\n* ID (\"name\" {24}\r\n* CAPABILITY STARTTLS\r\n)\r\n",
            )],
            "* OK hi\r\n* ID (\"name\" {24}\r\n* CAPABILITY STARTTLS\r\n)\r\n",
            true,
        ),
        (
            &[Server("* OK hi\r\n* CAPABILITY IMAP4rev1 START")],
            "* OK hi\r\n* CAPABILITY IMAP4rev1 START",
            false,
        ),
    ] {
        check(None, conversation, wanted, over);
    }
    let after_starttls = [Server("* CAPABILITY IMAP4rev1 STARTTLS\r\na OK\r\n")];
    check(
        Some(Imap),
        &after_starttls,
        "* CAPABILITY IMAP4rev1\r\na OK\r\n",
        false,
    );
}

#[test]
fn pop3_offers_are_taken_out_of_the_answer_to_capa() {
    for (conversation, wanted, over) in [
        (
            &[
                Server("+OK <1@x>\r\n"),
                Client("CAPA\r\n"),
                Server("+OK\r\nTOP\r\nSTLS\r\nUSER\r\n.\r\n"),
                Client("capa\r\n"),
                Server("+OK\r\nstls\n.\r\nSTLS\r\n"),
            ][..],
            "+OK <1@x>\r\n+OK\r\nTOP\r\nUSER\r\n.\r\n+OK\r\n.\r\nSTLS\r\n",
            false,
        ),
        (
            &[
                Server("+OK\r\n"),
                Client("CAPA\r\nUSER x\r\nCAPA\r\n"),
                Server("-ERR\r\n+OK STLS\r\n+OK\r\nSTLS\r\nSTLSX\r\n..\r\n.\r\n"),
            ],
            "+OK\r\n-ERR\r\n+OK STLS\r\n+OK\r\nSTLSX\r\n..\r\n.\r\n",
            false,
        ),
        // a mail may say anything
        (
            &[
                Server("+OK\r\n"),
                Client("CAPA\r\nPASS x\r\nRETR 1\r\n"),
                Server("+OK\r\nSTLS\r\n.\r\n+OK in\r\n+OK\r\nSTLS\r\n.\r\n"),
            ],
            "+OK\r\n+OK\r\n.\r\n+OK in\r\n+OK\r\nSTLS\r\n.\r\n",
            true,
        ),
    ] {
        check(None, conversation, wanted, over);
    }
    let after_stls = [Client("CAPA\r\n"), Server("+OK\r\nSTLS\r\n.\r\n")];
    check(Some(Pop3), &after_stls, "+OK\r\n.\r\n", false);
}

#[test]
fn other_protocols_pass_unchanged_at_once() {
    for words in [
        &[Server("SSH-2.0-x\r\n")][..],
        &[Server("200 news\r\n250-x\r\n250 STARTTLS\r\n")],
        &[Server("2201")],
        &[Server("+PONG\r\n")],
        &[Server("* nothing")],
        &[Server("\0\0\0*")],
        // Redis: the client speaks first
        &[Client("CAPA\r\n"), Server("+OK\r\nSTLS\r\n.\r\n")],
        &[Client("\x01"), Server("220 x\r\n250-x\r\n250 STARTTLS\r\n")],
    ] {
        let said = words.iter().filter_map(|words| match words {
            Server(text) => Some(*text),
            Client(_) => None,
        });
        check(None, words, &said.collect::<String>(), true);
    }
    // A prompt without a line end is passed on at once.
    for prompt in ["2", "220", "*", "* O", "+", "220 login: ", "+OK? "] {
        let (mut offers, mut out) = (Offers::new(None), Vec::new());
        offers.server_says(prompt.as_bytes(), &mut out);
        assert_eq!(out, prompt.as_bytes());
    }
}

#[test]
fn an_endless_line_or_queue_ends_the_filter_and_loses_nothing() {
    let long = format!("250-{}", "x".repeat(3 * LINE_MAX));
    let long_list = format!("* CAPABILITY {}", "STARTTLS ".repeat(LINE_MAX));
    let (mut offers, mut out) = (Offers::new(None), Vec::new());
    offers.server_says(b"220 mx\r\n", &mut out);
    offers.client_says(b"EHLO pc\r\n", &mut out);
    offers.server_says(b"250-mx\r\n", &mut out);
    for chunk in long.as_bytes().chunks(1000) {
        offers.server_says(chunk, &mut out);
        assert!(offers.held() <= 2 * LINE_MAX + 1000);
    }
    assert!(offers.is_over());
    assert_eq!(super::text(&out), format!("220 mx\r\n250-mx\r\n{long}"));

    let (mut offers, mut out) = (Offers::new(Some(Imap)), Vec::new());
    offers.server_says(long_list.as_bytes(), &mut out);
    assert!(offers.is_over());
    assert_eq!(super::text(&out), long_list);

    let (mut offers, mut out) = (Offers::new(Some(Smtp)), Vec::new());
    offers.client_says(b"EHLO pc\r\n", &mut out);
    offers.server_says(b"250-mx\r\n250-S", &mut out);
    offers.client_says(&b"NOOP\r\n".repeat(1000), &mut out);
    offers.server_says(b"IZE\r\n250 STARTTLS\r\n", &mut out);
    assert!(offers.is_over());
    assert_eq!(super::text(&out), "250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n");
}

/// What a mail server and its client may say, and what resembles it.
const SERVER: &[&str] = &[
    "220 mx\r\n",
    "250-mx\r\n",
    "250-STARTTLS\r\n",
    "250 STARTTLS\r\n",
    "250 X\n",
    "250",
    "-",
    "\r\n",
    "+OK\r\n",
    "STLS\r\n",
    ".\r\n",
    "-ERR\r\n",
    "* OK [CAPABILITY STARTTLS X] y\r\n",
    "* CAPABILITY ",
    "STARTTLS",
    " ",
    "a OK [CAPABILITY A STARTTLS]\r\n",
    "* 1 EXISTS\r\n",
    "{3}\r\n",
    "\0",
    "]",
];
const CLIENT: &[&str] = &[
    "EHLO x\r\n",
    "CAPA\r\n",
    "NOOP\r\n",
    "AUTH\r\n",
    "a LOGIN\r\n",
    "a CAPABILITY\r\n",
    "a COMPRESS DEFLATE\r\n",
    "STARTTLS\r\n",
    "EHLO",
    "\n",
];

/// What is held back comes out with the first byte that shows that the stream is binary, before it and in
/// order, and then the filter is over; so it does when the server ends.
#[track_caller]
fn check_release(greeted: Option<Protocol>, conversation: &[Says], case: &str) {
    for ends in [false, true] {
        let (mut offers, mut out) = (Offers::new(greeted), Vec::new());
        say(&mut offers, conversation, &mut out, |_| 2);
        let (previous, line) = offers.held_back();
        let due = [previous, line].concat();
        out.clear();
        match ends {
            true => offers.server_ends(&mut out),
            false => offers.server_says(b"\x01", &mut out),
        }
        let (held, behind) = out.split_at(due.len());
        assert_eq!(
            (held, behind),
            (&due[..], &[1][..usize::from(!ends)]),
            "{case}"
        );
        assert!(offers.is_over(), "{case}");
    }
}

#[test]
fn only_offers_are_removed_however_the_words_are_cut() {
    for seed in 1..=20_000_u64 {
        let mut seeded = Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let greeted = [None, Some(Smtp), Some(Pop3), Some(Imap)][seeded.below(4)];
        let first = ["220 ", "* OK ", "+OK ", ""][seeded.below(4)];
        let mut conversation = vec![Server(first)];
        for _ in 0..seeded.below(30) {
            conversation.push(match seeded.below(3) {
                0 => Client(CLIENT[seeded.below(CLIENT.len())]),
                _ => Server(SERVER[seeded.below(SERVER.len())]),
            });
        }
        let case = format!("seed {seed}: {greeted:?} {conversation:?}");
        let whole = heard(greeted, &conversation, |rest| rest);
        assert_eq!(
            heard(greeted, &conversation, |rest| 1 + seeded.below(rest)),
            whole,
            "{case}"
        );
        check_release(greeted, &conversation, &case);
        // Only offers are missing, and a separator may have become a blank.
        let said: String = conversation
            .iter()
            .filter_map(|words| match words {
                Server(text) => Some(*text),
                Client(_) => None,
            })
            .collect();
        let without = |text: &str| {
            let text = text
                .to_ascii_uppercase()
                .replace("STARTTLS", "")
                .replace("STLS", "");
            text.replace(['-', ' ', '\r', '\n', '.'], "")
                .replace("250", "")
        };
        assert_eq!(without(&whole.0), without(&said), "{case}");
    }
}

//! Behind a command that may switch the stream to binary, nothing is held back.

use super::offers::Says::{self, Client, Server};
use super::offers::{check, say};
use crate::config::Protocol::{self, Imap, Pop3, Smtp};
use crate::protocol::offers::Offers;

/// A stream that turns binary and sends no LF: every byte of it must come out at once.
#[track_caller]
fn binary_passes_behind(greeted: Option<Protocol>, conversation: &[Says]) {
    // A binary stream may begin with any byte, that of an offer too.
    for binary in [
        &b"\x16\x03\x01"[..],
        b"\0\0\0\x20",
        b"\xcd\xcc",
        b"*",
        b"2",
        b"S",
    ] {
        for size in [usize::MAX, 1, 3] {
            let (mut offers, mut out) = (Offers::new(greeted), Vec::new());
            let said = say(&mut offers, conversation, &mut out, |_| size);
            assert!(offers.is_over(), "in pieces of {size}: {conversation:?}");
            assert_eq!(out.len(), said, "held back of {conversation:?}");
            out.clear();
            offers.server_says(binary, &mut out);
            assert_eq!(out, binary, "behind {conversation:?}");
        }
    }
}

#[test]
fn nothing_is_held_back_behind_a_command_that_may_switch_the_stream() {
    let imap = Server("* OK hi\r\n");
    for switch in [
        "a COMPRESS DEFLATE\r\n",
        "a STARTTLS\r\n",
        "a starttls\n",
        "a XSWITCH\r\n",
        "a ENABLE X\r\n",
        "a NOOP\r\nb CAPABILITY\r\nc COMPRESS DEFLATE\r\n",
        "a AUTHENTICATES X\r\n",
        "a ID (\"name\" {4}\r\n",
        "\r\n",
        " NOOP\r\n",
        "NOOP\r\n",
        "\x16\x03\x01 and more of a handshake that has no end and no blank at all in these bytes",
    ] {
        binary_passes_behind(None, &[imap, Client(switch)]);
        binary_passes_behind(Some(Imap), &[Client(switch)]);
        // In the middle of a line: what is held back is released at once.
        for half in ["* ", "* CAPABILITY IMAP4", "x", "x OK [CAPA"] {
            binary_passes_behind(None, &[imap, Server(half), Client(switch)]);
        }
    }
    let long = "t".repeat(1 << 20).leak();
    binary_passes_behind(None, &[imap, Client(long)]);
    for reply in [
        "a OK in\r\n",
        "a NO\r\n",
        "a BAD\n",
        "a OK [CAPABILITY X] in\r\n",
    ] {
        for login in [
            "a LOGIN x y\r\n",
            "a login {1}\r\nx {1}\r\ny\r\n",
            "z NOOP\r\na AUTHENTICATE GSSAPI\r\neA==\r\n",
            "a LOGIN x y\r\nb COMPRESS DEFLATE\r\n",
        ] {
            binary_passes_behind(
                None,
                &[imap, Client(login), Server("z OK\r\n"), Server(reply)],
            );
        }
    }
    let smtp = Server("220 mx\r\n");
    for switch in [
        "AUTH GSSAPI\r\n",
        "STARTTLS\r\n",
        "XCLIENT NAME=x\r\n",
        "BDAT 3 LAST\r\n",
        "DATA\r\n",
        "ETRN x\r\n",
        "TURN\r\n",
        "\r\n",
    ] {
        binary_passes_behind(None, &[smtp, Client(switch)]);
        let answer = Server("250-mx\r\n250 X\r\n");
        binary_passes_behind(None, &[smtp, Client("EHLO x\r\n"), answer, Client(switch)]);
        let pipelined: &str = format!("EHLO x\r\n{switch}").leak();
        binary_passes_behind(None, &[smtp, Client(pipelined), answer]);
        binary_passes_behind(Some(Smtp), &[Client(pipelined), Server("502 no\r\n")]);
    }
    let pop3 = Server("+OK\r\n");
    for switch in [
        "AUTH GSSAPI\r\n",
        "STLS\r\n",
        "PASS x\r\n",
        "APOP x y\r\n",
        "XSWITCH\r\n",
    ] {
        let pipelined: &str = format!("CAPA\r\n{switch}").leak();
        binary_passes_behind(None, &[pop3, Client(switch)]);
        let list = Server("+OK\r\nTOP\r\n.\r\n");
        binary_passes_behind(None, &[pop3, Client(pipelined), list]);
        binary_passes_behind(Some(Pop3), &[Client(pipelined), Server("-ERR\r\n")]);
    }
}

#[test]
fn imap_is_filtered_up_to_the_end_of_the_login_only() {
    let list = "a OK [CAPABILITY X STARTTLS] in\r\n* CAPABILITY STARTTLS\r\n";
    let kept = "a OK [CAPABILITY X] in\r\n* CAPABILITY STARTTLS\r\n";
    for login in [
        "a LOGIN x y\r\n",
        "a Login {1}\r\nx {1}\r\ny\r\n",
        "a AUTHENTICATE PLAIN\r\nb COMPRESS\r\n",
        "0 CAPABILITY\r\n1 noop\r\n2 ID NIL\r\na LOGIN x y\r\nb COMPRESS DEFLATE\r\n",
    ] {
        check(Some(Imap), &[Client(login), Server(list)], kept, true);
    }
    // The tag is the login's own.
    let other = Server("A OK [CAPABILITY STARTTLS X]\r\n");
    let login = Client("a LOGIN x y\r\n");
    check(
        Some(Imap),
        &[login, other],
        "A OK [CAPABILITY X]\r\n",
        false,
    );
    let tag: &str = "t".repeat(64).leak();
    let long: &str = format!("{tag} LOGIN x y\r\n").leak();
    let reply: &str = format!("{tag} OK [CAPABILITY STARTTLS X]\r\n").leak();
    let wanted = format!("{tag} OK [CAPABILITY X]\r\n");
    check(Some(Imap), &[Client(long), Server(reply)], &wanted, true);
}

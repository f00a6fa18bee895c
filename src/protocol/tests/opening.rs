//! What the first words of either end reveal.

use crate::config::Protocol::{Imap, Nntp, Pop3, Smtp};
use crate::protocol::opening::{Opening, OwnTls, greeting};

/// The finding, with the words whole and byte by byte.
fn found(words: &[u8]) -> Option<OwnTls> {
    let whole = Opening::default().hear(words);
    let mut opening = Opening::default();
    let pieces: Vec<OwnTls> = words
        .iter()
        .filter_map(|&byte| opening.hear(&[byte]))
        .collect();
    assert!(pieces.len() <= 1, "told once: {words:?}");
    assert_eq!(pieces.first().copied(), whole, "byte by byte: {words:?}");
    whole
}

#[test]
fn a_client_that_starts_tls_itself_is_recognised() {
    for (words, wanted) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], Some(OwnTls::Handshake)),
        (b"\x16\x03\x03", Some(OwnTls::Handshake)),
        (b"\x16\x04\x01STARTTLS\r\n", None),
        (b"x\x16\x03\x01", None),
        (b"A0001 STARTTLS\r\n", Some(OwnTls::Starttls)),
        (b"a0000 starttls\n", Some(OwnTls::Starttls)),
        (b"STARTTLS\r\n", Some(OwnTls::Starttls)),
        (b"STLS \r\n", Some(OwnTls::Starttls)),
        (b"CAPA\r\nSTLS\r\n", Some(OwnTls::Starttls)),
        (b"EHLO pc.example\r\nSTARTTLS\r\n", Some(OwnTls::Starttls)),
        (
            b"A0001 CAPABILITY\r\nA0002 STARTTLS\r\n",
            Some(OwnTls::Starttls),
        ),
        (b"a NOOP\r\n\r\nb STARTTLS\r\n", Some(OwnTls::Starttls)),
        (b"STARTTLS", None),
        (b"A0001 STLS\r\n", None),
        (b"HELP STARTTLS now\r\n", None),
        (b"a b STARTTLS\r\n", None),
        (b"EHLO a-name-that-is-much-too-long STARTTLS\r\n", None),
        (b"MAIL\n1\n2\n3\n4\n5\n6\n7\nSTARTTLS\n", None),
        (b"\x00\x00\nSTARTTLS\n", None),
        (b"", None),
    ] {
        assert_eq!(found(words), wanted, "{:?}", String::from_utf8_lossy(words));
    }
}

#[test]
fn the_inspection_ends() {
    for words in [&b"\n".repeat(8)[..], b"\x01", &b"x".repeat(5000)] {
        let mut opening = Opening::default();
        assert_eq!(opening.hear(words), None);
        assert!(opening.is_over());
        assert_eq!(opening.hear(b"STARTTLS\r\n"), None);
    }
}

#[test]
fn a_mail_or_news_server_is_known_by_its_greeting() {
    for (words, protocol) in [
        ("220 mx.example ESMTP\r\n", Some(Smtp)),
        ("220-mx", Some(Smtp)),
        ("220", None),
        ("2200 x", None),
        ("200 news.example\r\n", Some(Nntp)),
        ("201 news.example\r\n", Some(Nntp)),
        ("2000 x", None),
        ("* OK [CAPABILITY IMAP4rev1]", Some(Imap)),
        ("* ok hi", Some(Imap)),
        ("* PREAUTH x", Some(Imap)),
        ("* OK\r\n", None),
        ("* OKAY", None),
        ("+OK\r\n", Some(Pop3)),
        ("+OK <1@x>", Some(Pop3)),
        ("+OKAY", None),
        ("SSH-2.0-x", None),
        ("", None),
    ] {
        assert_eq!(greeting(words.as_bytes()), protocol, "{words}");
    }
}

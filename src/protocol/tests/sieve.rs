//! ManageSieve, FTP and LMTP.

use super::{Ends, Ev, Row, check, check_each, fails, tls};
use crate::config::{DialogueOptions, Protocol};
use crate::protocol::{Side, dialogue, within};
use Ev::{B, BackEof, F};
use Protocol::{Ftp, Lmtp, Sieve};

#[test]
fn sieve_client_mode() {
    const LIST: Ev = B("\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n");
    let rows: &[Row] = &[
        (&[], "", "", Ends::Open),
        (&[LIST], "", "STARTTLS\r\n", Ends::Open),
        (&[LIST, B("OK \"go\"\r\n")], "", "STARTTLS\r\n", tls("", "")),
        (
            &[LIST, B("NO \"no\"\r\n")],
            "BYE \"adit: Server does not support TLS\"\r\n",
            "STARTTLS\r\n",
            fails("Server does not support TLS: the sieve server refused"),
        ),
        (
            &[B("BYE \"full\"\r\n")],
            "",
            "",
            fails("Unknown server welcome: the sieve server refused"),
        ),
        (
            &[B("220 mail.test\r\n")],
            "BYE \"adit: Unexpected server response\"\r\n",
            "",
            fails("Unknown server welcome: the server does not speak sieve"),
        ),
        (
            &[LIST, B("OK\r\nOK\r\n")],
            "",
            "STARTTLS\r\n",
            fails("plaintext behind STARTTLS: the sieve server"),
        ),
    ];
    check(Sieve, true, None, rows);
    assert!(!super::dialogue(Sieve, true).hears(Side::Front));
}

#[test]
fn sieve_server_mode() {
    const LIST: Ev = B("\"SASL\" \"PLAIN\"\r\nOK \"hello\"\r\n");
    const OFFERED: &str = "\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n";
    const TWICE: &str = "\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n\
                         \"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n";
    const BEGUN: &str = "\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n\
                         OK \"Begin TLS negotiation now.\"\r\n";
    const REFUSED: &str = "\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n\
                           NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"\r\n";
    const BYE: &str = "\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\nOK \"Bye\"\r\n";
    let rows: &[Row] = &[
        (&[LIST], OFFERED, "", Ends::Open),
        (
            &[B("\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n")],
            OFFERED,
            "",
            Ends::Open,
        ),
        (&[LIST, F("Capability\r\n")], TWICE, "", Ends::Open),
        (&[LIST, F("STARTTLS\r\n")], BEGUN, "", tls("", "")),
        (
            &[LIST, F("AUTHENTICATE \"PLAIN\" \"AGE=\"\r\n")],
            REFUSED,
            "",
            Ends::Open,
        ),
        (&[LIST, F("LOGOUT\r\n")], BYE, "LOGOUT\r\n", Ends::Bye),
        (
            &[LIST, F("STARTTLS\r\nx")],
            OFFERED,
            "",
            fails("plaintext behind STARTTLS: the sieve client"),
        ),
    ];
    check(Sieve, false, None, rows);
    let again = || within(Sieve, false, &DialogueOptions::default(), None);
    let rows: &[Row] = &[
        (
            &[B("\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK\r\n")],
            "\"SASL\" \"PLAIN\"\r\nOK\r\n",
            "CAPABILITY\r\n",
            tls("", ""),
        ),
        (
            &[B("NO\r\n")],
            "BYE \"adit: Unexpected server response\"\r\n",
            "CAPABILITY\r\n",
            fails("Unexpected server response"),
        ),
    ];
    check_each(again, rows);
}

#[test]
fn ftp_client_mode() {
    const ASKED: &str = "AUTH TLS\r\n";
    const GREETING: Ev = B("220-hello\r\n 220 not yet\r\n220 ready\r\n");
    const PASSED: &str = "220-hello\r\n 220 not yet\r\n220 ready\r\n";
    let rows: &[Row] = &[
        (&[GREETING], PASSED, ASKED, Ends::Open),
        (
            &[B("220 ready\r\n"), B("234 go\r\n")],
            "220 ready\r\n",
            ASKED,
            tls("", ""),
        ),
        (
            &[B("220 ready\r\n"), B("234-go\r\non\r\n234 go\r\n")],
            "220 ready\r\n",
            ASKED,
            tls("", ""),
        ),
        (
            &[B("220 ready\r\n"), B("500 what?\r\n")],
            "220 ready\r\n421 adit: Server does not support TLS\r\n",
            ASKED,
            fails(
                "Server does not support TLS: the ftp server refused: the answer to AUTH TLS (234)",
            ),
        ),
        (
            &[B("421 full\r\n")],
            "421 full\r\n",
            "",
            fails("Unknown server welcome: the ftp server refused"),
        ),
        (
            &[B("220 ready\r\n"), BackEof],
            "220 ready\r\n421 adit: Server closed the connection\r\n",
            ASKED,
            fails("Server closed before TLS: the ftp server"),
        ),
        (
            &[B("220 ready\r\n"), B("234 go\r\n230 in\r\n")],
            "220 ready\r\n",
            ASKED,
            fails("plaintext behind STARTTLS: the ftp server"),
        ),
    ];
    check(Ftp, true, None, rows);
}

#[test]
fn lmtp_differs_from_smtp_by_a_word() {
    let rows: &[Row] = &[(
        &[
            B("220 mail.test LMTP\r\n"),
            B("250-mail.test\r\n250 STARTTLS\r\n"),
            B("220 go\r\n"),
        ],
        "220 mail.test LMTP\r\n",
        "LHLO localhost\r\nSTARTTLS\r\n",
        tls("", ""),
    )];
    check(Lmtp, true, None, rows);
    let rows: &[Row] = &[(
        &[B("220 mail.test LMTP\r\n"), F("LHLO me\r\nSTARTTLS\r\n")],
        "220 mail.test LMTP\r\n250-mail.test\r\n250 STARTTLS\r\n220 Go ahead\r\n",
        "",
        tls("", ""),
    )];
    check_each(|| dialogue(Lmtp, false, &DialogueOptions::default()), rows);
}

//! PostgreSQL.

use super::bounds::Seeded;
use super::exchange::{Ends, Ev, Row, check};
use crate::config::{DialogueOptions, Protocol::Pgsql};
use crate::protocol::{Dialogue, Event, Progress, Side, dialogue, unprotected, within};
use Ends::{Bye, Fails, Next, Open, Tls};
use Ev::{B, BackEof, F, FrontEof};

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34secr";
/// Protocol 3.0, `user` and `u`.
const STARTUP: &[u8] = b"\0\0\0\x10\0\x03\0\0user\0u\0\0";

fn client() -> Box<dyn Dialogue> {
    dialogue(Pgsql, true, &DialogueOptions::default())
}

fn server() -> Box<dyn Dialogue> {
    dialogue(Pgsql, false, &DialogueOptions::default())
}

fn inside() -> Box<dyn Dialogue> {
    within(Pgsql, true, &DialogueOptions::default(), None)
}

#[test]
fn a_server_is_asked_for_tls_before_the_client_is_heard() {
    let rows: &[Row] = &[
        (&[], b"", SSL, Open),
        (&[B(b"S")], b"", SSL, Next(b"", b"")),
        (
            &[B(b"N")],
            b"",
            SSL,
            Fails(
                "PostgreSQL server rejected TLS: it has `ssl = off`, or `connect` is its Unix socket",
            ),
        ),
        (
            &[BackEof],
            b"",
            SSL,
            Fails("PostgreSQL server rejected TLS"),
        ),
        (
            &[B(b"E\0\0\0\x08x\0\0\0")],
            b"",
            SSL,
            Fails("PostgreSQL server rejected TLS: it answered SSLRequest with 0x45"),
        ),
        // CVE-2021-23222.
        (
            &[B(b"SR\0\0\0\x08\0\0\0\0")],
            b"",
            SSL,
            Fails("plaintext behind STARTTLS: the pgsql server"),
        ),
    ];
    check(client, rows);
    assert!(!client().hears(Side::Front));
}

#[test]
fn a_plain_client_is_told_that_there_is_no_encryption() {
    const TWICE: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x08\x04\xd2\x16\x2f";
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const ERROR: &[u8] = b"E\0\0\0\x06x\0";
    let rows: &[Row] = &[
        (&[F(SSL)], b"N", b"", Open),
        (&[F(SSL), F(GSS)], b"NN", b"", Open),
        (
            &[F(GSS), F(SSL), F(STARTUP), B(OK)],
            b"NN",
            STARTUP,
            Next(b"", OK),
        ),
        (&[F(STARTUP), B(OK)], b"", STARTUP, Next(b"", OK)),
        (&[F(STARTUP), B(ERROR)], b"", STARTUP, Next(b"", ERROR)),
        (&[F(STARTUP), BackEof], b"", STARTUP, Next(b"", b"")),
        (&[F(CANCEL)], b"", CANCEL, Next(b"", b"")),
        (
            &[F(TWICE)],
            b"N",
            b"",
            Fails("PostgreSQL: the client repeats a request"),
        ),
        (
            &[F(b"\x16\x03\x01\x02\0\x01\0\x01")],
            b"",
            b"",
            Fails("PostgreSQL: the local client speaks TLS itself"),
        ),
        (
            &[F(b"GET / HTTP/1.1")],
            b"",
            b"",
            Fails("PostgreSQL: the client begins with what is no packet"),
        ),
        (
            &[F(b"\0\0\0\x07\0\x03\0\0")],
            b"",
            b"",
            Fails("PostgreSQL: the client begins with what is no packet"),
        ),
        (
            &[F(b"\0\0\0\x10\0\x03\0\0us"), FrontEof],
            b"",
            b"",
            Fails("PostgreSQL: the client closed"),
        ),
        (
            &[FrontEof],
            b"",
            b"",
            Fails("PostgreSQL: the client closed"),
        ),
    ];
    check(inside, rows);
}

#[test]
fn a_login_that_is_bound_to_tls_is_taken_out_of_the_offer() {
    const BOTH: &[u8] = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    const ONE: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const BOUND: &[u8] = b"R\0\0\0\x1c\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0";
    const NOTICE: &[u8] = b"N\0\0\0\x06x\0";
    const NOTICE_AND_ONE: &[u8] = b"N\0\0\0\x06x\0R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    assert_eq!(usize::from(BOTH[4]) + 1, BOTH.len());
    assert_eq!(usize::from(ONE[4]) + 1, ONE.len());
    assert_eq!(usize::from(BOUND[4]) + 1, BOUND.len());
    let rows: &[Row] = &[
        (&[F(STARTUP), B(BOTH)], ONE, STARTUP, Next(b"", b"")),
        (
            &[F(STARTUP), B(NOTICE), B(BOTH), B(b"more")],
            NOTICE_AND_ONE,
            STARTUP,
            Next(b"", b"more"),
        ),
        (&[F(STARTUP), B(ONE)], b"", STARTUP, Next(b"", ONE)),
        (
            &[F(STARTUP), B(BOUND)],
            b"",
            STARTUP,
            Fails("PostgreSQL: the server takes nothing but SCRAM-SHA-256-PLUS"),
        ),
        // What is no message, or too long a one, is the client's to understand.
        (
            &[F(STARTUP), B(b"R\xff\xff\xff\xff")],
            b"",
            STARTUP,
            Next(b"", b"R\xff\xff\xff\xff"),
        ),
        (
            &[F(STARTUP), B(b"R\0\0\0\0")],
            b"",
            STARTUP,
            Next(b"", b"R\0\0\0\0"),
        ),
        (
            &[F(STARTUP), B(b"R\0\0\0\x08\0"), BackEof],
            b"",
            STARTUP,
            Next(b"", b"R\0\0\0\x08\0"),
        ),
    ];
    check(inside, rows);
}

#[test]
fn clients_ask_for_tls_or_begin_with_it() {
    const REFUSAL: &[u8] = b"E\0\0\0\x57SFATAL\0VFATAL\0C28000\0Madit: the connection must be encrypted: set sslmode=require\0\0";
    assert_eq!(usize::from(REFUSAL[4]) + 1, REFUSAL.len());
    const HELLO: &[u8] = b"\x16\x03\x01\x02\0";
    let rows: &[Row] = &[
        (&[F(SSL)], b"S", b"", Tls(b"", b"")),
        (&[F(GSS), F(SSL)], b"NS", b"", Tls(b"", b"")),
        (&[F(HELLO)], b"", b"", Tls(HELLO, b"")),
        (
            &[F(GSS), F(HELLO)],
            b"N",
            b"",
            Fails("PostgreSQL: the client began TLS after"),
        ),
        (
            &[F(GSS), F(GSS)],
            b"N",
            b"",
            Fails("PostgreSQL: the client repeats a request"),
        ),
        (
            &[F(STARTUP)],
            REFUSAL,
            b"",
            Fails("PostgreSQL client did not request TLS, rejecting"),
        ),
        (
            &[F(b"\0\0\0\x08\x04\xd2\x16\x2f\x16")],
            b"",
            b"",
            Fails("plaintext behind STARTTLS: the pgsql client"),
        ),
        (
            &[F(b"SSH-2.0-x")],
            b"",
            b"",
            Fails("PostgreSQL: the client begins with what is no packet"),
        ),
        (
            &[FrontEof],
            b"",
            b"",
            Fails("PostgreSQL: the client closed"),
        ),
        (
            &[F(b"\0\0\0"), FrontEof],
            b"",
            b"",
            Fails("PostgreSQL: the client closed"),
        ),
        // In plain, whatever the connection of the query is.
        (&[F(CANCEL)], b"", b"", Next(CANCEL, b"")),
    ];
    check(server, rows);
}

#[test]
fn in_plain_nothing_but_a_cancellation_reaches_the_server() {
    const MORE: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34secr and more";
    let rows: &[Row] = &[
        (&[F(CANCEL)], b"", CANCEL, Open),
        (&[F(MORE)], b"", CANCEL, Open),
        // Clients wait until the server has closed; some close their half before.
        (&[F(CANCEL), FrontEof], b"", CANCEL, Open),
        (&[F(CANCEL), BackEof], b"", CANCEL, Bye),
        (&[F(CANCEL), B(b"what?"), BackEof], b"", CANCEL, Bye),
        (
            &[F(STARTUP)],
            b"",
            b"",
            Fails("PostgreSQL client did not request TLS"),
        ),
    ];
    check(|| unprotected(Pgsql), rows);
}

#[test]
fn no_input_panics_and_no_buffer_grows() {
    let mut seeded = Seeded(0x5eed);
    let pieces = [
        SSL,
        GSS,
        CANCEL,
        STARTUP,
        b"R",
        b"\0\0\0\x17",
        b"\0\0\0\x0a",
        b"SCRAM-SHA-256-PLUS\0",
        b"S",
    ];
    for round in 0..20_000 {
        let mut dialogue = match round % 4 {
            0 => client(),
            1 => server(),
            2 => inside(),
            _ => unprotected(Pgsql),
        };
        let mut out = Vec::new();
        let mut stands = dialogue.feed(Event::Start, &mut out);
        for _ in 0..12 {
            if stands != Ok(Progress::More) {
                break;
            }
            let mut words = pieces[seeded.below(pieces.len())].to_vec();
            if seeded.below(4) == 0 {
                let at = seeded.below(words.len());
                words[at] = seeded.below(256) as u8;
            }
            let side = [Side::Front, Side::Back][seeded.below(2)];
            stands = dialogue.feed(Event::Bytes(side, &words), &mut out);
            assert!(dialogue.held(side) <= 1 << 17);
        }
    }
}

//! MySQL.

use super::exchange::{Ends, Ev, Row, check};
use crate::config::{DialogueOptions, Protocol::Mysql};
use crate::protocol::{Dialogue, dialogue, within};
use Ends::{Fails, Next, Open};
use Ev::{B, BackEof, F, FrontEof};

/// Greetings; answers by 4.1's protocol: in plain, asking for TLS, and whole within it; by an older one; with TLS
/// wished for and not begun.
const WITH_TLS: &[u8] = b"5\x00\x00\x00\x0a5.5.5-x\x00\x01\x00\x00\x00aaaaaaaa\x00\xfe\xff!\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00bbbbbbbbbbbb\x00";
const WITHOUT: &[u8] = b"5\x00\x00\x00\x0a5.5.5-x\x00\x01\x00\x00\x00aaaaaaaa\x00\xfe\xf7!\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00bbbbbbbbbbbb\x00";
const ANSWER: &[u8] = b"&\x00\x00\x01\x05\xa2:\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00root\x00\x00";
const REQUEST: &[u8] = b" \x00\x00\x01\x05\xaa:\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
const ANSWER_2: &[u8] = b"&\x00\x00\x02\x05\xaa:\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00root\x00\x00";
const OLD: &[u8] = b"&\x00\x00\x01\x05\xa0:\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00root\x00\x00";
const TLS_AT_ONCE: &[u8] = b"&\x00\x00\x01\x05\xaa:\x00\x00\x00\x00\x01!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00root\x00\x00";
const HOST_BLOCKED: &[u8] = b"\x0a\x00\x00\x00\xffi\x04blocked";
const NO_TLS: &[u8] = b"$\x00\x00\x00\xffW\x0c#HY000adit: the server has no TLS";
const MUST: &[u8] = b",\x00\x00\x02\xffW\x0c#HY000adit: connections must be encrypted";

fn client() -> Box<dyn Dialogue> {
    dialogue(Mysql, true, &DialogueOptions::default())
}

fn server() -> Box<dyn Dialogue> {
    dialogue(Mysql, false, &DialogueOptions::default())
}

#[test]
fn a_server_is_asked_for_tls_as_the_client_would() {
    let rows: &[Row] = &[
        (&[B(WITH_TLS)], WITHOUT, b"", Open),
        // The answer waits for TLS.
        (
            &[B(WITH_TLS), F(ANSWER)],
            WITHOUT,
            REQUEST,
            Next(ANSWER, b""),
        ),
        (
            &[B(WITHOUT)],
            NO_TLS,
            b"",
            Fails("MySQL server does not support TLS"),
        ),
        (
            &[B(HOST_BLOCKED)],
            HOST_BLOCKED,
            b"",
            Fails("MySQL: the server refused the connection"),
        ),
        (
            &[B(WITH_TLS), F(TLS_AT_ONCE)],
            WITHOUT,
            b"",
            Fails("MySQL: the local client asks for TLS itself"),
        ),
        (
            &[B(WITH_TLS), F(OLD)],
            WITHOUT,
            b"",
            Fails("MySQL: the client sent what is no packet"),
        ),
        (
            &[B(b"220 mail.test ESMTP\r\n")],
            b"",
            b"",
            Fails("MySQL: the server sent what is no packet"),
        ),
        (
            &[B(b"\x01\0\0\0\x09")],
            b"",
            b"",
            Fails("MySQL: the server sent what is no packet"),
        ),
        (&[B(b"\x05\0\0\0\x0a1.1")], b"", b"", Open),
        (
            &[B(b"\x05\0\0\0\x0a1.1\0")],
            b"",
            b"",
            Fails("MySQL: the server sent what is no packet"),
        ),
        (
            &[B(b"\0\0\0\0")],
            b"",
            b"",
            Fails("MySQL: the server sent what is no packet"),
        ),
        (&[BackEof], b"", b"", Fails("MySQL: the server closed")),
        (
            &[B(WITH_TLS), FrontEof],
            WITHOUT,
            b"",
            Fails("MySQL: the client closed"),
        ),
    ];
    check(client, rows);
}

#[test]
fn a_client_is_offered_tls_and_begins_it() {
    const HELLO: &[u8] = b"\x16\x03\x01";
    let rows: &[Row] = &[
        (&[B(WITHOUT)], WITH_TLS, b"", Open),
        (&[B(WITH_TLS)], WITH_TLS, b"", Open),
        (&[B(WITHOUT), F(REQUEST)], WITH_TLS, b"", Next(b"", b"")),
        (
            &[B(WITHOUT), F(REQUEST), F(HELLO)],
            WITH_TLS,
            b"",
            Next(HELLO, b""),
        ),
    ];
    check(server, rows);
    let mut refused = WITH_TLS.to_vec();
    refused.extend(MUST);
    let refused: &'static [u8] = refused.leak();
    let rows: &[Row] = &[
        (
            &[B(WITHOUT), F(ANSWER)],
            refused,
            b"",
            Fails("MySQL client did not request TLS, rejecting"),
        ),
        (
            &[B(WITHOUT), F(TLS_AT_ONCE)],
            refused,
            b"",
            Fails("MySQL client did not request TLS, rejecting"),
        ),
        (
            &[B(HOST_BLOCKED)],
            HOST_BLOCKED,
            b"",
            Fails("MySQL: the server refused"),
        ),
        (
            &[B(WITHOUT), F(OLD)],
            WITH_TLS,
            b"",
            Fails("MySQL: the client sent what is no packet"),
        ),
    ];
    check(server, rows);
    // More plain words in the same breath as the request.
    let both = [REQUEST, b"select"].concat().leak();
    let row: &[Row] = &[(&[B(WITHOUT)], WITH_TLS, b"", Open)];
    check(server, row);
    let events: &'static [Ev] = vec![B(WITHOUT), F(both)].leak();
    check(
        server,
        &[(
            events,
            WITH_TLS,
            b"",
            Fails("plaintext behind STARTTLS: the mysql client"),
        )],
    );
}

#[test]
fn packets_are_numbered_anew_until_the_login_is_over() {
    const SWITCH_3: &[u8] = b"\x02\0\0\x03\xfex";
    const SWITCH_2: &[u8] = b"\x02\0\0\x02\xfex";
    const REPLY_3: &[u8] = b"\x01\0\0\x03y";
    const OK_5: &[u8] = b"\x07\0\0\x05\0\0\0\x02\0\0\0";
    const QUERY: &[u8] = b"\x02\0\0\0\x03x";
    const TO_CLIENT: &[u8] = b"\x02\0\0\x02\xfex\x07\0\0\x04\0\0\0\x02\0\0\0";
    let to_server: &'static [u8] = [ANSWER_2, b"\x01\0\0\x04y"].concat().leak();
    let rows: &[Row] = &[
        (&[F(ANSWER), B(SWITCH_3)], SWITCH_2, ANSWER_2, Open),
        (
            &[F(ANSWER), B(SWITCH_3), F(REPLY_3), B(OK_5), F(QUERY)],
            TO_CLIENT,
            to_server,
            Next(QUERY, b""),
        ),
        (
            &[F(ANSWER), B(b"\x02\0\0\x03\xffx"), BackEof],
            b"\x02\0\0\x02\xffx",
            ANSWER_2,
            Next(b"", b""),
        ),
        (
            &[F(ANSWER), BackEof],
            b"",
            ANSWER_2,
            Fails("MySQL: the server closed"),
        ),
        (
            &[F(OLD)],
            b"",
            b"",
            Fails("MySQL: the client sent what is no packet"),
        ),
    ];
    check(
        || within(Mysql, true, &DialogueOptions::default(), None),
        rows,
    );
    let rows: &[Row] = &[
        (&[F(ANSWER_2), B(SWITCH_2)], SWITCH_3, ANSWER, Open),
        (
            &[F(ANSWER_2), B(b"\x01\0\0\x02\0"), B(b"x")],
            b"\x01\0\0\x03\0",
            ANSWER,
            Next(b"", b"x"),
        ),
    ];
    check(
        || within(Mysql, false, &DialogueOptions::default(), None),
        rows,
    );
    let mut endless = vec![F(ANSWER)];
    endless.extend([B(SWITCH_3); 70]);
    let said: &'static [u8] = SWITCH_2.repeat(64).leak();
    let row: Row = (
        endless.leak(),
        said,
        ANSWER_2,
        Fails("MySQL: a login without end"),
    );
    check(
        || within(Mysql, true, &DialogueOptions::default(), None),
        &[row],
    );
}

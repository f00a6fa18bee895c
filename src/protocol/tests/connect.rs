//! HTTP CONNECT.

use super::{Ends, Ev, Row, check_each, fails, run, tls};
use crate::config::{DialogueOptions, Protocol, Secret};
use crate::protocol::{Dialogue, LINE_MAX, REPLY_MAX, Side, dialogue};
use Ev::{B, BackEof};

fn options(account: Option<(&str, &str)>) -> DialogueOptions {
    DialogueOptions {
        host: Some("www.test:443".to_owned()),
        username: account.map(|(name, _)| name.to_owned()),
        password: account.map(|(_, password)| Secret::new(password).into()),
        ..DialogueOptions::default()
    }
}

fn new(account: Option<(&str, &str)>) -> Box<dyn Dialogue> {
    dialogue(Protocol::Connect, true, &options(account))
}

const REQUEST: &str = "CONNECT www.test:443 HTTP/1.1\r\nHost: www.test:443\r\n\r\n";

#[test]
fn whatever_a_proxy_says_of_success_is_taken() {
    let rows: &[Row] = &[
        (&[], "", REQUEST, Ends::Open),
        (
            &[B("HTTP/1.1 200 Connection established\r\n\r\n")],
            "",
            REQUEST,
            tls("", ""),
        ),
        // squid's and tinyproxy's.
        (
            &[B(
                "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
            )],
            "",
            REQUEST,
            tls("", ""),
        ),
        (&[B("HTTP/1.1 200\r\n\r\n")], "", REQUEST, tls("", "")),
        (&[B("HTTP/1.1 204 \n\n")], "", REQUEST, tls("", "")),
        // What stands behind the empty line is the server's.
        (
            &[B("HTTP/1.1 200 OK\r\nA: b\r\n\r\n\x15\x03\x03")],
            "",
            REQUEST,
            tls("", "\x15\x03\x03"),
        ),
    ];
    check_each(|| new(None), rows);
}

#[test]
fn a_refusal_is_told_in_the_proxys_words() {
    let rows: &[Row] = &[
        (
            &[B("HTTP/1.1 403 Forbidden\r\n")],
            "",
            REQUEST,
            fails(
                "CONNECT request rejected: the proxy refused: the answer to CONNECT (HTTP/1.x 2xx) was expected, it \
                 said \"HTTP/1.1 403 Forbidden\"",
            ),
        ),
        (
            &[B("HTTP/1.1 407 Proxy Authentication Required\r\n")],
            "",
            REQUEST,
            fails("CONNECT request rejected: the proxy wants a login: give protocolUsername"),
        ),
        (
            &[B("SSH-2.0-OpenSSH_9.2\r\n")],
            "",
            REQUEST,
            fails("CONNECT request rejected: the server does not speak connect"),
        ),
        (
            &[B("HTTP/2 200\r\n")],
            "",
            REQUEST,
            fails("CONNECT request rejected: the server does not speak connect"),
        ),
        (
            &[B("HTTP/1.1 2000\r\n")],
            "",
            REQUEST,
            fails("CONNECT request rejected: the proxy refused"),
        ),
        (
            &[BackEof],
            "",
            REQUEST,
            fails("Server closed before TLS: the proxy closed the connection where"),
        ),
        (
            &[B("HTTP/1.1 200 OK\r\nA: b\r\n"), BackEof],
            "",
            REQUEST,
            fails("Server closed before TLS: the proxy"),
        ),
    ];
    check_each(|| new(None), rows);
}

#[test]
fn a_login_is_basic_and_its_refusal_names_the_options() {
    let asked = "CONNECT www.test:443 HTTP/1.1\r\nHost: www.test:443\r\n\
                 Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
    let refused = fails(
        "CONNECT request rejected: the proxy refused protocolUsername and protocolPassword: it said \"HTTP/1.1 407\"",
    );
    let rows: &[Row] = &[
        (&[B("HTTP/1.1 200 OK\r\n\r\n")], "", asked, tls("", "")),
        (
            &[B("HTTP/1.1 407 Proxy Authentication Required\r\n")],
            "",
            asked,
            refused,
        ),
        // tinyproxy's.
        (
            &[B("HTTP/1.0 401 Unauthorized\r\n")],
            "",
            asked,
            fails("CONNECT request rejected: the proxy refused protocolUsername"),
        ),
    ];
    // RFC 7617, section 2.
    check_each(|| new(Some(("Aladdin", "open sesame"))), rows);
}

#[test]
fn a_proxy_that_repeats_a_secret_is_not_quoted() {
    let mut with_header = options(None);
    with_header.headers = vec![Secret::new("X-Token: QWxh").into()];
    for options in [options(Some(("Aladdin", "open sesame"))), with_header] {
        for said in [
            "HTTP/1.1 400 QWxh sesame\r\n",
            "HTTP/1.1 407 QWxh sesame\r\n",
            "HTTP/1.1 QWxh sesame\r\n",
            "QWxh sesame\r\n",
        ] {
            let (_, ends) = run(
                dialogue(Protocol::Connect, true, &options),
                &[B(said)],
                |n| n,
            );
            let Ends::Fails(error) = ends else {
                panic!("{ends:?}");
            };
            assert!(
                !error.contains("sesame") && !error.contains("QWxh"),
                "{error}"
            );
        }
    }
}

#[test]
fn headers_of_the_user_are_sent_behind_the_others() {
    let mut options = options(None);
    options.headers = vec![Secret::new("A: b").into(), Secret::new("C: d").into()];
    let (said, _) = run(dialogue(Protocol::Connect, true, &options), &[], |n| n);
    assert_eq!(
        said.back,
        "CONNECT www.test:443 HTTP/1.1\r\nHost: www.test:443\r\nA: b\r\nC: d\r\n\r\n"
    );
}

#[test]
fn lines_and_headers_without_end_are_cut() {
    let long = "x".repeat(LINE_MAX + 2);
    let (_, ends) = run(new(None), &[B(Box::leak(long.into_boxed_str()))], |n| n);
    let Ends::Fails(error) = ends else {
        panic!("{ends:?}");
    };
    assert!(error.starts_with("Line too long: the proxy"), "{error}");
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(REPLY_MAX / 4));
    let (_, ends) = run(new(None), &[B(Box::leak(endless.into_boxed_str()))], |n| {
        n.min(4096)
    });
    let Ends::Fails(error) = ends else {
        panic!("{ends:?}");
    };
    assert!(error.starts_with("Reply too long: the proxy"), "{error}");
}

#[test]
fn the_client_is_not_heard_and_secrets_do_not_show() {
    let dialogue = new(Some(("Aladdin", "open sesame")));
    assert!(dialogue.hears(Side::Back) && !dialogue.hears(Side::Front));
    let shown = format!("{dialogue:?}{:?}", options(Some(("Aladdin", "sesame"))));
    assert!(
        !shown.contains("sesame") && !shown.contains("QWxhZGRpbj"),
        "{shown}"
    );
}

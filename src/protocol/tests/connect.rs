//! HTTP CONNECT.

use super::{Ends, Ev, Row, check_each, fails, run, tls};
use crate::base64;
use crate::config::{Authentication, DialogueOptions, Protocol, Secret};
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

fn ntlm() -> DialogueOptions {
    DialogueOptions {
        authentication: Some(Authentication::Ntlm),
        domain: Some("OFFICE".to_owned()),
        headers: vec![Secret::new("A: b").into()],
        ..options(Some(("user", "password")))
    }
}

/// The request that begins a login by NTLM.
const OPENING: &str = "CONNECT www.test:443 HTTP/1.1\r\nHost: www.test:443\r\n\
                       Proxy-Authorization: NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=\r\n\
                       Proxy-Connection: keep-alive\r\nA: b\r\n\r\n";

/// An old server's challenge, without names.
const CHALLENGE: &str = "TlRMTVNTUAACAAAAAAAAAAAAAAAGAgAAASNFZ4mrze8=";

/// What the proxy hears and how it ends, whole and byte by byte.
fn by_ntlm(proxy: &str) -> (String, Ends) {
    let new = || dialogue(Protocol::Connect, true, &ntlm());
    let proxy: &'static str = Box::leak(proxy.to_owned().into_boxed_str());
    let (said, ends) = run(new(), &[B(proxy), BackEof], |n| n);
    let (bytewise, bytewise_ends) = run(new(), &[B(proxy), BackEof], |_| 1);
    assert_eq!(
        (&said.back, &ends),
        (&bytewise.back, &bytewise_ends),
        "{proxy}"
    );
    assert_eq!(said.front, "");
    (said.back, ends)
}

#[test]
fn a_challenge_of_ntlm_is_answered_on_the_same_connection() {
    let bodies = [
        "\r\n".to_owned(),
        "Content-Length: 5\r\n\r\nhello".to_owned(),
        "Proxy-Authenticate: Basic realm=\"a, b\"\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n\
         0\r\nA: b\r\n\r\n"
            .to_owned(),
    ];
    for body in bodies {
        let refusal = format!(
            "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Negotiate, ntlm {CHALLENGE}\r\n{body}"
        );
        let (said, ends) = by_ntlm(&format!("{refusal}HTTP/1.1 200 OK\r\n\r\nhi"));
        assert_eq!(ends, tls("", "hi"), "{body}");
        let second = said.strip_prefix(OPENING).expect("the first request");
        let head =
            "CONNECT www.test:443 HTTP/1.1\r\nHost: www.test:443\r\nProxy-Authorization: NTLM ";
        let second = second.strip_prefix(head).expect("the second");
        let (token, rest) = second.split_once("\r\n").expect("a line");
        assert_eq!(rest, "A: b\r\n\r\n");
        let message = base64::decode(token.as_bytes()).expect("base64");
        assert!(message.starts_with(b"NTLMSSP\0\x03") && message.ends_with(b"OFFICEuser"));
        let (_, ends) = by_ntlm(&format!("{refusal}HTTP/1.1 407 Denied QWxh\r\n\r\n"));
        let Ends::Fails(error) = ends else {
            panic!("{ends:?}");
        };
        let refused = "CONNECT request rejected: the proxy refused protocolUsername and protocolPassword: it said \
                       \"HTTP/1.1 407\"";
        assert_eq!(error, refused);
    }
    // It asks for none.
    let (said, ends) = by_ntlm("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!((&said[..], ends), (OPENING, tls("", "")));
}

#[test]
fn a_proxy_without_ntlm_gets_nothing_that_is_made_of_the_password() {
    let challenge = format!("Proxy-Authenticate: NTLM {CHALLENGE}\r\n");
    for (headers, phrase) in [
        (
            "",
            "Proxy-Authenticate: NTLM header not found: the proxy takes no login by NTLM, nor",
        ),
        (
            "Proxy-Authenticate: Basic realm=\"a\"\r\n",
            "Proxy-Authenticate: NTLM header not found: the proxy takes no login by NTLM, but by Basic",
        ),
        (
            "Proxy-Authenticate: NTLM\r\n",
            "Proxy-Authenticate: NTLM authorization request rejected",
        ),
        (
            "Proxy-Authenticate: NTLM !\r\n",
            "Proxy-Authenticate: Failed to build NTLM response",
        ),
        (
            "Proxy-Authenticate: NTLM TlRMTVNTUAAD\r\n",
            "Proxy-Authenticate: Failed to build NTLM response",
        ),
        (
            "Content-Length: x\r\n",
            "Proxy-Authenticate: Invalid Content-Length",
        ),
        (
            "Content-Length: 9999999\r\n",
            "Proxy-Authenticate: Invalid Content-Length",
        ),
        (
            &format!("{challenge}Transfer-Encoding: chunked\r\n\r\n+1\r\n"),
            "Proxy-Authenticate: Invalid Content-Length",
        ),
        (
            &format!("{challenge}Transfer-Encoding: chunked\r\n\r\n1\r\naa\r\n"),
            "Proxy-Authenticate: Invalid Content-Length",
        ),
        (
            &format!("{challenge}Proxy-Connection: close\r\n"),
            "Proxy-Authenticate: the proxy closes the connection",
        ),
        (
            &format!("{challenge}Content-Length: 9\r\n"),
            "Proxy-Authenticate: the proxy closes the connection",
        ),
    ] {
        let (said, ends) = by_ntlm(&format!("HTTP/1.1 407 No\r\n{headers}\r\n"));
        assert_eq!(said, OPENING, "{headers}");
        let Ends::Fails(error) = ends else {
            panic!("{ends:?}");
        };
        assert!(error.starts_with(phrase), "{headers}: {error}");
    }
    for (status, phrase) in [
        (
            "HTTP/1.0 401 Unauthorized",
            "Proxy-Authenticate: NTLM authorization request rejected",
        ),
        (
            "HTTP/1.1 403 Forbidden",
            "CONNECT request rejected: the proxy refused",
        ),
    ] {
        let (_, ends) = by_ntlm(&format!("{status}\r\n\r\n"));
        assert!(
            matches!(&ends, Ends::Fails(error) if error.starts_with(phrase)),
            "{ends:?}"
        );
    }
}

#[test]
fn a_chunked_refusal_without_end_is_cut() {
    let chunks = "1\r\na\r\n".repeat(REPLY_MAX / 2);
    let (_, ends) = run(
        dialogue(Protocol::Connect, true, &ntlm()),
        &[B(Box::leak(
            format!(
                "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM {CHALLENGE}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            )
            .into_boxed_str(),
        ))],
        |n| n.min(4096),
    );
    assert!(
        matches!(&ends, Ends::Fails(error) if error.starts_with("Reply too long")),
        "{ends:?}"
    );
}

//! What a service of old TLS refuses, what it chooses, and what is said about it.

use super::old::{from, old_server, rsa_options, with_ciphers};
use super::*;
use crate::tls::hello;

/// What it answers to these bytes: its output, and why it failed.
pub(super) fn answer(server: &Context, input: &[u8]) -> (Vec<u8>, String, Option<Duration>) {
    let mut end = End::begin(server);
    end.inbox.extend_from_slice(input);
    end.turn();
    let failure = end.failure();
    (end.outbox.clone(), failure.to_string(), failure.blinding())
}

/// A ClientHello with these suites and no extension.
pub(super) fn hello_of(version: u16, suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    suites
        .iter()
        .for_each(|suite| body.extend(suite.to_be_bytes()));
    body.extend([1, 0]);
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

/// The same in SSLv2's form.
pub(super) fn ssl2_hello_of(version: u16, suites: &[u16]) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(version.to_be_bytes());
    body.extend((suites.len() as u16 * 3).to_be_bytes());
    body.extend([0, 0, 0, 16]);
    for suite in suites {
        body.push(0);
        body.extend(suite.to_be_bytes());
    }
    body.extend([9; 16]);
    [&[0x80, body.len() as u8], &body[..]].concat()
}

pub(super) const TRIPLE_DES: u16 = 0x000a;
pub(super) const RC4_SHA: u16 = 0x0005;
pub(super) const AES128_SHA: u16 = 0x002f;
const FALLBACK_SCSV: u16 = 0x5600;

#[test]
fn a_hello_that_cannot_be_served_is_refused_at_once_with_the_right_alert() {
    let pki = Pki::new();
    let server = old_server(&pki);
    let capped = TlsOptions {
        version_min: Some(TlsVersion::V1_1),
        version_max: Some(TlsVersion::V1_1),
        ..rsa_options(&pki)
    };
    let capped = load(false, &capped, &Resumption::new().unwrap());
    for (context, hello, alert, said) in [
        (
            &server,
            hello_of(0x0300, &[AES128_SHA]),
            70,
            "the client offers SSLv3 with AES128-SHA; adit has TLS 1.0 to TLS 1.3",
        ),
        (
            &server,
            ssl2_hello_of(0x0300, &[AES128_SHA]),
            70,
            "the client offers SSLv3",
        ),
        (
            &server,
            hello_of(0x0301, &[0x0009]),
            40,
            "the client offers DES-CBC-SHA; adit has",
        ),
        (
            &server,
            hello_of(0x0301, &[RC4_SHA]),
            40,
            "to serve it, set `ciphers = ALL:RC4-SHA`",
        ),
        // A suite of TLS 1.2 in a hello of TLS 1.0.
        (&server, hello_of(0x0301, &[0x009c]), 40, "no shared cipher"),
        (
            &server,
            hello_of(0x0301, &[AES128_SHA, FALLBACK_SCSV]),
            86,
            "inappropriate fallback",
        ),
        (
            &server,
            ssl2_hello_of(0x0302, &[AES128_SHA, FALLBACK_SCSV]),
            86,
            "inappropriate fallback",
        ),
        (
            &capped,
            hello_of(0x0301, &[AES128_SHA]),
            70,
            "adit has TLS 1.1): the two sides do not agree; add `sslVersionMin = TLSv1`",
        ),
    ] {
        let (output, failure, blinding) = answer(context, &hello);
        assert_eq!(output.len(), 7, "{failure}");
        assert_eq!(
            (output[0], output[1], output[5], output[6]),
            (21, 3, 2, alert),
            "{failure}"
        );
        assert!(failure.contains(said), "{failure}");
        assert_eq!(blinding, None, "{failure}");
    }
    // The last try at the best version is no fallback.
    let mut end = End::begin(&capped);
    end.inbox
        .extend(hello_of(0x0302, &[AES128_SHA, FALLBACK_SCSV]));
    end.turn();
    assert_eq!(end.outbox[..3], [22, 3, 2]);
}

#[test]
fn what_is_no_hello_is_named() {
    let pki = Pki::new();
    let server = old_server(&pki);
    for (input, said) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "http request"),
        (b"EHLO mail.example.com\r\n", "wrong version number"),
        (
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            "bad length or encoding",
        ),
    ] {
        assert!(
            answer(&server, input).1.contains(said),
            "{}",
            answer(&server, input).1
        );
    }
    let mut garbage = hello_of(0x0301, &[AES128_SHA]);
    let length = garbage.len();
    garbage[length - 2] = 99;
    assert!(
        answer(&server, &garbage)
            .1
            .contains("bad length or encoding")
    );
}

#[test]
fn a_hello_of_any_form_gets_the_version_of_the_service_and_no_later_one() {
    let pki = Pki::new();
    let suites = [RC4_SHA, TRIPLE_DES, AES128_SHA];
    for (max, asked, given) in [
        (TlsVersion::V1_3, 0x0301, 1),
        (TlsVersion::V1_3, 0x0302, 2),
        (TlsVersion::V1_3, 0x0303, 3),
        (TlsVersion::V1_1, 0x0303, 2),
        (TlsVersion::V1_0, 0x0303, 1),
        (TlsVersion::V1_0, 0x0302, 1),
    ] {
        let options = TlsOptions {
            version_min: Some(TlsVersion::V1_0),
            version_max: Some(max),
            ..rsa_options(&pki)
        };
        let server = load(false, &options, &Resumption::new().unwrap());
        for hello in [hello_of(asked, &suites), ssl2_hello_of(asked, &suites)] {
            for piece in [1, 11, usize::MAX] {
                let mut end = End::begin(&server);
                for part in hello.chunks(piece.min(hello.len())) {
                    assert!(end.outbox.is_empty(), "before the hello was whole");
                    end.inbox.extend_from_slice(part);
                    end.turn();
                }
                // A ServerHello: record, message, version.
                assert_eq!(end.outbox[..3], [22, 3, given], "{max:?} {asked:x}");
                assert_eq!((end.outbox[5], &end.outbox[9..11]), (2, &[3, given][..]));
            }
        }
    }
}

/// The suite in the ServerHello that these hellos get.
fn chosen(server: &Context, hello: &[u8]) -> u16 {
    let mut end = End::begin(server);
    end.inbox.extend_from_slice(hello);
    end.turn();
    let session = usize::from(end.outbox[43]);
    u16::from_be_bytes([end.outbox[44 + session], end.outbox[45 + session]])
}

#[test]
fn a_server_chooses_only_what_its_list_has_whatever_else_is_offered() {
    let pki = Pki::new();
    let with = |list: Option<&str>, low| {
        let options = TlsOptions {
            ciphers: list.map(str::to_owned),
            version_min: Some(low),
            ..rsa_options(&pki)
        };
        load(false, &options, &Resumption::new().unwrap())
    };
    let tls10 = TlsVersion::V1_0;
    let all = [
        RC4_SHA, 0x0004, 0x0009, TRIPLE_DES, AES128_SHA, 0x0035, 0x0033, 0x0039,
    ];
    for (list, offered, expected) in [
        (None, &all[..], AES128_SHA),
        (None, &[RC4_SHA, TRIPLE_DES], TRIPLE_DES),
        // 3DES comes behind AES, with whichever key exchange.
        (None, &[0x0033, TRIPLE_DES], 0x0033),
        (None, &[0x0033], 0x0033),
        (Some("DES-CBC3-SHA"), &[RC4_SHA, TRIPLE_DES], TRIPLE_DES),
        (Some("AES256-SHA"), &all, 0x0035),
        (Some("DHE-RSA-AES128-SHA"), &all, 0x0033),
        // RC4 comes last, however it is named.
        (Some("RC4-SHA:RC4-MD5:AES128-SHA"), &all, AES128_SHA),
        (Some("RC4-SHA:RC4-MD5"), &[0x0004, RC4_SHA], RC4_SHA),
        (Some("RC4-MD5"), &[0x0009, 0x0004], 0x0004),
    ] {
        let server = with(list, tls10);
        assert_eq!(
            chosen(&server, &hello_of(0x0301, offered)),
            expected,
            "{list:?} {offered:x?}"
        );
        assert_eq!(
            chosen(&server, &ssl2_hello_of(0x0301, offered)),
            expected,
            "{list:?}"
        );
    }
    for (list, low, offered) in [
        (None, tls10, RC4_SHA),
        (None, TlsVersion::V1_1, TRIPLE_DES),
        (Some("ALL"), tls10, RC4_SHA),
        (Some("RC4:AES128-SHA"), tls10, RC4_SHA),
        (Some("HIGH"), tls10, TRIPLE_DES),
        (Some("ALL:!3DES"), tls10, TRIPLE_DES),
        (Some("AES128-SHA"), tls10, 0x0035),
    ] {
        let (output, failure, _) = answer(&with(list, low), &hello_of(0x0302, &[offered]));
        assert_eq!(output.last(), Some(&40), "{list:?} {offered:x} {failure}");
    }
}

#[test]
fn a_list_is_served_as_it_stands_whatever_else_the_client_offers() {
    let pki = Pki::new();
    let server = |list: &str| {
        let options = with_ciphers(list, from(TlsVersion::V1_0, rsa_options(&pki)));
        load(false, &options, &Resumption::new().unwrap())
    };
    let both = [0x0039, TRIPLE_DES];
    let only_dhe = server("DHE-RSA-AES256-SHA");
    assert_eq!(chosen(&only_dhe, &hello_of(0x0301, &both[..1])), 0x0039);
    assert_eq!(chosen(&only_dhe, &hello_of(0x0301, &both)), 0x0039);
    let only_3des = server("DES-CBC3-SHA");
    assert_eq!(chosen(&only_3des, &hello_of(0x0301, &both)), TRIPLE_DES);
    // What is advised for RC4 alone serves the others, too, and better ones first.
    let all = server("ALL:RC4-SHA");
    for suite in [RC4_SHA, TRIPLE_DES, AES128_SHA] {
        assert_eq!(chosen(&all, &hello_of(0x0301, &[suite])), suite);
        let both = [RC4_SHA, suite];
        assert_eq!(chosen(&all, &hello_of(0x0301, &both)), suite);
    }
    assert_eq!(chosen(&server("ALL:RC4-MD5"), &hello_of(0x0303, &[4])), 4);
}

/// The suites of a client's hello.
fn offered(list: &str, low: TlsVersion) -> Vec<u16> {
    let options = with_ciphers(list, from(low, TlsOptions::default()));
    let mut end = End::begin(&load(true, &options, &Resumption::new().unwrap()));
    end.turn();
    match hello::read(&end.outbox) {
        hello::Reading::Hello(hello) => hello.suites,
        _ => panic!("no hello"),
    }
}

#[test]
fn a_client_offers_its_list_and_nothing_besides() {
    let without_tls13 = |list| {
        let mut suites = offered(list, TlsVersion::V1_0);
        // TLS 1.3's, and the sign of RFC 5746.
        suites.retain(|code| !matches!(code, 0x1301..=0x1303 | 0x00ff));
        suites
    };
    assert_eq!(without_tls13("AES128-SHA"), [0x002f]);
    assert_eq!(without_tls13("RC4-SHA"), [5]);
    assert_eq!(
        without_tls13("RC4-SHA:ECDHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA:RC4-MD5"),
        [0xc014, 0x0033, 5, 4]
    );
    let all = without_tls13("ALL:RC4-SHA");
    assert_eq!(all.last(), Some(&5));
    for code in [0xc02f, 0xcca8, 0x009e, 0x0039, 0x009c, TRIPLE_DES, 0xc012] {
        assert!(all.contains(&code), "{code:x}");
    }
    assert!(!all.contains(&4));
}

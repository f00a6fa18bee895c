//! The PROXY protocol.

use crate::config::{DialogueOptions, ProxyVersion};
use crate::protocol::{Action, Event, Introduction, Progress, Secured, Shown, Side, header};

fn said(version: ProxyVersion, introduction: &Introduction<'_>) -> Vec<u8> {
    let options = DialogueOptions {
        proxy_version: version,
        ..DialogueOptions::default()
    };
    let mut dialogue = header(&options, introduction);
    let mut out = Vec::new();
    assert_eq!(dialogue.feed(Event::Start, &mut out), Ok(Progress::Next));
    assert!(!dialogue.hears(Side::Front) && !dialogue.hears(Side::Back));
    match &out[..] {
        [Action::Send(Side::Back, bytes)] => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

fn between(from: &str, to: &str) -> Introduction<'static> {
    Introduction {
        addresses: Some((from.parse().unwrap(), to.parse().unwrap())),
        tls: None,
        unique_id: None,
    }
}

#[test]
fn version_1_is_a_line() {
    for (from, to, line) in [
        (
            "192.0.2.7:1042",
            "192.0.2.1:993",
            "PROXY TCP4 192.0.2.7 192.0.2.1 1042 993\r\n",
        ),
        (
            "[2001:db8::7]:1042",
            "[2001:db8::1]:993",
            "PROXY TCP6 2001:db8::7 2001:db8::1 1042 993\r\n",
        ),
        // A listener of both families.
        (
            "[::ffff:192.0.2.7]:1042",
            "[::ffff:192.0.2.1]:993",
            "PROXY TCP4 192.0.2.7 192.0.2.1 1042 993\r\n",
        ),
        (
            "192.0.2.7:1042",
            "[2001:db8::1]:993",
            "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1042 993\r\n",
        ),
    ] {
        let said = said(ProxyVersion::V1, &between(from, to));
        assert_eq!(String::from_utf8_lossy(&said), line);
    }
    assert_eq!(
        said(ProxyVersion::V1, &Introduction::default()),
        b"PROXY UNKNOWN\r\n"
    );
}

const BEGINNING: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21";

#[test]
fn version_2_has_the_addresses_and_tells_of_tls() {
    let plain = between("192.0.2.7:1042", "192.0.2.1:993");
    let expected = [
        BEGINNING,
        b"\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x04\x12\x03\xe1",
    ]
    .concat();
    assert_eq!(said(ProxyVersion::V2, &plain), expected);
    let v6 = between("[2001:db8::7]:1042", "[2001:db8::1]:993");
    let said6 = said(ProxyVersion::V2, &v6);
    assert_eq!(said6[13..16], [0x21, 0, 36]);
    assert_eq!(said6.len(), 16 + 36);
    // Not LOCAL: a server would take the client for its own.
    let unknown = said(ProxyVersion::V2, &Introduction::default());
    assert_eq!(unknown, [BEGINNING, b"\0\0\0"].concat());
}

/// The values of a list of types, lengths and values.
fn values(mut list: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [kind, high, low, rest @ ..] = list {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        found.push((*kind, rest[..length].to_vec()));
        list = &rest[length..];
    }
    assert!(list.is_empty());
    found
}

#[test]
fn only_a_certificate_that_was_verified_is_told_as_such() {
    let known = |verified| {
        Some(Shown {
            verified,
            name: Some("anna"),
        })
    };
    for (certificate, resumed, client, verify) in [
        (None, false, 0x01, 1),
        (None, true, 0x01, 1),
        (known(true), false, 0x07, 0),
        (known(true), true, 0x05, 0),
        (known(false), false, 0x07, 1),
    ] {
        let mut introduction = between("192.0.2.7:1042", "192.0.2.1:993");
        introduction.tls = Some(Secured {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            resumed,
            server_name: Some("mail.test"),
            alpn: Some(b"imap"),
            certificate,
        });
        let said = said(ProxyVersion::V2, &introduction);
        let length = usize::from(u16::from_be_bytes([said[14], said[15]]));
        assert_eq!(said.len(), 16 + length);
        let values_of_all = values(&said[28..]);
        let [(0x01, alpn), (0x02, name), (0x20, ssl)] = &values_of_all[..] else {
            panic!("{values_of_all:?}");
        };
        assert_eq!((&alpn[..], &name[..]), (&b"imap"[..], &b"mail.test"[..]));
        assert_eq!(ssl[..5], [client, 0, 0, 0, verify]);
        let mut expected = vec![(0x21, b"TLSv1.3".to_vec())];
        expected.extend(certificate.map(|_| (0x22, b"anna".to_vec())));
        expected.push((0x23, b"TLS_AES_256_GCM_SHA384".to_vec()));
        assert_eq!(values(&ssl[5..]), expected);
    }
}

#[test]
fn a_header_is_never_longer_than_servers_take() {
    // The lengths of the server's name and of the certificate's; what is still told: ALPN, the two names.
    for (asked, certified, told) in [
        (20, 64, [true, true, true]),
        (114, 10, [true, true, true]),
        (115, 10, [false, true, true]),
        (121, 10, [false, true, true]),
        (122, 10, [false, false, true]),
        (253, 64, [false, false, true]),
        (20, 134, [false, false, true]),
        (20, 135, [false, false, false]),
        (20, 65_500, [true, true, false]),
        (20, 70_000, [true, true, false]),
        (70_000, 70_000, [true, false, false]),
    ] {
        let (asked, certified) = ("x".repeat(asked), "x".repeat(certified));
        let mut introduction = between("[2001:db8::7]:1042", "[2001:db8::1]:993");
        introduction.tls = Some(Secured {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            alpn: Some(b"imap"),
            server_name: Some(&asked),
            certificate: Some(Shown {
                verified: true,
                name: Some(&certified),
            }),
            ..Secured::default()
        });
        let header = said(ProxyVersion::V2, &introduction);
        let what = (asked.len(), certified.len(), header.len());
        assert!(header.len() <= 232, "{what:?}");
        let all = values(&header[52..]);
        let has = |list: &[(u8, Vec<u8>)], kind| list.iter().any(|(one, _)| *one == kind);
        // That a certificate was verified is told whatever its name.
        let ssl = all.iter().find(|(kind, _)| *kind == 0x20);
        let (_, ssl) = ssl.expect("what its TLS is");
        assert_eq!(ssl[..5], [0x07, 0, 0, 0, 0], "{what:?}");
        let names = values(&ssl[5..]);
        assert!(has(&names, 0x21) && has(&names, 0x23), "{what:?}");
        let seen = [has(&all, 0x01), has(&all, 0x02), has(&names, 0x22)];
        assert_eq!(seen, told, "{what:?}");
    }
}

//! Versions, suites, groups, and what adit says to and about peers without one in common.

use super::*;
use crate::ipc::scoreboard::HandshakeFailure;

#[test]
fn tls13_with_the_hybrid_group_and_aes_is_what_two_of_us_speak() {
    let pki = Pki::new();
    let (mut client, mut server) = connect(&aes_first(), &server_options(&pki));
    let expected = Negotiated {
        redirected: false,
        version: "TLSv1.3",
        suite: "TLS_AES_256_GCM_SHA384",
        bits: 256,
        resumed: false,
        group: Some("X25519MLKEM768"),
    };
    assert_eq!(client.negotiated(), expected);
    assert_eq!(server.negotiated(), expected);
}

#[test]
fn bytes_arrive_whole_however_they_are_cut_and_with_every_suite() {
    let pki = Pki::new();
    let server = server_options(&pki);
    let tls13 = [
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ]
    .map(|suite| TlsOptions {
        ciphersuites: Some(suite.into()),
        ..only(TlsVersion::V1_3, TlsOptions::default())
    });
    let tls12 = [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ]
    .map(|suite| TlsOptions {
        ciphers: Some(suite.into()),
        ..only(TlsVersion::V1_2, TlsOptions::default())
    });
    let data: Vec<u8> = (0..50_000u32).map(|number| (number % 251) as u8).collect();
    let resumption = Resumption::new().unwrap();
    let server = load(false, &server, &resumption);
    for options in tls13.iter().chain(&tls12) {
        let client = load(true, options, &resumption);
        for piece in [1, 7, 1000, usize::MAX] {
            let (mut client, mut server) = (End::begin(&client), End::begin(&server));
            settle(&mut client, &mut server, piece);
            let suite = client.negotiated().suite;
            let asked = options.ciphersuites.as_ref().or(options.ciphers.as_ref());
            assert_eq!(Some(suite), asked.map(String::as_str));
            client.send(&data);
            server.send(&data[..30_000]);
            settle(&mut client, &mut server, piece);
            assert!(server.plain == data, "{suite} {piece}");
            assert!(client.plain == data[..30_000], "{suite} {piece}");
        }
    }
}

#[test]
fn a_hello_that_is_cut_over_records_is_put_together() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    for piece in [1, 100, usize::MAX] {
        let mut client = End::begin(&load(true, &TlsOptions::default(), &resumption));
        let mut server = End::begin(&load(false, &server_options(&pki), &resumption));
        client.turn();
        let hello = client.outbox.split_off(5);
        client.outbox.clear();
        for part in hello.chunks(50) {
            client.outbox.extend([22, 3, 1, 0, part.len() as u8]);
            client.outbox.extend_from_slice(part);
        }
        settle(&mut client, &mut server, piece);
        assert_eq!(client.negotiated(), server.negotiated());
    }
}

#[test]
fn a_hello_that_never_ends_is_cut_off() {
    let pki = Pki::new();
    let server = load(false, &server_options(&pki), &Resumption::new().unwrap());
    let mut server = End::begin(&server);
    // A message of 60000 bytes, with one byte in each record.
    server.inbox = vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
    for _ in 0..59_000 {
        server.inbox.extend([22, 3, 1, 0, 1, 0]);
        if server.inbox.len() > 2 * crate::tls::handshake::MAX_HANDSHAKE_INPUT {
            break;
        }
    }
    server.turn();
    assert!(
        server
            .failure()
            .to_string()
            .contains("data length too long")
    );
}

#[test]
fn data_that_comes_with_the_end_of_the_handshake_is_not_lost() {
    let pki = Pki::new();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let resumption = Resumption::new().unwrap();
        let options = only(version, TlsOptions::default());
        let mut client = End::begin(&load(true, &options, &resumption));
        let mut server = End::begin(&load(false, &server_options(&pki), &resumption));
        client.turn();
        server.inbox.append(&mut client.outbox);
        server.turn();
        client.inbox.append(&mut server.outbox);
        client.turn();
        if version == TlsVersion::V1_2 {
            // The server finishes last, so its data comes along.
            server.inbox.append(&mut client.outbox);
            server.turn();
            std::mem::swap(&mut client, &mut server);
        }
        let mut last = Vec::new();
        client.send(b"at once");
        client.stream().close_notify(&mut last);
        client.outbox.extend(last);
        server.inbox.append(&mut client.outbox);
        server.turn();
        assert_eq!(server.plain, b"at once");
        assert!(server.closed);
    }
}

#[test]
fn versions_without_overlap_fail_as_unsupported_protocol() {
    let pki = Pki::new();
    let (client, server) = connect(
        &only(TlsVersion::V1_3, TlsOptions::default()),
        &only(TlsVersion::V1_2, server_options(&pki)),
    );
    assert!(
        server
            .failure()
            .to_string()
            .contains("unsupported protocol")
    );
    assert!(server.failure().to_string().starts_with("SSL_accept: "));
    assert_eq!(server.failure().kind(), HandshakeFailure::Negotiation);
    let told = client.failure().to_string();
    assert!(
        told.starts_with("SSL_connect: tlsv1 alert protocol version"),
        "{told}"
    );
    assert_eq!(client.failure().kind(), HandshakeFailure::Negotiation);
}

#[test]
fn suites_and_groups_without_overlap_fail_by_name() {
    let pki = Pki::new();
    let rsa_only = TlsOptions {
        ciphers: Some("ECDHE-RSA-AES256-GCM-SHA384".into()),
        ..only(TlsVersion::V1_2, TlsOptions::default())
    };
    let (client, server) = connect(&rsa_only, &server_options(&pki));
    let found = server.failure().to_string();
    assert!(found.contains("no shared cipher"), "{found}");
    let told = client.failure().to_string();
    assert!(told.contains("alert handshake failure"), "{told}");

    let curve = |name: &str, options| TlsOptions {
        curves: Some(name.into()),
        ..options
    };
    let (_, server) = connect(
        &curve("X25519", TlsOptions::default()),
        &curve("P-384", server_options(&pki)),
    );
    let found = server.failure().to_string();
    assert!(found.contains("no suitable key share"), "{found}");
}

#[test]
fn a_retry_for_another_group_works() {
    let pki = Pki::new();
    let server = TlsOptions {
        curves: Some("P-384".into()),
        ..server_options(&pki)
    };
    let (mut client, mut server) = connect(&TlsOptions::default(), &server);
    assert_eq!(client.negotiated().group, Some("P-384"));
    assert_eq!(server.negotiated().group, Some("P-384"));
}

#[test]
fn the_server_s_order_rules_where_it_is_asked_to() {
    let pki = Pki::new();
    let client = TlsOptions {
        ciphersuites: Some("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384".into()),
        ..TlsOptions::default()
    };
    let (mut end, _) = connect(&client, &server_options(&pki));
    assert_eq!(end.negotiated().suite, "TLS_CHACHA20_POLY1305_SHA256");
    let server = TlsOptions {
        server_preference: true,
        ..server_options(&pki)
    };
    let (mut end, _) = connect(&client, &server);
    assert_eq!(end.negotiated().suite, "TLS_AES_256_GCM_SHA384");
}

#[test]
fn garbage_is_named() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let server = load(false, &server_options(&pki), &resumption);
    for (bytes, phrase) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "http request"),
        (b"EHLO client\r\n", "wrong version number"),
        (b"\0\0\0\0\0\0\0\0", "wrong version number"),
        (
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00",
            "unsupported protocol",
        ),
        (b"\x17\x03\x03\x00\x05hello", "unexpected message"),
    ] {
        let mut end = End::begin(&server);
        end.inbox = bytes.to_vec();
        end.turn();
        let found = end.failure().to_string();
        assert!(found.contains(&format!(": {phrase}")), "{found}");
        let kind = match phrase {
            "unsupported protocol" => HandshakeFailure::Negotiation,
            _ => HandshakeFailure::Protocol,
        };
        assert_eq!(end.failure().kind(), kind, "{found}");
    }
    let client = load(true, &TlsOptions::default(), &resumption);
    let mut end = End::begin(&client);
    end.inbox = b"220 mail.example.com ESMTP\r\n".to_vec();
    end.turn();
    let found = end.failure().to_string();
    assert!(
        found.contains("SSL_connect: wrong version number"),
        "{found}"
    );
    assert!(found.contains("STARTTLS"), "{found}");
}

#[test]
fn no_input_makes_a_handshake_panic() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let server = load(false, &server_options(&pki), &resumption);
    let mut hello = End::begin(&load(true, &TlsOptions::default(), &resumption));
    hello.turn();
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    for _ in 0..500 {
        let mut end = End::begin(&server);
        let mut bytes = hello.outbox.clone();
        for _ in 0..1 + random() % 4 {
            let place = random() % bytes.len();
            bytes[place] = random() as u8;
        }
        bytes.truncate(1 + random() % bytes.len());
        let cut = random() % bytes.len();
        end.inbox = bytes[..cut].to_vec();
        end.turn();
        end.inbox.extend_from_slice(&bytes[cut..]);
        end.turn();
        assert!(end.inbox.len() <= bytes.len());
    }
}

#[test]
fn a_peer_that_leaves_in_the_middle_is_named() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let server = load(false, &server_options(&pki), &resumption);
    let handshake = server.begin(None, &LOG).unwrap();
    let failure = handshake.vanished();
    assert!(
        failure
            .to_string()
            .starts_with("SSL_accept: unexpected eof while reading")
    );
    assert_eq!(failure.kind(), HandshakeFailure::Vanished);
}

#[test]
fn the_name_of_sni_or_else_of_connect_is_sent_and_no_address() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let hello = |sni: Option<&str>, upstream: Option<&str>| {
        let options = TlsOptions {
            sni: sni.map(str::to_owned),
            ..TlsOptions::default()
        };
        let context = load(true, &options, &resumption);
        let mut bytes = Vec::new();
        let handshake = context.begin(upstream, &LOG).unwrap();
        handshake.step(&mut [], &mut bytes, &LOG).unwrap();
        let has = |name: &str| {
            bytes
                .windows(name.len())
                .any(|window| window == name.as_bytes())
        };
        (has("a.example"), has("b.example"), has("127.0.0.1"))
    };
    assert_eq!(hello(None, Some("a.example")), (true, false, false));
    assert_eq!(
        hello(Some("b.example"), Some("a.example")),
        (false, true, false)
    );
    assert_eq!(hello(Some(""), Some("a.example")), (false, false, false));
    assert_eq!(hello(None, Some("127.0.0.1")), (false, false, false));
    assert_eq!(hello(None, None), (false, false, false));
    drop(pki);
}

/// OpenSSL as a client that has none of adit's suites, or as such a server.
#[test]
fn without_a_suite_in_common_both_lists_are_told() {
    let pki = Pki::new();
    let context = load(false, &server_options(&pki), &Resumption::new().unwrap());
    for (suites, offered, common) in [
        (
            "AES128-SHA",
            "the client offers AES128-SHA; adit has TLS_",
            false,
        ),
        (
            "DHE-RSA-AES128-GCM-SHA256:AES256-GCM-SHA384",
            "the client offers DHE-RSA-AES128-GCM-SHA256, AES256-GCM-SHA384; adit has TLS_",
            false,
        ),
        (
            "ECDHE-RSA-AES128-SHA",
            "the client offers ECDHE-RSA-AES128-SHA; adit has TLS_",
            false,
        ),
        // The kind of key decides.
        (
            "ECDHE-RSA-AES128-GCM-SHA256",
            "the client offers ECDHE-RSA-AES128-GCM-SHA256; adit has TLS_",
            true,
        ),
    ] {
        let mut server = End::begin(&context);
        server.inbox = openssl::hello(&["-tls1_2", "-cipher", suites]);
        server.turn();
        let text = server.failure().to_string();
        assert!(
            text.starts_with("SSL_accept: no shared cipher ("),
            "{suites} {text}"
        );
        assert!(text.contains(offered), "{suites} {text}");
        let ours = text.contains("ECDHE-ECDSA-AES256-GCM-SHA384");
        assert!(
            ours && (common || !text.contains("offers ECDHE-RSA-AES128-GCM")),
            "{text}"
        );
        assert_eq!(server.failure().kind(), HandshakeFailure::Negotiation);
    }
    // A group that adit does not have is a different problem.
    let mut server = End::begin(&context);
    server.inbox = openssl::hello(&["-tls1_2", "-groups", "secp521r1"]);
    server.turn();
    let text = server.failure().to_string();
    assert!(text.contains("no suitable key share"), "{text}");
    // As a client adit only receives an alert; the log shows what it offered.
    let client = load(true, &TlsOptions::default(), &Resumption::new().unwrap());
    let mut client = End::begin(&client);
    client.turn();
    client.inbox = vec![21, 3, 3, 0, 2, 2, 40];
    client.turn();
    let text = client.failure().to_string();
    assert!(
        text.starts_with("SSL_connect: ssl/tls alert handshake failure (adit offers TLS_"),
        "{text}"
    );
    assert!(text.contains("ECDHE-RSA-AES128-GCM-SHA256"), "{text}");
    assert!(text.contains("no ECDHE suite"), "{text}");
}

//! s2n-tls behind the same face: old versions, old suites, and what adit adds to both.

use super::*;

/// An RSA key, as most old programs want it, and its certificate.
pub(super) fn rsa_options(pki: &Pki) -> TlsOptions {
    let path = pki.path("rsa.pem");
    if !path.exists() {
        let key =
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let certificate = leaf(&["mail.example.com"], "server")
            .self_signed(&key)
            .unwrap();
        pki.write("rsa.pem", &(key.serialize_pem() + &certificate.pem()));
    }
    TlsOptions {
        cert: Some(path),
        ..aes_first()
    }
}

pub(super) fn from(low: TlsVersion, options: TlsOptions) -> TlsOptions {
    TlsOptions {
        version_min: Some(low),
        ..options
    }
}

pub(super) fn with_ciphers(list: &str, options: TlsOptions) -> TlsOptions {
    TlsOptions {
        ciphers: Some(list.into()),
        ..options
    }
}

fn exchange(client: &mut End, server: &mut End, length: usize, piece: usize) {
    let data: Vec<u8> = (0..length as u32)
        .map(|number| (number % 251) as u8)
        .collect();
    client.send(&data);
    server.send(&data);
    settle(client, server, piece);
    assert!(server.plain == data, "to the server");
    assert!(client.plain == data, "to the client");
}

#[test]
fn every_old_version_and_suite_carries_a_megabyte_both_ways() {
    let pki = Pki::new();
    for (version, list, name, suite, bits) in [
        (TlsVersion::V1_0, "AES128-SHA", "TLSv1", "AES128-SHA", 128),
        (
            TlsVersion::V1_0,
            "DHE-RSA-AES128-SHA",
            "TLSv1",
            "DHE-RSA-AES128-SHA",
            128,
        ),
        (TlsVersion::V1_1, "AES256-SHA", "TLSv1.1", "AES256-SHA", 256),
        (
            TlsVersion::V1_2,
            "AES128-GCM-SHA256",
            "TLSv1.2",
            "AES128-GCM-SHA256",
            128,
        ),
        (
            TlsVersion::V1_2,
            "DHE-RSA-AES128-SHA256",
            "TLSv1.2",
            "DHE-RSA-AES128-SHA256",
            128,
        ),
        (
            TlsVersion::V1_2,
            "DHE-RSA-AES128-GCM-SHA256",
            "TLSv1.2",
            "DHE-RSA-AES128-GCM-SHA256",
            128,
        ),
    ] {
        let restricted = |options| with_ciphers(list, only(version, options));
        let resumption = Resumption::new().unwrap();
        let client = load(true, &restricted(TlsOptions::default()), &resumption);
        let server = load(false, &restricted(rsa_options(&pki)), &resumption);
        let (mut client, mut server) = shake(&client, &server);
        let negotiated = server.negotiated();
        assert_eq!(
            (negotiated.version, negotiated.suite, negotiated.bits),
            (name, suite, bits),
            "{list}"
        );
        assert_eq!(client.negotiated(), negotiated);
        exchange(&mut client, &mut server, 1 << 20, usize::MAX);
    }
}

/// A server for everything from TLS 1.0 on.
fn old_server(pki: &Pki) -> Context {
    let options = from(TlsVersion::V1_0, rsa_options(pki));
    load(false, &options, &Resumption::new().unwrap())
}

/// What it answers to these bytes: its output, and why it failed.
fn answer(server: &Context, input: &[u8]) -> (Vec<u8>, String, Option<Duration>) {
    let mut end = End::begin(server);
    end.inbox.extend_from_slice(input);
    end.turn();
    let failure = end.failure();
    (end.outbox.clone(), failure.to_string(), failure.blinding())
}

/// A ClientHello with these suites and no extension.
fn hello_of(version: u16, suites: &[u16]) -> Vec<u8> {
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
fn ssl2_hello_of(version: u16, suites: &[u16]) -> Vec<u8> {
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

const TRIPLE_DES: u16 = 0x000a;
const RC4_SHA: u16 = 0x0005;
const AES128_SHA: u16 = 0x002f;
const FALLBACK_SCSV: u16 = 0x5600;

#[test]
fn bytes_arrive_whole_however_they_are_cut_and_the_client_may_be_new() {
    let pki = Pki::new();
    let server = old_server(&pki);
    for (low, high, version) in [
        (TlsVersion::V1_0, TlsVersion::V1_0, "TLSv1"),
        (TlsVersion::V1_0, TlsVersion::V1_1, "TLSv1.1"),
        // By rustls.
        (TlsVersion::V1_2, TlsVersion::V1_2, "TLSv1.2"),
        (TlsVersion::V1_2, TlsVersion::V1_3, "TLSv1.3"),
    ] {
        let options = TlsOptions {
            version_min: Some(low),
            version_max: Some(high),
            ..TlsOptions::default()
        };
        let client = load(true, &options, &Resumption::new().unwrap());
        for piece in [1, 7, 1000, usize::MAX] {
            let (mut client, mut server) = (End::begin(&client), End::begin(&server));
            settle(&mut client, &mut server, piece);
            assert_eq!(client.negotiated().version, version);
            assert_eq!(client.negotiated(), server.negotiated());
            exchange(&mut client, &mut server, 50_000, piece);
            client.stream().rest();
            server.stream().rest();
            exchange_more(&mut client, &mut server);
            let mut alert = Vec::new();
            client.stream().close_notify(&mut alert);
            client.outbox.extend(alert);
            settle(&mut client, &mut server, piece);
            assert!(server.closed);
        }
    }
}

fn exchange_more(client: &mut End, server: &mut End) {
    (client.plain, server.plain) = (Vec::new(), Vec::new());
    client.send(b"question");
    server.send(b"answer");
    settle(client, server, usize::MAX);
    assert_eq!(
        (&client.plain[..], &server.plain[..]),
        (&b"answer"[..], &b"question"[..])
    );
}

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
            "to serve it, set `ciphers = RC4-SHA`",
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
        (None, &[0x0033, TRIPLE_DES], TRIPLE_DES),
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
fn sessions_resume_by_identifier_in_another_worker_and_never_under_other_trust() {
    let pki = Pki::new();
    let other_key = {
        let pki = Pki::new();
        let options = rsa_options(&pki);
        (pki, options)
    };
    let resumption = Resumption::new().unwrap();
    let server = |options: TlsOptions| load(false, &from(TlsVersion::V1_0, options), &resumption);
    let resumed = |client: &Context, server: &Context| {
        let (mut client, mut server) = shake(client, server);
        exchange_more(&mut client, &mut server);
        assert_eq!(client.negotiated(), server.negotiated());
        client.negotiated().resumed
    };
    for no_ticket in [false, true] {
        for version in [TlsVersion::V1_0, TlsVersion::V1_1, TlsVersion::V1_2] {
            let options = TlsOptions {
                no_ticket,
                ..rsa_options(&pki)
            };
            let workers = [server(options.clone()), server(options)];
            let client = TlsOptions {
                version_min: Some(version),
                version_max: Some(version),
                no_ticket: true,
                ..TlsOptions::default()
            };
            let client = load(true, &client, &resumption);
            assert!(!resumed(&client, &workers[0]), "{version:?}");
            for round in 0..4 {
                let worker = &workers[(round + 1) % 2];
                assert!(resumed(&client, worker), "{version:?} {no_ticket} {round}");
            }
            let other = server(other_key.1.clone());
            assert!(!resumed(&client, &other), "another certificate");
        }
    }
}

#[test]
fn tickets_resume_whichever_library_the_client_has() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let options = from(TlsVersion::V1_0, rsa_options(&pki));
    let workers = [
        load(false, &options, &resumption),
        load(false, &options, &resumption),
    ];
    for client in [
        only(TlsVersion::V1_0, TlsOptions::default()),
        // By rustls.
        only(TlsVersion::V1_2, TlsOptions::default()),
        only(TlsVersion::V1_3, TlsOptions::default()),
    ] {
        let client = load(true, &client, &resumption);
        for round in 0..4 {
            let (mut client, mut server) = shake(&client, &workers[round % 2]);
            exchange_more(&mut client, &mut server);
            let version = client.negotiated().version;
            assert_eq!(client.negotiated().resumed, round > 0, "{version} {round}");
        }
    }
}

#[test]
fn a_clients_certificate_is_asked_for_judged_and_never_resumed() {
    let pki = Pki::new();
    let (good, other) = (authority("good"), authority("other"));
    let resumption = Resumption::new().unwrap();
    let server = TlsOptions {
        ca_file: Some(pki.authority("ca.pem", &good)),
        verification: verify_chain(),
        ..from(TlsVersion::V1_0, rsa_options(&pki))
    };
    let server = load(false, &server, &resumption);
    let known = pki.signed("known.pem", &leaf(&[], "client"), &good);
    let unknown = pki.signed("unknown.pem", &leaf(&[], "client"), &other);
    for version in [TlsVersion::V1_0, TlsVersion::V1_2, TlsVersion::V1_3] {
        let connect = |cert: Option<&PathBuf>| {
            let options = TlsOptions {
                cert: cert.cloned(),
                ..only(version, TlsOptions::default())
            };
            let client = load(true, &options, &resumption);
            let first = shake(&client, &server);
            (first, shake(&client, &server))
        };
        crate::tls::notes::written();
        let ((_, mut first), (_, mut second)) = connect(Some(&known));
        assert!(!first.negotiated().resumed && !second.negotiated().resumed);
        let lines = crate::tls::notes::written();
        let accepted = "5 Certificate accepted at depth=0: CN=client";
        assert!(lines.iter().any(|line| line == accepted), "{lines:?}");
        let ((client, server), _) = connect(Some(&unknown));
        let failure = server.failure();
        assert!(
            failure.to_string().contains("certificate verify failed"),
            "{failure}"
        );
        assert_eq!(failure.blinding(), None);
        // The client of TLS 1.3 is done before the server judges it.
        if version < TlsVersion::V1_3 {
            assert!(
                client.failure().to_string().contains("unknown ca"),
                "{}",
                client.failure()
            );
        }
        let ((_, server), _) = connect(None);
        let failure = server.failure().to_string();
        assert!(
            failure.contains("peer did not return a certificate"),
            "{failure}"
        );
    }
}

#[test]
fn a_servers_certificate_is_judged_before_anything_is_said() {
    let pki = Pki::new();
    let (good, other) = (authority("good"), authority("other"));
    let resumption = Resumption::new().unwrap();
    let cert = pki.signed("server.pem", &leaf(&["mail.example.com"], "server"), &good);
    let elsewhere = pki.signed("else.pem", &leaf(&["other.example.com"], "server"), &good);
    let verify = |ca: &Authority| TlsOptions {
        ca_file: Some(pki.authority(&format!("{ca:p}.pem"), ca)),
        verification: PeerVerification {
            request: true,
            require: true,
            chain: true,
            server: true,
            ..PeerVerification::default()
        },
        ..TlsOptions::default()
    };
    for (client, cert, refused) in [
        (verify(&good), &cert, None),
        (
            verify(&other),
            &cert,
            Some("unable to get local issuer certificate"),
        ),
        (verify(&good), &elsewhere, Some("certificate verify failed")),
    ] {
        for version in [TlsVersion::V1_0, TlsVersion::V1_1] {
            let server = TlsOptions {
                cert: Some(cert.clone()),
                ..from(TlsVersion::V1_0, aes_first())
            };
            let server = load(false, &server, &resumption);
            let client = load(true, &only(version, client.clone()), &resumption);
            for _ in 0..2 {
                let (mut client, mut server) = shake(&client, &server);
                match refused {
                    None => {
                        server.negotiated();
                        exchange_more(&mut client, &mut server);
                    }
                    Some(said) => {
                        let failure = client.failure().to_string();
                        assert!(failure.contains(said), "{failure}");
                        assert!(
                            server.failure().to_string().contains("alert"),
                            "{}",
                            server.failure()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_failure_of_age_names_both_sides_and_the_line_that_helps() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let modern = load(false, &rsa_options(&pki), &resumption);
    for (hello, said) in [
        (
            hello_of(0x0301, &[RC4_SHA, TRIPLE_DES]),
            "SSL_accept: unsupported protocol (the client offers TLS 1.0 with RC4-SHA, DES-CBC3-SHA; adit has \
             TLS 1.2 to TLS 1.3): the two sides do not agree; add `sslVersionMin = TLSv1`",
        ),
        (
            hello_of(0x0302, &[RC4_SHA]),
            "add `sslVersionMin = TLSv1.1` and `ciphers = RC4-SHA`",
        ),
        (
            ssl2_hello_of(0x0301, &[TRIPLE_DES]),
            "add `sslVersionMin = TLSv1`",
        ),
        (
            hello_of(0x0300, &[TRIPLE_DES]),
            "the client offers SSLv3 with DES-CBC3-SHA",
        ),
        (
            hello_of(0x0303, &[AES128_SHA]),
            "to serve it, set `ciphers = AES128-SHA`",
        ),
    ] {
        let (_, failure, _) = answer(&modern, &hello);
        assert!(failure.contains(said), "{failure}");
    }
    // And the other way: a server that is too old, one that is too new, one with other suites.
    let new_client = load(true, &TlsOptions::default(), &resumption);
    let old = load(
        false,
        &only(TlsVersion::V1_1, rsa_options(&pki)),
        &resumption,
    );
    let (client, _) = shake(&new_client, &old);
    let failure = client.failure().to_string();
    assert!(
        failure.contains("if it is an old server, add `sslVersionMin = TLSv1`"),
        "{failure}"
    );
    let old_client = load(
        true,
        &only(TlsVersion::V1_0, TlsOptions::default()),
        &resumption,
    );
    let (client, server) = shake(&old_client, &modern);
    assert!(
        client
            .failure()
            .to_string()
            .contains("alert handshake failure"),
        "{}",
        client.failure()
    );
    assert!(
        server
            .failure()
            .to_string()
            .contains("add `sslVersionMin = TLSv1`"),
        "{}",
        server.failure()
    );
}

#[test]
fn a_clients_front_is_told_of_its_own_options() {
    let pki = Pki::new();
    let mut service = service(true, TlsOptions::default());
    service.accept_tls_at_once(rsa_options(&pki));
    let wanted = Wanted::accepted(&service).unwrap();
    let resumption = Resumption::new().unwrap();
    let (context, _) =
        Context::load(wanted, None, &PassPhrases::none(), &resumption, &LOG).unwrap();
    let (_, failure, _) = answer(&context, &hello_of(0x0301, &[RC4_SHA]));
    assert!(
        failure.contains("add `acceptSSLVersionMin = TLSv1` and `acceptCiphers = RC4-SHA`"),
        "{failure}"
    );
}

#[test]
fn what_was_changed_in_transit_ends_the_stream_in_silence() {
    let pki = Pki::new();
    let server = old_server(&pki);
    for version in [TlsVersion::V1_0, TlsVersion::V1_1] {
        let client = load(
            true,
            &only(version, TlsOptions::default()),
            &Resumption::new().unwrap(),
        );
        let (mut client, mut server) = shake(&client, &server);
        client.send(b"a question that is changed on its way");
        let last = client.outbox.len() - 1;
        client.outbox[last] ^= 1;
        settle(&mut client, &mut server, usize::MAX);
        let failure = server.failure();
        assert!(failure.to_string().contains("bad record mac"), "{failure}");
        let silence = failure.blinding().unwrap();
        assert!(
            silence > Duration::from_secs(5) && silence < Duration::from_secs(40),
            "{silence:?}"
        );
        assert!(server.outbox.is_empty());
    }
}

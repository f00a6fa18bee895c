//! Resumption and verification where s2n-tls serves: both are adit's.

use super::old::{exchange_more, from, rsa_options};
use super::*;

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
fn a_session_whose_handshake_or_stream_fails_is_offered_no_more() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let server = load(
        false,
        &from(TlsVersion::V1_0, rsa_options(&pki)),
        &resumption,
    );
    let version = only(TlsVersion::V1_0, TlsOptions::default());
    let client = load(true, &version, &resumption);
    let resumed = || shake(&client, &server).0.negotiated().resumed;
    let answered = |answer: &[u8]| {
        let mut end = End::begin(&client);
        end.turn();
        end.inbox.extend_from_slice(answer);
        end.turn();
        end
    };
    let fail_in_handshake = || {
        let end = answered(b"\x15\x03\x01\x00\x02\x02\x28");
        let failure = end.failure().to_string();
        assert!(failure.contains("handshake failure"), "{failure}");
    };
    let vanish = || match answered(b"").state {
        Some(State::Shaking(handshake)) => {
            handshake.vanished();
        }
        _ => panic!("it goes on"),
    };
    let fail_later = || {
        let (mut client, _) = shake(&client, &server);
        client.inbox.extend(b"\x17\x03\x01\x00\x00");
        client.turn();
        client.failure();
    };
    let fails: [&dyn Fn(); 3] = [&fail_in_handshake, &vanish, &fail_later];
    for fail in fails {
        assert!(!resumed());
        assert!(resumed() && resumed());
        fail();
    }
    assert!(!resumed());
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
        for (max, suite) in [
            (TlsVersion::V1_0, None),
            (TlsVersion::V1_2, None),
            (TlsVersion::V1_3, None),
            // By rustls.
            (TlsVersion::V1_3, Some("TLS_AES_256_GCM_SHA384")),
        ] {
            let low = suite.map_or(TlsVersion::V1_0, |_| TlsVersion::V1_3);
            let server = TlsOptions {
                cert: Some(cert.clone()),
                version_max: Some(max),
                ciphersuites: suite.map(str::to_owned),
                ..from(low, aes_first())
            };
            let server = load(false, &server, &resumption);
            let client = load(true, &from(TlsVersion::V1_0, client.clone()), &resumption);
            for round in 0..2 {
                let (mut client, mut server) = shake(&client, &server);
                match refused {
                    None => {
                        server.negotiated();
                        exchange_more(&mut client, &mut server);
                        assert_eq!(client.negotiated().resumed, round > 0, "{max:?} {suite:?}");
                    }
                    Some(said) => {
                        let failure = client.failure().to_string();
                        assert!(failure.contains(said), "{failure}");
                        assert_eq!(client.failure().blinding(), None);
                        let told = match max {
                            TlsVersion::V1_3 => "SSL_accept",
                            _ => "alert",
                        };
                        let failure = server.failure().to_string();
                        assert!(failure.contains(told), "{failure}");
                    }
                }
            }
        }
    }
}

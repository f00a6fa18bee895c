//! Sessions resume in any worker, and never after trust has changed.

use std::time::SystemTime;

use super::*;
use crate::tls::notes;

/// Connects the same client repeatedly to servers that stand for workers.
fn resumed(client: &Context, server: &Context) -> bool {
    let (mut client, mut server) = shake(client, server);
    assert_eq!(client.negotiated().resumed, server.negotiated().resumed);
    client.negotiated().resumed
}

#[test]
fn another_worker_resumes_with_tickets_and_with_identifiers() {
    let pki = Pki::new();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for no_ticket in [false, true] {
            let resumption = Resumption::new().unwrap();
            let options = TlsOptions {
                no_ticket,
                ..only(version, server_options(&pki))
            };
            let workers = [
                load(false, &options, &resumption),
                load(false, &options, &resumption.clone()),
            ];
            let client = load(true, &TlsOptions::default(), &resumption);
            assert!(!resumed(&client, &workers[0]));
            for round in 0..6 {
                assert!(
                    resumed(&client, &workers[(round + 1) % 2]),
                    "{version:?} no_ticket={no_ticket} {round}"
                );
            }
        }
    }
}

#[test]
fn a_client_without_tickets_resumes_by_identifier_in_tls12() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let server = only(TlsVersion::V1_2, server_options(&pki));
    let server = load(false, &server, &resumption);
    let options = TlsOptions {
        no_ticket: true,
        ..TlsOptions::default()
    };
    let client = load(true, &options, &resumption);
    assert!(!resumed(&client, &server));
    assert!(resumed(&client, &server));
}

#[test]
fn two_connections_at_once_both_resume() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let server = load(false, &server_options(&pki), &resumption);
    let client = load(true, &TlsOptions::default(), &resumption);
    assert!(!resumed(&client, &server));
    let mut ends: Vec<_> = (0..2)
        .map(|_| (End::begin(&client), End::begin(&server)))
        .collect();
    for (client, _) in &mut ends {
        client.turn();
    }
    for (client, server) in &mut ends {
        settle(client, server, usize::MAX);
        assert!(client.negotiated().resumed);
    }
}

#[test]
fn another_secret_resumes_nothing() {
    let pki = Pki::new();
    let options = server_options(&pki);
    for no_ticket in [false, true] {
        let options = TlsOptions {
            no_ticket,
            ..options.clone()
        };
        let one = load(false, &options, &Resumption::new().unwrap());
        let two = load(false, &options, &Resumption::new().unwrap());
        let client = load(true, &TlsOptions::default(), &Resumption::new().unwrap());
        assert!(!resumed(&client, &one));
        assert!(!resumed(&client, &two));
    }
}

#[test]
fn a_reload_that_changes_nothing_resumes_and_one_that_changes_trust_does_not() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let (good, other) = (authority("good"), authority("other"));
    let options = server_options(&pki);
    let verifying = TlsOptions {
        ca_file: Some(pki.authority("ca.pem", &good)),
        verification: verify_chain(),
        ..options.clone()
    };
    let client_options = TlsOptions {
        cert: Some(pki.signed("client.pem", &leaf(&[], "client"), &good)),
        ..TlsOptions::default()
    };
    let client = load(true, &client_options, &resumption);
    for no_ticket in [false, true] {
        let with = |options: &TlsOptions| TlsOptions {
            no_ticket,
            ..options.clone()
        };
        let before = load(false, &with(&options), &resumption);
        let same = load(false, &with(&options), &resumption);
        resumed(&client, &before);
        assert!(resumed(&client, &same), "nothing changed");
        let after = load(false, &with(&verifying), &resumption);
        assert!(
            !resumed(&client, &after),
            "an unverified session must not pass"
        );
        assert!(resumed(&client, &after), "its own do");
        // The same path, with another authority in it.
        pki.authority("ca.pem", &other);
        let changed = load(false, &with(&verifying), &resumption);
        let (_, server) = shake(&client, &changed);
        assert!(
            server
                .failure()
                .to_string()
                .contains("certificate verify failed")
        );
        pki.authority("ca.pem", &good);
    }
}

#[test]
fn a_session_of_one_service_is_nothing_to_another() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let options = server_options(&pki);
    let one = load(false, &options, &resumption);
    let mut other = service(false, options);
    other.name = "other".into();
    let other = Context::load(
        wanted(&other),
        None,
        &PassPhrases::none(),
        &resumption,
        &mut SharedLists::default(),
        &LOG,
    )
    .unwrap()
    .0;
    let client = load(true, &TlsOptions::default(), &resumption);
    assert!(!resumed(&client, &one));
    assert!(!resumed(&client, &other));
}

#[test]
fn a_server_that_responders_are_asked_about_does_not_outlive_its_certificate_by_sessions() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let end = SystemTime::now() + Duration::from_secs(5);
    let mut params = leaf(&["mail.example.com"], "server");
    params.not_after = end.into();
    let resumption = Resumption::new().unwrap();
    let server = TlsOptions {
        cert: Some(pki.signed("server.pem", &params, &ca)),
        ..TlsOptions::default()
    };
    let server = load(false, &server, &resumption);
    let mut options = TlsOptions {
        verification: verify_chain(),
        ca_file: Some(pki.authority("ca.pem", &ca)),
        ..TlsOptions::default()
    };
    options.ocsp.aia = true;
    let client = load(true, &options, &resumption);
    assert!(!resumed(&client, &server));
    assert!(resumed(&client, &server));
    notes::written();
    let over = end + Duration::from_secs(1);
    while let Ok(left) = over.duration_since(SystemTime::now()) {
        std::thread::sleep(left);
    }
    let (client, _) = shake(&client, &server);
    let text = client.failure().to_string();
    assert!(text.contains("(certificate has expired)"), "{text}");
    let lines = notes::written();
    let told = "4 Rejected by CERT at depth=0: CN=server".to_owned();
    assert!(lines.contains(&told), "{lines:?}");
}

//! What is said where old TLS fails: the reason, and the line that helps.

use super::old::{from, rsa_options, with_ciphers};
use super::old_refusals::{AES128_SHA, RC4_SHA, TRIPLE_DES, answer, hello_of, ssl2_hello_of};
use super::*;
use crate::config::Severity;

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
            "add `sslVersionMin = TLSv1.1` and `ciphers = ALL:RC4-SHA`",
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
            "to serve it, set `ciphers = AES128-SHA` in a service of its own, with a key of its own",
        ),
        (
            hello_of(0x0303, &[0x0004]),
            "to serve it, set `sslVersionMin = TLSv1.1` and `ciphers = ALL:RC4-MD5` in a service of its own",
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
            .contains("alert protocol version"),
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
fn a_server_that_refuses_the_hello_gets_the_advice_for_what_was_offered() {
    let said = |options: TlsOptions| {
        let mut end = End::begin(&load(true, &options, &Resumption::new().unwrap()));
        end.turn();
        end.inbox.extend(b"\x15\x03\x01\x00\x02\x02\x28");
        end.turn();
        end.failure().to_string()
    };
    let modern = said(TlsOptions::default());
    let advice =
        "if it is an old server, set `ciphers = AES128-SHA:AES256-SHA`, or `sslVersionMin = TLSv1`";
    assert!(modern.ends_with(advice), "{modern}");
    let old = said(from(TlsVersion::V1_0, TlsOptions::default()));
    let advice = "perhaps it has RC4 alone: `ciphers = ALL:RC4-SHA`, on a trusted network";
    assert!(
        old.contains(advice) && !old.contains("ECDHE suite"),
        "{old}"
    );
    for list in ["AES128-SHA", "RC4-SHA"] {
        let options = from(TlsVersion::V1_0, TlsOptions::default());
        let listed = said(with_ciphers(list, options));
        assert!(listed.contains("see ciphers, whether"), "{listed}");
        assert!(!listed.contains("RC4 alone"), "{listed}");
    }
}

#[test]
fn an_old_server_that_takes_its_own_version_is_named_whichever_library_asked() {
    let mut message = vec![2, 0, 0, 38, 3, 1];
    message.extend([7; 32]);
    message.extend([0, 0, 0x2f, 0]);
    let server_hello = [&[22, 3, 1, 0, message.len() as u8], &message[..]].concat();
    for low in [TlsVersion::V1_2, TlsVersion::V1_1] {
        let options = from(low, TlsOptions::default());
        let mut end = End::begin(&load(true, &options, &Resumption::new().unwrap()));
        end.turn();
        end.outbox.clear();
        end.inbox.extend_from_slice(&server_hello);
        end.turn();
        let failure = end.failure().to_string();
        assert!(
            failure.contains("(the server chooses TLS 1.0; adit has TLS 1."),
            "{failure}"
        );
        assert!(
            failure.ends_with("to allow it, set `sslVersionMin = TLSv1`"),
            "{failure}"
        );
        let version = if low == TlsVersion::V1_2 { 3 } else { 1 };
        assert_eq!(end.outbox, [21, 3, version, 0, 2, 2, 70], "{low:?}");
    }
}

#[test]
fn a_clients_front_is_told_of_its_own_options() {
    let pki = Pki::new();
    let mut service = service(true, TlsOptions::default());
    service.accept_tls_at_once(rsa_options(&pki));
    let wanted = Wanted::accepted(&service).unwrap();
    let resumption = Resumption::new().unwrap();
    let (context, _) = Context::load(
        wanted,
        None,
        &PassPhrases::none(),
        &resumption,
        &mut SharedLists::default(),
        &LOG,
    )
    .unwrap();
    let (_, failure, _) = answer(&context, &hello_of(0x0301, &[RC4_SHA]));
    assert!(
        failure.contains("add `acceptSSLVersionMin = TLSv1` and `acceptCiphers = ALL:RC4-SHA`"),
        "{failure}"
    );
}

#[test]
fn a_program_that_does_not_take_the_certificate_is_told_apart() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let other = pki.authority("other.pem", &authority("other"));
    let advice = "let it trust the authority (`adit ca show --serve`), and see whether the certificate has the \
                  server name of its settings";
    // By rustls, and by s2n-tls.
    for low in [TlsVersion::V1_2, TlsVersion::V1_0] {
        let mut front = service(true, TlsOptions::default());
        front.accept_tls_at_once(from(low, rsa_options(&pki)));
        let wanted = Wanted::accepted(&front).unwrap();
        let (front, _) = Context::load(
            wanted,
            None,
            &PassPhrases::none(),
            &resumption,
            &mut SharedLists::default(),
            &LOG,
        )
        .unwrap();
        let usual = load(false, &from(low, rsa_options(&pki)), &resumption);
        for version in [low, TlsVersion::V1_3] {
            let program = TlsOptions {
                ca_file: Some(other.clone()),
                verification: verify_chain(),
                ..only(version, TlsOptions::default())
            };
            let program = load(true, &program, &resumption);
            let refused = |server: &Context| shake(&program, server).1.failure().to_string();
            let failure = refused(&front);
            assert!(
                failure.contains(
                    "alert unknown ca: the program does not take our certificate (acceptCert)"
                ),
                "{failure}"
            );
            assert!(failure.ends_with(advice), "{failure}");
            assert!(!refused(&usual).contains(advice));
            // It hangs up; and before the certificate, it is about something else.
            let vanished = |server: &Context, hello: &[u8]| {
                let mut end = End::begin(server);
                end.inbox.extend_from_slice(hello);
                end.turn();
                match &end.state {
                    Some(State::Shaking(handshake)) => handshake.vanished().to_string(),
                    _ => panic!("it goes on"),
                }
            };
            let mut end = End::begin(&program);
            end.turn();
            let failure = vanished(&front, &end.outbox);
            assert!(
                failure.starts_with("SSL_accept: unexpected eof while reading: it closed the"),
                "{failure}"
            );
            assert!(failure.ends_with(advice), "{failure}");
            assert!(!vanished(&usual, &end.outbox).contains(advice));
            assert!(!vanished(&front, &end.outbox[..20]).contains(advice));
        }
    }
}

#[test]
fn what_a_list_names_and_adit_lacks_is_told() {
    let pki = Pki::new();
    let told = |client, list: &str, options: TlsOptions| {
        let options = with_ciphers(list, from(TlsVersion::V1_0, options));
        problems(client, options)
    };
    let server = told(false, "AES128-SHA:NONSENSE", rsa_options(&pki));
    let texts: Vec<_> = server.iter().map(|problem| &problem.text[..]).collect();
    // The second one is about the file's permissions.
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("adit has no suite for NONSENSE of ciphers"),
        "{texts:?}"
    );
    assert_eq!(told(true, "AES128-SHA", TlsOptions::default()), []);
    for (list, said) in [
        ("NONSENSE", "no cipher match"),
        (
            "RC4",
            "no cipher match: \"RC4\" selects no suite that adit has; RC4 is taken by the names of its \
             suites alone: write RC4-SHA or RC4-MD5",
        ),
        ("AES128-SHA:@FOO", "invalid command @FOO"),
        ("ALL:@SECLEVEL=3", "set `securityLevel = 3`"),
    ] {
        let found = told(false, list, TlsOptions::default());
        let errors = found
            .iter()
            .filter(|problem| problem.severity == Severity::Error);
        let texts: Vec<_> = errors
            .map(|problem| (problem.option, &problem.text))
            .collect();
        assert!(
            texts
                .iter()
                .any(|(option, text)| *option == "ciphers" && text.contains(said)),
            "{texts:?}"
        );
        assert!(
            texts.iter().any(|(option, _)| *option == "cert"),
            "every problem in one run"
        );
    }
    // Nothing to say: a level that is not higher.
    let found = told(true, "ALL:!DH:RC4-SHA:@SECLEVEL=0", TlsOptions::default());
    assert_eq!(found, []);
}

#[test]
fn a_server_that_stumbles_over_the_hello_is_told_apart() {
    let resumption = Resumption::new().unwrap();
    let vanished = |options: TlsOptions, said: &[u8]| {
        let mut end = End::begin(&load(true, &options, &resumption));
        end.turn();
        end.inbox.extend_from_slice(said);
        end.turn();
        match &end.state {
            Some(State::Shaking(handshake)) => handshake.vanished().to_string(),
            _ => panic!("it goes on"),
        }
    };
    let old = from(TlsVersion::V1_0, TlsOptions::default());
    let advice = "try `sslVersionMax = TLSv1.2`, or TLSv1";
    let failure = vanished(old, &[22, 3, 1]);
    assert!(
        failure.starts_with("SSL_connect: unexpected eof while reading"),
        "{failure}"
    );
    assert!(failure.ends_with(advice), "{failure}");
    for options in [
        TlsOptions::default(),
        only(TlsVersion::V1_0, TlsOptions::default()),
    ] {
        let failure = vanished(options, &[]);
        assert!(
            failure.ends_with("it closed the connection during the handshake"),
            "{failure}"
        );
    }
}

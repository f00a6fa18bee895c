//! What a service of old TLS refuses, what it chooses, and what is said about it.

use super::old::{from, old_server, rsa_options, with_ciphers};
use super::*;
use crate::config::Severity;
use crate::tls::hello;

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

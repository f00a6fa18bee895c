//! s2n-tls behind the same face: what is carried, in old versions and by old suites, and how it ends.

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

pub(super) fn exchange(client: &mut End, server: &mut End, length: usize, piece: usize) {
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
pub(super) fn old_server(pki: &Pki) -> Context {
    let options = from(TlsVersion::V1_0, rsa_options(pki));
    load(false, &options, &Resumption::new().unwrap())
}

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

#[test]
fn a_half_closed_connection_carries_the_other_way_with_every_suite() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let (one, two, three) = (TlsVersion::V1_0, TlsVersion::V1_1, TlsVersion::V1_2);
    for (version, list) in [
        (one, "AES128-SHA"),
        (one, "AES256-SHA"),
        (one, "DHE-RSA-AES128-SHA"),
        (two, "AES128-SHA"),
        (two, "AES256-SHA"),
        (three, "AES128-SHA256"),
        (three, "DHE-RSA-AES128-SHA256"),
        (three, "AES128-GCM-SHA256"),
        (three, "DHE-RSA-AES128-GCM-SHA256"),
        (three, "AES256-SHA256"),
        (three, "DHE-RSA-AES256-SHA256"),
        (one, "RC4-SHA"),
        (one, "RC4-MD5"),
        (two, "RC4-MD5"),
        (three, "RC4-SHA"),
        (three, "ECDHE-RSA-CHACHA20-POLY1305"),
    ] {
        // rustls would serve the last one, if it were not for TLS 1.0.
        let restricted = |options| TlsOptions {
            version_max: Some(version),
            ..with_ciphers(list, from(TlsVersion::V1_0, options))
        };
        let client = load(true, &restricted(TlsOptions::default()), &resumption);
        let server = load(false, &restricted(rsa_options(&pki)), &resumption);
        // A full handshake, and a resumed one.
        for resumed in [false, true] {
            for client_closes in [true, false] {
                for early in [0, 3000, 60_000] {
                    let (mut client, mut server) = shake(&client, &server);
                    assert_eq!(client.negotiated().suite, list);
                    assert_eq!(
                        client.negotiated().resumed,
                        resumed || !client_closes || early > 0
                    );
                    if early > 0 {
                        exchange(&mut client, &mut server, early, usize::MAX);
                    }
                    (client.plain, server.plain) = (Vec::new(), Vec::new());
                    let (closes, goes_on) = match client_closes {
                        true => (&mut client, &mut server),
                        false => (&mut server, &mut client),
                    };
                    let mut alert = Vec::new();
                    closes.stream().close_notify(&mut alert);
                    closes.outbox.extend(alert);
                    settle(closes, goes_on, usize::MAX);
                    assert!(goes_on.closed && !closes.closed, "{list}");
                    let data: Vec<u8> = (0..40_000u32).map(|number| (number % 253) as u8).collect();
                    for part in [&data[..1], &data[1..17], &data[17..20_000], &data[20_000..]] {
                        goes_on.send(part);
                        settle(goes_on, closes, 777);
                    }
                    assert!(closes.plain == data, "{list}");
                    let mut alert = Vec::new();
                    goes_on.stream().close_notify(&mut alert);
                    goes_on.outbox.extend(alert);
                    settle(goes_on, closes, usize::MAX);
                    assert!(closes.closed, "{list}");
                }
            }
        }
    }
}

pub(super) fn exchange_more(client: &mut End, server: &mut End) {
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

#[test]
fn what_was_changed_on_its_way_to_a_half_closed_connection_ends_it_in_silence_too() {
    let pki = Pki::new();
    let mut seen = Vec::new();
    for high in [TlsVersion::V1_0, TlsVersion::V1_1, TlsVersion::V1_2] {
        let (mut client, mut server) = by_s2n_until(high, &pki);
        let mut alert = Vec::new();
        client.stream().close_notify(&mut alert);
        client.outbox.extend(alert);
        settle(&mut client, &mut server, usize::MAX);
        server.send(b"an answer that is changed on its way");
        let last = server.outbox.len() - 1;
        server.outbox[last] ^= 1;
        settle(&mut client, &mut server, usize::MAX);
        let failure = client.failure();
        assert!(failure.to_string().contains("bad record mac"), "{failure}");
        let silence = failure.blinding().unwrap();
        assert!((10..=30).contains(&silence.as_secs()), "{silence:?}");
        seen.push(silence);
    }
    seen.dedup();
    assert!(seen.len() > 1, "it is random: {seen:?}");
}

const SAID: &str = "too much data for one key of 3DES";

#[test]
fn one_key_of_3des_encrypts_so_much_and_no_more() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    for list in [
        "DES-CBC3-SHA",
        "ECDHE-RSA-DES-CBC3-SHA",
        "DHE-RSA-DES-CBC3-SHA",
    ] {
        let restricted = |options| with_ciphers(list, only(TlsVersion::V1_0, options));
        let client = load(true, &restricted(TlsOptions::default()), &resumption);
        let server = load(false, &restricted(rsa_options(&pki)), &resumption);
        let (mut client_end, mut server_end) = shake(&client, &server);
        assert_eq!(server_end.negotiated().suite, list);
        server_end.stream().by_s2n().wear(10_000);
        server_end.send(&[0; 10_000]);
        let refused = server_end.stream().encrypt(&[0], &mut [0; 1000]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(SAID), "{refused}");
        let again = server_end.stream().encrypt(&[0], &mut [0; 1000]);
        assert_eq!(again.unwrap(), (0, 0));
        // What went before arrives, and the other side's count is its own.
        settle(&mut client_end, &mut server_end, usize::MAX);
        assert_eq!(client_end.plain.len(), 10_000);
        let (mut client_end, mut server_end) = shake(&client, &server);
        server_end.stream().by_s2n().wear(10_000);
        client_end.send(&[0; 11_000]);
        settle(&mut client_end, &mut server_end, usize::MAX);
        let failure = server_end.failure().to_string();
        assert!(failure.contains(SAID), "{failure}");
    }
    // Another cipher has no such limit.
    let client = load(
        true,
        &only(TlsVersion::V1_0, TlsOptions::default()),
        &resumption,
    );
    let (mut client, mut server) = shake(&client, &old_server(&pki));
    server.stream().by_s2n().wear(10_000);
    exchange(&mut client, &mut server, 100_000, usize::MAX);
}

#[test]
fn gnutls_with_3des_gets_so_much_and_no_more() {
    let pki = Pki::new();
    let server = old_server(&pki);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let priority = "NONE:+VERS-TLS1.0:+RSA:+3DES-CBC:+SHA1:+COMP-NULL:+SIGN-ALL:%NO_EXTENSIONS";
    let client = std::process::Command::new("gnutls-cli")
        .args([
            "--insecure",
            "--priority",
            priority,
            "-p",
            &port,
            "127.0.0.1",
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut client = openssl::Openssl(client);
    let (mut socket, _) = listener.accept().unwrap();
    let mut end = End::begin(&server);
    openssl::carry(&mut socket, &mut end, openssl::OPEN);
    assert_eq!(end.negotiated().suite, "DES-CBC3-SHA");
    end.stream().by_s2n().wear(10_000);
    end.send(&[b'x'; 10_000]);
    openssl::carry(&mut socket, &mut end, |_| true);
    let refused = end.stream().encrypt(b"x", &mut [0; 1000]).unwrap_err();
    assert!(refused.to_string().contains(SAID), "{refused}");
    drop(socket);
    let mut said = String::new();
    let stdout = client.0.stdout.as_mut().unwrap();
    std::io::Read::read_to_string(stdout, &mut said).unwrap();
    assert!(said.contains(&"x".repeat(10_000)), "{said}");
    assert!(!said.contains(&"x".repeat(10_001)));
}

#[test]
fn a_wish_for_another_handshake_is_refused_and_the_session_goes_on() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let (one, two, three) = (TlsVersion::V1_0, TlsVersion::V1_1, TlsVersion::V1_2);
    for (version, list) in [
        (one, "AES128-SHA"),
        (one, "DES-CBC3-SHA"),
        (one, "RC4-SHA"),
        (two, "AES256-SHA"),
        (two, "RC4-MD5"),
        (three, "AES128-SHA256"),
        (three, "AES128-GCM-SHA256"),
    ] {
        let restricted = |options| with_ciphers(list, only(version, options));
        let client = load(true, &restricted(TlsOptions::default()), &resumption);
        let server = load(false, &restricted(rsa_options(&pki)), &resumption);
        for client_asks in [true, false] {
            let (mut client, mut server) = shake(&client, &server);
            exchange(&mut client, &mut server, 60_000, 777);
            for round in 0..3 {
                let (asks, refuses) = match client_asks {
                    true => (&mut client, &mut server),
                    false => (&mut server, &mut client),
                };
                // A ClientHello, or a HelloRequest; what is in it is never read.
                let message = [u8::from(client_asks), 0, 0, 0];
                let mut record = [0; 200];
                let filled = asks.stream().by_s2n().seal_handshake(&message, &mut record);
                asks.outbox.extend_from_slice(&record[..filled]);
                refuses.inbox.append(&mut asks.outbox);
                refuses.turn();
                // One record with an alert; what asked has gone on by itself, and reads it.
                assert_eq!(refuses.outbox[0], 21, "{list} {round}");
                settle(&mut client, &mut server, 777);
                (client.plain, server.plain) = (Vec::new(), Vec::new());
                exchange(&mut client, &mut server, 60_000, 777);
                (client.plain, server.plain) = (Vec::new(), Vec::new());
            }
            let mut alert = Vec::new();
            server.stream().close_notify(&mut alert);
            server.outbox.extend(alert);
            settle(&mut client, &mut server, usize::MAX);
            assert!(client.closed && !server.closed, "{list}");
        }
    }
}

#[test]
fn what_is_no_wish_for_another_handshake_ends_the_session() {
    let pki = Pki::new();
    for (message, client_says) in [([0, 0, 0, 0], true), ([1, 0, 0, 0], false), ([20; 4], true)] {
        let (mut client, mut server) = by_s2n_until(TlsVersion::V1_0, &pki);
        let (says, hears) = match client_says {
            true => (&mut client, &mut server),
            false => (&mut server, &mut client),
        };
        let mut record = [0; 200];
        let filled = says.stream().by_s2n().seal_handshake(&message, &mut record);
        hears.inbox.extend_from_slice(&record[..filled]);
        hears.turn();
        let failure = hears.failure().to_string();
        assert!(failure.contains("unexpected message"), "{failure}");
    }
}

/// What s2n-tls calls versions, and the highest that both ends speak.
const EVERY_VERSION: [(TlsVersion, &str); 4] = [
    (TlsVersion::V1_0, "TLSv1"),
    (TlsVersion::V1_1, "TLSv1.1"),
    (TlsVersion::V1_2, "TLSv1.2"),
    (TlsVersion::V1_3, "TLSv1.3"),
];

/// Both ends by s2n-tls.
pub(super) fn by_s2n_until(high: TlsVersion, pki: &Pki) -> (End, End) {
    let until = |options| TlsOptions {
        version_max: Some(high),
        ..from(TlsVersion::V1_0, options)
    };
    let resumption = Resumption::new().unwrap();
    let (mut client, mut server) = shake(
        &load(true, &until(aes_first()), &resumption),
        &load(false, &until(rsa_options(pki)), &resumption),
    );
    // It panics elsewhere.
    client.stream().by_s2n();
    server.stream().by_s2n();
    (client, server)
}

#[test]
fn a_record_of_length_0_is_no_close_notify() {
    let pki = Pki::new();
    for (high, version) in EVERY_VERSION {
        for hears_client in [true, false] {
            for kind in 20..=23 {
                let (mut client, mut server) = by_s2n_until(high, &pki);
                exchange(&mut client, &mut server, 100, usize::MAX);
                let (hears, says) = match hears_client {
                    true => (&mut client, &mut server),
                    false => (&mut server, &mut client),
                };
                assert_eq!(hears.negotiated().version, version);
                hears.plain.clear();
                says.send(b"the beginning");
                hears.inbox.append(&mut says.outbox);
                hears.inbox.extend([kind, 3, high_minor(high), 0, 0]);
                hears.turn();
                let failure = hears.failure().to_string();
                assert!(failure.contains("bad record mac"), "{version}: {failure}");
                assert!(!hears.closed, "{version}");
                assert_eq!(hears.plain, b"the beginning");
            }
        }
    }
}

/// The second byte of a record's version.
fn high_minor(high: TlsVersion) -> u8 {
    match high {
        TlsVersion::V1_0 => 1,
        TlsVersion::V1_1 => 2,
        _ => 3,
    }
}

#[test]
fn a_half_closed_connection_takes_no_record_of_length_0_for_the_end() {
    let pki = Pki::new();
    for (high, version) in EVERY_VERSION {
        let (mut client, mut server) = by_s2n_until(high, &pki);
        let mut alert = Vec::new();
        client.stream().close_notify(&mut alert);
        client.outbox.extend(alert);
        settle(&mut client, &mut server, usize::MAX);
        assert!(server.closed && !client.closed, "{version}");
        client.inbox.extend([23, 3, high_minor(high), 0, 0]);
        client.turn();
        let failure = client.failure().to_string();
        assert!(failure.contains("bad record mac"), "{version}: {failure}");
        assert!(!client.closed, "{version}");
    }
}

#[test]
fn a_record_whose_plaintext_is_empty_passes() {
    let pki = Pki::new();
    for (high, version) in &EVERY_VERSION[..3] {
        for client_says in [true, false] {
            let (mut client, mut server) = by_s2n_until(*high, &pki);
            exchange(&mut client, &mut server, 100, usize::MAX);
            let (says, hears) = match client_says {
                true => (&mut client, &mut server),
                false => (&mut server, &mut client),
            };
            hears.plain.clear();
            for _ in 0..3 {
                let mut record = [0; 200];
                let filled = says.stream().by_s2n().seal_empty(&mut record);
                says.outbox.extend_from_slice(&record[..filled]);
                says.send(b"data");
            }
            settle(says, hears, usize::MAX);
            assert!(!hears.closed, "{version}");
            assert_eq!(hears.plain, b"datadatadata", "{version}");
        }
    }
}

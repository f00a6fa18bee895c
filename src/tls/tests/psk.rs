//! Pre-shared keys, in memory.

use nix::time::{ClockId, clock_gettime};

use super::*;

/// Options with a file of this text.
fn with_keys(pki: &Pki, text: &str) -> TlsOptions {
    TlsOptions {
        psk_secrets: Some(pki.write("psk.txt", text)),
        ..only(TlsVersion::V1_3, TlsOptions::default())
    }
}

fn both(client: &TlsOptions, server: &TlsOptions) -> (Context, Context) {
    let resumption = Resumption::new().unwrap();
    let client = load(true, client, &resumption);
    (client, load(false, server, &resumption))
}

fn keys(count: usize) -> String {
    let line = |nth: usize| format!("client-{nth}:{nth:064x}\n");
    (1..=count).map(line).collect()
}

#[test]
fn a_handshake_and_its_data_may_come_in_any_pieces() {
    let pki = Pki::new();
    let options = with_keys(&pki, &keys(3));
    let (client, server) = both(&options, &options);
    for piece in [1, 7, 100, usize::MAX] {
        let (mut client, mut server) = (End::begin(&client), End::begin(&server));
        settle(&mut client, &mut server, piece);
        let negotiated = server.negotiated();
        assert_eq!(
            (negotiated.version, negotiated.suite, negotiated.resumed),
            ("TLSv1.3", "TLS_AES_128_GCM_SHA256", false)
        );
        client.send(&[7; 40_000]);
        server.send(b"an answer");
        settle(&mut client, &mut server, piece);
        assert!(server.plain == [7; 40_000] && client.plain == b"an answer");
        // One half may close before the other.
        let mut last = Vec::new();
        client.stream().close_notify(&mut last);
        client.outbox.append(&mut last);
        settle(&mut client, &mut server, piece);
        assert!(server.closed);
        server.send(b" and its rest");
        settle(&mut client, &mut server, piece);
        assert!(client.plain == b"an answer and its rest");
    }
}

#[test]
fn a_client_that_does_not_know_the_key_gets_nothing_but_an_alert() {
    let pki = Pki::new();
    let server = with_keys(&pki, &keys(1));
    let (_, server) = both(&server, &server);
    let wrong = keys(1).replace("01\n", "02\n");
    let client = with_keys(&pki, &wrong);
    let (client, _) = both(&client, &client);
    let (client, server) = shake(&client, &server);
    assert!(
        server
            .failure()
            .to_string()
            .contains("binder does not verify (identity \"client-1\")")
    );
    assert_eq!(server.failure().blinding(), None);
    assert!(client.failure().to_string().contains("alert decrypt error"));
}

/// The server's CPU for a handshake, the least of several.
fn cost(client: &Context, server_context: &Context) -> Duration {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let one = || {
        let (mut client, mut server) = (End::begin(client), None);
        let mut cost = Duration::ZERO;
        client.turn();
        while !client.outbox.is_empty() {
            let before = now();
            let server = server.get_or_insert_with(|| End::begin(server_context));
            server.inbox.append(&mut client.outbox);
            server.turn();
            cost += now() - before;
            client.inbox.append(&mut server.outbox);
            client.turn();
        }
        server.unwrap().negotiated();
        cost
    };
    (0..30).map(|_| one()).min().unwrap()
}

/// 129 us where it was measured, both of them, in a debug build; 150 are allowed.
#[test]
fn a_handshake_costs_the_same_with_one_identity_and_with_a_thousand() {
    let pki = Pki::new();
    let options = with_keys(&pki, &keys(1));
    let (client, one) = both(&options, &options);
    let (_, thousand) = both(&options, &with_keys(&pki, &keys(1000)));
    let (few, many) = (cost(&client, &one), cost(&client, &thousand));
    assert!(many < few * 2, "{few:?} with one, {many:?} with a thousand");
}

#[test]
fn only_what_exchanges_keys_by_rsa_needs_a_key_of_its_own() {
    let pki = Pki::new();
    let rsa = || old::rsa_options(&pki);
    let file = pki.write("psk.txt", &keys(1));
    let with_keys = TlsOptions {
        psk_secrets: Some(file),
        ..rsa()
    };
    let old = |options| old::from(TlsVersion::V1_0, options);
    for (options, expected) in [
        (rsa(), false),
        (with_keys.clone(), false),
        (old(with_keys), true),
        (old(rsa()), true),
        (old(old::with_ciphers("ECDHE:DHE", rsa())), false),
        (old(server_options(&pki)), false),
        (old::with_ciphers("AES128-GCM-SHA256", rsa()), true),
    ] {
        let server = load(false, &options, &Resumption::new().unwrap());
        assert_eq!(server.exchanges_by_rsa(), expected, "{options:?}");
    }
}

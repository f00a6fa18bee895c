use super::old::by_s2n_until;
use super::*;

/// Versions whose suite is AES in CBC with SHA-1.
const VERSIONS: [TlsVersion; 2] = [TlsVersion::V1_0, TlsVersion::V1_1];

fn say(says: &mut End, hears: &mut End, length: usize) {
    let data: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
    hears.plain.clear();
    says.send(&data);
    settle(says, hears, usize::MAX);
    assert!(hears.plain == data);
}

fn close(says: &mut End, hears: &mut End) {
    let mut alert = Vec::new();
    says.stream().close_notify(&mut alert);
    says.outbox.extend(alert);
    settle(says, hears, usize::MAX);
    assert!(hears.closed);
}

/// Whether AWS-LC has a faster way than s2n here.
fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[test]
fn bulk_that_comes_in_leaves_s2n_and_each_half_closes_by_itself() {
    let pki = Pki::new();
    for (high, client_says) in VERSIONS.into_iter().flat_map(|v| [(v, true), (v, false)]) {
        let (mut client, mut server) = by_s2n_until(high, &pki);
        let (says, hears) = match client_says {
            true => (&mut client, &mut server),
            false => (&mut server, &mut client),
        };
        say(says, hears, 1000);
        say(hears, says, 1000);
        assert!(!hears.stream().by_s2n().has_left_s2n());
        say(says, hears, 100_000);
        assert_eq!(hears.stream().by_s2n().has_left_s2n(), is_fast());
        say(hears, says, 100);
        say(says, hears, 100_000);
        close(hears, says);
        say(says, hears, 50_000);
        close(says, hears);
    }
}

#[test]
fn what_was_changed_in_bulk_ends_the_stream_in_silence() {
    let pki = Pki::new();
    for high in VERSIONS {
        let (mut client, mut server) = by_s2n_until(high, &pki);
        say(&mut client, &mut server, 100_000);
        client.send(b"changed");
        let last = client.outbox.len() - 1;
        client.outbox[last] ^= 1;
        server.inbox.append(&mut client.outbox);
        server.turn();
        let failure = server.failure();
        assert!(failure.to_string().contains("bad record mac"), "{failure}");
        assert!(failure.blinding().is_some());
    }
}

#[test]
fn a_peer_that_closes_is_answered_by_s2n() {
    let pki = Pki::new();
    for high in VERSIONS {
        let (mut client, mut server) = by_s2n_until(high, &pki);
        say(&mut client, &mut server, 10);
        close(&mut client, &mut server);
        close(&mut server, &mut client);
        assert!(!server.stream().by_s2n().has_left_s2n());
    }
}

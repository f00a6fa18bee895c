//! Established connections: closing, key updates, broken and hostile records, limits.

use super::*;
use crate::tls::record::{MAX_RECORD, MAX_RECORD_OVERHEAD};

fn pair(version: TlsVersion) -> (End, End) {
    let pki = Pki::new();
    connect(&only(version, TlsOptions::default()), &server_options(&pki))
}

const BOTH: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

#[test]
fn a_close_notify_ends_one_direction_and_leaves_the_other() {
    for version in BOTH {
        let (mut client, mut server) = pair(version);
        client.send(b"last words");
        let mut alert = Vec::new();
        client.stream().close_notify(&mut alert);
        client.outbox.extend(alert);
        let mut again = Vec::new();
        client.stream().close_notify(&mut again);
        assert!(again.is_empty(), "only one is sent");
        assert_eq!(
            client.stream().encrypt(b"more", &mut [0; 100]).unwrap(),
            (0, 0)
        );
        settle(&mut client, &mut server, usize::MAX);
        assert_eq!(server.plain, b"last words");
        assert!(server.closed);
        server.send(b"an answer");
        settle(&mut client, &mut server, usize::MAX);
        assert_eq!(client.plain, b"an answer");
        assert!(!client.closed);
    }
}

#[test]
fn nothing_behind_a_close_notify_is_read() {
    let (mut client, mut server) = pair(TlsVersion::V1_3);
    let mut record = vec![0; 100];
    let mut alert = Vec::new();
    server.stream().close_notify(&mut alert);
    let (_, filled) = client.stream().encrypt(b"x", &mut record).unwrap();
    alert.extend_from_slice(&record[..filled]);
    client.inbox = alert.clone();
    client.turn();
    assert_eq!(client.inbox.len(), filled, "the rest stays");
}

#[test]
fn keys_are_renewed_in_time_and_both_ends_go_on() {
    let (mut client, mut server) = pair(TlsVersion::V1_3);
    for round in 0..3 {
        client.stream().by_rustls().wear(1);
        client.send(&[round; 40_000]);
        client.send(b"more");
        server.send(b"back");
        settle(&mut client, &mut server, 999);
    }
    assert_eq!(server.plain.len(), 3 * 40_004);
    assert_eq!(client.plain.len(), 3 * 4);
}

#[test]
fn tls12_ends_before_its_sequence_numbers_do() {
    let (mut client, _) = pair(TlsVersion::V1_2);
    client.stream().by_rustls().wear(1);
    client.send(b"the last record");
    let failure = client.stream().encrypt(b"x", &mut [0; 100]).unwrap_err();
    assert!(
        failure
            .to_string()
            .starts_with("SSL_write: sequence numbers")
    );
    let mut alert = Vec::new();
    client.stream().close_notify(&mut alert);
    assert!(!alert.is_empty(), "it can still say goodbye");
}

#[test]
fn a_changed_bit_anywhere_is_found_and_answered_with_an_alert() {
    for version in BOTH {
        let (mut client, _) = pair(version);
        client.send(b"hello");
        let length = client.outbox.len();
        for place in [5, length / 2, length - 1] {
            let (mut client, mut server) = pair(version);
            client.send(b"hello");
            client.outbox[place] ^= 0x40;
            settle(&mut client, &mut server, usize::MAX);
            let found = server.failure().to_string();
            assert!(
                found.starts_with("SSL_read: decryption failed or bad record mac"),
                "{found}"
            );
            assert!(server.plain.is_empty());
            let told = client.failure().to_string();
            assert!(
                told.starts_with("SSL_read: ssl/tls alert bad record mac"),
                "{told}"
            );
        }
    }
}

#[test]
fn records_out_of_order_or_twice_are_refused() {
    for version in BOTH {
        let (mut client, mut server) = pair(version);
        client.send(b"one");
        let one = client.outbox.clone();
        server.inbox = [one.clone(), one].concat();
        server.turn();
        assert!(server.failure().to_string().contains("bad record mac"));
        assert_eq!(server.plain, b"one", "the first was good");
    }
}

#[test]
fn headers_that_no_record_has_are_refused() {
    for version in BOTH {
        for (bytes, phrase) in [
            (&b"\x17\x03\x03\xff\xff"[..], "data length too long"),
            (b"HELO x\r\n", "wrong version number"),
            (b"\x17\x09\x03\x00\x01x", "wrong version number"),
        ] {
            let (_, mut server) = pair(version);
            server.outbox.clear();
            server.inbox = bytes.to_vec();
            server.turn();
            let found = server.failure().to_string();
            assert!(found.contains(phrase), "{found}");
            assert!(!server.outbox.is_empty(), "an alert goes out");
        }
    }
    // TLS 1.3 has no plaintext alert after the handshake.
    let (_, mut server) = pair(TlsVersion::V1_3);
    server.inbox = b"\x15\x03\x03\x00\x02\x02\x00".to_vec();
    server.turn();
    assert!(server.failure().to_string().contains("unexpected message"));
}

#[test]
fn empty_records_without_end_are_refused() {
    for version in BOTH {
        let (mut client, mut server) = pair(version);
        for _ in 0..33 {
            let mut record = [0; 100];
            let filled = client.stream().by_rustls().seal_empty(&mut record);
            server.inbox.extend_from_slice(&record[..filled]);
        }
        server.turn();
        let found = server.failure().to_string();
        assert!(found.contains("too many records without data"), "{found}");
    }
}

/// The plaintext lengths of the records that adit wrote.
fn plain_lengths(mut records: &[u8], overhead: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(5 + length - overhead);
        records = &rest[length..];
    }
    lengths
}

#[test]
fn records_are_small_at_first_then_full_and_fit_the_room_that_is_said_to_be_enough() {
    for version in BOTH {
        let (mut client, _) = pair(version);
        let plain = vec![1; 50_000];
        let mut output = vec![0; plain.len() + (4 + 10) * MAX_RECORD_OVERHEAD];
        let (taken, filled) = client.stream().encrypt(&plain, &mut output).unwrap();
        assert_eq!(taken, plain.len());
        let overhead = (filled - taken) / 13;
        let lengths = plain_lengths(&output[..filled], overhead);
        let rest = 50_000 - 10 * 1350 - 2 * 16_384;
        assert_eq!(lengths[..10], [1350; 10]);
        assert_eq!(lengths[10..], [16_384, 16_384, rest]);
        let first = usize::from(output[3]) << 8 | usize::from(output[4]);
        assert!(
            first + 5 <= 1500 - 40 - 20 - 12 - 8,
            "a packet of PPPoE, IPv6 and TCP with time stamps"
        );
        assert_eq!(
            client.stream().encrypt(&plain, &mut [0; 20]).unwrap(),
            (0, 0)
        );
        let (taken, _) = client.stream().encrypt(&plain, &mut [0; 1000]).unwrap();
        assert!(taken > 900, "a small room is used");
        let (taken, _) = client.stream().encrypt(&plain, &mut [0; 20_000]).unwrap();
        assert_eq!(taken, 16_384, "but no crumb is put behind a full record");
    }
}

#[test]
fn messages_that_are_small_anyway_use_the_small_records_up() {
    let (mut client, _) = pair(BOTH[0]);
    let mut output = vec![0; 40_000];
    for _ in 0..14 {
        client.stream().encrypt(&[1; 1024], &mut output).unwrap();
    }
    let (taken, _) = client.stream().encrypt(&[1; 20_000], &mut output).unwrap();
    let first = usize::from(output[3]) << 8 | usize::from(output[4]);
    assert!(taken >= 16_384 && (16_384..=MAX_RECORD).contains(&first));
}

#[test]
fn no_record_makes_a_stream_panic() {
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    for round in 0..200 {
        let (mut client, mut server) = pair(BOTH[round % 2]);
        client.send(&vec![1; random() % 100]);
        client.outbox.push(0);
        let place = random() % client.outbox.len();
        client.outbox[place] = random() as u8;
        server.inbox.append(&mut client.outbox);
        server.turn();
    }
}

#[test]
fn a_stream_is_small_and_moves_between_threads() {
    // An idle connection holds this, its two keys and, for TLS 1.3, rustls' key schedule; rustls' whole
    // connection takes 1 KiB by itself.
    assert!(size_of::<Stream>() <= 256, "{}", size_of::<Stream>());
    assert!(size_of::<Handshake>() <= 64, "{}", size_of::<Handshake>());
    fn send<T: Send>() {}
    fn sync<T: Send + Sync>() {}
    send::<Stream>();
    send::<Handshake>();
    sync::<Context>();
}

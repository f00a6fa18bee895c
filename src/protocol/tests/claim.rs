//! The PROXY header of a balancer, whole, byte by byte, and with what follows it.

use std::net::SocketAddr;

use crate::protocol::{Claim, NoHeader, Who, read_claim};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn of(from: &str, to: &str) -> Who {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Who::Client(address(from), address(to))
}

/// Read whole, in pieces, and with something behind it.
fn claimed(words: &[u8]) -> Result<Claim, NoHeader> {
    let whole = read_claim(words);
    for end in 0..words.len() {
        let part = read_claim(&words[..end]);
        match part {
            Ok(None) => {}
            Err(_) => assert!(whole.is_err(), "{words:?} {end}: {part:?}"),
            Ok(Some(_)) => panic!("{words:?} is whole after {end} bytes"),
        }
    }
    let (claim, length) = whole?.expect("a whole header");
    assert_eq!(length, words.len());
    let more = [words, b"\x16\x03\x01PROXY "].concat();
    assert_eq!(read_claim(&more), Ok(Some((claim.clone(), length))));
    Ok(claim)
}

#[test]
fn version_1_is_read_as_it_is_written() {
    for (line, who) in [
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
            of("192.0.2.7:56324", "198.51.100.1:443"),
        ),
        (
            "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
            of("[2001:db8::7]:1", "[2001:db8::1]:65535"),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 0 443\r\n",
            of("[::ffff:192.0.2.7]:0", "[::ffff:198.51.100.1]:443"),
        ),
        ("PROXY UNKNOWN\r\n", Who::Unknown),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Who::Unknown,
        ),
    ] {
        assert_eq!(claimed(line.as_bytes()).unwrap().who, who, "{line}");
    }
}

#[test]
fn what_is_no_header_of_version_1_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    for (line, said) in [
        ("\x16\x03\x01", "TLS begins without one"),
        ("GET / HTTP/1.0\r\n", "something else came"),
        ("PROXX", "something else came"),
        ("PROXY\r\n", "something else came"),
        ("PROXY \r\n", "neither TCP4 nor TCP6"),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            "neither TCP4 nor TCP6",
        ),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
            "neither TCP4 nor TCP6",
        ),
        (
            "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
            "neither TCP4 nor TCP6",
        ),
        (
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "neither TCP4 nor TCP6",
        ),
        ("PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", "an address"),
        ("PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", "an address"),
        ("PROXY TCP4 192.0.2.007 198.51.100.1 1 2\r\n", "an address"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", "a port"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n", "a port"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n", "a port"),
        ("PROXY TCP4 0.0.0.0 198.51.100.1 1 2\r\n", "no client has"),
        ("PROXY TCP4 224.0.0.1 198.51.100.1 1 2\r\n", "no client has"),
        ("PROXY TCP6 ::ffff:0.0.0.0 ::1 1 2\r\n", "no client has"),
        (&long, "longer than 107"),
    ] {
        let why = claimed(line.as_bytes()).expect_err(line);
        assert!(why.to_string().contains(said), "{line:?}: {why}");
    }
}

/// A header of version 2 with this command, this family, and what stands behind.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

const FOUR: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];

#[test]
fn version_2_is_read_with_its_values() {
    let six = [
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ];
    let six = [six.concat(), vec![0, 1, 0, 2]].concat();
    let four = of("192.0.2.7:56324", "198.51.100.1:443");
    for (header, who) in [
        (binary(0x21, 0x11, FOUR), four),
        (
            binary(0x21, 0x21, &six),
            of("[2001:db8::7]:1", "[2001:db8::1]:2"),
        ),
        (binary(0x20, 0x00, b""), Who::Itself),
        // What stands in one is passed over, even what makes no sense.
        (binary(0x20, 0x99, b"\x20\xff"), Who::Itself),
        (binary(0x21, 0x00, b""), Who::Unknown),
        (binary(0x21, 0x12, FOUR), Who::Unknown),
        (binary(0x21, 0x31, &[0; 216]), Who::Unknown),
    ] {
        assert_eq!(claimed(&header).unwrap().who, who, "{header:?}");
    }
    // HAProxy 2.6: send-proxy-v2-ssl-cn, proxy-v2-options authority,unique-id,crc32c; and its own values.
    let mut values = b"\x02\0\x09localhost\x05\0\x02id\x04\0\x01x\xe0\0\0\x01\0\x02h2".to_vec();
    values.extend(b"\x20\0\x26\x05\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x04anna\x23\0\x0dTLS_AES_128_X");
    let claim = claimed(&binary(0x21, 0x11, &[FOUR, &values].concat())).unwrap();
    assert_eq!(claim.who, four);
    assert_eq!(claim.authority.as_deref(), Some("localhost"));
    assert_eq!(claim.unique_id.as_deref(), Some(&b"id"[..]));
    assert_eq!(claim.alpn.as_deref(), Some(&b"h2"[..]));
    let secured = claim.secured().expect("TLS");
    assert_eq!(secured.version, "TLSv1.3");
    assert_eq!(secured.cipher, "TLS_AES_128_X");
    assert!(secured.resumed);
    let shown = secured.certificate.expect("a certificate");
    assert!(shown.verified && shown.name == Some("anna"));
    // No suite has such a name, and it would leave no room for what is sent on.
    let long = [
        &[0x20, 0, 208, 1, 0, 0, 0, 0, 0x23, 0, 200][..],
        &[b'x'; 200],
    ]
    .concat();
    let claim = claimed(&binary(0x21, 0x11, &[FOUR, &long].concat())).unwrap();
    assert_eq!(claim.secured().expect("TLS").cipher, "");
    // Without TLS, and without a certificate.
    for (client, tls, certificate) in [(0, false, false), (1, true, false), (7, true, true)] {
        let ssl = [&[0x20, 0, 5, client, 0, 0, 0, 1][..], b""].concat();
        let claim = claimed(&binary(0x21, 0x11, &[FOUR, &ssl].concat())).unwrap();
        assert_eq!(claim.tls.is_some(), tls);
        let shown = claim.secured().and_then(|secured| secured.certificate);
        assert_eq!(
            shown.map(|shown| shown.verified),
            certificate.then_some(false)
        );
    }
}

#[test]
fn what_is_no_header_of_version_2_is_refused() {
    let with = |values: &[u8]| binary(0x21, 0x11, &[FOUR, values].concat());
    for (header, said) in [
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), "something else came"),
        (binary(0x11, 0x11, FOUR), "version"),
        (binary(0x22, 0x11, FOUR), "command"),
        (binary(0x21, 0x41, FOUR), "family"),
        (binary(0x21, 0x11, &FOUR[..11]), "middle of its addresses"),
        (binary(0x21, 0x21, FOUR), "middle of its addresses"),
        (binary(0x21, 0x31, FOUR), "middle of its addresses"),
        (with(b"\x04\0"), "middle of a value"),
        (with(b"\x04\0\x02x"), "middle of a value"),
        (with(b"\x20\0\x04\x01\0\0\0"), "cut short"),
        (with(b"\x20\0\x06\x01\0\0\0\0\x21"), "middle of a value"),
        (with(&[&[5, 0, 129][..], &[b'x'; 129]].concat()), "128"),
        (with(b"\x03\0\x03abc"), "four bytes"),
        (with(b"\x03\0\x04abcd"), "checksum is wrong"),
        (with(b"\x03\0\x04abcd\x03\0\x04abcd"), "two checksums"),
        (binary(0x21, 0x11, &[0; 12]), "no client has"),
    ] {
        let why = claimed(&header).expect_err("a fault");
        assert!(why.to_string().contains(said), "{header:?}: {why}");
    }
    // Told before it has come.
    let long = binary(0x21, 0x11, &[0; 16 * 1024]);
    assert_eq!(read_claim(&long[..16]), Err(NoHeader::TooLong));
}

#[test]
fn the_checksum_is_the_one_of_rfc_4960() {
    // By haproxy 2.6.12, `send-proxy-v2 proxy-v2-options crc32c`.
    let header = b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x13\x7f\0\0\x01\x7f\0\0\x01\xd2\x12\xc3c\x03\0\x04\xee\xe0\x03#".to_vec();
    assert!(matches!(claimed(&header).unwrap().who, Who::Client(..)));
    for at in 24..28 {
        let mut other = header.clone();
        other[at] ^= 0x40;
        assert_eq!(claimed(&other), Err(NoHeader::Checksum), "byte {at}");
    }
}

use super::*;

/// A hello of this version, with these suites and extensions, as its content.
fn content(version: u16, suites: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut content = version.to_be_bytes().to_vec();
    content.extend([7; 32]);
    content.push(0);
    content.extend(((suites.len() * 2) as u16).to_be_bytes());
    content.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    content.extend([1, 0]);
    if !extensions.is_empty() {
        let block: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, content)| {
                let length = (content.len() as u16).to_be_bytes();
                [&kind.to_be_bytes()[..], &length, content].concat()
            })
            .collect();
        content.extend((block.len() as u16).to_be_bytes());
        content.extend(block);
    }
    content
}

fn message(content: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (content.len() as u32).to_be_bytes();
    [&[1, a, b, c], content].concat()
}

/// In records of at most `most` bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let parts = message.chunks(most);
    parts
        .flat_map(|part| {
            let length = (part.len() as u16).to_be_bytes();
            [&[22, 3, 1], &length[..], part].concat()
        })
        .collect()
}

fn ssl2(version: u16, suites: &[[u8; 3]], challenge: usize) -> Vec<u8> {
    let length = 9 + suites.len() * 3 + challenge;
    let mut hello = (0x8000 | length as u16).to_be_bytes().to_vec();
    hello.push(1);
    for number in [version, (suites.len() * 3) as u16, 0, challenge as u16] {
        hello.extend(number.to_be_bytes());
    }
    hello.extend(suites.concat());
    hello.extend(vec![9; challenge]);
    hello
}

fn hello(input: &[u8]) -> Hello {
    match read(input) {
        Reading::Hello(hello) => *hello,
        other => panic!("{other:?}"),
    }
}

/// Everything that is read of an extension.
fn full() -> Vec<u8> {
    let name = b"\0\x13\0\0\x10mail.example.com";
    content(
        0x0303,
        &[0x1a1a, 0x1301, 0xc02f, 0x000a, 0x00ff, 0x5600],
        &[
            (0x2a2a, &[]),
            (0, name),
            (10, &[0, 6, 0x3a, 0x3a, 0, 29, 0, 23]),
            (13, &[0, 4, 4, 3, 8, 4]),
            (16, b"\0\x0c\x02\x4a\x4a\x02h2\x05smt\xffp"),
            (35, &[1]),
            (43, &[6, 0x5a, 0x5a, 3, 4, 3, 3]),
            (45, &[2, 0, 1]),
            (41, b"\0\x0f\0\x02me\0\0\0\0\0\x01x\0\0\0\0\0\x02\x01b"),
            (0xff01, &[0]),
        ],
    )
}

#[test]
fn what_a_client_offers_is_read() {
    let found = hello(&records(&message(&full()), 1000));
    let expected = Hello {
        form: Form::Records(Version::TLS10),
        legacy_version: Version::TLS12,
        supported_versions: Some(vec![Version::TLS13, Version::TLS12]),
        suites: vec![0x1301, 0xc02f, 0x000a],
        fallback: true,
        secure_renegotiation: true,
        compression: vec![0],
        session_id: Vec::new(),
        extensions: vec![0, 10, 13, 16, 35, 43, 45, 41, 0xff01],
        server_name: Some("mail.example.com".to_owned()),
        groups: Some(vec![29, 23]),
        signature_schemes: Some(vec![0x0403, 0x0804]),
        ticket: Ticket::Shown,
        identities: vec![b"me".to_vec(), b"x".to_vec()],
        psk_with_exchange: true,
        protocols: vec!["h2".to_owned(), "smt\\xffp".to_owned()],
    };
    assert_eq!(found, expected);
    assert_eq!(found.highest_version(), Some(Version::TLS13));
    assert!(found.may_speak(Version::TLS12) && !found.may_speak(Version::TLS11));
}

#[test]
fn an_old_client_offers_less() {
    let found = hello(&records(&message(&content(0x0301, &[5, 4], &[])), 1000));
    assert_eq!(found.suites, [5, 4]);
    assert_eq!(found.highest_version(), Some(Version::TLS10));
    assert!(found.may_speak(Version::TLS10) && !found.may_speak(Version::TLS11));
    assert_eq!((found.groups, found.supported_versions), (None, None));
    assert!(!found.fallback && !found.secure_renegotiation);
    // It has no extension for what is later.
    let strange = hello(&records(&message(&content(0x0304, &[5], &[])), 1000));
    assert_eq!(strange.highest_version(), Some(Version::TLS12));
    let strange = content(0x0303, &[5], &[(43, &[2, 0x7f, 0x1c])]);
    let strange = hello(&records(&message(&strange), 1000));
    assert_eq!(strange.highest_version(), None);
}

#[test]
fn the_form_of_ssl2_is_read() {
    let suites = [
        [1, 0, 0x80],
        [0, 0, 5],
        [0, 0, 10],
        [0, 0x56, 0],
        [0, 0, 255],
    ];
    let found = hello(&ssl2(0x0301, &suites, 16));
    assert_eq!(found.form, Form::Ssl2);
    assert_eq!(found.suites, [5, 10]);
    assert!(found.fallback && found.secure_renegotiation);
    assert_eq!(found.highest_version(), Some(Version::TLS10));
    let oldest = hello(&ssl2(0x0002, &suites[..1], 16));
    assert_eq!(oldest.highest_version(), Some(Version::SSL2));
    assert_eq!(oldest.suites, [0; 0]);
}

#[test]
fn a_hello_is_read_when_it_is_whole_however_it_is_cut() {
    let inputs = [
        records(&message(&full()), 1000),
        records(&message(&full()), 3),
        records(&message(&full()), 1),
        ssl2(0x0300, &[[0, 0, 4]], 32),
    ];
    for input in inputs {
        let mut arriving = Arriving::default();
        for length in 0..input.len() {
            let part = &input[..length];
            assert_eq!(read(part), Reading::Incomplete, "{length}");
            let worth = arriving.is_worth_reading(part);
            assert!(!worth || part.first() == Some(&0x80), "{length}");
        }
        assert!(arriving.is_worth_reading(&input));
        assert!(Arriving::default().is_worth_reading(&input));
        let whole = hello(&input);
        // What stands behind it changes nothing.
        assert_eq!(hello(&[&input[..], b"\x17\x03"].concat()), whole);
    }
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    let words: [&[u8]; 9] = [
        b"EHLO example.com\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\r\n",
        b"\0",
        b"\x16EHLO",
        b"\x80\x2e\x02",
        b"\x80\x2e\x01\x02",
        b"\x80\x2e\x01\0\x03",
        // SOCKS 5
        b"\x05\x01\0",
    ];
    for input in words {
        assert_eq!(read(input), Reading::NotTls, "{}", input.escape_ascii());
    }
}

#[test]
fn what_cannot_be_read_has_its_fault() {
    let mut long = message(&full());
    long[1] = 2;
    let mut twice = content(0x0303, &[5], &[(23, &[]), (23, &[])]);
    let repeated = records(&message(&twice), 1000);
    twice.push(0);
    let faults: [(&[u8], Fault); 11] = [
        (&[22, 3, 1, 0, 0], Fault::Record),
        (&[22, 3, 1, 0x40, 1], Fault::Record),
        (&[22, 3, 1, 0, 1, 1, 23], Fault::Record),
        (&[22, 3, 1, 0, 1, 1, 22, 2, 0, 0, 1], Fault::Record),
        (&[22, 3, 1, 0, 1, 2], Fault::OtherMessage),
        (&records(&long, 1000), Fault::TooLong),
        (&repeated, Fault::Repeated),
        (&records(&message(&twice), 1000), Fault::Lengths),
        (&records(&message(&[3, 3]), 1000), Fault::Lengths),
        (
            b"\x80\x0c\x01\x03\x01\0\x01\0\0\0\x02\x05\x05\x05",
            Fault::Lengths,
        ),
        (b"\x80\x09\x01\x03\x01\0\x03\0\0\0\x10", Fault::Lengths),
    ];
    for (input, fault) in faults {
        let name = input.escape_ascii();
        assert_eq!(read(input), Reading::Malformed(fault), "{name}");
        assert!(Arriving::default().is_worth_reading(input), "{name}");
    }
}

#[test]
fn an_endless_hello_ends_at_the_limit() {
    let mut message = vec![1, 0, 0xff, 0xff];
    message.resize(MAX_HELLO, 0);
    let input = records(&message, 1);
    assert_eq!(read(&input[..MAX_HELLO - 1]), Reading::Incomplete);
    let fault = Reading::Malformed(Fault::TooLong);
    assert_eq!(read(&input[..MAX_HELLO]), fault);
}

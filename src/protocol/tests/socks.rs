//! SOCKS.

use super::bounds::Seeded;
use crate::config::Protocol;
use crate::protocol::{
    AHEAD_MAX, Action, Dialogue, Event, Progress, ProtocolError, Question, Side, SocksError,
    Target, Unreachable,
};

fn new() -> Box<dyn Dialogue> {
    let mut socks = super::dialogue(Protocol::Socks, false);
    let started = socks.feed(Event::Start, &mut Vec::new());
    assert_eq!(started, Ok(Progress::More));
    socks
}

/// What a client's bytes come to, whole and byte by byte: the actions but log lines, and how it stands.
#[track_caller]
fn fed(
    bytes: &[u8],
) -> (
    Box<dyn Dialogue>,
    Vec<Action>,
    Result<Progress, ProtocolError>,
) {
    let mut results = [bytes.len().max(1), 1].map(|size| {
        let (mut socks, mut out) = (new(), Vec::new());
        let mut last = Ok(Progress::More);
        for piece in bytes.chunks(size) {
            last = socks.feed(Event::Bytes(Side::Front, piece), &mut out);
            if last.is_err() {
                break;
            }
        }
        out.retain(|action| !matches!(action, Action::Log(..)));
        (socks, out, last)
    });
    let [(_, whole, one), (_, pieces, other)] = &results;
    assert_eq!((whole, one), (pieces, other), "{bytes:?}");
    std::mem::replace(&mut results[0], (new(), Vec::new(), Ok(Progress::More)))
}

fn send(bytes: &[u8]) -> Action {
    Action::Send(Side::Front, bytes.to_vec())
}

fn address(text: &str) -> Target {
    Target::Address(text.parse().unwrap())
}

fn name(text: &str, port: u16) -> Target {
    Target::Name(text.to_owned(), port)
}

#[test]
fn every_form_of_a_request_names_its_target() {
    let v6 = [
        &[5, 1, 0, 4][..],
        &[0x20, 1, 0xd, 0xb8],
        &[0; 11],
        &[7, 0, 80],
    ]
    .concat();
    for (hello, request, target) in [
        (
            &b""[..],
            &b"\x04\x01\x00\x50\xc0\x00\x02\x07anna\x00"[..],
            address("192.0.2.7:80"),
        ),
        (
            b"",
            b"\x04\x01\x01\xbb\xc0\x00\x02\x07\x00",
            address("192.0.2.7:443"),
        ),
        (
            b"",
            b"\x04\x01\x00\x50\x00\x00\x00\x01anna\x00www.test\x00",
            name("www.test", 80),
        ),
        (
            b"",
            b"\x04\x01\x00\x50\x00\x00\x00\x01\x00192.0.2.7\x00",
            address("192.0.2.7:80"),
        ),
        (
            b"\x05\x01\x00",
            b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50",
            address("192.0.2.7:80"),
        ),
        (
            b"\x05\x02\x02\x00",
            b"\x05\x01\x00\x03\x08www.test\x00\x50",
            name("www.test", 80),
        ),
        (b"\x05\x01\x00", &v6, address("[2001:db8::7]:80")),
    ] {
        let (_, actions, stands) = fed(&[hello, request].concat());
        assert_eq!(stands, Ok(Progress::More), "{request:?}");
        let mut wanted = Vec::new();
        if !hello.is_empty() {
            wanted.push(send(b"\x05\x00"));
        }
        wanted.push(Action::Connect(target));
        assert_eq!(actions, wanted);
    }
}

#[test]
fn the_client_is_answered_when_the_connection_is_there_and_its_words_are_kept() {
    let bound = Some("192.0.2.1:4711".parse().unwrap());
    let five = b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50GET /";
    let four = b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00GET /";
    for (request, reply) in [
        (&five[..], &b"\x05\x00\x00\x01\xc0\x00\x02\x01\x12\x67"[..]),
        (&four[..], b"\x00\x5a\x12\x67\xc0\x00\x02\x01"),
    ] {
        let (mut socks, ..) = fed(request);
        let mut out = Vec::new();
        let connected = socks.feed(Event::Connected(bound), &mut out);
        assert_eq!(connected, Ok(Progress::Next));
        assert_eq!(out, [send(reply)]);
        assert_eq!(socks.take_rest(Side::Front), b"GET /");
        let again = socks.feed(Event::Start, &mut out);
        assert_eq!(again, Err(ProtocolError::Over));
    }
}

#[test]
fn a_failure_has_the_code_of_its_reason() {
    for (why, code) in [
        (Unreachable::Forbidden, 2),
        (Unreachable::Network, 3),
        (Unreachable::Host, 4),
        (Unreachable::NoSuchName, 4),
        (Unreachable::TimedOut, 4),
        (Unreachable::Refused, 5),
        (Unreachable::Other, 1),
    ] {
        for (request, reply) in [
            (
                &b"\x05\x01\x00\x05\x01\x00\x03\x01h\x00\x50"[..],
                vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0],
            ),
            (
                b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00",
                vec![0, 91, 0, 0, 0, 0, 0, 0],
            ),
        ] {
            let (mut socks, ..) = fed(request);
            let mut out = Vec::new();
            let told = socks.feed(Event::Unreachable(why), &mut out);
            assert_eq!((told, out), (Ok(Progress::End), vec![send(&reply)]));
        }
    }
}

#[test]
fn tors_resolve_gives_the_addresses_that_the_version_has_room_for() {
    let question = || Action::Ask(Question::Addresses("www.test".into()));
    let five = b"\x05\x01\x00\x05\xf0\x00\x03\x08www.test\x00\x00";
    let four = b"\x04\xf0\x00\x00\x00\x00\x00\x01\x00www.test\x00";
    let both = ["2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap()];
    let v6 = [
        &[5, 0, 0, 4][..],
        &[0x20, 1, 0xd, 0xb8],
        &[0; 11],
        &[7, 0, 0],
    ]
    .concat();
    for (request, hello, addresses, reply) in [
        (&five[..], Some(send(b"\x05\x00")), &both[..], v6),
        (
            &five[..],
            Some(send(b"\x05\x00")),
            &[],
            vec![5, 4, 0, 1, 0, 0, 0, 0, 0, 0],
        ),
        (four, None, &both, vec![0, 90, 0, 0, 192, 0, 2, 7]),
        (four, None, &both[..1], vec![0, 91, 0, 0, 0, 0, 0, 0]),
    ] {
        let (mut socks, actions, _) = fed(request);
        let wanted: Vec<Action> = hello.into_iter().chain([question()]).collect();
        assert_eq!(actions, wanted);
        let mut out = Vec::new();
        let answered = socks.feed(Event::Answer(addresses), &mut out);
        assert_eq!((answered, out), (Ok(Progress::End), vec![send(&reply)]));
    }
}

#[test]
fn what_is_no_request_is_told_and_refused() {
    let long = |head: &[u8]| [head, &[b'x'; 300], &[0]].concat();
    let cases = [
        (
            b"GET / HTTP/1.1\r\n".to_vec(),
            SocksError::Version(b'G'),
            None,
        ),
        (b"\x16\x03\x01".to_vec(), SocksError::Version(0x16), None),
        (
            b"\x05\x01\x02".to_vec(),
            SocksError::Authentication,
            Some(&b"\x05\xff"[..]),
        ),
        (
            b"\x05\x00".to_vec(),
            SocksError::Authentication,
            Some(b"\x05\xff"),
        ),
        (
            b"\x05\x01\x00\x05\x02\x00\x01\xc0\x00\x02\x07\x00\x50".to_vec(),
            SocksError::Command(2),
            Some(b"\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"),
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x02\xc0".to_vec(),
            SocksError::AddressType(2),
            Some(b"\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"),
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x03\x03a\nb\x00\x50".to_vec(),
            SocksError::Name,
            Some(b"\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"),
        ),
        (
            b"\x04\x02\x00\x50\xc0\x00\x02\x07\x00".to_vec(),
            SocksError::Command(2),
            Some(b"\x00\x5b\x00\x00\x00\x00\x00\x00"),
        ),
        (
            long(b"\x04\x01\x00\x50\xc0\x00\x02\x07"),
            SocksError::TooLong,
            Some(b"\x00\x5b\x00\x00\x00\x00\x00\x00"),
        ),
        (
            long(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00"),
            SocksError::TooLong,
            Some(b"\x00\x5b\x00\x00\x00\x00\x00\x00"),
        ),
    ];
    for (request, error, reply) in cases {
        let (_, actions, stands) = fed(&request);
        assert_eq!(stands, Err(ProtocolError::Socks(error)), "{request:?}");
        let last = actions.last().cloned_send();
        assert_eq!(last.as_deref(), reply, "{request:?}");
    }
}

trait Sent {
    fn cloned_send(self) -> Option<Vec<u8>>;
}

impl Sent for Option<&Action> {
    fn cloned_send(self) -> Option<Vec<u8>> {
        match self {
            Some(Action::Send(Side::Front, bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }
}

#[test]
fn a_client_that_goes_is_told_before_its_request_and_waited_with_behind_it() {
    for (said, stands) in [
        (&b""[..], Err(ProtocolError::Socks(SocksError::Closed))),
        (
            b"\x05\x01\x00\x05",
            Err(ProtocolError::Socks(SocksError::Closed)),
        ),
        (b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00", Ok(Progress::More)),
    ] {
        let (mut socks, ..) = fed(said);
        let gone = socks.feed(Event::Eof(Side::Front), &mut Vec::new());
        assert_eq!(gone, stands, "{said:?}");
    }
}

#[test]
fn no_input_panics_and_no_buffer_grows() {
    let pieces: &[&[u8]] = &[
        b"\x04",
        b"\x05",
        b"\x01",
        b"\x00",
        b"\x03",
        b"\xf0",
        b"\x00\x50",
        b"\xc0\x00\x02\x07",
        b"www.test",
        b"\x05\x01\x00",
        b"\xff\xff",
    ];
    for seed in 1..=20_000_u64 {
        let mut seeded = Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut socks, mut out) = (new(), Vec::new());
        for _ in 0..40 {
            let mut bytes = pieces[seeded.below(pieces.len())].to_vec();
            if seeded.below(20) == 0 {
                bytes = bytes.repeat(seeded.below(200));
            }
            let event = match seeded.below(24) {
                0 => Event::Timer,
                1 => Event::Connected(None),
                2 => Event::Unreachable(Unreachable::Other),
                3 => Event::Answer(&[]),
                _ => Event::Bytes(Side::Front, &bytes),
            };
            let progress = socks.feed(event, &mut out);
            let held = socks.held(Side::Front);
            assert!(held <= AHEAD_MAX || progress.is_err(), "seed {seed}");
            if progress != Ok(Progress::More) {
                break;
            }
        }
        let connects = out
            .iter()
            .filter(|a| matches!(a, Action::Connect(_)))
            .count();
        assert!(connects <= 1, "seed {seed}");
    }
}

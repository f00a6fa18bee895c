//! Transcripts of the protocols that are not lines, whole and byte by byte.

use crate::protocol::{Action, Dialogue, Event, Progress, Side};

/// What happens, after `Start`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ev {
    /// The client says.
    F(&'static [u8]),
    /// The server says.
    B(&'static [u8]),
    FrontEof,
    BackEof,
}

/// How it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ends {
    /// It goes on.
    Open,
    /// The next stage; left over from client and server.
    Next(&'static [u8], &'static [u8]),
    /// The handshake with the client; the same.
    Tls(&'static [u8], &'static [u8]),
    Bye,
    /// The error's text begins so.
    Fails(&'static str),
}

/// (what happens, what the client hears, what the server hears, how it ends)
pub(super) type Row = (&'static [Ev], &'static [u8], &'static [u8], Ends);

type Came = (
    Vec<u8>,
    Vec<u8>,
    Option<Result<Progress, String>>,
    [Vec<u8>; 2],
);

fn run(mut dialogue: Box<dyn Dialogue>, events: &[Ev], piece: usize) -> Came {
    let mut out = Vec::new();
    let mut end = None;
    let mut rest = [Vec::new(), Vec::new()];
    let mut feed = |event: Event<'_>| {
        if end.is_some() {
            if let Event::Bytes(side, words) = event {
                rest[usize::from(side == Side::Back)].extend_from_slice(words);
            }
            return;
        }
        match dialogue.feed(event, &mut out) {
            Ok(Progress::More) => {}
            done => {
                rest = [Side::Front, Side::Back].map(|side| dialogue.take_rest(side));
                end = Some(done.map_err(|error| error.to_string()));
            }
        }
    };
    feed(Event::Start);
    for event in events {
        let (side, words) = match event {
            Ev::F(words) => (Side::Front, words),
            Ev::B(words) => (Side::Back, words),
            Ev::FrontEof => {
                feed(Event::Eof(Side::Front));
                continue;
            }
            Ev::BackEof => {
                feed(Event::Eof(Side::Back));
                continue;
            }
        };
        for words in words.chunks(piece) {
            feed(Event::Bytes(side, words));
        }
    }
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for action in out {
        match action {
            Action::Send(Side::Front, bytes) => front.extend(bytes),
            Action::Send(Side::Back, bytes) => back.extend(bytes),
            _ => {}
        }
    }
    (front, back, end, rest)
}

pub(super) fn check(new: impl Fn() -> Box<dyn Dialogue>, rows: &[Row]) {
    for (events, front, back, ends) in rows {
        for piece in [usize::MAX, 1] {
            let (to_client, to_server, ended, rest) = run(new(), events, piece);
            assert_eq!(to_client, *front, "to the client: {events:?}");
            assert_eq!(to_server, *back, "to the server: {events:?}");
            let [client, server] = &rest;
            match (&ended, ends) {
                (None, Ends::Open) | (Some(Ok(Progress::End)), Ends::Bye) => {}
                (Some(Ok(Progress::Next)), Ends::Next(front, back))
                | (Some(Ok(Progress::Tls)), Ends::Tls(front, back)) => {
                    assert_eq!((&client[..], &server[..]), (*front, *back), "{events:?}");
                }
                (Some(Err(error)), Ends::Fails(with)) => {
                    assert!(error.starts_with(with), "{error}: {events:?}");
                    // In a read of its own it belongs to the TLS handshake, and fails there.
                    if error.starts_with("plaintext behind") {
                        break;
                    }
                }
                _ => panic!("{ended:?}, not {ends:?}: {events:?}"),
            }
        }
    }
}

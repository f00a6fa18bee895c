//! Transcripts of both modes, whole and in pieces, and a seeded search for input that breaks the
//! promises: no panic, bounded memory, no plain word behind STARTTLS.

mod binary;
mod bounds;
mod cifs;
mod claim;
mod connect;
mod exchange;
mod ftp;
mod hold;
mod imap;
mod irc;
mod ldap;
mod login;
mod mysql;
mod nntp;
mod offers;
mod opening;
mod pgsql;
mod pop3;
mod proxy;
mod receiving;
mod sieve;
mod smtp;
mod smtp_login;
mod socks;
mod socks_client;
mod xmpp;

use super::{Action, Dialogue, Event, Progress, ProtocolError, Side};
use crate::config::{DialogueOptions, Protocol};
use crate::incidents::Diagnosis;
use Ev::{B, BackEof, F, FrontEof, T};
use Protocol::{Imap, Pop3, Smtp};

/// What happens in a transcript, after `Start`.
#[derive(Debug, Clone, Copy)]
enum Ev {
    /// The client says.
    F(&'static str),
    /// The server says.
    B(&'static str),
    FrontEof,
    BackEof,
    /// The timer.
    T,
}

/// How a transcript ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ends {
    /// The next stage; left over from client and server.
    Next(String, String),
    /// The handshake with the client; the same.
    Tls(String, String),
    Bye,
    Open,
    /// The error's text begins so.
    Fails(String),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    front: String,
    back: String,
    log: Vec<String>,
    failed: Vec<Diagnosis>,
    timers: usize,
}

impl Said {
    /// How often a timer is set depends on the pieces.
    fn untimed(mut self) -> Said {
        self.timers = 0;
        self
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// Runs a transcript, its bytes fed in pieces of `piece(rest)`; what no dialogue took any more is
/// left over, as the relay leaves it.
fn run(
    mut dialogue: Box<dyn Dialogue>,
    events: &[Ev],
    mut piece: impl FnMut(usize) -> usize,
) -> (Said, Ends) {
    let mut out = Vec::new();
    let mut end = None;
    let mut extra = (Vec::new(), Vec::new());
    let mut feed = |event: Event<'_>, out: &mut Vec<Action>| match (&end, event) {
        (None, event) => {
            end = match dialogue.feed(event, out) {
                Ok(Progress::More) => None,
                Ok(done) => Some(Ok(done)),
                Err(error) => Some(Err(error)),
            }
        }
        (Some(_), Event::Bytes(Side::Front, bytes)) => extra.0.extend_from_slice(bytes),
        (Some(_), Event::Bytes(Side::Back, bytes)) => extra.1.extend_from_slice(bytes),
        (Some(_), _) => {}
    };
    feed(Event::Start, &mut out);
    for event in events {
        let (side, mut rest) = match event {
            F(words) => (Side::Front, words.as_bytes()),
            B(words) => (Side::Back, words.as_bytes()),
            FrontEof => {
                feed(Event::Eof(Side::Front), &mut out);
                continue;
            }
            BackEof => {
                feed(Event::Eof(Side::Back), &mut out);
                continue;
            }
            T => {
                feed(Event::Timer, &mut out);
                continue;
            }
        };
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(piece(rest.len()).clamp(1, rest.len()));
            feed(Event::Bytes(side, head), &mut out);
            rest = tail;
        }
    }
    let mut said = Said::default();
    for action in out {
        match action {
            Action::Send(Side::Front, bytes) => said.front += &text(&bytes),
            Action::Send(Side::Back, bytes) => said.back += &text(&bytes),
            Action::Log(_, line) => said.log.push(line),
            Action::Failed(diagnosis) => said.failed.push(*diagnosis),
            Action::Timer(_) => said.timers += 1,
            Action::Named(name) => said.log.push(format!("named {}", text(&name))),
            Action::Connect(_) | Action::ConnectAnew | Action::Ask(_) => {
                unreachable!("no script does")
            }
        }
    }
    let ends = match end {
        None => Ends::Open,
        Some(Ok(next @ (Progress::Next | Progress::Tls))) => {
            let mut front = dialogue.take_rest(Side::Front);
            let mut back = dialogue.take_rest(Side::Back);
            front.append(&mut extra.0);
            back.append(&mut extra.1);
            match next {
                Progress::Tls => Ends::Tls(text(&front), text(&back)),
                _ => Ends::Next(text(&front), text(&back)),
            }
        }
        Some(Ok(Progress::End)) => Ends::Bye,
        Some(Ok(Progress::More)) => unreachable!("More is no end"),
        Some(Err(error)) => Ends::Fails(error.to_string()),
    };
    (said, ends)
}

/// A dialogue that is told nothing.
fn dialogue(protocol: Protocol, client: bool) -> Box<dyn Dialogue> {
    super::dialogue(protocol, client, &DialogueOptions::default())
}

/// (what happens, what the client hears, what the server hears, how it ends)
type Row = (&'static [Ev], &'static str, &'static str, Ends);

/// TLS is the next stage.
fn tls(front: &str, back: &str) -> Ends {
    Ends::Next(front.to_owned(), back.to_owned())
}

fn fails(with: &str) -> Ends {
    Ends::Fails(with.to_owned())
}

fn check(protocol: Protocol, client: bool, host: Option<&str>, rows: &[Row]) {
    let options = DialogueOptions {
        host: host.map(str::to_owned),
        ..DialogueOptions::default()
    };
    check_each(|| super::dialogue(protocol, client, &options), rows);
}

fn check_each(new: impl Fn() -> Box<dyn Dialogue>, rows: &[Row]) {
    for (events, front, back, ends) in rows {
        let (said, ended) = run(new(), events, |rest| rest);
        assert_eq!(said.front, *front, "to the client: {events:?}");
        assert_eq!(said.back, *back, "to the server: {events:?}");
        match (&ended, ends) {
            (Ends::Fails(error), Ends::Fails(with)) => {
                assert!(error.starts_with(with), "{error}: {events:?}");
            }
            _ => assert_eq!(ended, *ends, "{events:?}"),
        }
        // The one thing that pieces change: what follows the go-ahead in a read of its own belongs
        // to the TLS handshake, and fails there.
        if matches!(&ended, Ends::Fails(error) if error.starts_with("plaintext behind")) {
            continue;
        }
        let (piecewise, piecewise_ended) = run(new(), events, |_| 1);
        assert_eq!(
            (piecewise.untimed(), piecewise_ended),
            (said.untimed(), ended),
            "byte by byte: {events:?}"
        );
    }
}

#[test]
fn direct_tls_is_told_apart_in_stunnels_words() {
    let log = |protocol, events: &[Ev]| run(dialogue(protocol, false), events, |n| n).0;
    assert_eq!(log(Smtp, &[T]).log, ["RFC 2487 detected"]);
    assert_eq!(log(Smtp, &[F("\x16")]).log, ["RFC 2487 not detected"]);
    assert_eq!(log(Imap, &[T, T]).log, ["RFC 2595 detected"]);
    assert_eq!(log(Imap, &[F("\x16")]).log, ["RFC 2595 not detected"]);
    assert_eq!(log(Imap, &[]).timers, 1);
    assert_eq!(log(Pop3, &[]).timers, 0);
}

#[test]
fn nothing_is_said_after_the_end() {
    let mut out = Vec::new();
    let mut dialogue = dialogue(Pop3, true);
    assert!(dialogue.feed(Event::Eof(Side::Back), &mut out).is_err());
    out.clear();
    let again = dialogue.feed(Event::Bytes(Side::Back, b"+OK\r\n"), &mut out);
    assert_eq!(again, Err(ProtocolError::Over));
    assert_eq!(out, []);
}

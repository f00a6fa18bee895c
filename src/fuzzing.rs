//! What `fuzz/` calls: one function a target, each of which panics when a promise of its room is broken.
//! Built under `--cfg fuzzing` alone, which `fuzz/run` sets. Never in here: anything that the program calls.
#![expect(
    clippy::expect_used,
    reason = "a panic is how libFuzzer learns of a fault"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Authentication, DialogueOptions, MailProtocol, Protocol, Reception, Secret};
use crate::helper::{AccessToken, TokenAnswer};
use crate::ipc::handoff;
use crate::ipc::inquiry::Told;
use crate::ipc::request::Request;
use crate::ipc::words::{FromMaster, FromWorker, ToMaster, ToWorker};
use crate::protocol::{
    Action, Dialogue, Event, Fresh, HELLO_WAIT, Offers, Opening, Progress, Side,
    Target as Destination, Unreachable, arrival, dialogue, held, login, receive, socks_client,
    unprotected, within,
};

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `fuzz/run` takes their names from here.
pub const TARGETS: &[Target] = &[
    ("accounts", crate::oauth::seal::fuzz),
    ("bindings", crate::helper::binder::fuzz),
    ("certificates", crate::tls::fuzzing::certificates),
    ("cifs", |script| conversation(Protocol::Cifs, script)),
    ("ciphers", crate::tls::fuzzing::ciphers),
    ("claims", crate::protocol::fuzz_claims),
    ("configuration", crate::config::fuzz),
    ("connect", |script| conversation(Protocol::Connect, script)),
    ("ftp", |script| conversation(Protocol::Ftp, script)),
    ("grants", crate::helper::keeper::fuzz),
    ("greetings", crate::protocol::probing::fuzz),
    ("handoff", handoff_message),
    ("hosts", crate::helper::gatekeeper::fuzz),
    ("hello", crate::tls::fuzzing::hello),
    ("hellos", crate::tls::fuzzing::hellos),
    ("http", crate::http::fuzz),
    ("ident", crate::protocol::ident::fuzz),
    ("imap", |script| conversation(Protocol::Imap, script)),
    ("irc", |script| conversation(Protocol::Irc, script)),
    ("keys", crate::tls::fuzzing::keys),
    ("launches", crate::helper::launcher::fuzz),
    ("ldap", |script| conversation(Protocol::Ldap, script)),
    ("listening", crate::cli::listen_in::fuzz),
    ("lmtp", |script| conversation(Protocol::Lmtp, script)),
    ("mysql", |script| conversation(Protocol::Mysql, script)),
    ("nntp", |script| conversation(Protocol::Nntp, script)),
    ("ocsp", crate::tls::ocsp_fuzz),
    ("ntlm", crate::protocol::ntlm_fuzz),
    ("offers", offers),
    ("oldhellos", crate::tls::fuzzing::old_hellos),
    ("opening", opening),
    ("pgsql", |script| conversation(Protocol::Pgsql, script)),
    ("pop3", |script| conversation(Protocol::Pop3, script)),
    ("records", crate::tls::fuzzing::records),
    ("requests", crate::cli::ca::fuzz),
    ("resolver", crate::helper::resolver::fuzz),
    ("revocation", crate::tls::fuzzing::revocation),
    ("sieve", |script| conversation(Protocol::Sieve, script)),
    ("services", crate::cli::fuzz_services),
    ("smtp", |script| conversation(Protocol::Smtp, script)),
    ("socks", |script| conversation(Protocol::Socks, script)),
    ("tokens", crate::oauth::answer::fuzz),
    ("words", words),
    ("xmpp", |script| conversation(Protocol::Xmpp, script)),
    ("xmppserver", |script| {
        conversation(Protocol::XmppServer, script);
    }),
];

/// Between the events of a script; no line of a protocol has it.
const BETWEEN: u8 = 0xff;

/// The most addresses that a question is answered with.
const ANSWER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// What a question for a token is answered with.
static GRANTED: LazyLock<TokenAnswer> = LazyLock::new(|| {
    TokenAnswer::Granted(AccessToken {
        user: "user".to_owned(),
        access: Secret::new("token"),
    })
});

/// The events of a script, which stay readable in an editor: `F` or `B` and what the client or the
/// server says, `f` or `b` for its end, `T` for the timer, `C` or `c` for a connection that is made, `u` for one that cannot be, `A` for an answer of as
/// many addresses as bytes follow; [`BETWEEN`] stands between them.
fn events(script: &[u8]) -> impl Iterator<Item = Event<'_>> {
    let pieces = script.split(|&byte| byte == BETWEEN);
    pieces.filter_map(|piece| {
        let (&first, words) = piece.split_first()?;
        Some(match first {
            b'F' => Event::Bytes(Side::Front, words),
            b'B' => Event::Bytes(Side::Back, words),
            b'f' => Event::Eof(Side::Front),
            b'b' => Event::Eof(Side::Back),
            b'T' => Event::Timer,
            b'C' => Event::Connected(Some(SocketAddr::from(([192, 0, 2, 1], 25)))),
            b'c' => Event::Connected(None),
            // `t`: a token; `w`: a wrong password.
            b't' => Event::Token(&GRANTED),
            b'w' => Event::Token(&TokenAnswer::WrongPassword),
            b'u' => Event::Unreachable(Unreachable::TimedOut),
            b'A' => Event::Answer(&ANSWER[..words.len().min(ANSWER.len())]),
            _ => return None,
        })
    })
}

/// What a dialogue is told.
fn options() -> DialogueOptions {
    DialogueOptions {
        host: Some("www.test:443".to_owned()),
        username: Some("user".to_owned()),
        password: Some(Secret::new("password").into()),
        ..DialogueOptions::default()
    }
}

/// What became of a dialogue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Course {
    /// What was said to the client, and to the server.
    said: (Vec<u8>, Vec<u8>),
    timers: usize,
    logged: Vec<String>,
    /// What was to be connected to or looked up.
    wanted: Vec<String>,
    ended: Option<Result<Progress, String>>,
    /// What the client and the server had said that was not used.
    rest: (Vec<u8>, Vec<u8>),
}

/// Runs a script to its end, whole or with each byte by itself.
fn course(protocol: Protocol, mode: Mode, script: &[u8], bytewise: bool) -> Course {
    let mut course = Course::default();
    let mail = match protocol {
        Protocol::Smtp => Some(MailProtocol::Smtp),
        Protocol::Pop3 => Some(MailProtocol::Pop3),
        Protocol::Imap => Some(MailProtocol::Imap),
        _ => None,
    };
    let mut dialogue = match (mode, mail) {
        (Mode::Client, _) => dialogue(protocol, true, &options()),
        (Mode::Ntlm, _) => {
            let authentication = Some(Authentication::Ntlm);
            let options = DialogueOptions {
                authentication,
                ..options()
            };
            dialogue(protocol, true, &options)
        }
        (Mode::Within, _) if protocol == Protocol::Socks => {
            socks_client(Destination::Name("www.test".to_owned(), 443))
        }
        (Mode::Within, _) => within(protocol, true, &options(), None),
        (Mode::WithinServer, _) => within(protocol, false, &options(), None),
        (Mode::Unprotected, _) => unprotected(protocol),
        (Mode::Offered, mail) => receive(Reception::Offered(mail), HELLO_WAIT, false),
        (Mode::OfferedLogin, mail) => receive(Reception::Offered(mail), HELLO_WAIT, true),
        (
            Mode::Login {
                account,
                greeted,
                by_token,
            },
            Some(mail),
        ) => {
            let options = DialogueOptions {
                username: account.then(|| "user".to_owned()),
                ..options()
            };
            login(mail, by_token, &options, greeted, None, Fresh::default())
        }
        (Mode::Held, _) => held(&options(), true),
        (Mode::Arrival { greeted }, _) => arrival(greeted.then_some("till")),
        (Mode::Required, Some(mail)) => receive(Reception::Required(mail), HELLO_WAIT, false),
        (Mode::Server | Mode::Required | Mode::Login { .. }, _) => {
            dialogue(protocol, false, &options())
        }
    };
    for event in [Event::Start].into_iter().chain(events(script)) {
        let pieces: Vec<Event<'_>> = match event {
            Event::Bytes(side, words) if bytewise => {
                words.chunks(1).map(|one| Event::Bytes(side, one)).collect()
            }
            Event::Bytes(_, []) => Vec::new(),
            event => vec![event],
        };
        for event in pieces {
            match (&course.ended, event) {
                (None, event) => feed(&mut *dialogue, protocol, mode, event, &mut course),
                // What is said behind the end is left over to the next stage.
                (Some(Ok(Progress::Next | Progress::Tls)), Event::Bytes(Side::Front, words)) => {
                    course.rest.0.extend_from_slice(words);
                }
                (Some(Ok(Progress::Next | Progress::Tls)), Event::Bytes(Side::Back, words)) => {
                    course.rest.1.extend_from_slice(words);
                }
                (Some(_), _) => {}
            }
        }
    }
    course
}

fn feed(
    dialogue: &mut dyn Dialogue,
    protocol: Protocol,
    mode: Mode,
    event: Event<'_>,
    course: &mut Course,
) {
    let spoken_before = course.said != (Vec::new(), Vec::new());
    let mut out = Vec::new();
    let progress = dialogue.feed(event, &mut out);
    for action in out {
        match action {
            Action::Send(Side::Front, bytes) => course.said.0.extend(bytes),
            Action::Send(Side::Back, bytes) => course.said.1.extend(bytes),
            Action::Timer(_) => course.timers += 1,
            Action::Log(_, line) => course.logged.push(line),
            Action::Failed(diagnosis) => course.logged.push(format!("{diagnosis:?}")),
            Action::ConnectAnew => course.wanted.push("anew".to_owned()),
            Action::Connect(target) => course.wanted.push(format!("{target:?}")),
            Action::Named(name) => course.logged.push(format!("{name:?}")),
            Action::Ask(question) => course.wanted.push(format!("{question:?}")),
        }
    }
    match &progress {
        Ok(Progress::More) => return,
        Ok(Progress::Next | Progress::Tls) => {
            course.rest = (
                dialogue.take_rest(Side::Front),
                dialogue.take_rest(Side::Back),
            );
            // No plain word passes for a protected one.
            match mode {
                // Behind a proxy's answer the server may speak at once.
                Mode::Client | Mode::Ntlm if protocol == Protocol::Connect => {}
                Mode::Client | Mode::Ntlm => assert!(course.rest.1.is_empty()),
                // Behind TLS, and what is left there goes on as it is; nothing else of a plain client does.
                Mode::Within
                | Mode::WithinServer
                | Mode::Login { .. }
                | Mode::Held
                | Mode::Arrival { .. }
                | Mode::Unprotected => {}
                // A client says that it wants TLS, and begins with it.
                Mode::Server | Mode::Required if protocol == Protocol::Mysql => {
                    let rest = &course.rest.0;
                    assert!(matches!(rest[..], [] | [0x16, ..]));
                }
                // A cancellation.
                Mode::Server | Mode::Required
                    if protocol == Protocol::Pgsql && progress == Ok(Progress::Next) =>
                {
                    assert!(course.said.1.is_empty());
                }
                // It goes on in plain.
                Mode::Offered | Mode::OfferedLogin if progress == Ok(Progress::Next) => {}
                // SOCKS is spoken inside TLS, and what stands behind its request is payload.
                Mode::Server | Mode::Required if protocol == Protocol::Socks => {}
                Mode::Server | Mode::Required | Mode::Offered | Mode::OfferedLogin => {
                    let rest = &course.rest.0;
                    let hello = matches!(rest[..], [0x16 | 0x80..=0xff, ..]);
                    assert!(rest.is_empty() || !spoken_before && hello);
                }
            }
        }
        Ok(Progress::End) | Err(_) => {}
    }
    course.ended = Some(progress.map_err(|error| error.to_string()));
}

/// What a dialogue is for.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// `C`: in front of a server that starts TLS on demand.
    Client,
    /// `N`: the same, where the login at a proxy is by NTLM.
    Ntlm,
    /// `S`, or any other: in front of a plain server.
    Server,
    /// `R`: in front of a server that is reached by TLS, as for `acceptTLS = yes`.
    Required,
    /// `O`: the same for `acceptTLS = auto`.
    Offered,
    /// `P`: the same where adit logs in for the client.
    OfferedLogin,
    /// `L`: where adit logs in for the client; `G`: that has been greeted; `K`: by an account of its own; `X`: by a
    /// token.
    Login {
        account: bool,
        greeted: bool,
        by_token: bool,
    },
    /// `H`: while there is no server.
    Held,
    /// `A`: when it comes; `E`: for a client that was held.
    Arrival { greeted: bool },
    /// `W`: once TLS has begun with the server.
    Within,
    /// `V`: the same in server mode.
    WithinServer,
    /// `U`: for a client that did not begin it.
    Unprotected,
}

/// The first byte tells the mode; a script follows. How words are cut into pieces never matters, except for
/// how often a timer is set.
fn conversation(protocol: Protocol, input: &[u8]) {
    let Some((&mode, script)) = input.split_first() else {
        return;
    };
    let mode = match mode {
        b'C' => Mode::Client,
        b'N' => Mode::Ntlm,
        b'R' => Mode::Required,
        b'O' => Mode::Offered,
        b'P' => Mode::OfferedLogin,
        b'L' | b'G' | b'K' | b'X' => Mode::Login {
            account: mode == b'K',
            greeted: mode != b'L',
            by_token: mode == b'X',
        },
        b'H' => Mode::Held,
        b'A' | b'E' => Mode::Arrival {
            greeted: mode == b'E',
        },
        b'W' => Mode::Within,
        b'U' => Mode::Unprotected,
        b'V' => Mode::WithinServer,
        _ => Mode::Server,
    };
    let mode = served(protocol, mode);
    let mut whole = course(protocol, mode, script, false);
    let mut bytewise = course(protocol, mode, script, true);
    (whole.timers, bytewise.timers) = (0, 0);
    // Behind TLS what is left over goes on as it is: only where it arrives counts.
    if matches!(
        mode,
        Mode::Within | Mode::WithinServer | Mode::Login { .. } | Mode::Arrival { .. }
    ) {
        for course in [&mut whole, &mut bytewise] {
            let (front, back) = std::mem::take(&mut course.rest);
            course.said.1.extend(front);
            course.said.0.extend(back);
        }
    }
    match (&whole.ended, &bytewise.ended) {
        // Bytes by themselves show the go-ahead before what stands behind it.
        (Some(Err(error)), _) if error.starts_with("plaintext behind") => {}
        // Of two faults the one that shows first is told.
        (Some(Err(_)), Some(Err(_))) => {}
        _ => assert_eq!(whole, bytewise),
    }
}

/// The mode, or one that the configuration takes: some protocols have a client's part alone.
fn served(protocol: Protocol, mode: Mode) -> Mode {
    let mode = match (protocol, mode) {
        (Protocol::Smtp | Protocol::Pop3 | Protocol::Imap, mode) => mode,
        (_, Mode::Login { .. } | Mode::Held | Mode::Arrival { .. }) => Mode::Server,
        (_, mode) => mode,
    };
    match (protocol, mode) {
        (Protocol::Connect | Protocol::Ldap, Mode::Server | Mode::Required) => Mode::Client,
        (_, mode) => mode,
    }
}

/// The first byte tells which protocol has greeted already, if any; a script follows.
fn offers(input: &[u8]) {
    let Some((&greeted, script)) = input.split_first() else {
        return;
    };
    let greeted = match greeted {
        b's' => Some(Protocol::Smtp),
        b'p' => Some(Protocol::Pop3),
        b'i' => Some(Protocol::Imap),
        _ => None,
    };
    let filtered = |piece: fn(&[u8]) -> usize| {
        let mut offers = Offers::new(greeted);
        let (mut out, mut said) = (Vec::new(), 0);
        for event in events(script) {
            match event {
                Event::Bytes(side, words) if !words.is_empty() => {
                    for part in words.chunks(piece(words)) {
                        match side {
                            Side::Front => offers.client_says(part, &mut out),
                            Side::Back => {
                                said += part.len();
                                offers.server_says(part, &mut out);
                            }
                        }
                        assert!(out.len() <= said, "a word was added");
                        assert!(
                            !offers.is_over() || said == 0 || !out.is_empty() || greeted.is_some()
                        );
                    }
                }
                _ => {}
            }
        }
        offers.server_ends(&mut out);
        assert!(offers.is_over());
        out
    };
    assert_eq!(filtered(<[u8]>::len), filtered(|_| 1));
}

fn opening(words: &[u8]) {
    let mut whole = Opening::default();
    let found = whole.hear(words);
    let mut bytewise = Opening::default();
    let later = words.chunks(1).find_map(|byte| bytewise.hear(byte));
    assert_eq!(found, later);
    assert_eq!(whole.is_over(), bytewise.is_over());
    assert!(whole.is_over() || found.is_none());
}

fn handoff_message(message: &[u8]) {
    let Some(entries) = handoff::decode(message) else {
        return;
    };
    let mut again = vec![handoff::TAG];
    for entry in &entries {
        handoff::encode(entry, &mut again);
    }
    assert_eq!(again.len(), message.len());
    assert_eq!(handoff::decode(&again), Some(entries));
}

fn words(text: &[u8]) {
    fn read_again<W: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &[u8]) {
        let Ok(word) = serde_json::from_slice::<W>(text) else {
            return;
        };
        let written = serde_json::to_vec(&word).expect("what was read can be written");
        let again: W = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(word, again);
        // A word is told from a hand-off by its first byte.
        assert_ne!(written.first(), Some(&handoff::TAG));
    }
    read_again::<ToMaster>(text);
    read_again::<FromMaster>(text);
    read_again::<ToWorker>(text);
    read_again::<FromWorker>(text);
    read_again::<SocketAddr>(text);
    read_again::<Request>(text);
    read_again::<Told>(text);
}

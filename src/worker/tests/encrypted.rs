//! A relay in client mode connected to one in server mode: plain outside, TLS between them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::scope;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Relay, ending, eventually, is_reset, receive_pattern, reset, send_pattern};
use crate::config::{Protocol, TlsVersion};
use crate::log::{Id, Log};
use crate::relay::{Route, ServiceContext};
use crate::tls::{Context, PassPhrases, Resumption, SharedLists, Wanted};
use crate::worker::support::accepted;

const SOME: usize = 20 * 1024 * 1024;

const LOG: Log = Log {
    level: 0,
    id: Id::Main,
    from: None,
};

/// A certificate of its own, and its key.
pub(in crate::worker) fn identity(folder: &Path) -> std::path::PathBuf {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = folder.join("identity.pem");
    let text = made.cert.pem() + &made.signing_key.serialize_pem();
    std::fs::write(&path, text).unwrap();
    path
}

/// Makes the service's TLS as its configuration wants it.
pub(in crate::worker) fn load(service: &mut ServiceContext) {
    let resumption = Resumption::new().unwrap();
    let load = |wanted| {
        let loaded = Context::load(
            wanted,
            None,
            &PassPhrases::none(),
            &resumption,
            &mut SharedLists::default(),
            &LOG,
        );
        loaded.unwrap().0
    };
    service.front = Wanted::accepted(&service.config).map(load);
    service.back = Wanted::connected(&service.config).map(load);
    service.route = Route::of(&service.config);
}

/// The two relays, and the sockets outside them.
struct Tunnel {
    entry: Relay,
    exit: Relay,
    _folder: TempDir,
}

impl Tunnel {
    fn new(adjust: impl Fn(&mut ServiceContext)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = identity(folder.path());
        let entry = Relay::start(|service| {
            adjust(service);
            load(service);
        });
        let exit = Relay::start(|service| {
            service.config.client = false;
            service.config.tls.cert = Some(identity);
            adjust(service);
            load(service);
        });
        Self {
            entry,
            exit,
            _folder: folder,
        }
    }

    /// A client, and the server it is connected to.
    fn pair(&mut self) -> (TcpStream, TcpStream) {
        let client = self.entry.client();
        self.exit.adopt(self.entry.server());
        (client, self.exit.server())
    }

    fn over(&self) {
        eventually("both sessions are over", || {
            self.entry.thread.load() + self.exit.thread.load() == 0
        });
    }
}

fn version(version: TlsVersion) -> impl Fn(&mut ServiceContext) {
    move |service| {
        service.config.tls.version_min = Some(version);
        service.config.tls.version_max = Some(version);
    }
}

const BOTH: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

#[test]
fn megabytes_pass_each_way_through_tls_unchanged() {
    for which in BOTH {
        let mut tunnel = Tunnel::new(version(which));
        let (client, server) = tunnel.pair();
        scope(|scope| {
            scope.spawn(|| send_pattern(&client, 1, SOME));
            scope.spawn(|| send_pattern(&server, 2, SOME));
            let back = scope.spawn(|| receive_pattern(&server, 1));
            assert_eq!(receive_pattern(&client, 2), SOME);
            assert_eq!(back.join().unwrap(), SOME);
        });
        tunnel.over();
        for relay in [&tunnel.entry, &tunnel.exit] {
            let row = relay.scoreboard.service(0, 0);
            assert_eq!(row.bytes_to_back().load(Relaxed), SOME as u64);
            assert_eq!(row.bytes_to_front().load(Relaxed), SOME as u64);
            assert_eq!(row.handshakes_new().load(Relaxed), 1);
        }
    }
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    for which in BOTH {
        let mut tunnel = Tunnel::new(version(which));
        for n in 0..3 {
            let (client, server) = tunnel.pair();
            (&client).write_all(b"x").unwrap();
            (&server).read_exact(&mut [0]).unwrap();
            (&server).write_all(b"y").unwrap();
            (&client).read_exact(&mut [0]).unwrap();
            drop((client, server));
            tunnel.over();
            for scoreboard in [&tunnel.entry.scoreboard, &tunnel.exit.scoreboard] {
                let counts = scoreboard.counts(0);
                let (new, resumed) = (counts.handshakes_new, counts.handshakes_resumed);
                assert_eq!((new, resumed), (1, n));
                let by_version = match which {
                    TlsVersion::V1_2 => (counts.full_tls12, counts.resumed_tls12),
                    _ => (counts.full_tls13, counts.resumed_tls13),
                };
                assert_eq!(by_version, (1, n));
                let took = [counts.handshake, counts.connect, counts.session];
                assert_eq!(took.map(|took| took.count()), [n + 1; 3]);
                assert!(counts.handshake.micros > 0);
            }
        }
    }
}

#[test]
fn tickets_come_with_the_end_where_neither_side_sends_anything() {
    let mut tunnel = Tunnel::new(version(TlsVersion::V1_3));
    for n in 0..2 {
        let (client, server) = tunnel.pair();
        drop(server);
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
        drop(client);
        tunnel.over();
        let row = tunnel.exit.scoreboard.service(0, 0);
        assert_eq!(row.handshakes_resumed().load(Relaxed), n);
    }
}

#[test]
fn a_half_close_passes_through_tls_and_the_other_direction_goes_on() {
    for client_first in [true, false] {
        let mut tunnel = Tunnel::new(|_| {});
        let (client, server) = tunnel.pair();
        let (mut first, mut second) = match client_first {
            true => (&client, &server),
            false => (&server, &client),
        };
        first.write_all(b"question").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        second.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        second.write_all(b"answer").unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        first.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        tunnel.over();
    }
}

#[test]
fn a_reset_passes_through_tls() {
    let mut tunnel = Tunnel::new(|_| {});
    let (client, server) = tunnel.pair();
    (&client).write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    reset(client);
    assert!(is_reset(&server));
    tunnel.over();
}

/// Copies one way until the end of file, which is passed on as a FIN.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn without_close_notify_each_end_is_passed_on_and_none_is_waited_for() {
    let mut tunnel = Tunnel::new(|_| {});
    let client = tunnel.entry.client();
    let left = tunnel.entry.server();
    let (right, theirs) = accepted();
    tunnel.exit.adopt(theirs);
    let server = scope(|scope| {
        scope.spawn(|| copy(&left, &right));
        scope.spawn(|| copy(&right, &left));
        let server = tunnel.exit.server();
        (&client).write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        // From here on nothing passes: a FIN each way, and no close_notify. The copying threads may
        // send theirs first.
        let _ = left.shutdown(Shutdown::Both);
        let _ = right.shutdown(Shutdown::Both);
        server
    });
    let start = Instant::now();
    assert_eq!(ending(&client).unwrap(), 0);
    assert_eq!(ending(&server).unwrap(), 0);
    drop((client, server));
    tunnel.over();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "waits for close_notify"
    );
}

#[test]
fn a_peer_that_answers_no_close_notify_delays_nothing_once_it_closes() {
    let mut tunnel = Tunnel::new(|_| {});
    let client = tunnel.entry.client();
    let left = tunnel.entry.server();
    let (right, theirs) = accepted();
    tunnel.exit.adopt(theirs);
    scope(|scope| {
        // Nothing from the exit goes back after the client has ended, as with Schannel.
        scope.spawn(|| {
            copy(&left, &right);
            let _ = left.shutdown(Shutdown::Write);
        });
        scope.spawn(|| {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = (&right).read(&mut chunk) {
                let _ = (&left).write_all(&chunk[..count]);
            }
        });
        let server = tunnel.exit.server();
        (&client).write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ending(&client).unwrap(), 0);
        drop(server);
    });
    tunnel.over();
}

#[test]
fn plain_text_where_tls_is_expected_is_refused_with_an_alert() {
    let mut tunnel = Tunnel::new(|_| {});
    let mut client = tunnel.exit.client();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    let row = tunnel.exit.scoreboard.service(0, 0);
    eventually("it is counted", || row.failed_protocol().load(Relaxed) == 1);
    tunnel.over();
}

#[test]
fn a_client_that_leaves_in_its_handshake_has_vanished_and_a_silent_one_is_a_check() {
    for (words, counted) in [(&b"\x16\x03\x01"[..], (1, 0)), (b"", (0, 1))] {
        let mut tunnel = Tunnel::new(|_| {});
        tunnel.exit.client().write_all(words).unwrap();
        tunnel.over();
        let counts = tunnel.exit.scoreboard.counts(0);
        assert_eq!((counts.failed_vanished, counts.probes), counted);
    }
}

#[test]
fn a_client_that_says_nothing_is_reset_when_the_busy_time_is_up() {
    let mut tunnel = Tunnel::new(|service| {
        service.config.timeouts.busy = Duration::from_millis(200);
    });
    let client = tunnel.exit.client();
    assert!(is_reset(&client));
    tunnel.over();
}

#[test]
fn a_byte_at_a_time_is_no_way_to_outlast_the_busy_time() {
    let mut tunnel = Tunnel::new(|service| {
        service.config.timeouts.busy = Duration::from_millis(500);
    });
    let mut client = tunnel.exit.client();
    let pace = Some(Duration::from_millis(20));
    client.set_read_timeout(pace).unwrap();
    let start = Instant::now();
    // A ClientHello of 16 KiB that never ends.
    client.write_all(&[22, 3, 1, 64, 0]).unwrap();
    while client.write_all(&[1]).is_ok() {
        match client.read(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    assert!(start.elapsed() >= Duration::from_millis(490));
    tunnel.over();
}

#[test]
fn starttls_joins_a_plain_client_and_a_plain_server_through_tls() {
    let mut tunnel = Tunnel::new(|service| service.config.protocol = Some(Protocol::Smtp));
    let (mut client, mut server) = tunnel.pair();
    server.write_all(b"220 mail.example.com ESMTP\r\n").unwrap();
    let mut greeting = [0; 28];
    client.read_exact(&mut greeting).unwrap();
    assert!(greeting.starts_with(b"220 mail.example.com ESMTP"));
    // The relays' own dialogue is over: from here on only client and server talk.
    client.write_all(b"NOOP\r\n").unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"NOOP\r\n") {
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    let row = tunnel.exit.scoreboard.service(0, 0);
    assert_eq!(row.handshakes_new().load(Relaxed), 1);
    drop((client, server));
    tunnel.over();
}

//! The first answer comes at once, even to a peer with Nagle's algorithm. Such a peer has one short
//! segment in flight at a time, and where TCP delays an acknowledgement its next segment waits for 40
//! ms. So adit acknowledges what arrives on a TLS end and causes no reply as soon as its session waits.

mod acknowledged;
mod servers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion};

use crate::require;
use crate::support::certs::{Kind, Wish};
use crate::support::dialogue::{IMAP, Lines, POP3, SMTP, Seen, Starttls};
use crate::support::peers::{self, Server};
use crate::support::tls::{self, ClientStream};
use crate::support::{Adit, Certs, DEADLINE, old_tls};

/// Far below a delayed acknowledgement (40 ms) and tickets that wait for payload (20 ms).
const AT_ONCE: Duration = Duration::from_millis(8);

/// A busy machine slows many attempts; a stall slows all of them.
const ATTEMPTS: usize = 100;

/// Fails unless at least one of many attempts is answered at once.
#[track_caller]
fn at_once(mut attempt: impl FnMut() -> Duration) {
    let mut best = Duration::MAX;
    for _ in 0..ATTEMPTS {
        best = best.min(attempt());
        if best < AT_ONCE {
            return;
        }
    }
    panic!("the fastest of {ATTEMPTS} answers took {best:?}");
}

/// A connection with Nagle's algorithm on, the default for sockets.
fn connect(address: SocketAddr) -> TcpStream {
    nagle(peers::connect(address))
}

fn nagle(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(false).expect("TCP_NODELAY");
    stream
}

/// The time from a request to the first byte of its answer.
fn asked(stream: &mut (impl Read + Write)) -> Duration {
    let start = Instant::now();
    stream.write_all(b"x").expect("sending");
    stream.read_exact(&mut [0]).expect("an answer");
    start.elapsed()
}

fn server_mode(certs: &Certs, upstream: &Server) -> Adit {
    Adit::serve(upstream.line() + &certs.server().lines())
}

/// What makes a service one of s2n-tls.
const OLD: &str = "sslVersionMin = TLSv1\n";

fn client_mode(certs: &Certs, upstream: &Server, more: &str) -> Adit {
    let ca = certs.ca_line();
    let connect = upstream.line();
    Adit::serve(format!(
        "client = yes\n{connect}{ca}verifyChain = yes\n{more}"
    ))
}

fn server_mode_answers(versions: &[&'static SupportedProtocolVersion], kind: HandshakeKind) {
    server_mode_with("", versions, kind);
}

fn server_mode_with(
    more: &str,
    versions: &[&'static SupportedProtocolVersion],
    kind: HandshakeKind,
) {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(upstream.line() + &certs.server().lines() + more);
    let config = || tls::client_config(&certs.ca(), versions, None);
    let kept = config();
    let client = || {
        let config = match kind {
            HandshakeKind::Resumed => kept.clone(),
            _ => config(),
        };
        tls::start_client(config, connect(adit.address("test"))).expect("a handshake")
    };
    if kind == HandshakeKind::Resumed {
        // The first one brings the ticket.
        asked(&mut client());
    }
    at_once(|| {
        let mut client = client();
        assert_eq!(client.conn.handshake_kind(), Some(kind));
        asked(&mut client)
    });
}

#[test]
fn a_client_with_nagle_is_answered_at_once_after_a_tls_1_3_handshake() {
    server_mode_answers(tls::ONLY_13, HandshakeKind::Full);
}

#[test]
fn a_client_with_nagle_is_answered_at_once_after_tls_1_3_resumption() {
    server_mode_answers(tls::ONLY_13, HandshakeKind::Resumed);
}

#[test]
fn a_client_with_nagle_is_answered_at_once_after_a_tls_1_2_handshake() {
    server_mode_answers(tls::ONLY_12, HandshakeKind::Full);
}

#[test]
fn a_client_with_nagle_is_answered_at_once_after_tls_1_2_resumption() {
    server_mode_answers(tls::ONLY_12, HandshakeKind::Resumed);
}

#[test]
fn a_client_with_nagle_is_answered_at_once_where_s2n_serves_it() {
    for versions in [tls::ONLY_12, tls::ONLY_13] {
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            server_mode_with(OLD, versions, kind);
        }
    }
}

#[test]
fn a_tls_1_0_client_with_nagle_is_answered_at_once_also_when_it_resumes() {
    require!(adit);
    require!(
        old_tls::available(),
        "tlslite-ng is not installed; tests/run does it"
    );
    // The client encrypts in Python, and no ticket waits: below a delayed acknowledgement is enough.
    const WITHOUT_A_WAIT: Duration = Duration::from_millis(24);
    let certs = Certs::new();
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.issue("rsa", wish).lines() + OLD;
    let adit = Adit::serve(lines);
    for options in [
        &["--cipher", "aes128"][..],
        &["--cipher", "aes128", "--again"],
        &["--cipher", "3des", "--again"],
    ] {
        let fastest = old_tls::fastest_answer(adit.address("test"), WITHOUT_A_WAIT, options);
        assert!(fastest < WITHOUT_A_WAIT, "{options:?}: {fastest:?}");
    }
}

/// What the client would write now, as records.
fn records(conn: &mut ClientConnection) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut bytes).expect("a Vec takes everything");
    }
    let mut records = Vec::new();
    let mut rest = &bytes[..];
    while let [_, _, _, high, low, ..] = *rest {
        let (record, behind) = rest.split_at(5 + usize::from(u16::from_be_bytes([high, low])));
        records.push(record.to_vec());
        rest = behind;
    }
    records
}

/// Does the handshake, but withholds the client's last flight: its records.
fn up_to_the_last_flight(
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> (ClientStream, Vec<Vec<u8>>) {
    let name = "localhost".try_into().expect("a name");
    let conn = ClientConnection::new(config, name).expect("a connection");
    let mut client = ClientStream::new(conn, stream);
    loop {
        let flight = records(&mut client.conn);
        if !client.conn.is_handshaking() {
            return (client, flight);
        }
        client.sock.write_all(&flight.concat()).expect("sending");
        client.conn.read_tls(&mut client.sock).expect("receiving");
        client.conn.process_new_packets().expect("a handshake");
    }
}

/// Sends these pieces one by one; returns the time to the first byte of the answer.
fn asked_in_pieces(client: &mut ClientStream, pieces: &[Vec<u8>]) -> Duration {
    let start = Instant::now();
    for piece in pieces {
        client.sock.write_all(piece).expect("sending");
    }
    client.read_exact(&mut [0]).expect("an answer");
    start.elapsed()
}

/// As Java's SSLSocket does.
#[test]
fn change_cipher_spec_finished_and_request_by_three_writes_are_answered_at_once() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream);
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    at_once(|| {
        let stream = connect(adit.address("test"));
        let (mut client, mut pieces) = up_to_the_last_flight(config.clone(), stream);
        client.conn.writer().write_all(b"x").expect("a request");
        pieces.extend(records(&mut client.conn));
        assert_eq!(pieces.len(), 3, "{pieces:?}");
        asked_in_pieces(&mut client, &pieces)
    });
}

#[test]
fn a_record_by_pieces_is_answered_at_once_also_late_in_a_connection() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream);
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    let mut client = tls::start_client(config, connect(adit.address("test"))).expect("a handshake");
    // TCP itself acknowledges the first segments of a connection at once.
    for _ in 0..50 {
        asked(&mut client);
    }
    for size in [30, 3000, 16_000] {
        at_once(|| {
            client
                .conn
                .writer()
                .write_all(&vec![b'x'; size])
                .expect("a request");
            let record = records(&mut client.conn).concat();
            let pieces: Vec<_> = record
                .chunks(record.len() / 2)
                .map(<[u8]>::to_vec)
                .collect();
            let time = asked_in_pieces(&mut client, &pieces);
            client
                .read_exact(&mut vec![0; size - 1])
                .expect("the whole answer");
            time
        });
    }
}

#[test]
fn a_client_with_nagle_that_ends_its_sending_is_answered_at_once() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::start(|mut stream| {
        // The answer follows the client's end.
        let request = peers::read_to_end(&mut stream);
        let _ = stream.write_all(&request);
    });
    let adit = server_mode(&certs, &upstream);
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    at_once(|| {
        let stream = connect(adit.address("test"));
        let mut client = tls::start_client(config.clone(), stream).expect("a handshake");
        let start = Instant::now();
        client.write_all(b"x").expect("sending");
        tls::end(&mut client);
        client.read_exact(&mut [0]).expect("an answer");
        let time = start.elapsed();
        assert_eq!(peers::read_to_end(&mut client), b"");
        time
    });
}

fn starttls_server_mode_answers(protocol: Starttls) {
    require!(adit);
    let certs = Certs::new();
    let upstream = protocol.plain_server(Seen::default());
    let (name, server) = (protocol.name, certs.server().lines());
    let adit = Adit::serve(format!("protocol = {name}\n{}{server}", upstream.line()));
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    at_once(|| {
        let mut client = Lines(connect(adit.address("test")));
        client.expect(protocol.greeting.split(' ').next().expect("a word"));
        match name {
            "smtp" => client.ask(protocol.request, "220"),
            "pop3" => client.ask(protocol.request, "+OK"),
            _ => client.ask(&format!("x {}", protocol.request), "x OK"),
        };
        let mut client = Lines(tls::start_client(config.clone(), client.0).expect("a handshake"));
        let (command, answer) = protocol.command;
        let start = Instant::now();
        client.ask(command, answer);
        start.elapsed()
    });
}

#[test]
fn an_smtp_client_with_nagle_is_answered_at_once_after_starttls() {
    starttls_server_mode_answers(SMTP);
}

#[test]
fn a_pop3_client_with_nagle_is_answered_at_once_after_stls() {
    starttls_server_mode_answers(POP3);
}

#[test]
fn an_imap_client_with_nagle_is_answered_at_once_after_starttls() {
    starttls_server_mode_answers(IMAP);
}

/// In client mode, at a port that takes clients as they are.
fn auto_answers(protocol: Starttls) {
    require!(adit);
    let (lan, provider) = (Certs::new(), Certs::new());
    let pair = provider.server();
    let config = tls::server_config(&pair, tls::ONLY_13, None);
    let upstream = protocol.server(config, Seen::default(), "");
    let (name, pair) = (protocol.name, lan.server());
    let adit = client_mode(
        &provider,
        &upstream,
        &format!(
            "protocol = {name}\nacceptTLS = auto\nacceptCert = {}\nacceptKey = {}\n",
            pair.cert.display(),
            pair.key.display()
        ),
    );
    let config = tls::client_config(&lan.ca(), tls::ONLY_13, None);
    let greeting = protocol.greeting.split(' ').next().expect("a word");
    let (command, answer) = protocol.command;
    at_once(|| {
        let mut client = Lines(connect(adit.address("test")));
        client.expect(greeting);
        match name {
            "smtp" => client.ask(protocol.request, "220"),
            "pop3" => client.ask(protocol.request, "+OK"),
            _ => client.ask(&format!("x {}", protocol.request), "x OK"),
        };
        let mut client = Lines(tls::start_client(config.clone(), client.0).expect("a handshake"));
        let start = Instant::now();
        client.ask(command, answer);
        start.elapsed()
    });
    // Two handshakes are in it, which take their time on a busy machine: as much as without Nagle's algorithm.
    let begins_with_tls = |connect: fn(SocketAddr) -> TcpStream| {
        let start = Instant::now();
        let stream = connect(adit.address("test"));
        let mut client = Lines(tls::start_client(config.clone(), stream).expect("a handshake"));
        client.expect(greeting);
        client.ask(command, answer);
        start.elapsed()
    };
    let unhindered = (0..20).map(|_| begins_with_tls(peers::connect)).min();
    let unhindered = unhindered.expect("twenty of them");
    at_once(|| begins_with_tls(connect).saturating_sub(unhindered));
    at_once(|| {
        let mut client = Lines(connect(adit.address("test")));
        client.expect(greeting);
        let start = Instant::now();
        // In two segments, of which Nagle's algorithm keeps the second back.
        let (head, tail) = command.split_at(2);
        client.send(head);
        client.ask(tail, answer);
        start.elapsed()
    });
}

#[test]
fn an_smtp_client_with_nagle_is_answered_at_once_however_it_begins() {
    auto_answers(SMTP);
}

#[test]
fn a_pop3_client_with_nagle_is_answered_at_once_however_it_begins() {
    auto_answers(POP3);
}

#[test]
fn an_imap_client_with_nagle_is_answered_at_once_however_it_begins() {
    auto_answers(IMAP);
}

/// Payload segments that have arrived, and segments sent but not acknowledged.
fn segments(socket: &TcpStream) -> (u32, u32) {
    // SAFETY: it consists of numbers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one live value; an older kernel fills in less of
    // it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut info).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "TCP_INFO");
    (info.tcpi_data_segs_in, info.tcpi_unacked)
}

#[test]
fn finished_is_acknowledged_before_the_tickets_which_go_with_the_answer() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream);
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    // The tickets wait for 20 ms, and a busy machine may take that long.
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let stream = connect(adit.address("test"));
        let mut client = tls::start_client(config.clone(), stream).expect("a handshake");
        let flight = segments(&client.sock).0;
        let end = Instant::now() + DEADLINE;
        let before = loop {
            let (came, unacknowledged) = segments(&client.sock);
            if unacknowledged == 0 {
                break came - flight;
            }
            assert!(Instant::now() < end, "Finished is never acknowledged");
        };
        asked(&mut client);
        let after = segments(&client.sock).0 - flight;
        if (before, after) == (0, 1) {
            return;
        }
        seen.push((before, after));
    }
    panic!("segments with payload until the acknowledgement, and until the answer: {seen:?}");
}

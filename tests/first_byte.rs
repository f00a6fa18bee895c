//! The first answer comes at once, even to a peer with Nagle's algorithm. Such a peer has one short
//! segment in flight at a time, and where TCP delays an acknowledgement its next segment waits for 40
//! ms. So adit acknowledges what arrives on a TLS end and causes no reply as soon as its session waits.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use rustls::{StreamOwned, SupportedProtocolVersion};

use crate::require;
use crate::support::adit::program;
use crate::support::certs::{Kind, Wish};
use crate::support::dialogue::{IMAP, Lines, POP3, SMTP, Seen, Starttls};
use crate::support::peers::{self, Server};
use crate::support::tls::{self, ClientStream, ServerStream};
use crate::support::{Adit, Certs, DEADLINE, Plan, old_tls, wait_for};

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
        let fastest = old_tls::fastest_answer(adit.address("test"), AT_ONCE, options);
        assert!(fastest < AT_ONCE, "{options:?}: {fastest:?}");
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
    at_once(|| {
        let start = Instant::now();
        let stream = connect(adit.address("test"));
        let mut client = Lines(tls::start_client(config.clone(), stream).expect("a handshake"));
        client.expect(greeting);
        client.ask(command, answer);
        // Two handshakes are in it, and not one wait.
        start.elapsed() / 4
    });
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

/// When a server wrote its answer.
type Written = Arc<Mutex<Option<Instant>>>;

/// A server with Nagle on: its tickets are in a segment of their own before it answers.
fn serve_with_nagle(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    serve: impl Fn(&mut ServerStream),
) {
    if let Ok(mut stream) = tls::start_server(config.clone(), nagle(stream)) {
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).expect("sending");
        }
        serve(&mut stream);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

/// The time from the server's answer to its arrival at a client that has sent `request`.
fn answer_arrives(adit: &Adit, request: &str, written: &Written) -> Duration {
    let mut client = adit.connect("test");
    client.write_all(request.as_bytes()).expect("sending");
    client.read_exact(&mut [0]).expect("an answer");
    since(written)
}

/// The time since it was written.
fn since(written: &Written) -> Duration {
    let note = written.lock().expect("no panic").take();
    note.expect("it has been written").elapsed()
}

fn client_mode_hears(request: &'static str) {
    client_mode_with("", tls::ONLY_13, request);
}

fn client_mode_with(
    more: &str,
    versions: &[&'static SupportedProtocolVersion],
    request: &'static str,
) {
    require!(adit);
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), versions, None);
    let written = Written::default();
    let note = written.clone();
    let upstream = Server::start(move |stream| {
        serve_with_nagle(stream, &config, |stream| {
            stream
                .read_exact(&mut vec![0; request.len()])
                .expect("a request");
            *note.lock().expect("no panic") = Some(Instant::now());
            stream.write_all(b"x").expect("sending");
        });
    });
    let adit = client_mode(&certs, &upstream, more);
    at_once(|| answer_arrives(&adit, request, &written));
}

#[test]
fn client_mode_hears_the_answer_of_a_server_with_nagle_at_once() {
    client_mode_hears("request");
}

#[test]
fn client_mode_hears_the_greeting_of_a_server_with_nagle_at_once() {
    client_mode_hears("");
}

#[test]
fn client_mode_by_s2n_hears_the_answer_and_the_greeting_of_a_server_with_nagle_at_once() {
    for versions in [tls::ONLY_12, tls::ONLY_13] {
        for request in ["request", ""] {
            client_mode_with(OLD, versions, request);
        }
    }
}

#[test]
fn client_mode_hears_the_answer_of_a_starttls_server_with_nagle_at_once() {
    require!(adit);
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::ONLY_13, None);
    let written = Written::default();
    let note = written.clone();
    let upstream = Server::start(move |stream| {
        let mut plain = Lines(stream);
        plain.send(POP3.greeting);
        if plain.line().is_none() {
            return;
        }
        plain.send(POP3.ready);
        serve_with_nagle(plain.0, &config, |stream| {
            let mut lines = Lines(stream);
            lines.line().expect("a command");
            *note.lock().expect("no panic") = Some(Instant::now());
            lines.send("+OK\r\n");
        });
    });
    let adit = client_mode(&certs, &upstream, "protocol = pop3\n");
    at_once(|| {
        let mut client = Lines(adit.connect("test"));
        client.expect("+OK");
        // Sent before TLS is up, so that it goes with the end of the handshake, and the answer comes
        // after the tickets.
        client.ask("NOOP", "+OK");
        since(&written)
    });
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

/// One adit under strace, with the trace.
struct Traced {
    adit: Adit,
    trace: PathBuf,
}

impl Traced {
    fn start(plan: Plan) -> Traced {
        let trace = plan.folder().join("trace");
        let calls = "trace=epoll_wait,recvfrom,sendto,sendmsg,shutdown,setsockopt";
        let (file, binary) = (plan.file(), program());
        let paths = [&trace, &binary, &file].map(|path| path.display().to_string());
        let [output, binary, file] = &paths;
        // With -D the child is adit itself, and the tracer runs beside it.
        let options = "-D -f -yy -qq -e signal=none -e".split(' ');
        let arguments = [calls, "-o", output, binary, file];
        let arguments: Vec<&str> = options.chain(arguments).collect();
        let plan = plan.program("/usr/bin/strace").arguments(&arguments);
        Traced {
            adit: plan.start(),
            trace,
        }
    }

    /// Every traced call in order: the thread, and the call.
    fn calls(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(&self.trace).expect("a trace");
        let calls = text.lines().filter_map(|line| {
            let (thread, call) = line.split_once(' ')?;
            // "<... resumed>" is the end of a call whose start was seen.
            let call = call.trim_start();
            (!call.starts_with('<')).then(|| (thread.to_owned(), call.to_owned()))
        });
        calls.collect()
    }

    /// The sockets on which an immediate acknowledgement was requested, in the order of the calls.
    fn hurried(&self) -> Vec<String> {
        let calls = self.calls();
        let hurried = calls
            .iter()
            .filter(|(_, call)| call.contains("TCP_QUICKACK"));
        hurried.map(|(_, call)| socket(call).to_owned()).collect()
    }

    /// Waits for the `count`th such call, and returns its socket.
    fn wait_for(&self, count: usize) -> String {
        wait_for("TCP_QUICKACK", || self.hurried().into_iter().nth(count - 1))
    }

    /// Waits until a socket was read this many times, and its thread waits again.
    fn wait_for_reads(&self, socket: &str, count: usize) {
        wait_for("a read", || {
            let calls = self.calls();
            let reads = |(_, call): &&(String, String)| {
                call.starts_with("recvfrom(") && call.contains(socket)
            };
            let (thread, _) = calls.iter().filter(reads).nth(count - 1)?;
            let (_, last) = calls.iter().rfind(|(by, _)| by == thread)?;
            last.starts_with("epoll_wait(").then_some(())
        });
    }

    /// Fails unless each such call follows a read of that socket after which nothing was sent, and ends
    /// its turn.
    fn only_before_waits(&self) {
        let mut calls = self.calls();
        // Those of the other end, when it is made.
        calls.retain(|(_, call)| !call.contains("TCP_NODELAY"));
        for (number, (thread, call)) in calls.iter().enumerate() {
            if !call.contains("TCP_QUICKACK") {
                continue;
            }
            let same = |(by, _): &&(String, String)| by == thread;
            let before = calls[..number].iter().rev().find(same);
            let before = before.map_or("", |(_, call)| call);
            assert!(before.starts_with("recvfrom("), "{before}\n{call}");
            assert_eq!(socket(before), socket(call));
            // The last one's wait may not have started yet.
            if let Some((_, after)) = calls[number + 1..].iter().find(same) {
                assert!(after.starts_with("epoll_wait("), "{call}\n{after}");
            }
        }
    }
}

/// A call's first argument as strace shows it: `TCP:[127.0.0.1:993->127.0.0.1:41234]`.
fn socket(call: &str) -> &str {
    let inside = call
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once("]>"));
    inside.map_or("", |(socket, _)| socket)
}

/// Ends a connection: the other side answers with its own end.
fn end(mut client: ClientStream) {
    tls::end(&mut client);
    client
        .sock
        .shutdown(std::net::Shutdown::Write)
        .expect("FIN");
    assert_eq!(peers::read_to_end(&mut client), b"");
}

#[test]
fn nothing_but_what_a_tls_end_keeps_to_itself_is_acknowledged_early_and_that_once() {
    require!(root);
    require!(adit);
    require!(program "strace");
    let certs = Certs::new();
    let plain = Server::echo();
    let encrypted = tls::echo_server(&certs, tls::ONLY_13);
    let server = plain.line() + &certs.server().lines();
    let client = format!("client = yes\n{}", encrypted.line());
    let plan = Plan::new().global("workers = 1\nthreads = 1");
    let traced = Traced::start(plan.service("server", server).service("client", client));
    let adit = &traced.adit;
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);

    // Finished alone, then messages back and forth.
    let stream = connect(adit.address("server"));
    let port = format!(":{}", stream.local_addr().expect("an address").port());
    let mut client = tls::start_client(config.clone(), stream).expect("a handshake");
    let first = traced.wait_for(1);
    assert!(first.ends_with(&port), "{first}");
    for _ in 0..20 {
        asked(&mut client);
    }
    end(client);

    // Finished and a request in one segment.
    let stream = peers::connect(adit.address("server"));
    let (mut client, last_flight) = up_to_the_last_flight(config, stream);
    client.conn.writer().write_all(b"x").expect("a request");
    let request = records(&mut client.conn);
    let once = [last_flight, request].concat().concat();
    client.sock.write_all(&once).expect("sending");
    client.read_exact(&mut [0]).expect("an answer");
    end(client);

    // Client mode: the server's tickets. Nothing is requested for the plain client.
    let mut client = adit.connect("client");
    let second = traced.wait_for(2);
    let upstream = format!("->{}", encrypted.address);
    assert!(second.ends_with(&upstream), "{second}");
    for _ in 0..20 {
        asked(&mut client);
    }
    client.shutdown(std::net::Shutdown::Write).expect("FIN");
    assert_eq!(peers::read_to_end(&mut client), b"");

    adit.wait_for_log_times("Connection closed", 3);
    assert_eq!(traced.hurried(), [first, second]);
    traced.only_before_waits();
}

#[test]
fn finished_is_acknowledged_while_the_upstream_is_being_connected() {
    require!(root);
    require!(adit);
    require!(program "strace");
    let certs = Certs::new();
    let upstream = peers::full_backlog();
    let server = certs.server().lines();
    let server = format!("connect = {}\n{server}", upstream.address);
    let traced = Traced::start(Plan::new().service("server", server));
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    let client = tls::connect(config, traced.adit.address("server"));
    let port = client.sock.local_addr().expect("an address").port();
    let hurried = traced.wait_for(1);
    assert!(hurried.ends_with(&format!(":{port}")), "{hurried}");
    assert_eq!(traced.adit.count_in_log("s_connect: connected"), 0);
    traced.only_before_waits();
}

/// A download over a slow line arrives segment by segment. Acknowledging each would fill the return
/// path, where TCP is content with one for two.
#[test]
fn a_long_record_is_acknowledged_early_when_it_begins_and_not_with_each_segment() {
    require!(root);
    require!(adit);
    require!(program "strace");
    const SEGMENT: usize = 1400;
    let certs = Certs::new();
    let plain = Server::echo();
    let server = plain.line() + &certs.server().lines();
    let plan = Plan::new().global("workers = 1\nthreads = 1");
    let traced = Traced::start(plan.service("server", server));
    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    let stream = peers::connect(traced.adit.address("server"));
    let mut client = tls::start_client(config, stream).expect("a handshake");
    let finished = traced.wait_for(1);
    asked(&mut client);
    let reads = |traced: &Traced| {
        let calls = traced.calls();
        let on_it = |call: &str| call.starts_with("recvfrom(") && socket(call) == finished;
        calls.iter().filter(|(_, call)| on_it(call)).count()
    };
    let mut read = reads(&traced);
    let sent = vec![b'x'; 10 * SEGMENT];
    client.conn.writer().write_all(&sent).expect("a record");
    let record = records(&mut client.conn).concat();
    for segment in record.chunks(SEGMENT) {
        client.sock.write_all(segment).expect("sending");
        read += 1;
        traced.wait_for_reads(&finished, read);
    }
    let mut answer = vec![0; sent.len()];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(traced.hurried(), [finished.clone(), finished]);
    traced.only_before_waits();
}

/// TLS over a Unix socket.
fn over_unix<C, D>(mut conn: C, mut socket: UnixStream) -> StreamOwned<C, UnixStream>
where
    C: std::ops::DerefMut + std::ops::Deref<Target = rustls::ConnectionCommon<D>>,
    D: rustls::SideData,
{
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    while conn.is_handshaking() || conn.wants_write() {
        conn.complete_io(&mut socket).expect("a handshake");
    }
    StreamOwned::new(conn, socket)
}

#[test]
fn a_unix_socket_is_not_asked_for_what_only_tcp_has() {
    require!(root);
    require!(adit);
    require!(program "strace");
    let certs = Certs::new();
    let plain = Server::echo();
    let plan = Plan::new().global("workers = 1\nthreads = 1");
    let (front, back) = (plan.folder().join("front"), plan.folder().join("back"));
    let listener = UnixListener::bind(&back).expect("a listener");
    let (accept, connect) = (front.display(), back.display());
    let server = format!(
        "accept = {accept}\n{}{}",
        plain.line(),
        certs.server().lines()
    );
    let client = format!("client = yes\nconnect = {connect}\n");
    let traced = Traced::start(plan.service("server", server).service("client", client));

    let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
    let name = "localhost".try_into().expect("a name");
    let conn = ClientConnection::new(config, name).expect("a connection");
    let mut client = over_unix(conn, UnixStream::connect(&front).expect("connecting"));
    traced
        .adit
        .wait_for_log("TLS accepted: new session negotiated");
    asked(&mut client);

    let mut client = traced.adit.connect("client");
    let (socket, _) = listener.accept().expect("a connection");
    let config = tls::server_config(&certs.server(), tls::ONLY_13, None);
    let mut server = over_unix(ServerConnection::new(config).expect("a connection"), socket);
    traced
        .adit
        .wait_for_log("TLS connected: new session negotiated");
    client.write_all(b"x").expect("sending");
    peers::says_and_hears_nothing_but(&mut server, "x");
    server.write_all(b"y").expect("sending");
    peers::says_and_hears_nothing_but(&mut client, "y");

    assert_eq!(traced.hurried(), [""; 0]);
    assert!(
        traced
            .calls()
            .iter()
            .any(|(_, call)| call.starts_with("recvfrom(") && call.contains("UNIX"))
    );
}

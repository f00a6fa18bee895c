//! What is acknowledged early, and how often: seen by strace.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::{asked, connect, records, up_to_the_last_flight};
use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::tls::{self, ClientStream};
use crate::support::{Adit, Certs, DEADLINE, Plan, wait_for};

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

//! Bytes pass unchanged, in both modes and both versions, and each way to end a connection arrives on
//! the other side as what it was.

mod suites;
mod timeouts;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, dead_address, tls, wait_for};

/// Small enough for a debug build on two cores, and far more than all buffers on the way.
const BULK: u64 = 100 << 20;

fn client_mode(certs: &Certs, upstream: &Server, more: &str) -> Adit {
    Adit::serve(format!(
        "client = yes\n{}{}verifyChain = yes\n{more}",
        upstream.line(),
        certs.ca_line()
    ))
}

fn server_mode(certs: &Certs, upstream: &Server, more: &str) -> Adit {
    Adit::serve(format!(
        "{}{}{more}",
        upstream.line(),
        certs.server().lines()
    ))
}

#[test]
fn client_mode_adds_tls_1_3() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = client_mode(&certs, &upstream, "");
    peers::says_and_hears(&mut adit.connect("test"), "hello");
    adit.wait_for_log("TLS connected: new session negotiated");
    adit.wait_for_log("TLSv1.3 ciphersuite: TLS_");
}

#[test]
fn client_mode_adds_tls_1_2_where_the_server_knows_no_better() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::ONLY_12);
    let adit = client_mode(&certs, &upstream, "");
    peers::says_and_hears(&mut adit.connect("test"), "hello");
    adit.wait_for_log("TLSv1.2 ciphersuite: ECDHE-");
}

#[test]
fn server_mode_takes_tls_off() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "");
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let config = tls::client_config(&certs.ca(), versions, None);
        let mut client = tls::connect(config, adit.address("test"));
        peers::says_and_hears(&mut client, "hello");
    }
    adit.wait_for_log("TLSv1.3 ciphersuite: TLS_");
    adit.wait_for_log("TLSv1.2 ciphersuite: ECDHE-");
    adit.wait_for_log("Service [test] connected remote server from 127.0.0.1:");
}

#[test]
fn a_version_that_is_switched_off_is_refused_by_its_name() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "sslVersionMin = TLSv1.3\n");
    let config = tls::client_config(&certs.ca(), tls::ONLY_12, None);
    let refused = tls::start_client(config, peers::connect(adit.address("test")));
    let error = refused.expect_err("no TLS 1.2").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    adit.wait_for_log("unsupported protocol");
}

#[test]
fn ipv6_and_unix_sockets_serve_on_either_side() {
    let certs = Certs::new();
    let upstream = Server::on(
        std::net::TcpListener::bind("[::1]:0").expect("IPv6"),
        |mut s| {
            let _ = peers::echo(&mut s);
        },
    );
    let plan = Plan::new();
    let middle = plan.folder().join("middle.sock");
    let middle = middle.display();
    let adit = plan
        .service(
            "front",
            format!(
                "client = yes\naccept = ::1:0\nconnect = {middle}\n{}verifyChain = yes\n",
                certs.ca_line()
            ),
        )
        .service(
            "back",
            format!(
                "accept = {middle}\nconnect = ::1:{}\n{}",
                upstream.address.port(),
                certs.server().lines()
            ),
        )
        .start();
    peers::says_and_hears(&mut adit.connect("front"), "through both");
}

#[test]
fn a_client_that_ends_its_half_still_gets_the_answer() {
    let certs = Certs::new();
    // Answers only after it has seen the end.
    let upstream = tls::server(
        tls::server_config(&certs.server(), tls::BOTH, None),
        |mut stream| {
            let asked = peers::read_to_end(&mut stream);
            let _ = stream.write_all(&[b"you said ", asked.as_slice()].concat());
            tls::end(&mut stream);
        },
    );
    let adit = client_mode(&certs, &upstream, "");
    let mut client = adit.connect("test");
    client.write_all(b"hello").expect("sending");
    client.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!(peers::read_to_end(&mut client), b"you said hello");
    adit.wait_for_log("Connection closed: 5 byte(s) sent to TLS, 14 byte(s) sent to socket");
}

#[test]
fn a_tls_client_that_ends_its_half_still_gets_the_answer() {
    let certs = Certs::new();
    let upstream = Server::start(|mut stream| {
        let asked = peers::read_to_end(&mut stream);
        let _ = stream.write_all(&[b"you said ", asked.as_slice()].concat());
    });
    let adit = server_mode(&certs, &upstream, "");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    client.write_all(b"hello").expect("sending");
    tls::end(&mut client);
    assert_eq!(peers::read_to_end(&mut client), b"you said hello");
    adit.wait_for_log("Connection closed: 14 byte(s) sent to TLS, 5 byte(s) sent to socket");
}

#[test]
fn a_stream_that_is_cut_off_is_told_from_a_clean_end() {
    require!(adit);
    let certs = Certs::new();
    // FIN without close_notify: an attacker can send that.
    let upstream = tls::server(
        tls::server_config(&certs.server(), tls::BOTH, None),
        |mut stream| {
            let _ = stream.write_all(b"half of the");
            let _ = stream.flush();
            let _ = stream.sock.shutdown(Shutdown::Write);
            let _ = peers::read_until_gone(&mut stream.sock);
        },
    );
    let adit = client_mode(&certs, &upstream, "");
    let mut client = adit.connect("test");
    // As in stunnel, what did arrive is delivered.
    let heard = peers::read_until_gone(&mut client).expect("the half that arrived");
    assert_eq!(String::from_utf8_lossy(&heard), "half of the");
    adit.wait_for_log("without close_notify");
}

#[test]
fn a_clean_end_is_not_called_cut_off() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = client_mode(&certs, &upstream, "");
    let mut client = adit.connect("test");
    peers::says_and_hears(&mut client, "hello");
    client.shutdown(Shutdown::Write).expect("half-close");
    peers::read_to_end(&mut client);
    adit.wait_for_log("Service [test] finished (0 left)");
    assert_eq!(adit.count_in_log("without close_notify"), 0);
}

/// MySQL's servers do so behind a client's last command.
#[test]
fn a_server_that_closes_at_once_when_its_client_has_ended_is_no_failure() {
    let certs = Certs::new();
    let upstream = tls::server(
        tls::server_config(&certs.server(), tls::BOTH, None),
        |mut stream| {
            let _ = stream.write_all(b"ready");
            let _ = stream.flush();
            // TLS 1.3's records of four bytes and of close_notify. What is not read makes a reset of the close.
            wait_for("the command and the end", || {
                let count = stream.sock.peek(&mut [0; 100]).expect("peeking");
                (count >= 26 + 24).then_some(())
            });
        },
    );
    let lines = format!("client = yes\n{}", upstream.line());
    let adit = Plan::new()
        .global("logFormat = json\n")
        .service("test", lines)
        .start();
    let mut client = adit.connect("test");
    client.read_exact(&mut [0; 5]).expect("a greeting");
    client.write_all(b"quit").expect("sending");
    drop(client);
    adit.wait_for_log("Connection reset by peer (104), after its end was announced");
    adit.wait_for_log("\"ended\":\"closed\"");
    assert_eq!(adit.count_in_log("\"level\":\"err"), 0);
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    // stunnel 5.68 takes a reset that poll(2) reports with POLLHUP for an end of file.
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::start(|mut stream| {
        let mut byte = [0];
        let _ = stream.read_exact(&mut byte);
        peers::reset(stream);
    });
    let adit = server_mode(&certs, &upstream, "");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    client.write_all(b"x").expect("sending");
    let gone = peers::read_until_gone(&mut client.sock);
    let error = gone.expect_err("a reset, not an end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    adit.wait_for_log("Connection reset: ");
}

#[test]
fn a_peer_that_never_sends_close_notify_costs_no_half_minute() {
    require!(adit);
    let certs = Certs::new();
    // Like Schannel, it simply closes at the other side's close_notify.
    let upstream = tls::server(
        tls::server_config(&certs.server(), tls::BOTH, None),
        |mut stream| {
            let _ = peers::read_until_gone(&mut stream);
        },
    );
    let adit = client_mode(&certs, &upstream, "TIMEOUTclose = 300\nTIMEOUTidle = 300\n");
    let mut client = adit.connect("test");
    client.write_all(b"bye").expect("sending");
    client.shutdown(Shutdown::Write).expect("half-close");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("Service [test] finished (0 left)");
}

fn bulk_through_client_mode(versions: &'static [&'static rustls::SupportedProtocolVersion]) {
    let certs = Certs::new();
    let (done, upstream_done) = mpsc::channel();
    let done = Mutex::new(done);
    let config = tls::server_config(&certs.server(), versions, None);
    let upstream = tls::server(config, move |mut stream| {
        peers::expect_pattern(&mut stream, BULK);
        peers::send_pattern(&mut stream, BULK).expect("sending back");
        tls::end(&mut stream);
        // The client's close_notify: a socket that is closed with something unread resets the connection.
        let _ = peers::read_until_gone(&mut stream);
        let _ = done.lock().expect("no panic").send(());
    });
    let adit = client_mode(&certs, &upstream, "");
    let mut client = adit.connect("test");
    peers::send_pattern(&mut client, BULK).expect("sending");
    client.shutdown(Shutdown::Write).expect("half-close");
    peers::expect_pattern(&mut client, BULK);
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    upstream_done.recv().expect("the upstream got all of it");
    adit.wait_for_log(&format!(
        "Connection closed: {BULK} byte(s) sent to TLS, {BULK} byte(s) sent to socket"
    ));
}

#[test]
fn a_hundred_megabytes_each_way_arrive_byte_for_byte_over_tls_1_3() {
    bulk_through_client_mode(tls::ONLY_13);
}

#[test]
fn a_hundred_megabytes_each_way_arrive_byte_for_byte_over_tls_1_2() {
    bulk_through_client_mode(tls::ONLY_12);
}

#[test]
fn both_directions_are_busy_at_once() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    // Sending blocks far larger than the buffers one after the other would deadlock, so the echo is
    // read while more is sent: at most 1 MB ahead.
    let block = 64 << 10;
    let ahead = 16;
    let total = 512;
    let mut buffer = vec![0; block];
    let mut expected = vec![0; block];
    for turn in 0..total + ahead {
        if turn < total {
            peers::pattern((turn * block) as u64, &mut buffer);
            client.write_all(&buffer).expect("sending");
        }
        if turn >= ahead {
            peers::pattern(((turn - ahead) * block) as u64, &mut expected);
            client.read_exact(&mut buffer).expect("reading");
            assert!(buffer == expected, "block {} differs", turn - ahead);
        }
    }
}

#[test]
fn a_reader_that_stands_still_costs_bounded_memory() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::silent();
    let adit = server_mode(&certs, &upstream, "");
    let family = crate::support::proc::family(adit.pid());
    let memory = || -> u64 {
        let of = |one: &crate::support::proc::Process| {
            crate::support::proc::kilobytes(one.pid, "RssAnon")
        };
        family.iter().map(of).sum()
    };
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    client
        .sock
        .set_write_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    // rustls reads when it cannot write.
    client
        .sock
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let before = memory();
    // Writes until everything on the way is full. (Every quarter of a second the kernel takes a little
    // more, as it tunes buffers: the test does not wait for that.)
    let block = vec![7; 64 << 10];
    let mut taken = 0_u64;
    while client.write_all(&block).is_ok() {
        taken += block.len() as u64;
        assert!(
            taken < 1 << 30,
            "a gigabyte went into a connection that nobody reads"
        );
    }
    let grown = memory().saturating_sub(before);
    assert!(
        grown < 2048,
        "{grown} kB more for one connection that stands still"
    );
}

#[test]
fn the_next_upstream_is_tried_when_one_refuses() {
    let certs = Certs::new();
    let dead = dead_address();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = Adit::serve(format!(
        "client = yes\nconnect = {}\n{}{}verifyChain = yes\nfailover = prio\n",
        dead.address,
        upstream.line(),
        certs.ca_line()
    ));
    peers::says_and_hears(&mut adit.connect("test"), "hello");
    adit.wait_for_log(&format!(
        "s_connect: connect {}: Connection refused (111)",
        dead.address
    ));
}

#[test]
fn round_robin_takes_turns_over_all_workers() {
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let first = tls::server(config.clone(), |mut stream| {
        let _ = peers::echo(&mut stream);
    });
    let second = tls::server(config, |mut stream| {
        let _ = peers::echo(&mut stream);
    });
    let adit = Adit::serve(format!(
        "client = yes\n{}{}{}verifyChain = yes\nfailover = rr\n",
        first.line(),
        second.line(),
        certs.ca_line()
    ));
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut client = adit.connect("test");
        peers::says_and_hears(&mut client, "hello");
        open.push(client);
    }
    assert_eq!((first.connections(), second.connections()), (5, 5));
}

#[test]
fn when_every_upstream_refuses_the_client_is_told_by_the_end() {
    let dead = dead_address();
    let adit = Adit::serve(format!("client = yes\nconnect = {}\n", dead.address));
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log(&format!(
        "s_connect: connect {}: Connection refused (111)",
        dead.address
    ));
    adit.wait_for_log("No more addresses to connect");
}

#[test]
fn connections_to_the_upstream_come_from_local() {
    let certs = Certs::new();
    let (tell, peer) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = Server::start(move |mut stream| {
        let _ = tell.lock().expect("no panic").send(stream.peer_addr());
        let _ = peers::echo(&mut stream);
    });
    let source = crate::support::own_loopback();
    let adit = server_mode(&certs, &upstream, &format!("local = {source}\n"));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
    let peer = wait_for("the upstream's word", || peer.try_recv().ok());
    assert_eq!(peer.expect("its address").ip(), source);
}

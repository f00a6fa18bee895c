//! What strangers can make adit write is bounded, and nothing else is.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, dead_address, tls};

/// A client that speaks no TLS, to its end.
#[track_caller]
fn offend(mut client: TcpStream) {
    let _ = client.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let _ = peers::read_until_gone(&mut client);
}

#[track_caller]
fn from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    match address {
        SocketAddr::V4(address) => peers::connect_from(source, address),
        SocketAddr::V6(_) => unreachable!("adit listens at IPv4"),
    }
}

fn start(more: &str) -> (Adit, Certs, Server) {
    let certs = Certs::new();
    let upstream = Server::echo();
    let dead = dead_address();
    let lines = |connect: &str| format!("{connect}{}", certs.server().lines());
    let adit = Plan::new()
        .global(format!("workers = 1\n{more}"))
        .service("test", lines(&upstream.line()))
        .service("dead", lines(&format!("connect = {}\n", dead.address)))
        .start();
    (adit, certs, upstream)
}

#[test]
fn a_thousand_bad_hellos_are_ten_lines_and_a_sum_and_others_are_heard() {
    require!(adit);
    let (adit, certs, _upstream) = start("logRepeats = 10");
    let address = adit.address("test");
    for _ in 0..1000 {
        offend(peers::connect(address));
    }
    let (faults, before) = (adit.count_in_log(" LOG3["), adit.log().lines().count());
    assert_eq!(faults, 10);
    assert!(before < 300, "{before} lines");
    offend(from(Ipv4Addr::new(127, 0, 0, 2), address));
    adit.wait_for_log_times(" LOG3[", 11);
    // A fault of another kind, by the same address: the administrator's.
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let dead = peers::connect(adit.address("dead"));
    if let Ok(mut client) = tls::start_client(config, dead) {
        let _ = peers::read_until_gone(&mut client);
    }
    adit.wait_for_log("No more addresses to connect");
    let (_, log) = adit.stop();
    let sum = "LOG3[main]: 990 more line(s) about connections from 127.0.0.1 in a minute, as: SSL_accept: ";
    assert!(log.contains(sum), "no sum in:\n{log}");
    let course = "more line(s) about connections from 127.0.0.1 in a minute\n";
    assert!(log.contains(course), "no sum in:\n{log}");
    assert!(!log.contains("from 127.0.0.2 in a minute"), "{log}");
}

#[test]
fn good_connections_are_never_summed_up() {
    require!(adit);
    let (adit, certs, _upstream) = start("logRepeats = 1");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for _ in 0..30 {
        let mut client = tls::connect(config.clone(), adit.address("test"));
        peers::says_and_hears(&mut client, "hello");
        tls::end(&mut client);
        peers::read_to_end(&mut client);
    }
    adit.wait_for_log_times("Service [test] finished (", 30);
    assert_eq!(adit.count_in_log("Service [test] accepted connection"), 30);
}

//! Nothing is waited for without end, and nothing is cut that is still to come.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, DEADLINE, tls};

use super::{client_mode, server_mode};

#[test]
fn an_idle_connection_ends_by_timeoutidle() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = client_mode(&certs, &upstream, "TIMEOUTidle = 1\n");
    let mut client = adit.connect("test");
    peers::says_and_hears(&mut client, "then silence");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("TIMEOUTidle exceeded: sending reset");
    adit.wait_for_log("Service [test] finished (0 left)");
}

#[test]
fn an_upstream_that_never_ends_its_half_ends_by_timeoutclose() {
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    // Sends its end, and then neither reads nor closes.
    let upstream = tls::server(config, |mut stream| {
        tls::end(&mut stream);
        let mut byte = [0];
        while stream.sock.peek(&mut byte).is_ok_and(|n| n > 0) {
            std::thread::park_timeout(Duration::from_secs(1));
        }
    });
    let adit = client_mode(&certs, &upstream, "TIMEOUTclose = 1\nTIMEOUTidle = 300\n");
    let mut client = adit.connect("test");
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    // This side keeps its half open as well.
    adit.wait_for_log("Service [test] finished (0 left)");
}

/// A server that answers after the client's half-close, and a client that sends more after the
/// server's: each sends only after the other's end has arrived.
#[test]
fn timeoutclose_0_cuts_nothing_that_is_still_to_come() {
    require!(adit);
    let certs = Certs::new();
    let (answer, may_answer) = mpsc::channel::<()>();
    let (heard, hears) = mpsc::channel();
    let (may_answer, heard) = (Mutex::new(may_answer), Mutex::new(heard));
    let upstream = Server::start(move |mut stream| {
        let mut request = [0; 7];
        stream.read_exact(&mut request).expect("a request");
        if &request == b"answer\n" {
            let _ = peers::read_to_end(&mut stream);
            let _ = may_answer.lock().expect("no panic").recv();
            stream.write_all(b"the answer").expect("sending");
        } else {
            stream.shutdown(Shutdown::Write).expect("half-close");
            let rest = peers::read_to_end(&mut stream);
            let _ = heard.lock().expect("no panic").send(rest);
        }
    });
    let inside = server_mode(&certs, &upstream, "TIMEOUTclose = 0\n");
    let adit = Adit::serve(format!(
        "client = yes\nTIMEOUTclose = 0\nconnect = {}\n{}verifyChain = yes\n",
        inside.address("test"),
        certs.ca_line()
    ));
    for round in 1..=20 {
        let mut client = adit.connect("test");
        client.write_all(b"answer\n").expect("sending");
        client.shutdown(Shutdown::Write).expect("half-close");
        inside.wait_for_log_times("Sent socket write shutdown", 2 * round - 1);
        let _ = answer.send(());
        assert_eq!(peers::read_to_end(&mut client), b"the answer");

        let mut client = adit.connect("test");
        client.write_all(b"upload\n").expect("sending");
        assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
        client.write_all(b"the rest").expect("sending");
        client.shutdown(Shutdown::Write).expect("half-close");
        let rest = hears.recv_timeout(DEADLINE).expect("the rest");
        assert_eq!(rest, b"the rest");
        inside.wait_for_log_times("Sent socket write shutdown", 2 * round);
    }
}

#[test]
fn timeoutclose_0_does_not_wait_long_for_a_close_notify() {
    let certs = Certs::new();
    let upstream = Server::greeting("bye\n");
    let adit = server_mode(&certs, &upstream, "TIMEOUTclose = 0\n");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    // Like an old browser, it neither answers the close_notify nor closes.
    let mut client = tls::connect(config, adit.address("test"));
    assert_eq!(peers::read_to_end(&mut client), b"bye\n");
    adit.wait_for_log("TIMEOUTclose exceeded: closing");
    adit.wait_for_log("Service [test] finished (0 left)");
}

#[test]
fn a_silent_upstream_ends_the_handshake_by_timeoutbusy() {
    let certs = Certs::new();
    let upstream = Server::silent();
    let adit = client_mode(&certs, &upstream, "TIMEOUTbusy = 1\n");
    let mut client = adit.connect("test");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("TIMEOUTbusy exceeded: sending reset");
}

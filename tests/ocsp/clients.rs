//! A server asks about its clients too, and no session brings back unasked what was revoked.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::SupportedProtocolVersion;

use crate::require;
use crate::support::authority::{Authority, Says};
use crate::support::peers::{self, Server};
use crate::support::responder::{GOOD, GOOD_TOO, REVOKED, Responder, Way};
use crate::support::{Certs, Plan, tls};

use super::{Counting, PAYLOAD, accepted, issue, server_mode};

#[test]
fn a_server_asks_about_its_clients() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let url = responder.url();
    for lines in [format!("OCSP = {url}\n"), "OCSPaia = yes\n".to_owned()] {
        for versions in [tls::ONLY_13, tls::ONLY_12] {
            let (behind, adit) = server_mode(&certs, &lines);
            let client = |serial| {
                let pair = issue(&certs, serial, Some(&url));
                tls::client_config(&certs.ca(), versions, Some(&pair))
            };
            let mut stream = tls::connect(client(GOOD), adit.address("test"));
            stream.write_all(PAYLOAD).expect("sending");
            let mut heard = vec![0; PAYLOAD.len()];
            stream.read_exact(&mut heard).expect("an echo");
            assert_eq!(heard, PAYLOAD);
            drop(stream);
            adit.wait_for_log("OCSP: Accepted (good)");
            let revoked = tls::start_client(client(REVOKED), peers::connect(adit.address("test")));
            let mut heard = Vec::new();
            let refused = revoked.and_then(|mut stream| {
                let _ = stream.write_all(PAYLOAD);
                stream.read_to_end(&mut heard)
            });
            let alert = refused.expect_err("it is refused").to_string();
            assert!(alert.contains("CertificateRevoked"), "{alert}");
            assert!(heard.is_empty());
            adit.wait_for_log("OCSP: Rejected (revoked)");
            adit.wait_for_log("Rejected by OCSP at depth=0: CN=localhost");
            adit.wait_for_log("SSL_accept: certificate verify failed");
            assert_eq!(
                behind.connections(),
                1,
                "the revoked one reached the server"
            );
        }
    }
}

#[test]
fn a_revoked_client_is_redirected_where_clients_are() {
    require!(adit);
    require!(program "openssl");
    redirected("", tls::BOTH);
}

/// As a service with these lines has it, of clients with these versions.
pub fn redirected(more: &str, versions: &[&'static SupportedProtocolVersion]) {
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let elsewhere = Server::greeting("elsewhere");
    let lines = format!(
        "{more}OCSP = {}\nredirect = {}\n",
        responder.url(),
        elsewhere.address
    );
    let (behind, adit) = server_mode(&certs, &lines);
    // The second time the answer is known, and the verdict is there within the handshake.
    for times in 1..=2 {
        let pair = issue(&certs, REVOKED, None);
        let config = tls::client_config(&certs.ca(), versions, Some(&pair));
        let mut stream = tls::connect(config, adit.address("test"));
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("an end in order");
        assert_eq!(heard, "elsewhere");
        adit.wait_for_log_times("Redirecting connection", times);
    }
    assert_eq!(behind.connections(), 0);
}

/// Has the same client come twice to a service with these lines.
pub fn asked_each_time(certs: &Certs, responder: &Responder, lines: &str) {
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let (_behind, adit) = server_mode(certs, lines);
        let before = responder.asked();
        let pair = issue(certs, GOOD_TOO, None);
        let config = tls::client_config(&certs.ca(), versions, Some(&pair));
        for _ in 0..2 {
            let mut stream = tls::connect(Arc::clone(&config), adit.address("test"));
            peers::says_and_hears(&mut stream, "a byte");
        }
        assert_eq!(responder.asked(), before + 2);
        assert_eq!(adit.count_in_log("previous session reused"), 0);
    }
}

#[test]
fn no_peer_comes_back_by_a_session_unasked() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let lines = format!("OCSP = {}\nOCSPnonce = yes\n", responder.url());
    asked_each_time(&certs, &responder, &lines);
    // As a client: TLS 1.2 has its session before the verdict, TLS 1.3 its tickets after it.
    for (versions, resumed) in [(tls::ONLY_12, 0), (tls::ONLY_13, 1)] {
        let before = responder.asked();
        let upstream = Counting::start(&issue(&certs, GOOD, None), versions);
        let adit = Plan::new()
            .global("workers = 1\nthreads = 1")
            .service(
                "test",
                format!(
                    "client = yes\n{}{}verifyChain = yes\n{lines}",
                    upstream.server.line(),
                    certs.ca_line()
                ),
            )
            .start();
        for _ in 0..2 {
            accepted(&adit);
        }
        adit.wait_for_log_times("TLS connected", 2);
        assert_eq!(adit.count_in_log("previous session reused"), resumed);
        assert_eq!(responder.asked(), before + 2);
    }
}

#[test]
fn a_server_that_was_revoked_since_does_not_come_back_by_its_session() {
    require!(adit);
    let certs = Arc::new(Certs::new());
    // What it says is known to no later connection.
    let authority = Authority::start(&certs, Says::GoodForNow);
    let url = authority.url();
    for line in [format!("OCSP = {url}\n"), "OCSPaia = yes\n".to_owned()] {
        authority.says(Says::GoodForNow);
        let pair = issue(&certs, GOOD, Some(&url));
        let upstream = Counting::start(&pair, tls::ONLY_13);
        let adit = Plan::new()
            .global("workers = 1\nthreads = 1")
            .service(
                "test",
                format!(
                    "client = yes\n{}{}verifyChain = yes\n{line}",
                    upstream.server.line(),
                    certs.ca_line()
                ),
            )
            .start();
        accepted(&adit);
        accepted(&adit);
        adit.wait_for_log("TLS connected: previous session reused");
        let heard = upstream.heard.load(Ordering::SeqCst);
        // Asked again, and then known.
        authority.says(Says::Revoked(3600));
        for times in 1..=2 {
            let mut client = adit.connect("test");
            client.write_all(PAYLOAD).expect("sending");
            let said = peers::read_until_gone(&mut client).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&said), "");
            adit.wait_for_log_times("OCSP: Rejected (revoked)", times);
        }
        assert_eq!(upstream.heard.load(Ordering::SeqCst), heard);
        assert!(adit.count_in_log("previous session reused") >= 2);
    }
}

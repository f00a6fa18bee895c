//! TLS on both ends of one service: a client speaks TLS to adit, and adit TLS of its own to the server.
//! None of it is stunnel's.

use std::io::Write;
use std::net::Shutdown;

use crate::require;
use crate::support::dialogue::{Lines, SMTP, Seen};
use crate::support::openssl;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Plan, Worlds, tls};

/// Clients speak TLS from the first byte.
const AT_ONCE: &str = "acceptTLS = yes\n";

#[test]
fn each_side_speaks_tls_in_its_own_way_and_megabytes_pass_both_ways() {
    require!(adit);
    let worlds = Worlds::new();
    for (front, back) in [(tls::ONLY_12, tls::ONLY_13), (tls::ONLY_13, tls::ONLY_12)] {
        let upstream = tls::echo_server(&worlds.provider, back);
        let adit = worlds.serve(&upstream, AT_ONCE);
        let config = tls::client_config(&worlds.lan.ca(), front, None);
        let mut client = tls::connect(config, adit.address("test"));
        // Whole chunks of the pattern.
        let total = 4 << 16;
        for _ in 0..10 {
            peers::send_pattern(&mut client, total).expect("sending");
            client.flush().expect("sending");
            peers::expect_pattern(&mut client, total);
        }
        tls::end(&mut client);
        adit.wait_for_log("TLS accepted: new session negotiated");
        adit.wait_for_log("TLS connected: new session negotiated");
        adit.wait_for_log("2621440 byte(s) sent to TLS, 2621440 byte(s) sent to socket");
    }
}

#[test]
fn a_client_with_tls_from_the_first_byte_reaches_a_server_that_wants_starttls() {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let pair = worlds.provider.server();
    let upstream = SMTP.server(tls::server_config(&pair, tls::BOTH, None), seen.clone(), "");
    let adit = worlds.serve(&upstream, "acceptTLS = yes\nprotocol = smtp\n");
    let mut client = Lines(worlds.connect_tls(&adit));
    client.expect("220");
    client.ask("NOOP", "250");
    assert!(seen.contains("plain: STARTTLS"), "{:?}", seen.all());
    assert!(seen.contains("tls: NOOP"), "{:?}", seen.all());
    assert!(!seen.contains("plain: NOOP"), "{:?}", seen.all());
}

#[test]
fn openssl_on_both_sides_is_joined() {
    require!(adit);
    require!(program "openssl");
    let worlds = Worlds::new();
    let (mut server, address) = openssl::s_server(&worlds.provider.server(), &["-rev"]);
    let pair = worlds.lan.server();
    let adit = Adit::serve(format!(
        "client = yes\nacceptTLS = yes\nacceptCert = {}\nacceptKey = {}\nconnect = {address}\n{}\
         verifyChain = yes\n",
        pair.cert.display(),
        pair.key.display(),
        worlds.provider.ca_line(),
    ));
    let ca = worlds.lan.ca();
    let ca = ca.to_str().expect("a plain path");
    let arguments = [
        "-CAfile",
        ca,
        "-verify_return_error",
        "-quiet",
        "-no_ign_eof",
    ];
    let said = openssl::s_client(adit.address("test"), &arguments, "abc\n");
    drop(said);
    adit.wait_for_log("4 byte(s) sent to TLS");
    server.end_input();
}

#[test]
fn a_client_that_speaks_plain_is_refused_and_the_server_hears_nothing() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::BOTH);
    let adit = worlds.serve(&upstream, AT_ONCE);
    let mut client = adit.connect("test");
    client.write_all(b"EHLO client.test\r\n").expect("sending");
    client.shutdown(Shutdown::Write).expect("its half");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("SSL_accept");
    let line = adit.wait_for_log("Service [test]: the client speaks plain");
    assert!(line.contains("set \"acceptTLS = auto\""), "{line}");
    adit.wait_for_log("Service [test] finished (0 left)");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_client_that_waits_for_a_greeting_is_told_of_in_the_log() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::BOTH);
    let adit = worlds.serve(&upstream, "acceptTLS = yes\nTIMEOUTbusy = 1\n");
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    let line = adit.wait_for_log("Service [test]: the client has said nothing for 1 s");
    assert!(line.contains("set \"acceptTLS = auto\""), "{line}");
    adit.wait_for_log("TIMEOUTbusy exceeded");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_server_that_cannot_be_verified_ends_the_clients_connection_too() {
    require!(adit);
    let worlds = Worlds::new();
    // A certificate that the provider's authority did not issue.
    let upstream = tls::echo_server(&worlds.lan, tls::BOTH);
    let adit = worlds.serve(&upstream, AT_ONCE);
    let mut client = worlds.connect_tls(&adit);
    let _ = client.write_all(b"hello");
    let heard = peers::read_until_gone(&mut client).unwrap_or_default();
    assert!(heard.is_empty(), "{heard:?}");
    adit.wait_for_log("certificate verify failed");
}

#[test]
fn check_shows_both_handshakes_in_the_route() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = Server::silent();
    let plan = Plan::new().service(
        "test",
        worlds.lines(&upstream, "acceptTLS = yes\nprotocol = smtp\n"),
    );
    let said = checked(&plan, &["check", "--route"]);
    assert!(
        said.contains(
            "Service [test]: TLS handshake with the client, connect, smtp before TLS, \
             TLS handshake with the server, relay"
        ),
        "{said}"
    );
    let why = "TLS with the client: rustls: it serves all that is asked for";
    assert!(said.contains(why), "{said}");
    let old = worlds.lines(&upstream, "acceptTLS = yes\nacceptSSLVersionMin = TLSv1\n");
    let said = checked(&Plan::new().service("test", old), &["check", "--route"]);
    let why = "TLS with the client: s2n-tls, in workers of their own: TLS 1.0 is asked for (acceptSSLVersionMin)";
    assert!(said.contains(why), "{said}");
}

/// What `adit check` says of a plan.
fn checked(plan: &Plan, arguments: &[&str]) -> String {
    let command = plan.command();
    let file = plan.file();
    std::process::Command::new(command.get_program())
        .args(arguments)
        .arg(&file)
        .output()
        .map(|output| {
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&said).into_owned()
        })
        .expect("adit check")
}

#[test]
fn options_for_the_clients_tls_that_cannot_be_served_are_told() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = Server::silent();
    let missing = format!("client = yes\nacceptTLS = yes\n{}", upstream.line());
    Plan::new()
        .service("test", missing)
        .run()
        .exits(1)
        .says(&["TLS server needs a certificate", "acceptCert = FILE"]);
    let nowhere = format!(
        "client = yes\nacceptTLS = yes\nacceptCert = /nowhere\n{}",
        upstream.line()
    );
    Plan::new()
        .service("test", nowhere)
        .run()
        .exits(1)
        .says(&["acceptCert = /nowhere", "No such file"]);
    let server = worlds.lan.server().lines() + "acceptTLS = yes\n" + &upstream.line();
    let plan = Plan::new().service("test", server);
    let said = checked(&plan, &["check"]);
    assert!(
        said.contains("`acceptTLS` has no effect in server mode"),
        "{said}"
    );
    let idle = format!("client = yes\nacceptCert = /nowhere\n{}", upstream.line());
    let plan = Plan::new().service("test", idle);
    let said = checked(&plan, &["check"]);
    assert!(
        said.contains("`acceptCert` has no effect without"),
        "{said}"
    );
}

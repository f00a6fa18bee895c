//! Each stage of such a port has an end: of the client, of the server, of waiting, or because TLS is begun wrongly.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{Behind, auto, mail_server};
use crate::require;
use crate::support::Worlds;
use crate::support::dialogue::{Lines, SMTP, Seen};
use crate::support::peers::{self, Server};
use crate::support::tls;

#[test]
fn plaintext_behind_starttls_never_reaches_the_server() {
    require!(adit);
    let worlds = Worlds::new();
    for how in ["auto", "yes"] {
        let seen = Seen::default();
        let upstream = mail_server(&worlds, SMTP, Behind::Tls, &seen);
        let lines = format!("acceptTLS = {how}\nacceptProtocol = smtp\n");
        let adit = worlds.serve(&upstream, &lines);
        let mut client = Lines(adit.connect("test"));
        client.expect("220");
        client.send("STARTTLS\r\nMAIL FROM:<x@y>\r\n");
        let _ = peers::read_until_gone(&mut client.0);
        adit.wait_for_log("plaintext behind STARTTLS: the smtp client");
        adit.wait_for_log("Service [test] finished (0 left)");
        assert!(!seen.contains("MAIL"), "{:?}", seen.all());
    }
}

#[test]
fn a_handshake_that_fails_costs_no_connection_to_the_server() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::BOTH);
    let adit = worlds.serve(&upstream, "acceptTLS = auto\n");
    // It trusts another authority.
    let config = tls::client_config(&worlds.provider.ca(), tls::BOTH, None);
    assert!(tls::start_client(config, adit.connect("test")).is_err());
    adit.wait_for_log("Service [test] finished (0 left)");
    // What is a hello in the form of SSLv2 is no plain text.
    let mut client = adit.connect("test");
    client
        .write_all(b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10")
        .expect("sending");
    client.write_all(&[7; 37]).expect("sending");
    let heard = peers::read_until_gone(&mut client).unwrap_or_default();
    assert_ne!(heard.first(), Some(&b'\x80'), "an echo");
    adit.wait_for_log_times("SSL_accept", 2);
    adit.wait_for_log_times("Service [test] finished (0 left)", 2);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_server_that_refuses_in_its_greeting_is_heard_by_a_client_in_plain() {
    require!(adit);
    let worlds = Worlds::new();
    for (lines, how) in [
        ("protocol = smtp\nacceptTLS = auto\n", "auto"),
        (
            "protocol = smtp\nacceptTLS = yes\nacceptProtocol = smtp\n",
            "yes",
        ),
    ] {
        let upstream = Server::greeting("421 mail.test too busy\r\n");
        let adit = worlds.serve(&upstream, lines);
        let mut client = adit.connect("test");
        let heard = peers::read_to_end(&mut client);
        assert_eq!(
            String::from_utf8_lossy(&heard),
            "421 mail.test too busy\r\n",
            "{how}"
        );
        adit.wait_for_log("the smtp server refused");
    }
}

#[test]
fn a_client_that_goes_is_noticed_in_each_stage() {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, SMTP, Behind::Tls, &seen);
    for how in ["auto", "yes"] {
        let lines = format!("acceptTLS = {how}\nacceptProtocol = smtp\n");
        let adit = worlds.serve(&upstream, &lines);
        // While it is looked at.
        peers::reset(adit.connect("test"));
        adit.wait_for_log_times("Service [test] finished (0 left)", 1);
        // While it is offered STARTTLS.
        let mut client = Lines(adit.connect("test"));
        client.expect("220");
        peers::reset(client.0);
        adit.wait_for_log_times("Service [test] finished (0 left)", 2);
        adit.wait_for_log("closed the connection without a word: a check");
        // In order: it is told the same.
        let mut client = Lines(adit.connect("test"));
        client.expect("220");
        client.0.shutdown(Shutdown::Write).expect("its half");
        let _ = peers::read_until_gone(&mut client.0);
        adit.wait_for_log_times("Service [test] finished (0 left)", 3);
    }
}

#[test]
fn a_server_that_resets_resets_the_client_in_each_stage() {
    require!(adit);
    let worlds = Worlds::new();
    let config = tls::server_config(&worlds.provider.server(), tls::BOTH, None);
    let upstream = tls::server(config, |stream| {
        let mut inner = Lines(stream);
        inner.send("220 mail.test\r\n");
        // The client's EHLO or QUIT, or its end.
        inner.line();
        peers::reset(inner.0.sock);
    });
    for how in ["auto", "yes"] {
        let lines = format!("acceptTLS = {how}\nacceptProtocol = smtp\n");
        let adit = worlds.serve(&upstream, &lines);
        for tls in [false, true] {
            let mut client = Lines(adit.connect("test"));
            client.expect("220");
            if tls {
                client.ask("STARTTLS", "220");
                let mut client = Lines(worlds.start_tls(client.0));
                client.send("EHLO pc\r\n");
                assert!(peers::read_until_gone(&mut client.0.sock).is_err(), "{how}");
            } else if how == "auto" {
                client.send("EHLO pc\r\n");
                assert!(peers::read_until_gone(&mut client.0).is_err(), "{how}");
            }
        }
    }
}

#[test]
fn a_client_that_ends_its_sending_still_hears_the_answers() {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, SMTP, Behind::Starttls, &seen);
    let adit = worlds.serve(&upstream, &auto(SMTP, Behind::Starttls));
    let mut client = Lines(adit.connect("test"));
    client.send("EHLO client.test\r\nMAIL FROM:<anna@mail.test>\r\nNOOP\r\n");
    client.0.shutdown(Shutdown::Write).expect("its half");
    let heard = client.rest();
    assert!(heard.starts_with("220 mail.test"), "{heard}");
    assert!(heard.contains("250-PIPELINING"), "{heard}");
    assert!(heard.ends_with("250 ok\r\n250 ok\r\n"), "{heard}");
    adit.wait_for_log("Connection closed");
}

#[test]
fn waiting_has_an_end() {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, SMTP, Behind::Tls, &seen);
    // STARTTLS is expected.
    let adit = worlds.serve(
        &upstream,
        "acceptTLS = yes\nacceptProtocol = smtp\nTIMEOUTbusy = 1\n",
    );
    let mut client = Lines(adit.connect("test"));
    client.expect("220");
    let _ = peers::read_until_gone(&mut client.0);
    adit.wait_for_log("TIMEOUTbusy exceeded");
    // And a hello behind it.
    let mut client = Lines(adit.connect("test"));
    client.expect("220");
    client.ask("STARTTLS", "220");
    let _ = peers::read_until_gone(&mut client.0);
    adit.wait_for_log_times("TIMEOUTbusy exceeded", 2);
    // A client in plain may take its time, as without TLS.
    let adit = worlds.serve(
        &upstream,
        "acceptTLS = auto\nacceptProtocol = smtp\nTIMEOUTbusy = 1\nTIMEOUTidle = 3\n",
    );
    let start = Instant::now();
    let mut client = Lines(adit.connect("test"));
    client.expect("220");
    let _ = peers::read_until_gone(&mut client.0);
    assert!(start.elapsed() >= Duration::from_secs(3));
    adit.wait_for_log("TIMEOUTidle exceeded");
}

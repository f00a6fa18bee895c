//! The dialogues that hardly anything but stunnel speaks, held against stunnel on the other side: `cifs`, `socks` in
//! client mode; and a login by SMTP.

use std::io::Write;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::require;
use crate::support::adit::program;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, own_address};

fn start(path: &Path, lines: String) -> Adit {
    Plan::new().program(path).service("test", lines).start()
}

/// adit with adit, and each with stunnel.
fn pairs() -> [(PathBuf, PathBuf); 3] {
    let stunnel = installed("stunnel4").expect("asked for before");
    [
        (program(), program()),
        (program(), stunnel.clone()),
        (stunnel, program()),
    ]
}

/// A client in front of this server with TLS.
fn client(path: &Path, server: &Adit, certs: &Certs, more: &str) -> Adit {
    let lines = format!(
        "client = yes\nconnect = {}\n{}verifyChain = yes\n{more}",
        server.address("test"),
        certs.ca_line()
    );
    start(path, lines)
}

#[test]
fn cifs_begins_tls_on_either_side() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let echo = Server::echo();
    for (one, other) in pairs() {
        let lines = format!("protocol = cifs\n{}{}", echo.line(), certs.server().lines());
        let server = start(&other, lines);
        let client = client(&one, &server, &certs, "protocol = cifs\n");
        peers::says_and_hears(&mut client.connect("test"), "hello");
        // What is no session request is refused in its own words.
        let mut stranger = server.connect("test");
        stranger.write_all(&[0, 0, 0, 0x85]).expect("sending");
        let heard = peers::read_until_gone(&mut stranger).unwrap_or_default();
        assert!(
            heard.is_empty() || heard == [0x83, 0, 0, 1, 0x81],
            "{heard:?}"
        );
        if other == program() {
            server.wait_for_log("Client did not send session setup");
        }
    }
}

#[test]
fn a_socks_server_is_asked_within_tls() {
    require!(adit);
    require!(program "stunnel4");
    let own = own_address();
    require!(
        own.is_some(),
        "this machine has an address on loopback alone"
    );
    let ip = IpAddr::V4(own.expect("required"));
    let echo = Server::on(TcpListener::bind((ip, 0)).expect("a port"), |mut stream| {
        let _ = peers::echo(&mut stream);
    });
    let nowhere = TcpListener::bind((ip, 0)).expect("a port");
    let closed = nowhere.local_addr().expect("its address");
    drop(nowhere);
    let certs = Certs::new();
    let lines = format!("protocol = socks\n{}", certs.server().lines());
    let stunnel = installed("stunnel4").expect("asked for before");
    for path in [stunnel, program()] {
        let server = start(&path, lines.clone());
        let asks = |host: String| {
            let more = format!("protocol = socks\nprotocolHost = {host}\n");
            client(&program(), &server, &certs, &more)
        };
        let adit = asks(echo.address.to_string());
        peers::says_and_hears(&mut adit.connect("test"), "hello");
        adit.wait_for_log("SOCKS5 request succeeded");
        let adit = asks("127.0.0.1:9".to_owned());
        let _ = peers::read_until_gone(&mut adit.connect("test"));
        adit.wait_for_log("SOCKS5 request failed: Connection not allowed by ruleset");
        // stunnel says yes before it knows.
        if path == program() {
            let adit = asks(closed.to_string());
            let _ = peers::read_until_gone(&mut adit.connect("test"));
            adit.wait_for_log("SOCKS5 request failed: Connection refused");
        }
    }
    // Without a destination, and not redirected here.
    let server = start(&program(), lines);
    let adit = client(&program(), &server, &certs, "protocol = socks\n");
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log("getsockopt SO_ORIGINAL_DST: the client was not redirected");
}

#[test]
fn adit_logs_in_at_a_mail_server_for_the_client() {
    require!(adit);
    require!(root);
    require!(program "postfix");
    require!(program "dovecot");
    let certs = Certs::new();
    let host = MailHost::modern(&certs);
    let service = |password: &str, more: &str| {
        format!(
            "client = yes\nprotocol = smtp\nconnect = {}\n{}verifyChain = yes\nprotocolUsername = {USER}\n\
             protocolPassword = {password}\n{more}",
            host.at(587),
            certs.ca_line()
        )
    };
    for more in [
        "",
        "protocolAuthentication = plain\n",
        "protocolAuthentication = login\n",
    ] {
        let adit = start(&program(), service(PASSWORD, more));
        let mut client = Lines(adit.connect("test"));
        client.expect("220");
        client.ask("EHLO old.test", "250 ");
        client.ask("MAIL FROM:<anna@mail.test>", "250");
        // A login is needed.
        client.ask("RCPT TO:<anna@mail.test>", "250");
        client.ask("QUIT", "221");
        adit.wait_for_log("SMTP: logged in with protocolUsername");
        assert!(!adit.everything_said().contains(PASSWORD));
    }
    for (more, phrase) in [
        ("", "PLAIN Authentication Failed"),
        (
            "protocolAuthentication = login\n",
            "LOGIN authentication failed",
        ),
    ] {
        let adit = start(&program(), service("hunter2", more));
        let mut client = Lines(adit.connect("test"));
        client.expect("220");
        client.expect("421 4.3.2 adit: Server refused the login");
        adit.wait_for_log(phrase);
        assert!(!adit.everything_said().contains("hunter2"));
    }
}

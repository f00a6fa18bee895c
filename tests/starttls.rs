//! STARTTLS in both modes, for each protocol that has it: nothing sent in plain is ever taken as sent
//! inside TLS, and the log names the side that refuses.

use std::io::Write;
use std::process::Command;

use crate::require;
use crate::support::dialogue::{IMAP, Lines, NNTP, POP3, SMTP, Seen, Starttls};
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, stand_in, tls};

fn client_mode(certs: &Certs, protocol: Starttls, upstream: &Server) -> Adit {
    Adit::serve(format!(
        "client = yes\nprotocol = {}\n{}{}verifyChain = yes\nTIMEOUTbusy = 15\n",
        protocol.name,
        upstream.line(),
        certs.ca_line()
    ))
}

fn server_mode(certs: &Certs, protocol: Starttls, upstream: &Server) -> Adit {
    Adit::serve(format!(
        "protocol = {}\n{}{}",
        protocol.name,
        upstream.line(),
        certs.server().lines()
    ))
}

fn upstream(certs: &Certs, protocol: Starttls, seen: &Seen, behind: &'static str) -> Server {
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    protocol.server(config, seen.clone(), behind)
}

fn client_mode_carries(protocol: Starttls) {
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = upstream(&certs, protocol, &seen, "");
    let adit = client_mode(&certs, protocol, &upstream);
    let mut client = Lines(adit.connect("test"));
    // The old program gets a greeting and knows nothing of TLS.
    client.expect(protocol.greeting.split(' ').next().expect("a word"));
    let (command, answer) = protocol.command;
    client.ask(command, answer);
    assert!(
        seen.contains(&format!("tls: {command}")),
        "{:?}",
        seen.all()
    );
    assert!(
        !seen.contains(&format!("plain: {command}")),
        "{:?}",
        seen.all()
    );
    adit.wait_for_log("TLS connected: new session negotiated");
}

#[test]
fn client_mode_speaks_starttls_to_an_smtp_server() {
    client_mode_carries(SMTP);
}

#[test]
fn client_mode_speaks_stls_to_a_pop3_server() {
    client_mode_carries(POP3);
}

#[test]
fn client_mode_speaks_starttls_to_an_imap_server() {
    client_mode_carries(IMAP);
}

#[test]
fn client_mode_speaks_starttls_to_an_nntp_server() {
    client_mode_carries(NNTP);
}

/// What a client sends before it may ask for TLS.
fn ask_for_tls(client: &mut Lines<std::net::TcpStream>, protocol: Starttls) {
    client.expect(protocol.greeting.split(' ').next().expect("a word"));
    match protocol.name {
        "smtp" => {
            client.ask("EHLO client.test", "250 ");
            client.ask("STARTTLS", "220");
        }
        "pop3" => {
            client.ask("STLS", "+OK");
        }
        "nntp" => {
            client.ask("MODE READER", "200");
            client.ask("STARTTLS", "382");
        }
        _ => {
            client.ask("x STARTTLS", "x OK");
        }
    }
}

fn server_mode_carries(protocol: Starttls) {
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = protocol.plain_server(seen.clone());
    let adit = server_mode(&certs, protocol, &upstream);
    let mut client = Lines(adit.connect("test"));
    ask_for_tls(&mut client, protocol);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = Lines(tls::start_client(config, client.0).expect("a handshake"));
    let (command, answer) = protocol.command;
    client.ask(command, answer);
    assert!(seen.contains(command), "{:?}", seen.all());
    assert!(
        !seen.contains(protocol.request),
        "the upstream saw {:?}",
        seen.all()
    );
}

#[test]
fn server_mode_takes_starttls_from_an_smtp_client() {
    server_mode_carries(SMTP);
}

#[test]
fn server_mode_takes_stls_from_a_pop3_client() {
    server_mode_carries(POP3);
}

#[test]
fn server_mode_takes_starttls_from_an_imap_client() {
    server_mode_carries(IMAP);
}

/// stunnel has only client mode for it.
#[test]
fn server_mode_takes_starttls_from_an_nntp_client() {
    require!(adit);
    server_mode_carries(NNTP);
}

/// OpenSSL asks for the capabilities first, and looks for STARTTLS among them.
#[test]
fn server_mode_takes_starttls_from_openssl_as_a_news_client() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = NNTP.plain_server(Seen::default());
    let adit = server_mode(&certs, NNTP, &upstream);
    let address = adit.address("test").to_string();
    let mut client = Tool::start(Command::new("openssl").args([
        "s_client",
        "-quiet",
        "-starttls",
        "nntp",
        "-connect",
        &address,
    ]));
    client.input().write_all(b"DATE\r\n").expect("saying it");
    client.wait_for("111 20261127090000");
    let said = client.said();
    let offered = !said.contains("trying anyway");
    assert!(offered, "STARTTLS was not offered: {said}");
}

fn plaintext_behind_the_request(protocol: Starttls, request: &str) {
    require!(adit);
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = protocol.plain_server(seen.clone());
    let adit = server_mode(&certs, protocol, &upstream);
    let mut client = Lines(adit.connect("test"));
    client.expect(protocol.greeting.split(' ').next().expect("a word"));
    if protocol.name == "smtp" {
        client.ask("EHLO client.test", "250 ");
    }
    // One segment: the second line comes from an attacker on the path.
    client.send(&format!("{request}\r\nINJECTED\r\n"));
    client.rest();
    adit.wait_for_log(&format!("plaintext behind {}", protocol.request));
    adit.wait_for_log("Service [test] finished (0 left)");
    assert!(!seen.contains("INJECTED"), "{:?}", seen.all());
}

#[test]
fn plaintext_behind_an_smtp_clients_starttls_never_reaches_the_upstream() {
    plaintext_behind_the_request(SMTP, "STARTTLS");
}

#[test]
fn plaintext_behind_a_pop3_clients_stls_never_reaches_the_upstream() {
    plaintext_behind_the_request(POP3, "STLS");
}

#[test]
fn plaintext_behind_an_imap_clients_starttls_never_reaches_the_upstream() {
    plaintext_behind_the_request(IMAP, "x STARTTLS");
}

#[test]
fn plaintext_behind_an_nntp_clients_starttls_never_reaches_the_upstream() {
    plaintext_behind_the_request(NNTP, "STARTTLS");
}

fn plaintext_behind_the_go_ahead(protocol: Starttls) {
    require!(adit);
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = upstream(&certs, protocol, &seen, "INJECTED\r\n");
    let adit = client_mode(&certs, protocol, &upstream);
    let mut client = Lines(adit.connect("test"));
    let (command, _) = protocol.command;
    client.send(&format!("{command}\r\n"));
    let heard = client.rest();
    assert!(!heard.contains("INJECTED"), "{heard:?}");
    adit.wait_for_log(&format!("plaintext behind {}", protocol.request));
    assert!(!seen.contains("tls: "), "{:?}", seen.all());
}

#[test]
fn plaintext_behind_an_smtp_servers_go_ahead_never_reaches_the_client() {
    plaintext_behind_the_go_ahead(SMTP);
}

#[test]
fn plaintext_behind_a_pop3_servers_go_ahead_never_reaches_the_client() {
    plaintext_behind_the_go_ahead(POP3);
}

#[test]
fn plaintext_behind_an_imap_servers_go_ahead_never_reaches_the_client() {
    plaintext_behind_the_go_ahead(IMAP);
}

#[test]
fn plaintext_behind_an_nntp_servers_go_ahead_never_reaches_the_client() {
    plaintext_behind_the_go_ahead(NNTP);
}

fn refused(protocol: Starttls, reply: String) -> (Adit, String) {
    let certs = Certs::new();
    let upstream = protocol.refusing(reply);
    let adit = client_mode(&certs, protocol, &upstream);
    let mut client = Lines(adit.connect("test"));
    let (command, _) = protocol.command;
    client.send(&format!("{command}\r\n"));
    let heard = client.rest();
    adit.wait_for_log("Service [test] finished (0 left)");
    let errors = adit
        .log()
        .lines()
        .filter(|line| line.contains("LOG3["))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(!errors.is_empty(), "no error line");
    // The client may get the greeting, and adit's own words that end it.
    let answers = heard.strip_prefix(protocol.greeting).unwrap_or(&heard);
    assert!(
        !answers.contains(protocol.command.1),
        "an answer without TLS: {heard:?}"
    );
    (adit, errors)
}

/// stunnel says only that the server does not support TLS.
#[track_caller]
fn names_the_reply(errors: &str, reply: &str) {
    assert!(stand_in().is_some() || errors.contains(reply), "{errors}");
}

#[test]
fn an_smtp_server_that_refuses_starttls_ends_the_connection_with_its_reply_in_the_log() {
    let (_, errors) = refused(SMTP, SMTP.refusal.into());
    names_the_reply(&errors, "454");
}

#[test]
fn a_pop3_server_that_refuses_stls_ends_the_connection_with_its_reply_in_the_log() {
    let (_, errors) = refused(POP3, POP3.refusal.into());
    names_the_reply(&errors, "-ERR");
}

#[test]
fn an_imap_server_that_refuses_starttls_ends_the_connection_with_its_reply_in_the_log() {
    let (_, errors) = refused(IMAP, IMAP.refusal.into());
    names_the_reply(&errors, "BAD");
}

#[test]
fn an_nntp_server_that_refuses_starttls_ends_the_connection_with_its_reply_in_the_log() {
    let (_, errors) = refused(NNTP, NNTP.refusal.into());
    names_the_reply(&errors, "580");
}

#[test]
fn an_upstream_that_closes_during_starttls_ends_the_connection() {
    for protocol in [SMTP, POP3, IMAP, NNTP] {
        refused(protocol, String::new());
    }
}

#[test]
fn a_reply_line_of_a_megabyte_is_an_error_and_is_not_kept() {
    require!(adit);
    for protocol in [SMTP, POP3, IMAP, NNTP] {
        let endless = "x".repeat(1 << 20) + "\r\n";
        let (adit, errors) = refused(protocol, endless);
        assert!(errors.len() < 4096, "{} bytes of error lines", errors.len());
        let longest = adit.log().lines().map(str::len).max();
        assert!(longest < Some(2048), "a log line of {longest:?} bytes");
    }
}

#[test]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_timeoutbusy() {
    let certs = Certs::new();
    let upstream = Server::silent();
    let adit = Adit::serve(format!(
        "client = yes\nprotocol = smtp\n{}{}verifyChain = yes\nTIMEOUTbusy = 1\n",
        upstream.line(),
        certs.ca_line()
    ));
    let mut client = adit.connect("test");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("TIMEOUTbusy exceeded");
    adit.wait_for_log("Service [test] finished (0 left)");
}

#[test]
fn what_an_old_program_pipelines_is_kept_until_tls_is_up() {
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = upstream(&certs, POP3, &seen, "");
    let adit = client_mode(&certs, POP3, &upstream);
    let mut client = Lines(adit.connect("test"));
    // It does not wait for the greeting.
    client.send("USER anna\r\nPASS geheim\r\n");
    client.expect("+OK");
    client.expect("+OK");
    client.expect("+OK");
    assert!(seen.contains("tls: PASS geheim"), "{:?}", seen.all());
    assert!(!seen.contains("plain: USER"), "{:?}", seen.all());
    assert!(!adit.log().contains("geheim"), "a password in the log");
}

#[test]
fn protocolhost_is_the_name_that_ehlo_gives() {
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = upstream(&certs, SMTP, &seen, "");
    let adit = Adit::serve(format!(
        "client = yes\nprotocol = smtp\nprotocolHost = here.test\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    ));
    let mut client = Lines(adit.connect("test"));
    client.expect("220");
    client.ask("NOOP", "250");
    assert!(seen.contains("plain: EHLO here.test"), "{:?}", seen.all());
}

#[test]
fn a_client_that_starts_tls_at_once_is_served_too() {
    let certs = Certs::new();
    let seen = Seen::default();
    let upstream = SMTP.plain_server(seen.clone());
    let adit = server_mode(&certs, SMTP, &upstream);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = Lines(tls::connect(config, adit.address("test")));
    client.expect("220");
    client.ask("NOOP", "250");
}

#[test]
fn openssl_speaks_starttls_with_server_mode() {
    require!(program "openssl");
    let certs = Certs::new();
    for protocol in [SMTP, POP3, IMAP, NNTP] {
        let upstream = protocol.plain_server(Seen::default());
        let adit = server_mode(&certs, protocol, &upstream);
        let ca = certs.ca();
        let ca = ca.to_str().expect("a path in UTF-8");
        let arguments = [
            "-starttls",
            protocol.name,
            "-CAfile",
            ca,
            "-verify_return_error",
            "-brief",
        ];
        let said = crate::support::openssl::s_client(adit.address("test"), &arguments, "");
        assert!(said.contains("CONNECTION ESTABLISHED"), "{said}");
    }
}

//! What is configured for the clients' TLS holds for it alone, and `adit check` tells what does not fit.

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::peers::{self, Server};
use crate::support::{Plan, Worlds, tls};

#[test]
fn clients_are_verified_where_the_configuration_asks_for_it() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::BOTH);
    let known = worlds.lan.client();
    let stranger = worlds.provider.client();
    let own = worlds.lan.self_signed(
        "till",
        Wish {
            name: "till",
            ..Wish::default()
        },
    );
    let ca = worlds.lan.ca();
    for (lines, welcome, refused) in [
        (
            format!("acceptCAfile = {}\nacceptVerifyChain = yes\n", ca.display()),
            &known,
            &stranger,
        ),
        (
            format!(
                "acceptCAfile = {}\nacceptVerifyPeer = yes\n",
                own.cert.display()
            ),
            &own,
            &known,
        ),
    ] {
        for how in ["yes", "auto"] {
            let adit = worlds.serve(&upstream, &format!("acceptTLS = {how}\n{lines}"));
            let connects = |pair| {
                let config = tls::client_config(&ca, tls::ONLY_12, pair);
                tls::start_client(config, adit.connect("test"))
            };
            let mut client = connects(Some(welcome)).expect("a handshake");
            peers::says_and_hears(&mut client, "hello");
            assert!(connects(Some(refused)).is_err(), "{lines}");
            assert!(connects(None).is_err(), "{lines}");
        }
    }
}

#[test]
fn the_clients_tls_has_versions_and_ciphers_of_its_own() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::ONLY_12);
    let adit = worlds.serve(
        &upstream,
        "acceptTLS = yes\nacceptSSLVersionMin = TLSv1.3\nsslVersionMax = TLSv1.2\n",
    );
    let old = tls::client_config(&worlds.lan.ca(), tls::ONLY_12, None);
    assert!(tls::start_client(old, adit.connect("test")).is_err());
    let mut client = worlds.connect_tls(&adit);
    peers::says_and_hears(&mut client, "hello");

    let adit = worlds.serve(
        &upstream,
        "acceptTLS = yes\nacceptCiphers = ECDHE-ECDSA-CHACHA20-POLY1305\nciphers = ECDHE+AESGCM\n",
    );
    let old = tls::client_config(&worlds.lan.ca(), tls::ONLY_12, None);
    let mut client = tls::start_client(old, adit.connect("test")).expect("a handshake");
    peers::says_and_hears(&mut client, "hello");
    adit.wait_for_log("TLSv1.2 ciphersuite: ECDHE-ECDSA-CHACHA20-POLY1305");
    adit.wait_for_log("TLSv1.2 ciphersuite: ECDHE-ECDSA-AES");
}

/// What `adit check` says of a plan.
fn checked(plan: &Plan, arguments: &[&str]) -> String {
    // Writes the file.
    let _ = plan.command();
    let output = std::process::Command::new(program())
        .args(arguments)
        .arg(plan.file())
        .output()
        .expect("adit check");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn check_shows_what_a_client_may_do_in_the_route() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = Server::silent();
    let look = "TLS handshake with the client if it begins with TLS, connect, ";
    let back = "TLS handshake with the server, ";
    for (lines, wanted) in [
        (
            "acceptTLS = auto\n",
            format!("{look}{back}else TLS or plain as the client begins, relay"),
        ),
        (
            "acceptTLS = auto\nprotocol = imap\n",
            format!(
                "{look}imap before TLS, {back}else imap with the client until it starts TLS or goes on in plain, relay"
            ),
        ),
        (
            "acceptTLS = yes\nacceptProtocol = pop3\n",
            format!("{look}{back}else pop3 with the client until it starts TLS, relay"),
        ),
    ] {
        let plan = Plan::new().service("test", worlds.lines(&upstream, lines));
        let said = checked(&plan, &["check", "--route"]);
        assert!(said.contains(&wanted), "{said}");
    }
    // What a port is for tells the protocol.
    for (port, protocol) in [
        (25, "smtp"),
        (465, "smtp"),
        (587, "smtp"),
        (110, "pop3"),
        (995, "pop3"),
        (143, "imap"),
        (993, "imap"),
    ] {
        let lines = worlds.lines(&upstream, "acceptTLS = auto\n");
        let lines = lines.replace(&upstream.line(), &format!("connect = 127.0.0.1:{port}\n"));
        let plan = Plan::new().service("test", lines);
        let said = checked(&plan, &["check", "--route"]);
        assert!(
            said.contains(&format!("else {protocol} with the client")),
            "{said}"
        );
    }
}

#[test]
fn options_that_do_not_go_together_are_told() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = Server::silent();
    for (lines, phrases) in [
        (
            "acceptTLS = auto\nacceptVerifyChain = yes\n",
            &[
                "acceptVerifyChain = yes",
                "\"acceptCAfile\" has to be configured",
            ][..],
        ),
        (
            "acceptTLS = yes\nacceptVerifyPeer = yes\n",
            &[
                "acceptVerifyPeer = yes",
                "\"acceptCAfile\" has to be configured",
            ],
        ),
        (
            "acceptTLS = yes\nacceptVerifyPeer = yes\nacceptCAfile = /nowhere\n",
            &["acceptCAfile = /nowhere", "No such file"],
        ),
        (
            "acceptTLS = auto\nacceptProtocol = pop3\nprotocol = imap\n",
            &["acceptProtocol = pop3", "another protocol than `protocol`"],
        ),
        (
            "acceptTLS = yes\nacceptProtocol = nntp\n",
            &[
                "acceptProtocol = nntp",
                "STARTTLS is offered in smtp, pop3 and imap",
            ],
        ),
        (
            "acceptTLS = yes\nacceptCiphers = NOTHING\nacceptSSLVersionMin = TLSv1.2\n",
            &["acceptCiphers = NOTHING"],
        ),
        (
            "acceptTLS = yes\nacceptSSLVersionMin = TLSv1.4\n",
            &["Invalid protocol version"],
        ),
        ("acceptTLS = maybe\n", &["'no', 'yes' or 'auto'"]),
    ] {
        let plan = Plan::new().service("test", worlds.lines(&upstream, lines));
        plan.run().exits(1).says(phrases);
    }
    let idle = worlds.lines(&upstream, "acceptProtocol = smtp\nacceptVerifyPeer = no\n");
    let said = checked(&Plan::new().service("test", idle), &["check"]);
    for option in ["acceptProtocol", "acceptVerifyPeer", "acceptCert"] {
        assert!(
            said.contains(&format!(
                "`{option}` has no effect without `acceptTLS = yes`"
            )),
            "{said}"
        );
    }
    let server = worlds.lan.server().lines() + "acceptCAfile = /x\n" + &upstream.line();
    let said = checked(&Plan::new().service("test", server), &["check"]);
    assert!(
        said.contains("`acceptCAfile` has no effect in server mode"),
        "{said}"
    );
    // As a default for all services it is for those that have a use for it.
    let plan = Plan::new()
        .global("acceptProtocol = smtp")
        .service("test", worlds.lan.server().lines() + &upstream.line());
    let said = checked(&plan, &["check"]);
    assert!(!said.contains("acceptProtocol"), "{said}");
}

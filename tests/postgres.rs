//! `protocol = pgsql`, in both modes, with PostgreSQL and psql.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::postgres::{self, Postgres, psql};
use crate::support::{Adit, Certs, Plan, installed, tls, wait_for};

macro_rules! require_postgres {
    () => {
        require!(adit);
        require!(root);
        require!(program "psql");
        require!(postgres::is_there(), "postgres is not unpacked; tests/run does it");
    };
}

/// adit in front of a server with TLS.
fn client_mode(server: SocketAddr, certs: &Certs) -> Adit {
    Plan::new()
        .service(
            "test",
            format!(
                "client = yes\nprotocol = pgsql\nconnect = {server}\n{}verifyChain = yes\n",
                certs.ca_line()
            ),
        )
        .start()
}

/// adit with TLS in front of a server without.
fn server_mode(server: SocketAddr, certs: &Certs) -> Adit {
    Plan::new()
        .service(
            "test",
            format!(
                "protocol = pgsql\nconnect = {server}\n{}",
                certs.server().lines()
            ),
        )
        .start()
}

/// What psql says to a statement that succeeds.
#[track_caller]
fn asked(address: SocketAddr, environment: &[(&str, &str)], statement: &str) -> String {
    let mut psql = psql(address, environment, statement);
    let succeeded = psql.succeeds();
    assert!(succeeded, "{}", psql.said());
    psql.said().trim().to_owned()
}

/// A long query ends by Ctrl-C: it is cancelled at the server, not cut.
#[track_caller]
fn is_cancelled(address: SocketAddr, environment: &[(&str, &str)], server: SocketAddr) {
    let mut sleeping = psql(address, environment, "select pg_sleep(50)");
    let running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(50)' and state = 'active'";
    wait_for("the query", || {
        (asked(server, &[], running) == "1").then_some(())
    });
    let began = Instant::now();
    sleeping.signal(Signal::SIGINT);
    assert!(!sleeping.succeeds());
    let said = sleeping.said();
    assert!(
        said.contains("canceling statement due to user request"),
        "{said}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn psql_reaches_a_server_with_tls_by_its_default_settings() {
    require_postgres!();
    let certs = Certs::new();
    let server = Postgres::start(Some(&certs.server()), "hostssl");
    let adit = client_mode(server.address, &certs);
    let address = adit.address("test");
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(asked(address, &[], encrypted), "t");
    // It asks for encryption first, and is told that there is none.
    assert_eq!(
        asked(
            address,
            &[("PGSSLMODE", "prefer"), ("PGGSSENCMODE", "prefer")],
            encrypted
        ),
        "t"
    );
    assert_eq!(asked(address, &[("PGSSLMODE", "disable")], encrypted), "t");
    adit.wait_for_log("SCRAM-SHA-256-PLUS was taken out of what the server offers");
    is_cancelled(address, &[], address);
    // Neither a bound login nor TLS of the program's own can be had.
    let mut wants_tls = psql(address, &[("PGSSLMODE", "require")], "select 1");
    assert!(!wants_tls.succeeds());
}

#[test]
fn a_server_without_tls_is_told_as_such() {
    require_postgres!();
    let certs = Certs::new();
    let server = Postgres::start(None, "host");
    let adit = client_mode(server.address, &certs);
    assert!(!psql(adit.address("test"), &[], "select 1").succeeds());
    adit.wait_for_log("PostgreSQL server rejected TLS: it has `ssl = off`");
}

#[test]
fn psql_speaks_tls_to_adit_and_cancels() {
    require_postgres!();
    let certs = Certs::new();
    let server = Postgres::start(None, "host");
    let adit = server_mode(server.address, &certs);
    let address = adit.address("test");
    let ca = certs.ca().display().to_string();
    let verified = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &*ca)];
    assert_eq!(asked(address, &verified, "select 1"), "1");
    assert_eq!(asked(address, &[], "select 1"), "1");
    // libpq's cancellation is in plain, whatever the connection is.
    is_cancelled(address, &verified, server.address);
    adit.wait_for_log("PostgreSQL: a cancellation goes to the server");
    let mut plain = psql(address, &[("PGSSLMODE", "disable")], "select 1");
    assert!(!plain.succeeds());
    assert!(
        plain.said().contains("the connection must be encrypted"),
        "{}",
        plain.said()
    );
    adit.wait_for_log("PostgreSQL client did not request TLS, rejecting");
}

/// Protocol 3.0, `user` and `postgres`.
const STARTUP: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";

#[test]
fn a_client_may_begin_with_tls_and_agrees_on_the_protocol() {
    require_postgres!();
    let certs = Certs::new();
    let server = Postgres::start(None, "host");
    let adit = server_mode(server.address, &certs);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for alpn in [Some("postgresql"), None] {
        let mut config = rustls::ClientConfig::clone(&config);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = tls::connect(Arc::new(config), adit.address("test"));
        assert_eq!(client.conn.alpn_protocol(), alpn.map(str::as_bytes));
        client.write_all(STARTUP).expect("sending");
        let mut answer = [0; 9];
        client.read_exact(&mut answer).expect("an answer");
        // AuthenticationSASL.
        assert_eq!((answer[0], &answer[5..]), (b'R', &[0, 0, 0, 10][..]));
    }
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];

#[test]
fn stunnel_asks_and_answers_the_same() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let stunnel = installed("stunnel4").expect("asked for before");
    // A server with TLS that does not speak PostgreSQL within.
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let server = Server::start(move |mut stream| {
        let mut request = [0; 8];
        if stream.read_exact(&mut request).is_ok() && request == SSL_REQUEST {
            let _ = stream.write_all(b"S");
            if let Ok(mut stream) = tls::start_server(config.clone(), stream) {
                let _ = peers::echo(&mut stream);
            }
        }
    });
    for path in [&*stunnel, &*program()] {
        let path: &Path = path;
        let lines = format!(
            "client = yes\nprotocol = pgsql\n{}{}verifyChain = yes\n",
            server.line(),
            certs.ca_line()
        );
        let adit = Plan::new().program(path).service("test", lines).start();
        peers::says_and_hears(&mut adit.connect("test"), "\0\0\0\x08\0\x03\0\0");
        let echo = Server::echo();
        let lines = format!(
            "protocol = pgsql\n{}{}",
            echo.line(),
            certs.server().lines()
        );
        let adit = Plan::new().program(path).service("test", lines).start();
        let mut client = adit.connect("test");
        client.write_all(&SSL_REQUEST).expect("sending");
        let mut answer = [0];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"S", "{}", path.display());
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::start_client(config, client).expect("a handshake");
        peers::says_and_hears(&mut client, "hello");
        // A client without TLS.
        let mut plain = adit.connect("test");
        plain.write_all(STARTUP).expect("sending");
        let _ = peers::read_until_gone(&mut plain);
        adit.wait_for_log("PostgreSQL client did not request TLS, rejecting");
    }
}

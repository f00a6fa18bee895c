//! `protocol = proxy`: the server behind is told where the client comes from, and by version 2 what its TLS is.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use crate::require;
use crate::support::adit::program;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER};
use crate::support::peers::Server;
use crate::support::{Adit, Certs, Plan, installed, tls};

/// A server that tells the first bytes of each connection: as many as come before `hello`.
fn listening() -> (Server, Receiver<Vec<u8>>) {
    let (tell, heard) = channel();
    let server = Server::start(move |mut stream| {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"hello") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            bytes.push(byte[0]);
        }
        let _ = stream.write_all(b"heard");
        let _ = tell.send(bytes);
    });
    (server, heard)
}

/// Says hello by TLS; returns the client's address and what came before that at the server.
fn header(
    adit: &Adit,
    config: std::sync::Arc<rustls::ClientConfig>,
    heard: &Receiver<Vec<u8>>,
) -> (SocketAddr, Vec<u8>) {
    let mut client = tls::connect(config, adit.address("test"));
    let own = client.sock.local_addr().expect("its address");
    client.write_all(b"hello").expect("sending");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("an answer");
    let mut bytes = heard.recv().expect("a connection");
    assert!(bytes.ends_with(b"hello"));
    bytes.truncate(bytes.len() - 5);
    (own, bytes)
}

#[test]
fn version_1_is_what_stunnel_says() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let (server, heard) = listening();
    let lines = format!(
        "protocol = proxy\n{}{}",
        server.line(),
        certs.server().lines()
    );
    let stunnel = installed("stunnel4").expect("asked for before");
    for path in [&*stunnel, &*program()] {
        let path: &Path = path;
        let adit = Plan::new().program(path).service("test", &*lines).start();
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let (client, bytes) = header(&adit, config, &heard);
        let own = adit.address("test");
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            format!(
                "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
                client.port(),
                own.port()
            ),
            "{}",
            path.display()
        );
    }
}

/// The values of a list of types, lengths and values.
fn values(mut list: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [kind, high, low, rest @ ..] = list {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        found.push((*kind, rest[..length].to_vec()));
        list = &rest[length..];
    }
    found
}

#[test]
fn version_2_tells_of_tls_and_of_the_certificate() {
    require!(adit);
    let certs = Certs::new();
    let (server, heard) = listening();
    let lines = format!(
        "protocol = proxy\nproxyVersion = 2\n{}{}{}",
        server.line(),
        certs.server().lines(),
        certs.ca_line()
    );
    for (versions, version, cipher) in [
        (tls::ONLY_13, "TLSv1.3", "TLS_"),
        (tls::ONLY_12, "TLSv1.2", "ECDHE-ECDSA-"),
    ] {
        // Verified; the same session again; shown and not asked for; not shown.
        let verified = Plan::new()
            .service("test", format!("{lines}verifyChain = yes\n"))
            .start();
        let unasked = Plan::new().service("test", &*lines).start();
        let with = tls::client_config(&certs.ca(), versions, Some(&certs.client()));
        let without = tls::client_config(&certs.ca(), versions, None);
        for (adit, config, client, verify, name) in [
            (&verified, &with, 0x07, 0, Some("client")),
            (&verified, &with, 0x05, 0, Some("client")),
            (&unasked, &without, 0x01, 1, None),
        ] {
            let (from, bytes) = header(adit, config.clone(), &heard);
            assert_eq!(bytes[..14], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
            let to = adit.address("test");
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            assert_eq!(
                bytes[16..28],
                [&[127, 0, 0, 1, 127, 0, 0, 1], &ports[..]].concat()
            );
            let all = values(&bytes[28..]);
            let [(0x02, asked), (0x20, ssl)] = &all[..] else {
                panic!("{all:?}");
            };
            assert_eq!(asked, b"localhost");
            assert_eq!(ssl[..5], [client, 0, 0, 0, verify], "{version}");
            let of = |kind| {
                let all = values(&ssl[5..]);
                let found = all.into_iter().find(|(other, _)| *other == kind);
                found.map(|(_, value)| String::from_utf8(value).expect("a text"))
            };
            assert_eq!(of(0x21).as_deref(), Some(version));
            assert_eq!(of(0x22).as_deref(), name);
            assert!(of(0x23).is_some_and(|suite| suite.starts_with(cipher)));
        }
    }
}

#[test]
fn a_redirected_clients_certificate_is_not_told_as_verified() {
    require!(adit);
    let (certs, others) = (Certs::new(), Certs::named("others"));
    let (server, heard) = listening();
    let adit = Plan::new()
        .service(
            "test",
            format!(
                "protocol = proxy\nproxyVersion = 2\n{}redirect = {}\n{}{}verifyChain = yes\n",
                server.line(),
                server.address,
                certs.server().lines(),
                certs.ca_line()
            ),
        )
        .start();
    // Shown and refused; and none at all.
    let stranger = tls::client_config(&certs.ca(), tls::BOTH, Some(&others.client()));
    let nameless = tls::client_config(&certs.ca(), tls::BOTH, None);
    for config in [stranger, nameless] {
        let (_, bytes) = header(&adit, config, &heard);
        let all = values(&bytes[28..]);
        let ssl = all.iter().find(|(kind, _)| *kind == 0x20);
        let verify = ssl.map(|(_, ssl)| ssl[1..5].to_vec());
        assert_eq!(verify, Some(vec![0, 0, 0, 1]));
    }
    adit.wait_for_log("Redirecting connection");
}

#[test]
fn dovecot_takes_a_password_when_it_is_told_of_tls() {
    require!(adit);
    require!(root);
    require!(program "dovecot");
    let certs = Certs::new();
    let host = MailHost::behind_proxy();
    let login = |version: &str| {
        let lines = format!(
            "protocol = proxy\nconnect = {}\n{}{version}",
            host.at(143),
            certs.server().lines()
        );
        let adit = Plan::new().service("test", lines).start();
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = Lines(tls::connect(config, adit.address("test")));
        let greeting = client.expect("* OK");
        let answer = client.ask(&format!("a LOGIN {USER} {PASSWORD}"), "a ");
        (greeting, answer)
    };
    let (greeting, answer) = login("proxyVersion = 2\n");
    assert!(
        greeting.contains("AUTH=PLAIN") && answer.starts_with("a OK"),
        "{greeting} {answer}"
    );
    let (greeting, answer) = login("");
    assert!(
        greeting.contains("LOGINDISABLED") && answer.contains("PRIVACYREQUIRED"),
        "{greeting} {answer}"
    );
    assert!(host.logs().contains("rip=127.0.0.1"), "{}", host.logs());
}

#[test]
fn a_client_of_a_unix_socket_has_no_address() {
    require!(adit);
    let certs = Certs::new();
    let (server, heard) = listening();
    let plan = Plan::new();
    let socket = plan.folder().join("accept");
    let adit = plan
        .service(
            "test",
            format!(
                "accept = {}\nprotocol = proxy\n{}{}",
                socket.display(),
                server.line(),
                certs.server().lines()
            ),
        )
        .start();
    adit.wait_for_log("clients of a Unix socket have no address");
    let client = std::os::unix::net::UnixStream::connect(&socket).expect("connecting");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let connection = rustls::ClientConnection::new(config, name).expect("a connection");
    let mut client = rustls::StreamOwned::new(connection, client);
    client.write_all(b"hello").expect("sending");
    let bytes = heard.recv().expect("a connection");
    assert_eq!(String::from_utf8_lossy(&bytes), "PROXY UNKNOWN\r\nhello");
}

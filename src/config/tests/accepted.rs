//! How TLS begins with the clients of client mode, by what a service says.

use super::*;
use MailProtocol::{Imap, Pop3, Smtp};
use Reception::{Offered, Required};

/// How TLS begins in a client service that connects to `port`, and what is said about it.
#[track_caller]
fn beginning(port: u16, lines: &str) -> (Option<Beginning>, Vec<String>) {
    let text = client(&format!("acceptCert = /c\n{lines}"));
    let text = text.replace("connect = h:2\n", &format!("connect = h:{port}\n"));
    let (config, said) = served(&text);
    (config.services[0].beginning(), said)
}

#[test]
fn what_a_client_may_do_follows_from_accept_tls_and_the_protocol() {
    let received = |reception| Some(Beginning::Received(reception));
    for (port, lines, wanted) in [
        (2, "acceptTLS = yes", Some(Beginning::AtOnce)),
        // `yes` offers what is asked for and nothing else.
        (993, "acceptTLS = yes", Some(Beginning::AtOnce)),
        (
            2,
            "acceptTLS = yes\nprotocol = imap",
            Some(Beginning::AtOnce),
        ),
        (
            2,
            "acceptTLS = yes\nacceptProtocol = imap",
            received(Required(Imap)),
        ),
        (2, "acceptTLS = auto", received(Offered(None))),
        (
            2,
            "acceptTLS = auto\nacceptProtocol = pop3",
            received(Offered(Some(Pop3))),
        ),
        (
            2,
            "acceptTLS = auto\nprotocol = smtp",
            received(Offered(Some(Smtp))),
        ),
        (
            2,
            "acceptTLS = auto\nprotocol = nntp",
            received(Offered(None)),
        ),
        (993, "acceptTLS = auto", received(Offered(Some(Imap)))),
        (
            110,
            "acceptTLS = Auto\nprotocol = pop3",
            received(Offered(Some(Pop3))),
        ),
        (
            993,
            "acceptTLS = auto\nconnect = i:143\nprotocol = imap",
            received(Offered(Some(Imap))),
        ),
        (
            993,
            "acceptTLS = auto\nconnect = i:9993",
            received(Offered(None)),
        ),
        (
            993,
            "acceptTLS = auto\nconnect = /s\nsni = h",
            received(Offered(None)),
        ),
    ] {
        assert_eq!(beginning(port, lines).0, wanted, "{port}: {lines}");
    }
    let (none, said) = beginning(2, "acceptTLS = no");
    assert_eq!(none, None);
    assert!(said[0].contains("`acceptCert` has no effect"), "{said:?}");
}

#[test]
fn a_protocol_that_the_port_is_not_for_is_told() {
    let (_, said) = beginning(993, "acceptTLS = auto\nacceptProtocol = smtp");
    assert!(
        said.iter()
            .any(|line| line.contains("`connect` has a port of imap")),
        "{said:?}"
    );
    let (_, said) = beginning(993, "acceptTLS = auto\nacceptProtocol = imap");
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_lowest_version_that_is_for_the_other_side_is_told() {
    for (lines, told) in [
        ("sslVersionMin = TLSv1", true),
        ("sslVersion = TLSv1.1", true),
        ("sslVersionMin = TLSv1.2", false),
        (
            "sslVersionMin = TLSv1\nacceptSSLVersionMin = TLSv1.2",
            false,
        ),
        ("acceptSSLVersionMin = TLSv1\nacceptAnywhere = yes", false),
    ] {
        let (_, said) = beginning(2, &format!("acceptTLS = yes\n{lines}"));
        let found = said.iter().any(|line| line.contains("is for the server"));
        assert_eq!(found, told, "{lines}: {said:?}");
    }
    let (_, said) = served(&client("sslVersionMin = TLSv1"));
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn the_clients_tls_has_its_own_options_and_the_programs_cipher_order() {
    let lines = "acceptTLS = yes\nacceptCert = /c\nacceptKey = /k\nacceptCAfile = /a\n\
        acceptVerifyPeer = yes\nacceptCiphers = HIGH\nacceptSSLVersionMin = TLSv1.3\n\
        ciphers = ECDHE+AESGCM\nsslVersionMin = TLSv1.2";
    let text = format!("preferChaCha20 = yes\n{}", client(lines));
    let (config, said) = served(&text);
    assert!(said.is_empty(), "{said:?}");
    let tls = config.services[0].accepted_tls().unwrap();
    assert_eq!(tls.cert.as_deref(), Some(Path::new("/c")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("/k")));
    assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/a")));
    assert_eq!(tls.ciphers.as_deref(), Some("HIGH"));
    assert_eq!(tls.version_min, Some(TlsVersion::V1_3));
    assert_eq!(tls.prefer_chacha20, PreferChaCha20::Yes);
    let asked = tls.verification;
    assert!(asked.request && asked.require && asked.peer && !asked.chain && !asked.server);
}

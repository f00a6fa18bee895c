//! Kinds of certificates, suites and groups, by the names that OpenSSL has for them.

use std::sync::{Mutex, mpsc};

use crate::require;
use crate::support::openssl::s_client;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, tls, wait_for};

use super::{client_mode, server_mode};

#[test]
fn ecdsa_rsa_and_ed25519_certificates_serve() {
    use crate::support::certs::{Kind, Wish};
    let certs = Certs::new();
    let upstream = Server::echo();
    let mut plan = Plan::new();
    let kinds = [Kind::Ecdsa, Kind::Rsa, Kind::Ed25519];
    for kind in kinds {
        let name = format!("{kind:?}");
        let pair = certs.issue(
            &name,
            Wish {
                kind,
                ..Wish::default()
            },
        );
        plan = plan.service(&name, upstream.line() + &pair.lines());
    }
    let adit = plan.start();
    for kind in kinds {
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, adit.address(&format!("{kind:?}")));
        peers::says_and_hears(&mut client, "hello");
    }
}

#[test]
fn x25519mlkem768_is_agreed_with_peers_that_know_it() {
    require!(adit);
    let certs = Certs::new();
    let (tell, group) = mpsc::channel();
    let tell = Mutex::new(tell);
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let upstream = tls::server(config, move |mut stream| {
        let group = stream
            .conn
            .negotiated_key_exchange_group()
            .map(rustls::crypto::SupportedKxGroup::name);
        let _ = tell.lock().expect("no panic").send(group);
        let _ = peers::echo(&mut stream);
    });
    let adit = client_mode(&certs, &upstream, "");
    peers::says_and_hears(&mut adit.connect("test"), "hello");
    let group = wait_for("the group", || group.try_recv().ok());
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768));
}

#[test]
fn suites_are_chosen_by_openssls_names() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let suites = "ciphersuites = TLS_CHACHA20_POLY1305_SHA256\n\
                  ciphers = ECDHE-ECDSA-AES256-GCM-SHA384\n";
    let adit = server_mode(&certs, &upstream, suites);
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let config = tls::client_config(&certs.ca(), versions, None);
        peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
    }
    adit.wait_for_log("TLSv1.3 ciphersuite: TLS_CHACHA20_POLY1305_SHA256 (256-bit encryption)");
    adit.wait_for_log("TLSv1.2 ciphersuite: ECDHE-ECDSA-AES256-GCM-SHA384 (256-bit encryption)");
}

#[test]
fn a_client_without_a_suite_in_common_is_refused_by_that_name() {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::echo();
    // The certificate's key is ECDSA.
    let adit = server_mode(
        &certs,
        &upstream,
        "ciphers = ECDHE-ECDSA-AES256-GCM-SHA384\n",
    );
    let arguments = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    s_client(adit.address("test"), &arguments, "");
    adit.wait_for_log("no shared cipher");
}

#[test]
fn a_group_is_chosen_by_openssls_name() {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let adit = server_mode(&certs, &upstream, "curves = P-384\n");
    let said = s_client(adit.address("test"), &["-ign_eof"], "");
    assert!(
        said.contains("Server Temp Key: ECDH, secp384r1") || said.contains("P-384"),
        "{said}"
    );
}

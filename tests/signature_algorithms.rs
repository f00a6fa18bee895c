//! `config = SignatureAlgorithms:LIST` and `ClientSignatureAlgorithms:LIST`: handshakes are signed by what the lists
//! have, as with stunnel.

use std::path::{Path, PathBuf};

use crate::require;
use crate::support::adit::program;
use crate::support::certs::{Kind, Pair, Wish};
use crate::support::openssl::{s_client, s_server};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed};

macro_rules! require_both {
    () => {
        require!(program "stunnel4");
        require!(program "openssl");
        require!(adit);
    };
}

fn both() -> [PathBuf; 2] {
    [installed("stunnel4").expect("asked for before"), program()]
}

/// RSA, since an ECDSA key has one signature in TLS 1.3.
fn rsa(certs: &Certs) -> Pair {
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    certs.self_signed("rsa", wish)
}

fn service(path: &Path, lines: String) -> Adit {
    Plan::new().program(path).service("test", lines).start()
}

/// What stands behind `label` in a tool's output.
fn told<'a>(said: &'a str, label: &str) -> &'a str {
    let mut lines = said.lines();
    let found = lines.find_map(|line| line.trim().strip_prefix(label));
    found.unwrap_or("").trim()
}

#[test]
fn a_server_signs_by_what_its_list_has() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let server = upstream.line() + &rsa(&certs).lines();
    let list = "config = SignatureAlgorithms:RSA-PSS+SHA384:RSA+SHA512\n";
    for path in both() {
        let adit = service(&path, format!("{server}{list}"));
        for (arguments, kind, digest) in [
            (&["-tls1_3"][..], "RSA-PSS", "SHA384"),
            (&["-tls1_2"], "RSA-PSS", "SHA384"),
            (&["-tls1_2", "-sigalgs", "RSA+SHA512"], "RSA", "SHA512"),
        ] {
            let said = s_client(adit.address("test"), arguments, "");
            let found = (
                told(&said, "Peer signature type:"),
                told(&said, "Peer signing digest:"),
            );
            assert_eq!(found, (kind, digest), "{path:?} {arguments:?}:\n{said}");
        }
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = [version, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"];
            let said = s_client(adit.address("test"), &arguments, "");
            assert!(said.contains("SSL alert number 40"), "{path:?}:\n{said}");
        }
        // OpenSSL tells "no shared ... algorithms" from "no suitable ... algorithm".
        adit.wait_for_log_times(" signature algorithm", 2);
    }
}

#[test]
fn a_client_that_takes_no_signature_of_the_key_is_told() {
    require!(program "openssl");
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(upstream.line() + &certs.server().lines());
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [version, "-sigalgs", "ECDSA+SHA384"];
        let said = s_client(adit.address("test"), &arguments, "");
        assert!(said.contains("SSL alert number 40"), "{version}:\n{said}");
    }
    adit.wait_for_log_times("no suitable signature algorithm", 2);
}

#[test]
fn a_server_asks_clients_for_signatures_of_their_list() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let client = certs.client();
    let server = format!(
        "{}{}{}verifyChain = yes\n",
        upstream.line(),
        rsa(&certs).lines(),
        certs.ca_line()
    );
    for path in both() {
        for (list, asked) in [
            (
                "config = SignatureAlgorithms:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA256\n",
                "RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA256",
            ),
            (
                "config = SignatureAlgorithms:RSA-PSS+SHA256\n\
                 config = ClientSignatureAlgorithms:ECDSA+SHA256:RSA-PSS+SHA512\n",
                "ECDSA+SHA256:RSA-PSS+SHA512",
            ),
            (
                "config = ClientSignatureAlgorithms:ECDSA+SHA256\n",
                "ECDSA+SHA256",
            ),
        ] {
            let adit = service(&path, format!("{server}{list}"));
            for version in ["-tls1_2", "-tls1_3"] {
                let (cert, key) = (client.cert.to_str(), client.key.to_str());
                let (cert, key) = (cert.expect("UTF-8"), key.expect("UTF-8"));
                let arguments = [version, "-cert", cert, "-key", key];
                let said = s_client(adit.address("test"), &arguments, "");
                let found = told(&said, "Requested Signature Algorithms:");
                assert_eq!(found, asked, "{path:?} {version}:\n{said}");
            }
            adit.wait_for_log_times("Certificate accepted at depth=0", 2);
        }
    }
}

/// What a server of OpenSSL says of a client in client mode with these lines.
fn shown_to_a_server(path: &Path, certs: &Certs, own: &Pair, lines: &str) -> String {
    let (tool, address) = s_server(&certs.server(), &["-Verify", "1", "-rev"]);
    let lines = format!("client = yes\nconnect = {address}\n{}{lines}", own.lines());
    let adit = service(path, lines);
    let mut client = adit.connect("test");
    std::io::Write::write_all(&mut client, b"abc\n").expect("writing");
    peers::says_and_hears_nothing_but(&mut client, "cba\n");
    tool.wait_for("\nSignature type: ")
}

#[test]
fn a_client_offers_its_list_and_signs_by_its_own() {
    require_both!();
    let certs = Certs::new();
    let own = rsa(&certs);
    for path in both() {
        for (lines, offered, digest) in [
            (
                "config = SignatureAlgorithms:RSA-PSS+SHA384:ECDSA+SHA256\n",
                "RSA-PSS+SHA384:ECDSA+SHA256",
                "SHA384",
            ),
            (
                "config = SignatureAlgorithms:ECDSA+SHA256\n\
                 config = ClientSignatureAlgorithms:RSA-PSS+SHA512\n",
                "ECDSA+SHA256",
                "SHA512",
            ),
        ] {
            let said = shown_to_a_server(&path, &certs, &own, lines);
            assert_eq!(
                told(&said, "Signature Algorithms:"),
                offered,
                "{path:?}:\n{said}"
            );
            assert_eq!(told(&said, "Hash used:"), digest, "{path:?}:\n{said}");
        }
    }
}

#[test]
fn lists_that_leave_nothing_are_told_at_the_start() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let server = upstream.line() + &rsa(&certs).lines();
    for (lines, phrase) in [
        (
            "config = SignatureAlgorithms:ECDSA+SHA256\n",
            "makes none of the signatures that SignatureAlgorithms allows",
        ),
        (
            "config = SignatureAlgorithms:RSA+SHA256\nsslVersion = TLSv1.3\n",
            "TLS 1.3 has none of the signatures of our key that are allowed (rsa_pkcs1_sha256)",
        ),
        (
            "config = SignatureAlgorithms:ed448\n",
            "adit has no signature of \"ed448\"",
        ),
        (
            "config = SignatureAlgorithms:RSA+SHA265\n",
            "did you mean `RSA+SHA256`?",
        ),
        (
            "config = SignatureAlgorithms:RSA+SHA256\nsslVersionMin = TLSv1\n",
            "cannot be kept to here: s2n-tls",
        ),
    ] {
        let outcome = Plan::new()
            .service("test", format!("{server}{lines}"))
            .run();
        outcome.exits(1).says(&[phrase]);
    }
    let lines = format!("{server}config = SignatureAlgorithms:RSA+SHA256:ed448\n");
    let adit = Plan::new().service("test", lines).start();
    adit.wait_for_log("adit has no ed448 of SignatureAlgorithms");
    adit.wait_for_log("or set `sslVersionMax = TLSv1.2`");
}

//! `securityLevel = 3` does what OpenSSL's third level does: keys, suites, versions and tickets.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::require;
use crate::support::certs::Pair;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Plan, openssl};

/// Lines that OpenSSL's third level comes to in its own programs.
const LEVEL_3: [&str; 2] = ["-cipher", "DEFAULT:@SECLEVEL=3"];

/// A certificate with a key of this kind, `rsa:3072` say, by itself or by `issuer`.
fn issue(folder: &Path, name: &str, kind: &str, issuer: Option<&Pair>) -> Pair {
    let pair = Pair {
        cert: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-nodes", "-days", "30", "-newkey", kind]);
    if kind == "ec" {
        make.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
    }
    make.args(["-subj", &format!("/CN={name}"), "-keyout"])
        .arg(&pair.key)
        .arg("-out")
        .arg(&pair.cert);
    if let Some(issuer) = issuer {
        make.arg("-CA").arg(&issuer.cert);
        make.arg("-CAkey").arg(&issuer.key);
        make.args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    }
    openssl::run(&mut make);
    pair
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn peers_keys_are_taken_and_refused_as_by_openssl() {
    require!(adit);
    require!(program "openssl");
    const EE: Option<&str> = Some("EE certificate key too weak");
    const CA: Option<&str> = Some("CA certificate key too weak");
    for (root, leaf, refused) in [
        ("rsa:3072", "rsa:3072", None),
        ("ec", "ec", None),
        ("rsa:3072", "rsa:2048", EE),
        ("rsa:2048", "ec", CA),
    ] {
        let folder = folder();
        let authority = issue(folder.path(), "authority", root, None);
        let pair = issue(folder.path(), "localhost", leaf, Some(&authority));
        let ca = authority.cert.display().to_string();
        // By rustls, and by s2n-tls.
        for old in ["", "sslVersionMin = TLSv1.1\n"] {
            let (_server, address) = openssl::s_server(&pair, &["-rev"]);
            let adit = Adit::serve(format!(
                "client = yes\nconnect = {address}\nCAfile = {ca}\nverifyChain = yes\n\
                 securityLevel = 3\n{old}"
            ));
            let mut client = adit.connect("test");
            let _ = client.write_all(b"abc\n");
            match refused {
                None => peers::says_and_hears_nothing_but(&mut client, "cba\n"),
                Some(phrase) => {
                    let _ = peers::read_until_gone(&mut client);
                    adit.wait_for_log(phrase);
                }
            }
        }
        let (_server, address) = openssl::s_server(&pair, &["-rev"]);
        let verified = ["-CAfile", &ca, "-verify_return_error"];
        let said = openssl::s_client(address, &[&LEVEL_3[..], &verified].concat(), "Q\n");
        assert!(
            said.contains(refused.unwrap_or("Verification: OK")),
            "{said}"
        );
    }
}

#[test]
fn a_small_key_of_our_own_is_an_error_of_the_start_as_with_openssl() {
    require!(adit);
    require!(program "openssl");
    let folder = folder();
    let upstream = Server::echo();
    let small = issue(folder.path(), "localhost", "rsa:2048", None);
    for old in ["", "sslVersionMin = TLSv1.1\n"] {
        let lines = format!(
            "{}{}securityLevel = 3\n{old}",
            upstream.line(),
            small.lines()
        );
        let outcome = Plan::new().service("test", lines).run();
        outcome.exits(1).says(&[
            "ee key too small: it has 2048 bits",
            "`securityLevel = 3` wants RSA of 3072 bits, or ECDSA",
        ]);
    }
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", "127.0.0.1:0", "-cert"]);
    server.arg(&small.cert).arg("-key").arg(&small.key);
    let ended = server.args(LEVEL_3).output().expect("openssl");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("ee key too small"), "{said}");
}

#[test]
fn sessions_resume_without_tickets_as_with_openssl() {
    require!(adit);
    require!(program "openssl");
    let folder = folder();
    let pair = issue(folder.path(), "localhost", "ec", None);
    let upstream = Server::echo();
    let lines = |more: &str| format!("{}{}{more}", upstream.line(), pair.lines());
    let adit = Plan::new()
        .service("test", lines("securityLevel = 3\n"))
        .service("usual", lines(""))
        .start();
    let (_server, of_openssl) = openssl::s_server(&pair, &[&LEVEL_3[..], &["-rev"]].concat());
    let ticket = |address| {
        let said = openssl::s_client(address, &["-tls1_2"], "Q\n");
        assert!(said.contains("Cipher is ECDHE"), "{said}");
        said.contains("TLS session ticket:")
    };
    assert!(ticket(adit.address("usual")));
    assert!(!ticket(adit.address("test")) && !ticket(of_openssl));
}

#[test]
fn old_versions_and_suites_are_refused_as_by_openssl() {
    require!(adit);
    require!(program "openssl");
    let folder = folder();
    let pair = issue(folder.path(), "localhost", "rsa:3072", None);
    let upstream = Server::echo();
    let lines = format!(
        "{}{}sslVersionMin = TLSv1\nsecurityLevel = 3\n",
        upstream.line(),
        pair.lines()
    );
    let adit = Plan::new().service("test", lines).start();
    adit.wait_for_log(
        "TLSv1 is not served with `securityLevel = 3`: the lowest version is TLSv1.1",
    );
    let (_server, of_openssl) = openssl::s_server(&pair, &[&LEVEL_3[..], &["-rev"]].concat());
    for (version, list, served) in [
        ("-tls1", "ALL", false),
        ("-tls1_1", "ECDHE-RSA-AES128-SHA", true),
        ("-tls1_1", "AES128-SHA", false),
        ("-tls1_2", "AES256-GCM-SHA384", false),
        ("-tls1_2", "ECDHE-RSA-AES128-SHA256", true),
    ] {
        let list = format!("{list}:@SECLEVEL=0");
        let arguments = [version, "-cipher", &list];
        let said = openssl::s_client(adit.address("test"), &arguments, "Q\n");
        assert_eq!(
            said.contains("Cipher is ECDHE"),
            served,
            "{version} {list}: {said}"
        );
        // OpenSSL 3 has TLS 1.1 at level 0 alone, since its signatures are by SHA-1.
        if version == "-tls1_2" {
            let said = openssl::s_client(of_openssl, &arguments, "Q\n");
            assert_eq!(
                said.contains("Cipher is ECDHE"),
                served,
                "{version} {list}: {said}"
            );
        }
    }
    // Where nothing is left, it is told.
    let lines = format!(
        "{}{}ciphers = AES128-SHA\nsecurityLevel = 3\n",
        upstream.line(),
        pair.lines()
    );
    let outcome = Plan::new().service("test", lines).run();
    outcome
        .exits(1)
        .says(&["securityLevel = 3 leaves none of these"]);
}

#[test]
fn higher_levels_are_refused_with_the_reason() {
    require!(adit);
    for (level, reason) in [
        (4, "signatures with SHA-384"),
        (5, "key exchanges on P-521"),
    ] {
        let lines = format!("client = yes\nconnect = 127.0.0.1:9\nsecurityLevel = {level}\n");
        let outcome = Plan::new().service("test", lines).run();
        let phrase = format!("adit cannot keep to `securityLevel = {level}`");
        outcome.exits(1).says(&[&phrase, reason]);
    }
}

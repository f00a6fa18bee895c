//! `securityLevel = 3` does what OpenSSL's third level does: keys, suites, versions and tickets.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::require;
use crate::support::certs::Pair;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Plan, openssl};

/// Lines that OpenSSL's third level comes to in its own programs.
const LEVEL_3: [&str; 2] = ["-cipher", "DEFAULT:@SECLEVEL=3"];

/// What makes adit serve TLS by s2n-tls at a level that has no old versions.
pub const S2N: &str = "ciphers = ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384\n";

/// A certificate with a key of this kind (`rsa:3072`, `P-256`, or `rsa-7680`, one of the files beside this), signed by
/// this hash, by itself or by `issuer`.
pub fn issue(folder: &Path, name: &str, kind: &str, hash: &str, issuer: Option<&Pair>) -> Pair {
    let pair = Pair {
        cert: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-nodes", "-days", "30", hash]);
    match kind.split_once('-') {
        Some(("rsa", _)) => {
            let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/security_level");
            fs::copy(kept.join(format!("{kind}.pem")), &pair.key).expect("copying");
            fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).expect("chmod");
            make.arg("-new").arg("-key").arg(&pair.key)
        }
        Some(_) => {
            let curve = format!("ec_paramgen_curve:{kind}");
            make.args(["-newkey", "ec", "-pkeyopt", &curve, "-keyout"])
                .arg(&pair.key)
        }
        None => make.args(["-newkey", kind, "-keyout"]).arg(&pair.key),
    };
    make.args(["-subj", &format!("/CN={name}"), "-out"])
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

pub fn folder() -> TempDir {
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
        ("P-256", "P-256", None),
        ("rsa:3072", "rsa:2048", EE),
        ("rsa:2048", "P-256", CA),
    ] {
        let folder = folder();
        let authority = issue(folder.path(), "authority", root, "-sha256", None);
        let pair = issue(
            folder.path(),
            "localhost",
            leaf,
            "-sha256",
            Some(&authority),
        );
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
    let small = issue(folder.path(), "localhost", "rsa:2048", "-sha256", None);
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
    let pair = issue(folder.path(), "localhost", "P-256", "-sha256", None);
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
    let pair = issue(folder.path(), "localhost", "rsa:3072", "-sha256", None);
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

/// What OpenSSL's server says as it refuses its own chain.
fn refusal(level: u8, pair: &Pair) -> String {
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", "127.0.0.1:0", "-cert"]);
    server.arg(&pair.cert).arg("-key").arg(&pair.key);
    server.arg("-cert_chain").arg(&pair.cert);
    server.args(["-cipher", &format!("DEFAULT:@SECLEVEL={level}")]);
    let ended = server.output().expect("openssl");
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn what_is_too_weak_for_a_high_level_is_an_error_of_the_start() {
    require!(adit);
    require!(program "openssl");
    let folder = folder();
    let upstream = Server::echo();
    let (mut plan, mut phrases) = (Plan::new(), Vec::new());
    for (nth, (level, root, leaf, hash, phrase)) in [
        (4, "P-384", "P-256", "-sha384", "ee key too small"),
        (4, "P-384", "rsa:3072", "-sha384", "ee key too small"),
        (4, "P-256", "P-384", "-sha384", "ca key too small"),
        (4, "P-384", "P-384", "-sha256", "ca md too weak"),
        (5, "P-521", "P-384", "-sha512", "ee key too small"),
        (5, "P-521", "P-521", "-sha384", "ca md too weak"),
    ]
    .into_iter()
    .enumerate()
    {
        let authority = issue(folder.path(), "authority", root, "-sha512", None);
        let name = format!("case-{nth}");
        let pair = issue(folder.path(), &name, leaf, hash, Some(&authority));
        let chain = [&pair.cert, &authority.cert].map(|path| fs::read(path).expect("reading"));
        fs::write(&pair.cert, chain.concat()).expect("writing");
        let lines = format!(
            "{}{}securityLevel = {level}\n",
            upstream.line(),
            pair.lines()
        );
        plan = plan.service(&name, lines);
        phrases.push(format!("Service [{name}]: {phrase}"));
        let said = refusal(level, &pair);
        assert!(
            said.contains(phrase),
            "{level} {root} {leaf} {hash}: {said}"
        );
    }
    // Lists of which nothing is left.
    let pair = issue(folder.path(), "localhost", "P-521", "-sha512", None);
    let own = |level: u8| {
        format!(
            "{}{}securityLevel = {level}\n",
            upstream.line(),
            pair.lines()
        )
    };
    for (nth, (level, line, phrase)) in [
        (
            4,
            "ciphersuites = TLS_AES_128_GCM_SHA256\n",
            "`securityLevel = 4` wants ciphers of 192 bits: it leaves none",
        ),
        (
            4,
            "curves = X25519:P-256\n",
            "`securityLevel = 4` wants groups of 192 bits: it leaves none of these",
        ),
        (
            5,
            "curves = X25519MLKEM768:P-384\n",
            "`securityLevel = 5` wants groups of 256 bits: it leaves none of these",
        ),
        (
            4,
            "ciphers = ECDHE-ECDSA-AES256-SHA\n",
            "securityLevel = 4 leaves none of these",
        ),
        (
            4,
            "ciphers = HIGH:@SECLEVEL=5\n",
            "@SECLEVEL=5 is not read here: set `securityLevel = 5`, and leave it out",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        plan = plan.service(&format!("list-{nth}"), own(level) + line);
        phrases.push(format!("Service [list-{nth}]: {phrase}"));
    }
    let phrases: Vec<_> = phrases.iter().map(String::as_str).collect();
    plan.run().exits(1).says(&phrases);
    // And what is wrong before files are read.
    let plan = Plan::new()
        .service(
            "hash",
            own(5) + "config = SignatureAlgorithms:ECDSA+SHA384\n",
        )
        .service("old", own(4) + "sslVersionMax = TLSv1.1\n");
    plan.run().exits(1).says(&[
        "`securityLevel = 5` leaves none of the signatures of a list",
        "TLS below 1.2 is not served with `securityLevel = 4`",
    ]);
}

/// A group that withstands quantum computers, which OpenSSL 3.0 has not, and its successors count as 192 bits.
#[test]
fn a_high_level_has_hybrid_groups_and_old_versions_rise() {
    require!(adit);
    require!(program "openssl");
    let folder = folder();
    let upstream = Server::echo();
    let pair = issue(folder.path(), "localhost", "P-384", "-sha384", None);
    let own = format!("{}{}securityLevel = 4\n", upstream.line(), pair.lines());
    let servers = Plan::new()
        .service("rustls", format!("{own}sslVersionMin = TLSv1\n"))
        .service("s2n", format!("{own}{S2N}"))
        .start();
    servers.wait_for_log(
        "TLS below 1.2 is not served with `securityLevel = 4`: the lowest version is TLSv1.2",
    );
    for (by, client) in [("rustls", ""), ("s2n", ""), ("rustls", S2N)] {
        let lines = format!(
            "client = yes\nconnect = {}\nCAfile = {}\nverifyChain = yes\nsecurityLevel = 4\n{client}",
            servers.address(by),
            pair.cert.display()
        );
        let adit = Plan::new().service("test", &*lines).start();
        peers::says_and_hears(&mut adit.connect("test"), "hello");
        adit.wait_for_log("Peer temporary key: X25519MLKEM768");
        let plan = Plan::new().service("test", lines);
        let file = plan.file().display().to_string();
        let checked = plan.arguments(&["check", "--route", &file]).run();
        checked
            .exits(0)
            .says(&["securityLevel = 4 leaves RSA of 7680 bits, or ECDSA on P-384"]);
    }
}

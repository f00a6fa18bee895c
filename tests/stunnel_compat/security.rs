//! `securityLevel` 4 and 5: stunnel and adit, by both of its libraries, take the same certificates, ciphers, groups and
//! signatures.

use std::io::{Read, Write};
use std::path::Path;

use tempfile::TempDir;

use super::stunnel;
use crate::require;
use crate::security_level::{S2N, folder, issue};
use crate::support::adit::program;
use crate::support::certs::Pair;
use crate::support::openssl::{s_client, s_server};
use crate::support::peers::Server;
use crate::support::{Adit, Plan, wait_for};

/// Keys of a root and of what it issues, by which hash, at a level; and why a peer with it is refused.
type Row = (
    u8,
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const EE: Option<&str> = Some("EE certificate key too weak");
const CA: Option<&str> = Some("CA certificate key too weak");
const MD: Option<&str> = Some("CA signature digest algorithm too weak");

const SERVERS: [Row; 13] = [
    (4, "P-384", "P-384", "-sha384", None),
    (4, "P-521", "P-384", "-sha512", None),
    (4, "rsa-7680", "P-384", "-sha384", None),
    (4, "P-384", "rsa-7680", "-sha384", None),
    (4, "P-384", "rsa:3072", "-sha384", EE),
    (4, "P-256", "P-384", "-sha384", CA),
    (4, "rsa:3072", "P-384", "-sha384", CA),
    (4, "P-384", "P-384", "-sha256", MD),
    (5, "P-521", "P-521", "-sha512", None),
    (5, "P-521", "rsa-7680", "-sha512", EE),
    (5, "P-384", "P-521", "-sha512", CA),
    (5, "rsa-7680", "P-521", "-sha512", CA),
    (5, "P-521", "P-521", "-sha384", MD),
];

/// A server needs another curve than these for what it is asked to sign, so they are clients'.
const CLIENTS: [Row; 5] = [
    (4, "P-384", "P-384", "-sha384", None),
    (4, "P-384", "P-256", "-sha384", EE),
    (4, "P-384", "P-384", "-sha256", MD),
    (5, "P-521", "P-521", "-sha512", None),
    (5, "P-521", "P-384", "-sha512", EE),
];

/// A root and what it has issued.
fn issued(folder: &TempDir, nth: usize, row: &Row) -> (Pair, Pair) {
    let (_, root, leaf, hash, _) = *row;
    let authority = issue(
        folder.path(),
        &format!("authority{nth}"),
        root,
        "-sha512",
        None,
    );
    let pair = issue(
        folder.path(),
        &format!("leaf{nth}"),
        leaf,
        hash,
        Some(&authority),
    );
    (authority, pair)
}

/// Whether a service lets a connection through, with what it says of it.
fn came(adit: &Adit, name: &str, talk: impl FnOnce() -> bool) -> (bool, String) {
    let before = adit.log().len();
    let accepted = talk();
    let finished = format!("Service [{name}] finished");
    let said = wait_for("the end of the connection", || {
        let said = adit.log()[before..].to_owned();
        said.contains(&finished).then_some(said)
    });
    (accepted, said)
}

/// stunnel, adit by rustls, adit by s2n-tls: the program, and what makes it so.
fn programs() -> [(std::path::PathBuf, &'static str); 3] {
    [(stunnel(), ""), (program(), ""), (program(), S2N)]
}

#[track_caller]
fn judges(path: &Path, row: &Row, (accepted, said): &(bool, String)) {
    let (.., refused) = row;
    let path = path.display();
    assert_eq!(*accepted, refused.is_none(), "{path} {row:?}: {said}");
    let phrase = refused.unwrap_or_default();
    assert!(said.contains(phrase), "{path} {row:?}: {said}");
}

#[test]
fn strong_levels_judge_servers_alike() {
    require!(program "stunnel4");
    require!(program "openssl");
    let folder = folder();
    let issued: Vec<_> = (SERVERS.iter().enumerate())
        .map(|(nth, row)| issued(&folder, nth, row))
        .collect();
    let servers = issued.iter().map(|(_, pair)| s_server(pair, &["-rev"]));
    let servers: Vec<_> = servers.collect();
    for (path, more) in programs() {
        let mut plan = Plan::new().program(&path);
        for (nth, (level, ..)) in SERVERS.iter().enumerate() {
            let (address, ca) = (servers[nth].1, issued[nth].0.cert.display());
            plan = plan.service(
                &format!("case-{nth}"),
                format!(
                    "client = yes\nconnect = {address}\nCAfile = {ca}\nverifyChain = yes\nsecurityLevel = {level}\n{more}"
                ),
            );
        }
        let adit = plan.start();
        for (nth, row) in SERVERS.iter().enumerate() {
            let name = format!("case-{nth}");
            let seen = came(&adit, &name, || {
                let mut client = adit.connect(&name);
                let _ = client.write_all(b"hello\n");
                let mut answer = [0; 5];
                client.read_exact(&mut answer).is_ok() && answer == *b"olleh"
            });
            judges(&path, row, &seen);
        }
    }
}

#[test]
fn strong_levels_judge_clients_alike() {
    require!(program "stunnel4");
    require!(program "openssl");
    let folder = folder();
    let upstream = Server::greeting("hello\n");
    let issued: Vec<_> = (CLIENTS.iter().enumerate())
        .map(|(nth, row)| issued(&folder, nth, row))
        .collect();
    for (path, more) in programs() {
        let mut plan = Plan::new().program(&path);
        for (nth, (level, root, ..)) in CLIENTS.iter().enumerate() {
            let (authority, _) = &issued[nth];
            let own = issue(folder.path(), root, root, "-sha512", None).lines();
            plan = plan.service(
                &format!("case-{nth}"),
                format!(
                    "{}{own}CAfile = {}\nverifyChain = yes\nsecurityLevel = {level}\n{more}",
                    upstream.line(),
                    authority.cert.display()
                ),
            );
        }
        let adit = plan.start();
        for (nth, row) in CLIENTS.iter().enumerate() {
            let name = format!("case-{nth}");
            let (_, pair) = &issued[nth];
            let [cert, key] = [&pair.cert, &pair.key].map(|path| path.to_str().expect("UTF-8"));
            // With TLS 1.3 a client whose key can sign nothing that is asked for shows no certificate.
            let arguments = ["-tls1_2", "-cert", cert, "-key", key, "-ign_eof"];
            let seen = came(&adit, &name, || {
                s_client(adit.address(&name), &arguments, "").contains("hello\n")
            });
            judges(&path, row, &seen);
        }
    }
}

/// What a client offers, whether stunnel and adit serve it, and whether s2n-tls does with CBC alone below TLS 1.3.
const OFFERS: [(u8, &[&str], bool, bool); 20] = [
    (
        4,
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        true,
        false,
    ),
    (
        4,
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
        true,
        false,
    ),
    (
        4,
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        false,
        false,
    ),
    (
        4,
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"],
        false,
        false,
    ),
    (4, &["-tls1_2", "-groups", "P-384"], true, true),
    (4, &["-tls1_3", "-groups", "P-521"], true, true),
    (4, &["-tls1_2", "-groups", "P-256:X25519"], false, false),
    (4, &["-tls1_2", "-sigalgs", "ECDSA+SHA384"], true, true),
    (4, &["-tls1_2", "-sigalgs", "ECDSA+SHA256"], false, false),
    (
        4,
        &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        true,
        true,
    ),
    (
        4,
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        false,
        false,
    ),
    (4, &["-tls1_3", "-groups", "P-384"], true, true),
    (4, &["-tls1_3", "-groups", "X25519"], false, false),
    (4, &["-tls1_3", "-sigalgs", "ECDSA+SHA256"], false, false),
    (5, &["-tls1_2"], true, true),
    (5, &["-tls1_2", "-groups", "P-384"], false, false),
    (5, &["-tls1_3", "-groups", "P-521"], true, true),
    (5, &["-tls1_3", "-groups", "P-384"], false, false),
    (5, &["-tls1_3", "-sigalgs", "ECDSA+SHA512"], true, true),
    (5, &["-tls1_3", "-sigalgs", "ECDSA+SHA384"], false, false),
];

#[test]
fn strong_levels_serve_the_same_offers() {
    require!(program "stunnel4");
    require!(program "openssl");
    let folder = folder();
    let upstream = Server::greeting("hello\n");
    for (path, more) in programs() {
        let mut plan = Plan::new().program(&path);
        // Their signatures of themselves may be by any hash.
        for (level, key) in [(4, "P-384"), (5, "P-521")] {
            let own = issue(folder.path(), key, key, "-sha256", None).lines();
            let lines = format!("{}{own}securityLevel = {level}\n{more}", upstream.line());
            plan = plan.service(&format!("level-{level}"), lines);
        }
        let adit = plan.start();
        for (level, arguments, served, by_s2n) in OFFERS {
            let address = adit.address(&format!("level-{level}"));
            let said = s_client(address, &[arguments, &["-ign_eof"]].concat(), "");
            let shaken = said.contains("hello\n");
            let served = if more.is_empty() { served } else { by_s2n };
            assert_eq!(
                shaken, served,
                "{path:?} {more:?} {level} {arguments:?}: {said}"
            );
            // OpenSSL forgets of this in TLS 1.3, where it gives tickets at any level.
            let ticket = said.contains("TLS session ticket:");
            assert!(!ticket || arguments[0] == "-tls1_3", "{said}");
        }
    }
}

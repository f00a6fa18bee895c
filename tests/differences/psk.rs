//! Pre-shared keys.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{both, heard};
use crate::require;
use crate::support::openssl::s_client;
use crate::support::peers::Server;
use crate::support::{Certs, Plan, tls, wait_for};

const PSK: &str = "00112233445566778899aabbccddeeff";

/// A file with this key of `office`, by its option.
fn psk_line(folder: &Path, key: &str) -> String {
    let file = folder.join("psk.txt");
    fs::write(&file, format!("office:{key}\n")).expect("writing");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    format!("PSKsecrets = {}\n", file.display())
}

/// What `openssl s_client` says to a server with that key; it stays until the upstream's greeting.
fn said_by_psk_client(path: &Path, arguments: &[&str]) -> String {
    let upstream = Server::greeting("a greeting\n");
    let plan = Plan::new().program(path);
    let lines = upstream.line() + &psk_line(plan.folder(), PSK);
    let adit = plan.service("test", lines).start();
    s_client(
        adit.address("test"),
        &[&["-ign_eof"], arguments].concat(),
        "",
    )
}

#[test]
fn pre_shared_keys_are_of_tls_1_3_alone() {
    require_both!();
    let own = ["-psk_identity", "office", "-psk", PSK];
    for (version, expected) in [("-tls1_2", [true, false]), ("-tls1_3", [true, true])] {
        let arguments = [&own[..], &[version, "-cipher", "PSK"]].concat();
        let served = both(|path| said_by_psk_client(path, &arguments).contains("a greeting"));
        assert_eq!(served, expected, "{version}");
    }
}

#[test]
fn an_unverified_certificate_does_not_stand_in_for_a_pre_shared_key() {
    require_both!();
    let certs = Certs::new();
    let server = tls::echo_server(&certs, tls::BOTH);
    let served = both(|path| {
        let plan = Plan::new().program(path);
        let lines = format!("client = yes\n{}", server.line()) + &psk_line(plan.folder(), PSK);
        let adit = plan.service("test", lines).start();
        let mut client = adit.connect("test");
        let _ = client.write_all(b"a word");
        let _ = client.shutdown(std::net::Shutdown::Write);
        heard(&mut client).contains("a word")
    });
    assert_eq!(served, [true, false]);
}

#[test]
fn a_client_is_told_what_is_wrong_with_its_pre_shared_key() {
    require_both!();
    let other = PSK.replace('0', "1");
    for (identity, key, expected) in [
        ("home", PSK, ["SSL alert number 40", "SSL alert number 115"]),
        (
            "office",
            &other,
            ["SSL alert number 47", "SSL alert number 51"],
        ),
    ] {
        let arguments = ["-tls1_3", "-psk_identity", identity, "-psk", key];
        let said = both(|path| said_by_psk_client(path, &arguments));
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.lines().any(|line| line.ends_with(expected)), "{said}");
        }
    }
}

#[test]
fn a_pre_shared_key_comes_before_a_certificate() {
    require_both!();
    let certs = Certs::new();
    let key = ["-tls1_3", "-psk_identity", "office", "-psk", PSK];
    for (suites, expected) in [
        (
            "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
            [false, true],
        ),
        ("TLS_AES_128_GCM_SHA256", [true, true]),
    ] {
        let by_key = both(|path| {
            let upstream = Server::greeting("a greeting\n");
            let plan = Plan::new().program(path);
            let keys = psk_line(plan.folder(), PSK);
            let lines = upstream.line() + &keys + &certs.server().lines();
            let adit = plan.service("test", lines).start();
            let arguments = [&["-ign_eof", "-ciphersuites", suites], &key[..]].concat();
            let said = s_client(adit.address("test"), &arguments, "");
            assert!(said.contains("a greeting"), "{said}");
            said.contains("Reused, TLSv1.3")
        });
        assert_eq!(by_key, expected, "{suites}");
    }
}

#[test]
fn a_handshake_by_a_pre_shared_key_gives_no_ticket() {
    require_both!();
    let arguments = ["-tls1_3", "-psk_identity", "office", "-psk", PSK];
    let given = both(|path| {
        let said = said_by_psk_client(path, &arguments);
        assert!(said.contains("a greeting"), "{said}");
        said.contains("New Session Ticket")
    });
    assert_eq!(given, [true, false]);
}

#[test]
fn a_pre_shared_key_of_zeros_is_an_error_of_the_start() {
    require_both!();
    let starts = both(|path| {
        let plan = Plan::new().program(path);
        let lines =
            "connect = 127.0.0.1:9\n".to_owned() + &psk_line(plan.folder(), &"0".repeat(32));
        let adit = plan.service("test", lines).launch();
        wait_for("a start or its failure", || {
            let said = adit.everything_said();
            let failed = said.contains("Configuration failed");
            (failed || said.contains("Accepting new connections")).then_some(!failed)
        })
    });
    assert_eq!(starts, [true, false]);
}

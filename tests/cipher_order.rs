//! `preferChaCha20`: which cipher comes first if a service names none.

use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls};

const CHACHA20: [&str; 2] = [
    "TLSv1.3 ciphersuite: TLS_CHACHA20_POLY1305_SHA256",
    "TLSv1.2 ciphersuite: ECDHE-ECDSA-CHACHA20-POLY1305",
];
const AES_256: [&str; 2] = [
    "TLSv1.3 ciphersuite: TLS_AES_256_GCM_SHA384",
    "TLSv1.2 ciphersuite: ECDHE-ECDSA-AES256-GCM-SHA384",
];

/// A server in server mode, and a client that prefers AES, in both TLS versions.
#[track_caller]
fn serves_with(globals: &str, more: &str, suites: [&str; 2]) {
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.server().lines() + more;
    let adit = Plan::new().global(globals).service("test", lines).start();
    for (versions, suite) in [tls::ONLY_13, tls::ONLY_12].into_iter().zip(suites) {
        let config = tls::client_config(&certs.ca(), versions, None);
        let mut client = tls::connect(config, adit.address("test"));
        peers::says_and_hears(&mut client, "hello");
        adit.wait_for_log(suite);
    }
}

#[test]
fn a_server_that_prefers_chacha20_chooses_it_although_the_client_offers_aes_first() {
    require!(adit);
    serves_with("preferChaCha20 = yes", "", CHACHA20);
}

#[test]
fn a_server_that_does_not_prefer_it_follows_the_client() {
    require!(adit);
    serves_with("preferChaCha20 = no", "", AES_256);
}

#[test]
fn lists_of_ciphers_are_followed_whatever_is_preferred() {
    require!(adit);
    let lists = "ciphersuites = TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256\n\
                 ciphers = ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305\n";
    serves_with("preferChaCha20 = yes", lists, AES_256);
}

#[test]
fn a_client_that_prefers_chacha20_offers_it_first() {
    require!(adit);
    let certs = Certs::new();
    for (versions, suite) in [tls::ONLY_13, tls::ONLY_12].into_iter().zip(CHACHA20) {
        // rustls follows the client's order.
        let upstream = tls::echo_server(&certs, versions);
        let lines = format!(
            "client = yes\n{}{}verifyChain = yes\n",
            upstream.line(),
            certs.ca_line()
        );
        let adit = Plan::new()
            .global("preferChaCha20 = yes")
            .service("test", lines)
            .start();
        peers::says_and_hears(&mut adit.connect("test"), "hello");
        adit.wait_for_log(suite);
    }
}

fn status(adit: &Adit, more: &[&str]) -> String {
    let socket = adit.plan.folder().join("control");
    let mut command = Command::new(program());
    let asked = command.args(["status", "--control"]).arg(socket).args(more);
    let output = asked.output().expect("starting the program");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_order_is_told_in_the_log_and_by_status_and_changes_on_a_reload() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let adit = plan
        .global(format!(
            "preferChaCha20 = no\ncontrol = {}",
            control.display()
        ))
        .service("test", upstream.line() + &certs.server().lines())
        .start();
    assert!(
        !adit.log().contains("Ciphers:"),
        "nothing is out of the way"
    );
    assert!(status(&adit, &[]).contains("\nCiphers: AES first"));
    adit.rewrite(|text| text.replace("preferChaCha20 = no", "preferChaCha20 = yes"));
    adit.reload(1);
    adit.wait_for_log("LOG6[main]: Ciphers: ChaCha20 first");
    assert!(status(&adit, &[]).contains("\nCiphers: ChaCha20 first"));
    let document = status(&adit, &["--json"]);
    assert!(document.contains(r#""chacha20_first":true"#), "{document}");
}

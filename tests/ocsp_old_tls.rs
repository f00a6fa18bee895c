//! OCSP of peers with old TLS, which another library serves: as of all others.

use std::io::{Read, Write};

use crate::ocsp::{Counting, PAYLOAD, accepted, client_mode, clients, issue, refused, server_mode};
use crate::require;
use crate::support::openssl::{self, Tool};
use crate::support::peers;
use crate::support::responder::{self, GOOD, REVOKED, Responder, UNKNOWN, Way};
use crate::support::{Adit, Certs, tls, wait_for};

/// Has s2n-tls serve the end.
const OLD: &str = "sslVersionMin = TLSv1\n";

/// OpenSSL as a server of this version that staples what its responder says of the certificate.
fn stapling(certs: &Certs, serial: u8, version: &str) -> (Tool, Adit) {
    let pair = issue(certs, serial, None);
    let response = responder::response(certs, &pair.cert).display().to_string();
    let arguments = [
        version,
        "-cipher",
        "DEFAULT@SECLEVEL=0",
        "-status_file",
        &response,
    ];
    let (server, address) = openssl::s_server(&pair, &arguments);
    let adit = Adit::serve(format!(
        "client = yes\nconnect = {address}\n{}verifyChain = yes\n{OLD}",
        certs.ca_line()
    ));
    (server, adit)
}

#[test]
fn what_a_server_staples_is_checked_within_the_handshake() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    for version in ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"] {
        let (server, adit) = stapling(&certs, GOOD, version);
        let mut client = adit.connect("test");
        client.write_all(b"a line\n").expect("sending");
        adit.wait_for_log("OCSP: OCSP stapling response received");
        adit.wait_for_log("OCSP: Accepted (good)");
        server.wait_for("a line");
        let (_server, adit) = stapling(&certs, REVOKED, version);
        let mut client = adit.connect("test");
        let heard = peers::read_until_gone(&mut client).unwrap_or_default();
        assert!(heard.is_empty());
        for phrase in [
            "OCSP: Certificate revoked: 1: keyCompromise",
            "OCSP: Rejected (revoked)",
            "Rejected by OCSP at depth=0: CN=localhost",
            "certificate verify failed",
        ] {
            adit.wait_for_log(phrase);
        }
    }
    // rustls puts the response into another record than its certificates, and sends both at once.
    for versions in [tls::ONLY_12, tls::ONLY_13] {
        let good = issue(&certs, GOOD, None);
        let response = responder::response(&certs, &good.cert);
        let upstream = Counting::of(tls::stapling(&good, versions, &response));
        let adit = client_mode(&upstream.server, &certs, OLD);
        accepted(&adit);
        adit.wait_for_log("OCSP: Accepted (good)");
        let upstream = Counting::start(&good, versions);
        let adit = client_mode(&upstream.server, &certs, OLD);
        accepted(&adit);
        adit.wait_for_log("OCSP: No OCSP stapling response received");
    }
}

#[test]
fn a_client_asks_responders_before_a_byte_is_carried() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let url = responder.url();
    for versions in [tls::ONLY_12, tls::ONLY_13] {
        for option in [format!("OCSP = {url}\n"), "OCSPaia = yes\n".to_owned()] {
            let lines = format!("{OLD}{option}");
            let upstream = Counting::start(&issue(&certs, GOOD, Some(&url)), versions);
            let adit = client_mode(&upstream.server, &certs, &lines);
            accepted(&adit);
            adit.wait_for_log("OCSP: Accepted (good)");
            for (serial, phrase) in [
                (REVOKED, "OCSP: Rejected (revoked)"),
                (UNKNOWN, "OCSP: Rejected (OCSPrequire = yes)"),
            ] {
                let upstream = Counting::start(&issue(&certs, serial, Some(&url)), versions);
                let adit = client_mode(&upstream.server, &certs, &lines);
                refused(
                    &adit,
                    &upstream,
                    &[phrase, "Rejected by OCSP at depth=0: CN=localhost"],
                );
            }
        }
    }
}

#[test]
fn a_server_asks_about_its_clients() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let lines = format!("{OLD}OCSP = {}\n", responder.url());
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let (behind, adit) = server_mode(&certs, &lines);
        let client = |serial| {
            let pair = issue(&certs, serial, None);
            tls::client_config(&certs.ca(), versions, Some(&pair))
        };
        let mut good = tls::connect(client(GOOD), adit.address("test"));
        peers::says_and_hears(&mut good, "a byte");
        adit.wait_for_log("OCSP: Accepted (good)");
        // The second time the answer is known, and the verdict is there within the handshake.
        for times in 1..=2 {
            let revoked = tls::start_client(client(REVOKED), peers::connect(adit.address("test")));
            let mut heard = Vec::new();
            if let Ok(mut stream) = revoked {
                let _ = stream.write_all(PAYLOAD);
                let ended = stream.read_to_end(&mut heard);
                if versions == tls::ONLY_12 {
                    let alert = ended.expect_err("it is refused").to_string();
                    assert!(alert.contains("CertificateRevoked"), "{alert}");
                }
            }
            assert!(heard.is_empty());
            adit.wait_for_log_times("OCSP: Rejected (revoked)", times);
            adit.wait_for_log_times("SSL_accept: certificate verify failed", times);
        }
        assert_eq!(
            behind.connections(),
            1,
            "the revoked one reached the server"
        );
    }
}

#[test]
fn a_revoked_client_is_redirected_where_clients_are() {
    require!(adit);
    require!(program "openssl");
    clients::redirected(OLD, tls::ONLY_12);
}

#[test]
fn no_peer_comes_back_by_a_session_unasked() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let lines = format!("{OLD}OCSP = {}\nOCSPnonce = yes\n", responder.url());
    clients::asked_each_time(&certs, &responder, &lines);
    let before = responder.asked();
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::ONLY_12);
    let adit = client_mode(
        &upstream.server,
        &certs,
        &format!("{lines}sslVersionMax = TLSv1.2\n"),
    );
    for _ in 0..2 {
        accepted(&adit);
    }
    adit.wait_for_log_times("TLS connected: new session negotiated", 2);
    assert_eq!(responder.asked(), before + 2);
}

#[test]
fn a_silent_responder_costs_one_connection_and_no_other() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Never);
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::ONLY_12);
    let lines = format!("{OLD}OCSP = {}\nTIMEOUTocsp = 1\n", responder.url());
    let adit = client_mode(&upstream.server, &certs, &lines);
    let mut waiting = adit.connect("test");
    wait_for("the request", || (responder.asked() == 1).then_some(()));
    let heard = peers::read_until_gone(&mut waiting).unwrap_or_default();
    assert!(heard.is_empty());
    adit.wait_for_log("TIMEOUTocsp exceeded");
}

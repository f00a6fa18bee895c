//! Whether a peer's certificate is revoked: what a server staples, and what responders say, before a byte is
//! carried.

pub mod clients;
mod fetcher;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::SupportedProtocolVersion;

use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::openssl::{self, Tool};
use crate::support::peers::{self, Server};
use crate::support::responder::{self, GOOD, REVOKED, Responder, UNKNOWN, Way};
use crate::support::{Adit, Certs, Plan, tls};

pub const PAYLOAD: &[u8] = b"a byte that is for them alone";

pub fn issue(certs: &Certs, serial: u8, responder: Option<&str>) -> Pair {
    let wish = Wish {
        serial,
        responder,
        ..Wish::default()
    };
    certs.issue(&format!("serial{serial}"), wish)
}

/// A TLS server that counts the bytes that it is sent.
pub struct Counting {
    pub server: Server,
    heard: Arc<AtomicUsize>,
}

impl Counting {
    pub fn start(pair: &Pair, versions: &[&'static SupportedProtocolVersion]) -> Counting {
        Counting::of(tls::server_config(pair, versions, None))
    }

    pub fn of(config: Arc<rustls::ServerConfig>) -> Counting {
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        let server = tls::server(config, move |mut stream| {
            let mut buffer = [0; 100];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                counter.fetch_add(count, Ordering::SeqCst);
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            tls::end(&mut stream);
        });
        Counting { server, heard }
    }
}

pub fn client_mode(upstream: &Server, certs: &Certs, lines: &str) -> Adit {
    Adit::serve(format!(
        "client = yes\n{}{}verifyChain = yes\n{lines}",
        upstream.line(),
        certs.ca_line()
    ))
}

#[track_caller]
pub fn accepted(adit: &Adit) {
    peers::says_and_hears(&mut adit.connect("test"), "a byte that is for them alone");
}

/// The client is sent away, and the server is told nothing of it.
#[track_caller]
pub fn refused(adit: &Adit, upstream: &Counting, phrases: &[&str]) {
    let mut client = adit.connect("test");
    client.write_all(PAYLOAD).expect("sending");
    let heard = peers::read_until_gone(&mut client).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&heard), "");
    adit.wait_for_log("Service [test] finished (0 left)");
    for phrase in phrases {
        adit.wait_for_log(phrase);
    }
    assert_eq!(upstream.heard.load(Ordering::SeqCst), 0);
}

#[test]
fn what_a_server_staples_is_checked_without_any_option() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let good = issue(&certs, GOOD, None);
        let response = responder::response(&certs, &good.cert);
        let upstream = Counting::of(tls::stapling(&good, versions, &response));
        let adit = client_mode(&upstream.server, &certs, "");
        accepted(&adit);
        adit.wait_for_log("OCSP: OCSP stapling response received");
        adit.wait_for_log("OCSP: Accepted (good)");
        let revoked = issue(&certs, REVOKED, None);
        let response = responder::response(&certs, &revoked.cert);
        let upstream = Counting::of(tls::stapling(&revoked, versions, &response));
        let adit = client_mode(&upstream.server, &certs, "");
        refused(
            &adit,
            &upstream,
            &[
                "OCSP: Certificate revoked: 1: keyCompromise",
                "OCSP: Rejected (revoked)",
                "Rejected by OCSP at depth=0: CN=localhost",
                "certificate verify failed",
                "TLS alert (write): fatal: bad certificate status response",
            ],
        );
    }
}

#[test]
fn a_server_that_staples_nothing_of_use_is_accepted() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let pair = issue(&certs, GOOD, None);
    let upstream = Counting::start(&pair, tls::BOTH);
    let adit = client_mode(&upstream.server, &certs, "");
    accepted(&adit);
    adit.wait_for_log("OCSP: No OCSP stapling response received");
    // As in stunnel: it settles nothing.
    let other = issue(&certs, REVOKED, None);
    let response = responder::response(&certs, &other.cert);
    let upstream = Counting::of(tls::stapling(&pair, tls::BOTH, &response));
    let adit = client_mode(&upstream.server, &certs, "");
    accepted(&adit);
    adit.wait_for_log("OCSP: OCSP_resp_find_status");
}

#[test]
fn openssl_staples_and_hears_the_alert() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    for (serial, said) in [
        (GOOD, "OCSP: Accepted (good)"),
        (REVOKED, "SSL alert number 113"),
    ] {
        let pair = issue(&certs, serial, None);
        let response = responder::response(&certs, &pair.cert);
        let response = response.display().to_string();
        let (server, address) = openssl::s_server(&pair, &["-status_file", &response]);
        let adit = Adit::serve(format!(
            "client = yes\nconnect = {address}\n{}verifyChain = yes\n",
            certs.ca_line()
        ));
        let _client = adit.connect("test");
        match serial {
            GOOD => adit.wait_for_log(said),
            _ => server.wait_for(said),
        };
    }
}

#[test]
fn a_client_asks_the_configured_responder() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    for way in [Way::Plainly, Way::Chunked, Way::Open] {
        let responder = Responder::start(&certs, way);
        let lines = format!("OCSP = {}\n", responder.url());
        let upstream = Counting::start(&issue(&certs, GOOD, None), tls::BOTH);
        let adit = client_mode(&upstream.server, &certs, &lines);
        accepted(&adit);
        adit.wait_for_log(&format!(
            "OCSP: Connecting the configured responder \"{}\"",
            responder.url()
        ));
        adit.wait_for_log("OCSP: Accepted (good)");
    }
    let responder = Responder::start(&certs, Way::Plainly);
    let lines = format!("OCSP = {}\n", responder.url());
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let upstream = Counting::start(&issue(&certs, REVOKED, None), versions);
        let plan = Plan::new();
        let control = plan.folder().join("control");
        let adit = plan
            .global(format!("control = {}", control.display()))
            .service(
                "test",
                format!(
                    "client = yes\n{}{}verifyChain = yes\n{lines}",
                    upstream.server.line(),
                    certs.ca_line()
                ),
            )
            .start();
        refused(
            &adit,
            &upstream,
            &[
                "OCSP: Rejected (revoked)",
                "Rejected by OCSP at depth=0: CN=localhost",
                "SSL_connect: certificate verify failed",
            ],
        );
        let status = adit.status();
        assert_eq!(
            status["generations"][0]["services"][0]["failed_certificate"], 1,
            "{status}"
        );
    }
}

#[test]
fn a_certificate_names_its_own_responder() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let url = responder.url();
    for (serial, phrase) in [
        (GOOD, "OCSP: Accepted (good)"),
        (REVOKED, "OCSP: Rejected (revoked)"),
    ] {
        let pair = issue(&certs, serial, Some(&url));
        let upstream = Counting::start(&pair, tls::BOTH);
        let adit = client_mode(&upstream.server, &certs, "OCSPaia = yes\n");
        match serial {
            GOOD => accepted(&adit),
            _ => refused(&adit, &upstream, &[]),
        }
        adit.wait_for_log(&format!("OCSP: Connecting the AIA responder \"{url}\""));
        adit.wait_for_log(phrase);
    }
    // One that names none cannot be asked about, and is accepted, as in stunnel.
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::BOTH);
    let adit = client_mode(&upstream.server, &certs, "OCSPaia = yes\n");
    accepted(&adit);
    adit.wait_for_log("OCSP: No AIA responder URL");
}

#[test]
fn without_a_conclusive_answer_ocsprequire_decides() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}/", unused.local_addr().expect("its address"));
    drop(unused);
    let unwilling = Responder::start(&certs, Way::Status("404 Not Found"));
    let honest = Responder::start(&certs, Way::Plainly);
    for (serial, url, phrase) in [
        (GOOD, &nobody, "Connection refused (111)"),
        (
            GOOD,
            &unwilling.url(),
            "the responder answers with HTTP status 404",
        ),
        (UNKNOWN, &honest.url(), "OCSP: Unknown verification status"),
    ] {
        let upstream = Counting::start(&issue(&certs, serial, None), tls::BOTH);
        let adit = client_mode(&upstream.server, &certs, &format!("OCSP = {url}\n"));
        let phrases = [
            phrase,
            "OCSP: Rejected (OCSPrequire = yes)",
            "no conclusive OCSP response",
        ];
        refused(&adit, &upstream, &phrases);
        let lines = format!("OCSP = {url}\nOCSPrequire = no\n");
        let adit = client_mode(&upstream.server, &certs, &lines);
        accepted(&adit);
        adit.wait_for_log(phrase);
        adit.wait_for_log("OCSP: Accepted (OCSPrequire = no)");
    }
}

#[test]
fn an_answer_serves_until_the_next_unless_each_must_be_fresh() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::BOTH);
    for (lines, expected) in [("", 1), ("OCSPnonce = yes\n", 3)] {
        let responder = Responder::start(&certs, Way::Plainly);
        let lines = format!("OCSP = {}\n{lines}", responder.url());
        let adit = Plan::new()
            .global("workers = 1\nthreads = 1")
            .service(
                "test",
                format!(
                    "client = yes\n{}{}verifyChain = yes\nsslVersion = TLSv1.2\n{lines}",
                    upstream.server.line(),
                    certs.ca_line()
                ),
            )
            .start();
        for _ in 0..3 {
            accepted(&adit);
        }
        adit.wait_for_log_times("OCSP: Accepted (good)", 3);
        assert_eq!(responder.asked(), expected, "{lines}");
    }
}

#[test]
fn a_program_is_started_behind_the_verdict_alone() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let plan = Plan::new();
    let trace = plan.folder().join("started");
    let script = plan.folder().join("script");
    std::fs::write(
        &script,
        format!("echo x >> {}\nexec cat\n", trace.display()),
    )
    .expect("writing");
    let lines = format!(
        "exec = /bin/sh\nexecArgs = sh {}\n{}{}verifyChain = yes\nOCSP = {}\n",
        script.display(),
        certs.server().lines(),
        certs.ca_line(),
        responder.url()
    );
    let adit = plan.service("test", lines).start();
    let client = |serial| {
        let pair = issue(&certs, serial, None);
        tls::client_config(&certs.ca(), tls::BOTH, Some(&pair))
    };
    for _ in 0..2 {
        let mut stream = tls::connect(client(REVOKED), adit.address("test"));
        let _ = stream.write_all(PAYLOAD);
        assert!(stream.read_to_end(&mut Vec::new()).is_err());
    }
    adit.wait_for_log_times("OCSP: Rejected (revoked)", 2);
    peers::says_and_hears(
        &mut tls::connect(client(GOOD), adit.address("test")),
        "to the program",
    );
    let started = std::fs::read_to_string(trace).expect("reading");
    assert_eq!(started, "x\n");
}

#[test]
fn a_secondary_service_asks_as_its_own_section_says() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let behind = Server::echo();
    let [own, ca] = [certs.server().lines(), certs.ca_line()];
    let adit = Plan::new()
        .service("first", format!("{}{own}", behind.line()))
        .service(
            "host",
            format!(
                "sni = first:localhost\n{}{own}{ca}verifyChain = yes\nOCSP = {}\n",
                behind.line(),
                responder.url()
            ),
        )
        .start();
    let client = |serial| {
        let pair = issue(&certs, serial, None);
        tls::client_config(&certs.ca(), tls::BOTH, Some(&pair))
    };
    let mut good = tls::connect(client(GOOD), adit.address("first"));
    peers::says_and_hears(&mut good, "a byte");
    adit.wait_for_log("OCSP: Accepted (good)");
    let mut revoked = tls::connect(client(REVOKED), adit.address("first"));
    let _ = revoked.write_all(PAYLOAD);
    assert!(revoked.read_to_end(&mut Vec::new()).is_err());
    adit.wait_for_log("OCSP: Rejected (revoked)");
    // By another name it is not asked about.
    let said = openssl::s_client(
        adit.address("first"),
        &["-servername", "other.test", "-quiet", "-no_ign_eof"],
        "x",
    );
    assert!(said.contains("verify"), "{said}");
    assert_eq!(behind.connections(), 2);
    assert_eq!(responder.asked(), 2);
}

/// A server for clients with certificates, and what is behind it.
pub fn server_mode(certs: &Certs, lines: &str) -> (Server, Adit) {
    let behind = Server::echo();
    let adit = Adit::serve(format!(
        "{}{}{}verifyChain = yes\n{lines}",
        behind.line(),
        certs.server().lines(),
        certs.ca_line()
    ));
    (behind, adit)
}

#[test]
fn openssls_responder_is_asked_as_it_is() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    // Writes the index and the key.
    let pair = issue(&certs, GOOD, None);
    responder::response(&certs, &pair.cert);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    drop(listener);
    let folder = certs.folder();
    let openssl = Tool::start(
        Command::new("openssl")
            .args(["ocsp", "-ndays", "1", "-port", &port.to_string(), "-index"])
            .arg(folder.join("index"))
            .arg("-CA")
            .arg(certs.ca())
            .arg("-rsigner")
            .arg(certs.ca())
            .arg("-rkey")
            .arg(folder.join("ca.key")),
    );
    openssl.wait_for("waiting for OCSP client connections");
    let lines = format!("OCSP = http://localhost:{port}/\nOCSPnonce = yes\n");
    let upstream = Counting::start(&pair, tls::BOTH);
    let adit = client_mode(&upstream.server, &certs, &lines);
    accepted(&adit);
    adit.wait_for_log("OCSP: Accepted (good)");
}

#[test]
fn what_cannot_be_asked_is_an_error_at_the_start() {
    require!(adit);
    let certs = Certs::new();
    for (lines, phrase) in [
        (
            "OCSP = http://a/\n",
            "\"verifyChain\" has to be enabled for OCSP support",
        ),
        (
            "verifyChain = yes\nOCSP = https://a/\n",
            "TLS not supported for OCSP",
        ),
    ] {
        let lines = format!(
            "client = yes\nconnect = 127.0.0.1:9\n{}{lines}",
            certs.ca_line()
        );
        let outcome = Plan::new().service("test", lines).run();
        outcome.exits(1).says(&[phrase]);
    }
}

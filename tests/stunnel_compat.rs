//! The same configuration and the same peers for stunnel and for adit: the client sees the same, and
//! both logs contain the phrases that filters match on. A difference is a bug, or is written down here
//! with its reason.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::dialogue::{IMAP, Lines, NNTP, POP3, SMTP, Seen, Starttls};
use crate::support::openssl::s_client;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, dead_address, installed, tls, wait_for};

mod addresses;
mod alerts;
mod configurations;
mod depths;
mod levels;
mod names;
mod ocsp;
mod programs;
mod psk;
mod redirect;
mod revocation;
mod security;

/// What filters match on, without the parts that vary from run to run.
const PHRASES: &[&str] = &[
    "Configuration successful",
    "Configuration failed",
    "Each service must define two endpoints",
    "Service [test] (FD=",
    "Failed to reload the configuration file",
    "Accepting new connections",
    "Service [test] accepted connection from 127.0.0.1:",
    "Service [test] started",
    "s_connect: connecting ",
    "s_connect: connected ",
    "Connection refused (111)",
    "No more addresses to connect",
    "Service [test] connected remote server from ",
    "TLS accepted: new session negotiated",
    "TLS accepted: previous session reused",
    "TLS connected: new session negotiated",
    "TLS connected: previous session reused",
    "TLSv1.3 ciphersuite: TLS_",
    "TLSv1.2 ciphersuite: ECDHE-",
    "ciphersuite: ECDHE-ECDSA-AES128-GCM-SHA256",
    "SNI: sending servername: ",
    "Redirecting connection",
    "\"redirect\" is unsupported in client sections",
    "\"redirect\" is incompatible with the specified protocol negotiation",
    "has to be enabled for \"redirect\" to work",
    "SNI: no servername received",
    "SNI: requested servername: ",
    "SNI: matched pattern: ",
    "SNI: switched to service [",
    "SNI: no pattern matched servername: ",
    "Invalid SNI parameter format",
    "SNI section name not found",
    "SNI primary service is a TLS client",
    "certificate verify failed",
    "peer did not return a certificate",
    "unsupported protocol",
    "TLS alert (write): fatal: unknown CA",
    "TLS alert (write): fatal: bad certificate",
    "TLS alert (write): fatal: certificate revoked",
    "CERT: Pre-verification error: certificate revoked",
    "CERT: Pre-verification error: unable to get certificate CRL",
    "CERT: Host name \"localhost\" matched with \"localhost\"",
    "CERT: Subject checks failed",
    "CERT: Locally installed certificate matched",
    "Certificate accepted at depth=0: CN=localhost",
    "Rejected by CERT at depth=0: ",
    "Local mode child started (PID=",
    "OCSP: Connecting the configured responder ",
    "OCSP: Connecting the AIA responder ",
    "OCSP: Status: good",
    "OCSP: Certificate accepted",
    "OCSP: Certificate revoked: 1: keyCompromise",
    "OCSP: Revoked at: Jan  1 00:00:00 2026 GMT",
    "Rejected by OCSP at depth=0: CN=localhost",
    "Connection closed: 5 byte(s) sent to TLS, 5 byte(s) sent to socket",
    "TIMEOUTidle exceeded: sending reset",
    "TIMEOUTbusy exceeded: sending reset",
    "Service [test] finished (0 left)",
    "needs authentication to prevent MITM attacks",
];

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    /// What the client saw.
    seen: String,
    /// Which phrases the log has.
    phrases: Vec<&'static str>,
}

fn phrases(log: &str) -> Vec<&'static str> {
    PHRASES
        .iter()
        .copied()
        .filter(|phrase| log.contains(phrase))
        .collect()
}

/// Runs it with `path`; `talk` plays the client and returns what it saw.
fn once(path: &Path, lines: &str, talk: &dyn Fn(&Adit) -> String) -> Came {
    let adit = Plan::new().program(path).service("test", lines).start();
    let seen = talk(&adit);
    adit.wait_for_log("finished (0 left)");
    Came {
        seen,
        phrases: phrases(&adit.log()),
    }
}

fn stunnel() -> PathBuf {
    installed("stunnel4").expect("asked for before")
}

/// Runs both and compares; `differs` lists phrases that only one of them has, with the reason beside it
/// in the test.
#[track_caller]
fn same(lines: &str, differs: &[&str], talk: impl Fn(&Adit) -> String) {
    let mut theirs = once(&stunnel(), lines, &talk);
    let mut ours = once(&program(), lines, &talk);
    // stunnel sends an address as server name, which RFC 6066 section 3 forbids.
    let by_address = lines.contains("connect = 127.0.0.1:") && !lines.contains("sni = ");
    for came in [&mut theirs, &mut ours] {
        came.phrases.retain(|phrase| !differs.contains(phrase));
        came.phrases
            .retain(|phrase| !by_address || !phrase.starts_with("SNI: "));
    }
    let only = |these: &Came, those: &Came| -> Vec<&str> {
        let theirs = |phrase: &&&str| !those.phrases.contains(phrase);
        these.phrases.iter().filter(theirs).copied().collect()
    };
    assert!(
        theirs == ours,
        "stunnel: {:?}, and alone {:?}\nadit: {:?}, and alone {:?}\nof\n{lines}",
        theirs.seen,
        only(&theirs, &ours),
        ours.seen,
        only(&ours, &theirs),
    );
}

/// Whether a service with these lines starts, and all that is said.
fn starts(path: &Path, lines: &str) -> (bool, String) {
    let plan = Plan::new().program(path).service("test", lines);
    let adit = plan.launch();
    let started = wait_for("a start or its failure", || {
        let said = adit.everything_said();
        let failed = said.contains("Configuration failed");
        (failed || said.contains("Accepting new connections")).then_some(!failed)
    });
    (started, adit.everything_said())
}

macro_rules! require_both {
    () => {
        require!(program "stunnel4");
    };
}

/// Sends hello, ends its half, reads the rest.
fn hello(stream: &mut (impl Read + Write), end: impl FnOnce()) -> String {
    let mut answer = [0; 5];
    let said = stream.write_all(b"hello").and_then(|()| stream.flush());
    if said.and_then(|()| stream.read_exact(&mut answer)).is_err() {
        return "no answer".to_owned();
    }
    end();
    String::from_utf8_lossy(&answer).into_owned()
}

fn plain_hello(adit: &Adit) -> String {
    let mut client = adit.connect("test");
    let half = client.try_clone().expect("dup");
    let heard = hello(&mut client, || {
        half.shutdown(std::net::Shutdown::Write).expect("its half");
    });
    heard
        + if peers::read_until_gone(&mut client).is_ok() {
            ", end"
        } else {
            ", reset"
        }
}

fn tls_hello(
    certs: &Certs,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    pair: Option<&crate::support::certs::Pair>,
) -> impl Fn(&Adit) -> String {
    let config = tls::client_config(&certs.ca(), versions, pair);
    move |adit: &Adit| {
        let stream = peers::connect(adit.address("test"));
        let Ok(mut client) = tls::start_client(config.clone(), stream) else {
            return "no handshake".to_owned();
        };
        let heard = hello(&mut client, || {});
        if heard == "no answer" {
            return heard;
        }
        tls::end(&mut client);
        heard
            + if peers::read_until_gone(&mut client).is_ok() {
                ", end"
            } else {
                ", reset"
            }
    }
}

#[test]
fn server_mode_over_tls_1_3_and_1_2() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.server().lines();
    same(&lines, &[], tls_hello(&certs, tls::ONLY_13, None));
    same(&lines, &[], tls_hello(&certs, tls::ONLY_12, None));
}

#[test]
fn openssls_own_configuration_commands() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    for commands in [
        "config = MaxProtocol:TLSv1.2\n",
        "config = Protocol:-TLSv1.3\n",
        "sslVersionMax = TLSv1.2\nconfig = MaxProtocol:TLSv1.3\n",
        "config = MaxProtocol:TLSv1.2\nconfig = CipherString:ECDHE-ECDSA-AES128-GCM-SHA256\n",
        "config = Options:-SessionTicket,ServerPreference\n",
    ] {
        let lines = upstream.line() + &certs.server().lines() + commands;
        same(&lines, &[], tls_hello(&certs, tls::BOTH, None));
    }
}

#[test]
fn client_mode_with_every_check() {
    require_both!();
    let certs = Certs::new();
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let upstream = tls::echo_server(&certs, versions);
        let lines = format!(
            "client = yes\n{}{}verifyChain = yes\ncheckHost = localhost\nsni = localhost\n",
            upstream.line(),
            certs.ca_line()
        );
        same(&lines, &[], plain_hello);
    }
}

#[test]
fn client_mode_without_any_check() {
    require_both!();
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    same(
        &format!("client = yes\n{}", upstream.line()),
        &[],
        plain_hello,
    );
}

#[test]
fn a_server_that_is_not_to_be_trusted() {
    require_both!();
    let (certs, others) = (Certs::new(), Certs::named("somebody else"));
    let upstream = tls::echo_server(&others, tls::BOTH);
    let lines = format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    );
    same(&lines, &[], |adit| {
        only_whether_answered(&plain_hello(adit))
    });
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = format!(
        "client = yes\n{}{}verifyChain = yes\ncheckHost = mail.example.com\n",
        upstream.line(),
        certs.ca_line()
    );
    // OpenSSL has no reason for this refusal, and tells the server about an "internal error".
    let differs = ["TLS alert (write): fatal: bad certificate"];
    same(&lines, &differs, |adit| {
        only_whether_answered(&plain_hello(adit))
    });
}

fn only_whether_answered(heard: &str) -> String {
    heard.split(',').next().unwrap_or_default().to_owned()
}

#[test]
fn a_locally_installed_certificate() {
    require_both!();
    let certs = Certs::new();
    let pair = certs.self_signed("known", Wish::default());
    let upstream = tls::server(tls::server_config(&pair, tls::BOTH, None), |mut stream| {
        let _ = peers::echo(&mut stream);
        tls::end(&mut stream);
    });
    let lines = format!(
        "client = yes\n{}CAfile = {}\nverifyPeer = yes\n",
        upstream.line(),
        pair.cert.display()
    );
    same(&lines, &[], plain_hello);
}

/// `openssl s_client`, which runs until the upstream's greeting has come and ended it.
fn openssl(adit: &Adit, arguments: &[&str]) -> String {
    let arguments = [arguments, &["-ign_eof"]].concat();
    s_client(adit.address("test"), &arguments, "")
}

#[test]
fn a_client_whose_certificate_is_not_installed_here() {
    require_both!();
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let wish = |name| Wish {
        name,
        ..Wish::default()
    };
    let known = certs.issue("known", wish("known"));
    let lines = format!(
        "{}{}CAfile = {}\nverifyPeer = yes\n",
        upstream.line(),
        certs.server().lines(),
        known.cert.display()
    );
    for (pair, heard) in [
        (&known, true),
        (&certs.issue("stranger", wish("stranger")), false),
        (&certs.self_signed("itself", wish("itself")), false),
        // Only the name, on a certificate that anyone could make.
        (&certs.self_signed("mimic", wish("known")), false),
    ] {
        let (cert, key) = (pair.cert.to_str(), pair.key.to_str());
        let (cert, key) = (cert.expect("UTF-8"), key.expect("UTF-8"));
        same(&lines, &[], |adit| {
            let said = openssl(adit, &["-cert", cert, "-key", key]);
            assert_eq!(said.contains("hello"), heard, "{cert}: {said}");
            String::new()
        });
    }
}

/// The server's cache holds the client's chain with each session.
#[test]
fn a_session_of_a_client_with_a_long_chain_is_resumed_by_its_number() {
    require_both!();
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let names: Vec<String> = (0..100).map(|n| format!("host-{n}.example.com")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = certs.issue(
        "large",
        Wish {
            subjects: &names,
            ..Wish::default()
        },
    );
    let lines = upstream.line()
        + &certs.server().lines()
        + &certs.ca_line()
        + "verify = 2\nsslVersion = TLSv1.2\noptions = NO_TICKET\n";
    let (cert, key) = (large.cert.to_str(), large.key.to_str());
    let identity = ["-cert", cert.expect("UTF-8"), "-key", key.expect("UTF-8")];
    same(&lines, &[], |adit| {
        let session = adit.plan.folder().join("session");
        let session = session.to_str().expect("UTF-8");
        let first = openssl(adit, &[&identity[..], &["-sess_out", session]].concat());
        let second = openssl(adit, &[&identity[..], &["-sess_in", session]].concat());
        let told = |said: &str, phrase| said.contains(phrase);
        format!(
            "new: {}, reused: {}",
            told(&first, "New, TLSv1.2"),
            told(&second, "Reused, TLSv1.2")
        )
    });
}

/// One after the other, with the first still open: adit has several workers, and must not show it.
#[test]
fn a_client_that_comes_back_before_its_first_connection_has_ended() {
    require_both!();
    let certs = Certs::new();
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let upstream = tls::echo_server(&certs, versions);
        let lines = format!("client = yes\n{}", upstream.line());
        same(&lines, &[], |adit| {
            let mut first = adit.connect("test");
            peers::says_and_hears(&mut first, "hello");
            let mut second = adit.connect("test");
            peers::says_and_hears(&mut second, "again");
            let reused = adit.count_in_log("TLS connected: previous session reused");
            drop((first, second));
            adit.wait_for_log_times("Service [test] finished (", 2);
            format!("{reused} reused")
        });
    }
}

/// Scripts learn the port and the readiness from these lines.
#[test]
fn a_reload_at_once_after_the_start_binds_again_and_starts_nothing_again() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.server().lines();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    same(&lines, &[], |adit| {
        for turn in 2..=3 {
            adit.signal(Signal::SIGHUP);
            adit.wait_for_log_times(" bound to 127.0.0.1:", turn);
        }
        adit.wait_for_log_times("Configuration successful", 3);
        let stream = peers::connect(adit.address("test"));
        let mut client = tls::start_client(config.clone(), stream).expect("a handshake");
        let heard = hello(&mut client, || {});
        tls::end(&mut client);
        drop(client);
        adit.wait_for_log("Service [test] finished (0 left)");
        let count = |phrase| adit.count_in_log(phrase);
        format!(
            "{heard}: {} bound, {} starts, {} configurations",
            count("bound to"),
            count("Accepting new connections"),
            count("Configuration successful")
        )
    });
}

#[test]
fn a_reload_of_a_file_with_an_error() {
    require_both!();
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = format!("client = yes\n{}", upstream.line());
    same(&lines, &[], |adit| {
        let heard = plain_hello(adit);
        adit.rewrite(|text| text + "conect = 1\n");
        adit.signal(Signal::SIGHUP);
        adit.wait_for_log("Failed to reload the configuration file");
        heard + "; " + &plain_hello(adit)
    });
}

#[test]
fn a_client_without_its_certificate_and_one_with_it() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.server().lines() + &certs.ca_line() + "verify = 2\n";
    same(&lines, &[], tls_hello(&certs, tls::BOTH, None));
    same(
        &lines,
        &[],
        tls_hello(&certs, tls::BOTH, Some(&certs.client())),
    );
}

#[test]
fn a_version_that_is_not_spoken() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.server().lines() + "sslVersion = TLSv1.3\n";
    same(&lines, &[], tls_hello(&certs, tls::ONLY_12, None));
    // Like an old program, without the extensions of TLS 1.2.
    require!(program "openssl");
    let lines = upstream.line() + &certs.server().lines() + "sslVersion = TLSv1.2\n";
    same(&lines, &[], |adit| {
        openssl(adit, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
        adit.wait_for_log("SSL_accept: ");
        assert_eq!(
            adit.count_in_log("unsupported protocol"),
            1,
            "{}",
            adit.log()
        );
        String::new()
    });
}

#[test]
fn an_upstream_that_refuses() {
    require_both!();
    let certs = Certs::new();
    let dead = dead_address();
    let lines = format!("connect = {}\n{}", dead.address, certs.server().lines());
    same(&lines, &[], tls_hello(&certs, tls::BOTH, None));
    let lines = format!("client = yes\nconnect = {}\n", dead.address);
    same(&lines, &[], |adit| {
        only_whether_answered(&plain_hello(adit))
    });
}

#[test]
fn timeouts_of_the_idle_and_the_silent() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let until_gone = |adit: &Adit| {
        let mut client: TcpStream = adit.connect("test");
        let heard = peers::read_until_gone(&mut client);
        format!("{:?}", heard.map_err(|error| error.kind()))
    };
    let lines = upstream.line() + &certs.server().lines() + "TIMEOUTbusy = 1\n";
    same(&lines, &[], until_gone);
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = format!("client = yes\n{}TIMEOUTidle = 1\n", upstream.line());
    same(&lines, &[], until_gone);
}

fn starttls_in_both_modes(protocol: Starttls) {
    let certs = Certs::new();
    let (command, answer) = protocol.command;
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let upstream = protocol.server(config, Seen::default(), "");
    let lines = format!(
        "client = yes\nprotocol = {}\n{}{}verifyChain = yes\n",
        protocol.name,
        upstream.line(),
        certs.ca_line()
    );
    same(&lines, &[], |adit| {
        let mut client = Lines(adit.connect("test"));
        let greeting = client.expect(protocol.greeting.split(' ').next().expect("a word"));
        let answer = client.ask(command, answer);
        client
            .0
            .shutdown(std::net::Shutdown::Write)
            .expect("its half");
        client.rest();
        format!("{greeting}; {answer}")
    });
    // stunnel has no server mode for it.
    if protocol.name == "nntp" {
        return;
    }
    let upstream = protocol.plain_server(Seen::default());
    let lines = format!(
        "protocol = {}\n{}{}",
        protocol.name,
        upstream.line(),
        certs.server().lines()
    );
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    same(&lines, &[], |adit| {
        let mut client = Lines(adit.connect("test"));
        let greeting = client.expect(protocol.greeting.split(' ').next().expect("a word"));
        match protocol.name {
            "smtp" => {
                client.ask("EHLO client.test", "250 ");
                client.ask("STARTTLS", "220");
            }
            "pop3" => drop(client.ask("STLS", "+OK")),
            _ => drop(client.ask("x STARTTLS", "x OK")),
        }
        let stream = tls::start_client(config.clone(), client.0).expect("a handshake");
        let mut client = Lines(stream);
        let answer = client.ask(command, answer);
        tls::end(&mut client.0);
        client.rest();
        // stunnel adds a word of its own to the greeting; adit may do so.
        format!(
            "{}; {answer}",
            greeting.split(' ').next().unwrap_or_default()
        )
    });
}

#[test]
fn starttls_of_smtp() {
    require_both!();
    starttls_in_both_modes(SMTP);
}

#[test]
fn starttls_of_pop3() {
    require_both!();
    starttls_in_both_modes(POP3);
}

#[test]
fn starttls_of_nntp() {
    require_both!();
    starttls_in_both_modes(NNTP);
}

#[test]
fn starttls_of_imap() {
    require_both!();
    starttls_in_both_modes(IMAP);
}

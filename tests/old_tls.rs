//! TLS 1.0 and 1.1, and suites without forward secrecy or with CBC, on either side.

use std::io::Write;
use std::net::SocketAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::certs::{Kind, Pair, Wish};
use crate::support::dialogue::{SMTP, Seen};
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, old_tls, openssl, proc, tls, wait_for};

macro_rules! require_peers {
    () => {
        require!(adit);
        require!(
            old_tls::available(),
            "tlslite-ng is not installed; tests/run does it"
        );
    };
}

// Behind the macro, which it uses.
mod servers;

fn rsa(certs: &Certs) -> Pair {
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    certs.issue("rsa", wish)
}

/// What lives as long as the instance.
struct Served {
    adit: Adit,
    upstream: Server,
    _certs: Certs,
}

impl std::ops::Deref for Served {
    type Target = Adit;

    fn deref(&self) -> &Adit {
        &self.adit
    }
}

/// Server mode in front of an echo.
fn server_mode(more: &str) -> Served {
    let upstream = Server::echo();
    let certs = Certs::new();
    let lines = upstream.line() + &rsa(&certs).lines() + more;
    Served {
        adit: Adit::serve(lines),
        upstream,
        _certs: certs,
    }
}

/// TLS 1.0 on the front, TLS 1.3 alone on the back.
fn both_ends(upstream: &str, lan: &Certs, provider: &Certs, more: &str) -> Plan {
    let pair = rsa(lan);
    let lines = format!(
        "client = yes\nacceptTLS = yes\nacceptCert = {}\nacceptKey = {}\nacceptSSLVersionMin = TLSv1\n\
         {upstream}{}verifyChain = yes\n{more}",
        pair.cert.display(),
        pair.key.display(),
        provider.ca_line(),
    );
    Plan::new().service("test", lines)
}

#[track_caller]
fn echoes(client: &mut Tool, words: &str) {
    writeln!(client.input(), "{words}").expect("sending");
    client.wait_for(&format!("{words}\n"));
}

#[test]
fn a_program_with_tls_1_0_alone_is_served() {
    require_peers!();
    let adit = server_mode("sslVersionMin = TLSv1\n");
    let address = adit.address("test");
    for (options, suite) in [
        (
            &["--cipher", "3des"][..],
            "TLSv1 ciphersuite: DES-CBC3-SHA (112-bit encryption)",
        ),
        (
            &["--cipher", "aes128"],
            "TLSv1 ciphersuite: AES128-SHA (128-bit encryption)",
        ),
        (
            &["--cipher", "aes256"],
            "TLSv1 ciphersuite: AES256-SHA (256-bit encryption)",
        ),
        (
            &["--cipher", "aes128", "--kx", "ecdhe_rsa"],
            "TLSv1 ciphersuite: ECDHE-RSA-AES128-SHA (128-bit encryption)",
        ),
        (
            &["--version", "1.1", "--cipher", "aes128"],
            "TLSv1.1 ciphersuite: AES128-SHA (128-bit encryption)",
        ),
        (
            &["--version", "1.2", "--cipher", "aes256gcm"],
            "TLSv1.2 ciphersuite: AES256-GCM-SHA384 (256-bit encryption)",
        ),
        (
            &[
                "--version",
                "1.3",
                "--cipher",
                "aes128gcm",
                "--kx",
                "ecdhe_rsa",
            ],
            "TLSv1.3 ciphersuite: TLS_AES_128_GCM_SHA256",
        ),
    ] {
        let mut client = old_tls::client(address, options);
        echoes(&mut client, "hello");
        adit.wait_for_log(suite);
    }
}

#[test]
fn openssl_at_its_lowest_level_is_served_with_megabytes_each_way() {
    require_peers!();
    let adit = server_mode("sslVersionMin = TLSv1\n");
    let address = adit.address("test");
    for arguments in [
        ["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"],
        ["-tls1_1", "-cipher", "ECDHE-RSA-AES256-SHA:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES128-SHA256:@SECLEVEL=0"],
    ] {
        let line = "0123456789abcde\n";
        let words = line.repeat(1 << 16);
        let more = ["-quiet", "-no_ign_eof"];
        let said = openssl::s_client(address, &[&arguments[..], &more].concat(), &words);
        drop(said);
    }
    adit.wait_for_log_times(
        "1048576 byte(s) sent to TLS, 1048576 byte(s) sent to socket",
        3,
    );
}

#[test]
fn a_service_that_names_no_old_version_serves_none_and_says_what_would() {
    require_peers!();
    let adit = server_mode("");
    old_tls::refused(adit.address("test"), &["--cipher", "3des"]);
    let line = adit.wait_for_log("unsupported protocol");
    assert!(line.contains("TLS 1.0"), "{line}");
    assert!(line.contains("DES-CBC3-SHA"), "{line}");
    assert!(line.contains("sslVersionMin = TLSv1"), "{line}");
}

#[test]
fn version_limits_hold_for_every_form_of_hello() {
    require_peers!();
    let adit = server_mode("sslVersionMin = TLSv1\nsslVersionMax = TLSv1.1\n");
    let address = adit.address("test");
    assert!(old_tls::hello2(address, "3.1").contains("hello 3.1"));
    // One that would speak TLS 1.2 gets no more than the limit.
    let answer = old_tls::hello2(address, "3.3");
    assert!(
        answer.contains("hello 3.2") || answer.contains("alert 70"),
        "{answer}"
    );
    assert!(old_tls::hello2(address, "3.0").contains("alert 70"));
    let said = old_tls::refused(
        address,
        &["--version", "1.2", "--min", "1.2", "--cipher", "aes128"],
    );
    assert!(said.contains("description=70"), "{said}");
    let mut client = old_tls::client(
        address,
        &["--version", "1.2", "--min", "1.0", "--cipher", "aes128"],
    );
    echoes(&mut client, "hello");
    adit.wait_for_log("TLSv1.1 ciphersuite");
}

#[test]
fn a_fallback_that_was_not_needed_is_refused_at_once() {
    require_peers!();
    let adit = server_mode("sslVersionMin = TLSv1\n");
    let said = old_tls::refused(adit.address("test"), &["--cipher", "aes128", "--fallback"]);
    assert!(said.contains("description=86"), "{said}");
}

#[test]
fn rc4_is_served_by_name_alone() {
    require_peers!();
    let adit = server_mode("sslVersionMin = TLSv1\n");
    let said = old_tls::refused(adit.address("test"), &["--cipher", "rc4"]);
    assert!(said.contains("description=40"), "{said}");
    let line = adit.wait_for_log("no shared cipher");
    assert!(line.contains("RC4-SHA"), "{line}");
    let adit = server_mode("sslVersionMin = TLSv1\nciphers = RC4-SHA:RC4-MD5\n");
    let mut client = old_tls::client(adit.address("test"), &["--cipher", "rc4"]);
    echoes(&mut client, "hello");
    adit.wait_for_log("TLSv1 ciphersuite: RC4-SHA (128-bit encryption)");
    // What the list leaves out is not served.
    old_tls::refused(adit.address("test"), &["--cipher", "aes128"]);
}

#[test]
fn sessions_resume_in_whichever_worker_and_after_a_reload() {
    require_peers!();
    let adit = server_mode("sslVersionMin = TLSv1\n");
    for cipher in ["3des", "aes128"] {
        let mut client = old_tls::client(adit.address("test"), &["--cipher", cipher, "--again"]);
        client.wait_for("resumed=True");
        echoes(&mut client, "hello");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let session = folder.path().join("session");
    let session = session.to_str().expect("a plain path");
    let address = adit.address("test");
    let connect = |option: &str| {
        let arguments = [
            "-tls1",
            "-cipher",
            "AES128-SHA:@SECLEVEL=0",
            option,
            session,
        ];
        openssl::s_client(address, &arguments, "Q\n")
    };
    assert!(connect("-sess_out").contains("New, "), "the first");
    // Held connections make each next one go to another worker.
    let held: Vec<Tool> = (0..2)
        .map(|_| old_tls::client(address, &["--cipher", "aes128"]))
        .collect();
    for turn in 0..3 {
        let said = connect("-sess_in");
        assert!(said.contains("Reused, "), "turn {turn}: {said}");
    }
    adit.reload(1);
    let said = connect("-sess_in");
    assert!(said.contains("Reused, "), "after a reload: {said}");
    drop(held);
}

/// Client mode towards a server.
fn client_mode(address: SocketAddr, certs: &Certs, more: &str) -> Adit {
    Adit::serve(format!(
        "client = yes\nconnect = {address}\n{}verifyChain = yes\ncheckHost = localhost\n{more}",
        certs.ca_line()
    ))
}

#[test]
fn a_list_of_ours_is_what_openssls_clients_are_served_by() {
    require!(adit);
    require!(program "openssl");
    let adit = server_mode("sslVersionMin = TLSv1\nciphers = DHE-RSA-AES256-SHA:AES128-SHA\n");
    // The client prefers others, and offers them as well.
    for (offers, suite) in [
        ("ALL", "AES128-SHA"),
        ("AES256-SHA:DHE-RSA-AES256-SHA", "DHE-RSA-AES256-SHA"),
    ] {
        let offers = format!("{offers}:@SECLEVEL=0");
        let more = ["-tls1", "-cipher", &offers];
        let said = openssl::s_client(adit.address("test"), &more, "Q\n");
        assert!(said.contains(&format!("Cipher is {suite}")), "{said}");
    }
}

#[test]
fn a_client_that_wants_to_renegotiate_is_told_no_and_may_stay() {
    require_peers!();
    require!(program "openssl");
    let adit = server_mode("sslVersionMin = TLSv1\n");
    let address = adit.address("test");
    for (version, list) in [
        ("-tls1", "AES128-SHA:@SECLEVEL=0"),
        ("-tls1_1", "ECDHE-RSA-AES256-SHA:@SECLEVEL=0"),
        ("-tls1_2", "AES128-SHA256"),
        ("-tls1_2", "AES256-GCM-SHA384"),
    ] {
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["s_client", "-connect", &address.to_string()]);
        let mut client = Tool::start(openssl.args([version, "-cipher", list]));
        client.wait_for("Verify return code");
        // It gives up by itself then, as it must have had a reason.
        client.input().write_all(b"R\n").expect("sending");
        client.wait_for("no renegotiation");
        client.succeeds();
    }
    let line = adit.wait_for_log("alert handshake failure");
    assert!(line.contains("turn renegotiation off there"), "{line}");
    for cipher in ["3des", "aes128", "rc4"] {
        let more = "sslVersionMin = TLSv1\nciphers = ALL:RC4-SHA\n";
        let adit = server_mode(more);
        let options = ["--cipher", cipher, "--renegotiate"];
        let mut client = old_tls::client(adit.address("test"), &options);
        // An alert: a warning, no_renegotiation.
        client.wait_for("renegotiation: 21 0164");
        echoes(&mut client, "still here");
        echoes(&mut client, "and later");
    }
}

/// With the two suites that adit cannot go on with by itself.
#[test]
fn a_client_that_wants_to_renegotiate_with_aes256_sha256_is_let_go_at_once() {
    require_peers!();
    require!(program "openssl");
    let adit = server_mode("sslVersionMin = TLSv1\n");
    let address = adit.address("test");
    for list in ["AES256-SHA256", "DHE-RSA-AES256-SHA256"] {
        let before = adit.log().len();
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["s_client", "-connect", &address.to_string()]);
        let mut client = Tool::start(openssl.args(["-tls1_2", "-cipher", list]));
        client.wait_for("Verify return code");
        let asked = std::time::Instant::now();
        client.input().write_all(b"R\n").expect("sending");
        client.succeeds();
        // After an error that is hidden by silence, the end takes 10 seconds or more.
        assert!(asked.elapsed().as_secs() < 9, "{list}");
        let said = wait_for("the reason", || {
            let said = adit.log()[before..].to_owned();
            said.contains("no renegotiation").then_some(said)
        });
        assert!(said.contains("turn renegotiation off there"), "{said}");
    }
}

#[test]
fn one_service_carries_tls_1_0_to_tls_1_3() {
    require_peers!();
    let (lan, provider) = (Certs::new(), Certs::new());
    let upstream = tls::echo_server(&provider, tls::ONLY_13);
    let adit = both_ends(&upstream.line(), &lan, &provider, "").start();
    let mut client = old_tls::client(adit.address("test"), &["--cipher", "3des", "--shut"]);
    echoes(&mut client, "hello");
    adit.wait_for_log("TLSv1 ciphersuite: DES-CBC3-SHA");
    adit.wait_for_log("TLSv1.3 ciphersuite: TLS_");
    // What the client says last is answered still.
    client.input().write_all(b"the last").expect("sending");
    client.end_input();
    assert!(client.succeeds(), "{}", client.said());
    assert!(client.said().contains("the last"), "{}", client.said());
    adit.wait_for_log("Connection closed: 14 byte(s) sent to TLS, 14 byte(s) sent to socket");
}

#[test]
fn one_service_carries_tls_1_0_to_a_server_that_wants_starttls() {
    require_peers!();
    let (lan, provider) = (Certs::new(), Certs::new());
    let seen = Seen::default();
    let config = tls::server_config(&provider.server(), tls::ONLY_13, None);
    let upstream = SMTP.server(config, seen.clone(), "");
    let adit = both_ends(&upstream.line(), &lan, &provider, "protocol = smtp\n").start();
    let mut client = old_tls::client(adit.address("test"), &["--cipher", "3des"]);
    client.wait_for("220 ");
    client.input().write_all(b"NOOP\r\n").expect("sending");
    client.wait_for("250 ");
    assert!(seen.contains("tls: NOOP"), "{:?}", seen.all());
}

/// What a fault in C comes to, while a handshake is under way.
#[test]
fn a_crash_within_a_handshake_costs_old_connections_alone() {
    require_peers!();
    let upstream = Server::echo();
    let (modern, lan) = (Certs::new(), Certs::new());
    let old = upstream.line() + &rsa(&lan).lines() + "sslVersionMin = TLSv1\n";
    let adit = Plan::new()
        .global("workers = 1")
        .service("modern", upstream.line() + &modern.server().lines())
        .service("old", old)
        .start();
    let config = tls::client_config(&modern.ca(), tls::BOTH, None);
    let mut kept = tls::connect(config, adit.address("modern"));
    peers::says_and_hears(&mut kept, "hello");
    for (signal, connections) in [(Signal::SIGABRT, 1), (Signal::SIGILL, 3)] {
        let mut shaking = adit.connect("old");
        // The beginning of a ClientHello.
        shaking.write_all(&[22, 3, 1, 0, 100, 1]).expect("sending");
        // One that no worker has claimed goes to the next.
        adit.wait_for_log_times("Service [old] accepted connection", connections);
        let worker = wait_for("an old worker", || {
            let mut family = proc::family(adit.pid()).into_iter();
            family.find(|one| proc::title(one.pid).contains("old worker"))
        });
        kill(Pid::from_raw(worker.pid), signal).expect("a worker");
        adit.wait_for_log(&format!("was killed by {signal}; starting another"));
        let _ = peers::read_until_gone(&mut shaking);
        let mut again = old_tls::client(adit.address("old"), &["--cipher", "3des"]);
        echoes(&mut again, "hello again");
        peers::says_and_hears(&mut kept, "still here");
    }
}

#[test]
fn a_killed_old_worker_costs_its_own_connections_alone() {
    require_peers!();
    let upstream = Server::echo();
    let modern = Certs::new();
    let pair = modern.server();
    let lan = Certs::new();
    let old = upstream.line() + &rsa(&lan).lines() + "sslVersionMin = TLSv1\n";
    let adit = Plan::new()
        .global("workers = 1")
        .service("modern", upstream.line() + &pair.lines())
        .service("old", old)
        .start();
    let config = tls::client_config(&modern.ca(), tls::BOTH, None);
    let mut kept = tls::connect(config, adit.address("modern"));
    peers::says_and_hears(&mut kept, "hello");
    let mut lost = old_tls::client(adit.address("old"), &["--cipher", "3des"]);
    echoes(&mut lost, "hello");
    let worker = wait_for("an old worker", || {
        let mut family = proc::family(adit.pid()).into_iter();
        family.find(|one| proc::title(one.pid).contains("old worker"))
    });
    kill(Pid::from_raw(worker.pid), Signal::SIGKILL).expect("a worker");
    adit.wait_for_log("was killed by SIGKILL; starting another");
    let mut again = old_tls::client(adit.address("old"), &["--cipher", "3des"]);
    echoes(&mut again, "hello again");
    peers::says_and_hears(&mut kept, "still here");
}

#[test]
fn a_key_that_a_modern_service_has_too_is_refused() {
    require!(adit);
    let upstream = Server::echo();
    let certs = Certs::new();
    let lines = upstream.line() + &rsa(&certs).lines();
    Plan::new()
        .service("modern", lines.clone())
        .service("old", lines.clone() + "sslVersionMin = TLSv1\n")
        .run()
        .exits(1)
        .says(&["Service [old]: its key is also the key of service [modern]"]);
    // Two old ones may.
    let old = lines + "sslVersionMin = TLSv1\n";
    drop(
        Plan::new()
            .service("a", old.clone())
            .service("b", old)
            .start(),
    );
}

#[test]
fn garbage_is_refused_and_costs_nothing() {
    require!(adit);
    let adit = server_mode("sslVersionMin = TLSv1\n");
    for garbage in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[0x80, 3, 1, 3, 1],
        &[0; 64],
    ] {
        let mut client = adit.connect("test");
        client.write_all(garbage).expect("sending");
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = peers::read_until_gone(&mut client);
    }
    adit.wait_for_log_times("Service [test] finished", 4);
    assert_eq!(adit.upstream.connections(), 0);
    assert_eq!(adit.count_in_log("was killed"), 0);
}

//! A session resumes in whichever worker gets the connection, and after a reload.

use std::io::{Read, Write};
use std::path::Path;

use crate::require;
use crate::support::certs::{Kind, Wish};
use crate::support::openssl::{s_client, s_server};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, poll_for, stand_in, tls, wait_for};

/// `openssl s_client` that stores its session, or presents a stored one.
fn openssl(adit: &Adit, version: &str, session: &Path, how: &str) -> String {
    let session = session.to_str().expect("a path in UTF-8");
    // It must stay for TLS 1.3's tickets, which come after the handshake: the upstream's greeting comes
    // later still, and ends the connection.
    s_client(
        adit.address("test"),
        &[version, how, session, "-ign_eof"],
        "",
    )
}

fn server(certs: &Certs, upstream: &Server, workers: usize, more: &str) -> Adit {
    let plan = Plan::new();
    let plan = match stand_in() {
        None => plan.global(format!("workers = {workers}")),
        Some(_) => plan,
    };
    plan.service(
        "test",
        format!("{}{}{more}", upstream.line(), certs.server().lines()),
    )
    .start()
}

fn resumes_everywhere(version: &str, more: &str) {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let adit = server(&certs, &upstream, 4, more);
    let session = adit.plan.folder().join("session");
    // Open connections keep the workers unevenly busy, so that the next ones go to each.
    let mut held = Vec::new();
    let said = openssl(&adit, version, &session, "-sess_out");
    assert!(said.contains("New, TLSv1"), "{said}");
    for turn in 1..=8 {
        held.push(peers::connect(adit.address("test")));
        adit.wait_for_log_times("accepted connection from", 2 * turn);
        let said = openssl(&adit, version, &session, "-sess_in");
        assert!(said.contains("Reused, TLSv1"), "turn {turn}: {said}");
    }
    adit.wait_for_log_times("TLS accepted: previous session reused", 8);
}

#[test]
fn a_tls_1_3_ticket_is_good_at_every_worker() {
    resumes_everywhere("-tls1_3", "");
}

#[test]
fn a_tls_1_2_ticket_is_good_at_every_worker() {
    resumes_everywhere("-tls1_2", "");
}

#[test]
fn a_tls_1_2_session_id_is_good_at_every_worker() {
    resumes_everywhere("-tls1_2", "options = NO_TICKET\n");
}

fn resumes_after_reload(version: &str, more: &str) {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let adit = server(&certs, &upstream, 2, more);
    let session = adit.plan.folder().join("session");
    openssl(&adit, version, &session, "-sess_out");
    adit.reload(1);
    for turn in 1..=4 {
        let said = openssl(&adit, version, &session, "-sess_in");
        assert!(
            said.contains("Reused, TLSv1"),
            "turn {turn} after the reload: {said}"
        );
    }
}

#[test]
fn a_tls_1_3_ticket_outlives_a_reload() {
    resumes_after_reload("-tls1_3", "");
}

#[test]
fn a_tls_1_2_session_id_outlives_a_reload() {
    resumes_after_reload("-tls1_2", "options = NO_TICKET\n");
}

#[test]
fn a_session_from_before_does_not_get_round_a_verification_that_a_reload_brought() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let adit = server(&certs, &upstream, 2, "");
    let session = adit.plan.folder().join("session");
    openssl(&adit, "-tls1_3", &session, "-sess_out");
    adit.rewrite(|text| text + &certs.ca_line() + "verify = 2\n");
    adit.reload(1);
    let before = upstream.connections();
    let said = openssl(&adit, "-tls1_3", &session, "-sess_in");
    adit.wait_for_log("peer did not return a certificate");
    assert_eq!(upstream.connections(), before, "{said}");
}

fn client_mode_resumes(version: &str) {
    require!(program "openssl");
    let certs = Certs::new();
    let (server, address) = s_server(&certs.server(), &[version, "-rev"]);
    let plan = Plan::new();
    // One worker, since each keeps client sessions of its own.
    let plan = if stand_in().is_none() {
        plan.global("workers = 1")
    } else {
        plan
    };
    let adit = plan
        .service(
            "test",
            format!(
                "client = yes\nconnect = {address}\n{}verifyChain = yes\n",
                certs.ca_line()
            ),
        )
        .start();
    let talk = || {
        let mut client = crate::support::dialogue::Lines(adit.connect("test"));
        client.ask("hello", "olleh");
    };
    talk();
    adit.wait_for_log("TLS connected: new session negotiated");
    // s_server serves one connection after another, and is free when the first is finished.
    let resumed = poll_for(crate::support::DEADLINE, || {
        talk();
        adit.log()
            .contains("TLS connected: previous session reused")
            .then_some(())
    });
    assert!(
        resumed.is_some(),
        "never resumed; the server said {}",
        server.said()
    );
}

#[test]
fn client_mode_resumes_a_tls_1_3_session() {
    client_mode_resumes("-tls1_3");
}

#[test]
fn client_mode_resumes_a_tls_1_2_session() {
    client_mode_resumes("-tls1_2");
}

#[test]
fn every_connection_of_client_mode_but_a_workers_first_is_resumed() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new().global("workers = 2");
    let lines = format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    );
    let adit = plan.service("test", lines).start();
    for turn in 1..=20 {
        let mut client = adit.connect("test");
        peers::says_and_hears(&mut client, "hello");
        drop(client);
        adit.wait_for_log_times("Service [test] finished (", turn);
    }
    let new = adit.count_in_log("TLS connected: new session negotiated");
    assert!(new <= 2, "{new} full handshakes by two workers");
}

const SECRETS: &str = "ticketKeySecret = 000102030405060708090a0b0c0d0e0f\n\
                       ticketMacSecret = 101112131415161718191a1b1c1d1e1f\n";

/// Old TLS is by another library, in workers of its own.
const LIBRARIES: [&str; 2] = ["", "sslVersionMin = TLSv1\n"];

#[test]
fn servers_with_the_same_ticket_secrets_resume_each_others_sessions() {
    require!(program "openssl");
    for library in LIBRARIES {
        for version in ["-tls1_3", "-tls1_2"] {
            let upstream = Server::greeting("hello\n");
            // Their certificates and their authorities' files are not the same.
            let serve = |secrets: &str, more: &str| {
                let certs = Certs::new();
                let adit = server(&certs, &upstream, 2, &format!("{library}{secrets}{more}"));
                (adit, certs)
            };
            let (one, _one) = serve(SECRETS, "");
            let session = one.plan.folder().join("session");
            openssl(&one, version, &session, "-sess_out");
            let (two, _two) = serve(SECRETS, "");
            for adit in [&one, &two] {
                let said = openssl(adit, version, &session, "-sess_in");
                assert!(said.contains("Reused, TLSv1"), "{library}{version}: {said}");
            }
            let others = SECRETS.replace("101112", "101113");
            let (other, certs) = serve(&others, "");
            let strict = format!("{}verifyChain = yes\nredirect = 9\n", certs.ca_line());
            let (strict, _strict) = serve(SECRETS, &strict);
            for adit in [&other, &strict] {
                let said = openssl(adit, version, &session, "-sess_in");
                assert!(said.contains("New, TLSv1"), "{library}{version}: {said}");
            }
        }
    }
}

/// Each kind of worker forgets what the others' services have.
#[test]
fn ticket_secrets_for_all_services_are_those_of_each_one() {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let serve = |secrets: &str| {
        let lines = format!("{}{}", upstream.line(), certs.server().lines());
        let mut plan = Plan::new().global(secrets.trim_end());
        for (name, library) in ["modern", "old"].iter().zip(LIBRARIES) {
            plan = plan.service(name, format!("{lines}{library}"));
        }
        let client = format!("client = yes\n{}", upstream.line());
        plan.service("client", client).start()
    };
    let adits = [serve(SECRETS), serve(SECRETS)];
    let other = serve(&SECRETS.replace("101112", "101113"));
    for name in ["modern", "old"] {
        for version in ["-tls1_3", "-tls1_2"] {
            let session = adits[0].plan.folder().join("session");
            let session = session.to_str().expect("a path in UTF-8");
            let ask = |adit: &Adit, how: &str| {
                let arguments = [version, how, session, "-ign_eof"];
                s_client(adit.address(name), &arguments, "")
            };
            ask(&adits[0], "-sess_out");
            for adit in &adits {
                let said = ask(adit, "-sess_in");
                assert!(said.contains("Reused, TLSv1"), "{name} {version}: {said}");
            }
            let said = ask(&other, "-sess_in");
            assert!(said.contains("New, TLSv1"), "{name} {version}: {said}");
        }
    }
}

#[test]
fn ticket_secrets_never_reach_the_log() {
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let adit = server(&certs, &upstream, 2, SECRETS);
    let said = adit.everything_said();
    assert!(!said.contains("000102030405"), "{said}");
    let wrong = SECRETS.replace("0e0f", "0e0");
    let lines = format!("{}{}{wrong}", upstream.line(), certs.server().lines());
    let outcome = Plan::new().service("test", lines).run();
    outcome.exits(1);
    assert!(!outcome.said.contains("0001020304") || stand_in().is_some());
}

#[test]
fn sessions_are_not_resumed_where_sessionresume_says_no() {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    for library in LIBRARIES {
        let adit = server(
            &certs,
            &upstream,
            1,
            &format!("{library}sessionResume = no\n"),
        );
        for version in ["-tls1_3", "-tls1_2"] {
            let session = adit.plan.folder().join("session");
            let said = openssl(&adit, version, &session, "-sess_out");
            let ticket = said.contains("New Session Ticket arrived");
            assert!(!ticket && !said.contains("TLS session ticket:"), "{said}");
            if session.exists() {
                let said = openssl(&adit, version, &session, "-sess_in");
                assert!(said.contains("New, TLSv1"), "{library}{version}: {said}");
            }
        }
    }
}

#[test]
fn a_client_offers_no_session_where_sessionresume_says_no() {
    require!(program "openssl");
    let certs = Certs::new();
    for version in ["-tls1_3", "-tls1_2", "-tls1"] {
        let ciphers = "DEFAULT@SECLEVEL=0";
        let (_server, address) = s_server(&certs.server(), &[version, "-rev", "-cipher", ciphers]);
        let old = if version == "-tls1" { LIBRARIES[1] } else { "" };
        let lines = format!("client = yes\nconnect = {address}\n{old}sessionResume = no\n");
        let adit = Plan::new().service("test", lines).start();
        for _ in 0..4 {
            let mut client = crate::support::dialogue::Lines(adit.connect("test"));
            client.ask("hello", "olleh");
            drop(client);
        }
        adit.wait_for_log_times("TLS connected: new session negotiated", 4);
        assert_eq!(adit.count_in_log("previous session reused"), 0, "{version}");
    }
}

#[test]
fn a_session_is_resumed_for_as_long_as_sessioncachetimeout_says() {
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    for library in LIBRARIES {
        for more in ["", "options = NO_TICKET\n"] {
            let lines = format!("{library}sessionCacheTimeout = 2\n{more}");
            let adit = server(&certs, &upstream, 1, &lines);
            let session = adit.plan.folder().join("session");
            // s2n has no TLS 1.3 sessions without tickets.
            let versions = match (library, more) {
                ("sslVersionMin = TLSv1\n", "options = NO_TICKET\n") => &["-tls1_2"][..],
                _ => &["-tls1_3", "-tls1_2"],
            };
            for version in versions {
                let told = openssl(&adit, version, &session, "-sess_out");
                let hint = "TLS session ticket lifetime hint: ";
                if more.is_empty() && library.is_empty() {
                    assert!(told.contains(&format!("{hint}2 ")), "{version}: {told}");
                }
                let said = openssl(&adit, version, &session, "-sess_in");
                assert!(said.contains("Reused, TLSv1"), "{lines}{version}: {said}");
                wait_for("the session to end", || {
                    let said = openssl(&adit, version, &session, "-sess_in");
                    said.contains("New, TLSv1").then_some(())
                });
            }
        }
    }
}

/// A client's sessions end with the certificate by which they began, since a resumed one shows none.
fn ends_with_the_certificate(version: &str, more: &str) {
    require!(adit);
    require!(program "openssl");
    // A busy machine may need longer for the first session than a certificate lives.
    let mut lives = [7, 20, 50].into_iter();
    assert!(
        lives.any(|seconds| ends_after(seconds, version, more)),
        "no session was resumed before its certificate ended"
    );
}

/// False: it had ended before a session was resumed.
fn ends_after(seconds: u64, version: &str, more: &str) -> bool {
    let certs = Certs::new();
    let wish = Wish {
        kind: Kind::Rsa,
        ends_in: Some(seconds),
        ..Wish::default()
    };
    let (_server, address) = s_server(&certs.issue("short", wish), &[version, "-rev"]);
    let lines = format!(
        "client = yes\nconnect = {address}\n{}verifyChain = yes\n{more}",
        certs.ca_line()
    );
    let plan = Plan::new().global("workers = 1\nthreads = 1");
    let adit = plan.service("test", lines).start();
    let talk = || {
        let mut client = adit.connect("test");
        let mut answer = [0; 6];
        // A ticket of TLS 1.3 has come with the first answer.
        let _ = client.write_all(b"hello\n");
        let _ = client.read_exact(&mut answer);
    };
    // What a connection brought is kept at its end, which may be behind the next beginning.
    let has_ended = || adit.count_in_log("certificate has expired") > 0;
    let resumed = wait_for("a session to be resumed", || {
        talk();
        match adit.count_in_log("TLS connected: previous session reused") {
            0 => has_ended().then_some(false),
            _ => Some(true),
        }
    });
    wait_for("a certificate that has ended", || {
        talk();
        has_ended().then_some(())
    });
    resumed
}

#[test]
fn a_clients_tls_1_3_session_ends_with_the_servers_certificate() {
    ends_with_the_certificate("-tls1_3", "");
}

#[test]
fn a_clients_tls_1_2_session_ends_with_the_servers_certificate() {
    ends_with_the_certificate("-tls1_2", "");
}

#[test]
fn a_clients_session_beside_old_tls_ends_with_the_servers_certificate() {
    ends_with_the_certificate("-tls1_3", "sslVersionMin = TLSv1\n");
}

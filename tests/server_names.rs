//! `sni = SERVICE:PATTERN`: clients get the service that is for the name they ask for, with all that is
//! its own.

use std::io::Write;
use std::net::SocketAddr;

use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::dialogue::{SMTP, Seen};
use crate::support::openssl::s_client;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls, wait_for};

/// A certificate that says whose it is.
fn named(certs: &Certs, name: &str) -> Pair {
    let wish = Wish {
        name,
        ..Wish::default()
    };
    certs.issue(name, wish)
}

/// What `openssl s_client` sees: it stays until the server's greeting and its end have come.
fn asks(address: SocketAddr, arguments: &[&str]) -> String {
    s_client(address, &[arguments, &["-ign_eof"]].concat(), "")
}

struct Hosts {
    certs: Certs,
    servers: [Server; 3],
}

impl Hosts {
    fn new() -> Hosts {
        Hosts {
            certs: Certs::new(),
            servers: ["of the first\n", "of a host\n", "of the others\n"].map(Server::greeting),
        }
    }

    /// [first] and two secondary services, each with lines of its own.
    fn plan(&self, lines: [&str; 3]) -> Plan {
        let mut plan = Plan::new();
        let sections = [
            ("first", ""),
            ("host", "sni = first:mail.example.com\n"),
            ("others", "sni = first:*.example.com\n"),
        ];
        for (((name, sni), server), more) in sections.into_iter().zip(&self.servers).zip(lines) {
            let cert = named(&self.certs, name).lines();
            plan = plan.service(name, format!("{sni}{}{cert}{more}", server.line()));
        }
        plan
    }
}

#[test]
fn each_name_has_its_certificate_its_server_and_its_name_in_the_log() {
    require!(program "openssl");
    let hosts = Hosts::new();
    let adit = hosts.plan(["", "", ""]).start();
    let address = adit.address("first");
    for (arguments, service, greeting) in [
        (
            &["-servername", "mail.example.com"][..],
            "host",
            "of a host",
        ),
        (&["-servername", "MAIL.example.COM"], "host", "of a host"),
        (&["-servername", "a.example.com"], "others", "of the others"),
        (
            &["-servername", "a.b.example.com"],
            "others",
            "of the others",
        ),
        (&["-servername", "example.com"], "first", "of the first"),
        (&["-noservername"], "first", "of the first"),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let said = asks(address, &[arguments, &[version]].concat());
            assert!(said.contains(&format!("CN = {service}")), "{said}");
            assert!(said.contains(greeting), "{arguments:?}: {said}");
        }
    }
    adit.wait_for_log_times("finished (0 left)", 12);
    let log = adit.log();
    for (phrase, times) in [
        ("LOG6[0]: SNI: requested servername: mail.example.com", 1),
        ("LOG7[0]: SNI: matched pattern: mail.example.com", 1),
        ("LOG5[0]: SNI: switched to service [host]", 1),
        ("LOG5[0]: Service [host] connected remote server from", 1),
        ("LOG7[0]: Service [host] finished (0 left)", 1),
        ("SNI: matched pattern: *.example.com", 4),
        ("SNI: switched to service [others]", 4),
        (
            "LOG3[8]: SNI: no pattern matched servername: example.com",
            1,
        ),
        ("LOG5[10]: SNI: no servername received", 1),
        ("Service [first] accepted connection from", 12),
    ] {
        assert_eq!(log.matches(phrase).count(), times, "{phrase} in\n{log}");
    }
}

#[test]
fn each_name_asks_for_client_certificates_of_its_own() {
    let hosts = Hosts::new();
    let strict = hosts.certs.ca_line() + "verifyChain = yes\n";
    let adit = hosts.plan(["", &strict, ""]).start();
    let client = named(&hosts.certs, "client");
    let (cert, key) = (client.cert.to_str(), client.key.to_str());
    let identity = ["-cert", cert.expect("UTF-8"), "-key", key.expect("UTF-8")];
    let address = adit.address("first");
    let host = ["-servername", "mail.example.com"];
    let said = asks(address, &host);
    assert!(!said.contains("of a host"), "{said}");
    adit.wait_for_log("peer did not return a certificate");
    let said = asks(address, &[&host[..], &identity].concat());
    assert!(said.contains("of a host"), "{said}");
    let said = asks(address, &["-servername", "a.example.com"]);
    assert!(said.contains("of the others"), "{said}");
}

#[test]
fn a_session_of_one_name_is_not_taken_up_under_another() {
    require!(program "openssl");
    for version in ["-tls1_3", "-tls1_2"] {
        for more in ["", "options = NO_TICKET\n"] {
            let hosts = Hosts::new();
            let adit = hosts.plan([more, more, more]).start();
            let address = adit.address("first");
            let session = adit.plan.folder().join("session");
            let session = session.to_str().expect("UTF-8");
            let store = ["-sess_out", session, version];
            let take = ["-sess_in", session, version];
            let host = ["-servername", "mail.example.com"];
            asks(address, &[&store[..], &host].concat());
            for (other, greeting) in [
                (&["-servername", "a.example.com"][..], "of the others"),
                (&["-servername", "other.example"], "of the first"),
            ] {
                let said = asks(address, &[&take[..], other].concat());
                assert!(said.contains("New, TLSv1"), "{version} {more}: {said}");
                assert!(said.contains(greeting), "{said}");
            }
            let said = asks(address, &[&take[..], &host].concat());
            assert!(said.contains("Reused, TLSv1"), "{version} {more}: {said}");
            assert!(said.contains("of a host"), "{said}");
        }
    }
}

#[test]
fn a_client_that_asks_for_its_name_within_starttls_gets_its_certificate() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let upstream = SMTP.plain_server(Seen::default());
    let server = format!("protocol = smtp\n{}", upstream.line());
    let first = format!("{server}{}", named(&certs, "first").lines());
    let sni = "sni = first:mail.example.com\n";
    let host = format!("{server}{sni}{}", named(&certs, "host").lines());
    let adit = Plan::new()
        .service("first", first)
        .service("host", host)
        .start();
    let address = adit.address("first");
    for (name, service) in [("mail.example.com", "host"), ("example.com", "first")] {
        let starttls = ["-starttls", "smtp", "-servername", name];
        let said = s_client(address, &starttls, "QUIT\r\n");
        assert!(said.contains(&format!("CN = {service}")), "{said}");
    }
    adit.wait_for_log("SNI: switched to service [host]");
    adit.wait_for_log("Service [host] finished (0 left)");
    assert_eq!(upstream.connections(), 2);
}

/// The client asks for TLS before any server is connected.
#[test]
fn a_database_is_chosen_by_its_name() {
    require!(adit);
    require!(program "openssl");
    let hosts = Hosts::new();
    let pgsql = "protocol = pgsql\n";
    let adit = hosts.plan([pgsql, pgsql, ""]).start();
    let alpn = ["-starttls", "postgres", "-alpn", "postgresql"];
    for (name, service, greeting) in [
        ("mail.example.com", "host", "of a host"),
        ("a.example.com", "others", "of the others"),
        ("example.com", "first", "of the first"),
    ] {
        let arguments = [&alpn[..], &["-servername", name]].concat();
        let said = asks(adit.address("first"), &arguments);
        assert!(said.contains(&format!("CN = {service}")), "{said}");
        assert!(said.contains(greeting), "{name}: {said}");
    }
}

#[test]
fn a_hello_that_comes_byte_by_byte_chooses_too() {
    require!(adit);
    let hosts = Hosts::new();
    let adit = hosts.plan(["", "", ""]).start();
    let mut hello = tls::first_flight("mail.example.com");
    let last = hello.pop().expect("a hello");
    let mut client = adit.connect("first");
    client.set_nodelay(true).expect("nodelay");
    for byte in hello {
        client.write_all(&[byte]).expect("a byte");
    }
    assert_eq!(adit.count_in_log("SNI: requested servername"), 0);
    client.write_all(&[last]).expect("the last byte");
    adit.wait_for_log("SNI: switched to service [host]");
}

#[test]
fn what_is_no_hello_is_refused_as_without_names() {
    require!(adit);
    let hosts = Hosts::new();
    let adit = hosts.plan(["", "", ""]).start();
    let mut client = adit.connect("first");
    client.write_all(b"EHLO x\r\n").expect("saying it");
    let _ = peers::read_until_gone(&mut client);
    drop(client);
    adit.wait_for_log("Service [first] finished (0 left)");
    drop(adit.connect("first"));
    adit.wait_for_log_times("Service [first] finished (0 left)", 2);
    assert_eq!(adit.count_in_log("SNI: "), 0);
}

#[test]
fn a_silent_client_has_as_long_as_timeoutbusy_says() {
    let hosts = Hosts::new();
    let adit = hosts.plan(["TIMEOUTbusy = 1\n", "", ""]).start();
    let mut client = adit.connect("first");
    assert!(peers::read_until_gone(&mut client).is_err());
    adit.wait_for_log("TIMEOUTbusy exceeded: sending reset");
}

#[test]
fn old_tls_is_chosen_by_name_where_the_primary_has_it_too() {
    require!(adit);
    require!(program "openssl");
    let hosts = Hosts::new();
    let old = "sslVersionMin = TLSv1\n";
    // What the primary says holds for a secondary service that says nothing.
    let adit = hosts.plan([old, "", ""]).start();
    let address = adit.address("first");
    for version in ["-tls1", "-tls1_2", "-tls1_3"] {
        let ciphers = ["-cipher", "DEFAULT@SECLEVEL=0"];
        let host = ["-servername", "mail.example.com", version];
        let said = asks(address, &[&host[..], &ciphers].concat());
        assert!(said.contains("CN = host"), "{version}: {said}");
        assert!(said.contains("of a host"), "{version}: {said}");
    }
    hosts.plan(["", old, ""]).run().exits(1).says(&[
        "Service [host]: [host] is served by workers for old TLS (TLS 1.0 is asked for (sslVersionMin)) and [first] is not",
    ]);
}

#[test]
fn connections_are_counted_for_the_service_that_was_chosen() {
    require!(adit);
    require!(program "openssl");
    let hosts = Hosts::new();
    let plan = hosts.plan(["", "", ""]);
    let control = plan.folder().join("control");
    let adit = plan
        .global(format!("control = {}", control.display()))
        .start();
    asks(adit.address("first"), &["-servername", "mail.example.com"]);
    let count = |adit: &Adit, name: &str, count: &str| -> Option<u64> {
        let status = adit.status();
        let services = status["generations"][0]["services"].as_array()?.clone();
        services.iter().find(|s| s["name"] == name)?[count].as_u64()
    };
    for (service, counter, expected) in [
        ("first", "accepted", 1),
        ("first", "handshakes_new", 0),
        ("host", "accepted", 1),
        ("host", "handshakes_new", 1),
        ("host", "active", 0),
        ("first", "active", 0),
        ("others", "accepted", 0),
    ] {
        wait_for(&format!("{expected} {counter} of [{service}]"), || {
            (count(&adit, service, counter) == Some(expected)).then_some(())
        });
    }
}

#[test]
fn the_route_of_a_service_with_names_is_shown() {
    require!(adit);
    let hosts = Hosts::new();
    let plan = hosts.plan(["", "", ""]);
    let file = plan.file();
    let file = file.to_str().expect("UTF-8").to_owned();
    plan.arguments(&["check", "--route", &file]).run().exits(0).says(&[
        "Service [first]: choice of the service by SNI, TLS handshake with the client, connect, relay",
        "  mail.example.com: service [host]",
        "  *.example.com: service [others]",
        "Service [host]: TLS handshake with the client, connect, relay",
    ]);
}

//! A client that comes and goes without a word, as a load balancer's health check, is no failure: it is counted apart, and
//! told of only where everything is.

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls, wait_for};

fn service(adit: &Adit, name: &str) -> Value {
    let status = adit.status();
    let services = status["generations"][0]["services"].as_array();
    let mut found = services.expect("services").iter();
    let found = found.find(|service| service["name"] == name);
    found.expect("the service").clone()
}

fn counts(adit: &Adit, name: &str) -> [u64; 4] {
    let service = service(adit, name);
    ["accepted", "checks", "failed_vanished", "failed_before_tls"]
        .map(|count| service[count].as_u64().expect("a count"))
}

fn wait_for_counts(adit: &Adit, name: &str, wanted: [u64; 4]) {
    wait_for(&format!("{wanted:?} of {name}"), || {
        (counts(adit, name) == wanted).then_some(())
    });
}

/// Greets, and takes every command.
fn mail_server() -> Server {
    Server::start(|stream| {
        let mut said = BufReader::new(stream);
        let mut line = String::new();
        let _ = said.get_mut().write_all(b"220 mail.example ESMTP\r\n");
        while said.read_line(&mut line).is_ok_and(|count| count > 0) {
            let _ = said.get_mut().write_all(b"250 mail.example\r\n");
            line.clear();
        }
    })
}

#[test]
fn a_health_check_is_counted_apart_and_half_a_hello_is_a_failure() {
    require!(adit);
    let (certs, echo) = (Certs::new(), Server::echo());
    let mail = mail_server();
    let pair = certs.server().lines();
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let adit = plan
        .global(format!("control = {}\nworkers = 1", control.display()))
        .service("tls", format!("debug = notice\n{}{pair}", echo.line()))
        .service("loud", format!("debug = debug\n{}{pair}", echo.line()))
        .service(
            "mail",
            format!("debug = notice\nprotocol = smtp\n{}{pair}", mail.line()),
        )
        .start();
    for name in ["tls", "loud"] {
        drop(adit.connect(name));
        peers::reset(adit.connect(name));
        wait_for_counts(&adit, name, [2, 2, 0, 0]);
    }
    for goodbye in ["", "QUIT\r\n"] {
        let mut client = BufReader::new(adit.connect("mail"));
        let mut greeting = String::new();
        client.read_line(&mut greeting).expect("a greeting");
        assert!(greeting.starts_with("220 "), "{greeting}");
        client
            .get_mut()
            .write_all(goodbye.as_bytes())
            .expect("sending");
    }
    wait_for_counts(&adit, "mail", [2, 2, 0, 0]);
    let said = |adit: &Adit| adit.count_in_log("Service [tls] accepted connection from");
    assert_eq!(said(&adit), 0, "{}", adit.log());
    assert_eq!(adit.count_in_log(" LOG3["), 0, "{}", adit.log());
    assert_eq!(
        adit.count_in_log("Service [loud] accepted connection from"),
        2
    );
    assert_eq!(
        adit.count_in_log(" closed the connection without a word: a check"),
        2
    );

    // Half a hello, and half a command.
    let mut client = adit.connect("tls");
    client
        .write_all(&tls::first_flight("localhost")[..50])
        .expect("sending");
    drop(client);
    wait_for_counts(&adit, "tls", [3, 2, 1, 0]);
    assert_eq!(said(&adit), 1);
    adit.connect("mail")
        .write_all(b"EHLO me\r\n")
        .expect("sending");
    wait_for_counts(&adit, "mail", [3, 2, 0, 1]);
    // One that stays is told of, though it says nothing.
    let _silent = adit.connect("tls");
    adit.wait_for_log_times("Service [tls] accepted connection from", 2);
}

#[test]
fn in_the_short_format_no_service_tells_of_one() {
    require!(adit);
    let (certs, echo, mail) = (Certs::new(), Server::echo(), mail_server());
    let pair = certs.server().lines();
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = plan
        .global(format!(
            "control = {}\nlogFormat = short",
            control.display()
        ))
        .service("tls", format!("debug = notice\n{}{pair}", echo.line()))
        .service(
            "plain",
            format!("debug = notice\nclient = yes\n{}", upstream.line()),
        )
        .service(
            "mail",
            format!("debug = notice\nprotocol = smtp\n{}{pair}", mail.line()),
        )
        .start();
    for name in ["tls", "plain", "mail"] {
        let client = adit.connect(name);
        let address = client.local_addr().expect("an address").to_string();
        drop(client);
        wait_for_counts(&adit, name, [1, 1, 0, 0]);
        assert_eq!(adit.count_in_log(&address), 0, "{}", adit.log());
    }
    // One that says something is told of.
    let mut client = adit.connect("plain");
    let address = client.local_addr().expect("an address").to_string();
    peers::says_and_hears(&mut client, "ten bytes.");
    drop(client);
    adit.wait_for_log(&address);
}

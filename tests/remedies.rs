//! Every error says what to do about it, in the log and in `adit check`, and not in Rust's words.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::require;
use crate::support::adit::Outcome;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, dead_address};

#[track_caller]
fn told(outcome: &Outcome, phrase: &str, remedy: &str) {
    outcome.exits(1).says(&[phrase, remedy]);
    let said = &outcome.said;
    assert!(!said.contains("os error"), "{said}");
    let together = |line: &str| line.contains(phrase) && line.contains(remedy);
    let follows = said.contains(&format!("help: {remedy}"));
    assert!(
        follows || said.lines().any(together),
        "{phrase}: {remedy}: {said}"
    );
}

#[test]
fn what_a_start_cannot_find_or_make_is_told_with_a_remedy() {
    require!(root);
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let good = upstream.line() + &certs.server().lines();
    for (global, phrase, remedy) in [
        (
            "pid = /no/such/pid",
            "there is no folder /no/such",
            "make it: `mkdir -p /no/such`",
        ),
        (
            "output = /no/such/log",
            "there is no folder /no/such",
            "make it: `mkdir -p /no/such`",
        ),
        (
            "pid = /tmp",
            "Cannot create pid file /tmp: Is a directory (21)",
            "name a file in it",
        ),
        (
            "output = /tmp",
            "cannot open the log file: Is a directory (21)",
            "name a file in it",
        ),
        (
            "control = /proc/control",
            "control = /proc/control: ",
            "name another file",
        ),
        (
            "setuid = no-such-user",
            "there is no user \"no-such-user\"",
            "give one that `getent passwd`",
        ),
        (
            "setgid = no-such-group",
            "there is no group \"no-such-group\"",
            "give one that `getent group`",
        ),
        (
            "chroot = /no/such",
            "cannot enter /no/such: No such file or directory (2)",
            "make it, `install",
        ),
    ] {
        let outcome = Plan::new().global(global).service("test", &good).run();
        told(&outcome, phrase, remedy);
    }
    let service = |lines: &str| Plan::new().service("test", lines).run();
    let missing = service("connect = 127.0.0.1:9\ncert = /no/such.pem\n");
    told(
        &missing,
        "/no/such.pem: No such file or directory (2)",
        "check the path",
    );
    let name = service("client = yes\naccept = no.such.name.invalid:1\nconnect = 127.0.0.1:9\n");
    told(
        &name,
        "Error resolving \"no.such.name.invalid\"",
        "check the name",
    );
    let elsewhere = service("client = yes\naccept = 192.0.2.1:1025\nconnect = 127.0.0.1:9\n");
    told(
        &elsewhere,
        "Cannot assign requested address (99)",
        "see `ip address`",
    );
}

#[test]
fn what_an_ordinary_user_may_not_do_is_told_with_a_remedy() {
    require!(root);
    require!(adit);
    let limit = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    require!(
        limit.is_ok_and(|port| port.trim().parse().is_ok_and(|port: u16| port > 25)),
        "every user may bind low ports here"
    );
    let lines = "client = yes\naccept = 127.0.0.1:25\nconnect = 127.0.0.1:9\n";
    let outcome = Plan::new().user(65534, 65534).service("test", lines).run();
    let phrase = "Binding service [test] to 127.0.0.1:25: Permission denied (13)";
    told(&outcome, phrase, "a port below 1024 is for root alone");
    let lines = "connect = 127.0.0.1:9\ncert = /etc/shadow\n";
    let outcome = Plan::new().user(65534, 65534).service("test", lines).run();
    told(
        &outcome,
        "/etc/shadow: Permission denied (13)",
        "let the user who starts adit read",
    );
}

#[test]
fn a_second_instance_is_told_what_stands_in_its_way() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let good = upstream.line() + &certs.server().lines();
    let plan = Plan::new();
    let folder = plan.folder().display().to_string();
    let globals = format!("pid = {folder}/pid");
    let adit = plan.global(&globals).service("test", &good).start();
    let second = Plan::new().global(&globals).service("test", &good).run();
    let phrase = format!("an instance with PID {} is running already", adit.pid());
    told(&second, &phrase, "give this one another `pid`");
    let socket = adit.plan.folder().join("taken");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let control = format!("control = {}", socket.display());
    let outcome = Plan::new().global(&control).service("test", good).run();
    let phrase = format!("(PID {}) has it", std::process::id());
    told(&outcome, &phrase, "give this adit another `control`");
}

#[test]
fn a_server_that_cannot_be_reached_is_told_with_a_remedy() {
    require!(adit);
    let dead = dead_address();
    let refused = dead.address.to_string();
    for (connect, phrase, remedy) in [
        (
            refused.as_str(),
            "Connection refused (111)",
            "no program listens there",
        ),
        (
            "/no/such/socket",
            "No such file or directory (2)",
            "check the path of `connect`",
        ),
        (
            "no.such.name.invalid:25",
            "Error resolving",
            "check the name",
        ),
    ] {
        let lines = format!("client = yes\nconnect = {connect}\n");
        let adit = Plan::new().service("test", lines).start();
        let _ = peers::read_until_gone(&mut adit.connect("test"));
        adit.wait_for_log("Service [test] finished");
        let log = adit.log();
        let line = log
            .lines()
            .find(|line| line.contains("LOG3") && line.contains(phrase));
        let line = line.unwrap_or_else(|| panic!("no {phrase:?} in {log}"));
        assert!(line.contains(remedy), "{line}");
        assert!(!log.contains("os error"), "{log}");
    }
}

//! `probe`: a server that does not answer comes last until it does, whichever worker has a client, and its log tells of
//! no lost connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::send;
use crate::support::mail::MailHost;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// A TLS server at this address that says who it is.
fn says(certs: &Certs, address: SocketAddr, who: &'static [u8]) -> Server {
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let listener = TcpListener::bind(address).expect("its address");
    Server::on(listener, move |stream| {
        if let Ok(mut stream) = tls::start_server(config.clone(), stream) {
            let _ = stream.write_all(who);
            tls::end(&mut stream);
        }
    })
}

fn heard(adit: &Adit) -> String {
    let mut said = String::new();
    // A reset, where there is no server.
    let _ = adit.connect("test").read_to_string(&mut said);
    said
}

fn health(adit: &Adit) -> String {
    let line = adit.wait_for_log("Metrics bound to");
    let address = line.rsplit(' ').next().expect("an address");
    let mut stream = peers::connect(address.parse().expect("an address"));
    let request = b"GET /health HTTP/1.1\r\nHost: adit\r\n\r\n";
    stream.write_all(request).expect("writing");
    String::from_utf8(peers::read_to_end(&mut stream)).expect("text")
}

#[test]
fn a_server_that_does_not_answer_comes_last_until_it_does_and_health_tells_when_none_is_left() {
    require!(adit);
    let certs = Certs::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (first, second) = (says(&certs, any, b"first"), says(&certs, any, b"second"));
    let (one, two) = (first.address, second.address);
    let plan = Plan::new();
    let control = format!("control = {}/control", plan.folder().display());
    let lines = format!(
        "client = yes\nconnect = {one}\nconnect = {two}\n{}verifyChain = yes\nprobe = 1\n",
        certs.ca_line()
    );
    let plan = plan
        .global(control)
        .global("workers = 2\nmetrics = 127.0.0.1:0\ndebug = 6");
    let adit = plan.service("test", lines).start();
    assert_eq!(heard(&adit), "first");
    drop(first);
    let line = adit.wait_for_log("does not answer probes");
    let expected =
        format!("Service [test]: {one} does not answer probes, and comes last until it does");
    assert!(line.contains("LOG3[") && line.contains(&expected), "{line}");
    assert!(line.contains("Connection refused (111)"), "{line}");
    let tries = || adit.count_in_log(&format!("s_connect: connecting {one}"));
    let before = tries();
    // Both workers at once.
    let mut clients = [adit.connect("test"), adit.connect("test")];
    for client in &mut clients {
        let mut said = String::new();
        client.read_to_string(&mut said).expect("what it says");
        assert_eq!(said, "second");
    }
    assert_eq!(tries(), before, "nothing was tried in vain");
    assert!(health(&adit).starts_with("HTTP/1.1 200"));
    wait_for("what the status tells", || {
        let service = adit.status()["generations"][0]["services"][0].clone();
        (service["probed"] == 2 && service["ejected"] == 1).then_some(())
    });
    // Whichever worker looked, the others go on.
    let [worker, ..] = proc::roles(adit.pid()).workers[..] else {
        panic!("no worker");
    };
    send(worker, Signal::SIGKILL);
    let first = says(&certs, one, b"first");
    adit.wait_for_log(&format!("Service [test]: {one} answers probes again"));
    assert_eq!(heard(&adit), "first");
    drop((first, second));
    adit.wait_for_log("Service [test]: no server answers probes: all are tried all the same");
    let told = health(&adit);
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert!(
        told.ends_with("no server answers probes: [test]\n"),
        "{told}"
    );
    let before = tries();
    assert_eq!(heard(&adit), "");
    assert_eq!(tries(), before + 1);
    let _second = says(&certs, two, b"second");
    adit.wait_for_log(&format!("Service [test]: {two} answers probes again"));
    wait_for("health", || {
        health(&adit).starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn mail_servers_are_greeted_and_left_in_order() {
    require!(root);
    require!(adit);
    require!(program "dovecot");
    require!(program "postfix");
    let certs = Certs::new();
    let strangers = Certs::named("stranger");
    let mut host = MailHost::without_postfix(&certs);
    // Of the one that looked whether dovecot is there, which comes when it comes.
    let losses = |host: &MailHost| host.logs().matches("Connection closed").count();
    wait_for("its loss", || (losses(&host) == 1).then_some(()));
    let bad = says(&strangers, SocketAddr::from(([127, 0, 0, 1], 0)), b"x");
    let ca = certs.ca_line();
    let service = |connect: SocketAddr, more: &str| {
        format!("client = yes\nconnect = {connect}\n{ca}verifyChain = yes\nprobe = 1\n{more}")
    };
    let plan = Plan::new()
        .service("imaps", service(host.at(993), ""))
        .service("pop3", service(host.at(110), "protocol = pop3\n"))
        .service("imap", service(host.at(143), "protocol = imap\n"))
        .service("smtp", service(host.at(25), "protocol = smtp\n"))
        .service("bad", service(bad.address, ""));
    let adit = plan.start();
    let line = adit.wait_for_log("Service [bad]: ");
    assert!(line.contains("certificate verify failed"), "{line}");
    adit.wait_for_log("Service [smtp]: no server answers probes");
    host.postfix_comes(&certs, "");
    adit.wait_for_log("Service [smtp]: ");
    let line = adit.wait_for_log("answers probes again");
    assert!(line.contains("[smtp]"), "{line}");
    wait_for("farewells", || {
        let logs = host.logs();
        let aborted = logs.matches("Aborted login by logging out").count();
        (aborted >= 3 && logs.contains("quit=1")).then_some(())
    });
    let logs = host.logs();
    assert_eq!(losses(&host), 1, "{logs}");
    assert!(!logs.contains("SSL_accept"), "{logs}");
    // The one that looked whether postfix is there.
    assert!(logs.matches("lost connection").count() <= 1, "{logs}");
    for name in ["imaps", "pop3", "imap"] {
        assert_eq!(
            adit.count_in_log(&format!("Service [{name}]: ")),
            0,
            "{name}"
        );
    }
}

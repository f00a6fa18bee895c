//! `hold`: a program that sends mail is held while its server is away, and never told of a mail that the server did not take.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;

use crate::require;
use crate::support::dialogue::{Lines, Seen};
use crate::support::mail::{MailHost, wait_for_mails};
use crate::support::peers::Server;
use crate::support::{Adit, Certs, Plan, own_loopback, peers, tls};

fn lines(address: impl std::fmt::Display, certs: &Certs, more: &str) -> String {
    format!(
        "client = yes\nconnect = {address}\n{}verifyChain = yes\ncheckHost = localhost\n{more}",
        certs.ca_line()
    )
}

fn client(adit: &Adit, service: &str) -> Lines<TcpStream> {
    Lines(peers::connect(adit.address(service)))
}

/// Is greeted, and answered.
fn is_held(adit: &Adit, service: &str) -> Lines<TcpStream> {
    let mut smtp = client(adit, service);
    assert_eq!(smtp.line().as_deref(), Some("220 localhost ESMTP adit"));
    smtp.send("EHLO till.test\r\n");
    smtp
}

const MAIL: [(&str, &str); 4] = [
    ("RCPT TO:<anna@mail.test>", "250 "),
    ("DATA", "354 "),
    ("Subject: x\r\n\r\nthe text\r\n.", "250 "),
    ("QUIT", "221 "),
];

const LOGIN: &str = "AUTH PLAIN AGFubmEAZ2VoZWlt";

#[test]
fn a_postfix_that_comes_late_takes_every_mail() {
    require!(adit);
    require!(root);
    require!(program "dovecot");
    require!(program "postfix");
    let certs = Certs::new();
    let mut host = MailHost::without_postfix(&certs);
    let service = |port, more| lines(host.at(port), &certs, more);
    let adit = Plan::new()
        .service("relay", service(25, "protocol = smtp\nhold = 60\n"))
        .service(
            "submission",
            service(587, "protocol = smtp\nlogin = translate\nhold = 60\n"),
        )
        .service("smtps", service(465, "login = translate\nhold = 60\n"))
        .start();
    let mut clients = Vec::new();
    for (service, logs_in) in [("relay", false), ("submission", true), ("smtps", true)] {
        let mut smtp = is_held(&adit, service);
        if logs_in {
            smtp.expect("250-localhost");
            smtp.expect("250-AUTH PLAIN LOGIN");
            smtp.expect("250 AUTH=PLAIN LOGIN");
            smtp.send(&format!("{LOGIN}\r\n"));
        } else {
            assert_eq!(smtp.line().as_deref(), Some("250 localhost"));
            smtp.send("MAIL FROM:<anna@mail.test>\r\n");
        }
        clients.push((smtp, logs_in));
    }
    host.postfix_comes(&certs, "127.0.0.0/8");
    for (smtp, logs_in) in &mut clients {
        if *logs_in {
            smtp.expect("235 ");
            smtp.send("MAIL FROM:<anna@mail.test>\r\n");
        }
        smtp.expect("250 ");
        for (say, answer) in MAIL {
            smtp.ask(say, answer);
        }
        smtp.rest();
    }
    wait_for_mails(&host, 3);
}

#[test]
fn a_postfix_that_never_comes_is_told_of_in_words() {
    require!(adit);
    let certs = Certs::new();
    let nowhere = std::net::SocketAddr::from((own_loopback(), 25));
    let adit = Plan::new()
        .service(
            "plain",
            lines(nowhere, &certs, "protocol = smtp\nhold = 1\n"),
        )
        .service(
            "login",
            lines(
                nowhere,
                &certs,
                "loginProtocol = smtp\nlogin = translate\nhold = 1\n",
            ),
        )
        .start();
    for (service, say) in [("plain", "MAIL FROM:<a@b>"), ("login", LOGIN)] {
        let mut smtp = is_held(&adit, service);
        smtp.expect("250 ");
        smtp.send(&format!("{say}\r\n"));
        let rest = smtp.rest();
        assert!(
            rest.starts_with("421 4.3.2 adit: the mail server cannot"),
            "{rest}"
        );
        assert_eq!(rest.lines().count(), 1, "{rest}");
    }
    adit.wait_for_log("hold: the program's time is over");
}

/// How far a server comes before it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    AtOnce,
    Busy,
    Greeted,
    AtEhlo,
    AtStarttls,
    InTheHandshake,
    WithinTls,
    BusyWithinTls,
}

/// On its first connections; then it lives.
const DEATHS: [&[Dies]; 9] = [
    &[Dies::AtOnce],
    &[Dies::Busy],
    &[Dies::Greeted],
    &[Dies::AtEhlo],
    &[Dies::AtStarttls],
    &[Dies::InTheHandshake],
    &[Dies::AtOnce, Dies::WithinTls],
    &[Dies::AtOnce, Dies::BusyWithinTls],
    &[Dies::Busy, Dies::InTheHandshake],
];

/// One connection to it; `None`: it lives until a mail is begun, and is gone then.
fn serve(stream: TcpStream, dies: Option<Dies>, config: Arc<ServerConfig>, seen: &Seen) {
    let mut plain = Lines(stream);
    if dies == Some(Dies::AtOnce) {
        return;
    }
    if dies == Some(Dies::Busy) {
        return plain.send("421 busy\r\n");
    }
    plain.send("220-mail.test\r\n220 ESMTP\r\n");
    if dies == Some(Dies::Greeted) {
        return;
    }
    plain.expect("EHLO ");
    if dies == Some(Dies::AtEhlo) {
        return;
    }
    plain.send("250-mail.test\r\n250 STARTTLS\r\n");
    plain.expect("STARTTLS");
    if dies == Some(Dies::AtStarttls) {
        return plain.send("454 not now\r\n");
    }
    plain.send("220 go ahead\r\n");
    if dies == Some(Dies::InTheHandshake) {
        return;
    }
    let Ok(stream) = tls::start_server(config, plain.0) else {
        return seen.note("no handshake");
    };
    let mut smtp = Lines(stream);
    let Some(ehlo) = smtp.line() else { return };
    seen.note(ehlo);
    match dies {
        Some(Dies::WithinTls) => return,
        Some(Dies::BusyWithinTls) => return smtp.send("421 going down\r\n"),
        _ => smtp.send("250-mail.test\r\n250 PIPELINING\r\n"),
    }
    while let Some(line) = smtp.line() {
        seen.note(line.clone());
        if line.starts_with("DATA") {
            return;
        }
        smtp.send("250 ok\r\n");
    }
}

#[test]
fn a_server_that_is_gone_in_any_state_is_tried_again_and_never_spoken_for() {
    require!(adit);
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let mut plan = Plan::new();
    let mut servers = Vec::new();
    for deaths in DEATHS {
        let (config, seen, nth) = (config.clone(), Seen::default(), AtomicUsize::new(0));
        let noted = seen.clone();
        let server = Server::start(move |stream| {
            let dies = deaths.get(nth.fetch_add(1, Ordering::SeqCst));
            serve(stream, dies.copied(), config.clone(), &noted);
        });
        let name = format!("{deaths:?}").replace(['[', ']', ',', ' '], "");
        let lines = lines(server.address, &certs, "protocol = smtp\nhold = 60\n");
        plan = plan.service(&name, lines);
        servers.push((name, deaths, server, seen));
    }
    let adit = plan.start();
    let mut clients = Vec::new();
    for (name, ..) in &servers {
        let mut smtp = is_held(&adit, name);
        assert_eq!(smtp.line().as_deref(), Some("250 localhost"), "{name}");
        smtp.send("MAIL FROM:<a@b>\r\n");
        clients.push(smtp);
    }
    for ((name, deaths, server, seen), mut smtp) in servers.iter().zip(clients) {
        assert_eq!(smtp.line().as_deref(), Some("250 ok"), "{name}");
        smtp.ask("RCPT TO:<c@d>", "250 ok");
        smtp.send("DATA\r\n");
        let rest = smtp.rest();
        assert_eq!(rest, "", "{name}: it is gone, and nothing was taken");
        assert_eq!(server.connections(), deaths.len() + 1, "{name}");
        let said = seen.all();
        let all = ["EHLO till.test", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"];
        let from = said.len().saturating_sub(all.len());
        assert_eq!(said[from..], all, "{name}");
        assert!(
            said[..from]
                .iter()
                .all(|line| line == all[0] || line == "no handshake")
        );
    }
}

#[test]
fn a_server_that_refuses_for_good_is_not_tried_again() {
    require!(adit);
    let certs = Certs::new();
    let at_once = Server::greeting("554 go away\r\n");
    let nth = AtomicUsize::new(0);
    let later = Server::start(move |stream| {
        let mut plain = Lines(stream);
        if nth.fetch_add(1, Ordering::SeqCst) > 0 {
            plain.send("554 go away\r\n");
            plain.rest();
        }
    });
    let adit = Plan::new()
        .service(
            "at-once",
            lines(at_once.address, &certs, "protocol = smtp\nhold = 60\n"),
        )
        .service(
            "later",
            lines(later.address, &certs, "protocol = smtp\nhold = 60\n"),
        )
        .start();
    let rest = client(&adit, "at-once").rest();
    assert_eq!(rest, "554 go away\r\n");
    let mut smtp = is_held(&adit, "later");
    smtp.expect("250 ");
    smtp.send("MAIL FROM:<a@b>\r\n");
    let rest = smtp.rest();
    assert!(rest.starts_with("421 4.3.2 adit: "), "{rest}");
    assert_eq!(later.connections(), 2);
}

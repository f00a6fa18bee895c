//! `hold` for programs that log in through adit, with TLS of their own: the server comes late, or dies in any state, and the
//! program is never told that something was taken which was not.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::version::TLS13;

use super::tokens::{Account, BOTH, TokenServer};
use crate::require;
use crate::support::dialogue::{Lines, Seen};
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::peers::Server;
use crate::support::{Certs, Plan, tls, wait_for};

/// A service whose programs speak TLS from the first byte.
fn lines(address: impl std::fmt::Display, provider: &Certs, lan: &Certs, more: &str) -> String {
    let pair = lan.server();
    format!(
        "client = yes\nconnect = {address}\n{}verifyChain = yes\ncheckHost = localhost\nhold = 60\n\
         acceptTLS = yes\nacceptCert = {}\nacceptKey = {}\n{more}",
        provider.ca_line(),
        pair.cert.display(),
        pair.key.display()
    )
}

#[test]
fn programs_with_tls_of_their_own_wait_for_a_postfix_that_comes_late() {
    super::require_servers!();
    require!(program "swaks");
    require!(program "msmtp");
    let (lan, provider) = (Certs::new(), Certs::new());
    let mut host = MailHost::without_postfix(&provider);
    let adit = Plan::new()
        .service(
            "submission",
            lines(
                host.at(587),
                &provider,
                &lan,
                "protocol = smtp\nlogin = translate\n",
            ),
        )
        .service(
            "smtps",
            lines(host.at(465), &provider, &lan, "login = translate\n"),
        )
        .start();
    let mut programs = Vec::new();
    for service in ["submission", "smtps"] {
        let port = adit.address(service).port();
        let mut swaks = Command::new("swaks");
        swaks
            .args(["--server", "127.0.0.1", "--port", &port.to_string()])
            .args(["--tls-on-connect", "--auth", "LOGIN", "--auth-user", USER])
            .args(["--auth-password", PASSWORD, "--timeout", "60"])
            .args(["--from", "anna@mail.test", "--to", "anna@mail.test"]);
        programs.push(swaks);
        let mut msmtp = Command::new("msmtp");
        msmtp
            .args([
                "--file=/dev/null",
                "--host=localhost",
                "--auth=plain",
                "--tls=on",
            ])
            .args(["--tls-starttls=off", "--from=anna@mail.test"])
            .arg(format!("--port={port}"))
            .arg(format!("--tls-trust-file={}", lan.ca().display()))
            .args([
                &format!("--user={USER}"),
                &format!("--passwordeval=echo {PASSWORD}"),
            ])
            .args(["--", "anna@mail.test"]);
        programs.push(msmtp);
    }
    let programs: Vec<_> = programs
        .iter_mut()
        .map(|program| {
            let said = [Stdio::piped(), Stdio::piped()];
            let [stdout, stderr] = said;
            let stdin = Stdio::null();
            let program = program.stdin(stdin).stdout(stdout).stderr(stderr);
            program.spawn().expect("a program")
        })
        .collect();
    let held = "hold: the server is not there; the program is held";
    wait_for("four programs that wait", || {
        (adit.count_in_log(held) >= programs.len()).then_some(())
    });
    host.postfix_comes(&provider, "127.0.0.0/8");
    let count = programs.len();
    for program in programs {
        let output = program.wait_with_output().expect("an end");
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", adit.log());
    }
    wait_for_mails(&host, count);
}

/// How far a server comes before it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    AtOnce,
    InTheHandshake,
    Busy,
    Greeted,
    AtEhlo,
    /// The program has logged in, as far as it is concerned.
    AtAuth,
    AtToken,
}

/// On its first connections, then it lives; whether the login that comes meanwhile is made.
const DEATHS: [(&[Dies], bool); 8] = [
    (&[Dies::AtOnce], true),
    (&[Dies::InTheHandshake], true),
    (&[Dies::Busy], true),
    (&[Dies::AtOnce, Dies::Busy], true),
    // One that is not held yet hears the server's own greeting, and is left as by any server that goes then.
    (&[Dies::AtOnce, Dies::Greeted], true),
    (&[Dies::AtOnce, Dies::AtEhlo], true),
    (&[Dies::AtOnce, Dies::AtAuth], false),
    (&[Dies::AtOnce, Dies::AtToken], false),
];

/// One connection to it; `None`: it lives until a mail is begun, and is gone then.
fn serve(stream: TcpStream, dies: Option<Dies>, config: Arc<ServerConfig>, seen: &Seen) {
    if dies == Some(Dies::AtOnce) {
        return;
    }
    if dies == Some(Dies::InTheHandshake) {
        let _ = stream.peek(&mut [0]);
        return;
    }
    let Ok(stream) = tls::start_server(config, stream) else {
        return seen.note("no handshake");
    };
    let mut smtp = Lines(stream);
    if dies == Some(Dies::Busy) {
        return smtp.send("421 busy\r\n");
    }
    smtp.send("220 mail.test ESMTP\r\n");
    if dies == Some(Dies::Greeted) {
        return;
    }
    while let Some(line) = smtp.line() {
        let word = line.split(' ').next().unwrap_or_default();
        match (word, dies) {
            ("EHLO", Some(Dies::AtEhlo)) | ("AUTH", Some(Dies::AtAuth)) | ("DATA", _) => return,
            ("EHLO", _) => smtp.send("250-mail.test\r\n250 AUTH XOAUTH2\r\n"),
            ("AUTH", _) => {
                smtp.send("334 \r\n");
                if smtp.line().is_none() || dies == Some(Dies::AtToken) {
                    return;
                }
                seen.note("in");
                smtp.send("235 in\r\n");
            }
            (word, _) => {
                seen.note(word);
                smtp.send("250 ok\r\n");
            }
        }
    }
}

#[test]
fn a_server_that_dies_while_a_token_is_brought_is_never_spoken_for() {
    require!(adit);
    require!(root);
    let (lan, provider) = (Certs::new(), Certs::new());
    let tokens = TokenServer::start(&provider, &[3600]);
    let account = Account::signed_in(&tokens, &provider);
    let config = tls::server_config(&provider.server(), &[&TLS13], None);
    let mut plan = Plan::new().global(account.lines());
    let mut servers = Vec::new();
    for (deaths, enters) in DEATHS {
        let (config, seen, nth) = (config.clone(), Seen::default(), AtomicUsize::new(0));
        let noted = seen.clone();
        let server = Server::start(move |stream| {
            let dies = deaths.get(nth.fetch_add(1, Ordering::SeqCst));
            serve(stream, dies.copied(), config.clone(), &noted);
        });
        let name = format!("{deaths:?}").replace(['[', ']', ',', ' '], "");
        let more = "login = oauth2\nloginProtocol = smtp\n";
        plan = plan.service(&name, lines(server.address, &provider, &lan, more));
        servers.push((name, enters, server, seen));
    }
    let adit = plan.start();
    let client = tls::client_config(&lan.ca(), tls::BOTH, None);
    let mut programs = Vec::new();
    for (name, ..) in &servers {
        let mut smtp = Lines(tls::connect(client.clone(), adit.address(name)));
        smtp.expect("220 ");
        smtp.send("EHLO till.test\r\n");
        smtp.expect("250-AUTH PLAIN LOGIN");
        smtp.expect("250 ");
        smtp.send(&format!("AUTH PLAIN {BOTH}\r\n"));
        programs.push(smtp);
    }
    for ((name, enters, _server, seen), mut smtp) in servers.iter().zip(programs) {
        if *enters {
            smtp.expect("235 ");
            smtp.ask("MAIL FROM:<anna@mail.test>", "250 ok");
            smtp.ask("RCPT TO:<anna@mail.test>", "250 ok");
            smtp.send("DATA\r\n");
            let rest = smtp.rest();
            assert_eq!(rest, "", "{name}: it is gone, and nothing was taken");
            assert_eq!(seen.all(), ["in", "MAIL", "RCPT"], "{name}");
        } else {
            let rest = smtp.line().unwrap_or_default();
            let is_refused = rest.starts_with('4') || rest.starts_with('5');
            assert!(is_refused, "{name}: {rest}\n{}", adit.log());
            assert_eq!(seen.all(), [""; 0], "{name}");
        }
    }
    // What it meets in vain does not cost it a token.
    assert_eq!(tokens.asked(), 2, "one of `adit login`");
    assert!(!adit.everything_said().contains("eyJ"));
}

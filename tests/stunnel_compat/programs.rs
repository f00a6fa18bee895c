//! Programs behind a service, by stunnel and by adit.

use std::io::{Read, Write};

use super::{program, same, stunnel, tls_hello};
use crate::require;
use crate::support::certs::Pair;
use crate::support::{Adit, Certs, tls};

/// What a program says to a client that sends `input` and ends its half. Input that a program leaves unread
/// resets its socket, and stunnel then loses the output now and then.
fn said(
    certs: &Certs,
    pair: Option<&Pair>,
    input: &'static [u8],
) -> impl Fn(&Adit) -> String + use<> {
    let config = tls::client_config(&certs.ca(), tls::BOTH, pair);
    move |adit: &Adit| {
        let mut client = tls::connect(config.clone(), adit.address("test"));
        client.write_all(input).expect("room");
        tls::end(&mut client);
        let mut said = String::new();
        let end = client.read_to_string(&mut said);
        format!("{said}, {}", if end.is_ok() { "end" } else { "cut" })
    }
}

#[test]
fn a_program_speaks_and_hears_the_end() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = certs.server().lines();
    let cat = format!("{server}exec = /bin/cat\n");
    same(&cat, &[], tls_hello(&certs, tls::ONLY_13, None));
    same(&cat, &[], tls_hello(&certs, tls::ONLY_12, None));
    // What answers only then.
    let count = format!("{server}exec = /usr/bin/wc\nexecArgs = wc -c\n");
    same(&count, &[], said(&certs, None, b"hello"));
    // Quotes are part of the arguments, and blanks beside one another are one.
    let echo = format!("{server}exec = /bin/echo\nexecArgs = echo \"one  two\" 'three' \\n\n");
    same(&echo, &[], said(&certs, None, b""));
}

#[test]
fn a_program_is_told_the_same_of_its_client() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let (pair, server) = (certs.client(), certs.server().lines());
    let verified = format!(
        "{server}CAfile = {}\nverifyPeer = yes\nexec = /usr/bin/env\n",
        pair.cert.display()
    );
    let asked = format!(
        "{server}CAfile = {}\nverify = 0\nexec = /usr/bin/env\n",
        certs.ca().display()
    );
    let told = |pair: Option<&Pair>| {
        let said = said(&certs, pair, b"");
        move |adit: &Adit| {
            let said = said(adit);
            let of_session = |line: &&str| line.starts_with("SSL_") || line.starts_with("REMOTE_H");
            let mut lines: Vec<&str> = said.lines().filter(of_session).collect();
            lines.retain(|line| !line.starts_with("SSL_CERT_"));
            lines.sort_unstable();
            lines.join("\n")
        }
    };
    same(&verified, &[], told(Some(&pair)));
    same(&asked, &[], told(Some(&pair)));
    same(&asked, &[], told(None));
}

#[test]
fn a_program_on_a_terminal_answers_there() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let lines = format!("{}exec = /bin/cat\npty = yes\n", certs.server().lines());
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let seen = |path: std::path::PathBuf| {
        let plan = crate::support::Plan::new().program(path);
        let adit = plan.service("test", lines.clone()).start();
        let mut client = tls::connect(config.clone(), adit.address("test"));
        client.write_all(b"hello\n").expect("room");
        // The terminal's echo, and the program's.
        let mut seen = [0; 14];
        client.read_exact(&mut seen).expect("both");
        drop(client);
        adit.wait_for_log("Service [test] finished (0 left)");
        let log = adit.log();
        let tty = log.contains("TTY=/dev/pts/") && log.contains("Local mode child started (PID=");
        (String::from_utf8_lossy(&seen).into_owned(), tty)
    };
    let expected = ("hello\r\nhello\r\n".to_owned(), true);
    assert_eq!(
        [seen(stunnel()), seen(program())],
        [expected.clone(), expected]
    );
}

#[test]
fn a_program_in_place_of_accept_begins_the_session() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = format!(
        "client = yes\n{}{}verifyChain = yes\ncheckHost = localhost\nsni = localhost\n\
         exec = /bin/echo\nexecArgs = echo hello\n",
        upstream.line(),
        certs.ca_line()
    );
    for path in [stunnel(), program()] {
        let plan = crate::support::Plan::new().program(path);
        // stunnel needs something that it accepts on.
        let other = format!("{}exec = /bin/cat\n", certs.server().lines());
        let adit = plan
            .service("other", other)
            .service("test", lines.clone())
            .start();
        adit.wait_for_log("Service [test] finished (0 left)");
        for said in [
            "Starting exec+connect service [test]",
            "Local mode child started (PID=",
            "Service [test] started",
            "LOG5[0]: Service [test] accepted connection",
            "Service [test] connected remote server from ",
            "Connection closed: 6 byte(s) sent to TLS, ",
        ] {
            assert!(adit.log().contains(said), "no {said:?}");
        }
        adit.wait_for_log("finished with code 0");
    }
}

//! `login = translate`: an old program's login is made with dovecot and postfix by a way that it never heard of.

mod held;
mod programs;
mod tokens;

use std::net::TcpStream;

use crate::require;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::openssl::s_client;
use crate::support::{Adit, Certs, Plan, peers};

macro_rules! require_servers {
    () => {
        require!(adit);
        require!(root);
        require!(program "dovecot");
        require!(program "postfix");
    };
}
use require_servers;

/// The ports of a provider: service, port, and the protocol of its STARTTLS.
const PORTS: [(&str, u16, &str); 6] = [
    ("submission", 587, "protocol = smtp\n"),
    ("smtps", 465, ""),
    ("imap", 143, "protocol = imap\n"),
    ("imaps", 993, ""),
    ("pop3", 110, "protocol = pop3\n"),
    ("pop3s", 995, ""),
];

/// Client mode in front of every port of the host, with these lines more.
fn in_front_of(host: &MailHost, certs: &Certs, more: &str) -> Adit {
    with_services(Plan::new(), host, certs, more).start()
}

fn with_services(plan: Plan, host: &MailHost, certs: &Certs, more: &str) -> Plan {
    PORTS.iter().fold(plan, |plan, (name, port, lines)| {
        let lines = format!(
            "client = yes\nconnect = {}\n{}verifyChain = yes\ncheckHost = localhost\n{lines}{more}",
            host.at(*port),
            certs.ca_line()
        );
        plan.service(name, lines)
    })
}

fn client(adit: &Adit, service: &str) -> Lines<TcpStream> {
    Lines(peers::connect(adit.address(service)))
}

/// anna, geheim.
const NAME: &str = "YW5uYQ==";
const PASS: &str = "Z2VoZWlt";
const BOTH: &str = "AGFubmEAZ2VoZWlt";

/// Logs in by SMTP in a form, and sends a mail.
fn sends(adit: &Adit, service: &str, form: &[(&str, &str)]) {
    let mut smtp = client(adit, service);
    smtp.expect("220 ");
    smtp.send("EHLO old\r\n");
    smtp.expect("250-AUTH PLAIN LOGIN");
    smtp.expect("250");
    smtp.expect("250 ");
    for (say, answer) in form {
        smtp.ask(say, answer);
    }
    smtp.ask("MAIL FROM:<anna@mail.test>", "250 ");
    smtp.ask("RCPT TO:<anna@mail.test>", "250 ");
    smtp.ask("DATA", "354 ");
    smtp.ask("Subject: x\r\n\r\nthe text\r\n.", "250 ");
    smtp.ask("QUIT", "221 ");
    smtp.rest();
}

const SMTP: [&[(&str, &str)]; 4] = [
    &[
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        (NAME, "334 UGFzc3dvcmQ6"),
        (PASS, "235 "),
    ],
    &[("AUTH LOGIN YW5uYQ==", "334 UGFzc3dvcmQ6"), (PASS, "235 ")],
    &[("AUTH PLAIN AGFubmEAZ2VoZWlt", "235 ")],
    &[("AUTH PLAIN", "334 "), (BOTH, "235 ")],
];

const IMAP: [&[(&str, &str)]; 5] = [
    &[("a LOGIN anna geheim", "a OK")],
    &[
        ("a LOGIN {4}", "+ "),
        ("anna {6}", "+ "),
        (PASSWORD, "a OK"),
    ],
    &[("a LOGIN \"anna\" {6+}\r\ngeheim", "a OK")],
    &[("a AUTHENTICATE PLAIN", "+ "), (BOTH, "a OK")],
    &[("a AUTHENTICATE LOGIN", "+ "), (NAME, "+ "), (PASS, "a OK")],
];

const POP3: [&[(&str, &str)]; 3] = [
    &[("USER anna", "+OK"), ("PASS geheim", "+OK")],
    &[("AUTH PLAIN AGFubmEAZ2VoZWlt", "+OK")],
    &[("AUTH LOGIN", "+ "), (NAME, "+ "), (PASS, "+OK")],
];

#[test]
fn every_old_form_logs_in_where_the_server_takes_other_ways() {
    require_servers!();
    for (mechanisms, way) in [
        ("scram-sha-256 cram-md5", "SCRAM-SHA-256"),
        ("login", "LOGIN"),
    ] {
        let certs = Certs::new();
        let host = MailHost::taking(&certs, mechanisms);
        let adit = in_front_of(&host, &certs, "login = translate\n");
        let mut sent = 0;
        for (nth, form) in SMTP.iter().enumerate() {
            sends(&adit, PORTS[nth % 2].0, form);
            sent += 1;
        }
        wait_for_mails(&host, sent);
        for (nth, form) in IMAP.iter().enumerate() {
            let mut imap = client(&adit, PORTS[2 + nth % 2].0);
            imap.expect("* OK");
            let list = imap.ask("c CAPABILITY", "* CAPABILITY");
            assert!(list.contains(" AUTH=PLAIN AUTH=LOGIN SASL-IR"), "{list}");
            assert!(!list.contains("AUTH=CRAM-MD5"), "{list}");
            for (say, answer) in *form {
                imap.ask(say, answer);
            }
            imap.ask("b SELECT INBOX", "b OK");
            imap.ask("d FETCH 1 BODY[TEXT]", "the text");
            imap.ask("e LOGOUT", "e OK");
            imap.rest();
        }
        for (nth, form) in POP3.iter().enumerate() {
            let mut pop3 = client(&adit, PORTS[4 + nth % 2].0);
            let greeting = pop3.expect("+OK");
            assert!(!greeting.contains('<'), "{greeting}");
            pop3.ask("CAPA", "SASL PLAIN LOGIN");
            pop3.expect(".");
            for (say, answer) in *form {
                pop3.ask(say, answer);
            }
            pop3.ask("RETR 1", "the text");
            pop3.ask("QUIT", "+OK");
            pop3.rest();
        }
        for protocol in ["SMTP", "IMAP", "POP3"] {
            let line = format!("{protocol}: logged in by {way}");
            let count = adit.count_in_log(&line);
            let least = if protocol == "POP3" { 3 } else { 4 };
            assert!(count >= least, "{count} times {line}\n{}", adit.log());
        }
        assert!(!adit.everything_said().contains(PASSWORD));
    }
}

#[test]
fn a_login_that_fails_is_told_in_words_and_may_be_tried_again() {
    require_servers!();
    let certs = Certs::new();
    let host = MailHost::taking(&certs, "plain");
    let adit = in_front_of(&host, &certs, "login = translate\n");
    let mut smtp = client(&adit, "submission");
    smtp.expect("220 ");
    smtp.ask("HELO old", "250 ");
    let told = smtp.ask("AUTH PLAIN AGFubmEAZmFsc2No", "535 5.7.8 adit: ");
    assert!(
        told.contains("the server refused the name or the password"),
        "{told}"
    );
    let told = smtp.ask("AUTH NTLM", "504 5.5.4 adit: ");
    assert!(
        told.contains("switch off Secure Password Authentication"),
        "{told}"
    );
    smtp.ask(&format!("AUTH PLAIN {BOTH}"), "235 ");
    smtp.ask("NOOP", "250 ");
    let mut imap = client(&adit, "imaps");
    imap.expect("* OK");
    imap.ask("a LOGIN anna falsch", "a NO [AUTHENTICATIONFAILED] adit: ");
    imap.ask(&format!("b LOGIN {USER} {PASSWORD}"), "b OK");
    let mut pop3 = client(&adit, "pop3");
    pop3.expect("+OK");
    pop3.ask("USER anna", "+OK");
    pop3.ask("PASS falsch", "-ERR [AUTH] adit: ");
    adit.wait_for_log(
        "SMTP: login failed (535 5.7.8): the server refused the name or the password",
    );
    adit.wait_for_log("SMTP: the program's login cannot be taken: switch off Secure Password");
    adit.wait_for_log("IMAP: login failed ([AUTHENTICATIONFAILED]): the server refused");
    let log = adit.everything_said();
    assert!(
        !log.contains("falsch") && !log.contains("ZmFsc2No"),
        "{log}"
    );
}

#[test]
fn an_account_of_the_configuration_logs_in_for_programs_that_cannot() {
    require_servers!();
    let certs = Certs::new();
    let host = MailHost::taking(&certs, "cram-md5 plain");
    host.deliver("1", b"Subject: x\r\n\r\nthe text\r\n");
    let lines =
        format!("login = translate\nprotocolUsername = {USER}\nprotocolPassword = {PASSWORD}\n");
    let adit = in_front_of(&host, &certs, &lines);
    for service in ["submission", "smtps"] {
        let mut smtp = client(&adit, service);
        smtp.expect("220 ");
        smtp.ask("EHLO scanner", "250 ");
        smtp.ask("MAIL FROM:<anna@mail.test>", "250 ");
        smtp.ask("RCPT TO:<anna@mail.test>", "250 ");
        let mut smtp = client(&adit, service);
        smtp.expect("220 ");
        smtp.ask("EHLO scanner", "250 ");
        smtp.ask("AUTH PLAIN AHgAeQ==", "235 ");
    }
    for service in ["imap", "imaps"] {
        for login in ["", "a LOGIN other password"] {
            let mut imap = client(&adit, service);
            imap.expect("* OK");
            if !login.is_empty() {
                imap.ask(login, "a OK");
            }
            imap.ask("b SELECT INBOX", "b OK");
            imap.ask("c FETCH 1 BODY[TEXT]", "the text");
        }
    }
    for service in ["pop3", "pop3s"] {
        let mut pop3 = client(&adit, service);
        pop3.expect("+OK");
        pop3.ask("STAT", "+OK 1 ");
        let mut pop3 = client(&adit, service);
        pop3.expect("+OK");
        pop3.ask("USER x", "+OK");
        pop3.ask("PASS y", "+OK");
        pop3.ask("RETR 1", "the text");
    }
}

#[test]
fn programs_may_come_by_tls_too() {
    require_servers!();
    let (lan, certs) = (Certs::new(), Certs::new());
    let host = MailHost::taking(&certs, "cram-md5");
    let pair = lan.server();
    let front = format!(
        "login = translate\nacceptCert = {}\nacceptKey = {}\nacceptTLS = ",
        pair.cert.display(),
        pair.key.display()
    );
    let auto = in_front_of(&host, &certs, &format!("{front}auto\n"));
    let yes = in_front_of(&host, &certs, &format!("{front}yes\n"));
    let imap = format!("a LOGIN {USER} {PASSWORD}\r\nb LOGOUT\r\n");
    let pop3 = format!("USER {USER}\r\nPASS {PASSWORD}\r\nSTAT\r\nQUIT\r\n");
    let smtp = format!("EHLO x\r\nAUTH PLAIN {BOTH}\r\nNOOP\r\nQUIT\r\n");
    for (service, input, answer, starttls) in [
        ("submission", &smtp, "235 2.7.0 adit", "smtp"),
        ("smtps", &smtp, "235 2.7.0 adit", "smtp"),
        ("imap", &imap, "a OK", "imap"),
        ("imaps", &imap, "a OK", "imap"),
        ("pop3", &pop3, "+OK 0 0", "pop3"),
        ("pop3s", &pop3, "+OK 0 0", "pop3"),
    ] {
        let said = s_client(yes.address(service), &["-quiet", "-ign_eof"], input);
        assert!(said.contains(answer), "{service}: {said}");
        let said = s_client(auto.address(service), &["-quiet", "-ign_eof"], input);
        assert!(said.contains(answer), "{service} at once: {said}");
        let by_starttls = ["-quiet", "-ign_eof", "-starttls", starttls];
        let said = s_client(auto.address(service), &by_starttls, input);
        assert!(said.contains(answer), "{service} by STARTTLS: {said}");
    }
    // In plain they are offered STARTTLS and what adit can take.
    let mut imap = client(&auto, "imaps");
    let greeting = imap.expect("* OK");
    let list = imap.ask("a CAPABILITY", "* CAPABILITY");
    for text in [greeting, list] {
        assert!(!text.contains("CRAM-MD5"), "{text}");
        assert!(
            !text.contains("CAPABILITY") || text.contains("AUTH=PLAIN"),
            "{text}"
        );
    }
    imap.ask(&format!("b LOGIN {USER} {PASSWORD}"), "b OK");
    let mut smtp = client(&auto, "submission");
    smtp.expect("220 ");
    smtp.send("EHLO old\r\n");
    smtp.expect("250-STARTTLS");
    smtp.expect("250-AUTH PLAIN LOGIN");
    smtp.expect("250 ");
    smtp.ask(&format!("AUTH PLAIN {BOTH}"), "235 ");
}

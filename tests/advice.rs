//! When the two sides disagree about which starts TLS, and when, the log says once what to change, and
//! never blames a client for its server.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::require;
use crate::support::dialogue::{IMAP, Lines, POP3, SMTP, Seen, Starttls};
use crate::support::mail::{MailHost, PASSWORD, USER};
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::terminal::Terminal;
use crate::support::{Adit, Certs, Plan, tls};

fn client_mode(certs: &Certs, upstream: &Server, more: &str) -> String {
    let (connect, ca) = (upstream.line(), certs.ca_line());
    format!("client = yes\n{connect}{ca}verifyChain = yes\n{more}")
}

/// Log lines with one of these levels and this phrase.
fn lines(adit: &Adit, levels: &[u8], phrase: &str) -> Vec<String> {
    let log = adit.log();
    let of_level = |line: &&str| levels.iter().any(|n| line.contains(&format!(" LOG{n}[")));
    let lines = log.lines().filter(of_level);
    lines
        .filter(|line| line.contains(phrase))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_request_for_tls_is_heard_across_the_end_of_the_dialogue() {
    require!(adit);
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let upstream = POP3.server(config, Seen::default(), "");
    let adit = Adit::serve(client_mode(&certs, &upstream, "protocol = pop3\n"));
    let mut client = Lines(adit.connect("test"));
    client.send("CAPA\r\nST");
    // The first half was read before TLS; the server answers CAPA inside it.
    client.expect(".");
    client.ask("LS", "+OK");
    adit.wait_for_log("the local client asks for TLS itself");
}

/// A server that waits for a handshake, like a port with TLS from the first byte.
fn tls_server(certs: &Certs) -> Server {
    tls::echo_server(certs, tls::BOTH)
}

#[test]
fn a_server_that_says_nothing_for_10_s_gets_one_warning_with_the_remedy() {
    require!(adit);
    let certs = Certs::new();
    let (direct, silent) = (tls_server(&certs), Server::silent());
    let plan = [SMTP, POP3, IMAP]
        .iter()
        .fold(Plan::new(), |plan, protocol| {
            let more = format!("protocol = {}\n", protocol.name);
            plan.service(protocol.name, client_mode(&certs, &direct, &more))
        });
    let adit = plan
        .service("direct", client_mode(&certs, &silent, ""))
        .service(
            "server",
            format!(
                "protocol = pop3\n{}{}",
                direct.line(),
                certs.server().lines()
            ),
        )
        .start();
    let names = ["smtp", "pop3", "imap", "direct", "server"];
    let clients = names.map(|name| adit.connect(name));
    for (name, remedy) in names.into_iter().zip([
        "remove \"protocol = smtp\", or connect to a port with STARTTLS (587 or 25)",
        "remove \"protocol = pop3\", or connect to a port with STARTTLS (110)",
        "remove \"protocol = imap\", or connect to a port with STARTTLS (143)",
        "a port with STARTTLS needs protocol",
        "connect to a port without TLS (110)",
    ]) {
        let said = format!("Service [{name}]: the server has said nothing for 10 s");
        let line = adit.wait_for_log(&said);
        assert!(line.contains(" LOG4[") && line.contains(remedy), "{line}");
    }
    // The clients give up.
    drop(clients);
    for (name, how) in names.into_iter().zip(["", "", "", "silent", ""]) {
        if how.is_empty() {
            adit.wait_for_log(&format!("Service [{name}] finished"));
        }
    }
    assert_eq!(
        lines(&adit, &[4], "has said nothing for").len(),
        names.len()
    );
    assert_eq!(lines(&adit, &[3, 4], "client"), [""; 0]);
}

#[test]
fn a_silence_that_timeoutbusy_ends_sooner_gets_its_warning_too() {
    require!(adit);
    let certs = Certs::new();
    let direct = tls_server(&certs);
    let more = "protocol = smtp\nTIMEOUTbusy = 1\n";
    let adit = Adit::serve(client_mode(&certs, &direct, more));
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    let line = adit.wait_for_log("the server has said nothing for 1 s");
    assert!(line.contains("remove \"protocol = smtp\""), "{line}");
    adit.wait_for_log("TIMEOUTbusy exceeded");
}

#[test]
fn a_plain_greeting_where_tls_should_begin_names_the_protocol_to_set() {
    require!(adit);
    let certs = Certs::new();
    for (greeting, remedy) in [
        (SMTP.greeting, "set \"protocol = smtp\""),
        ("220-mail.test\r\n220 hello\r\n", "set \"protocol = smtp\""),
        (POP3.greeting, "set \"protocol = pop3\""),
        (IMAP.greeting, "set \"protocol = imap\""),
    ] {
        let upstream = Server::greeting(greeting);
        let adit = Adit::serve(client_mode(&certs, &upstream, ""));
        let _ = peers::read_until_gone(&mut adit.connect("test"));
        adit.wait_for_log("Service [test] finished");
        let warned = lines(&adit, &[4], "the server speaks plain");
        assert_eq!(warned.len(), 1, "{warned:#?}");
        assert!(warned[0].contains(remedy), "{warned:#?}");
        assert_eq!(lines(&adit, &[3, 4], "client"), [""; 0]);
    }
    // For anything but a mail server's greeting there is only the error line.
    let upstream = Server::greeting("SSH-2.0-test\r\n");
    let adit = Adit::serve(client_mode(&certs, &upstream, ""));
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log("wrong version number");
    assert_eq!(lines(&adit, &[4], "the server speaks plain"), [""; 0]);
}

#[test]
fn a_client_that_speaks_tls_itself_is_relayed_and_warned_of_once() {
    require!(adit);
    let certs = Certs::new();
    let echo = tls_server(&certs);
    let smtp = SMTP.server(
        tls::server_config(&certs.server(), tls::BOTH, None),
        Seen::default(),
        "",
    );
    let adit = Plan::new()
        .global("workers = 2")
        .service("plain", client_mode(&certs, &echo, ""))
        .service("smtp", client_mode(&certs, &smtp, "protocol = smtp\n"))
        .start();
    let hello = b"\x16\x03\x01\x00\x05hello";
    for service in ["plain", "smtp"] {
        for _ in 0..4 {
            let mut client = adit.connect(service);
            client.write_all(hello).expect("sending");
            if service == "plain" {
                let mut back = [0; 10];
                client.read_exact(&mut back).expect("an echo");
                assert_eq!(&back, hello);
            } else {
                // It takes the greeting for a broken handshake, and disconnects.
                client.read_exact(&mut [0; 3]).expect("a greeting");
            }
            drop(client);
        }
        for count in 1..=4 {
            adit.wait_for_log_times(&format!("Service [{service}] finished"), count);
        }
        let said = format!("Service [{service}]: the local client speaks TLS itself");
        let said = lines(&adit, &[4], &said);
        assert_eq!(said.len(), 1, "{said:#?}");
        assert!(
            said[0].contains("switch encryption off in the program"),
            "{said:#?}"
        );
    }
}

#[test]
fn a_client_that_asks_for_tls_itself_is_relayed_and_noted_once() {
    require!(adit);
    let certs = Certs::new();
    let config = || tls::server_config(&certs.server(), tls::BOTH, None);
    let servers = [SMTP, POP3, IMAP].map(|p| (p, p.server(config(), Seen::default(), "")));
    let plan = servers
        .iter()
        .fold(Plan::new(), |plan, (protocol, server)| {
            let more = format!("protocol = {}\n", protocol.name);
            plan.service(protocol.name, client_mode(&certs, server, &more))
        });
    let adit = plan.global("workers = 2").start();
    for (protocol, (request, answer)) in [SMTP, POP3, IMAP].into_iter().zip([
        ("STARTTLS", "250"),
        ("STLS", "+OK"),
        ("A0001 STARTTLS", "A0001 "),
    ]) {
        for _ in 0..4 {
            let mut client = Lines(adit.connect(protocol.name));
            client.expect(protocol.greeting.split(' ').next().expect("a word"));
            client.ask(request, answer);
        }
        let said = format!(
            "Service [{}]: the local client asks for TLS itself",
            protocol.name
        );
        let said = lines(&adit, &[5], &said);
        assert_eq!(said.len(), 1, "{said:#?}");
        for switch in ["sslproto ''", "ssl_force_tls=no", "imap+insecure"] {
            assert!(said[0].contains(switch), "{said:#?}");
        }
    }
}

#[test]
fn fetchmail_and_mutt_as_they_come_are_told_their_switches() {
    require!(adit);
    require!(root);
    require!(program "dovecot");
    require!(program "postfix");
    require!(program "fetchmail");
    require!(program "mutt");
    let certs = Certs::new();
    let host = MailHost::modern(&certs);
    let service = |port: u16, protocol: Starttls| {
        let (ca, name) = (certs.ca_line(), protocol.name);
        let connect = host.at(port);
        format!("client = yes\nconnect = {connect}\n{ca}verifyChain = yes\nprotocol = {name}\n")
    };
    let adit = Plan::new()
        .service("pop3", service(110, POP3))
        .service("imap", service(143, IMAP))
        .service("mutt", service(143, IMAP))
        .start();
    let folder = adit.plan.folder();
    std::fs::create_dir(folder.join("Mail")).expect("mkdir");
    for name in ["pop3", "imap"] {
        let control = folder.join("fetchmailrc");
        let port = adit.address(name).port();
        let text = format!(
            "poll 127.0.0.1 service {port} proto {name} user \"{USER}\" password \"{PASSWORD}\" mda cat\n"
        );
        std::fs::write(&control, text).expect("writing");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&control, mode).expect("chmod");
        let mut fetchmail = Command::new("fetchmail");
        fetchmail.env("HOME", folder).env("FETCHMAILHOME", folder);
        fetchmail.args(["--nodetach", "--nosyslog", "--pidfile"]);
        fetchmail.arg(folder.join("pid")).arg("-f").arg(&control);
        let mut fetchmail = Tool::start(&mut fetchmail);
        fetchmail.end_input();
        let succeeded = fetchmail.succeeds();
        assert!(!succeeded, "it got no TLS of its own: {}", fetchmail.said());
    }
    let port = adit.address("mutt").port();
    let url = format!("imap://{USER}:{PASSWORD}@127.0.0.1:{port}/");
    // It reads mail only from a terminal.
    let terminal = Terminal::new();
    let mut mutt = Command::new("mutt");
    terminal.attach(mutt.env("HOME", folder).env("TERM", "xterm"));
    mutt.args(["-n", "-F", "/dev/null", "-R", "-f", &url]);
    let mut mutt = mutt.spawn().expect("mutt");
    terminal.wait_for("Encrypted connection unavailable", 1);
    let _ = mutt.kill();
    let _ = mutt.wait();
    for name in ["pop3", "imap", "mutt"] {
        adit.wait_for_log(&format!(
            "Service [{name}]: the local client asks for TLS itself"
        ));
    }
}

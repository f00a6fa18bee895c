//! `protocol` and what belongs to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use super::{both, is_adit};
use crate::require;
use crate::support::dialogue::Lines;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls, wait_for};

fn start(path: &Path, lines: &str) -> Adit {
    Plan::new().program(path).service("test", lines).start()
}

#[test]
fn a_proxy_without_a_destination_is_an_error_of_the_start() {
    require_both!();
    let lines = "client = yes\nprotocol = connect\nconnect = 127.0.0.1:9\n";
    let starts = both(|path| {
        if is_adit(path) {
            let outcome = Plan::new().service("test", lines).run();
            outcome.exits(1).says(&["protocolHost not specified"]);
            return false;
        }
        let echo = Server::echo();
        let lines = lines.replace("connect = 127.0.0.1:9\n", &echo.line());
        let stunnel = start(path, &lines);
        let _ = peers::read_until_gone(&mut stunnel.connect("test"));
        stunnel.wait_for_log("protocolHost not specified");
        true
    });
    assert_eq!(starts, [true, false]);
}

#[test]
fn an_account_for_imap_logs_in_and_is_given_to_listed_clients_alone() {
    require_both!();
    let lines = "client = yes\naccept = 0.0.0.0:0\nprotocol = imap\nconnect = 127.0.0.1:9\n\
                 protocolUsername = anna\nprotocolPassword = geheim\n";
    let starts = both(|path| {
        if is_adit(path) {
            let outcome = Plan::new().service("test", lines).run();
            outcome.exits(1).says(&["an open relay", "acceptFrom"]);
            let listed = format!("{lines}acceptFrom = 127.0.0.1\n");
            start(path, &listed);
            return false;
        }
        start(path, lines);
        true
    });
    assert_eq!(starts, [true, false]);
}

#[test]
fn the_protocols_of_capwin_are_an_error_of_the_start() {
    require_both!();
    // The second has no server.
    for (protocol, connect) in [("capwin", "connect = 127.0.0.1:9\n"), ("capwinctrl", "")] {
        let lines = format!("client = yes\nprotocol = {protocol}\n{connect}");
        let starts = both(|path| {
            if is_adit(path) {
                let outcome = Plan::new().service("test", &lines).run();
                let error = format!("adit does not serve `protocol = {protocol}`");
                outcome.exits(1).says(&[&error[..]]);
                return false;
            }
            start(path, &lines);
            true
        });
        assert_eq!(starts, [true, false]);
    }
}

/// A proxy that asks for NTLM as old ones do, and passes on what it is answered.
fn ntlm_proxy(tell: Sender<String>) -> Server {
    const CHALLENGE: &str = "TlRMTVNTUAACAAAAAAAAAAAAAAAGAgAAASNFZ4mrze8=";
    Server::start(move |stream| {
        let mut client = Lines(stream);
        while let Some(line) = client.line() {
            if let Some(token) = line.strip_prefix("Proxy-Authorization: NTLM TlRMTVNTUAAD") {
                let _ = tell.send(token.to_owned());
                return;
            }
            if line.is_empty() {
                client.send(&format!(
                    "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM {CHALLENGE}\r\n\r\n"
                ));
            }
        }
    })
}

#[test]
fn a_proxy_is_answered_by_version_2_of_ntlm() {
    require_both!();
    let version_2 = both(|path| {
        let (tell, heard) = channel();
        let proxy = ntlm_proxy(tell);
        let lines = format!(
            "client = yes\nprotocol = connect\nprotocolHost = www.test:443\nprotocolUsername = user\n\
             protocolPassword = password\nprotocolAuthentication = ntlm\nprotocolDomain = OFFICE\n{}",
            proxy.line()
        );
        let adit = start(path, &lines);
        let _ = peers::read_until_gone(&mut adit.connect("test"));
        let answer = heard.recv().expect("an answer");
        // The answer of version 1 has 24 bytes, and so has all of the message one length.
        let v1 = 64 + 24 + "OFFICEuser".len();
        "TlRMTVNTUAAD".len() + answer.len() > v1.div_ceil(3) * 4
    });
    assert_eq!(version_2, [false, true]);
}

/// An SMTP server with STARTTLS, which passes each line within TLS on and answers it by its first word.
fn smtp_server(certs: &Certs, offer: &'static str, tell: Sender<String>) -> Server {
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    Server::start(move |stream| {
        let mut plain = Lines(stream);
        plain.send("220 mail.test\r\n");
        while let Some(line) = plain.line() {
            if line == "STARTTLS" {
                plain.send("220 go\r\n");
                break;
            }
            plain.send("250 mail.test\r\n");
        }
        let Ok(stream) = tls::start_server(config.clone(), plain.0) else {
            return;
        };
        let mut inside = Lines(stream);
        while let Some(line) = inside.line() {
            let answer = match line.split(' ').next() {
                Some("AUTH") => "535 no\r\n",
                Some("EHLO") => offer,
                _ => "250 mail.test\r\n",
            };
            let _ = tell.send(line);
            let _ = inside.0.write_all(answer.as_bytes());
            let _ = inside.0.flush();
        }
    })
}

#[test]
fn protocol_host_of_smtp_is_no_server_name() {
    require_both!();
    let certs = Certs::new();
    let (tell, _heard) = channel();
    let server = smtp_server(&certs, "250 mail.test\r\n", tell);
    let names = both(|path| {
        let lines = format!(
            "client = yes\nprotocol = smtp\nprotocolHost = office.test\n{}",
            server.line()
        );
        let adit = start(path, &lines);
        let mut client = Lines(adit.connect("test"));
        client.expect("220");
        client.ask("QUIT", "250");
        adit.count_in_log("SNI: sending servername: localhost") > 0
    });
    assert_eq!(names, [true, false]);
}

#[test]
fn a_login_by_smtp_begins_with_ehlo_and_its_refusal_is_told() {
    require_both!();
    let certs = Certs::new();
    let came = both(|path| {
        let (tell, heard) = channel();
        let server = smtp_server(&certs, "250-mail.test\r\n250 AUTH PLAIN\r\n", tell);
        let lines = format!(
            "client = yes\nprotocol = smtp\nprotocolUsername = u\nprotocolPassword = p\n{}",
            server.line()
        );
        let adit = start(path, &lines);
        let mut client = adit.connect("test");
        let said = peers::read_until_gone(&mut client).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        adit.wait_for_log("PLAIN Authentication Failed");
        let first = heard.recv().expect("a line");
        (first, said.contains("421 4.3.2"))
    });
    assert_eq!(
        came,
        [
            ("HELO localhost".to_owned(), false),
            ("EHLO localhost".to_owned(), true)
        ]
    );
}

#[test]
fn no_password_is_sent_to_a_mail_server_that_offers_no_login() {
    require_both!();
    let certs = Certs::new();
    let sent = both(|path| {
        let (tell, heard) = channel();
        let server = smtp_server(&certs, "250 mail.test\r\n", tell);
        let lines = format!(
            "client = yes\nprotocol = smtp\nprotocolUsername = u\nprotocolPassword = p\n{}",
            server.line()
        );
        let adit = start(path, &lines);
        let _ = peers::read_until_gone(&mut adit.connect("test"));
        adit.wait_for_log("PLAIN Authentication Failed");
        drop(adit);
        drop(server);
        heard.iter().any(|line| line.starts_with("AUTH"))
    });
    assert_eq!(sent, [true, false]);
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34secr";

/// The first byte that comes.
fn first_byte(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok().map(|()| byte[0])
}

#[test]
fn a_postgresql_program_is_told_that_there_is_no_encryption() {
    require_both!();
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    // Within TLS it sends back what it hears.
    let server = Server::start(move |mut stream| {
        let mut request = [0; 8];
        if stream.read_exact(&mut request).is_ok()
            && stream.write_all(b"S").is_ok()
            && let Ok(mut stream) = tls::start_server(config.clone(), stream)
        {
            let _ = peers::echo(&mut stream);
        }
    });
    let answers = both(|path| {
        let adit = start(
            path,
            &format!("client = yes\nprotocol = pgsql\n{}", server.line()),
        );
        let mut client = adit.connect("test");
        client.write_all(&SSL_REQUEST).expect("sending");
        first_byte(&mut client)
    });
    assert_eq!(answers, [Some(0), Some(b'N')]);
}

#[test]
fn a_postgresql_client_may_cancel_and_begin_with_tls() {
    require_both!();
    let certs = Certs::new();
    let came = both(|path| {
        let (tell, heard) = channel();
        let server = Server::start(move |mut stream| {
            let mut bytes = [0; 16];
            if stream.read_exact(&mut bytes).is_ok() {
                let _ = tell.send(bytes.to_vec());
            }
        });
        let adit = start(
            path,
            &format!(
                "protocol = pgsql\n{}{}",
                server.line(),
                certs.server().lines()
            ),
        );
        let mut client = adit.connect("test");
        client.write_all(CANCEL).expect("sending");
        let _ = peers::read_until_gone(&mut client);
        let cancelled = heard.try_recv().is_ok_and(|bytes| bytes == CANCEL);
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let stream = peers::connect(adit.address("test"));
        (cancelled, tls::start_client(config, stream).is_ok())
    });
    assert_eq!(came, [(false, false), (true, true)]);
}

#[test]
fn an_ipv4_client_of_both_families_is_told_as_such() {
    require_both!();
    let certs = Certs::new();
    let families = both(|path| {
        let (tell, heard) = channel();
        let server = Server::start(move |stream| {
            let line = Lines(stream).line();
            let _ = tell.send(line.unwrap_or_default());
        });
        let lines = format!(
            "accept = :::0\nprotocol = proxy\n{}{}",
            server.line(),
            certs.server().lines()
        );
        let adit = start(path, &lines);
        let port = wait_for("a port", || {
            let log = adit.log();
            let (_, rest) = log.split_once("bound to ")?;
            let (_, port) = rest.lines().next()?.rsplit_once(':')?;
            port.trim().parse::<u16>().ok()
        });
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let _client = tls::connect(config, (std::net::Ipv4Addr::LOCALHOST, port).into());
        let line = heard.recv().expect("a line");
        line.split(' ').take(3).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(
        families,
        ["PROXY TCP6 ::ffff:127.0.0.1", "PROXY TCP4 127.0.0.1"]
    );
}

//! In client mode one port takes clients as they are: in plain, with TLS from the first byte, or with
//! STARTTLS; or only those that start TLS. None of it is stunnel's.

mod ends;
mod options;
mod required;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use crate::require;
use crate::support::certs::{Kind, Wish};
use crate::support::dialogue::{IMAP, Lines, NNTP, POP3, SMTP, Seen, Starttls};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Worlds, old_tls, tls};

/// How the provider's port begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Tls,
    Starttls,
}

fn mail_server(worlds: &Worlds, protocol: Starttls, behind: Behind, seen: &Seen) -> Server {
    let config = tls::server_config(&worlds.provider.server(), tls::ONLY_13, None);
    match behind {
        Behind::Starttls => protocol.server(config, seen.clone(), ""),
        Behind::Tls => within_tls(protocol, config, seen.clone()),
    }
}

/// A mail server that speaks TLS from the first byte, and so offers no STARTTLS; `seen` notes `tls: …`.
fn within_tls(protocol: Starttls, config: Arc<ServerConfig>, seen: Seen) -> Server {
    tls::server(config, move |stream| {
        let mut inner = Lines(stream);
        inner.send(protocol.greeting);
        while let Some(line) = inner.line() {
            seen.note(format!("tls: {line}"));
            let answer = protocol.answer(&line);
            inner.send(
                &answer
                    .replace("250-PIPELINING\r\n250 STARTTLS", "250 PIPELINING")
                    .replace("STLS\r\n", "")
                    .replace(" STARTTLS", ""),
            );
        }
        tls::end(&mut inner.0);
    })
}

/// `acceptTLS = auto` in front of a mail server.
fn auto(protocol: Starttls, behind: Behind) -> String {
    let name = protocol.name;
    match behind {
        Behind::Tls => format!("acceptTLS = auto\nacceptProtocol = {name}\n"),
        // That it is offered to the client follows.
        Behind::Starttls => format!("acceptTLS = auto\nprotocol = {name}\n"),
    }
}

/// The greeting's first word.
fn greets(protocol: Starttls) -> &'static str {
    protocol.greeting.split(' ').next().expect("a word")
}

/// Asks what the server can do; returns the answer in one line.
fn capabilities<S: Read + Write>(client: &mut Lines<S>, protocol: Starttls) -> String {
    let (question, last) = match protocol.name {
        "smtp" => ("EHLO client.test", "250 "),
        "pop3" => ("CAPA", "."),
        _ => ("q CAPABILITY", "q OK"),
    };
    client.send(&format!("{question}\r\n"));
    let mut said = String::new();
    loop {
        let line = client.line().expect("the whole list");
        said += &line;
        said.push(';');
        if line.starts_with(last) {
            return said;
        }
    }
}

fn starttls<S: Read + Write>(client: &mut Lines<S>, protocol: Starttls) {
    match protocol.name {
        "smtp" => client.ask("STARTTLS", "220 "),
        "pop3" => client.ask("STLS", "+OK"),
        _ => client.ask("s STARTTLS", "s OK"),
    };
}

fn speaks<S: Read + Write>(client: &mut Lines<S>, protocol: Starttls, seen: &Seen) {
    let (command, answer) = protocol.command;
    client.ask(command, answer);
    assert!(
        seen.contains(&format!("tls: {command}")),
        "{:?}",
        seen.all()
    );
    assert!(
        !seen.contains(&format!("plain: {command}")),
        "{:?}",
        seen.all()
    );
}

/// Every kind of client at one port.
fn takes_clients_as_they_are(protocol: Starttls, behind: Behind) {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, protocol, behind, &seen);
    let adit = worlds.serve(&upstream, &auto(protocol, behind));
    let offer = protocol.request;

    // In plain, to the end.
    let mut client = Lines(adit.connect("test"));
    client.expect(greets(protocol));
    let offered = capabilities(&mut client, protocol);
    assert!(offered.contains(offer), "{offered}");
    speaks(&mut client, protocol, &seen);
    client.0.shutdown(Shutdown::Write).expect("its half");
    assert_eq!(client.rest(), "");
    assert_eq!(adit.count_in_log("TLS accepted"), 0);

    // From the first byte.
    let mut client = Lines(worlds.connect_tls(&adit));
    client.expect(greets(protocol));
    let offered = capabilities(&mut client, protocol);
    // A server that starts TLS by STARTTLS still offers it in these tests, as none should.
    assert!(
        behind == Behind::Starttls || !offered.contains(offer),
        "{offered}"
    );
    speaks(&mut client, protocol, &seen);
    tls::end(&mut client.0);
    assert_eq!(client.rest(), "");
    adit.wait_for_log_times("TLS accepted: new session negotiated", 1);

    // By STARTTLS.
    let mut client = Lines(adit.connect("test"));
    client.expect(greets(protocol));
    let offered = capabilities(&mut client, protocol);
    assert!(offered.contains(offer), "{offered}");
    starttls(&mut client, protocol);
    let mut client = Lines(worlds.start_tls(client.0));
    let offered = capabilities(&mut client, protocol);
    assert!(
        behind == Behind::Starttls || !offered.contains(offer),
        "{offered}"
    );
    speaks(&mut client, protocol, &seen);
    tls::end(&mut client.0);
    assert_eq!(client.rest(), "");
    adit.wait_for_log_times("TLS accepted: new session negotiated", 2);
    adit.wait_for_log_times("Connection closed", 3);
}

#[test]
fn smtp_clients_are_taken_as_they_are() {
    takes_clients_as_they_are(SMTP, Behind::Tls);
}

#[test]
fn pop3_clients_are_taken_as_they_are() {
    takes_clients_as_they_are(POP3, Behind::Tls);
}

#[test]
fn imap_clients_are_taken_as_they_are() {
    takes_clients_as_they_are(IMAP, Behind::Tls);
}

#[test]
fn smtp_clients_are_taken_as_they_are_in_front_of_starttls() {
    takes_clients_as_they_are(SMTP, Behind::Starttls);
}

#[test]
fn pop3_clients_are_taken_as_they_are_in_front_of_starttls() {
    takes_clients_as_they_are(POP3, Behind::Starttls);
}

#[test]
fn imap_clients_are_taken_as_they_are_in_front_of_starttls() {
    takes_clients_as_they_are(IMAP, Behind::Starttls);
}

/// A submission server with STARTTLS and a login; `seen` notes `plain: …` and `tls: …`.
fn submission(worlds: &Worlds, seen: &Seen) -> Server {
    let config = tls::server_config(&worlds.provider.server(), tls::ONLY_13, None);
    let seen = seen.clone();
    Server::start(move |stream| {
        let mut plain = Lines(stream);
        plain.send(SMTP.greeting);
        while let Some(line) = plain.line() {
            seen.note(format!("plain: {line}"));
            if line == "STARTTLS" {
                plain.send(SMTP.ready);
                break;
            }
            plain.send("250-mail.test\r\n250 STARTTLS\r\n");
        }
        let Ok(stream) = tls::start_server(config.clone(), plain.0) else {
            return seen.note("no handshake");
        };
        let mut inner = Lines(stream);
        while let Some(line) = inner.line() {
            seen.note(format!("tls: {line}"));
            inner.send(match line.split(' ').next() {
                Some("EHLO") => "250-mail.test\r\n250-AUTH PLAIN\r\n250 SIZE\r\n",
                Some("AUTH") => "235 2.7.0 in\r\n",
                _ => "250 ok\r\n",
            });
        }
        tls::end(&mut inner.0);
    })
}

#[test]
fn a_client_is_greeted_once_adit_has_logged_in_for_it() {
    require!(adit);
    for accept in ["auto", "yes"] {
        let worlds = Worlds::new();
        let seen = Seen::default();
        let upstream = submission(&worlds, &seen);
        let adit = worlds.serve(
            &upstream,
            &format!(
                "acceptTLS = {accept}\nacceptProtocol = smtp\nprotocol = smtp\n\
                 protocolUsername = anna\nprotocolPassword = geheim\n"
            ),
        );
        if accept == "auto" {
            let mut client = Lines(adit.connect("test"));
            client.expect(SMTP.greeting.trim_end());
            client.ask("EHLO client.test", "250 ");
            client.ask("MAIL FROM:<anna@mail.test>", "250 ok");
        }
        // By STARTTLS, and from the first byte.
        let mut client = Lines(adit.connect("test"));
        client.expect(SMTP.greeting.trim_end());
        client.ask("EHLO client.test", "250 ");
        starttls(&mut client, SMTP);
        speaks(&mut Lines(worlds.start_tls(client.0)), SMTP, &seen);
        let mut client = Lines(worlds.connect_tls(&adit));
        client.expect(SMTP.greeting.trim_end());
        speaks(&mut client, SMTP, &seen);
        let clients = if accept == "auto" { 3 } else { 2 };
        adit.wait_for_log_times("SMTP: logged in with protocolUsername", clients);
        assert!(!seen.contains("plain: AUTH"), "{:?}", seen.all());
    }
}

#[test]
fn old_programs_are_taken_as_they_are() {
    require!(adit);
    require!(
        old_tls::available(),
        "tlslite-ng is not installed; tests/run does it"
    );
    let worlds = Worlds::new();
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    let pair = worlds.lan.issue("rsa", wish);
    for protocol in [SMTP, POP3, IMAP] {
        let seen = Seen::default();
        let upstream = mail_server(&worlds, protocol, Behind::Tls, &seen);
        let name = protocol.name;
        let adit = Adit::serve(format!(
            "client = yes\nacceptTLS = auto\nacceptProtocol = {name}\nacceptCert = {}\nacceptKey = {}\n\
             acceptSSLVersionMin = TLSv1\n{}{}verifyChain = yes\n",
            pair.cert.display(),
            pair.key.display(),
            upstream.line(),
            worlds.provider.ca_line(),
        ));
        let address = adit.address("test");
        let (command, answer) = protocol.command;
        let starttls = ["--cipher", "3des", "--starttls", name];
        for options in [&starttls[..2], &starttls] {
            let mut client = old_tls::client(address, options);
            write!(client.input(), "{command}\r\n").expect("sending");
            client.wait_for(answer);
        }
        adit.wait_for_log_times("TLSv1 ciphersuite: DES-CBC3-SHA", 2);
        let mut client = Lines(adit.connect("test"));
        client.expect(greets(protocol));
        speaks(&mut client, protocol, &seen);
        let answer = old_tls::hello2(address, "3.1");
        assert!(answer.contains("hello 3.1"), "{answer}");
    }
}

#[test]
fn many_clients_are_taken_at_once_each_in_its_way() {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, POP3, Behind::Starttls, &seen);
    let adit = worlds.serve(&upstream, &auto(POP3, Behind::Starttls));
    let (worlds, adit) = (&worlds, &adit);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..60 {
            scope.spawn(move || match number % 3 {
                0 => {
                    let mut client = Lines(adit.connect("test"));
                    client.expect("+OK mail.test");
                    client.ask("NOOP", "+OK");
                }
                1 => {
                    let mut client = Lines(worlds.connect_tls(adit));
                    client.expect("+OK mail.test");
                    client.ask("NOOP", "+OK");
                }
                _ => {
                    let mut client = Lines(adit.connect("test"));
                    client.expect("+OK mail.test");
                    client.ask("STLS", "+OK");
                    let mut client = Lines(worlds.start_tls(client.0));
                    client.ask("NOOP", "+OK");
                }
            });
        }
    });
    // Nothing waits in turn: forty waits of half a second are 20 s.
    assert!(start.elapsed() < Duration::from_secs(15));
    adit.wait_for_log_times("TLS accepted", 40);
    adit.wait_for_log_times("TLS connected", 60);
}

#[test]
fn a_client_that_speaks_first_is_answered_without_a_wait() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::ONLY_13);
    let adit = worlds.serve(&upstream, "acceptTLS = auto\n");
    let mut best = [Duration::MAX; 2];
    for _ in 0..20 {
        let start = Instant::now();
        let mut client = adit.connect("test");
        client.write_all(b"x").expect("sending");
        client.read_exact(&mut [0]).expect("an echo");
        best[0] = best[0].min(start.elapsed());
        peers::says_and_hears(&mut client, "GET / HTTP/1.0\r\n");
        client.shutdown(Shutdown::Write).expect("its half");
        assert_eq!(peers::read_to_end(&mut client), b"");

        let start = Instant::now();
        let mut client = worlds.connect_tls(&adit);
        client.write_all(b"x").expect("sending");
        client.read_exact(&mut [0]).expect("an echo");
        best[1] = best[1].min(start.elapsed());
    }
    // Far below any of the waits.
    assert!(
        best.iter().all(|best| *best < Duration::from_millis(60)),
        "{best:?}"
    );
}

#[test]
fn megabytes_pass_both_ways_however_a_client_begins() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::ONLY_13);
    let adit = worlds.serve(&upstream, "acceptTLS = auto\nacceptProtocol = smtp\n");
    // Whole chunks of the pattern.
    let total = 4 << 16;
    let mut plain = adit.connect("test");
    let mut encrypted = worlds.connect_tls(&adit);
    for _ in 0..4 {
        peers::send_pattern(&mut plain, total).expect("sending");
        peers::expect_pattern(&mut plain, total);
        peers::send_pattern(&mut encrypted, total).expect("sending");
        encrypted.flush().expect("sending");
        peers::expect_pattern(&mut encrypted, total);
    }
    plain.shutdown(Shutdown::Write).expect("its half");
    assert_eq!(peers::read_to_end(&mut plain), b"");
    tls::end(&mut encrypted);
    adit.wait_for_log_times("Connection closed", 2);
}

/// It greets, as a mail server does, in a protocol that adit does not know.
#[test]
fn the_words_of_a_server_that_speaks_first_wait_for_the_hello_and_are_not_lost() {
    require!(adit);
    let worlds = Worlds::new();
    let config = tls::server_config(&worlds.provider.server(), tls::BOTH, None);
    let upstream = tls::server(config, |mut stream| {
        let _ = stream.write_all(b"who are you? ");
        let _ = peers::echo(&mut stream);
        tls::end(&mut stream);
    });
    let adit = worlds.serve(&upstream, "acceptTLS = auto\n");
    let start = Instant::now();
    let mut client = adit.connect("test");
    peers::says_and_hears_nothing_but(&mut client, "who are you? ");
    assert!(start.elapsed() >= Duration::from_millis(500));
    peers::says_and_hears(&mut client, "nobody");
    client.shutdown(Shutdown::Write).expect("its half");
    assert_eq!(peers::read_to_end(&mut client), b"");
    let mut client = worlds.connect_tls(&adit);
    peers::says_and_hears_nothing_but(&mut client, "who are you? ");
    peers::says_and_hears(&mut client, "nobody");
}

/// No STARTTLS is offered in it, so its clients speak plain or TLS.
#[test]
fn news_readers_are_taken_as_they_are_in_front_of_starttls() {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, NNTP, Behind::Starttls, &seen);
    let adit = worlds.serve(&upstream, &auto(NNTP, Behind::Starttls));
    let mut client = Lines(adit.connect("test"));
    client.expect("200 news.test");
    speaks(&mut client, NNTP, &seen);
    let mut client = Lines(worlds.connect_tls(&adit));
    client.expect("200 news.test");
    speaks(&mut client, NNTP, &seen);
}

#[test]
fn a_client_may_begin_tls_late_as_long_as_nothing_was_said() {
    require!(adit);
    let worlds = Worlds::new();
    let upstream = tls::echo_server(&worlds.provider, tls::BOTH);
    let adit = worlds.serve(&upstream, "acceptTLS = auto\n");
    let client = adit.connect("test");
    adit.wait_for_log("TLS connected");
    let mut client = worlds.start_tls(client);
    peers::says_and_hears(&mut client, "hello");
    tls::end(&mut client);
    adit.wait_for_log("Connection closed");
}

//! Server mode in front of a mail server that offers STARTTLS: the offer does not appear inside TLS,
//! and everything else stays as the server sends it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::require;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::openssl::run;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls};

macro_rules! require_servers {
    () => {
        require!(adit);
        require!(root);
        require!(program "dovecot");
        require!(program "postfix");
    };
}

/// Server mode in front of every plain port of the host, with TLS at once and with STARTTLS.
fn in_front_of(host: &MailHost, certs: &Certs) -> Adit {
    let pair = certs.server().lines();
    let service = |port: u16, more: &str| format!("connect = {}\n{pair}{more}", host.at(port));
    Plan::new()
        .service("smtps", service(25, ""))
        .service("smtp", service(25, "protocol = smtp\n"))
        .service("imaps", service(143, ""))
        .service("imap", service(143, "protocol = imap\n"))
        .service("pop3s", service(110, ""))
        .service("pop3", service(110, "protocol = pop3\n"))
        .start()
}

/// A client inside TLS.
fn client(adit: &Adit, certs: &Certs, service: &str) -> Lines<tls::ClientStream> {
    let mut plain = Lines(adit.connect(service));
    match service {
        "smtp" => {
            plain.expect("220");
            plain.ask("EHLO pc.test", "250 ");
            plain.ask("STARTTLS", "220");
        }
        "imap" => {
            plain.expect("* OK");
            plain.ask("x STARTTLS", "x OK");
        }
        "pop3" => {
            plain.expect("+OK");
            plain.ask("STLS", "+OK");
        }
        _ => {}
    }
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    Lines(tls::start_client(config, plain.0).expect("a handshake"))
}

/// The answer to a command, up to the line that begins with `end`.
fn answer(client: &mut Lines<impl Read + Write>, command: &str, end: &str) -> Vec<String> {
    client.send(&format!("{command}\r\n"));
    let mut lines = Vec::new();
    loop {
        let line = client.line().expect("more of the answer");
        lines.push(line);
        if lines.last().is_some_and(|line| line.starts_with(end)) {
            return lines;
        }
    }
}

/// What the server itself sends, without its offer.
fn without_offer(lines: Vec<String>) -> Vec<String> {
    let offers = lines
        .iter()
        .any(|line| line.contains("STARTTLS") || line == "STLS");
    assert!(offers, "the server offers no TLS: {lines:?}");
    let kept = lines
        .into_iter()
        .filter(|line| line != "STLS" && !line.ends_with("-STARTTLS"));
    kept.map(|line| line.replace(" STARTTLS", "")).collect()
}

#[test]
fn dovecot_and_postfix_offer_no_tls_within_tls_and_all_else_stays() {
    require_servers!();
    let certs = Certs::new();
    let host = MailHost::offering(&certs);
    let adit = in_front_of(&host, &certs);
    let direct = |port| Lines(peers::connect(host.at(port)));

    let mut server = direct(25);
    server.expect("220");
    let wanted = without_offer(answer(&mut server, "EHLO pc.test", "250 "));
    for service in ["smtps", "smtp"] {
        let mut client = client(&adit, &certs, service);
        if service == "smtps" {
            client.expect("220");
        }
        assert_eq!(
            answer(&mut client, "EHLO pc.test", "250 "),
            wanted,
            "{service}"
        );
        client.ask("QUIT", "221");
    }

    let mut server = direct(143);
    let greeting = without_offer(vec![server.expect("* OK")]);
    let wanted = without_offer(answer(&mut server, "a CAPABILITY", "a OK"));
    let login = format!("b LOGIN {USER} {PASSWORD}");
    let logged_in = answer(&mut server, &login, "b OK");
    for service in ["imaps", "imap"] {
        let mut client = client(&adit, &certs, service);
        if service == "imaps" {
            assert_eq!(vec![client.expect("* OK")], greeting);
        }
        let capabilities = answer(&mut client, "a CAPABILITY", "a OK");
        assert_eq!(capabilities[0], wanted[0], "{service}");
        let after = answer(&mut client, &login, "b OK");
        let list = |line: &String| line.split(']').next().map(str::to_owned);
        assert_eq!(
            after.iter().map(list).collect::<Vec<_>>(),
            logged_in.iter().map(list).collect::<Vec<_>>()
        );
        client.ask("c SELECT INBOX", "c OK");
    }

    let mut server = direct(110);
    server.expect("+OK");
    let wanted = without_offer(answer(&mut server, "CAPA", "."));
    for service in ["pop3s", "pop3"] {
        let mut client = client(&adit, &certs, service);
        if service == "pop3s" {
            client.expect("+OK");
        }
        assert_eq!(answer(&mut client, "CAPA", "."), wanted, "{service}");
        client.ask(&format!("USER {USER}"), "+OK");
        client.ask(&format!("PASS {PASSWORD}"), "+OK");
    }
}

#[test]
fn swaks_msmtp_mutt_and_curl_send_and_fetch() {
    require_servers!();
    require!(program "swaks");
    require!(program "msmtp");
    require!(program "mutt");
    require!(program "curl");
    let certs = Certs::new();
    let host = MailHost::offering(&certs);
    let adit = in_front_of(&host, &certs);
    let folder = adit.plan.folder();
    let (ca, port) = (certs.ca(), |service| {
        adit.address(service).port().to_string()
    });

    let swaks = run(Command::new("swaks")
        .args([
            "--server",
            "localhost",
            "--port",
            &port("smtps"),
            "--tls-on-connect",
        ])
        .args([
            "--auth",
            "LOGIN",
            "--auth-user",
            USER,
            "--auth-password",
            PASSWORD,
        ])
        .args([
            "--from",
            "anna@mail.test",
            "--to",
            "anna@mail.test",
            "--timeout",
            "30",
        ])
        .args(["--body", "STLS\n250-STARTTLS\n* CAPABILITY STARTTLS"]));
    let said = String::from_utf8_lossy(&swaks.stdout);
    assert!(said.contains("250-PIPELINING"), "{said}");
    assert!(!said.contains("<~  250-STARTTLS"), "{said}");

    let written = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).expect("writing");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
        file
    };
    let note = written("note", "Subject: second\r\n\r\nsent by msmtp\r\n".into());
    for (service, starttls) in [("smtps", "off"), ("smtp", "on")] {
        let (port, ca) = (port(service), ca.display());
        let file = written(
            "msmtprc",
            format!(
                "account default\nhost localhost\nport {port}\ntls on\ntls_starttls {starttls}\n\
                 tls_trust_file {ca}\nauth plain\nuser {USER}\npassword {PASSWORD}\n\
                 from anna@mail.test\n"
            ),
        );
        run(Command::new("msmtp")
            .arg(format!("--file={}", file.display()))
            .arg("anna@mail.test")
            .stdin(fs::File::open(&note).expect("the note")));
    }
    let muttrc = written(
        "muttrc",
        format!(
            "set smtp_url=\"smtps://{USER}:{PASSWORD}@localhost:{}/\"\nset certificate_file={}\n\
             set from=anna@mail.test\nset copy=no\nset ssl_verify_host=no\nset ssl_usesystemcerts=no\n",
            port("smtps"),
            ca.display()
        ),
    );
    run(Command::new("mutt")
        .env("HOME", folder)
        .arg("-F")
        .arg(&muttrc)
        .args(["-s", "third", "anna@mail.test"])
        .stdin(fs::File::open(&note).expect("the note")));
    wait_for_mails(&host, 4);

    for (service, url, more) in [
        ("imaps", "imaps://localhost:PORT/INBOX;MAILINDEX=1", ""),
        (
            "imap",
            "imap://localhost:PORT/INBOX;MAILINDEX=1",
            "--ssl-reqd",
        ),
        ("pop3s", "pop3s://localhost:PORT/1", ""),
        ("pop3", "pop3://localhost:PORT/1", "--ssl-reqd"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "60"])
            .args(["--user", &format!("{USER}:{PASSWORD}"), "--cacert"])
            .arg(&ca)
            .args(Some(more).filter(|more| !more.is_empty()))
            .arg(url.replace("PORT", &port(service)));
        let mail = run(&mut curl).stdout;
        let mail = String::from_utf8_lossy(&mail);
        // The text of a mail is not filtered.
        let body = "STLS\r\n250-STARTTLS\r\n* CAPABILITY STARTTLS";
        assert!(mail.contains(body), "{service}: {mail}");
    }
}

#[test]
fn mbsync_fetches_by_imap_that_dovecot_compresses() {
    require!(adit);
    require!(root);
    require!(program "dovecot");
    require!(program "mbsync");
    let certs = Certs::new();
    let host = MailHost::compressing(&certs);
    let mail = b"Subject: packed\r\n\r\n* CAPABILITY STARTTLS\r\n";
    host.deliver("packed", mail);
    let pair = certs.server().lines();
    let adit = Adit::serve(format!("connect = {}\n{pair}", host.at(143)));
    let near = adit.plan.folder().join("near");
    fs::create_dir(&near).expect("mkdir");
    let file = adit.plan.folder().join("mbsyncrc");
    let text = format!(
        "IMAPAccount a\nHost localhost\nPort {}\nUser {USER}\nPass {PASSWORD}\nTimeout 30\n\
         SSLType IMAPS\nCertificateFile {}\nSystemCertificates no\n\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nInbox {near}/inbox\nPath {near}/\n\n\
         Channel c\nFar :far:\nNear :near:\nSyncState *\nCreate Near\n",
        adit.address("test").port(),
        certs.ca().display(),
        near = near.display()
    );
    fs::write(&file, text).expect("writing");
    let mut mbsync = Command::new("mbsync");
    let fetched = run(mbsync
        .env("HOME", &near)
        .arg("-Dn")
        .arg("-c")
        .arg(file)
        .arg("c"));
    let said = String::from_utf8_lossy(&fetched.stdout);
    assert!(said.contains("COMPRESS DEFLATE"), "not compressed: {said}");
    let fetched = fs::read_dir(near.join("inbox/new"))
        .expect("an inbox")
        .count();
    assert_eq!(fetched, 1, "{said}");
}

#[test]
fn binary_without_a_line_end_passes_behind_what_may_switch_the_stream() {
    require!(adit);
    let certs = Certs::new();
    // The greeting, the client's command, the reply, and a stream that then waits for an answer.
    for (greeting, switch, reply) in [
        ("* OK hi\r\n", "a COMPRESS DEFLATE\r\n", "a OK go\r\n"),
        ("* OK hi\r\n", "a STARTTLS\r\n", "a OK go\r\n"),
        ("* OK hi\r\n", "a AUTHENTICATE GSSAPI\r\n", "a OK in\r\n"),
        ("220 mx\r\n", "STARTTLS\r\n", "220 go\r\n"),
        ("220 mx\r\n", "AUTH GSSAPI\r\n", "235 in\r\n"),
        ("+OK\r\n", "STLS\r\n", "+OK go\r\n"),
        ("+OK\r\n", "AUTH GSSAPI\r\n", "+OK in\r\n"),
    ] {
        let upstream = Server::start(move |stream| {
            let mut lines = Lines(stream);
            lines.send(greeting);
            lines.line();
            lines.send(&format!("{reply}*"));
            let mut answer = [0; 1];
            if lines.0.read_exact(&mut answer).is_ok() {
                lines.send("\x16\x03\n");
            }
        });
        let adit = Adit::serve(format!("{}{}", upstream.line(), certs.server().lines()));
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = Lines(tls::connect(config, adit.address("test")));
        client.expect(greeting.trim_end());
        client.send(switch);
        let mut said = vec![0; reply.len() + 1];
        client
            .0
            .read_exact(&mut said)
            .expect("what comes before the answer");
        assert_eq!(
            String::from_utf8_lossy(&said),
            format!("{reply}*"),
            "{switch}"
        );
        client.send("!");
        assert_eq!(client.line().as_deref(), Some("\x16\x03"), "{switch}");
    }
}

#[test]
fn what_is_held_back_comes_with_the_command_that_ends_the_filter() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::start(|stream| {
        let mut lines = Lines(stream);
        lines.send("* OK hi\r\n* CAPABILITY IMAP4rev1");
        // It sends no more until the client has this.
        lines.line();
        if lines.line().is_some() {
            lines.send("done");
        }
    });
    let adit = Adit::serve(format!("{}{}", upstream.line(), certs.server().lines()));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = Lines(tls::connect(config, adit.address("test")));
    client.expect("* OK hi");
    client.send("a COMPRESS DEFLATE\r\n");
    let mut held = [0; 22];
    client.0.read_exact(&mut held).expect("what was held back");
    assert_eq!(&held, b"* CAPABILITY IMAP4rev1");
    client.send("b\r\n");
    let mut done = [0; 4];
    client.0.read_exact(&mut done).expect("the rest");
    assert_eq!(&done, b"done");
}

#[test]
fn what_only_looks_like_a_mail_server_is_not_touched() {
    require!(adit);
    let certs = Certs::new();
    const SAID: &str = "250-x\r\n250 STARTTLS\r\n+OK\r\nSTLS\r\n.\r\n* CAPABILITY STARTTLS\r\n";
    for greeting in ["hello\r\n", "200 news\r\n", "220", ""] {
        let upstream = Server::start(move |mut stream| {
            let _ = stream.write_all(greeting.as_bytes());
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(SAID.as_bytes());
        });
        let adit = Adit::serve(format!("{}{}", upstream.line(), certs.server().lines()));
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, adit.address("test"));
        // It arrives without waiting for a line end.
        peers::says_and_hears_nothing_but(&mut client, greeting);
        client.write_all(b"EHLO x\r\nCAPA\r\n").expect("sending");
        let mut said = vec![0; SAID.len()];
        client.read_exact(&mut said).expect("all of it");
        assert_eq!(String::from_utf8_lossy(&said), SAID, "{greeting:?}");
    }
}

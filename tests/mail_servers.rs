//! An old mail program reaches a modern mail server: real clients without TLS, through adit, to dovecot
//! and postfix as Debian packages them, with TLS 1.2 and up only.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::openssl::{run, s_client};
use crate::support::{Adit, Certs, Plan, peers, tls};

macro_rules! require_servers {
    () => {
        require!(root);
        require!(program "dovecot");
        require!(program "postfix");
        require!(program "curl");
    };
}

/// Client mode in front of every port of the host, as for Outlook Express.
fn in_front_of(host: &MailHost, certs: &Certs) -> Adit {
    let service = |port: u16, protocol: &str| {
        let protocol = match protocol {
            "" => String::new(),
            name => format!("protocol = {name}\n"),
        };
        format!(
            "client = yes\nconnect = {}\n{}verifyChain = yes\ncheckHost = localhost\n{protocol}",
            host.at(port),
            certs.ca_line()
        )
    };
    Plan::new()
        .service("submission", service(587, "smtp"))
        .service("smtps", service(465, ""))
        .service("imap", service(143, "imap"))
        .service("imaps", service(993, ""))
        .service("pop3", service(110, "pop3"))
        .service("pop3s", service(995, ""))
        .start()
}

/// A mail with an attachment in lines, as mail programs send them.
fn mail_with_attachment(bytes: usize) -> Vec<u8> {
    let mut mail = b"From: anna@mail.test\r\nTo: anna@mail.test\r\nSubject: big\r\n\r\n".to_vec();
    let mut raw = vec![0; 48];
    let mut offset = 0;
    while mail.len() < bytes {
        peers::pattern(offset, &mut raw);
        offset += 48;
        // 96 digits in each line; a dot at the start of some must be doubled and undone on the way.
        if offset % (48 * 50) == 0 {
            mail.extend_from_slice(b"..");
        }
        for byte in &raw {
            mail.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        mail.extend_from_slice(b"\r\n");
    }
    mail
}

fn body(mail: &[u8]) -> &[u8] {
    let end = mail
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("headers");
    &mail[end + 4..]
}

/// The arguments of every curl here.
fn curl() -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--fail", "--max-time", "120"])
        .args(["--user", &format!("{USER}:{PASSWORD}")]);
    command
}

fn curl_sends(address: SocketAddr, file: &Path) {
    run(curl()
        .arg(format!("smtp://{address}"))
        .args([
            "--mail-from",
            "anna@mail.test",
            "--mail-rcpt",
            "anna@mail.test",
        ])
        .arg("--upload-file")
        .arg(file));
}

fn curl_fetches(url: String) -> Vec<u8> {
    run(curl().arg(url)).stdout
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, bytes).expect("writing");
    file
}

#[test]
fn an_attachment_of_20_mb_goes_out_and_comes_back_byte_for_byte() {
    require_servers!();
    let certs = Certs::new();
    let host = MailHost::modern(&certs);
    let adit = in_front_of(&host, &certs);
    let mail = mail_with_attachment(20 << 20);
    let file = written(adit.plan.folder(), "mail", &mail);
    curl_sends(adit.address("submission"), &file);
    wait_for_mails(&host, 1);
    for service in ["pop3", "pop3s"] {
        let back = curl_fetches(format!("pop3://{}/1", adit.address(service)));
        assert!(
            body(&back) == body(&mail),
            "{service} brought other bytes back"
        );
    }
    for service in ["imap", "imaps"] {
        let back = curl_fetches(format!(
            "imap://{}/INBOX;MAILINDEX=1",
            adit.address(service)
        ));
        assert!(
            body(&back) == body(&mail),
            "{service} brought other bytes back"
        );
    }
    // Implicit TLS works as well as STARTTLS.
    curl_sends(adit.address("smtps"), &file);
    wait_for_mails(&host, 2);
}

#[test]
fn swaks_and_msmtp_send_and_fetchmail_fetches() {
    require_servers!();
    require!(program "swaks");
    require!(program "msmtp");
    require!(program "fetchmail");
    let certs = Certs::new();
    let host = MailHost::modern(&certs);
    let adit = in_front_of(&host, &certs);
    let folder = adit.plan.folder();
    let submission = adit.address("submission");
    run(Command::new("swaks")
        .args([
            "--server",
            "127.0.0.1",
            "--port",
            &submission.port().to_string(),
        ])
        .args([
            "--auth",
            "LOGIN",
            "--auth-user",
            USER,
            "--auth-password",
            PASSWORD,
        ])
        .args(["--from", "anna@mail.test", "--to", "anna@mail.test"])
        .args(["--body", "sent by swaks", "--timeout", "30"]));
    let msmtp = written(
        folder,
        "msmtprc",
        format!(
            "account default\nhost 127.0.0.1\nport {}\ntls off\nauth plain\nuser {USER}\n\
             password {PASSWORD}\nfrom anna@mail.test\n",
            adit.address("smtps").port()
        )
        .as_bytes(),
    );
    std::os::unix::fs::PermissionsExt::set_mode(
        &mut fs::metadata(&msmtp).expect("written").permissions(),
        0o600,
    );
    run(Command::new("chmod").arg("600").arg(&msmtp));
    let note = written(folder, "note", b"Subject: second\r\n\r\nsent by msmtp\r\n");
    run(Command::new("sh")
        .arg("-c")
        .arg("exec msmtp --file=\"$1\" anna@mail.test < \"$2\"")
        .arg("sh")
        .arg(&msmtp)
        .arg(&note));
    wait_for_mails(&host, 2);

    let fetched = folder.join("fetched");
    let control = written(
        folder,
        "fetchmailrc",
        format!(
            "poll 127.0.0.1 service {} proto pop3 auth password user \"{USER}\" password \
             \"{PASSWORD}\" sslproto '' mda \"cat >> {}\"\n",
            adit.address("pop3").port(),
            fetched.display()
        )
        .as_bytes(),
    );
    run(Command::new("chmod").arg("600").arg(&control));
    run(Command::new("fetchmail")
        .env("HOME", folder)
        .env("FETCHMAILHOME", folder)
        .args(["--all", "--nodetach", "--pidfile"])
        .arg(folder.join("fetchmail.pid"))
        .arg("-f")
        .arg(&control));
    let fetched = fs::read_to_string(&fetched).expect("what fetchmail handed on");
    assert!(fetched.contains("sent by swaks"), "{fetched}");
    assert!(fetched.contains("sent by msmtp"), "{fetched}");
}

#[test]
fn fifty_clients_read_their_mail_at_once() {
    require_servers!();
    let certs = Certs::new();
    let host = MailHost::modern(&certs);
    host.deliver("1", b"Subject: for everybody\r\n\r\nthe text\r\n");
    let adit = in_front_of(&host, &certs);
    let (pop3, imaps) = (adit.address("pop3"), adit.address("imaps"));
    let together = std::sync::Barrier::new(50);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let together = &together;
            scope.spawn(move || {
                let address = if number % 2 == 0 { pop3 } else { imaps };
                let mut client = Lines(peers::connect(address));
                if number % 2 == 0 {
                    client.expect("+OK");
                    client.ask(&format!("USER {USER}"), "+OK");
                    client.ask(&format!("PASS {PASSWORD}"), "+OK");
                    together.wait();
                    assert_eq!(client.ask("STAT", "+OK"), "+OK 1 36");
                    client.ask("RETR 1", "the text");
                    client.ask("QUIT", "+OK");
                } else {
                    client.expect("* OK");
                    client.ask(&format!("a LOGIN {USER} {PASSWORD}"), "a OK");
                    together.wait();
                    client.ask("b SELECT INBOX", "b OK");
                    client.ask("c FETCH 1 BODY[TEXT]", "the text");
                    client.ask("d LOGOUT", "d OK");
                }
                client.rest();
            });
        }
    });
    for service in ["pop3", "imaps"] {
        let accepted = format!("Service [{service}] accepted connection from");
        assert_eq!(adit.count_in_log(&accepted), 25);
    }
}

#[test]
fn in_front_of_a_plain_dovecot_clients_speak_tls_and_starttls() {
    require!(root);
    require!(program "dovecot");
    require!(program "curl");
    let certs = Certs::new();
    let host = MailHost::plain();
    let mail = b"Subject: inside\r\n\r\nthe plain store's text\r\n";
    host.deliver("1", mail);
    let pair = certs.server().lines();
    let service = |port: u16, more: &str| format!("connect = {}\n{pair}{more}", host.at(port));
    let adit = Plan::new()
        .service("imaps", service(143, ""))
        .service("pop3s", service(110, ""))
        .service("imap", service(143, "protocol = imap\n"))
        .service("pop3", service(110, "protocol = pop3\n"))
        .start();
    let fetch = |url: String, more: &[&str]| {
        run(curl().arg("--cacert").arg(certs.ca()).args(more).arg(url)).stdout
    };
    for (scheme, mailbox) in [("imaps", "INBOX;MAILINDEX=1"), ("pop3s", "1")] {
        let port = adit.address(scheme).port();
        let got = fetch(format!("{scheme}://localhost:{port}/{mailbox}"), &[]);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(mail),
            "{scheme}"
        );
    }
    for (scheme, mailbox) in [("imap", "INBOX;MAILINDEX=1"), ("pop3", "1")] {
        let port = adit.address(scheme).port();
        let got = fetch(
            format!("{scheme}://localhost:{port}/{mailbox}"),
            &["--ssl-reqd"],
        );
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(mail),
            "{scheme}"
        );
        let ca = certs.ca();
        let ca = ca.to_str().expect("a path in UTF-8");
        let arguments = [
            "-starttls",
            scheme,
            "-CAfile",
            ca,
            "-brief",
            "-verify_return_error",
        ];
        let said = s_client(adit.address(scheme), &arguments, "");
        assert!(said.contains("CONNECTION ESTABLISHED"), "{said}");
    }
}

#[test]
fn the_servers_accept_nothing_older_than_tls_1_2_and_no_password_in_plain() {
    require_servers!();
    let certs = Certs::new();
    let host = MailHost::modern(&certs);
    // Without this the other tests would prove nothing: an old program alone is rejected.
    let mut smtp = Lines(peers::connect(host.at(587)));
    smtp.expect("220");
    smtp.ask("EHLO old", "250 ");
    smtp.ask("AUTH LOGIN", "5");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears_nothing_but(&mut tls::connect(config, host.at(995)), "+OK");
}

#[test]
fn a_server_that_relays_for_its_own_machine_relays_for_every_client_of_server_mode() {
    require_servers!();
    // The manual warns about it: behind adit every client comes from this machine.
    for (networks, answer) in [("127.0.0.0/8", "250 "), ("", "554 ")] {
        let certs = Certs::new();
        let host = MailHost::relaying(&certs, networks);
        let lines = format!("connect = {}\n{}", host.at(25), certs.server().lines());
        let adit = Plan::new().service("smtps", lines).start();
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = Lines(tls::connect(config, adit.address("smtps")));
        client.expect("220 ");
        client.ask("EHLO stranger", "250 ");
        client.ask("MAIL FROM:<stranger@elsewhere.test>", "250 ");
        client.ask("RCPT TO:<anybody@elsewhere.test>", answer);
    }
}

//! Real mail programs at one port that takes them as they are, in front of dovecot and postfix with TLS 1.3
//! only: in plain, with TLS from the first byte, with STARTTLS. And the same where TLS is required.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require;
use crate::support::dialogue::Lines;
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::openssl::{run, s_client};
use crate::support::{Adit, Certs, Plan, peers, tls, wait_for};

macro_rules! require_servers {
    () => {
        require!(adit);
        require!(root);
        require!(program "dovecot");
        require!(program "postfix");
        require!(program "curl");
    };
}

/// A provider with TLS 1.3 only, and adit in front of each of its ports.
struct Scene {
    host: MailHost,
    lan: Certs,
    adit: Adit,
    _provider: Certs,
}

/// Ports of the provider, what is spoken there before TLS, and what for.
const PORTS: [(&str, u16, &str, &str); 6] = [
    ("submission", 587, "protocol = smtp\n", "smtp"),
    ("smtps", 465, "", "smtp"),
    ("imap", 143, "protocol = imap\n", "imap"),
    ("imaps", 993, "", "imap"),
    ("pop3", 110, "protocol = pop3\n", "pop3"),
    ("pop3s", 995, "", "pop3"),
];

impl Scene {
    /// With `acceptTLS = auto`.
    fn auto() -> Scene {
        Scene::new(|_| "acceptTLS = auto\n".to_owned())
    }

    /// With `acceptTLS = yes` and STARTTLS.
    fn required() -> Scene {
        Scene::new(|protocol| format!("acceptTLS = yes\nacceptProtocol = {protocol}\n"))
    }

    fn new(accept: impl Fn(&str) -> String) -> Scene {
        let (lan, provider) = (Certs::new(), Certs::new());
        let host = MailHost::newest(&provider);
        let pair = lan.server();
        let mut plan = Plan::new();
        for (name, port, before, protocol) in PORTS {
            let lines = format!(
                "client = yes\nconnect = {}\n{}verifyChain = yes\ncheckHost = localhost\n{before}\
                 acceptCert = {}\nacceptKey = {}\n{}",
                host.at(port),
                provider.ca_line(),
                pair.cert.display(),
                pair.key.display(),
                accept(protocol)
            );
            plan = plan.service(name, lines);
        }
        let adit = plan.start();
        Scene {
            host,
            lan,
            adit,
            _provider: provider,
        }
    }

    fn address(&self, service: &str) -> SocketAddr {
        self.adit.address(service)
    }

    fn port(&self, service: &str) -> String {
        self.address(service).port().to_string()
    }

    fn folder(&self) -> &Path {
        self.adit.plan.folder()
    }

    fn written(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder().join(name);
        fs::write(&file, text).expect("writing");
        run(Command::new("chmod").arg("600").arg(&file));
        file
    }

    /// The arguments of every curl here.
    fn curl(&self) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--fail", "--max-time", "50"])
            .args(["--user", &format!("{USER}:{PASSWORD}"), "--cacert"])
            .arg(self.lan.ca());
        command
    }

    fn curl_sends(&self, scheme: &str, service: &str, more: &[&str], mail: &Path) {
        let mut curl = self.curl();
        curl.arg(format!("{scheme}://localhost:{}", self.port(service)))
            .args(["--mail-from", "anna@mail.test"])
            .args(["--mail-rcpt", "anna@mail.test"])
            .args(more)
            .arg("--upload-file")
            .arg(mail);
        run(&mut curl);
    }

    fn curl_fetches(&self, scheme: &str, service: &str, more: &[&str]) -> String {
        let place = match scheme.starts_with("pop3") {
            true => "1",
            false => "INBOX;MAILINDEX=1",
        };
        let url = format!("{scheme}://localhost:{}/{place}", self.port(service));
        let output = run(self.curl().args(more).arg(url));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How many clients spoke TLS to adit.
    fn encrypted(&self) -> usize {
        self.adit.count_in_log("TLS accepted")
    }
}

/// A client's ways: how curl calls it, and whether it speaks TLS.
const WAYS: [(&str, &[&str], usize); 3] = [("", &[], 0), ("s", &[], 1), ("", &["--ssl-reqd"], 1)];

#[test]
fn curl_sends_in_each_way_through_one_port() {
    require_servers!();
    let scene = Scene::auto();
    let mail = scene.written("mail", "Subject: one\r\n\r\nthe text\r\n");
    let mut sent = 0;
    for service in ["submission", "smtps"] {
        for (way, more, encrypted) in WAYS {
            let before = scene.encrypted();
            scene.curl_sends(&format!("smtp{way}"), service, more, &mail);
            sent += 1;
            wait_for_mails(&scene.host, sent);
            assert_eq!(
                scene.encrypted() - before,
                encrypted,
                "{service} {way} {more:?}"
            );
        }
    }
}

#[test]
fn curl_fetches_in_each_way_through_one_port() {
    require_servers!();
    let scene = Scene::auto();
    scene
        .host
        .deliver("1", b"Subject: one\r\n\r\nthe provider's text\r\n");
    for service in ["imap", "imaps", "pop3", "pop3s"] {
        let protocol = service.trim_end_matches('s');
        for (way, more, encrypted) in WAYS {
            let before = scene.encrypted();
            let got = scene.curl_fetches(&format!("{protocol}{way}"), service, more);
            assert!(
                got.contains("the provider's text"),
                "{service} {way}: {got}"
            );
            assert_eq!(
                scene.encrypted() - before,
                encrypted,
                "{service} {way} {more:?}"
            );
        }
    }
}

#[test]
fn a_client_that_takes_tls_where_it_is_offered_gets_it() {
    require_servers!();
    let scene = Scene::auto();
    scene
        .host
        .deliver("1", b"Subject: one\r\n\r\nthe provider's text\r\n");
    let mail = scene.written("mail", "Subject: two\r\n\r\nthe text\r\n");
    scene.curl_sends("smtp", "smtps", &["--ssl"], &mail);
    scene.curl_sends("smtp", "submission", &["--ssl"], &mail);
    for service in ["imap", "imaps", "pop3", "pop3s"] {
        let protocol = service.trim_end_matches('s');
        let got = scene.curl_fetches(protocol, service, &["--ssl"]);
        assert!(got.contains("the provider's text"), "{service}: {got}");
    }
    assert_eq!(scene.encrypted(), 6);
    assert_eq!(scene.adit.count_in_log("TLS connected"), 6);
}

#[test]
fn openssl_starts_tls_at_each_port() {
    require_servers!();
    require!(program "openssl");
    for scene in [Scene::auto(), Scene::required()] {
        for (service, _, _, protocol) in PORTS {
            let ca = scene.lan.ca();
            let ca = ca.to_str().expect("a path in UTF-8");
            let verified = ["-CAfile", ca, "-brief", "-verify_return_error"];
            let starttls = [&["-starttls", protocol][..], &verified].concat();
            for arguments in [&verified[..], &starttls] {
                let said = s_client(scene.address(service), arguments, "");
                assert!(said.contains("CONNECTION ESTABLISHED"), "{said}");
                assert!(said.contains("Verification: OK"), "{said}");
            }
        }
    }
}

#[test]
fn what_the_provider_can_do_is_told_by_the_provider_and_starttls_not_again() {
    require_servers!();
    let scene = Scene::auto();
    for (service, _, _, protocol) in PORTS {
        let (greeting, question, last, ability, offer, go, ready) = match protocol {
            "smtp" => (
                "220",
                "EHLO pc",
                "250 ",
                "AUTH PLAIN",
                "STARTTLS",
                "STARTTLS",
                "220",
            ),
            "pop3" => ("+OK", "CAPA", ".", "SASL PLAIN", "STLS", "STLS", "+OK"),
            _ => (
                "* OK",
                "a CAPABILITY",
                "a OK",
                "AUTH=PLAIN",
                "STARTTLS",
                "b STARTTLS",
                "b OK",
            ),
        };
        let mut plain = Lines(scene.adit.connect(service));
        plain.expect(greeting);
        let said = list(&mut plain, question, last);
        assert!(
            said.contains(ability) && said.contains(offer),
            "{service}: {said}"
        );
        plain.ask(go, ready);
        let config = tls::client_config(&scene.lan.ca(), tls::ONLY_12, None);
        let stream = tls::start_client(config.clone(), plain.0).expect("a handshake");
        let said = list(&mut Lines(stream), question, last);
        assert!(
            said.contains(ability) && !said.contains(offer),
            "{service}: {said}"
        );
        let mut direct = Lines(tls::connect(config, scene.address(service)));
        direct.expect(greeting);
        let said = list(&mut direct, question, last);
        assert!(
            said.contains(ability) && !said.contains(offer),
            "{service}: {said}"
        );
    }
}

/// Asks, and gives the answer up to the line that begins with `last`.
fn list<S: std::io::Read + std::io::Write>(
    client: &mut Lines<S>,
    question: &str,
    last: &str,
) -> String {
    client.send(&format!("{question}\r\n"));
    let mut said = String::new();
    loop {
        let line = client.line().expect("the whole list");
        said += &line;
        said.push('\n');
        if line.starts_with(last) {
            return said;
        }
    }
}

#[test]
fn swaks_sends_in_each_way() {
    require_servers!();
    require!(program "swaks");
    let ways: [(&[&str], usize); 3] = [(&[], 0), (&["--tls"], 1), (&["--tls-on-connect"], 1)];
    let mut expected = 0;
    let scene = Scene::auto();
    for service in ["submission", "smtps"] {
        for (more, encrypted) in ways {
            let before = scene.encrypted();
            let mut swaks = Command::new("swaks");
            swaks
                .args(["--server", "127.0.0.1", "--port", &scene.port(service)])
                .args(["--auth", "LOGIN", "--auth-user", USER])
                .args(["--auth-password", PASSWORD, "--timeout", "30"])
                .args(["--from", "anna@mail.test", "--to", "anna@mail.test"])
                .args(["--body", "sent by swaks"])
                .args(more);
            match more {
                // On a busy machine Perl may take longer to its first byte than adit waits for one.
                ["--tls-on-connect"] => wait_for("swaks", || {
                    let output = swaks.output().expect("starting swaks");
                    output.status.success().then_some(())
                }),
                _ => drop(run(&mut swaks)),
            }
            expected += 1;
            wait_for_mails(&scene.host, expected);
            assert_eq!(scene.encrypted() - before, encrypted, "{service} {more:?}");
        }
    }
}

#[test]
fn msmtp_sends_in_each_way() {
    require_servers!();
    require!(program "msmtp");
    let scene = Scene::auto();
    let note = scene.written("note", "Subject: one\r\n\r\nsent by msmtp\r\n");
    let ca = scene.lan.ca();
    let trust = format!("tls on\ntls_trust_file {}\n", ca.display());
    let mut expected = 0;
    for (lines, encrypted) in [
        ("tls off\n".to_owned(), 0),
        (format!("{trust}tls_starttls on\n"), 1),
        (format!("{trust}tls_starttls off\n"), 1),
    ] {
        for service in ["submission", "smtps"] {
            let before = scene.encrypted();
            let file = scene.written(
                "msmtprc",
                &format!(
                    "account default\nhost localhost\nport {}\nauth plain\nuser {USER}\n\
                     password {PASSWORD}\nfrom anna@mail.test\n{lines}",
                    scene.port(service)
                ),
            );
            run(Command::new("sh")
                .arg("-c")
                .arg("exec msmtp --file=\"$1\" anna@mail.test < \"$2\"")
                .arg("sh")
                .arg(&file)
                .arg(&note));
            expected += 1;
            wait_for_mails(&scene.host, expected);
            assert_eq!(scene.encrypted() - before, encrypted, "{service} {lines}");
        }
    }
}

#[test]
fn fetchmail_fetches_in_each_way() {
    require_servers!();
    require!(program "fetchmail");
    let scene = Scene::auto();
    let ca = scene.lan.ca();
    let mut number = 0;
    for service in ["pop3", "pop3s", "imap", "imaps"] {
        let protocol = service.trim_end_matches('s');
        for (options, encrypted) in [
            ("sslproto ''".to_owned(), 0),
            (
                format!(
                    "sslproto 'TLS1.2+' sslcertck sslcertfile '{}'",
                    ca.display()
                ),
                1,
            ),
            (format!("ssl sslcertck sslcertfile '{}'", ca.display()), 1),
        ] {
            number += 1;
            let text = format!("Subject: {number}\r\n\r\nmail {number}\r\n");
            scene.host.deliver(&number.to_string(), text.as_bytes());
            let fetched = scene.folder().join(format!("fetched-{number}"));
            let before = scene.encrypted();
            let control = scene.written(
                "fetchmailrc",
                &format!(
                    "poll localhost service {} proto {protocol} auth password user \"{USER}\" password \
                     \"{PASSWORD}\" {options} mda \"cat >> {}\"\n",
                    scene.port(service),
                    fetched.display()
                ),
            );
            run(Command::new("fetchmail")
                .env("HOME", scene.folder())
                .env("FETCHMAILHOME", scene.folder())
                .args(["--all", "--nokeep", "--nodetach", "--pidfile"])
                .arg(scene.folder().join("fetchmail.pid"))
                .arg("-f")
                .arg(&control));
            let fetched = fs::read_to_string(&fetched).expect("what fetchmail handed on");
            assert!(fetched.contains(&format!("mail {number}")), "{fetched}");
            assert_eq!(scene.encrypted() - before, encrypted, "{service} {options}");
        }
    }
}

#[test]
fn mpop_fetches_in_each_way() {
    require_servers!();
    require!(program "mpop");
    let scene = Scene::auto();
    let trust = format!("tls on\ntls_trust_file {}\n", scene.lan.ca().display());
    let mut number = 0;
    for service in ["pop3", "pop3s"] {
        for (lines, encrypted) in [
            ("tls off\n".to_owned(), 0),
            (format!("{trust}tls_starttls on\n"), 1),
            (format!("{trust}tls_starttls off\n"), 1),
        ] {
            number += 1;
            let text = format!("Subject: {number}\r\n\r\nmail {number}\r\n");
            scene.host.deliver(&number.to_string(), text.as_bytes());
            let fetched = scene.folder().join(format!("mbox-{number}"));
            let before = scene.encrypted();
            let file = scene.written(
                "mpoprc",
                &format!(
                    "account default\nhost localhost\nport {}\nauth user\nuser {USER}\npassword {PASSWORD}\n\
                     keep off\nuidls_file {}\ndelivery mbox {}\n{lines}",
                    scene.port(service),
                    scene.folder().join("uidls").display(),
                    fetched.display()
                ),
            );
            run(Command::new("mpop").arg("--file").arg(&file));
            let fetched = fs::read_to_string(&fetched).expect("what mpop delivered");
            assert!(fetched.contains(&format!("mail {number}")), "{fetched}");
            assert_eq!(scene.encrypted() - before, encrypted, "{service} {lines}");
        }
    }
}

#[test]
fn where_tls_is_required_curl_gets_nothing_without_it() {
    require_servers!();
    let scene = Scene::required();
    scene
        .host
        .deliver("1", b"Subject: one\r\n\r\nthe provider's text\r\n");
    let mail = scene.written("mail", "Subject: two\r\n\r\nthe text\r\n");
    scene.curl_sends("smtp", "smtps", &["--ssl-reqd"], &mail);
    scene.curl_sends("smtps", "submission", &[], &mail);
    for service in ["imap", "imaps", "pop3", "pop3s"] {
        let protocol = service.trim_end_matches('s');
        for (scheme, more) in [
            (protocol.to_owned(), "--ssl-reqd"),
            (format!("{protocol}s"), ""),
        ] {
            let more = Some(more).filter(|more| !more.is_empty());
            let got = scene.curl_fetches(&scheme, service, more.as_slice());
            assert!(got.contains("the provider's text"), "{service}: {got}");
        }
        let url = format!("{protocol}://localhost:{}/", scene.port(service));
        let refused = scene.curl().arg(url).output().expect("curl");
        assert!(!refused.status.success(), "{service}");
    }
    // The password was not passed on: the provider knows nothing of these connections but their end.
    let mut smtp = Lines(peers::connect(scene.address("smtps")));
    smtp.expect("220 mail.test");
    smtp.ask("EHLO pc", "250 STARTTLS");
    smtp.ask("MAIL FROM:<anna@mail.test>", "530 5.7.0");
    smtp.ask("QUIT", "221 mail.test");
    assert_eq!(smtp.rest(), "");
}

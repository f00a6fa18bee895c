//! `login = oauth2`: an old program's local password becomes a token, which dovecot and postfix judge by themselves.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::version::TLS13;

use super::{client, with_services};
use crate::require;
use crate::support::adit::program;
use crate::support::dialogue::Lines;
use crate::support::mail::MailHost;
use crate::support::peers::Server;
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

const NAME: &str = "anna@mail.test";
const PASSWORD: &str = "a local password";
/// "the secret of the token server", and the same in base64.
const SECRET: &[u8] = b"the secret of the token server";
const CODED: &str = "dGhlIHNlY3JldCBvZiB0aGUgdG9rZW4gc2VydmVy";

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|three| {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(three.get(at).copied().unwrap_or(0))
        });
        (0..=three.len()).map(move |at| char::from(DIGITS[bits >> (18 - 6 * at) & 63]))
    });
    digits.collect()
}

/// A token that ends in so many seconds.
fn token(ends_in: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let now = i64::try_from(now.as_secs()).expect("a time");
    let head = base64url(br#"{"alg":"HS256","kid":"default","typ":"JWT"}"#);
    let claims = format!(
        r#"{{"sub":"{NAME}","scope":"mail","iat":{},"nbf":{},"exp":{}}}"#,
        now - 7200,
        now - 7200,
        now + ends_in
    );
    let text = format!("{head}.{}", base64url(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", base64url(signature.as_ref()))
}

/// A token server that gives tokens which end in so many seconds, one after the other, the last again and again.
pub(super) struct TokenServer {
    server: Server,
    asked: Arc<AtomicUsize>,
}

impl TokenServer {
    pub(super) fn start(certs: &Certs, ends: &'static [i64]) -> TokenServer {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let config = tls::server_config(&certs.server(), &[&TLS13], None);
        let server = tls::server(config, move |mut stream| {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The body of a form ends with its last field.
            while !String::from_utf8_lossy(&request).contains("client_secret=") {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
                    _ => return,
                }
            }
            let nth = count.fetch_add(1, Ordering::Relaxed);
            let token = token(ends[nth.min(ends.len() - 1)]);
            let body =
                format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}");
            tls::end(&mut stream);
        });
        TokenServer { server, asked }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// An account that is signed in, and the folder of its keeper.
pub(super) struct Account {
    folder: tempfile::TempDir,
}

impl Account {
    pub(super) fn signed_in(tokens: &TokenServer, certs: &Certs) -> Account {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let account = Account { folder };
        let output = Command::new(program())
            .args(["login", NAME, "--flow", "credentials", "--client-id", "id"])
            .arg("--client-secret-file")
            .arg(account.written("secret", "secret\n"))
            .arg("--token-url")
            .arg(format!(
                "https://localhost:{}/",
                tokens.server.address.port()
            ))
            .arg("--ca-file")
            .arg(certs.ca())
            .arg("--password-file")
            .arg(account.written("password", &format!("{PASSWORD}\n")))
            .arg(account.written("adit.conf", &account.lines()))
            .output()
            .expect("adit login");
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
        assert_eq!(tokens.asked(), 1);
        account
    }

    fn written(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("writing");
        file
    }

    /// What the configuration says of the keeper.
    pub(super) fn lines(&self) -> String {
        let folder = self.folder.path().join("keeper");
        format!(
            "keeperUser = daemon\nkeeperDirectory = {}\n",
            folder.display()
        )
    }
}

/// \0anna@mail.test\0a local password
pub(super) const BOTH: &str = "AGFubmFAbWFpbC50ZXN0AGEgbG9jYWwgcGFzc3dvcmQ=";

#[test]
fn the_local_password_becomes_a_token() {
    super::require_servers!();
    let certs = Certs::new();
    let host = MailHost::by_token(&certs, CODED);
    let tokens = TokenServer::start(&certs, &[3600]);
    let account = Account::signed_in(&tokens, &certs);
    let plan = Plan::new().global(account.lines());
    let adit = with_services(plan, &host, &certs, "login = oauth2\n").start();
    let mut imap = client(&adit, "imaps");
    imap.expect("* OK");
    let told = imap.ask(
        &format!("a LOGIN {NAME} wrong-password"),
        "a NO [AUTHENTICATIONFAILED] adit: ",
    );
    assert!(told.contains("not the local password"), "{told}");
    let told = imap.ask("b LOGIN other@mail.test some-password", "b NO ");
    assert!(told.contains("run \"adit login\""), "{told}");
    // Nothing has gone anywhere so far.
    assert_eq!(tokens.asked(), 1);
    imap.ask(&format!("c LOGIN {NAME} \"{PASSWORD}\""), "c OK");
    imap.ask("d SELECT INBOX", "d OK");
    adit.wait_for_log("IMAP: logged in by XOAUTH2");
    for service in ["submission", "smtps"] {
        let mut smtp = client(&adit, service);
        smtp.expect("220 ");
        smtp.send("EHLO old\r\n");
        smtp.expect("250-AUTH PLAIN LOGIN");
        smtp.expect("250 ");
        smtp.ask(&format!("AUTH PLAIN {BOTH}"), "235 ");
        smtp.ask("MAIL FROM:<anna@mail.test>", "250 ");
        smtp.ask("RCPT TO:<anna@mail.test>", "250 ");
        smtp.ask("DATA", "354 ");
        smtp.ask("Subject: x\r\n\r\nthe text\r\n.", "250 ");
    }
    let mut pop3 = client(&adit, "pop3");
    pop3.expect("+OK");
    pop3.ask(&format!("USER {NAME}"), "+OK");
    pop3.ask(&format!("PASS {PASSWORD}"), "+OK");
    pop3.ask("QUIT", "+OK");
    // One token is for all.
    assert_eq!(tokens.asked(), 2);
    let log = adit.everything_said();
    assert!(!log.contains(PASSWORD) && !log.contains("eyJ"), "{log}");
}

/// The keeper of an instance.
fn keeper(adit: &Adit) -> Option<i32> {
    let mut below = proc::children(adit.pid()).into_iter();
    below.find(|&pid| proc::title(pid) == "adit: keeper")
}

#[test]
fn a_token_that_is_refused_is_replaced_and_told_on_a_new_connection() {
    require!(adit);
    require!(root);
    let certs = Certs::new();
    let tokens = TokenServer::start(&certs, &[3600, 3601, 3602]);
    let account = Account::signed_in(&tokens, &certs);
    let (heard, words) = channel();
    let (go_on, refused) = channel::<()>();
    let refused = Mutex::new(refused);
    let config = tls::server_config(&certs.server(), &[&TLS13], None);
    let server = tls::server(config, move |stream| {
        let mut imap = Lines(stream);
        imap.send("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi\r\n");
        let asked = imap.line().expect("a command");
        // On the new connection it is asked anew.
        if asked == "adit CAPABILITY" {
            imap.send("* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nadit OK\r\n");
            imap.expect("adit AUTHENTICATE XOAUTH2");
        }
        imap.send("+ \r\n");
        let token = imap.line().expect("a token");
        heard.send(token).expect("the test");
        // The second connection finds no one that asks it to refuse.
        if refused.lock().expect("no panic").recv().is_ok() {
            imap.send("+ e30=\r\n");
            assert_eq!(imap.line().as_deref(), Some(""));
            imap.send("adit NO no\r\n");
        } else {
            imap.send("adit OK in\r\n");
            imap.expect("d NOOP");
            imap.send("d OK done\r\n");
        }
        imap.rest();
    });
    let lines = format!(
        "client = yes\nconnect = {}\n{}verifyChain = yes\ncheckHost = localhost\nlogin = oauth2\nloginProtocol = imap\n",
        server.address,
        certs.ca_line()
    );
    let adit = Plan::new()
        .global(account.lines())
        .service("imap", lines)
        .start();
    let mut imap = client(&adit, "imap");
    imap.expect("* OK");
    imap.send(&format!("a LOGIN {NAME} \"{PASSWORD}\"\r\nd NOOP\r\n"));
    let first = words.recv().expect("a token");
    // A keeper that has just given a token gives no other; another one does.
    let last = wait_for("the keeper", || keeper(&adit));
    kill(Pid::from_raw(last), Signal::SIGKILL).expect("kill");
    wait_for("another keeper", || {
        keeper(&adit).filter(|pid| *pid != last)
    });
    go_on.send(()).expect("the server");
    drop(go_on);
    imap.expect("a OK in");
    imap.expect("d OK done");
    let second = words.recv().expect("a token");
    assert_ne!(first, second);
    assert_eq!(tokens.asked(), 3);
    assert_eq!(server.connections(), 2);
    adit.wait_for_log("IMAP: logged in by XOAUTH2");
}

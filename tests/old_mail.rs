//! Mail over TLS 1.0: real clients of five libraries send and fetch it through adit, from dovecot and postfix that
//! take TLS 1.3 only.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use crate::require;
use crate::support::certs::{Kind, Wish};
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::openssl::Tool;
use crate::support::{Adit, Certs, Plan, old_tls};

/// A provider, and adit in front of it with TLS for old programs.
struct Scene {
    host: MailHost,
    adit: Adit,
    _certs: [Certs; 2],
}

impl Scene {
    fn new(more: &str) -> Scene {
        let (lan, provider) = (Certs::new(), Certs::new());
        let host = MailHost::newest(&provider);
        let wish = Wish {
            kind: Kind::Rsa,
            ..Wish::default()
        };
        let pair = lan.issue("rsa", wish);
        let service = |port: u16, before: &str| {
            format!(
                "client = yes\nconnect = {}\n{}verifyChain = yes\ncheckHost = localhost\n{before}\
                 acceptTLS = yes\nacceptCert = {}\nacceptKey = {}\nacceptSSLVersionMin = TLSv1\n{more}",
                host.at(port),
                provider.ca_line(),
                pair.cert.display(),
                pair.key.display(),
            )
        };
        let adit = Plan::new()
            .service("smtp", service(587, "protocol = smtp\n"))
            .service("pop3s", service(995, ""))
            .service("imap", service(143, "protocol = imap\n"))
            .start();
        Scene {
            host,
            adit,
            _certs: [lan, provider],
        }
    }

    /// Sends a mail and fetches it both ways, with a client of each kind that `connect` starts.
    fn mail_goes_and_comes(&self, words: &str, connect: impl Fn(SocketAddr) -> Tool) {
        let before = self.host.mails();
        let mut client = connect(self.adit.address("smtp"));
        let login = format!("\0{USER}\0{PASSWORD}");
        let login = format!("AUTH PLAIN {}", base64(login.as_bytes()));
        let mail = format!("Subject: old\r\n\r\n{words}\r\n.");
        client.wait_for("220 ");
        for (say, answer) in [
            ("EHLO old.test", "250 CHUNKING"),
            (&login, "235 "),
            ("MAIL FROM:<anna@mail.test>", "2.1.0 Ok"),
            ("RCPT TO:<anna@mail.test>", "2.1.5 Ok"),
            ("DATA", "354 "),
            (&mail, "queued as"),
            ("QUIT", "221 "),
        ] {
            write!(client.input(), "{say}\r\n").expect("sending");
            client.wait_for(answer);
        }
        wait_for_mails(&self.host, before + 1);
        let number = before + 1;
        let mut client = connect(self.adit.address("pop3s"));
        client.wait_for("+OK");
        for (say, answer) in [
            (&*format!("USER {USER}\r\nPASS {PASSWORD}"), "Logged in"),
            (&*format!("RETR {number}"), words),
            ("QUIT", "Logging out"),
        ] {
            write!(client.input(), "{say}\r\n").expect("sending");
            client.wait_for(answer);
        }
        let mut client = connect(self.adit.address("imap"));
        client.wait_for("* OK");
        for (say, answer) in [
            (&*format!("a LOGIN {USER} {PASSWORD}"), "a OK"),
            ("b SELECT INBOX", "b OK"),
            (&*format!("c FETCH {number} BODY[TEXT]"), words),
            ("d LOGOUT", "d OK"),
        ] {
            write!(client.input(), "{say}\r\n").expect("sending");
            client.wait_for(answer);
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|three| {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(three.get(at).copied().unwrap_or(0))
        });
        let digit = move |at: usize| match at <= three.len() {
            true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
            false => '=',
        };
        (0..4).map(digit)
    });
    digits.collect()
}

macro_rules! require_servers {
    () => {
        require!(adit);
        require!(root);
        require!(program "dovecot");
        require!(program "postfix");
        require!(
            old_tls::available(),
            "tlslite-ng is not installed; tests/run does it"
        );
        require!(program "gnutls-cli");
        require!(program "tstclnt");
    };
}

fn start(program: &str, arguments: &[&str]) -> Tool {
    Tool::start(Command::new(program).args(arguments))
}

#[test]
fn mail_goes_out_and_comes_back_over_tls_1_0() {
    require_servers!();
    let scene = Scene::new("");
    let tlslite = |options: &'static [&'static str]| {
        move |address: SocketAddr| old_tls::client(address, options)
    };
    scene.mail_goes_and_comes("by tlslite with 3des", tlslite(&["--cipher", "3des"]));
    scene.mail_goes_and_comes("by tlslite with aes", tlslite(&["--cipher", "aes128"]));
    scene.adit.wait_for_log("TLSv1 ciphersuite: DES-CBC3-SHA");
    scene.adit.wait_for_log("TLSv1.3 ciphersuite");
    scene.mail_goes_and_comes("by gnutls with 3des", |address| {
        let port = address.port().to_string();
        let priority = "NONE:+VERS-TLS1.0:+RSA:+3DES-CBC:+SHA1:+COMP-NULL:+SIGN-ALL:%NO_EXTENSIONS";
        let arguments = [
            "--no-ca-verification",
            "--priority",
            priority,
            "-p",
            &port,
            "127.0.0.1",
        ];
        start("gnutls-cli", &arguments)
    });
    scene.mail_goes_and_comes("by nss", |address| {
        let port = address.port().to_string();
        let host = ["-h", "127.0.0.1", "-p", &port, "-o", "-D"];
        start("tstclnt", &[&host[..], &["-V", "tls1.0:tls1.0"]].concat())
    });
    scene.mail_goes_and_comes("by openssl", |address| {
        let address = address.to_string();
        let cipher = "AES128-SHA:@SECLEVEL=0";
        let arguments = [
            "s_client", "-quiet", "-tls1", "-cipher", cipher, "-connect", &address,
        ];
        start("openssl", &arguments)
    });
}

#[test]
fn mail_goes_out_and_comes_back_over_rc4_where_it_is_named() {
    require_servers!();
    let scene = Scene::new("acceptCiphers = RC4-SHA:RC4-MD5\n");
    scene.mail_goes_and_comes("by tlslite with rc4", |address| {
        old_tls::client(address, &["--cipher", "rc4"])
    });
    scene.adit.wait_for_log("TLSv1 ciphersuite: RC4-");
}

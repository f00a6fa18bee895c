//! `adit ca` makes an authority and certificates that OpenSSL, GnuTLS and curl take, keeps its keys from
//! others, renews in time, and gives the authority's certificate to one browser.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::require;
use crate::support::adit::program;
use crate::support::openssl;
use crate::support::peers::Server;
use crate::support::{DEADLINE, Plan, proc, tls, wait_for};

/// A folder that `adit ca` has made.
struct Made {
    home: TempDir,
}

impl Made {
    fn new(arguments: &[&str]) -> Made {
        let made = Made {
            home: tempfile::tempdir().expect("a temporary folder"),
        };
        let said = made.ca(arguments);
        assert!(said.contains("have been made"), "{said}");
        made
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("ca")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("ca").args(arguments).arg("--dir");
        command.arg(self.folder()).stdin(Stdio::null());
        command
    }

    /// What it reports; fails unless it succeeds.
    #[track_caller]
    fn ca(&self, arguments: &[&str]) -> String {
        told(&mut self.command(arguments))
    }

    /// What it complains about; fails unless it fails.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("running it");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// `openssl x509 -text` of a file's first certificate; versions differ in blanks.
    fn text(&self, name: &str) -> String {
        let text = told(
            Command::new("openssl")
                .args(["x509", "-noout", "-text", "-in"])
                .arg(self.file(name)),
        );
        text.replace(" = ", "=")
    }
}

/// The host name that a certificate of this machine has.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    name.trim().to_ascii_lowercase()
}

/// What a program prints; fails unless it succeeds.
#[track_caller]
fn told(command: &mut Command) -> String {
    let output = openssl::run(command);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}

#[test]
fn the_authority_and_the_certificate_are_what_old_and_new_programs_take() {
    require!(adit);
    let made = Made::new(&["--name", "mail.example.com", "--name", "192.0.2.77"]);
    let authority = made.text("authority.pem");
    for words in [
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "Public-Key: (2048 bit)",
        "Signature Algorithm: sha256WithRSAEncryption",
    ] {
        assert!(authority.contains(words), "{words}: {authority}");
    }
    let server = made.text("server.pem");
    for words in [
        "Subject: CN=mail.example.com\n",
        "DNS:mail.example.com, IP Address:192.0.2.77, ",
        "DNS:localhost",
        "IP Address:127.0.0.1",
        "Digital Signature, Key Encipherment",
        "TLS Web Server Authentication",
        "CA:FALSE",
        "Public-Key: (2048 bit)",
    ] {
        assert!(server.contains(words), "{words}: {server}");
    }
    assert!(server.contains(&format!("DNS:{}", host())), "{server}");
    // openssl asn1parse tells the kinds of times; old programs cannot read a GeneralizedTime.
    for name in ["authority.pem", "server.pem"] {
        let der = made.home.path().join("der");
        told(
            Command::new("openssl")
                .args(["x509", "-outform", "DER", "-in"])
                .arg(made.file(name))
                .arg("-out")
                .arg(&der),
        );
        let kinds = told(
            Command::new("openssl")
                .args(["asn1parse", "-inform", "DER", "-in"])
                .arg(der),
        );
        assert_eq!(kinds.matches("UTCTIME").count(), 2, "{kinds}");
    }
    for (option, name) in [
        ("-verify_hostname", "localhost"),
        ("-verify_hostname", "mail.example.com"),
        ("-verify_ip", "127.0.0.1"),
    ] {
        let verified = told(
            Command::new("openssl")
                .args([
                    "verify",
                    "-x509_strict",
                    "-purpose",
                    "sslserver",
                    option,
                    name,
                ])
                .arg("-CAfile")
                .arg(made.file("authority.pem"))
                .arg(made.file("server.pem")),
        );
        assert!(verified.contains(": OK"), "{verified}");
    }
}

#[test]
fn gnutls_takes_the_certificate() {
    require!(adit);
    require!(program "certtool");
    let made = Made::new(&[]);
    let verified = told(
        Command::new("certtool")
            .args(["--verify", "--verify-hostname", "localhost"])
            .arg("--load-ca-certificate")
            .arg(made.file("authority.pem"))
            .arg("--infile")
            .arg(made.file("server.pem")),
    );
    assert!(
        verified.contains("The certificate is trusted"),
        "{verified}"
    );
}

#[test]
fn sha1_signs_both_with_sha1_and_is_asked_for_when_the_authority_is_made() {
    require!(adit);
    let made = Made::new(&["--sha1"]);
    for name in ["authority.pem", "server.pem"] {
        let text = made.text(name);
        assert_eq!(text.matches("sha1WithRSAEncryption").count(), 2, "{text}");
        let verified = told(
            Command::new("openssl")
                .args(["verify", "-auth_level", "0", "-check_ss_sig", "-CAfile"])
                .arg(made.file("authority.pem"))
                .arg(made.file(name)),
        );
        assert!(verified.contains(": OK"), "{verified}");
    }
    made.ca(&["renew", "--force"]);
    assert!(made.text("server.pem").contains("sha1WithRSAEncryption"));
    let modern = Made::new(&[]);
    let said = modern.refused(&["--sha1"]);
    assert!(said.contains("signs with SHA-256"), "{said}");
}

#[test]
fn curl_trusts_an_adit_with_this_certificate() {
    require!(adit);
    require!(program "curl");
    let made = Made::new(&[]);
    // It waits for the request, so that no reset overtakes the answer.
    let upstream = Server::start(|mut stream| {
        let mut request = BufReader::new(stream.try_clone().expect("a copy"));
        let mut line = String::new();
        while request.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        let answer = b"HTTP/1.0 200 OK\r\n\r\nglueck auf\n";
        stream.write_all(answer).expect("answering");
    });
    let cert = made.file("server.pem").display().to_string();
    let plan = Plan::new().service("test", format!("{}cert = {cert}\n", upstream.line()));
    let adit = plan.start();
    let port = adit.address("test").port();
    let output = Command::new("curl")
        .args(["-sS", "--cacert"])
        .arg(made.file("authority.pem"))
        .arg(format!("https://localhost:{port}/"))
        .stdin(Stdio::null())
        .output()
        .expect("running curl");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("glueck auf"), "{output:?}");
}

#[test]
fn keys_are_for_their_owner_alone_and_an_authority_is_never_overwritten() {
    require!(adit);
    let made = Made::new(&[]);
    for (name, mode) in [
        ("", 0o700),
        ("authority.key", 0o600),
        ("authority.pem", 0o644),
        ("server.pem", 0o600),
    ] {
        let about = fs::metadata(made.file(name)).expect("a file");
        assert_eq!(about.mode() & 0o777, mode, "{name}");
    }
    let names = ["authority.key", "authority.pem", "server.pem"];
    let before = names.map(|name| bytes(&made.file(name)));
    let said = made.ca(&[]);
    assert!(said.contains("there already"), "{said}");
    assert_eq!(names.map(|name| bytes(&made.file(name))), before);

    let said = made.ca(&["--name", "mail.example.com"]);
    assert!(said.contains("A certificate has been made"), "{said}");
    let after = names.map(|name| bytes(&made.file(name)));
    assert_eq!(after[..2], before[..2]);
    assert_ne!(after[2], before[2]);
    let text = made.text("server.pem");
    assert!(text.contains("DNS:mail.example.com, DNS:"), "{text}");

    fs::remove_file(made.file("authority.key")).expect("removing");
    let said = made.refused(&[]);
    assert!(said.contains("authority.key: it is missing"), "{said}");
    assert_eq!(bytes(&made.file("authority.pem")), before[1]);
}

#[test]
fn renew_makes_a_new_certificate_when_it_is_time_and_keeps_the_names() {
    require!(adit);
    let made = Made::new(&["--name", "mail.example.com"]);
    let before = bytes(&made.file("server.pem"));
    let said = made.ca(&["renew"]);
    assert!(said.contains("nothing to do"), "{said}");
    assert_eq!(bytes(&made.file("server.pem")), before);
    let said = made.ca(&["renew", "--force"]);
    assert!(said.contains("has a new certificate"), "{said}");
    let (old, new) = (before, bytes(&made.file("server.pem")));
    assert_ne!(old, new);
    let text = made.text("server.pem");
    assert!(text.contains("Subject: CN=mail.example.com\n"), "{text}");
    // One file, so certificate and key are never seen apart.
    let key = String::from_utf8(new).expect("PEM");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(key.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    assert_eq!(fs::read_dir(made.folder()).expect("a folder").count(), 3);

    let nowhere = Made {
        home: tempfile::tempdir().expect("a temporary folder"),
    };
    for arguments in [
        &["renew"][..],
        &["show"],
        &["show", "--serve", "127.0.0.1:0"],
    ] {
        let said = nowhere.refused(arguments);
        assert!(said.contains("there is no authority here"), "{said}");
    }
}

#[test]
fn services_with_old_tls_have_a_certificate_of_their_own() {
    require!(adit);
    let made = Made::new(&[]);
    let said = made.ca(&["--file", "old.pem", "--name", "old.example.com"]);
    assert!(said.contains("A certificate has been made"), "{said}");
    for name in ["server.pem", "old.pem"] {
        let path = made.file(name).display().to_string();
        assert!(said.contains(&path), "{said}");
        assert_eq!(
            made.text(name).contains("old.example.com"),
            name == "old.pem"
        );
    }
    let before = ["server.pem", "old.pem"].map(|name| bytes(&made.file(name)));
    made.ca(&["renew", "--force"]);
    let after = ["server.pem", "old.pem"].map(|name| bytes(&made.file(name)));
    assert!(before[0] != after[0] && before[1] != after[1]);
    // adit takes each for its kind of service, and none for both.
    for (file, status) in [("old.pem", true), ("server.pem", false)] {
        let service = |file: &str, more: &str| {
            let cert = made.file(file).display().to_string();
            format!("connect = 127.0.0.1:9\ncert = {cert}\n{more}")
        };
        let plan = Plan::new()
            .service("modern", service("server.pem", ""))
            .service("old", service(file, "sslVersionMin = TLSv1\n"));
        // Writes the file.
        let _ = plan.command();
        let mut check = Command::new(program());
        let output = check.arg("check").arg(plan.file()).output();
        let output = output.expect("running it");
        assert_eq!(output.status.success(), status, "{output:?}");
    }
}

#[test]
fn a_certificate_for_old_programs_has_addresses_as_names_too() {
    require!(adit);
    let made = Made::new(&["--file", "old.pem", "--name", "192.0.2.77"]);
    made.ca(&[]);
    let old = made.text("old.pem");
    for words in [
        "Subject: CN=192.0.2.77\n",
        "DNS:192.0.2.77, IP Address:192.0.2.77, ",
        "DNS:127.0.0.1, IP Address:127.0.0.1",
    ] {
        assert!(old.contains(words), "{words}: {old}");
    }
    assert!(!made.text("server.pem").contains("DNS:127.0.0.1"));
    made.ca(&["renew", "--force"]);
    let renewed = made.text("old.pem");
    assert!(renewed.contains("DNS:192.0.2.77, IP Address:192.0.2.77, "));
    assert_eq!(renewed.matches("DNS:127.0.0.1,").count(), 1, "{renewed}");

    // A name that is there already becomes the common name.
    let again = ["--file", "old.pem", "--name", "localhost"];
    let said = made.ca(&again);
    assert!(said.contains("A certificate has been made"), "{said}");
    let text = made.text("old.pem");
    assert!(text.contains("Subject: CN=localhost\n"), "{text}");
    assert!(text.contains("IP Address:192.0.2.77"), "{text}");
    let said = made.ca(&again);
    assert!(said.contains("there already"), "{said}");

    let sha1 = Made::new(&["--sha1"]);
    assert!(sha1.text("server.pem").contains("DNS:127.0.0.1, "));
}

#[test]
fn the_lines_for_each_certificate_are_complete() {
    require!(adit);
    let made = Made::new(&[]);
    let said = made.ca(&[]);
    assert!(!said.contains("acceptSSLVersionMin"), "{said}");
    assert!(said.contains("adit ca --file old.pem --dir /"), "{said}");
    made.ca(&["--file", "old.pem"]);
    let lines = |name: &str| {
        let path = made.file(name);
        format!("acceptTLS = yes\nacceptCert = {}\n", path.display())
    };
    for arguments in [&["show"][..], &["renew", "--force"]] {
        let said = made.ca(arguments);
        let old = lines("old.pem") + "acceptSSLVersionMin = TLSv1\n";
        assert!(said.contains(&old), "{said}");
        assert!(said.contains(&(lines("server.pem") + "\n")), "{said}");
    }
    // A configuration may be read from another folder.
    let mut relative = Command::new(program());
    relative.args(["ca", "show", "--dir", "ca"]);
    let said = told(relative.current_dir(made.home.path()));
    assert!(said.contains(&lines("old.pem")), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_has_its_remedy() {
    require!(adit);
    let made = Made::new(&[]);
    fs::remove_file(made.file("authority.pem")).expect("removing");
    fs::create_dir(made.file("authority.pem")).expect("a folder");
    let said = made.refused(&["show"]);
    assert!(said.contains("that is a folder: name a file"), "{said}");
}

#[test]
fn show_tells_the_fingerprints_that_openssl_tells() {
    require!(adit);
    let made = Made::new(&[]);
    let shown = made.ca(&["show"]);
    for digest in ["-sha1", "-sha256"] {
        let line = told(
            Command::new("openssl")
                .args(["x509", "-noout", "-fingerprint", digest, "-in"])
                .arg(made.file("authority.pem")),
        );
        let (_, fingerprint) = line.trim().split_once('=').expect("a fingerprint");
        assert!(shown.contains(fingerprint), "{shown}");
    }
    let subject = told(
        Command::new("openssl")
            .args(["x509", "-noout", "-subject", "-nameopt", "multiline", "-in"])
            .arg(made.file("authority.pem")),
    );
    let (_, name) = subject.trim().split_once("= ").expect("a name");
    assert!(shown.contains(name), "{shown}");
    let cert = made.file("server.pem");
    let line = format!("acceptCert = {}\n", cert.display());
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn one_browser_gets_the_authoritys_certificate_from_a_process_that_is_not_root() {
    require!(adit);
    let made = Made::new(&[]);
    let mut child = made
        .command(&["show", "--serve", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting");
    let mut progress = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let address: SocketAddr = progress
        .by_ref()
        .map(|line| line.expect("a line"))
        .find_map(|line| {
            let (host, _) = line.trim().strip_prefix("http://")?.split_once('/')?;
            host.parse().ok()
        })
        .expect("an address");
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(address).expect("connecting");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("asking");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer");
        answer
    };
    if crate::support::is_root() {
        let status = format!("/proc/{}/status", child.id());
        let status = fs::read_to_string(status).expect("its status");
        let uid = status.lines().find(|line| line.starts_with("Uid:"));
        assert!(!uid.expect("its user").contains("\t0"), "{status}");
    }
    let head = ask("HEAD / HTTP/1.0\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let icon = ask("GET /favicon.ico HTTP/1.1\r\n\r\n");
    assert!(icon.starts_with(b"HTTP/1.1 404 "));
    let answer = ask("GET / HTTP/1.1\r\nHost: mill\r\n\r\n");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.expect("a head") + 4);
    let head = String::from_utf8_lossy(head);
    assert!(head.contains("Content-Type: application/x-x509-ca-cert\r\n"));
    assert!(head.contains("filename=\"adit-ca.crt\""));
    let file = made.home.path().join("got.der");
    fs::write(&file, body).expect("writing");
    let got = told(
        Command::new("openssl")
            .args(["x509", "-inform", "DER", "-in"])
            .arg(&file),
    );
    let kept = fs::read_to_string(made.file("authority.pem")).expect("reading");
    assert_eq!(got.replace("\r\n", "\n"), kept.replace("\r\n", "\n"));
    assert!(child.wait().expect("its end").success());
    assert!(TcpStream::connect(address).is_err());
    assert!(!proc::alive(child.id() as i32));
}

#[test]
fn a_running_adit_takes_the_renewed_certificate_with_one_reload() {
    require!(adit);
    let made = Made::new(&[]);
    let upstream = Server::echo();
    let cert = made.file("server.pem").display().to_string();
    let lines = format!("{}cert = {cert}\n", upstream.line());
    let adit = Plan::new()
        .global("certWatch = yes")
        .service("test", lines)
        .start();
    let certificate = || {
        let config = tls::client_config(&made.file("authority.pem"), tls::BOTH, None);
        let client = tls::connect(config, adit.address("test"));
        let chain = client.conn.peer_certificates().expect("a certificate");
        chain[0].to_vec()
    };
    let before = certificate();
    made.ca(&["renew", "--force"]);
    wait_for("the new certificate", || {
        (certificate() != before).then_some(())
    });
    adit.wait_for_log("certWatch: a file has changed");
    assert_eq!(adit.count_in_log("certWatch: a file has changed"), 1);
}

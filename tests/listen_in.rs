//! `adit listen-in` says what a program speaks, and which configuration suits it: for the hellos of real
//! clients in `tests/hellos`, for STARTTLS and for plain programs.

mod expected;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

use crate::require;
use crate::support::adit::program;
use crate::support::{Adit, Certs, DEADLINE, Plan, old_tls, tls};
use expected::EXPECTED;

/// A running `adit listen-in`.
struct Listening {
    child: Child,
    progress: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Listening {
    #[track_caller]
    fn start(arguments: &[&str]) -> Listening {
        let mut child = Command::new(program())
            .args(["listen-in", "--accept", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting the program");
        let stderr = child.stderr.take().expect("a pipe");
        let mut progress = BufReader::new(stderr);
        let mut line = String::new();
        progress.read_line(&mut line).expect("its first line");
        let address = line
            .strip_prefix("Listening on ")
            .and_then(|rest| rest.split(": ").next()?.parse().ok());
        Listening {
            child,
            progress,
            address: address.unwrap_or_else(|| panic!("no address in {line:?}")),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connecting");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    /// Its exit status, its report, and what it said meanwhile.
    fn ends(mut self) -> (Option<i32>, String, String) {
        let (mut report, mut said) = (String::new(), String::new());
        let mut stdout = self.child.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut report).expect("the report");
        self.progress.read_to_string(&mut said).expect("the rest");
        let status = self.child.wait().expect("its end");
        (status.code(), report, said)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It has ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hellos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hellos")
}

/// The bytes in a file of hexadecimal digits, with comments.
fn hello(name: &str) -> Vec<u8> {
    let path = hellos().join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let digits = digits.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        })
        .collect()
}

/// The report about a client that says this at once.
fn report(arguments: &[&str], words: &[u8]) -> String {
    let listening = Listening::start(arguments);
    let mut client = listening.connect();
    client.write_all(words).expect("sending");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the answer");
    drop(client);
    let (status, report, said) = listening.ends();
    assert_eq!(status, Some(0), "{said}");
    if words[0] == 22 || words[0] & 0x80 != 0 {
        // A fatal alert, handshake_failure.
        assert_eq!(answer, [21, 3, 1, 0, 2, 2, 40]);
    }
    report
}

/// The report with its line breaks as blanks.
fn in_one_line(report: &str) -> String {
    report.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_hellos_of_real_clients_are_told_in_words() {
    require!(adit);
    for (name, words, not) in EXPECTED {
        let report = in_one_line(&report(&[], &hello(name)));
        assert!(report.starts_with("It speaks TLS from the first byte."));
        for word in *words {
            // A word at the very end has no blank behind it.
            assert!(
                format!("{report} ").contains(word),
                "{name}: {word}: {report}"
            );
        }
        for word in *not {
            assert!(!report.contains(word), "{name}: {word}: {report}");
        }
    }
}

#[test]
fn every_hello_of_the_corpus_has_its_words() {
    let files = fs::read_dir(hellos()).expect("the corpus").flatten();
    let files: BTreeSet<String> = files
        .map(|file| file.path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let expected = EXPECTED.iter().map(|(name, _, _)| (*name).to_owned());
    assert_eq!(files, expected.collect());
    assert!(files.len() >= 20);
}

/// The report about an old client that starts TLS with this command.
fn report_behind(protocol: &str, asks: &str) -> String {
    let (greeting, answer) = match protocol {
        "smtp" => ("220 ", "220 Ready"),
        "pop3" => ("+OK", "+OK Begin"),
        _ => ("* OK", "1 OK"),
    };
    let listening = Listening::start(&["--protocol", protocol]);
    let mut client = BufReader::new(listening.connect());
    let mut line = String::new();
    client.read_line(&mut line).expect("a greeting");
    assert!(line.starts_with(greeting), "{line}");
    writeln!(client.get_mut(), "{asks}\r").expect("sending");
    while !line.starts_with(answer) {
        line.clear();
        let length = client.read_line(&mut line).expect("an answer");
        assert!(length > 0, "{protocol}");
    }
    let hello = hello("schannel-xp");
    client.get_mut().write_all(&hello).expect("sending");
    drop(client);
    let (status, report, said) = listening.ends();
    assert_eq!(status, Some(0), "{said}");
    report
}

#[test]
fn a_silent_client_is_greeted_and_may_start_tls() {
    require!(adit);
    for (protocol, asks, command) in [
        ("smtp", "EHLO pc.example.com\r\nSTARTTLS", "STARTTLS"),
        ("pop3", "CAPA\r\nSTLS", "STLS"),
        ("imap", "0 CAPABILITY\r\n1 STARTTLS", "STARTTLS"),
    ] {
        let report = report_behind(protocol, asks);
        let words = format!("It waits for the greeting and then asks for TLS, by {command}.");
        assert!(report.starts_with(&words), "{report}");
        let option = format!("acceptProtocol = {protocol}\n");
        assert!(report.contains(&option), "{report}");
        assert!(report.contains(&format!("[{protocol}-old]\n")), "{report}");
    }
}

#[test]
fn a_program_that_goes_on_in_plain_is_told_and_its_password_is_not_shown() {
    require!(adit);
    let listening = Listening::start(&["--protocol", "pop3"]);
    let mut client = BufReader::new(listening.connect());
    let mut line = String::new();
    client.read_line(&mut line).expect("a greeting");
    let words = "USER miner\r\nPASS gallery-level-7\r\n";
    client
        .get_mut()
        .write_all(words.as_bytes())
        .expect("sending");
    let mut answers = String::new();
    client.read_to_string(&mut answers).expect("the answers");
    assert!(answers.starts_with("-ERR "), "{answers}");
    drop(client);
    let (status, report, said) = listening.ends();
    assert_eq!(status, Some(0), "{said}");
    let line = in_one_line(&report);
    assert!(line.contains("goes on with USER in plain"), "{report}");
    assert!(!report.contains("acceptTLS"), "{report}");
    for secret in ["miner", "gallery"] {
        assert!(!report.contains(secret) && !said.contains(secret));
    }
}

#[test]
fn a_program_that_waits_or_speaks_first_in_plain_is_told() {
    require!(adit);
    let listening = Listening::start(&[]);
    let client = listening.connect();
    let (status, waits, _) = listening.ends();
    drop(client);
    assert_eq!(status, Some(0));
    assert!(waits.contains("waits for a greeting"), "{waits}");
    assert!(waits.contains("--protocol"), "{waits}");
    let web = report(&[], b"GET / HTTP/1.0\r\n\r\n");
    assert!(web.starts_with("It speaks first, in plain: HTTP."), "{web}");
    let garbage = report(&[], b"glueck auf\r\n");
    for report in [web, garbage] {
        assert!(report.contains("no mail program"), "{report}");
        assert!(!report.contains("accept = "), "{report}");
    }
    let broken = report(&[], b"\x16\x03\x01\0\x04\x02\0\0\0");
    assert!(broken.contains("no ClientHello"), "{broken}");
}

#[test]
fn a_connection_without_a_word_does_not_count() {
    require!(adit);
    let mut listening = Listening::start(&[]);
    listening
        .connect()
        .shutdown(Shutdown::Both)
        .expect("closing");
    let mut said = String::new();
    while !said.contains("without a word") {
        said.clear();
        let length = listening.progress.read_line(&mut said).expect("a line");
        assert!(length > 0, "it ended");
    }
    let mut client = listening.connect();
    client.write_all(b"SSH-2.0-x\r\n").expect("sending");
    drop(client);
    let (status, report, _) = listening.ends();
    assert_eq!(status, Some(0));
    assert!(report.contains("SSH"), "{report}");
}

#[test]
fn what_keeps_it_from_listening_is_told() {
    require!(adit);
    let run = |arguments: &[&str]| {
        let output = Command::new(program())
            .arg("listen-in")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("running it");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let us = format!("(PID {})", std::process::id());
    for (arguments, status, words) in [
        (
            &["--accept", &*address][..],
            1,
            &["Address already in use", &us][..],
        ),
        (
            &["--accept", "192.0.2.1:1465"],
            1,
            &["does not have that address"],
        ),
        (
            &["--accept", "127.0.0.1:0", "--timeout", "0"],
            1,
            &["no program has connected"],
        ),
        (
            &["--accept", "127.0.0.1:70000"],
            1,
            &["`70000` is not a port"],
        ),
        (&["--accept", "/run/x"], 1, &["is a path"]),
        (&[], 2, &["--accept"]),
        (&["--accept", "0", "--protocol", "ftp"], 2, &["ftp", "smtp"]),
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(status), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

/// The suggested service's lines, for a certificate that `adit ca` has made in `folder` and for the server
/// of `connect`.
fn suggested(report: &str, folder: &Path, connect: &str) -> String {
    let (_, section) = report.split_once("\n[").expect("a section");
    let (section, _) = section.split_once("\n\n").unwrap_or((section, ""));
    let lines = section.lines().skip(1).map(|line| {
        let own = ["accept = ", "connect = ", "verifyServer = ", "# "];
        let made = folder.join("server.pem").display().to_string();
        match own.iter().any(|start| line.starts_with(start)) {
            true => String::new(),
            // Which of the two is another test's business.
            false => {
                let line = line.replace("/etc/adit/ca/server.pem", &made);
                let line = line.replace("/etc/adit/ca/old.pem", &made);
                line.replace("/etc/adit/old-ca/old.pem", &made) + "\n"
            }
        }
    });
    lines.collect::<String>() + connect
}

/// The folder of an authority.
fn authority() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = Command::new(program())
        .args(["ca", "--dir"])
        .arg(folder.path())
        .output();
    assert!(made.expect("running it").status.success());
    folder
}

#[test]
fn every_service_that_it_suggests_passes_a_check() {
    require!(adit);
    let folder = authority();
    let at_once = EXPECTED.iter().map(|(name, _, _)| hello(name));
    for words in at_once.chain([b"EHLO pc.example.com\r\n".to_vec()]) {
        passes_a_check(&report(&[], &words), folder.path());
    }
    for (protocol, asks) in [
        ("smtp", "STARTTLS"),
        ("pop3", "STLS"),
        ("imap", "1 STARTTLS"),
    ] {
        passes_a_check(&report_behind(protocol, asks), folder.path());
    }
}

#[track_caller]
fn passes_a_check(report: &str, folder: &Path) {
    let server = report.lines().find(|line| line.starts_with("connect = "));
    let port = server.and_then(|line| line.split(':').nth(1));
    let port = port.expect("its port");
    let connect = format!("connect = localhost:{port}\nverifyServer = yes\n");
    let plan = Plan::new().service("test", suggested(report, folder, &connect));
    plan.passes_strict_check();
}

#[test]
fn the_service_that_it_suggests_serves_that_program() {
    require!(adit);
    require!(
        old_tls::available(),
        "tlslite-ng is not installed; tests/run does it"
    );
    let folder = authority();
    let provider = Certs::new();
    let upstream = tls::echo_server(&provider, &[&rustls::version::TLS13]);
    let connect = upstream.line() + &provider.ca_line() + "verifyChain = yes\n";
    for (options, suite) in [
        (&["--cipher", "3des"][..], "TLSv1 ciphersuite: DES-CBC3-SHA"),
        (&["--cipher", "rc4"], "TLSv1 ciphersuite: RC4-SHA"),
        (&["--cipher", "aes128"], "TLSv1 ciphersuite: AES128-SHA"),
        (
            &["--version", "1.1", "--min", "1.1", "--cipher", "3des"],
            "TLSv1.1 ciphersuite: DES-CBC3-SHA",
        ),
        (
            &["--version", "1.2", "--cipher", "aes256", "--kx", "dhe_rsa"],
            "TLSv1.2 ciphersuite: DHE-RSA-AES256-SHA ",
        ),
        (
            &[
                "--version",
                "1.2",
                "--cipher",
                "aes128gcm",
                "--kx",
                "ecdhe_rsa",
            ],
            "TLSv1.2 ciphersuite: ECDHE-RSA-AES128-GCM-SHA256",
        ),
    ] {
        let listening = Listening::start(&[]);
        old_tls::refused(listening.address, options);
        let (status, report, said) = listening.ends();
        assert_eq!(status, Some(0), "{said}");
        let lines = suggested(&report, folder.path(), &connect);
        let adit = Adit::serve(lines);
        let mut client = old_tls::client(adit.address("test"), options);
        writeln!(client.input(), "glueck auf").expect("sending");
        client.wait_for("glueck auf\n");
        adit.wait_for_log(suite);
    }
}

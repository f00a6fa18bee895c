//! The same with OpenSSL, which most peers use.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::*;

/// A child that dies with the test.
pub(super) struct Openssl(pub(super) Child);

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn openssl(arguments: &[&str]) -> Openssl {
    let child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Openssl(child)
}

/// Carries bytes between a socket and an end until `done` is true; a silent peer fails the test.
pub(super) fn carry(socket: &mut TcpStream, end: &mut End, done: impl Fn(&mut End) -> bool) {
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut buffer = [0; 20_000];
    loop {
        socket.write_all(&end.outbox).unwrap();
        end.outbox.clear();
        if done(end) {
            return;
        }
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "the peer closed");
        end.inbox.extend_from_slice(&buffer[..length]);
        end.turn();
    }
}

pub(super) const OPEN: fn(&mut End) -> bool = |end| matches!(end.state, Some(State::Open(_)));

/// A free port; another program may take it before s_server does, which fails the test with an error.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Reads what s_server says until it listens.
pub(super) fn wait_until_it_accepts(server: &mut Openssl) {
    let said = server.0.stdout.as_mut().unwrap();
    let mut words = Vec::new();
    while !words.ends_with(b"ACCEPT\n") {
        let mut byte = [0];
        said.read_exact(&mut byte).unwrap();
        words.push(byte[0]);
    }
}

/// The first record of a client with these arguments.
pub(super) fn hello(arguments: &[&str]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _client = openssl(&[&["s_client", "-connect", &address], arguments].concat());
    let (mut socket, _) = listener.accept().unwrap();
    let mut hello = vec![0; 5];
    socket.read_exact(&mut hello).unwrap();
    hello.resize(5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
    socket.read_exact(&mut hello[5..]).unwrap();
    hello
}

#[test]
fn an_openssl_client_talks_to_us_in_both_versions_and_renews_keys() {
    let pki = Pki::new();
    let context = load(false, &server_options(&pki), &Resumption::new().unwrap());
    for version in ["-tls1_2", "-tls1_3"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut client = openssl(&[
            "s_client",
            "-connect",
            &address,
            version,
            "-max_send_frag",
            "512",
            "-nocommands",
            "-quiet",
            "-no_ign_eof",
        ]);
        let (mut socket, _) = listener.accept().unwrap();
        let mut end = End::begin(&context);
        carry(&mut socket, &mut end, OPEN);
        let data = vec![b'x'; 100_000];
        if version == "-tls1_3" {
            end.stream().by_rustls().wear(2);
        }
        end.send(&data);
        socket.write_all(&end.outbox).unwrap();
        end.outbox.clear();
        let mut got = vec![0; data.len()];
        client
            .0
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut got)
            .unwrap();
        assert!(got == data);
        client
            .0
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"question\n")
            .unwrap();
        carry(&mut socket, &mut end, |end| end.plain == b"question\n");
        drop(client.0.stdin.take());
        carry(&mut socket, &mut end, |end| end.closed);
    }
}

#[test]
fn we_talk_to_an_openssl_server_resume_and_take_its_key_update() {
    let pki = Pki::new();
    let cert = server_options(&pki).cert.unwrap();
    let cert = cert.to_str().unwrap();
    for (version, negotiated) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let port = free_port().to_string();
        let mut server = openssl(&[
            "s_server",
            "-accept",
            &port,
            "-cert",
            cert,
            "-key",
            cert,
            version,
            "-max_send_frag",
            "512",
        ]);
        wait_until_it_accepts(&mut server);
        let context = load(true, &TlsOptions::default(), &Resumption::new().unwrap());
        for round in 0..3 {
            let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
            let mut end = End::begin(&context);
            end.turn();
            carry(&mut socket, &mut end, OPEN);
            assert_eq!(end.negotiated().version, negotiated);
            assert_eq!(end.negotiated().resumed, round > 0, "{version} {round}");
            // K: a key update with an answer requested; by now the tickets have arrived, too.
            let stdin = server.0.stdin.as_mut().unwrap();
            if version == "-tls1_3" {
                // A separate read: s_server looks for a command at the start of each.
                stdin.write_all(b"K\n").unwrap();
                carry(&mut socket, &mut end, |end| end.answered);
            }
            stdin.write_all(b"hello\n").unwrap();
            carry(&mut socket, &mut end, |end| end.plain == b"hello\n");
            end.send(b"to the server\n");
            let mut alert = Vec::new();
            end.stream().close_notify(&mut alert);
            end.outbox.extend(alert);
            carry(&mut socket, &mut end, |end| end.closed);
        }
    }
}

/// The subject as OpenSSL prints it with stunnel's options; `None`: it reads no such certificate.
fn subject_by_openssl(der: &std::path::Path) -> Option<String> {
    let output = Command::new("openssl")
        .args(["x509", "-inform", "der", "-noout", "-subject", "-nameopt"])
        .arg("oneline,-esc_msb,-space_eq")
        .arg("-in")
        .arg(der)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let subject = text.trim_end_matches('\n').strip_prefix("subject=");
    subject.map(str::to_owned)
}

#[track_caller]
fn is_printed_alike(der: &std::path::Path) {
    let expected = subject_by_openssl(der).unwrap();
    let der = std::fs::read(der).unwrap();
    assert_eq!(crate::tls::names::subject_of(&der), expected);
}

#[test]
fn names_are_printed_as_openssl_prints_them() {
    let pki = Pki::new();
    let path = pki.path("odd.der");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-utf8", "-keyout", "/dev/null", "-outform", "der", "-multivalue-rdn", "-subj"])
        .arg("/C=PL/O=Foo, \"Bar\" Inc.+OU=a\\\\b/CN=za\u{17c}\u{f3}\u{142}\u{107} #1/emailAddress=a@b.example/UID=x/1.2.3.4=odd")
        .arg("-out")
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    is_printed_alike(&path);
}

#[test]
fn values_of_every_type_are_printed_as_openssl_prints_them() {
    let pki = Pki::new();
    let path = pki.path("odd.der");
    for (nth, value) in [
        " begins with a blank",
        "ends with one ",
        "#begins with a hash",
        "has # and = within",
        "a;b<c>d+e",
        "back\\slash",
        "\"quoted\"",
        "\u{1}\u{1f}\u{7f}",
        "\u{e9}\u{17c}",
    ]
    .into_iter()
    .enumerate()
    {
        let made = leaf(&[], value).self_signed(&KeyPair::generate().unwrap());
        std::fs::write(&path, made.unwrap().der()).unwrap();
        is_printed_alike(&path);
        // The same bytes as another type of string.
        let tags: &[u8] = match value.is_ascii() {
            true => &[0x12, 0x13, 0x14, 0x16, 0x1a],
            false => &[0x14, 0x16],
        };
        for tag in [tags, &[0x04, 0x15, 0x17, 0x18, 0x19, 0x1b, 0x30]].concat() {
            let mut der = std::fs::read(&path).unwrap();
            let place = [&[0x0c, value.len() as u8], value.as_bytes()].concat();
            let mut from = 0;
            while let Some(at) = der[from..]
                .windows(place.len())
                .position(|bytes| bytes == place)
            {
                der[from + at] = tag;
                from += at + 1;
            }
            let other = pki.path(&format!("{nth}-{tag}.der"));
            std::fs::write(&other, der).unwrap();
            let Some(expected) = subject_by_openssl(&other) else {
                continue;
            };
            let der = std::fs::read(&other).unwrap();
            assert_eq!(crate::tls::names::subject_of(&der), expected, "{tag:#x}");
        }
    }
}

#[test]
fn wide_strings_and_rare_types_are_printed_as_openssl_prints_them() {
    use rcgen::string::{BmpString, UniversalString};
    use rcgen::{DnType, DnValue};
    let pki = Pki::new();
    let path = pki.path("odd.der");
    let mut params = leaf(&[], "x");
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = &mut params.distinguished_name;
    let wide = BmpString::try_from("w\u{ef}de, \u{17c}").unwrap();
    name.push(DnType::CommonName, DnValue::BmpString(wide));
    let wide = UniversalString::try_from("w\u{ef}de \u{1f600}").unwrap();
    name.push(DnType::OrganizationName, DnValue::UniversalString(wide));
    let known = include_str!("../openssl_attributes.txt").lines();
    let known = known.filter_map(|line| line.split_once(' ').filter(|(oid, _)| *oid != "#"));
    let unknown = [("2.5.4.199", ""), ("1.3.6.1.4.1.99999.1", "")];
    for (nth, (oid, _)) in known.chain(unknown).enumerate() {
        let oid: Vec<u64> = oid.split('.').map(|part| part.parse().unwrap()).collect();
        name.push(DnType::CustomDnType(oid), format!("value {nth}"));
    }
    let made = params.self_signed(&KeyPair::generate().unwrap());
    std::fs::write(&path, made.unwrap().der()).unwrap();
    is_printed_alike(&path);
}

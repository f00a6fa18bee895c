//! An OCSP responder: OpenSSL's answers, given over HTTP in the way that a test wants.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::peers::Server;
use super::{Certs, openssl};

/// Serial numbers that the responder says something about; it does not know any other.
pub const GOOD: u8 = 0x11;
/// Revoked on 2026-01-01 since its key was compromised.
pub const REVOKED: u8 = 0x12;
/// Good, for another certificate.
pub const GOOD_TOO: u8 = 0x13;
/// Not known.
pub const UNKNOWN: u8 = 0x14;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With the length told.
    Plainly,
    /// In chunks.
    Chunked,
    /// Until the connection ends.
    Open,
    /// With this status line, and no body.
    Status(&'static str),
    /// Not before the other side has gone.
    Never,
}

/// See the module.
pub struct Responder {
    server: Server,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Writes the index by which the authority's certificates are answered for.
fn index(certs: &Certs) -> PathBuf {
    let file = certs.folder().join("index");
    let text = "V\t491231235959Z\t\t11\tunknown\t/CN=good\n\
                R\t491231235959Z\t260101000000Z,keyCompromise\t12\tunknown\t/CN=revoked\n\
                V\t491231235959Z\t\t13\tunknown\t/CN=good too\n";
    fs::write(&file, text).expect("writing");
    file
}

/// OpenSSL as the responder of that authority.
fn command(certs: &Path, index: &Path) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(["ocsp", "-ndays", "1", "-index"])
        .arg(index)
        .arg("-CA")
        .arg(certs.join("ca.pem"))
        .arg("-rsigner")
        .arg(certs.join("ca.pem"))
        .arg("-rkey")
        .arg(certs.join("ca.key"));
    command
}

/// A response about a certificate, as a file, to be stapled.
pub fn response(certs: &Certs, certificate: &Path) -> PathBuf {
    let file = certificate.with_extension("ocsp");
    certs.write_key();
    openssl::run(
        command(certs.folder(), &index(certs))
            .arg("-no_nonce")
            .arg("-issuer")
            .arg(certs.ca())
            .arg("-cert")
            .arg(certificate)
            .arg("-respout")
            .arg(&file),
    );
    file
}

impl Responder {
    /// Starts one for this authority.
    pub fn start(certs: &Certs, way: Way) -> Responder {
        let (folder, index) = (certs.folder().to_path_buf(), index(certs));
        certs.write_key();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        let count = AtomicUsize::new(0);
        let server = Server::start(move |mut stream| {
            let Some(body) = read(&mut stream) else {
                return;
            };
            heard.lock().expect("no panic").push(body.clone());
            if way == Way::Never {
                let _ = stream.read(&mut [0]);
                return;
            }
            let file = folder.join(format!("request{}", count.fetch_add(1, Ordering::SeqCst)));
            let answer = file.with_extension("answer");
            fs::write(&file, &body).expect("writing");
            openssl::run(
                command(&folder, &index)
                    .arg("-reqin")
                    .arg(&file)
                    .arg("-respout")
                    .arg(&answer),
            );
            let body = fs::read(answer).expect("an answer");
            // One that has given up hears nothing.
            let _ = stream.write_all(&said(way, &body));
        });
        Responder { server, requests }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/ocsp", self.server.address)
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.requests.lock().expect("no panic").len()
    }
}

/// The body of a POST; none if it is not one.
fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            // stunnel leaves the port out, and speaks HTTP/1.0.
            assert!(head.starts_with("POST /ocsp HTTP/1."), "{head}");
            assert!(head.contains("\r\nHost: 127.0.0.1"), "{head}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.expect("a length").parse().expect("a number");
            let body = heard
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .expect("an end")
                + 4;
            if heard.len() == body + length {
                return Some(heard[body..].to_vec());
            }
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => heard.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

fn said(way: Way, body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n";
    match way {
        Way::Plainly => {
            let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        }
        Way::Open => [head.as_bytes(), b"\r\n", body].concat(),
        Way::Chunked => {
            let mut all = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in body.chunks(100) {
                all.extend(format!("{:x}\r\n", chunk.len()).bytes());
                all.extend(chunk);
                all.extend(b"\r\n");
            }
            all.extend(b"0\r\n\r\n");
            all
        }
        Way::Status(line) => format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        Way::Never => Vec::new(),
    }
}

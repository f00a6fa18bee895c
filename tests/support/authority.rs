//! An OCSP responder whose answers a test words itself, and changes while it runs: what OpenSSL's does not say. The
//! authority's own key signs them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Certs;
use super::peers::Server;
use super::wait_for;

/// What it says to each that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// For so many seconds from now.
    Good(i64),
    /// Without a next update.
    GoodForNow,
    /// For so many seconds from now; its key was compromised.
    Revoked(i64),
    /// Good, with a signature that is none.
    Forged,
    /// This as the body.
    Bytes(Vec<u8>),
    /// Not a byte before the other side is gone.
    Nothing,
    /// Not a byte before it is told to say something else.
    Later,
}

/// See the module.
pub struct Authority {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    says: Says,
    asked: usize,
}

impl Authority {
    /// Starts it for the certificates of this authority.
    pub fn start(certs: &Arc<Certs>, says: Says) -> Authority {
        let state = Arc::new(Mutex::new(State { says, asked: 0 }));
        let (ours, certs) = (Arc::clone(&state), Arc::clone(certs));
        let server = Server::start(move |mut stream| answer(&mut stream, &certs, &ours));
        Authority { server, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/ocsp", self.server.address)
    }

    /// What it says from now on.
    pub fn says(&self, says: Says) {
        self.state().says = says;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state().asked
    }
}

fn answer(stream: &mut TcpStream, certs: &Certs, state: &Mutex<State>) {
    let Some(request) = read(stream) else {
        return;
    };
    let says = || state.lock().expect("no panic").says.clone();
    state.lock().expect("no panic").asked += 1;
    let says = wait_for("another word", || {
        Some(says()).filter(|says| *says != Says::Later)
    });
    let body = match says {
        Says::Later => return,
        Says::Nothing => {
            let _ = stream.read(&mut [0]);
            return;
        }
        Says::Bytes(bytes) => bytes,
        Says::Good(seconds) => response(certs, &request, &element(0x80, &[]), Some(seconds)),
        Says::GoodForNow => response(certs, &request, &element(0x80, &[]), None),
        Says::Revoked(seconds) => {
            let since = time(now() - 3600);
            let reason = element(0xa0, &element(0x0a, &[1]));
            let revoked = element(0xa1, &[since, reason].concat());
            response(certs, &request, &revoked, Some(seconds))
        }
        Says::Forged => {
            let mut forged = response(certs, &request, &element(0x80, &[]), Some(60));
            *forged.last_mut().expect("not empty") ^= 1;
            forged
        }
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // One that has given up hears nothing.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

/// The body of a POST.
fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut heard = Vec::new();
    loop {
        if let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&heard[..end]).into_owned();
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length?.parse().expect("a number");
            if heard.len() >= end + 4 + length {
                return Some(heard[end + 4..].to_vec());
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => heard.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

/// An OCSPResponse (RFC 6960) to the one question of a request, from now on.
fn response(certs: &Certs, request: &[u8], status: &[u8], lasts: Option<i64>) -> Vec<u8> {
    // OCSPRequest, tbsRequest, requestList, Request, reqCert
    let mut identifier = request;
    for _ in 0..4 {
        identifier = content(identifier).0;
    }
    let (fields, rest) = content(identifier);
    let identifier = &identifier[..identifier.len() - rest.len()];
    // Behind the algorithm and the hash of the name stands the hash of the issuer's key.
    let (_, behind) = content(fields);
    let (_, behind) = content(behind);
    let (key, _) = content(behind);
    let next = lasts.map(|seconds| element(0xa0, &time(now() + seconds)));
    let single = [identifier, status, &time(now()), &next.unwrap_or_default()].concat();
    let data = [
        element(0xa2, &element(0x04, key)),
        time(now()),
        element(0x30, &element(0x30, &single)),
    ];
    let data = element(0x30, &data.concat());
    // ecdsa-with-SHA256
    let algorithm = element(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
    let signature = element(0x03, &[&[0][..], &certs.sign(&data)].concat());
    let basic = element(0x30, &[data, algorithm, signature].concat());
    // id-pkix-ocsp-basic
    let kind = [6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let bytes = element(0x30, &[&kind[..], &element(0x04, &basic)].concat());
    let bytes = element(0xa0, &bytes);
    element(0x30, &[element(0x0a, &[0]), bytes].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let length = match length {
        0..0x80 => vec![length as u8],
        0x80..0x100 => vec![0x81, length as u8],
        _ => vec![0x82, (length >> 8) as u8, length as u8],
    };
    [&[tag], &length[..], content].concat()
}

/// The content of the first element, and what follows it.
fn content(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes[1] {
        short @ 0..=0x7f => bytes[2..].split_at(short.into()),
        0x81 => bytes[3..].split_at(bytes[2].into()),
        _ => bytes[4..].split_at(usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock").as_secs() as i64
}

/// A GeneralizedTime.
fn time(seconds: i64) -> Vec<u8> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Of an era of 400 years that begin with March.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let text = format!(
        "{year:04}{month:02}{day:02}{hour:02}{minute:02}{:02}Z",
        second % 60
    );
    element(0x18, text.as_bytes())
}

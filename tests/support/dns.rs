//! A name server of the test's own: what it says of each name, or that it says nothing. On 127.0.0.1:53, so the test
//! must have a network of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::Plan;
use super::adit::program;

/// What is said of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It has this address, and no other.
    Address(Ipv4Addr),
    /// It has these addresses.
    All(&'static [IpAddr]),
    /// An address has the name `host.example`.
    Host,
    /// There is no such name.
    NoSuchName,
    /// The server cannot find out.
    Failure,
    /// Nothing.
    Nothing,
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    state: Arc<Mutex<State>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    says: BTreeMap<String, Says>,
    asked: BTreeSet<String>,
    over: bool,
}

/// A and PTR (RFC 1035, section 3.2.2), AAAA (RFC 3596).
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

impl NameServer {
    /// Starts it. Of names that it is not told of it says nothing.
    pub fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("a name server's port");
        let timeout = Some(Duration::from_millis(50));
        socket.set_read_timeout(timeout).expect("a read timeout");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while !shared.lock().expect("unpoisoned").over {
                let Ok((length, from)) = socket.recv_from(&mut query) else {
                    continue;
                };
                let mut state = shared.lock().expect("unpoisoned");
                if let Some(answer) = state.answer(&query[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        NameServer {
            state,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("unpoisoned")
    }

    /// From now on it says that of a name.
    pub fn say(&self, name: &str, says: Says) {
        self.state().says.insert(name.to_owned(), says);
    }

    /// Whether it was asked for a name.
    pub fn was_asked_for(&self, name: &str) -> bool {
        self.state().asked.contains(name)
    }

    /// How many of the names that end so it was asked for.
    pub fn count_asked(&self, ending: &str) -> usize {
        let state = self.state();
        state.asked.iter().filter(|it| it.ends_with(ending)).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state().over = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, kind, question) = asked(query)?;
        self.asked.insert(name.clone());
        let says = *self.says.get(&name).unwrap_or(&Says::Nothing);
        let of_an_address = |address: &IpAddr| match address {
            IpAddr::V4(v4) => (A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
        };
        let mut records = match says {
            Says::Nothing => return None,
            Says::Address(address) => vec![of_an_address(&address.into())],
            Says::All(addresses) => addresses.iter().map(of_an_address).collect(),
            Says::Host => vec![(PTR, b"\x04host\x07example\0".to_vec())],
            Says::NoSuchName | Says::Failure => Vec::new(),
        };
        records.retain(|(of, _)| *of == kind);
        let count = u8::try_from(records.len()).expect("few");
        let code: u8 = match says {
            Says::NoSuchName => 3,
            Says::Failure => 2,
            _ => 0,
        };
        let mut answer = query[..2].to_vec();
        // A response, recursion desired and available.
        answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(question);
        for (kind, data) in records {
            // The name is the question's; class IN; nothing is to be kept.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([
                0,
                1,
                0,
                0,
                0,
                0,
                0,
                u8::try_from(data.len()).expect("short"),
            ]);
            answer.extend(data);
        }
        Some(answer)
    }
}

/// The name in a query, its type, and the bytes of the question (RFC 1035, section 4.1.2).
fn asked(query: &[u8]) -> Option<(String, u16, &[u8])> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
    let kind = query.get(at..at + 2)?;
    let kind = u16::from_be_bytes([kind[0], kind[1]]);
    Some((labels.join("."), kind, query.get(12..at + 4)?))
}

/// A program that asks this server alone, and waits so many seconds for each answer; `files` of the plan's folder lie
/// over those of /etc.
pub fn asking(plan: &Plan, program: &std::path::Path, seconds: u32, files: &[&str]) -> PathBuf {
    let folder = plan.folder().display().to_string();
    let text = format!("nameserver 127.0.0.1\noptions timeout:{seconds} attempts:1\n");
    fs::write(plan.folder().join("resolv.conf"), text).expect("writing");
    let mounts: String = [&["resolv.conf"], files]
        .concat()
        .iter()
        .map(|file| format!("mount --bind {folder}/{file} /etc/{file}\n"))
        .collect();
    // Named for the program: a plan asks stunnel for nothing that only adit knows.
    let name = program.file_name().expect("a program").to_string_lossy();
    let wrapper = plan.folder().join(format!("asking-{name}"));
    let text = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -ec '{mounts}exec {} \"$@\"' sh \"$@\"\n",
        program.display()
    );
    fs::write(&wrapper, text).expect("writing");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("chmod");
    wrapper
}

/// [`asking`] of the program under test.
pub fn asking_program(plan: &Plan, seconds: u32) -> PathBuf {
    asking(plan, &program(), seconds, &[])
}

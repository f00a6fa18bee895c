//! Refresh tokens and local passwords stay with the keeper, and logins from memory ask no token server.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::version::TLS13;

use super::{NAME, PASSWORD, Place, request, said};
use crate::require;
use crate::support::certs::Certs;
use crate::support::dialogue::Lines;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Plan, proc, tls};

/// What each refresh token of the double begins with.
const REFRESH: &str = "refresh-token-of-the-double-";

/// A token server that gives a new refresh token for each, and takes the newest alone.
struct Rotating {
    server: Server,
    asked: Arc<AtomicUsize>,
}

impl Rotating {
    fn start(certs: &Certs) -> Rotating {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let config = tls::server_config(&certs.server(), &[&TLS13], None);
        let server = tls::server(config, move |mut stream| {
            let Some(request) = request(&mut stream) else {
                return;
            };
            let text = String::from_utf8_lossy(&request).into_owned();
            let nth = count.load(Ordering::SeqCst);
            let body = if text.contains("scope=") {
                super::DEVICE
                    .rsplit("\r\n")
                    .next()
                    .expect("a body")
                    .to_owned()
            } else if text.contains("device_code=") || text.contains(&format!("{REFRESH}{nth}&")) {
                let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
                format!(
                    r#"{{"access_token":"access-{nth}","expires_in":3600,"refresh_token":"{REFRESH}{nth}"}}"#
                )
            } else {
                r#"{"error":"invalid_grant"}"#.to_owned()
            };
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}");
            tls::end(&mut stream);
        });
        Rotating { server, asked }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.server.address.port())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A server that takes access tokens: as much of IMAP as a login has.
fn imap(certs: &Certs) -> Server {
    let config = tls::server_config(&certs.server(), &[&TLS13], None);
    tls::server(config, |mut stream| {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        let _ = stream.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hello\r\n");
        loop {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => heard.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            while let Some(end) = heard.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = heard.drain(..end + 2).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut words = line.split_whitespace();
                let tag = words.next().unwrap_or_default().to_owned();
                let answer = match words.next() {
                    Some("AUTHENTICATE") => {
                        heard = [format!("{tag} LOGIN").as_bytes(), b"\0", &heard].concat();
                        "+ \r\n".to_owned()
                    }
                    Some("CAPABILITY") => {
                        format!("* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n")
                    }
                    Some(word) if word.starts_with("LOGIN\0") => {
                        format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n")
                    }
                    _ => format!("{tag} OK done\r\n"),
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    })
}

struct World {
    place: Place,
    tokens: Rotating,
    _upstream: Server,
    adit: Adit,
}

impl World {
    /// An account is signed in, and adit serves.
    fn new() -> World {
        let place = Place::new();
        let tokens = Rotating::start(&place.certs);
        let urls = [
            ("--token-url", tokens.url()),
            ("--device-url", tokens.url()),
        ];
        said(&mut place.sign_in("id", &urls), true, &["is signed in"]);
        let upstream = imap(&place.certs);
        let global = fs::read_to_string(place.folder.path().join("adit.conf")).expect("the lines");
        let service = format!(
            "client = yes\naccept = 127.0.0.1:0\nconnect = localhost:{}\nverifyChain = yes\n{}login = oauth2\n\
             loginProtocol = imap\n",
            upstream.address.port(),
            place.certs.ca_line()
        );
        let adit = Plan::new().global(global).service("imap", service).start();
        World {
            place,
            tokens,
            _upstream: upstream,
            adit,
        }
    }

    fn keeper(&self) -> i32 {
        let below = proc::children(self.adit.pid()).into_iter();
        let mut keepers = below.filter(|&pid| proc::title(pid).contains("keeper"));
        keepers.next().expect("a keeper")
    }

    fn log_in(&self, password: &str, answer: &str) {
        let mut imap = Lines(peers::connect(self.adit.address("imap")));
        imap.expect("* OK");
        imap.ask(&format!("a LOGIN {NAME} \"{password}\""), answer);
    }
}

/// Whether a process has it in its memory.
fn has_in_memory(pid: i32, needle: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a living process");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root");
    maps.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields
            .next()
            .and_then(|range| range.split_once('-'))
            .expect("a range");
        let is_writable = fields.next().is_some_and(|how| how.starts_with("rw"));
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (from, to) = (number(from), number(to));
        if !is_writable {
            return false;
        }
        let mut bytes = vec![0; usize::try_from(to - from).expect("a length")];
        memory.read_exact_at(&mut bytes, from).is_ok()
            && memchr::memmem::find(&bytes, needle).is_some()
    })
}

#[test]
fn refresh_tokens_are_in_the_keepers_memory_alone_and_in_no_log() {
    require!(adit);
    require!(root);
    let world = World::new();
    world.log_in(PASSWORD, "a OK");
    world.log_in("a wrong password", "a NO [AUTHENTICATIONFAILED]");
    assert_eq!(world.tokens.asked(), 2);
    let family = proc::family(world.adit.pid());
    assert!(family.len() > 5, "{family:?}");
    let secret = format!("{REFRESH}2");
    for process in &family {
        let title = proc::title(process.pid);
        let is_keeper = title.contains("keeper");
        let has = has_in_memory(process.pid, secret.as_bytes());
        assert_eq!(has, is_keeper, "{title}");
        if is_keeper {
            let user = nix::unistd::User::from_name("daemon")
                .expect("users")
                .expect("daemon");
            let uid = format!("{0}\t{0}\t{0}\t{0}", user.uid);
            assert_eq!(proc::status(process.pid)["Uid"].trim(), uid);
        }
    }
    let keepers = family
        .iter()
        .filter(|one| proc::title(one.pid).contains("keeper"));
    assert_eq!(keepers.count(), 1);
    let log = world.adit.everything_said();
    for secret in [REFRESH, PASSWORD, "a wrong password", "access-2"] {
        assert!(!log.contains(secret), "{log}");
    }
    // What was stored before the token was used opens for the next process.
    world.place.says(&[NAME, "--try"], true, &["gives a token"]);
    assert_eq!(world.tokens.asked(), 3);
}

#[test]
fn a_keeper_that_stands_still_is_replaced_while_a_login_waits_for_it() {
    require!(adit);
    require!(root);
    let world = World::new();
    world.log_in(PASSWORD, "a OK");
    let asked = world.tokens.asked();
    let stopped = world.keeper();
    proc::freeze(stopped);
    world.log_in(PASSWORD, "a OK");
    let line = format!("The keeper (PID {stopped}) is not responding: killing it");
    assert_eq!(world.adit.count_in_log(&line), 1);
    assert_eq!(world.tokens.asked(), asked + 1);
}

#[test]
fn an_account_is_known_without_a_reload_and_its_keeper_comes_back() {
    require!(adit);
    require!(root);
    let world = World::new();
    world.place.says(&["--forget", NAME], true, &[]);
    world.log_in(PASSWORD, "a NO");
    let urls = [
        ("--token-url", world.tokens.url()),
        ("--device-url", world.tokens.url()),
    ];
    said(
        &mut world.place.sign_in("id", &urls),
        true,
        &["is signed in"],
    );
    // 50 programs at once; the token is asked for once.
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| world.log_in(PASSWORD, "a OK"));
        }
    });
    let asked = world.tokens.asked();
    assert_eq!(asked, 3);
    let keeper = world.keeper();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(keeper),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("kill");
    world.log_in(PASSWORD, "a OK");
    assert_eq!(world.tokens.asked(), asked + 1);
}

//! Log lines keep stunnel's format; reopening loses none; a failure is one line.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, dead_address, poll_for, proc, tls, wait_for};

/// `2026.11.24 09:46:10 LOG5[17]: text`
fn has_shape(line: &str) -> bool {
    let shape = "dddd.dd.dd dd:dd:dd LOGd[";
    let start = line.as_bytes().get(..shape.len());
    let fits = start.is_some_and(|start| {
        start
            .iter()
            .zip(shape.bytes())
            .all(|(&byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                other => byte == other,
            })
    });
    let rest = || {
        let (id, text) = line[shape.len()..].split_once("]: ")?;
        let known = ["ui", "cron", "main"].contains(&id) || id.bytes().all(|b| b.is_ascii_digit());
        Some(known && !text.is_empty() && line.as_bytes()[23] <= b'7')
    };
    fits && rest() == Some(true)
}

fn server_mode(certs: &Certs, upstream: &Server) -> String {
    upstream.line() + &certs.server().lines()
}

#[test]
fn every_line_of_the_file_has_stunnels_shape() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(server_mode(&certs, &upstream));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
    adit.connect("test")
        .write_all(b"\x1b[31mgarbage\r\n\0")
        .expect("sending");
    adit.reload(1);
    adit.wait_for_log_times("Service [test] finished (", 2);
    let (_, log) = adit.stop();
    let file = &log[..log.find("--- stdout").expect("the file's part")];
    for line in file.lines() {
        assert!(has_shape(line), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[test]
fn the_terminal_gets_the_lines_too_unless_it_is_to_be_quiet() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    for (how, wanted) in [("yes", true), ("quiet", false)] {
        let adit = Plan::new()
            .global(format!("foreground = {how}"))
            .service("test", server_mode(&certs, &upstream))
            .start();
        let said = fs::read_to_string(adit.plan.folder().join("said")).expect("its output");
        assert_eq!(said.contains("Configuration successful"), wanted, "{said}");
    }
}

#[test]
fn a_connections_life_is_told_in_stunnels_phrases() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(server_mode(&certs, &upstream));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
    tls::end(&mut client);
    peers::read_to_end(&mut client);
    adit.wait_for_log("Service [test] finished (0 left)");
    for (level, phrase) in [
        (7, "Service [test] started"),
        (5, "Service [test] accepted connection from 127.0.0.1:"),
        (6, "TLS accepted: new session negotiated"),
        (6, "TLSv1.3 ciphersuite: TLS_"),
        (6, &format!("s_connect: connecting {}", upstream.address)),
        (5, &format!("s_connect: connected {}", upstream.address)),
        (5, "Service [test] connected remote server from 127.0.0.1:"),
        (
            5,
            "Connection closed: 5 byte(s) sent to TLS, 5 byte(s) sent to socket",
        ),
        (7, "Service [test] finished (0 left)"),
    ] {
        let line = adit.wait_for_log(phrase);
        assert!(line.contains(&format!("LOG{level}[0]: {phrase}")), "{line}");
    }
}

#[test]
fn usr1_reopens_the_file_in_every_process_and_no_line_is_lost() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(server_mode(&certs, &upstream));
    let address = adit.address("test");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let log = adit.plan.folder().join("log");
    let mut total = 0;
    let mut rotated = Vec::new();
    for turn in 0..3 {
        for _ in 0..5 {
            peers::says_and_hears(&mut tls::connect(config.clone(), address), "hello");
            total += 1;
        }
        let old = adit.plan.folder().join(format!("log.{turn}"));
        fs::rename(&log, &old).expect("rotating");
        rotated.push(old);
        adit.signal(Signal::SIGUSR1);
        // In the new file.
        adit.wait_for_log("Log file reopened");
    }
    // Workers write to the new one.
    wait_for("a worker's line in the new file", || {
        peers::says_and_hears(&mut tls::connect(config.clone(), address), "hello");
        total += 1;
        adit.log()
            .contains("accepted connection from")
            .then_some(())
    });
    // No process keeps an old file open, whose disk space would never be freed.
    wait_for("the old files' last holder", || {
        let holds = |pid: i32| rotated.iter().any(|path| proc::has_open(pid, path));
        let family = proc::family(adit.pid());
        (!family.iter().any(|one| holds(one.pid))).then_some(())
    });
    let all = || {
        let read = |path| fs::read_to_string(path).expect("a log file");
        rotated.iter().map(read).collect::<String>() + &adit.log()
    };
    let lines = |phrase: &str| all().lines().filter(|line| line.contains(phrase)).count();
    wait_for("every connection's last line", || {
        (lines("Service [test] finished (") == total).then_some(())
    });
    assert_eq!(lines("Service [test] accepted connection from"), total);
}

#[test]
fn usr1_while_a_reload_loads_reopens_what_was_opened_for_it_too() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(server_mode(&certs, &upstream));
    let roles = proc::roles(adit.pid());
    let resolver = nix::unistd::Pid::from_raw(roles.resolver);
    // A stopped resolver holds the candidate where it is, with its log already open.
    nix::sys::signal::kill(resolver, Signal::SIGSTOP).expect("it runs");
    adit.rewrite(|text| text + "connect = localhost:1\n");
    adit.signal(Signal::SIGHUP);
    wait_for("a candidate", || {
        (proc::children(adit.pid()).len() == 4).then_some(())
    });
    let log = adit.plan.folder().join("log");
    let old = adit.plan.folder().join("log.1");
    fs::rename(&log, &old).expect("rotating");
    adit.signal(Signal::SIGUSR1);
    adit.wait_for_log("Log file reopened");
    nix::sys::signal::kill(resolver, Signal::SIGCONT).expect("it runs");
    adit.wait_for_log("Configuration reloaded");
    wait_for("the old file's last holder", || {
        let family = proc::family(adit.pid());
        let holds = |one: &proc::Process| proc::has_open(one.pid, &old);
        (!family.iter().any(holds)).then_some(())
    });
}

#[test]
fn usr2_lists_the_connections() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(server_mode(&certs, &upstream));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut held: Vec<_> = (0..2)
        .map(|_| tls::connect(config.clone(), adit.address("test")))
        .collect();
    for client in &mut held {
        peers::says_and_hears(client, "hello");
    }
    adit.signal(Signal::SIGUSR2);
    let line = adit.wait_for_log("Listed 2 active connection(s)");
    assert!(line.contains("LOG0["), "{line}");
    for number in 0..2 {
        adit.wait_for_log(&format!("Active connection {number}: Service [test]"));
    }
}

#[test]
fn a_failed_handshake_is_one_line_in_stunnels_words_first() {
    require!(adit);
    let certs = Certs::new();
    let others = Certs::named("somebody else");
    let upstream = tls::echo_server(&others, tls::BOTH);
    let adit = Adit::serve(format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    ));
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log("Service [test] finished (0 left)");
    let log = adit.log();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("LOG3[0]"))
        .collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(
        errors[0].contains("certificate verify failed"),
        "{errors:#?}"
    );
}

#[test]
fn a_level_that_is_not_configured_is_not_written() {
    let certs = Certs::new();
    let dead = dead_address();
    let plan = Plan::new().global("debug = err");
    let accept = crate::support::own_loopback();
    let lines = format!(
        "accept = {accept}:7004\nconnect = {}\n{}debug = 3\n",
        dead.address,
        certs.server().lines()
    );
    let adit = plan.service("test", lines).launch();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let stream = wait_for("its port", || {
        std::net::TcpStream::connect((accept, 7004)).ok()
    });
    if let Ok(mut client) = tls::start_client(config, peers::with_deadline(stream)) {
        let _ = peers::read_until_gone(&mut client);
    }
    adit.wait_for_log("No more addresses to connect");
    let log = adit.log();
    assert!(
        log.lines()
            .all(|line| (0..=3).any(|n| line.contains(&format!("LOG{n}[")))),
        "{log}"
    );
}

#[test]
fn debug_of_a_service_is_its_own() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("debug = 6")
        .service("loud", server_mode(&certs, &upstream) + "debug = 7\n")
        .service("still", server_mode(&certs, &upstream) + "debug = 3\n")
        .start();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for service in ["still", "loud"] {
        let mut client = tls::connect(config.clone(), adit.address(service));
        peers::says_and_hears(&mut client, "hello");
    }
    adit.wait_for_log("Service [loud] finished (");
    assert_eq!(adit.count_in_log("Service [still] accepted"), 0);
}

#[test]
fn log_overwrite_empties_the_file_at_the_start_and_append_does_not() {
    let certs = Certs::new();
    let upstream = Server::echo();
    for (how, kept) in [("append", true), ("overwrite", false)] {
        let plan = Plan::new();
        fs::write(plan.folder().join("log"), "from before\n").expect("writing");
        let adit = plan
            .global(format!("log = {how}"))
            .service("test", server_mode(&certs, &upstream))
            .start();
        assert_eq!(adit.log().contains("from before"), kept, "log = {how}");
    }
}

/// A syslogd, played by the test. Tests with one run one at a time: within a process because of this
/// lock, between processes because of nextest.toml.
static ONE_SYSLOGD: Mutex<()> = Mutex::new(());

struct Syslogd {
    path: PathBuf,
    got: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Syslogd {
    /// A test may play it only where no syslog runs.
    fn start() -> Option<Syslogd> {
        // systemd's package may have left a dangling link.
        let path = fs::read_link("/dev/log").unwrap_or_else(|_| PathBuf::from("/dev/log"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
        let Ok(socket) = UnixDatagram::bind(&path) else {
            crate::support::say_skipped(
                &crate::support::test_name(),
                "a syslog runs on this machine",
            );
            return None;
        };
        let often = Duration::from_millis(20);
        socket.set_read_timeout(Some(often)).expect("a timeout");
        let (got, over) = <(Arc<Mutex<Vec<String>>>, Arc<AtomicBool>)>::default();
        let (lines, stop) = (Arc::clone(&got), Arc::clone(&over));
        // Reads all the time, since its queue is short and other programs on this machine use it too.
        let reader = std::thread::spawn(move || {
            let mut line = [0; 4096];
            while !stop.load(SeqCst) {
                if let Ok(n) = socket.recv(&mut line) {
                    let line = String::from_utf8_lossy(&line[..n]).into_owned();
                    lines.lock().expect("the lines").push(line);
                }
            }
        });
        Some(Syslogd {
            path,
            got,
            over,
            reader: Some(reader),
        })
    }

    /// The first line with the phrase, if it has arrived.
    fn first(&self, phrase: &str) -> Option<String> {
        let got = self.got.lock().expect("the lines");
        got.iter().find(|line| line.contains(phrase)).cloned()
    }

    fn has(&self, phrase: &str) -> bool {
        self.first(phrase).is_some()
    }

    /// The first line with the phrase.
    #[track_caller]
    fn wait_for(&self, phrase: &str) -> String {
        let found = poll_for(crate::support::DEADLINE, || self.first(phrase));
        found.unwrap_or_else(|| panic!("no {phrase:?} in {:#?}", self.got))
    }
}

impl Drop for Syslogd {
    /// The socket is closed when this returns.
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        let _ = self.reader.take().map(std::thread::JoinHandle::join);
        let _ = fs::remove_file(&self.path);
    }
}

/// An adit in a jail that logs to syslog.
struct Jailed {
    adit: Adit,
    certs: Certs,
    _upstream: Server,
}

impl Jailed {
    fn start() -> Jailed {
        let (certs, upstream) = (Certs::new(), Server::echo());
        let plan = Plan::new();
        let jail = plan.folder().join("jail");
        fs::create_dir(&jail).expect("mkdir");
        let jailed = format!(
            "chroot = {}\nsetuid = nobody\nsetgid = nogroup",
            jail.display()
        );
        let adit = plan
            .global(format!("syslog = yes\nworkers = 2\n{jailed}"))
            .service("test", server_mode(&certs, &upstream))
            .start();
        Jailed {
            adit,
            certs,
            _upstream: upstream,
        }
    }

    fn talk(&self) {
        let config = tls::client_config(&self.certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, self.adit.address("test"));
        peers::says_and_hears(&mut client, "hello");
    }

    /// Waits until workers' lines come in, and what was lost before them.
    fn reaches(&self, syslog: &Syslogd) {
        // The message is on its way to the workers.
        wait_for("a worker's line", || {
            self.talk();
            syslog
                .has("]: Service [test] accepted connection")
                .then_some(())
        });
        syslog.wait_for("log line(s) lost");
    }
}

#[test]
fn a_syslogd_that_is_restarted_gets_the_lines_from_within_the_jail_again() {
    require!(root);
    require!(adit);
    let _alone = ONE_SYSLOGD.lock();
    let Some(mut syslog) = Syslogd::start() else {
        return;
    };
    let jailed = Jailed::start();
    jailed.talk();
    syslog.wait_for("[0]: Service [test] accepted connection");
    for restart in 1..=2 {
        drop(syslog);
        // While it is away, nothing is delayed.
        jailed.talk();
        syslog = Syslogd::start().expect("no other process plays it");
        jailed
            .adit
            .wait_for_log_times("syslog: connected again", restart);
        jailed.reaches(&syslog);
    }
}

#[test]
fn a_syslogd_that_comes_late_gets_the_lines_without_a_reload() {
    require!(root);
    require!(adit);
    let _alone = ONE_SYSLOGD.lock();
    // None runs here.
    let Some(syslog) = Syslogd::start() else {
        return;
    };
    drop(syslog);
    let jailed = Jailed::start();
    jailed.adit.wait_for_log("syslog is not used yet");
    jailed.talk();
    let syslog = Syslogd::start().expect("no other process plays it");
    jailed.adit.wait_for_log("syslog: connected");
    jailed.reaches(&syslog);
    assert_eq!(jailed.adit.count_in_log("Configuration reloaded"), 0);
    // Its own losses are told by each process, the supervisor's among them.
    let supervisor = format!("[{}]: ", jailed.adit.pid());
    let told = |line: &String| line.contains(&supervisor) && line.contains("line(s) lost");
    wait_for("the supervisor's losses", || {
        let got = syslog.got.lock().expect("the lines");
        got.iter().any(told).then_some(())
    });
}

#[test]
fn syslog_gets_the_lines_with_the_programs_name() {
    require!(root);
    require!(adit);
    let _alone = ONE_SYSLOGD.lock();
    let Some(syslog) = Syslogd::start() else {
        return;
    };
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("syslog = yes\nservice = mailtunnel\ndebug = local3.7")
        .service("test", server_mode(&certs, &upstream))
        .start();
    syslog.wait_for("Accepting new connections");
    // local3 is 19; notice is 5.
    let line = syslog.wait_for("Configuration successful");
    assert!(line.starts_with("<157>"), "{line}");
    assert!(
        line.contains("mailtunnel[") && line.contains(": LOG5["),
        "{line}"
    );
    drop(adit);
}

#[test]
fn the_signal_that_ends_it_is_named() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    for (signal, name) in [
        (Signal::SIGTERM, "SIGTERM"),
        (Signal::SIGINT, "SIGINT"),
        (Signal::SIGQUIT, "SIGQUIT"),
    ] {
        let mut adit = Adit::serve(server_mode(&certs, &upstream));
        adit.signal(signal);
        assert!(adit.wait_for_exit().success());
        adit.wait_for_log(&format!("Received {name}; terminating"));
        adit.wait_for_log("Terminated");
    }
}

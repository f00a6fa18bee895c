//! docs/differences.md: where adit deliberately differs from stunnel. Each row there names a test of
//! this file or of one below it, which runs both programs and shows the difference.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::adit::program;
use crate::support::dialogue::SMTP;
use crate::support::openssl::{s_client, s_server};
use crate::support::peers::{self, Server};
use crate::support::{
    Adit, Certs, Plan, installed, own_address, own_loopback, proc, tls, wait_for,
};

macro_rules! require_both {
    () => {
        require!(program "stunnel4");
        require!(program "openssl");
        require!(adit);
    };
}

mod admission;
mod dialogues;
mod limits;
mod logs;
mod names;
mod programs;
mod psk;
mod resolving;
mod security;
mod sending;
mod signatures;
mod transparent;

fn stunnel() -> PathBuf {
    installed("stunnel4").expect("asked for before")
}

fn is_adit(path: &Path) -> bool {
    path == program()
}

/// The observations of stunnel and of adit.
fn both<T>(observe: impl Fn(&Path) -> T) -> [T; 2] {
    [stunnel(), program()].map(|path| observe(&path))
}

fn client_mode(path: &Path, upstream: &Server, more: &str) -> Adit {
    Plan::new()
        .program(path)
        .service("test", format!("client = yes\n{}{more}", upstream.line()))
        .start()
}

fn server_mode(path: &Path, certs: &Certs, upstream: &Server) -> Adit {
    server_plan(path, certs, upstream).start()
}

fn server_plan(path: &Path, certs: &Certs, upstream: &Server) -> Plan {
    let lines = upstream.line() + &certs.server().lines();
    Plan::new().program(path).service("test", lines)
}

/// What a client receives until the connection ends, and how it ends.
fn heard(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let end = match stream.read_to_end(&mut heard) {
        Ok(_) => "end",
        Err(_) => "reset",
    };
    String::from_utf8_lossy(&heard).into_owned() + end
}

#[test]
fn an_address_is_not_sent_as_a_server_name() {
    require_both!();
    let certs = Certs::new();
    let sent = both(|path| {
        let (tool, address) = s_server(&certs.server(), &["-tlsextdebug"]);
        let adit = Plan::new()
            .program(path)
            .service("test", format!("client = yes\nconnect = {address}\n"))
            .start();
        let _client = adit.connect("test");
        let hello = tool.wait_for("\"session ticket\"");
        hello.contains("\"server name\"")
    });
    assert_eq!(sent, [true, false]);
}

/// socat sends an IPv6 address with its brackets.
#[test]
fn a_server_name_that_is_no_host_name_is_refused() {
    require_both!();
    let (certs, upstream) = (Certs::new(), Server::echo());
    let refused = both(|path| {
        let adit = server_mode(path, &certs, &upstream);
        let said = s_client(adit.address("test"), &["-servername", "[::1]"], "");
        let refused = said.contains("alert illegal parameter");
        if refused {
            adit.wait_for_log("invalid server name: the client's fault");
        }
        refused
    });
    assert_eq!(refused, [false, true]);
}

#[test]
fn a_reset_behind_is_a_reset_in_front() {
    require_both!();
    let certs = Certs::new();
    let heard = both(|path| {
        let upstream = Server::start(|mut stream| {
            let mut byte = [0];
            let _ = stream.read_exact(&mut byte);
            peers::reset(stream);
        });
        let adit = server_mode(path, &certs, &upstream);
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, adit.address("test"));
        client.write_all(b"x").expect("sending");
        match peers::read_until_gone(&mut client.sock) {
            Ok(_) => "end",
            Err(_) => "reset",
        }
    });
    assert_eq!(heard, ["end", "reset"]);
}

#[test]
fn an_answer_that_comes_after_the_question_has_ended_is_not_cut() {
    require_both!();
    let certs = Certs::new();
    let heard = both(|path| {
        let (go, told) = std::sync::mpsc::channel();
        let told = std::sync::Mutex::new(told);
        let config = tls::server_config(&certs.server(), tls::BOTH, None);
        let upstream = tls::server(config, move |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
            let _ = told.lock().expect("no panic").recv();
            let _ = stream.write_all(b"answer, ");
            tls::end(&mut stream);
        });
        let adit = client_mode(path, &upstream, "TIMEOUTclose = 0\n");
        let mut client = adit.connect("test");
        client.write_all(b"question").expect("sending");
        client.shutdown(Shutdown::Write).expect("its half");
        adit.wait_for_log(match is_adit(path) {
            true => "Read socket closed (readsocket)",
            false => "TIMEOUTclose exceeded: closing",
        });
        go.send(()).expect("its server");
        heard(&mut client)
    });
    assert_eq!(heard, ["end", "answer, end"]);
}

/// As `shutdown` of sockets does in Erlang, Perl and PHP, also of those that speak TLS.
#[test]
fn a_half_that_ends_without_close_notify_is_answered() {
    require_both!();
    let certs = Certs::new();
    let heard = both(|path| {
        let upstream = Server::start(|mut stream| {
            let mut question = [0; 8];
            let _ = stream.read_exact(&mut question);
            let _ = stream.write_all(b"heard, ");
            let _ = stream.read_to_end(&mut Vec::new());
            let _ = stream.write_all(b"answer");
        });
        let adit = server_mode(path, &certs, &upstream);
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, adit.address("test"));
        client.write_all(b"question").expect("sending");
        // stunnel answers where the end comes along with the last words.
        let mut first = [0; 7];
        client.read_exact(&mut first).expect("that it was heard");
        client.sock.shutdown(Shutdown::Write).expect("its half");
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    });
    assert_eq!(heard, ["", "answer"]);
}

#[test]
fn a_greeting_that_refuses_ends_without_a_reset() {
    require_both!();
    for greeting in ["554 5.7.1 you are on a list\r\n", "421 4.3.2 too busy\r\n"] {
        let heard = both(|path| {
            let upstream = Server::greeting(greeting);
            let adit = client_mode(path, &upstream, "protocol = smtp\n");
            let heard = heard(&mut adit.connect("test"));
            adit.wait_for_log("Service [test] finished");
            (heard, adit.log().contains("Unknown server welcome"))
        });
        // A reset may take the server's words away before the program has read them.
        let expected = [("reset", false), ("end", true)];
        let expected = expected.map(|(end, said)| (format!("{greeting}{end}"), said));
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_refused_starttls_is_told_to_the_mail_program() {
    require_both!();
    let heard = both(|path| {
        let upstream = SMTP.refusing("454 4.7.0 not today\r\n".to_owned());
        let adit = client_mode(path, &upstream, "protocol = smtp\n");
        heard(&mut adit.connect("test"))
    });
    let [theirs, ours] = heard;
    assert!(
        theirs.ends_with("\r\nreset") && !theirs.contains("421"),
        "{theirs}"
    );
    assert!(
        ours.ends_with("421 4.3.2 adit: Server does not support TLS\r\nend"),
        "{ours}"
    );
}

/// Lets the user `nobody` write the log, which stunnel opens as that user.
fn log_of_nobody(file: &Path) {
    fs::write(file, "").expect("writing");
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("chmod");
}

fn as_nobody(plan: Plan) -> Plan {
    plan.global("setuid = nobody\nsetgid = nogroup")
}

/// In a jail, too, with a folder for stunnel's log, which it opens inside.
fn jailed(plan: Plan) -> Plan {
    let jail = plan.folder().join("jail");
    let inside = jail.join(plan.folder().strip_prefix("/").expect("absolute"));
    fs::create_dir_all(&inside).expect("mkdir");
    let log = inside.join("log");
    log_of_nobody(&log);
    symlink(log, plan.folder().join("log")).expect("a link");
    let line = format!("chroot = {}", jail.display());
    as_nobody(plan.global(line))
}

/// Whether SIGHUP puts the file into force.
fn reloads(adit: &Adit) -> bool {
    let before = adit.log().len();
    adit.signal(Signal::SIGHUP);
    wait_for("the outcome of a reload", || {
        let log = &adit.log()[before..];
        match log.contains("Configuration successful") {
            // Its listeners come after that.
            true => log.contains("bound to").then_some(true),
            false => log.contains("Failed to reload").then_some(false),
        }
    })
}

#[test]
fn a_reload_reads_a_key_that_only_root_may_read() {
    require!(root);
    require_both!();
    let seen = both(|path| {
        let certs = Certs::new();
        let plan = as_nobody(Plan::new()).program(path);
        log_of_nobody(&plan.folder().join("log"));
        let lines = Server::echo().line() + &certs.server().lines();
        let adit = plan.service("test", lines).start();
        reloads(&adit)
    });
    assert_eq!(seen, [false, true]);
}

#[test]
fn a_reload_binds_a_port_below_1024() {
    require!(root);
    require_both!();
    let seen = both(|path| {
        let plan = as_nobody(Plan::new()).program(path);
        log_of_nobody(&plan.folder().join("log"));
        let adit = plan
            .service("test", "client = yes\nconnect = 127.0.0.1:9\n")
            .start();
        // The tests of the mail servers use other addresses.
        let (address, port) = (own_loopback(), 587);
        let new =
            format!("[new]\nclient = yes\naccept = {address}:{port}\nconnect = 127.0.0.1:9\n");
        adit.rewrite(|text| text + &new);
        adit.signal(Signal::SIGHUP);
        wait_for("the outcome of a reload", || {
            let log = adit.log();
            let outcomes = ["Service [new] closed", "Configuration reloaded"];
            let outcome = outcomes.iter().any(|outcome| log.contains(outcome));
            outcome.then_some(())
        });
        [adit.address("test"), (address, port).into()].map(|at| TcpStream::connect(at).is_ok())
    });
    assert_eq!(seen, [[false, false], [true, true]]);
}

#[test]
fn a_reload_finds_the_configuration_outside_the_jail() {
    require!(root);
    require_both!();
    let seen = both(|path| {
        let plan = jailed(Plan::new()).program(path);
        let adit = plan
            .service("test", "client = yes\nconnect = 127.0.0.1:9\n")
            .start();
        reloads(&adit)
    });
    assert_eq!(seen, [false, true]);
}

#[test]
fn names_are_resolved_outside_the_jail() {
    require!(root);
    require_both!();
    let heard = both(|path| {
        let certs = Certs::new();
        let upstream = tls::server(
            tls::server_config(&certs.server(), tls::BOTH, None),
            |mut stream| {
                let _ = stream.write_all(b"hello\n");
                tls::end(&mut stream);
            },
        );
        let port = upstream.address.port();
        let adit = jailed(Plan::new())
            .program(path)
            .service(
                "test",
                format!("client = yes\nconnect = localhost:{port}\ndelay = yes\n"),
            )
            .start();
        heard(&mut adit.connect("test"))
    });
    assert_eq!(heard, ["reset", "hello\nend"]);
}

#[test]
fn the_log_file_is_opened_by_root() {
    require!(root);
    require_both!();
    let seen = both(|path| {
        // The folder is root's, like /var/log.
        let adit = as_nobody(Plan::new())
            .program(path)
            .service("test", "client = yes\nconnect = 127.0.0.1:9\n")
            .launch();
        wait_for("its start or its end", || {
            let said = adit.everything_said();
            let failed = said.contains("Cannot open log file");
            let serves = said.contains("Accepting new connections");
            (failed || serves).then_some(serves)
        })
    });
    assert_eq!(seen, [false, true]);
}

#[test]
fn a_session_is_resumed_after_a_reload() {
    require_both!();
    let certs = Certs::new();
    let resumed = both(|path| {
        let upstream = Server::greeting("hello\n");
        let adit = server_mode(path, &certs, &upstream);
        let session = adit.plan.folder().join("session");
        let session = session.to_str().expect("a path in UTF-8");
        let connect = |how: &str| {
            let arguments = ["-tls1_3", how, session, "-ign_eof"];
            s_client(adit.address("test"), &arguments, "")
        };
        connect("-sess_out");
        adit.reload(1);
        connect("-sess_in").contains("Reused, TLSv1.3")
    });
    assert_eq!(resumed, [false, true]);
}

#[test]
fn a_process_that_dies_takes_only_its_own_connections() {
    require_both!();
    let certs = Certs::new();
    let seen = both(|path| {
        let upstream = Server::echo();
        let plan = Plan::new().program(path);
        let plan = match is_adit(path) {
            true => plan.global("workers = 2"),
            false => plan,
        };
        let lines = upstream.line() + &certs.server().lines();
        let adit = plan.service("test", lines).start();
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut clients = [(); 2].map(|()| {
            let mut client = tls::connect(config.clone(), adit.address("test"));
            peers::says_and_hears(&mut client, "hello");
            client
        });
        let victim = match is_adit(path) {
            true => proc::roles(adit.pid()).workers[0],
            false => adit.pid(),
        };
        kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it runs");
        let alive = clients.iter_mut().filter_map(|client| {
            client.write_all(b"hello").ok()?;
            client.flush().ok()?;
            client.read_exact(&mut [0; 5]).ok()
        });
        (
            alive.count(),
            TcpStream::connect(adit.address("test")).is_ok(),
        )
    });
    assert_eq!(seen, [(0, false), (1, true)]);
}

#[test]
fn every_error_of_a_file_is_told_in_one_run() {
    require_both!();
    let told = both(|path| {
        let lines = "client = yes\nconnect = 127.0.0.1:9\nnonsense = 1\nTIMEOUTidle = soon\n";
        let outcome = Plan::new().program(path).service("test", lines).run();
        ["nonsense", "soon"].map(|word| outcome.said.contains(word))
    });
    assert_eq!(told, [[true, false], [true, true]]);
}

/// Whether a service with these lines starts.
fn starts(path: &Path, lines: &str) -> bool {
    let adit = Plan::new().program(path).service("test", lines).launch();
    wait_for("the verdict on the configuration", || {
        let said = adit.everything_said();
        match said.contains("Configuration failed") {
            true => Some(false),
            false => said.contains("Configuration successful").then_some(true),
        }
    })
}

#[test]
fn a_destination_without_a_port_is_an_error_of_the_start() {
    require_both!();
    let lines = "client = yes\nconnect = mail.example.com\n";
    assert_eq!(both(|path| starts(path, lines)), [true, false]);
}

#[test]
fn sections_of_one_name_are_numbered() {
    require_both!();
    let numbered = both(|path| {
        let lines = "client = yes\nconnect = 127.0.0.1:9\n";
        let plan = Plan::new().program(path).service("test", lines);
        let adit = plan.service("test", lines).start();
        adit.log().contains("Service [test#2]")
    });
    assert_eq!(numbered, [false, true]);
}

#[test]
fn each_row_of_the_document_names_a_test_and_each_test_has_a_row() {
    let document = include_str!("../docs/differences.md");
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let mut named: Vec<&str> = rows.filter_map(|row| row.rsplit('`').nth(1)).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differences");
    let entries = fs::read_dir(folder).expect("the folder of the tests");
    let files: Vec<String> = entries
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("UTF-8"))
        .chain([include_str!("differences.rs").to_owned()])
        .collect();
    let mut tests: Vec<&str> = files
        .iter()
        .flat_map(|file| file.split("#[test]\nfn ").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .filter(|name| !name.starts_with("each_row_of_the_document"))
        .collect();
    named.sort_unstable();
    tests.sort_unstable();
    assert_eq!(named, tests);
}

#[test]
fn a_socks_client_is_told_when_its_connection_is_refused() {
    require_both!();
    let own = own_address();
    require!(
        own.is_some(),
        "this machine has an address on loopback alone"
    );
    let ip = own.expect("required");
    let certs = Certs::new();
    let replies = both(|path| {
        // Both refuse to connect to loopback.
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let lines = format!("protocol = socks\n{}", certs.server().lines());
        let adit = Plan::new().program(path).service("test", lines).start();
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, adit.address("test"));
        client.write_all(b"\x05\x01\x00").expect("sending");
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("an answer");
        let mut request = vec![5, 1, 0, 1];
        request.extend(ip.octets());
        request.extend(port.to_be_bytes());
        client.write_all(&request).expect("sending");
        let mut reply = [0; 2];
        client.read_exact(&mut reply).expect("a reply");
        reply
    });
    assert_eq!(replies, [[5, 0], [5, 5]]);
}

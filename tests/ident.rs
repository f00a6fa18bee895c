//! `ident`: a client is let in if its machine says that the connection belongs to the right user (RFC 1413). Each
//! test has its own network namespace, for an identd on port 113.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sched::{CloneFlags, unshare};

use crate::accept_proxy::LOCAL;
use crate::require;
use crate::support::adit::program;
use crate::support::network::shell;
use crate::support::openssl::s_client;
use crate::support::peers::{self, Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, apart, installed, tls, wait_for};

macro_rules! require_own_network {
    () => {
        require!(root);
        require!(installed("ip").is_some(), "ip is not installed");
        // Of this thread, and of the processes it starts.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success());
    };
}

const IDENTD: &str = "127.0.0.1:113";

/// An identd that answers as it is told; `P` in an answer is what it was asked about.
struct Identd {
    answer: Arc<Mutex<&'static str>>,
    _server: Server,
}

impl Identd {
    fn start() -> Identd {
        Identd::start_at(IDENTD)
    }

    fn start_at(address: &str) -> Identd {
        let answer = Arc::new(Mutex::new(""));
        let told = Arc::clone(&answer);
        let listener = TcpListener::bind(address).expect("port 113");
        let server = Server::on(listener, move |mut stream| {
            let mut question = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("dup"));
            let _ = reader.read_line(&mut question);
            let answer = told.lock().expect("a lock").replace('P', question.trim());
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                // Until the other side has had enough.
                let _ = reader.read_line(&mut question);
            }
        });
        Identd {
            answer,
            _server: server,
        }
    }

    fn says(&self, answer: &'static str) {
        *self.answer.lock().expect("a lock") = answer;
    }
}

fn start(program: &Path, certs: &Certs, echo: &Server, lines: &str) -> Adit {
    let (connect, ca) = (echo.line(), certs.ca_line());
    let service = format!("client = yes\n{connect}{ca}verifyChain = yes\n{lines}");
    let plan = Plan::new().program(program).global("pid =");
    plan.service("test", service).start()
}

#[track_caller]
fn is_let_in(adit: &Adit) {
    says_and_hears(&mut adit.connect("test"), "let in");
}

/// Fails unless it is sent away without a byte, and the log says so once more.
#[track_caller]
fn is_refused(adit: &Adit, phrase: &str) {
    let before = adit.count_in_log(phrase);
    let mut byte = [0];
    let read = adit.connect("test").read(&mut byte);
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    adit.wait_for_log_times(phrase, before + 1);
}

#[test]
fn the_user_that_an_identd_names_decides_as_with_stunnel() {
    require_own_network!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let identd = Identd::start();
    let programs = [Some(program()), installed("stunnel4")];
    for program in programs.into_iter().flatten() {
        let adit = start(&program, &certs, &echo, "ident = mail\n");
        for answer in ["P : USERID : UNIX : mail\r\n", "P : USERID : OTHER :mail\n"] {
            identd.says(answer);
            is_let_in(&adit);
        }
        adit.wait_for_log_times("IDENT authentication passed", 2);
        for (answer, phrase) in [
            (
                "P : USERID : UNIX : root\r\n",
                "REFUSED by IDENT (user \"root\")",
            ),
            (
                "P : USERID : UNIX : Mail\r\n",
                "REFUSED by IDENT (user \"Mail\")",
            ),
            ("P : ERROR : NO-USER\r\n", "Incorrect IDENT response type"),
            ("nonsense\r\n", "Malformed IDENT response"),
            ("P : USERID : UNIX\r\n", "Malformed IDENT response"),
        ] {
            identd.says(answer);
            is_refused(&adit, phrase);
        }
        let log = adit.log();
        let line = log.lines().find(|line| line.contains("REFUSED by IDENT"));
        let line = line.expect("the line");
        assert!(
            line.contains("LOG4[") && line.contains("Connection from 127.0.0.1:"),
            "{line}"
        );
        assert_eq!(adit.count_in_log("accepted connection"), 2, "{log}");
    }
}

#[test]
fn an_identd_that_cannot_be_asked_refuses_and_the_line_says_why() {
    require!(adit);
    require_own_network!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&program(), &certs, &echo, "ident = mail\nTIMEOUTbusy = 1\n");
    is_refused(&adit, "IDENT: 127.0.0.1:113: Connection refused (111)");
    let identd = Identd::start();
    is_refused(&adit, "IDENT: 127.0.0.1:113: TIMEOUTbusy exceeded");
    // More than any answer has.
    identd.says(Box::leak("x".repeat(4096).into_boxed_str()));
    is_refused(&adit, "Malformed IDENT response: it has no end");
    // An answer about another connection.
    identd.says("1 , 2 : USERID : UNIX : mail\r\n");
    is_refused(&adit, "Malformed IDENT response");
    // What a stranger says does not write to the log as it likes.
    identd.says("P : USERID : UNIX : \x1b[2J\r\n");
    is_refused(&adit, "REFUSED by IDENT (user \"\\u{1b}[2J\")");
    identd.says("P : USERID : UNIX : mail\r\n");
    is_let_in(&adit);
}

#[test]
fn in_server_mode_it_is_asked_before_tls() {
    require!(program "openssl");
    require!(adit);
    require_own_network!();
    let certs = Certs::new();
    let server = Server::greeting("let in\n");
    let identd = Identd::start();
    let lines = format!("{}{}ident = mail\n", server.line(), certs.server().lines());
    let adit = Plan::new().service("test", lines).start();
    let asks = || s_client(adit.address("test"), &["-ign_eof"], "");
    identd.says("P : USERID : UNIX : mail\r\n");
    assert!(asks().contains("let in"));
    identd.says("P : USERID : UNIX : root\r\n");
    let said = asks();
    assert!(
        !said.contains("BEGIN CERTIFICATE") && !said.contains("let in"),
        "{said}"
    );
    adit.wait_for_log("REFUSED by IDENT (user \"root\")");
}

#[test]
fn a_balancers_own_connection_is_the_users_of_its_machine() {
    require!(adit);
    require_own_network!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let identd = Identd::start();
    let lines = "ident = mail\nacceptProxy = 127.0.0.1\n";
    let adit = start(&program(), &certs, &echo, lines);
    let connect = || {
        let mut balancer = adit.connect("test");
        balancer.write_all(LOCAL).expect("a header");
        balancer
    };
    identd.says("P : USERID : UNIX : mail\r\n");
    says_and_hears(&mut connect(), "let in");
    adit.wait_for_log("Service [test] accepted connection from 127.0.0.1:");
    identd.says("P : USERID : UNIX : root\r\n");
    let mut refused = connect();
    refused.write_all(b"x").expect("a word");
    assert!(!matches!(refused.read(&mut [0]), Ok(1..)));
    adit.wait_for_log("REFUSED by IDENT (user \"root\")");
}

/// Neither the client's address nor ours is one without its interface.
#[test]
fn an_identd_at_a_link_local_address_is_asked_by_its_interface() {
    require!(adit);
    require_own_network!();
    shell(
        "ip link add near type veth peer name far
         ip link set near up
         ip link set far up
         ip address add fe80::2/64 dev near nodad",
    );
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let identd = Identd::start_at("[::]:113");
    let plan = "accept = :::0\nident = mail\n";
    let adit = start(&program(), &certs, &echo, plan);
    let scope = nix::net::if_::if_nametoindex("near").expect("its number");
    let port = adit.address("test").port();
    let host = "fe80::2".parse().expect("an address");
    identd.says("P : USERID : UNIX : mail\r\n");
    let address = SocketAddrV6::new(host, port, 0, scope).into();
    says_and_hears(&mut peers::connect(address), "let in");
}

struct Oidentd(Child);

impl Drop for Oidentd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn debians_oidentd_names_the_user() {
    require!(adit);
    let oidentd = apart::program("oidentd");
    require!(
        oidentd.is_some(),
        "oidentd is not unpacked; tests/run does it"
    );
    require_own_network!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let child = Command::new(oidentd.expect("asked for before"))
        .args(["--foreground", "--nosyslog", "--address", "127.0.0.1"])
        .args(["--user", "nobody", "--group", "nogroup"])
        // It does not start without the file of its package, which is not unpacked over /etc.
        .args(["--config", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _oidentd = Oidentd(child.expect("starting it"));
    wait_for("oidentd", || TcpStream::connect(IDENTD).ok());
    let adit = start(&program(), &certs, &echo, "ident = root\n");
    is_let_in(&adit);
    adit.rewrite(|text| text.replace("ident = root", "ident = nobody"));
    adit.reload(1);
    is_refused(&adit, "REFUSED by IDENT (user \"root\")");
}

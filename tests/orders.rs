//! `adit connections` tells what is open, `adit cut` ends one of it, `adit drain` closes a service's addresses until that is
//! undone: for root and the user who started adit alone.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::require;
use crate::support::adit::program;
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, own_loopback, proc, tls, wait_for};
use crate::upgrade::next_version;

fn plan() -> Plan {
    let plan = Plan::new();
    let line = format!("control = {}", plan.folder().join("control").display());
    plan.global(line).global("workers = 2")
}

fn command(adit: &Adit, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words).arg("--control");
    command.arg(adit.plan.folder().join("control"));
    command
}

fn order(adit: &Adit, words: &[&str]) -> Output {
    command(adit, words).output().expect("running adit")
}

#[track_caller]
fn obeyed(adit: &Adit, words: &[&str]) -> String {
    let output = order(adit, words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn refused(adit: &Adit, words: &[&str], why: &str) {
    let output = order(adit, words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
    assert!(said.contains(why), "{words:?}: {said}");
}

/// What is listed, by client.
fn listed(adit: &Adit, client: &str) -> Option<Value> {
    let list: Value =
        serde_json::from_str(&obeyed(adit, &["connections", "--json"])).expect("JSON");
    assert_eq!(list["complete"], true, "{list}");
    let mut all = list["connections"].as_array()?.iter();
    all.find(|one| one["peer"] == client).cloned()
}

fn own_address(stream: &TcpStream) -> String {
    stream.local_addr().expect("an address").to_string()
}

#[test]
fn open_connections_are_listed_and_the_one_that_is_named_is_cut() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let server = upstream.line() + &certs.server().lines();
    let adit = plan()
        .service("tls", &server)
        .service("named", format!("logId = unique\n{server}"))
        .start();
    // A client that says nothing, one of OpenSSL's, and another of the same service.
    let silent = adit.connect("tls");
    let address = adit.address("tls").to_string();
    let mut clients = ["tls", "named"].map(|service| {
        let address = adit.address(service).to_string();
        let mut client =
            Tool::start(Command::new("openssl").args(["s_client", "-quiet", "-connect", &address]));
        std::io::Write::write_all(client.input(), b"ten bytes.\n").expect("typing");
        client
    });
    for client in &clients {
        client.wait_for("ten bytes.");
    }

    let waits = wait_for("the silent client", || listed(&adit, &own_address(&silent)));
    assert_eq!(waits["state"], "handshake", "{waits}");
    assert!(waits["upstream"].is_null(), "{waits}");
    let list: Value =
        serde_json::from_str(&obeyed(&adit, &["connections", "--json"])).expect("JSON");
    let all = list["connections"].as_array().expect("connections").clone();
    let open = |service: &str| {
        let mut all = all.iter();
        let found = all.find(|one| one["service"] == service && one["state"] == "open");
        found.expect(service).clone()
    };
    let (tls, named) = (open("tls"), open("named"));
    for one in [&tls, &named] {
        assert_eq!(one["bytes_to_back"], 11, "{one}");
        assert_eq!(one["bytes_to_front"], 11, "{one}");
        let behind = one["upstream"].as_str().expect("an upstream");
        assert!(
            upstream
                .line()
                .contains(behind.rsplit(':').next().expect("a port"))
        );
    }
    // The numbers are the log's.
    let number = tls["number"].to_string();
    let peer = tls["peer"].as_str().expect("an address");
    let line = adit.wait_for_log(&format!("accepted connection from {peer}"));
    assert!(line.contains(&format!("[{number}]")), "{line}");
    let log_id = named["log_id"].as_str().expect("an identifier").to_owned();
    assert!(tls["log_id"].is_null());
    let text = obeyed(&adit, &["connections"]);
    assert!(text.contains(peer) && text.contains(&log_id), "{text}");

    let said = obeyed(&adit, &["cut", &number]);
    assert_eq!(
        said.trim(),
        format!(
            "Cut connection {number} of [tls], from {peer} to {}",
            tls["upstream"].as_str().unwrap_or("-")
        )
    );
    clients[0].succeeds();
    let line = adit.wait_for_log("Connection cut by `adit cut`");
    assert!(line.contains(&format!("[{number}]")), "{line}");
    refused(&adit, &["cut", &number], "there is no open connection");
    refused(
        &adit,
        &["cut", "nonsense"],
        "there is no open connection nonsense",
    );
    // The others went on, and by its name in the log the next one goes.
    std::io::Write::write_all(clients[1].input(), b"more.\n").expect("typing");
    clients[1].wait_for("more.");
    obeyed(&adit, &["cut", &log_id]);
    clients[1].succeeds();
    assert!(listed(&adit, &own_address(&silent)).is_some(), "{address}");
}

fn connects(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn drained(adit: &Adit) -> Option<bool> {
    let status = adit.status();
    let mut generations = status["generations"].as_array()?.iter();
    let serving = generations.find(|generation| generation["state"] == "serving")?;
    let mut services = serving["services"].as_array()?.iter();
    services.find(|s| s["name"] == "drained")?["drained"].as_bool()
}

#[test]
fn a_drained_service_takes_no_client_until_that_is_undone_whatever_happens_meanwhile() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plain = format!("client = yes\n{}", upstream.line());
    let plan = plan();
    let path = plan.folder().join("adit");
    std::fs::copy(program(), &path).expect("copy");
    let address = SocketAddr::from((own_loopback(), 4025));
    let socket = plan.folder().join("socket");
    let adit = plan
        .program(&path)
        .service("drained", format!("accept = {address}\n{plain}"))
        .service("other", &plain)
        .service("unix", format!("accept = {}\n{plain}", socket.display()))
        .start();
    // A Unix socket goes, and comes back.
    peers::says_and_hears(
        &mut UnixStream::connect(&socket).expect("connecting"),
        "ten bytes.",
    );
    obeyed(&adit, &["drain", "unix"]);
    assert!(!socket.exists());
    obeyed(&adit, &["drain", "--undo", "unix"]);
    peers::says_and_hears(
        &mut UnixStream::connect(&socket).expect("connecting"),
        "ten bytes.",
    );
    let mut open = peers::connect(address);
    peers::says_and_hears(&mut open, "ten bytes.");

    let said = obeyed(&adit, &["drain", "drained"]);
    assert_eq!(said, "1 connection(s) of [drained] are left\n");
    assert_eq!(drained(&adit), Some(true));
    let is_refused = |when: &str| {
        wait_for(when, || (!connects(address)).then_some(()));
        peers::says_and_hears(&mut adit.connect("other"), "ten bytes.");
    };
    is_refused("a refusal at once");
    refused(&adit, &["drain", "drained"], "is drained already");
    refused(
        &adit,
        &["drain", "none"],
        "has no service [none] (it has [drained], [other], [unix])",
    );
    refused(&adit, &["drain", "--undo", "other"], "is not drained");

    adit.reload(1);
    is_refused("a refusal after a reload");
    let master = proc::roles(adit.pid()).master;
    kill(Pid::from_raw(master), Signal::SIGKILL).expect("kill");
    adit.wait_for_log("in place of the dead one");
    is_refused("a refusal after a death");
    next_version(&path);
    adit.reload(1);
    adit.wait_for_log("has taken over");
    is_refused("a refusal after an upgrade");
    assert_eq!(drained(&adit), Some(true));
    // What was open goes on through all of it.
    peers::says_and_hears(&mut open, "ten bytes.");

    obeyed(&adit, &["drain", "--undo", "drained"]);
    peers::says_and_hears(&mut peers::connect(address), "ten bytes.");
    assert_eq!(drained(&adit), Some(false));
    // Once more, with the master that was given it anew.
    let said = obeyed(&adit, &["drain", "drained"]);
    // What older generations have counts.
    assert!(!said.starts_with("0 "), "{said}");
    is_refused("a refusal the second time");
    obeyed(&adit, &["drain", "--undo", "drained"]);
    assert!(connects(address));
}

#[test]
fn who_is_let_at_the_socket_may_ask_and_not_order_and_asking_wakes_no_worker() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = plan()
        .service("echo", format!("client = yes\n{}", upstream.line()))
        .start();
    let mut client = adit.connect("echo");
    peers::says_and_hears(&mut client, "ten bytes.");
    let socket = adit.plan.folder().join("control");
    for folder in [adit.plan.folder(), &socket] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    }
    let stranger = |words: &[&str]| {
        let mut command = command(&adit, words);
        command
            .uid(65534)
            .gid(65534)
            .output()
            .expect("running adit")
    };
    assert!(stranger(&["status"]).status.success());
    for words in [&["connections"][..], &["cut", "1"], &["drain", "echo"]] {
        let output = stranger(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(
            said.contains("only root and the user who started adit"),
            "{said}"
        );
    }
    peers::says_and_hears(&mut client, "ten bytes.");
    // What is on the way of that is over when the worker sleeps for good.
    let workers = proc::roles(adit.pid()).workers;
    let sleeps = || {
        workers
            .iter()
            .map(|worker| proc::sleeps(*worker))
            .sum::<u64>()
    };
    let mut before = sleeps();
    wait_for("workers that sleep through a question", || {
        order(&adit, &["status"]);
        let now = sleeps();
        let slept = now == before;
        before = now;
        slept.then_some(())
    });
    let mut byte = [0];
    client.set_nonblocking(true).expect("fcntl");
    let error = client.read(&mut byte).expect_err("nothing comes");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it is open");
}

#[test]
fn a_worker_that_stands_still_is_named_and_what_others_tell_counts() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = plan()
        .service("echo", format!("client = yes\n{}", upstream.line()))
        .start();
    // Where sessions may be resumed the second one goes to the first worker still.
    let mut clients = [0, 1, 2].map(|_| {
        let mut client = adit.connect("echo");
        peers::says_and_hears(&mut client, "ten bytes.");
        client
    });
    let number = |client: &TcpStream| {
        let found = wait_for("the connection", || listed(&adit, &own_address(client)));
        found["number"].as_u64().expect("a number").to_string()
    };
    let numbers = [number(&clients[0]), number(&clients[2])];
    let still = proc::roles(adit.pid()).workers[0];
    proc::freeze(still);
    let mut asking = command(&adit, &["connections", "--json"]);
    let asking = asking.stdout(std::process::Stdio::piped()).spawn();
    // One of these is the other worker's, and cut at once; the other one's answer is awaited.
    let mut cutting = numbers.each_ref().map(|number| {
        let mut cut = command(&adit, &["cut", number]);
        let cut = cut
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null());
        Some(cut.spawn().expect("running adit"))
    });
    let list = asking
        .expect("running adit")
        .wait_with_output()
        .expect("a list");
    assert_eq!(list.status.code(), Some(3));
    let list: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(list["complete"], false, "{list}");
    let unanswered = list["unanswered"].as_array().expect("a list");
    assert_eq!(unanswered.len(), 1, "{list}");
    assert_eq!(unanswered[0]["pid"], still, "{list}");
    let ended = [0, 1].map(|at| {
        let cut: std::process::Child = cutting[at].take().expect("a child");
        let output = cut.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    });
    let held = ended
        .iter()
        .position(|(code, _)| *code == Some(3))
        .expect("one is not cut");
    assert_eq!(ended[1 - held].0, Some(0), "{ended:?}");
    let named = format!(
        "not cut: worker 0 of generation 1 (PID {still}) has not answered, and may have connection {}",
        numbers[held]
    );
    assert!(ended[held].1.contains(&named), "{ended:?}");
    // It does as it was told when it goes on.
    kill(Pid::from_raw(still), Signal::SIGCONT).expect("kill");
    for client in [0, 2] {
        let _ = peers::read_until_gone(&mut clients[client]);
    }
    refused(
        &adit,
        &["cut", &numbers[held]],
        "there is no open connection",
    );
}

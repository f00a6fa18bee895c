//! The command line: what stunnel's users type, and adit's own commands.

mod as_stunnel;
mod checking;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::adit::program;
use crate::support::dialogue::{Lines, SMTP, Seen};
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, proc, tls, wait_for};

/// Runs it until it exits.
#[track_caller]
fn run(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(program())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("starting the program");
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8_lossy(&said).into_owned())
}

fn good(certs: &Certs, upstream: &Server) -> String {
    upstream.line() + &certs.server().lines()
}

/// A configuration with a control socket, written as for a start but not started, and the path of that
/// socket.
fn with_control(certs: &Certs, upstream: &Server) -> (Plan, PathBuf) {
    let plan = Plan::new();
    let socket = plan.folder().join("control");
    let global = format!("control = {}", socket.display());
    let plan = plan.global(global).service("test", good(certs, upstream));
    let _ = plan.command();
    (plan, socket)
}

#[test]
fn version_and_help_are_told() {
    for flag in ["-version", "-help"] {
        let (output, said) = run(&[flag]);
        assert!(output.status.success(), "{flag}: {said}");
        let name = if crate::support::stand_in().is_some() {
            "stunnel"
        } else {
            "adit"
        };
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn an_argument_it_does_not_know_is_named() {
    require!(adit);
    let (output, said) = run(&["--frobnicate"]);
    assert!(!output.status.success());
    assert!(said.contains("frobnicate"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (output, said) = run(&["/nowhere/adit.conf"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nowhere/adit.conf"), "{said}");
}

#[test]
fn the_configuration_may_come_by_a_descriptor() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new()
        .service("test", good(&certs, &upstream))
        .arguments(&["-fd", "0"]);
    let log = plan.folder().join("log");
    let mut command = plan.command();
    let text = fs::File::open(plan.file()).expect("the configuration");
    let mut child = command
        .stdin(text)
        .stderr(Stdio::null())
        .spawn()
        .expect("starting");
    let family = wait_for("its service", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("Accepting new connections")
            .then(|| proc::family(child.id() as i32))
    });
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("it runs");
    assert!(child.wait().expect("wait").success());
    proc::wait_for_end(&family);
}

/// `adit relay`, which logs to the terminal: the process, and its address.
fn relay(arguments: &[&str]) -> (Tool, SocketAddr) {
    let tool = Tool::start(
        Command::new(program())
            // The line with the port is informational.
            .env("ADIT_DEBUG", "info")
            .args(["relay", "--accept", "127.0.0.1:0"])
            .args(arguments),
    );
    let address = wait_for("its port", || {
        let said = tool.said();
        let line = said.lines().find(|line| line.contains("bound to"))?;
        line.rsplit(' ').next()?.parse().ok()
    });
    (tool, address)
}

#[test]
fn relay_serves_without_a_file_and_verifies_by_default() {
    require!(adit);
    let certs = Certs::new();
    let seen = Seen::default();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let upstream = SMTP.server(config, seen.clone(), "");
    let target = format!("localhost:{}", upstream.address.port());
    // The system's authorities do not include this one.
    let (tool, address) = relay(&["--connect", &target, "--protocol", "smtp"]);
    let mut client = Lines(peers::connect(address));
    client.send("NOOP\r\n");
    client.rest();
    tool.wait_for("certificate verify failed");
    assert!(!seen.contains("tls: "), "{:?}", seen.all());
}

#[test]
fn status_tells_generations_workers_and_services() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let socket = plan.folder().join("control");
    let adit = plan
        .global(format!("control = {}\nworkers = 2", socket.display()))
        .service("test", good(&certs, &upstream))
        .start();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
    let socket = socket.to_str().expect("a path in UTF-8");
    let (output, said) = run(&["status", "--json", "--control", socket]);
    assert!(output.status.success(), "{said}");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["pid"], adit.pid());
    let generation = &status["generations"][0];
    let roles = proc::roles(adit.pid());
    assert_eq!(generation["pid"], roles.master);
    let mut workers: Vec<i64> = generation["workers"]
        .as_array()
        .expect("workers")
        .iter()
        .map(|worker| worker["pid"].as_i64().expect("a number"))
        .collect();
    workers.sort_unstable();
    let mut expected: Vec<i64> = roles.workers.iter().map(|&pid| pid.into()).collect();
    expected.sort_unstable();
    assert_eq!(workers, expected);
    let service = &generation["services"][0];
    assert_eq!(service["name"], "test");
    assert_eq!(service["accepted"], 1);
    assert_eq!(service["active"], 1);
    let (output, said) = run(&["status", "--control", socket]);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("test") && said.contains(&roles.master.to_string()),
        "{said}"
    );
    drop(adit);
    let (output, said) = run(&["status", "--control", socket]);
    assert!(!output.status.success(), "nobody is there: {said}");
}

#[test]
fn a_command_without_an_answer_says_that_adit_is_not_running() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let (plan, socket) = with_control(&certs, &upstream);
    let file = plan.file().display().to_string();
    let both = |words: [&str; 2]| {
        for command in ["status", "reload"] {
            let (output, said) = run(&[command, &file]);
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            for word in words {
                assert!(said.contains(word), "{command}: no {word:?} in {said}");
            }
        }
    };
    both([
        "adit is not running, or has another control socket: ",
        "/control: No such file or directory (2)",
    ]);
    // As after a power cut.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    both([
        "adit is not running, and its socket is stale: ",
        "/control: Connection refused (111)",
    ]);
}

#[test]
fn a_command_that_is_misspelt_is_not_taken_for_a_file() {
    require!(adit);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = |arguments: &[&str]| {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("starting the program");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (arguments, meant) in [
        (&["chek"][..], "did you mean `adit check`?"),
        (
            &["chek", "--strict", "a.conf"],
            "did you mean `adit check`?",
        ),
        (&["relod", "a.conf"], "did you mean `adit reload`?"),
        (&["stauts", "--json"], "did you mean `adit status`?"),
        (&["start"], "to start adit, type `adit [FILE]`"),
        (&["start", "a.conf"], "`systemctl start adit`"),
        (&["restart"], "type `adit reload [FILE]`"),
        (&["help"], "did you mean `adit -help`?"),
    ] {
        let (code, said) = said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        let hint = meant;
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
    // An existing file, or a word not near any command, is taken as a file.
    fs::write(folder.path().join("chek"), "nonsense = 1\n").expect("writing");
    for (file, word) in [
        ("chek", "nonsense = 1"),
        ("mail", "mail"),
        ("./relod", "relod"),
    ] {
        let (code, said) = said(&[file]);
        assert_eq!(code, Some(1), "{file}: {said}");
        assert!(
            said.contains(word) && !said.contains("did you mean `adit"),
            "{said}"
        );
    }
}

/// `adit reload` for this instance's file.
#[track_caller]
fn reload(adit: &Adit) -> (Option<i32>, String) {
    let (output, said) = run(&["reload", adit.plan.file().to_str().expect("UTF-8")]);
    (output.status.code(), said)
}

#[test]
fn reload_finds_the_running_instance_though_its_control_socket_is_to_move() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let folder = plan.folder().to_owned();
    let (old, new) = (folder.join("old"), folder.join("new"));
    let adit = plan
        .global(format!("control = {}", old.display()))
        .global(format!("pid = {}/pid", folder.display()))
        .service("test", good(&certs, &upstream))
        .start();
    let from_to = |from: &std::path::Path, to: &std::path::Path| {
        let line = |path: &std::path::Path| format!("control = {}\n", path.display());
        adit.rewrite(|text| text.replace(&line(from), &line(to)));
    };
    from_to(&old, &new);
    // Refused: the running adit keeps its configuration and its socket.
    adit.rewrite(|text| text.replace("accept = 127.0.0.1:0", "accept = 192.0.2.1:1"));
    let (code, said) = reload(&adit);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the running configuration stays in force"),
        "{said}"
    );
    assert!(old.exists() && !new.exists());
    adit.rewrite(|text| text.replace("accept = 192.0.2.1:1", "accept = 127.0.0.1:0"));
    let (code, said) = reload(&adit);
    assert_eq!(code, Some(0), "{said}");
    assert!(new.exists() && !old.exists());
    adit.wait_for_log("Configuration reloaded: generation ");
    // Without a pid file its socket cannot be found.
    from_to(&new, &old);
    adit.rewrite(|text| text.replace("pid = ", ";pid = "));
    let (code, said) = reload(&adit);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("send SIGHUP to it"), "{said}");
    adit.reload(1);
    assert!(old.exists() && !new.exists());
}

/// A user who can put a socket at the configured path must not choose what root signals.
#[test]
fn reload_signals_no_process_that_is_only_named_in_an_answer() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let (plan, socket) = with_control(&certs, &upstream);
    let mut bystander = Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat");
    let said = bystander.id();
    let answer = format!(
        "{{\"pid\":{said},\"version\":\"0\",\"file\":{:?},\"generations\":[],\
         \"reloads\":{{\"succeeded\":0,\"failed\":0,\"under_way\":false}}}}",
        plan.file()
    );
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    // It ends with the test.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.and_then(|mut client| client.write_all(answer.as_bytes()));
        }
    });
    let (output, words) = run(&["reload", plan.file().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1), "{words}");
    let own = std::process::id();
    let expected = format!("process {own} listens there, and says that it is {said}");
    assert!(words.contains(&expected), "no {expected:?} in {words}");
    // It exits at the end of its input, not because of SIGHUP.
    drop(bystander.stdin.take());
    assert!(bystander.wait().expect("wait").success());
}

#[test]
fn the_demo_carries_a_mail_as_root() {
    require!(root);
    require!(adit);
    let (output, said) = run(&["demo"]);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("TLSv1.3") || said.contains("TLS 1.3"),
        "{said}"
    );
}

#[test]
fn the_demo_carries_a_mail_as_an_ordinary_user() {
    require!(adit);
    let plan = Plan::new().arguments(&["demo"]);
    let plan = if crate::support::is_root() {
        plan.user(65534, 65534)
    } else {
        plan
    };
    plan.run().exits(0).says(&["1.3"]);
}

#[test]
fn a_configuration_on_standard_input_that_is_wrong_is_told_as_a_file_is() {
    require!(adit);
    let mut child = Command::new(program())
        .args(["-fd", "0"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"nonsense = 1\n").expect("sending");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(":1") && said.contains("nonsense = 1"),
        "{said}"
    );
}

#[test]
fn ps_tells_the_roles_apart() {
    require!(adit);
    require!(installed("ps").is_some(), "ps is not installed");
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Adit::serve(good(&certs, &upstream));
    let roles = proc::roles(adit.pid());
    let said = Command::new("ps")
        .args(["-o", "args=", "-p", &roles.master.to_string()])
        .output();
    let said = String::from_utf8_lossy(&said.expect("ps").stdout).into_owned();
    assert!(said.contains("adit") && said.contains("master"), "{said}");
}

//! The command line: what stunnel's users type, and adit's own commands.

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

/// `adit check` for this plan's configuration.
#[track_caller]
fn check(plan: &Plan, strict: bool) -> (Option<i32>, String) {
    // Written as for a start, but not started.
    let _ = plan.command();
    let file = plan.file();
    let file = file.to_str().expect("a path in UTF-8");
    let arguments: &[&str] = if strict {
        &["check", "--strict", file]
    } else {
        &["check", file]
    };
    let (output, said) = run(arguments);
    (output.status.code(), said)
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

#[test]
fn called_as_stunnel_it_looks_for_stunnels_file() {
    require!(adit);
    require!(
        !std::path::Path::new("/etc/stunnel/stunnel.conf").exists(),
        "there is a /etc/stunnel/stunnel.conf"
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("stunnel");
    std::os::unix::fs::symlink(program(), &link).expect("a link");
    let output = Command::new(link)
        .stdin(Stdio::null())
        .output()
        .expect("starting");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("/etc/stunnel/stunnel.conf"), "{said}");
}

#[test]
fn called_as_stunnel_it_tells_about_itself_where_and_how_stunnel_does() {
    require!(adit);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("stunnel");
    std::os::unix::fs::symlink(program(), &link).expect("a link");
    for (flag, line) in [
        ("-version", "stunnel 5."),
        ("-version", "Compiled/running with OpenSSL 3."),
        ("-help", "checkHost "),
        ("-sockets", "    TCP_NODELAY"),
        ("-options", "options = NO_TICKET"),
    ] {
        let output = Command::new(&link).arg(flag).output().expect("starting");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(
            said.lines().any(|told| told.starts_with(line)),
            "no {line:?} in {said}"
        );
        assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    }
}

#[test]
fn check_passes_a_good_file() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new().service("test", good(&certs, &upstream));
    let (code, said) = check(&plan, true);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn check_tells_every_error_and_fails() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new()
        .global("nonsense = 1")
        .service("test", good(&certs, &upstream) + "verify = 9\n")
        .service(
            "other",
            format!("connect = 127.0.0.1:9\ncert = {}\n", "/nowhere.pem"),
        );
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    for phrase in ["nonsense = 1", "verify = 9", "/nowhere.pem"] {
        assert!(said.contains(phrase), "no {phrase:?} in {said}");
    }
}

#[test]
fn check_loads_what_the_file_names() {
    require!(adit);
    let plan = Plan::new().service(
        "test",
        "connect = 127.0.0.1:9\ncert = /nowhere/server.pem\n",
    );
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nowhere/server.pem"), "{said}");
}

#[test]
fn strict_fails_on_a_client_service_that_verifies_nothing() {
    require!(adit);
    let plan = Plan::new().service("test", "client = yes\nconnect = 127.0.0.1:9\n");
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("needs authentication to prevent MITM attacks"),
        "{said}"
    );
    let (code, said) = check(&plan, true);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn check_and_the_log_warn_of_a_certificate_that_ends_within_thirty_days() {
    require!(adit);
    require!(program "openssl");
    let upstream = Server::echo();
    for (days, warned) in [("29", true), ("32", false)] {
        let plan = Plan::new();
        let file = |name: &str| plan.folder().join(name).display().to_string();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-days",
                days,
            ])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-out", &cert, "-keyout", &key])
            .output()
            .expect("openssl");
        assert!(made.status.success());
        let lines = format!("{}cert = {cert}\nkey = {key}\n", upstream.line());
        let plan = plan.service("test", lines);
        let (status, said) = check(&plan, false);
        assert_eq!(
            (status, said.contains("day(s): renew it")),
            (Some(0), warned),
            "{said}"
        );
        assert_eq!(check(&plan, true).0, Some(i32::from(warned)));
        let adit = plan.start();
        assert_eq!(adit.count_in_log("day(s): renew it") > 0, warned);
    }
}

#[test]
fn check_names_every_folder_that_a_start_would_not_find() {
    require!(adit);
    let plan = Plan::new()
        .global("output = /no/such/log")
        .global("pid = /no/such/pid")
        .global("control = /no/such/control")
        .service("test", "client = yes\nconnect = 127.0.0.1:9\n");
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    for option in ["output", "pid", "control"] {
        let phrase = format!("{option}: there is no folder /no/such");
        assert!(said.contains(&phrase), "{said}");
    }
}

#[test]
fn the_packaged_configuration_passes_strict_checking() {
    require!(adit);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/adit.conf");
    let text = fs::read_to_string(file).expect("the packaged configuration");
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    // The package makes the folder.
    let text = text.replace("/var/lib/adit", &jail.display().to_string());
    let (code, said) = check(&plan.verbatim(text), true);
    assert_eq!(code, Some(0), "{said}");
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

/// The options that the manual lists in sections whose heading begins with this: one tag each, or all
/// in the sentence on what is not served.
fn options_in_manual(heading: &str) -> Vec<String> {
    let (output, page) = run(&["man", "adit.conf.5"]);
    assert!(output.status.success(), "{page}");
    let mut found = Vec::new();
    for section in page.split(".SH ").filter(|text| text.starts_with(heading)) {
        let (tags, sentence) = section
            .split_once("Not served by this version")
            .unwrap_or((section, ""));
        let tags = tags.split(".TP\n").skip(1);
        found.extend(tags.filter_map(|text| text.split("\\f").nth(1)));
        found.extend(sentence.split("\\f").filter(|text| text.starts_with('B')));
    }
    found.iter().map(|name| name[1..].to_owned()).collect()
}

#[test]
fn the_manual_lists_as_stunnels_only_what_stunnel_has() {
    require!(adit);
    require!(program "stunnel4");
    // Options of versions after Debian's 5.68, and of the Windows version.
    const NOT_HERE: [&str; 11] = [
        "setEnv",
        "provider",
        "providerParameter",
        "CAstore",
        "OCSPrequire",
        "TIMEOUTocsp",
        "iconActive",
        "iconError",
        "iconIdle",
        "taskbar",
        "fips",
    ];
    let help = Command::new("stunnel4")
        .arg("-help")
        .output()
        .expect("stunnel4 -help");
    let help = String::from_utf8_lossy(&help.stderr).into_owned();
    let stunnel: Vec<&str> = help
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let listed = options_in_manual("OPTIONS OF STUNNEL");
    assert!(listed.len() > 10, "{listed:?}");
    for name in listed {
        let known = stunnel.contains(&name.as_str()) || NOT_HERE.contains(&name.as_str());
        assert!(known, "{name} is no option of stunnel's");
    }
    let own = options_in_manual("OPTIONS OF ADIT");
    assert!(own.iter().all(|name| !stunnel.contains(&name.as_str())));

    // Of those that are served, each of adit's own is called so.
    let (_, page) = run(&["man", "adit.conf.5"]);
    let sections = page.split(".SH ").filter(|text| {
        text.starts_with("GLOBAL OPTIONS") || text.starts_with("OPTIONS OF A SERVICE")
    });
    let mut told = 0;
    for text in sections.flat_map(|section| section.split(".TP\n").skip(1)) {
        let name = text.split("\\f").nth(1).expect("a name in bold");
        let (name, own) = (&name[1..], text.contains("stunnel has no such option"));
        let known = stunnel.contains(&name) || NOT_HERE.contains(&name);
        assert_eq!(known, !own, "{name}: {text}");
        told += 1;
    }
    assert!(told > 50, "{told}");
}

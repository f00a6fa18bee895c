//! Keys with a pass phrase: adit asks once, on the terminal of the start, and never again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::adit::program;
use crate::support::openssl;
use crate::support::peers::{self, Server};
use crate::support::terminal::{Terminal, take_terminal_away};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// So long that a vector which grows to hold it leaves large parts of it behind.
const PHRASE: &str = "correct horse battery staple, as in the comic strip that tells how pass phrases \
                      are made which are hard to guess and easy to remember";

fn service(upstream: &Server, file: &Path) -> String {
    format!("{}cert = {}\n", upstream.line(), file.display())
}

fn prompt(file: &Path) -> String {
    format!("Enter {} pass phrase:", file.display())
}

/// The certificate that a new connection gets.
#[track_caller]
fn served(adit: &Adit, certs: &Certs) -> Vec<u8> {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
    let chain = client.conn.peer_certificates().expect("a certificate");
    chain[0].to_vec()
}

/// Starts it on a terminal, and gives the right answer there.
fn start(plan: Plan, file: &Path, terminal: &Terminal) -> Adit {
    let adit = plan.launch_on(terminal);
    terminal.wait_for(&prompt(file), 1);
    terminal.type_in(&format!("{PHRASE}\n"));
    adit.wait_for_log("Accepting new connections");
    adit
}

#[test]
fn a_pass_phrase_is_asked_for_on_the_terminal_and_not_shown() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let terminal = Terminal::new();
    let adit = Plan::new()
        .service("test", service(&upstream, &file))
        .launch_on(&terminal);
    for (nth, answer) in ["wrong answer", PHRASE].into_iter().enumerate() {
        terminal.wait_for(&prompt(&file), nth + 1);
        assert!(!terminal.echoes());
        terminal.type_in(&format!("{answer}\n"));
    }
    adit.wait_for_log("Accepting new connections");
    adit.wait_for_log("Certificate and private key loaded from file: ");
    served(&adit, &certs);
    let shown = terminal.shown();
    assert_eq!(
        shown.matches("Wrong passphrase: retrying").count(),
        1,
        "{shown}"
    );
    assert!(
        !shown.contains(PHRASE) && !shown.contains("wrong answer"),
        "{shown}"
    );
    assert!(terminal.echoes());
}

/// Encrypts a PEM key; returns the new file.
fn lock(key: &Path, locked: PathBuf) -> PathBuf {
    openssl::run(
        Command::new("openssl")
            .args(["ec", "-aes256"])
            .args(["-passout", &format!("pass:{PHRASE}"), "-in"])
            .arg(key)
            .arg("-out")
            .arg(&locked),
    );
    locked
}

#[test]
fn an_encrypted_key_in_pem_is_asked_for_as_well_and_one_answer_serves_all() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let pair = certs.server();
    let locked = lock(&pair.key, certs.folder().join("locked.key"));
    let lines = |key: &Path| {
        let (cert, key) = (pair.cert.display(), key.display());
        format!("{}cert = {cert}\nkey = {key}\n", upstream.line())
    };
    let terminal = Terminal::new();
    let plan = Plan::new()
        .service("test", lines(&locked))
        .service("other", service(&upstream, &certs.pkcs12("other", PHRASE)));
    let adit = start(plan, &locked, &terminal);
    served(&adit, &certs);
    assert_eq!(terminal.shown().matches("pass phrase:").count(), 1);
}

#[test]
fn a_key_beside_pkcs12_without_one_is_asked_for_as_well() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let pair = certs.server();
    let file = |name: &str| certs.folder().join(name);
    let key = lock(&pair.key, file("locked.key"));
    let without_key = |name: &str, phrase: &str| {
        let made = file(name);
        openssl::run(
            Command::new("openssl")
                .args(["pkcs12", "-export", "-nokeys"])
                .args(["-passout", &format!("pass:{phrase}"), "-in"])
                .arg(&pair.cert)
                .arg("-out")
                .arg(&made),
        );
        made
    };
    let (open, locked) = (
        without_key("open.p12", ""),
        without_key("locked.p12", "another"),
    );
    let asked_for: [(&Path, &[(&Path, &str)]); 2] = [
        (&open, &[(&key, PHRASE)]),
        (&locked, &[(&locked, "another"), (&key, PHRASE)]),
    ];
    for (cert, answers) in asked_for {
        let terminal = Terminal::new();
        let lines = format!("{}key = {}\n", service(&upstream, cert), key.display());
        let adit = Plan::new().service("test", lines).launch_on(&terminal);
        for (file, answer) in answers {
            terminal.wait_for(&prompt(file), 1);
            terminal.type_in(&format!("{answer}\n"));
        }
        adit.wait_for_log("Accepting new connections");
        served(&adit, &certs);
    }
}

#[test]
fn three_wrong_answers_end_the_start() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let terminal = Terminal::new();
    let mut adit = Plan::new()
        .service("test", service(&upstream, &file))
        .launch_on(&terminal);
    for nth in 1..=3 {
        terminal.wait_for(&prompt(&file), nth);
        terminal.type_in("no idea\n");
    }
    assert_eq!(adit.wait_for_exit().code(), Some(1));
    terminal.wait_for("Configuration failed", 1);
    let shown = terminal.shown();
    assert_eq!(shown.matches(&prompt(&file)).count(), 3, "{shown}");
    assert_eq!(
        shown.matches("Wrong passphrase: retrying").count(),
        2,
        "{shown}"
    );
}

#[test]
fn an_interrupt_ends_it_and_leaves_a_terminal_that_shows_what_is_typed() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let terminal = Terminal::new();
    let mut adit = Plan::new()
        .service("test", service(&upstream, &file))
        .launch_on(&terminal);
    terminal.wait_for(&prompt(&file), 1);
    let family = proc::family(adit.pid());
    terminal.type_in("half\x03");
    let status = adit.wait_for_exit();
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{status}");
    proc::wait_for_end(&family);
    assert!(terminal.echoes());
}

#[test]
fn without_a_terminal_the_start_fails_and_says_what_to_do() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let outcome = Plan::new().service("test", service(&upstream, &file)).run();
    outcome
        .exits(1)
        .says(&["server.p12 is encrypted", "terminal", "keyPasswordFile"]);
}

#[test]
fn a_daemon_asks_for_nothing_at_a_reload_after_a_crash_and_for_a_new_binary() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let plan = Plan::new();
    let (jail, binary) = (plan.folder().join("jail"), plan.folder().join("adit"));
    fs::create_dir(&jail).expect("mkdir");
    fs::copy(program(), &binary).expect("copy");
    let plan = plan
        .global(format!("chroot = {}\npid = /adit.pid", jail.display()))
        .global("setuid = nobody\nsetgid = nogroup\nworkers = 1")
        .program(&binary)
        .daemon()
        .service("test", service(&upstream, &file));
    let terminal = Terminal::new();
    let mut adit = start(plan, &file, &terminal);
    assert!(adit.wait_for_exit().success(), "the starter");
    let pid = fs::read_to_string(jail.join("adit.pid")).expect("a pid file");
    adit.adopt(pid.trim().parse().expect("a number"));
    drop(terminal);
    let before = served(&adit, &certs);

    // Renewed: another key, the same pass phrase.
    certs.pkcs12("server", PHRASE);
    adit.reload(1);
    let after = served(&adit, &certs);
    assert_ne!(after, before);

    let master = proc::roles(adit.pid()).master;
    kill(Pid::from_raw(master), Signal::SIGKILL).expect("it runs");
    adit.wait_for_log("serves in place of the dead one");
    assert_eq!(served(&adit, &certs), after);

    crate::upgrade::next_version(&binary);
    adit.reload(1);
    adit.wait_for_log("has taken over");
    assert_eq!(served(&adit, &certs), after);

    // With another pass phrase adit cannot ask, and the running configuration stays in force.
    certs.pkcs12("server", "another");
    adit.reload_refused(&["server.p12 is encrypted", "keyPasswordFile"]);
    assert_eq!(served(&adit, &certs), after);
    let words = fs::read_to_string(adit.plan.file()).expect("the configuration");
    let pass = certs.folder().join("pass");
    fs::write(&pass, "another\n").expect("writing");
    let line = format!("keyPasswordFile = {}\n", pass.display());
    fs::write(adit.plan.file(), words + &line).expect("writing");
    adit.reload(1);
    assert_ne!(served(&adit, &certs), after);
    adit.signal(Signal::SIGTERM);
    adit.wait_for_log("Terminated");
}

#[test]
fn the_pass_phrase_stays_with_the_supervisor_and_the_key_with_those_below() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let terminal = Terminal::new();
    let plan = Plan::new();
    let binary = plan.folder().join("adit");
    fs::copy(program(), &binary).expect("copy");
    let plan = plan
        .program(&binary)
        .global("setuid = nobody\nsetgid = nogroup\nworkers = 1")
        .service("test", service(&upstream, &file));
    let adit = start(plan, &file, &terminal);
    let pem = fs::read_to_string(certs.folder().join("server.key")).expect("a key");
    let [in_files, in_use] = Certs::scalar(&pem);
    // Not its beginning, which the allocator overwrites when it is freed.
    let piece = &PHRASE.as_bytes()[20..60];
    // Processes forked right after the question, later, and by a new binary.
    for round in 0..3 {
        served(&adit, &certs);
        let roles = proc::roles(adit.pid());
        let mut below = roles.workers.clone();
        below.push(roles.master);
        for &pid in &below {
            let title = proc::title(pid);
            assert!(proc::memory_holds(pid, &in_use), "{title} has no key");
        }
        below.push(roles.resolver);
        for pid in below {
            let title = proc::title(pid);
            assert!(!proc::memory_holds(pid, piece), "{title}");
        }
        for pid in [roles.supervisor, roles.resolver] {
            let title = proc::title(pid);
            for key in [&in_files, &in_use] {
                assert!(!proc::memory_holds(pid, key), "{title} holds the key");
            }
        }
        let supervisor = roles.supervisor;
        assert!(proc::memory_holds(supervisor, PHRASE.as_bytes()));
        assert_eq!(proc::memory_locked(supervisor), 16, "kB are never swapped");
        if round == 1 {
            crate::upgrade::next_version(&binary);
        }
        adit.reload(1);
        if round == 1 {
            adit.wait_for_log("has taken over");
            let is_another = || (proc::roles(supervisor).resolver != roles.resolver).then_some(());
            wait_for("the new binary's own resolver", is_another);
        }
    }
}

#[test]
fn a_file_with_the_pass_phrase_needs_no_terminal() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let pass = certs.folder().join("pass");
    fs::write(&pass, format!("{PHRASE}\n")).expect("writing");
    let line = format!("keyPasswordFile = {}\n", pass.display());
    let adit = Plan::new()
        .service("test", service(&upstream, &file) + &line)
        .start();
    let before = served(&adit, &certs);
    certs.pkcs12("server", "another");
    fs::write(&pass, "another\n").expect("writing");
    adit.reload(1);
    wait_for("the renewed certificate", || {
        (served(&adit, &certs) != before).then_some(())
    });
}

#[test]
fn nobody_keeps_what_a_file_with_pass_phrases_said() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let file = certs.pkcs12("server", PHRASE);
    let pass = certs.folder().join("pass");
    let others: String = (0..40)
        .map(|nth| format!("the {nth}. of another key\n"))
        .collect();
    fs::write(&pass, format!("another one\n{PHRASE}\n{others}")).expect("writing");
    let line = format!("keyPasswordFile = {}\n", pass.display());
    let adit = Plan::new()
        .global("setuid = nobody\nsetgid = nogroup\nworkers = 1")
        .service("test", service(&upstream, &file) + &line)
        .start();
    served(&adit, &certs);
    for process in proc::family(adit.pid()) {
        let title = proc::title(process.pid);
        for phrase in [PHRASE, "the 1. of another key"] {
            let holds = proc::memory_holds(process.pid, phrase.as_bytes());
            assert!(!holds, "{title}: {phrase}");
        }
    }
}

/// `adit check`, on a terminal or without one.
fn check(plan: &Plan, more: &[&str], terminal: Option<&Terminal>) -> std::process::Child {
    // Written as for a start, but not started.
    let _ = plan.command();
    let mut command = Command::new(program());
    command.arg("check").args(more).arg(plan.file());
    match terminal {
        Some(terminal) => terminal.attach(&mut command),
        None => {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            take_terminal_away(&mut command);
        }
    }
    command.spawn().expect("starting")
}

#[test]
fn check_without_a_terminal_says_that_it_left_a_key_unchecked() {
    require!(adit);
    let certs = Certs::new();
    let file = certs.pkcs12("server", PHRASE);
    let plan = Plan::new().service("test", service(&Server::echo(), &file));
    for (more, code) in [(&[][..], 0), (&["--strict"], 1)] {
        let child = check(&plan, more, None);
        let output: Output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.contains("not checked, because there is no terminal to ask"),
            "{said}"
        );
    }
}

/// A check's resolver is a copy of the asking process, and reads what DNS servers send.
#[test]
fn check_starts_its_resolver_before_it_knows_a_pass_phrase() {
    require!(adit);
    let certs = Certs::new();
    let file = certs.pkcs12("server", PHRASE);
    let plan = Plan::new().service("test", service(&Server::echo(), &file));
    let terminal = Terminal::new();
    let mut child = check(&plan, &[], Some(&terminal));
    terminal.wait_for(&prompt(&file), 1);
    let pid = child.id().cast_signed();
    let resolver = || {
        let children = proc::children(pid);
        children
            .into_iter()
            .find(|&pid| proc::title(pid) == "adit: resolver")
    };
    let resolver = wait_for("a resolver", resolver);
    terminal.type_in(&format!("{PHRASE}\n"));
    let status = wait_for("its end", || child.try_wait().expect("wait"));
    assert!(status.success(), "{}", terminal.shown());
    assert!(!proc::alive(resolver));
}

/// As the packages do in an upgrade: timeout(1) makes its own process group, which the terminal would
/// stop if it asked.
#[test]
fn check_in_the_background_of_a_terminal_does_not_ask_and_is_not_stopped() {
    require!(adit);
    let certs = Certs::new();
    let file = certs.pkcs12("server", PHRASE);
    let plan = Plan::new().service("test", service(&Server::echo(), &file));
    let _ = plan.command();
    let terminal = Terminal::new();
    // Through a shell: a session leader cannot make another group.
    let mut command = Command::new("sh");
    command.args(["-c", "timeout 20 \"$@\"; exit $?", "sh"]);
    command.arg(program()).arg("check");
    terminal.attach(command.arg(plan.file()));
    let mut child = command.spawn().expect("starting");
    let status = wait_for("its end", || child.try_wait().expect("wait"));
    let shown = terminal.shown();
    assert_eq!(status.code(), Some(0), "{shown}");
    terminal.wait_for("cannot be asked for from the background", 1);
    assert!(!shown.contains("Enter "), "{shown}");
}

#[test]
fn check_asks_where_there_is_a_terminal() {
    require!(adit);
    let certs = Certs::new();
    let file = certs.pkcs12("server", PHRASE);
    let plan = Plan::new().service("test", service(&Server::echo(), &file));
    for (answers, code, word) in [
        (&[PHRASE][..], 0, "0 error(s), 0 warning(s)"),
        (&["a", "b", "c"], 1, "keyPasswordFile"),
    ] {
        let terminal = Terminal::new();
        let mut child = check(&plan, &["--strict"], Some(&terminal));
        for (nth, answer) in answers.iter().enumerate() {
            terminal.wait_for(&prompt(&file), nth + 1);
            terminal.type_in(&format!("{answer}\n"));
        }
        let status = wait_for("its end", || child.try_wait().expect("wait"));
        assert_eq!(status.code(), Some(code), "{}", terminal.shown());
        terminal.wait_for(word, 1);
        let retries = terminal
            .shown()
            .matches("Wrong passphrase: retrying")
            .count();
        assert_eq!(retries, answers.len() - 1);
    }
}

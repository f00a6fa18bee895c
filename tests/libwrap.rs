//! `libwrap`: clients are let in and refused as hosts.allow and hosts.deny say, as by stunnel with the real library.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::accept_proxy::LOCAL;
use crate::admission::from;
use crate::require;
use crate::support::adit::program;
use crate::support::peers::{Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, installed, proc, tls, wait_for};

macro_rules! require_own_files {
    () => {
        crate::require!(root);
        crate::require!(
            crate::support::installed("unshare").is_some(),
            "unshare is not installed"
        );
        crate::require!(
            ["/etc/hosts.allow", "/etc/hosts.deny"]
                .iter()
                .all(|file| std::path::Path::new(file).exists()),
            "there are no /etc/hosts.allow and hosts.deny to lay others over"
        );
    };
}

pub(crate) use require_own_files;

/// The name of 127.0.0.5 has its address, and is an alias of another host's.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n\
                     127.0.0.9 host.example alias.example\n127.0.0.5 alias.example\n";

/// A program that sees files of the plan's folder as hosts.allow and hosts.deny.
fn with_own_files(plan: &Plan, program: &Path) -> PathBuf {
    let folder = plan.folder().display().to_string();
    // Named for the program: a plan asks stunnel for nothing that only adit knows.
    let name = program.file_name().expect("a program").to_string_lossy();
    let wrapper = plan.folder().join(format!("wrapper-{name}"));
    let text = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -ec '\n\
         mount --bind {folder}/hosts /etc/hosts\n\
         mount --bind {folder}/hosts.allow /etc/hosts.allow\n\
         mount --bind {folder}/hosts.deny /etc/hosts.deny\nexec {} \"$@\"' sh \"$@\"\n",
        program.display()
    );
    fs::write(&wrapper, text).expect("writing");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("chmod");
    write(plan, "", "");
    fs::write(plan.folder().join("hosts"), HOSTS).expect("writing");
    wrapper
}

/// Writes both files in place: they are mounted.
pub fn write(plan: &Plan, allow: &str, deny: &str) {
    for (name, text) in [("hosts.allow", allow), ("hosts.deny", deny)] {
        fs::write(plan.folder().join(name), text).expect("writing");
    }
}

pub fn start(program: &Path, certs: &Certs, echo: &Server, lines: &str) -> Adit {
    let plan = Plan::new().global("pid =");
    let wrapper = with_own_files(&plan, program);
    let (connect, ca) = (echo.line(), certs.ca_line());
    let service = format!("client = yes\nlibwrap = yes\n{connect}{ca}verifyChain = yes\n{lines}");
    plan.program(wrapper).service("test", service).start()
}

/// Whether a client is let in; otherwise it is sent away without a byte.
pub fn is_let_in(adit: &Adit) -> bool {
    is_let_in_from(1, adit)
}

/// The same for one that comes from 127.0.0.`last`.
fn is_let_in_from(last: u8, adit: &Adit) -> bool {
    let refusals = adit.count_in_log("REFUSED by libwrap");
    let mut client = from(last, adit.address("test"));
    let judged = wait_for("a judgement", || {
        let log = adit.log();
        let refused = log.matches("REFUSED by libwrap").count() > refusals;
        let at = client.local_addr().expect("its address");
        let accepted = log.contains(&format!("accepted connection from {at}\n"));
        (refused || accepted).then_some(accepted)
    });
    match judged {
        true => says_and_hears(&mut client, "let in"),
        false => {
            let mut byte = [0];
            let read = client.read(&mut byte);
            assert!(!matches!(read, Ok(1..)), "{read:?}");
        }
    }
    judged
}

#[test]
fn clients_are_let_in_and_refused_as_by_stunnel_and_a_change_counts_for_the_next() {
    require_own_files!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let programs = [Some(program()), installed("stunnel4")];
    for program in programs.into_iter().flatten() {
        let adit = start(&program, &certs, &echo, "");
        let port = adit.address("test").port();
        let by_port = format!("{port}: ALL\n");
        let mut refused = 0;
        for (allow, deny, expected) in [
            ("", "", true),
            ("", "ALL: ALL\n", false),
            ("test: 127.0.0.1\n", "ALL: ALL\n", true),
            ("TEST: 127.\n", "ALL: ALL\n", true),
            ("other: ALL\n", "ALL: ALL\n", false),
            ("", "other: ALL\n", true),
            ("", "# x", false),
            ("", "test: 127.1.0.0/8\n", true),
            ("", "test: 127.0.0.0/8\n", false),
            ("", "test: 0.0.0.0/0\n", true),
            ("", &by_port, false),
            ("", "test@127.0.0.1: ALL\n", false),
            ("", "test@127.0.0.2: ALL\n", true),
            ("", "test: localhost\n", false),
            ("", "test: LOCAL\n", false),
            ("test: KNOWN\n", "ALL: ALL\n", true),
            ("", "test: PARANOID\n", true),
            ("ALL: ALL: DENY\n", "", false),
            ("ALL: ALL: severity auth.info: ALLOW\n", "ALL: ALL\n", true),
            ("", "ALL: ALL: ALLOW\n", true),
            ("test: ALL: nonsense\n", "", false),
        ] {
            write(&adit.plan, allow, deny);
            let told = format!("{}: {allow:?} {deny:?}", program.display());
            assert_eq!(is_let_in(&adit), expected, "{told}");
            refused += usize::from(!expected);
        }
        let phrase = "LOG4[";
        let log = adit.log();
        let lines = log.lines().filter(|line| {
            line.contains(phrase)
                && line.contains("Service [test] REFUSED by libwrap from 127.0.0.1:")
        });
        assert_eq!(lines.count(), refused, "{log}");
    }
}

#[test]
fn a_name_that_is_an_alias_is_not_believed_as_by_stunnel() {
    require_own_files!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let programs = [Some(program()), installed("stunnel4")];
    for program in programs.into_iter().flatten() {
        let adit = start(&program, &certs, &echo, "");
        for (last, pattern, expected) in [
            (9, "host.example", true),
            (9, ".example", true),
            (9, "alias.example", false),
            (5, "alias.example", false),
            (5, ".example", false),
            (5, "KNOWN", false),
            (5, "PARANOID", true),
        ] {
            write(&adit.plan, &format!("test: {pattern}\n"), "ALL: ALL\n");
            let told = format!("{}: 127.0.0.{last}, {pattern}", program.display());
            assert_eq!(is_let_in_from(last, &adit), expected, "{told}");
        }
    }
}

#[test]
fn a_balancers_own_connection_is_judged_by_the_balancers_address() {
    require!(adit);
    require_own_files!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&program(), &certs, &echo, "acceptProxy = 127.0.0.2\n");
    write(&adit.plan, "", "test: 127.0.0.2\n");
    let mut balancer = from(2, adit.address("test"));
    balancer.write_all(LOCAL).expect("a header");
    // It stays, without a word.
    assert!(!matches!(balancer.read(&mut [0]), Ok(1..)));
    adit.wait_for_log("LOG5[0]: libwrap: /etc/hosts.deny");
    adit.wait_for_log("REFUSED by libwrap from 127.0.0.2:");
}

fn gatekeeper(adit: &Adit) -> Option<i32> {
    let mut below = proc::children(adit.pid()).into_iter();
    below.find(|&pid| proc::title(pid) == "adit: gatekeeper")
}

#[test]
fn what_is_not_served_refuses_with_a_line_and_the_gatekeeper_is_nobody_and_comes_back() {
    require!(adit);
    require_own_files!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&program(), &certs, &echo, "");
    write(&adit.plan, "test: ALL: spawn (touch /tmp/x) &\n", "");
    assert!(!is_let_in(&adit));
    let line = adit.wait_for_log("/etc/hosts.allow, line 1: adit does not carry out `spawn`");
    assert!(line.contains("LOG3["), "{line}");
    write(&adit.plan, "test: 127.0.0.1\n", "ALL: ALL\n");
    let first = wait_for("the gatekeeper", || gatekeeper(&adit));
    let status = proc::status(first);
    assert!(!status["Uid"].starts_with("0\t"), "{status:?}");
    assert_eq!(status["CapEff"], "0000000000000000");
    assert_eq!(status["Seccomp"], "2");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("kill");
    assert!(is_let_in(&adit));
    wait_for("another gatekeeper", || {
        gatekeeper(&adit).filter(|pid| *pid != first)
    });
    assert!(is_let_in(&adit));
}

#[test]
fn check_tells_the_rules_that_do_not_do_what_they_seem_to() {
    require!(adit);
    require_own_files!();
    let plan = Plan::new().verbatim(
        "[test]\nclient = yes\nlibwrap = yes\naccept = 192.0.2.1:25\nconnect = 192.0.2.2:465\n\
         verifyServer = yes\nsni = mail.example\n",
    );
    let wrapper = with_own_files(&plan, &program());
    write(
        &plan,
        "test: 10.1.0.0/8\nALL: 0.0.0.0/0\n",
        "# the last line",
    );
    let file = plan.file();
    let file = file.to_str().expect("UTF-8");
    let outcome = plan
        .program(wrapper)
        .arguments(&["check", "--route", file])
        .run();
    outcome.exits(0).says(&[
        "[test]: hosts.allow and hosts.deny, connect, TLS handshake with the server, relay",
        "/etc/hosts.allow:1: `10.1.0.0/8` matches no address",
        "`ALL` is every client",
        "/etc/hosts.deny:1: no newline ends this line",
    ]);
    assert!(
        !outcome.said.contains("its mode hides it"),
        "{}",
        outcome.said
    );
    assert!(
        !outcome.said.contains("other machines may connect"),
        "{}",
        outcome.said
    );
}

#[test]
fn a_file_that_root_alone_may_read_refuses_and_check_says_so() {
    require!(adit);
    require_own_files!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&program(), &certs, &echo, "");
    assert!(is_let_in(&adit));
    hide(&adit.plan);
    assert!(!is_let_in(&adit));
    adit.wait_for_log("libwrap: /etc/hosts.allow: Permission denied");
    let plan = Plan::new().verbatim(
        "[test]\naccept = 192.0.2.1:465\nconnect = 25\nlibwrap = yes\nPSKsecrets = /nowhere\n",
    );
    let wrapper = with_own_files(&plan, &program());
    hide(&plan);
    let file = plan.file();
    let file = file.to_str().expect("UTF-8");
    let outcome = plan.program(wrapper).arguments(&["check", file]).run();
    let told = "/etc/hosts.allow: its mode hides it from the process that reads it";
    assert!(outcome.said.contains(told), "{}", outcome.said);
}

fn hide(plan: &Plan) {
    let file = plan.folder().join("hosts.allow");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("chmod");
}

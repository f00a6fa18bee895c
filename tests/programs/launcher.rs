//! The process that starts programs: a reload, its death, and the jail.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::{goes_on, send};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, proc, tls, wait_for};

use super::{ask, dial, script};

/// The launcher that serves.
pub(super) fn launcher(adit: &Adit) -> i32 {
    let launchers = launchers(adit);
    assert_eq!(launchers.len(), 1, "one launcher");
    launchers[0]
}

fn launchers(adit: &Adit) -> Vec<i32> {
    let children = proc::children(adit.pid()).into_iter();
    children
        .filter(|&pid| proc::title(pid).contains("launcher"))
        .collect()
}

#[test]
fn a_reload_lets_programs_live_and_starts_the_new_one() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let other = script(plan.folder(), "other", "echo other; cat");
    let adit = plan
        .service("test", certs.server().lines() + "exec = /bin/cat\n")
        .start();
    let mut old = dial(&adit, &certs, "test", None);
    peers::says_and_hears(&mut old, "hello");
    let first = launcher(&adit);
    let program = format!("exec = {}", other.display());
    adit.rewrite(|text| text.replace("exec = /bin/cat", &program));
    adit.reload(1);
    assert_eq!(ask(&adit, &certs, "test", None, "hello"), "other\nhello");
    peers::says_and_hears(&mut old, "again");
    assert!(proc::alive(first), "it waits for its programs");
    tls::end(&mut old);
    assert!(peers::read_to_end(&mut old).is_empty());
    wait_for("the first launcher's end", || {
        (!proc::alive(first)).then_some(())
    });
    adit.wait_for_log_times("finished with code 0", 2);
    assert_ne!(launcher(&adit), first);
    // One that is refused leaves nothing behind.
    let serving = launcher(&adit);
    adit.rewrite(|text| text.replace("cert = ", "cert = /nowhere"));
    adit.reload_refused(&["Configuration failed"]);
    wait_for("the candidate's end", || {
        (launchers(&adit) == [serving]).then_some(())
    });
    assert_eq!(ask(&adit, &certs, "test", None, "hello"), "other\nhello");
    // And one without programs has no launcher.
    let upstream = Server::echo();
    adit.rewrite(|text| {
        let text = text.replace("cert = /nowhere", "cert = ");
        text.replace(&program, upstream.line().trim())
    });
    adit.reload(1);
    wait_for("its end", || launchers(&adit).is_empty().then_some(()));
}

#[test]
fn a_killed_launcher_is_replaced_and_sessions_go_on() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let adit = plan
        .service("test", certs.server().lines() + "exec = /bin/cat\n")
        .start();
    let mut old = dial(&adit, &certs, "test", None);
    peers::says_and_hears(&mut old, "hello");
    let first = launcher(&adit);
    send(first, Signal::SIGKILL);
    wait_for("another launcher", || {
        launchers(&adit).into_iter().find(|&pid| pid != first)
    });
    wait_for("a program by it", || {
        (ask(&adit, &certs, "test", None, "hello") == "hello").then_some(())
    });
    peers::says_and_hears(&mut old, "again");
    adit.wait_for_log("finished with code 0");
    // The first one's program is told of as any is, and not as a worker.
    tls::end(&mut old);
    adit.wait_for_log_times("finished with code 0", 2);
    assert_eq!(adit.count_in_log("An orphaned worker"), 0);
}

#[test]
fn a_launcher_that_stands_still_costs_its_sessions_after_timeoutconnect() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let relay = format!("client = yes\n{}", upstream.line());
    let adit = Plan::new()
        .service(
            "test",
            certs.server().lines() + "exec = /bin/cat\nTIMEOUTconnect = 1\n",
        )
        .service("relay", relay)
        .start();
    let pid = launcher(&adit);
    proc::freeze(pid);
    let mut client = dial(&adit, &certs, "test", None);
    let mut other = adit.connect("relay");
    assert!(goes_on(&mut other));
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("exec: TIMEOUTconnect exceeded");
    send(pid, Signal::SIGCONT);
    assert_eq!(ask(&adit, &certs, "test", None, "hello"), "hello");
}

#[test]
fn in_a_jail_the_program_is_the_jails_and_runs_as_its_user() {
    require!(root);
    require!(adit);
    require!(program "ldd");
    let certs = Certs::new();
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    let cat = installed("cat").expect("cat");
    let libraries = Command::new("ldd").arg(&cat).output().expect("ldd");
    let libraries = String::from_utf8(libraries.stdout).expect("text");
    let files = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in files.map(PathBuf::from).chain([cat.clone()]) {
        let inside = jail.join(file.strip_prefix("/").expect("a full path"));
        fs::create_dir_all(inside.parent().expect("a folder")).expect("mkdir");
        fs::copy(&file, inside).expect("cp");
    }
    fs::create_dir(jail.join("proc")).expect("mkdir");
    fs::write(jail.join("inside"), "inside").expect("a file");
    let lines = format!(
        "{}exec = {}\nexecArgs = cat /inside -\n",
        certs.server().lines(),
        cat.display()
    );
    let adit = plan
        .global(format!(
            "chroot = {}\nsetuid = nobody\nsetgid = nogroup",
            jail.display()
        ))
        .service("test", lines)
        .start();
    let mut client = dial(&adit, &certs, "test", None);
    let mut said = [0; 6];
    std::io::Read::read_exact(&mut client, &mut said).expect("the file");
    assert_eq!(&said, b"inside");
    let launcher = launcher(&adit);
    let program = proc::children(launcher);
    assert_eq!(program.len(), 1);
    for pid in [launcher, program[0]] {
        let status = proc::status(pid);
        for name in ["Uid", "Gid"] {
            let ids = &status[name];
            assert!(
                ids.split_whitespace().all(|id| id == "65534"),
                "{name}: {ids}"
            );
        }
        assert!(
            ["", "65534"].contains(&status["Groups"].as_str()),
            "{}",
            status["Groups"]
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
        assert_eq!(proc::root(pid), jail);
    }
    assert_eq!(proc::listeners(launcher), 0);
}

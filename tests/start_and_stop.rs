//! Start and stop: the pid file, the daemon's report to its starter, and SIGTERM.

use std::fs;

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::{client_mode, goes_on, open, start, wait_until_refused};
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, proc, tls, wait_for};

#[test]
fn term_stops_everything_and_removes_the_pid_file() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let file = plan.folder().join("adit.pid");
    let adit = plan
        .global(format!("pid = {}", file.display()))
        .service("test", client_mode(&certs, &upstream))
        .start();
    let mut client = open(&adit);
    let pid = fs::read_to_string(&file).expect("a pid file");
    assert_eq!(pid.trim(), adit.pid().to_string());
    // Without drainTimeout it does not wait for the open connection.
    let (status, log) = adit.stop();
    assert!(status.success(), "{status}");
    assert!(log.contains("Terminated"), "{log}");
    assert!(!file.exists(), "the pid file is left over");
    assert!(!goes_on(&mut client));
}

#[test]
fn term_lets_connections_end_within_draintimeout() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let mut adit = start(&certs, &upstream, "drainTimeout = 60");
    let address = adit.address("test");
    let mut client = open(&adit);
    let family = proc::family(adit.pid());
    adit.signal(Signal::SIGTERM);
    wait_until_refused(address);
    assert!(goes_on(&mut client), "the connection was cut");
    drop(client);
    assert!(adit.wait_for_exit().success());
    proc::wait_for_end(&family);
}

#[test]
fn draintimeout_ends_what_does_not_end_by_itself() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let mut adit = start(&certs, &upstream, "drainTimeout = 1");
    let mut client = open(&adit);
    let family = proc::family(adit.pid());
    adit.signal(Signal::SIGTERM);
    assert!(adit.wait_for_exit().success());
    proc::wait_for_end(&family);
    let _ = peers::read_until_gone(&mut client);
}

fn daemon(certs: &Certs, upstream: &Server) -> (Plan, std::path::PathBuf) {
    let plan = Plan::new();
    let file = plan.folder().join("adit.pid");
    let line = format!("pid = {}", file.display());
    (
        plan.daemon()
            .global(line)
            .service("test", client_mode(certs, upstream)),
        file,
    )
}

#[test]
fn as_a_daemon_it_returns_to_its_starter_when_it_serves() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let (plan, file) = daemon(&certs, &upstream);
    let mut adit = plan.launch();
    assert!(adit.wait_for_exit().success(), "{}", adit.everything_said());
    // From here on it serves already, without waiting. (stunnel returns before its pid file is
    // written.)
    let pid = if crate::support::stand_in().is_some() {
        wait_for("the pid file", || {
            fs::read_to_string(&file).ok()?.trim().parse().ok()
        })
    } else {
        let text = fs::read_to_string(&file).expect("a pid file");
        text.trim().parse().expect("a number")
    };
    adit.adopt(pid);
    assert!(goes_on(&mut open(&adit)));
    let family = proc::family(adit.pid());
    adit.signal(Signal::SIGTERM);
    proc::wait_for_end(&family);
    assert!(!file.exists(), "the pid file is left over");
}

#[test]
fn as_a_daemon_it_tells_its_starter_when_it_cannot_serve() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("its address");
    let lines = format!("accept = {}\n{}", taken.1, client_mode(&certs, &upstream));
    Plan::new()
        .daemon()
        .service("test", lines)
        .run()
        .exits(1)
        .says(&["Address already in use"]);
}

#[test]
fn a_second_instance_with_the_same_pid_file_does_not_start() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let file = plan.folder().join("adit.pid");
    let line = format!("pid = {}", file.display());
    let adit = plan
        .global(&line)
        .service("test", client_mode(&certs, &upstream))
        .start();
    let second = Plan::new()
        .global(&line)
        .service("test", client_mode(&certs, &upstream))
        .run();
    second.exits(1).says(&["adit.pid"]);
    assert!(goes_on(&mut open(&adit)));
    let pid = fs::read_to_string(&file).expect("the first one's file");
    assert_eq!(pid.trim(), adit.pid().to_string());
}

#[test]
fn a_pid_file_of_a_dead_instance_is_taken_over() {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let file = plan.folder().join("adit.pid");
    // No process has this number, which is above the highest possible one.
    fs::write(&file, "4194305\n").expect("writing");
    let line = format!("pid = {}", file.display());
    let adit = plan
        .global(line)
        .service("test", client_mode(&certs, &upstream))
        .start();
    let pid = fs::read_to_string(&file).expect("a pid file");
    assert_eq!(pid.trim(), adit.pid().to_string());
}

#[test]
fn a_reload_that_is_broken_off_by_term_leaves_no_file() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let mut adit = start(&certs, &upstream, "workers = 1");
    let folder = adit.plan.folder().to_owned();
    let roles = proc::roles(adit.pid());
    proc::freeze(roles.resolver);
    let (control, pid) = (folder.join("control"), folder.join("pid"));
    let globals = format!("control = {}\npid = {}\n", control.display(), pid.display());
    adit.rewrite(|text| globals + &text + "connect = localhost:1\n");
    adit.signal(Signal::SIGHUP);
    wait_for("a candidate's files", || {
        (control.exists() && pid.exists()).then_some(())
    });
    adit.signal(Signal::SIGTERM);
    assert!(adit.wait_for_exit().success());
    assert!(!control.exists() && !pid.exists());
}

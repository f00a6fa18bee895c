//! An address that is taken: a start, a reload and `adit check` name the program that has it.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::require;
use crate::support::adit::program;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

/// `adit check` for this plan.
#[track_caller]
fn check(plan: &Plan, strict: bool) -> (Option<i32>, String) {
    let _ = plan.command();
    let mut command = Command::new(program());
    command.arg("check").args(strict.then_some("--strict"));
    let output = command
        .arg(plan.file())
        .env("RUNTIME_DIRECTORY", plan.folder())
        .stdin(Stdio::null())
        .output()
        .expect("starting the program");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// The message for an address that this process has.
fn has_it(address: &str) -> String {
    let own = std::process::id();
    let name = std::fs::read_to_string("/proc/self/comm").expect("a name");
    let name = name.trim_end();
    format!("{address}: Address already in use (98): {name} (PID {own}) has it")
}

#[test]
fn a_start_and_a_reload_name_the_program_that_has_the_port() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let (_listener, address) = taken();
    let lines = upstream.line() + &certs.server().lines();
    let phrase = format!(
        "Binding service [taken] to {}",
        has_it(&address.to_string())
    );
    let busy = format!("accept = {address}\n{lines}");
    Plan::new()
        .service("taken", &busy)
        .run()
        .exits(1)
        .says(&[&phrase, "give `accept` another port"]);
    let adit = Plan::new().service("test", lines).start();
    adit.rewrite(|text| text + "[taken]\n" + &busy);
    adit.reload_refused(&[&phrase]);
}

#[test]
fn check_warns_of_a_port_that_another_program_has_and_names_it() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let (listener, address) = taken();
    let lines = upstream.line() + &certs.server().lines();
    let plan = Plan::new().service("test", format!("accept = {address}\n{lines}"));
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(0), "{said}");
    let phrase = has_it(&address.to_string());
    assert!(
        said.contains("warning: Service [test]") && said.contains(&phrase),
        "{said}"
    );
    assert_eq!(check(&plan, true).0, Some(1));
    drop(listener);
    assert_eq!(check(&plan, true).0, Some(0));
    // The running adit's own addresses are not reported.
    let adit = plan.start();
    let (code, said) = check(&adit.plan, true);
    assert_eq!(code, Some(0), "{said}");
    // Another instance is not the same adit.
    let other = Plan::new().service("test", format!("accept = {address}\n{lines}"));
    let (code, said) = check(&other, true);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("(PID {}) has it", adit.pid())),
        "{said}"
    );
}

#[test]
fn a_unix_socket_that_another_program_has_is_told_likewise() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let plan = Plan::new();
    let path = plan.folder().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let lines = upstream.line() + &certs.server().lines();
    let plan = plan.service("test", format!("accept = {}\n{lines}", path.display()));
    let phrase = has_it(&path.display().to_string());
    let (code, said) = check(&plan, true);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&phrase), "{said}");
    drop(listener);
    // Stale, and replaced by a start.
    assert_eq!(check(&plan, true).0, Some(0));
    plan.start();
}

#[test]
fn of_two_services_with_one_port_the_second_is_told_which_has_it() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let (listener, address) = taken();
    drop(listener);
    let lines = upstream.line() + &certs.server().lines();
    let port = address.port();
    let plan = Plan::new()
        .service("all", format!("accept = {port}\n{lines}"))
        .service("one", format!("accept = {address}\n{lines}"));
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    let phrase = format!("error: Service [one]: service [all] has 0.0.0.0:{port} already, by ");
    assert!(said.contains(&phrase), "{said}");
    plan.run().exits(1).says(&[
        &format!(
            "Binding service [one] to {address}: Address already in use (98): service [all] has it, by "
        ),
        "Binding service [one] failed",
        "; this is ",
    ]);
}

#[test]
fn an_owner_of_a_unix_socket_that_the_system_does_not_know_is_told_by_check() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let plan = Plan::new();
    let path = plan.folder().join("socket");
    let lines = upstream.line() + &certs.server().lines();
    let lines = format!(
        "accept = {}\nsetuid = no-such-user\n{lines}",
        path.display()
    );
    let (code, said) = check(&plan.service("test", lines), false);
    assert_eq!(code, Some(1), "{said}");
    let phrases = [
        "no user \"no-such-user\"",
        "help: give one that `getent passwd` lists",
    ];
    for phrase in phrases {
        assert!(said.contains(phrase), "no {phrase:?} in {said}");
    }
}

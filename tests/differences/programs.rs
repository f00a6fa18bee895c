//! Differences about programs and inetd.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::both;
use crate::require;
use crate::support::peers;
use crate::support::{Certs, Plan, tls};

#[test]
fn in_inetd_mode_errors_are_not_told_to_the_client() {
    require_both!();
    let heard = |path: &Path| {
        let plan = Plan::new();
        fs::write(plan.file(), "exec = /bin/cat\n").expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = peers::connect(listener.local_addr().expect("its address"));
        let socket = OwnedFd::from(listener.accept().expect("a connection").0);
        let copy = || Stdio::from(socket.try_clone().expect("dup"));
        let mut command = Command::new(path);
        command
            .arg(plan.file())
            .stdin(copy())
            .stdout(copy())
            .stderr(copy());
        let status = command.status().expect("the program");
        assert_eq!(status.code(), Some(1));
        drop((command, socket));
        String::from_utf8_lossy(&peers::read_to_end(&mut client)).into_owned()
    };
    let [stunnel, adit] = both(heard);
    assert!(
        stunnel.contains("TLS server needs a certificate"),
        "{stunnel}"
    );
    assert_eq!(adit, "");
}

#[test]
fn a_program_that_is_missing_is_told_and_resets() {
    require_both!();
    let certs = Certs::new();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let log = |path: &Path| {
        let lines = certs.server().lines() + "exec = /nowhere/program\n";
        let adit = Plan::new().program(path).service("test", lines).start();
        let mut client = tls::connect(config.clone(), adit.address("test"));
        let clean = peers::read_until_gone(&mut client).is_ok();
        drop(client);
        adit.wait_for_log("Service [test] finished (0 left)");
        (clean, adit.log())
    };
    let [(stunnel_clean, stunnel), (adit_clean, adit)] = both(log);
    assert!(stunnel_clean && !adit_clean);
    assert!(!stunnel.contains("No such file"), "{stunnel}");
    assert!(
        adit.contains("exec /nowhere/program: No such file or directory (2)"),
        "{adit}"
    );
}

#[test]
fn a_program_cannot_trace_another() {
    require_both!();
    require!(root);
    require!(program "strace");
    let certs = Certs::new();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let heard = |path: &Path| {
        let plan = Plan::new();
        // Standard error is no descriptor of the client's.
        let trace = plan.folder().join("trace").display().to_string();
        let lines = certs.server().lines()
            + &format!("exec = /usr/bin/strace\nexecArgs = strace -o {trace} /bin/echo traced\n");
        let adit = plan.program(path).service("test", lines).start();
        let mut client = tls::connect(config.clone(), adit.address("test"));
        let heard = peers::read_until_gone(&mut client).unwrap_or_default();
        String::from_utf8_lossy(&heard).into_owned()
    };
    let [stunnel, adit] = both(heard);
    assert_eq!((stunnel.as_str(), adit.as_str()), ("traced\n", ""));
}

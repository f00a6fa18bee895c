//! `socket`: each name that stunnel has reaches the kernel as it does there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::Server;
use crate::support::{Certs, Plan, installed, peers, tls, wait_for};

/// A value for each name that differs from what the kernel begins with. SO_DEBUG is left out: only root may set it.
const VALUES: [&str; 20] = [
    "SO_DONTROUTE=yes",
    "SO_KEEPALIVE=yes",
    "SO_LINGER=1:5",
    "SO_OOBINLINE=yes",
    "SO_RCVBUF=65536",
    "SO_SNDBUF=65536",
    "SO_RCVLOWAT=1",
    "SO_SNDLOWAT=1",
    "SO_RCVTIMEO=7:0",
    "SO_SNDTIMEO=8:0",
    "SO_REUSEADDR=yes",
    "SO_BINDTODEVICE=lo",
    "TCP_KEEPCNT=5",
    "TCP_KEEPIDLE=61",
    "TCP_KEEPINTVL=17",
    "IP_TOS=16",
    "IP_TTL=33",
    "TCP_NODELAY=no",
    "IP_FREEBIND=yes",
    "IPV6_V6ONLY=no",
];

/// What `program` says to the kernel for a connection: the calls without their descriptors.
fn calls(program: &Path) -> BTreeSet<String> {
    let upstream = Server::echo();
    let plan = Plan::new();
    let trace = plan.folder().join("trace");
    let options: String = VALUES
        .iter()
        .flat_map(|value| ["l", "r"].map(|on| format!("socket = {on}:{value}\n")))
        .collect();
    let (file, trace_file) = (plan.file(), trace.display().to_string());
    let adit = plan
        .global("pid =")
        .service(
            "test",
            format!("client = yes\n{}{options}", upstream.line()),
        )
        .program("/usr/bin/strace")
        .arguments(&[
            "-f",
            "-qq",
            "-e",
            "trace=setsockopt",
            "-o",
            &trace_file,
            &program.display().to_string(),
            &file.display().to_string(),
        ])
        .start();
    let _client = adit.connect("test");
    adit.wait_for_log("s_connect: connected");
    let read = || fs::read_to_string(&trace).ok();
    // The last of them, on the socket to the server.
    let text = wait_for("the calls in the trace", || {
        let text = read()?;
        (text.matches("IPV6_V6ONLY").count() >= 2).then_some(text)
    });
    let call = |line: &str| {
        Some(
            line.split_once("setsockopt(")?
                .1
                .split_once(", ")?
                .1
                .to_owned(),
        )
    };
    // stunnel counts the name's zero in.
    let call = |line: &str| call(line).map(|call| call.replace("\\0\", 3)", "\", 2)"));
    let all = text.lines().filter_map(call);
    // At the end of a connection, which may be in the trace already, stunnel resets it so.
    all.filter(|call| !call.contains("l_linger=0")).collect()
}

#[test]
fn each_name_reaches_the_kernel_as_with_stunnel() {
    require!(root);
    require!(adit);
    require!(program "strace");
    require!(program "stunnel4");
    let stunnel = installed("stunnel4").expect("asked for before");
    let said = Command::new(&stunnel)
        .arg("-sockets")
        .output()
        .expect("stunnel");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    let is_name = |word: &&str| {
        ["SO_", "TCP_", "IP_", "IPV6_"]
            .iter()
            .any(|p| word.starts_with(p))
    };
    let known: Vec<&str> = said
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    for name in known
        .iter()
        .filter(|word| is_name(word) && **word != "SO_DEBUG")
    {
        let given = VALUES
            .iter()
            .any(|value| value.split('=').next() == Some(name));
        assert!(given, "{name} has no value here");
    }
    let theirs = calls(&stunnel);
    let ours = calls(&program());
    let words: Vec<&String> = theirs.difference(&ours).collect();
    assert!(
        words.is_empty(),
        "adit does not say {words:#?}, but {ours:#?}"
    );
    assert!(theirs.len() >= VALUES.len(), "{theirs:#?}");
}

/// What the kernel refuses costs a line, and no connection.
#[test]
fn a_socket_option_that_is_refused_is_told_and_the_connection_goes_on() {
    require!(adit);
    let upstream = Server::echo();
    let certs = Certs::new();
    let service = upstream.line() + &certs.server().lines() + "socket = r:SO_SNDLOWAT=1\n";
    let adit = Plan::new().service("test", service).start();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
    adit.wait_for_log("setsockopt SO_SNDLOWAT: Protocol not available (92)");
    adit.wait_for_log("Failed to set remote socket options");
}

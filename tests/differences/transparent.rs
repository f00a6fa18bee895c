//! Differences about `transparent`, each in a network of three machines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{both, is_adit};
use crate::require;
use crate::support::network::{ROUTER, SERVER};
use crate::support::{Certs, Plan, installed};
use crate::transparent::{Net, REDIRECT, SOURCE, TPROXY, at, reaches};

/// Whether a client of IPv4 that goes there reaches the server, by each program.
fn reached(rules: &[&str], globals: &str, lines: &str, to: std::net::SocketAddr) -> [bool; 2] {
    both(|path: &Path| {
        // In a thread of its own, since that is in the network for good.
        std::thread::scope(|scope| {
            let one = scope.spawn(|| {
                let net = Net::new(rules);
                let service = format!("{}TIMEOUTconnect = 1\n{lines}", net.certs.server().lines());
                let plan = Plan::new().program(path).global(globals);
                let plan = plan.service("test", service);
                // stunnel opens it as the user of `setuid`.
                let log = plan.folder().join("log");
                fs::write(&log, "").expect("a file");
                fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("chmod");
                let _adit = plan.start();
                let client = net.dial(to);
                client.is_some_and(|mut client| reaches(&mut client))
            });
            one.join().expect("no panic")
        })
    })
}

macro_rules! require_network {
    () => {
        require!(root);
        require_both!();
        require!(installed("ip").is_some(), "ip is not installed");
        require!(installed("nft").is_some(), "nft is not installed");
    };
}

fn from_client(accept: &str) -> String {
    format!(
        "accept = {accept}\nconnect = {}:80\ntransparent = source\n",
        SERVER[0]
    )
}

#[test]
fn the_server_sees_the_client_though_root_is_given_up() {
    require_network!();
    let lines = from_client("0.0.0.0:8443");
    let to = at(ROUTER[0], 8443);
    let jail = "setuid = nobody\nsetgid = nogroup";
    assert_eq!(reached(&[SOURCE], jail, &lines, to), [false, true]);
}

#[test]
fn a_client_by_ipv4_at_a_listener_of_both_families_is_shown_to_the_server() {
    require_network!();
    let lines = from_client(":::8443");
    let to = at(ROUTER[0], 8443);
    assert_eq!(reached(&[SOURCE], "", &lines, to), [false, true]);
}

#[test]
fn a_client_that_redirect_sends_is_shown_to_the_server() {
    require_network!();
    let lines = "accept = 0.0.0.0:8443\ntransparent = both\n";
    let to = at(SERVER[0], 80);
    assert_eq!(reached(&[REDIRECT, SOURCE], "", lines, to), [false, true]);
}

#[test]
fn a_client_that_tproxy_sends_is_served() {
    require_network!();
    let lines = "accept = 0.0.0.0:8443\ntransparent = destination\n";
    // Past a stunnel the client goes to the server itself, which speaks no TLS.
    let to = at(SERVER[0], 80);
    assert_eq!(reached(&[TPROXY], "", lines, to), [false, true]);
}

#[test]
fn a_program_is_given_no_library() {
    require_both!();
    let certs = Certs::new();
    let starts = both(|path: &Path| {
        let lines = certs.server().lines() + "exec = /bin/cat\ntransparent = source\n";
        let plan = Plan::new().program(path).service("test", lines);
        if is_adit(path) {
            plan.run()
                .exits(1)
                .says(&["is not served with `exec`", "REMOTE_HOST"]);
            return false;
        }
        drop(plan.start());
        true
    });
    assert_eq!(starts, [true, false]);
}

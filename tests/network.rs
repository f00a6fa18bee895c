//! What depends on the machine's network: each test has its own network namespace with only a loopback
//! interface, and configures it as needed.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::support::dns::{self, NameServer};
use crate::support::{Adit, Plan, installed, wait_for};

macro_rules! require_network {
    () => {
        crate::require!(root);
        crate::require!(installed("ip").is_some(), "ip is not installed");
        // Of this thread, and of the processes it starts.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
        shell("ip link set lo up");
    };
}

fn shell(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status();
    assert!(status.expect("a shell").success(), "{command}");
}

fn connects(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    TcpStream::connect(address).is_ok()
}

const BOTH: [&str; 2] = ["127.0.0.1:7001", "[::1]:7001"];

fn accepting(accept: &str, v6_only: u8, more: &str) -> Adit {
    shell(&format!("echo {v6_only} >/proc/sys/net/ipv6/bindv6only"));
    let lines = format!("client = yes\naccept = {accept}\nconnect = 127.0.0.1:9\n{more}");
    Plan::new().service("test", lines).start()
}

/// As in stunnel 5.68, which passes this test too.
#[test]
fn a_port_alone_is_bound_in_each_family_that_can_be_bound_beside_the_other() {
    require_network!();
    // accept, net.ipv6.bindv6only, whether IPv4 and IPv6 are served
    for (accept, v6_only, served) in [
        ("7001", 0, [true, false]),
        ("7001", 1, [true, true]),
        ("*:7001", 1, [true, true]),
        (":::7001", 0, [true, true]),
        (":::7001", 1, [false, true]),
        ("0.0.0.0:7001", 1, [true, false]),
    ] {
        let _adit = accepting(accept, v6_only, "");
        assert_eq!(BOTH.map(connects), served, "{accept}, {v6_only}");
    }
    // IPv4 has no such option, and its listener fails.
    let adit = accepting("7001", 0, "socket = a:IPV6_V6ONLY=yes\n");
    assert_eq!(BOTH.map(connects), [false, true]);
    drop(adit);
    crate::require!(adit);
    let adit = accepting("7001", 1, "");
    assert_eq!(adit.count_in_log("bound to"), 2);
    adit.reload(2);
    assert_eq!(BOTH.map(connects), [true, true]);
}

#[test]
fn with_a_name_server_that_is_silent_all_names_are_asked_for_before_one_is_given_up() {
    require_network!();
    crate::require!(adit);
    let server = NameServer::start();
    let plan = Plan::new();
    let wrapper = dns::asking_program(&plan, 5);
    let names = ["one.example", "two.example", "three.example"];
    let plan = names.iter().fold(plan, |plan, name| {
        plan.service(name, format!("client = yes\nconnect = {name}:25\n"))
    });
    let adit = plan.program(wrapper).launch();
    wait_for("a query for each name", || {
        let mut names = names.iter();
        names.all(|name| server.was_asked_for(name)).then_some(())
    });
    assert_eq!(adit.count_in_log("Error resolving"), 0);
    // It serves all the same; names are asked for again when they are needed.
    adit.wait_for_log("Accepting new connections");
    for name in names {
        let phrase = format!("Error resolving \"{name}\"");
        assert_eq!(adit.count_in_log(&phrase), 1, "{name}");
    }
}

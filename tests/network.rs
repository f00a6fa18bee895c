//! What depends on the machine's network: each test has a network of its own, with nothing but a
//! loopback interface, and sets it as it needs it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use nix::sched::{CloneFlags, setns};

use crate::support::adit::program;
use crate::support::{Adit, Plan, installed};

macro_rules! require_network {
    () => {
        crate::require!(root);
        crate::require!(
            installed("unshare").is_some() && installed("ip").is_some(),
            "unshare and ip are needed for a network of its own"
        );
    };
}

/// The plan, to be started in a network of its own, after these shell commands.
fn in_network(plan: Plan, setup: &str) -> Plan {
    let wrapper = plan.folder().join("in-network");
    let text = format!(
        "#!/bin/sh\nexec unshare --net --mount sh -ec 'ip link set lo up\n{setup}\nexec {} \"$@\"' sh \"$@\"\n",
        program().display()
    );
    fs::write(&wrapper, text).expect("writing");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("chmod");
    plan.program(wrapper)
}

/// Connects in the network of that process; only the thread that does so enters it.
fn connects(pid: i32, address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    let network = fs::File::open(format!("/proc/{pid}/ns/net")).expect("a living process");
    let client = std::thread::spawn(move || {
        setns(network, CloneFlags::CLONE_NEWNET).expect("setns");
        TcpStream::connect(address).is_ok()
    });
    client.join().expect("no panic")
}

fn accepting(accept: &str, v6_only: u8, more: &str) -> Adit {
    let lines = format!("client = yes\naccept = {accept}\nconnect = 127.0.0.1:9\n{more}");
    let setup = format!("echo {v6_only} >/proc/sys/net/ipv6/bindv6only");
    in_network(Plan::new().service("test", lines), &setup).start()
}

/// As stunnel 5.68, with which these tests pass too.
#[test]
fn a_port_alone_is_bound_in_each_family_that_can_be_bound_beside_the_other() {
    require_network!();
    // accept, net.ipv6.bindv6only, whether IPv4 and IPv6 are served
    for (accept, v6_only, v4, v6) in [
        ("7001", 0, true, false),
        ("7001", 1, true, true),
        ("*:7001", 1, true, true),
        (":::7001", 0, true, true),
        (":::7001", 1, false, true),
        ("0.0.0.0:7001", 1, true, false),
    ] {
        let adit = accepting(accept, v6_only, "");
        let served = ["127.0.0.1:7001", "[::1]:7001"].map(|to| connects(adit.pid(), to));
        assert_eq!(
            served,
            [v4, v6],
            "accept = {accept}, bindv6only = {v6_only}"
        );
        assert_eq!(
            adit.count_in_log("bound to"),
            1 + usize::from(accept.len() < 7 && v6_only == 1)
        );
    }
    // IPv4 has no such option, and its listener fails.
    let adit = accepting("7001", 0, "socket = a:IPV6_V6ONLY=yes\n");
    assert!(!connects(adit.pid(), "127.0.0.1:7001") && connects(adit.pid(), "[::1]:7001"));
    crate::require!(adit);
    let adit = accepting("7001", 1, "");
    adit.reload(2);
    for to in ["127.0.0.1:7001", "[::1]:7001"] {
        assert!(connects(adit.pid(), to), "{to} after a reload");
    }
}

//! Names are patient: what had addresses keeps them while DNS is silent, and what is slow delays nothing else. Each test
//! has a network and a name server of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::admission::from;
use crate::require;
use crate::supervision::{goes_on, send};
use crate::support::adit::program;
use crate::support::dns::{self, NameServer, Says};
use crate::support::peers::{Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};
use crate::upgrade::next_version;

macro_rules! require_own_network {
    () => {
        crate::require!(root);
        crate::require!(adit);
        crate::require!(program "ip");
        crate::require!(program "unshare");
        // Of this thread, and of the processes it starts.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network of its own");
        let up = std::process::Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success());
    };
}

pub(crate) use require_own_network;

/// A service that connects to a name, and speaks TLS with what is there.
fn to_name(name: &str, certs: &Certs, upstream: &Server) -> String {
    let (port, ca) = (upstream.address.port(), certs.ca_line());
    format!("client = yes\nconnect = {name}:{port}\n{ca}verifyChain = yes\n")
}

/// Serves a client over whatever addresses it has.
fn serves(adit: &Adit) {
    let mut client = adit.connect("test");
    says_and_hears(&mut client, "hello");
}

/// Ends every process that could replace the master without a look at names; another is loaded from disk.
fn kill_master_and_spare(adit: &Adit, nth: usize) {
    // Those of the last generation may still be there.
    let [spare, master] = wait_for("a spare that stands", || {
        let status = adit.status();
        let mut all = status["generations"].as_array()?.iter();
        let serving = all.find(|generation| generation["state"] == "serving")?;
        let pids = ["spare", "pid"].map(|name| serving[name].as_i64());
        let [spare, master] = pids.map(|pid| pid.and_then(|pid| i32::try_from(pid).ok()));
        Some([spare.filter(|pid| *pid != 0)?, master?])
    });
    // It forks no other.
    proc::freeze(master);
    send(spare, Signal::SIGKILL);
    adit.wait_for_log_times("was killed by SIGKILL; starting another in", nth);
    send(master, Signal::SIGKILL);
    adit.wait_for_log_times("serves in place of the dead one", nth);
}

const KEPT: &str = "keeping the addresses that it had: 127.0.0.1";

#[test]
fn a_name_keeps_its_addresses_over_a_reload_a_death_and_a_new_program_until_dns_says_otherwise() {
    require_own_network!();
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let server = NameServer::start();
    server.say("mail.example", Says::Address(Ipv4Addr::LOCALHOST));
    server.say("here.example", Says::Address(Ipv4Addr::LOCALHOST));
    let plan = Plan::new();
    let installed = plan.folder().join("adit");
    fs::copy(program(), &installed).expect("copy");
    let wrapper = dns::asking(&plan, &installed, 1, &[]);
    let lines = to_name("mail.example", &certs, &upstream) + "accept = here.example:7001\n";
    let control = format!("control = {}/control", plan.folder().display());
    let plan = plan.program(wrapper).global(control);
    let adit = plan.service("test", lines).start();
    serves(&adit);
    assert_eq!(adit.count_in_log(KEPT), 0);
    // The name server fails, and a reload goes on with what there is.
    server.say("mail.example", Says::Failure);
    server.say("here.example", Says::Nothing);
    adit.reload(1);
    let line = adit.wait_for_log(KEPT);
    assert!(
        line.contains("LOG4[") && line.contains("\"here.example\""),
        "{line}"
    );
    adit.wait_for_log("connect = mail.example");
    assert_eq!(adit.count_in_log(KEPT), 2, "one for each name");
    let status = adit.status();
    assert_eq!(status["names"]["mail.example"]["kept"], true, "{status}");
    serves(&adit);
    // Nothing is left that knows the names but the supervisor.
    send(proc::roles(adit.pid()).resolver, Signal::SIGKILL);
    kill_master_and_spare(&adit, 1);
    assert_eq!(adit.count_in_log(KEPT), 4);
    serves(&adit);
    next_version(&installed);
    adit.reload(1);
    adit.wait_for_log("has taken over");
    // When it rehearsed, and in force.
    assert_eq!(adit.count_in_log(KEPT), 8);
    serves(&adit);
    // An answer counts, also one that there is nothing.
    server.say("mail.example", Says::NoSuchName);
    server.say("here.example", Says::Address(Ipv4Addr::LOCALHOST));
    adit.reload(1);
    adit.wait_for_log("delaying DNS lookup");
    assert_eq!(adit.count_in_log(KEPT), 8);
    let status = adit.status();
    assert_eq!(
        status["names"].as_object().map(serde_json::Map::len),
        Some(1)
    );
}

#[test]
fn addresses_are_looked_up_again_while_adit_runs_and_given_to_every_master_and_worker() {
    require_own_network!();
    let certs = Certs::new();
    // Two servers at one port.
    let [first, second] = [1, 2].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let serve = |address: Ipv4Addr, port, says: &'static [u8]| {
        let listener = TcpListener::bind((address, port)).expect("its address");
        let config = Arc::clone(&config);
        Server::on(listener, move |stream| {
            if let Ok(mut stream) = tls::start_server(Arc::clone(&config), stream) {
                let _ = stream.write_all(says);
                tls::end(&mut stream);
            }
        })
    };
    let one = serve(first, 0, b"one");
    let port = one.address.port();
    let _two = serve(second, port, b"two");
    let names = NameServer::start();
    names.say("mail.example", Says::Address(first));
    let plan = Plan::new();
    let wrapper = dns::asking_program(&plan, 1);
    let lines = to_name("mail.example", &certs, &one);
    let control = format!("control = {}/control", plan.folder().display());
    let plan = plan
        .program(wrapper)
        .global("resolveInterval = 1\nworkers = 2\ndebug = 6")
        .global(control);
    let adit = plan.service("test", lines).start();
    let hears = |expected: &str| {
        let said = || {
            let mut said = String::new();
            let read = adit.connect("test").read_to_string(&mut said);
            read.map(|_| said).unwrap_or_default()
        };
        wait_for(expected, || (said() == expected).then_some(()));
        // Whichever worker it is.
        let mut both = [adit.connect("test"), adit.connect("test")];
        for client in &mut both {
            let mut said = String::new();
            client.read_to_string(&mut said).expect("what it says");
            assert_eq!(said, expected);
        }
    };
    hears("one");
    names.say("mail.example", Says::Address(second));
    adit.wait_for_log("Name \"mail.example\" has other addresses: 127.0.0.2 (before: 127.0.0.1)");
    hears("two");
    // DNS is silent: they are kept, told of once, and known to the master and the workers that come then.
    names.say("mail.example", Says::Failure);
    let line = adit.wait_for_log("keeping the addresses that it had: 127.0.0.2");
    assert!(line.contains("LOG4["), "{line}");
    let master = adit.status()["generations"][0]["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok());
    wait_for("a spare that stands", || {
        let status = adit.status();
        status["generations"][0]["spare"]
            .as_i64()
            .filter(|pid| *pid != 0)
    });
    send(master.expect("a master"), Signal::SIGKILL);
    adit.wait_for_log("serves in place of the dead one");
    hears("two");
    adit.reload(1);
    hears("two");
    // An answer counts, also that there is no such name: then each connection asks.
    names.say("mail.example", Says::NoSuchName);
    adit.wait_for_log("its addresses count no more");
    names.say("mail.example", Says::Address(first));
    hears("one");
    adit.wait_for_log("has other addresses: 127.0.0.1 (before: none)");
    assert_eq!(
        adit.count_in_log("keeping the addresses that it had"),
        2,
        "once more at the reload"
    );
}

#[test]
fn dead_names_of_twenty_services_delay_no_session_of_another() {
    require_own_network!();
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let server = NameServer::start();
    server.say("mail.example", Says::Address(Ipv4Addr::LOCALHOST));
    let plan = Plan::new();
    let wrapper = dns::asking_program(&plan, 30);
    let names = (0..20).map(|number| format!("dead{number}.example"));
    let more = "delay = yes\nTIMEOUTconnect = 60\n";
    let plan = names.clone().fold(plan, |plan, name| {
        let lines = to_name(&name, &certs, &upstream) + more;
        plan.service(&name, lines)
    });
    let lines = to_name("mail.example", &certs, &upstream) + more;
    let adit = plan.program(wrapper).service("test", lines).start();
    let waiting: Vec<TcpStream> = names.map(|name| adit.connect(&name)).collect();
    wait_for("a question for each name", || {
        (server.count_asked(".example") == waiting.len()).then_some(())
    });
    serves(&adit);
    assert_eq!(adit.count_in_log("Error resolving"), 0, "none was given up");
    assert_eq!(adit.count_in_log("TIMEOUTconnect exceeded"), 0);
}

#[test]
fn a_session_waits_for_a_name_no_longer_than_timeout_connect() {
    require_own_network!();
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let _server = NameServer::start();
    let plan = Plan::new();
    let wrapper = dns::asking_program(&plan, 30);
    let lines = to_name("dead.example", &certs, &upstream) + "delay = yes\nTIMEOUTconnect = 1\n";
    let adit = plan.program(wrapper).service("test", lines).start();
    let mut client = adit.connect("test");
    let read = client.read(&mut [0]);
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    adit.wait_for_log("TIMEOUTconnect exceeded: no answer from the resolver");
}

/// A program that lets clients in by name alone.
fn by_name(plan: &Plan, program: &Path) -> std::path::PathBuf {
    fs::write(plan.folder().join("hosts.allow"), "test: host.example\n").expect("writing");
    fs::write(plan.folder().join("hosts.deny"), "ALL: ALL\n").expect("writing");
    dns::asking(plan, program, 30, &["hosts.allow", "hosts.deny"])
}

#[test]
fn slow_names_of_one_networks_clients_delay_no_client_of_another() {
    require_own_network!();
    crate::libwrap::require_own_files!();
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let server = NameServer::start();
    // The tail of 127.1.0.x, and 127.0.0.9.
    server.say("9.0.0.127.in-addr.arpa", Says::Host);
    server.say("host.example", Says::Address(Ipv4Addr::new(127, 0, 0, 9)));
    let plan = Plan::new();
    let wrapper = by_name(&plan, &program());
    let lines = to_name("localhost", &certs, &upstream) + "libwrap = yes\n";
    let adit = plan.program(wrapper).service("test", lines).start();
    let address = adit.address("test");
    let slow: Vec<TcpStream> = (1..=80)
        .map(|last| {
            crate::support::peers::connect_from(Ipv4Addr::new(127, 1, 0, last), v4(address))
        })
        .collect();
    wait_for("questions for as many as may ask", || {
        (server.count_asked(".0.1.127.in-addr.arpa") == 4).then_some(())
    });
    assert!(goes_on(&mut from(9, address)));
    assert_eq!(server.count_asked(".0.1.127.in-addr.arpa"), 4);
    drop(slow);
}

fn v4(address: std::net::SocketAddr) -> std::net::SocketAddrV4 {
    match address {
        std::net::SocketAddr::V4(v4) => v4,
        std::net::SocketAddr::V6(v6) => panic!("{v6} is not IPv4"),
    }
}

#[test]
fn a_resolver_that_is_stopped_is_found_by_those_that_ask_it_and_replaced() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = to_name("localhost", &certs, &upstream) + "delay = yes\nTIMEOUTconnect = 1\n";
    let adit = Plan::new().service("test", lines).start();
    serves(&adit);
    let stopped = proc::roles(adit.pid()).resolver;
    proc::freeze(stopped);
    let mut client = adit.connect("test");
    let read = client.read(&mut [0]);
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    let line = adit.wait_for_log(&format!("The resolver (PID {stopped}) is not responding"));
    assert!(line.contains("LOG3["), "{line}");
    wait_for("another resolver", || {
        let roles = proc::children(adit.pid()).into_iter();
        let mut others = roles.filter(|&pid| proc::title(pid) == "adit: resolver");
        others.find(|&pid| pid != stopped)
    });
    let mut client = adit.connect("test");
    assert!(goes_on(&mut client));
}

//! `transparent`: the server sees the client's address, and the client reaches what it wanted to reach. Each test
//! has a network of its own, with the rules that the manual gives.

use std::io::Write;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::send;
use crate::support::adit::program;
use crate::support::network::{CLIENT, Host, ROUTER, SERVER, network, shell};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Kernel, Plan, installed, proc, stand_in, tls, wait_for};
use crate::upgrade::next_version;

/// The manual's rules.
pub const SOURCE: &str = include_str!("../src/cli/man/transparent/source.sh");
const HERE: &str = include_str!("../src/cli/man/transparent/here.sh");
pub const REDIRECT: &str = include_str!("../src/cli/man/transparent/redirect.sh");
pub const TPROXY: &str = include_str!("../src/cli/man/transparent/tproxy.sh");

/// Where one family's clients are accepted; stunnel takes no client of IPv4 at an address of IPv6 here.
const EACH: [&str; 2] = ["0.0.0.0:8443", ":::8443"];

const DESTINATION: &str = "transparent = destination\n";

macro_rules! require_network {
    () => {
        require!(root);
        require!(installed("ip").is_some(), "ip is not installed");
        require!(installed("nft").is_some(), "nft is not installed");
    };
}

/// The clients that a server has seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<SocketAddr>>>);

impl Seen {
    fn last(&self) -> SocketAddr {
        *self.0.lock().expect("no panic").last().expect("a client")
    }
}

/// An echo server at port 80 of every address of this thread's namespace.
fn server() -> (Server, Seen) {
    let seen = Seen::default();
    let sees = seen.clone();
    let listener = TcpListener::bind("[::]:80").expect("port 80");
    let server = Server::on(listener, move |mut stream| {
        if let Ok(peer) = stream.peer_addr() {
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            sees.0.lock().expect("no panic").push(peer);
        }
        let _ = peers::echo(&mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    });
    (server, seen)
}

/// The three machines, with a server on the last.
pub struct Net {
    client: Host,
    remote: Host,
    server: Option<Server>,
    seen: Seen,
    pub certs: Certs,
}

impl Net {
    pub fn new(rules: &[&str]) -> Net {
        let (client, remote) = network();
        rules.iter().for_each(|rules| shell(rules));
        let (server, seen) = remote.run(server);
        Net {
            client,
            remote,
            server: Some(server),
            seen,
            certs: Certs::new(),
        }
    }

    /// adit in server mode at port 8443 of both families.
    fn plan(&self, lines: &str) -> Plan {
        self.plan_at(":::8443", lines)
    }

    /// The same elsewhere; a stunnel must stay root.
    fn plan_at(&self, accept: &str, lines: &str) -> Plan {
        let jail = match stand_in() {
            None => "setuid = nobody\nsetgid = nogroup\nworkers = 2",
            Some(_) => "",
        };
        let lines = format!("accept = {accept}\n{}{lines}", self.certs.server().lines());
        Plan::new().global(jail).service("test", lines)
    }

    /// The client's connection; `None`: the service gives it up.
    pub fn dial(&self, to: SocketAddr) -> Option<tls::ClientStream> {
        let config = tls::client_config(&self.certs.ca(), tls::BOTH, None);
        self.client.run(move || {
            let stream = peers::connect(to);
            tls::start_client(config, stream).ok()
        })
    }

    /// The client's own address, once it has talked to the server, both to their ends.
    #[track_caller]
    fn talk(&self, to: SocketAddr) -> SocketAddr {
        let mut client = self.dial(to).expect("a handshake");
        finish(&mut client);
        client.sock.local_addr().expect("its address")
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // What ends it is a connection in its own namespace.
        let server = self.server.take();
        self.remote.run(move || drop(server));
    }
}

/// Talks; then the client's half ends, and the server's rest still comes.
#[track_caller]
fn finish(client: &mut tls::ClientStream) {
    peers::says_and_hears(client, "hello");
    client.write_all(b"the rest").expect("room for it");
    tls::end(client);
    assert_eq!(peers::read_to_end(client), b"the rest");
}

/// Whether the server is reached.
pub fn reaches(client: &mut tls::ClientStream) -> bool {
    let sent = client.write_all(b"x").and_then(|()| client.flush());
    let mut answer = [0; 1];
    sent.is_ok() && std::io::Read::read_exact(client, &mut answer).is_ok()
}

pub fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn to_server(family: usize) -> String {
    from_client(SERVER[family])
}

/// Without the brackets of IPv6, which stunnel does not know.
fn from_client(server: IpAddr) -> String {
    format!(
        "connect = {server}:80
transparent = source
"
    )
}

fn binders(adit: &Adit) -> Vec<i32> {
    let children = proc::children(adit.pid()).into_iter();
    children
        .filter(|&pid| proc::title(pid).contains("binder"))
        .collect()
}

/// It takes its title a moment after adit is ready.
fn binder(adit: &Adit) -> i32 {
    wait_for("one binder", || match binders(adit)[..] {
        [one] => Some(one),
        _ => None,
    })
}

#[test]
fn the_server_sees_the_clients_address_and_port() {
    require_network!();
    let net = Net::new(&[SOURCE]);
    for family in [0, 1] {
        let adit = net.plan_at(EACH[family], &to_server(family)).start();
        let own = net.talk(at(ROUTER[family], 8443));
        assert_eq!(own.ip(), CLIENT[family]);
        assert_eq!(net.seen.last(), own);
        adit.wait_for_log("IP_TRANSPARENT socket option set");
        adit.wait_for_log("bind succeeded on the original port");
    }
}

#[test]
fn the_server_sees_the_client_that_a_balancer_names() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let lines = format!("{}acceptProxy = {}\n", to_server(0), CLIENT[0]);
    let adit = net.plan_at(EACH[0], &lines).start();
    let (config, to) = (
        tls::client_config(&net.certs.ca(), tls::BOTH, None),
        at(ROUTER[0], 8443),
    );
    let dial = |header: &'static str| {
        let config = config.clone();
        net.client.run(move || {
            let mut stream = peers::connect(to);
            stream.write_all(header.as_bytes()).expect("sending");
            let mut client = tls::start_client(config, stream).ok()?;
            reaches(&mut client).then_some(())
        })
    };
    assert_eq!(
        dial("PROXY TCP4 10.77.1.77 203.0.113.1 1042 443\r\n"),
        Some(())
    );
    assert_eq!(
        net.seen.last(),
        "10.77.1.77:1042".parse().expect("an address")
    );
    // No worker may take this machine's own address.
    assert_eq!(dial("PROXY TCP4 127.0.0.7 203.0.113.1 1042 443\r\n"), None);
    adit.wait_for_log("the address is none that a client was accepted from");
}

#[test]
fn the_server_sees_the_client_on_older_kernels_too() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    for kernel in [Kernel::linux_4_18(), Kernel::behind_an_allow_list()] {
        let _adit = net.plan(&to_server(0)).kernel(kernel).start();
        let own = net.talk(at(ROUTER[0], 8443));
        assert_eq!(net.seen.last(), own);
    }
}

#[test]
fn a_server_on_the_same_machine_sees_the_client() {
    require_network!();
    let net = Net::new(&[HERE]);
    let (_here, seen) = server();
    for family in [0, 1] {
        let lines = from_client(ROUTER[family]);
        let _adit = net.plan_at(EACH[family], &lines).start();
        let own = net.talk(at(ROUTER[family], 8443));
        assert_eq!(seen.last(), own);
    }
}

#[test]
fn a_redirected_client_reaches_what_it_wanted_and_no_other_is_connected() {
    require_network!();
    let net = Net::new(&[REDIRECT]);
    for family in [0, 1] {
        let _adit = net.plan_at(EACH[family], DESTINATION).start();
        net.talk(at(SERVER[family], 80));
        // The router's own address towards the server.
        assert_ne!(net.seen.last().ip(), CLIENT[family]);
    }
    require!(adit);
    let adit = net.plan(DESTINATION).start();
    net.talk(at(SERVER[0], 80));
    // Not redirected, it would be connected to itself for ever.
    let mut direct = net.dial(at(ROUTER[0], 8443)).expect("a handshake");
    assert!(!reaches(&mut direct));
    adit.wait_for_log("getsockopt SO_ORIGINAL_DST: the client was not redirected");
}

#[test]
fn a_client_that_tproxy_sends_reaches_what_it_wanted() {
    require_network!();
    require!(adit);
    let net = Net::new(&[TPROXY]);
    // It accepts at the server's port here, which is none of the other's.
    let same_port = format!(
        "accept = {}\n{}connect = 127.0.0.1:9\n",
        at(ROUTER[0], 80),
        net.certs.server().lines()
    );
    let plan = net.plan(DESTINATION).service("same", same_port);
    let control = plan.folder().join("control");
    let adit = plan
        .global(format!("control = {}", control.display()))
        .start();
    let is_reached = || {
        for family in [0, 1] {
            net.talk(at(SERVER[family], 80));
            assert_ne!(net.seen.last().ip(), CLIENT[family]);
        }
    };
    is_reached();
    // A listener that was given up and bound again takes what is sent to others too.
    for words in [&["drain"][..], &["drain", "--undo"]] {
        let mut drain = std::process::Command::new(program());
        let drain = drain.args(words).args(["test", "--control"]).arg(&control);
        let said = drain.output().expect("running adit");
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{words:?}: {error}");
    }
    is_reached();
    let mut direct = net.dial(at(ROUTER[1], 8443)).expect("a handshake");
    assert!(!reaches(&mut direct));
    adit.wait_for_log("getsockopt SO_ORIGINAL_DST: the client was not redirected");
}

#[test]
fn with_both_neither_side_sees_the_relay() {
    require_network!();
    require!(adit);
    for rules in [&[REDIRECT, SOURCE][..], &[TPROXY]] {
        let net = Net::new(rules);
        for family in [0, 1] {
            let adit = net.plan_at(EACH[family], "transparent = both\n").start();
            let own = net.talk(at(SERVER[family], 80));
            assert_eq!(net.seen.last().ip(), own.ip());
            // The same four numbers would be the client's own connection.
            assert_ne!(net.seen.last(), own);
            adit.wait_for_log("bind succeeded on an ephemeral port");
        }
    }
}

#[test]
fn the_binder_has_one_capability_and_no_worker_has_any() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let adit = net.plan(&to_server(0)).start();
    net.talk(at(ROUTER[0], 8443));
    let of = |pid, name: &str| proc::status(pid)[name].clone();
    let binder = binder(&adit);
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(of(binder, set), "0000000000002000", "CAP_NET_RAW in {set}");
    }
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(of(binder, set), "0000000000000000", "{set}");
    }
    assert_eq!(of(binder, "NoNewPrivs"), "1");
    assert_eq!(of(binder, "Seccomp"), "2");
    assert!(of(binder, "Uid").starts_with("65534"));
    assert_eq!(proc::listeners(binder), 0);
    let roles = proc::roles(adit.pid());
    for worker in roles.workers {
        assert_eq!(of(worker, "CapEff"), "0000000000000000");
    }
}

#[test]
fn without_the_capability_the_start_is_refused_with_the_reason() {
    require_network!();
    require!(adit);
    require!(program "setpriv");
    let certs = Certs::new();
    let plan = Plan::new();
    let wrapper = plan.folder().join("wrapper");
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set -net_raw {} \"$@\"\n",
        program().display()
    );
    std::fs::write(&wrapper, text).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&wrapper, mode).expect("chmod");
    let lines = certs.server().lines() + "connect = 127.0.0.1:9\ntransparent = source\n";
    let outcome = plan.program(wrapper).service("test", lines).run();
    let outcome = outcome.exits(1);
    outcome.says(&[
        "The binder cannot be started",
        "needs CAP_NET_RAW",
        "--cap-add NET_RAW",
        "Configuration failed",
    ]);
}

#[test]
fn a_killed_binder_is_replaced_and_sessions_go_on() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let adit = net.plan(&to_server(0)).start();
    let address = at(ROUTER[0], 8443);
    let mut old = net.dial(address).expect("a handshake");
    peers::says_and_hears(&mut old, "hello");
    let first = binder(&adit);
    send(first, Signal::SIGKILL);
    wait_for("another binder", || {
        binders(&adit).into_iter().find(|&pid| pid != first)
    });
    wait_for("a connection by it", || {
        let mut client = net.dial(address)?;
        reaches(&mut client).then_some(())
    });
    assert_eq!(net.seen.last().ip(), CLIENT[0]);
    finish(&mut old);
}

#[test]
fn a_binder_that_stands_still_costs_its_sessions_after_timeoutconnect() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let other = format!(
        "accept = :::8444\n{}connect = {}\n",
        net.certs.server().lines(),
        at(SERVER[0], 80)
    );
    let lines = to_server(0) + "TIMEOUTconnect = 1\n";
    let adit = net.plan(&lines).service("other", other).start();
    let binder = binder(&adit);
    proc::freeze(binder);
    let mut client = net.dial(at(ROUTER[0], 8443)).expect("a handshake");
    net.talk(at(ROUTER[0], 8444));
    assert!(!reaches(&mut client));
    adit.wait_for_log("transparent = source: TIMEOUTconnect exceeded");
    send(binder, Signal::SIGCONT);
    assert_eq!(net.talk(at(ROUTER[0], 8443)), net.seen.last());
}

#[test]
fn a_killed_worker_is_replaced_and_the_server_sees_clients_again() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let adit = net.plan(&to_server(0)).start();
    for worker in proc::roles(adit.pid()).workers {
        send(worker, Signal::SIGKILL);
    }
    wait_for("a connection by another", || {
        let mut client = net.dial(at(ROUTER[0], 8443))?;
        reaches(&mut client).then_some(())
    });
    assert_eq!(net.seen.last().ip(), CLIENT[0]);
}

/// Its spare has the key for warrants.
#[test]
fn a_killed_master_is_replaced_and_the_server_sees_clients_again() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let adit = net.plan(&to_server(0)).start();
    for _ in 0..2 {
        let master = proc::roles(adit.pid()).master;
        send(master, Signal::SIGKILL);
        wait_for("its end", || (!proc::alive(master)).then_some(()));
        wait_for("a connection by another", || {
            let mut client = net.dial(at(ROUTER[0], 8443))?;
            reaches(&mut client).then_some(())
        });
        assert_eq!(net.seen.last().ip(), CLIENT[0]);
        wait_for("another master", || {
            (proc::roles(adit.pid()).master != master).then_some(())
        });
    }
}

/// Its half-made sessions too: the key for warrants stays their generation's.
#[test]
fn a_reload_and_a_new_binary_cut_nothing_and_serve_what_was_accepted_before() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let plan = net.plan(&to_server(0));
    let path = plan.folder().join("adit");
    std::fs::copy(program(), &path).expect("copy");
    let adit = plan.program(&path).start();
    let address = at(ROUTER[0], 8443);
    for upgrade in [false, true] {
        let first = binder(&adit);
        let mut old = net.dial(address).expect("a handshake");
        peers::says_and_hears(&mut old, "hello");
        // Accepted, and not connected yet.
        let accepted = adit.count_in_log("accepted connection from");
        let waiting = net.client.run(move || peers::connect(address));
        adit.wait_for_log_times("accepted connection from", accepted + 1);
        if upgrade {
            next_version(&path);
        }
        adit.reload(1);
        assert_eq!(net.talk(address), net.seen.last());
        assert!(proc::alive(first), "it waits for its generation");
        let own = waiting.local_addr().expect("its address");
        let config = tls::client_config(&net.certs.ca(), tls::BOTH, None);
        let mut waiting = tls::start_client(config, waiting).expect("a handshake");
        finish(&mut waiting);
        assert_eq!(net.seen.last(), own);
        finish(&mut old);
        drop((old, waiting));
        wait_for("the first binder's end", || {
            (!proc::alive(first)).then_some(())
        });
    }
    adit.wait_for_log("has taken over");
    // Without a use there is none.
    adit.rewrite(|text| text.replace("transparent = source", ""));
    adit.reload(1);
    wait_for("its end", || binders(&adit).is_empty().then_some(()));
    assert_ne!(net.talk(address).ip(), net.seen.last().ip());
}

#[test]
fn in_inetd_mode_the_server_sees_the_client_too() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let listener = TcpListener::bind("0.0.0.0:8443").expect("a port");
    let own = net.client.run(|| peers::connect(at(ROUTER[0], 8443)));
    let (socket, _) = listener.accept().expect("the client");
    let lines = format!(
        "syslog = no\nsetuid = nobody\nsetgid = nogroup\n{}{}",
        net.certs.server().lines(),
        to_server(0)
    );
    let plan = Plan::new().verbatim(lines);
    let copy = socket.try_clone().expect("dup");
    let mut child = plan
        .command()
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stdout(std::os::fd::OwnedFd::from(copy))
        .spawn()
        .expect("adit");
    let config = tls::client_config(&net.certs.ca(), tls::BOTH, None);
    let mut client = tls::start_client(config, own).expect("a handshake");
    finish(&mut client);
    assert_eq!(
        net.seen.last(),
        client.sock.local_addr().expect("its address")
    );
    assert!(child.wait().expect("its end").success());
}

#[test]
fn a_client_of_the_other_family_is_told_of() {
    require_network!();
    require!(adit);
    let net = Net::new(&[SOURCE]);
    let adit = net.plan(&to_server(0)).start();
    let mut client = net.dial(at(ROUTER[1], 8443)).expect("a handshake");
    assert!(!reaches(&mut client));
    adit.wait_for_log("one is IPv4, the other IPv6");
}

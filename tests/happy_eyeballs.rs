//! Of a name's addresses the first that connects is taken, and one that leads nowhere delays no more than one client.
//! Each test has a network of its own, in which addresses of its two networks that are not this machine's swallow every
//! packet.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::names::require_own_network;
use crate::support::dns::{self, NameServer, Says};
use crate::support::network::shell;
use crate::support::peers::{self, Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, tls};

pub const fn v4(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, host))
}

pub const fn v6(host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host))
}

/// This machine has 192.0.2.1 and 2001:db8::1.
pub fn add_networks() {
    shell(
        "ip link add hole type veth peer name sink
         ip link set hole arp off
         ip address add 192.0.2.1/24 dev hole
         ip address add 2001:db8::1/64 dev hole nodad
         ip link set sink up
         ip link set hole up",
    );
}

/// A TLS server on this machine's IPv4 address.
pub fn server(certs: &Certs) -> Server {
    let listener = TcpListener::bind((v4(1), 0)).expect("a free port");
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    Server::on(listener, move |stream| {
        if let Ok(mut stream) = tls::start_server(config.clone(), stream) {
            let _ = peers::echo(&mut stream);
            tls::end(&mut stream);
        }
    })
}

/// adit in front of `mail.example` with these addresses.
fn adit(addresses: &'static [IpAddr], port: u16, certs: &Certs, more: &str) -> (Adit, NameServer) {
    let names = NameServer::start();
    names.say("mail.example", Says::All(addresses));
    let plan = Plan::new();
    let wrapper = dns::asking_program(&plan, 5);
    let ca = certs.ca_line();
    let lines =
        format!("client = yes\nconnect = mail.example:{port}\n{ca}verifyChain = yes\n{more}");
    let plan = plan.program(wrapper).global("workers = 2");
    (plan.service("test", lines).start(), names)
}

/// The addresses that were tried, in their order.
fn tried(adit: &Adit) -> Vec<IpAddr> {
    let log = adit.log();
    let lines = log
        .lines()
        .filter_map(|line| line.split_once("s_connect: connecting "));
    let addresses = lines.filter_map(|(_, address)| address.rsplit_once(':'));
    addresses
        .map(|(ip, _)| ip.parse().expect("an address"))
        .collect()
}

#[test]
fn a_dead_family_delays_one_client_and_is_no_failure() {
    require_own_network!();
    add_networks();
    let certs = Certs::new();
    let server = server(&certs);
    let (adit, _names) = adit(
        const { &[v6(2), v6(4), v4(1)] },
        server.address.port(),
        &certs,
        "",
    );
    let mut first = adit.connect("test");
    says_and_hears(&mut first, "hello");
    assert_eq!(tried(&adit), [v6(2), v4(1)], "families in turn");
    adit.wait_for_log("no answer from 2001:db8::2:");
    // The next are served by both workers.
    let mut others = [(); 3].map(|()| adit.connect("test"));
    for client in &mut others {
        says_and_hears(client, "hello");
    }
    assert_eq!(tried(&adit), [v6(2), v4(1), v4(1), v4(1), v4(1)]);
    drop((first, others));
    adit.wait_for_log_times("Connection closed: 5 byte(s)", 4);
    for fault in ["LOG3[", "TIMEOUTconnect", "Connection reset"] {
        assert_eq!(adit.count_in_log(fault), 0, "{fault}");
    }
    // Nothing is left of the attempt that lost.
    assert_eq!(
        std::fs::read_to_string("/proc/thread-self/net/tcp6")
            .expect("sockets")
            .lines()
            .count(),
        1
    );
}

#[test]
fn an_address_that_refuses_costs_no_time() {
    require_own_network!();
    add_networks();
    let certs = Certs::new();
    let server = server(&certs);
    let port = server.address.port();
    let (adit, _names) = adit(const { &[v6(1), v6(2), v4(1)] }, port, &certs, "");
    let mut client = adit.connect("test");
    says_and_hears(&mut client, "hello");
    assert_eq!(tried(&adit), [v6(1), v4(1)]);
    adit.wait_for_log(&format!(
        "s_connect: connect 2001:db8::1:{port}: Connection refused"
    ));
    assert_eq!(adit.count_in_log("no answer from"), 0);
}

#[test]
fn a_name_all_of_whose_addresses_are_dead_takes_timeout_connect_once() {
    require_own_network!();
    add_networks();
    let certs = Certs::new();
    let server = server(&certs);
    let all = const { &[v4(2), v4(4), v6(2), v6(4)] };
    let port = server.address.port();
    let last = SocketAddr::new(v4(1), port);
    let more = format!("TIMEOUTconnect = 1\nconnect = {last}\n");
    let (adit, _names) = adit(all, port, &certs, &more);
    let mut client = adit.connect("test");
    says_and_hears(&mut client, "hello");
    // The next entry of `connect` comes when the whole name has failed.
    assert_eq!(tried(&adit), [v6(2), v4(2), v6(4), v4(4), v4(1)]);
    let log = adit.log();
    let given_up: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(": TIMEOUTconnect exceeded"))
        .collect();
    assert_eq!(given_up.len(), 4, "{log}");
    assert!(
        log.find("connecting 192.0.2.4").expect("tried") < log.find(given_up[0]).expect("told")
    );
    drop(client);
    drop(server);
    let mut client = adit.connect("test");
    let read = client.read(&mut [0]);
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    adit.wait_for_log("No more addresses to connect");
}

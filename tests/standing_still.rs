//! A worker that does nothing counts as none: what waits for it goes to others. So it is with masters and helpers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::{goes_on, open, send, start};
use crate::support::{Adit, Certs, Plan, peers, proc, tls, wait_for};

/// Clients that connect while a worker is stopped: some are handed to it.
fn beside_a_stopped_worker(adit: &Adit, stopped: i32) -> Vec<TcpStream> {
    proc::freeze(stopped);
    let mut clients: Vec<TcpStream> = (0..8).map(|_| adit.connect("test")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(goes_on(client), "connection {number} was left with it");
    }
    assert!(
        adit.count_in_log("is not responding: ") > 0,
        "it was given none"
    );
    clients
}

#[test]
fn a_worker_that_stands_still_loses_its_new_connections_to_others_and_then_its_life() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2");
    let before = proc::roles(adit.pid());
    let stopped = before.workers[0];
    let mut clients = beside_a_stopped_worker(&adit, stopped);
    // Killed for it, and replaced, without any other effect.
    adit.wait_for_log("s: killing it");
    wait_for("another worker in its place", || {
        let roles = proc::roles(adit.pid());
        (roles.workers.len() == 2 && !roles.workers.contains(&stopped)).then_some(())
    });
    assert!(clients.iter_mut().all(goes_on));
    assert!((0..4).all(|_| goes_on(&mut open(&adit))));
    assert_eq!(proc::roles(adit.pid()).master, before.master);
}

#[test]
fn a_worker_that_goes_on_in_time_serves_again_and_no_connection_twice() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2\nlogId = process");
    let stopped = proc::roles(adit.pid()).workers[0];
    let mut clients = beside_a_stopped_worker(&adit, stopped);
    send(stopped, Signal::SIGCONT);
    adit.wait_for_log(&format!("(PID {stopped}) responds again"));
    assert!(clients.iter_mut().all(goes_on));
    // It has none of those, so it is the least busy now.
    let own = format!("[{stopped}]: Service [test] accepted connection");
    assert_eq!(adit.count_in_log(&own), 0);
    clients.extend((0..4).map(|_| open(&adit)));
    adit.wait_for_log(&own);
    assert!(clients.iter_mut().all(goes_on));
    let total = adit.count_in_log("Service [test] accepted connection");
    assert_eq!(total, clients.len(), "served twice, or not at all");
}

#[test]
fn a_single_worker_that_stands_still_is_replaced_and_what_waited_is_served() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1");
    let stopped = proc::roles(adit.pid()).workers[0];
    let mut clients = beside_a_stopped_worker(&adit, stopped);
    assert!(!proc::alive(stopped));
    assert!(clients.iter_mut().all(goes_on));
}

#[test]
fn a_master_that_stands_still_is_replaced_once_a_client_waits_and_what_idles_is_not_woken() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let [idle, adit] = [0, 1].map(|_| start(&certs, &upstream, "workers = 1"));
    let mut before = open(&adit);
    let family = proc::family(idle.pid());
    let sleeps = || {
        let all = family.iter().map(|process| proc::sleeps(process.pid));
        all.collect::<Vec<_>>()
    };
    // Once their start is over.
    let mut last = Vec::new();
    let rested = wait_for("processes at rest", || {
        let now = sleeps();
        let rest = now == last;
        last.clone_from(&now);
        rest.then_some(now)
    });
    let master = proc::roles(adit.pid()).master;
    proc::freeze(master);
    let mut waiting = adit.connect("test");
    peers::says_and_hears(&mut waiting, "hello");
    let phrase = format!("(PID {master}) is not responding: killing it");
    assert_eq!(adit.count_in_log(&phrase), 1);
    assert!(goes_on(&mut before), "it was cut");
    // That took seconds, and a look each second would show.
    for (before, after) in rested.iter().zip(sleeps()) {
        assert!(after - before < 4, "{family:?}: {before} then {after}");
    }
}

/// The helpers below adit, by their names.
fn helper(adit: &Adit, name: &str, last: i32) -> Option<i32> {
    let below = proc::children(adit.pid()).into_iter();
    let mut all = below.filter(|&pid| pid != last && proc::title(pid).contains(name));
    all.next()
}

#[test]
fn a_helper_that_stands_still_is_replaced_once_it_has_been_waited_for() {
    require!(adit);
    require!(root);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let responder = TcpListener::bind("127.0.0.1:0").expect("a responder");
    let url = format!("http://{}/", responder.local_addr().expect("its address"));
    let to_server = format!(
        "client = yes\n{}{}verifyChain = yes\nTIMEOUTconnect = 1\nTIMEOUTocsp = 1\nTIMEOUTbusy = 1\n",
        upstream.line(),
        certs.ca_line()
    );
    let program = certs.server().lines() + "exec = /bin/cat\nTIMEOUTconnect = 1\n";
    let adit = Plan::new()
        .global("metrics = 0\nsetuid = nobody\nsetgid = nogroup")
        .service("launcher", program)
        .service("binder", to_server.clone() + "transparent = source\n")
        .service("gatekeeper", to_server.clone() + "libwrap = yes\n")
        .service("fetcher", to_server + &format!("OCSP = {url}\n"))
        .start();
    let client = tls::client_config(&certs.ca(), tls::BOTH, None);
    let through = |name: &str| -> Box<dyn Link> {
        match name {
            "launcher" => Box::new(tls::connect(client.clone(), adit.address(name))),
            "teller" => {
                let mut stream = peers::connect(crate::metrics::address(&adit));
                let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: adit\r\n\r\n");
                Box::new(stream)
            }
            name => Box::new(adit.connect(name)),
        }
    };
    let names = ["launcher", "binder", "gatekeeper", "fetcher", "teller"];
    let stopped = names.map(|name| helper(&adit, name, 0).expect(name));
    stopped.iter().for_each(|pid| proc::freeze(*pid));
    let waiting = names.map(&through);
    for (name, stopped) in names.iter().zip(stopped) {
        adit.wait_for_log(&format!(
            "The {name} (PID {stopped}) is not responding: killing it"
        ));
        wait_for("another in its place", || helper(&adit, name, stopped));
    }
    drop(waiting);
    for name in ["launcher", "binder", "gatekeeper"] {
        peers::says_and_hears(&mut through(name), "hello");
    }
    let health = peers::read_to_end(&mut through("teller"));
    assert!(health.starts_with(b"HTTP/1.1 200 "), "{health:?}");
    let _asks = through("fetcher");
    responder.accept().expect("a request");
    // Each is one failure, though it stood still and died.
    let told = crate::metrics::get(crate::metrics::address(&adit), "/metrics");
    let count = crate::metrics::value(&told, "adit_failures_total{cause=\"process\"}");
    assert_eq!(count, 5);
}

trait Link: Read + Write {}

impl<T: Read + Write> Link for T {}

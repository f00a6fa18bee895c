//! Whatever strangers send, and however many they are: a worker's memory is bounded, is given back, and when there is
//! none left that costs the oldest handshakes, not the worker.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};
use crate::upgrade::next_version;

fn plan(certs: &Certs, upstream: &Server) -> Plan {
    let lines = format!("{}{}", upstream.line(), certs.server().lines());
    Plan::new().global("workers = 1").service("test", lines)
}

/// The one worker.
fn worker(adit: &Adit) -> i32 {
    proc::roles(adit.pid()).workers[0]
}

/// So many bytes of a ClientHello that would have 60000.
fn part_of_a_hello(length: usize) -> Vec<u8> {
    let mut message = vec![1, 0, 0xea, 0x60, 3, 3];
    message.resize(60_000, 7);
    let mut hello = Vec::new();
    for fragment in message.chunks(1 << 14) {
        hello.extend([22, 3, 1]);
        hello.extend((fragment.len() as u16).to_be_bytes());
        hello.extend(fragment);
    }
    hello.truncate(length);
    hello
}

/// This test and adit need a descriptor for each client.
fn take_all_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
}

/// Clients that have said this much, and say no more.
#[track_caller]
fn clients(count: usize, address: SocketAddr, words: &[u8]) -> Vec<TcpStream> {
    let client = |_| {
        let mut client = TcpStream::connect(address).expect("adit accepts");
        // It may be ended at once.
        let _ = client.write_all(words);
        client
    };
    (0..count).map(client).collect()
}

#[track_caller]
fn is_served(adit: &Adit, certs: &Certs) {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
}

/// What a process has for itself alone, in kB.
fn private(pid: i32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(path).expect("a living process");
    let fields = text.lines().filter(|line| line.starts_with("Private_"));
    let numbers = fields.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    numbers.sum()
}

#[test]
fn a_burst_of_large_hellos_is_given_back() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = plan(&certs, &upstream).start();
    let address = adit.address("test");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    // Some stay throughout, between what the burst leaves.
    let mut held: Vec<_> = (0..20)
        .map(|_| tls::connect(config.clone(), address))
        .collect();
    for client in &mut held {
        peers::says_and_hears(client, "hello");
    }
    let worker = worker(&adit);
    let before = private(worker);
    let (part, most) = (part_of_a_hello(50_000), before * 6 / 5);
    for _ in 0..3 {
        let burst = clients(300, address, &part);
        wait_for("the burst in memory", || {
            (private(worker) > before + 10_000).then_some(())
        });
        is_served(&adit, &certs);
        drop(burst);
        wait_for("the memory of before", || {
            (private(worker) <= most).then_some(())
        });
    }
    for client in &mut held {
        peers::says_and_hears(client, "still here");
    }
}

#[test]
fn unfinished_handshakes_have_a_budget_and_the_oldest_goes_first() {
    require!(adit);
    take_all_descriptors();
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = plan(&certs, &upstream)
        .global("metrics = 127.0.0.1:0\nthreads = 1")
        .program("/usr/bin/prlimit");
    let control = plan.folder().join("control");
    let plan = plan.global(format!("control = {}", control.display()));
    // An eighth of it is the budget: 8 MiB.
    let (limit, file) = (format!("--data={}", 64 << 20), plan.file());
    let (adit, file) = (program().display().to_string(), file.display().to_string());
    let adit = plan.arguments(&[&limit, &adit, &file]).start();
    let worker = worker(&adit);
    let address = adit.address("test");
    let part = part_of_a_hello(30_000);
    let mut all = clients(600, address, &part);
    let oldest = all.remove(0);
    let _ = peers::read_until_gone(&mut peers::with_deadline(oldest));
    is_served(&adit, &certs);
    // The youngest wait as before.
    let youngest = all.pop().expect("600 of them");
    youngest.set_nonblocking(true).expect("a socket");
    let peeked = youngest.peek(&mut [0]);
    let waits = peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(waits, "the youngest was ended");
    assert_eq!(self::worker(&adit), worker, "the worker was replaced");
    adit.wait_for_log("hold more than 8192 KiB: the oldest were ended");
    let lines = adit.count_in_log("the oldest were ended");
    assert!(lines < 10, "{lines} lines");
    let shed = adit.status()["generations"][0]["services"][0]["shed"].clone();
    assert!(shed.as_u64().is_some_and(|shed| shed > 50), "{shed}");
}

#[test]
fn a_new_program_knows_how_much_memory_there_is() {
    require!(root);
    require!(adit);
    take_all_descriptors();
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = plan(&certs, &upstream)
        .global("threads = 1")
        .program("/usr/bin/prlimit");
    let installed = plan.folder().join("adit");
    fs::copy(program(), &installed).expect("copy");
    let (limit, file) = (format!("--data={}", 64 << 20), plan.file());
    let arguments = [
        &limit,
        &*installed.to_string_lossy(),
        &*file.to_string_lossy(),
    ];
    let adit = plan.arguments(&arguments).start();
    next_version(&installed);
    adit.reload(1);
    adit.wait_for_log("has taken over");
    let all = clients(600, adit.address("test"), &part_of_a_hello(30_000));
    adit.wait_for_log("hold more than 8192 KiB: the oldest were ended");
    drop(all);
}

#[test]
fn a_worker_without_memory_ends_the_oldest_handshakes_and_lives() {
    require!(root);
    require!(adit);
    take_all_descriptors();
    let certs = Certs::new();
    let upstream = Server::echo();
    // Address space is taken for each thread in advance, so that less than twice as much of it does not matter.
    for (limit, field, words) in [("data", "VmData", 30_000), ("as", "VmSize", 50_000)] {
        let adit = plan(&certs, &upstream).start();
        let address = adit.address("test");
        is_served(&adit, &certs);
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut held = tls::connect(config, address);
        peers::says_and_hears(&mut held, "hello");
        let worker = worker(&adit);
        let room = (proc::kilobytes(worker, field) + 20 * 1024) * 1024;
        proc::limit(worker, &format!("--{limit}={room}"));
        let all = clients(2800, address, &part_of_a_hello(words));
        adit.wait_for_log("Out of memory: ");
        is_served(&adit, &certs);
        peers::says_and_hears(&mut held, "still here");
        drop(all);
        is_served(&adit, &certs);
        assert_eq!(self::worker(&adit), worker, "the worker died ({limit})");
        let lines = adit.count_in_log("Out of memory: ");
        assert!(lines < 10, "{lines} lines");
    }
}

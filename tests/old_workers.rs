//! Services with old TLS have workers of their own, which know no other service's key.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::{ClientConfig, KeyLog};

use crate::require;
use crate::support::certs::Pair;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// What each of two services has: keys that nothing joins, an upstream of its own.
struct Two {
    modern: (Certs, Pair),
    old: (Certs, Pair),
    upstream: Server,
}

impl Two {
    fn new() -> Two {
        let pair = || {
            let certs = Certs::new();
            let server = certs.server();
            (certs, server)
        };
        Two {
            modern: pair(),
            old: pair(),
            upstream: Server::echo(),
        }
    }

    fn plan(&self, plan: Plan) -> Plan {
        let lines = |pair: &Pair, more: &str| self.upstream.line() + &pair.lines() + more;
        plan.service("modern", lines(&self.modern.1, ""))
            .service("old", lines(&self.old.1, "sslVersionMin = TLSv1\n"))
    }

    fn talk_to_modern(&self, adit: &Adit) -> tls::ClientStream {
        talk(adit, &self.modern.0, "modern")
    }

    fn talk_to_old(&self, adit: &Adit) -> tls::ClientStream {
        talk(adit, &self.old.0, "old")
    }
}

fn talk(adit: &Adit, certs: &Certs, service: &str) -> tls::ClientStream {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address(service));
    peers::says_and_hears(&mut client, "hello");
    client
}

/// The process that old workers are forks of, and those workers.
fn old_family(adit: &Adit) -> (i32, Vec<i32>) {
    let master = proc::roles(adit.pid()).master;
    wait_for("a zygote and its workers", || {
        // One that its spare's has forked is a child of the supervisor, and the spare's own has no workers.
        let below = [proc::children(master), proc::children(adit.pid())].concat();
        let zygote = below
            .into_iter()
            .find(|&pid| proc::title(pid).contains("zygote") && !proc::children(pid).is_empty())?;
        let workers = proc::children(zygote);
        let titled = |pid: &i32| proc::title(*pid).contains("old worker");
        (!workers.is_empty() && workers.iter().all(titled)).then_some((zygote, workers))
    })
}

#[test]
fn each_kind_of_service_is_served_by_workers_of_its_own() {
    require!(adit);
    let two = Two::new();
    let plan = Plan::new();
    let control = format!("control = {}", plan.folder().join("control").display());
    let anywhere = "acceptAnywhere = yes\n";
    let exposed = two.upstream.line() + &two.old.1.lines() + "sslVersionMin = TLSv1\n" + anywhere;
    let exposed = exposed + "accept = 0.0.0.0:0\n";
    let plan = plan.global(control).global("workers = 2");
    let adit = two.plan(plan).service("exposed", exposed).start();
    let (_, old) = old_family(&adit);
    let roles = proc::roles(adit.pid());
    assert_eq!((roles.workers.len(), old.len()), (2, 2));
    let _modern = two.talk_to_modern(&adit);
    let _old = two.talk_to_old(&adit);
    let status = adit.status();
    let active = |old: bool| -> u64 {
        let workers = status["generations"][0]["workers"]
            .as_array()
            .expect("workers");
        let of_kind = workers.iter().filter(|worker| worker["old"] == old);
        of_kind
            .map(|worker| worker["active"].as_u64().expect("a number"))
            .sum()
    };
    assert_eq!((active(false), active(true)), (1, 1), "{status}");
    let warnings = &status["generations"][0]["warnings"];
    let warning = warnings[0].as_str().expect("a warning");
    let told =
        "Service [exposed]: TLSv1 is served to every client that reaches `accept = 0.0.0.0:0`";
    assert!(warning.starts_with(told), "{status}");
}

#[test]
fn without_a_service_with_old_tls_there_is_no_zygote_and_without_another_no_modern_worker() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = upstream.line() + &certs.server().lines();
    let adit = Adit::serve(lines.clone());
    let master = proc::roles(adit.pid()).master;
    let titles =
        |pid: i32| -> Vec<String> { proc::children(pid).into_iter().map(proc::title).collect() };
    assert!(
        titles(master)
            .iter()
            .all(|title| title.contains(": worker"))
    );
    let adit = Plan::new()
        .service("old", lines + "sslVersionMin = TLSv1\n")
        .launch();
    let below = wait_for("a zygote alone", || {
        let masters = proc::children(adit.pid()).into_iter();
        let master = masters
            .into_iter()
            .find(|&pid| proc::title(pid).contains("master"))?;
        let below = titles(master);
        // A child has its parent's title first.
        let titled = below.iter().all(|title| !title.contains("master"));
        (!below.is_empty() && titled).then_some(below)
    });
    assert!(
        below.iter().all(|title| title.contains("zygote")),
        "{below:?}"
    );
    talk(&adit, &certs, "old");
}

#[test]
fn workers_know_the_keys_of_their_own_kind_alone() {
    require!(root);
    require!(adit);
    let two = Two::new();
    let adit = two
        .plan(Plan::new().global("setuid = nobody\nsetgid = nogroup"))
        .start();
    two.talk_to_modern(&adit);
    two.talk_to_old(&adit);
    let (zygote, old) = old_family(&adit);
    let roles = proc::roles(adit.pid());
    let parts_of = |pair: &Pair| {
        let pem = fs::read_to_string(&pair.key).expect("a key");
        let line = pem
            .lines()
            .nth(2)
            .expect("a second line")
            .as_bytes()
            .to_vec();
        (line, Certs::scalar(&pem))
    };
    let holds = |pid: i32, (line, scalars): &(Vec<u8>, [Vec<u8>; 2])| {
        let scalar = scalars.iter().any(|scalar| proc::memory_holds(pid, scalar));
        scalar || proc::memory_holds(pid, line)
    };
    let (modern_key, old_key) = (parts_of(&two.modern.1), parts_of(&two.old.1));
    for pid in old.iter().copied().chain([zygote]) {
        let title = proc::title(pid);
        assert!(!holds(pid, &modern_key), "{title} holds a modern key");
        assert!(holds(pid, &old_key), "{title}: the search finds nothing");
    }
    for pid in roles.workers.iter().copied().chain([roles.master]) {
        let title = proc::title(pid);
        assert!(!holds(pid, &old_key), "{title} holds an old key");
        assert!(holds(pid, &modern_key), "{title}: the search finds nothing");
    }
}

const PASSWORD: &str = "correct horse battery staple";

#[test]
fn workers_know_the_secrets_of_their_own_kind_alone() {
    require!(root);
    require!(adit);
    let two = Two::new();
    // What no table holds.
    let bytes = |first: u8| -> Vec<u8> {
        let nth = |n: u8| n.wrapping_mul(37) ^ first;
        (0..16).map(nth).collect()
    };
    let hex = |first: u8| -> String { bytes(first).iter().map(|b| format!("{b:02x}")).collect() };
    let lines = |first: u8| {
        let (key, mac) = (hex(first), hex(first + 16));
        format!("ticketKeySecret = {key}\nticketMacSecret = {mac}\n")
    };
    let login = two.upstream.line()
        + "client = yes\nprotocol = connect\nprotocolHost = www.test:443\nprotocolUsername = u\n"
        + &format!("protocolPassword = {PASSWORD}\n");
    let modern = two.upstream.line() + &two.modern.1.lines() + &lines(0x23);
    let old = two.upstream.line() + &two.old.1.lines() + "sslVersionMin = TLSv1\n" + &lines(0xa7);
    let adit = Plan::new()
        .global("setuid = nobody\nsetgid = nogroup\nworkers = 1")
        .service("modern", modern)
        .service("old", old)
        .service("login", login)
        .start();
    two.talk_to_modern(&adit);
    two.talk_to_old(&adit);
    let (zygote, old_workers) = old_family(&adit);
    let roles = proc::roles(adit.pid());
    let knows = |pid: i32| proc::memory_holds(pid, PASSWORD.as_bytes());
    for pid in old_workers.iter().copied().chain([zygote, roles.resolver]) {
        let title = proc::title(pid);
        assert!(!knows(pid), "{title} holds a password");
    }
    assert!(knows(roles.master), "the search finds nothing");
    let holds = |pid: i32, first: u8| proc::memory_holds(pid, &bytes(first));
    let olds = old_workers.iter().copied().chain([zygote]);
    let moderns = roles.workers.iter().copied().chain([roles.master]);
    for (pids, own, others) in [
        (olds.collect::<Vec<_>>(), 0xa7, 0x23),
        (moderns.collect(), 0x23, 0xa7),
    ] {
        for pid in pids {
            let title = proc::title(pid);
            assert!(!holds(pid, others), "{title} holds the others' secrets");
            assert!(holds(pid, own), "{title}: the search finds nothing");
        }
    }
    for first in [0x23, 0xa7] {
        assert!(!holds(roles.resolver, first), "the resolver holds a secret");
        for process in proc::family(adit.pid()) {
            let title = proc::title(process.pid);
            let held = proc::memory_holds(process.pid, hex(first).as_bytes());
            assert!(!held, "{title} holds the text of a secret");
        }
    }
}

/// The master secret of the last TLS 1.2 session that a client made.
#[derive(Debug, Default)]
struct Secret(Mutex<Vec<u8>>);

impl KeyLog for Secret {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_RANDOM" {
            *self.0.lock().expect("no panic") = secret.to_vec();
        }
    }
}

#[test]
fn an_old_worker_knows_no_session_of_a_modern_service() {
    require!(root);
    require!(adit);
    let two = Two::new();
    let (certs, pair) = &two.modern;
    // Without tickets sessions are stored.
    let stored = two.upstream.line() + &pair.lines() + "options = NO_TICKET\n";
    let old = two.upstream.line() + &two.old.1.lines() + "sslVersionMin = TLSv1\n";
    let adit = Plan::new()
        .global("setuid = nobody\nsetgid = nogroup")
        .service("modern", stored)
        .service("old", old)
        .start();
    let secret = Arc::new(Secret::default());
    let config = tls::client_config(&certs.ca(), tls::ONLY_12, None);
    let mut config = ClientConfig::clone(&config);
    config.key_log = secret.clone();
    let mut client = tls::connect(Arc::new(config), adit.address("modern"));
    peers::says_and_hears(&mut client, "hello");
    let secret = secret.0.lock().expect("no panic").clone();
    assert_eq!(secret.len(), 48, "a master secret");
    let (zygote, workers) = old_family(&adit);
    for pid in workers.into_iter().chain([zygote]) {
        let title = proc::title(pid);
        assert!(!proc::memory_holds(pid, &secret), "{title} holds a session");
    }
    let modern = proc::roles(adit.pid()).workers;
    let holds = modern.iter().any(|&pid| proc::memory_holds(pid, &secret));
    assert!(holds, "the search finds nothing");
}

#[test]
fn an_old_worker_that_dies_is_replaced_and_costs_no_other_kind() {
    require!(adit);
    let two = Two::new();
    let adit = two.plan(Plan::new().global("workers = 1")).start();
    let mut modern = two.talk_to_modern(&adit);
    let mut dying = two.talk_to_old(&adit);
    let (zygote, old) = old_family(&adit);
    kill(Pid::from_raw(old[0]), Signal::SIGKILL).expect("a worker");
    adit.wait_for_log("was killed by SIGKILL; starting another");
    assert!(
        peers::read_until_gone(&mut dying)
            .unwrap_or_default()
            .is_empty()
    );
    let next = wait_for("another worker", || {
        let (_, now) = old_family(&adit);
        (now != old).then_some(now)
    });
    assert_eq!(next.len(), 1);
    two.talk_to_old(&adit);
    peers::says_and_hears(&mut modern, "still here");
    // No zombie stays.
    wait_for("the dead worker reaped", || {
        let all = fs::read_to_string(format!("/proc/{}/stat", old[0]));
        (all.is_err() && proc::alive(zygote)).then_some(())
    });
}

#[test]
fn a_zygote_that_dies_ends_no_connection_and_the_next_generation_of_processes_serves() {
    require!(adit);
    let two = Two::new();
    let adit = two.plan(Plan::new().global("workers = 1")).start();
    let mut modern = two.talk_to_modern(&adit);
    let mut old = two.talk_to_old(&adit);
    let (zygote, _) = old_family(&adit);
    kill(Pid::from_raw(zygote), Signal::SIGKILL).expect("a zygote");
    adit.wait_for_log("the process that forks old workers has died");
    wait_for("another zygote", || {
        (old_family(&adit).0 != zygote).then_some(())
    });
    two.talk_to_modern(&adit);
    two.talk_to_old(&adit);
    peers::says_and_hears(&mut modern, "still here");
    peers::says_and_hears(&mut old, "still here");
}

#[test]
fn an_old_worker_that_stands_still_is_killed_and_replaced() {
    require!(adit);
    let two = Two::new();
    let adit = two.plan(Plan::new().global("workers = 1")).start();
    let (_, old) = old_family(&adit);
    proc::freeze(old[0]);
    let config = tls::client_config(&two.old.0.ca(), tls::BOTH, None);
    let address = adit.address("old");
    let waiting = std::thread::spawn(move || {
        let mut client = tls::connect(config, address);
        peers::says_and_hears(&mut client, "hello");
    });
    adit.wait_for_log("has not responded for 20 s: killing it");
    adit.wait_for_log("was killed by SIGKILL; starting another");
    waiting
        .join()
        .expect("the connection is served by the next worker");
}

#[test]
fn a_zygote_that_stands_still_holds_up_no_modern_service_and_is_replaced() {
    require!(adit);
    let two = Two::new();
    let adit = two.plan(Plan::new().global("workers = 1")).start();
    let mut modern = two.talk_to_modern(&adit);
    let (zygote, old) = old_family(&adit);
    proc::freeze(zygote);
    kill(Pid::from_raw(old[0]), Signal::SIGKILL).expect("a worker");
    // Nothing tells the master how that worker died; connections to the old service wait.
    let mut waiting = adit.connect("old");
    waiting.write_all(b"x").expect("sending");
    for _ in 0..20 {
        two.talk_to_modern(&adit);
    }
    peers::says_and_hears(&mut modern, "still here");
    adit.wait_for_log("the process that forks old workers has not responded for 20 s");
    wait_for("another zygote", || {
        (old_family(&adit).0 != zygote).then_some(())
    });
    two.talk_to_old(&adit);
    peers::says_and_hears(&mut modern, "still here");
}

#[test]
fn a_reload_takes_old_tls_up_and_gives_it_up() {
    require!(adit);
    let two = Two::new();
    let adit = two.plan(Plan::new()).start();
    let mut kept = two.talk_to_old(&adit);
    let without = |text: String| text.replace("sslVersionMin = TLSv1\n", "");
    let before = fs::read_to_string(adit.plan.file()).expect("a configuration");
    adit.rewrite(without);
    adit.reload(2);
    two.talk_to_old(&adit);
    two.talk_to_modern(&adit);
    peers::says_and_hears(&mut kept, "still here");
    adit.rewrite(|_| before);
    adit.reload(2);
    old_family(&adit);
    two.talk_to_old(&adit);
    two.talk_to_modern(&adit);
    peers::says_and_hears(&mut kept, "still here");
}

#[test]
fn a_certificate_of_an_old_service_that_is_missing_is_told_with_the_others() {
    require!(adit);
    let two = Two::new();
    let missing = "accept = 127.0.0.1:0\nconnect = 9\ncert = /nonexistent/CERT\n";
    two.plan(Plan::new())
        .service("third", missing.replace("CERT", "modern"))
        .service(
            "fourth",
            missing.replace("CERT", "old") + "sslVersionMin = TLSv1\n",
        )
        .run()
        .exits(1)
        .says(&["/nonexistent/modern", "/nonexistent/old"]);
}

#[test]
fn the_log_file_is_opened_anew_in_old_workers_too() {
    require!(adit);
    let two = Two::new();
    let adit = two.plan(Plan::new()).start();
    two.talk_to_old(&adit);
    let (zygote, old) = old_family(&adit);
    let address = adit.address("old");
    let log = adit.plan.folder().join("log");
    let holders = || {
        let mut pids = old.iter().chain([&zygote]);
        pids.all(|&pid| proc::has_open(pid, &log)).then_some(())
    };
    wait_for("the log, open in each", holders);
    fs::rename(&log, log.with_extension("1")).expect("renaming");
    adit.signal(Signal::SIGUSR1);
    wait_for("the new log, open in each", holders);
    let config = tls::client_config(&two.old.0.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, address);
    peers::says_and_hears(&mut client, "hello");
    drop(client);
    wait_for("the connection in the new log", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("Service [old] finished").then_some(())
    });
}

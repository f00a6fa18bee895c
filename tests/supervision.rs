//! Dead processes are replaced, and take only their own connections with them.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{self, Adit, Certs, Plan, proc, tls, wait_for};

/// Sends a signal to a process.
pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("a living process");
}

/// A service that relays to this server, which it verifies.
pub fn client_mode(certs: &Certs, upstream: &Server) -> String {
    format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    )
}

/// That service, started.
pub fn start(certs: &Certs, upstream: &Server, globals: &str) -> Adit {
    Plan::new()
        .global(globals)
        .service("test", client_mode(certs, upstream))
        .start()
}

/// A connection that is served.
pub fn open(adit: &Adit) -> TcpStream {
    let mut client = adit.connect("test");
    peers::says_and_hears(&mut client, "hello");
    client
}

/// Whether it still relays.
pub fn goes_on(client: &mut TcpStream) -> bool {
    use std::io::{Read, Write};
    let mut answer = [0; 5];
    client
        .write_all(b"again")
        .and_then(|()| client.read_exact(&mut answer))
        .is_ok()
        && &answer == b"again"
}

#[test]
fn a_killed_worker_is_replaced_and_only_its_own_sessions_end() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2\nlogId = process");
    let mut clients: Vec<TcpStream> = (0..4).map(|_| open(&adit)).collect();
    let before = proc::roles(adit.pid());
    let killed = before.workers[0];
    let own = adit.count_in_log(&format!("[{killed}]: Service [test] accepted connection"));
    assert!(
        (1..4).contains(&own),
        "{own} of four sessions on one worker of two"
    );
    send(killed, Signal::SIGKILL);
    wait_for("the worker's end", || (!proc::alive(killed)).then_some(()));
    let left = clients
        .iter_mut()
        .filter_map(|client| goes_on(client).then_some(()))
        .count();
    assert_eq!(
        left,
        4 - own,
        "of four sessions, {own} of them the worker's"
    );
    let after = wait_for("a second worker", || {
        let roles = proc::roles(adit.pid());
        (roles.workers.len() == 2 && !roles.workers.contains(&killed)).then_some(roles)
    });
    assert_eq!(after.master, before.master);
    assert!(
        after.workers.contains(&before.workers[1]),
        "the other worker was ended too"
    );
    for _ in 0..4 {
        assert!(goes_on(&mut open(&adit)));
    }
}

#[test]
fn sockets_that_a_dead_worker_had_not_claimed_go_to_another() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2");
    let stopped = proc::roles(adit.pid()).workers[0];
    proc::freeze(stopped);
    // Some of these are handed to the stopped one.
    let mut clients: Vec<TcpStream> = (0..8).map(|_| adit.connect("test")).collect();
    // The master accepts in order, so one more connection that is served proves that all these are
    // accepted: the last has an answer, or waits in the stopped worker's socket.
    wait_for("a connection that is served", || {
        let mut probe = adit.connect("test");
        probe
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");
        goes_on(&mut probe).then_some(())
    });
    send(stopped, Signal::SIGKILL);
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(goes_on(client), "connection {number} was lost");
    }
}

#[test]
fn no_connection_is_refused_while_a_killed_master_is_replaced() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2");
    let address = adit.address("test");
    let before = proc::roles(adit.pid());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looper = scope.spawn(|| {
            // This many and no more: all of them are served before the one that waits below.
            let mut count = 0;
            while count < 300 && !stop.load(Ordering::SeqCst) {
                // A refused one fails here.
                drop(peers::connect(address));
                count += 1;
            }
            count
        });
        send(before.master, Signal::SIGKILL);
        wait_for("the master's end", || {
            (!proc::alive(before.master)).then_some(())
        });
        // Begun while no process accepts, served by the next master.
        let mut waiting = peers::connect(address);
        peers::says_and_hears(&mut waiting, "hello");
        stop.store(true, Ordering::SeqCst);
        assert!(looper.join().expect("no connection was refused") > 0);
    });
    let after = proc::roles(adit.pid());
    assert_ne!(after.master, before.master);
    assert_eq!(after.supervisor, before.supervisor);
}

#[test]
fn a_killed_resolver_is_replaced() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let port = upstream.address.port();
    let lines = format!(
        "client = yes\nconnect = localhost:{port}\ndelay = yes\n{}verifyChain = yes\n",
        certs.ca_line()
    );
    let adit = Plan::new().service("test", lines).start();
    assert!(goes_on(&mut open(&adit)));
    let killed = proc::roles(adit.pid()).resolver;
    send(killed, Signal::SIGKILL);
    wait_for("another resolver", || {
        let title = |pid: &i32| proc::title(*pid).contains("resolver") && *pid != killed;
        proc::children(adit.pid()).iter().any(title).then_some(())
    });
    // Here names are resolved at each connection.
    wait_for("a connection by name", || {
        let mut client = adit.connect("test");
        goes_on(&mut client).then_some(())
    });
}

#[test]
fn a_killed_supervisor_takes_everything_down_with_it() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let mut adit = start(&certs, &upstream, "workers = 2");
    let _client = open(&adit);
    let family = proc::family(adit.pid());
    assert!(family.len() >= 5, "{family:?}");
    adit.signal(Signal::SIGKILL);
    adit.wait_for_exit();
    proc::wait_for_end(&family);
}

#[test]
fn workers_that_die_fast_are_restarted_with_back_off() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1");
    let master = proc::roles(adit.pid()).master;
    let end = Instant::now() + Duration::from_secs(3);
    // By number, since a killed one may be visible for a while.
    let mut killed = std::collections::BTreeSet::new();
    while Instant::now() < end {
        for pid in proc::children(master) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            killed.insert(pid);
        }
        std::thread::yield_now();
    }
    let killed = killed.len();
    // Without back-off there are hundreds.
    assert!(
        killed < 60,
        "{killed} workers were started in three seconds"
    );
    // And it serves again once they live.
    assert!(goes_on(&mut open(&adit)));
    assert_eq!(proc::roles(adit.pid()).master, master);
}

/// The roles of an adit with two workers, and a client of each.
fn two_workers(adit: &Adit) -> (proc::Roles, Vec<TcpStream>) {
    let clients = (0..2).map(|_| open(adit)).collect();
    (proc::roles(adit.pid()), clients)
}

/// Waits until connections there are refused.
pub fn wait_until_refused(address: std::net::SocketAddr) {
    wait_for("the listener's end", || {
        TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn a_master_that_is_told_to_drain_while_a_client_connects_lives_on() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2\ndrainTimeout = 60");
    let (roles, mut clients) = two_workers(&adit);
    // The message and the connection are there in the same turn of its loop.
    proc::freeze(roles.master);
    let _waiting = adit.connect("test");
    adit.signal(Signal::SIGTERM);
    adit.wait_for_log("Received SIGTERM");
    let address = adit.address("test");
    send(roles.master, Signal::SIGCONT);
    wait_until_refused(address);
    for client in &mut clients {
        assert!(goes_on(client), "the connection was cut");
    }
    drop(clients);
    let (status, said) = adit.stop();
    assert!(status.success() && !said.contains("panicked"), "{said}");
}

#[test]
fn sockets_that_a_dead_worker_had_not_claimed_are_served_while_draining_too() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2\ndrainTimeout = 60");
    let (roles, _sessions) = two_workers(&adit);
    let address = adit.address("test");
    proc::freeze(roles.workers[0]);
    let mut clients: Vec<TcpStream> = (0..8).map(|_| adit.connect("test")).collect();
    wait_for("a connection that is served", || {
        let mut probe = adit.connect("test");
        probe
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");
        goes_on(&mut probe).then_some(())
    });
    adit.signal(Signal::SIGTERM);
    wait_until_refused(address);
    send(roles.workers[0], Signal::SIGKILL);
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(goes_on(client), "connection {number} was lost");
    }
}

#[test]
fn no_process_leaves_a_stalled_worker_behind() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2\ndrainTimeout = 1");
    let (roles, _clients) = two_workers(&adit);
    proc::freeze(roles.workers[1]);
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn a_stopped_worker_whose_master_died_is_not_left_behind() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1");
    let _client = open(&adit);
    let roles = proc::roles(adit.pid());
    proc::freeze(roles.workers[0]);
    send(roles.master, Signal::SIGKILL);
    wait_for("another master", || {
        let now = proc::children(adit.pid()).into_iter();
        let mut others = now.filter(|pid| *pid != roles.master);
        others.find(|pid| proc::title(*pid).contains("master"))
    });
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn a_master_without_a_free_descriptor_lives_through_usr1() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 2");
    let roles = proc::roles(adit.pid());
    let limit = proc::leave_no_descriptor(roles.master);
    let mut client = adit.connect("test");
    adit.wait_for_log("Too many open files");
    let log = adit.plan.folder().join("log");
    let old = adit.plan.folder().join("log.1");
    fs::rename(&log, &old).expect("rotating");
    adit.signal(Signal::SIGUSR1);
    // The others were told.
    wait_for("a word that was cut short", || {
        let said = fs::read_to_string(&old).unwrap_or_default();
        said.contains("was truncated").then_some(())
    });
    proc::limit_descriptors(roles.master, &limit);
    assert!(goes_on(&mut client));
    // It is told again once it has a descriptor, and so are its workers.
    wait_until_no_process_holds(&adit, &old);
    assert_eq!(proc::roles(adit.pid()).master, roles.master);
}

/// Waits until every process has closed that log file.
fn wait_until_no_process_holds(adit: &Adit, file: &Path) {
    wait_for("the old log's last holder", || {
        let family = proc::family(adit.pid());
        let held = family.iter().any(|one| proc::has_open(one.pid, file));
        (!held).then_some(())
    });
}

#[test]
fn a_worker_that_was_too_busy_to_be_told_of_a_log_file_is_told_again() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1");
    let mut client = open(&adit);
    let worker = proc::roles(adit.pid()).workers[0];
    let log = adit.plan.folder().join("log");
    let old = adit.plan.folder().join("log.1");
    // More messages than its queue takes: the kernel counts more than 512 bytes for each.
    let room = fs::read_to_string("/proc/sys/net/core/wmem_default").expect("/proc/sys");
    let room: usize = room.trim().parse().expect("a number");
    proc::freeze(worker);
    for _ in 0..=room / 512 {
        fs::rename(&log, &old).expect("rotating");
        adit.signal(Signal::SIGUSR1);
        wait_for("the new log", || log.exists().then_some(()));
    }
    send(worker, Signal::SIGCONT);
    wait_for("the newest log in the worker", || {
        proc::has_open(worker, &log).then_some(())
    });
    assert!(goes_on(&mut client));
}

#[test]
fn a_master_that_dies_while_a_reload_loads_is_replaced_once() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1");
    let roles = proc::roles(adit.pid());
    // A stopped resolver holds the candidate where it is.
    proc::freeze(roles.resolver);
    adit.rewrite(|text| text + "connect = localhost:1\n");
    adit.signal(Signal::SIGHUP);
    wait_for("a candidate", || {
        let masters = proc::children(adit.pid());
        (masters.len() == 4).then_some(())
    });
    // Without its spare, or that would have another serve at once.
    proc::freeze(roles.master);
    let spare = proc::spare(adit.pid());
    send(spare, Signal::SIGKILL);
    wait_for("the spare's end", || (!proc::alive(spare)).then_some(()));
    send(roles.master, Signal::SIGKILL);
    adit.wait_for_log("starting another in");
    let before = proc::cpu_time(adit.pid());
    let mut waiting = adit.connect("test");
    let second = Some(Duration::from_secs(1));
    waiting.set_read_timeout(second).expect("a timeout");
    assert!(!goes_on(&mut waiting), "nobody is there to serve it");
    let used = proc::cpu_time(adit.pid()).checked_sub(before).unwrap();
    assert!(used < Duration::from_millis(500), "a busy loop: {used:?}");
    send(roles.resolver, Signal::SIGCONT);
    adit.wait_for_log("Configuration reloaded");
    assert!(goes_on(&mut open(&adit)));
    assert_eq!(adit.count_in_log("in place of the dead one"), 0);
}

#[test]
fn workers_whose_master_was_killed_end_their_connections_within_draintimeout() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1\ndrainTimeout = 1");
    let roles = proc::roles(adit.pid());
    let mut client = open(&adit);
    send(roles.master, Signal::SIGKILL);
    assert!(goes_on(&mut client), "it was cut at once");
    // The client does nothing to end it.
    wait_for("the orphan's end", || {
        (!proc::alive(roles.workers[0])).then_some(())
    });
}

#[test]
fn a_kernel_without_memory_for_poll_ends_no_process() {
    require!(root);
    require!(adit);
    require!(program "strace");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&certs, &upstream, "workers = 1");
    let roles = proc::roles(adit.pid());
    // A master waits by epoll_wait(2), which needs no memory.
    let loops = [
        ("epoll_ctl", vec![roles.supervisor, roles.resolver]),
        ("poll,ppoll", vec![roles.workers[0]]),
    ];
    let mut traces = Vec::new();
    for (calls, pids) in loops {
        let trace = adit.plan.folder().join(format!("trace of {calls}"));
        let mut strace = std::process::Command::new("strace");
        // The supervisor's children are not meant; the threads of a worker are.
        strace.args((calls != "epoll_ctl").then_some("-f"));
        strace.args(["-qq", "-e", &format!("trace={calls}"), "-o"]);
        strace.arg(&trace);
        strace.args(["-e", &format!("inject={calls}:error=ENOMEM:when=1..2")]);
        strace.args(pids.iter().map(|pid| format!("--attach={pid}")));
        let strace = strace.spawn().expect("strace");
        let traced = |pid: &i32| {
            proc::status(*pid)
                .get("TracerPid")
                .is_some_and(|tracer| tracer == &strace.id().to_string())
        };
        wait_for("strace", || pids.iter().all(traced).then_some(()));
        traces.push((strace, trace));
    }
    let failed = |who: &[i32]| {
        wait_for("every loop's failure", || {
            let texts = traces.iter().map(|(_, trace)| fs::read_to_string(trace));
            let text: String = texts.map(Result::unwrap_or_default).collect();
            let failed = |pid: &i32| {
                let mut lines = text
                    .lines()
                    .filter(|line| line.starts_with(&pid.to_string()));
                lines.any(|line| line.contains("(INJECTED)"))
            };
            who.iter().all(failed).then_some(())
        });
    };
    // Each goes round its loop.
    for _ in 0..3 {
        assert!(goes_on(&mut open(&adit)));
        adit.signal(Signal::SIGUSR2);
    }
    failed(&[roles.supervisor, roles.workers[0]]);
    assert!(goes_on(&mut open(&adit)));
    let after = proc::roles(adit.pid());
    assert_eq!(after.master, roles.master);
    assert_eq!(after.workers, roles.workers);
    // A new master is introduced to the resolver.
    adit.reload(1);
    failed(&[roles.resolver]);
    for (mut strace, _) in traces {
        strace.kill().expect("strace");
        strace.wait().expect("strace");
    }
    assert!(goes_on(&mut open(&adit)));
    assert_eq!(proc::roles(adit.pid()).resolver, roles.resolver);
}

#[test]
fn workers_whose_master_was_killed_are_shown_and_waited_for_over_an_upgrade_and_at_the_end() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let program = plan.folder().join("adit");
    fs::copy(support::adit::program(), &program).expect("copy");
    let globals = format!(
        "workers = 1\ndrainTimeout = 60\ncontrol = {}",
        control.display()
    );
    let mut adit = plan
        .program(&program)
        .global(globals)
        .service("test", client_mode(&certs, &upstream))
        .start();
    let roles = proc::roles(adit.pid());
    let mut client = open(&adit);
    send(roles.master, Signal::SIGKILL);
    adit.wait_for_log("in place of the dead one");
    let orphaned = || {
        let mut command = std::process::Command::new(&program);
        command
            .args(["status", "--json", "--control"])
            .arg(&control);
        let output = command.output().expect("adit status");
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let generations = status["generations"]
            .as_array()
            .expect("generations")
            .clone();
        let mut orphaned = generations.into_iter().filter(|g| g["state"] == "orphaned");
        orphaned.next()
    };
    let shown = orphaned().expect("the dead master's generation");
    assert_eq!(shown["workers"][0]["pid"], roles.workers[0]);
    assert_eq!(shown["services"][0]["active"], 1);
    adit.signal(Signal::SIGUSR2);
    adit.wait_for_log("Generation 1 has lost its master, and 1 more active connection(s)");
    // A new version knows about it as well.
    let new = program.with_extension("new");
    fs::copy(&program, &new).expect("copy");
    fs::rename(&new, &program).expect("rename");
    adit.reload(1);
    adit.wait_for_log("has taken over");
    assert_eq!(orphaned(), Some(shown));
    let address = adit.address("test");
    adit.signal(Signal::SIGTERM);
    wait_until_refused(address);
    adit.wait_for_log_times("has ended", 2);
    assert!(goes_on(&mut client), "the connection was cut");
    drop(client);
    assert!(adit.wait_for_exit().success());
    assert!(!proc::alive(roles.workers[0]));
}

//! `metrics = [HOST:]PORT | PATH`: Prometheus and probes are answered from shared memory, by a process
//! that can do nothing else, whatever is asked and whoever dies.

mod monitoring;
mod page;
mod series;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Kernel, Plan, own_loopback, proc, tls, wait_for};
use crate::upgrade::next_version;

/// Where metrics are served now: the last address they were bound to.
#[track_caller]
pub fn address(adit: &Adit) -> SocketAddr {
    adit.wait_for_log("Metrics bound to");
    let log = adit.log();
    let mut lines = log.lines().rev();
    let line = lines.find(|line| line.contains("Metrics bound to"));
    let line = line.expect("such a line");
    let address = line.rsplit(' ').next().expect("a word");
    address.parse().expect("an address")
}

/// A whole answer to these bytes.
fn ask_on(mut stream: impl Read + Write, request: &[u8]) -> String {
    stream.write_all(request).expect("writing");
    let answer = peers::read_to_end(&mut stream);
    String::from_utf8(answer).expect("text")
}

fn ask(address: SocketAddr, request: &str) -> String {
    ask_on(peers::connect(address), request.as_bytes())
}

pub fn get(address: SocketAddr, path: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: adit\r\n\r\n"),
    )
}

/// The value of a series, named with its labels.
#[track_caller]
pub fn value(page: &str, series: &str) -> u64 {
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {series} in:\n{page}"));
    value.parse().expect("a number")
}

/// Asks for health until it is as wanted; the answer.
#[track_caller]
fn wait_for_health(address: SocketAddr, status: &str, reason: &str) -> String {
    wait_for(&format!("{status} {reason}"), || {
        let answer = get(address, "/health");
        let wanted = answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(reason);
        wanted.then_some(answer)
    })
}

fn teller(adit: &Adit) -> i32 {
    wait_for("a teller", || {
        let below = proc::children(adit.pid());
        below
            .into_iter()
            .find(|&pid| proc::title(pid) == "adit: teller")
    })
}

fn send(pid: i32, signal: Signal) {
    // It may be gone already.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// A service that adds TLS.
fn client_mode(certs: &Certs, upstream: &Server) -> String {
    let (connect, ca) = (upstream.line(), certs.ca_line());
    format!("client = yes\n{connect}{ca}verifyChain = yes\n")
}

fn plain(upstream: &Server) -> String {
    format!("client = yes\n{}", upstream.line())
}

#[test]
fn nothing_but_the_teller_wakes_up_when_metrics_are_read() {
    require!(adit);
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 2")
        .service("test", plain(&upstream))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let roles = proc::roles(adit.pid());
    let others: Vec<i32> = [roles.supervisor, roles.master, roles.resolver]
        .into_iter()
        .chain(roles.workers)
        .collect();
    let teller = teller(&adit);
    let all = || {
        others
            .iter()
            .map(|&pid| proc::sleeps(pid))
            .collect::<Vec<_>>()
    };
    // Once their start is over.
    wait_for("processes at rest", || (all() == all()).then_some(()));
    let before = all();
    for _ in 0..50 {
        // The count counts: a teller that has answered goes back to sleep.
        let told = proc::sleeps(teller);
        assert!(get(address, "/metrics").contains("adit_healthy 1"));
        assert!(get(address, "/health").ends_with("ok\n"));
        assert!(get(address, "/").contains("All is well"));
        wait_for("the teller asleep", || {
            (proc::sleeps(teller) > told).then_some(())
        });
    }
    // What else may wake one of them happens a few times at most.
    for (before, after) in before.iter().zip(all()) {
        assert!(after - before < 10, "{others:?}: {before} then {after}");
    }
}

#[test]
fn health_is_503_while_no_worker_lives_and_200_again() {
    require!(adit);
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("metrics = 0\nworkers = 1")
        .service("test", plain(&upstream))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let master = proc::roles(adit.pid()).master;
    // Each that dies fast is followed after a longer pause.
    let answer = wait_for("a health of 503", || {
        proc::children(master)
            .into_iter()
            .for_each(|worker| send(worker, Signal::SIGKILL));
        let answer = get(address, "/health");
        answer.starts_with("HTTP/1.1 503 ").then_some(answer)
    });
    assert!(
        answer.ends_with("\r\n\r\nno worker of generation 1 is alive\n"),
        "{answer}"
    );
    wait_for_health(address, "200", "ok");
    let page = get(address, "/metrics");
    assert!(value(&page, "adit_worker_restarts_total{worker=\"0\"}") > 0);
}

#[test]
fn health_is_503_while_no_master_serves_and_200_again() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let pair = certs.server();
    let adit = Plan::new()
        .global("metrics = 0")
        .service("test", upstream.line() + &pair.lines())
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let aside = pair.cert.with_extension("aside");
    fs::rename(&pair.cert, &aside).expect("renaming");
    let answer = wait_for("a health of 503", || {
        let masters = proc::children(adit.pid()).into_iter();
        let masters = masters.filter(|&pid| proc::title(pid).contains("master"));
        masters.for_each(|master| send(master, Signal::SIGKILL));
        let (answer, page) = (get(address, "/health"), get(address, "/metrics"));
        // The next master may have come between the two.
        let both = answer.starts_with("HTTP/1.1 503 ") && value(&page, "adit_healthy") == 0;
        both.then_some((answer, page))
    });
    let (answer, page) = answer;
    assert!(answer.contains("\r\n\r\nno master serves"), "{answer}");
    assert_eq!(
        value(&page, "adit_service_connections_total{service=\"test\"}"),
        0
    );
    fs::rename(&aside, &pair.cert).expect("renaming back");
    wait_for_health(address, "200", "ok");
}

#[test]
fn a_reload_adds_moves_and_removes_the_port_and_one_that_is_refused_changes_nothing() {
    require!(adit);
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("debug = 7")
        .service("test", plain(&upstream))
        .start();
    let ip = own_loopback();
    let free = || {
        let free = TcpListener::bind((ip, 0)).and_then(|free| free.local_addr());
        free.expect("a free port")
    };
    let first = free();
    adit.rewrite(|text| format!("metrics = {first}\n{text}"));
    adit.reload(2);
    assert_eq!(address(&adit), first);
    wait_for_health(first, "200", "ok");

    // Another address of the same port, which a listener of ours stands in the way of.
    let every = SocketAddr::from(([0, 0, 0, 0], first.port()));
    adit.rewrite(|text| text.replace(&first.to_string(), &every.to_string()));
    adit.reload(2);
    wait_for_health(first, "200", "ok");
    assert_eq!(address(&adit), every);

    let busy = TcpListener::bind((ip, 0)).expect("a free port");
    let taken = busy.local_addr().expect("its address");
    let (before, served) = (fs::read_to_string(adit.plan.file()), teller(&adit));
    adit.rewrite(|text| text.replace(&every.to_string(), &taken.to_string()));
    adit.reload_refused(&[
        &format!("Binding metrics to {taken}: Address already in use (98): "),
        "stop the program that has it, or give `metrics` another port",
    ]);
    wait_for_health(first, "200", "ok");
    assert_eq!(teller(&adit), served, "the teller is the same");
    let page = get(first, "/metrics");
    assert_eq!(value(&page, "adit_reloads_total{result=\"success\"}"), 2);
    assert_eq!(value(&page, "adit_reloads_total{result=\"failure\"}"), 1);
    // What is wrong elsewhere takes the new address back, too.
    let second = free();
    let before = before.expect("the configuration");
    let moved = before.replace(&every.to_string(), &second.to_string());
    adit.rewrite(|_| format!("{moved}[bad]\naccept = {taken}\n{}", plain(&upstream)));
    adit.reload_refused(&["Binding service [bad]"]);
    assert!(TcpStream::connect(second).is_err());
    wait_for_health(first, "200", "ok");

    adit.rewrite(|_| moved);
    adit.reload(2);
    wait_for_health(second, "200", "ok");
    wait_for("the old port closed", || TcpStream::connect(first).err());
    adit.rewrite(|text| text.replace(&format!("metrics = {second}\n"), ""));
    adit.reload(1);
    wait_for("the port closed", || TcpStream::connect(second).err());
    let below = proc::children(adit.pid());
    assert!(below.iter().all(|&pid| proc::title(pid) != "adit: teller"));
}

#[test]
fn a_killed_teller_is_replaced_nobody_is_refused_and_the_counts_go_on() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = Plan::new()
        .global("metrics = 0")
        .service("test", client_mode(&certs, &upstream))
        .start();
    let address = address(&adit);
    let series = "adit_service_connections_total{service=\"test\"}";
    let visit = || peers::says_and_hears(&mut adit.connect("test"), "hello");
    visit();
    adit.reload(1);
    visit();
    wait_for_health(address, "200", "ok");
    for _ in 0..3 {
        let killed = teller(&adit);
        proc::freeze(killed);
        // It waits in the listener's queue for the next teller.
        let waiting = peers::connect(address);
        send(killed, Signal::SIGKILL);
        let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
        let page = ask_on(waiting, request);
        assert_eq!(value(&page, series), 2);
        assert_ne!(teller(&adit), killed);
    }
    adit.wait_for_log("The teller (PID");
}

#[test]
fn a_new_binary_goes_on_with_the_port_and_the_counts() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let path = plan.folder().join("adit");
    fs::copy(program(), &path).expect("copy");
    let adit = plan
        .program(&path)
        .global("metrics = 0")
        .service("test", client_mode(&certs, &upstream))
        .start();
    let address = address(&adit);
    let series = "adit_service_connections_total{service=\"test\"}";
    peers::says_and_hears(&mut adit.connect("test"), "hello");
    wait_for_health(address, "200", "ok");
    let first = teller(&adit);
    next_version(&path);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let scrapes = std::thread::scope(|scope| {
        let scraping = scope.spawn(|| {
            let mut scrapes = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut stream = peers::connect(address);
                let mut page = String::new();
                let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: adit\r\n\r\n");
                let read = asked.and_then(|()| stream.read_to_string(&mut page));
                // One that dies with its teller has no answer, or is reset; one that has is right.
                if read.is_ok() && page.contains(" 200 OK") {
                    assert_eq!(value(&page, series), 1);
                    scrapes += 1;
                }
            }
            scrapes
        });
        adit.reload(1);
        adit.wait_for_log("has taken over");
        wait_for("another teller", || (teller(&adit) != first).then_some(()));
        wait_for_health(address, "200", "ok");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        scraping.join().expect("right counts")
    });
    assert!(scrapes > 0);
    assert_eq!(value(&get(address, "/metrics"), series), 1);
    let (_, said) = adit.stop();
    assert!(!said.contains("ERROR") && !said.contains("panic"), "{said}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_unix_socket_is_open_to_whoever_may_enter_its_folder_and_goes_with_adit() {
    require!(adit);
    let upstream = Server::echo();
    let plan = Plan::new();
    let path = plan.folder().join("metrics");
    // Left over from one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let adit = plan
        .global(format!("metrics = {}", path.display()))
        .service("test", plain(&upstream))
        .start();
    let about = fs::metadata(&path).expect("the socket");
    assert!(about.file_type().is_socket());
    assert_eq!(about.permissions().mode() & 0o7777, 0o666);
    wait_for("health", || {
        let stream = UnixStream::connect(&path).expect("it listens");
        let answer = ask_on(stream, b"GET /health HTTP/1.0\r\n\r\n");
        answer.starts_with("HTTP/1.1 200 OK").then_some(())
    });
    let other = path.with_extension("moved");
    adit.rewrite(|text| {
        let (old, new) = (path.display().to_string(), other.display().to_string());
        text.replace(&format!("metrics = {old}"), &format!("metrics = {new}"))
    });
    adit.reload(2);
    assert!(!path.exists() && other.exists());
    let _ = adit.stop();
    assert!(!other.exists());
}

#[test]
fn what_is_no_request_is_refused_with_the_right_status() {
    require!(adit);
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("metrics = 0")
        .service("test", plain(&upstream))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(100_000));
    for (request, status) in [
        ("GET /page HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found"),
        ("GET /metrics/ HTTP/1.0\r\n\r\n", "404 Not Found"),
        (
            "POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
            "405 Method Not",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
            "405 Method Not Allowed\r\nAllow: GET, HEAD",
        ),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("\u{16}\u{3}\u{1}\u{2}", "400 Bad Request"),
        ("EHLO\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "505 HTTP Version"),
        (&long, "431 Request Header Fields"),
    ] {
        let answer = ask(address, request);
        let wanted = format!("HTTP/1.1 {status}");
        assert!(
            answer.starts_with(&wanted),
            "{:?}: {answer}",
            &request[..10.min(request.len())]
        );
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    assert!(get(address, "/health").ends_with("ok\n"));
}

#[test]
fn slow_clients_block_nobody_and_are_given_up() {
    require!(adit);
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("metrics = 0")
        .service("test", plain(&upstream))
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let slow = || {
        let mut slow = peers::connect(address);
        slow.write_all(b"GET /metrics HTT").expect("writing");
        slow
    };
    // More than there is room for: the oldest goes, and others are answered all along.
    let mut all: Vec<TcpStream> = (0..100).map(|_| slow()).collect();
    assert!(get(address, "/health").ends_with("ok\n"));
    let _ = peers::read_until_gone(&mut all.remove(0));
    // And the newest, when its time is over.
    let begun = std::time::Instant::now();
    let _ = peers::read_until_gone(all.last_mut().expect("one"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(40));
    assert!(get(address, "/health").ends_with("ok\n"));
}

#[test]
fn the_teller_is_nobodys_knows_no_secret_and_can_write_to_no_count() {
    require!(root);
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let pair = certs.server();
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("a folder");
    let adit = plan
        .global(format!("metrics = 0\nchroot = {}", jail.display()))
        .global("setuid = nobody\nsetgid = nogroup")
        .service("test", upstream.line() + &pair.lines())
        .start();
    let address = address(&adit);
    wait_for_health(address, "200", "ok");
    let first = teller(&adit);
    // The next one is a copy of a supervisor that knows counts and what resumption needs.
    send(first, Signal::SIGKILL);
    let pid = wait_for("another", || {
        Some(teller(&adit)).filter(|pid| *pid != first)
    });
    wait_for_health(address, "200", "ok");
    let status = proc::status(pid);
    for ids in ["Uid", "Gid"] {
        assert!(
            status[ids].split_whitespace().all(|id| id == "65534"),
            "{}",
            status[ids]
        );
    }
    assert_eq!(status["CapEff"], "0000000000000000");
    assert_eq!(status["CapBnd"], "0000000000000000");
    assert_eq!(status["NoNewPrivs"], "1");
    assert_eq!(status["Seccomp"], "2");
    assert_eq!(status["Threads"], "1");
    assert_eq!(proc::listeners(pid), 1, "the one of metrics");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a living process");
    let shared: Vec<&str> = maps
        .lines()
        .filter(|line| {
            line.split(' ')
                .nth(1)
                .is_some_and(|access| access.ends_with('s'))
        })
        .collect();
    assert!(!shared.is_empty(), "it reads a board");
    let writable: Vec<_> = shared.iter().filter(|line| line.contains(" rw")).collect();
    // A single page, which takes the place of what it must not know, is its own.
    let of_boards = writable.iter().filter(|line| line.contains("memfd"));
    assert_eq!(of_boards.count(), 0, "{shared:?}");
}

#[test]
fn metrics_are_served_on_older_kernels_and_behind_an_allow_list() {
    require!(root);
    require!(adit);
    let upstream = Server::echo();
    for kernel in [Kernel::linux_4_18(), Kernel::behind_an_allow_list()] {
        let adit = Plan::new()
            .kernel(kernel)
            .global("metrics = 0")
            .service("test", plain(&upstream))
            .start();
        let address = address(&adit);
        wait_for_health(address, "200", "ok");
        send(teller(&adit), Signal::SIGKILL);
        assert!(get(address, "/metrics").contains("adit_healthy 1"));
        adit.reload(1);
        wait_for_health(address, "200", "ok");
    }
}

#[test]
fn an_address_that_cannot_be_bound_is_told_by_a_start_and_by_check() {
    require!(adit);
    let upstream = Server::echo();
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = busy.local_addr().expect("its address");
    let plan = |value: &str| {
        Plan::new()
            .global(format!("metrics = {value}"))
            .service("test", plain(&upstream))
    };
    let phrase = format!("metrics to {taken}: Address already in use (98): ");
    plan(&taken.to_string()).run().exits(1).says(&[
        &format!("Binding {phrase}"),
        "(stop the program that has it, or give `metrics` another port;",
    ]);
    plan("/no/such/folder/metrics")
        .run()
        .exits(1)
        .says(&["metrics: there is no folder /no/such/folder"]);
    plan("mail.example:9797").run().exits(1).says(&[
        "`mail.example` is not an address",
        "PORT alone, which is on loopback",
    ]);
    let check = |plan: Plan| {
        let _ = plan.command();
        let output = Command::new(program())
            .arg("check")
            .arg(plan.file())
            .output();
        let output = output.expect("adit check");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = check(plan(&taken.port().to_string()));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("a start could not bind {phrase}")),
        "{said}"
    );
    let (code, said) = check(plan("0"));
    assert!(code == Some(0) && !said.contains("metrics"), "{said}");
}

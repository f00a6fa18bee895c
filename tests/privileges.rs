//! adit gives up root, as seen from outside: what `/proc` says about every process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::proc::{self, Roles};
use crate::support::{Adit, Certs, Kernel, Plan, tls, wait_for};

const NOBODY: &str = "65534";

/// A plan with an empty jail.
fn jailed() -> (Plan, PathBuf) {
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    let line = format!("chroot = {}", jail.display());
    (plan.global(line).global("workers = 2"), jail)
}

fn service(certs: &Certs, upstream: &Server) -> String {
    upstream.line() + &certs.server().lines()
}

fn talk(adit: &Adit, certs: &Certs) -> tls::ClientStream {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
    client
}

/// All four ids of a kind equal this one.
#[track_caller]
fn ids_are(pid: i32, name: &str, id: &str) {
    let ids = proc::status(pid).remove(name).expect("a line of ids");
    assert!(
        ids.split_whitespace().all(|one| one == id),
        "{}: {name} {ids}",
        proc::title(pid)
    );
}

/// What holds for every process that has given up root.
#[track_caller]
fn powerless(pid: i32) {
    let status = proc::status(pid);
    let title = proc::title(pid);
    ids_are(pid, "Uid", NOBODY);
    ids_are(pid, "Gid", NOBODY);
    assert!(
        ["", NOBODY].contains(&status["Groups"].as_str()),
        "{title}: {}",
        status["Groups"]
    );
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{title}: {set}");
    }
    assert_eq!(status["NoNewPrivs"], "1", "{title}");
}

fn below_root(roles: &Roles) -> Vec<i32> {
    let spare = proc::spare(roles.supervisor);
    [&[roles.resolver, roles.master, spare][..], &roles.workers].concat()
}

/// As a unit with `User=` and `AmbientCapabilities=` gives them.
#[test]
fn capabilities_of_another_user_than_root_are_given_up_too() {
    require!(root);
    require!(adit);
    require!(program "setpriv");
    let upstream = Server::echo();
    let plan = Plan::new();
    let [copy, wrapper] = ["program", "wrapper"].map(|name| plan.folder().join(name));
    // That user may not have access to cargo's build folder.
    fs::copy(program(), &copy).expect("copying the program");
    let text = format!(
        "#!/bin/sh\nexec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps +net_bind_service \
         --ambient-caps +net_bind_service {} \"$@\"\n",
        copy.display()
    );
    fs::write(&wrapper, text).expect("writing");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("chmod");
    let id = NOBODY.parse().ok();
    std::os::unix::fs::chown(plan.folder(), id, id).expect("chown");
    let service = format!("client = yes\n{}", upstream.line());
    let adit = plan.program(wrapper).service("test", service).start();
    let roles = proc::roles(adit.pid());
    let of = |pid, set: &str| proc::status(pid)[set].clone();
    assert_ne!(of(roles.supervisor, "CapEff"), "0000000000000000");
    for pid in below_root(&roles) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let title = proc::title(pid);
            assert_eq!(of(pid, set), "0000000000000000", "{title}: {set}");
        }
    }
}

#[test]
fn every_process_below_the_supervisor_has_lost_every_right() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let (plan, jail) = jailed();
    let adit = plan
        .global("setuid = nobody\nsetgid = nogroup")
        .service("test", service(&certs, &upstream))
        .start();
    let _client = talk(&adit, &certs);
    let roles = proc::roles(adit.pid());
    assert_eq!(roles.workers.len(), 2);
    for pid in below_root(&roles) {
        powerless(pid);
    }
    let spare = proc::spare(adit.pid());
    for &pid in roles.workers.iter().chain([&roles.master, &spare]) {
        assert_eq!(proc::root(pid), jail, "{}", proc::title(pid));
        let here = fs::read_link(format!("/proc/{pid}/cwd")).expect("a living process");
        assert_eq!(here, jail, "{}", proc::title(pid));
    }
    adit.wait_for_log(&format!("Switched to chroot directory: {}", jail.display()));
}

#[test]
fn a_process_holds_the_descriptors_of_its_role_and_no_other() {
    require!(root);
    require!(adit);
    holds_what_its_role_needs(jailed().0);
}

/// Before Linux 5.9 there is no close_range(2), and a jail has no /proc.
#[test]
fn a_process_on_an_older_kernel_holds_the_descriptors_of_its_role_too() {
    require!(root);
    require!(adit);
    holds_what_its_role_needs(jailed().0.kernel(Kernel::linux_4_18()));
}

#[track_caller]
fn holds_what_its_role_needs(plan: Plan) {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = plan
        .global("setuid = nobody\nsetgid = nogroup")
        .service("test", service(&certs, &upstream))
        .start();
    let _client = talk(&adit, &certs);
    let roles = proc::roles(adit.pid());
    assert_eq!(
        proc::listeners(roles.supervisor),
        1,
        "the supervisor keeps the listener"
    );
    assert_eq!(proc::listeners(roles.master), 1, "the master accepts");
    let spare = proc::spare(adit.pid());
    for &pid in roles.workers.iter().chain([&roles.resolver, &spare]) {
        assert_eq!(
            proc::listeners(pid),
            0,
            "{} holds a listener",
            proc::title(pid)
        );
    }
    let log = adit.plan.folder().join("log").display().to_string();
    let said = adit.plan.folder().join("said").display().to_string();
    for pid in below_root(&roles) {
        for (number, target) in proc::descriptors(pid) {
            let of_a_file = target.starts_with('/') && !target.starts_with("/memfd:");
            let known = [log.as_str(), said.as_str(), "/dev/null"].contains(&target.as_str());
            assert!(
                !of_a_file || known,
                "{}: {number} is {target}",
                proc::title(pid)
            );
        }
    }
    // The supervisor itself never has the connection.
    let connected = established();
    let own = proc::descriptors(roles.supervisor);
    assert!(
        own.iter().all(|(_, target)| !connected.contains(target)),
        "{own:?}"
    );
    let relayed = roles.workers.iter().any(|&pid| {
        proc::descriptors(pid)
            .iter()
            .any(|(_, target)| connected.contains(target))
    });
    assert!(relayed, "no worker has the connection");
}

/// The sockets of connections, as `/proc/PID/fd` names them.
fn established() -> Vec<String> {
    let text = fs::read_to_string("/proc/net/tcp").expect("/proc");
    let fields = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // State 01 is ESTABLISHED.
    fields
        .filter(|line| line[3] == "01")
        .map(|line| format!("socket:[{}]", line[9]))
        .collect()
}

#[test]
fn the_supervisors_memory_holds_no_private_key() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let pair = certs.server();
    let (plan, _) = jailed();
    let adit = plan
        .global("setuid = nobody\nsetgid = nogroup")
        .service("test", service(&certs, &upstream))
        .start();
    drop(talk(&adit, &certs));
    adit.reload(1);
    drop(talk(&adit, &certs));
    let roles = proc::roles(adit.pid());
    let pem = fs::read_to_string(&pair.key).expect("a key");
    // The body's first line begins with what all P-256 keys share; the second is specific to the key.
    let own_line = pem.lines().nth(2).expect("a second line").as_bytes();
    let scalars = Certs::scalar(&pem);
    for pid in [roles.supervisor, roles.resolver] {
        let title = proc::title(pid);
        assert!(
            !proc::memory_holds(pid, own_line),
            "{title} holds the key's text"
        );
        for scalar in &scalars {
            assert!(!proc::memory_holds(pid, scalar), "{title} holds the key");
        }
    }
    // The search works.
    assert!(
        proc::memory_holds(roles.master, &scalars[1]),
        "the search does not find the key where it is"
    );
    let path = adit.plan.file().display().to_string();
    assert!(
        proc::memory_holds(roles.supervisor, path.as_bytes()),
        "the search finds nothing"
    );
}

#[test]
fn the_log_and_the_pid_file_belong_to_their_places_in_the_jail() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let (plan, jail) = jailed();
    fs::create_dir(jail.join("run")).expect("mkdir");
    let adit = plan
        .global("setuid = nobody\nsetgid = nogroup\npid = /run/adit.pid")
        .service("test", service(&certs, &upstream))
        .start();
    let file = jail.join("run/adit.pid");
    let pid = fs::read_to_string(&file).expect("the pid file stands in the jail");
    assert_eq!(pid.trim(), adit.pid().to_string());
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
    assert!(!file.exists(), "the pid file is left over");
}

#[test]
fn an_ordinary_user_runs_it_without_the_jail_and_is_told_so() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let pair = certs.server();
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let lines = format!("{}{}", upstream.line(), pair.lines());
    let adit = Plan::new()
        .user(65534, 65534)
        .service("test", lines)
        .start();
    talk(&adit, &certs);
    let roles = proc::roles(adit.pid());
    for pid in below_root(&roles).into_iter().chain([roles.supervisor]) {
        ids_are(pid, "Uid", NOBODY);
        assert_eq!(proc::status(pid)["CapEff"], "0000000000000000");
    }
    let log = adit.log();
    assert!(
        log.lines().any(|line| line.contains("LOG4[")
            || line.contains("LOG5[") && (line.contains("root") || line.contains("jail"))),
        "no word about the jail that is missing"
    );
}

#[test]
fn chroot_without_setuid_stays_root_in_the_jail() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let (plan, jail) = jailed();
    let adit = plan.service("test", service(&certs, &upstream)).start();
    talk(&adit, &certs);
    let roles = proc::roles(adit.pid());
    for &pid in roles.workers.iter().chain([&roles.master]) {
        assert_eq!(proc::root(pid), jail);
        ids_are(pid, "Uid", "0");
    }
}

#[test]
fn setuid_without_chroot_leaves_root_behind_all_the_same() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("setuid = nobody\nsetgid = nogroup")
        .service("test", service(&certs, &upstream))
        .start();
    talk(&adit, &certs);
    let roles = proc::roles(adit.pid());
    for pid in below_root(&roles) {
        powerless(pid);
        assert_eq!(proc::root(pid), PathBuf::from("/"));
    }
}

#[test]
fn setuid_without_setgid_takes_the_users_groups() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Plan::new()
        .global("setuid = nobody")
        .service("test", service(&certs, &upstream))
        .start();
    talk(&adit, &certs);
    for pid in below_root(&proc::roles(adit.pid())) {
        powerless(pid);
    }
}

/// `PID call(arguments…` as strace writes it, or the rest of an interrupted call: `PID <... call
/// resumed>…`.
fn calls<'a>(trace: &'a str, name: &'a str) -> impl Iterator<Item = (usize, i32, &'a str)> {
    trace.lines().enumerate().filter_map(move |(number, line)| {
        let (pid, call) = line.split_once(' ')?;
        let call = call.trim_start();
        let call = call.strip_prefix("<... ").unwrap_or(call);
        call.starts_with(name)
            .then_some((number, pid.parse().ok()?, call))
    })
}

#[test]
fn nothing_is_accepted_before_the_jail_and_the_supervisor_opens_no_key() {
    require!(root);
    require!(adit);
    require!(program "strace");
    let certs = Certs::new();
    let upstream = Server::echo();
    let (plan, _) = jailed();
    let trace = plan.folder().join("trace");
    // strace's own child is adit; its arguments end with the configuration.
    let file = plan.file().display().to_string();
    let binary = program().display().to_string();
    let trace_file = trace.display().to_string();
    let adit = plan
        .global("setuid = nobody\nsetgid = nogroup")
        .service("test", service(&certs, &upstream))
        .program("/usr/bin/strace")
        .global("pid = /adit.pid")
        .arguments(&[
            "-f",
            "-qq",
            "-e",
            "trace=accept,accept4,chroot,setresuid,open,openat,openat2",
            "-o",
            &trace_file,
            &binary,
            &file,
        ])
        .start();
    drop(talk(&adit, &certs));
    adit.wait_for_log("Service [test] finished (0 left)");
    let supervisor = proc::children(adit.pid())[0];
    let master = proc::roles(supervisor).master;
    let trace = wait_for("the accepted connection in the trace", || {
        let trace = fs::read_to_string(&trace).ok()?;
        let accepted = calls(&trace, "accept").any(|(_, _, call)| call.contains("sin_port"));
        accepted.then_some(trace)
    });
    let by_master = |(_, pid, _): &(usize, i32, &str)| *pid == master;
    let (jailed, ..) = calls(&trace, "chroot")
        .find(by_master)
        .expect("chroot by the master");
    let (dropped, _, call) = calls(&trace, "setresuid")
        .find(by_master)
        .expect("setresuid by the master");
    assert!(call.contains("65534, 65534, 65534"), "{call}");
    assert!(jailed < dropped, "chroot needs root");
    for (number, pid, call) in calls(&trace, "accept") {
        assert_eq!(pid, master, "{call}");
        assert!(number > dropped, "accepted while still root: {call}");
    }
    let keys: Vec<_> = calls(&trace, "open")
        .filter(|(.., call)| call.contains(".key"))
        .collect();
    assert!(!keys.is_empty(), "nobody opened the key");
    for (_, pid, call) in keys {
        assert_eq!(pid, master, "{call}");
    }
}

/// MariaDB's unix_socket and slapd's EXTERNAL identify clients by SO_PEERCRED.
#[test]
fn every_client_is_root_to_a_unix_socket_unless_setuid_is_given_and_that_is_warned_of() {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    require!(root);
    require!(adit);
    let certs = Certs::new();
    for (globals, user, warned) in [
        ("", 0, true),
        ("setuid = root", 0, true),
        ("setuid = nobody\nsetgid = nogroup", 65534, false),
    ] {
        let plan = Plan::new().global(globals);
        let path = plan.folder().join("upstream");
        let upstream = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
        let lines = format!("connect = {}\n{}", path.display(), certs.server().lines());
        let adit = plan.service("test", lines).start();
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let client = std::thread::spawn({
            let address = adit.address("test");
            move || peers::read_to_end(&mut tls::connect(config, address))
        });
        let (server, _) = upstream.accept().expect("adit");
        let peer = getsockopt(&server, PeerCredentials).expect("who it is");
        assert_eq!(peer.uid(), user, "{globals}");
        drop(server);
        client.join().expect("no panic");

        let phrase = "takes every client for root";
        assert_eq!(adit.count_in_log(phrase), usize::from(warned), "{globals}");
        let check = |flags: &[&str]| {
            let mut command = std::process::Command::new(program());
            let command = command.arg("check").args(flags).arg(adit.plan.file());
            command.env("RUNTIME_DIRECTORY", adit.plan.folder());
            let output = command.output().expect("a command");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), said)
        };
        let (code, said) = check(&[]);
        assert_eq!((code, said.contains(phrase)), (Some(0), warned), "{said}");
        assert_eq!(said.contains("help: `setuid = USER`"), warned, "{said}");
        assert_eq!(check(&["--strict"]).0, Some(i32::from(warned)));
    }
}

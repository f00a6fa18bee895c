//! adit serves from Linux 4.18 on. What the kernel lacks costs neither the service nor, silently,
//! protection; and a start that fails names the system call.
//!
//! A seccomp filter plays the kernel. `tests/older-kernel` runs all other tests under it too.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::{client_mode, goes_on, open, send};
use crate::support::adit::program;
use crate::support::kernel;
use crate::support::peers::Server;
use crate::support::{Certs, Kernel, Plan, proc, tls, wait_for};

/// This kernel, an older one, and one behind a filter that does not know newer calls.
fn kernels() -> [Option<Kernel>; 3] {
    [
        None,
        Some(Kernel::linux_4_18()),
        Some(Kernel::behind_an_allow_list()),
    ]
}

fn plan(kernel: Option<Kernel>) -> Plan {
    match kernel {
        Some(kernel) => Plan::new().kernel(kernel),
        None => Plan::new(),
    }
}

/// More log lines than fit into any of the outputs below.
const MANY: usize = 100;

/// It serves connections although its `stderr` is never read, and exits when told to.
#[track_caller]
fn serves_unread(kernel: Option<Kernel>, stderr: OwnedFd) {
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = plan(kernel).service("test", client_mode(&certs, &upstream));
    let adit = plan.global("workers = 2").launch_telling(stderr);
    adit.wait_for_log("Accepting new connections");
    for _ in 0..MANY {
        drop(open(&adit));
    }
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn a_pipe_without_a_reader_stops_nothing() {
    require!(adit);
    for kernel in kernels() {
        let (_unread, writer) = std::io::pipe().expect("a pipe");
        serves_unread(kernel, writer.into());
    }
}

#[test]
fn a_socket_that_is_not_read_stops_nothing() {
    require!(adit);
    for kernel in kernels() {
        let (_unread, writer) = UnixStream::pair().expect("sockets");
        let small = nix::sys::socket::sockopt::SndBuf;
        nix::sys::socket::setsockopt(&writer, small, &4096).expect("a smaller buffer");
        serves_unread(kernel, writer.into());
    }
}

/// Like the terminal of a hanging SSH connection.
#[test]
fn a_terminal_that_is_not_read_stops_nothing() {
    require!(adit);
    for kernel in kernels() {
        let pty = nix::pty::openpty(None, None).expect("a pty");
        serves_unread(kernel, pty.slave);
        drop(pty.master);
    }
}

/// Repeating a write(2) of nothing would stop it.
#[test]
fn an_output_that_takes_nothing_stops_nothing() {
    require!(adit);
    let stderr = (0, libc::STDERR_FILENO as u32);
    let nothing = Kernel::default()
        .answering(libc::SYS_pwritev2, &[stderr], 0)
        .answering(libc::SYS_write, &[stderr], 0);
    let (_unread, writer) = std::io::pipe().expect("a pipe");
    serves_unread(Some(nothing), writer.into());
}

/// Before Linux 6.4 a write to a shared pipe can block, whatever poll(2) reported before.
#[test]
fn a_pipe_is_its_own_without_waiting_and_stays_as_it_was_for_others() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let (_unread, writer) = std::io::pipe().expect("a pipe");
    let ours = writer.try_clone().expect("a duplicate");
    let service = Server::echo().line() + &certs.server().lines();
    let adit = Plan::new().service("test", service).launch_telling(writer);
    adit.wait_for_log("Accepting new connections");
    let before = proc::roles(adit.pid());
    for pid in [adit.pid(), before.master, before.workers[0]] {
        let flags = proc::open_flags(pid, libc::STDERR_FILENO);
        assert!(flags & libc::O_NONBLOCK != 0, "{pid}: {flags:o}");
    }
    let flags = proc::open_flags(std::process::id() as i32, ours.as_raw_fd());
    assert!(flags & libc::O_NONBLOCK == 0, "{flags:o}");
}

#[test]
fn it_serves_reloads_and_replaces_its_processes_on_linux_4_18() {
    serves_reloads_and_replaces_its_processes(Kernel::linux_4_18());
}

#[test]
fn it_serves_reloads_and_replaces_its_processes_behind_an_allow_list() {
    serves_reloads_and_replaces_its_processes(Kernel::behind_an_allow_list());
}

#[track_caller]
fn serves_reloads_and_replaces_its_processes(kernel: Kernel) {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new().kernel(kernel);
    let jail = plan.folder().join("jail");
    fs::create_dir_all(jail.join("run")).expect("mkdir");
    let adit = plan
        .global(format!("chroot = {}", jail.display()))
        .global("setuid = nobody\nsetgid = nogroup\npid = /run/adit.pid\nworkers = 2")
        .service("test", client_mode(&certs, &upstream))
        .start();
    let pid = fs::read_to_string(jail.join("run/adit.pid")).expect("a pid file in the jail");
    assert_eq!(pid.trim(), adit.pid().to_string());
    let mut early = open(&adit);
    let port = adit.address("test").port();
    // Another address with the same port: the old listener cannot be retired here.
    adit.rewrite(|text| text.replace("accept = 127.0.0.1:0", &format!("accept = 0.0.0.0:{port}")));
    adit.reload(1);
    drop(open(&adit));
    assert!(goes_on(&mut early));
    let before = proc::roles(adit.pid());
    send(before.workers[0], Signal::SIGKILL);
    send(before.master, Signal::SIGKILL);
    adit.wait_for_log("serves in place of the dead one");
    drop(open(&adit));
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
}

/// What the log and `adit status` say about a missing mechanism.
#[track_caller]
fn tells_of_its_sandbox(kernel: Kernel, notice: &str, row: &str, json: &str) {
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new().kernel(kernel);
    let socket = plan.folder().join("control").display().to_string();
    let adit = plan
        .global(format!("control = {socket}\ndebug = notice\nworkers = 2"))
        .service("test", upstream.line() + &certs.server().lines())
        .launch();
    let status = |more: &[&str]| {
        let mut command = Command::new(program());
        let asked = command.args(["status", "--control", &socket]).args(more);
        let output = asked.output().expect("starting the program");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let text = wait_for("a status", || {
        status(&[]).filter(|text| text.contains("serving"))
    });
    assert!(text.contains(row), "{text}");
    let document = status(&["--json"]).expect("a document");
    assert!(document.contains(json), "{document}");
    let said = adit.everything_said();
    let notices = said.lines().filter(|line| line.contains(notice)).count();
    assert_eq!(notices, 1, "{said}");
    assert!(said.contains(&format!("LOG5[ui]: {notice}")), "{said}");
}

#[test]
fn a_kernel_without_landlock_is_told_of() {
    require!(adit);
    tells_of_its_sandbox(
        Kernel::lacks(&[libc::SYS_landlock_create_ruleset]),
        "No landlock on this kernel",
        "Sandbox: seccomp, no landlock\n",
        r#""sandbox":{"seccomp":true,"landlock":0}"#,
    );
}

#[test]
fn a_kernel_without_seccomp_is_told_of() {
    require!(adit);
    tells_of_its_sandbox(
        Kernel::lacks(&[libc::SYS_seccomp]),
        "No seccomp filters on this kernel",
        "Sandbox: no seccomp, ",
        r#""sandbox":{"seccomp":false,"landlock":"#,
    );
}

/// Before Linux 4.14 there are filters, but no way to ask which answers they support.
#[test]
fn seccomp_that_tells_less_of_itself_is_there() {
    require!(adit);
    let available = (0, libc::SECCOMP_GET_ACTION_AVAIL);
    let older = Kernel::lacks(&[libc::SYS_landlock_create_ruleset]);
    tells_of_its_sandbox(
        older.answering(libc::SYS_seccomp, &[available], libc::EINVAL),
        "No landlock on this kernel",
        "Sandbox: seccomp, no landlock\n",
        r#""sandbox":{"seccomp":true,"landlock":0}"#,
    );
}

#[test]
fn a_start_that_fails_names_the_call() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    for (call, phrase) in [
        (libc::SYS_pipe2, "pipe2(2): Function not implemented (38)"),
        (libc::SYS_socketpair, "socketpair(2), for signals: "),
        (libc::SYS_memfd_create, "memfd_create(2) of shared memory: "),
        (libc::SYS_unshare, "unshare(2), to count threads: "),
        (libc::SYS_epoll_create1, "Master: epoll_create1(2): "),
        (libc::SYS_chroot, "chroot: cannot enter "),
        (libc::SYS_setresuid, "dropping privileges: setresuid: "),
        (libc::SYS_capset, "dropping privileges: capset: "),
    ] {
        let plan = Plan::new().kernel(Kernel::lacks(&[call]));
        let jail = plan.folder().join("jail");
        fs::create_dir(&jail).expect("mkdir");
        let lines = format!("chroot = {}\nsetuid = nobody", jail.display());
        let service = upstream.line() + &certs.server().lines();
        let outcome = plan.global(lines).service("test", service).run();
        outcome.exits(1).says(&[phrase, "Configuration failed"]);
    }
}

/// The function of each works without it.
#[test]
fn it_serves_without_any_one_of_the_newer_calls() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let landlock = [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
    ];
    let lacking: [&[i64]; 10] = [
        &[libc::SYS_pwritev2],
        &[libc::SYS_close_range],
        &[libc::SYS_openat2],
        &landlock,
        &[libc::SYS_seccomp],
        &[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal],
        &[libc::SYS_clone3],
        &[libc::SYS_rseq],
        &[libc::SYS_statx],
        &[libc::SYS_faccessat2],
    ];
    for calls in lacking {
        let adit = Plan::new()
            .kernel(Kernel::lacks(calls))
            .service("test", client_mode(&certs, &upstream))
            .start();
        drop(open(&adit));
        adit.reload(1);
        drop(open(&adit));
        let (status, _) = adit.stop();
        assert!(status.success(), "without {calls:?}: {status}");
    }
}

/// Before Linux 5.3 a process can be identified only by its number.
#[test]
fn stop_ends_it_and_waits_for_that_on_linux_4_18() {
    stop_ends_it_and_waits_for_that(Kernel::linux_4_18());
}

/// A filter without both pidfd calls, and one that knows the first.
#[test]
fn stop_ends_it_and_waits_for_that_behind_an_allow_list() {
    stop_ends_it_and_waits_for_that(Kernel::behind_an_allow_list());
    let send = libc::SYS_pidfd_send_signal;
    stop_ends_it_and_waits_for_that(Kernel::default().answering(send, &[], libc::EPERM));
}

#[track_caller]
fn stop_ends_it_and_waits_for_that(kernel: Kernel) {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let socket = plan.folder().join("control");
    let mut adit = plan
        .global(format!("control = {}", socket.display()))
        .service("test", upstream.line() + &certs.server().lines())
        .start();
    let mut command = Command::new(program());
    command.args(["stop", "--control"]).arg(&socket);
    let mut kernel = kernel.program();
    // SAFETY: it makes two system calls, and nothing else.
    unsafe { command.pre_exec(move || kernel::boot(&mut kernel)) };
    let output = command.output().expect("starting the program");
    assert!(output.status.success(), "{output:?}");
    assert!(!proc::alive(adit.pid()), "it was not waited for");
    assert!(adit.wait_for_exit().success());
}

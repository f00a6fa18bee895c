//! `exec`: a program behind a service, as inetd starts one; or before it, with `connect`.

mod launcher;

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use launcher::launcher;
use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::send;
use crate::support::certs::Pair;
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, proc, tls, wait_for};

/// Writes an executable shell script.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

/// The lines of a TLS service with this program.
fn behind_tls(certs: &Certs, program: &Path) -> String {
    format!("{}exec = {}\n", certs.server().lines(), program.display())
}

fn dial(adit: &Adit, certs: &Certs, service: &str, pair: Option<&Pair>) -> tls::ClientStream {
    let config = tls::client_config(&certs.ca(), tls::BOTH, pair);
    tls::connect(config, adit.address(service))
}

/// What the program says to a client that says this, ends its half, and shows this certificate.
fn ask(adit: &Adit, certs: &Certs, service: &str, pair: Option<&Pair>, text: &str) -> String {
    let mut client = dial(adit, certs, service, pair);
    client.write_all(text.as_bytes()).expect("room for it");
    tls::end(&mut client);
    String::from_utf8(peers::read_to_end(&mut client)).expect("text")
}

#[test]
fn a_program_reads_to_the_end_and_then_answers() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let count = script(plan.folder(), "count", "wc -c\nexit 3");
    let adit = plan.service("test", behind_tls(&certs, &count)).start();
    assert_eq!(ask(&adit, &certs, "test", None, "hello").trim(), "5");
    let line = adit.wait_for_log("Local mode child started (PID=");
    let pid = line
        .rsplit("PID=")
        .next()
        .expect("its number")
        .trim_end_matches(')')
        .to_owned();
    adit.wait_for_log(&format!(
        "LOG6[main]: Child process {pid} finished with code 3"
    ));
    // Much of it, both ways at once.
    let plan = Plan::new();
    let cat = "exec = /bin/cat\n";
    let adit = plan.service("test", certs.server().lines() + cat).start();
    let mut client = dial(&adit, &certs, "test", None);
    peers::says_and_hears(&mut client, "hello");
    let text = "0123456789abcdef".repeat(1 << 14);
    assert!(
        ask(&adit, &certs, "test", None, &text) == text,
        "256 KiB come back"
    );
}

#[test]
fn a_program_has_its_socket_and_its_environment_and_nothing_of_adit() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let show = "pwd; for arg; do echo \"arg $arg\"; done; env
        cat /proc/$$/limits | grep -a 'open files'
        exec ls -l /proc/self/fd /proc/self/";
    let show = script(plan.folder(), "show", show);
    let pair = certs.client();
    let lines = format!(
        "{}CAfile = {}\nverifyPeer = yes\nexec = {}\nexecArgs = name one  two\n",
        certs.server().lines(),
        pair.cert.display(),
        show.display()
    );
    let adit = plan
        .global("setEnv = GREETING=hello world\nsetEnv = KEPT=not\nworkers = 2")
        .environment("KEPT", "from outside")
        .environment("REMOTE_HOST", "of another session")
        .environment("NOTIFY_SOCKET", "/nowhere/at/all")
        .open_files(777)
        .service("test", lines)
        .start();
    // The log's descriptor is another one from now on.
    adit.signal(Signal::SIGUSR1);
    adit.wait_for_log("Log file reopened");
    let said = ask(&adit, &certs, "test", Some(&pair), "");
    for line in [
        "arg one",
        "arg two",
        "GREETING=hello world",
        "KEPT=not",
        "REMOTE_HOST=127.0.0.1",
        "SSL_CLIENT_DN=CN=",
        "SSL_CLIENT_I_DN=CN=",
    ] {
        assert!(said.contains(line), "no {line} in:\n{said}");
    }
    let port = said
        .lines()
        .find_map(|line| line.strip_prefix("REMOTE_PORT="));
    let accepted = adit.wait_for_log("accepted connection from");
    assert_eq!(accepted.rsplit(':').next(), port);
    for foreign in ["NOTIFY_SOCKET", "of another session", "_ADIT", "KEPT=from"] {
        assert!(!said.contains(foreign), "{foreign} in:\n{said}");
    }
    let limit = said
        .lines()
        .find(|line| line.contains("open files"))
        .expect("its limit");
    assert_eq!(limit.split_whitespace().nth(3), Some("777"), "{limit}");
    // 0 and 1 are its socket, 2 is adit's own in the foreground, and 3 is the folder that ls lists.
    let descriptors: Vec<&str> = said.lines().filter(|line| line.contains(" -> ")).collect();
    let of = |number: &str| {
        let shown = format!(" {number} -> ");
        descriptors
            .iter()
            .find(|line| line.contains(&shown))
            .copied()
            .unwrap_or("none")
    };
    assert!(
        of("0").contains("socket:") && of("1").contains("socket:"),
        "{said}"
    );
    assert!(of("2").ends_with("/said"), "{said}");
    let numbers = descriptors.iter().filter(|line| {
        let name = line
            .split(" -> ")
            .next()
            .and_then(|text| text.rsplit(' ').next());
        name.is_some_and(|name| name.parse::<u32>().is_ok_and(|number| number > 3))
    });
    assert_eq!(numbers.count(), 0, "{said}");
}

#[test]
fn a_program_begins_with_signals_at_their_defaults_and_in_a_session_of_its_own() {
    require!(adit);
    let certs = Certs::new();
    let lines = certs.server().lines()
        + "exec = /bin/cat\nexecArgs = cat /proc/self/status /proc/self/stat\n";
    let adit = Adit::serve(lines);
    let said = ask(&adit, &certs, "test", None, "");
    for name in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(
            said.contains(&format!("{name}:\t0000000000000000")),
            "{said}"
        );
    }
    let stat = said.lines().last().expect("its stat");
    let fields: Vec<&str> = stat.split(' ').collect();
    let (pid, group, session) = (fields[0], fields[4], fields[5]);
    assert_eq!([group, session], [pid; 2], "{stat}");
}

#[test]
fn by_old_tls_a_program_is_told_of_its_client_too() {
    require!(adit);
    let certs = Certs::new();
    let pair = certs.client();
    let lines = format!(
        "{}CAfile = {}\nverifyChain = yes\nsslVersionMin = TLSv1\nexec = /usr/bin/env\n",
        certs.server().lines(),
        certs.ca().display()
    );
    let adit = Adit::serve(lines);
    let said = ask(&adit, &certs, "test", Some(&pair), "");
    assert!(said.contains("SSL_CLIENT_DN=CN=client"), "{said}");
    assert!(said.contains("SSL_CLIENT_I_DN=CN=adit test CA"), "{said}");
    adit.wait_for_log("Old worker 0 started");
}

#[test]
fn without_a_certificate_a_program_is_told_of_none() {
    require!(adit);
    let certs = Certs::new();
    let adit = Adit::serve(certs.server().lines() + "exec = /usr/bin/env\n");
    let said = ask(&adit, &certs, "test", None, "");
    assert!(
        said.contains("REMOTE_HOST=127.0.0.1") && !said.contains("SSL_CLIENT"),
        "{said}"
    );
}

#[test]
fn a_program_is_told_the_address_of_a_client_that_has_reset() {
    require!(adit);
    let plan = Plan::new();
    let told = plan.folder().join("told");
    let tell = format!("echo \"$REMOTE_HOST $REMOTE_PORT\" > {}", told.display());
    let tell = script(plan.folder(), "tell", &tell);
    let adit = plan
        .global("workers = 1")
        .service("test", format!("client = yes\nexec = {}\n", tell.display()))
        .start();
    let worker = proc::roles(adit.pid()).workers[0];
    proc::freeze(worker);
    let client = adit.connect("test");
    let port = client.local_addr().expect("its address").port();
    peers::reset(client);
    send(worker, Signal::SIGCONT);
    let expected = format!("127.0.0.1 {port}\n");
    wait_for("the client's address", || {
        (fs::read_to_string(&told).ok()? == expected).then_some(())
    });
}

#[test]
fn what_cannot_be_started_costs_its_own_session_and_is_told_with_the_remedy() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let closed = script(plan.folder(), "closed", "true");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).expect("chmod");
    let server = certs.server().lines();
    let adit = plan
        .service("missing", format!("{server}exec = /nowhere/program\n"))
        .service("closed", format!("{server}exec = {}\n", closed.display()))
        .service("good", format!("{server}exec = /bin/cat\n"))
        .start();
    adit.wait_for_log("Service [missing]: exec = /nowhere/program: No such file or directory (2)");
    let mut good = dial(&adit, &certs, "good", None);
    peers::says_and_hears(&mut good, "hello");
    for (service, said) in [
        (
            "missing",
            "exec /nowhere/program: No such file or directory (2) (check the path of `exec`",
        ),
        (
            "closed",
            "Permission denied (13) (let the user of `setuid` execute the program",
        ),
    ] {
        let mut client = dial(&adit, &certs, service, None);
        let _ = peers::read_until_gone(&mut client);
        adit.wait_for_log(said);
    }
    peers::says_and_hears(&mut good, "again");
}

#[test]
fn a_program_that_ends_without_reading_has_said_what_it_said() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    // It ends only when there is something that it has not read.
    let deaf = "head -c 1 >/dev/null; head -c 300000 /dev/zero | tr '\\0' x";
    let deaf = script(plan.folder(), "deaf", deaf);
    let adit = plan.service("test", behind_tls(&certs, &deaf)).start();
    let mut client = dial(&adit, &certs, "test", None);
    client.write_all(&[b'y'; 60_000]).expect("room");
    let said = peers::read_to_end(&mut client);
    assert_eq!(said.len(), 300_000);
    drop(client);
    adit.wait_for_log("Connection closed: 300000 byte(s) sent to TLS");
}

#[test]
fn a_program_on_a_terminal_finds_one_and_reads_its_end() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let shell = script(
        plan.folder(),
        "shell",
        "tty; stty -echo; echo ready; cat; ps -o tty= -o tpgid= -p $$; exit 4",
    );
    let lines = behind_tls(&certs, &shell) + "pty = yes\n";
    let adit = plan.service("test", lines).start();
    let mut client = dial(&adit, &certs, "test", None);
    let mut said = String::new();
    let mut byte = [0];
    while !said.ends_with("ready\r\n") {
        std::io::Read::read_exact(&mut client, &mut byte).expect("its greeting");
        said.push(char::from(byte[0]));
    }
    assert!(said.starts_with("/dev/pts/"), "{said}");
    client.write_all(b"hello\n").expect("room");
    tls::end(&mut client);
    let rest = String::from_utf8(peers::read_to_end(&mut client)).expect("text");
    assert!(rest.starts_with("hello\r\npts/"), "{said}{rest}");
    adit.wait_for_log(&format!(
        "TTY={} allocated",
        said.lines().next().expect("its name")
    ));
    adit.wait_for_log("finished with code 4");
}

#[test]
fn a_terminal_that_loses_its_client_hangs_up() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let raw = script(plan.folder(), "raw", "stty raw; echo ready; exec sleep 600");
    let lines = behind_tls(&certs, &raw) + "pty = yes\n";
    let adit = plan.service("test", lines).start();
    let mut client = dial(&adit, &certs, "test", None);
    std::io::Read::read_exact(&mut client, &mut [0; 5]).expect("its greeting");
    drop(client);
    adit.wait_for_log("terminated on SIGHUP");
}

#[test]
fn a_terminal_that_edits_lines_hangs_up_too_when_its_session_is_over() {
    require!(adit);
    let certs = Certs::new();
    let lines = "exec = /bin/sleep\nexecArgs = sleep 777\npty = yes\n";
    let adit = Adit::serve(certs.server().lines() + lines);
    // One that types nothing, and one that types more than the terminal takes.
    for typed in [0, 100_000] {
        let mut client = dial(&adit, &certs, "test", None);
        client.write_all(&vec![b'\n'; typed]).expect("room");
        let launcher = launcher(&adit);
        wait_for("a program and its terminal's process", || {
            (proc::children(launcher).len() == 2).then_some(())
        });
        drop(client);
        wait_for("the end of both", || {
            proc::children(launcher).is_empty().then_some(())
        });
    }
    adit.wait_for_log_times("terminated on SIGHUP", 2);
}

#[test]
fn a_program_may_stand_in_place_of_accept_and_comes_again() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let told = plan.folder().join("told");
    let front = format!(
        "echo hello; read answer; echo \"$answer $REMOTE_HOST\" >> {}",
        told.display()
    );
    let front = script(plan.folder(), "front", &front);
    let lines = format!(
        "client = yes\n{}exec = {}\nretry = 10\n",
        upstream.line(),
        front.display()
    );
    let adit = plan.service("test", lines).start();
    wait_for("three sessions", || {
        let told = fs::read_to_string(&told).unwrap_or_default();
        (told.lines().filter(|line| *line == "hello ").count() >= 3).then_some(())
    });
    adit.wait_for_log("LOG7[main]: Starting exec+connect service [test]");
    adit.wait_for_log_times("LOG6[main]: Retrying an exec+connect section", 2);
    // As in stunnel, a retry is no start.
    assert_eq!(adit.count_in_log("Starting exec+connect service [test]"), 1);
    let (status, _) = adit.stop();
    assert!(status.success());
}

#[test]
fn without_retry_a_program_in_place_of_accept_comes_once() {
    require!(adit);
    let upstream = Server::echo();
    let plan = Plan::new();
    let certs = Certs::new();
    let front = script(plan.folder(), "front", "echo hello; read answer");
    let front = format!(
        "{}{}exec = {}\n",
        certs.server().lines(),
        upstream.line(),
        front.display()
    );
    let adit = plan
        .service("test", front)
        .service("other", certs.server().lines() + "exec = /bin/cat\n")
        .start();
    // It speaks no TLS, which the service wants of it.
    adit.wait_for_log("Service [test] finished (0 left)");
    assert_eq!(ask(&adit, &certs, "other", None, "hello"), "hello");
    assert_eq!(adit.count_in_log("Starting exec+connect service [test]"), 1);
}

#[test]
fn a_program_in_the_background_has_its_socket_as_standard_error_too() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let pid_file = plan.folder().join("pid");
    let both = script(plan.folder(), "both", "echo one; echo two >&2");
    let mut adit = plan
        .global(format!("pid = {}", pid_file.display()))
        .daemon()
        .service("test", behind_tls(&certs, &both))
        .launch();
    adit.wait_for_log("Accepting new connections");
    let pid = wait_for("the pid file", || {
        fs::read_to_string(&pid_file).ok()?.trim().parse().ok()
    });
    adit.adopt(pid);
    assert_eq!(ask(&adit, &certs, "test", None, ""), "one\ntwo\n");
}

#[test]
fn rsync_serves_a_folder_over_tls() {
    require!(adit);
    require!(program "rsync");
    let certs = Certs::new();
    let plan = Plan::new();
    let (from, to) = (plan.folder().join("from"), plan.folder().join("to"));
    fs::create_dir(&from).expect("mkdir");
    fs::write(from.join("file"), "content").expect("a file");
    let modules = plan.folder().join("rsyncd.conf");
    let text = format!(
        "use chroot = no\nlog file = /dev/null\nlock file = {}\n[m]\npath = {}\n",
        plan.folder().join("lock").display(),
        from.display()
    );
    fs::write(&modules, text).expect("its configuration");
    let rsync = installed("rsync").expect("required");
    let lines = format!(
        "{}exec = {}\nexecArgs = rsync --daemon --config={}\n",
        certs.server().lines(),
        rsync.display(),
        modules.display()
    );
    let server = plan.service("test", lines).start();
    let client = Adit::serve(format!(
        "client = yes\nconnect = {}\n{}verifyChain = yes\n",
        server.address("test"),
        certs.ca_line()
    ));
    let url = format!("rsync://{}/m/", client.address("test"));
    let mut tool = Tool::start(Command::new("rsync").arg("-r").arg(url).arg(&to));
    tool.end_input();
    assert!(tool.succeeds(), "{}", tool.said());
    assert_eq!(
        fs::read_to_string(to.join("file")).expect("the copy"),
        "content"
    );
}

#[test]
fn a_plain_client_of_client_mode_speaks_tls_with_the_program() {
    require!(adit);
    require!(program "python3");
    let certs = Certs::new();
    let inner = Adit::serve(certs.server().lines() + "exec = /bin/cat\n");
    let address = inner.address("test");
    let plan = Plan::new();
    // A program that speaks TLS on its standard input: it carries to one that does.
    let bridge = plan.folder().join("bridge.py");
    fs::write(
        &bridge,
        format!(
            "import socket,threading\ns=socket.create_connection(('{}',{}))\no=socket.socket(fileno=0)\n\
             def c(a,b):\n while True:\n  d=a.recv(4096)\n  if not d: break\n  b.sendall(d)\n b.shutdown(1)\n\
             t=threading.Thread(target=c,args=(s,o));t.start();c(o,s);t.join()\n",
            address.ip(),
            address.port()
        ),
    )
    .expect("a program");
    let python = installed("python3").expect("python3");
    let lines = format!(
        "client = yes\n{}verifyChain = yes\nexec = {}\nexecArgs = python3 {}\n",
        certs.ca_line(),
        python.display(),
        bridge.display()
    );
    let adit = plan.service("test", lines).start();
    let mut client = adit.connect("test");
    peers::says_and_hears(&mut client, "hello");
    client.shutdown(Shutdown::Write).expect("its half");
    assert!(peers::read_to_end(&mut client).is_empty());
}

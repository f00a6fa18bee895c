//! What systemd passes to adit and hears from it, with the test in systemd's place.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::{client_mode, goes_on, open, send};
use crate::support::peers::{self, Server};
use crate::support::{self, Certs, Plan, proc, tls, wait_for};

#[test]
fn a_socket_that_systemd_passes_takes_the_place_of_accept() {
    require!(adit);
    let echo = Server::echo();
    let certs = Certs::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    // Inherited under its number; the shell makes it 3, where sd_listen_fds(3) wants it.
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
    let plan = Plan::new();
    let activate = plan.folder().join("activate");
    let text = format!(
        "#!/bin/sh\nLISTEN_PID=$$ LISTEN_FDS=1\nexport LISTEN_PID LISTEN_FDS\nexec {} \"$@\" 3<&{}\n",
        support::adit::program().display(),
        listener.as_raw_fd()
    );
    fs::write(&activate, text).expect("write");
    fs::set_permissions(&activate, fs::Permissions::from_mode(0o755)).expect("chmod");
    let (output, control) = (plan.folder().join("log"), plan.folder().join("control"));
    let globals = format!(
        "foreground = yes\nsyslog = no\ndebug = 7\noutput = {}\ncontrol = {}\n",
        output.display(),
        control.display()
    );
    let service = format!("[passed]\n{}{}", echo.line(), certs.server().lines());
    let mut adit = plan.program(activate).verbatim(globals + &service).launch();
    drop(listener);
    adit.wait_for_log("Accepting new connections");
    assert_eq!(adit.address("passed"), address);
    let talk = || {
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        peers::says_and_hears(&mut tls::connect(config, address), "hello");
    };
    talk();
    adit.reload(1);
    talk();
    // Commands ask the running adit how many it has.
    let file = adit.plan.file();
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(support::adit::program());
        let output = command
            .args(arguments)
            .arg(&file)
            .output()
            .expect("a command");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.success(), said.concat())
    };
    let (good, said) = command(&["check"]);
    assert!(good && said.contains("takes the 1. socket"), "{said}");
    assert!(command(&["reload"]).0 && command(&["status"]).0);
    talk();
    adit.rewrite(|text| text + &format!("[too many]\n{}{}", echo.line(), certs.server().lines()));
    let (good, said) = command(&["reload"]);
    assert!(!good && said.contains("two endpoints"), "{said}");
    assert!(command(&["check", "--passed", "2"]).0);
    talk();
    // Without a running adit there are none.
    adit.rewrite(|text| text[..text.find("[too many]").expect("it")].to_owned());
    adit.signal(Signal::SIGTERM);
    assert!(adit.wait_for_exit().success());
    let (good, said) = command(&["check"]);
    assert!(!good && said.contains("passes no socket"), "{said}");
    assert!(command(&["check", "--passed", "1"]).0);
}

/// A listener in systemd's place: what it was told, by the words of each datagram.
struct Manager {
    socket: std::os::unix::net::UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn at(path: &std::path::Path) -> Manager {
        let socket = std::os::unix::net::UnixDatagram::bind(path).expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking");
        Manager {
            socket,
            told: Vec::new(),
        }
    }

    /// The next message with this name; skips all others before it.
    #[track_caller]
    fn wait_for(&mut self, word: &str) {
        wait_for(word, || {
            let mut text = [0; 512];
            if let Ok(length) = self.socket.recv(&mut text) {
                let text = String::from_utf8_lossy(&text[..length]);
                self.told.extend(text.lines().map(str::to_owned));
            }
            let at = self.told.iter().position(|told| told.starts_with(word))?;
            self.told.drain(..=at);
            Some(())
        });
    }
}

#[test]
fn systemd_is_told_of_the_start_of_reloads_and_of_the_end() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let path = plan.folder().join("notify");
    let mut manager = Manager::at(&path);
    let adit = plan
        .environment("NOTIFY_SOCKET", path.to_str().expect("text"))
        .service("test", client_mode(&certs, &upstream))
        .start();
    manager.wait_for("READY=1");
    manager.wait_for("STATUS=Accepting new connections");
    adit.reload(1);
    for word in [
        "RELOADING=1",
        "MONOTONIC_USEC=",
        "READY=1",
        "STATUS=Generation 2 serves",
    ] {
        manager.wait_for(word);
    }
    adit.rewrite(|text| text + "conect = 1\n");
    adit.reload_refused(&["conect"]);
    for word in ["RELOADING=1", "READY=1", "STATUS=Failed to reload"] {
        manager.wait_for(word);
    }
    let (status, _) = adit.stop();
    assert!(status.success());
    manager.wait_for("STOPPING=1");
    // Without a watchdog, nothing is fed, and no process wakes up for it.
    assert!(!manager.told.iter().any(|told| told.starts_with("WATCHDOG")));
}

#[test]
fn a_master_that_stands_still_is_replaced_when_the_watchdog_is_fed() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = Plan::new();
    let path = plan.folder().join("notify");
    let mut manager = Manager::at(&path);
    let adit = plan
        .environment("NOTIFY_SOCKET", path.to_str().expect("text"))
        .environment("WATCHDOG_USEC", "1000000")
        .service("test", client_mode(&certs, &upstream))
        .start();
    let before = proc::roles(adit.pid());
    // It is asked, answers, and lives on.
    (0..3).for_each(|_| manager.wait_for("WATCHDOG=1"));
    let mut client = open(&adit);
    send(before.master, Signal::SIGSTOP);
    let mut waiting = adit.connect("test");
    adit.wait_for_log("is not responding: killing it");
    peers::says_and_hears(&mut waiting, "hello");
    assert!(goes_on(&mut client), "it was cut");
    assert_ne!(proc::roles(adit.pid()).master, before.master);
    manager.wait_for("WATCHDOG=1");
    assert_eq!(adit.count_in_log("is not responding: killing it"), 1);
}

/// Run under a sandboxed systemd: adit in stunnel's place, in units of each type, with a file that does
/// not mention `foreground`.
const UNITS: &str = r#"
set -u
mkdir -p /etc/stunnel
cp /mnt/adit /usr/bin/adit
ln -sf adit /usr/bin/stunnel4
printf 'pid = /run/adit-test.pid\n[s]\nclient = yes\naccept = 127.0.0.1:7002\nconnect = 127.0.0.1:9\n' \
    >/etc/stunnel/mail.conf
for type in none simple exec notify forking forking-pid; do
    {
        echo '[Service]'
        case $type in
        none) ;;
        forking-pid) printf 'Type=forking\nPIDFile=/run/adit-test.pid\n' ;;
        *) echo "Type=$type" ;;
        esac
        echo 'TimeoutStartSec=30'
        echo 'ExecStart=/usr/bin/stunnel4 /etc/stunnel/mail.conf'
    } >/run/systemd/system/adit-$type.service
done
systemctl daemon-reload
serves() { (exec 3<>/dev/tcp/127.0.0.1/7002) 2>/dev/null; }
for type in none simple exec notify forking forking-pid; do
    unit=adit-$type
    systemctl start $unit || echo "$type: not started"
    # Type=simple is started before it serves; the pid file is written when it does.
    for try in $(seq 300); do [ -s /run/adit-test.pid ] && break; sleep 0.1; done
    main=$(systemctl show --value -p MainPID $unit)
    [ "$(systemctl is-active $unit)" = active ] || echo "$type: not active"
    [ "$(cat /run/adit-test.pid)" = "$main" ] || echo "$type: systemd takes $main for it"
    serves || echo "$type: does not serve"
    adit reload /etc/stunnel/mail.conf >/dev/null 2>&1 || echo "$type: not reloaded"
    [ "$(systemctl is-active $unit)" = active ] || echo "$type: not active after a reload"
    systemctl stop $unit || echo "$type: not stopped"
    [ "$(systemctl show --value -p Result $unit)" = success ] || echo "$type: failed"
    serves && echo "$type: serves on"
done
echo done
"#;

/// With Debian's stunnel@.service, which sets no type, stunnel 5.68 exits at once with such a file.
#[test]
fn a_file_without_foreground_is_served_by_units_of_every_type() {
    require!(root);
    require!(adit);
    require!(program "unshare");
    require!(program "systemctl");
    require!(
        std::path::Path::new("/lib/systemd/systemd").exists(),
        "systemd is not installed"
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(support::adit::program(), folder.path().join("adit")).expect("copying");
    let run = |mode: &str, script: &str| {
        fs::write(folder.path().join("script"), script).expect("writing");
        let sandbox = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packaging/sandbox");
        let output = std::process::Command::new(sandbox)
            .arg(mode)
            .arg(folder.path())
            .arg("/mnt/script")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the sandbox");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    };
    require!(
        run("plain", "echo ready\n").contains("ready"),
        "no sandbox can be made here"
    );
    let said = run("systemd", UNITS);
    assert_eq!(said.trim(), "done", "systemd's journal has the rest");
}

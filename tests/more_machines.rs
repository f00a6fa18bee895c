//! Two machines behind one address, as docs/more-machines.md has them: the kernel's own balancer shares the clients
//! out, or haproxy does. Each machine is a network namespace.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::{ClientConfig, HandshakeKind};

use crate::require;
use crate::support::adit::program;
use crate::support::daemon::Daemon;
use crate::support::network::{CLIENT, Host, ROUTER, SERVER, network};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, tls, wait_for};
use crate::upgrade::next_version;

/// The rules that the document gives.
const BALANCER: &str = include_str!("../docs/examples/more-machines/balancer.nft");
const HAPROXY: &str = include_str!("../docs/examples/more-machines/haproxy.cfg");

/// Where clients connect to: what the kernel shares out, and what haproxy does.
const DIRECT: u16 = 8443;
const PROXIED: u16 = 9443;

/// The machines' numbers: 10.77.3.2 and 10.77.4.2.
const MACHINES: [u8; 2] = [3, 4];

/// Who the clients of the server were, as the PROXY header tells it. Else it echoes.
fn backend(seen: Arc<Mutex<Vec<IpAddr>>>) -> Server {
    let listener = TcpListener::bind((SERVER[0], 80)).expect("port 80");
    Server::on(listener, move |mut stream| {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            line.extend(byte);
        }
        let line = String::from_utf8_lossy(&line);
        if let Some(client) = line.split(' ').nth(2).and_then(|ip| ip.parse().ok()) {
            seen.lock().expect("no panic").push(client);
        }
        let _ = peers::echo(&mut stream);
    })
}

/// A machine with an adit of its own: its own file of the program, and the secrets of both.
struct Machine {
    host: Host,
    adit: Adit,
}

impl Machine {
    fn start(net: u8, certs: &Certs) -> Machine {
        let host = Host::new(net);
        let plan = Plan::new();
        let path = plan.folder().join("adit");
        std::fs::copy(program(), &path).expect("copy");
        let control = format!("control = {}", plan.folder().join("control").display());
        let common = format!(
            "connect = {}:80\nprotocol = proxy\n{}",
            SERVER[0],
            certs.server().lines()
        );
        let plan = plan
            .program(&path)
            .global("setuid = nobody\nsetgid = nogroup\nworkers = 1")
            .global("ticketKeySecret = 000102030405060708090a0b0c0d0e0f")
            .global("ticketMacSecret = 101112131415161718191a1b1c1d1e1f")
            .global(control)
            .service(
                "direct",
                format!("accept = 10.77.{net}.2:{DIRECT}\n{common}"),
            )
            .service("own", format!("accept = 127.0.0.1:0\n{common}"))
            .service(
                "proxied",
                format!("accept = 10.77.{net}.2:{PROXIED}\nacceptProxy = 10.77.{net}.1\n{common}"),
            );
        let adit = host.run(move || plan.start());
        Machine { host, adit }
    }

    fn order(&self, words: &[&str]) {
        let control = self.adit.plan.folder().join("control");
        let mut command = Command::new(program());
        let command = command.args(words).arg("--control").arg(control);
        let output = command.output().expect("adit");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }

    /// Another program serves, while nothing new comes.
    fn is_upgraded(&self) {
        for service in ["direct", "proxied"] {
            self.order(&["drain", service]);
        }
        next_version(&self.adit.plan.folder().join("adit"));
        // The one that is not drained is bound again.
        self.adit.reload(1);
        self.adit.wait_for_log("has taken over");
        for service in ["direct", "proxied"] {
            self.order(&["drain", "--undo", service]);
        }
    }

    fn accepted(&self) -> usize {
        self.adit.count_in_log("accepted connection from")
    }
}

/// Sends the kernel's clients to these machines in turn.
fn share_out_to(machines: &[u8]) {
    let each: Vec<String> = (machines.iter().enumerate())
        .map(|(nth, net)| format!("{nth} : 10.77.{net}.2"))
        .collect();
    let map = format!(
        "numgen inc mod {} map {{ {} }}",
        each.len(),
        each.join(", ")
    );
    let rules = BALANCER
        .replace("192.0.2.10", &ROUTER[0].to_string())
        .replace(
            "numgen inc mod 2 map { 0 : 192.0.2.11, 1 : 192.0.2.12 }",
            &map,
        )
        .replace("993", &DIRECT.to_string());
    assert!(rules.contains(&map), "{rules}");
    let mut nft = Command::new("nft");
    let mut nft = nft
        .args(["-f", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("nft");
    let mut input = nft.stdin.take().expect("a pipe");
    input.write_all(rules.as_bytes()).expect("writing");
    drop(input);
    assert!(nft.wait().expect("nft").success(), "{rules}");
}

/// haproxy as the document has it.
fn haproxy(folder: &std::path::Path) -> Daemon {
    let text = HAPROXY
        .replace("192.0.2.10:993", &format!("{}:{PROXIED}", ROUTER[0]))
        .replace("192.0.2.11:993", &format!("10.77.3.2:{PROXIED}"))
        .replace("192.0.2.12:993", &format!("10.77.4.2:{PROXIED}"));
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).expect("writing");
    let mut command = Command::new(installed("haproxy").expect("asked for before"));
    command.args(["-db", "-f"]).arg(file);
    Daemon::start(
        "haproxy",
        &mut command,
        folder,
        SocketAddr::new(ROUTER[0], PROXIED),
    )
}

/// A client's connection, and whether its session went on.
fn dial(config: &Arc<ClientConfig>, port: u16) -> (tls::ClientStream, bool) {
    let mut client = tls::connect(config.clone(), SocketAddr::new(ROUTER[0], port));
    peers::says_and_hears(&mut client, "hello");
    let resumed = client.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    (client, resumed)
}

/// Clients that come all the time, some of which stay; it panics when one is refused or cut off.
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(client: &Host, config: Arc<ClientConfig>) -> Load {
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let thread = client.run(move || {
            std::thread::spawn(move || {
                let ports = [DIRECT, DIRECT, PROXIED, PROXIED];
                let mut staying = ports.map(|port| dial(&config, port).0);
                while !stopped.load(Ordering::SeqCst) {
                    for port in [DIRECT, PROXIED] {
                        dial(&config, port);
                    }
                    for client in &mut staying {
                        peers::says_and_hears(client, "still here");
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        Load {
            stop,
            rounds,
            thread,
        }
    }

    /// Waits until clients have come and gone since.
    fn goes_on(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        wait_for("clients that come", || {
            assert!(
                !self.thread.is_finished(),
                "a client was refused or cut off"
            );
            (self.rounds.load(Ordering::SeqCst) > before + 3).then_some(())
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread
            .join()
            .expect("no client was refused or cut off");
    }
}

#[test]
fn two_machines_share_clients_and_sessions_and_each_can_be_upgraded() {
    require!(adit);
    require!(root);
    require!(program "ip");
    require!(program "nft");
    require!(program "haproxy");
    let (client, server) = network();
    let certs = Certs::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let upstream = server.run(move || backend(sees));
    let machines = MACHINES.map(|net| Machine::start(net, &certs));
    share_out_to(&MACHINES);
    let folder = tempfile::tempdir().expect("a folder");
    let balancer = haproxy(folder.path());
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    // One after the other reaches each machine in turn, and resumes what it began on the other.
    for port in [DIRECT, PROXIED] {
        let before = machines.each_ref().map(Machine::accepted);
        let resumed: Vec<bool> = (0..4)
            .map(|_| {
                let config = config.clone();
                client.run(move || dial(&config, port).1)
            })
            .collect();
        assert_eq!(resumed[1..], [true; 3], "{port}");
        for (machine, before) in machines.iter().zip(before) {
            assert!(machine.accepted() >= before + 2, "{port}");
        }
    }
    // Each is left alone and upgraded while clients come, and those that are there stay.
    let load = Load::start(&client, config);
    load.goes_on();
    for (nth, machine) in machines.iter().enumerate() {
        share_out_to(&[MACHINES[1 - nth]]);
        load.goes_on();
        machine.is_upgraded();
        share_out_to(&MACHINES);
        load.goes_on();
    }
    load.end();
    for address in seen.lock().expect("no panic").iter() {
        assert_eq!(*address, CLIENT[0], "the server behind sees the client");
    }
    for machine in &machines {
        for service in ["direct", "proxied"] {
            let from = format!(
                "Service [{service}] accepted connection from {}:",
                CLIENT[0]
            );
            assert!(machine.adit.log().contains(&from), "{from}");
        }
        assert_eq!(machine.adit.count_in_log("SSL_accept: "), 0);
    }
    drop(balancer);
    server.run(move || drop(upstream));
    // The namespaces go last.
    let [one, other] = machines;
    drop((one.adit, other.adit));
    drop((one.host, other.host, client));
}

/// The variables of a manifest: lines as `- {name: ADIT_WORKERS, value: "2"}`.
fn variables(manifest: &str) -> Vec<(&str, &str)> {
    let lines = manifest.lines().filter_map(|line| {
        let line = line.trim().strip_prefix("- {name: ADIT_")?;
        let (name, value) = line.strip_suffix('}')?.split_once(", value: ")?;
        Some((name, value.trim_matches('"')))
    });
    lines.collect()
}

#[test]
fn the_manifests_variables_are_a_configuration_that_check_takes() {
    require!(adit);
    let certs = Certs::new();
    let pair = certs.server();
    for (manifest, options) in [
        (
            include_str!("../docs/examples/more-machines/sidecar.yaml"),
            8,
        ),
        (
            include_str!("../docs/examples/more-machines/daemonset.yaml"),
            6,
        ),
    ] {
        let given = variables(manifest);
        assert_eq!(given.len(), options, "{given:?}");
        let mut check = Command::new(program());
        check.args(["check", "--strict", "/dev/null"]);
        for (name, value) in given {
            let value = value
                // No name is asked for.
                .replace("smtp.example.com", "localhost")
                .replace("/etc/tls/tls.crt", &pair.cert.display().to_string())
                .replace("/etc/tls/tls.key", &pair.key.display().to_string());
            check.env(format!("ADIT_{name}"), value);
        }
        if manifest.contains("_TICKET_KEY_SECRET") {
            for secret in ["KEY", "MAC"] {
                let name = format!("ADIT_SERVICE_ECHO_TICKET_{secret}_SECRET");
                assert!(manifest.contains(&name), "{name}");
                check.env(name, "000102030405060708090a0b0c0d0e0f");
            }
        }
        let output = check.output().expect("adit");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{manifest}\n{said}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    require!(adit);
    require!(program "systemd-analyze");
    let folder = tempfile::tempdir().expect("a folder");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = program().display().to_string();
    for unit in [
        "packaging/systemd/adit.service",
        "packaging/systemd/adit-restart-check.service",
        "docs/examples/more-machines/adit-away.service",
    ] {
        let text = std::fs::read_to_string(root.join(unit)).expect("a unit");
        let text = text
            .replace("/usr/bin/adit", &program)
            .replace("/usr/lib/adit/restart-check", "/bin/true");
        let name = std::path::Path::new(unit).file_name().expect("a name");
        std::fs::write(folder.path().join(name), text).expect("writing");
    }
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .arg(folder.path().join("adit-away.service"));
    verify.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let output = verify.output().expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    // Of the machine's own units it may say what it likes.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("adit")).collect();
    assert_eq!(ours, Vec::<&str>::new());
    assert!(output.status.success(), "{said}");
}

//! inetd mode: a configuration without a section serves the one connection that it is given, and ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, apart, installed, own_loopback, poll_for, proc, tls};
use crate::support::{DEADLINE, wait_for};

/// A configuration without a section, in a folder with its log.
fn plan(lines: &str) -> Plan {
    let plan = Plan::new();
    let log = plan.folder().join("log");
    let text = format!(
        "output = {}\ndebug = 7\nsyslog = no\n{lines}",
        log.display()
    );
    fs::write(plan.file(), text).expect("the configuration");
    plan
}

fn log(plan: &Plan) -> String {
    fs::read_to_string(plan.folder().join("log")).unwrap_or_default()
}

/// adit with this socket as its descriptors 0, 1 and 2, as an inetd starts it.
fn start(plan: &Plan, socket: TcpStream) -> Child {
    let socket = OwnedFd::from(socket);
    let copy = || Stdio::from(socket.try_clone().expect("dup"));
    Command::new(program())
        .arg(plan.file())
        .stdin(copy())
        .stdout(copy())
        .stderr(copy())
        .spawn()
        .expect("adit")
}

/// Both ends of a TCP connection: the client's, and what is accepted.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let client = peers::connect(listener.local_addr().expect("its address"));
    (client, listener.accept().expect("a connection").0)
}

#[track_caller]
fn ends(child: &mut Child) -> ExitStatus {
    let ended = poll_for(DEADLINE, || child.try_wait().expect("a child"));
    if ended.is_none() {
        let _ = child.kill();
    }
    ended.expect("its end")
}

fn tls_hello(certs: &Certs, client: TcpStream) {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::start_client(config, client).expect("a handshake");
    peers::says_and_hears(&mut client, "hello");
    tls::end(&mut client);
    assert!(peers::read_to_end(&mut client).is_empty());
}

#[test]
fn the_connection_on_descriptor_0_is_served_and_then_adit_ends() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    for end in [upstream.line(), "exec = /bin/cat\n".to_owned()] {
        let plan = plan(&format!("service = mine\n{}{end}", certs.server().lines()));
        let (client, accepted) = connection();
        let port = client.local_addr().expect("an address").port();
        let mut adit = start(&plan, accepted);
        let family = wait_for("its processes", || {
            let family = proc::family(adit.id() as i32);
            (family.len() > 1).then_some(family)
        });
        tls_hello(&certs, client);
        assert!(ends(&mut adit).success(), "{}", log(&plan));
        proc::wait_for_end(&family);
        let log = log(&plan);
        for said in [
            "Configuration successful",
            "LOG7[0]: Service [mine] started",
            &format!("LOG5[0]: Service [mine] accepted connection from 127.0.0.1:{port}"),
            "Connection closed: 5 byte(s) sent to TLS, 5 byte(s) sent to socket",
            "Service [mine] finished (0 left)",
        ] {
            assert!(log.contains(said), "no {said:?} in:\n{log}");
        }
        assert!(!log.contains("Accepting new connections"), "{log}");
    }
}

#[test]
fn a_wrong_command_line_is_not_told_to_the_client() {
    require!(adit);
    let (mut client, accepted) = connection();
    let copy = || Stdio::from(OwnedFd::from(accepted.try_clone().expect("dup")));
    let mut command = Command::new(program());
    command.arg("--bogus");
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let mut adit = command.spawn().expect("adit");
    // It has copies of the connection until then.
    drop(command);
    drop(accepted);
    assert_eq!(ends(&mut adit).code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&peers::read_to_end(&mut client)),
        ""
    );
}

#[test]
fn in_client_mode_a_plain_program_speaks_through_it() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    );
    let plan = plan(&lines);
    let (mut client, accepted) = connection();
    let mut adit = start(&plan, accepted);
    peers::says_and_hears(&mut client, "hello");
    drop(client);
    assert!(ends(&mut adit).success(), "{}", log(&plan));
}

#[test]
fn pipes_will_do_as_ssh_and_fetchmail_give_them() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let plan = plan(&format!(
        "client = yes\n{}{}",
        upstream.line(),
        certs.ca_line()
    ));
    let mut adit = Command::new(program())
        .arg(plan.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("adit");
    let text = "0123456789abcdef".repeat(1 << 15);
    let (mut input, sent) = (adit.stdin.take().expect("a pipe"), text.clone());
    let writing = std::thread::spawn(move || input.write_all(sent.as_bytes()));
    let mut heard = String::new();
    let mut output = adit.stdout.take().expect("a pipe");
    output.read_to_string(&mut heard).expect("its end");
    writing.join().expect("a thread").expect("written");
    assert!(heard == text, "half a megabyte comes back");
    assert!(ends(&mut adit).success(), "{}", log(&plan));
}

#[test]
fn an_error_is_never_told_to_the_client() {
    require!(adit);
    let certs = Certs::new();
    for (lines, said) in [
        ("exec = /bin/cat\n".to_owned(), ""),
        ("nonsense\n".to_owned(), ""),
        (
            "foreground = yes\ncert = /nowhere/a.pem\nexec = /bin/cat\n".to_owned(),
            "cannot read the certificate file",
        ),
        (
            format!(
                "foreground = yes\n{}exec = /nowhere/at/all\n",
                certs.server().lines()
            ),
            "No such file or directory",
        ),
    ] {
        let plan = plan(&lines);
        let (mut client, accepted) = connection();
        let mut adit = start(&plan, accepted);
        if said.starts_with("No such") {
            let config = tls::client_config(&certs.ca(), tls::BOTH, None);
            let mut client = tls::start_client(config, client).expect("a handshake");
            assert!(
                peers::read_until_gone(&mut client)
                    .unwrap_or_default()
                    .is_empty()
            );
            ends(&mut adit);
        } else {
            let heard = peers::read_until_gone(&mut client).expect("an end");
            assert_eq!(String::from_utf8_lossy(&heard), "", "{lines}");
            assert_eq!(ends(&mut adit).code(), Some(1));
        }
        assert!(log(&plan).contains(said), "no {said:?} in:\n{}", log(&plan));
    }
}

#[test]
fn what_serves_the_connection_is_in_its_jail() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = plan("");
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    let lines = format!(
        "\nchroot = {}\nsetuid = nobody\nsetgid = nogroup\n{}{}",
        jail.display(),
        upstream.line(),
        certs.server().lines()
    );
    let text = fs::read_to_string(plan.file()).expect("the configuration") + &lines;
    fs::write(plan.file(), text).expect("the configuration");
    let (client, accepted) = connection();
    let mut adit = start(&plan, accepted);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::start_client(config, client).expect("a handshake");
    peers::says_and_hears(&mut client, "hello");
    let mut children = proc::children(adit.id() as i32).into_iter();
    let worker = children
        .find(|&pid| proc::title(pid).contains("worker"))
        .expect("a worker");
    let status = proc::status(worker);
    assert!(
        status["Uid"].split_whitespace().all(|id| id == "65534"),
        "{}",
        status["Uid"]
    );
    assert_eq!(status["CapPrm"], "0000000000000000");
    assert_eq!(status["Seccomp"], "2");
    assert_eq!(proc::root(worker), jail);
    tls::end(&mut client);
    assert!(peers::read_to_end(&mut client).is_empty());
    assert!(ends(&mut adit).success());
}

#[test]
fn a_reload_does_not_turn_a_server_into_one_for_inetd() {
    require!(adit);
    let upstream = Server::echo();
    let certs = Certs::new();
    let adit = Adit::serve(certs.server().lines() + &upstream.line());
    adit.rewrite(|text| {
        text.replace("[test]\n", "")
            .replace("accept = 127.0.0.1:0\n", "")
    });
    adit.reload_refused(&["no [section] is left"]);
}

#[test]
fn a_stapled_response_that_is_demanded_and_cannot_be_there_is_told_of() {
    require!(adit);
    let certs = Certs::new();
    let wish = Wish {
        responder: Some("http://a/"),
        must_staple: true,
        ..Wish::default()
    };
    let pair = certs.chained(certs.issue("demanding", wish)).lines();
    for (section, told) in [("", true), ("[test]\naccept = 127.0.0.1:1\n", false)] {
        let plan = plan(&format!("{section}connect = 127.0.0.1:2\n{pair}"));
        let mut check = Command::new(program());
        let checked = check.arg("check").arg(plan.file()).output().expect("adit");
        let said = [checked.stdout, checked.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(checked.status.success(), "{said}");
        let warned = "(must-staple), and in inetd mode there is none";
        assert_eq!(said.contains(warned), told, "{said}");
    }
}

/// An inetd that is stopped at the end.
struct Inetd(Child);

impl Drop for Inetd {
    fn drop(&mut self) {
        let family = proc::family(self.0.id() as i32);
        let _ = self.0.kill();
        let _ = self.0.wait();
        proc::end_all(&family);
    }
}

/// What every inetd must come to: three clients, one after the other.
#[track_caller]
fn serves_by(certs: &Certs, plan: &Plan, address: SocketAddr, command: &mut Command) {
    let said = fs::File::create(plan.folder().join("said")).expect("a file");
    command
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("dup"))
        .stderr(said);
    let _inetd = Inetd(command.spawn().expect("an inetd"));
    for _ in 0..3 {
        let client = wait_for("a port", || TcpStream::connect(address).ok());
        tls_hello(certs, peers::with_deadline(client));
    }
    wait_for("three ends", || {
        (log(plan)
            .matches("Service [adit] finished (0 left)")
            .count()
            == 3)
            .then_some(())
    });
    assert_eq!(
        log(plan).matches("accepted connection from 127.").count(),
        3
    );
}

fn echo_by_cat(certs: &Certs) -> Plan {
    plan(&format!("{}exec = /bin/cat\n", certs.server().lines()))
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a configuration");
    path
}

#[test]
fn openbsds_inetd_starts_it() {
    require!(adit);
    require!(root);
    let inetd = apart::program("inetd");
    require!(inetd.is_some(), "inetd is not unpacked; tests/run does it");
    let certs = Certs::new();
    let plan = echo_by_cat(&certs);
    let address = SocketAddr::from((own_loopback(), 9443));
    let line = format!(
        "{address} stream tcp nowait root {} adit {}\n",
        program().display(),
        plan.file().display()
    );
    let file = write(plan.folder(), "inetd.conf", &line);
    let mut command = Command::new(inetd.expect("required"));
    serves_by(&certs, &plan, address, command.arg("-d").arg(file));
}

#[test]
fn xinetd_starts_it() {
    require!(adit);
    require!(root);
    let xinetd = apart::program("xinetd");
    require!(
        xinetd.is_some(),
        "xinetd is not unpacked; tests/run does it"
    );
    let certs = Certs::new();
    let plan = echo_by_cat(&certs);
    let address = SocketAddr::from((own_loopback(), 9444));
    let text = format!(
        "service adit\n{{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n wait = no\n user = root\n \
         bind = {}\n port = {}\n server = {}\n server_args = {}\n}}\n",
        address.ip(),
        address.port(),
        program().display(),
        plan.file().display()
    );
    let file = write(plan.folder(), "xinetd.conf", &text);
    let mut command = Command::new(xinetd.expect("required"));
    command
        .args(["-dontfork", "-pidfile"])
        .arg(plan.folder().join("pid"));
    serves_by(&certs, &plan, address, command.arg("-f").arg(file));
}

#[test]
fn systemd_starts_it_for_each_connection() {
    require!(adit);
    require!(program "systemd-socket-activate");
    let certs = Certs::new();
    let plan = echo_by_cat(&certs);
    let address = SocketAddr::from((own_loopback(), 9445));
    let activate = installed("systemd-socket-activate").expect("required");
    let mut command = Command::new(activate);
    command.args(["--inetd", "--accept", "--listen", &address.to_string()]);
    serves_by(
        &certs,
        &plan,
        address,
        command.arg(program()).arg(plan.file()),
    );
}

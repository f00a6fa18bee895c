//! `protocol = mysql`, in both modes, with MariaDB's server and client.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::require;
use crate::support::certs::Pair;
use crate::support::daemon::Daemon;
use crate::support::openssl::Tool;
use crate::support::{Adit, Certs, Plan, apart, own_loopback};

const PASSWORD: &str = "geheim";

/// The user that it runs as.
const NOBODY: u32 = 65534;

struct Mariadb {
    address: SocketAddr,
    _daemon: Daemon,
    _folder: TempDir,
}

/// A server with a user whose password is hashed on the way; with TLS by this certificate alone, or without.
fn mariadb(pair: Option<&Pair>) -> Mariadb {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::set_permissions(here, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(here.join("data/mysql")).expect("mkdir");
    for part in ["", "data", "data/mysql"] {
        chown(here.join(part), Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    let share = apart::file("usr/share/mysql");
    let program = || {
        let mut command = Command::new(apart::program("mariadbd").expect("asked for before"));
        command
            .args([
                "--no-defaults",
                "--skip-innodb",
                "--default-storage-engine=Aria",
            ])
            .arg(format!("--datadir={}", here.join("data").display()))
            .arg(format!("--lc-messages-dir={}", share.display()))
            .current_dir(here)
            .uid(NOBODY)
            .gid(NOBODY);
        command
    };
    let mut tables =
        "create database if not exists mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n"
            .to_owned();
    for file in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
        tables += &fs::read_to_string(share.join(file)).expect("unpacked");
    }
    tables += &format!(
        "flush privileges;\ncreate user 'anna'@'%' identified by '{PASSWORD}';\ngrant all on *.* to 'anna'@'%';\n"
    );
    let mut making = program()
        .arg("--bootstrap")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting mariadbd");
    let mut input = making.stdin.take().expect("piped");
    input.write_all(tables.as_bytes()).expect("sending");
    drop(input);
    assert!(making.wait().expect("its end").success());
    let address = SocketAddr::from((own_loopback(), 3306));
    let mut command = program();
    command
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--socket={}", here.join("socket").display()))
        .arg(format!("--pid-file={}", here.join("pid").display()))
        .args(["--port=3306", "--skip-name-resolve"]);
    if let Some(pair) = pair {
        for (option, file) in [("ssl-cert", &pair.cert), ("ssl-key", &pair.key)] {
            let copy = here.join(option);
            fs::copy(file, &copy).expect("copying");
            chown(&copy, Some(NOBODY), Some(NOBODY)).expect("chown");
            command.arg(format!("--{option}={}", copy.display()));
        }
        command.arg("--require-secure-transport=on");
    }
    Mariadb {
        _daemon: Daemon::start("mariadbd", &mut command, here, address),
        address,
        _folder: folder,
    }
}

macro_rules! require_mariadb {
    () => {
        require!(adit);
        require!(root);
        require!(program "mariadb");
        require!(apart::program("mariadbd").is_some(), "mariadbd is not unpacked; tests/run does it");
    };
}

/// What MariaDB's client says, and whether it succeeded.
fn asked(address: SocketAddr, arguments: &[&str], password: &str) -> (bool, String) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut tool = Tool::start(
        Command::new("mariadb")
            .args(["--no-defaults", "-h", &host, "-P", &port, "-u", "anna"])
            .arg(format!("-p{password}"))
            .args([
                "-N",
                "-e",
                "show status like 'ssl_cipher'; select repeat('x', 100000)",
            ])
            .args(arguments),
    );
    tool.end_input();
    (tool.succeeds(), tool.said())
}

fn start(lines: String) -> Adit {
    Plan::new().service("test", lines).start()
}

#[test]
fn a_plain_client_logs_in_at_a_server_that_wants_tls() {
    require_mariadb!();
    let certs = Certs::new();
    let server = mariadb(Some(&certs.server()));
    assert!(!asked(server.address, &["--skip-ssl"], PASSWORD).0);
    let adit = start(format!(
        "client = yes\nprotocol = mysql\nconnect = {}\n{}verifyChain = yes\n",
        server.address,
        certs.ca_line()
    ));
    for arguments in [&[][..], &["--skip-ssl"], &["--compress"]] {
        let (well, said) = asked(adit.address("test"), arguments, PASSWORD);
        assert!(
            well && said.contains("TLS_") && said.contains("xxxx"),
            "{arguments:?} {said:.300}"
        );
    }
    let (well, said) = asked(adit.address("test"), &[], "wrong");
    assert!(!well && said.contains("Access denied"), "{said}");
    let (well, said) = asked(adit.address("test"), &["--ssl"], PASSWORD);
    assert!(!well || said.contains("TLS_"), "{said:.300}");
}

#[test]
fn a_client_speaks_tls_to_a_server_without() {
    require_mariadb!();
    let certs = Certs::new();
    let server = mariadb(None);
    let adit = start(format!(
        "protocol = mysql\nconnect = {}\n{}",
        server.address,
        certs.server().lines()
    ));
    let ca = format!("--ssl-ca={}", certs.ca().display());
    for arguments in [&["--ssl"][..], &["--ssl", &ca], &["--ssl", "--compress"]] {
        let (well, said) = asked(adit.address("test"), arguments, PASSWORD);
        assert!(
            well && said.contains("xxxx") && !said.contains("TLS_"),
            "{arguments:?} {said:.300}"
        );
    }
    adit.wait_for_log("TLS accepted: new session negotiated");
    let (well, said) = asked(adit.address("test"), &["--ssl"], "wrong");
    assert!(!well && said.contains("Access denied"), "{said}");
    let (well, said) = asked(adit.address("test"), &["--skip-ssl"], PASSWORD);
    assert!(
        !well && said.contains("connections must be encrypted"),
        "{said}"
    );
    adit.wait_for_log("MySQL client did not request TLS, rejecting");
    // A server without TLS is told as such in client mode.
    let adit = start(format!(
        "client = yes\nprotocol = mysql\nconnect = {}\n",
        server.address
    ));
    let (well, said) = asked(adit.address("test"), &[], PASSWORD);
    assert!(!well && said.contains("the server has no TLS"), "{said}");
}

//! `protocol = ldap`: StartTLS with slapd, for programs that speak plain LDAP.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::require;
use crate::support::adit::program;
use crate::support::daemon::Daemon;
use crate::support::openssl::Tool;
use crate::support::{Certs, Plan, apart, installed, own_loopback};

struct Slapd {
    address: SocketAddr,
    _daemon: Daemon,
    _folder: TempDir,
}

/// A directory with nothing in it; with TLS by this certificate, or without.
fn slapd(pair: Option<&crate::support::certs::Pair>) -> Slapd {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let address = SocketAddr::from((own_loopback(), 389));
    let tls = pair.map_or(String::new(), |pair| {
        format!(
            "TLSCertificateFile {}\nTLSCertificateKeyFile {}\n",
            pair.cert.display(),
            pair.key.display()
        )
    });
    // Its backends are modules.
    let modules = apart::file("usr/lib/ldap");
    let modules = format!("modulepath {}\nmoduleload back_null\n", modules.display());
    let conf = here.join("slapd.conf");
    fs::write(
        &conf,
        format!("{modules}{tls}database null\nsuffix \"cn=test\"\nbind on\n"),
    )
    .expect("writing");
    let program = apart::program("slapd").expect("asked for before");
    let unpacked = apart::file("usr/lib");
    let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|arch| unpacked.join(arch).display().to_string());
    let mut command = Command::new(program);
    command
        .args(["-d", "0", "-h", &format!("ldap://{address}"), "-f"])
        .arg(conf)
        // Beside the program lies a library of its package.
        .env("LD_LIBRARY_PATH", libraries.join(":"));
    Slapd {
        _daemon: Daemon::start("slapd", &mut command, here, address),
        address,
        _folder: folder,
    }
}

macro_rules! require_slapd {
    () => {
        require!(root);
        require!(program "ldapwhoami");
        require!(apart::program("slapd").is_some(), "slapd is not unpacked; tests/run does it");
    };
}

/// Runs ldapwhoami in plain; returns whether it succeeded, and its output.
fn whoami(address: SocketAddr) -> (bool, String) {
    let mut tool = Tool::start(
        Command::new("ldapwhoami")
            .args([
                "-x",
                "-o",
                "nettimeout=30",
                "-H",
                &format!("ldap://{address}"),
            ])
            .args(["-D", "cn=anna,cn=test", "-w", "geheim"]),
    );
    tool.end_input();
    (tool.succeeds(), tool.said())
}

fn lines(server: SocketAddr, certs: &Certs) -> String {
    format!(
        "client = yes\nprotocol = ldap\nconnect = {server}\n{}verifyChain = yes\n",
        certs.ca_line()
    )
}

#[test]
fn a_plain_program_reaches_slapd_by_start_tls() {
    require_slapd!();
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = slapd(Some(&certs.server()));
    let stunnel = installed("stunnel4").expect("asked for before");
    for path in [&*stunnel, &*program()] {
        let path: &Path = path;
        let lines = lines(server.address, &certs);
        let adit = Plan::new().program(path).service("test", lines).start();
        let (well, said) = whoami(adit.address("test"));
        assert!(
            well && said.contains("dn:cn=anna,cn=test"),
            "{}: {said}",
            path.display()
        );
        adit.wait_for_log("LDAP Start TLS successfully negotiated");
        adit.wait_for_log("TLS connected: new session negotiated");
    }
}

#[test]
fn a_server_that_has_no_tls_is_told_as_such() {
    require_slapd!();
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = slapd(None);
    let stunnel = installed("stunnel4").expect("asked for before");
    for path in [&*stunnel, &*program()] {
        let path: &Path = path;
        let lines = lines(server.address, &certs);
        let adit = Plan::new().program(path).service("test", lines).start();
        assert!(!whoami(adit.address("test")).0);
        let log = adit.wait_for_log("LDAP response has indicated an error (2)");
        assert!(
            path == stunnel || log.contains("it said \"unsupported extended operation\""),
            "{log}"
        );
    }
}

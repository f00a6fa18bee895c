//! LDAP programs: plain to adit in client mode, and with TLS to adit in server mode.

use std::io::{Read, Write};
use std::process::Command;

use crate::require;
use crate::support::openssl::Tool;
use crate::support::peers::Server;
use crate::support::{Certs, Plan, tls};

/// An LDAP server with two answers: a bind succeeds, and `whoami` gets an empty answer.
fn answer(stream: &mut (impl Read + Write)) {
    let mut request = [0; 512];
    while let Ok(6..) = stream.read(&mut request) {
        // SEQUENCE, INTEGER with the message number, then the operation (RFC 4511).
        let (number, operation) = (request[4], request[5]);
        let kind = match operation {
            0x60 => 0x61,
            0x77 => 0x78,
            _ => return,
        };
        let success = [0x30, 12, 2, 1, number, kind, 7, 0x0a, 1, 0, 4, 0, 4, 0];
        if stream
            .write_all(&success)
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Runs ldapwhoami; returns whether it succeeded, and its output.
fn whoami(url: &str, ca: &std::path::Path) -> (bool, String) {
    let mut tool = Tool::start(
        Command::new("ldapwhoami")
            .args(["-x", "-d", "1", "-H", url])
            .env("LDAPTLS_CACERT", ca),
    );
    tool.end_input();
    (tool.succeeds(), tool.said())
}

#[test]
fn an_ldap_program_reaches_a_tls_server_in_plain() {
    require!(program "ldapwhoami");
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let server = tls::server(config, |mut stream| answer(&mut stream));
    let adit = Plan::new()
        .service(
            "ldap",
            format!(
                "client = yes\n{}{}verifyChain = yes\n",
                server.line(),
                certs.ca_line()
            ),
        )
        .start();
    let (well, said) = whoami(&format!("ldap://{}", adit.address("ldap")), &certs.ca());
    assert!(well, "{said}");
}

#[test]
fn an_ldap_program_with_tls_takes_localhost_for_the_machines_name() {
    require!(program "ldapwhoami");
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    require!(
        name.trim() != "localhost",
        "this machine is called localhost"
    );
    let certs = Certs::new();
    let server = Server::start(|mut stream| answer(&mut stream));
    // The certificate names localhost and 127.0.0.1.
    let adit = Plan::new()
        .service(
            "ldaps",
            format!("{}{}", server.line(), certs.server().lines()),
        )
        .start();
    let port = adit.address("ldaps").port();
    let (well, said) = whoami(&format!("ldaps://127.0.0.1:{port}"), &certs.ca());
    assert!(well, "{said}");
    let (well, said) = whoami(&format!("ldaps://localhost:{port}"), &certs.ca());
    assert!(!well && said.contains("does not match"), "{said}");
}

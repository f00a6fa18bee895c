//! OCSP: stunnel and adit ask the same responder about the same certificates.

use std::net::TcpStream;

use super::{plain_hello, same, tls_hello};
use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::responder::{GOOD, REVOKED, Responder, UNKNOWN, Way};
use crate::support::{Certs, peers, tls};

fn issue(certs: &Certs, serial: u8, url: Option<&str>) -> Pair {
    let wish = Wish {
        serial,
        responder: url,
        ..Wish::default()
    };
    certs.issue(&format!("serial{serial}"), wish)
}

/// adit, as stunnel 5.75, asks about a server's own certificate once the handshake is done; stunnel 5.68 does so
/// within it.
const LATER: &[&str] = &[
    "Certificate accepted at depth=0: CN=localhost",
    "TLS connected: new session negotiated",
    "TLS accepted: new session negotiated",
    "TLSv1.3 ciphersuite: TLS_",
    // To a server, stunnel 5.75 and adit send `bad certificate status response`.
    "TLS alert (write): fatal: certificate revoked",
    "TLS alert (write): fatal: bad certificate",
    // stunnel says so of the connection to the responder.
    "s_connect: connecting ",
    "s_connect: connected ",
];

#[test]
fn ocsp_of_a_server() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let url = responder.url();
    for option in [format!("OCSP = {url}\n"), "OCSPaia = yes\n".to_owned()] {
        for serial in [GOOD, REVOKED, UNKNOWN] {
            let pair = issue(&certs, serial, Some(&url));
            let upstream = tls::echo(tls::server_config(&pair, tls::ONLY_13, None));
            let lines = format!(
                "client = yes\n{}{}verifyChain = yes\n{option}",
                upstream.line(),
                certs.ca_line()
            );
            let differs = if serial == GOOD { &[][..] } else { LATER };
            same(&lines, differs, plain_hello);
        }
    }
}

#[test]
fn ocsp_of_a_client() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Plainly);
    let url = responder.url();
    let upstream = peers::Server::start(|mut stream: TcpStream| {
        let _ = peers::echo(&mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    });
    let lines = format!(
        "{}{}{}verifyChain = yes\nOCSP = {url}\n",
        upstream.line(),
        certs.server().lines(),
        certs.ca_line()
    );
    for serial in [GOOD, REVOKED, UNKNOWN] {
        let pair = issue(&certs, serial, None);
        let differs = if serial == GOOD { &[][..] } else { LATER };
        same(
            &lines,
            differs,
            tls_hello(&certs, tls::ONLY_13, Some(&pair)),
        );
    }
}

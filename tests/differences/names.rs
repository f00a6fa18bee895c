//! Virtual hosts: `sni` in server mode.

use super::both;
use crate::require;
use crate::support::openssl::s_client;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

#[test]
fn a_secondary_services_own_tls_version_counts() {
    require_both!();
    let certs = Certs::new();
    let spoken = both(|path| {
        let upstream = Server::greeting("a greeting\n");
        let server = upstream.line() + &certs.server().lines();
        let host = format!("{server}sni = first:mail.example.com\nsslVersion = TLSv1.2\n");
        let plan = Plan::new().program(path).service("first", server);
        let adit = plan.service("host", host).start();
        let host = ["-ign_eof", "-servername", "mail.example.com"];
        let said = s_client(adit.address("first"), &host, "");
        assert!(said.contains("a greeting"), "{said}");
        ["New, TLSv1.3", "New, TLSv1.2"].map(|spoken| said.contains(spoken))
    });
    assert_eq!(spoken, [[true, false], [false, true]]);
}

#[test]
fn a_name_does_not_lead_to_old_tls_that_its_primary_has_not() {
    require_both!();
    let certs = Certs::new();
    let starts = both(|path| {
        let server = "connect = 127.0.0.1:9\n".to_owned() + &certs.server().lines();
        let host = format!("{server}sni = first:mail.example.com\nsslVersionMin = TLSv1\n");
        let plan = Plan::new().program(path).service("first", server);
        let adit = plan.service("host", host).launch();
        let said = crate::support::wait_for("a start or its failure", || {
            let said = adit.everything_said();
            let over = ["Accepting new connections", "Configuration failed"];
            over.into_iter()
                .any(|phrase| said.contains(phrase))
                .then_some(said)
        });
        !said.contains("Configuration failed")
    });
    assert_eq!(starts, [true, false]);
}

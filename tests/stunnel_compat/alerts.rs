//! What a peer is told by an alert.

use super::stunnel;
use crate::require;
use crate::support::adit::program;
use crate::support::openssl::s_client;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

/// In TLS 1.2 by 40 (RFC 5246, section 7.4.6), in TLS 1.3 by 116.
#[test]
fn a_client_without_its_certificate_is_told_by_the_alert_of_its_version() {
    require!(program "stunnel4");
    require!(program "openssl");
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = format!(
        "{}{}{}verifyChain = yes\n",
        upstream.line(),
        certs.server().lines(),
        certs.ca_line()
    );
    for path in [stunnel(), program()] {
        let plan = Plan::new().program(&path);
        let adit = plan.service("test", lines.clone()).start();
        let told = ["-tls1_2", "-tls1_3"].map(|version| {
            let said = s_client(adit.address("test"), &[version, "-ign_eof"], "");
            let (_, number) = said.split_once("SSL alert number ").expect("an alert");
            number.lines().next().unwrap_or_default().to_owned()
        });
        assert_eq!(told, ["40", "116"], "{path:?}");
        adit.wait_for_log_times("peer did not return a certificate", 2);
    }
}

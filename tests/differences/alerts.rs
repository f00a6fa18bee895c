//! What a peer is told by an alert.

use super::both;
use crate::require;
use crate::support::openssl::s_client;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

#[test]
fn a_client_without_its_certificate_is_told_so_in_tls_1_2_too() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = format!(
        "{}{}{}verifyChain = yes\n",
        upstream.line(),
        certs.server().lines(),
        certs.ca_line()
    );
    let told = both(|path| {
        let plan = Plan::new().program(path);
        let adit = plan.service("test", lines.clone()).start();
        ["-tls1_2", "-tls1_3"].map(|version| {
            let said = s_client(adit.address("test"), &[version, "-ign_eof"], "");
            let (_, number) = said.split_once("SSL alert number ").expect("an alert");
            number.lines().next().unwrap_or_default().to_owned()
        })
    });
    assert_eq!(told, [["40", "116"], ["116", "116"]]);
}

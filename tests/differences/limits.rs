//! Limits that stunnel has not.

use crate::differences::{both, is_adit};
use crate::limits::drip;
use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, tls};

#[test]
fn the_time_before_a_client_is_relayed_is_bounded_as_a_whole() {
    require_both!();
    let (certs, upstream) = (Certs::new(), Server::echo());
    let hello = tls::first_flight("localhost");
    // Enough for a second and a half, each byte well within TIMEOUTbusy.
    let bytes = &hello[..30];
    let sent = both(|path| {
        let more = if is_adit(path) {
            "TIMEOUThandshake = 1\n"
        } else {
            ""
        };
        let lines = format!(
            "{}{}TIMEOUTbusy = 100\n{more}",
            upstream.line(),
            certs.server().lines()
        );
        let adit = Plan::new().program(path).service("test", lines).start();
        drip(peers::connect(adit.address("test")), bytes.iter().copied())
    });
    assert_eq!(sent[0], bytes.len());
    assert!(sent[1] < bytes.len(), "{}", sent[1]);
}

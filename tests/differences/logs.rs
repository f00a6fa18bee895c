//! What strangers can write into a log.

use std::io::Write;

use super::{both, is_adit, server_plan};
use crate::require;
use crate::support::Certs;
use crate::support::peers::{self, Server};

#[test]
fn repeats_of_a_stranger_are_summed_up() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let lines = both(|path| {
        let mut plan = server_plan(path, &certs, &upstream);
        if is_adit(path) {
            plan = plan.global("logRepeats = 10\nworkers = 1");
        }
        let relay = plan.start();
        for _ in 0..30 {
            let mut client = relay.connect("test");
            client.write_all(b"no TLS at all\r\n").expect("sending");
            let _ = peers::read_until_gone(&mut client);
        }
        let (_, log) = relay.stop();
        let file = log.split("--- stdout").next().unwrap_or_default();
        let faults = file.lines().filter(|line| line.contains(" LOG3["));
        faults.count().min(30)
    });
    // With the one that sums up.
    assert_eq!(lines, [30, 11]);
}

#[test]
fn a_client_that_says_nothing_is_no_failure() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let faults = both(|path| {
        let relay = server_plan(path, &certs, &upstream).start();
        drop(relay.connect("test"));
        relay.wait_for_log("Service [test] finished (");
        relay.count_in_log(" LOG3[") > 0
    });
    assert_eq!(faults, [true, false]);
}

//! `adit status` counts every failure and the bytes of open connections, and its counts outlive a
//! generation.

use std::net::{Shutdown, TcpStream};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::dialogue::{POP3, SMTP, Seen};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, adit::program, proc, tls, wait_for};
use crate::upgrade::next_version;
use crate::{require, support};

/// A plan with a control socket.
fn plan() -> Plan {
    let plan = Plan::new();
    let control = plan.folder().join("control");
    plan.global(format!("control = {}\nworkers = 2", control.display()))
}

fn generations(adit: &Adit) -> Vec<Value> {
    adit.status()["generations"]
        .as_array()
        .expect("generations")
        .clone()
}

/// A service's count in the serving generation.
fn serving(adit: &Adit, service: &str, count: &str) -> Option<u64> {
    let generations = generations(adit);
    let serving = generations.iter().find(|g| g["state"] == "serving")?;
    let services = serving["services"].as_array().expect("services");
    let service = services.iter().find(|s| s["name"] == service)?;
    service[count].as_u64()
}

/// A count summed over all services and generations.
fn in_all(adit: &Adit, count: &str) -> u64 {
    let of_one = |generation: &Value| {
        let services = generation["services"].as_array().expect("services");
        services
            .iter()
            .filter_map(|s| s[count].as_u64())
            .sum::<u64>()
    };
    generations(adit).iter().map(of_one).sum()
}

#[track_caller]
fn wait_for_count(adit: &Adit, service: &str, count: &str, wanted: u64) {
    wait_for(&format!("{wanted} {count} of [{service}]"), || {
        (serving(adit, service, count) == Some(wanted)).then_some(())
    });
}

fn client_mode(certs: &Certs, upstream: &Server, more: &str) -> String {
    let (connect, ca) = (upstream.line(), certs.ca_line());
    format!("client = yes\n{connect}{ca}verifyChain = yes\n{more}")
}

#[test]
fn the_bytes_of_an_open_connection_are_shown() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = plan()
        .service("test", client_mode(&certs, &upstream, ""))
        .start();
    let mut client = adit.connect("test");
    for round in 1..=2 {
        peers::says_and_hears(&mut client, "ten bytes.");
        wait_for_count(&adit, "test", "bytes_to_back", 10 * round);
        wait_for_count(&adit, "test", "bytes_to_front", 10 * round);
        wait_for_count(&adit, "test", "active", 1);
    }
}

#[test]
fn counts_outlive_a_reload_a_dead_master_and_an_upgrade_and_stand_once() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let lines = client_mode(&certs, &upstream, "");
    let plan = plan();
    let path = plan.folder().join("adit");
    std::fs::copy(program(), &path).expect("copy");
    let adit = plan
        .program(&path)
        .service("removed", &lines)
        .service("test", &lines)
        .start();
    let visit = || peers::says_and_hears(&mut adit.connect("test"), "ten bytes.");
    let mut open = adit.connect("test");
    peers::says_and_hears(&mut open, "ten bytes.");
    visit();
    wait_for_count(&adit, "test", "bytes_to_back", 20);

    adit.rewrite(|text| text.replacen("[removed]", "[added]", 1));
    adit.reload(2);
    assert_eq!(serving(&adit, "test", "accepted"), Some(2));
    assert_eq!(
        serving(&adit, "test", "handshakes_new")
            .zip(serving(&adit, "test", "handshakes_resumed"))
            .map(|(a, b)| a + b),
        Some(2)
    );
    assert_eq!(serving(&adit, "added", "accepted"), Some(0));
    visit();
    // The old generation still counts what it carries.
    peers::says_and_hears(&mut open, "ten bytes.");
    wait_for("40 bytes in all", || {
        (in_all(&adit, "bytes_to_back") == 40).then_some(())
    });
    drop(open);
    wait_for_count(&adit, "test", "bytes_to_back", 40);
    assert_eq!(in_all(&adit, "accepted"), 3);

    let master = proc::roles(adit.pid()).master;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(master), Signal::SIGKILL).expect("kill");
    adit.wait_for_log("in place of the dead one");
    wait_for_count(&adit, "test", "accepted", 3);

    next_version(&path);
    adit.reload(2);
    adit.wait_for_log("has taken over");
    wait_for_count(&adit, "test", "accepted", 3);
    visit();
    wait_for_count(&adit, "test", "accepted", 4);
    wait_for_count(&adit, "test", "bytes_to_back", 50);
    assert_eq!(in_all(&adit, "accepted"), 4);
}

#[test]
fn dialogues_that_fail_are_counted() {
    require!(adit);
    let certs = Certs::new();
    let refusing = SMTP.refusing(SMTP.refusal.to_owned());
    let silent = Server::silent();
    let plain = POP3.plain_server(Seen::default());
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    let no_login = SMTP.server(config, Seen::default(), "");
    let login = "protocol = smtp\nprotocolUsername = u\nprotocolPassword = p\n";
    let adit = plan()
        .service(
            "refused",
            client_mode(&certs, &refusing, "protocol = smtp\n"),
        )
        .service(
            "silent",
            client_mode(&certs, &silent, "protocol = smtp\nTIMEOUTbusy = 1\n"),
        )
        .service("left", client_mode(&certs, &silent, "protocol = smtp\n"))
        .service("refused within", client_mode(&certs, &no_login, login))
        .service(
            "polite",
            format!(
                "protocol = pop3\n{}{}",
                plain.line(),
                certs.server().lines()
            ),
        )
        .start();
    let gone = |mut client: TcpStream| drop(peers::read_until_gone(&mut client));
    gone(adit.connect("refused"));
    wait_for_count(&adit, "refused", "failed_before_tls", 1);
    gone(adit.connect("silent"));
    wait_for_count(&adit, "silent", "failed_before_tls", 1);
    gone(adit.connect("refused within"));
    wait_for_count(&adit, "refused within", "failed_within_tls", 1);
    let count = serving(&adit, "refused within", "failed_before_tls");
    assert_eq!(count, Some(0));
    let left = adit.connect("left");
    left.shutdown(Shutdown::Write).expect("half-close");
    gone(left);
    // It has said nothing.
    wait_for_count(&adit, "left", "checks", 1);
    let count = serving(&adit, "left", "failed_before_tls");
    assert_eq!(count, Some(0));
    let mut polite = support::dialogue::Lines(adit.connect("polite"));
    polite.expect("+OK");
    polite.ask("QUIT", "+OK");
    gone(polite.0);
    wait_for_count(&adit, "polite", "active", 0);
    assert_eq!(serving(&adit, "polite", "failed_before_tls"), Some(0));
}

#[test]
fn a_certificate_that_the_server_misses_after_the_handshake_is_counted() {
    require!(adit);
    let certs = Certs::new();
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let config = tls::server_config(&certs.server(), versions, Some(&certs.ca()));
        let upstream = tls::server(config, |_| {});
        let adit = plan()
            .service("test", client_mode(&certs, &upstream, ""))
            .start();
        let _ = peers::read_until_gone(&mut adit.connect("test"));
        wait_for_count(&adit, "test", "failed_certificate", 1);
    }
}

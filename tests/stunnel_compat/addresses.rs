//! Where connections come from and go to, by stunnel and by adit.

use std::net::TcpListener;
use std::sync::Arc;

use rustls::ClientConfig;

use super::{program, stunnel};
use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, tls, wait_for};

fn greeted(adit: &Adit, config: &Arc<ClientConfig>) -> String {
    let mut client = tls::connect(config.clone(), adit.address("test"));
    let heard = peers::read_to_end(&mut client);
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn several_servers_are_taken_in_turn_or_by_their_order() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let servers = ["one ", "two "].map(Server::greeting);
    for (failover, expected) in [("rr", "one one two two "), ("prio", "one one one one ")] {
        let lines = format!(
            "{}{}failover = {failover}\n{}",
            servers[0].line(),
            servers[1].line(),
            certs.server().lines()
        );
        for path in [stunnel(), program()] {
            let plan = Plan::new().program(&path);
            let adit = plan.service("test", lines.clone()).start();
            let mut heard = [(); 4].map(|()| greeted(&adit, &config));
            // Which one is the first does not matter.
            heard.sort();
            assert_eq!(heard.concat(), expected, "{failover}, {}", path.display());
        }
    }
}

#[test]
fn both_ends_have_ipv6_and_a_certificate_comes_with_its_key_in_one_file() {
    require!(program "stunnel4");
    require!(program "openssl");
    let listener = TcpListener::bind("[::1]:0");
    require!(listener.is_ok(), "there is no IPv6");
    let listener = listener.expect("asked for before");
    let port = listener.local_addr().expect("its address").port();
    let _server = Server::on(listener, |mut stream| {
        let _ = peers::echo(&mut stream);
    });
    let certs = Certs::new();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let lines = format!(
        "accept = ::1:0\nconnect = ::1:{port}\ncert = {}\n",
        certs.pkcs12("server", "").display()
    );
    for path in [stunnel(), program()] {
        let plan = Plan::new().program(&path);
        let adit = plan.service("test", lines.clone()).start();
        assert!(adit.address("test").is_ipv6(), "{}", path.display());
        let mut client = tls::connect(config.clone(), adit.address("test"));
        peers::says_and_hears(&mut client, "hello");
    }
}

#[test]
fn a_program_that_comes_again_is_announced_once() {
    require!(program "stunnel4");
    let certs = Certs::new();
    for path in [stunnel(), program()] {
        // One of its own, as its connections are counted.
        let upstream = tls::echo_server(&certs, tls::BOTH);
        let lines = format!(
            "client = yes\n{}exec = /bin/echo\nexecArgs = echo hello\nretry = yes\n",
            upstream.line()
        );
        let plan = Plan::new().program(&path);
        // stunnel needs something that it accepts on.
        let other = format!("{}exec = /bin/cat\n", certs.server().lines());
        let adit = plan.service("other", other).service("test", lines).start();
        wait_for("three sessions", || {
            (upstream.connections() >= 3).then_some(())
        });
        let said = "Starting exec+connect service [test]";
        // A line may be read later than what it tells of.
        adit.wait_for_log(said);
        assert_eq!(adit.count_in_log(said), 1, "{}", path.display());
    }
}

//! Names, what becomes of them while DNS is silent, and of their addresses that lead nowhere.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use super::{both, heard, is_adit};
use crate::happy_eyeballs::{self, v4, v6};
use crate::names::require_own_network;
use crate::require;
use crate::support::dns::{self, NameServer, Says};
use crate::support::peers::{Server, says_and_hears};
use crate::support::{Certs, Plan, tls, wait_for};

#[test]
fn a_reload_while_dns_is_silent_leaves_a_service_its_addresses() {
    require_both!();
    require_own_network!();
    let heard = both(|path| {
        let certs = Certs::new();
        let config = tls::server_config(&certs.server(), tls::BOTH, None);
        let upstream = tls::server(config, |mut stream| {
            let _ = stream.write_all(b"hello\n");
            tls::end(&mut stream);
        });
        let server = NameServer::start();
        server.say("mail.example", Says::Address(Ipv4Addr::LOCALHOST));
        let plan = Plan::new();
        let wrapper = dns::asking(&plan, path, 1, &[]);
        let port = upstream.address.port();
        let lines = format!("client = yes\nconnect = mail.example:{port}\n");
        let adit = plan.program(wrapper).service("test", lines).start();
        server.say("mail.example", Says::Failure);
        adit.reload(1);
        heard(&mut adit.connect("test"))
    });
    assert_eq!(heard, ["reset", "hello\nend"]);
}

#[test]
fn a_dead_address_of_a_name_costs_no_client_its_timeout() {
    require_both!();
    require_own_network!();
    happy_eyeballs::add_networks();
    let given_up = both(|path| {
        let certs = Certs::new();
        let server = happy_eyeballs::server(&certs);
        let names = NameServer::start();
        names.say("mail.example", Says::All(const { &[v6(2), v4(1)] }));
        let plan = Plan::new();
        let wrapper = dns::asking(&plan, path, 1, &[]);
        let port = server.address.port();
        let lines = format!("client = yes\nconnect = mail.example:{port}\nTIMEOUTconnect = 1\n");
        let adit = plan.program(wrapper).service("test", lines).start();
        for _ in 0..2 {
            says_and_hears(&mut adit.connect("test"), "hello");
        }
        adit.count_in_log("TIMEOUTconnect exceeded")
    });
    assert_eq!(given_up, [2, 0]);
}

#[test]
fn a_name_that_moves_is_followed_without_a_reload() {
    require_both!();
    require_own_network!();
    let heard = both(|path| {
        let certs = Certs::new();
        let config = tls::server_config(&certs.server(), tls::BOTH, None);
        let serve = |last, port, says: &'static [u8]| {
            let address = Ipv4Addr::new(127, 0, 0, last);
            let listener = TcpListener::bind((address, port)).expect("its address");
            let config = Arc::clone(&config);
            Server::on(listener, move |stream| {
                if let Ok(mut stream) = tls::start_server(Arc::clone(&config), stream) {
                    let _ = stream.write_all(says);
                    tls::end(&mut stream);
                }
            })
        };
        let old = serve(1, 0, b"old\n");
        let port = old.address.port();
        let _new = serve(2, port, b"new\n");
        let names = NameServer::start();
        names.say("mail.example", Says::Address(Ipv4Addr::LOCALHOST));
        let plan = Plan::new();
        let wrapper = dns::asking(&plan, path, 1, &[]);
        let lines = format!("client = yes\nconnect = mail.example:{port}\n");
        let plan = plan.program(wrapper).global("debug = 6");
        let plan = match is_adit(path) {
            true => plan.global("resolveInterval = 1"),
            false => plan,
        };
        let adit = plan.service("test", lines).start();
        names.say("mail.example", Says::Address(Ipv4Addr::new(127, 0, 0, 2)));
        if !is_adit(path) {
            return heard(&mut adit.connect("test"));
        }
        adit.wait_for_log("has other addresses");
        // The line comes before the workers know.
        wait_for("the new server", || {
            let said = heard(&mut adit.connect("test"));
            said.starts_with("new").then_some(said)
        })
    });
    assert_eq!(heard, ["old\nend", "new\nend"]);
}

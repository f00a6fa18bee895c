//! `redirect`: a client without a valid certificate is connected elsewhere, and never to the server.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;

use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::openssl::s_client;
use crate::support::peers::Server;
use crate::support::{Adit, Certs, Plan, dead_address};

struct House {
    certs: Certs,
    strangers: Certs,
    server: Server,
    lobby: Server,
}

impl House {
    fn new() -> House {
        House {
            certs: Certs::new(),
            strangers: Certs::named("another CA"),
            server: Server::greeting("the server\n"),
            lobby: Server::greeting("the lobby\n"),
        }
    }

    fn lines(&self, redirect: &str, more: &str) -> String {
        format!(
            "{}{}{}verifyChain = yes\nredirect = {redirect}\n{more}",
            self.server.line(),
            self.certs.server().lines(),
            self.certs.ca_line()
        )
    }

    fn start(&self, more: &str) -> Adit {
        let lines = self.lines(&self.lobby.address.to_string(), more);
        Plan::new().service("test", lines).start()
    }

    fn clients(&self) -> Vec<(&'static str, Option<Pair>, &'static str)> {
        let expired = Wish {
            years: (2024, 2025),
            ..Wish::default()
        };
        vec![
            ("none", None, "the lobby"),
            ("valid", Some(self.certs.client()), "the server"),
            (
                "expired",
                Some(self.certs.issue("expired", expired)),
                "the lobby",
            ),
            (
                "itself",
                Some(self.certs.self_signed("itself", Wish::default())),
                "the lobby",
            ),
            ("stranger", Some(self.strangers.client()), "the lobby"),
        ]
    }
}

/// What `openssl s_client` sees, which stays until a greeting and its end have come.
fn sees(address: SocketAddr, pair: Option<&Pair>, arguments: &[&str]) -> String {
    let files = pair.map(|pair| [&pair.cert, &pair.key].map(|file| file.to_str().expect("UTF-8")));
    let identity = files.map(|[cert, key]| ["-cert", cert, "-key", key]);
    let identity = identity.as_ref().map_or(&[][..], |identity| &identity[..]);
    s_client(address, &[identity, arguments, &["-ign_eof"]].concat(), "")
}

#[test]
fn whoever_has_no_valid_certificate_meets_another_server() {
    require!(program "openssl");
    let house = House::new();
    let adit = house.start("");
    let (mut redirected, mut served) = (0, 0);
    for (name, pair, greeting) in house.clients() {
        for version in ["-tls1_3", "-tls1_2"] {
            let said = sees(adit.address("test"), pair.as_ref(), &[version]);
            assert!(said.contains(greeting), "{name} {version}: {said}");
            redirected += usize::from(greeting == "the lobby");
            served += usize::from(greeting == "the server");
        }
    }
    adit.wait_for_log_times("finished (0 left)", redirected + served);
    assert_eq!(adit.count_in_log("LOG5[0]: Redirecting connection"), 1);
    assert_eq!(adit.count_in_log("Redirecting connection"), redirected);
    assert_eq!(house.server.connections(), served);
    assert_eq!(house.lobby.connections(), redirected);
    adit.wait_for_log("CERT: Pre-verification error: certificate has expired");
    assert_eq!(
        adit.count_in_log("Certificate accepted at depth=0: CN=client"),
        served
    );
}

#[test]
fn a_resumed_session_goes_where_its_first_went() {
    require!(program "openssl");
    let house = House::new();
    for (version, more) in [
        ("-tls1_3", ""),
        ("-tls1_2", ""),
        ("-tls1_3", "options = NO_TICKET\n"),
        ("-tls1_2", "options = NO_TICKET\n"),
    ] {
        let adit = house.start(more);
        let session = adit.plan.folder().join("session");
        let session = session.to_str().expect("UTF-8");
        for (name, pair, greeting) in house.clients() {
            let store = [version, "-sess_out", session];
            let said = sees(adit.address("test"), pair.as_ref(), &store);
            assert!(said.contains(greeting), "{name}: {said}");
            // With a valid certificate at hand, which is not asked for again.
            let valid = house.certs.client();
            for pair in [None, pair.as_ref(), Some(&valid)] {
                let take = [version, "-sess_in", session, "-sess_out", session];
                let said = sees(adit.address("test"), pair, &take);
                assert!(said.contains("Reused, TLSv1"), "{name} {version}: {said}");
                assert!(said.contains(greeting), "{name} {version}: {said}");
            }
        }
    }
}

#[test]
fn redirect_has_several_addresses_of_every_kind() {
    require!(adit);
    require!(program "openssl");
    let house = House::new();
    let dead = dead_address();
    let port = house.lobby.address.port();
    let lines = house.lines(
        "127.0.0.1:0",
        &format!("redirect = {}\nredirect = localhost:{port}\n", dead.address),
    );
    let adit = Plan::new().service("test", lines).start();
    let said = sees(adit.address("test"), None, &[]);
    assert!(said.contains("the lobby"), "{said}");
    adit.wait_for_log("Redirecting connection");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lobby");
    let listener = UnixListener::bind(&path).expect("a socket");
    let waiter = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(b"by its path\n").expect("a greeting");
    });
    let lines = house.lines(&path.display().to_string(), "");
    let adit = Plan::new().service("test", lines).start();
    let said = sees(adit.address("test"), None, &[]);
    assert!(said.contains("by its path"), "{said}");
    waiter.join().expect("no panic");
}

#[test]
fn where_no_address_answers_the_client_is_not_served_either() {
    require!(program "openssl");
    let house = House::new();
    let lines = house.lines("127.0.0.1:0", "");
    let adit = Plan::new().service("test", lines).start();
    let said = sees(adit.address("test"), None, &[]);
    assert!(!said.contains("the server"), "{said}");
    adit.wait_for_log("No more addresses to connect");
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn clients_with_old_tls_are_redirected_too() {
    require!(adit);
    require!(program "openssl");
    let house = House::new();
    let adit = house.start("sslVersionMin = TLSv1\n");
    for (name, pair, greeting) in house.clients() {
        for version in ["-tls1", "-tls1_2", "-tls1_3"] {
            let old = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
            let said = sees(adit.address("test"), pair.as_ref(), &old);
            assert!(said.contains(greeting), "{name} {version}: {said}");
        }
    }
    assert_eq!(house.server.connections(), 3);
}

#[test]
fn a_redirected_client_is_not_asked_where_it_wants_to_be_connected_to() {
    require!(adit);
    require!(program "openssl");
    let house = House::new();
    let lines = house
        .lines(&house.lobby.address.to_string(), "protocol = socks\n")
        .replace(&house.server.line(), "");
    let adit = Plan::new().service("test", lines).start();
    let said = sees(adit.address("test"), None, &[]);
    assert!(said.contains("the lobby"), "{said}");
}

#[test]
fn the_route_of_a_service_tells_where_clients_are_redirected_to() {
    require!(adit);
    let house = House::new();
    let plan = Plan::new().service("test", house.lines("127.0.0.1:8080", ""));
    let file = plan.file();
    let file = file.to_str().expect("UTF-8").to_owned();
    plan.arguments(&["check", "--route", &file])
        .run()
        .exits(0)
        .says(&["  clients without a valid certificate: connect to 127.0.0.1:8080"]);
}

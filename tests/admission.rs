//! Clients are refused by their address before a byte of theirs is heard, each with a line that says by what.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;

use crate::require;
use crate::support::certs::Wish;
use crate::support::openssl::s_client;
use crate::support::peers::{self, Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, wait_for};

/// A client that comes from 127.0.0.`last`.
pub fn from(last: u8, address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is not IPv4")
    };
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port());
    peers::connect_from(Ipv4Addr::new(127, 0, 0, last), address)
}

/// Fails unless it is reset without a byte.
#[track_caller]
fn is_refused(mut client: TcpStream) {
    let mut byte = [0];
    let read = client.read(&mut byte).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// A client service in front of an echo over TLS, with these lines.
fn plan(certs: &Certs, echo: &Server, lines: &str) -> Plan {
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let plan = plan.global(format!("control = {}", control.display()));
    let (connect, ca) = (echo.line(), certs.ca_line());
    let lines = format!("client = yes\n{connect}{ca}verifyChain = yes\n{lines}");
    plan.service("test", lines)
}

fn tls_echo(certs: &Certs) -> Server {
    crate::support::tls::echo_server(certs, crate::support::tls::BOTH)
}

fn refused_in_status(adit: &Adit) -> u64 {
    let status = adit.status();
    let service = &status["generations"][0]["services"][0];
    service["refused"].as_u64().expect("a number")
}

#[test]
fn a_client_is_refused_by_the_lists_and_the_line_says_by_which() {
    require!(adit);
    let certs = Certs::new();
    let echo = tls_echo(&certs);
    let lines = "acceptFrom = 127.0.0.1, 127.0.0.8/29\ndenyFrom = 127.0.0.12/31\ndenyFrom = ::2\n";
    let adit = plan(&certs, &echo, lines).start();
    let address = adit.address("test");
    for last in [1, 8, 11, 14] {
        says_and_hears(&mut from(last, address), "let in");
    }
    for (last, by) in [
        (2, "acceptFrom"),
        (16, "acceptFrom"),
        (12, "denyFrom = 127.0.0.12/31"),
        (13, "denyFrom = 127.0.0.12/31"),
    ] {
        let client = from(last, address);
        let at = client.local_addr().expect("its address");
        is_refused(client);
        let line = adit.wait_for_log(&format!("REFUSED by {by} from {at}"));
        assert!(line.contains("LOG4["), "{line}");
        assert!(line.contains("Service [test] REFUSED"), "{line}");
        assert_eq!(
            adit.count_in_log(&format!("accepted connection from {at}")),
            0
        );
    }
    wait_for("4 refused", || {
        (refused_in_status(&adit) == 4).then_some(())
    });
    assert_eq!(echo.connections(), 4);
}

#[test]
fn an_ipv4_client_of_a_listener_for_both_families_is_one_of_ipv4() {
    require!(adit);
    let certs = Certs::new();
    let echo = tls_echo(&certs);
    let lines = "accept = :::0\nacceptFrom = 127.0.0.1, ::1\n";
    let adit = plan(&certs, &echo, lines).start();
    let port = adit.address("test").port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    says_and_hears(&mut from(1, address), "let in");
    is_refused(from(2, address));
    says_and_hears(
        &mut peers::connect(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))),
        "too",
    );
}

#[test]
fn a_client_of_a_unix_socket_has_no_address_to_be_refused_by() {
    require!(adit);
    let certs = Certs::new();
    let echo = tls_echo(&certs);
    let plan = Plan::new();
    let socket = plan.folder().join("socket");
    let lines = format!(
        "client = yes\naccept = {}\naccept = 127.0.0.1:0\n{}{}verifyChain = yes\nacceptFrom = 192.0.2.1\n",
        socket.display(),
        echo.line(),
        certs.ca_line()
    );
    let adit = plan.service("test", lines).start();
    let mut client = UnixStream::connect(&socket).expect("connecting");
    client.write_all(b"hello").expect("writing");
    let mut heard = [0; 5];
    client.read_exact(&mut heard).expect("reading");
    assert_eq!(&heard, b"hello");
    is_refused(adit.connect("test"));
}

#[test]
fn a_client_that_goes_to_another_service_by_its_name_is_judged_by_the_lists_of_that() {
    require!(program "openssl");
    require!(adit);
    let certs = Certs::new();
    let server = Server::greeting("let in\n");
    let cert = certs
        .issue(
            "name",
            Wish {
                name: "name",
                ..Wish::default()
            },
        )
        .lines();
    let service = |more: &str| format!("{}{cert}{more}", server.line());
    let adit = Plan::new()
        .service("first", service("acceptFrom = 127.0.0.0/8\n"))
        .service(
            "closed",
            service("sni = first:closed.example\ndenyFrom = 127.0.0.1\n"),
        )
        .service("open", service("sni = first:open.example\n"))
        .start();
    let address = adit.address("first");
    let asks = |name: &str| s_client(address, &["-servername", name, "-ign_eof"], "");
    assert!(asks("open.example").contains("let in"));
    assert!(!asks("closed.example").contains("let in"));
    adit.wait_for_log("Service [closed] REFUSED by denyFrom = 127.0.0.1 from 127.0.0.1:");
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_route_and_a_warning_tell_who_may_connect() {
    require!(adit);
    let plan = Plan::new().verbatim(
        "[listed]\nclient = yes\naccept = 192.0.2.1:25\nconnect = 192.0.2.2:465\nverifyServer = yes\n\
         sni = mail.example\nacceptFrom = 192.0.2.0/24\n\
         [open]\nclient = yes\naccept = 192.0.2.1:26\nconnect = 192.0.2.2:465\nverifyServer = yes\n\
         sni = mail.example\n",
    );
    let file = plan.file();
    let file = file.to_str().expect("UTF-8");
    let outcome = plan.arguments(&["check", "--route", file]).run();
    outcome.exits(0).says(&[
        "[listed]: acceptFrom and denyFrom, connect, TLS handshake with the server, relay",
        "[open]: connect, TLS handshake with the server, relay",
        "`accept = 192.0.2.1:26`: other machines may connect",
    ]);
    assert!(
        !outcome.said.contains("`accept = 192.0.2.1:25`"),
        "{}",
        outcome.said
    );
}

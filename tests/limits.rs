//! Limits: how long a client may take until it is relayed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::require;
use crate::support::peers::{self, Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, tls, wait_for};

/// Between two bytes of a peer that takes its time.
const PAUSE: Duration = Duration::from_millis(50);

/// A count in the status of a service.
pub fn count(adit: &Adit, service: &str, count: &str) -> Option<u64> {
    let status = adit.status();
    let mut all = status["generations"].as_array()?.iter().rev();
    let generation = all.find(|generation| generation["state"] == "serving")?;
    let mut services = generation["services"].as_array()?.iter();
    services.find(|one| one["name"] == service)?[count].as_u64()
}

#[track_caller]
fn wait_for_count(adit: &Adit, service: &str, what: &str, wanted: u64) {
    wait_for(&format!("{wanted} {what} of [{service}]"), || {
        (count(adit, service, what) == Some(wanted)).then_some(())
    });
}

/// Sends one byte after the other until the other end is gone, or there is none left; how many were sent.
pub fn drip<'a>(mut stream: TcpStream, bytes: impl IntoIterator<Item = &'a u8>) -> usize {
    stream.set_read_timeout(Some(PAUSE)).expect("a timeout");
    let mut sent = 0;
    for byte in bytes {
        let gone = match stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if gone || stream.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
    }
    sent
}

#[test]
fn a_client_that_is_not_relayed_in_time_is_ended_however_it_spends_it() {
    require!(adit);
    let certs = Certs::new();
    let echo = Server::echo();
    // A record of 16384 bytes that takes its time.
    let slow = Server::start(|stream| {
        drip(stream, b"\x16\x03\x03\x40\x00".iter().cycle());
    });
    let greeting = Server::start(|stream| {
        drip(stream, b"220-wait\r\n".iter().cycle());
    });
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let global = format!(
        "control = {}\nTIMEOUThandshake = 1\nTIMEOUTbusy = 1000",
        control.display()
    );
    let dialogue = format!("client = yes\n{}protocol = smtp\n", greeting.line());
    let adit = plan
        .global(global)
        .service(
            "server",
            format!("{}{}", echo.line(), certs.server().lines()),
        )
        .service("client", format!("client = yes\n{}", slow.line()))
        .service("dialogue", dialogue)
        .start();
    let mut relayed = tls::connect(
        tls::client_config(&certs.ca(), tls::BOTH, None),
        adit.address("server"),
    );
    says_and_hears(&mut relayed, "in time");

    let hello = tls::first_flight("localhost");
    let address = |service: &str| -> SocketAddr { adit.address(service) };
    // Each byte comes well within TIMEOUTbusy.
    drip(peers::connect(address("server")), &hello);
    let said = adit.wait_for_log("TIMEOUThandshake exceeded: Service [server]: 1 s after");
    assert!(said.contains("LOG4["), "{said}");
    assert!(
        said.contains("is still in the TLS handshake with the client"),
        "{said}"
    );
    for (service, place) in [
        ("client", "the TLS handshake with the server"),
        ("dialogue", "the dialogue before TLS"),
    ] {
        let client = peers::connect(address(service));
        let _ = peers::read_until_gone(&mut &client);
        let phrase = format!("TIMEOUThandshake exceeded: Service [{service}]: ");
        let said = adit.wait_for_log(&phrase);
        assert!(
            said.contains(&format!("is still in {place}: sending reset")),
            "{said}"
        );
    }
    for service in ["server", "client", "dialogue"] {
        wait_for_count(&adit, service, "late", 1);
    }
    // One that is relayed may take its time.
    says_and_hears(&mut relayed, "any time");
}

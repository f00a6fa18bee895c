//! Limits: how many connections there may be, how many one address may have and how fast it may make them, and how long
//! a client may take until it is relayed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::accept_proxy::LOCAL;
use crate::admission::from;
use crate::require;
use crate::support::peers::{self, Server, says_and_hears};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

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
pub fn drip(mut stream: TcpStream, bytes: impl IntoIterator<Item = u8>) -> usize {
    stream.set_read_timeout(Some(PAUSE)).expect("a timeout");
    let mut sent = 0;
    for byte in bytes {
        let gone = match stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if gone || stream.write_all(&[byte]).is_err() {
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
        drip(stream, b"\x16\x03\x03\x40\x00".iter().copied().cycle());
    });
    let greeting = Server::start(|stream| {
        drip(stream, b"220-wait\r\n".iter().copied().cycle());
    });
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let global = format!(
        "control = {}\nTIMEOUThandshake = 2\nTIMEOUTbusy = 1000",
        control.display()
    );
    let dialogue = format!("client = yes\n{}protocol = smtp\n", greeting.line());
    let names = format!("{}{}", echo.line(), certs.server().lines());
    let of = |lines: &str| format!("{names}{lines}");
    let adit = plan
        .global(global)
        .service(
            "server",
            format!("{}{}", echo.line(), certs.server().lines()),
        )
        .service("client", format!("client = yes\n{}", slow.line()))
        .service("dialogue", dialogue)
        .service("short", of("TIMEOUThandshake = 2\n"))
        .service(
            "patient",
            of("TIMEOUThandshake = 1000\nsni = short:localhost\n"),
        )
        .service("long", of("TIMEOUThandshake = 1000\n"))
        .service("hasty", of("TIMEOUThandshake = 2\nsni = long:localhost\n"))
        .start();
    // The time is that of the service which it asks for by its name.
    let [mut patient, mut hasty] = ["short", "long"].map(|service| {
        let mut stream = peers::connect(adit.address(service));
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let name = "localhost".try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(config, name).expect("a client");
        client.write_tls(&mut stream).expect("its hello");
        rustls::StreamOwned::new(client, stream)
    });
    let mut relayed = tls::connect(
        tls::client_config(&certs.ca(), tls::BOTH, None),
        adit.address("server"),
    );
    says_and_hears(&mut relayed, "in time");

    let hello = tls::first_flight("localhost");
    let address = |service: &str| -> SocketAddr { adit.address(service) };
    let others = ["client", "dialogue"].map(|service| peers::connect(address(service)));
    // Each byte comes well within TIMEOUTbusy.
    drip(peers::connect(address("server")), hello);
    let said = adit.wait_for_log("TIMEOUThandshake exceeded: Service [server]: ");
    assert!(
        said.contains("LOG4[") && said.contains(" s after it was accepted"),
        "{said}"
    );
    assert!(
        said.contains("is still in the TLS handshake with the client"),
        "{said}"
    );
    for mut client in others {
        let _ = peers::read_until_gone(&mut client);
    }
    for (service, place) in [
        ("client", "the TLS handshake with the server"),
        ("dialogue", "the dialogue before TLS"),
    ] {
        let phrase = format!("TIMEOUThandshake exceeded: Service [{service}]: ");
        let said = adit.wait_for_log(&phrase);
        assert!(
            said.contains(&format!("is still in {place}: sending reset")),
            "{said}"
        );
    }
    let _ = peers::read_until_gone(&mut hasty.sock);
    adit.wait_for_log("TIMEOUThandshake exceeded: Service [hasty]: ");
    for service in ["server", "client", "dialogue", "hasty"] {
        wait_for_count(&adit, service, "late", 1);
    }
    // One that is relayed may take its time.
    says_and_hears(&mut relayed, "any time");
    says_and_hears(&mut patient, "in its own time");
}

/// A plan with a control socket and these lines before the first section.
fn plan(global: &str) -> Plan {
    let plan = Plan::new();
    let control = plan.folder().join("control");
    plan.global(format!(
        "control = {}\nworkers = 2\n{global}",
        control.display()
    ))
}

/// A client service in front of an echo over TLS, with these lines.
fn lines(certs: &Certs, echo: &Server, more: &str) -> String {
    let (connect, ca) = (echo.line(), certs.ca_line());
    format!("client = yes\n{connect}{ca}verifyChain = yes\n{more}")
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
}

/// Whether it is served, or was reset; waits for the one or the other.
fn is_served(mut client: &TcpStream) -> bool {
    let mut byte = [0];
    let said = client.write_all(b"x");
    match said.and_then(|()| client.read(&mut byte)) {
        Ok(1) => true,
        Ok(count) => panic!("{count} bytes"),
        Err(error) => {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "{error}"
            );
            false
        }
    }
}

#[test]
fn more_clients_than_there_may_be_wait_until_a_connection_ends() {
    require!(adit);
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = plan("maxConnections = 3")
        .service("one", lines(&certs, &echo, "maxConnections = 2\n"))
        .service("two", lines(&certs, &echo, ""))
        .start();
    let talk = |service: &str| {
        let mut client = adit.connect(service);
        says_and_hears(&mut client, "hello");
        client
    };
    let mut first = talk("one");
    let second = talk("one");
    let mut waits = adit.connect("one");
    let line = adit.wait_for_log("Service [one]: maxConnections = 2 is reached: more clients wait");
    assert!(line.contains("LOG4["), "{line}");
    // The other service has what is left of all.
    let third = talk("two");
    let accepted = |service| count(&adit, service, "accepted");
    assert_eq!((accepted("one"), accepted("two")), (Some(2), Some(1)));

    // Another generation, and another master, have no more than was left.
    adit.reload(2);
    wait_for_count(&adit, "one", "full", 2);
    drop(second);
    says_and_hears(&mut waits, "its turn");
    let held = adit.connect("one");
    wait_for_count(&adit, "one", "full", 3);
    end(proc::roles(adit.pid()).master);
    adit.wait_for_log("serves in place of the dead one");
    wait_for("a master that finds no room", || {
        (count(&adit, "one", "full")? > 3).then_some(())
    });
    says_and_hears(&mut first, "from the generation before");
    let mut waits_too = adit.connect("two");
    wait_for_count(&adit, "two", "full", 1);
    adit.wait_for_log("]: maxConnections = 3 is reached: more clients wait");
    drop((first, third));
    says_and_hears(&mut waits_too, "its turn");
    says_and_hears(&mut &held, "its turn");
    let mut last = adit.connect("one");
    drop((waits, held));
    says_and_hears(&mut last, "its turn");
    let (_, log) = adit.stop();
    assert!(!log.contains("INTERNAL"), "{log}");
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    require!(adit);
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = plan("maxConnectionsPerAddress = 2")
        .service("test", lines(&certs, &echo, ""))
        .service("other", lines(&certs, &echo, ""))
        .service(
            "any",
            lines(&certs, &echo, "maxConnectionsPerAddress = 0\n"),
        )
        .service("behind", lines(&certs, &echo, "acceptProxy = 127.0.0.9\n"))
        .start();
    let address = adit.address("test");
    let (first, second) = (from(2, address), from(2, address));
    assert!(is_served(&first) && is_served(&second));
    for nth in 1..=5 {
        assert!(!is_served(&from(2, address)));
        wait_for_count(&adit, "test", "over_address", nth);
    }
    let said = "Service [test] REFUSED by maxConnectionsPerAddress = 2 from 127.0.0.2:";
    assert!(adit.wait_for_log(said).contains("LOG4["));
    assert!(is_served(&from(3, address)), "another address");
    let others = ["other", "other", "any", "any", "any"];
    let others = others.map(|service| from(2, adit.address(service)));
    assert!(others.iter().all(is_served), "other services");

    let behind = |client: &str| {
        let mut balancer = from(9, adit.address("behind"));
        let header = format!("PROXY TCP4 {client} 127.0.0.1 1042 25\r\n");
        balancer.write_all(header.as_bytes()).expect("a header");
        balancer
    };
    let clients = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"].map(behind);
    assert!(clients.iter().all(is_served), "clients of a balancer");
    assert!(!is_served(&behind("192.0.2.1")));
    wait_for_count(&adit, "behind", "over_address", 1);

    drop(first);
    let third = wait_for("room for a third", || {
        let client = from(2, address);
        is_served(&client).then_some(client)
    });
    adit.reload(4);
    assert!(!is_served(&behind("192.0.2.2")), "for a balancer's too");
    assert!(
        !is_served(&from(2, address)),
        "the generation before counts"
    );
    let before = count(&adit, "test", "over_address").expect("a number");
    end(proc::roles(adit.pid()).master);
    adit.wait_for_log("serves in place of the dead one");
    assert!(!is_served(&from(2, address)), "and so does a dead master's");
    wait_for_count(&adit, "test", "over_address", before + 1);
    drop((second, third));
    let both = wait_for("room for two", || {
        let both = [from(2, address), from(2, address)];
        both.iter().all(is_served).then_some(both)
    });
    // What a dead worker had is not counted for ever.
    for worker in proc::roles(adit.pid()).workers {
        end(worker);
    }
    let gone = both.map(|mut client| peers::read_until_gone(&mut client));
    assert!(
        gone.iter()
            .all(|gone| gone.as_ref().map_or(true, Vec::is_empty))
    );
    wait_for("room for two again", || {
        let both = [from(2, address), from(2, address)];
        both.iter().all(is_served).then_some(())
    });
    let (_, log) = adit.stop();
    let lines = log.lines().filter(|line| line.contains(said));
    // One a minute, of each master.
    assert!(lines.count() <= 3, "{log}");
    let sum = "Service [test] REFUSED by maxConnectionsPerAddress = 2: ";
    let sum = log.lines().find(|line| line.contains(sum)).expect("a sum");
    assert!(
        sum.contains("more connection(s) in a minute, the last from 127.0.0.2:"),
        "{sum}"
    );
}

#[test]
fn an_address_connects_no_faster_than_it_may() {
    const BEHIND: &str = "connectRate = 2/h\nacceptProxy = 127.0.0.9\n";
    require!(adit);
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    let adit = plan("")
        .service("test", lines(&certs, &echo, "connectRate = 3/h\n"))
        .service("other", lines(&certs, &echo, ""))
        .service("behind", lines(&certs, &echo, BEHIND))
        .start();
    // Of a balancer's clients each has its pace, and the balancer itself has none.
    let behind = |header: &[u8]| {
        let mut balancer = from(9, adit.address("behind"));
        balancer.write_all(header).expect("a header");
        is_served(&balancer)
    };
    let clients = ["192.0.2.1", "192.0.2.2"]
        .map(|client| format!("PROXY TCP4 {client} 127.0.0.1 1042 25\r\n"));
    let served = clients.map(|header| [(); 4].map(|()| behind(header.as_bytes())));
    assert_eq!(served, [[true, true, false, false]; 2]);
    assert_eq!([(); 4].map(|()| behind(LOCAL)), [true; 4]);
    wait_for_count(&adit, "behind", "over_rate", 4);
    let address = adit.address("test");
    let served = |last, tries: usize| {
        (0..tries)
            .filter(|_| is_served(&from(last, address)))
            .count()
    };
    assert_eq!(served(2, 10), 3);
    assert_eq!(served(3, 2), 2, "another address");
    wait_for_count(&adit, "test", "over_rate", 7);
    assert!(is_served(&from(2, adit.address("other"))));
    let said = adit.wait_for_log("Service [test] REFUSED by connectRate = 3/h from 127.0.0.2:");
    assert!(said.contains("LOG4["), "{said}");
    // Neither another generation nor another master begins anew.
    adit.reload(2);
    assert_eq!((served(2, 2), served(3, 2)), (0, 1));
    end(proc::roles(adit.pid()).master);
    adit.wait_for_log("serves in place of the dead one");
    assert_eq!((served(2, 2), served(3, 1), served(4, 4)), (0, 0, 3));
    let (_, log) = adit.stop();
    let sum = "Service [test] REFUSED by connectRate = 3/h: 6 more connection(s) in a minute, the last from 127.0.0.2:";
    assert!(log.contains(sum), "{log}");
}

//! Input from outside may be anything, and never ends more than its own connection.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{
    Adit, Certs, Plan, dead_address, own_loopback, proc, stand_in, tls, wait_for,
};

fn server_mode(certs: &Certs, upstream: &Server, more: &str) -> Adit {
    Adit::serve(format!(
        "{}{}{more}",
        upstream.line(),
        certs.server().lines()
    ))
}

/// A good client is served, by the same processes as before.
#[track_caller]
fn goes_on(adit: &Adit, certs: &Certs, family: &[proc::Process]) {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
    assert_eq!(proc::family(adit.pid()), family, "a process was replaced");
}

#[test]
fn a_client_that_sends_garbage_is_told_of_in_one_line() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "");
    let family = proc::family(adit.pid());
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.0\r\n\r\n",
        b"EHLO old.program\r\n",
        &[0; 100],
        &[0xff; 70_000],
        // A record header, and then no valid handshake.
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    ];
    for (number, bytes) in garbage.iter().enumerate() {
        let mut client = adit.connect("test");
        // adit may close before all is sent.
        let _ = client.write_all(bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = peers::read_until_gone(&mut client);
        adit.wait_for_log_times("Service [test] finished (", number + 1);
        let errors = adit.count_in_log(&format!("LOG3[{number}]"));
        assert_eq!(errors, 1, "lines about garbage {number}");
    }
    assert_eq!(upstream.connections(), 0);
    goes_on(&adit, &certs, &family);
}

#[test]
fn a_client_that_says_nothing_ends_by_timeoutbusy() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "TIMEOUTbusy = 1\n");
    let mut client = adit.connect("test");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("TIMEOUTbusy exceeded");
    adit.wait_for_log("Service [test] finished (0 left)");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_client_that_dribbles_its_handshake_is_not_waited_for_forever() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "TIMEOUTbusy = 2\n");
    let mut client = adit.connect("test");
    // A record of 512 bytes is announced, and then sent one byte every tenth of a second.
    client
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        .expect("sending");
    client
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    wait_for("the end of its patience", || {
        let mut byte = [0];
        match std::io::Read::read(&mut client, &mut byte) {
            Ok(_) => Some(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                client.write_all(b"\x03").is_err().then_some(())
            }
            Err(_) => Some(()),
        }
    });
    adit.wait_for_log("TIMEOUTbusy exceeded");
}

#[test]
fn clients_that_vanish_at_any_point_leave_nothing_behind() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = server_mode(&certs, &upstream, "");
    let family = proc::family(adit.pid());
    let address = adit.address("test");
    let count = 30;
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for number in 0..count {
        match number % 3 {
            // Before, during and after the handshake; each by RST.
            0 => peers::reset(peers::connect(address)),
            1 => {
                let mut client = peers::connect(address);
                client
                    .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
                    .expect("sending");
                peers::reset(client);
            }
            _ => {
                let mut client = tls::connect(config.clone(), address);
                client.write_all(&[7; 100_000]).expect("sending");
                peers::reset(client.sock);
            }
        }
    }
    adit.wait_for_log_times("Service [test] finished (", count);
    adit.wait_for_log("Service [test] finished (0 left)");
    goes_on(&adit, &certs, &family);
}

#[test]
fn an_upstream_that_sends_garbage_for_tls_ends_its_connection_alone() {
    let certs = Certs::new();
    let upstream = Server::greeting("220 this port speaks plain SMTP\r\n");
    let adit = Adit::serve(format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.line(),
        certs.ca_line()
    ));
    let heard = peers::read_until_gone(&mut adit.connect("test")).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&heard), "");
    let line = adit.wait_for_log("LOG3[0]");
    assert!(line.contains("wrong version number"), "{line}");
}

#[test]
fn an_upstream_that_cannot_be_reached_ends_by_timeoutconnect() {
    let certs = Certs::new();
    // A full backlog does not answer a SYN.
    let listener = peers::full_backlog();
    let adit = Adit::serve(format!(
        "client = yes\nconnect = {}\n{}verifyChain = yes\nTIMEOUTconnect = 1\n",
        listener.address,
        certs.ca_line()
    ));
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log("TIMEOUTconnect exceeded");
    adit.wait_for_log("No more addresses to connect");
}

#[test]
fn a_connect_target_that_does_not_resolve_is_warned_of_and_asked_for_again() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let adit = Plan::new()
        .service(
            "lost",
            format!("connect = nowhere.invalid:25\n{}", certs.server().lines()),
        )
        .service(
            "test",
            format!("{}{}", upstream.line(), certs.server().lines()),
        )
        .start();
    adit.wait_for_log("nowhere.invalid");
    adit.wait_for_log("delaying DNS lookup");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    if let Ok(mut client) = tls::start_client(config, adit.connect("lost")) {
        let _ = peers::read_until_gone(&mut client);
    }
    adit.wait_for_log("Service [lost] finished (0 left)");
    goes_on(&adit, &certs, &proc::family(adit.pid()));
}

#[test]
fn when_descriptors_run_out_accepting_pauses_and_nothing_dies() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let control = format!("control = {}", plan.folder().join("control").display());
    let adit = plan
        .open_files(48)
        .global(format!("workers = 2\n{control}"))
        .service(
            "test",
            format!("{}{}", upstream.line(), certs.server().lines()),
        )
        .start();
    let family = proc::family(adit.pid());
    let address = adit.address("test");
    // Far more than two workers have descriptors for; the kernel must refuse none.
    let held: Vec<TcpStream> = (0..40).map(|_| peers::connect(address)).collect();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut served = Vec::new();
    let mut turned_away = 0;
    for stream in held {
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        match tls::start_client(config.clone(), stream) {
            Ok(client) => served.push(client),
            Err(_) => turned_away += 1,
        }
    }
    assert!(
        turned_away > 0,
        "40 connections in 48 descriptors a process"
    );
    assert!(!served.is_empty(), "nobody was served");
    // 48 files: 40 of them are adit's own.
    let line = adit.wait_for_log("All workers are full: ");
    for part in [
        "a process may open 48 files",
        "`ulimit -n`",
        "`LimitNOFILE=`",
    ] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    if stand_in().is_none() {
        let kept = failure_of_adit(&adit, "memory").expect("it is kept");
        let (reason, remedy) = (kept["reason"].to_string(), kept["remedy"].to_string());
        assert!(reason.contains("All workers are full: "), "{kept}");
        assert!(
            remedy.contains("`LimitNOFILE=`") && remedy.contains("`workers`"),
            "{kept}"
        );
    }
    drop(served);
    // It resumes as soon as there is room.
    wait_for("a client that is served", || {
        let mut client = tls::start_client(config.clone(), peers::connect(address)).ok()?;
        let mut answer = [0; 2];
        client.write_all(b"hi").ok()?;
        std::io::Read::read_exact(&mut client, &mut answer).ok()
    });
    goes_on(&adit, &certs, &family);
}

#[test]
fn where_the_last_descriptor_is_gone_the_numbers_and_the_remedy_are_told() {
    require!(adit);
    let upstream = Server::echo();
    let lines = format!("client = yes\n{}", upstream.line());
    let plan = Plan::new();
    let control = format!("control = {}", plan.folder().join("control").display());
    let plan = plan.global(format!("workers = 1\nthreads = 1\n{control}"));
    let adit = plan.service("test", lines).start();
    let roles = proc::roles(adit.pid());
    let told = |phrase: &str, connections: &str| {
        let line = adit.wait_for_log(phrase);
        let numbers = format!("two for each connection; connections now: {connections};");
        for part in ["Too many open files (24) (", &numbers, "`ulimit -n`"] {
            let cut = part.starts_with("Too") && phrase.starts_with("Worker");
            assert!(cut || line.contains(part), "no {part:?} in {line}");
        }
    };
    let limit = proc::leave_no_descriptor(roles.master);
    let client = adit.connect("test");
    told("accept: ", "0");
    let kept = failure_of_adit(&adit, "memory").expect("it is kept");
    assert_eq!(kept["reason"], "accept: Too many open files (24)", "{kept}");
    proc::limit_descriptors(roles.master, &limit);
    drop(client);
    adit.wait_for_log("Service [test] finished (0 left)");
    // The worker has a descriptor for the client, and none for the server.
    let limit = proc::leave_descriptors(roles.workers[0], 1);
    drop(adit.connect("test"));
    told("remote socket: ", "1");
    proc::limit_descriptors(roles.workers[0], &limit);
    proc::leave_no_descriptor(roles.workers[0]);
    drop(adit.connect("test"));
    told(
        "Worker: a message between adit's processes was truncated",
        "0",
    );
}

/// What went wrong with adit itself, by its cause.
pub fn failure_of_adit(adit: &Adit, cause: &str) -> Option<serde_json::Value> {
    let status = adit.status();
    let mut failures = status["failures"].as_array()?.iter();
    failures.find(|one| one["cause"] == cause).cloned()
}

#[test]
fn a_full_log_disk_ends_nothing() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let address = own_loopback();
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let adit = plan
        .global(format!(
            "output = /dev/full\ncontrol = {}",
            control.display()
        ))
        .service(
            "test",
            format!(
                "accept = {address}:7005\n{}{}",
                upstream.line(),
                certs.server().lines()
            ),
        )
        .launch();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for _ in 0..3 {
        let stream = wait_for("its port", || TcpStream::connect((address, 7005)).ok());
        let stream = peers::with_deadline(stream);
        let mut client = tls::start_client(config.clone(), stream).expect("a handshake");
        peers::says_and_hears(&mut client, "hello");
    }
    if stand_in().is_none() {
        // The log cannot tell of it.
        wait_for("what the status tells", || {
            let lost = failure_of_adit(&adit, "log")?;
            (lost["reason"] == "the log file: No space left on device (28)").then_some(())
        });
    }
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn a_name_whose_first_address_refuses_is_tried_at_its_others() {
    require!(adit);
    let certs = Certs::new();
    // `localhost` is ::1 and 127.0.0.1, in an order that depends on the machine; only one of them
    // answers.
    let upstream = Server::echo();
    let adit = Adit::serve(format!(
        "connect = localhost:{}\n{}",
        upstream.address.port(),
        certs.server().lines()
    ));
    goes_on(&adit, &certs, &proc::family(adit.pid()));
    let dead = dead_address();
    let adit = Adit::serve(format!(
        "connect = localhost:{}\n{}",
        dead.address.port(),
        certs.server().lines()
    ));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    if let Ok(mut client) = tls::start_client(config, adit.connect("test")) {
        let _ = peers::read_until_gone(&mut client);
    }
    adit.wait_for_log("No more addresses to connect");
}

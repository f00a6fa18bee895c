//! `failover = leastconn`: the address with the fewest open connections comes first, whichever worker has them.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::require;
use crate::support::peers::Server;
use crate::support::{Adit, Plan, dead_address, proc, tls, wait_for};
use crate::support::{Certs, peers};

/// Each connection to this server hears the letter; then what it says.
fn lettered(letter: u8, certs: &Certs) -> Server {
    let config = tls::server_config(&certs.server(), tls::BOTH, None);
    tls::server(config, move |mut stream| {
        if stream.write_all(&[letter]).is_ok() {
            let _ = peers::echo(&mut stream);
        }
    })
}

/// A connection, and the letter of the server that it leads to.
fn dial(adit: &Adit) -> (TcpStream, char) {
    let mut client = adit.connect("test");
    let mut letter = [0];
    client.read_exact(&mut letter).expect("a letter");
    (client, letter[0].into())
}

#[test]
fn the_address_with_the_fewest_open_connections_comes_first() {
    require!(adit);
    let certs = Certs::new();
    let (dead, a, b) = (
        dead_address(),
        lettered(b'a', &certs),
        lettered(b'b', &certs),
    );
    let lines = format!(
        "client = yes\nfailover = leastconn\nconnect = {}\n{}{}",
        dead.address,
        a.line(),
        b.line()
    );
    let adit = Plan::new()
        .global("workers = 2\nthreads = 1")
        .service("test", lines)
        .start();
    let letters =
        |clients: &[(TcpStream, char)]| clients.iter().map(|(_, l)| *l).collect::<String>();
    let mut clients: Vec<_> = (0..5).map(|_| dial(&adit)).collect();
    // Ties go by their order, and what fails is not counted.
    assert_eq!(letters(&clients), "ababa");
    // Two of `a`'s end, and it has one less than `b` then.
    clients.retain({
        let mut seen = 0;
        move |(_, letter)| {
            seen += u32::from(*letter == 'a');
            *letter != 'a' || seen > 2
        }
    });
    adit.wait_for_log_times("finished", 2);
    clients.extend([dial(&adit), dial(&adit), dial(&adit)]);
    assert_eq!(letters(&clients), "bbaaab");
    // What a dead worker had open counts no more.
    let workers = proc::roles(adit.pid()).workers;
    for pid in &workers {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(*pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .expect("kill");
    }
    wait_for("other workers", || {
        let now = proc::roles(adit.pid()).workers;
        (now.len() == 2 && now.iter().all(|pid| !workers.contains(pid))).then_some(())
    });
    drop(clients);
    let again: Vec<_> = (0..3).map(|_| dial(&adit)).collect();
    assert_eq!(letters(&again), "aba");
}

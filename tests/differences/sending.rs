//! Clients that only send.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::sys::socket::{setsockopt, sockopt};

use crate::differences::{both, server_mode};
use crate::require;
use crate::support::Certs;
use crate::support::peers::Server;
use crate::support::tls::{self, ClientStream};

/// An upstream that reads as many bytes as it is told to, `None` is to the end, and says how many there were.
fn obedient(orders: Receiver<Option<usize>>, came: Sender<usize>) -> Server {
    let both = Mutex::new((orders, came));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    setsockopt(&listener, sockopt::RcvBuf, &8192).expect("a small buffer");
    Server::on(listener, move |mut stream: TcpStream| {
        let both = both.lock().expect("one client");
        for order in &both.0 {
            let mut words = vec![0; order.unwrap_or(0)];
            let count = match order {
                Some(count) => stream.read_exact(&mut words).map_or(0, |()| count),
                None => {
                    let _ = stream.read_to_end(&mut words);
                    words.len()
                }
            };
            let _ = both.1.send(count);
        }
    })
}

/// Sends records until no buffer on the way takes one more. Returns how many bytes went, and whether the last record
/// went only in part.
fn fill(client: &mut ClientStream) -> (usize, bool) {
    client.sock.set_nonblocking(true).expect("a socket");
    let record = [b'x'; 512];
    let mut sent = 0;
    loop {
        let whole = client.conn.writer().write(&record).expect("room");
        sent += whole;
        let mut begun = false;
        while client.conn.wants_write() {
            match client.conn.write_tls(&mut client.sock) {
                Ok(_) => begun = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.sock.set_nonblocking(false).expect("a socket");
                    return (if begun { sent } else { sent - whole }, begun);
                }
                Err(error) => panic!("sending: {error}"),
            }
        }
    }
}

/// As programs do that write to a log over TLS 1.3: they read nothing, not even tickets. A socket that is closed with
/// something unread resets the connection, and what is on its way is thrown away.
#[test]
fn a_client_that_only_sends_loses_nothing() {
    require_both!();
    let certs = Certs::new();
    let arrived = both(|path| {
        let (order, orders) = channel();
        let (come, came) = channel();
        let upstream = obedient(orders, come);
        let relay = server_mode(path, &certs, &upstream);
        let config = tls::client_config(&certs.ca(), tls::ONLY_13, None);
        let mut client = tls::connect(config, relay.address("test"));
        let read = |count| {
            order.send(count).expect("an upstream");
            came.recv().expect("an upstream")
        };
        // In this time tickets would have gone alone.
        for _ in 0..2000 {
            client.write_all(b"x").expect("sending");
            assert_eq!(read(Some(1)), 1);
        }
        let (sent, cut) = fill(&mut client);
        let mut arrived = 0;
        if cut {
            order.send(Some(sent / 2)).expect("an upstream");
            while client.conn.wants_write() {
                client.conn.write_tls(&mut client.sock).expect("sending");
            }
            arrived = came.recv().expect("an upstream");
        }
        drop(client);
        arrived += read(None);
        arrived == sent
    });
    assert_eq!(arrived, [false, true]);
}

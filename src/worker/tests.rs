//! A whole relay thread, plain at both ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::scope;
use std::time::Duration;

use crossbeam_channel::bounded;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, bind, getsockname, listen,
    socket,
};

use super::inlet::Inlet;
use super::reactor::ThreadContext;
use super::shared::Command;
use super::support::{
    self, Relay, TEST_TIMEOUT, ending, eventually, receive_pattern, reset, send_pattern,
};
use super::thread::spawn;
use crate::config::Failover;
use crate::ipc::channel::Channel;
use crate::ipc::handoff::{self, Connection, Entry, Handed};
use crate::relay::Upstream;

pub(super) mod encrypted;

const MANY: usize = 100 * 1024 * 1024;

fn is_reset(from: &TcpStream) -> bool {
    ending(from).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// An address without a listener.
fn dead() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn upstream(address: SocketAddr) -> Upstream {
    Upstream::Tcp(address, address.ip().to_string())
}

/// A listener whose queue is full, so that it never answers.
fn silent() -> (OwnedFd, Vec<TcpStream>, SocketAddr) {
    let flags = SockFlag::empty();
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&socket, Backlog::new(0).unwrap()).unwrap();
    let name = getsockname::<SockaddrIn>(socket.as_raw_fd()).unwrap();
    let address = SocketAddr::from((name.ip(), name.port()));
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
    }
    (socket, queued, address)
}

#[test]
fn a_hundred_megabytes_pass_each_way_unchanged_and_both_ends_close() {
    let mut relay = Relay::start(|_| {});
    let (client, server) = relay.pair();
    scope(|scope| {
        scope.spawn(|| send_pattern(&client, 1, MANY));
        scope.spawn(|| send_pattern(&server, 2, MANY));
        let back = scope.spawn(|| receive_pattern(&server, 1));
        assert_eq!(receive_pattern(&client, 2), MANY);
        assert_eq!(back.join().unwrap(), MANY);
    });
    eventually("the session is over", || relay.thread.load() == 0);
    let row = relay.scoreboard.service(0, 0);
    assert_eq!(row.bytes_to_back().load(Relaxed), MANY as u64);
    assert_eq!(row.bytes_to_front().load(Relaxed), MANY as u64);
    assert_eq!(row.accepted().load(Relaxed), 1);
    assert_eq!(row.active().load(Relaxed), 0);
    assert_eq!(relay.scoreboard.worker(0).active().load(Relaxed), 0);
    assert_eq!(relay.scoreboard.worker(0).claimed().load(Relaxed), 1);
}

#[test]
fn a_half_close_passes_and_the_other_direction_goes_on() {
    for client_first in [true, false] {
        let mut relay = Relay::start(|_| {});
        let (client, server) = relay.pair();
        let (first, second) = match client_first {
            true => (&client, &server),
            false => (&server, &client),
        };
        let (mut writer, mut reader) = (first, second);
        writer.write_all(b"question").unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        reader.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        reader.write_all(b"answer").unwrap();
        reader.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        writer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        eventually("the session is over", || relay.thread.load() == 0);
    }
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    for from_client in [true, false] {
        let mut relay = Relay::start(|_| {});
        let (client, server) = relay.pair();
        (&client).write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        let (gone, left) = match from_client {
            true => (client, server),
            false => (server, client),
        };
        reset(gone);
        assert!(is_reset(&left));
    }
}

#[test]
fn with_reset_no_a_reset_becomes_an_ordinary_end() {
    let mut relay = Relay::start(|service| service.config.reset = false);
    let (client, server) = relay.pair();
    (&client).write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    reset(client);
    assert_eq!(ending(&server).unwrap(), 0);
}

#[test]
fn an_idle_connection_is_reset_when_its_time_is_up() {
    let mut relay = Relay::start(|service| {
        service.config.timeouts.idle = Duration::from_millis(200);
    });
    let (client, server) = relay.pair();
    let start = std::time::Instant::now();
    assert!(is_reset(&client));
    assert!(is_reset(&server));
    assert!(start.elapsed() < TEST_TIMEOUT / 2);
}

#[test]
fn a_busy_connection_outlives_the_idle_time() {
    let mut relay = Relay::start(|service| {
        service.config.timeouts.idle = Duration::from_millis(400);
    });
    let (client, server) = relay.pair();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        (&client).write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
    }
    drop(client);
    assert_eq!(ending(&server).unwrap(), 0);
}

#[test]
fn a_half_closed_connection_waits_only_for_the_closing_time() {
    let mut relay = Relay::start(|service| {
        service.config.timeouts.close = Duration::from_millis(200);
    });
    let (client, server) = relay.pair();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&server).unwrap(), 0);
    assert_eq!(ending(&client).unwrap(), 0);
    eventually("the session is over", || relay.thread.load() == 0);
}

#[test]
fn a_dead_upstream_is_gone_past() {
    let mut relay = Relay::start(|service| {
        service.upstreams.insert(0, upstream(dead()));
    });
    let (client, server) = relay.pair();
    (&server).write_all(b"220 hello\r\n").unwrap();
    let mut greeting = [0; 11];
    (&client).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 hello\r\n");
    assert_eq!(
        relay
            .scoreboard
            .service(0, 0)
            .connect_failed()
            .load(Relaxed),
        0
    );
}

#[test]
fn a_silent_upstream_is_gone_past_after_the_connect_time() {
    let (_listener, _queued, address) = silent();
    let mut relay = Relay::start(|service| {
        service.config.timeouts.connect = Duration::from_millis(200);
        service.upstreams.insert(0, upstream(address));
    });
    let (client, server) = relay.pair();
    (&server).write_all(b"x").unwrap();
    (&client).read_exact(&mut [0]).unwrap();
}

#[test]
fn no_upstream_left_resets_the_client() {
    let mut relay = Relay::start(|service| {
        service.upstreams = vec![upstream(dead()), upstream(dead())];
    });
    let client = relay.client();
    assert!(is_reset(&client));
    let failed = relay.scoreboard.service(0, 0);
    eventually("it is counted", || {
        failed.connect_failed().load(Relaxed) == 1
    });
}

#[test]
fn round_robin_starts_at_the_next_upstream_each_time() {
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = second.local_addr().unwrap();
    let mut relay = Relay::start(|service| {
        service.config.failover = Failover::RoundRobin;
        service.upstreams.push(upstream(address));
    });
    for _ in 0..2 {
        let _first = relay.pair();
        let _client = relay.client();
        second.accept().unwrap();
    }
}

#[test]
fn addresses_are_taken_from_connect_when_nothing_was_resolved() {
    let mut relay = Relay::start(|service| service.upstreams.clear());
    let (client, server) = relay.pair();
    (&client).write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
}

#[test]
fn the_local_address_is_the_one_asked_for() {
    let mut relay = Relay::start(|service| service.local = Some([127, 0, 0, 9].into()));
    let (_client, server) = relay.pair();
    assert_eq!(server.peer_addr().unwrap().ip().to_string(), "127.0.0.9");
}

#[test]
fn a_client_that_vanishes_while_connecting_ends_its_session() {
    let (_listener, _queued, address) = silent();
    let mut relay = Relay::start(|service| {
        service.config.timeouts.connect = Duration::from_mins(10);
        service.upstreams = vec![upstream(address)];
    });
    let client = relay.client();
    let worker = relay.scoreboard.worker(0);
    eventually("it is claimed", || worker.active().load(Relaxed) == 1);
    reset(client);
    eventually("it is over", || worker.active().load(Relaxed) == 0);
}

#[test]
fn what_a_client_sends_before_the_upstream_is_there_is_not_lost() {
    let mut relay = Relay::start(|_| {});
    let mut client = relay.client();
    client.write_all(b"early").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut early = String::new();
    relay.server().read_to_string(&mut early).unwrap();
    assert_eq!(early, "early");
}

#[test]
fn a_unix_client_may_send_and_be_gone() {
    let mut relay = Relay::start(|_| {});
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"a line for the log").unwrap();
    drop(ours);
    relay.adopt(TcpStream::from(OwnedFd::from(theirs)));
    let mut line = String::new();
    relay.server().read_to_string(&mut line).unwrap();
    assert_eq!(line, "a line for the log");
}

#[test]
fn a_unix_upstream_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upstream");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut relay = Relay::start(|service| service.upstreams = vec![Upstream::Unix(path)]);
    let mut client = relay.client();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    drop(server);
    assert_eq!(ending(&client).unwrap(), 0);
}

#[test]
fn connections_are_listed_and_cut() {
    let mut relay = Relay::start(|_| {});
    let pairs: Vec<_> = (0..3).map(|_| relay.pair()).collect();
    let (reply, count) = bounded(1);
    relay.thread.command(Command::List(reply));
    assert_eq!(count.recv_timeout(TEST_TIMEOUT).unwrap(), 3);
    relay.thread.command(Command::Cut);
    for (client, server) in &pairs {
        assert!(is_reset(client));
        assert!(is_reset(server));
    }
    assert_eq!(relay.thread.load(), 0);
}

#[test]
fn a_draining_thread_ends_with_its_last_session() {
    let mut relay = Relay::start(|_| {});
    let (client, server) = relay.pair();
    relay.thread.command(Command::Drain);
    relay.hang_up();
    (&client).write_all(b"still served").unwrap();
    (&server).read_exact(&mut [0; 12]).unwrap();
    assert!(!relay.thread.is_finished());
    drop((client, server));
    relay.thread.join().unwrap();
}

#[test]
fn sockets_from_the_master_are_shared_between_threads_and_served_though_it_drains() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = || support::service(&[listener.local_addr().unwrap()]);
    let (sockets, receiver) = crossbeam_channel::unbounded();
    let (master, theirs) = Channel::pair().unwrap();
    let second = spawn(support::context(service()), receiver.clone()).unwrap();
    let inlet = Inlet::new(theirs, sockets, vec![second.shared()]);
    let context = ThreadContext {
        inlet: Some(inlet),
        ..support::context(service())
    };
    let first = spawn(context, receiver).unwrap();

    let mut message = vec![handoff::TAG];
    let (clients, sockets): (Vec<_>, Vec<_>) = (0..6).map(|_| support::accepted()).unzip();
    for n in 1..=6 {
        let entry = Entry {
            sequence: n,
            connection: Connection {
                number: n,
                service: 0,
                peer: None,
                warrant: None,
            },
        };
        handoff::encode(&entry, &mut message);
    }
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    master.send(&message, &sockets, MsgFlags::empty()).unwrap();
    let servers: Vec<_> = (0..6).map(|_| listener.accept().unwrap().0).collect();
    eventually("all are counted once", || first.load() + second.load() == 6);
    assert!(first.load() >= 2 && second.load() >= 2);

    master.send(&message, &sockets, MsgFlags::empty()).unwrap();
    for thread in [&first, &second] {
        thread.command(Command::Drain);
    }
    let late: Vec<_> = (0..6).map(|_| listener.accept().unwrap().0).collect();
    assert!(!first.is_finished() && !second.is_finished());
    drop((servers, late, clients));
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn a_thread_that_is_awake_for_another_reason_misses_no_socket() {
    // There is no listener, so each session ends as soon as it has begun.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = gone.local_addr().unwrap();
    drop(gone);
    let (sockets, receiver) = crossbeam_channel::unbounded();
    let (_master, theirs) = Channel::pair().unwrap();
    let context = support::context(support::service(&[closed]));
    let thread = spawn(context, receiver.clone()).unwrap();
    let inlet = Inlet::new(theirs, sockets, vec![thread.shared()]);
    let sent = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| {
            while !sent.load(Relaxed) {
                thread.wake_for(0);
            }
        });
        for n in 1..=6000 {
            let handed = Handed {
                socket: OwnedFd::from(UnixStream::pair().unwrap().0),
                sequence: n,
                connection: Connection {
                    number: n,
                    service: 0,
                    peer: None,
                    warrant: None,
                },
            };
            assert!(inlet.pass_on(handed, usize::MAX).is_none());
            // One at a time, so that the thread only looks into the channel, again and again.
            while thread.load() > 0 {
                std::thread::yield_now();
            }
        }
        sent.store(true, Relaxed);
    });
    assert!(receiver.is_empty(), "one is left on the channel");
}

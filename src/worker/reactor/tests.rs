//! The loop, driven turn by turn, so that its state in between can be checked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicUsize;

use crossbeam_channel::{Sender, unbounded};
use nix::poll::{PollFd, PollFlags, poll};

use super::*;
use crate::config::TlsVersion;
use crate::relay::poller::Poller;
use crate::worker::support::{TEST_TIMEOUT, accepted, context, handed, reset, service};
use crate::worker::tests::encrypted::{identity, load};

struct Bench {
    reactor: Reactor,
    events: Events,
    listener: TcpListener,
    sockets: Sender<Handed>,
    _commands: Sender<Command>,
    handed: u64,
}

impl Bench {
    fn new(adjust: impl FnOnce(&mut ServiceContext)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut service = service(&[listener.local_addr().unwrap()]);
        adjust(&mut service);
        let shared = Arc::new(Shared {
            poller: Arc::new(Poller::new().unwrap()),
            permits: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
        });
        let (sockets, receiver) = unbounded();
        let (commands, incoming) = unbounded();
        let reactor = Reactor::new(context(service), shared, receiver, incoming).unwrap();
        panics::keep_places();
        Self {
            reactor,
            events: Events::new(),
            listener,
            sockets,
            _commands: commands,
            handed: 0,
        }
    }

    fn turn(&mut self) {
        self.reactor.wait(&mut self.events, Some(Duration::ZERO));
        self.reactor.turn(&self.events);
    }

    /// Turns until `done` returns something, within a time limit.
    fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            self.turn();
            if let Some(value) = done(self) {
                return value;
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "it does not come to that");
        }
    }

    fn client(&mut self) -> TcpStream {
        let (client, theirs) = accepted();
        self.handed += 1;
        self.sockets.send(handed(theirs, self.handed)).unwrap();
        self.reactor.shared.permits.fetch_add(1, Relaxed);
        self.reactor.shared.poller.notify();
        client
    }

    fn pair(&mut self) -> (TcpStream, TcpStream) {
        let client = self.client();
        self.listener.set_nonblocking(true).unwrap();
        let server = self.until(|bench| bench.listener.accept().ok()).0;
        for socket in [&client, &server] {
            socket.set_nonblocking(true).unwrap();
        }
        (client, server)
    }

    /// Writes until, for many turns, nothing more is taken. Returns the number of bytes.
    fn fill(&mut self, mut into: &TcpStream) -> usize {
        let (mut sent, mut stuck) = (0, 0);
        while stuck < 1000 {
            match into.write(&[5; 65536]) {
                Ok(count) => (sent, stuck) = (sent + count, 0),
                Err(_) => stuck += 1,
            }
            self.turn();
            // The kernel's buffers grow to several megabytes.
            assert!(
                sent < 1 << 28,
                "all is taken, though the other end does not read"
            );
        }
        sent
    }

    fn exchange(&mut self, mut from: &TcpStream, mut to: &TcpStream) {
        from.write_all(b"ping").unwrap();
        self.until(|_| to.read(&mut [0; 16]).ok());
    }
}

#[test]
fn an_idle_session_owns_no_buffer() {
    let mut bench = Bench::new(|_| {});
    let (client, server) = bench.pair();
    for _ in 0..3 {
        bench.exchange(&client, &server);
        bench.exchange(&server, &client);
        assert_eq!(bench.reactor.resources.pool.lent(), 0);
    }
    // Under back-pressure it owns one bounded buffer, and returns it when that is over.
    let sent = bench.fill(&client);
    assert_eq!(bench.reactor.resources.pool.lent(), 1);
    let mut sink = vec![0; 1 << 20];
    let mut received = 0;
    bench.until(|_| {
        received += (&server).read(&mut sink).unwrap_or(0);
        (received == sent).then_some(())
    });
    bench.turn();
    assert_eq!(bench.reactor.resources.pool.lent(), 0);
}

#[test]
fn a_peer_that_is_told_and_stays_holds_no_buffer() {
    let folder = tempfile::tempdir().unwrap();
    for oldest in [None, Some(TlsVersion::V1_0)] {
        let mut bench = Bench::new(|service| {
            service.config.client = false;
            service.config.tls.version_min = oldest;
            service.config.tls.cert = Some(identity(folder.path()));
            load(service);
        });
        let mut client = bench.client();
        // The first half of a hello of 32 KiB, and a record of a type that there is not.
        let half = [&[22, 3, 1, 0x40, 0, 1, 0, 0x80, 0], &[3; 0x3ffc][..]].concat();
        client.write_all(&half).unwrap();
        bench.until(|bench| (bench.reactor.resources.pool.lent() > 0).then_some(()));
        client.write_all(&[0, 3, 1, 0, 1, 0]).unwrap();
        bench.until(|bench| (bench.reactor.resources.pool.lent() == 0).then_some(()));
        assert_eq!(bench.reactor.sessions.len(), 1, "it reads the alert still");
        let mut alert = [0; 7];
        client.read_exact(&mut alert).unwrap();
        assert_eq!(alert[0], 21);
        drop(client);
        bench.until(|bench| bench.reactor.sessions.is_empty().then_some(()));
    }
}

/// Whether a turn's bytes have arrived. On a busy machine the kernel may deliver them late, so this
/// allows a moment: turns are what is counted.
fn arrived(mut at: &TcpStream) -> bool {
    let mut ready = [PollFd::new(at.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, 500_u16).unwrap();
    at.read(&mut [0; 16]).is_ok()
}

#[test]
fn a_bulk_transfer_does_not_starve_an_echo() {
    let mut bench = Bench::new(|_| {});
    let (bulk_client, bulk_server) = bench.pair();
    let (echo_client, echo_server) = bench.pair();
    let (chunk, mut sink) = (vec![9; 1 << 20], vec![0; 1 << 20]);
    let mut carried = 0;
    for _ in 0..200 {
        (&echo_client).write_all(b"ping").unwrap();
        let mut turns = 0;
        loop {
            let _ = (&bulk_client).write(&chunk);
            carried += (&bulk_server).read(&mut sink).unwrap_or(0);
            bench.turn();
            turns += 1;
            if arrived(&echo_server) {
                break;
            }
            assert!(turns < 5, "the echo waits for the bulk");
        }
    }
    assert!(carried > 10 << 20, "the bulk goes on: {carried}");
}

/// The most a turn carries of one session each way, however much waits.
const TURN: usize = 256 * 1024;

/// Reads all that has arrived.
fn drain(mut from: &TcpStream, sink: &mut [u8]) -> usize {
    let mut count = 0;
    while let Ok(read @ 1..) = from.read(sink) {
        count += read;
    }
    count
}

#[test]
fn a_turn_carries_a_bounded_part_of_each_session_so_many_bulk_transfers_do_not_starve_an_echo() {
    let mut bench = Bench::new(|_| {});
    let bulk: Vec<_> = (0..8).map(|_| bench.pair()).collect();
    let (echo_client, echo_server) = bench.pair();
    let (chunk, mut sink) = (vec![9; 1 << 20], vec![0; 1 << 20]);
    let (mut turns, mut carried) = (0, vec![[0; 2]; bulk.len()]);
    for _ in 0..50 {
        (&echo_client).write_all(b"ping").unwrap();
        let begun = turns;
        loop {
            for (mut client, mut server) in bulk.iter().map(|(client, server)| (client, server)) {
                while client.write(&chunk).is_ok() {}
                while server.write(&chunk).is_ok() {}
            }
            bench.turn();
            turns += 1;
            for ((client, server), carried) in bulk.iter().zip(&mut carried) {
                for (end, carried) in [server, client].into_iter().zip(carried) {
                    *carried += drain(end, &mut sink);
                    // The kernel may deliver late what an earlier turn sent: only the sum counts.
                    assert!(
                        *carried <= turns * TURN,
                        "{carried} bytes in {turns} turn(s)"
                    );
                }
            }
            if arrived(&echo_server) {
                break;
            }
            assert!(turns - begun < 5, "the echo waits for the bulk");
        }
    }
    // They were busy, or a bound would prove nothing.
    let least = carried.iter().flatten().min().unwrap();
    assert!(*least > turns * TURN / 4, "{least} bytes in {turns} turns");
}

#[test]
fn a_reset_reaches_an_end_that_takes_no_more() {
    let mut bench = Bench::new(|_| {});
    let (client, server) = bench.pair();
    bench.fill(&client);
    reset(client);
    bench.until(|bench| bench.reactor.sessions.is_empty().then_some(()));
    let mut sink = vec![0; 1 << 20];
    let error = loop {
        match (&server).read(&mut sink) {
            Ok(count) => assert!(count > 0, "an orderly end of what was cut short"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(bench.reactor.resources.pool.lent(), 0);
}

#[test]
fn activity_costs_no_timer_operation() {
    let mut bench = Bench::new(|_| {});
    let (client, server) = bench.pair();
    bench.exchange(&client, &server);
    let armed = bench.reactor.timers.next();
    for _ in 0..100 {
        bench.exchange(&client, &server);
    }
    assert_eq!(bench.reactor.timers.next(), armed);
    assert_eq!(bench.reactor.timers.len(), 1);
    drop((client, server));
    bench.until(|bench| bench.reactor.sessions.is_empty().then_some(()));
    assert!(bench.reactor.timers.is_empty());
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..1000 {
        let (client, server) = bench.pair();
        bench.exchange(&client, &server);
    }
    bench.until(|bench| bench.reactor.sessions.is_empty().then_some(()));
    assert!(bench.reactor.resources.closing.is_empty());
    assert!(bench.reactor.timers.is_empty());
    assert_eq!(bench.reactor.resources.pool.lent(), 0);
    assert_eq!(bench.reactor.shared.active.load(Relaxed), 0);
    // The kernel's list of registered descriptors: only the waker is left.
    let poller = bench.reactor.shared.poller.as_fd().as_raw_fd();
    let watched = std::fs::read_to_string(format!("/proc/self/fdinfo/{poller}")).unwrap();
    let watched = watched.lines().filter(|line| line.starts_with("tfd:"));
    assert_eq!(watched.count(), 1);
}

#[test]
fn an_event_of_a_session_that_is_gone_reaches_no_other() {
    let mut bench = Bench::new(|_| {});
    let (client, server) = bench.pair();
    let old = bench.reactor.sessions.iter().next().unwrap().0;
    drop(client);
    drop(server);
    bench.until(|bench| bench.reactor.sessions.is_empty().then_some(()));
    let (client, server) = bench.pair();
    assert!(bench.reactor.sessions.get_mut(old).is_none());
    bench.reactor.step(old);
    bench.exchange(&client, &server);
}

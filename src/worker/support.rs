//! Shared by the tests of relay threads: plain services, sockets, byte patterns.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use nix::sys::socket::{setsockopt, sockopt};

use super::reactor::ThreadContext;
use super::thread::{ThreadHandle, spawn};
use crate::config::{Endpoint, Service, Timeouts};
use crate::ipc::handoff::{Connection, Handed};
use crate::ipc::scoreboard::Scoreboard;
use crate::relay::{Route, ServiceContext, Upstream};

/// Longer than anything here takes, also on a busy machine.
pub(super) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A service that is plain at both ends.
pub(super) fn service(upstreams: &[SocketAddr]) -> ServiceContext {
    let seconds = Duration::from_secs;
    let connect = upstreams.iter().map(|address| Endpoint::Tcp {
        host: Some(address.ip().to_string()),
        port: address.port(),
    });
    let resolved = upstreams
        .iter()
        .map(|address| Upstream::Tcp(*address, address.ip().to_string()));
    ServiceContext {
        upstreams: resolved.collect(),
        front: None,
        back: None,
        hosts: None,
        redirects: Vec::new(),
        route: Route::over(None, false, None),
        local: None,
        ports: None,
        config: Service {
            name: "plain".to_owned(),
            connect: connect.collect(),
            client: true,
            timeouts: Timeouts {
                busy: seconds(300),
                close: seconds(60),
                handshake: None,
                connect: seconds(10),
                idle: seconds(43200),
                ocsp: seconds(5),
            },
            ..Service::blank()
        },
    }
}

/// A context for a thread that serves this one service.
pub(super) fn context(service: ServiceContext) -> ThreadContext {
    ThreadContext {
        services: Arc::from([service]),
        scoreboard: Scoreboard::new(1, 1).unwrap(),
        worker: 0,
        master: None,
        helpers: Vec::new(),
        inlet: None,
        handshake_memory: usize::MAX,
    }
}

/// The two ends of a TCP connection: ours, and the one to hand over.
pub(super) fn accepted() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    ours.set_write_timeout(Some(TEST_TIMEOUT)).unwrap();
    (ours, theirs)
}

/// A socket as the master would hand it over.
pub(super) fn handed(socket: TcpStream, number: u64) -> Handed {
    Handed {
        sequence: number,
        connection: Connection {
            number,
            service: 0,
            peer: socket.peer_addr().ok(),
            warrant: None,
        },
        socket: OwnedFd::from(socket),
    }
}

/// A relay thread, and an upstream for it.
pub(super) struct Relay {
    pub listener: TcpListener,
    pub scoreboard: Scoreboard,
    pub thread: ThreadHandle,
    sockets: Option<Sender<Handed>>,
    handed: u64,
}

impl Relay {
    /// Starts it; `adjust` changes the service first.
    pub(super) fn start(adjust: impl FnOnce(&mut ServiceContext)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut service = service(&[listener.local_addr().unwrap()]);
        adjust(&mut service);
        let context = context(service);
        let scoreboard = context.scoreboard.clone();
        let (sockets, receiver) = unbounded();
        Self {
            listener,
            scoreboard,
            thread: spawn(context, receiver).unwrap(),
            sockets: Some(sockets),
            handed: 0,
        }
    }

    /// Connects a client.
    pub(super) fn client(&mut self) -> TcpStream {
        let (ours, theirs) = accepted();
        self.adopt(theirs);
        ours
    }

    /// Hands over a socket accepted elsewhere.
    pub(super) fn adopt(&mut self, theirs: TcpStream) {
        theirs.set_nonblocking(true).unwrap();
        self.handed += 1;
        let sockets = self.sockets.as_ref().unwrap();
        sockets.send(handed(theirs, self.handed)).unwrap();
        self.thread.wake_for(1);
    }

    /// Accepts a connection from the relay.
    pub(super) fn server(&self) -> TcpStream {
        let (server, _) = self.listener.accept().unwrap();
        server.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        server.set_write_timeout(Some(TEST_TIMEOUT)).unwrap();
        server
    }

    /// A client and its server.
    pub(super) fn pair(&mut self) -> (TcpStream, TcpStream) {
        let client = self.client();
        (client, self.server())
    }

    /// Closes the channel of sockets.
    pub(super) fn hang_up(&mut self) {
        self.sockets = None;
    }
}

/// Waits until `condition` holds; there is nothing else that tells.
pub(super) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TEST_TIMEOUT, "still not so: {what}");
        std::thread::yield_now();
    }
}

/// A pattern whose period is no multiple of any buffer's size.
pub(super) fn pattern(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    next.take(65_521 * 3).collect()
}

/// Writes `count` bytes of the repeated pattern, and a FIN.
pub(super) fn send_pattern(mut to: &TcpStream, seed: u32, count: usize) {
    let pattern = pattern(seed);
    let mut left = count;
    while left > 0 {
        let chunk = left.min(pattern.len());
        to.write_all(&pattern[..chunk]).unwrap();
        left -= chunk;
    }
    to.shutdown(std::net::Shutdown::Write).unwrap();
}

/// Reads until EOF and checks every byte against the pattern. Returns how many there were.
pub(super) fn receive_pattern(mut from: &TcpStream, seed: u32) -> usize {
    let pattern = pattern(seed);
    let (mut total, mut buffer) = (0, vec![0; 100_000]);
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            return total;
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let at = total % pattern.len();
            let piece = rest.len().min(pattern.len() - at);
            assert!(
                rest[..piece] == pattern[at..at + piece],
                "differs behind byte {total}"
            );
            total += piece;
            rest = &rest[piece..];
        }
    }
}

/// Closes a socket by an RST.
pub(super) fn reset(socket: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&socket, sockopt::Linger, &linger).unwrap();
}

/// The result of a read after which only the end remains.
pub(super) fn ending(mut from: &TcpStream) -> io::Result<usize> {
    from.read(&mut [0; 64])
}

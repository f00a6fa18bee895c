//! Plain peers of the relay: upstream servers and clients, each with a deadline.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket as sys;

use super::DEADLINE;

/// Sets a deadline for reading and writing, so that a hanging test fails.
pub fn with_deadline(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

/// Connects, with deadlines for what follows. Not with `connect_timeout`, which reports a reset right
/// after the connection as a failure to connect.
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    with_deadline(TcpStream::connect(address).expect("connecting"))
}

/// Connects from an address of loopback's that is not its first, with deadlines as [`connect`].
#[track_caller]
pub fn connect_from(source: Ipv4Addr, address: SocketAddrV4) -> TcpStream {
    let flags = sys::SockFlag::SOCK_CLOEXEC;
    let socket = sys::socket(sys::AddressFamily::Inet, sys::SockType::Stream, flags, None)
        .expect("a socket");
    let source = sys::SockaddrIn::from(SocketAddrV4::new(source, 0));
    sys::bind(socket.as_raw_fd(), &source).expect("its address");
    sys::connect(socket.as_raw_fd(), &sys::SockaddrIn::from(address)).expect("connecting");
    with_deadline(TcpStream::from(socket))
}

/// A server that passes each connection to a function in a thread of its own.
pub struct Server {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it on a port that the kernel chooses.
    pub fn start(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        Server::on(
            TcpListener::bind("127.0.0.1:0").expect("a free port"),
            handler,
        )
    }

    /// Starts it on this listener.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().expect("its address");
        let count = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, stopper) = (count.clone(), stop.clone());
        let handler = Arc::new(handler);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopper.load(Ordering::SeqCst) {
                    return;
                }
                let stream = with_deadline(stream.expect("accepting"));
                counter.fetch_add(1, Ordering::SeqCst);
                let handler = handler.clone();
                std::thread::spawn(move || handler(stream));
            }
        });
        Server {
            address,
            count,
            stop,
            acceptor: Some(acceptor),
        }
    }

    /// Sends back what it receives; answers the end with its own.
    pub fn echo() -> Server {
        Server::start(|mut stream| {
            let _ = echo(&mut stream);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        })
    }

    /// Sends one line to every client, then closes.
    pub fn greeting(line: &'static str) -> Server {
        Server::start(move |mut stream| {
            let _ = stream.write_all(line.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        })
    }

    /// Accepts, and neither sends nor reads a byte until the other side closes.
    pub fn silent() -> Server {
        Server::start(|stream| {
            let mut byte = [0];
            while stream.peek(&mut byte).is_ok_and(|n| n > 0) {
                std::thread::park_timeout(DEADLINE);
            }
        })
    }

    /// How many connections it accepted.
    pub fn connections(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// `connect = …`
    pub fn line(&self) -> String {
        format!("connect = {}\n", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A listener with a full backlog: connections to it are neither answered nor refused.
pub struct FullBacklog {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _held: Vec<TcpStream>,
}

/// Makes one; it lasts as long as the value.
pub fn full_backlog() -> FullBacklog {
    let flags = sys::SockFlag::SOCK_CLOEXEC;
    let listener = sys::socket(sys::AddressFamily::Inet, sys::SockType::Stream, flags, None)
        .expect("a socket");
    sys::bind(listener.as_raw_fd(), &sys::SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind");
    sys::listen(&listener, sys::Backlog::new(0).expect("a backlog")).expect("listen");
    let name: sys::SockaddrIn = sys::getsockname(listener.as_raw_fd()).expect("its name");
    let address = (name.ip(), name.port()).into();
    let mut held = Vec::new();
    // Until one is not answered any more.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(stream);
        assert!(held.len() < 64, "the backlog does not fill");
    }
    FullBacklog {
        address,
        _listener: listener,
        _held: held,
    }
}

/// Sends back what arrives, until its end.
pub fn echo(stream: &mut (impl Read + Write)) -> std::io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(total);
        }
        stream.write_all(&buffer[..n])?;
        stream.flush()?;
        total += n as u64;
    }
}

/// Sends this and reads as much back; fails unless it is the same.
#[track_caller]
pub fn says_and_hears(stream: &mut (impl Read + Write), text: &str) {
    stream.write_all(text.as_bytes()).expect("sending");
    stream.flush().expect("sending");
    let mut answer = vec![0; text.len()];
    if let Err(error) = stream.read_exact(&mut answer) {
        panic!("sent {text:?}, and then: {error}");
    }
    assert_eq!(String::from_utf8_lossy(&answer), text);
}

/// Reads to a clean end of the stream.
#[track_caller]
pub fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a clean end");
    bytes
}

/// Reads until the other side closes or resets, and returns which: `Ok` for a clean end. Fails if
/// neither happens.
#[track_caller]
pub fn read_until_gone(stream: &mut impl Read) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            use std::io::ErrorKind::{TimedOut, WouldBlock};
            assert!(
                !matches!(error.kind(), TimedOut | WouldBlock),
                "the other side does not go; it said {:?}",
                String::from_utf8_lossy(&bytes)
            );
            Err(error)
        }
    }
}

/// Bytes that depend on their position: no two stretches are alike.
pub fn pattern(offset: u64, buffer: &mut [u8]) {
    for (index, chunk) in buffer.chunks_mut(8).enumerate() {
        let word = (offset / 8 + index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// Sends `total` bytes of the pattern; a multiple of 64 KiB.
pub fn send_pattern(stream: &mut impl Write, total: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut sent = 0;
    while sent < total {
        pattern(sent, &mut buffer);
        stream.write_all(&buffer)?;
        sent += buffer.len() as u64;
    }
    stream.flush()
}

/// Reads `total` bytes of the pattern; fails at the first difference.
#[track_caller]
pub fn expect_pattern(stream: &mut impl Read, total: u64) {
    let mut expected = vec![0; 64 << 10];
    let mut buffer = vec![0; 64 << 10];
    let mut seen = 0;
    while seen < total {
        if let Err(error) = stream.read_exact(&mut buffer) {
            panic!("after {seen} of {total} bytes: {error}");
        }
        pattern(seen, &mut expected);
        assert!(
            buffer == expected,
            "other bytes than were sent, between {seen} and 64 KiB on"
        );
        seen += buffer.len() as u64;
    }
}

/// Ends a connection with an RST.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)
        .expect("SO_LINGER");
}

/// Reads a greeting; fails unless it begins like this.
#[track_caller]
pub fn says_and_hears_nothing_but(stream: &mut impl Read, start: &str) {
    let mut greeting = vec![0; start.len()];
    stream.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(String::from_utf8_lossy(&greeting), start);
}

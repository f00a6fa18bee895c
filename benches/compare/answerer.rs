//! The server of `--first-byte`: in plain or TLS, with Nagle's algorithm or without; it answers a
//! request, or speaks first.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::wire::IO_TIMEOUT;

/// A request, which a web server understands too. It is its own answer here, and the greeting.
pub const MESSAGE: &[u8; 64] =
    b"GET /mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm HTTP/1.0\r\n\r\n";

/// How it treats new connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Its sockets have Nagle's algorithm on.
    pub nagle: bool,
    /// It speaks first.
    pub greets: bool,
    /// It hears the client's last flight so much later, with what was sent right behind it: as over a
    /// network, and not as on loopback, where it answers the one before the other is sent.
    pub distance: Duration,
}

/// Handshakes that it has made.
#[derive(Debug, Default)]
struct Shakes {
    all: AtomicU64,
    resumed: AtomicU64,
}

/// A listening server; it stops accepting when this is dropped.
#[derive(Debug)]
pub struct Answerer {
    port: u16,
    manner: Arc<Mutex<Manner>>,
    shakes: Arc<Shakes>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Listens on a port of loopback.
    ///
    /// # Errors
    /// No port or no thread.
    pub fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Answerer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let manner = Arc::<Mutex<Manner>>::default();
        let (shakes, stopping) = (
            Arc::new(Shakes::default()),
            Arc::new(AtomicBool::new(false)),
        );
        Ok(Answerer {
            port: listener.local_addr()?.port(),
            manner: manner.clone(),
            shakes: shakes.clone(),
            stopping: stopping.clone(),
            acceptor: Some(thread::Builder::new().spawn(move || {
                for socket in listener.incoming().flatten() {
                    if stopping.load(Ordering::Acquire) {
                        return;
                    }
                    let (tls, shakes) = (tls.clone(), shakes.clone());
                    let manner = *manner.lock().unwrap_or_else(PoisonError::into_inner);
                    // What fails here, the client tells: it has no answer.
                    thread::spawn(move || serve(socket, tls.as_ref(), manner, &shakes));
                }
            })?),
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it treats connections from now on.
    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Handshakes since this was asked last: all of them, and those that resumed a session.
    pub fn take_shakes(&self) -> (u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::AcqRel);
        (take(&self.shakes.all), take(&self.shakes.resumed))
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the acceptor.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

fn serve(
    mut socket: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    manner: Manner,
    shakes: &Shakes,
) -> io::Result<()> {
    socket.set_nodelay(!manner.nagle)?;
    socket.set_read_timeout(Some(IO_TIMEOUT))?;
    let Some(config) = tls else {
        return talk(&mut socket, manner);
    };
    let mut conn = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    // The client's hello and the answer to it.
    conn.read_tls(&mut socket)?;
    conn.process_new_packets().map_err(io::Error::other)?;
    while conn.wants_write() {
        conn.write_tls(&mut socket)?;
    }
    if !manner.distance.is_zero() {
        thread::sleep(manner.distance);
    }
    // Tickets are written before any payload, as OpenSSL's servers do it.
    while conn.is_handshaking() || conn.wants_write() {
        conn.complete_io(&mut socket)?;
    }
    shakes.all.fetch_add(1, Ordering::AcqRel);
    if conn.handshake_kind() == Some(HandshakeKind::Resumed) {
        shakes.resumed.fetch_add(1, Ordering::AcqRel);
    }
    talk(&mut StreamOwned::new(conn, socket), manner)
}

fn talk(stream: &mut (impl Read + Write), manner: Manner) -> io::Result<()> {
    let mut message = *MESSAGE;
    if !manner.greets {
        stream.read_exact(&mut message)?;
    }
    stream.write_all(&message)?;
    while stream.read(&mut message)? > 0 {}
    Ok(())
}

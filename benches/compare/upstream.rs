//! The server behind a proxy, plain or TLS, and the little protocol it speaks: a command is a
//! letter and a length of eight bytes, one after the other until the client closes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use rustls::ServerConfig;

use super::wire::{Ledger, Wire, is_an_end};

/// A connection's thread: a thousand of them stand idle at once.
const STACK: usize = 256 * 1024;
/// Bytes per read and write.
const CHUNK: usize = 64 * 1024;

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// That many bytes back, as they come.
    Echo(u64),
    /// That many bytes of the pattern.
    Send(u64),
    /// To take that many bytes of the pattern, check them, and say so with one byte.
    Take(u64),
}

impl Request {
    /// Asks for it.
    pub fn write(self, wire: &mut Wire) -> io::Result<()> {
        wire.write_all(&self.bytes())
    }

    /// What asks for it.
    pub fn bytes(self) -> [u8; 9] {
        let (letter, length) = match self {
            Request::Echo(length) => (b'E', length),
            Request::Send(length) => (b'S', length),
            Request::Take(length) => (b'T', length),
        };
        let mut bytes = [letter; 9];
        bytes[1..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// The next one, `None` where the client has closed.
    fn read(wire: &mut Wire) -> io::Result<Option<Request>> {
        let mut bytes = [0; 9];
        if wire.read(&mut bytes[..1])? == 0 {
            return Ok(None);
        }
        let [letter, length @ ..] = &mut bytes;
        wire.read_exact(length)?;
        let length = u64::from_be_bytes(*length);
        match letter {
            b'E' => Ok(Some(Request::Echo(length))),
            b'S' => Ok(Some(Request::Send(length))),
            b'T' => Ok(Some(Request::Take(length))),
            _ => Err(io::Error::other("not a request: the proxy changed it")),
        }
    }
}

/// What bulk is made of: a block without a short period, over and over.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut state: u32 = 0x9e37_79b9;
        let next = |_| {
            // Numerical Recipes' generator: nothing depends on its quality.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..CHUNK).map(next).collect()
    })
}

/// Writes `length` bytes of the pattern.
pub fn send_pattern(wire: &mut Wire, length: u64) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let part = left.min(CHUNK as u64);
        wire.write_all(&pattern()[..part as usize])?;
        left -= part;
    }
    wire.flush()
}

/// Reads `length` bytes and compares each with the pattern's.
pub fn take_pattern(wire: &mut Wire, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = length;
    let mut place = 0;
    while left > 0 {
        let part = left.min((CHUNK - place) as u64) as usize;
        let read = wire.read(&mut buffer[..part])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer[..read] != pattern()[place..place + read] {
            return Err(io::Error::other("the proxy changed a byte"));
        }
        left -= read as u64;
        place = (place + read) % CHUNK;
    }
    Ok(())
}

/// A listening upstream; it stops accepting when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    port: u16,
    stopping: Arc<AtomicBool>,
    trouble: Trouble,
    acceptor: Option<JoinHandle<()>>,
}

/// The last thing that went wrong on a connection.
type Trouble = Arc<Mutex<Option<String>>>;

impl Upstream {
    /// Listens on a port of loopback; what TLS clients negotiate goes into `ledger`.
    pub fn start(tls: Option<Arc<ServerConfig>>, ledger: Ledger) -> io::Result<Upstream> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let stopping = Arc::new(AtomicBool::new(false));
        let trouble = Trouble::default();
        let acceptor = thread::Builder::new().name("upstream".to_owned()).spawn({
            let (stopping, trouble) = (stopping.clone(), trouble.clone());
            move || accept(&listener, &stopping, tls.as_ref(), &ledger, &trouble)
        })?;
        Ok(Upstream {
            port,
            stopping,
            trouble,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What went wrong here last: the other half of a client's complaint.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).take()
    }
}

impl Drop for Upstream {
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

fn lock(trouble: &Trouble) -> std::sync::MutexGuard<'_, Option<String>> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(
    listener: &TcpListener,
    stopping: &AtomicBool,
    tls: Option<&Arc<ServerConfig>>,
    ledger: &Ledger,
    trouble: &Trouble,
) {
    for socket in listener.incoming() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let (tls, ledger) = (tls.cloned(), ledger.clone());
        let told = trouble.clone();
        let serve = move |socket| {
            let mut wire = Wire::accept(socket, tls.as_ref(), &ledger);
            let served = wire.as_mut().map_err(|error| error.to_string());
            let served = served.and_then(|wire| serve(wire).map_err(|error| error.to_string()));
            // Told before the wire is closed, so that whoever sees that can ask why.
            if let Err(error) = served {
                *lock(&told) = Some(error);
            }
        };
        let started = socket.and_then(|socket| {
            let thread = thread::Builder::new().stack_size(STACK);
            thread.spawn(move || serve(socket))
        });
        if let Err(error) = started {
            *lock(trouble) = Some(error.to_string());
        }
    }
}

fn serve(wire: &mut Wire) -> io::Result<()> {
    loop {
        match Request::read(wire) {
            Ok(Some(request)) => answer(wire, request)?,
            Ok(None) => return wire.finish(),
            Err(error) if is_an_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn answer(wire: &mut Wire, request: Request) -> io::Result<()> {
    match request {
        Request::Send(length) => send_pattern(wire, length),
        Request::Take(length) => {
            take_pattern(wire, length)?;
            wire.write_all(b"K")
        }
        Request::Echo(length) => {
            let mut buffer = [0; 4096];
            let mut left = length;
            while left > 0 {
                let part = left.min(buffer.len() as u64) as usize;
                let read = wire.read(&mut buffer[..part])?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                wire.write_all(&buffer[..read])?;
                left -= read as u64;
            }
            Ok(())
        }
    }
}

//! One connection to a host, and one question over it, all before a deadline: it blocks its thread. Only getaddrinfo may
//! hold it longer. Never in here: what is said over it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::helper::resolver::{self, ResolveError, Want};
use crate::http::MAX_HEARD;
use crate::log::Reason;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Unreached {
    Name(ResolveError),
    Late,
    /// The last address that was tried.
    Address(SocketAddr, io::Error),
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreached::Name(error) => error.fmt(f),
            Unreached::Late => f.write_str("no answer in time"),
            Unreached::Address(address, error) => {
                write!(f, "connect {address}: {}", Reason(error))
            }
        }
    }
}

/// A connection each of whose reads and writes ends at the deadline, with `TimedOut` or `WouldBlock`.
#[derive(Debug)]
pub(crate) struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

/// Connects to the first address that answers.
///
/// # Errors
/// See [`Unreached`].
pub(crate) fn dial(host: &str, port: u16, deadline: Instant) -> Result<Timed, Unreached> {
    let addresses = match resolver::literal(host) {
        Some(ip) => vec![SocketAddr::new(ip, port)],
        None => {
            let found = resolver::lookup(host, Want::Any).map_err(Unreached::Name)?;
            found
                .iter()
                .map(|one| resolver::with_port(one, port))
                .collect()
        }
    };
    let mut failure = Unreached::Late;
    let count = addresses.len() as u32;
    for (nth, address) in (0..).zip(addresses) {
        let left = left(deadline).map_err(|_| Unreached::Late)?;
        // A silent address leaves time for the others.
        match TcpStream::connect_timeout(&address, left / (count - nth)) {
            Ok(stream) => return Ok(Timed { stream, deadline }),
            Err(error) => failure = Unreached::Address(address, error),
        }
    }
    Err(failure)
}

/// Sends the request, and reads until `read` has what it wants; it is told whether nothing more will come.
///
/// # Errors
/// The connection's, in the words of `said`; those of `read`.
pub(crate) fn converse<T>(
    mut stream: impl Read + Write,
    request: &[u8],
    read: impl Fn(&[u8], bool) -> Result<Option<T>, String>,
    said: impl Fn(&io::Error) -> String,
) -> Result<T, String> {
    let told = |error: io::Error| said(&error);
    stream.write_all(request).map_err(told)?;
    stream.flush().map_err(told)?;
    // What a token server answers is secret; room for most of it, since what grows leaves copies behind.
    let mut heard = Zeroizing::new(Vec::with_capacity(16 << 10));
    let mut buffer = Zeroizing::new([0; 8192]);
    loop {
        let count = match stream.read(buffer.as_mut_slice()) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(told(error)),
        };
        heard.extend_from_slice(&buffer[..count]);
        if let Some(answer) = read(&heard, count == 0)? {
            return Ok(answer);
        }
        if heard.len() > MAX_HEARD {
            return Err("the answer has no end".into());
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What is left of the time.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// Whether it means that the deadline has passed: a socket's timeout reads as EAGAIN.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

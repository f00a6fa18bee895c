//! A new connection, from connect(2) to the first byte that the other side says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use super::answerer::MESSAGE;
use super::pki::HOST;
use super::wire::IO_TIMEOUT;

/// Bytes of a TLS record's header.
const HEADER: usize = 5;

/// How connections are opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Where to.
    pub address: SocketAddr,
    /// The client's TLS, with its sessions; plain without.
    pub tls: Option<Arc<ClientConfig>>,
    /// The client's socket has Nagle's algorithm on.
    pub nagle: bool,
    /// ChangeCipherSpec, Finished and the request are written one by one.
    pub pieces: bool,
    /// The server speaks first, and the client says nothing.
    pub greeted: bool,
}

impl Opening {
    /// Opens one and closes it. The time to the first byte, and whether a session was resumed.
    ///
    /// # Errors
    /// No connection, no handshake, or no answer.
    pub fn once(&self) -> io::Result<(Duration, bool)> {
        let start = Instant::now();
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(!self.nagle)?;
        socket.set_read_timeout(Some(IO_TIMEOUT))?;
        match &self.tls {
            None => self.plain(socket, start).map(|time| (time, false)),
            Some(config) => self.encrypted(config, socket, start),
        }
    }

    fn plain(&self, mut socket: TcpStream, start: Instant) -> io::Result<Duration> {
        if !self.greeted {
            socket.write_all(MESSAGE)?;
        }
        let time = hear(&mut socket, start)?;
        // The other side may have ended it already, by any means: that is not what is measured.
        let _ = socket.shutdown(Shutdown::Write);
        until_over(&mut socket);
        Ok(time)
    }

    fn encrypted(
        &self,
        config: &Arc<ClientConfig>,
        socket: TcpStream,
        start: Instant,
    ) -> io::Result<(Duration, bool)> {
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, socket);
        while stream.conn.is_handshaking() {
            self.write(&mut stream)?;
            // What the handshake still has to say is said when it is over.
            if stream.conn.is_handshaking() {
                if stream.conn.read_tls(&mut stream.sock)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                stream
                    .conn
                    .process_new_packets()
                    .map_err(io::Error::other)?;
            }
        }
        self.write(&mut stream)?;
        if !self.greeted {
            stream.conn.writer().write_all(MESSAGE)?;
            self.write(&mut stream)?;
        }
        let time = hear(&mut stream, start)?;
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        stream.conn.send_close_notify();
        let _ = self.write(&mut stream);
        let _ = stream.sock.shutdown(Shutdown::Write);
        until_over(&mut stream);
        Ok((time, resumed))
    }

    /// Writes what TLS has to say: all of it by one write, or by one for each record.
    fn write(&self, stream: &mut StreamOwned<ClientConnection, TcpStream>) -> io::Result<()> {
        let mut bytes = Vec::new();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut bytes)?;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let count = match (self.pieces, rest) {
                (true, [_, _, _, high, low, ..]) => {
                    HEADER + usize::from(u16::from_be_bytes([*high, *low]))
                }
                _ => rest.len(),
            };
            let (now, later) = rest.split_at(count.min(rest.len()));
            stream.sock.write_all(now)?;
            rest = later;
        }
        Ok(())
    }
}

/// Waits for the first byte.
fn hear(stream: &mut impl Read, start: Instant) -> io::Result<Duration> {
    match stream.read(&mut [0])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(start.elapsed()),
    }
}

/// Waits for the other side's end, so that nothing of this connection is left when the next begins.
fn until_over(stream: &mut impl Read) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

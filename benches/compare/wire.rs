//! The load generator's own connections: plain, or TLS by rustls' blocking API. Its cost is not
//! what is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, CommonState, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::peers::is_aes_hidden;
use super::pki::{HOST, Identity, Pki};
use super::rows::{Row, Version};

/// Nothing that is waited for takes longer.
pub const IO_TIMEOUT: Duration = Duration::from_mins(1);

/// What an end found to have been agreed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Negotiated {
    /// A session was resumed.
    pub resumed: bool,
    /// Version, suite, group, and a second ClientHello if there was one.
    pub parameters: String,
}

impl fmt::Display for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.resumed { "resumed" } else { "full" };
        write!(f, "{} {kind}", self.parameters)
    }
}

impl Negotiated {
    /// What a connection agreed on.
    pub fn of(tls: &CommonState) -> Negotiated {
        let version = tls
            .protocol_version()
            .map_or("?", |v| v.as_str().unwrap_or("?"));
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        let suite = suite.and_then(|suite| suite.as_str()).unwrap_or("?");
        let mut parameters = format!("{} {suite}", version.replace('_', "."));
        // TLS 1.2 exchanges no key to resume.
        if let Some(group) = tls.negotiated_key_exchange_group() {
            parameters += &format!(" {:?}", group.name());
        }
        let kind = tls.handshake_kind();
        if kind == Some(HandshakeKind::FullWithHelloRetryRequest) {
            parameters += " after a HelloRetryRequest";
        }
        Negotiated {
            resumed: kind == Some(HandshakeKind::Resumed),
            parameters,
        }
    }
}

/// Counts what was negotiated.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<Negotiated, u64>>>);

impl Ledger {
    fn add(&self, tls: &CommonState) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(Negotiated::of(tls)).or_default() += 1;
    }

    /// What was counted since the last time.
    pub fn take(&self) -> BTreeMap<Negotiated, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection.
#[derive(Debug)]
pub enum Wire {
    /// Without TLS.
    Plain(TcpStream),
    /// To a TLS server.
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// From a TLS client.
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(IO_TIMEOUT))?;
    socket.set_write_timeout(Some(IO_TIMEOUT))
}

impl Wire {
    /// Connects, and shakes hands if there is a TLS configuration.
    pub fn connect(
        to: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        ledger: &Ledger,
    ) -> io::Result<Wire> {
        Wire::saying(&[], to, tls, ledger)
    }

    /// As [`Wire::connect`], with `first` said as soon as may be: where the client ends the
    /// handshake, together with that, so that both are one thing to the other side.
    pub fn saying(
        first: &[u8],
        to: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        ledger: &Ledger,
    ) -> io::Result<Wire> {
        let mut socket = TcpStream::connect(to)?;
        tune(&socket)?;
        let Some(config) = tls else {
            socket.write_all(first)?;
            return Ok(Wire::Plain(socket));
        };
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        tls.writer().write_all(first)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        ledger.add(&tls);
        Ok(Wire::Client(Box::new(StreamOwned::new(tls, socket))))
    }

    /// Takes an accepted socket, and shakes hands if there is a TLS configuration.
    pub fn accept(
        mut socket: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
        ledger: &Ledger,
    ) -> io::Result<Wire> {
        tune(&socket)?;
        let Some(config) = tls else {
            return Ok(Wire::Plain(socket));
        };
        let mut tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        ledger.add(&tls);
        Ok(Wire::Server(Box::new(StreamOwned::new(tls, socket))))
    }

    /// Closes cleanly and waits until the other side has, too.
    pub fn finish(&mut self) -> io::Result<()> {
        let closed = self
            .flush()
            .and_then(|()| self.say_goodbye())
            .and_then(|()| self.socket().shutdown(Shutdown::Write))
            .and_then(|()| self.read(&mut [0]));
        match closed {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("bytes that nobody sent")),
            // The other side was faster; with what, is its own affair: all bytes are counted.
            Err(error) if is_an_end(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A close_notify, kept back by the kernel until the end of the stream goes with it.
    fn say_goodbye(&mut self) -> io::Result<()> {
        let mut goodbye = Vec::new();
        match self {
            Wire::Plain(_) => return Ok(()),
            Wire::Client(tls) => {
                tls.conn.send_close_notify();
                tls.conn.write_tls(&mut goodbye)?;
            }
            Wire::Server(tls) => {
                tls.conn.send_close_notify();
                tls.conn.write_tls(&mut goodbye)?;
            }
        }
        let more = MsgFlags::from_bits_retain(libc::MSG_MORE) | MsgFlags::MSG_NOSIGNAL;
        // So few bytes always have room behind what was flushed.
        send(self.socket().as_raw_fd(), &goodbye, more)?;
        Ok(())
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Client(tls) => &tls.sock,
            Wire::Server(tls) => &tls.sock,
        }
    }
}

/// Whether an error says only that the connection is over.
pub fn is_an_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionReset | NotConnected | UnexpectedEof
    )
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Client(tls) => tls.read(buffer),
            Wire::Server(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Client(tls) => tls.write(bytes),
            Wire::Server(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Client(tls) => tls.flush(),
            Wire::Server(tls) => tls.flush(),
        }
    }
}

/// AES-256-GCM alone, and X25519 before all else, so that every proxy does the same arithmetic. Where
/// AES instructions are hidden, ChaCha20 behind it.
fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| {
        let chacha20 = suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        chacha20 && is_aes_hidden()
            || matches!(
                suite.suite(),
                CipherSuite::TLS13_AES_256_GCM_SHA384
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                    | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            )
    });
    provider.kx_groups = groups.to_vec();
    Arc::new(provider)
}

fn only(version: Version) -> [&'static SupportedProtocolVersion; 1] {
    match version {
        Version::Tls12 => [&rustls::version::TLS12],
        Version::Tls13 => [&rustls::version::TLS13],
    }
}

/// The TLS client in front of a proxy in server mode (and rustls alone as one), with an empty session cache of its own.
pub fn client_config(row: &Row, pki: &Pki) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(&pki.authority)?;
    for certificate in rustls::pki_types::pem::PemObject::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| io::Error::other(format!("{error:?}")))?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    // In TLS 1.2 a client that does not name P-256 takes no certificate on it (RFC 8422, 5.1.1).
    let groups = [X25519, SECP256R1];
    let mut config = ClientConfig::builder_with_provider(provider(&groups))
        .with_protocol_versions(&only(row.version))
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = if row.resumed {
        Resumption::in_memory_sessions(32)
    } else {
        Resumption::disabled()
    };
    Ok(Arc::new(config))
}

/// The TLS server behind a proxy in client mode, as servers are: it gives tickets and takes them.
pub fn server_with_tickets(row: &Row, pki: &Pki) -> io::Result<Arc<ServerConfig>> {
    let resumed = Row {
        resumed: true,
        ..*row
    };
    server_config(&resumed, pki.identity(row.key))
}

/// The TLS server behind a proxy in client mode.
pub fn server_config(row: &Row, identity: &Identity) -> io::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(provider(&[X25519]))
        .with_protocol_versions(&only(row.version))
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.private_key())
        .map_err(io::Error::other)?;
    if row.resumed {
        config.session_storage = ServerSessionMemoryCache::new(1024);
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

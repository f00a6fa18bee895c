//! The TLS side of `adit demo`'s throw-away mail server: rustls' ordinary buffered connections, over
//! any blocking stream. Never in here: anything that the relay uses.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Accepts TLS 1.3 and nothing older, with one certificate.
#[derive(Debug, Clone)]
pub(crate) struct DemoAcceptor(Arc<ServerConfig>);

impl DemoAcceptor {
    /// `chain` is in DER, the server's own certificate first; `key` is its private key in PKCS#8.
    ///
    /// # Errors
    /// The certificate or the key is not usable, or they do not match.
    pub(crate) fn new(chain: Vec<Vec<u8>>, key: Vec<u8>) -> io::Result<DemoAcceptor> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map(|config| DemoAcceptor(Arc::new(config)))
            .map_err(io::Error::other)
    }

    /// Waits for the whole handshake.
    ///
    /// # Errors
    /// Those of the stream, and of the handshake.
    pub(crate) fn accept<S: Read + Write>(&self, mut stream: S) -> io::Result<DemoStream<S>> {
        let mut connection = ServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(DemoStream(StreamOwned::new(connection, stream)))
    }
}

/// A TLS connection for the demo's server: plaintext by `Read` and `Write`.
#[derive(Debug)]
pub(crate) struct DemoStream<S: Read + Write>(StreamOwned<ServerConnection, S>);

/// What the demo's server negotiated, in OpenSSL's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DemoNegotiated {
    /// `TLSv1.3`
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`
    pub suite: String,
    /// The group of the key exchange, `X25519MLKEM768`.
    pub group: String,
}

impl<S: Read + Write> DemoStream<S> {
    /// The result of the handshake; rustls knows all three once it is over.
    pub(crate) fn negotiated(&self) -> DemoNegotiated {
        let connection = &self.0.conn;
        let unknown = || "none".to_owned();
        let version = connection.protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            other => format!("{other:?}"),
        });
        let suite = connection
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"));
        let group = connection
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name()));
        DemoNegotiated {
            version: version.unwrap_or_else(unknown),
            suite: suite.unwrap_or_else(unknown),
            group: group.unwrap_or_else(unknown),
        }
    }

    /// Sends close_notify and returns the underlying stream.
    ///
    /// # Errors
    /// The stream's.
    pub(crate) fn close(mut self) -> io::Result<S> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        Ok(self.0.sock)
    }
}

impl<S: Read + Write> Read for DemoStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Read + Write> Write for DemoStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A TLS client that trusts `root` (DER), for testing the demo's server without adit.
#[cfg(test)]
pub(crate) fn connect<S: Read + Write>(
    root: &[u8],
    name: &str,
    stream: S,
) -> io::Result<impl Read + Write + use<S>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from(root.to_vec()))
        .map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = name.to_owned().try_into().map_err(io::Error::other)?;
    let connection =
        rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

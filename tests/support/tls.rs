//! TLS peers under the test's full control: rustls, buffered, over blocking sockets.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use super::certs::{Certs, Pair};
use super::peers::{self, Server};

/// A client's TLS connection.
pub type ClientStream = StreamOwned<ClientConnection, TcpStream>;
/// A server's TLS connection.
pub type ServerStream = StreamOwned<ServerConnection, TcpStream>;

/// Both versions.
pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
/// Only TLS 1.2.
pub const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
/// Only TLS 1.3.
pub const ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file)
        .expect("a certificate")
        .collect::<Result<_, _>>()
        .expect("a certificate")
}

fn key(file: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file).expect("a key")
}

fn roots(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file) {
        roots.add(certificate).expect("a root");
    }
    roots
}

/// A server's configuration; asks for client certificates of `client_ca` if given.
pub fn server_config(
    pair: &Pair,
    versions: &[&'static SupportedProtocolVersion],
    client_ca: Option<&Path>,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(roots(file));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    Arc::new(
        builder
            .with_single_cert(chain(&pair.cert), key(&pair.key))
            .expect("a key that fits"),
    )
}

/// A server's configuration that staples an OCSP response.
pub fn stapling(
    pair: &Pair,
    versions: &[&'static SupportedProtocolVersion],
    response: &Path,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth();
    let response = std::fs::read(response).expect("a response");
    Arc::new(
        builder
            .with_single_cert_with_ocsp(chain(&pair.cert), key(&pair.key), response)
            .expect("a key that fits"),
    )
}

/// A client's configuration, which trusts `ca` and presents `pair` if asked.
pub fn client_config(
    ca: &Path,
    versions: &[&'static SupportedProtocolVersion],
    pair: Option<&Pair>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots(ca));
    Arc::new(match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(chain(&pair.cert), key(&pair.key))
            .expect("a key that fits"),
    })
}

/// Starts TLS on a connection, as a client that asks for `localhost`.
pub fn start_client(config: Arc<ClientConfig>, stream: TcpStream) -> std::io::Result<ClientStream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config, name).expect("a connection");
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// What a client says first that asks for `name`.
pub fn first_flight(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(BOTH)
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut flight = Vec::new();
    connection.write_tls(&mut flight).expect("a hello");
    flight
}

/// Connects with TLS; fails if the handshake does.
#[track_caller]
pub fn connect(config: Arc<ClientConfig>, address: SocketAddr) -> ClientStream {
    match start_client(config, peers::connect(address)) {
        Ok(stream) => stream,
        Err(error) => panic!("handshake: {error}"),
    }
}

/// Starts TLS on an accepted connection.
pub fn start_server(config: Arc<ServerConfig>, stream: TcpStream) -> std::io::Result<ServerStream> {
    let connection = ServerConnection::new(config).expect("a connection");
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A TLS server that passes each connection, after its handshake, to a function.
pub fn server(
    config: Arc<ServerConfig>,
    handler: impl Fn(ServerStream) + Send + Sync + 'static,
) -> Server {
    Server::start(move |stream| {
        if let Ok(stream) = start_server(config.clone(), stream) {
            handler(stream);
        }
    })
}

/// A TLS server for `localhost` that sends back what it receives, and answers the end with its own.
pub fn echo_server(certs: &Certs, versions: &[&'static SupportedProtocolVersion]) -> Server {
    echo(server_config(&certs.server(), versions, None))
}

/// The same with the test's own configuration.
pub fn echo(config: Arc<ServerConfig>) -> Server {
    server(config, |mut stream| {
        let _ = peers::echo(&mut stream);
        end(&mut stream);
    })
}

/// Sends close_notify, and nothing after it.
pub fn end<C, D>(stream: &mut StreamOwned<C, TcpStream>)
where
    C: std::ops::DerefMut + std::ops::Deref<Target = rustls::ConnectionCommon<D>>,
    D: rustls::SideData,
{
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        if stream.conn.write_tls(&mut stream.sock).is_err() {
            return;
        }
    }
}

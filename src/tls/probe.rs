//! A TLS client that looks at a server from outside and says what it saw, for `adit diff-stunnel`. It takes any
//! certificate: never may it carry a byte for anyone.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

use super::names;

/// The versions to look by, and their names.
pub(crate) const VERSIONS: [(&str, Version); 2] =
    [("TLS 1.3", Version(&TLS13)), ("TLS 1.2", Version(&TLS12))];

/// The one version that a probe speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version(&'static SupportedProtocolVersion);

/// What a server does with a client that speaks this version alone and shows no certificate: the suite, the
/// certificate, and what comes then; or the alert. The stream's own deadlines count.
pub(crate) fn look(mut stream: TcpStream, version: Version) -> String {
    let mut connection = match connection(version) {
        Ok(connection) => connection,
        Err(error) => return format!("cannot look: {error}"),
    };
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            return ended(&error);
        }
    }
    let suite = connection
        .negotiated_cipher_suite()
        .map_or_else(String::new, |suite| {
            format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
        });
    let certificate = connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map_or_else(|| "no certificate".to_owned(), certificate);
    let mut stream = StreamOwned::new(connection, stream);
    format!("{suite}, {certificate}, then {}", hears(&mut stream))
}

/// What comes from a server that is told nothing, and how it ends.
pub(crate) fn hears(stream: &mut impl Read) -> String {
    let mut buffer = [0; 256];
    match stream.read(&mut buffer) {
        Ok(0) => "closes".to_owned(),
        Ok(n) => format!("says {:?}", String::from_utf8_lossy(&buffer[..n])),
        Err(error) => ended(&error),
    }
}

fn connection(version: Version) -> Result<ClientConnection, Error> {
    let provider = Arc::new(provider::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version.0])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    let name =
        ServerName::try_from("localhost").map_err(|error| Error::General(error.to_string()))?;
    ClientConnection::new(Arc::new(config), name)
}

fn certificate(der: &CertificateDer<'_>) -> String {
    let mut text = format!("certificate of {}, SHA-256 ", names::subject_of(der));
    let hash = digest::digest(&digest::SHA256, der);
    for byte in &hash.as_ref()[..8] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn ended(error: &io::Error) -> String {
    if let Some(Error::AlertReceived(alert)) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        return format!("alert {alert:?}");
    }
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "waits".to_owned(),
        ErrorKind::UnexpectedEof => "closes without close_notify".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "resets".to_owned(),
        _ => format!("no TLS: {error}"),
    }
}

/// Takes every certificate.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

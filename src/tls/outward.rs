//! TLS to a server that adit itself asks, by rustls' ordinary buffered connections over a blocking stream. The server is
//! always verified. Never in here: anything that the relay uses.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The authorities that vouch for a server, read for one use: the system's may change.
#[derive(Debug)]
pub(crate) struct Outward(Arc<ClientConfig>);

impl Outward {
    /// By the authorities in `pem`, or by the system's.
    ///
    /// # Errors
    /// There is none, and why.
    pub(crate) fn trusting(pem: Option<&str>) -> Result<Outward, String> {
        let mut roots = RootCertStore::empty();
        match pem {
            Some(pem) => {
                let found = pem::parse_many(pem).map_err(|error| error.to_string())?;
                let found = found.into_iter().filter(|it| it.tag() == "CERTIFICATE");
                roots.add_parsable_certificates(found.map(|it| it.into_contents().into()));
                if roots.is_empty() {
                    return Err("the file of authorities has no certificate in PEM".into());
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(
                        "the system has no trusted certificates: install ca-certificates".into(),
                    );
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Outward(Arc::new(config)))
    }

    /// Begins; the handshake is with the first byte.
    ///
    /// # Errors
    /// `host` is no name that a certificate could have.
    pub(crate) fn connect<S: Read + Write>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<impl Read + Write + use<S>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

//! The two sides of a service with TLS on both ends: the LAN's programs and the provider trust authorities of
//! their own.

use std::net::TcpStream;

use super::peers::Server;
use super::{Adit, Certs, tls};

/// Certificates of the LAN and of the provider, which nothing joins.
pub struct Worlds {
    pub lan: Certs,
    pub provider: Certs,
}

impl Worlds {
    pub fn new() -> Worlds {
        Worlds {
            lan: Certs::new(),
            provider: Certs::new(),
        }
    }

    /// A service between the two; `more` says with `acceptTLS` how its clients come.
    pub fn lines(&self, upstream: &Server, more: &str) -> String {
        let pair = self.lan.server();
        format!(
            "client = yes\nacceptCert = {}\nacceptKey = {}\n{}{}verifyChain = yes\n{more}",
            pair.cert.display(),
            pair.key.display(),
            upstream.line(),
            self.provider.ca_line(),
        )
    }

    pub fn serve(&self, upstream: &Server, more: &str) -> Adit {
        Adit::serve(self.lines(upstream, more))
    }

    /// Begins TLS as a program of the LAN.
    pub fn start_tls(&self, stream: TcpStream) -> tls::ClientStream {
        let config = tls::client_config(&self.lan.ca(), tls::BOTH, None);
        tls::start_client(config, stream).expect("a handshake")
    }

    pub fn connect_tls(&self, adit: &Adit) -> tls::ClientStream {
        self.start_tls(adit.connect("test"))
    }
}

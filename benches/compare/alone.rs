//! rustls alone: handshakes from memory to memory, no socket and no system call. With
//! [`super::floor`] it is what a handshake through a proxy on rustls costs at least. Only the side is
//! counted that the proxy would be.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, ServerConfig,
    ServerConnection, SignatureScheme,
};

use super::load::Sample;
use super::pki::{HOST, Pki};
use super::rows::{Mode, Row, Work};
use super::wire::{self, Negotiated};

/// Handshakes before any is counted.
const WARM: u64 = 50;

/// Measures a row of handshakes.
///
/// # Errors
/// rustls refuses, a handshake is another than the row's, or the row is none of handshakes.
pub fn sample(row: &Row, factor: f64, pki: &Pki) -> io::Result<Sample> {
    let Work::Handshakes(count) = row.work else {
        return Err(io::Error::other("rustls alone only shakes hands"));
    };
    let mut bench = Bench {
        client: client_config(row, pki)?,
        server: wire::server_config(row, pki.identity(row.key))?,
        counted: row.mode,
        spent: Duration::ZERO,
    };
    for _ in 0..WARM {
        bench.shake()?;
    }
    bench.spent = Duration::ZERO;
    let count = ((count as f64 * factor) as u64).max(1);
    let mut negotiated = None;
    for _ in 0..count {
        let agreed = bench.shake()?;
        if agreed.resumed != row.resumed {
            return Err(io::Error::other(format!("a handshake was {agreed}")));
        }
        negotiated = Some(agreed);
    }
    Ok(Sample {
        value: bench.spent.as_secs_f64() * 1e6 / count as f64,
        negotiated,
    })
}

struct Bench {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// The side that the proxy would be.
    counted: Mode,
    /// CPU of that side so far.
    spent: Duration,
}

impl Bench {
    /// A handshake, with what follows it (tickets), and its end.
    fn shake(&mut self) -> io::Result<Negotiated> {
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let client = self.timed(Mode::Client, |bench| {
            ClientConnection::new(bench.client.clone(), name).map(Connection::from)
        });
        let mut client = client.map_err(io::Error::other)?;
        let server = self.timed(Mode::Server, |bench| {
            ServerConnection::new(bench.server.clone()).map(Connection::from)
        });
        let mut server = server.map_err(io::Error::other)?;
        let mut flight = Vec::new();
        while client.wants_write() || server.wants_write() {
            self.timed(Mode::Client, |_| send(&mut client, &mut flight))?;
            self.timed(Mode::Server, |_| receive(&mut server, &mut flight))?;
            self.timed(Mode::Server, |_| send(&mut server, &mut flight))?;
            self.timed(Mode::Client, |_| receive(&mut client, &mut flight))?;
        }
        if client.is_handshaking() || server.is_handshaking() {
            return Err(io::Error::other("a handshake came to no end"));
        }
        let agreed = Negotiated::of(&client);
        self.timed(Mode::Client, |_| drop(client));
        self.timed(Mode::Server, |_| drop(server));
        Ok(agreed)
    }

    /// Does a part of one side's work.
    fn timed<T>(&mut self, side: Mode, work: impl FnOnce(&Self) -> T) -> T {
        if side != self.counted {
            return work(self);
        }
        let before = cpu();
        let result = work(self);
        self.spent += cpu().saturating_sub(before);
        result
    }
}

fn send(from: &mut Connection, flight: &mut Vec<u8>) -> io::Result<()> {
    while from.wants_write() {
        from.write_tls(flight)?;
    }
    Ok(())
}

fn receive(to: &mut Connection, flight: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets().map_err(io::Error::other)?;
    }
    flight.clear();
    Ok(())
}

/// CPU of this thread so far.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// As the load generator's; where the row's proxy checks no certificate, nor does this.
fn client_config(row: &Row, pki: &Pki) -> io::Result<Arc<ClientConfig>> {
    let config = wire::client_config(row, pki)?;
    if row.mode == Mode::Server || row.verify {
        return Ok(config);
    }
    let mut config = ClientConfig::clone(&config);
    let algorithms = config.crypto_provider().signature_verification_algorithms;
    let unverified = Arc::new(Unverified(algorithms));
    config.dangerous().set_certificate_verifier(unverified);
    Ok(Arc::new(config))
}

/// Takes every certificate; a signature must be true, as with every proxy.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

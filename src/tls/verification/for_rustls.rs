//! The verifier as rustls calls it, in both roles. Never in here: a judgement.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::{Verifier, leaf};
use crate::tls::{schemes, signatures};

/// What both of rustls' traits ask about signatures in a handshake.
macro_rules! verifies_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            schemes::check(dss.scheme, &self.schemes)?;
            signatures::tls12(message, cert, dss, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            schemes::check(dss.scheme, &self.schemes)?;
            signatures::tls13(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            match self.schemes.is_empty() {
                true => self.algorithms.supported_schemes(),
                false => self.schemes.clone(),
            }
        }
    };
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(
            end_entity,
            intermediates,
            Some(server_name),
            ocsp_response,
            now,
        )?;
        if self.judges()
            && let Some(sessions) = &self.sessions
            && let Some(end) = leaf::end(end_entity)
        {
            sessions.bound(server_name, end);
        }
        Ok(ServerCertVerified::assertion())
    }

    verifies_signatures!();
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.policy.request
    }

    fn client_auth_mandatory(&self) -> bool {
        self.policy.require && !self.redirects
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match self.names_authorities {
            true => self.trust.hints(),
            false => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.redirects {
            return Ok(ClientCertVerified::assertion());
        }
        self.verify(end_entity, intermediates, None, &[], now)
            .map(|()| ClientCertVerified::assertion())
    }

    verifies_signatures!();
}

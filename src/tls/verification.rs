//! Who the peer is: its chain by webpki, its subject, and the copy installed here, with stunnel's
//! words and levels (verify.c). One verifier serves both roles and all connections of a service.

use std::net::IpAddr;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::failure::Rejection;
use super::names;
use super::notes::{note, reject};
use crate::config::{PeerVerification, TlsOptions};

/// See the module.
#[derive(Debug)]
pub(super) struct Verifier {
    policy: PeerVerification,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    emails: Vec<String>,
    /// Whether the peer is the server.
    peer_serves: bool,
    anchors: Vec<TrustAnchor<'static>>,
    /// What x509-parser sees of each anchor, by the same index.
    trusted: Vec<Trusted>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A certificate of CAfile, CApath or the system.
#[derive(Debug)]
struct Trusted {
    der: CertificateDer<'static>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    not_before: i64,
    not_after: i64,
}

impl Verifier {
    /// Certificates that cannot be parsed are left out; returns how many they were.
    pub(super) fn new(
        options: &TlsOptions,
        peer_serves: bool,
        certificates: Vec<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> (Self, usize) {
        let (mut anchors, mut trusted, mut hints) = (Vec::new(), Vec::new(), Vec::new());
        let mut unusable = 0;
        for der in certificates {
            let (Ok((_, certificate)), Ok(anchor)) = (
                X509Certificate::from_der(&der),
                webpki::anchor_from_trusted_cert(&der),
            ) else {
                unusable += 1;
                continue;
            };
            hints.push(DistinguishedName::in_sequence(&anchor.subject));
            anchors.push(anchor.to_owned());
            trusted.push(Trusted {
                subject: certificate.subject().as_raw().to_vec(),
                public_key: certificate.public_key().raw.to_vec(),
                not_before: certificate.validity().not_before.timestamp(),
                not_after: certificate.validity().not_after.timestamp(),
                der: der.clone(),
            });
        }
        let verifier = Self {
            policy: options.verification,
            hosts: options.check_host.clone(),
            addresses: options.check_ip.clone(),
            emails: options.check_email.clone(),
            peer_serves,
            anchors,
            trusted,
            hints,
            algorithms,
        };
        (verifier, unusable)
    }

    /// Subjects of everything trusted, for the log.
    pub(super) fn trusted_names(&self) -> impl Iterator<Item = String> + '_ {
        self.trusted.iter().map(|trusted| name_of(&trusted.subject))
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let policy = self.policy;
        if !(policy.chain || policy.peer || policy.server) {
            note(6, "CERT: Certificate verification disabled".into());
            return Ok(());
        }
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Err(refuse(Rejection::Unreadable));
        };
        let subject = names::distinguished(certificate.subject());
        let result = self
            .check_chain(leaf, &certificate, intermediates, now)
            .and_then(|()| self.check_subject(&certificate))
            .and_then(|()| self.check_server_name(leaf, name))
            .and_then(|()| self.check_local(&certificate));
        match result {
            Ok(()) => {
                note(5, format!("Certificate accepted at depth=0: {subject}"));
                Ok(())
            }
            Err(rejection) => {
                note(4, format!("Rejected by CERT at depth=0: {subject}"));
                Err(refuse(rejection))
            }
        }
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let result = if self.is_trusted_root(leaf, certificate) {
            self.dates_and_purpose(certificate, now)
        } else if self.policy.chain || self.policy.server {
            self.path(leaf, certificate, intermediates, now)
        } else {
            // verifyPeer alone: as stunnel, whatever is wrong above the leaf does not matter.
            self.dates_and_purpose(certificate, now)
        };
        match &result {
            Ok(()) => note(7, "CERT: Pre-verification succeeded".into()),
            Err(Rejection::SelfSigned) => note(
                4,
                "CERT: Pre-verification error: certificate not found in local repository: \
                 self-signed certificate"
                    .into(),
            ),
            Err(rejection) => note(4, format!("CERT: Pre-verification error: {rejection}")),
        }
        result
    }

    /// A self-signed certificate that is itself in CAfile is a chain of one, as OpenSSL has it;
    /// also one with CA:TRUE, as `openssl req -x509` makes, which webpki takes for no end entity.
    fn is_trusted_root(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
    ) -> bool {
        self_issued(certificate) && self.trusted.iter().any(|trusted| trusted.der == *leaf)
    }

    fn dates_and_purpose(
        &self,
        certificate: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let now = now.as_secs() as i64;
        let validity = certificate.validity();
        if validity.not_before.timestamp() > now {
            return Err(Rejection::NotYetValid);
        }
        if validity.not_after.timestamp() < now {
            return Err(Rejection::Expired);
        }
        match certificate.extended_key_usage() {
            Ok(None) => Ok(()),
            Ok(Some(usage)) => {
                let usage = usage.value;
                let allowed = if self.peer_serves {
                    usage.server_auth
                } else {
                    usage.client_auth
                };
                if usage.any || allowed {
                    Ok(())
                } else {
                    Err(Rejection::Purpose)
                }
            }
            Err(_) => Err(Rejection::Unreadable),
        }
    }

    fn path(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let entity = EndEntityCert::try_from(leaf).map_err(|error| rejection(&error, false))?;
        let usage = if self.peer_serves {
            KeyUsage::server_auth()
        } else {
            KeyUsage::client_auth()
        };
        let anchor_is_valid = |path: &webpki::VerifiedPath<'_>| self.anchor_dates(path, now);
        let path = entity
            .verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                intermediates,
                now,
                usage,
                None,
                Some(&anchor_is_valid),
            )
            .map_err(|error| rejection(&error, self_issued(certificate)))?;
        note_path(&path);
        Ok(())
    }

    /// webpki looks at no dates of an anchor; OpenSSL refuses an expired root, and so do we.
    fn anchor_dates(
        &self,
        path: &webpki::VerifiedPath<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let Some(trusted) = self
            .anchors
            .iter()
            .position(|anchor| anchor == path.anchor())
            .and_then(|index| self.trusted.get(index))
        else {
            return Err(webpki::Error::UnknownIssuer);
        };
        let time = |seconds: i64| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.max(0) as u64))
        };
        if now > time(trusted.not_after) {
            return Err(webpki::Error::CertExpired {
                time: now,
                not_after: time(trusted.not_after),
            });
        }
        if now < time(trusted.not_before) {
            return Err(webpki::Error::CertNotValidYet {
                time: now,
                not_before: time(trusted.not_before),
            });
        }
        Ok(())
    }

    /// checkHost, checkEmail, checkIP: one match of any is enough, as in stunnel.
    fn check_subject(&self, certificate: &X509Certificate<'_>) -> Result<(), Rejection> {
        if self.hosts.is_empty() && self.emails.is_empty() && self.addresses.is_empty() {
            if !self.policy.server {
                note(6, "CERT: No subject checks configured".into());
            }
            return Ok(());
        }
        for host in &self.hosts {
            if let Some(matched) = names::matching_host(certificate, host) {
                let line = format!("CERT: Host name \"{host}\" matched with \"{matched}\"");
                note(6, line);
                return Ok(());
            }
        }
        for email in &self.emails {
            if names::has_email(certificate, email) {
                note(6, format!("CERT: Email address \"{email}\" matched"));
                return Ok(());
            }
        }
        for address in &self.addresses {
            if names::has_ip(certificate, *address) {
                note(6, format!("CERT: IP address \"{address}\" matched"));
                return Ok(());
            }
        }
        note(4, "CERT: Subject checks failed".into());
        Err(Rejection::SubjectChecks)
    }

    /// verifyServer: RFC 9525, no common name, no partial wildcard.
    fn check_server_name(
        &self,
        leaf: &CertificateDer<'_>,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), Rejection> {
        if !self.policy.server {
            return Ok(());
        }
        let Some(name) = name else {
            return Err(Rejection::Name(String::new()));
        };
        let text = name.to_str();
        // Parsed anew: a trusted self-signed leaf came here without webpki.
        let matched = EndEntityCert::try_from(leaf)
            .and_then(|entity| entity.verify_is_valid_for_subject_name(name));
        match matched {
            Ok(()) => {
                note(6, format!("CERT: Host name \"{text}\" matched"));
                Ok(())
            }
            Err(_) => {
                note(4, "CERT: Subject checks failed".into());
                Err(Rejection::Name(text.into_owned()))
            }
        }
    }

    /// verifyPeer: same subject and same public key, as stunnel compares, so that a certificate
    /// renewed with its old key goes on to be known.
    fn check_local(&self, certificate: &X509Certificate<'_>) -> Result<(), Rejection> {
        if !self.policy.peer {
            return Ok(());
        }
        let known = self.trusted.iter().any(|trusted| {
            trusted.subject == certificate.subject().as_raw()
                && trusted.public_key == certificate.public_key().raw
        });
        if known {
            note(6, "CERT: Locally installed certificate matched".into());
            Ok(())
        } else {
            note(4, "CERT: Certificate not found in local repository".into());
            Err(Rejection::NotInRepository)
        }
    }

    fn signature12(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(key) = self.key_of_odd_certificate(cert) else {
            return verify_tls12_signature(message, cert, dss, &self.algorithms);
        };
        let key = RawPublicKeyEntity::try_from(&key)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        self.algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == dss.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| {
                key.verify_signature(*algorithm, message, dss.signature())
                    .is_ok()
            })
            .then(HandshakeSignatureValid::assertion)
            .ok_or(Error::PeerMisbehaved(
                PeerMisbehaved::SignedKxWithWrongAlgorithm,
            ))
    }

    fn signature13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.key_of_odd_certificate(cert) {
            None => verify_tls13_signature(message, cert, dss, &self.algorithms),
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms),
        }
    }

    /// The key of a certificate that webpki does not parse (X.509 version 1, as old appliances
    /// have), where no chain is asked for.
    fn key_of_odd_certificate(
        &self,
        cert: &CertificateDer<'_>,
    ) -> Option<SubjectPublicKeyInfoDer<'static>> {
        if self.policy.chain || self.policy.server || EndEntityCert::try_from(cert).is_ok() {
            return None;
        }
        let (_, certificate) = X509Certificate::from_der(cert).ok()?;
        Some(SubjectPublicKeyInfoDer::from(
            certificate.public_key().raw.to_vec(),
        ))
    }
}

fn self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// stunnel's lines for what is above the leaf, the anchor first.
fn note_path(path: &webpki::VerifiedPath<'_>) {
    let intermediates: Vec<_> = path
        .intermediate_certificates()
        .map(|certificate| DistinguishedName::in_sequence(certificate.subject()))
        .collect();
    let anchor = DistinguishedName::in_sequence(&path.anchor().subject);
    let depth = intermediates.len() + 1;
    let names = std::iter::once(&anchor).chain(intermediates.iter().rev());
    for (index, name) in names.enumerate() {
        note(
            6,
            format!(
                "Certificate accepted at depth={}: {}",
                depth - index,
                name_of(name.as_ref())
            ),
        );
    }
}

fn name_of(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(
        |_| String::from("(unreadable name)"),
        |(_, name)| names::distinguished(&name),
    )
}

fn rejection(error: &webpki::Error, self_issued: bool) -> Rejection {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } | E::InvalidCertValidity => Rejection::Expired,
        E::CertNotValidYet { .. } => Rejection::NotYetValid,
        E::UnknownIssuer | E::CaUsedAsEndEntity if self_issued => Rejection::SelfSigned,
        E::UnknownIssuer => Rejection::UnknownIssuer,
        E::RequiredEkuNotFoundContext(_) => Rejection::Purpose,
        E::InvalidSignatureForPublicKey => Rejection::Signature,
        E::BadDer | E::BadDerTime => Rejection::Unreadable,
        other => Rejection::Other(other.to_string()),
    }
}

/// Leaves the reason for the failure's text, and gives the error whose alert OpenSSL would send.
fn refuse(rejection: Rejection) -> Error {
    let error = match &rejection {
        Rejection::Expired => CertificateError::Expired,
        Rejection::NotYetValid => CertificateError::NotValidYet,
        Rejection::SelfSigned | Rejection::UnknownIssuer => CertificateError::UnknownIssuer,
        Rejection::Purpose => CertificateError::InvalidPurpose,
        Rejection::Signature => CertificateError::BadSignature,
        Rejection::Unreadable | Rejection::Other(_) => CertificateError::BadEncoding,
        Rejection::NotInRepository | Rejection::SubjectChecks | Rejection::Name(_) => {
            CertificateError::NotValidForName
        }
    };
    reject(rejection);
    Error::InvalidCertificate(error)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, Some(server_name), now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.policy.request
    }

    fn client_auth_mandatory(&self) -> bool {
        self.policy.require
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, None, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

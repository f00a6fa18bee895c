//! Verifies the peer: its chain by webpki, its subject, and the copy installed here, with stunnel's
//! words and levels (verify.c). One verifier serves both roles and all connections of a service.

mod for_rustls;
mod leaf;

use std::cell::Cell;
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client_sessions::ClientSessions;
use super::climb::Climb;
use super::failure::Offence;
use super::notes::{self, ask, blame, note};
use super::ocsp::{Checks, Inquiry, Refused};
use super::path::{self, Above, Search};
use super::rejection::Rejection;
use super::revocation::Lists;
use super::self_signed::self_signed;
use super::trust::Trust;
use super::{names, old_signatures, schemes, signatures, subject};
use crate::config::{PeerVerification, SecurityLevel, SubjectChecks, TlsOptions};

pub(super) use leaf::end;

/// The verifier of one service.
#[derive(Debug)]
pub(super) struct Verifier {
    policy: PeerVerification,
    subject: SubjectChecks,
    /// Whether the peer is the server.
    peer_serves: bool,
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    /// By what the peer may sign its handshake; empty: by all that there is.
    schemes: Vec<SignatureScheme>,
    /// Which keys the peer may have.
    level: SecurityLevel,
    /// Clients are told which authorities are trusted.
    names_authorities: bool,
    /// See [`Verifier::redirects`].
    redirects: bool,
    /// The same of an authority.
    smallest_authority: usize,
    /// Revocation lists, if peers are to be looked up in them.
    lists: Option<Arc<Lists>>,
    /// What responders are asked, and what the server staples; for chains alone.
    ocsp: Option<Arc<Checks>>,
    /// A client's sessions, which live no longer than what its server has shown.
    sessions: Option<Arc<ClientSessions>>,
}

impl Verifier {
    pub(super) fn new(
        options: &TlsOptions,
        peer_serves: bool,
        trust: Trust,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            policy: options.verification,
            ocsp: (options.verification.chain || options.verification.server)
                .then(|| Checks::new(&options.ocsp, peer_serves, algorithms)),
            subject: options.subject.clone(),
            peer_serves,
            trust,
            algorithms,
            schemes: schemes::of(options.signatures.taken(peer_serves)),
            level: SecurityLevel::Two,
            names_authorities: !options.no_ca_names,
            redirects: options.redirects,
            smallest_authority: signatures::MIN_RSA,
            lists: None,
            sessions: None,
        }
    }

    /// Takes peers and authorities with keys, and signatures, as OpenSSL does at this level, and as far
    /// as the library that checks the peer's own signatures does.
    pub(super) fn at_level(self, level: SecurityLevel) -> Self {
        if level == SecurityLevel::Two {
            return self;
        }
        Self {
            level,
            smallest_authority: level.smallest_rsa().max(old_signatures::MIN_RSA),
            algorithms: old_signatures::of_level(level, self.algorithms),
            ..self
        }
    }

    /// Looks peers up in these lists too.
    pub(super) fn with_lists(self, lists: Option<Arc<Lists>>) -> Self {
        Self { lists, ..self }
    }

    /// Bounds these by the certificates that are accepted.
    pub(super) fn bounding(self, sessions: Arc<ClientSessions>) -> Self {
        Self {
            sessions: Some(sessions),
            ..self
        }
    }

    /// Whether the peer's certificate matters.
    pub(super) fn judges(&self) -> bool {
        let policy = self.policy;
        policy.chain || policy.peer || policy.server
    }

    /// Whether clients are let in whatever they show, and judged afterwards; also those that resume a session.
    pub(super) fn redirects(&self) -> bool {
        self.redirects
    }

    /// What has to be asked of responders about the server of a session that is resumed, by the chain that it showed
    /// when that began; says nothing if that is still good. Each resumption gives new tickets, so a chain that is good
    /// no more, and that no responder can be asked about, must not live on by them.
    ///
    /// # Errors
    /// The chain is good no more, as when a certificate has ended since; what there is to say is left in `notes`.
    pub(super) fn ask_again(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Option<Box<Inquiry>>, Rejection> {
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Err(Rejection::Unreadable);
        };
        let above = self
            .check_chain(leaf, &certificate, intermediates, now)
            .inspect_err(|rejection| {
                let (depth, subject) = self.blamed(&certificate, intermediates, rejection, now);
                note(4, format!("Rejected by CERT at depth={depth}: {subject}"));
            })?;
        notes::forget();
        let checks = self.ocsp.as_ref();
        Ok(checks.and_then(|checks| checks.look_again(&certificate, &above)))
    }

    /// Whether it looks at what the server staples.
    pub(super) fn looks_at_status(&self) -> bool {
        self.peer_serves && self.ocsp.is_some()
    }

    /// stunnel's line.
    pub(super) fn note_that_nothing_is_verified(&self) {
        note(6, "CERT: Certificate verification disabled".into());
    }

    /// Judges a chain; `name` is the server's, for verifyServer, and `stapled` its OCSP response. The reason of a
    /// refusal is left in `notes`.
    ///
    /// # Errors
    /// `InvalidCertificate`, with the alert that OpenSSL would send.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        if !self.judges() {
            self.note_that_nothing_is_verified();
            return Ok(());
        }
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Err(self.refuse(Rejection::Unreadable));
        };
        let subject = names::distinguished(certificate.subject());
        let result = self
            .check_chain(leaf, &certificate, intermediates, now)
            .and_then(|above| {
                subject::check(&self.subject, self.policy.server, &certificate)?;
                self.check_server_name(leaf, name)?;
                self.check_local(&certificate)?;
                Ok(above)
            });
        let above = match result {
            Ok(above) => above,
            Err(rejection) => {
                let (depth, subject) = match self.policy.chain || self.policy.server {
                    true => self.blamed(&certificate, intermediates, &rejection, now),
                    false => (0, subject),
                };
                note(4, format!("Rejected by CERT at depth={depth}: {subject}"));
                return Err(self.refuse(rejection));
            }
        };
        note(5, format!("Certificate accepted at depth=0: {subject}"));
        self.check_status(&certificate, &above, stapled, now)
            .map_err(|Refused { depth, name, why }| {
                note(4, format!("Rejected by OCSP at depth={depth}: {name}"));
                self.refuse(Rejection::Ocsp(why))
            })
    }

    /// What the server staples, and what is known of responders from before. Leaves in `notes` what has to be
    /// asked of them.
    fn check_status(
        &self,
        certificate: &X509Certificate<'_>,
        above: &[Vec<u8>],
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<(), Refused> {
        if let Some(checks) = &self.ocsp {
            let now = now.as_secs() as i64;
            let inquiry = checks.look(certificate, above, stapled, now, &mut note)?;
            ask(inquiry);
        }
        Ok(())
    }

    /// Leaves the reason for the failure's text, and returns the error whose alert OpenSSL would send: a
    /// client judges what it knows of a status with what was stapled.
    fn refuse(&self, rejection: Rejection) -> Error {
        match rejection {
            Rejection::Ocsp(_) if self.peer_serves => {
                blame(Offence::CertificateRejected(rejection));
                Error::InvalidCertificate(CertificateError::InvalidOcspResponse)
            }
            rejection => refuse(rejection),
        }
    }

    /// The certificate that a refusal is about, by its depth and its name.
    fn blamed(
        &self,
        certificate: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        rejection: &Rejection,
        now: UnixTime,
    ) -> (usize, String) {
        let climb = Climb::from(certificate, intermediates, &self.trust);
        let now = now.as_secs() as i64;
        let (depth, blamed) = climb.blamed(rejection, self.lists.as_deref(), now);
        (depth, names::distinguished(blamed.subject()))
    }

    /// Gives the certificates above the leaf, the authority's last, where they are needed.
    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<Vec<u8>>, Rejection> {
        let alone = |()| Vec::new();
        let result = if self.trust.rejects(certificate) {
            Err(Rejection::Other("certificate rejected".into()))
        } else if self.is_trusted_root(leaf, certificate) {
            let found = self.dates_and_purpose(certificate, now).and_then(|()| {
                // It is its own issuer.
                let itself = std::slice::from_ref(certificate);
                self.look_up(certificate, itself, now)
            });
            found.map(alone)
        } else if self.policy.chain || self.policy.server {
            self.path(leaf, certificate, intermediates, now)
        } else if self_signed(certificate) {
            // OpenSSL's answer, which stunnel keeps: a copy with other bytes is an imitation.
            Err(Rejection::SelfSigned)
        } else {
            // verifyPeer alone: as in stunnel, faults above the leaf do not matter.
            self.dates_and_purpose(certificate, now)
                .and_then(|()| self.look_up_alone(leaf, certificate, intermediates, now))
                .map(alone)
        };
        match &result {
            Ok(_) => note(7, "CERT: Pre-verification succeeded".into()),
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

    /// A self-signed certificate that is itself in CAfile is a chain of one, as in OpenSSL; also one
    /// with CA:TRUE, made by `openssl req -x509`, which webpki rejects as an end entity.
    fn is_trusted_root(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
    ) -> bool {
        self.trust.contains(leaf) && self_signed(certificate)
    }

    fn path(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<Vec<u8>>, Rejection> {
        let search = self.search(now);
        let above = search
            .path(leaf, certificate, intermediates)
            .map_err(|error| {
                let weak = match error {
                    webpki::Error::InvalidSignatureForPublicKey => search
                        .too_small
                        .get()
                        .map(Rejection::AuthorityKeySize)
                        .or_else(|| self.unverifiable_authority(certificate, intermediates)),
                    webpki::Error::UnknownIssuer => {
                        let climb = Climb::from(certificate, intermediates, &self.trust);
                        Some(climb.without_end())
                    }
                    _ => Rejection::below_level(self.level, &error),
                };
                weak.unwrap_or_else(|| Rejection::of_webpki(&error, self_signed(certificate)))
            })?;
        // stunnel's lines for the certificates above the leaf, the anchor first.
        for (nth, name) in above.names.iter().enumerate().rev() {
            let depth = nth + 1;
            note(6, format!("Certificate accepted at depth={depth}: {name}"));
        }
        self.suitable(certificate)?;
        self.look_up_below(certificate, &above, now)?;
        Ok(above.certificates)
    }

    fn search(&self, now: UnixTime) -> Search<'_> {
        Search {
            trust: &self.trust,
            algorithms: &self.algorithms,
            usage: match self.peer_serves {
                true => KeyUsage::server_auth(),
                false => KeyUsage::client_auth(),
            },
            now,
            lists: self.lists.as_deref(),
            smallest_key: self.smallest_authority,
            too_small: Cell::new(None),
            with_certificates: self.lists.is_some() || self.ocsp.is_some(),
        }
    }

    /// Looks a leaf up in the lists; `above` are the certificates of its path.
    fn look_up(
        &self,
        certificate: &X509Certificate<'_>,
        above: &[X509Certificate<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        match &self.lists {
            Some(lists) => lists.judge(certificate, above, now.as_secs() as i64),
            None => Ok(()),
        }
    }

    fn look_up_below(
        &self,
        certificate: &X509Certificate<'_>,
        above: &Above,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        if self.lists.is_none() {
            return Ok(());
        }
        let above = path::parsed(&above.certificates).ok_or(Rejection::Unreadable)?;
        self.look_up(certificate, &above, now)
    }

    /// The same for a leaf that needs no path otherwise: only its issuer's key tells a list from a forged one.
    fn look_up_alone(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        if self.lists.is_none() {
            return Ok(());
        }
        let found = self.search(now).path(leaf, certificate, intermediates);
        match found {
            Ok(above) => self.look_up_below(certificate, &above, now),
            Err(webpki::Error::CertRevoked) => Err(Rejection::AuthorityRevoked),
            // As in OpenSSL, whose path then has nothing above the leaf.
            Err(_) => self.look_up(certificate, std::slice::from_ref(certificate), now),
        }
    }

    /// An authority above the leaf whose key verifies nothing, so that each signature by it seems
    /// wrong.
    fn unverifiable_authority(
        &self,
        leaf: &X509Certificate<'_>,
        sent: &[CertificateDer<'_>],
    ) -> Option<Rejection> {
        let sent: Vec<_> = sent
            .iter()
            .filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1))
            .collect();
        let issued = sent.iter().chain([leaf]);
        let trusted = issued.flat_map(|one| self.trust.of_name(one.issuer()));
        let mut trusted = trusted.filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
        let unverifiable =
            |one: &X509Certificate<'_>| signatures::unverifiable(self.smallest_authority, one);
        let found = trusted.find_map(|one| unverifiable(&one));
        let found = found.or_else(|| sent.iter().find_map(unverifiable));
        found.map(Rejection::AuthorityKeySize)
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
        // Parsed again: a trusted self-signed leaf has not been through webpki.
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

    /// verifyPeer: same subject and same public key, as stunnel compares, so that a certificate renewed
    /// with its old key stays known.
    fn check_local(&self, certificate: &X509Certificate<'_>) -> Result<(), Rejection> {
        if !self.policy.peer {
            return Ok(());
        }
        if self.trust.knows(certificate) {
            note(6, "CERT: Locally installed certificate matched".into());
            Ok(())
        } else {
            note(4, "CERT: Certificate not found in local repository".into());
            Err(Rejection::NotInRepository)
        }
    }
}

/// Leaves the reason for the failure's text, and returns the error whose alert OpenSSL would send.
fn refuse(rejection: Rejection) -> Error {
    let error = rejection.to_rustls();
    blame(Offence::CertificateRejected(rejection));
    Error::InvalidCertificate(error)
}

//! The certificates of CAfile, CApath or the system: which they are, and which may sign others.

use std::time::Duration;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name, X509Version};

use super::failure::Rejection;
use super::names;

/// See the module.
#[derive(Debug)]
pub(super) struct Trust {
    all: Vec<Trusted>,
    /// Of those that may sign others, as webpki wants them, and the index of each in `all`.
    anchors: Vec<TrustAnchor<'static>>,
    anchored: Vec<usize>,
    hints: Vec<DistinguishedName>,
}

#[derive(Debug)]
pub(super) struct Trusted {
    der: CertificateDer<'static>,
    subject: Vec<u8>,
    /// A subjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    signs: bool,
    /// Has name constraints, which only webpki applies.
    constrained: bool,
}

impl Trust {
    /// Certificates that cannot be parsed are left out; returns how many they were.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> (Self, usize) {
        let mut trust = Self {
            all: Vec::with_capacity(certificates.len()),
            anchors: Vec::new(),
            anchored: Vec::new(),
            hints: Vec::new(),
        };
        let count = certificates.len();
        for der in certificates {
            let (Ok((_, certificate)), Ok(anchor)) = (
                X509Certificate::from_der(&der),
                webpki::anchor_from_trusted_cert(&der),
            ) else {
                continue;
            };
            let trusted = Trusted::new(&der, &certificate);
            trust
                .hints
                .push(DistinguishedName::in_sequence(&anchor.subject));
            if trusted.signs {
                trust.anchors.push(anchor.to_owned());
                trust.anchored.push(trust.all.len());
            }
            trust.all.push(trusted);
        }
        let unusable = count - trust.all.len();
        (trust, unusable)
    }

    /// Subjects, for the log.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = String> + '_ {
        self.all.iter().map(Trusted::name)
    }

    /// Subjects, for the server's request for a certificate.
    pub(super) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Whether this very certificate is among them.
    pub(super) fn contains(&self, der: &CertificateDer<'_>) -> bool {
        self.all.iter().any(|trusted| trusted.der == *der)
    }

    /// Whether one with the same subject and the same key is among them.
    pub(super) fn knows(&self, certificate: &X509Certificate<'_>) -> bool {
        self.all.iter().any(|trusted| {
            trusted.subject == certificate.subject().as_raw()
                && trusted.public_key == certificate.public_key().raw
        })
    }

    /// Those that, by their name, may have signed `certificate`.
    pub(super) fn issuers<'a>(
        &'a self,
        certificate: &'a X509Certificate<'_>,
    ) -> impl Iterator<Item = &'a Trusted> {
        self.all.iter().filter(|trusted| {
            trusted.signs
                && !trusted.constrained
                && trusted.subject == certificate.issuer().as_raw()
        })
    }

    /// webpki looks at no dates of an anchor; OpenSSL refuses an expired root, and so do we. A root
    /// that was renewed with its key is two certificates and one anchor: one good one is enough.
    pub(super) fn anchor_dates(
        &self,
        anchor: &TrustAnchor<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let mut result = Err(webpki::Error::UnknownIssuer);
        for (found, index) in self.anchors.iter().zip(&self.anchored) {
            if found != anchor {
                continue;
            }
            let Some(trusted) = self.all.get(*index) else {
                continue;
            };
            result = match trusted.dates(now) {
                Ok(()) => return Ok(()),
                Err(Rejection::NotYetValid) => Err(webpki::Error::CertNotValidYet {
                    time: now,
                    not_before: trusted.not_before,
                }),
                Err(_) => Err(webpki::Error::CertExpired {
                    time: now,
                    not_after: trusted.not_after,
                }),
            };
        }
        result
    }
}

impl Trusted {
    fn new(der: &CertificateDer<'static>, certificate: &X509Certificate<'_>) -> Self {
        let time = |seconds: i64| {
            UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap_or(0)))
        };
        Self {
            der: der.clone(),
            subject: certificate.subject().as_raw().to_vec(),
            public_key: certificate.public_key().raw.to_vec(),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
            signs: may_sign(certificate),
            constrained: !matches!(certificate.name_constraints(), Ok(None)),
        }
    }

    pub(super) fn name(&self) -> String {
        name_of(&self.subject)
    }

    /// Whether `now` is within its dates.
    pub(super) fn dates(&self, now: UnixTime) -> Result<(), Rejection> {
        if now < self.not_before {
            Err(Rejection::NotYetValid)
        } else if now > self.not_after {
            Err(Rejection::Expired)
        } else {
            Ok(())
        }
    }
}

/// OpenSSL's check_ca: a leaf in CAfile is trusted itself, but not to sign others.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = match certificate.key_usage() {
        Ok(usage) => usage.map(|usage| usage.value.key_cert_sign()),
        Err(_) => Some(false),
    };
    match certificate.basic_constraints() {
        _ if usage == Some(false) => false,
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) => {
            usage == Some(true)
                || (certificate.version() == X509Version::V1 && self_issued(certificate))
        }
        Err(_) => false,
    }
}

/// Whether it names itself as its issuer.
pub(super) fn self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// A name in DER, for the log.
pub(super) fn name_of(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(
        |_| String::from("(unreadable name)"),
        |(_, name)| names::distinguished(&name),
    )
}

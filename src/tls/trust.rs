//! The certificates of CAfile, CApath or the system, and what each is good for.

use std::time::Duration;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name, X509Version};

use super::holder::Holder;
use super::self_signed::self_signed;
use super::settings::{self, Verdict};
use super::{canonical, names};

/// A certificate that was installed as trusted.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) der: CertificateDer<'static>,
    /// What follows a `TRUSTED CERTIFICATE`: see `settings`.
    pub(super) settings: Option<Vec<u8>>,
}

impl Authority {
    /// Whether it is a plain `CERTIFICATE`.
    pub(super) fn is_plain(&self) -> bool {
        self.settings.is_none()
    }

    fn verdict(&self, serves: bool) -> Verdict {
        settings::verdict(self.settings.as_deref().unwrap_or_default(), serves)
    }
}

impl From<CertificateDer<'static>> for Authority {
    fn from(der: CertificateDer<'static>) -> Self {
        let settings = None;
        Self { der, settings }
    }
}

/// The trusted certificates of one role.
#[derive(Debug)]
pub(super) struct Trust {
    all: Vec<Trusted>,
    rejected: Vec<Holder>,
    anchors: Anchors,
    hints: Vec<DistinguishedName>,
}

/// The certificates at which a path may end, in webpki's form, and the index of each in `Trust::all`.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    pub(super) list: Vec<TrustAnchor<'static>>,
    of: Vec<usize>,
}

#[derive(Debug)]
struct Trusted {
    der: CertificateDer<'static>,
    /// Its subject's canonical form.
    name: Vec<u8>,
    /// A subjectPublicKeyInfo.
    public_key: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    self_signed: bool,
    rank: Rank,
}

/// What a trusted certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// A path may end at it.
    Anchor,
    /// It may be on a path that continues to an anchor.
    Intermediate,
    /// Itself, and nothing else.
    Peer,
}

/// Where paths may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// At self-signed certificates, as in OpenSSL: one that was issued by another authority says
    /// nothing if that authority is not trusted.
    Roots,
    /// At every authority in the store, as in browsers.
    Authorities,
}

impl Trust {
    /// The certificates trusted to vouch for servers (`serves`) or for clients. Those that cannot be
    /// parsed are left out; returns how many.
    pub(super) fn new(authorities: Vec<Authority>, ends: Ends, serves: bool) -> (Self, usize) {
        let mut trust = Self {
            all: Vec::with_capacity(authorities.len()),
            rejected: Vec::new(),
            anchors: Anchors::default(),
            hints: Vec::new(),
        };
        let rejected = |one: &Authority| one.verdict(serves) == Verdict::Rejected;
        let (rejected, others): (Vec<_>, Vec<_>) = authorities.into_iter().partition(rejected);
        let mut unusable = 0;
        for authority in rejected {
            match X509Certificate::from_der(&authority.der) {
                Ok((_, certificate)) => trust.rejected.push(Holder::of(&certificate)),
                Err(_) => unusable += 1,
            }
        }
        // After the rejected ones: a plain copy of one may come first in CAfile.
        let added = others
            .into_iter()
            .map(|authority| trust.add(authority, ends, serves));
        unusable += added.filter(Option::is_none).count();
        (trust, unusable)
    }

    fn add(&mut self, authority: Authority, ends: Ends, serves: bool) -> Option<()> {
        let ends = match authority.verdict(serves) {
            Verdict::Trusted => Ends::Authorities,
            Verdict::Silent | Verdict::Rejected => ends,
        };
        let der = authority.der;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        if self.rejects(&certificate) {
            return Some(());
        }
        let anchor = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
        let trusted = Trusted::new(&der, &certificate, ends)?;
        self.hints
            .push(DistinguishedName::in_sequence(&anchor.subject));
        if trusted.rank == Rank::Anchor {
            self.anchors.list.push(anchor);
            self.anchors.of.push(self.all.len());
        }
        self.all.push(trusted);
        Some(())
    }

    /// Subjects, for the log.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = String> + '_ {
        self.all.iter().map(Trusted::subject)
    }

    /// Subjects, for the server's certificate request.
    pub(super) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    pub(super) fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Anchors whose subject has this canonical form, and the index of each in `all`.
    pub(super) fn anchors_of(
        &self,
        name: &[u8],
    ) -> impl Iterator<Item = (&TrustAnchor<'static>, usize)> {
        let anchors = self
            .anchors
            .list
            .iter()
            .zip(self.anchors.of.iter().copied());
        anchors.filter(move |(_, of)| self.all.get(*of).is_some_and(|one| one.name == name))
    }

    /// The anchors with these names, their subject in canonical form.
    pub(super) fn anchors_by_text<'n, N: Iterator<Item = &'n [u8]>>(&self, names: N) -> Anchors {
        let mut names: Vec<&[u8]> = names.collect();
        names.sort_unstable();
        names.dedup();
        let mut anchors = Anchors::default();
        for name in names {
            for (anchor, of) in self.anchors_of(name) {
                anchors.list.push(TrustAnchor {
                    subject: name.to_vec().into(),
                    ..anchor.clone()
                });
                anchors.of.push(of);
            }
        }
        anchors
    }

    /// Authorities that another one issued.
    pub(super) fn intermediates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let all = self.all.iter();
        all.filter(|trusted| trusted.rank == Rank::Intermediate)
            .map(|trusted| &trusted.der)
    }

    /// The certificates with this name.
    pub(super) fn of_name(&self, name: &X509Name<'_>) -> impl Iterator<Item = &[u8]> {
        let name = canonical::name(name.as_raw());
        let all = self.all.iter();
        all.filter(move |one| name.as_ref() == Some(&one.name))
            .map(|one| one.der.as_ref())
    }

    /// The certificates with this name in canonical form.
    pub(super) fn of_canonical_name(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let all = self.all.iter().filter(move |one| one.name == name);
        all.map(|one| one.der.as_ref())
    }

    /// Whether this very certificate is trusted.
    pub(super) fn contains(&self, der: &CertificateDer<'_>) -> bool {
        self.all.iter().any(|trusted| trusted.der == *der)
    }

    /// Whether a certificate with the same subject and key is installed as rejected. This is stricter
    /// than OpenSSL, which goes by the first certificate it finds with that subject, and never rejects
    /// a leaf that an authority issued.
    pub(super) fn rejects(&self, certificate: &X509Certificate<'_>) -> bool {
        !self.rejected.is_empty() && self.rejected.contains(&Holder::of(certificate))
    }

    /// The same; an unreadable one is rejected if any is.
    pub(super) fn rejects_der(&self, der: &[u8]) -> bool {
        let rejects =
            |der| X509Certificate::from_der(der).map_or(true, |(_, it)| self.rejects(&it));
        !self.rejected.is_empty() && rejects(der)
    }

    /// Whether a certificate with the same subject and key is trusted.
    pub(super) fn knows(&self, certificate: &X509Certificate<'_>) -> bool {
        let name = canonical::name(certificate.subject().as_raw());
        name.is_some_and(|name| {
            self.all.iter().any(|trusted| {
                trusted.name == name && trusted.public_key == certificate.public_key().raw
            })
        })
    }

    /// webpki ignores an anchor's dates; OpenSSL refuses an expired root, and so does adit. A root that
    /// was renewed with its key is two certificates and one anchor: one valid certificate is enough.
    pub(super) fn anchor_dates(
        &self,
        anchors: &Anchors,
        anchor: &TrustAnchor<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let mut result = Err(webpki::Error::UnknownIssuer);
        for trusted in self.behind(anchors, anchor) {
            result = trusted.dates(now);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// A certificate from which an anchor was made, one within its dates if there is one.
    pub(super) fn anchor_der<'t>(
        &'t self,
        anchors: &'t Anchors,
        anchor: &'t TrustAnchor<'_>,
        now: UnixTime,
    ) -> Option<&'t [u8]> {
        let valid = |one: &&Trusted| one.dates(now).is_ok();
        let found = self.behind(anchors, anchor).find(valid);
        let found = found.or_else(|| self.behind(anchors, anchor).next());
        found.map(|one| one.der.as_ref())
    }

    /// The subject of an anchor, for the log.
    pub(super) fn anchor_name(&self, anchors: &Anchors, anchor: &TrustAnchor<'_>) -> String {
        let all = anchors.list.iter().zip(&anchors.of);
        let of = all.filter(|(found, _)| *found == anchor).map(|(_, of)| of);
        // As in the certificate: an anchor by text has the canonical form.
        let mut raw = of.filter_map(|of| self.anchors.of.iter().position(|found| found == of));
        let raw = raw.find_map(|at| self.anchors.list.get(at));
        raw.map_or_else(String::new, |anchor| names::of_content(&anchor.subject))
    }

    /// Whether any path can end here, even if only that of a single certificate.
    pub(super) fn ends_paths(&self) -> bool {
        !self.anchors.list.is_empty() || self.all.iter().any(|one| one.self_signed)
    }

    /// The certificates from which an anchor was made.
    fn behind<'t>(
        &'t self,
        anchors: &'t Anchors,
        anchor: &'t TrustAnchor<'_>,
    ) -> impl Iterator<Item = &'t Trusted> {
        let all = anchors.list.iter().zip(&anchors.of);
        all.filter(move |(found, _)| *found == anchor)
            .filter_map(|(_, of)| self.all.get(*of))
    }
}

impl Trusted {
    fn new(
        der: &CertificateDer<'static>,
        certificate: &X509Certificate<'_>,
        ends: Ends,
    ) -> Option<Self> {
        let time = |seconds: i64| {
            UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap_or(0)))
        };
        let self_signed = self_signed(certificate);
        let rank = match may_sign(certificate) {
            false => Rank::Peer,
            true if ends == Ends::Authorities || self_signed => Rank::Anchor,
            true => Rank::Intermediate,
        };
        Some(Self {
            der: der.clone(),
            name: canonical::name(certificate.subject().as_raw())?,
            public_key: certificate.public_key().raw.to_vec(),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
            self_signed,
            rank,
        })
    }

    fn subject(&self) -> String {
        names::subject_of(&self.der)
    }

    /// Whether `now` is within its dates.
    fn dates(&self, now: UnixTime) -> Result<(), webpki::Error> {
        if now < self.not_before {
            Err(webpki::Error::CertNotValidYet {
                time: now,
                not_before: self.not_before,
            })
        } else if now > self.not_after {
            Err(webpki::Error::CertExpired {
                time: now,
                not_after: self.not_after,
            })
        } else {
            Ok(())
        }
    }
}

/// OpenSSL's check_ca: a leaf in CAfile is trusted itself, but may not sign others.
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
                || (certificate.version() == X509Version::V1 && self_signed(certificate))
        }
        Err(_) => false,
    }
}

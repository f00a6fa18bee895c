//! The certificates of CAfile, CApath or the system: which they are, and what each is good for.

use std::time::Duration;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name, X509Version};

use super::holder::Holder;
use super::self_signed::self_signed;
use super::settings::{self, Verdict};
use super::{canonical, names};

/// A certificate as it was installed to be trusted.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) der: CertificateDer<'static>,
    /// See `settings`; what stands behind a `TRUSTED CERTIFICATE`.
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

/// See the module.
#[derive(Debug)]
pub(super) struct Trust {
    all: Vec<Trusted>,
    rejected: Vec<Holder>,
    anchors: Anchors,
    hints: Vec<DistinguishedName>,
}

/// Those at which a path may end, as webpki wants them, and the index of each in `Trust::all`.
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
    /// It may stand on a path that goes on to an anchor.
    Intermediate,
    /// Itself, and nothing else.
    Peer,
}

/// Where paths may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// At certificates that are signed by themselves, as OpenSSL has it: one that was issued by
    /// another authority says nothing if that authority is not trusted.
    Roots,
    /// At every authority in the store, as in browsers.
    Authorities,
}

impl Trust {
    /// What is trusted to vouch for servers (`serves`) or for clients. Certificates that cannot be
    /// parsed are left out; returns how many they were.
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

    /// Subjects, for the server's request for a certificate.
    pub(super) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    pub(super) fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Anchors of a subject with this canonical form, and the index of each in `all`.
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

    /// The anchors of these names, with the name in its canonical form as their subject.
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

    /// Authorities that were issued by another one.
    pub(super) fn intermediates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let all = self.all.iter();
        all.filter(|trusted| trusted.rank == Rank::Intermediate)
            .map(|trusted| &trusted.der)
    }

    /// Those of a name.
    pub(super) fn of_name(&self, name: &X509Name<'_>) -> impl Iterator<Item = &[u8]> {
        let name = canonical::name(name.as_raw());
        let all = self.all.iter();
        all.filter(move |one| name.as_ref() == Some(&one.name))
            .map(|one| one.der.as_ref())
    }

    /// Whether this very certificate is among them.
    pub(super) fn contains(&self, der: &CertificateDer<'_>) -> bool {
        self.all.iter().any(|trusted| trusted.der == *der)
    }

    /// Whether its subject with its key is installed as not to be trusted. Stricter than OpenSSL, which
    /// goes by whichever certificate of that subject it finds first, and never rejects a leaf that an
    /// authority issued.
    pub(super) fn rejects(&self, certificate: &X509Certificate<'_>) -> bool {
        !self.rejected.is_empty() && self.rejected.contains(&Holder::of(certificate))
    }

    /// The same; what cannot be read is rejected if anything is.
    pub(super) fn rejects_der(&self, der: &[u8]) -> bool {
        let rejects =
            |der| X509Certificate::from_der(der).map_or(true, |(_, it)| self.rejects(&it));
        !self.rejected.is_empty() && rejects(der)
    }

    /// Whether one with the same subject and the same key is among them.
    pub(super) fn knows(&self, certificate: &X509Certificate<'_>) -> bool {
        let name = canonical::name(certificate.subject().as_raw());
        name.is_some_and(|name| {
            self.all.iter().any(|trusted| {
                trusted.name == name && trusted.public_key == certificate.public_key().raw
            })
        })
    }

    /// webpki looks at no dates of an anchor; OpenSSL refuses an expired root, and so do we. A root
    /// that was renewed with its key is two certificates and one anchor: one good one is enough.
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

    /// The subject of an anchor, for the log.
    pub(super) fn anchor_name(&self, anchors: &Anchors, anchor: &TrustAnchor<'_>) -> String {
        let all = anchors.list.iter().zip(&anchors.of);
        let of = all.filter(|(found, _)| *found == anchor).map(|(_, of)| of);
        // As it stands in the certificate: an anchor by text has its canonical form.
        let mut raw = of.filter_map(|of| self.anchors.of.iter().position(|found| found == of));
        let raw = raw.find_map(|at| self.anchors.list.get(at));
        raw.map_or_else(String::new, |anchor| names::of_content(&anchor.subject))
    }

    /// Whether a path can end here at all, if only one of a single certificate.
    pub(super) fn ends_paths(&self) -> bool {
        !self.anchors.list.is_empty() || self.all.iter().any(|one| one.self_signed)
    }

    /// The certificates that an anchor was made of.
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
                || (certificate.version() == X509Version::V1 && self_signed(certificate))
        }
        Err(_) => false,
    }
}

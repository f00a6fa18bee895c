//! The path from a peer's certificate to a trusted one. webpki builds and checks it: signatures, dates,
//! authority, length, name constraints. It compares names by bytes. If that fails and some names are
//! equal by text alone, it is asked again with `twin`s.

use std::borrow::Cow;
use std::cell::Cell;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::der::{self, SEQUENCE};
use super::notes::note;
use super::revocation::Lists;
use super::trust::{Anchors, Trust};
use super::twin::{OfOriginals, Twin};
use super::{key_kinds, names, signatures};

/// What every path is checked against.
pub(super) struct Search<'a> {
    pub(super) trust: &'a Trust,
    pub(super) algorithms: &'a WebPkiSupportedAlgorithms,
    pub(super) usage: KeyUsage,
    pub(super) now: UnixTime,
    /// An authority that one of these revokes is on no path.
    pub(super) lists: Option<&'a Lists>,
    /// The smallest RSA key of an authority, in bits.
    pub(super) smallest_key: usize,
    /// One that was smaller: the path fails with `InvalidSignatureForPublicKey`.
    pub(super) too_small: Cell<Option<usize>>,
    /// Whether the certificates above the leaf are wanted too.
    pub(super) with_certificates: bool,
}

/// What is above the leaf, the anchor last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Above {
    pub(super) names: Vec<String>,
    /// The certificates, where they are wanted.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Search<'_> {
    /// Finds a path from `leaf` (parsed as `certificate`) through `sent` and the trusted certificates.
    ///
    /// # Errors
    /// There is none; the fault of the best one.
    pub(super) fn path(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        sent: &[CertificateDer<'_>],
    ) -> Result<Above, webpki::Error> {
        let tried = self.tried(sent);
        if is_odd(certificate) {
            let twin = Twin::of_odd_leaf(leaf).ok_or(webpki::Error::BadDer)?;
            return self.by_text(self.twins(twin, &tried));
        }
        let error = match self.by_bytes(leaf, &tried) {
            Ok(above) => return Ok(above),
            Err(error) => error,
        };
        let twins = Twin::of(leaf).map(|twin| self.twins(twin, &tried));
        match twins.filter(|twins| self.differ_by_text(twins)) {
            None => Err(error),
            Some(twins) => self.by_text(twins).map_err(|second| match error {
                webpki::Error::UnknownIssuer => second,
                first => first,
            }),
        }
    }

    /// The candidates between leaf and anchor, however many a peer sends: webpki limits its steps.
    fn tried<'s>(&'s self, sent: &'s [CertificateDer<'s>]) -> Cow<'s, [CertificateDer<'s>]> {
        let borrowed = |der: &'s CertificateDer<'_>| CertificateDer::from(der.as_ref());
        let mut own = self.trust.intermediates().peekable();
        if own.peek().is_none() {
            return Cow::Borrowed(sent);
        }
        let sent = sent.iter().map(borrowed);
        Cow::Owned(sent.chain(own.map(borrowed)).collect())
    }

    fn by_bytes(
        &self,
        leaf: &CertificateDer<'_>,
        tried: &[CertificateDer<'_>],
    ) -> Result<Above, webpki::Error> {
        let algorithms = self.algorithms.all;
        self.ask(leaf, tried, self.trust.anchors(), algorithms, &[])
    }

    /// The twins of the leaf and the others. Of equal twins only the first is kept.
    fn twins<'t>(&self, leaf: Twin<'t>, tried: &'t [CertificateDer<'_>]) -> Vec<Twin<'t>> {
        let mut twins = vec![leaf];
        for twin in tried.iter().filter_map(Twin::of) {
            if twins.iter().all(|other| other.der != twin.der) {
                twins.push(twin);
            }
        }
        twins
    }

    /// Whether comparing names by text links certificates that comparing by bytes does not.
    fn differ_by_text(&self, twins: &[Twin<'_>]) -> bool {
        twins.iter().any(|twin| {
            let mut subjects = twins.iter().map(|other| &other.subject);
            subjects.any(|name| twin.is_issued_by_text(name))
                || (self.trust.anchors_of(&twin.issuer.canonical))
                    .any(|(anchor, _)| anchor.subject.as_ref() != twin.issuer.raw)
        })
    }

    fn by_text(&self, twins: Vec<Twin<'_>>) -> Result<Above, webpki::Error> {
        let (leaf, others) = twins.split_first().ok_or(webpki::Error::BadDer)?;
        let others: Vec<_> = others.iter().map(|twin| twin.der.clone()).collect();
        let issuers = twins.iter().map(|twin| &twin.issuer.canonical[..]);
        let anchors = self.trust.anchors_by_text(issuers);
        let algorithms = self.algorithms.all.iter();
        let algorithms: Vec<_> = algorithms
            .map(|algorithm| OfOriginals {
                twins: &twins,
                algorithm: *algorithm,
            })
            .collect();
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
            algorithms.iter().map(|algorithm| algorithm as _).collect();
        self.ask(&leaf.der, &others, &anchors, &algorithms, &twins)
    }

    /// Asks webpki about certificates, or about their `twins`.
    fn ask(
        &self,
        leaf: &CertificateDer<'_>,
        tried: &[CertificateDer<'_>],
        anchors: &Anchors,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        twins: &[Twin<'_>],
    ) -> Result<Above, webpki::Error> {
        let acceptable = |path: &VerifiedPath<'_>| {
            self.trust.anchor_dates(anchors, path.anchor(), self.now)?;
            let mut intermediates = path.intermediate_certificates();
            intermediates.try_for_each(|one| self.may_stand(original(twins, &one.der())))?;
            self.keys_of(path)?;
            match self.lists {
                Some(lists) => self.none_is_revoked(&self.above(anchors, path, twins), lists),
                None => Ok(()),
            }
        };
        let entity = EndEntityCert::try_from(leaf)?;
        let path = entity.verify_for_usage(
            algorithms,
            &anchors.list,
            tried,
            self.now,
            self.usage,
            None,
            Some(&acceptable),
        )?;
        let intermediates = path.intermediate_certificates();
        let names = intermediates.map(|one| match twin_of(twins, &one.der()) {
            Some(twin) => names::of_content(twin.subject.raw),
            None => names::of_content(one.subject()),
        });
        let anchor = self.trust.anchor_name(anchors, path.anchor());
        let certificates = self
            .with_certificates
            .then(|| self.above(anchors, &path, twins));
        Ok(Above {
            names: names.chain([anchor]).collect(),
            certificates: certificates.unwrap_or_default(),
        })
    }

    /// The certificates above the leaf, the anchor's last.
    fn above(
        &self,
        anchors: &Anchors,
        path: &VerifiedPath<'_>,
        twins: &[Twin<'_>],
    ) -> Vec<Vec<u8>> {
        let anchor = self.trust.anchor_der(anchors, path.anchor(), self.now);
        let anchor = anchor.map(<[u8]>::to_vec);
        let intermediates = path.intermediate_certificates();
        let intermediates = intermediates.map(|one| original(twins, &one.der()).to_vec());
        intermediates.chain(anchor).collect()
    }

    fn none_is_revoked(&self, above: &[Vec<u8>], lists: &Lists) -> Result<(), webpki::Error> {
        let above = parsed(above).ok_or(webpki::Error::BadDer)?;
        let Some(depth) = lists.revoked_authority(&above, self.now.as_secs() as i64) else {
            return Ok(());
        };
        let authority = above.get(depth - 1);
        let name = authority.map(|one| names::distinguished(one.subject()));
        let name = name.unwrap_or_default();
        note(
            5,
            format!("CERT: Authority revoked at depth={depth}: {name}"),
        );
        Err(webpki::Error::CertRevoked)
    }

    /// webpki takes authorities' RSA keys from 2048 bits on.
    fn keys_of(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        if self.smallest_key <= signatures::MIN_RSA {
            return Ok(());
        }
        let intermediates = path.intermediate_certificates();
        let of_intermediates = intermediates.map(|one| {
            let der = one.der();
            let (_, certificate) = X509Certificate::from_der(&der).ok()?;
            key_kinds::rsa_bits(&certificate)
        });
        let anchor = key_kinds::rsa_bits_of(&path.anchor().subject_public_key_info);
        let mut bits = of_intermediates.chain([anchor]).flatten();
        match bits.find(|bits| *bits < self.smallest_key) {
            Some(bits) => {
                self.too_small.set(Some(bits));
                Err(webpki::Error::InvalidSignatureForPublicKey)
            }
            None => Ok(()),
        }
    }

    /// Two checks that webpki does not make: a keyUsage without keyCertSign forbids signing
    /// certificates, and CAfile's trust settings may reject one.
    fn may_stand(&self, der: &[u8]) -> Result<(), webpki::Error> {
        if self.trust.rejects_der(der) {
            return Err(webpki::Error::CertDistrusted);
        }
        match may_sign(der) {
            Some(true) => Ok(()),
            Some(false) => Err(webpki::Error::EndEntityUsedAsCa),
            None => Err(webpki::Error::BadDer),
        }
    }
}

/// Certificates to look at.
pub(super) fn parsed(certificates: &[Vec<u8>]) -> Option<Vec<X509Certificate<'_>>> {
    let certificates = certificates.iter();
    let certificates = certificates.map(|der| Some(X509Certificate::from_der(der).ok()?.1));
    certificates.collect()
}

/// Whether a keyUsage, if present, has keyCertSign (RFC 5280, section 4.2.1.3); `None` if damaged.
fn may_sign(certificate: &[u8]) -> Option<bool> {
    /// 2.5.29.15 as an element
    const KEY_USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 0x0f];
    const EXTENSIONS: u8 = 0xa3;
    const KEY_CERT_SIGN: u8 = 0x80 >> 5;
    let (to_be_signed, _) = der::first(der::only(certificate, SEQUENCE)?)?;
    let fields = der::all(to_be_signed.content)?;
    let Some(extensions) = fields.iter().find(|field| field.tag == EXTENSIONS) else {
        return Some(true);
    };
    let extensions = der::all(der::only(extensions.content, SEQUENCE)?)?;
    let mut usages = (extensions.iter()).filter(|one| one.content.starts_with(KEY_USAGE));
    let Some(usage) = usages.next() else {
        return Some(true);
    };
    let value = der::all(usage.content)?.pop()?.content;
    // A BIT STRING starts with the number of unused bits.
    let bits = der::only(value, 3)?;
    Some(bits.get(1).is_some_and(|byte| byte & KEY_CERT_SIGN != 0))
}

fn twin_of<'a>(twins: &'a [Twin<'a>], der: &CertificateDer<'_>) -> Option<&'a Twin<'a>> {
    twins.iter().find(|twin| twin.der == *der)
}

/// The certificate behind this twin, or this one.
fn original<'a>(twins: &'a [Twin<'a>], der: &'a CertificateDer<'_>) -> &'a [u8] {
    twin_of(twins, der).map_or(der.as_ref(), |twin| twin.original)
}

/// Whether webpki rejects it as an end entity.
fn is_odd(certificate: &X509Certificate<'_>) -> bool {
    certificate.version() == X509Version::V1 || certificate.is_ca()
}

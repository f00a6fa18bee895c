//! A certificate's twin: the same certificate with its names in canonical form. webpki compares names
//! by bytes; given twins, it compares what OpenSSL compares, and everything else in its judgement stays
//! the same. Signatures are still checked over what was signed: a twin knows its original.

use std::fmt;

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use webpki::EndEntityCert;

use super::canonical;
use super::der::{self, Element, SEQUENCE};

/// `[0]`, the version.
const VERSION: u8 = 0xa0;
/// `[3]`, the extensions.
const EXTENSIONS: u8 = 0xa3;
/// X.509 version 3
const VERSION_3: &[u8] = &[VERSION, 3, 2, 1, 2];
/// 2.5.29.19 as an element
const BASIC_CONSTRAINTS: &[u8] = &[6, 3, 0x55, 0x1d, 0x13];

/// A name as it is in a certificate and as it is compared, both without the SEQUENCE around it.
#[derive(Debug)]
pub(super) struct Name<'a> {
    pub(super) raw: &'a [u8],
    pub(super) canonical: Vec<u8>,
}

/// A certificate with canonical names.
#[derive(Debug)]
pub(super) struct Twin<'a> {
    pub(super) der: CertificateDer<'static>,
    /// The part that its signature would cover.
    signed: Vec<u8>,
    pub(super) original: &'a [u8],
    /// The part that the signature covers.
    originally_signed: &'a [u8],
    pub(super) issuer: Name<'a>,
    pub(super) subject: Name<'a>,
}

impl<'a> Twin<'a> {
    /// The twin of a certificate that webpki accepts; `None` for any other.
    pub(super) fn of(original: &'a CertificateDer<'_>) -> Option<Self> {
        EndEntityCert::try_from(original).ok()?;
        Self::made(original, false)
    }

    /// The twin of a leaf that OpenSSL accepts and webpki does not, changed into one that webpki
    /// accepts: X.509 version 3 instead of 1, and no basicConstraints, which say CA:TRUE.
    pub(super) fn of_odd_leaf(original: &'a CertificateDer<'_>) -> Option<Self> {
        Self::made(original, true)
    }

    fn made(original: &'a [u8], as_leaf: bool) -> Option<Self> {
        let certificate = der::all(der::only(original, SEQUENCE)?)?;
        let [to_be_signed, algorithm, signature] = <[_; 3]>::try_from(certificate).ok()?;
        let fields = der::all(der::only(to_be_signed.whole, SEQUENCE)?)?;
        let (version, fields) = match fields.split_first()? {
            (version, fields) if version.tag == VERSION => (version.whole, fields),
            _ => (&[][..], &fields[..]),
        };
        let [serial, signed_by, issuer, validity, subject, rest @ ..] = fields else {
            return None;
        };
        let (issuer, subject) = (Name::of(issuer)?, Name::of(subject)?);
        let mut content = if as_leaf { VERSION_3 } else { version }.to_vec();
        content.extend_from_slice(serial.whole);
        content.extend_from_slice(signed_by.whole);
        der::push(&mut content, SEQUENCE, &issuer.canonical);
        content.extend_from_slice(validity.whole);
        der::push(&mut content, SEQUENCE, &subject.canonical);
        for field in rest {
            match field.tag {
                EXTENSIONS if as_leaf => der::push(&mut content, EXTENSIONS, &as_no_ca(field)?),
                _ => content.extend_from_slice(field.whole),
            }
        }
        let signed = der::element(SEQUENCE, &content);
        let parts = [&signed[..], algorithm.whole, signature.whole].concat();
        Some(Self {
            der: der::element(SEQUENCE, &parts).into(),
            signed,
            original,
            originally_signed: to_be_signed.whole,
            issuer,
            subject,
        })
    }

    /// Whether `issuer` is the issuer of `self` only if names are compared by text.
    pub(super) fn is_issued_by_text(&self, issuer: &Name<'_>) -> bool {
        self.issuer.canonical == issuer.canonical && self.issuer.raw != issuer.raw
    }
}

impl<'a> Name<'a> {
    fn of(name: &Element<'a>) -> Option<Self> {
        Some(Self {
            raw: name.content,
            canonical: canonical::name(name.whole)?,
        })
    }
}

/// The extensions without basicConstraints.
fn as_no_ca(extensions: &Element<'_>) -> Option<Vec<u8>> {
    let mut left = Vec::new();
    let mut removed = 0;
    for extension in der::all(der::only(extensions.content, SEQUENCE)?)? {
        if extension.content.starts_with(BASIC_CONSTRAINTS) {
            removed += 1;
        } else {
            left.extend_from_slice(extension.whole);
        }
    }
    // An extension may occur once (RFC 5280, section 4.2).
    (removed <= 1).then(|| der::element(SEQUENCE, &left))
}

/// A signature algorithm that is given twins and checks their originals.
pub(super) struct OfOriginals<'a> {
    pub(super) twins: &'a [Twin<'a>],
    pub(super) algorithm: &'a dyn SignatureVerificationAlgorithm,
}

impl fmt::Debug for OfOriginals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}

impl SignatureVerificationAlgorithm for OfOriginals<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let twin = self.twins.iter().find(|twin| twin.signed == message);
        let original = twin.ok_or(InvalidSignature)?.originally_signed;
        self.algorithm
            .verify_signature(public_key, original, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

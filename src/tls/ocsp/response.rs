//! A response: taken apart, and judged as OpenSSL does (OCSP_basic_verify(3), OCSP_check_validity(3)). Never in
//! here: an answer that is given before the signature was checked.

use aws_lc_rs::digest;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::super::canonical;
use super::super::der::{self, Element, OBJECT_IDENTIFIER, SEQUENCE};
use super::subject::{NONCE, OCTETS, Subject};
use super::{Doubt, LEEWAY, Status, Terms, Told};

const ENUMERATED: u8 = 0x0a;
const BITS: u8 = 0x03;
const TIME: u8 = 0x18;
const BOOLEAN: u8 = 0x01;
/// `[0]`, explicit: what it means depends on where it stands.
const ZERO: u8 = 0xa0;
/// `[1]`, explicit.
const ONE: u8 = 0xa1;
/// `[2]`, explicit.
const TWO: u8 = 0xa2;
/// `[0]` and `[2]` of CertStatus, which are empty.
const GOOD: u8 = 0x80;
const UNKNOWN: u8 = 0x82;
/// 1.3.6.1.5.5.7.48.1.1
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// The most certificates in a response that are looked at: each costs two signatures to check, and one is
/// enough.
const MAX_CERTIFICATES: usize = 8;

/// Judges what `response` says about `subject`, at `now` in seconds since 1970; with a nonce, it must be the
/// answer to that one.
pub(super) fn judge(
    response: &[u8],
    subject: &Subject,
    nonce: Option<&[u8]>,
    terms: &Terms,
    now: i64,
) -> Result<Told, Doubt> {
    let basic = basic(response)?;
    let response = Response::read(basic).ok_or(Doubt::Unreadable)?;
    response.check_extensions(nonce)?;
    let (_, issuer) = X509Certificate::from_der(&subject.issuer).map_err(|_| Doubt::Signer)?;
    response.check_signature(&issuer, terms, now)?;
    let single = response.about(subject, &issuer)?;
    single.judge(now)
}

/// The BasicOCSPResponse in an OCSPResponse.
fn basic(response: &[u8]) -> Result<&[u8], Doubt> {
    let parts = der::only(response, SEQUENCE).and_then(der::all);
    let parts = parts.ok_or(Doubt::Unreadable)?;
    let status = match parts.first() {
        Some(Element {
            tag: ENUMERATED,
            content: [status],
            ..
        }) => *status,
        _ => return Err(Doubt::Unreadable),
    };
    if status != 0 {
        return Err(Doubt::Responder(status));
    }
    let Some(bytes) = parts.get(1).filter(|part| part.tag == ZERO) else {
        return Err(Doubt::NotBasic);
    };
    let bytes = der::only(bytes.content, SEQUENCE).and_then(der::all);
    match bytes.unwrap_or_default()[..] {
        [kind, octets]
            if kind.tag == OBJECT_IDENTIFIER && kind.content == BASIC && octets.tag == OCTETS =>
        {
            Ok(octets.content)
        }
        _ => Err(Doubt::NotBasic),
    }
}

/// The responder that a response names.
enum Responder<'a> {
    /// Name, as DER.
    Name(&'a [u8]),
    /// SHA-1 over its public key.
    Key(&'a [u8]),
}

/// A BasicOCSPResponse.
struct Response<'a> {
    /// What is signed.
    signed: &'a [u8],
    responder: Responder<'a>,
    singles: Vec<Element<'a>>,
    extensions: Vec<Extension<'a>>,
    /// An AlgorithmIdentifier's content.
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<Element<'a>>,
}

impl<'a> Response<'a> {
    fn read(basic: &'a [u8]) -> Option<Self> {
        let parts = der::all(der::only(basic, SEQUENCE)?)?;
        let ([data, algorithm, signature] | [data, algorithm, signature, _]) = parts[..] else {
            return None;
        };
        let certificates = match parts.get(3) {
            Some(part) if part.tag == ZERO => der::all(der::only(part.content, SEQUENCE)?)?,
            Some(_) => return None,
            None => Vec::new(),
        };
        if data.tag != SEQUENCE || algorithm.tag != SEQUENCE {
            return None;
        }
        let fields = der::all(data.content)?;
        let mut fields = fields.into_iter().peekable();
        // Version 1 is the default, and the only one.
        fields.next_if(|field| field.tag == ZERO);
        let responder = fields.next()?;
        let responder = match responder.tag {
            ONE => Responder::Name(responder.content),
            TWO => Responder::Key(der::only(responder.content, OCTETS)?),
            _ => return None,
        };
        time(fields.next()?)?;
        let singles = fields.next().filter(|field| field.tag == SEQUENCE)?;
        Some(Self {
            signed: data.whole,
            responder,
            singles: der::all(singles.content)?,
            extensions: extensions(fields.next())?,
            algorithm: algorithm.content,
            signature: bits(signature)?,
            certificates,
        })
    }

    fn check_extensions(&self, nonce: Option<&[u8]>) -> Result<(), Doubt> {
        let is_nonce = |extension: &&Extension<'_>| extension.kind == NONCE;
        if let Some(nonce) = nonce {
            let told = self.extensions.iter().find(is_nonce);
            let told = told.and_then(|told| der::only(told.value, OCTETS));
            if told != Some(nonce) {
                return Err(Doubt::Nonce);
            }
        }
        let mut others = self.extensions.iter().filter(|one| !is_nonce(one));
        match others.any(|one| one.critical) {
            true => Err(Doubt::Extension),
            false => Ok(()),
        }
    }

    /// That it is by the issuer, or by one whose certificate the issuer gave out for OCSP signing
    /// (RFC 6960, section 4.2.2.2). Whether that certificate is revoked is not asked, with or without
    /// id-pkix-ocsp-nocheck: as in OpenSSL, and it would have to be asked of its holder.
    fn check_signature(
        &self,
        issuer: &X509Certificate<'_>,
        terms: &Terms,
        now: i64,
    ) -> Result<(), Doubt> {
        let mut doubt = Doubt::Signer;
        if self.is_named(issuer) {
            if self.is_signed_by(issuer.public_key(), terms) {
                return Ok(());
            }
            doubt = Doubt::Signature;
        }
        if !terms.delegated {
            return Err(doubt);
        }
        for der in self.certificates.iter().take(MAX_CERTIFICATES) {
            let Ok((_, certificate)) = X509Certificate::from_der(der.whole) else {
                continue;
            };
            if !self.is_named(&certificate) {
                continue;
            }
            if !self.is_signed_by(certificate.public_key(), terms) {
                doubt = Doubt::Signature;
            } else if is_delegate(der.whole, &certificate, issuer, terms, now) {
                return Ok(());
            } else {
                doubt = Doubt::Delegate;
            }
        }
        Err(doubt)
    }

    /// Whether the responder says to be the holder of this certificate.
    fn is_named(&self, certificate: &X509Certificate<'_>) -> bool {
        match self.responder {
            Responder::Name(name) => same_name(name, certificate.subject().as_raw()),
            Responder::Key(hash) => {
                let key = &certificate.public_key().subject_public_key.data;
                digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key).as_ref() == hash
            }
        }
    }

    fn is_signed_by(&self, key: &SubjectPublicKeyInfo<'_>, terms: &Terms) -> bool {
        let signature = (self.algorithm, self.signature);
        is_by(key, self.signed, signature, &terms.algorithms)
    }

    /// What it says about one certificate.
    fn about(&self, subject: &Subject, issuer: &X509Certificate<'_>) -> Result<Single<'_>, Doubt> {
        for single in &self.singles {
            let single = Single::read(*single).ok_or(Doubt::Unreadable)?;
            if subject.is(single.identifier, issuer) {
                return Ok(single);
            }
        }
        Err(Doubt::Other)
    }
}

/// A SingleResponse.
struct Single<'a> {
    /// A CertID's content.
    identifier: &'a [u8],
    /// `None`: unknown.
    status: Option<Status>,
    this_update: i64,
    next_update: Option<i64>,
    extensions: Vec<Extension<'a>>,
}

impl<'a> Single<'a> {
    fn read(single: Element<'a>) -> Option<Self> {
        if single.tag != SEQUENCE {
            return None;
        }
        let mut fields = der::all(single.content)?.into_iter().peekable();
        let identifier = fields.next().filter(|field| field.tag == SEQUENCE)?;
        let status = fields.next()?;
        let status = match status.tag {
            GOOD => Some(Status::Good),
            // `[1]`, RevokedInfo, implicit.
            ONE => Some(revoked(status.content)?),
            UNKNOWN => None,
            _ => return None,
        };
        let this_update = time(fields.next()?)?;
        let next_update = fields.next_if(|field| field.tag == ZERO);
        let next_update = match next_update {
            Some(field) => Some(time(der::first(field.content)?.0)?),
            None => None,
        };
        Some(Self {
            identifier: identifier.content,
            status,
            this_update,
            next_update,
            extensions: extensions(fields.next())?,
        })
    }

    fn judge(&self, now: i64) -> Result<Told, Doubt> {
        if self.extensions.iter().any(|extension| extension.critical) {
            return Err(Doubt::Extension);
        }
        if self.this_update > now + LEEWAY {
            return Err(Doubt::Early);
        }
        let over = |next| next < now - LEEWAY || next < self.this_update;
        if self.next_update.is_some_and(over) {
            return Err(Doubt::Late);
        }
        Ok(Told {
            status: self.status.ok_or(Doubt::Unknown)?,
            this_update: self.this_update,
            next_update: self.next_update,
        })
    }
}

fn revoked(info: &[u8]) -> Option<Status> {
    let parts = der::all(info)?;
    let since = time(*parts.first()?)?;
    let reason = match parts.get(1) {
        Some(part) if part.tag == ZERO => match der::only(part.content, ENUMERATED)? {
            [number] => Some(*number),
            _ => return None,
        },
        Some(_) => return None,
        None => None,
    };
    Some(Status::Revoked(since, reason))
}

struct Extension<'a> {
    kind: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

/// Those in `[1]`, if there are any.
fn extensions(field: Option<Element<'_>>) -> Option<Vec<Extension<'_>>> {
    let Some(field) = field else {
        return Some(Vec::new());
    };
    if field.tag != ONE {
        return None;
    }
    let all = der::all(der::only(field.content, SEQUENCE)?)?;
    all.into_iter().map(extension).collect()
}

fn extension(one: Element<'_>) -> Option<Extension<'_>> {
    let parts = der::all(one.content)?;
    let (kind, critical, value) = match parts[..] {
        [kind, value] => (kind, false, value),
        [kind, critical, value] if critical.tag == BOOLEAN => {
            (kind, critical.content != [0], value)
        }
        _ => return None,
    };
    let fits = one.tag == SEQUENCE && kind.tag == OBJECT_IDENTIFIER && value.tag == OCTETS;
    fits.then_some(Extension {
        kind: kind.content,
        critical,
        value: value.content,
    })
}

/// A GeneralizedTime, in seconds since 1970.
fn time(element: Element<'_>) -> Option<i64> {
    if element.tag != TIME {
        return None;
    }
    let (_, time) = ASN1Time::from_der(element.whole).ok()?;
    Some(time.timestamp())
}

/// The bytes of a BIT STRING without a broken one.
fn bits(element: Element<'_>) -> Option<&[u8]> {
    match element.content.split_first() {
        Some((0, bytes)) if element.tag == BITS => Some(bytes),
        _ => None,
    }
}

/// Names are equal by text, as in OpenSSL; those that cannot be decoded, by their bytes.
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    match (canonical::name(one), canonical::name(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether the issuer gave this certificate out for OCSP signing, and it is valid now.
fn is_delegate(
    der: &[u8],
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    terms: &Terms,
    now: i64,
) -> bool {
    let usage = certificate.extended_key_usage();
    let signs = matches!(usage, Ok(Some(usage)) if usage.value.ocsp_signing);
    let validity = certificate.validity();
    let valid = (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
    signs
        && valid
        && same_name(certificate.issuer().as_raw(), issuer.subject().as_raw())
        && is_issued(der, issuer, terms).unwrap_or(false)
}

pub(super) fn is_issued(der: &[u8], issuer: &X509Certificate<'_>, terms: &Terms) -> Option<bool> {
    let parts = der::all(der::only(der, SEQUENCE)?)?;
    let [signed, algorithm, signature] = parts[..] else {
        return None;
    };
    let signature = (algorithm.content, bits(signature)?);
    let key = issuer.public_key();
    Some(is_by(key, signed.whole, signature, &terms.algorithms))
}

/// Whether a key made a signature, which is given behind its algorithm. SHA-1 does not count: a client's
/// request decides part of what a responder signs.
fn is_by(
    key: &SubjectPublicKeyInfo<'_>,
    message: &[u8],
    (algorithm, signature): (&[u8], &[u8]),
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(key.raw);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
        return false;
    };
    let mut algorithms = algorithms.all.iter();
    algorithms.any(|one| {
        one.signature_alg_id().as_ref() == algorithm
            && key.verify_signature(*one, message, signature).is_ok()
    })
}

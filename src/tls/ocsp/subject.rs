//! The certificate that is asked about: its identifier, and the request. Never in here: an answer.

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::der::{self, Element, OBJECT_IDENTIFIER, SEQUENCE};
use super::super::names;

pub(super) const OCTETS: u8 = 0x04;
pub(super) const INTEGER: u8 = 0x02;
const NULL: &[u8] = &[5, 0];
/// 1.3.14.3.2.26
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
/// 2.16.840.1.101.3.4.2, of which 1 is SHA-256, 2 SHA-384 and 3 SHA-512.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
/// 1.3.6.1.5.5.7.48.1.2
pub(super) const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
/// As long as RFC 8954 allows.
pub(super) const NONCE_LENGTH: usize = 32;

/// A certificate and its issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// How far it is above the peer's own.
    pub(super) depth: usize,
    /// For the log.
    pub(super) name: String,
    issuer_name: Vec<u8>,
    serial: Vec<u8>,
    /// The issuer's certificate.
    pub(super) issuer: Vec<u8>,
}

impl Subject {
    /// Of a certificate, and of the one that it was issued by.
    pub(super) fn new(depth: usize, certificate: &X509Certificate<'_>, issuer: &[u8]) -> Self {
        Self {
            depth,
            name: names::distinguished(certificate.subject()),
            issuer_name: certificate.issuer().as_raw().to_vec(),
            serial: certificate.raw_serial().to_vec(),
            issuer: issuer.to_vec(),
        }
    }

    /// CertID, by SHA-1, which every responder knows (RFC 5019, section 2.1.1). Forging one would take a second
    /// preimage. `None`: the issuer cannot be parsed.
    pub(super) fn identifier(&self) -> Option<Vec<u8>> {
        let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        let (_, issuer) = X509Certificate::from_der(&self.issuer).ok()?;
        let algorithm = [&der::element(OBJECT_IDENTIFIER, SHA1)[..], NULL].concat();
        let name = digest::digest(hash, &self.issuer_name);
        let key = digest::digest(hash, &issuer.public_key().subject_public_key.data);
        let parts = [
            der::element(SEQUENCE, &algorithm),
            der::element(OCTETS, name.as_ref()),
            der::element(OCTETS, key.as_ref()),
            der::element(INTEGER, &self.serial),
        ];
        Some(der::element(SEQUENCE, &parts.concat()))
    }

    /// OCSPRequest. `None`: as above.
    pub(super) fn request(&self, nonce: Option<&[u8; NONCE_LENGTH]>) -> Option<Vec<u8>> {
        /// `[2]`, requestExtensions
        const EXTENSIONS: u8 = 0xa2;
        let one = der::element(SEQUENCE, &self.identifier()?);
        let mut request = der::element(SEQUENCE, &one);
        if let Some(nonce) = nonce {
            let parts = [
                der::element(OBJECT_IDENTIFIER, NONCE),
                der::element(OCTETS, &der::element(OCTETS, nonce)),
            ];
            let extension = der::element(SEQUENCE, &parts.concat());
            let extensions = der::element(SEQUENCE, &extension);
            der::push(&mut request, EXTENSIONS, &extensions);
        }
        let request = der::element(SEQUENCE, &request);
        Some(der::element(SEQUENCE, &request))
    }

    /// Whether a CertID is this one's, by whichever hash the responder took.
    pub(super) fn is(&self, identifier: &[u8], issuer: &X509Certificate<'_>) -> bool {
        let parts = der::all(identifier).unwrap_or_default();
        let [algorithm, name, key, serial] = parts[..] else {
            return false;
        };
        let Some(hash) = hash_of(&algorithm) else {
            return false;
        };
        let is = |part: Element<'_>, of: &[u8]| {
            part.tag == OCTETS && part.content == digest::digest(hash, of).as_ref()
        };
        serial.tag == INTEGER
            && serial.content == self.serial
            && is(name, &self.issuer_name)
            && is(key, &issuer.public_key().subject_public_key.data)
    }
}

fn hash_of(algorithm: &Element<'_>) -> Option<&'static digest::Algorithm> {
    let (kind, _) = der::first(algorithm.content)?;
    if algorithm.tag != SEQUENCE || kind.tag != OBJECT_IDENTIFIER {
        return None;
    }
    match kind.content.strip_prefix(SHA2) {
        Some([1]) => Some(&digest::SHA256),
        Some([2]) => Some(&digest::SHA384),
        Some([3]) => Some(&digest::SHA512),
        _ => (kind.content == SHA1).then_some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
    }
}

//! Describes a key that cannot be used: its size, its curve, its kind.

use std::borrow::Cow;

use rustls::pki_types::PrivateKeyDer;
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::der::{self, Element, OBJECT_IDENTIFIER, SEQUENCE};

/// 1.2.840.10045.2.1, id-ecPublicKey
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// 1.2.840.113549.1.1.1, rsaEncryption
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// The keys that adit takes, for messages.
pub(super) const TAKEN: &str =
    "adit takes RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, and Ed25519";

/// The size of a certificate's RSA key, in bits.
pub(super) fn rsa_bits(certificate: &X509Certificate<'_>) -> Option<usize> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => bits(key.modulus),
        _ => None,
    }
}

/// The size of an RSA key in the content of a SubjectPublicKeyInfo, as webpki keeps one, in bits.
pub(super) fn rsa_bits_of(info: &[u8]) -> Option<usize> {
    let parts = der::all(info)?;
    let [algorithm, key] = <[_; 2]>::try_from(parts).ok()?;
    let (kind, _) = der::first(algorithm.content)?;
    // A BIT STRING starts with the number of unused bits; then modulus and exponent.
    let numbers = der::all(der::only(key.content.get(1..)?, SEQUENCE)?)?;
    (kind.content == RSA).then(|| bits(numbers.first()?.content))?
}

/// The bits of a number, from the highest one set.
fn bits(number: &[u8]) -> Option<usize> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let (first, rest) = number.get(zeros..)?.split_first()?;
    Some(8 * rest.len() + 8 - first.leading_zeros() as usize)
}

/// Describes a certificate's key.
pub(super) fn of_certificate(certificate: &X509Certificate<'_>) -> Option<String> {
    if let Some(bits) = rsa_bits(certificate) {
        return Some(rsa(bits));
    }
    let key = der::all(der::only(certificate.public_key().raw, SEQUENCE)?)?;
    of_algorithm(key.first()?)
}

/// Whether two public keys (subjectPublicKeyInfo) are equal, even if one names its curve and the other
/// spells it out.
pub(super) fn are_the_same(one: &[u8], other: &[u8]) -> bool {
    let point = |key| {
        let parts = der::all(der::only(key, SEQUENCE)?)?;
        let [algorithm, point] = <[_; 2]>::try_from(parts).ok()?;
        let (kind, _) = der::first(algorithm.content)?;
        (kind.content == EC).then_some(point.content)
    };
    one == other || point(one).is_some_and(|found| point(other) == Some(found))
}

/// Describes a private key.
pub(super) fn of_private_key(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        PrivateKeyDer::Pkcs1(key) => rsa_private(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => {
            // RFC 5915: version, private key, [0] parameters.
            let parts = der::all(der::only(key.secret_sec1_der(), SEQUENCE)?)?;
            let parameters = parts.iter().find(|part| part.tag == 0xa0)?;
            ec(&der::first(parameters.content)?.0)
        }
        PrivateKeyDer::Pkcs8(key) => {
            // RFC 5208: version, algorithm, private key.
            let parts = der::all(der::only(key.secret_pkcs8_der(), SEQUENCE)?)?;
            let [_, algorithm, private, ..] = &parts[..] else {
                return None;
            };
            match der::first(algorithm.content)?.0.content == RSA {
                true => rsa_private(private.content),
                false => of_algorithm(algorithm),
            }
        }
        _ => None,
    }
}

fn rsa(bits: usize) -> String {
    format!("RSA of {bits} bits")
}

fn rsa_private(key: &[u8]) -> Option<String> {
    let parts = der::all(der::only(key, SEQUENCE)?)?;
    bits(parts.get(1)?.content).map(rsa)
}

/// An AlgorithmIdentifier.
fn of_algorithm(algorithm: &Element<'_>) -> Option<String> {
    let (kind, parameters) = der::first(algorithm.content)?;
    match kind.content == EC {
        true => ec(&der::first(parameters)?.0),
        false => Some(format!("a key of the kind {}", dotted(kind.content))),
    }
}

/// RFC 5480, section 2.1.1.
fn ec(parameters: &Element<'_>) -> Option<String> {
    match parameters.tag {
        SEQUENCE => {
            Some("an EC key with explicit parameters, where a named curve is required".into())
        }
        OBJECT_IDENTIFIER => Some(format!(
            "an EC key on the curve {}",
            dotted(parameters.content)
        )),
        _ => None,
    }
}

fn dotted(identifier: &[u8]) -> String {
    Oid::new(Cow::Borrowed(identifier)).to_id_string()
}

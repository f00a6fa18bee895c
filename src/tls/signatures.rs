//! Signatures by the keys of certificates: rustls' checks, and the same for certificates that webpki
//! does not parse (X.509 version 1, made by `openssl x509 -req` and used by old appliances).

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use webpki::{EndEntityCert, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::der::{self, SEQUENCE};
use super::failure::Offence;
use super::key_kinds;
use super::notes::blame;
use super::old_signatures::{BY_SHA1, smallest_rsa};

/// The smallest RSA key, in bits: AWS-LC as rustls uses it verifies nothing by smaller or larger ones.
pub(super) const MIN_RSA: usize = 2048;
/// The largest RSA key, in bits.
pub(super) const MAX_RSA: usize = 8192;

/// Whether the key of `cert` signed a TLS 1.2 handshake.
pub(super) fn tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    by_12(message, cert, dss, algorithms).inspect_err(|error| tell(error, cert))
}

/// Whether the key of `cert` signed a TLS 1.3 handshake.
pub(super) fn tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    by_13(message, cert, dss, algorithms).inspect_err(|error| tell(error, cert))
}

/// Whether a key made a revocation list's signature, which is given behind its algorithm (an
/// AlgorithmIdentifier's content). SHA-1 counts, as in OpenSSL: the text was chosen by an authority alone.
pub(super) fn is_by(
    key: &SubjectPublicKeyInfo<'_>,
    message: &[u8],
    (algorithm, signature): (&[u8], &[u8]),
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(key.raw);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
        return false;
    };
    let mut algorithms = algorithms.all.iter().chain(&BY_SHA1);
    algorithms.any(|one| {
        one.signature_alg_id().as_ref() == algorithm
            && key.verify_signature(*one, message, signature).is_ok()
    })
}

/// Whether [`is_by`] can tell good signatures of an algorithm by this authority's key from bad ones.
pub(super) fn can_tell(
    authority: &X509Certificate<'_>,
    algorithm: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = authority.public_key().raw;
    let key = der::only(key, SEQUENCE).and_then(|parts| Some(der::first(parts)?.0.content));
    let bits = key_kinds::rsa_bits(authority);
    let mut algorithms = algorithms.all.iter().chain(&BY_SHA1);
    algorithms.any(|one| {
        one.signature_alg_id().as_ref() == algorithm
            && Some(one.public_key_alg_id().as_ref()) == key
            && bits.is_none_or(|bits| (smallest_rsa(*one)..=MAX_RSA).contains(&bits))
    })
}

/// The size in bits of an RSA key, if it is smaller than that.
pub(super) fn smaller_than(least: usize, certificate: &X509Certificate<'_>) -> Option<usize> {
    key_kinds::rsa_bits(certificate).filter(|bits| *bits < least)
}

/// The size in bits of an RSA key whose signatures are not verified, good or bad, as it is below the least or
/// too large.
pub(super) fn unverifiable(least: usize, certificate: &X509Certificate<'_>) -> Option<usize> {
    key_kinds::rsa_bits(certificate).filter(|bits| !(least..=MAX_RSA).contains(bits))
}

/// Leaves what is wrong with a signature, since the certificate itself was not verified.
fn tell(error: &Error, cert: &CertificateDer<'_>) {
    let Error::InvalidCertificate(error) = error else {
        return;
    };
    blame(match X509Certificate::from_der(cert) {
        Err(_) => Offence::Malformed("certificate".into()),
        Ok((_, certificate)) => why(&certificate, error),
    });
}

fn why(certificate: &X509Certificate<'_>, error: &CertificateError) -> Offence {
    match (unverifiable(MIN_RSA, certificate), error) {
        (Some(bits), _) if bits < MIN_RSA => Offence::WeakKey(bits),
        (None, CertificateError::BadSignature) => Offence::BadSignature,
        _ => Offence::UnusableKey(
            key_kinds::of_certificate(certificate).unwrap_or_else(|| error.to_string()),
        ),
    }
}

fn by_12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let Some(key) = key_of_odd_certificate(cert) else {
        return verify_tls12_signature(message, cert, dss, algorithms);
    };
    let key = RawPublicKeyEntity::try_from(&key)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == dss.scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| {
            key.verify_signature(*algorithm, message, dss.signature())
                .is_ok()
        })
        .then(HandshakeSignatureValid::assertion)
        .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
}

fn by_13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match key_of_odd_certificate(cert) {
        None => verify_tls13_signature(message, cert, dss, algorithms),
        Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, algorithms),
    }
}

fn key_of_odd_certificate(cert: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    if EndEntityCert::try_from(cert).is_ok() {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(cert).ok()?;
    Some(certificate.public_key().raw.to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::der::OBJECT_IDENTIFIER;

    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    const UTC_TIME: u8 = 0x17;

    fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        der::element(SEQUENCE, &parts.concat())
    }

    /// A version 1 certificate with an RSA key of `bits` bits and no valid signature.
    fn certificate(bits: usize) -> Vec<u8> {
        let rsa = der::element(
            OBJECT_IDENTIFIER,
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1],
        );
        let algorithm = sequence(&[&rsa, &der::element(0x05, b"")]);
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= bits.next_multiple_of(8) - bits;
        if bits.is_multiple_of(8) {
            modulus.insert(0, 0);
        }
        let modulus = der::element(INTEGER, &modulus);
        let key = sequence(&[&modulus, &der::element(INTEGER, &[1, 0, 1])]);
        let key = der::element(BIT_STRING, &[&[0][..], &key].concat());
        let time = der::element(UTC_TIME, b"260101000000Z");
        let signed = sequence(&[
            &der::element(INTEGER, &[1]),
            &algorithm,
            &sequence(&[]),
            &sequence(&[&time, &time]),
            &sequence(&[]),
            &sequence(&[&algorithm, &key]),
        ]);
        sequence(&[&signed, &algorithm, &der::element(BIT_STRING, &[0])])
    }

    /// With keys that verify nothing, each signature would seem bad: the size is reported instead, to
    /// the bit.
    #[test]
    fn a_size_that_is_not_verified_is_never_called_a_bad_signature() {
        for (bits, expected) in [
            (1024, Offence::WeakKey(1024)),
            (2047, Offence::WeakKey(2047)),
            (2048, Offence::BadSignature),
            (8192, Offence::BadSignature),
            (8193, Offence::UnusableKey("RSA of 8193 bits".into())),
            (9216, Offence::UnusableKey("RSA of 9216 bits".into())),
        ] {
            let der = certificate(bits);
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            assert_eq!(why(&certificate, &CertificateError::BadSignature), expected);
        }
    }
}

//! Certificates signed with SHA-1, which rcgen does not make and aws-lc-rs does not sign: for programs that
//! know nothing later, as Windows before XP SP3. Never in here: such a signature on anything but our own
//! authority's certificates.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use num_bigint::BigUint;
use x509_parser::asn1_rs::{Any, FromDer};

/// AlgorithmIdentifier of sha256WithRSAEncryption and of sha1WithRSAEncryption (RFC 4055, RFC 3279): the
/// same length.
const SHA256_WITH_RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const SHA1_WITH_RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00";
/// DigestInfo of SHA-1 before the digest (RFC 8017, section 9.2).
const DIGEST_INFO: &[u8] = b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";

/// The certificate with SHA-1 in place of SHA-256, signed with the same key: in PKCS#8, its public half as
/// an RSAPublicKey. `None` if one of them is something else than rcgen makes.
pub(super) fn signed_again(certificate: &[u8], key: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let (rest, whole) = Any::from_der(certificate).ok()?;
    let (behind, tbs) = Any::from_der(whole.data).ok()?;
    let head = certificate.len() - rest.len() - whole.data.len();
    let tbs_length = whole.data.len() - behind.len();
    // Version, serial number, and then the algorithm (RFC 5280, section 4.1).
    let (fields, _version) = Any::from_der(tbs.data).ok()?;
    let (fields, _serial) = Any::from_der(fields).ok()?;
    let inner = head + tbs_length - fields.len();
    let outer = head + tbs_length;
    let mut certificate = certificate.to_vec();
    for at in [inner, outer] {
        let algorithm = certificate.get_mut(at..at + SHA256_WITH_RSA.len())?;
        if algorithm != SHA256_WITH_RSA {
            return None;
        }
        algorithm.copy_from_slice(SHA1_WITH_RSA);
    }
    let signature = sign(certificate.get(head..outer)?, key)?;
    let verifier = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public);
    verifier
        .verify(certificate.get(head..outer)?, &signature)
        .ok()?;
    // The signature ends the certificate, as long as the one before.
    let place = certificate.len().checked_sub(signature.len())?;
    certificate.get_mut(place..)?.copy_from_slice(&signature);
    Some(certificate)
}

/// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.1). Its time depends on the key, which matters where others can
/// measure it: not in a command of root's that runs once.
fn sign(message: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    // PrivateKeyInfo (RFC 5208): version, algorithm, key.
    let (_, info) = Any::from_der(key).ok()?;
    let (fields, _version) = Any::from_der(info.data).ok()?;
    let (fields, _algorithm) = Any::from_der(fields).ok()?;
    let (_, key) = Any::from_der(fields).ok()?;
    // RSAPrivateKey (RFC 8017, appendix A.1.2): version, modulus, public and private exponent.
    let (_, key) = Any::from_der(key.data).ok()?;
    let (fields, _version) = Any::from_der(key.data).ok()?;
    let (fields, modulus) = Any::from_der(fields).ok()?;
    let (fields, _public) = Any::from_der(fields).ok()?;
    let (_, private) = Any::from_der(fields).ok()?;
    let modulus = BigUint::from_bytes_be(modulus.data);
    let private = BigUint::from_bytes_be(private.data);

    let length = usize::try_from(modulus.bits().div_ceil(8)).ok()?;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, message);
    let padding = length.checked_sub(3 + DIGEST_INFO.len() + hash.as_ref().len())?;
    let encoded = [
        &[0, 1][..],
        &vec![0xff; padding],
        &[0],
        DIGEST_INFO,
        hash.as_ref(),
    ]
    .concat();
    let signature = BigUint::from_bytes_be(&encoded).modpow(&private, &modulus);
    let signature = signature.to_bytes_be();
    let mut padded = vec![0; length.checked_sub(signature.len())?];
    padded.extend(signature);
    Some(padded)
}

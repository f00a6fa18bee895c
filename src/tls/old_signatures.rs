//! Signatures of certificates and lists that webpki has no algorithm for: by SHA-1, and by RSA keys from 1024
//! bits on. Never in here: a signature of a handshake.

use std::ptr;
use std::sync::LazyLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA1_ASN1, ECDSA_P521_SHA1_ASN1, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use super::{level, signatures};
use crate::config::SecurityLevel;

/// The smallest RSA key of an authority, in bits.
pub(super) const MIN_RSA: usize = 1024;

/// One of AWS-LC's algorithms, as webpki wants one.
#[derive(Debug)]
struct Old {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    by: &'static dyn VerificationAlgorithm,
}

impl SignatureVerificationAlgorithm for Old {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(self.by, public_key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

/// sha1WithRSAEncryption, with the NULL that belongs to it, and ecdsa-with-SHA1
const RSA_SHA1: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5, 5, 0]);
const ECDSA_SHA1: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);

/// By SHA-1. AWS-LC's Rust face has none for P-384.
pub(super) static BY_SHA1: [&dyn SignatureVerificationAlgorithm; 3] = [
    &Old {
        key: alg_id::RSA_ENCRYPTION,
        signature: RSA_SHA1,
        by: &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    },
    &Old {
        key: alg_id::ECDSA_P256,
        signature: ECDSA_SHA1,
        by: &ECDSA_P256_SHA1_ASN1,
    },
    &Old {
        key: alg_id::ECDSA_P521,
        signature: ECDSA_SHA1,
        by: &ECDSA_P521_SHA1_ASN1,
    },
];

/// By shorter RSA keys.
static BY_SHORT_KEYS: [&dyn SignatureVerificationAlgorithm; 2] = [
    &Old {
        key: alg_id::RSA_ENCRYPTION,
        signature: alg_id::RSA_PKCS1_SHA256,
        by: &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    },
    &Old {
        key: alg_id::RSA_ENCRYPTION,
        signature: alg_id::RSA_PKCS1_SHA512,
        by: &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    },
];

/// All algorithms that OpenSSL has at a security level: shorter keys from 1 down, SHA-1 at 0; strong ones alone from 4
/// up.
pub(super) fn of_level(
    asked: SecurityLevel,
    algorithms: WebPkiSupportedAlgorithms,
) -> WebPkiSupportedAlgorithms {
    // webpki asks the first that fits: the ones with the wider range of keys stand before.
    static ALL: LazyLock<Vec<&dyn SignatureVerificationAlgorithm>> = LazyLock::new(|| {
        let modern =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        [&BY_SHA1[..], &BY_SHORT_KEYS, modern.all].concat()
    });
    let all = match asked {
        SecurityLevel::Zero => &ALL[..],
        SecurityLevel::One => ALL.get(BY_SHA1.len()..).unwrap_or_default(),
        _ => return level::algorithms(asked).unwrap_or(algorithms),
    };
    WebPkiSupportedAlgorithms { all, ..algorithms }
}

/// The smallest RSA key, in bits, by which an algorithm verifies.
pub(super) fn smallest_rsa(algorithm: &dyn SignatureVerificationAlgorithm) -> usize {
    let mut old = BY_SHA1.iter().chain(&BY_SHORT_KEYS);
    match old.any(|one| ptr::addr_eq(*one, algorithm)) {
        true => MIN_RSA,
        false => signatures::MIN_RSA,
    }
}

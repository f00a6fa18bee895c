//! The holder of a certificate: its subject and public key. To distrust one certificate is to distrust
//! every other one of the same holder, whatever its issuer.

use x509_parser::prelude::X509Certificate;

use super::canonical;

/// 1.2.840.10045.2.1, id-ecPublicKey
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// A subject with its public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    name: Vec<u8>,
    key: Vec<u8>,
}

impl Holder {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let name = certificate.subject().as_raw();
        Self {
            // A name that cannot be decoded at least equals itself.
            name: canonical::name(name).unwrap_or_else(|| name.to_vec()),
            key: key(certificate),
        }
    }
}

/// The same bytes for every encoding of one key.
fn key(certificate: &X509Certificate<'_>) -> Vec<u8> {
    let info = certificate.public_key();
    let point: &[u8] = &info.subject_public_key.data;
    if info.algorithm.algorithm.as_bytes() != EC {
        return info.raw.to_vec();
    }
    // A point is encoded as x and y, or as x alone (SEC 1, section 2.3.3). The two points with the same
    // x have the same private key, up to its sign.
    match point.split_first() {
        Some((2 | 3, x)) => x.to_vec(),
        Some((4 | 6 | 7, both)) => both[..both.len() / 2].to_vec(),
        _ => info.raw.to_vec(),
    }
}

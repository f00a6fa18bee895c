//! What OpenSSL's security levels above 3 leave of rustls: ciphers, groups and signatures of certificates of 192 bits,
//! or 256; and what they, and 3, ask of our own chain. Never in here: signatures of handshakes, to which the
//! configuration is kept already.

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::SignatureVerificationAlgorithm;
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, SignatureScheme};
use webpki::aws_lc_rs as by;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::backend::OptionNames;
use super::der::{self, SEQUENCE};
use super::self_signed::self_signed;
use super::{Problem, ciphers, key_kinds, signatures};
use crate::config::{SecurityLevel, TlsOptions};

/// Takes from a provider what is below the level, and tells of each list that loses something by it.
pub(super) fn restrict(
    options: &TlsOptions,
    names: OptionNames,
    provider: &mut CryptoProvider,
    problems: &mut Vec<Problem>,
) {
    let level = options.security_level;
    for (option, given, tls13) in [
        ("ciphersuites", options.ciphersuites.is_some(), true),
        (names.ciphers(), options.ciphers.is_some(), false),
    ] {
        let suites = &mut provider.cipher_suites;
        let before = suites.len();
        suites.retain(|suite| {
            suite.tls13().is_some() != tls13 || ciphers::describe(suite.suite()).1 >= level.bits()
        });
        let lost = before - suites.len();
        let left = (suites.iter()).any(|suite| suite.tls13().is_some() == tls13);
        problems.extend(told(level, option, given, (lost, left), "ciphers"));
    }
    let groups = &mut provider.kx_groups;
    let before = groups.len();
    groups.retain(|group| bits_of(group.name()) >= level.bits());
    let lost = (before - groups.len(), !groups.is_empty());
    let given = options.curves.is_some();
    problems.extend(told(level, "curves", given, lost, "groups"));
}

/// What is to be said of a list that was given, has lost so many entries, and has others left or not.
fn told(
    level: SecurityLevel,
    option: &'static str,
    given: bool,
    (lost, left): (usize, bool),
    what: &str,
) -> Option<Problem> {
    if !given || lost == 0 {
        return None;
    }
    let bits = level.bits();
    let text = format!("`securityLevel = {level}` wants {what} of {bits} bits");
    Some(match left {
        false => Problem::error(option, format!("{text}: it leaves none of these")),
        true => Problem::note(option, format!("{text}: {lost} of these are left out")),
    })
}

/// The strength of a group, as OpenSSL counts it (crypto/ec; its default provider's of ML-KEM), in bits.
fn bits_of(group: NamedGroup) -> u16 {
    match group {
        NamedGroup::secp521r1 | NamedGroup::MLKEM1024 => 256,
        NamedGroup::secp384r1
        | NamedGroup::MLKEM768
        | NamedGroup::X25519MLKEM768
        | NamedGroup::secp256r1MLKEM768 => 192,
        _ => 128,
    }
}

/// By what peers and authorities may sign at this level; `None`: as ever.
pub(super) fn algorithms(level: SecurityLevel) -> Option<WebPkiSupportedAlgorithms> {
    match level {
        SecurityLevel::Five => Some(FIVE),
        SecurityLevel::Four => Some(FOUR),
        _ => None,
    }
}

/// In TLS 1.2 ECDSA with SHA-384 may be by a key on any curve (RFC 8446, section 4.2.3); of several rustls takes the
/// first for TLS 1.3.
const FOUR: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        by::ECDSA_P384_SHA384,
        by::ECDSA_P384_SHA512,
        by::ECDSA_P521_SHA384,
        by::ECDSA_P521_SHA512,
        by::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        by::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        by::RSA_PKCS1_2048_8192_SHA384,
        by::RSA_PKCS1_2048_8192_SHA512,
        by::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        by::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[by::ECDSA_P384_SHA384, by::ECDSA_P521_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP521_SHA512,
            &[by::ECDSA_P521_SHA512, by::ECDSA_P384_SHA512],
        ),
        (
            SignatureScheme::RSA_PSS_SHA384,
            &[by::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA512,
            &[by::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA384,
            &[by::RSA_PKCS1_2048_8192_SHA384],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA512,
            &[by::RSA_PKCS1_2048_8192_SHA512],
        ),
    ],
};

/// RSA is for peers that nothing verifies: no key of it is large enough.
const FIVE: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        by::ECDSA_P521_SHA512,
        by::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        by::RSA_PKCS1_2048_8192_SHA512,
        by::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP521_SHA512,
            &[by::ECDSA_P521_SHA512],
        ),
        (
            SignatureScheme::RSA_PSS_SHA512,
            &[by::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA512,
            &[by::RSA_PKCS1_2048_8192_SHA512],
        ),
    ],
};

/// Whether a key is of a kind, or on a curve, that is too weak for the level. RSA goes by its size.
pub(super) fn is_weak_kind(level: SecurityLevel, certificate: &X509Certificate<'_>) -> bool {
    let Some(algorithms) = algorithms(level) else {
        return false;
    };
    let key = der::only(certificate.public_key().raw, SEQUENCE);
    let kind = key.and_then(|parts| Some(der::first(parts)?.0.content));
    let strong =
        |one: &&dyn SignatureVerificationAlgorithm| Some(one.public_key_alg_id().as_ref()) == kind;
    key_kinds::rsa_bits(certificate).is_none() && !algorithms.all.iter().any(strong)
}

/// What is wrong with our own certificates at the level that is asked for, in OpenSSL's words.
pub(super) fn too_weak(options: &TlsOptions, key: Option<&CertifiedKey>) -> Option<Problem> {
    let level = options.security_level;
    if level < SecurityLevel::Three {
        return None;
    }
    let mut chain = key?.cert.iter().enumerate();
    let text = chain.find_map(|(nth, der)| weakness(level, nth, der))?;
    Some(Problem::error("cert", text))
}

/// What is wrong with one certificate of our chain.
fn weakness(level: SecurityLevel, nth: usize, der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (whose, it) = match nth {
        0 => ("ee", "it".to_owned()),
        _ => (
            "ca",
            format!("that of certificate {} of the chain", nth + 1),
        ),
    };
    let keys = level.keys();
    if let Some(bits) = signatures::smaller_than(level.smallest_rsa(), &certificate) {
        return Some(format!(
            "{whose} key too small: {it} has {bits} bits, and `securityLevel = {level}` wants {keys}"
        ));
    }
    if is_weak_kind(level, &certificate) {
        let kind = key_kinds::of_certificate(&certificate);
        let kind = kind.unwrap_or_else(|| "of another kind".to_owned());
        return Some(format!(
            "{whose} key too small: {it} is {kind}, and `securityLevel = {level}` wants {keys}"
        ));
    }
    // An authority's signature of itself proves nothing, so its hash does not matter.
    let strong = algorithms(level).filter(|_| !self_signed(&certificate))?;
    let signature = der::all(der::only(der, SEQUENCE)?)?.get(1)?.content;
    let mut strong = strong.all.iter();
    (!strong.any(|one| one.signature_alg_id().as_ref() == signature)).then(|| {
        format!(
            "ca md too weak: certificate {} of the chain is signed by a hash below {} bits, which `securityLevel = \
             {level}` wants: have it issued anew",
            nth + 1,
            2 * level.bits()
        )
    })
}

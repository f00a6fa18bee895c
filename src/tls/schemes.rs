//! The signatures of handshakes that a service allows (`config = SignatureAlgorithms:LIST`), as rustls has them. Never
//! in here: signatures of certificates, which their issuers chose.

use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    Error, PeerMisbehaved, ProtocolVersion, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};

use super::Problem;
use crate::config::{Scheme, TlsOptions, scheme_names};

/// As rustls has them.
pub(super) fn of(list: &[Scheme]) -> Vec<SignatureScheme> {
    list.iter().map(|Scheme(code)| (*code).into()).collect()
}

/// Whether the peer may sign by that: rustls asks for what is allowed, and takes all that it can verify.
///
/// # Errors
/// It may not.
pub(super) fn check(by: SignatureScheme, allowed: &[SignatureScheme]) -> Result<(), Error> {
    match allowed.is_empty() || allowed.contains(&by) {
        true => Ok(()),
        false => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
    }
}

/// The key that is shown, kept to what this end may sign by.
pub(super) fn keep_to(
    options: &TlsOptions,
    client: bool,
    key: Arc<CertifiedKey>,
) -> Arc<CertifiedKey> {
    let list = of(options.signatures.made(client));
    if list.is_empty() {
        return key;
    }
    let kept = KeptKey {
        key: Arc::clone(&key.key),
        list,
    };
    let mut certified = CertifiedKey::new(key.cert.clone(), Arc::new(kept));
    certified.ocsp.clone_from(&key.ocsp);
    Arc::new(certified)
}

/// A key that signs by some of its signatures only.
#[derive(Debug)]
struct KeptKey {
    key: Arc<dyn SigningKey>,
    list: Vec<SignatureScheme>,
}

impl SigningKey for KeptKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        // By the list's order: in TLS 1.2 rustls gives what the peer offers in an order of its own.
        let mut shared = self.list.iter().filter(|scheme| offered.contains(scheme));
        shared.find_map(|scheme| self.key.choose_scheme(&[*scheme]))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

/// What no handshake, or none of a version, can come about with.
pub(super) fn problems(
    options: &TlsOptions,
    client: bool,
    key: Option<&CertifiedKey>,
    versions: &[&'static SupportedProtocolVersion],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let made = options.signatures.made(client);
    if let Some(key) = key.filter(|_| !made.is_empty()) {
        let by_key = |scheme: &Scheme| key.key.choose_scheme(&of(&[*scheme])).is_some();
        let usable: Vec<_> = made.iter().copied().filter(by_key).collect();
        match usable.is_empty() {
            true => problems.push(Problem::error("config", by_none(key))),
            false => problems.extend(without_tls13("of our key", &usable, versions)),
        }
    }
    let taken = options.signatures.taken(client);
    if !taken.is_empty() && (client || options.verification.request) {
        problems.extend(without_tls13("of the peer", taken, versions));
    }
    problems
}

fn by_none(key: &CertifiedKey) -> String {
    let has = crate::config::served_schemes()
        .filter(|scheme| key.key.choose_scheme(&of(&[*scheme])).is_some());
    format!(
        "the key of `cert` makes none of the signatures that SignatureAlgorithms allows: it makes {}",
        scheme_names(has)
    )
}

/// TLS 1.3 has no signatures by PKCS#1 (RFC 8446, section 4.2.3), and what a version lacks is found in it, not before.
fn without_tls13(
    whose: &str,
    list: &[Scheme],
    versions: &[&'static SupportedProtocolVersion],
) -> Option<Problem> {
    let speaks = |wanted| versions.iter().any(|one| one.version == wanted);
    let is_old = |scheme: &Scheme| {
        matches!(
            SignatureScheme::from(scheme.0),
            SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
        )
    };
    if !speaks(ProtocolVersion::TLSv1_3) || !list.iter().all(is_old) {
        return None;
    }
    let text = format!(
        "TLS 1.3 has none of the signatures {whose} that are allowed ({}), so its handshakes fail: add \
         rsa_pss_rsae_sha256, or set `sslVersionMax = TLSv1.2`",
        scheme_names(list.iter().copied())
    );
    Some(match speaks(ProtocolVersion::TLSv1_2) {
        true => Problem::warning("config", text),
        false => Problem::error("config", text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rustls verifies by all that it has, whatever was asked for.
    #[test]
    fn a_signature_that_was_not_asked_for_is_refused() {
        use SignatureScheme as S;
        let list = [S::RSA_PSS_SHA256, S::ED25519];
        for (by, allowed, expected) in [
            (S::ED25519, &list[..], true),
            (S::RSA_PSS_SHA384, &list, false),
            (S::RSA_PSS_SHA384, &[], true),
        ] {
            assert_eq!(check(by, allowed).is_ok(), expected, "{by:?} {allowed:?}");
        }
    }

    #[test]
    fn only_lists_without_any_signature_of_tls_1_3_lack_it() {
        use rustls::version::{TLS12, TLS13};
        let (old, new) = (Scheme(0x0401), Scheme(0x0804));
        for (list, versions, expected) in [
            (
                &[old][..],
                &[&TLS12, &TLS13][..],
                Some(crate::config::Severity::Warning),
            ),
            (&[old], &[&TLS13], Some(crate::config::Severity::Error)),
            (&[old], &[&TLS12], None),
            (&[old, new], &[&TLS13], None),
        ] {
            let found = without_tls13("of our key", list, versions);
            assert_eq!(found.map(|problem| problem.severity), expected, "{list:?}");
        }
    }
}

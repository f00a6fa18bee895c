//! Why a peer's certificate is refused: the words, which side is at fault, and what to do.

use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use super::blame::Fault;
use super::ocsp::Refusal;
use super::signatures::MAX_RSA;
use crate::config::SecurityLevel;

/// Why the peer's certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rejection {
    Expired,
    NotYetValid,
    SelfSigned,
    UnknownIssuer,
    /// An authority at the end of what the peer sends.
    SelfSignedAuthority,
    /// The way ends at a trusted authority that another one issued.
    NoIssuerOfTrusted,
    /// What issued a certificate on the way may issue none.
    InvalidAuthority,
    Purpose,
    Signature,
    Unreadable,
    /// RSA with this many bits.
    WeakKey(usize),
    /// An authority's RSA key of this many bits, too small or too large.
    AuthorityKeySize(usize),
    /// A key, or a hash, that `securityLevel` does not take, in OpenSSL's words.
    BelowLevel(&'static str),
    NotInRepository,
    SubjectChecks,
    /// The hash of a public key that no checkPin has, as checkPin would write it.
    PublicKey(String),
    Revoked,
    /// An authority above the leaf.
    AuthorityRevoked,
    /// No revocation list is about it.
    NoList,
    ListExpired,
    ListNotYetValid,
    ListSignature,
    /// The authority's keyUsage forbids it to sign lists.
    ListSigner,
    ListScope,
    /// It has a critical extension that is not understood.
    ListExtension,
    /// By what responders say, or do not say.
    Ocsp(Refusal),
    /// verifyServer: the requested name.
    Name(String),
    /// webpki's own words.
    Other(String),
}

impl fmt::Display for Rejection {
    /// OpenSSL's X509_verify_cert_error_string where it has one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejection::Expired => "certificate has expired",
            Rejection::NotYetValid => "certificate is not yet valid",
            Rejection::SelfSigned => "self-signed certificate",
            Rejection::UnknownIssuer => "unable to get local issuer certificate",
            Rejection::SelfSignedAuthority => "self-signed certificate in certificate chain",
            Rejection::NoIssuerOfTrusted => "unable to get issuer certificate",
            Rejection::InvalidAuthority => "invalid CA certificate",
            Rejection::Purpose => "unsuitable certificate purpose",
            Rejection::Signature => "certificate signature failure",
            Rejection::Unreadable => "certificate cannot be parsed",
            Rejection::WeakKey(bits) => {
                return write!(f, "EE certificate key too weak, RSA of {bits} bits");
            }
            Rejection::AuthorityKeySize(bits) => {
                let fault = if *bits > MAX_RSA { "large" } else { "weak" };
                return write!(f, "CA certificate key too {fault}, RSA of {bits} bits");
            }
            Rejection::BelowLevel(what) => what,
            Rejection::NotInRepository => "certificate rejected",
            Rejection::SubjectChecks => "subject checks failed",
            Rejection::PublicKey(pin) => {
                return write!(f, "public key checks failed, its hash is {pin}");
            }
            Rejection::Revoked => "certificate revoked",
            Rejection::AuthorityRevoked => "certificate revoked, that of an authority",
            Rejection::NoList => "unable to get certificate CRL",
            Rejection::ListExpired => "CRL has expired",
            Rejection::ListNotYetValid => "CRL is not yet valid",
            Rejection::ListSignature => "CRL signature failure",
            Rejection::ListSigner => "key usage does not include CRL signing",
            Rejection::ListScope => "different CRL scope",
            Rejection::ListExtension => "unhandled critical CRL extension",
            Rejection::Ocsp(Refusal::Revoked) => "certificate revoked, says OCSP",
            Rejection::Ocsp(Refusal::Unsettled) => "no conclusive OCSP response",
            Rejection::Name(name) => {
                return write!(f, "hostname mismatch, it is not valid for {name:?}");
            }
            Rejection::Other(what) => what,
        })
    }
}

impl std::error::Error for Rejection {}

impl Rejection {
    /// What webpki's error comes to for a leaf that is self-signed, or is not.
    pub(super) fn of_webpki(error: &webpki::Error, self_signed: bool) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } | E::InvalidCertValidity => Rejection::Expired,
            E::CertNotValidYet { .. } => Rejection::NotYetValid,
            E::UnknownIssuer | E::CaUsedAsEndEntity if self_signed => Rejection::SelfSigned,
            E::UnknownIssuer => Rejection::UnknownIssuer,
            E::RequiredEkuNotFoundContext(_) => Rejection::Purpose,
            E::InvalidSignatureForPublicKey => Rejection::Signature,
            E::BadDer | E::BadDerTime => Rejection::Unreadable,
            E::CertRevoked => Rejection::AuthorityRevoked,
            E::CertDistrusted => Rejection::Other("certificate rejected".into()),
            E::EndEntityUsedAsCa => Rejection::InvalidAuthority,
            E::PathLenConstraintViolated => {
                Rejection::Other("path length constraint exceeded".into())
            }
            E::NameConstraintViolation => Rejection::Other("permitted subtree violation".into()),
            E::UnsupportedSignatureAlgorithmContext(context) => Rejection::Other(
                match is_weak(&context.signature_algorithm_id) {
                    true => "CA signature digest algorithm too weak",
                    false => "unsupported signature algorithm",
                }
                .into(),
            ),
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                Rejection::Other("unsupported signature algorithm".into())
            }
            other => Rejection::Other(other.to_string()),
        }
    }

    /// The same of a path by keys and hashes that a level above 3 does not take, where that is the fault.
    pub(super) fn below_level(level: SecurityLevel, error: &webpki::Error) -> Option<Self> {
        use webpki::Error as E;
        let what = match error {
            _ if level <= SecurityLevel::Three => return None,
            E::UnsupportedSignatureAlgorithmContext(_) => "CA signature digest algorithm too weak",
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => "CA certificate key too weak",
            _ => return None,
        };
        Some(Rejection::BelowLevel(what))
    }

    /// The error whose alert OpenSSL would send.
    pub(super) fn to_rustls(&self) -> CertificateError {
        match self {
            Rejection::Expired | Rejection::ListExpired => CertificateError::Expired,
            Rejection::NotYetValid => CertificateError::NotValidYet,
            Rejection::SelfSigned
            | Rejection::SelfSignedAuthority
            | Rejection::NoIssuerOfTrusted
            | Rejection::InvalidAuthority
            | Rejection::UnknownIssuer => CertificateError::UnknownIssuer,
            Rejection::Purpose => CertificateError::InvalidPurpose,
            Rejection::Signature | Rejection::ListSignature => CertificateError::BadSignature,
            Rejection::Revoked | Rejection::AuthorityRevoked | Rejection::Ocsp(_) => {
                CertificateError::Revoked
            }
            Rejection::NoList => CertificateError::UnknownRevocationStatus,
            // For these OpenSSL has the alert certificate_unknown.
            Rejection::ListSigner | Rejection::ListScope | Rejection::ListExtension => {
                CertificateError::Other(OtherError(Arc::new(self.clone())))
            }
            Rejection::ListNotYetValid
            | Rejection::Unreadable
            | Rejection::WeakKey(_)
            | Rejection::AuthorityKeySize(_)
            | Rejection::BelowLevel(_)
            | Rejection::Other(_) => CertificateError::BadEncoding,
            Rejection::NotInRepository
            | Rejection::SubjectChecks
            | Rejection::PublicKey(_)
            | Rejection::Name(_) => CertificateError::NotValidForName,
        }
    }

    pub(super) fn fault(&self) -> Fault {
        match self {
            Rejection::Purpose
            | Rejection::Signature
            | Rejection::Unreadable
            | Rejection::Revoked
            | Rejection::AuthorityRevoked
            | Rejection::Ocsp(Refusal::Revoked) => Fault::Peer,
            Rejection::NoList | Rejection::ListExpired => Fault::Ours,
            _ => Fault::Unsure,
        }
    }

    pub(super) fn hint(&self) -> &'static str {
        match self {
            Rejection::Expired => "the peer must renew its certificate (or our clock is wrong)",
            Rejection::NotYetValid => "one of the two clocks is wrong",
            Rejection::SelfSigned => "if you trust it, add the certificate to the file of CAfile",
            Rejection::UnknownIssuer => {
                "add the issuing authority to the file of CAfile; or the peer does not send its \
                 intermediates"
            }
            Rejection::SelfSignedAuthority => {
                "if you trust this authority, add it to the file of CAfile"
            }
            Rejection::NoIssuerOfTrusted => {
                "another authority issued the trusted one: add the root, which is self-signed, to the file of CAfile"
            }
            Rejection::InvalidAuthority => {
                "what issued the peer's certificate is no authority (basicConstraints, keyUsage): the peer needs another certificate"
            }
            Rejection::NotInRepository => {
                "verifyPeer wants the certificate itself in CAfile or CApath"
            }
            Rejection::SubjectChecks => {
                "none of checkHost, checkIP, checkEmail, checkURI, checkOU, checkCN is in the certificate"
            }
            Rejection::PublicKey(_) => {
                "if you trust this key, give its hash in a line of checkPin of its own, beside the old one"
            }
            Rejection::Revoked => "its authority has revoked it: the peer needs a new certificate",
            Rejection::AuthorityRevoked => {
                "the authority that issued it is revoked: the peer needs a certificate of another one"
            }
            Rejection::NoList => {
                "CRLfile or CRLpath must have a list of its issuer, which is about it: get one from the \
                 authority; in CRLpath it is found by `openssl rehash`"
            }
            Rejection::ListExpired => "get the issuer's new list, and reload",
            Rejection::ListNotYetValid => "our clock is wrong, or that of the list's issuer",
            Rejection::ListSignature => {
                "the list is damaged, or by another authority of that name, or by another key: get it anew"
            }
            Rejection::ListSigner => {
                "the authority's keyUsage lacks cRLSign: it must renew its certificate, or do without lists"
            }
            Rejection::ListScope => {
                "the list is about other certificates (its issuing distribution point): get the right one"
            }
            Rejection::ListExtension => {
                "the list says something that must be understood and is not: get a list without it"
            }
            Rejection::Ocsp(Refusal::Revoked) => "the peer needs a new certificate",
            Rejection::Ocsp(Refusal::Unsettled) => {
                "see the lines above for what the responder said; `OCSPrequire = no` accepts the peer all the same"
            }
            Rejection::Name(_) => "check connect and sni for the name that the certificate has",
            Rejection::Purpose => "the certificate's extended key usage forbids this role",
            Rejection::BelowLevel(_) => {
                "`securityLevel` wants strong keys and hashes, of the authorities too: the peer needs a certificate with \
                 ECDSA on P-384 by SHA-384 or more, and from 5 on with P-521 and SHA-512, up to its root"
            }
            Rejection::WeakKey(_) => {
                "adit takes RSA keys of 2048 bits and more (of 3072 with `securityLevel = 3`, of 7680 with 4): the peer needs a new key, and a new certificate; one that cannot be renewed, with old TLS: `securityLevel = 1` takes 1024 bits"
            }
            Rejection::AuthorityKeySize(_) => {
                "adit takes RSA keys of 2048 (with `securityLevel = 3` of 3072, with 4 of 7680) to 8192 bits: the authority \
                 needs a new key, and the peer a new certificate"
            }
            Rejection::Signature | Rejection::Unreadable | Rejection::Other(_) => {
                "the peer needs another certificate"
            }
        }
    }
}

/// Whether a signature is by MD5 or SHA-1.
fn is_weak(algorithm: &[u8]) -> bool {
    /// 1.2.840.113549.1.1, as the start of an element: 4 is with MD5, 5 with SHA-1
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    /// 1.2.840.10045.4.1
    const ECDSA_SHA1: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
    let by_rsa = algorithm.strip_prefix(RSA);
    by_rsa.is_some_and(|rest| matches!(rest, [4 | 5, ..])) || algorithm.starts_with(ECDSA_SHA1)
}

//! Why a peer's certificate is refused: the words, which side is at fault, and what to do.

use std::fmt;

use super::blame::Fault;
use super::signatures::MAX_RSA;

/// Why the peer's certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rejection {
    Expired,
    NotYetValid,
    SelfSigned,
    UnknownIssuer,
    Purpose,
    Signature,
    Unreadable,
    /// RSA with this many bits.
    WeakKey(usize),
    /// An authority's RSA key of this many bits, too small or too large.
    AuthorityKeySize(usize),
    NotInRepository,
    SubjectChecks,
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
            Rejection::NotInRepository => "certificate rejected",
            Rejection::SubjectChecks => "subject checks failed",
            Rejection::Name(name) => {
                return write!(f, "hostname mismatch, it is not valid for {name:?}");
            }
            Rejection::Other(what) => what,
        })
    }
}

impl Rejection {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Rejection::Purpose | Rejection::Signature | Rejection::Unreadable => Fault::Peer,
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
            Rejection::NotInRepository => {
                "verifyPeer wants the certificate itself in CAfile or CApath"
            }
            Rejection::SubjectChecks => {
                "none of checkHost, checkIP, checkEmail is in the certificate"
            }
            Rejection::Name(_) => "check connect and sni for the name that the certificate has",
            Rejection::Purpose => "the certificate's extended key usage forbids this role",
            Rejection::WeakKey(_) => {
                "adit takes RSA keys of 2048 bits and more: the peer needs a new key, and a new certificate; one that cannot be renewed, with old TLS: `securityLevel = 1` takes 1024 bits"
            }
            Rejection::AuthorityKeySize(_) => {
                "adit takes RSA keys of 2048 to 8192 bits: the authority needs a new key, and the \
                 peer a new certificate"
            }
            Rejection::Signature | Rejection::Unreadable | Rejection::Other(_) => {
                "the peer needs another certificate"
            }
        }
    }
}

//! OCSP (RFC 6960): what a responder is asked about a certificate, and what its answer is worth. Bytes in,
//! a judgement out. Never in here: a connection to a responder, or trust in what it says before its
//! signature was checked.

mod checks;
mod inquiry;
mod known;
mod response;
mod staple;
mod subject;

#[cfg(fuzzing)]
pub(crate) use self::fuzzing::fuzz;
#[cfg(fuzzing)]
mod fuzzing;
#[cfg(test)]
mod tests;

use std::fmt;

pub(super) use checks::{Checks, Refused};
pub(crate) use inquiry::{Inquiry, Turn};
use rustls::crypto::WebPkiSupportedAlgorithms;
pub(crate) use staple::{Seen, Staple, Staples, State};

/// How far the clocks of a responder and of this machine may be apart, in seconds; as in stunnel.
const LEEWAY: i64 = 60;

/// What a responder's signature may be by.
#[derive(Debug, Clone, Copy)]
struct Terms {
    algorithms: WebPkiSupportedAlgorithms,
    /// A responder that the issuer has delegated counts, not the issuer alone (`OCSPflag = NOINTERN`
    /// says so).
    delegated: bool,
}

/// A status that settles the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    /// Since when, in seconds since 1970, and why, by its number (RFC 5280, section 5.3.1).
    Revoked(i64, Option<u8>),
}

/// What a trustworthy and timely response says about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    status: Status,
    /// In seconds since 1970.
    this_update: i64,
    next_update: Option<i64>,
}

/// Why a certificate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its issuer has revoked it.
    Revoked,
    /// No answer settled it, and `OCSPrequire = yes`.
    Unsettled,
}

/// Why a response settles nothing. Display gives OpenSSL's words, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It is no response in DER.
    Unreadable,
    /// The responder answers with an error: OCSPResponseStatus.
    Responder(u8),
    /// It is not of the type that every responder has.
    NotBasic,
    /// It does not have our nonce.
    Nonce,
    /// It is by neither the issuer nor one that the issuer has delegated.
    Signer,
    /// The responder's certificate is not for that, or not valid now.
    Delegate,
    Signature,
    /// It demands that something is understood that is not.
    Extension,
    /// It is about other certificates.
    Other,
    Early,
    Late,
    /// The responder does not know the certificate.
    Unknown,
}

impl Doubt {
    /// The level of its line in stunnel.
    fn level(self) -> u8 {
        match self {
            Doubt::NotBasic | Doubt::Other | Doubt::Unknown => 4,
            _ => 3,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::Unreadable => "OCSP: No OCSP response (what came is none: check the URL)",
            Doubt::Responder(status) => {
                let words = match status {
                    1 => "malformedrequest",
                    2 => "internalerror",
                    3 => "trylater",
                    5 => "sigrequired",
                    6 => "unauthorized",
                    _ => "(UNKNOWN)",
                };
                return write!(f, "OCSP: OCSP responder error: {status}: {words}");
            }
            Doubt::NotBasic => "OCSP: OCSP_response_get1_basic: not a basic response",
            Doubt::Nonce => {
                "OCSP: Invalid or unsupported nonce (public responders have none: `OCSPnonce = no`)"
            }
            Doubt::Signer => {
                "OCSP: OCSP_basic_verify: signer certificate not found (it is neither the issuer nor one of \
                 the certificates in the response)"
            }
            Doubt::Delegate => {
                "OCSP: OCSP_basic_verify: missing ocspsigning usage (the responder's certificate must be by \
                 the same issuer, for OCSP signing, and valid now)"
            }
            Doubt::Signature => "OCSP: OCSP_basic_verify: signature failure",
            Doubt::Extension => "OCSP: OCSP_basic_verify: unknown critical extension",
            Doubt::Other => "OCSP: OCSP_resp_find_status: the response is about other certificates",
            Doubt::Early => "OCSP: OCSP_check_validity: status not yet valid (one of the two clocks is wrong)",
            Doubt::Late => {
                "OCSP: OCSP_check_validity: status expired (the responder gives old answers, or our clock is \
                 wrong)"
            }
            Doubt::Unknown => "OCSP: Unknown verification status",
        })
    }
}

/// OpenSSL's word for the reason of a revocation.
fn reason(number: u8) -> &'static str {
    match number {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "(UNKNOWN)",
    }
}

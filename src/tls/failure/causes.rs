//! Which cause an offence is counted as, where people look for what went wrong. Never in here: what is said of it.

use rustls::AlertDescription;

use super::During;
use super::offence::Offence;
use crate::incidents::Cause;
use crate::tls::rejection::Rejection;

impl Offence {
    /// Its cause, where this was being done.
    pub(super) fn cause(&self, during: During) -> Cause {
        let of_client = during == During::Accept;
        match self {
            Offence::NoCertificate if of_client => Cause::ClientCertificateMissing,
            Offence::CertificateRejected(_)
            | Offence::WeakKey(_)
            | Offence::UnusableKey(_)
            | Offence::BadSignature
                if of_client =>
            {
                Cause::ClientCertificateRefused
            }
            Offence::CertificateRejected(rejection) => of_server(rejection),
            Offence::NoCertificate
            | Offence::WeakKey(_)
            | Offence::UnusableKey(_)
            | Offence::BadSignature => Cause::ServerCertificateRefused,
            Offence::UnsupportedProtocol(_)
            | Offence::InappropriateFallback
            | Offence::HelloRefused(AlertDescription::ProtocolVersion, _) => Cause::NoCommonVersion,
            Offence::NoSharedCipher(_)
            | Offence::NoSharedGroup
            | Offence::NoSharedSignature
            | Offence::WeakGroup
            | Offence::HelloRefused(..) => Cause::NoCommonCipher,
            Offence::NoSharedProtocol(_) => Cause::NoCommonProtocol,
            Offence::UnknownIdentity(_)
            | Offence::NoKeyOffered
            | Offence::WrongKey(_)
            | Offence::KeyIgnored
            | Offence::KeyRefused(_) => Cause::PresharedKey,
            Offence::HttpRequest | Offence::PlainText => Cause::NotTls,
            Offence::AlertReceived(alert) => of_alert(*alert),
            Offence::RefusalTaken(_) => Cause::Alert,
            Offence::CertificateRefused(_) => Cause::OwnCertificateRefused,
            Offence::Vanished | Offence::VanishedAtHello => Cause::Vanished,
            Offence::NoServerName | Offence::Internal(_) => Cause::Internal,
            Offence::InvalidServerName
            | Offence::BadRecordMac
            | Offence::RecordOverflow
            | Offence::UnexpectedMessage
            | Offence::Malformed(_)
            | Offence::Misbehaved(_)
            | Offence::BadKeyUpdate
            | Offence::KeysExhausted
            | Offence::ClosedBoth
            | Offence::Renegotiation
            | Offence::TripleDesExhausted => Cause::BrokenTls,
        }
    }
}

fn of_server(rejection: &Rejection) -> Cause {
    match rejection {
        Rejection::Expired | Rejection::NotYetValid => Cause::ServerCertificateExpired,
        Rejection::Name(_) | Rejection::SubjectChecks => Cause::ServerCertificateName,
        Rejection::SelfSigned
        | Rejection::UnknownIssuer
        | Rejection::SelfSignedAuthority
        | Rejection::NoIssuerOfTrusted
        | Rejection::InvalidAuthority => Cause::ServerCertificateIssuer,
        Rejection::Revoked
        | Rejection::AuthorityRevoked
        | Rejection::NoList
        | Rejection::ListExpired
        | Rejection::ListNotYetValid
        | Rejection::ListSignature
        | Rejection::ListSigner
        | Rejection::ListScope
        | Rejection::ListExtension
        | Rejection::Ocsp(_) => Cause::ServerCertificateRevoked,
        Rejection::Purpose
        | Rejection::Signature
        | Rejection::Unreadable
        | Rejection::WeakKey(_)
        | Rejection::AuthorityKeySize(_)
        | Rejection::BelowLevel(_)
        | Rejection::NotInRepository
        | Rejection::PublicKey(_)
        | Rejection::Other(_) => Cause::ServerCertificateRefused,
    }
}

fn of_alert(alert: AlertDescription) -> Cause {
    use AlertDescription as A;
    match alert {
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => Cause::OwnCertificateRefused,
        A::CertificateRequired | A::NoCertificate => Cause::OwnCertificateMissing,
        A::ProtocolVersion => Cause::NoCommonVersion,
        A::InsufficientSecurity => Cause::NoCommonCipher,
        A::NoApplicationProtocol => Cause::NoCommonProtocol,
        A::UnknownPSKIdentity => Cause::PresharedKey,
        _ => Cause::Alert,
    }
}

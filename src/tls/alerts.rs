//! The alerts of TLS (RFC 8446, section 6): what a received one means, and their names.

use rustls::{AlertDescription, Error, PeerMisbehaved};

use super::blame::{Fault, Row};
use super::failure::lacks_signature;
use crate::ipc::scoreboard::HandshakeFailure;

/// What a peer's fatal alert means (RFC 8446, section 6.2); the phrase is OpenSSL's reason string.
pub(super) fn row(alert: AlertDescription) -> Row {
    use AlertDescription as A;
    use HandshakeFailure::{Certificate, Negotiation, Protocol};
    let ours = "see cert and key here";
    let row = match alert {
        A::BadCertificate => (
            "ssl/tls alert bad certificate",
            Fault::Unsure,
            ours,
            Certificate,
        ),
        A::UnsupportedCertificate => (
            "ssl/tls alert unsupported certificate",
            Fault::Unsure,
            ours,
            Certificate,
        ),
        A::CertificateRevoked => (
            "ssl/tls alert certificate revoked",
            Fault::Unsure,
            "get a new certificate",
            Certificate,
        ),
        A::CertificateExpired => (
            "ssl/tls alert certificate expired",
            Fault::Unsure,
            "renew the certificate",
            Certificate,
        ),
        A::CertificateUnknown => (
            "ssl/tls alert certificate unknown",
            Fault::Unsure,
            ours,
            Certificate,
        ),
        A::UnknownCA => (
            "tlsv1 alert unknown ca",
            Fault::Unsure,
            "the peer does not trust our certificate: send the whole chain in cert, or install the authority there",
            Certificate,
        ),
        A::CertificateRequired => (
            "tlsv13 alert certificate required",
            Fault::Unsure,
            "the peer requires a certificate from adit: set cert",
            Certificate,
        ),
        A::AccessDenied => (
            "tlsv1 alert access denied",
            Fault::Unsure,
            "the peer forbids this certificate",
            Certificate,
        ),
        A::HandshakeFailure => (
            "ssl/tls alert handshake failure",
            Fault::Unsure,
            "see ciphers, curves, whether the peer requires a certificate from adit (cert), and the peer's log",
            Negotiation,
        ),
        A::ProtocolVersion => (
            "tlsv1 alert protocol version",
            Fault::Either,
            "the peer speaks none of our TLS versions: see sslVersionMin and sslVersionMax",
            Negotiation,
        ),
        A::InsufficientSecurity => (
            "tlsv1 alert insufficient security",
            Fault::Either,
            "the peer wants stronger algorithms: see ciphers and curves",
            Negotiation,
        ),
        A::UnrecognisedName => (
            "tlsv1 unrecognized name",
            Fault::Unsure,
            "the peer does not know the requested name: see sni",
            Negotiation,
        ),
        A::NoApplicationProtocol => (
            "tlsv1 alert no application protocol",
            Fault::Either,
            "the peer takes none of the protocols that were offered: see alpn",
            Negotiation,
        ),
        A::UserCanceled => (
            "tlsv1 alert user cancelled",
            Fault::Unsure,
            "it gave up",
            Protocol,
        ),
        A::BadRecordMac => (
            "ssl/tls alert bad record mac",
            Fault::Unsure,
            "a record was changed in transit",
            Protocol,
        ),
        A::InternalError => (
            "tlsv1 alert internal error",
            Fault::Peer,
            "see the peer's log",
            Protocol,
        ),
        A::UnexpectedMessage => (
            "ssl/tls alert unexpected message",
            Fault::Unsure,
            "does the other side speak TLS at this point?",
            Protocol,
        ),
        A::DecodeError => (
            "tlsv1 alert decode error",
            Fault::Unsure,
            "see the peer's log",
            Protocol,
        ),
        A::DecryptError => (
            "tlsv1 alert decrypt error",
            Fault::Unsure,
            "see the peer's log",
            Protocol,
        ),
        A::IllegalParameter => (
            "ssl/tls alert illegal parameter",
            Fault::Unsure,
            "see the peer's log",
            Protocol,
        ),
        A::RecordOverflow => (
            "tlsv1 alert record overflow",
            Fault::Unsure,
            "see the peer's log",
            Protocol,
        ),
        _ => (
            "ssl/tls alert",
            Fault::Unsure,
            "see the peer's log",
            Protocol,
        ),
    };
    row.into()
}

/// The alert for what breaks a handshake, where rustls has sent none.
pub(super) fn due(error: &Error) -> AlertDescription {
    use PeerMisbehaved as M;
    match error {
        Error::InvalidMessage(_) | Error::NoCertificatesPresented => AlertDescription::DecodeError,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(
            M::MessageInterleavedWithHandshakeMessage
            | M::KeyEpochWithPendingFragment
            | M::TooManyEmptyFragments,
        ) => AlertDescription::UnexpectedMessage,
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        error if lacks_signature(error) => AlertDescription::HandshakeFailure,
        Error::InvalidCertificate(why) => why.clone().into(),
        _ => AlertDescription::InternalError,
    }
}

/// A fatal alert in a record of its own, not encrypted; `minor` is that of the version.
pub(super) fn plain(minor: u8, alert: AlertDescription) -> [u8; 7] {
    [21, 3, minor, 0, 2, 2, u8::from(alert)]
}

/// Gives the alert at the end of `output` another number; one that is encrypted stays.
pub(super) fn correct(output: &mut [u8], alert: AlertDescription) {
    if let [.., 21, 3, _, 0, 2, 2, number] = output {
        *number = u8::from(alert);
    }
}

/// OpenSSL's SSL_alert_desc_string_long, for `TLS alert (read): fatal: NAME`.
pub(super) fn name(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::CloseNotify => "close notify",
        A::UnexpectedMessage => "unexpected message",
        A::BadRecordMac => "bad record mac",
        A::RecordOverflow => "record overflow",
        A::HandshakeFailure => "handshake failure",
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "certificate revoked",
        A::CertificateExpired => "certificate expired",
        A::CertificateUnknown => "certificate unknown",
        A::BadCertificateStatusResponse => "bad certificate status response",
        A::IllegalParameter => "illegal parameter",
        A::UnknownCA => "unknown CA",
        A::AccessDenied => "access denied",
        A::DecodeError => "decode error",
        A::DecryptError => "decrypt error",
        A::ProtocolVersion => "protocol version",
        A::InsufficientSecurity => "insufficient security",
        A::InternalError => "internal error",
        A::InappropriateFallback => "inappropriate fallback",
        A::UserCanceled => "user canceled",
        A::NoRenegotiation => "no renegotiation",
        A::MissingExtension => "missing extension",
        A::UnsupportedExtension => "unsupported extension",
        A::UnrecognisedName => "unrecognized name",
        A::CertificateRequired => "certificate required",
        A::NoApplicationProtocol => "no application protocol",
        _ => "unknown",
    }
}

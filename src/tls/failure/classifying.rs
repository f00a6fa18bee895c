//! From what rustls says, and from bytes that are no TLS, to an [`Offence`]. Never in here: a phrase or advice;
//! those are in its table.

use rustls::{InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::Offence;

impl Offence {
    /// Classifies an error from rustls in a handshake. `opening` is the start of the peer's first
    /// record.
    pub(in crate::tls) fn from_rustls(error: rustls::Error, opening: &[u8]) -> Self {
        use rustls::Error;
        match error {
            Error::NoCertificatesPresented => Offence::NoCertificate,
            error if lacks_signature(&error) => Offence::NoSharedSignature,
            Error::AlertReceived(alert) => Offence::AlertReceived(alert),
            // Never a failed verification, which leaves its verdict in `notes`.
            Error::InvalidCertificate(error) => Offence::UnusableKey(error.to_string()),
            Error::PeerIncompatible(why) => incompatible(&why),
            Error::NoApplicationProtocol => Offence::NoSharedProtocol(String::new()),
            Error::DecryptError => Offence::BadRecordMac,
            Error::PeerSentOversizedRecord => Offence::RecordOverflow,
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                Offence::UnexpectedMessage
            }
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) if !looks_like_tls(opening) => garbage(opening),
            Error::InvalidMessage(what) => Offence::Malformed(format!("{what:?}")),
            Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName) => {
                Offence::InvalidServerName
            }
            Error::PeerMisbehaved(what) => Offence::Misbehaved(format!("{what:?}")),
            other => Offence::Internal(other.to_string()),
        }
    }
}

/// Whether our key can sign nothing that a client with TLS 1.2 takes: rustls has no error of its own for that, and sends
/// no alert.
pub(in crate::tls) fn lacks_signature(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::General(why) if why == "incompatible signing key")
}

fn incompatible(why: &PeerIncompatible) -> Offence {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => Offence::NoSharedCipher(None),
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::EcPointsExtensionRequired
        | PeerIncompatible::UncompressedEcPointsRequired => Offence::NoSharedGroup,
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            Offence::NoSharedSignature
        }
        // The extension came with TLS 1.2 (RFC 5246, section 7.4.1.4.1), and rustls checks for it
        // before the version, so a TLS 1.1 or older client shows by its absence.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Offence::UnsupportedProtocol(None),
        other => Offence::Misbehaved(format!("{other:?}")),
    }
}

/// A record header of any SSL 3.0 or TLS version (RFC 8446, section 5.1).
fn looks_like_tls(opening: &[u8]) -> bool {
    matches!(opening, [20..=23, 3, ..])
}

/// Classifies bytes that are no TLS record.
pub(in crate::tls) fn garbage(opening: &[u8]) -> Offence {
    const METHODS: [&[u8]; 8] = [
        b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIO", b"DELET", b"PATCH", b"TRACE",
    ];
    match opening {
        // An SSL 2.0 ClientHello: a two-byte length with its high bit set, then type 1.
        [0x80..=0xff, _, 1, ..] => Offence::UnsupportedProtocol(None),
        _ if METHODS.iter().any(|method| opening.starts_with(method)) => Offence::HttpRequest,
        _ => Offence::PlainText,
    }
}

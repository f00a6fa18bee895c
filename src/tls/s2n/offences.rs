//! s2n's errors in the words of `failure`.

use rustls::AlertDescription;

use super::bindings::Stop;
use crate::tls::failure::Offence;

impl Offence {
    /// Classifies what stopped s2n.
    pub(super) fn from_s2n(stop: Stop) -> Self {
        let (name, by_peer) = match stop {
            Stop::Alert(alert) => return Offence::AlertReceived(AlertDescription::from(alert)),
            Stop::Closed => return Offence::Vanished,
            Stop::WantsInput | Stop::WantsVerdict => return Offence::Internal("no error".into()),
            Stop::Failed { name, by_peer } => (name, by_peer),
        };
        match name {
            "S2N_ERR_CIPHER_NOT_SUPPORTED" => Offence::NoSharedCipher(None),
            "S2N_ERR_PROTOCOL_VERSION_UNSUPPORTED"
            | "S2N_ERR_UNKNOWN_PROTOCOL_VERSION"
            | "S2N_ERR_PROTOCOL_DOWNGRADE_DETECTED" => Offence::UnsupportedProtocol(None),
            "S2N_ERR_FALLBACK_DETECTED" => Offence::InappropriateFallback,
            "S2N_ERR_MISSING_CLIENT_CERT" => Offence::NoCertificate,
            "S2N_ERR_VERIFY_SIGNATURE" => Offence::BadSignature,
            "S2N_ERR_NO_VALID_SIGNATURE_SCHEME"
            | "S2N_ERR_INVALID_SIGNATURE_ALGORITHM"
            | "S2N_ERR_INVALID_SIGNATURE_SCHEME"
            | "S2N_ERR_EMPTY_SIGNATURE_SCHEME" => Offence::NoSharedSignature,
            "S2N_ERR_ECDHE_UNSUPPORTED_CURVE" | "S2N_ERR_INVALID_SUPPORTED_GROUP" => {
                Offence::NoSharedGroup
            }
            // It is how s2n says that they are too small, or nonsense.
            "S2N_ERR_DH_PARAMS_CREATE" => Offence::WeakGroup,
            "S2N_ERR_DECRYPT" | "S2N_ERR_CBC_VERIFY" => Offence::BadRecordMac,
            "S2N_ERR_RECORD_LENGTH_TOO_LARGE"
            | "S2N_ERR_FRAGMENT_LENGTH_TOO_LARGE"
            | "S2N_ERR_MAX_INNER_PLAINTEXT_SIZE" => Offence::RecordOverflow,
            "S2N_ERR_RECORD_LIMIT" => Offence::KeysExhausted,
            "S2N_ERR_NO_RENEGOTIATION" => Offence::Renegotiation,
            "S2N_ERR_CERT_TYPE_UNSUPPORTED"
            | "S2N_ERR_DECODE_CERTIFICATE"
            | "S2N_ERR_CERT_INVALID"
            | "S2N_ERR_CERT_UNTRUSTED" => Offence::UnusableKey(name.into()),
            "S2N_ERR_BAD_MESSAGE"
            | "S2N_ERR_UNEXPECTED_CERT_REQUEST"
            | "S2N_ERR_MISSING_CERT_REQUEST" => Offence::UnexpectedMessage,
            _ if by_peer => Offence::Misbehaved(name.into()),
            _ => Offence::Internal(name.into()),
        }
    }
}

impl Offence {
    /// The same, where it is the peer's bytes that stopped s2n: these are its words for what cannot be read.
    pub(super) fn in_input(stop: Stop) -> Self {
        match Offence::from_s2n(stop) {
            Offence::Internal(name)
                if matches!(
                    &*name,
                    "S2N_ERR_SAFETY"
                        | "S2N_ERR_NULL"
                        | "S2N_ERR_SIZE"
                        | "S2N_ERR_STUFFER_OUT_OF_DATA"
                ) =>
            {
                Offence::Malformed(name)
            }
            other => other,
        }
    }

    /// The alert that is due, which s2n does not send: it has close_notify alone. `None`: the peer has ended it.
    pub(super) fn own_alert(&self) -> Option<AlertDescription> {
        Some(match self {
            Offence::AlertReceived(_)
            | Offence::HelloRefused(..)
            | Offence::KeyRefused(_)
            | Offence::RefusalTaken(_)
            | Offence::CertificateRefused(_)
            | Offence::Vanished
            | Offence::VanishedAtHello => return None,
            Offence::NoSharedCipher(_)
            | Offence::NoSharedGroup
            | Offence::NoSharedSignature
            | Offence::NoCertificate => AlertDescription::HandshakeFailure,
            Offence::UnsupportedProtocol(_) => AlertDescription::ProtocolVersion,
            Offence::InappropriateFallback => AlertDescription::InappropriateFallback,
            Offence::WeakGroup => AlertDescription::InsufficientSecurity,
            Offence::UnusableKey(_) => AlertDescription::BadCertificate,
            Offence::BadSignature => AlertDescription::DecryptError,
            Offence::Misbehaved(name) if name == "S2N_ERR_BAD_FINISHED" => {
                AlertDescription::DecryptError
            }
            Offence::Misbehaved(name) if name.starts_with("S2N_") => {
                AlertDescription::IllegalParameter
            }
            Offence::Renegotiation => AlertDescription::NoRenegotiation,
            other => other.alert(),
        })
    }
}

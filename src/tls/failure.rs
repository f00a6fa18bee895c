//! Why a handshake or a stream ended: one variant for each offence, and one table that gives each its
//! phrase (OpenSSL's words where it has them), which side is at fault, what to do, and how the
//! scoreboard counts it.

mod causes;
mod classifying;
mod offence;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use rustls::AlertDescription;

use super::blame::Fault;
use super::ocsp::Refusal;
use super::rejection::Rejection;
use crate::incidents::Diagnosis;
use crate::ipc::scoreboard::HandshakeFailure;

pub(super) use classifying::{garbage, lacks_signature};
pub(super) use offence::{Offence, Sides};

/// What failed, as stunnel names it at the start of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// A handshake in the server's role.
    Accept,
    /// A handshake in the client's role.
    Connect,
    /// Reading from an established connection.
    Read,
    /// Writing to an established connection.
    Write,
}

impl During {
    fn call(self) -> &'static str {
        match self {
            During::Accept => "SSL_accept",
            During::Connect => "SSL_connect",
            During::Read => "SSL_read",
            During::Write => "SSL_write",
        }
    }
}

/// Why a handshake or a stream ended. Display gives stunnel's words first, then which side is at fault
/// and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    during: During,
    offence: Offence,
    blinding: Option<Duration>,
}

impl Failure {
    pub(super) fn new(during: During, offence: Offence) -> Self {
        Self {
            during,
            offence,
            blinding: None,
        }
    }

    /// The same, with its time of silence.
    pub(super) fn blinded(self, blinding: Option<Duration>) -> Self {
        Self { blinding, ..self }
    }

    /// How long the connection must be kept, and nothing be sent on it, before it is closed, so that the
    /// time of the end tells the peer nothing about what was decrypted (Lucky Thirteen, RFC 7366). `None`:
    /// it may be closed at once.
    pub(crate) fn blinding(&self) -> Option<Duration> {
        self.blinding
    }

    /// The alert that was received, if that is what ended it.
    pub(super) fn alert_read(&self) -> Option<AlertDescription> {
        match self.offence {
            Offence::AlertReceived(alert)
            | Offence::HelloRefused(alert, _)
            | Offence::RefusalTaken(alert)
            | Offence::CertificateRefused(Some(alert))
            | Offence::KeyRefused(alert) => Some(alert),
            _ => None,
        }
    }

    /// The alert for a certificate that was refused only after the handshake, as OpenSSL has it within.
    pub(super) fn late_alert(&self) -> AlertDescription {
        match (&self.offence, self.during) {
            (Offence::CertificateRejected(Rejection::Ocsp(_)), During::Connect) => {
                AlertDescription::BadCertificateStatusResponse
            }
            (Offence::CertificateRejected(Rejection::Ocsp(Refusal::Revoked)), _) => {
                AlertDescription::CertificateRevoked
            }
            _ => AlertDescription::HandshakeFailure,
        }
    }

    /// How the scoreboard counts it.
    pub(crate) fn kind(&self) -> HandshakeFailure {
        self.offence.row().kind
    }
}

/// Which side has to act, where that is sure.
impl Failure {
    fn verdict(&self) -> &'static str {
        match (self.offence.row().fault, self.during) {
            (Fault::Peer, During::Accept) => "the client's fault; ",
            (Fault::Peer, During::Connect) => "the server's fault; ",
            (Fault::Peer, During::Read | During::Write) => "the peer's fault; ",
            (Fault::Ours, _) => "our fault; ",
            (Fault::Either, _) => "the two sides do not agree; ",
            (Fault::Unsure, _) => "",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        if let Offence::UnsupportedProtocol(Some(sides))
        | Offence::NoSharedCipher(Some(sides))
        | Offence::HelloRefused(_, sides) = &self.offence
            && let Some(help) = &sides.help
        {
            return help.clone().into();
        }
        match (&self.offence, self.during) {
            (Offence::Vanished, During::Accept | During::Connect) => {
                "it closed the connection during the handshake".into()
            }
            _ => self.offence.row().hint.into(),
        }
    }

    /// What the log says of it, taken apart.
    pub(crate) fn diagnosis(&self) -> Diagnosis {
        let cause = self.offence.cause(self.during);
        Diagnosis::new(cause, Reason(self).to_string(), self.remedy())
    }
}

/// What happened, without who has to act and how.
struct Reason<'a>(&'a Failure);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            during, offence, ..
        } = self.0;
        write!(f, "{}: {}", during.call(), offence.row().phrase)?;
        match offence {
            Offence::CertificateRejected(rejection) => write!(f, " ({rejection})"),
            Offence::Malformed(what)
            | Offence::Misbehaved(what)
            | Offence::Internal(what)
            | Offence::UnusableKey(what) => write!(f, " ({what})"),
            Offence::UnsupportedProtocol(Some(sides))
            | Offence::NoSharedCipher(Some(sides))
            | Offence::HelloRefused(_, sides) => write!(f, " ({})", sides.said),
            Offence::UnknownIdentity(identity) | Offence::WrongKey(identity) => {
                write!(f, " (identity \"{identity}\")")
            }
            Offence::NoSharedProtocol(offered) => write!(f, " (the client offers {offered})"),
            Offence::WeakKey(bits) => write!(f, " (RSA of {bits} bits)"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, remedy) = (self.verdict(), self.remedy());
        write!(f, "{}: {verdict}{remedy}", Reason(self))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_stands_only_where_it_is_sure() {
        use AlertDescription as Alert;
        let sure = [
            (
                Offence::NoSharedCipher(None),
                "the two sides do not agree; ",
            ),
            (
                Offence::UnsupportedProtocol(None),
                "the two sides do not agree; ",
            ),
            (
                Offence::AlertReceived(Alert::InternalError),
                "the server's fault; ",
            ),
            (
                Offence::CertificateRejected(Rejection::Purpose),
                "the server's fault; ",
            ),
            (Offence::Internal("x".to_owned()), "our fault; "),
        ];
        for (offence, verdict) in sure {
            let said = Failure::new(During::Connect, offence).to_string();
            assert!(said.contains(verdict), "{said}");
        }
        // A wrong port, a clock, a name, an authority missing here, an interfering network.
        for offence in [
            Offence::PlainText,
            Offence::HttpRequest,
            Offence::UnexpectedMessage,
            Offence::Malformed("x".to_owned()),
            Offence::Misbehaved("x".to_owned()),
            Offence::BadRecordMac,
            Offence::Vanished,
            Offence::NoCertificate,
            Offence::CertificateRejected(Rejection::Expired),
            Offence::CertificateRejected(Rejection::UnknownIssuer),
            Offence::CertificateRejected(Rejection::Name("x".to_owned())),
            Offence::AlertReceived(Alert::HandshakeFailure),
            Offence::AlertReceived(Alert::UnknownCA),
            Offence::AlertReceived(Alert::CertificateExpired),
        ] {
            let said = Failure::new(During::Connect, offence).to_string();
            assert!(!said.contains("fault") && !said.contains("agree"), "{said}");
            // The advice is given all the same.
            assert!(said.split(": ").count() > 2, "{said}");
        }
    }
}

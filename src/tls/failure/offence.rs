//! What may happen in a handshake or a stream, and the table of what is said about it. Never in here: how a
//! library says it.

use rustls::AlertDescription;

use crate::ipc::scoreboard::HandshakeFailure;
use crate::tls::backend::OptionNames;
use crate::tls::blame::{Fault, Row};
use crate::tls::rejection::Rejection;
use crate::tls::{alerts, key_kinds};

/// What the two sides of a handshake have, where they have nothing in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tls) struct Sides {
    /// `the client offers ...; adit has ...`
    pub(in crate::tls) said: String,
    /// What would help, if that is known.
    pub(in crate::tls) help: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tls) enum Offence {
    CertificateRejected(Rejection),
    NoCertificate,
    /// What the two sides have, if that is known.
    UnsupportedProtocol(Option<Sides>),
    /// As above.
    NoSharedCipher(Option<Sides>),
    /// The client says that it has tried a later version before, and adit speaks one.
    InappropriateFallback,
    NoSharedGroup,
    /// The client offers these protocols, escaped.
    NoSharedProtocol(String),
    NoSharedSignature,
    /// The key of a certificate that is not verified: RSA with this many bits.
    WeakKey(usize),
    /// As above, another kind of key.
    UnusableKey(String),
    /// The group of the server's key exchange has less than 2048 bits.
    WeakGroup,
    /// The signature is not by the certificate's key.
    BadSignature,
    HttpRequest,
    PlainText,
    AlertReceived(AlertDescription),
    /// The server answered our hello with this alert.
    HelloRefused(AlertDescription, Sides),
    /// An old program before a client's accepting end answered our certificate with this alert, or closed the
    /// connection.
    CertificateRefused(Option<AlertDescription>),
    BadRecordMac,
    RecordOverflow,
    UnexpectedMessage,
    Malformed(String),
    Misbehaved(String),
    /// The client's server name is no host name.
    InvalidServerName,
    /// The client shows this identity, escaped, and there is no certificate for it either.
    UnknownIdentity(String),
    /// The client shows no pre-shared key, and there is no certificate.
    NoKeyOffered,
    /// The client does not prove to know the key of this identity, escaped.
    WrongKey(String),
    /// The server does not take our pre-shared key, and shows a certificate instead.
    KeyIgnored,
    /// The server refuses our hello with this alert, which may be because of our pre-shared key.
    KeyRefused(AlertDescription),
    /// The peer ended the TCP connection where TLS expected more: no close_notify (RFC 8446, section 6.1), or no
    /// end of the handshake.
    Vanished,
    /// As above, before a server said anything, where it may be an old one.
    VanishedAtHello,
    /// A key update asks for what there is not.
    BadKeyUpdate,
    KeysExhausted,
    /// The peer has closed its half, and this cipher cannot go on with the other.
    ClosedBoth,
    /// The peer wants another handshake, and a warning cannot be sent.
    Renegotiation,
    /// The peer wanted another handshake, was told that there is none, and ends the connection by this alert.
    RefusalTaken(AlertDescription),
    /// As much as one key of 3DES may encrypt.
    TripleDesExhausted,
    NoServerName,
    Internal(String),
}

impl Offence {
    /// The same, where the peer had wished for another handshake before, which was `refused`.
    pub(in crate::tls) fn behind_a_wish(self, refused: bool) -> Self {
        match self {
            Offence::AlertReceived(alert) if refused => Offence::RefusalTaken(alert),
            other => other,
        }
    }

    /// The table.
    pub(super) fn row(&self) -> Row {
        use HandshakeFailure::{Certificate, Negotiation, Protocol, Vanished};
        let row = match self {
            Offence::CertificateRejected(rejection) => (
                "certificate verify failed",
                rejection.fault(),
                rejection.hint(),
                Certificate,
            ),
            Offence::NoCertificate => (
                "peer did not return a certificate",
                Fault::Unsure,
                "give the peer a certificate, or set requireCert = no",
                Certificate,
            ),
            Offence::UnsupportedProtocol(_) => (
                "unsupported protocol",
                Fault::Either,
                "adit speaks TLS 1.2 and 1.3: see sslVersionMin, sslVersionMax, or update the peer",
                Negotiation,
            ),
            Offence::NoSharedCipher(_) => (
                "no shared cipher",
                Fault::Either,
                "adit's suites have forward secrecy (ECDHE) and AEAD: update the peer; or see ciphers, ciphersuites and the key's type",
                Negotiation,
            ),
            Offence::InappropriateFallback => (
                "inappropriate fallback",
                Fault::Unsure,
                "the client tries an older TLS version, though both sides have a later one: its first try was disturbed, perhaps by an attacker",
                Negotiation,
            ),
            Offence::NoSharedGroup => (
                "no suitable key share",
                Fault::Either,
                "see curves, or update the peer",
                Negotiation,
            ),
            Offence::NoSharedProtocol(_) => (
                "no application protocol",
                Fault::Either,
                "the client has none of those in alpn: add the one that it needs, or leave alpn out",
                Negotiation,
            ),
            Offence::NoSharedSignature => (
                "no suitable signature algorithm",
                Fault::Either,
                "the peer cannot use a key of this type: try an RSA or a P-256 key; where `config` has SignatureAlgorithms, see its list",
                Negotiation,
            ),
            Offence::WeakKey(_) => (
                "ee key too small",
                Fault::Peer,
                "adit takes RSA keys of 2048 bits and more: the peer needs a new key, and a new certificate",
                Certificate,
            ),
            Offence::UnusableKey(_) => (
                "wrong signature type",
                Fault::Peer,
                key_kinds::TAKEN,
                Certificate,
            ),
            Offence::WeakGroup => (
                "dh key too small",
                Fault::Peer,
                "adit takes Diffie-Hellman groups of 2048 bits and more: the server needs a larger one (2048 bits), or leave it out here with `ciphers = ALL:!DH`",
                Negotiation,
            ),
            Offence::BadSignature => (
                "bad signature",
                Fault::Peer,
                "the peer does not have the key of the certificate it presents, or its TLS is broken",
                Certificate,
            ),
            Offence::HttpRequest => (
                "http request",
                Fault::Unsure,
                "it speaks plain HTTP to a TLS port: use https",
                Protocol,
            ),
            Offence::PlainText => (
                "wrong version number",
                Fault::Unsure,
                "it does not speak TLS here: check the port, and whether protocol (STARTTLS) is needed",
                Protocol,
            ),
            Offence::AlertReceived(alert) => return alerts::row(*alert),
            Offence::HelloRefused(alert, _) => {
                return Row {
                    hint: "it has nothing in common with adit, perhaps no ECDHE suite: see ciphers, curves and the peer's log",
                    ..alerts::row(*alert)
                };
            }
            Offence::RefusalTaken(alert) => {
                return Row {
                    hint: "it wants another handshake within the connection, which adit refuses: turn renegotiation off there",
                    ..alerts::row(*alert)
                };
            }
            Offence::CertificateRefused(Some(alert)) => {
                return Row {
                    hint: "the program does not take our certificate (acceptCert): let it trust the authority (`adit ca show --serve`), and see whether the certificate has the server name of its settings",
                    ..alerts::row(*alert)
                };
            }
            Offence::CertificateRefused(None) => (
                "unexpected eof while reading",
                Fault::Unsure,
                "it closed the connection after our certificate (acceptCert); perhaps the program does not take it: let it trust the authority (`adit ca show --serve`), and see whether the certificate has the server name of its settings",
                Vanished,
            ),
            Offence::UnknownIdentity(_) => (
                "PSK identity not found",
                Fault::Either,
                "add a line with it to the file of PSKsecrets, or give the client an identity that is there",
                Certificate,
            ),
            Offence::NoKeyOffered => (
                "no PSK identity offered",
                Fault::Either,
                "give the client a pre-shared key, or set cert for clients without",
                Certificate,
            ),
            Offence::WrongKey(_) => (
                "binder does not verify",
                Fault::Either,
                "the client has another key for this identity: compare it with the file of PSKsecrets",
                Certificate,
            ),
            Offence::KeyIgnored => (
                "PSK not accepted",
                Fault::Either,
                "the server shows a certificate instead, which is not verified here: it must know PSKidentity and its key; or set verifyServer",
                Certificate,
            ),
            Offence::KeyRefused(alert) => {
                return Row {
                    hint: "perhaps it has not the pre-shared key: compare PSKidentity, and its key in PSKsecrets, with the server's; it must speak TLS 1.3",
                    ..alerts::row(*alert)
                };
            }
            Offence::InvalidServerName => (
                "invalid server name",
                Fault::Peer,
                "its server name (SNI) is no host name: give the client a name or a plain address to connect to, without brackets or a port",
                Negotiation,
            ),
            Offence::BadRecordMac => (
                "decryption failed or bad record mac",
                Fault::Unsure,
                "the record was changed in transit, or the peer's TLS is broken",
                Protocol,
            ),
            Offence::RecordOverflow => (
                "data length too long",
                Fault::Unsure,
                "the record is longer than TLS allows (RFC 8446, section 5.2)",
                Protocol,
            ),
            Offence::UnexpectedMessage => (
                "unexpected message",
                Fault::Unsure,
                "the message is out of place: the other side does not speak TLS here, or its TLS is broken",
                Protocol,
            ),
            Offence::Malformed(_) => (
                "bad length or encoding",
                Fault::Unsure,
                "the message cannot be parsed: the other side does not speak TLS here, or its TLS is broken",
                Protocol,
            ),
            Offence::Misbehaved(_) => (
                "protocol violation",
                Fault::Unsure,
                "the peer's TLS is broken, or the connection is tampered with",
                Protocol,
            ),
            Offence::Vanished => (
                "unexpected eof while reading",
                Fault::Unsure,
                "it closed the connection without close_notify: data may be missing",
                Vanished,
            ),
            Offence::VanishedAtHello => (
                "unexpected eof while reading",
                Fault::Unsure,
                "it closed the connection without an answer to the hello; an old server may stumble over a hello of today: try `sslVersionMax = TLSv1.2`, or TLSv1",
                Vanished,
            ),
            Offence::BadKeyUpdate => (
                "bad key update",
                Fault::Unsure,
                "the peer's TLS is broken, or the connection is tampered with",
                Protocol,
            ),
            Offence::KeysExhausted => (
                "sequence numbers used up",
                Fault::Unsure,
                "TLS 1.2 cannot renew its keys: connect again, or use TLS 1.3",
                Protocol,
            ),
            Offence::ClosedBoth => (
                "protocol is shutdown",
                Fault::Unsure,
                "the peer closed its side, which with this old cipher closes ours too: the rest of the data is lost; see ciphers",
                Protocol,
            ),
            Offence::Renegotiation => (
                "no renegotiation",
                Fault::Unsure,
                "the peer wants another handshake, which cannot be refused with this cipher but by the end of the connection: see ciphers, and turn renegotiation off there",
                Protocol,
            ),
            Offence::TripleDesExhausted => (
                "too much data for one key of 3DES",
                Fault::Unsure,
                "adit ends such connections after 1 GiB (Sweet32): connect again",
                Protocol,
            ),
            Offence::NoServerName => (
                "no server name to verify",
                Fault::Ours,
                "verifyServer needs a host name: set sni",
                Certificate,
            ),
            Offence::Internal(_) => (
                "internal error",
                Fault::Ours,
                "please report this with the log at debug level",
                Protocol,
            ),
        };
        row.into()
    }

    /// The alert that a stream sends for it (in a handshake, rustls chooses the alert).
    pub(in crate::tls) fn alert(&self) -> AlertDescription {
        match self {
            Offence::BadRecordMac => AlertDescription::BadRecordMac,
            Offence::RecordOverflow => AlertDescription::RecordOverflow,
            Offence::UnexpectedMessage | Offence::PlainText | Offence::Misbehaved(_) => {
                AlertDescription::UnexpectedMessage
            }
            Offence::Malformed(_) => AlertDescription::DecodeError,
            // RFC 8446, section 4.6.3.
            Offence::BadKeyUpdate => AlertDescription::IllegalParameter,
            _ => AlertDescription::InternalError,
        }
    }

    /// What it amounts to in a handshake where adit is the server, whose options have these names: a client's
    /// accepting end is told what to do about the program before it. `shown`: our certificate went out.
    pub(in crate::tls) fn about_certificate(self, names: OptionNames, shown: bool) -> Self {
        use AlertDescription::{BadCertificate, CertificateUnknown, UnknownCA};
        match self {
            _ if names != OptionNames::Accepted || !shown => self,
            Offence::AlertReceived(alert @ (BadCertificate | CertificateUnknown | UnknownCA)) => {
                Offence::CertificateRefused(Some(alert))
            }
            Offence::Vanished => Offence::CertificateRefused(None),
            _ => self,
        }
    }
}

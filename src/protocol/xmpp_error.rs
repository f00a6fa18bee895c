//! What XMPP peers do wrong before TLS, and what they are told. Never in here: a word of theirs but a condition's name.

use std::fmt;

use super::Side;
use super::xmpp::OPENING_MAX;

/// What a peer does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum XmppError {
    /// What it says is no opening of a stream.
    NoStream(Side),
    /// Its stream is for the other kind of peer.
    OtherKind(Side),
    /// It knows no XMPP 1.0, and so no STARTTLS.
    TooOld(Side),
    /// XML that has no place in XMPP.
    Restricted(Side),
    /// It says too much.
    TooMuch(Side),
    /// It closed the connection, or its stream.
    Closed(Side),
    /// The server does not offer STARTTLS.
    NotOffered,
    /// It offers it, and then refuses it.
    Refused,
    /// It ends its stream with this error.
    Ended(String),
    /// The client goes on without.
    NotAsked,
}

impl fmt::Display for XmppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XmppError::NoStream(side) => write!(f, "XMPP: the {side} opens no stream of XMPP"),
            XmppError::OtherKind(side) => write!(
                f,
                "XMPP: the {side}'s stream is of another kind: `protocol = xmpp` is for clients (jabber:client), \
                 `xmpp-server` between servers (jabber:server)"
            ),
            XmppError::TooOld(Side::Front) => f.write_str(
                "STARTTLS expected: the xmpp client is older than XMPP 1.0, which brought STARTTLS; TLS from the first \
                 byte is served on the same port",
            ),
            XmppError::TooOld(Side::Back) => {
                f.write_str("Server does not support TLS: it is older than XMPP 1.0, which brought STARTTLS")
            }
            XmppError::Restricted(side) => write!(
                f,
                "XMPP: the {side} uses XML that XMPP forbids: comments, document types, CDATA, entities"
            ),
            XmppError::TooMuch(side) => {
                write!(f, "XMPP: the {side} said over {OPENING_MAX} bytes before TLS")
            }
            XmppError::Closed(side) => {
                write!(f, "XMPP: the {side} closed the connection before TLS")
            }
            XmppError::NotOffered => f.write_str(
                "Server does not support TLS: the xmpp server does not offer STARTTLS: has it a certificate for the \
                 domain that the program asks for?",
            ),
            XmppError::Refused => {
                f.write_str("Server does not support TLS: the xmpp server offers STARTTLS, and refuses it")
            }
            XmppError::Ended(condition) => write!(
                f,
                "Server does not support TLS: the xmpp server ended the stream: {condition}"
            ),
            XmppError::NotAsked => f.write_str("STARTTLS expected: the xmpp client goes on without STARTTLS"),
        }
    }
}

impl XmppError {
    /// What the side that still speaks plain is told (RFC 6120, section 4.9.3): the condition, and a text.
    pub(super) fn farewell(&self) -> Option<(&'static str, &'static str)> {
        use XmppError as E;
        Some(match self {
            E::Closed(Side::Front) => return None,
            E::NoStream(Side::Front) => ("not-well-formed", "No stream of XMPP"),
            E::OtherKind(Side::Front) => ("invalid-namespace", "A stream of another kind"),
            E::TooOld(Side::Front) => ("unsupported-version", "XMPP 1.0 is needed"),
            E::Restricted(Side::Front) => ("restricted-xml", "XMPP forbids this XML"),
            E::TooMuch(Side::Front) => ("policy-violation", "Too much before TLS"),
            E::NotAsked => ("policy-violation", "Use STARTTLS first"),
            E::NotOffered | E::Refused | E::TooOld(_) | E::Ended(_) => {
                ("remote-connection-failed", "Server does not support TLS")
            }
            E::Closed(Side::Back) => ("remote-connection-failed", "Server closed the connection"),
            E::NoStream(_) | E::OtherKind(_) | E::Restricted(_) | E::TooMuch(_) => {
                ("remote-connection-failed", "Unexpected server response")
            }
        })
    }
}

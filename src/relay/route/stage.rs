//! A stage of a route as it is shown, by `adit check --route` among others. Never in here: the order of stages.

use std::fmt;

use crate::config::{MailProtocol, Protocol, Reception, Transparent};
use crate::protocol::Side;

/// One stage of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A balancer says who its client is.
    Introduce,
    /// The client's address is looked up in the service's lists.
    Admit,
    /// A helper reads hosts.allow and hosts.deny.
    AskTheGate,
    /// The client's machine says whose the connection is.
    Identify,
    /// The name that the client asks for decides on the service.
    Hello,
    /// TLS on an end.
    Handshake(Side),
    /// What OCSP responders say about the certificate on an end.
    Verdict(Side),
    /// A dialogue, or the part of one.
    Talk(Part),
    /// TLS with a client that begins with it.
    Look,
    /// Receives a client that has not begun TLS yet.
    Receive(Reception),
    /// Connects the back, from or to an address of the client's.
    Transparent(Transparent),
    /// Connects the back.
    Connect,
    /// Starts the program that is the back.
    Exec,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Introduce => f.write_str("PROXY header from a balancer"),
            Stage::Admit => f.write_str("acceptFrom and denyFrom"),
            Stage::AskTheGate => f.write_str("hosts.allow and hosts.deny"),
            Stage::Identify => f.write_str("IDENT of the client"),
            Stage::Hello => f.write_str("choice of the service by SNI"),
            Stage::Handshake(Side::Front) => f.write_str("TLS handshake with the client"),
            Stage::Handshake(Side::Back) => f.write_str("TLS handshake with the server"),
            Stage::Verdict(Side::Front) => f.write_str("OCSP of the client's certificate"),
            Stage::Verdict(Side::Back) => f.write_str("OCSP of the server's certificate"),
            Stage::Talk(Part::BeforeTls(protocol)) => {
                write!(f, "{} before TLS", protocol.name())
            }
            Stage::Talk(Part::Request(protocol)) => {
                write!(f, "{} request", protocol.name())
            }
            Stage::Talk(Part::Reply(protocol)) => {
                write!(f, "{} reply", protocol.name())
            }
            Stage::Talk(Part::Opening(protocol)) => {
                write!(f, "{} with the client until it starts TLS", protocol.name())
            }
            Stage::Talk(Part::Header) => f.write_str("PROXY header to the server"),
            Stage::Talk(Part::Hold) => f.write_str(
                "smtp greeting (until it comes, the client is held and the server tried again)",
            ),
            Stage::Talk(Part::Login(mail)) => {
                write!(f, "{} login for the client", Protocol::from(*mail).name())
            }
            Stage::Talk(Part::Within(protocol)) => write!(f, "{} within TLS", protocol.name()),
            Stage::Talk(Part::Unprotected(protocol)) => {
                write!(f, "else {} request in plain", protocol.name())
            }
            Stage::Look => f.write_str("TLS handshake with the client if it begins with TLS"),
            Stage::Receive(Reception::Required(mail)) => {
                let protocol = Protocol::from(*mail).name();
                write!(f, "else {protocol} with the client until it starts TLS")
            }
            Stage::Receive(Reception::Offered(Some(mail))) => {
                let protocol = Protocol::from(*mail).name();
                write!(
                    f,
                    "else {protocol} with the client until it starts TLS or goes on in plain"
                )
            }
            Stage::Receive(Reception::Offered(None)) => {
                f.write_str("else TLS or plain as the client begins")
            }
            Stage::Transparent(Transparent {
                source,
                destination,
            }) => {
                let from = if *source {
                    " from the client's address"
                } else {
                    ""
                };
                let to = if *destination {
                    " to where the client wanted to go"
                } else {
                    ""
                };
                write!(f, "connect{from}{to}")
            }
            Stage::Connect => f.write_str("connect"),
            Stage::Exec => f.write_str("exec"),
        }
    }
}

/// Which dialogue, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// In plain on both ends, until TLS starts.
    BeforeTls(Protocol),
    /// With the client alone, until it starts TLS.
    Opening(Protocol),
    /// With the client alone, which says where it wants to be connected to.
    Request(Protocol),
    /// The answer to that request.
    Reply(Protocol),
    /// With the server, told first of all where the client comes from.
    Header,
    /// Once TLS has begun with the server.
    Within(Protocol),
    /// With the server, which greets a client at last that may have been held.
    Hold,
    /// Once TLS has begun, with both, until the client is logged in.
    Login(MailProtocol),
    /// For a client that did not begin TLS.
    Unprotected(Protocol),
}

//! What may go wrong in a dialogue, before TLS or within it: one variant per offence, and whose it is.

mod causes;
mod wording;

use std::borrow::Cow;
use std::fmt::{self, Display};

use super::login::{judged, provider_note};
use super::{
    AHEAD_MAX, COMMANDS_MAX, CifsError, LINE_MAX, LdapError, LoginError, MysqlError, NtlmError,
    PgsqlError, REPLY_MAX, RefusedBySocks, Side, SocksError, XmppError,
};
use crate::config::Protocol;
use crate::incidents::Cause;

use causes::{helps, refusal};
pub(crate) use wording::usual_ports;
pub(super) use wording::{NOT_SHOWN, codes, excerpt};
use wording::{expected, phrase, server, starter, when};

/// What the dialogue waited for when it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The server's greeting.
    Greeting,
    /// The answer to SMTP's EHLO.
    Ehlo,
    /// The answer to STARTTLS or STLS.
    GoAhead,
    /// The answer to IMAP's CAPABILITY.
    Capability,
    /// The client's next command.
    Command,
    /// The answer to SMTP's AUTH PLAIN.
    Plain,
    /// The answer to a step of its AUTH LOGIN.
    Login,
    /// What a program says until it has logged in.
    Program,
    /// The reply to a command of that time.
    Reply,
    /// The answer to a login in its place.
    Entry,
    /// The one answer to what was said, in a protocol that has no other.
    Answer,
}

/// Why a dialogue failed. Display begins with stunnel's words where stunnel has some, and then
/// says whose fault it is and what was expected. A server's words are shown sanitised and cut to
/// 80 characters, a client's never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    /// The server understood, and said no.
    Refused {
        /// The protocol spoken.
        protocol: Protocol,
        /// What was expected.
        awaited: Awaited,
        /// What it said instead, sanitised.
        said: String,
    },
    /// The server said something that the protocol does not allow there.
    Unintelligible {
        /// The protocol spoken.
        protocol: Protocol,
        /// What was expected.
        awaited: Awaited,
        /// What it said instead, sanitised.
        said: String,
    },
    /// The server takes no one without a login, or not this one. What it said is cut to what cannot repeat the
    /// login.
    Credentials {
        /// The protocol spoken.
        protocol: Protocol,
        /// What was expected.
        awaited: Awaited,
        /// What the refusal of those that were given is counted as; `None`: there were none.
        given: Option<Cause>,
        /// What it said, sanitised.
        said: String,
        /// What the provider that has the server says of passwords, where that may be at fault.
        note: Option<String>,
    },
    /// The server does not offer the way to log in: nothing was sent.
    NoSuchLogin {
        /// The protocol spoken.
        protocol: Protocol,
        /// What would have been awaited.
        awaited: Awaited,
        /// The ways that it offers, sanitised; `None`: no login at all.
        offered: Option<String>,
        /// The `protocolAuthentication` that it would take.
        instead: Option<&'static str>,
    },
    /// A line of the server is longer than [`LINE_MAX`].
    LineTooLong {
        /// The protocol spoken.
        protocol: Protocol,
        /// What was expected.
        awaited: Awaited,
    },
    /// A reply of the server is longer than [`REPLY_MAX`].
    ReplyTooLong {
        /// The protocol spoken.
        protocol: Protocol,
        /// What was expected.
        awaited: Awaited,
    },
    /// The server closed the connection.
    ServerClosed {
        /// The protocol spoken.
        protocol: Protocol,
        /// What was expected.
        awaited: Awaited,
    },
    /// The client closed the connection.
    ClientClosed {
        /// The protocol spoken.
        protocol: Protocol,
    },
    /// The client closed the connection before the server had said a word; it may have waited long.
    NothingSaid {
        /// The protocol spoken.
        protocol: Protocol,
    },
    /// A line of the client is longer than [`LINE_MAX`].
    CommandTooLong {
        /// The protocol spoken.
        protocol: Protocol,
    },
    /// The client gave [`COMMANDS_MAX`] commands and none of them started TLS.
    TooManyCommands {
        /// The protocol spoken.
        protocol: Protocol,
    },
    /// The client began a TLS handshake where plain text was due.
    TlsOutOfTurn {
        /// The protocol spoken.
        protocol: Protocol,
    },
    /// The client began TLS after it had been greeted in plain.
    TlsTooLate {
        /// The protocol spoken.
        protocol: Protocol,
    },
    /// An end said more than [`AHEAD_MAX`] bytes ahead of its turn.
    TooMuchAhead {
        /// The protocol spoken.
        protocol: Protocol,
        /// Which end.
        side: Side,
    },
    /// Plain bytes followed the word after which only TLS may come: an attacker between the ends
    /// who wants them taken as protected, or a broken peer.
    PlaintextBehindStarttls {
        /// The protocol spoken.
        protocol: Protocol,
        /// Who said them.
        side: Side,
    },
    /// What a SOCKS client did wrong.
    Socks(SocksError),
    /// Why a SOCKS server does not connect.
    RefusedBySocks(RefusedBySocks),
    /// What a PostgreSQL client or server did wrong.
    Pgsql(PgsqlError),
    /// What an LDAP server says instead of yes.
    Ldap(LdapError),
    /// What a proxy does wrong where a login by NTLM begins.
    Ntlm(NtlmError),
    /// What a CIFS client or server did wrong.
    Cifs(CifsError),
    /// What a MySQL client or server did wrong.
    Mysql(MysqlError),
    /// What an XMPP client or server did wrong.
    Xmpp(XmppError),
    /// What a server did wrong in a login in the program's place.
    Login(LoginError),
    /// The same, once TLS has begun.
    WithinTls(Box<ProtocolError>),
    /// An event for a dialogue that is over: a defect of adit itself.
    Over,
}

impl std::error::Error for ProtocolError {}

impl ProtocolError {
    /// The same of `server`, where it has heard a secret: it might repeat that in what it said, of which the codes
    /// alone are kept (RFC 5321, section 4.2; RFC 2034), and what it means.
    pub(super) fn of_a_login(self, server: Option<&str>) -> ProtocolError {
        use ProtocolError as E;
        match self {
            E::Refused {
                protocol,
                awaited,
                said,
            } => {
                let cause = judged(&said);
                E::Credentials {
                    protocol,
                    awaited,
                    given: Some(cause),
                    said: codes(&said),
                    note: server.and_then(|server| provider_note(server, cause)),
                }
            }
            E::Unintelligible {
                protocol, awaited, ..
            } => E::Unintelligible {
                protocol,
                awaited,
                said: NOT_SHOWN.to_owned(),
            },
            other => other,
        }
    }

    /// Display of what only a server can do; `within`: TLS has begun.
    fn blame_server(&self, within: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ProtocolError as E;
        let (E::Refused {
            protocol, awaited, ..
        }
        | E::Unintelligible {
            protocol, awaited, ..
        }
        | E::LineTooLong { protocol, awaited }
        | E::ReplyTooLong { protocol, awaited }
        | E::ServerClosed { protocol, awaited }) = self
        else {
            return Ok(());
        };
        let (phrase, server) = (phrase(*protocol, *awaited), server(*protocol));
        let name = protocol.name();
        let expected = expected(*protocol, *awaited);
        match self {
            E::Refused { said, .. } => write!(
                f,
                "{phrase}: the {server} refused: {expected} was expected, it said \"{said}\""
            ),
            E::Unintelligible { said, .. } => write!(
                f,
                "{phrase}: the server does not speak {name}: {expected} was expected, it said \
                 \"{said}\""
            ),
            E::LineTooLong { .. } => write!(
                f,
                "Line too long: the {server} sent over {LINE_MAX} bytes without an end of \
                 line where {expected} was expected"
            ),
            E::ReplyTooLong { .. } => write!(
                f,
                "Reply too long: the {server} sent over {REPLY_MAX} bytes where \
                 {expected} was expected"
            ),
            _ => write!(
                f,
                "Server closed {when}: the {server} closed the connection where {expected} was \
                 expected",
                when = when(within)
            ),
        }
    }

    /// Whether another try may go well, as far as the server told.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            ProtocolError::Refused { said, .. } | ProtocolError::Credentials { said, .. } => {
                said.starts_with('4')
            }
            ProtocolError::ServerClosed { .. } => true,
            ProtocolError::WithinTls(error) => error.may_pass(),
            _ => false,
        }
    }

    /// The line that tells a client which still speaks plain why it is cut. `None` where it knows
    /// already, is gone, or may be an attacker.
    pub(super) fn farewell(&self) -> Option<String> {
        let (protocol, reason) = match self {
            ProtocolError::WithinTls(error) => error.reason(true)?,
            error => error.reason(false)?,
        };
        Some(match protocol {
            Protocol::Smtp | Protocol::Lmtp => format!("421 4.3.2 adit: {reason}"),
            Protocol::Pop3 => format!("-ERR adit: {reason}"),
            Protocol::Imap => format!("* BYE adit: {reason}"),
            // RFC 959, section 4.2.
            Protocol::Ftp => format!("421 adit: {reason}"),
            // RFC 1459, section 4.6.4.
            Protocol::Irc => format!("ERROR :adit: {reason}"),
            Protocol::Sieve => format!("BYE \"adit: {reason}\""),
            // RFC 3977, section 3.2.1: the service is going away.
            Protocol::Nntp => format!("400 adit: {reason}"),
            // SOCKS has error codes of its own, and of the others the client has heard nothing.
            _ => return None,
        })
    }

    /// The protocol and the reason in that line; `within`: TLS has begun.
    fn reason(&self, within: bool) -> Option<(Protocol, Cow<'static, str>)> {
        use ProtocolError as E;
        let (protocol, reason) = match self {
            // The greeting that refuses was passed on.
            E::Refused {
                awaited: Awaited::Greeting,
                ..
            } => return None,
            E::Refused {
                protocol,
                awaited: Awaited::Ehlo | Awaited::GoAhead,
                ..
            } if !within => (protocol, "Server does not support TLS"),
            E::Refused { protocol, .. }
            | E::Unintelligible { protocol, .. }
            | E::LineTooLong { protocol, .. }
            | E::ReplyTooLong { protocol, .. } => (protocol, "Unexpected server response"),
            E::ServerClosed { protocol, .. } => (protocol, "Server closed the connection"),
            E::CommandTooLong { protocol } => (protocol, "Line too long"),
            E::Login(error) => {
                return Some((error.protocol(), "Server failed in the login".into()));
            }
            E::TooManyCommands { protocol } if within => {
                (protocol, "Too many commands before a login")
            }
            E::TooManyCommands { protocol } => (protocol, "Too many commands before TLS"),
            E::ClientClosed { .. }
            | E::NothingSaid { .. }
            | E::TlsOutOfTurn { .. }
            | E::TlsTooLate { .. }
            | E::TooMuchAhead { .. }
            | E::PlaintextBehindStarttls { .. }
            | E::Socks(_)
            | E::RefusedBySocks(_)
            | E::Pgsql(_)
            | E::Ldap(_)
            | E::Ntlm(_)
            | E::Cifs(_)
            | E::Mysql(_)
            | E::Xmpp(_)
            | E::WithinTls(_)
            | E::Over => return None,
            E::Credentials {
                protocol,
                given: Some(cause),
                note,
                ..
            } => {
                let words = format!("{}: {}", refusal(*cause), helps(*cause, note.as_deref()));
                return Some((*protocol, words.into()));
            }
            E::Credentials { protocol, .. } => (protocol, "Server wants a login"),
            E::NoSuchLogin { protocol, .. } => (protocol, "Server does not offer the login"),
        };
        Some((*protocol, reason.into()))
    }

    /// Display; `within`: TLS has begun.
    fn tell(&self, within: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ProtocolError as E;
        let (protocol, what) = match self {
            E::Refused { .. }
            | E::Unintelligible { .. }
            | E::LineTooLong { .. }
            | E::ReplyTooLong { .. }
            | E::ServerClosed { .. } => return self.blame_server(within, f),
            E::Credentials {
                protocol,
                awaited,
                given,
                said,
                ..
            } => {
                let (phrase, server) = (phrase(*protocol, *awaited), server(*protocol));
                let what = match given {
                    Some(_) => "refused protocolUsername and protocolPassword",
                    None => "wants a login: give protocolUsername and protocolPassword",
                };
                return write!(f, "{phrase}: the {server} {what}: it said \"{said}\"");
            }
            E::NoSuchLogin {
                protocol,
                awaited,
                offered,
                instead,
            } => {
                let (phrase, server) = (phrase(*protocol, *awaited), server(*protocol));
                let offers = match offered {
                    None => "no AUTH".to_owned(),
                    Some(ways) => format!("only \"AUTH {ways}\""),
                };
                let remedy = match (instead, offered) {
                    (Some(way), _) => format!("set `protocolAuthentication = {way}`"),
                    (None, Some(_)) => "leave protocolUsername out, and let the program log in".to_owned(),
                    (None, None) => "leave protocolUsername out, or connect to the port for submission".to_owned(),
                };
                return write!(
                    f,
                    "{phrase}: the {server} offers {offers}, so protocolPassword was not sent: {remedy}"
                );
            }
            E::NothingSaid { protocol } => {
                let name = protocol.name();
                return write!(
                    f,
                    "No greeting {when}: the {name} server had said nothing when the connection was \
                     closed",
                    when = when(within)
                );
            }
            E::ClientClosed { protocol } => (
                protocol,
                match within {
                    true => "closed the connection in the middle of the dialogue".to_owned(),
                    false => "closed the connection before the TLS handshake".to_owned(),
                },
            ),
            E::CommandTooLong { protocol } => (
                protocol,
                format!(
                    "sent over {LINE_MAX} bytes without an end of line where {} was expected",
                    expected(*protocol, Awaited::Command)
                ),
            ),
            E::TooManyCommands { protocol } => (
                protocol,
                format!(
                    "gave {COMMANDS_MAX} commands, none of them {}",
                    if within { "a login" } else { starter(*protocol) }
                ),
            ),
            E::TlsOutOfTurn { protocol } if within => (
                protocol,
                "began TLS where plain text was expected: switch encryption off in the program, or set \"acceptTLS = auto\""
                    .to_owned(),
            ),
            E::TlsOutOfTurn { protocol } => (
                protocol,
                format!(
                    "began TLS where plain text with {} was expected; if it is set to implicit \
                     TLS, give it a service without protocol",
                    starter(*protocol)
                ),
            ),
            E::TlsTooLate { protocol } => (
                protocol,
                "began TLS only after it had been greeted in plain; one that does not use STARTTLS must \
                 begin with TLS at once"
                    .to_owned(),
            ),
            E::TooMuchAhead { protocol, .. } => (
                protocol,
                format!("sent over {AHEAD_MAX} bytes before its turn"),
            ),
            E::PlaintextBehindStarttls { protocol, .. } => (
                protocol,
                "sent more plain text where only a TLS handshake may follow; possibly an attack \
                 on the connection"
                    .to_owned(),
            ),
            E::Socks(error) => return error.fmt(f),
            E::RefusedBySocks(error) => return error.fmt(f),
            E::Pgsql(error) => return error.fmt(f),
            E::Ldap(error) => return error.fmt(f),
            E::Ntlm(error) => return error.fmt(f),
            E::Cifs(error) => return error.fmt(f),
            E::Mysql(error) => return error.fmt(f),
            E::Xmpp(error) => return error.fmt(f),
            E::Login(error) => return error.fmt(f),
            E::WithinTls(error) => return error.tell(true, f),
            E::Over => return f.write_str("INTERNAL ERROR: event after the end of the dialogue"),
        };
        let side = match self {
            E::TooMuchAhead { side, .. } | E::PlaintextBehindStarttls { side, .. } => *side,
            _ => Side::Front,
        };
        let phrase = match self {
            E::ClientClosed { .. } if within => "Client closed within TLS",
            E::ClientClosed { .. } => "Client closed before TLS",
            E::CommandTooLong { .. } => "Line too long",
            E::TooMuchAhead { .. } if within => "Too much data within TLS",
            E::TooMuchAhead { .. } => "Too much data before TLS",
            E::PlaintextBehindStarttls { .. } => match protocol {
                Protocol::Pop3 => "plaintext behind STLS",
                _ => "plaintext behind STARTTLS",
            },
            _ => phrase(*protocol, Awaited::Command),
        };
        write!(f, "{phrase}: the {} {side} {what}", protocol.name())
    }
}

impl Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(false, f)
    }
}

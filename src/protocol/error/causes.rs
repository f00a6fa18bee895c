//! Which cause an error of a dialogue is counted as, and what to do where its words do not say it. Never in here: what was
//! said.

use std::borrow::Cow;

use super::wording::usual_ports;
use super::{Awaited, ProtocolError};
use crate::config::Protocol;
use crate::incidents::{Cause, Diagnosis};
use crate::protocol::login::remedy;
use crate::protocol::{CifsError, LdapError, MysqlError, PgsqlError, Side, XmppError};

impl ProtocolError {
    /// What the log says of it, taken apart.
    pub(crate) fn diagnosis(&self) -> Diagnosis {
        let (cause, remedy) = (self.cause(), self.remedy());
        Diagnosis::new(cause, self.to_string(), remedy)
    }

    fn cause(&self) -> Cause {
        use ProtocolError as E;
        match self {
            E::WithinTls(error) => match error.cause() {
                // TLS is there already.
                Cause::NoStarttls => Cause::ServerDialogue,
                cause => cause,
            },
            E::Refused {
                protocol: Protocol::Connect,
                ..
            }
            | E::RefusedBySocks(_)
            | E::Ntlm(_) => Cause::Proxy,
            E::Refused {
                awaited: Awaited::Ehlo | Awaited::GoAhead | Awaited::Answer,
                ..
            } => Cause::NoStarttls,
            E::Refused { .. }
            | E::Unintelligible { .. }
            | E::LineTooLong { .. }
            | E::ReplyTooLong { .. }
            | E::Login(_) => Cause::ServerDialogue,
            E::Credentials { given, .. } => given.unwrap_or(Cause::Mechanism),
            E::NoSuchLogin { .. } => Cause::Mechanism,
            E::ServerClosed { .. } | E::ClientClosed { .. } | E::NothingSaid { .. } => {
                Cause::Vanished
            }
            E::TlsOutOfTurn { .. } | E::TlsTooLate { .. } => Cause::ClientEncrypts,
            E::PlaintextBehindStarttls { .. } => Cause::BrokenTls,
            E::CommandTooLong { .. } | E::TooManyCommands { .. } | E::Socks(_) => {
                Cause::ClientDialogue
            }
            E::TooMuchAhead { side, .. } => of_dialogue(*side),
            E::Pgsql(error) => of_pgsql(*error),
            E::Ldap(LdapError::Refused(..)) => Cause::NoStarttls,
            E::Ldap(LdapError::Closed) => Cause::Vanished,
            E::Ldap(LdapError::Malformed | LdapError::Other) => Cause::ServerDialogue,
            E::Cifs(error) => of_cifs(*error),
            E::Mysql(error) => of_mysql(*error),
            E::Xmpp(error) => of_xmpp(error),
            E::Over => Cause::Internal,
        }
    }

    /// Empty where its own words say it, or it is not known.
    fn remedy(&self) -> Cow<'static, str> {
        use ProtocolError as E;
        match self {
            E::WithinTls(error) => error.remedy(),
            E::Refused {
                protocol,
                awaited: Awaited::Ehlo | Awaited::GoAhead,
                ..
            } => match usual_ports(*protocol) {
                Some((direct, plain)) => format!(
                    "connect to a port with STARTTLS ({plain}), or, without `protocol`, to one that speaks TLS from the \
                     first byte ({direct})"
                )
                .into(),
                None => "connect to a port where the server starts TLS".into(),
            },
            E::Refused {
                protocol: Protocol::Connect,
                ..
            } => "the proxy must allow CONNECT to what `protocolHost` names: see its log".into(),
            E::Refused { .. } => "see the server's log: it may not serve this machine".into(),
            E::Unintelligible { .. } => {
                "see whether `protocol` and the port of `connect` belong together".into()
            }
            E::Credentials {
                given: Some(cause),
                note,
                ..
            } => helps(*cause, note.as_deref()),
            E::ServerClosed { .. } | E::LineTooLong { .. } | E::ReplyTooLong { .. } => {
                "see the server's log".into()
            }
            E::ClientClosed { .. } | E::NothingSaid { .. } => {
                "the program gave up: see what it shows".into()
            }
            E::PlaintextBehindStarttls { .. } => "find what changes the connection on its way".into(),
            E::CommandTooLong { .. } | E::TooManyCommands { .. } => {
                "see whether the program is set to this protocol, and to STARTTLS where it must use it".into()
            }
            _ => "".into(),
        }
    }
}

/// What to do about a login that was refused, with what the provider says of it.
pub(super) fn helps(cause: Cause, note: Option<&str>) -> Cow<'static, str> {
    match note {
        Some(note) => format!("{}; {note}", remedy(cause)).into(),
        None => remedy(cause).into(),
    }
}

/// Why a login was refused, as far as a server's words tell.
pub(super) fn refusal(cause: Cause) -> &'static str {
    match cause {
        Cause::AppPassword => "The provider wants an app password",
        Cause::SmtpAuthOff => "The provider has switched logins by SMTP off for this mailbox",
        Cause::OauthOnly => "The provider takes OAuth2 alone",
        Cause::LoginLater => "Server takes no login just now",
        _ => "Server refused the login",
    }
}

fn of_dialogue(side: Side) -> Cause {
    match side {
        Side::Front => Cause::ClientDialogue,
        Side::Back => Cause::ServerDialogue,
    }
}

fn of_pgsql(error: PgsqlError) -> Cause {
    match error {
        PgsqlError::Rejected | PgsqlError::Answer(_) => Cause::NoStarttls,
        PgsqlError::OwnTls | PgsqlError::Late => Cause::ClientEncrypts,
        PgsqlError::OnlyBound => Cause::Mechanism,
        PgsqlError::Closed => Cause::Vanished,
        PgsqlError::NotRequested | PgsqlError::Malformed | PgsqlError::AskedAgain => {
            Cause::ClientDialogue
        }
    }
}

fn of_cifs(error: CifsError) -> Cause {
    match error {
        CifsError::NoRefusal | CifsError::OtherReason(_) => Cause::NoStarttls,
        CifsError::Size => Cause::ServerDialogue,
        CifsError::TooLong | CifsError::NoRequest => Cause::ClientDialogue,
        CifsError::Closed(_) => Cause::Vanished,
    }
}

fn of_mysql(error: MysqlError) -> Cause {
    match error {
        MysqlError::NoTls => Cause::NoStarttls,
        MysqlError::OwnTls => Cause::ClientEncrypts,
        MysqlError::Refused | MysqlError::TooLong => Cause::ServerDialogue,
        MysqlError::NotRequested => Cause::ClientDialogue,
        MysqlError::Malformed(side) => of_dialogue(side),
        MysqlError::Closed(_) => Cause::Vanished,
    }
}

fn of_xmpp(error: &XmppError) -> Cause {
    match error {
        XmppError::NotOffered
        | XmppError::Refused
        | XmppError::Ended(_)
        | XmppError::TooOld(Side::Back) => Cause::NoStarttls,
        XmppError::NoStream(side)
        | XmppError::OtherKind(side)
        | XmppError::TooOld(side)
        | XmppError::Restricted(side)
        | XmppError::TooMuch(side) => of_dialogue(*side),
        XmppError::NotAsked => Cause::ClientDialogue,
        XmppError::Closed(_) => Cause::Vanished,
    }
}

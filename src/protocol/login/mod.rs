//! A login in a program's place, within TLS: its own is taken in the forms that old programs know, and made with the
//! server in the best way that this offers. Never in here: a password that is sent or logged otherwise than in a login.

mod desk;
mod entering;
mod imap;
mod pop3;
mod private;
mod scram;
mod smtp;
mod token;
mod tongue;
mod way;
mod words;

use std::fmt;

pub(super) use desk::Login;
pub(super) use pop3::without_stamp;
use scram::Fault;
use tongue::{Reply, Tongue};
pub(super) use words::remedy;

use crate::config::{MailProtocol, Protocol};
use crate::incidents::Cause;
use crate::providers::Provider;

fn tongue(mail: MailProtocol) -> &'static dyn Tongue {
    match mail {
        MailProtocol::Smtp => &smtp::Smtp,
        MailProtocol::Pop3 => &pop3::Pop3,
        MailProtocol::Imap => &imap::Imap,
    }
}

/// A line of a server's list of what it can do, with its end, as a program may see it that is to log in through adit.
pub(super) fn shown(mail: MailProtocol, line: &[u8]) -> Vec<u8> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    tongue(mail).shown(line, &Reply::list())
}

/// What a server's refusal of a login is counted as.
pub(super) fn judged(said: &str) -> Cause {
    words::cause(said.as_bytes()).counted()
}

/// What the provider that has this server says of passwords, where that may be at fault.
pub(super) fn provider_note(server: &str, cause: Cause) -> Option<String> {
    let of_the_provider = matches!(
        cause,
        Cause::Password | Cause::AppPassword | Cause::SmtpAuthOff | Cause::OauthOnly
    );
    let provider = Provider::of_host(server).filter(|_| of_the_provider)?;
    let Provider { name, note, .. } = provider;
    (!note.is_empty()).then(|| format!("{name}: {note}"))
}

/// What a server does wrong in a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginError {
    /// Its challenge is none of the way that it offers.
    Challenge(Protocol),
    /// It asks for more work than a login is worth.
    Rounds(Protocol),
    /// It does not know the password.
    Signature(Protocol),
}

impl LoginError {
    fn of(fault: Fault, protocol: Protocol) -> LoginError {
        match fault {
            Fault::Malformed => LoginError::Challenge(protocol),
            Fault::Rounds => LoginError::Rounds(protocol),
            Fault::Signature => LoginError::Signature(protocol),
        }
    }

    pub(super) fn protocol(self) -> Protocol {
        let (LoginError::Challenge(protocol)
        | LoginError::Rounds(protocol)
        | LoginError::Signature(protocol)) = self;
        protocol
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.protocol().name();
        write!(f, "Login failed: the {name} server ")?;
        f.write_str(match self {
            LoginError::Challenge(_) => {
                "sent a challenge that is none of the way that it offers; protocolAuthentication sets another"
            }
            LoginError::Rounds(_) => {
                "asks for too much work in SCRAM-SHA-256: set `protocolAuthentication = plain`"
            }
            LoginError::Signature(_) => {
                "did not prove that it knows the password (SCRAM-SHA-256): it is another than the one that you mean"
            }
        })
    }
}

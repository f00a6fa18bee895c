//! What the protocols of mail differ in where a program logs in: a command before the login, a reply, a list of what
//! the server can do. Never in here: the order of things; that is for [`super::desk`].

use std::fmt;

use super::private::{Credentials, Private};
use super::way::{Offered, Way};
use crate::config::Protocol;

/// A command of a program that has not logged in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Answered here, by this.
    Answer(Vec<u8>),
    /// It goes to the server, and the reply comes back.
    Relay(Reply),
    /// The same, and then the connection is over.
    Leave(Reply),
    /// A login by PLAIN or LOGIN; what was said with the command.
    Sasl(Way, Option<Private>),
    /// A login in a way that adit cannot take.
    Foreign(Foreign),
    /// A name; the password follows in a command of its own.
    User(Private),
    /// That password.
    Password(Private),
    /// Both; `None`: they cannot be read.
    Login(Option<Credentials>),
    /// One that stands behind a login, or in place of it.
    Other,
}

/// Ways to log in that adit cannot take: it would not see the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// NTLM, GSSAPI, which programs of Microsoft's call Secure Password Authentication.
    Spa,
    /// CRAM-MD5, DIGEST-MD5, SCRAM.
    Digest,
    Apop,
    /// XOAUTH2, OAUTHBEARER.
    Token,
    Unknown,
}

impl Foreign {
    /// By the mechanism's name.
    pub(super) fn of(mechanism: &[u8]) -> Foreign {
        let name = mechanism.to_ascii_uppercase();
        match &name[..] {
            b"NTLM" | b"GSSAPI" | b"GSS-SPNEGO" | b"MSN" => Foreign::Spa,
            b"CRAM-MD5" | b"DIGEST-MD5" | b"CRAM-SHA1" => Foreign::Digest,
            b"XOAUTH2" | b"OAUTHBEARER" | b"XOAUTH" => Foreign::Token,
            name if name.starts_with(b"SCRAM-") => Foreign::Digest,
            _ => Foreign::Unknown,
        }
    }
}

/// A reply that is awaited from the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// IMAP: its tag.
    pub(super) tag: Vec<u8>,
    /// It lists what the server can do.
    pub(super) lists: bool,
    /// POP3: its lines behind the status have begun.
    pub(super) goes_on: bool,
}

impl Reply {
    pub(super) fn line() -> Reply {
        Reply::default()
    }

    pub(super) fn list() -> Reply {
        Reply {
            lists: true,
            ..Reply::default()
        }
    }
}

/// The server's greeting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// As the program may see it, with its end; whether more lines follow.
    Shown(Vec<u8>, bool),
    /// The server takes no login now.
    Refused,
    /// No greeting.
    Alien,
}

/// A line of the server's while adit logs in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It waits for more; its words.
    Challenge(Vec<u8>),
    Accepted,
    Refused,
    /// More of the same reply follows.
    Part,
    /// IMAP: a line beside the reply.
    Aside,
    Alien,
}

/// Why a program's login comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Name or password.
    Credentials,
    /// It may go later.
    Later,
    /// The way is not possible.
    Way,
    /// The program took it back, or it cannot be read.
    Malformed,
    /// A login is due.
    Due,
}

/// A protocol. Lines come without their ends.
pub(super) trait Tongue: fmt::Debug + Sync {
    fn protocol(&self) -> Protocol;

    fn greeting(&self, line: &[u8]) -> Greeting;

    /// A command, and its tag.
    fn command(&self, line: &[u8]) -> (Vec<u8>, Command);

    /// The length of the literal that follows a line, and whether the program waits to be asked for it.
    fn literal(&self, _line: &[u8]) -> Option<(usize, bool)> {
        None
    }

    /// A line of a reply that may list what the server can do, as the program may see it, with its end: it has what adit
    /// can take, and nothing of what it cannot.
    fn shown(&self, line: &[u8], reply: &Reply) -> Vec<u8>;

    /// Takes from a line what the server can do.
    fn learn(&self, line: &[u8], offered: &mut Offered);

    /// The command that asks what the server can do, and its reply.
    fn question(&self, host: Option<&str>) -> (String, Reply);

    /// Whether this line ends the reply.
    fn ends(&self, line: &[u8], reply: &mut Reply) -> bool;

    /// Whether a program may go on without a login, as the server decides.
    fn goes_on_without(&self) -> bool {
        false
    }

    /// The command that logs in by SASL.
    fn auth(&self, mechanism: &str) -> String;

    /// The lines of a login by the protocol's own commands, in their order; `stamp` is APOP's.
    fn commands(&self, _way: Way, _account: &Credentials, _stamp: &[u8]) -> Vec<Private> {
        Vec::new()
    }

    /// A line of the server's while adit logs in.
    fn said(&self, line: &[u8]) -> Said;

    /// Asks the program for the next word of SASL, or of a literal.
    fn prompt(&self, coded: &str) -> String {
        format!("+ {coded}")
    }

    /// Tells the program that it is in; `line` is what the server said.
    fn welcome(&self, tag: &[u8], line: &[u8]) -> Vec<u8>;

    /// Tells it that it is not.
    fn refuse(&self, tag: &[u8], refusal: Refusal, words: &str) -> String;
}

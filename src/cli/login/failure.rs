//! Why an account is not signed in, and what to do. Never in here: a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::jail::{JailError, NoKeeping};
use crate::log::Reason;
use crate::oauth::answer::Refusal;
use crate::oauth::store::StoreError;

#[derive(Debug)]
pub(super) enum Failure {
    Configuration(String),
    Keeping(NoKeeping),
    Jail(JailError),
    Sandbox(io::Error),
    Terminal(io::Error),
    File(PathBuf, String),
    /// Two answers that differ, or one that is no password.
    Password(&'static str),
    Interrupted,
    /// With the provider's note.
    NoClientId(Option<&'static str>),
    NoProvider,
    UnknownProvider(String),
    NoFlow(&'static str),
    NoUrl(&'static str, String),
    NoTenant(String),
    TenantNeeded,
    Name(String),
    Refused(Refusal),
    NoRefreshToken,
    Listener(u16, io::Error),
    NoSeal,
    Store(StoreError),
    NoAccount(String),
    /// What the account says when it is tried.
    Tried(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Configuration(why) => f.write_str(why),
            Failure::Keeping(error) => error.fmt(f),
            Failure::Jail(error) => write!(f, "{error} ({})", error.remedy()),
            Failure::Sandbox(error) => write!(f, "{}", Reason(error)),
            Failure::Terminal(error) => write!(
                f,
                "there is no terminal to ask for the password: {} (give --password-file)",
                Reason(error)
            ),
            Failure::File(path, why) => write!(f, "{}: {why}", path.display()),
            Failure::Password(why) => write!(f, "the local password: {why}"),
            Failure::Interrupted => f.write_str("interrupted: nothing was changed"),
            Failure::NoClientId(note) => {
                f.write_str("'--client-id' is missing: adit ships none, each is registered by those that use it.")?;
                match note {
                    Some(note) => write!(f, " {note}"),
                    None => f.write_str(" The operator of the token server gives it."),
                }
            }
            Failure::NoProvider => f.write_str(
                "the address is of no provider that is known: give '--provider' (google, microsoft and others), or \
                 '--token-url' with '--authorize-url' or '--device-url'",
            ),
            Failure::UnknownProvider(id) => {
                let ids = crate::oauth::provider::Provider::all().map(|it| it.id);
                let ids = ids.collect::<Vec<_>>().join(", ");
                write!(f, "'--provider {id}': there are {ids}; others by '--token-url'")
            }
            Failure::NoFlow(flag) => write!(f, "this way to sign in needs '{flag}'"),
            Failure::NoUrl(flag, url) => write!(f, "'{flag} {url}' is no https address"),
            Failure::NoTenant(tenant) => {
                write!(f, "'--tenant {tenant}': give its id, or its name as contoso.onmicrosoft.com")
            }
            Failure::TenantNeeded => {
                f.write_str("an app with rights of its own has them in one tenant: give '--tenant'")
            }
            Failure::Name(why) => f.write_str(why),
            Failure::Refused(refusal) => match refusal {
                Refusal::Expired => f.write_str("the code has expired, and nothing was changed: begin again"),
                Refusal::Denied(words) => {
                    write!(f, "the sign-in was refused, and nothing was changed: {words}")
                }
                other => write!(f, "{other}; nothing was changed"),
            },
            Failure::NoRefreshToken => f.write_str(
                "the token server gave no refresh token, so each hour would need a new sign-in; nothing was changed. \
                 Most give one for the scope offline_access ('--scope')",
            ),
            Failure::Listener(port, error) => write!(
                f,
                "cannot listen on port {port} for the browser: {} (give another '--port', or '--flow device')",
                Reason(error)
            ),
            Failure::NoSeal => f.write_str("the system gives no random bytes, or no memory"),
            Failure::Store(error) => error.fmt(f),
            Failure::NoAccount(name) => write!(f, "{name} is not signed in: `adit login --list`"),
            Failure::Tried(words) => f.write_str(words),
        }
    }
}

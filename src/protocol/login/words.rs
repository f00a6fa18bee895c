//! Why a server refuses a login, and what to do about it, in words for the log and for the program. Never in here: what
//! the program said.

use super::tongue::{Foreign, Refusal};
use super::way::Way;
use crate::helper::TokenAnswer;
use crate::protocol::error::excerpt;

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Name or password, as far as the server says.
    Password,
    /// It wants an app password.
    AppPassword,
    /// Microsoft 365: logins by SMTP are switched off for the mailbox or its tenant.
    Tenant,
    /// It takes OAuth2 alone.
    NoPasswords,
    /// It may go later.
    Later,
    /// The way to log in.
    Mechanism,
}

/// What servers write, in lower case, and what it means; the first that fits counts.
const SIGNS: &[(&str, Cause)] = &[
    ("smtpclientauthentication is disabled", Cause::Tenant),
    ("security defaults", Cause::Tenant),
    ("basic authentication is disabled", Cause::NoPasswords),
    ("basicauthblocked", Cause::NoPasswords),
    ("5.7.139", Cause::Tenant),
    ("application-specific password", Cause::AppPassword),
    ("app password", Cause::AppPassword),
    ("app-specific password", Cause::AppPassword),
    ("authorization code", Cause::AppPassword),
    ("authentication code", Cause::AppPassword),
    ("web login required", Cause::AppPassword),
    ("log in via your web browser", Cause::AppPassword),
    ("[unavailable]", Cause::Later),
    ("[sys/temp]", Cause::Later),
    ("[in-use]", Cause::Later),
    ("[login-delay]", Cause::Later),
    ("[inuse]", Cause::Later),
    ("too many", Cause::Later),
    ("try again later", Cause::Later),
    ("temporar", Cause::Later),
    ("unrecognized authentication", Cause::Mechanism),
    ("unsupported authentication mechanism", Cause::Mechanism),
    ("mechanism not", Cause::Mechanism),
];

/// Judges a refusal by all its lines.
pub(super) fn cause(said: &[u8]) -> Cause {
    let said = said.to_ascii_lowercase();
    let text = String::from_utf8_lossy(&said);
    let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
    match (sign, text.as_bytes()) {
        (Some((_, cause)), _) => *cause,
        (None, [b'4', b'0'..=b'9', ..]) => Cause::Later,
        (None, [b'5', b'0', b'4', ..]) => Cause::Mechanism,
        (None, _) => Cause::Password,
    }
}

impl Cause {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Cause::Later => Refusal::Later,
            Cause::Mechanism => Refusal::Way,
            _ => Refusal::Credentials,
        }
    }

    /// What is at fault, and the remedy.
    pub(super) fn words(self, way: Way, own: bool) -> String {
        let which = match own {
            true => "protocolUsername or protocolPassword",
            false => "the name or the password",
        };
        match self {
            Cause::Password if way.hides_the_password() => format!(
                "the server refused {which}, by {}; if they are right, set protocolAuthentication = plain",
                way.name()
            ),
            Cause::Password => format!("the server refused {which}"),
            Cause::AppPassword => {
                "the provider wants an app password: make one on its web pages, and use it here".to_owned()
            }
            Cause::Tenant => "the provider has switched logins by SMTP off for this mailbox or its organization: its \
                              administrator can switch SMTP AUTH on (SmtpClientAuthenticationDisabled)"
                .to_owned(),
            Cause::NoPasswords => {
                "the provider takes no passwords from mail programs any more, OAuth2 alone".to_owned()
            }
            Cause::Later => "the server takes no login just now: try again later".to_owned(),
            Cause::Mechanism => format!(
                "the server refused the way to log in, {}; protocolAuthentication sets another",
                way.name()
            ),
        }
    }
}

/// Which box to untick in a program whose login adit cannot take.
pub(super) fn foreign(foreign: Foreign) -> &'static str {
    match foreign {
        Foreign::Spa => {
            "switch off Secure Password Authentication (SPA, NTLM) in the program, and let it send the password"
        }
        Foreign::Digest => {
            "choose a normal password in the program, not an encrypted one (CRAM-MD5, DIGEST-MD5)"
        }
        Foreign::Apop => {
            "switch off APOP (secure login) in the program, and let it send the password"
        }
        Foreign::Token => "choose a normal password in the program, not OAuth2",
        Foreign::Unknown => "choose a normal password in the program (PLAIN or LOGIN)",
    }
}

/// Of an account that `adit login` has signed in.
pub(super) const WRONG_LOCAL_PASSWORD: &str =
    "this is not the local password that \"adit login\" asked for";
pub(super) const TOKEN_REFUSED: &str =
    "the server refused the token, and a fresh one too: run \"adit login\" again";
pub(super) const SERVER_AWAY: &str = "the server cannot be reached just now: try again later";
pub(super) const TOO_LATE: &str = "the login took too long: try again later";

/// Why the keeper gives no token.
pub(super) fn without_token(answer: &TokenAnswer) -> (Refusal, String) {
    match answer {
        TokenAnswer::WrongPassword => (Refusal::Credentials, WRONG_LOCAL_PASSWORD.to_owned()),
        TokenAnswer::NotSignedIn => {
            let words = "this account is not signed in: run \"adit login\" with the name that the program gives";
            (Refusal::Credentials, words.to_owned())
        }
        TokenAnswer::SignInAgain(why) => {
            let words = format!(
                "sign in again by \"adit login\": {}",
                excerpt(why.as_bytes())
            );
            (Refusal::Credentials, words)
        }
        TokenAnswer::Away(why) => {
            let words = format!("no token just now: {}", excerpt(why.as_bytes()));
            (Refusal::Later, words)
        }
        // It was taken.
        TokenAnswer::Granted(_) => (Refusal::Later, TOO_LATE.to_owned()),
    }
}

/// No token can be told.
pub(super) fn no_token(offered: &str) -> String {
    let has = match offered {
        "" => "no login",
        names => names,
    };
    format!("the server offers {has}, and no OAuth2: set login = translate")
}

/// No way of the server's can be used; `offered` is what it has.
pub(super) fn no_way(offered: &str, only: Option<Way>) -> String {
    let by_token = ["XOAUTH2", "OAUTHBEARER"];
    let words = offered.to_ascii_uppercase();
    if only.is_none()
        && by_token
            .iter()
            .any(|way| words.split(' ').any(|word| word == *way))
    {
        return "the server takes OAuth2 alone: set login = oauth2, and sign in by \"adit login\""
            .to_owned();
    }
    let has = match offered {
        "" => "no login".to_owned(),
        names => format!("{names} alone"),
    };
    match only {
        Some(way) => format!(
            "the server offers {has}, and not {} as protocolAuthentication says",
            way.name()
        ),
        None => format!("the server offers {has}, and no password can go that way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_providers_are_told_apart() {
        for (said, expected) in [
            ("535 5.7.8 Error: authentication failed", Cause::Password),
            (
                "NO [AUTHENTICATIONFAILED] Authentication failed.",
                Cause::Password,
            ),
            ("-ERR [AUTH] Authentication failed.", Cause::Password),
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit x",
                Cause::Tenant,
            ),
            (
                "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [x]",
                Cause::NoPasswords,
            ),
            (
                "534-5.7.9 Application-specific password required. For more information, go to",
                Cause::AppPassword,
            ),
            (
                "NO [ALERT] Application-specific password required: x",
                Cause::AppPassword,
            ),
            ("454 4.7.0 Temporary authentication failure", Cause::Later),
            ("421 4.7.0 x", Cause::Later),
            ("-ERR [SYS/TEMP] x", Cause::Later),
            ("NO [UNAVAILABLE] x", Cause::Later),
            ("535 Too many bad auth attempts", Cause::Later),
            (
                "504 5.7.4 Unrecognized authentication type",
                Cause::Mechanism,
            ),
            ("504 x", Cause::Mechanism),
            ("", Cause::Password),
        ] {
            assert_eq!(cause(said.as_bytes()), expected, "{said}");
        }
    }
}

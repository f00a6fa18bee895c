//! Why a server refuses a login, and what to do about it, in words for the log and for the program. Never in here: what
//! the program said.

use std::borrow::Cow;

use super::tongue::{Foreign, Refusal};
use super::way::Way;
use crate::helper::TokenAnswer;
use crate::incidents;
use crate::protocol::error::excerpt;

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::protocol) enum Cause {
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
pub(in crate::protocol) fn cause(said: &[u8]) -> Cause {
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
    /// By this way the login came to nothing; `own`: it is the configuration's.
    pub(super) fn nothing(self, way: Way, own: bool) -> Nothing {
        let refusal = match self {
            Cause::Later => Refusal::Later,
            Cause::Mechanism => Refusal::Way,
            _ => Refusal::Credentials,
        };
        Nothing::new(refusal, self.counted(), self.words(way, own))
    }

    /// What it is counted as.
    pub(in crate::protocol) fn counted(self) -> incidents::Cause {
        match self {
            Cause::Password => incidents::Cause::Password,
            Cause::AppPassword => incidents::Cause::AppPassword,
            Cause::Tenant => incidents::Cause::SmtpAuthOff,
            Cause::NoPasswords => incidents::Cause::OauthOnly,
            Cause::Later => incidents::Cause::LoginLater,
            Cause::Mechanism => incidents::Cause::Mechanism,
        }
    }

    /// What is at fault, and the remedy.
    fn words(self, way: Way, own: bool) -> String {
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

/// What to do about a login that is counted so; empty for what is none.
pub(in crate::protocol) fn remedy(cause: incidents::Cause) -> &'static str {
    use incidents::Cause as C;
    match cause {
        C::LocalPassword => {
            "give the program the password that \"adit login\" asked for; \"adit login\" again chooses another"
        }
        C::Password => {
            "correct name and password, in the program or in protocolUsername and protocolPassword; many providers want \
             an app password"
        }
        C::AppPassword => {
            "make an app password on the provider's web pages, and use it in the program"
        }
        C::Token => "run \"adit login\" with the name that the program gives",
        C::SmtpAuthOff => {
            "have the administrator switch SMTP AUTH on for the mailbox, or set login = oauth2 and sign in by \
             \"adit login\""
        }
        C::OauthOnly => "set login = oauth2, and sign in by \"adit login\"",
        C::Mechanism => "see login and protocolAuthentication",
        C::LoginLater => "try again later; if it stays, see the provider's pages, and the log",
        _ => "",
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

/// Why a login comes to nothing.
#[derive(Debug)]
pub(super) struct Nothing {
    /// What the program is told.
    pub(super) refusal: Refusal,
    /// What it is counted as.
    pub(super) cause: incidents::Cause,
    /// What is at fault, and the remedy.
    pub(super) words: Cow<'static, str>,
}

impl Nothing {
    fn new(
        refusal: Refusal,
        cause: incidents::Cause,
        words: impl Into<Cow<'static, str>>,
    ) -> Nothing {
        Nothing {
            refusal,
            cause,
            words: words.into(),
        }
    }

    /// It takes too long.
    pub(super) fn too_late() -> Nothing {
        let words = "the login took too long: try again later";
        Nothing::new(Refusal::Later, incidents::Cause::LoginLater, words)
    }

    /// There is no server.
    pub(super) fn server_away() -> Nothing {
        let words = "the server cannot be reached just now: try again later";
        Nothing::new(Refusal::Later, incidents::Cause::LoginLater, words)
    }

    /// Of an account that `adit login` has signed in.
    pub(super) fn wrong_local_password() -> Nothing {
        let words = "this is not the local password that \"adit login\" asked for";
        let cause = incidents::Cause::LocalPassword;
        Nothing::new(Refusal::Credentials, cause, words)
    }

    /// The server takes none.
    pub(super) fn token_refused() -> Nothing {
        let words = "the server refused the token, and a fresh one too: run \"adit login\" again";
        Nothing::new(Refusal::Credentials, incidents::Cause::Token, words)
    }

    /// Why the keeper gives no token.
    pub(super) fn without_token(answer: &TokenAnswer) -> Nothing {
        use incidents::Cause as C;
        match answer {
            TokenAnswer::WrongPassword => Nothing::wrong_local_password(),
            TokenAnswer::NotSignedIn => {
                let words = "this account is not signed in: run \"adit login\" with the name that the program gives";
                Nothing::new(Refusal::Credentials, C::Token, words)
            }
            TokenAnswer::SignInAgain(why) => {
                let words = format!(
                    "sign in again by \"adit login\": {}",
                    excerpt(why.as_bytes())
                );
                Nothing::new(Refusal::Credentials, C::Token, words)
            }
            TokenAnswer::Away(why) => {
                let words = format!("no token just now: {}", excerpt(why.as_bytes()));
                Nothing::new(Refusal::Later, C::LoginLater, words)
            }
            // It was taken.
            TokenAnswer::Granted(_) => Nothing::too_late(),
        }
    }
}

/// No token can be told.
pub(super) fn no_token(offered: &str) -> Nothing {
    let has = match offered {
        "" => "no login",
        names => names,
    };
    let words = format!("the server offers {has}, and no OAuth2: set login = translate");
    Nothing::new(Refusal::Way, incidents::Cause::Mechanism, words)
}

/// No way of the server's can be used; `offered` is what it has.
pub(super) fn no_way(offered: &str, only: Option<Way>) -> Nothing {
    let by_token = ["XOAUTH2", "OAUTHBEARER"];
    let words = offered.to_ascii_uppercase();
    if only.is_none()
        && by_token
            .iter()
            .any(|way| words.split(' ').any(|word| word == *way))
    {
        let words =
            "the server takes OAuth2 alone: set login = oauth2, and sign in by \"adit login\"";
        return Nothing::new(Refusal::Way, incidents::Cause::OauthOnly, words);
    }
    let has = match offered {
        "" => "no login".to_owned(),
        names => format!("{names} alone"),
    };
    let words = match only {
        Some(way) => format!(
            "the server offers {has}, and not {} as protocolAuthentication says",
            way.name()
        ),
        None => format!("the server offers {has}, and no password can go that way"),
    };
    Nothing::new(Refusal::Way, incidents::Cause::Mechanism, words)
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

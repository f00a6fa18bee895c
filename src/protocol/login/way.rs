//! The ways to log in at a server, and what is said on each. Never in here: the wire form of a protocol.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::private::{Credentials, Private};
use super::scram::{Fault, Scram};
use crate::config::Authentication;
use crate::{base64, hexadecimal};

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// RFC 7677.
    ScramSha256,
    /// RFC 2195.
    CramMd5,
    /// RFC 4616.
    Plain,
    /// Name and password, one after the other.
    Login,
    /// The protocol's own command: LOGIN in IMAP, USER and PASS in POP3.
    Command,
    /// RFC 1939, section 7.
    Apop,
    /// A token, as Google and Microsoft have it.
    Xoauth2,
    /// The same as RFC 7628 has it.
    OauthBearer,
}

impl Way {
    /// The best first.
    pub(super) const ALL: [Way; 8] = [
        Way::ScramSha256,
        Way::CramMd5,
        Way::Plain,
        Way::Login,
        Way::Command,
        Way::Apop,
        Way::Xoauth2,
        Way::OauthBearer,
    ];

    /// As SASL names it, if it does.
    pub(super) fn mechanism(self) -> Option<&'static str> {
        match self {
            Way::ScramSha256 => Some("SCRAM-SHA-256"),
            Way::CramMd5 => Some("CRAM-MD5"),
            Way::Plain => Some("PLAIN"),
            Way::Login => Some("LOGIN"),
            Way::Xoauth2 => Some("XOAUTH2"),
            Way::OauthBearer => Some("OAUTHBEARER"),
            Way::Command | Way::Apop => None,
        }
    }

    /// For a message.
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::Command => "the protocol's own command",
            Way::Apop => "APOP",
            way => way.mechanism().unwrap_or_default(),
        }
    }

    /// The one that `protocolAuthentication` says.
    pub(super) fn of(authentication: Authentication) -> Option<Way> {
        match authentication {
            Authentication::ScramSha256 => Some(Way::ScramSha256),
            Authentication::CramMd5 => Some(Way::CramMd5),
            Authentication::Plain => Some(Way::Plain),
            Authentication::Login => Some(Way::Login),
            Authentication::Basic | Authentication::Ntlm => None,
        }
    }

    /// Whether it can carry such a login by a password.
    pub(super) fn carries(self, credentials: &Credentials) -> bool {
        match self {
            // Other characters would have to be normalized (RFC 4013).
            Way::ScramSha256 => credentials.is_simple(),
            Way::Plain => true,
            Way::Xoauth2 | Way::OauthBearer => false,
            _ => credentials.acts_for.is_none(),
        }
    }

    /// Whether the password itself is never sent.
    pub(super) fn hides_the_password(self) -> bool {
        matches!(self, Way::ScramSha256 | Way::CramMd5 | Way::Apop)
    }
}

/// What a server offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// The ways.
    pub(super) ways: Vec<Way>,
    /// The names of the mechanisms, as it wrote them, for a message.
    pub(super) names: Vec<u8>,
}

impl Offered {
    pub(super) fn add(&mut self, way: Way) {
        if !self.ways.contains(&way) {
            self.ways.push(way);
        }
    }

    pub(super) fn without(&mut self, way: Way) {
        self.ways.retain(|other| *other != way);
    }

    /// Adds the mechanisms of a list.
    pub(super) fn add_list(&mut self, list: &[u8]) {
        let words = list.split(u8::is_ascii_whitespace);
        words
            .filter(|word| !word.is_empty())
            .for_each(|word| self.add_mechanism(word));
    }

    /// Adds one.
    pub(super) fn add_mechanism(&mut self, name: &[u8]) {
        if let Some(way) = with_name(name) {
            self.add(way);
        }
        // Enough for a message.
        if self.names.len() < 200 {
            if !self.names.is_empty() {
                self.names.push(b' ');
            }
            self.names.extend_from_slice(name);
        }
    }

    /// The one for a token. XOAUTH2 comes first: what servers say in it is better known.
    pub(super) fn for_a_token(&self) -> Option<Way> {
        let ways = [Way::Xoauth2, Way::OauthBearer];
        ways.into_iter().find(|way| self.ways.contains(way))
    }

    /// The best for such a login; `only`: no other.
    pub(super) fn best(&self, credentials: &Credentials, only: Option<Way>) -> Option<Way> {
        let fits = |way: &Way| {
            self.ways.contains(way)
                && way.carries(credentials)
                && only.is_none_or(|only| only == *way)
        };
        Way::ALL.into_iter().find(fits)
    }
}

/// The way with this name of SASL's.
pub(super) fn with_name(name: &[u8]) -> Option<Way> {
    let is = |way: &Way| {
        let known = way.mechanism().map(str::as_bytes);
        known.is_some_and(|known| name.eq_ignore_ascii_case(known))
    };
    Way::ALL.into_iter().find(is)
}

/// Whether one of these mechanisms can be used.
pub(super) fn has_known(list: &[u8]) -> bool {
    let mut words = list.split(u8::is_ascii_whitespace);
    words.any(|word| with_name(word).is_some())
}

/// A login by SASL, from the server's first challenge on. Every word waits for its challenge: none is sent with the
/// command, since servers cut long lines, or refuse that.
#[derive(Debug)]
pub(super) enum Exchange {
    Scram(Scram),
    CramMd5(Credentials),
    Plain(Credentials),
    LoginName(Credentials),
    LoginPassword(Private),
    /// The whole message, and what is said to a challenge behind it, which tells of an error.
    Token(Private, &'static [u8]),
    TokenSaid(&'static [u8]),
    /// All is said.
    Said,
}

impl Exchange {
    /// By `way`, if that is one of SASL's.
    pub(super) fn new(way: Way, credentials: Credentials, nonce: String) -> Option<Exchange> {
        Some(match way {
            Way::ScramSha256 => Exchange::Scram(Scram::new(credentials, nonce)),
            Way::CramMd5 => Exchange::CramMd5(credentials),
            Way::Plain => Exchange::Plain(credentials),
            Way::Login => Exchange::LoginName(credentials),
            Way::Command | Way::Apop | Way::Xoauth2 | Way::OauthBearer => return None,
        })
    }

    /// With a token.
    pub(super) fn with_token(way: Way, user: &str, access: &str) -> Exchange {
        let (user, access) = (user.as_bytes(), access.as_bytes());
        match way {
            Way::OauthBearer => {
                let name = super::scram::sasl_name(user);
                let pieces = [b"n,a=", &*name, b",\x01auth=Bearer ", access, b"\x01\x01"];
                Exchange::Token(Private::of(&pieces), b"\x01")
            }
            _ => {
                let pieces = [b"user=", user, b"\x01auth=Bearer ", access, b"\x01\x01"];
                Exchange::Token(Private::of(&pieces), b"")
            }
        }
    }

    /// The answer to a challenge, decoded.
    ///
    /// # Errors
    /// The challenge is none of this way's, or there was one too many.
    pub(super) fn answer(self, challenge: &[u8]) -> Result<(Exchange, Private), Fault> {
        Ok(match self {
            Exchange::Scram(scram) => {
                let (scram, words) = scram.answer(challenge)?;
                (Exchange::Scram(scram), words)
            }
            Exchange::CramMd5(Credentials { name, password, .. }) => {
                let digest = hmac_md5(&password, challenge);
                let words = Private::of(&[&name, b" ", digest.as_bytes()]);
                (Exchange::Said, words)
            }
            Exchange::Plain(Credentials {
                name,
                password,
                acts_for,
            }) => {
                let acts_for = acts_for.unwrap_or_default();
                let words = Private::of(&[&acts_for, b"\0", &name, b"\0", &password]);
                (Exchange::Said, words)
            }
            Exchange::LoginName(Credentials { name, password, .. }) => {
                (Exchange::LoginPassword(password), name)
            }
            Exchange::LoginPassword(password) => (Exchange::Said, password),
            Exchange::Token(words, farewell) => (Exchange::TokenSaid(farewell), words),
            Exchange::TokenSaid(farewell) => (Exchange::Said, Private::of(&[farewell])),
            Exchange::Said => return Err(Fault::Malformed),
        })
    }

    /// Whether the server may accept now.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Exchange::Said | Exchange::TokenSaid(_) => true,
            Exchange::Scram(scram) => scram.is_proved(),
            _ => false,
        }
    }
}

fn hmac_md5(key: &[u8], message: &[u8]) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(message);
    hexadecimal::lower(&mac.finalize().into_bytes())
}

/// The digest of APOP.
pub(super) fn apop(stamp: &[u8], password: &[u8]) -> String {
    let mut digest = Md5::new();
    digest.update(stamp);
    digest.update(password);
    hexadecimal::lower(&digest.finalize())
}

/// A word as SASL's lines have it.
pub(super) fn coded(words: &[u8]) -> Private {
    base64::encode(words).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str, password: &str) -> Credentials {
        let [name, password] = [name, password].map(|text| Private::of(&[text.as_bytes()]));
        Credentials::new(name, password).unwrap()
    }

    fn said(way: Way, credentials: Credentials, challenges: &[&[u8]]) -> Vec<String> {
        let mut exchange = Exchange::new(way, credentials, String::new()).unwrap();
        let mut all = Vec::new();
        for challenge in challenges {
            let words;
            (exchange, words) = exchange.answer(challenge).unwrap();
            all.push(String::from_utf8_lossy(&words).into_owned());
        }
        assert!(exchange.is_complete());
        assert!(exchange.answer(b"").is_err());
        all
    }

    #[test]
    fn each_way_says_what_its_rfc_shows() {
        // RFC 2195, section 2.
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let account = credentials("tim", "tanstaaftanstaaf");
        assert_eq!(
            said(Way::CramMd5, account, &[challenge]),
            ["tim b913a602c7eda7a495b4e6e7334d3890"]
        );
        let account = credentials("tim", "tanstaaftanstaaf");
        let all = said(Way::Login, account.clone(), &[b"Username:", b"Password:"]);
        assert_eq!(all, ["tim", "tanstaaftanstaaf"]);
        assert_eq!(
            said(Way::Plain, account, &[b""]),
            ["\0tim\0tanstaaftanstaaf"]
        );
        // RFC 1939, section 7.
        assert_eq!(
            apop(b"<1896.697170952@dbc.mtview.ca.us>", b"tanstaaf"),
            "c4c9334bac560ecc979e58001b3e22fb"
        );
    }

    #[test]
    fn the_best_way_that_carries_the_login_is_taken() {
        let mut offered = Offered::default();
        offered.add_list(b"XOAUTH2 login plain scram-sha-256 CRAM-MD5");
        let simple = credentials("anna", "geheim");
        let other = credentials("anna", "gehe\u{ef}m");
        assert_eq!(offered.best(&simple, None), Some(Way::ScramSha256));
        assert_eq!(offered.best(&other, None), Some(Way::CramMd5));
        assert_eq!(offered.best(&simple, Some(Way::Login)), Some(Way::Login));
        assert_eq!(offered.best(&simple, Some(Way::Apop)), None);
        let info = Credentials {
            acts_for: Some(Private::of(&[b"info"])),
            ..other
        };
        assert_eq!(offered.best(&info, None), Some(Way::Plain));
        assert_eq!(Offered::default().best(&simple, None), None);
        assert_eq!(offered.names, b"XOAUTH2 login plain scram-sha-256 CRAM-MD5");
    }
}

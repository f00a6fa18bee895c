//! `http://HOST[:PORT][/PATH]`, or `https://`: where something is fetched from. Never in here: a connection.

use std::fmt;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    text: String,
    host: String,
    port: u16,
    /// The port that such a URL need not name.
    usual: u16,
    target: String,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoUrl {
    /// It begins with `https`, and `http` is served alone.
    Tls,
    /// It does not begin with `https`.
    Plain,
    /// It is of another scheme, or of none.
    Scheme,
    /// No host, or none that can be.
    Host,
    Port,
    /// A blank, a control character, or one that is not ASCII.
    Character,
}

impl HttpUrl {
    /// Reads one of `http`.
    ///
    /// # Errors
    /// See [`NoUrl`].
    pub(crate) fn parse(text: &str) -> Result<Self, NoUrl> {
        Self::read(text, |scheme| match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Ok(80),
            _ if scheme.eq_ignore_ascii_case("https") => Err(NoUrl::Tls),
            _ => Err(NoUrl::Scheme),
        })
    }

    /// Reads one of `https`.
    ///
    /// # Errors
    /// See [`NoUrl`].
    pub(crate) fn parse_https(text: &str) -> Result<Self, NoUrl> {
        Self::read(text, |scheme| match scheme.eq_ignore_ascii_case("https") {
            true => Ok(443),
            false => Err(NoUrl::Plain),
        })
    }

    /// `usual` gives a scheme's port.
    fn read(text: &str, usual: impl Fn(&str) -> Result<u16, NoUrl>) -> Result<Self, NoUrl> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(NoUrl::Scheme)?;
        let usual = usual(scheme)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, port) = inner.split_once(']').ok_or(NoUrl::Host)?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some("") => usual,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().map_err(|_| NoUrl::Port)?
            }
            None if port.is_empty() => usual,
            _ => return Err(NoUrl::Port),
        };
        // A user name is for no responder.
        if host.is_empty() || host.len() > 253 || host.contains(['@', '[', ']', '%']) {
            return Err(NoUrl::Host);
        }
        // A path that is empty is `/` (RFC 9110, section 4.2.3).
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            text: text.to_owned(),
            host: host.to_owned(),
            port,
            usual,
            target: format!("{slash}{path}"),
        })
    }

    /// The host, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The value of a Host header.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            port if port == self.usual => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for NoUrl {
    /// stunnel's words where it has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoUrl::Tls => {
                "TLS not supported for OCSP - an additional stunnel service needs to be defined"
            }
            NoUrl::Plain => "it does not begin with https://",
            NoUrl::Scheme => "Failed to parse the OCSP URL: it does not begin with http://",
            NoUrl::Host => "Failed to parse the OCSP URL: there is no host in it",
            NoUrl::Port => "Failed to parse the OCSP URL: the port is no port",
            NoUrl::Character => "Failed to parse the OCSP URL: a character that no URL has",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_target() {
        for (text, host, port, target, authority) in [
            (
                "http://ocsp.example",
                "ocsp.example",
                80,
                "/",
                "ocsp.example",
            ),
            ("HTTP://a:8080/", "a", 8080, "/", "a:8080"),
            ("http://a:/x?y=/z#part", "a", 80, "/x?y=/z", "a"),
            ("http://a?y", "a", 80, "/?y", "a"),
            (
                "http://[2001:db8::1]:81/o",
                "2001:db8::1",
                81,
                "/o",
                "[2001:db8::1]:81",
            ),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.target(), target, "{text}");
            assert_eq!(url.authority(), authority, "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn a_url_of_https_has_another_port() {
        let url = HttpUrl::parse_https("https://login.example/token").unwrap();
        assert_eq!((url.port(), url.authority()), (443, "login.example".into()));
        let url = HttpUrl::parse_https("https://login.example:80/").unwrap();
        assert_eq!(url.authority(), "login.example:80");
        assert_eq!(HttpUrl::parse_https("http://a/"), Err(NoUrl::Plain));
    }

    #[test]
    fn what_is_no_url_is_told_why() {
        for (text, why) in [
            ("https://a/", NoUrl::Tls),
            ("ldap://a/", NoUrl::Scheme),
            ("ocsp.example", NoUrl::Scheme),
            ("http://", NoUrl::Host),
            ("http://:80/", NoUrl::Host),
            ("http://u@a/", NoUrl::Host),
            ("http://[::1", NoUrl::Host),
            ("http://a:65536/", NoUrl::Port),
            ("http://a:+1/", NoUrl::Port),
            ("http://[::1]x/", NoUrl::Port),
            ("http://a/\r\nX: y", NoUrl::Character),
            ("http://\u{e4}/", NoUrl::Character),
        ] {
            assert_eq!(HttpUrl::parse(text), Err(why), "{text}");
        }
    }
}

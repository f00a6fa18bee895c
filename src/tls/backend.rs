//! Which library serves an end of a service: rustls wherever it can, s2n-tls only where the versions, the
//! suites or the pre-shared keys that are asked for leave no other. Never in here: a file, a call of either library.

use std::fmt;

use super::hello::Version;
use super::s2n::policies;
use super::{Wanted, ciphers};
use crate::config::{TlsOptions, TlsVersion};

/// A TLS library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// TLS 1.2 and 1.3, suites with forward secrecy and AEAD.
    Rustls,
    /// TLS 1.0 and later, also CBC, RSA key exchange and DHE; and pre-shared keys. Only a process that serves nothing else
    /// enters it.
    S2n,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Rustls => "rustls",
            Backend::S2n => "s2n-tls, in workers of their own",
        })
    }
}

/// A library, and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub backend: Backend,
    /// In words, for a person: `TLS 1.0 is asked for (sslVersionMin)`.
    pub reason: String,
}

/// The options of an end by the names that a configuration has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionNames {
    Usual,
    /// A client's accepting end has names of its own.
    Accepted,
}

impl OptionNames {
    pub(super) fn version_min(self) -> &'static str {
        match self {
            OptionNames::Usual => "sslVersionMin",
            OptionNames::Accepted => "acceptSSLVersionMin",
        }
    }

    pub(super) fn version_max(self) -> &'static str {
        match self {
            OptionNames::Usual => "sslVersionMax",
            OptionNames::Accepted => "acceptSSLVersionMax",
        }
    }

    pub(super) fn ciphers(self) -> &'static str {
        match self {
            OptionNames::Usual => "ciphers",
            OptionNames::Accepted => "acceptCiphers",
        }
    }
}

/// What an end speaks, and what its options are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) low: Version,
    pub(super) high: Version,
    pub(super) names: OptionNames,
    /// What the client shows is kept in the stream.
    pub(super) introduces: bool,
}

impl Terms {
    pub(super) fn of(wanted: &Wanted<'_>) -> Self {
        Self {
            low: lowest(wanted.options()).into(),
            high: highest(wanted.options()).into(),
            names: wanted.option_names(),
            introduces: wanted.options().introduces,
        }
    }
}

impl From<TlsVersion> for Version {
    fn from(version: TlsVersion) -> Version {
        match version {
            TlsVersion::V1_0 => Version::TLS10,
            TlsVersion::V1_1 => Version::TLS11,
            TlsVersion::V1_2 => Version::TLS12,
            TlsVersion::V1_3 => Version::TLS13,
        }
    }
}

impl Wanted<'_> {
    /// The library for this end.
    pub(crate) fn backend(&self) -> Choice {
        choose(self.options(), self.option_names())
    }
}

fn choose(options: &TlsOptions, names: OptionNames) -> Choice {
    let s2n = |reason| Choice {
        backend: Backend::S2n,
        reason,
    };
    if options.psk_secrets.is_some() {
        return s2n("PSK is asked for (PSKsecrets)".into());
    }
    let low = lowest(options);
    if low < TlsVersion::V1_2 {
        let option = match options.version_min {
            Some(_) => names.version_min(),
            None => names.version_max(),
        };
        return s2n(format!("{} is asked for ({option})", Version::from(low)));
    }
    if let Some(list) = &options.ciphers
        && (low..=highest(options)).contains(&TlsVersion::V1_2)
        && ciphers::ciphers(list, names).is_ok_and(|chosen| chosen.usable.is_empty())
        && policies::selected(list).is_ok()
    {
        let option = names.ciphers();
        return s2n(format!("of its {option} rustls has none: {list}"));
    }
    Choice {
        backend: Backend::Rustls,
        reason: "it serves all that is asked for".into(),
    }
}

/// The lowest version that is asked for; the highest, where that is lower than the default.
pub(super) fn lowest(options: &TlsOptions) -> TlsVersion {
    let default = TlsVersion::V1_2.min(highest(options));
    options.version_min.unwrap_or(default)
}

/// The highest version that is asked for.
pub(super) fn highest(options: &TlsOptions) -> TlsVersion {
    options.version_max.unwrap_or(TlsVersion::V1_3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TlsVersion::{V1_0, V1_1, V1_2, V1_3};

    #[test]
    fn rustls_serves_wherever_it_can() {
        use Backend::{Rustls, S2n};
        for (min, max, ciphers, expected, reason) in [
            (None, None, None, Rustls, "it serves"),
            (Some(V1_2), Some(V1_3), None, Rustls, "it serves"),
            (None, Some(V1_2), Some("HIGH"), Rustls, "it serves"),
            (
                Some(V1_0),
                None,
                None,
                S2n,
                "TLS 1.0 is asked for (sslVersionMin)",
            ),
            (
                Some(V1_1),
                Some(V1_1),
                None,
                S2n,
                "TLS 1.1 is asked for (sslVersionMin)",
            ),
            (
                None,
                Some(V1_1),
                None,
                S2n,
                "TLS 1.1 is asked for (sslVersionMax)",
            ),
            (
                None,
                None,
                Some("AES128-SHA"),
                S2n,
                "of its ciphers rustls has none: AES128-SHA",
            ),
            (
                None,
                None,
                Some("DHE-RSA-AES256-GCM-SHA384:!aNULL"),
                S2n,
                "of its ciphers rustls has none",
            ),
            // One that rustls has is enough, and what neither has helps nothing.
            (
                None,
                None,
                Some("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256"),
                Rustls,
                "",
            ),
            (None, None, Some("NULL"), Rustls, ""),
            // Without TLS 1.2 the list says nothing.
            (Some(V1_3), None, Some("AES128-SHA"), Rustls, ""),
        ] {
            let options = TlsOptions {
                version_min: min,
                version_max: max,
                ciphers: ciphers.map(str::to_owned),
                ..TlsOptions::default()
            };
            let choice = choose(&options, OptionNames::Usual);
            assert_eq!(choice.backend, expected, "{min:?} {max:?} {ciphers:?}");
            assert!(choice.reason.contains(reason), "{choice:?}");
        }
        let options = TlsOptions {
            psk_secrets: Some("/f".into()),
            version_min: Some(V1_3),
            ..TlsOptions::default()
        };
        let choice = choose(&options, OptionNames::Usual);
        assert_eq!(choice.backend, S2n);
        assert_eq!(choice.reason, "PSK is asked for (PSKsecrets)");
        let options = TlsOptions {
            version_min: Some(V1_0),
            ..TlsOptions::default()
        };
        let choice = choose(&options, OptionNames::Accepted);
        assert_eq!(choice.reason, "TLS 1.0 is asked for (acceptSSLVersionMin)");
    }
}

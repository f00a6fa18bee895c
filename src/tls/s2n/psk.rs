//! Pre-shared keys (RFC 8446, section 2.2): which one a client of ours shows, and which one of those that a
//! client offers a server takes. The hello is read before s2n-tls gets it, so a connection is given one key
//! alone, and s2n has nothing to search. Where no key is known, s2n goes on as without: with a ticket of its
//! own, or with the certificate. Never in here: a key in a message.

use std::collections::BTreeSet;

use rustls::AlertDescription;

use super::load;
use super::policies::{self, Allowed, Authentication, BadList, TLS12, TLS13, Unserved, Version};
use crate::config::{PSK_SUITES, TlsOptions};
use crate::tls::backend::OptionNames;
use crate::tls::failure::{Offence, Sides};
use crate::tls::hello::{self, Hello};
use crate::tls::psk::{PreShared, PreSharedKeys, shown};
use crate::tls::{Problem, notes};

/// The suites that rustls would serve in TLS 1.2: keys that are shared are no reason for weaker ones.
const FORWARD_SECRET: [u16; 6] = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];

/// Versions and suites of an end with pre-shared keys. What has no effect goes to `problems`.
pub(super) fn allowed(
    options: &TlsOptions,
    client: bool,
    (mut low, high): (Version, Version),
    problems: &mut Vec<Problem>,
) -> Allowed {
    if low < TLS13
        && let Some(list) = &options.ciphers
        && policies::selected(list) == Err(BadList::Nothing)
    {
        low = TLS13;
    }
    let old = match &options.ciphers {
        Some(list) if low == TLS13 => {
            problems.push(no_list(list));
            BTreeSet::new()
        }
        None if low == TLS13 => BTreeSet::new(),
        None if low == TLS12 => FORWARD_SECRET.into(),
        None => policies::default_suites(low),
        Some(list) => load::listed(list, OptionNames::Usual, problems),
    };
    let level = options.security_level;
    let old = old.into_iter().filter(|code| load::of_level(level, *code));
    let mut tls13 = load::tls13(options, problems);
    if !client && options.cert.is_none() {
        tls13.retain(|code| has_sha256(*code));
    }
    Allowed {
        low,
        high,
        suites: old.chain(tls13).collect(),
        level,
    }
}

/// `ciphers` where TLS 1.3 is spoken alone. stunnel's own example has `ciphers = PSK`.
fn no_list(list: &str) -> Problem {
    match list.to_ascii_uppercase().contains("PSK") {
        true => Problem::warning(
            "ciphers",
            format!(
                "ciphers = {list} has no effect: adit has no PSK suites of TLS 1.2, and serves pre-shared \
                 keys with TLS 1.3, which the peers must speak"
            ),
        ),
        false => Problem::note(
            "ciphers",
            "ciphers has no effect here: it is for TLS 1.2, and this is TLS 1.3 alone".into(),
        ),
    }
}

/// Whether keys can be used with this suite.
fn has_sha256(code: u16) -> bool {
    policies::find(code).is_some_and(|suite| PSK_SUITES.contains(&suite.name))
}

/// Why a server cannot serve a hello.
pub(super) enum Refusal {
    /// As without keys.
    Unserved(Unserved),
    /// It is about the keys.
    Keys(Offence, AlertDescription),
}

/// The key that a client is to prove; `None`: it is served by the certificate.
///
/// # Errors
/// Nothing serves it.
pub(super) fn serve<'a>(
    allowed: &Allowed,
    hello: &Hello,
    certificate: Option<Authentication>,
    keys: Option<&'a PreSharedKeys>,
) -> Result<Option<&'a PreShared>, Refusal> {
    let key = keys.and_then(|keys| known(keys, hello));
    let chosen = key.map(|key| (key, with_key(allowed, hello)));
    match (chosen, certificate) {
        (Some((key, Ok(()))), _) => {
            let name = key.name();
            notes::note(5, format!("Key configured for PSK identity \"{name}\""));
            Ok(Some(key))
        }
        (_, Some(kind)) => {
            if keys.is_some() && !hello.identities.is_empty() {
                notes::note(6, "PSK identity not found (session resumption?)".into());
            }
            allowed.serve(hello, kind).map_err(Refusal::Unserved)?;
            Ok(None)
        }
        (Some((_, Err(unserved))), None) => Err(Refusal::Unserved(unserved)),
        (None, None) => Err(without_key(allowed, hello)),
    }
}

/// The key of the first identity that is known, if the client can use it.
fn known<'a>(keys: &'a PreSharedKeys, hello: &Hello) -> Option<&'a PreShared> {
    if !hello.may_speak(hello::Version::TLS13) || !hello.psk_with_exchange {
        return None;
    }
    hello
        .identities
        .iter()
        .find_map(|identity| keys.find(identity))
}

/// Whether s2n serves a client with a key: it leaves out the suites with another hash.
fn with_key(allowed: &Allowed, hello: &Hello) -> Result<(), Unserved> {
    let suites = hello
        .suites
        .iter()
        .copied()
        .filter(|code| has_sha256(*code));
    let narrowed = Hello {
        suites: suites.collect(),
        ..hello.clone()
    };
    let allowed = Allowed {
        low: TLS13,
        ..allowed.clone()
    };
    allowed.serve(&narrowed, Authentication::Any)
}

/// What is wrong with a client without a key that is known, where there is no certificate.
fn without_key(allowed: &Allowed, hello: &Hello) -> Refusal {
    if let Err(unserved) = allowed.serve(hello, Authentication::Any) {
        return Refusal::Unserved(unserved);
    }
    match hello.identities.first() {
        None => Refusal::Keys(Offence::NoKeyOffered, AlertDescription::HandshakeFailure),
        Some(_) if !hello.psk_with_exchange => {
            Refusal::Keys(Offence::NoSharedGroup, AlertDescription::HandshakeFailure)
        }
        Some(first) => Refusal::Keys(
            Offence::UnknownIdentity(shown(first)),
            AlertDescription::UnknownPSKIdentity,
        ),
    }
}

/// What helps a client without TLS 1.3: a lower bound does not, where there are keys alone.
pub(super) fn explain(mut sides: Sides, allowed: &Allowed, hello: &Hello) -> Sides {
    let has_old = |code: &u16| crate::tls::suites::name(*code).contains("PSK");
    if allowed.low == TLS13 || hello.suites.iter().any(has_old) {
        sides.help = Some(
            "adit has no PSK suites of TLS 1.2: the client needs a TLS library with TLS 1.3".into(),
        );
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    /// Lowest version, suites, and what is told.
    fn of(options: TlsOptions, client: bool, low: Version) -> (Version, Vec<u16>, Vec<Problem>) {
        let mut problems = Vec::new();
        let allowed = allowed(&options, client, (low, TLS13), &mut problems);
        let Allowed { low, suites, .. } = allowed;
        (low, suites.into_iter().collect(), problems)
    }

    #[test]
    fn keys_are_no_reason_for_weak_suites() {
        let alone = TlsOptions::default();
        assert_eq!(
            of(alone.clone(), false, TLS13),
            (TLS13, vec![0x1301, 0x1303], vec![])
        );
        // A server may choose a suite with which it takes no key.
        let (low, suites, told) = of(alone, true, TLS13);
        assert_eq!(
            (low, suites, told),
            (TLS13, vec![0x1301, 0x1302, 0x1303], vec![])
        );
        let beside = TlsOptions {
            cert: Some("/c".into()),
            ..TlsOptions::default()
        };
        let (low, suites, told) = of(beside.clone(), false, TLS12);
        assert_eq!((low, told), (TLS12, vec![]));
        assert_eq!(suites[..3], [0x1301, 0x1302, 0x1303]);
        assert_eq!(
            suites[3..],
            [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9]
        );
        // Those are there where they are asked for.
        let (_, suites, _) = of(beside, false, policies::TLS10);
        assert!(suites.contains(&0x002f));
    }

    #[test]
    fn lists_that_come_to_nothing_are_told() {
        let listed = |ciphers: &str, cert: bool| TlsOptions {
            ciphers: Some(ciphers.into()),
            cert: cert.then(|| "/c".into()),
            ..TlsOptions::default()
        };
        for (options, low, expected, severity) in [
            (listed("PSK", false), TLS13, TLS13, Some(Severity::Warning)),
            (listed("PSK", true), TLS12, TLS13, Some(Severity::Warning)),
            (listed("HIGH", false), TLS13, TLS13, Some(Severity::Note)),
            (listed("HIGH", true), TLS12, TLS12, None),
            (
                listed("@SECLEVEL=9", true),
                TLS12,
                TLS12,
                Some(Severity::Error),
            ),
        ] {
            let what = format!("{:?}", options.ciphers);
            let (low, _, told) = of(options, false, low);
            assert_eq!(low, expected, "{what}");
            let told = told.into_iter().map(|problem| problem.severity);
            assert_eq!(
                told.collect::<Vec<_>>(),
                severity.into_iter().collect::<Vec<_>>()
            );
        }
        let chacha = TlsOptions {
            ciphersuites: Some("TLS_CHACHA20_POLY1305_SHA256".into()),
            ..TlsOptions::default()
        };
        let (_, suites, told) = of(chacha, false, TLS13);
        assert_eq!((suites, told), (vec![0x1303], vec![]));
    }
}

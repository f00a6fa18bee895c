//! Why two sides have nothing in common, where one of them is older than the other: what each has, and
//! the line of configuration that would help. Never in here: a decision about a connection.

use rustls::{AlertDescription, CipherSuite};

use super::backend::{OptionNames, Terms};
use super::failure::Sides;
use super::hello::{Hello, Version};
use super::s2n::policies;
use super::suites;

/// The client's versions are not ours.
pub(super) fn version(hello: &Hello, terms: Terms) -> Sides {
    let Terms { high, names, .. } = terms;
    let theirs = hello.highest_version();
    let said = match theirs {
        Some(version) => format!("the client offers {version} with {}", offered(hello)),
        None => "the client offers no version that has a name".into(),
    };
    let help = match theirs {
        Some(theirs) if theirs > high => Some(format!("see {}", names.version_max())),
        Some(theirs) => lower(theirs, hello, names),
        None => None,
    };
    Sides {
        said: format!("{said}; adit has {}", range(terms)),
        help,
    }
}

/// The lines that let a client in that has no later version than this one.
fn lower(version: Version, hello: &Hello, names: OptionNames) -> Option<String> {
    let word = word(version)?;
    let default = policies::default_suites(policies::Version::of_wire(version));
    let line = format!("add `{} = {word}`", names.version_min());
    if hello.suites.iter().any(|code| default.contains(code)) {
        return Some(line);
    }
    let list = list(hello)?;
    Some(format!("{line} and `{} = {list}`", names.ciphers()))
}

/// The list by which s2n-tls serves this client; RC4 goes with all the others, which other clients of the
/// same port may have. `None`: it serves none of its suites.
fn list(hello: &Hello) -> Option<String> {
    let latest = policies::Version::of_wire(hello.highest_version()?).min(policies::TLS12);
    let served = policies::SUITES.iter().filter(|suite| {
        suite.is_old() && suite.since <= latest && hello.suites.contains(&suite.code)
    });
    let (rc4, others): (Vec<_>, Vec<_>) =
        served.partition(|suite| policies::RC4.contains(&suite.code));
    if let ([], [first, ..]) = (&others[..], &rc4[..]) {
        return Some(format!("ALL:{}", first.name));
    }
    let mut others: Vec<&str> = others.into_iter().map(|suite| suite.name).collect();
    others.truncate(2);
    (!others.is_empty()).then(|| others.join(":"))
}

/// What our side has, as a server.
#[derive(Clone, Copy)]
pub(super) struct Ours<'a> {
    /// Its suites.
    pub(super) named: &'a str,
    pub(super) names: OptionNames,
    /// It is rustls that serves.
    pub(super) modern: bool,
}

/// The versions fit, the suites do not.
pub(super) fn suites(hello: &Hello, ours: Ours<'_>) -> Sides {
    let named = ours.named;
    let said = format!("the client offers {}; adit has {named}", offered(hello));
    let help = suites_that_help(hello, ours);
    Sides { said, help }
}

fn suites_that_help(hello: &Hello, ours: Ours<'_>) -> Option<String> {
    let shared = |name: &str| ours.named.split(", ").any(|one| one == name);
    let mut theirs = hello.suites.iter().copied().map(suites::name);
    if theirs.any(|name| shared(&name)) {
        let help =
            "what they share needs another kind of key (RSA or ECDSA), or a group that both have";
        return Some(help.into());
    }
    let list = list(hello)?;
    let line = format!("`{} = {list}`", ours.names.ciphers());
    if !ours.modern {
        return Some(format!("to serve it, set {line}"));
    }
    // RC4 is served where TLS 1.2 is not the least.
    let version = match list.starts_with("ALL:") {
        true => format!("`{} = TLSv1.1` and ", ours.names.version_min()),
        false => String::new(),
    };
    Some(format!(
        "to serve it, set {version}{line} in a service of its own, with a key of its own"
    ))
}

/// The server has refused our hello, which was `modern` by rustls; `ours` are our suites.
pub(super) fn refused(
    alert: AlertDescription,
    ours: &[CipherSuite],
    modern: bool,
    terms: Terms,
) -> Sides {
    let Terms { low, names, .. } = terms;
    let said = format!("adit offers {}", suites::named(ours.iter().copied()));
    let (min, ciphers) = (names.version_min(), names.ciphers());
    let offers = |code: &u16| ours.contains(&CipherSuite::from(*code));
    let help = match alert {
        AlertDescription::ProtocolVersion if low > Version::TLS10 => Some(format!(
            "it speaks none of our versions, the lowest of which is {low}: if it is an old server, add \
             `{min} = TLSv1`"
        )),
        AlertDescription::HandshakeFailure if modern => Some(format!(
            "it has nothing in common with adit, perhaps no ECDHE suite: see {ciphers}, curves and the \
             server's log; if it is an old server, set `{ciphers} = AES128-SHA:AES256-SHA`, or `{min} = \
             TLSv1`"
        )),
        AlertDescription::HandshakeFailure
            if low < Version::TLS12
                && OLD.iter().all(offers)
                && !policies::RC4.iter().any(offers) =>
        {
            Some(format!(
                "perhaps it has RC4 alone: `{ciphers} = ALL:RC4-SHA`, on a trusted network; see the server's \
                 log"
            ))
        }
        AlertDescription::HandshakeFailure => Some(format!(
            "see {ciphers}, whether the server requires a certificate (cert), and its log"
        )),
        _ => None,
    };
    Sides { said, help }
}

/// What most old servers have one of: AES and 3DES, with key exchange by RSA and by Diffie-Hellman.
const OLD: [u16; 5] = [0x000a, 0x002f, 0x0035, 0x0033, 0x0039];

/// The server has chosen a version that the service does not allow.
pub(super) fn chosen_version(chosen: Version, terms: Terms) -> Sides {
    let Terms { low, names, .. } = terms;
    let help = match word(chosen) {
        Some(word) if chosen < low => Some(format!(
            "to allow it, set `{} = {word}`",
            names.version_min()
        )),
        _ => None,
    };
    Sides {
        said: format!("the server chooses {chosen}; adit has {}", range(terms)),
        help,
    }
}

/// The peer has chosen a suite that the service does not allow; `ours` are named.
pub(super) fn chosen_suite(chosen: u16, ours: &str, names: OptionNames) -> Sides {
    let name = suites::name(chosen);
    Sides {
        said: format!("{name} would be used; adit has {ours}"),
        help: Some(format!("to allow it, add {name} to `{}`", names.ciphers())),
    }
}

fn range(terms: Terms) -> String {
    let Terms { low, high, .. } = terms;
    match low == high {
        true => low.to_string(),
        false => format!("{low} to {high}"),
    }
}

fn offered(hello: &Hello) -> String {
    suites::named(hello.suites.iter().copied().map(CipherSuite::from))
}

/// A version's word in the configuration; `None`: no backend speaks it.
fn word(version: Version) -> Option<&'static str> {
    match version {
        Version::TLS10 => Some("TLSv1"),
        Version::TLS11 => Some("TLSv1.1"),
        Version::TLS12 => Some("TLSv1.2"),
        Version::TLS13 => Some("TLSv1.3"),
        _ => None,
    }
}

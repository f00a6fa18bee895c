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
    let Terms { low, high, names } = terms;
    let theirs = hello.highest_version();
    let said = match theirs {
        Some(version) => format!("the client offers {version} with {}", offered(hello)),
        None => "the client offers no version that has a name".into(),
    };
    let ours = match low == high {
        true => format!("{low}"),
        false => format!("{low} to {high}"),
    };
    let help = match theirs {
        Some(theirs) if theirs > high => Some(format!("see {}", names.version_max())),
        Some(theirs) => lower(theirs, hello, names),
        None => None,
    };
    Sides {
        said: format!("{said}; adit has {ours}"),
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
    let mut served = policies::SUITES.iter();
    let named = served
        .find(|suite| hello.suites.contains(&suite.code))?
        .name;
    Some(format!("{line} and `{} = {named}`", names.ciphers()))
}

/// The versions fit, the suites do not: `ours` are named.
pub(super) fn suites(hello: &Hello, ours: &str, names: OptionNames) -> Sides {
    let said = format!("the client offers {}; adit has {ours}", offered(hello));
    let shared = |name: &str| ours.split(", ").any(|one| one == name);
    let theirs = hello.suites.iter().copied().map(suites::name);
    if theirs.into_iter().any(|name| shared(&name)) {
        let help =
            "what they share needs another kind of key (RSA or ECDSA), or a group that both have";
        return Sides {
            said,
            help: Some(help.into()),
        };
    }
    let served = policies::SUITES.iter();
    let served = served.filter(|suite| suite.is_old() && hello.suites.contains(&suite.code));
    let mut served: Vec<&str> = served.map(|suite| suite.name).collect();
    served.truncate(2);
    let help = match served[..] {
        [] => None,
        _ => Some(format!(
            "to serve it, set `{} = {}`",
            names.ciphers(),
            served.join(":")
        )),
    };
    Sides { said, help }
}

/// The server has refused our hello; `ours` are our suites, named.
pub(super) fn refused(alert: AlertDescription, ours: &str, terms: Terms) -> Sides {
    let Terms { low, names, .. } = terms;
    let said = format!("adit offers {ours}");
    let help = match alert {
        AlertDescription::ProtocolVersion if low > Version::TLS10 => Some(format!(
            "it speaks none of our versions, the lowest of which is {low}: if it is an old server, add \
             `{} = TLSv1`",
            names.version_min()
        )),
        _ => None,
    };
    Sides { said, help }
}

/// The peer has chosen a version that the service does not allow.
pub(super) fn chosen_version(chosen: Version, names: OptionNames) -> Sides {
    let help =
        word(chosen).map(|word| format!("to allow it, set `{} = {word}`", names.version_min()));
    Sides {
        said: format!("the server chooses {chosen}"),
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

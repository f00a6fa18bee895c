//! What serves a client that is too old for rustls, told by its hello: for `adit listen-in`. Never in here: a
//! decision about a connection; see `s2n::policies`.

use std::collections::BTreeSet;

use super::hello::Hello;
use super::s2n::policies::{self, Allowed, Authentication, RC4, TLS12, TLS13, TRIPLE_DES, Version};
use crate::config::SecurityLevel;

/// The suites by which an old client would be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suited {
    /// Those that may be used, in the order in which a list would name them; not empty.
    pub(crate) suites: Vec<u16>,
    /// Whether a service serves them only where its list of ciphers names them.
    pub(crate) by_name: bool,
    /// What they have in common that is weak.
    pub(crate) weak: Option<&'static str>,
}

/// What serves a client with this hello, where the service's lowest version is the client's latest one and
/// its certificate has an RSA key. `None`: nothing does.
///
/// A suite of `elsewhere` is not named: a list with one of rustls' own suites is rustls'.
pub(crate) fn suited(hello: &Hello, elsewhere: &[u16]) -> Option<Suited> {
    let low = Version::of_wire(hello.highest_version()?).min(TLS12);
    let serves = |suites: BTreeSet<u16>| {
        let allowed = Allowed {
            low,
            high: TLS13,
            suites,
            level: SecurityLevel::default(),
        };
        allowed.serve(hello, Authentication::Rsa).is_ok()
    };
    let one_by_one = |suites: &BTreeSet<u16>| -> Vec<u16> {
        let all = policies::SUITES.iter().map(|suite| suite.code);
        let offered = all.filter(|code| suites.contains(code) && hello.suites.contains(code));
        offered.filter(|code| serves([*code].into())).collect()
    };
    let found = |suites: Vec<u16>, by_name| {
        let all = |weak: &[u16]| suites.iter().all(|code| weak.contains(code));
        let weak = match () {
            () if all(&RC4) => Some("RC4"),
            () if all(&TRIPLE_DES) => Some("3DES"),
            () => None,
        };
        (!suites.is_empty()).then_some(Suited {
            suites,
            by_name,
            weak,
        })
    };
    let default = policies::default_suites(low);
    if low < TLS12 && serves(default.clone()) {
        return found(one_by_one(&default), false);
    }
    let old = policies::SUITES.iter().filter(|suite| suite.is_old());
    let named: BTreeSet<u16> = old
        .map(|suite| suite.code)
        .filter(|code| !elsewhere.contains(code))
        .collect();
    // RC4 only where there is nothing else (RFC 7465).
    let (mut rc4, better): (Vec<u16>, Vec<u16>) = one_by_one(&named)
        .into_iter()
        .partition(|code| RC4.contains(code));
    // One of them is enough.
    rc4.truncate(1);
    match better.is_empty() {
        true => found(rc4, true),
        false => found(better, true),
    }
}

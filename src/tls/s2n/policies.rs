//! What s2n-tls serves: its suites, which of them a service allows, and what it chooses for a client. Never in
//! here: SSLv3; RC4, unless the service names it.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rustls::CipherSuite;

use super::bindings::Policy;
use crate::config::{SecurityLevel, TlsVersion};
use crate::tls::cipher_list;
use crate::tls::hello::{self, Hello};
use crate::tls::suites;
pub(in crate::tls) use table::{Authentication, RC4, SUITES, Suite, TRIPLE_DES};
use table::{Exchange, groups, hybrids};

/// s2n's number of a version: 31 is TLS 1.0, 34 is TLS 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::tls) struct Version(pub(in crate::tls) u8);

pub(in crate::tls) const TLS10: Version = Version(31);
pub(in crate::tls) const TLS11: Version = Version(32);
pub(in crate::tls) const TLS12: Version = Version(33);
pub(in crate::tls) const TLS13: Version = Version(34);

impl From<TlsVersion> for Version {
    fn from(version: TlsVersion) -> Version {
        match version {
            TlsVersion::V1_0 => TLS10,
            TlsVersion::V1_1 => TLS11,
            TlsVersion::V1_2 => TLS12,
            TlsVersion::V1_3 => TLS13,
        }
    }
}

impl Version {
    /// As OpenSSL names it.
    pub(in crate::tls) fn name(self) -> &'static str {
        match self {
            TLS10 => "TLSv1",
            TLS11 => "TLSv1.1",
            TLS12 => "TLSv1.2",
            TLS13 => "TLSv1.3",
            _ => "unknown",
        }
    }

    /// As the wire has it.
    pub(in crate::tls) fn wire(self) -> hello::Version {
        hello::Version(0x0300 + u16::from(self.0.saturating_sub(30)))
    }

    /// What the wire has.
    pub(in crate::tls) fn of_wire(version: hello::Version) -> Version {
        match version {
            hello::Version::TLS10 => TLS10,
            hello::Version::TLS11 => TLS11,
            hello::Version::TLS12 => TLS12,
            hello::Version::TLS13 => TLS13,
            _ => Version(0),
        }
    }
}

/// The suite with this number.
pub(in crate::tls) fn find(code: u16) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.code == code)
}

/// What a service serves: versions and suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tls) struct Allowed {
    pub(in crate::tls) low: Version,
    pub(in crate::tls) high: Version,
    pub(in crate::tls) suites: BTreeSet<u16>,
    /// It leaves some groups and signatures alone.
    pub(in crate::tls) level: SecurityLevel,
}

/// What a cipher list selects.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) struct Selected {
    /// Below TLS 1.3; not empty.
    pub(in crate::tls) codes: BTreeSet<u16>,
    /// Items of it that s2n has nothing for.
    pub(in crate::tls) without: Vec<String>,
}

/// A cipher list that cannot be served.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) enum BadList {
    /// OpenSSL refuses this command in it.
    Command(String),
    /// `@SECLEVEL=n`, higher than 2.
    Level(u8),
    /// It selects nothing that s2n has.
    Nothing,
}

/// What `list` selects of what s2n has. RC4 is selected by its own names alone (RFC 7465 forbids it).
pub(in crate::tls) fn selected(list: &str) -> Result<Selected, BadList> {
    let read = cipher_list::select_with_old(list)
        .map_err(|cipher_list::InvalidCommand(command)| BadList::Command(command))?;
    if let Some(level @ 3..) = read.security_level {
        return Err(BadList::Level(level));
    }
    let named = |name: &str| read.added.iter().any(|(item, _)| item == name);
    let usable = |row: &cipher_list::Row| {
        let suite = SUITES.iter().find(|suite| suite.name == row.name)?;
        (!RC4.contains(&suite.code) || named(suite.name)).then_some(suite.code)
    };
    let codes: BTreeSet<u16> = read.rows.iter().filter_map(usable).collect();
    if codes.is_empty() {
        return Err(BadList::Nothing);
    }
    let items = read.added.iter();
    let without = items.filter(|(_, rows)| !rows.iter().any(|row| usable(row).is_some()));
    let without = without.map(|(item, _)| item.clone()).collect();
    Ok(Selected { codes, without })
}

/// What to write instead of the one word for all of RC4 in a list; `None`: it is not there, or the list selects
/// something.
pub(in crate::tls) fn advice_for_rc4(list: &str) -> Option<&'static str> {
    let has_word = list.split([':', ',', ' ']).any(|item| item == "RC4");
    let advice = "RC4 is taken by the names of its suites alone: write RC4-SHA or RC4-MD5";
    (has_word && selected(list) == Err(BadList::Nothing)).then_some(advice)
}

/// What is served without a list; 3DES only where TLS 1.0 is.
pub(in crate::tls) fn default_suites(low: Version) -> BTreeSet<u16> {
    let left_out = |suite: &&Suite| {
        let only_named = RC4.contains(&suite.code) || ONLY_LISTED.contains(&suite.code);
        only_named || (low > TLS10 && TRIPLE_DES.contains(&suite.code))
    };
    let old = SUITES.iter().filter(|suite| suite.is_old());
    old.filter(|suite| !left_out(suite))
        .map(|suite| suite.code)
        .collect()
}

/// What a list can name, and the default does not have: 3DES with ephemeral keys, which only clients with AES
/// have, and ChaCha20, which only clients with TLS 1.2 have.
const ONLY_LISTED: [u16; 4] = [0xc012, 0x0016, 0xcca8, 0xcca9];

/// The suites of TLS 1.3 among these names, or all.
pub(in crate::tls) fn tls13(names: Option<&str>) -> BTreeSet<u16> {
    let suites = SUITES.iter().filter(|suite| !suite.is_old());
    let named = |suite: &&Suite| {
        names.is_none_or(|names| names.split(':').any(|name| name.trim() == suite.name))
    };
    suites.filter(named).map(|suite| suite.code).collect()
}

/// Names of suites, in the order of [`SUITES`].
pub(in crate::tls) fn names(codes: &BTreeSet<u16>) -> Vec<&'static str> {
    let named = SUITES.iter().filter(|suite| codes.contains(&suite.code));
    named.map(|suite| suite.name).collect()
}

/// All suites below TLS 1.3 that a list can select.
pub(in crate::tls) fn all_names() -> Vec<&'static str> {
    let suites = SUITES.iter().filter(|suite| suite.since < TLS13);
    suites.map(|suite| suite.name).collect()
}

fn offers(hello: &Hello, version: Version) -> bool {
    let wire = match version {
        TLS13 => hello::Version::TLS13,
        TLS12 => hello::Version::TLS12,
        TLS11 => hello::Version::TLS11,
        _ => hello::Version::TLS10,
    };
    hello.may_speak(wire)
}

/// Why a hello is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Unserved {
    Version,
    Suite,
}

impl Allowed {
    /// Whether s2n serves this client, with a key of this kind, as the service allows.
    ///
    /// # Errors
    /// It does not.
    pub(in crate::tls) fn serve(&self, hello: &Hello, key: Authentication) -> Result<(), Unserved> {
        let spoken = [TLS10, TLS11, TLS12, TLS13];
        let spoken = spoken
            .into_iter()
            .filter(|version| (self.low..=self.high).contains(version));
        if !spoken.into_iter().any(|version| offers(hello, version)) {
            return Err(Unserved::Version);
        }
        let choice = self.choice(hello, key);
        let allowed = choice.filter(|(version, _)| *version >= self.low);
        allowed.map(|_| ()).ok_or(Unserved::Suite)
    }

    /// The version and the suite that s2n chooses as a server (s2n_set_cipher_as_server).
    fn choice(&self, hello: &Hello, key: Authentication) -> Option<(Version, u16)> {
        let ours = || {
            let suites = SUITES.iter();
            suites.filter(|suite| self.suites.contains(&suite.code))
        };
        let offered = Version::of_wire(hello.highest_version()?);
        let highest = match ours().any(|suite| suite.since == TLS13) {
            true => self.high,
            false => self.high.min(TLS12),
        };
        // A client that says which versions it speaks may leave some out.
        let spoken = |version: &Version| *version <= highest && offers(hello, *version);
        let version = [TLS13, TLS12, TLS11, TLS10].into_iter().find(spoken);
        let version = version.filter(|version| *version <= offered)?;
        let (ecc, hybrids) = (groups(self.level), hybrids(self.level));
        let has =
            |group: &u16| ecc.contains(group) || (version == TLS13 && hybrids.contains(group));
        let offered = hello.groups.as_ref();
        let has_group = offered.is_none_or(|groups| groups.iter().any(has));
        let usable = |suite: &&Suite| {
            let exchange = match suite.exchange {
                Exchange::Ecdhe | Exchange::Any => has_group,
                Exchange::Dhe | Exchange::Rsa => true,
            };
            let authentication =
                suite.authentication == Authentication::Any || suite.authentication == key;
            let in_time = suite.since <= version && (suite.since == TLS13) == (version == TLS13);
            exchange && authentication && in_time && hello.suites.contains(&suite.code)
        };
        ours().find(usable).map(|suite| (version, suite.code))
    }

    /// The policy by which s2n goes. Its lowest version is below ours where that tells more about a peer; see
    /// `Handshake::check`.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn policy(&self, hybrids: bool) -> Result<Policy, &'static str> {
        let lowest = match self.low {
            TLS13 => TLS13,
            _ => TLS10,
        };
        let suites = SUITES.iter().map(|suite| suite.code);
        let suites = suites.filter(|code| self.suites.contains(code));
        Policy::new(lowest, &suites.collect::<Vec<_>>(), hybrids, self.level)
    }

    /// Whether one of the suites that may be spoken has key exchange by RSA.
    pub(in crate::tls) fn exchanges_by_rsa(&self) -> bool {
        let suites = self.suites.iter().filter_map(|code| find(*code));
        suites.into_iter().any(|suite| {
            let spoken = suite.is_old() && self.low < TLS13 && suite.since <= self.high;
            spoken && suite.exchange == Exchange::Rsa
        })
    }

    /// Their suites by name.
    pub(in crate::tls) fn named(&self) -> String {
        suites::named(self.listed())
    }

    /// Their suites, in the order of [`SUITES`].
    pub(in crate::tls) fn listed(&self) -> Vec<CipherSuite> {
        let suites = SUITES
            .iter()
            .filter(|suite| self.suites.contains(&suite.code));
        suites.map(|suite| CipherSuite::from(suite.code)).collect()
    }
}

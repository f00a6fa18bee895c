//! What s2n-tls serves: its suites, and those of its named policies that adit uses. s2n takes no list of
//! suites, only the name of a policy, and as a server it goes by the policy's order: so for each hello the
//! policy is looked for whose choice the service allows. Never in here: a policy that knows SSLv3; RC4,
//! unless the service names it.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rustls::CipherSuite;

use crate::config::TlsVersion;
use crate::tls::cipher_list;
use crate::tls::hello::{self, Hello};
use crate::tls::suites;
pub(in crate::tls) use table::{
    Authentication, POLICIES, Policy, RC4, SUITES, Suite, TLS13_POLICY, TRIPLE_DES,
};
use table::{Exchange, HYBRIDS};

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

/// What is served without a list: all of the first policy below TLS 1.3; 3DES only where TLS 1.0 is.
pub(in crate::tls) fn default_suites(low: Version) -> BTreeSet<u16> {
    let suites = POLICIES[0].suites.iter().copied();
    let below = suites.filter(|code| find(*code).is_some_and(|suite| suite.since < TLS13));
    below
        .filter(|code| low <= TLS10 || !TRIPLE_DES.contains(code))
        .collect()
}

/// The suites of TLS 1.3 among these names, or all.
pub(in crate::tls) fn tls13(names: Option<&str>) -> BTreeSet<u16> {
    let suites = SUITES.iter().filter(|suite| !suite.is_old());
    let named = |suite: &&Suite| {
        names.is_none_or(|names| names.split(':').any(|name| name.trim() == suite.name))
    };
    suites.filter(named).map(|suite| suite.code).collect()
}

/// Names of suites, in the order of the policies.
pub(in crate::tls) fn names(codes: &BTreeSet<u16>) -> Vec<&'static str> {
    let named = SUITES.iter().filter(|suite| codes.contains(&suite.code));
    named.map(|suite| suite.name).collect()
}

/// All suites below TLS 1.3 that a list can select.
pub(in crate::tls) fn all_names() -> Vec<&'static str> {
    let suites = SUITES.iter().filter(|suite| suite.since < TLS13);
    suites.map(|suite| suite.name).collect()
}

impl Policy {
    fn speaks_tls13(&self) -> bool {
        let suites = self.suites.iter().filter_map(|code| find(*code));
        suites.into_iter().any(|suite| suite.since == TLS13)
    }

    /// How well it stands for what is allowed: what it has besides may be chosen, which ends a handshake.
    fn fit(&self, allowed: &Allowed) -> i32 {
        let old = self.suites.iter().filter_map(|code| find(*code));
        let old = old.filter(|suite| suite.is_old() && suite.since <= allowed.high);
        let score = old.map(|suite| match allowed.suites.contains(&suite.code) {
            true => 1,
            false => -2,
        });
        let mut tls13 = self.suites.iter().filter_map(|code| find(*code));
        let tls13 = allowed.high == TLS13
            && tls13.any(|suite| !suite.is_old() && allowed.suites.contains(&suite.code));
        score.sum::<i32>() + if tls13 { 3 } else { 0 }
    }

    /// What it has besides what is allowed, by name.
    pub(in crate::tls) fn besides(&self, allowed: &Allowed) -> Vec<&'static str> {
        let besides = self.suites.iter().copied().filter(|code| {
            !allowed.suites.contains(code)
                && find(*code).is_some_and(|suite| suite.since <= allowed.high)
        });
        names(&besides.collect())
    }

    /// The version and the suite that s2n chooses as a server (s2n_set_cipher_as_server).
    fn choice(
        &self,
        allowed: &Allowed,
        hello: &Hello,
        key: Authentication,
    ) -> Option<(Version, u16)> {
        let offered = Version::of_wire(hello.highest_version()?);
        let highest = match self.speaks_tls13() {
            true => allowed.high,
            false => allowed.high.min(TLS12),
        };
        // A client that says which versions it speaks may leave some out.
        let spoken = |version: &Version| *version <= highest && offers(hello, *version);
        let version = [TLS13, TLS12, TLS11, TLS10].into_iter().find(spoken);
        let version = version.filter(|version| *version <= offered)?;
        let has_group = hello.groups.as_ref().is_none_or(|groups| {
            let usable = |group: &&u16| version == TLS13 || !HYBRIDS.contains(group);
            groups
                .iter()
                .filter(usable)
                .any(|group| self.groups.contains(group))
        });
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
        let suites = self.suites.iter().filter_map(|code| find(*code));
        suites
            .into_iter()
            .find(usable)
            .map(|suite| (version, suite.code))
    }
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

/// Why no policy serves a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Unserved {
    Version,
    Suite,
}

impl Allowed {
    /// The policy by which s2n serves this client, with a key of this kind, as the service allows.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::tls) fn serve(
        &self,
        hello: &Hello,
        key: Authentication,
    ) -> Result<&'static Policy, Unserved> {
        let spoken = [TLS10, TLS11, TLS12, TLS13];
        let spoken = spoken
            .into_iter()
            .filter(|version| (self.low..=self.high).contains(version));
        if !spoken.into_iter().any(|version| offers(hello, version)) {
            return Err(Unserved::Version);
        }
        let serves = |policy: &&Policy| {
            let choice = policy.choice(self, hello, key);
            choice
                .is_some_and(|(version, suite)| version >= self.low && self.suites.contains(&suite))
        };
        // What serves TLS 1.3 alone is asked for where TLS 1.3 is spoken alone.
        let tls13 = (self.low == TLS13).then_some(&TLS13_POLICY);
        let mut policies = tls13.into_iter().chain(&POLICIES);
        policies.find(serves).ok_or(Unserved::Suite)
    }

    /// The suite that s2n chooses by its own order, though the client offers one that the service allows,
    /// too; `None`: that is not why the client is not served.
    pub(in crate::tls) fn preferred(&self, hello: &Hello, key: Authentication) -> Option<u16> {
        let mut allowed = hello.clone();
        allowed.suites.retain(|code| self.suites.contains(code));
        let policy = self.serve(&allowed, key).ok()?;
        let (_, suite) = policy.choice(self, hello, key)?;
        (!self.suites.contains(&suite)).then_some(suite)
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

    /// Their suites, in the order of the policies.
    pub(in crate::tls) fn listed(&self) -> Vec<CipherSuite> {
        let suites = SUITES
            .iter()
            .filter(|suite| self.suites.contains(&suite.code));
        suites.map(|suite| CipherSuite::from(suite.code)).collect()
    }

    /// The policy with which a client offers what is allowed: where a list was given, the one with the
    /// least besides.
    pub(in crate::tls) fn offer(&self, listed: bool) -> &'static Policy {
        if !listed {
            return &POLICIES[0];
        }
        let has_some = |policy: &&Policy| {
            let mut suites = policy.suites.iter();
            suites.any(|code| self.suites.contains(code))
        };
        let usable = POLICIES.iter().rev().filter(has_some);
        usable
            .max_by_key(|policy| policy.fit(self))
            .unwrap_or(&POLICIES[0])
    }
}

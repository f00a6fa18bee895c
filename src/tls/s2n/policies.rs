//! What s2n-tls serves: its suites, and those of its named policies that adit uses. s2n takes no list of
//! suites, only the name of a policy, and as a server it goes by the policy's order: so for each hello the
//! policy is looked for whose choice the service allows. Never in here: a policy that knows SSLv3; RC4,
//! unless the service names it.

use std::collections::BTreeSet;
use std::ffi::CStr;

use rustls::CipherSuite;

use crate::config::TlsVersion;
use crate::tls::cipher_list;
use crate::tls::hello::{self, Hello};
use crate::tls::suites;

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

impl Suite {
    /// Whether a version below TLS 1.3 has it.
    pub(in crate::tls) fn is_old(&self) -> bool {
        self.since < TLS13
    }
}

/// How the two sides come to their secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchange {
    Rsa,
    Dhe,
    Ecdhe,
    /// TLS 1.3 has it outside of the suite.
    Any,
}

/// Whose signature, or key, the suite asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Authentication {
    Rsa,
    Ecdsa,
    Any,
}

/// A suite that s2n has.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) struct Suite {
    pub(in crate::tls) code: u16,
    /// OpenSSL's name.
    pub(in crate::tls) name: &'static str,
    /// OpenSSL's count of the bits of its key.
    pub(in crate::tls) bits: u16,
    exchange: Exchange,
    authentication: Authentication,
    /// The first version that has it.
    since: Version,
}

const fn suite(
    code: u16,
    name: &'static str,
    bits: u16,
    exchange: Exchange,
    authentication: Authentication,
    since: Version,
) -> Suite {
    Suite {
        code,
        name,
        bits,
        exchange,
        authentication,
        since,
    }
}

/// The number of 3DES, which is closed after some data; see `stream`.
pub(in crate::tls) const TRIPLE_DES: [u16; 3] = [0x000a, 0x0016, 0xc012];
/// The numbers of RC4, which RFC 7465 forbids.
pub(in crate::tls) const RC4: [u16; 2] = [0x0004, 0x0005];

use Authentication::{Any as AnyKey, Ecdsa, Rsa as RsaKey};
use Exchange::{Any, Dhe, Ecdhe, Rsa};

/// Every suite of the policies below.
pub(in crate::tls) static SUITES: [Suite; 31] = [
    suite(0x1301, "TLS_AES_128_GCM_SHA256", 128, Any, AnyKey, TLS13),
    suite(0x1302, "TLS_AES_256_GCM_SHA384", 256, Any, AnyKey, TLS13),
    suite(
        0xc02b,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        128,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(
        0xc02f,
        "ECDHE-RSA-AES128-GCM-SHA256",
        128,
        Ecdhe,
        RsaKey,
        TLS12,
    ),
    suite(
        0xc02c,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        256,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(
        0xc030,
        "ECDHE-RSA-AES256-GCM-SHA384",
        256,
        Ecdhe,
        RsaKey,
        TLS12,
    ),
    suite(0xc009, "ECDHE-ECDSA-AES128-SHA", 128, Ecdhe, Ecdsa, TLS10),
    suite(0xc013, "ECDHE-RSA-AES128-SHA", 128, Ecdhe, RsaKey, TLS10),
    suite(
        0xc023,
        "ECDHE-ECDSA-AES128-SHA256",
        128,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(0xc027, "ECDHE-RSA-AES128-SHA256", 128, Ecdhe, RsaKey, TLS12),
    suite(0xc00a, "ECDHE-ECDSA-AES256-SHA", 256, Ecdhe, Ecdsa, TLS10),
    suite(0xc014, "ECDHE-RSA-AES256-SHA", 256, Ecdhe, RsaKey, TLS10),
    suite(
        0xc024,
        "ECDHE-ECDSA-AES256-SHA384",
        256,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(0xc028, "ECDHE-RSA-AES256-SHA384", 256, Ecdhe, RsaKey, TLS12),
    suite(0xc012, "ECDHE-RSA-DES-CBC3-SHA", 112, Ecdhe, RsaKey, TLS10),
    suite(0x009c, "AES128-GCM-SHA256", 128, Rsa, RsaKey, TLS12),
    suite(0x009d, "AES256-GCM-SHA384", 256, Rsa, RsaKey, TLS12),
    suite(0x002f, "AES128-SHA", 128, Rsa, RsaKey, TLS10),
    suite(0x003c, "AES128-SHA256", 128, Rsa, RsaKey, TLS12),
    suite(0x0035, "AES256-SHA", 256, Rsa, RsaKey, TLS10),
    suite(0x003d, "AES256-SHA256", 256, Rsa, RsaKey, TLS12),
    suite(0x000a, "DES-CBC3-SHA", 112, Rsa, RsaKey, TLS10),
    suite(0x009e, "DHE-RSA-AES128-GCM-SHA256", 128, Dhe, RsaKey, TLS12),
    suite(0x009f, "DHE-RSA-AES256-GCM-SHA384", 256, Dhe, RsaKey, TLS12),
    suite(0x0033, "DHE-RSA-AES128-SHA", 128, Dhe, RsaKey, TLS10),
    suite(0x0067, "DHE-RSA-AES128-SHA256", 128, Dhe, RsaKey, TLS12),
    suite(0x0039, "DHE-RSA-AES256-SHA", 256, Dhe, RsaKey, TLS10),
    suite(0x006b, "DHE-RSA-AES256-SHA256", 256, Dhe, RsaKey, TLS12),
    suite(0x0016, "DHE-RSA-DES-CBC3-SHA", 112, Dhe, RsaKey, TLS10),
    suite(0x0005, "RC4-SHA", 128, Rsa, RsaKey, TLS10),
    suite(0x0004, "RC4-MD5", 128, Rsa, RsaKey, TLS10),
];

/// One of s2n's policies: its name, and its suites in its order. Each speaks TLS 1.0 and later.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) struct Policy {
    pub(in crate::tls) name: &'static CStr,
    suites: &'static [u16],
    /// The groups of its key exchanges.
    groups: &'static [u16],
}

const P256_TO_P521: &[u16] = &[23, 24, 25];
const P256_AND_P384: &[u16] = &[23, 24];
/// TLS 1.3 alone: SecP256r1MLKEM768 and X25519MLKEM768.
const HYBRIDS: [u16; 2] = [0x11eb, 0x11ec];

/// In the order in which they are tried. The first has everything but RC4 and ChaCha20; the others have
/// less, for services that allow less. The last has RC4.
pub(in crate::tls) static POLICIES: [Policy; 9] = [
    Policy {
        name: c"20260520_gcm",
        suites: &[
            0x1301, 0x1302, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc009, 0xc013, 0xc023, 0xc027, 0xc00a,
            0xc014, 0xc024, 0xc028, 0x009c, 0x009d, 0x002f, 0x003c, 0x0035, 0x003d, 0x000a, 0x009e,
            0x009f, 0x0033, 0x0067, 0x0039, 0x006b,
        ],
        groups: P256_TO_P521,
    },
    Policy {
        name: c"20260520",
        suites: &[
            0x1301, 0x1302, 0xc009, 0xc013, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc023, 0xc027, 0xc00a,
            0xc014, 0xc024, 0xc028, 0x002f, 0x009c, 0x009d, 0x003c, 0x0035, 0x003d, 0x000a, 0x0033,
            0x009e, 0x009f, 0x0067, 0x0039, 0x006b,
        ],
        groups: P256_TO_P521,
    },
    Policy {
        name: c"20170718_gcm",
        suites: &[
            0xc02f, 0xc030, 0xc013, 0xc027, 0xc014, 0xc028, 0x009c, 0x009d, 0x002f, 0x003c, 0x0035,
            0x003d,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"ELBSecurityPolicy-FS-2018-06",
        suites: &[
            0xc02b, 0xc02f, 0xc023, 0xc027, 0xc009, 0xc013, 0xc02c, 0xc030, 0xc024, 0xc028, 0xc00a,
            0xc014,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20170816_healthcheck",
        suites: &[0x0035, 0x002f],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20150306",
        suites: &[
            0xc02f, 0xc030, 0xc013, 0xc027, 0xc012, 0xc014, 0x009c, 0x003c, 0x002f, 0x000a,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20150214",
        suites: &[
            0x009e, 0x0067, 0x0033, 0x0016, 0x009c, 0x003c, 0x002f, 0x000a,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20150202",
        suites: &[0x0067, 0x0033, 0x0016, 0x003c, 0x002f, 0x000a],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20141001",
        suites: &[
            0x0067, 0x0033, 0x0016, 0x003c, 0x002f, 0x000a, 0x0005, 0x0004,
        ],
        groups: P256_AND_P384,
    },
];

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
    let suites = POLICIES[0].suites.iter().filter_map(|code| find(*code));
    let suites = suites.filter(|suite| suite.since == TLS13);
    suites
        .filter(|suite| {
            names.is_none_or(|names| names.split(':').any(|name| name.trim() == suite.name))
        })
        .map(|suite| suite.code)
        .collect()
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

    /// How much of what is allowed it has, and how much it has besides.
    fn fit(&self, allowed: &Allowed) -> (usize, usize) {
        let spoken = |code: &u16| find(*code).is_some_and(|suite| suite.since <= allowed.high);
        let suites = self.suites.iter().copied().filter(spoken);
        let (fits, besides): (Vec<u16>, Vec<u16>) =
            suites.partition(|code| allowed.suites.contains(code));
        (fits.len(), besides.len())
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
            let hybrid = |group| version == TLS13 && HYBRIDS.contains(group);
            groups
                .iter()
                .any(|group| self.groups.contains(group) || hybrid(group))
        });
        let usable = |suite: &&Suite| {
            let exchange = match suite.exchange {
                Ecdhe | Any => has_group,
                Dhe | Rsa => true,
            };
            let authentication = suite.authentication == AnyKey || suite.authentication == key;
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
        POLICIES.iter().find(serves).ok_or(Unserved::Suite)
    }

    /// Their suites by name.
    pub(in crate::tls) fn named(&self) -> String {
        let suites = SUITES
            .iter()
            .filter(|suite| self.suites.contains(&suite.code));
        suites::named(suites.map(|suite| CipherSuite::from(suite.code)))
    }

    /// The policy with which a client offers what is allowed: where a list was given, the one with the
    /// least besides.
    pub(in crate::tls) fn offer(&self, listed: bool) -> &'static Policy {
        if !listed {
            return &POLICIES[0];
        }
        let allowed = self.suites.iter().filter_map(|code| find(*code));
        let wants_tls13 =
            self.high == TLS13 && allowed.into_iter().any(|suite| suite.since == TLS13);
        let rank = |policy: &&'static Policy| {
            let (fits, besides) = policy.fit(self);
            let versions = !wants_tls13 || policy.speaks_tls13();
            // Nothing besides counts first: what is offered and not allowed may be chosen.
            let exact = besides == 0 && versions;
            (fits > 0, exact, fits, std::cmp::Reverse(besides))
        };
        POLICIES
            .iter()
            .rev()
            .max_by_key(rank)
            .unwrap_or(&POLICIES[0])
    }
}

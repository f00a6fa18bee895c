//! From OpenSSL's names of suites and groups, and its cipher lists (see `cipher_list`), to what rustls
//! has: only AEAD suites with forward secrecy.

mod groups;
mod p521;

use rustls::SupportedCipherSuite::Tls13;
use rustls::crypto::aws_lc_rs::cipher_suite as suites;
use rustls::{CipherSuite, SupportedCipherSuite, Tls13CipherSuite};

use super::backend::OptionNames;
use super::cipher_list::{self, InvalidCommand, Row};
use super::s2n::policies;
use super::{CipherOrder, hkdf};

pub(super) use groups::{curves, default_curves, group_by_name, group_name};

/// The result of a list: what is usable, and what to tell the administrator about the rest.
#[derive(Debug)]
pub(super) struct Chosen<T> {
    /// Empty if OpenSSL can use the list and adit cannot; `warning` then says so.
    pub(super) usable: Vec<T>,
    pub(super) notes: Vec<String>,
    /// Peers may be shut out by it.
    pub(super) warning: Option<String>,
}

/// The TLS 1.2 suites in OpenSSL's order: 256 bits first.
fn tls12() -> [(&'static str, SupportedCipherSuite); 6] {
    [
        (
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            "ECDHE-RSA-AES256-GCM-SHA384",
            suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        (
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        (
            "ECDHE-RSA-CHACHA20-POLY1305",
            suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            "ECDHE-RSA-AES128-GCM-SHA256",
            suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
    ]
}

/// TLS 1.3 suites: AES first, which server processors do in hardware.
static TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", Tls13(&AES_256)),
    ("TLS_AES_128_GCM_SHA256", Tls13(&AES_128)),
    ("TLS_CHACHA20_POLY1305_SHA256", Tls13(&CHACHA20)),
];
static AES_256: Tls13CipherSuite = hkdf::with_sha384(&suites::TLS13_AES_256_GCM_SHA384);
static AES_128: Tls13CipherSuite = hkdf::with_sha256(&suites::TLS13_AES_128_GCM_SHA256);
static CHACHA20: Tls13CipherSuite = hkdf::with_sha256(&suites::TLS13_CHACHA20_POLY1305_SHA256);

/// Every TLS 1.2 suite, for a service without `ciphers`.
pub(super) fn default_ciphers(order: CipherOrder) -> Vec<SupportedCipherSuite> {
    ordered(tls12().into_iter().map(|(_, suite)| suite), order)
}

/// In this order, or ChaCha20 before AES-256 before AES-128.
fn ordered(
    suites: impl Iterator<Item = SupportedCipherSuite>,
    order: CipherOrder,
) -> Vec<SupportedCipherSuite> {
    let mut suites: Vec<_> = suites.collect();
    if order.chacha20_first {
        suites.sort_by_key(|suite| {
            let (name, bits) = describe(suite.suite());
            (!name.contains("CHACHA20"), bits == 128)
        });
    }
    suites
}

/// Their names, as a list.
pub(super) fn names_of_ciphers() -> String {
    tls12().map(|(name, _)| name).join(":")
}

/// Red Hat's name for the suites chosen by the machine's administrator; OpenSSL has no such word
/// elsewhere.
const PROFILE: &str = "PROFILE=SYSTEM";

/// Reads an OpenSSL cipher list, of an end whose options have these names.
///
/// # Errors
/// OpenSSL refuses the list, or it asks for something that adit cannot enforce.
pub(super) fn ciphers(
    list: &str,
    names: OptionNames,
) -> Result<Chosen<SupportedCipherSuite>, String> {
    let known = tls12();
    let ours = |row: &Row| known.iter().find(|(name, _)| *name == row.name);
    let (read, mut notes) = match list.strip_prefix(PROFILE) {
        Some(rest) => {
            let note = format!("{PROFILE} counts as DEFAULT: adit reads no system-wide profile");
            (format!("DEFAULT{rest}"), vec![note])
        }
        None => (list.to_owned(), Vec::new()),
    };
    let selected = cipher_list::select(&read).map_err(|InvalidCommand(command)| {
        format!("invalid command {command} in a cipher list: a list is as HIGH:!aNULL")
    })?;
    if let Some(level) = selected.security_level {
        notes.extend(security_level(level)?);
    }
    if selected.rows.is_empty() {
        return Err(no_match(list, names));
    }
    let without = selected.added.iter();
    let without = without.filter(|(_, rows)| !rows.iter().any(|row| ours(row).is_some()));
    let without: Vec<&str> = without.map(|(item, _)| item.as_str()).collect();
    let usable: Vec<_> = selected
        .rows
        .iter()
        .filter_map(ours)
        .map(|(_, suite)| *suite)
        .collect();
    let mut warning = usable.is_empty().then(|| {
        format!(
            "adit has none of the suites in {list:?}, so it speaks TLS 1.3 only; its suites for TLS \
             1.2 are {}",
            names_of_ciphers()
        )
    });
    if warning.is_none() {
        let option = names.ciphers();
        let (old, unknown): (Vec<&str>, Vec<&str>) =
            (without.iter()).partition(|item| policies::selected(item).is_ok());
        warning = (!old.is_empty()).then(|| {
            format!(
                "adit serves {} of {option} only where the list has nothing newer, or where {} is below \
                 TLSv1.2",
                old.join(", "),
                names.version_min()
            )
        });
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            notes.push(format!("adit has no suite for {unknown} of {option}"));
        }
    }
    Ok(Chosen {
        usable,
        notes,
        warning,
    })
}

/// Why a list selects nothing: perhaps it is what s2n-tls serves with old versions.
fn no_match(list: &str, names: OptionNames) -> String {
    let version = format!("`{} = TLSv1`", names.version_min());
    let why = if let Some(advice) = policies::advice_for_rc4(list) {
        format!("; {advice}, and add {version}")
    } else if let Ok(old) = policies::selected(list) {
        let old = policies::names(&old.codes).join(", ");
        format!(" of TLS 1.2; {old} needs a version below TLSv1.2: add {version}")
    } else {
        format!("; adit has {}", names_of_ciphers())
    };
    format!("no cipher match: {list:?} selects no suite{why}")
}

/// `@SECLEVEL=n`
fn security_level(level: u8) -> Result<Option<String>, String> {
    match level {
        2 => Ok(None),
        0 | 1 => Ok(Some(format!(
            "@SECLEVEL={level} has no effect: adit does not go below security level 2"
        ))),
        _ => Err(higher_level(level)),
    }
}

/// What to say of a level in a cipher list that is above the default.
pub(super) fn higher_level(level: u8) -> String {
    format!("@SECLEVEL={level} is not read here: set `securityLevel = {level}`, and leave it out")
}

/// Every TLS 1.3 suite, for a service without `ciphersuites`.
pub(super) fn default_ciphersuites(order: CipherOrder) -> Vec<SupportedCipherSuite> {
    ordered(TLS13.into_iter().map(|(_, suite)| suite), order)
}

/// Reads a colon-separated list of TLS 1.3 suites.
///
/// # Errors
/// Nothing usable.
pub(super) fn ciphersuites(list: &str) -> Result<Chosen<SupportedCipherSuite>, String> {
    named(list, "ciphersuites", |name| {
        TLS13
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, suite)| *suite)
    })
    .ok_or_else(|| {
        format!(
            "no cipher match: {list:?} names no suite that adit has; it has {}",
            TLS13.map(|(name, _)| name).join(":")
        )
    })
}

/// A colon-separated list of exact names; `None` if none is usable.
fn named<T>(list: &str, option: &str, find: impl Fn(&str) -> Option<T>) -> Option<Chosen<T>> {
    let mut chosen = Chosen {
        usable: Vec::new(),
        notes: Vec::new(),
        warning: None,
    };
    for name in list
        .split(':')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match find(name) {
            Some(found) => chosen.usable.push(found),
            None => chosen
                .notes
                .push(format!("adit has no {name:?} of {option}")),
        }
    }
    (!chosen.usable.is_empty()).then_some(chosen)
}

/// OpenSSL's name of a suite, and its key size in bits.
pub(super) fn describe(suite: CipherSuite) -> (&'static str, u16) {
    let name = tls12()
        .iter()
        .find(|(_, known)| known.suite() == suite)
        .map(|(name, _)| *name)
        .or_else(|| {
            TLS13
                .iter()
                .find(|(_, known)| known.suite() == suite)
                .map(|(name, _)| *name)
        })
        .unwrap_or("UNKNOWN");
    let bits = if name.contains("128_GCM") || name.contains("AES128") {
        128
    } else {
        256
    };
    (name, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ciphers(list: &str) -> Result<Chosen<SupportedCipherSuite>, String> {
        super::ciphers(list, OptionNames::Usual)
    }

    fn names(list: &str) -> Vec<&'static str> {
        ciphers(list)
            .unwrap()
            .usable
            .iter()
            .map(|suite| describe(suite.suite()).0)
            .collect()
    }

    const ALL: [&str; 6] = [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ];

    #[test]
    fn lists_select_what_openssl_selects() {
        for list in [
            "ALL",
            "DEFAULT",
            "HIGH",
            "HIGH:!aNULL:!MD5",
            "HIGH:!DH:!aNULL:!SSLv2:!RC4:!3DES",
            "ALL:!EXPORT:!LOW:!MEDIUM",
            "EECDH+AESGCM:EECDH",
            "DEFAULT@SECLEVEL=2",
        ] {
            let mut found = names(list);
            found.sort_unstable();
            let mut all = ALL;
            all.sort_unstable();
            assert_eq!(found, all, "{list}");
        }
        assert_eq!(names("ECDHE-RSA-AES128-GCM-SHA256"), [ALL[5]]);
        assert_eq!(names("AES128+aRSA"), [ALL[5]]);
        assert_eq!(names("ECDHE+AESGCM:!ECDSA"), [ALL[1], ALL[5]]);
        assert_eq!(
            names("CHACHA20:AESGCM"),
            [ALL[2], ALL[3], ALL[0], ALL[1], ALL[4], ALL[5]]
        );
        assert_eq!(
            names("ALL:-AESGCM:AES128"),
            [ALL[2], ALL[3], ALL[4], ALL[5]]
        );
        assert_eq!(
            names("aRSA:+AES256:!CHACHA20"),
            [ALL[5], ALL[1]],
            "+ moves to the end"
        );
        assert_eq!(names("AES128:AES256:@STRENGTH:!ECDSA"), [ALL[1], ALL[5]]);
        assert_eq!(names("!CHACHA20:ALL:CHACHA20").len(), 4, "! is for good");
    }

    #[test]
    fn an_unusable_member_is_a_note_and_an_unusable_list_an_error() {
        let chosen = ciphers("AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:NONSENSE:!aNULL").unwrap();
        assert_eq!(chosen.usable.len(), 1);
        assert_eq!(
            chosen.warning.unwrap(),
            "adit serves AES256-SHA of ciphers only where the list has nothing newer, or where sslVersionMin is \
             below TLSv1.2"
        );
        assert_eq!(chosen.notes, ["adit has no suite for NONSENSE of ciphers"]);
        let list = "AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256";
        let accepted = super::ciphers(list, OptionNames::Accepted).unwrap();
        assert_eq!(
            accepted.warning.unwrap(),
            "adit serves AES256-SHA of acceptCiphers only where the list has nothing newer, or where \
             acceptSSLVersionMin is below TLSv1.2"
        );
        assert!(ciphers("HIGH").unwrap().notes.is_empty());
        for list in [
            "NONSENSE",
            "RC4-SHA:DES-CBC3-SHA",
            "ALL:!ALL",
            "",
            "TLS_AES_256_GCM_SHA384",
        ] {
            assert!(ciphers(list).unwrap_err().contains("no cipher match"));
        }
        for (list, said) in [
            (
                "RC4-SHA",
                "RC4-SHA needs a version below TLSv1.2: add `sslVersionMin = TLSv1`",
            ),
            (
                "RC4",
                "write RC4-SHA or RC4-MD5, and add `sslVersionMin = TLSv1`",
            ),
            ("NONSENSE", "; adit has ECDHE-"),
        ] {
            let refusal = ciphers(list).unwrap_err();
            assert!(refusal.contains(said), "{refusal}");
        }
    }

    #[test]
    fn a_list_that_only_openssl_has_suites_for_leaves_tls_1_3() {
        for list in [
            "AES128-GCM-SHA256:!DH",
            "AES256-SHA",
            "NULL",
            "DHE-RSA-AES256-GCM-SHA384",
        ] {
            let chosen = ciphers(list).unwrap();
            assert!(chosen.usable.is_empty(), "{list}");
            let warning = chosen.warning.unwrap();
            assert!(warning.contains("TLS 1.3 only"), "{list}: {warning}");
        }
        assert!(ciphers("HIGH").unwrap().warning.is_none());
    }

    #[test]
    fn names_of_whole_lists() {
        let mut default = names("DEFAULT");
        assert_eq!(default, ALL);
        default = names("PROFILE=SYSTEM:!CHACHA20");
        assert_eq!(default, [ALL[0], ALL[1], ALL[4], ALL[5]]);
        assert_eq!(names("SUITEB128"), [ALL[4], ALL[0]]);
    }

    #[test]
    fn security_levels() {
        assert!(ciphers("ALL:@SECLEVEL=2").unwrap().notes.is_empty());
        assert_eq!(ciphers("ALL:@SECLEVEL=1").unwrap().notes.len(), 1);
        assert!(ciphers("ALL:@SECLEVEL=3").is_err());
        for (list, command) in [
            ("ALL:@NONSENSE", "@NONSENSE"),
            ("HIGH:!aNULL*", "*"),
            ("HIGH # x", "#"),
        ] {
            let said = ciphers(list).unwrap_err();
            assert!(
                said.contains(&format!("invalid command {command} in")),
                "{said}"
            );
        }
    }

    #[test]
    fn ciphersuites_keep_their_order() {
        let chosen = ciphersuites(
            "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384",
        )
        .unwrap();
        let found: Vec<_> = chosen.usable.iter().map(|s| describe(s.suite())).collect();
        assert_eq!(
            found,
            [
                ("TLS_CHACHA20_POLY1305_SHA256", 256),
                ("TLS_AES_256_GCM_SHA384", 256)
            ]
        );
        assert_eq!(chosen.notes.len(), 1);
        assert!(ciphersuites("TLS_AES_128_CCM_SHA256").is_err());
    }

    #[test]
    fn without_aes_instructions_chacha20_comes_first_then_aes_256() {
        let order = CipherOrder {
            aes_instructions: false,
            chacha20_first: true,
        };
        let names = |suites: Vec<SupportedCipherSuite>| -> Vec<&'static str> {
            let names = suites.iter().map(|suite| describe(suite.suite()).0);
            names.collect()
        };
        assert_eq!(
            names(default_ciphersuites(order)),
            [
                "TLS_CHACHA20_POLY1305_SHA256",
                "TLS_AES_256_GCM_SHA384",
                "TLS_AES_128_GCM_SHA256"
            ]
        );
        assert_eq!(
            names(default_ciphers(order)),
            [ALL[2], ALL[3], ALL[0], ALL[1], ALL[4], ALL[5]]
        );
        let as_ever = CipherOrder {
            chacha20_first: false,
            ..order
        };
        assert_eq!(names(default_ciphers(as_ever)), ALL);
        assert_eq!(
            names(default_ciphersuites(as_ever))[2],
            "TLS_CHACHA20_POLY1305_SHA256"
        );
    }
}

//! OpenSSL's names for suites and groups, and its cipher list language (openssl-ciphers(1)), to
//! what rustls has: forward secret AEAD suites only.

use rustls::SupportedCipherSuite::Tls13;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite as suites, kx_group as groups};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, Tls13CipherSuite};

use super::{CipherOrder, hkdf};

/// What a list came to: what is usable, and what to tell the admin about the rest.
#[derive(Debug)]
pub(super) struct Chosen<T> {
    pub(super) usable: Vec<T>,
    pub(super) notes: Vec<String>,
}

/// A TLS 1.2 suite as a cipher list sees it.
struct Suite12 {
    name: &'static str,
    words: [&'static str; 3],
    suite: SupportedCipherSuite,
}

/// OpenSSL's order: 256 bits first.
fn tls12() -> [Suite12; 6] {
    let suite = |name, words, suite| Suite12 { name, words, suite };
    [
        suite(
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            ["ECDSA", "AESGCM", "AES256"],
            suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ),
        suite(
            "ECDHE-RSA-AES256-GCM-SHA384",
            ["aRSA", "AESGCM", "AES256"],
            suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ),
        suite(
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            ["ECDSA", "CHACHA20", "CHACHA20"],
            suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        suite(
            "ECDHE-RSA-CHACHA20-POLY1305",
            ["aRSA", "CHACHA20", "CHACHA20"],
            suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        suite(
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            ["ECDSA", "AESGCM", "AES128"],
            suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
        suite(
            "ECDHE-RSA-AES128-GCM-SHA256",
            ["aRSA", "AESGCM", "AES128"],
            suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ),
    ]
}

/// TLS 1.3 suites: AES first, which the processors in servers do in hardware.
static TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", Tls13(&AES_256)),
    ("TLS_AES_128_GCM_SHA256", Tls13(&AES_128)),
    ("TLS_CHACHA20_POLY1305_SHA256", Tls13(&CHACHA20)),
];
static AES_256: Tls13CipherSuite = hkdf::with_sha384(&suites::TLS13_AES_256_GCM_SHA384);
static AES_128: Tls13CipherSuite = hkdf::with_sha256(&suites::TLS13_AES_128_GCM_SHA256);
static CHACHA20: Tls13CipherSuite = hkdf::with_sha256(&suites::TLS13_CHACHA20_POLY1305_SHA256);

impl Suite12 {
    /// Whether one word of the language means this suite. A word for what adit never speaks
    /// (`aNULL`, `RC4`, `kRSA`) or that nobody knows means none.
    fn is(&self, word: &str) -> bool {
        match word {
            "ALL" | "DEFAULT" | "HIGH" | "TLSv1.2" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH"
            | "ECDH" => true,
            "FIPS" | "AES" => self.words.contains(&"AESGCM"),
            "aECDSA" => self.words.contains(&"ECDSA"),
            _ => self.name == word || self.words.contains(&word),
        }
    }

    /// Whether all of `a+b+c` mean this suite.
    fn matches(&self, words: &str) -> bool {
        words.split('+').all(|word| self.is(word))
    }
}

/// Every TLS 1.2 suite, for a service without `ciphers`.
pub(super) fn default_ciphers(order: CipherOrder) -> Vec<SupportedCipherSuite> {
    ordered(tls12().into_iter().map(|suite| suite.suite), order)
}

/// In this order, or with ChaCha20 before AES-256 before AES-128.
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

/// Reads an OpenSSL cipher list.
///
/// # Errors
/// A list that leaves nothing, or asks for what cannot be enforced.
pub(super) fn ciphers(list: &str) -> Result<Chosen<SupportedCipherSuite>, String> {
    let mut live: Vec<Suite12> = Vec::new();
    // What is not selected yet, in the order in which a word would add it.
    let mut waiting: Vec<Suite12> = tls12().into();
    let mut notes = Vec::new();
    // A command needs no separator before it: `DEFAULT@SECLEVEL=2`.
    let list_of_items = list.replace('@', ":@");
    for item in list_of_items
        .split([':', ',', ' ', ';'])
        .filter(|item| !item.is_empty())
    {
        if let Some(command) = item.strip_prefix('@') {
            notes.extend(at_command(command, &mut live)?);
            continue;
        }
        let (operator, words) = match item.split_at_checked(1) {
            Some((operator @ ("!" | "-" | "+"), words)) => (operator, words),
            _ => ("", item),
        };
        let take = |suites: &mut Vec<Suite12>| -> Vec<Suite12> {
            suites
                .extract_if(.., |suite| suite.matches(words))
                .collect()
        };
        match operator {
            // Out for good.
            "!" => drop((take(&mut live), take(&mut waiting))),
            // Out, but a later word may select them again.
            "-" => waiting.extend(take(&mut live)),
            // To the end.
            "+" => {
                let moved = take(&mut live);
                live.extend(moved);
            }
            _ => {
                let found = take(&mut waiting);
                if found.is_empty() && !live.iter().any(|suite| suite.matches(words)) {
                    notes.push(format!("adit has no suite for {item:?} of ciphers"));
                }
                live.extend(found);
            }
        }
    }
    let usable: Vec<_> = live.into_iter().map(|suite| suite.suite).collect();
    if usable.is_empty() {
        return Err(format!(
            "no cipher match: {list:?} leaves no suite that adit has; it has {}",
            tls12().map(|suite| suite.name).join(":")
        ));
    }
    Ok(Chosen { usable, notes })
}

/// `@STRENGTH` and `@SECLEVEL=n`.
fn at_command(command: &str, live: &mut [Suite12]) -> Result<Option<String>, String> {
    if command == "STRENGTH" {
        live.sort_by_key(|suite| suite.words[2] == "AES128");
        return Ok(None);
    }
    match command.strip_prefix("SECLEVEL=").map(str::parse) {
        Some(Ok(2)) => Ok(None),
        Some(Ok(0 | 1)) => Ok(Some(format!(
            "@{command} has no effect: adit does not go below security level 2"
        ))),
        Some(Ok(3..=5u8)) => Err(format!(
            "@{command} cannot be enforced: adit keeps to security level 2; leave it out"
        )),
        _ => Err(format!("invalid command @{command} in a cipher list")),
    }
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

/// Groups under OpenSSL's names and aliases.
const GROUPS: [(&[&str], NamedGroup); 7] = [
    (&["X25519MLKEM768"], NamedGroup::X25519MLKEM768),
    (&["SecP256r1MLKEM768"], NamedGroup::secp256r1MLKEM768),
    (&["X25519"], NamedGroup::X25519),
    (&["P-256", "prime256v1", "secp256r1"], NamedGroup::secp256r1),
    (&["P-384", "secp384r1"], NamedGroup::secp384r1),
    (&["MLKEM768"], NamedGroup::MLKEM768),
    (&["MLKEM1024"], NamedGroup::MLKEM1024),
];

fn group(name: NamedGroup) -> Option<&'static dyn SupportedKxGroup> {
    [
        groups::X25519MLKEM768,
        groups::SECP256R1MLKEM768,
        groups::X25519,
        groups::SECP256R1,
        groups::SECP384R1,
        groups::MLKEM768,
        groups::MLKEM1024,
    ]
    .into_iter()
    .find(|group| group.name() == name)
}

/// The groups of a service without `curves`: the post-quantum hybrid first.
pub(super) fn default_curves() -> Vec<&'static dyn SupportedKxGroup> {
    vec![
        groups::X25519MLKEM768,
        groups::X25519,
        groups::SECP256R1,
        groups::SECP384R1,
    ]
}

/// Reads a list of groups; `?`, `*` and `/` of OpenSSL 3.5's lists (ignore if unknown, send a key
/// share, tuples) are taken, and rustls decides which shares it sends.
///
/// # Errors
/// Nothing usable.
pub(super) fn curves(list: &str) -> Result<Chosen<&'static dyn SupportedKxGroup>, String> {
    let plain = list.replace('/', ":");
    named(&plain, "curves", |name| {
        let name = name.trim_start_matches(['?', '*']);
        let (_, found) = GROUPS
            .iter()
            .find(|(names, _)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))?;
        group(*found)
    })
    .ok_or_else(|| {
        format!(
            "no usable group in {list:?}; adit has {}",
            GROUPS.map(|(names, _)| names[0]).join(":")
        )
    })
}

/// A colon-separated list of exact names; `None` when nothing in it is usable.
fn named<T>(list: &str, option: &str, find: impl Fn(&str) -> Option<T>) -> Option<Chosen<T>> {
    let mut chosen = Chosen {
        usable: Vec::new(),
        notes: Vec::new(),
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

/// OpenSSL's name of a suite, and the strength of its key in bits.
pub(super) fn describe(suite: CipherSuite) -> (&'static str, u16) {
    let name = tls12()
        .iter()
        .find(|known| known.suite.suite() == suite)
        .map(|known| known.name)
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

/// OpenSSL's name of a group.
pub(super) fn group_name(group: NamedGroup) -> &'static str {
    GROUPS
        .iter()
        .find(|(_, known)| *known == group)
        .map_or("UNKNOWN", |(names, _)| names[0])
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(chosen.notes.len(), 2);
        assert!(chosen.notes[0].contains("AES256-SHA"));
        assert!(ciphers("HIGH").unwrap().notes.is_empty());
        for list in ["AES256-SHA", "NULL", "", "ALL:!ALL", "RC4-SHA:DES-CBC3-SHA"] {
            assert!(ciphers(list).unwrap_err().contains("no cipher match"));
        }
    }

    #[test]
    fn security_levels() {
        assert!(ciphers("ALL:@SECLEVEL=2").unwrap().notes.is_empty());
        assert_eq!(ciphers("ALL:@SECLEVEL=1").unwrap().notes.len(), 1);
        assert!(ciphers("ALL:@SECLEVEL=3").is_err());
        assert!(ciphers("ALL:@NONSENSE").is_err());
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

    #[test]
    fn curves_go_by_every_alias() {
        let chosen = curves("?X25519MLKEM768 / *X25519:prime256v1:secp384r1:X448").unwrap();
        let found: Vec<_> = chosen.usable.iter().map(|g| group_name(g.name())).collect();
        assert_eq!(found, ["X25519MLKEM768", "X25519", "P-256", "P-384"]);
        assert_eq!(chosen.notes.len(), 1);
        assert!(curves("X448:P-521").is_err());
        assert_eq!(
            default_curves()[0].name(),
            NamedGroup::X25519MLKEM768,
            "the hybrid first"
        );
    }

    #[test]
    fn every_group_of_the_table_exists() {
        for (_, name) in GROUPS {
            assert!(group(name).is_some(), "{name:?}");
        }
    }
}

//! Whether adit can serve a client's hello, and which options that asks for.
//! Never in here: a word of the report.

use crate::tls::hello::{Hello, Version};
use crate::tls::{suited, suites};

/// Of TLS 1.3, with a certificate of any kind.
const TLS13: [u16; 3] = [0x1301, 0x1302, 0x1303];
/// Of TLS 1.2, with an RSA certificate: what adit serves unless asked for others (see `ciphers` in
/// adit.conf(5)).
const TLS12: [u16; 3] = [0xc02f, 0xc030, 0xcca8];
/// P-256, P-384 and X25519.
const GROUPS: [u16; 3] = [23, 24, 29];
/// RSA with SHA-256, as PKCS#1 and as PSS.
const SHA256: [u16; 2] = [0x0401, 0x0804];

/// What serves a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// adit as it is.
    Modern,
    /// These options.
    Old(Old),
    /// Nothing.
    None(Unfit),
}

/// The options for a client that is too old for the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Old {
    /// `acceptSSLVersionMin`
    pub(super) version: Option<&'static str>,
    /// `acceptCiphers`
    pub(super) ciphers: Option<String>,
    /// The best that it offers is RC4 or 3DES.
    pub(super) weak: Option<&'static str>,
}

/// Why nothing serves a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Its latest version.
    Version(Option<Version>),
    /// It wants an ECDSA certificate.
    Ecdsa,
    /// Its suites are worse than 3DES and RC4, or unknown.
    Suites,
}

pub(super) fn fit(hello: &Hello) -> Fit {
    let version = match hello.highest_version() {
        Some(version) if version >= Version::TLS10 => version,
        other => return Fit::None(Unfit::Version(other)),
    };
    if is_modern(hello, version) {
        return Fit::Modern;
    }
    if let Some(suited) = suited::suited(hello, &TLS12) {
        let named = suited.by_name.then(|| names(&suited.suites));
        let below_tls12 = match version {
            Version::TLS10 => Some("TLSv1"),
            Version::TLS11 => Some("TLSv1.1"),
            _ => None,
        };
        return Fit::Old(Old {
            version: below_tls12,
            // With the rest, so that one port serves the programs that have better too. In TLS 1.2 a list with
            // newer suites has no RC4.
            ciphers: named.map(|names| match (suited.weak, below_tls12) {
                (Some("RC4"), Some(_)) => format!("ALL:{names}"),
                _ => names,
            }),
            weak: suited.weak,
        });
    }
    let ecdsa = hello.suites.iter().any(|suite| {
        let name = suites::name(*suite);
        name.contains("-ECDSA-") && !name.contains("NULL")
    });
    Fit::None(match ecdsa {
        true => Unfit::Ecdsa,
        false => Unfit::Suites,
    })
}

/// Whether a service without options for old clients serves it, with an RSA certificate.
fn is_modern(hello: &Hello, version: Version) -> bool {
    let has = |known: &[u16]| hello.suites.iter().any(|suite| known.contains(suite));
    let groups = hello
        .groups
        .iter()
        .flatten()
        .any(|group| GROUPS.contains(group));
    let signs = hello.signature_schemes.is_some();
    groups
        && signs
        && (version >= Version::TLS13 && has(&TLS13) || version >= Version::TLS12 && has(&TLS12))
}

fn names(suites: &[u16]) -> String {
    let names: Vec<String> = suites.iter().map(|suite| suites::name(*suite)).collect();
    names.join(":")
}

/// Whether the client checks no signature with SHA-256, as far as it says.
pub(super) fn wants_sha1(hello: &Hello) -> bool {
    let schemes = hello.signature_schemes.as_ref();
    schemes.is_some_and(|schemes| !schemes.iter().any(|scheme| SHA256.contains(scheme)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tls::hello::{Form, Ticket};

    pub(in crate::cli::listen_in) fn hello(version: Version, suites: &[u16]) -> Hello {
        let modern = version >= Version::TLS12;
        Hello {
            form: Form::Records(Version::TLS10),
            legacy_version: version,
            supported_versions: None,
            suites: suites.to_vec(),
            fallback: false,
            secure_renegotiation: true,
            compression: vec![0],
            session_id: Vec::new(),
            extensions: Vec::new(),
            server_name: None,
            groups: Some(vec![29, 23]),
            signature_schemes: modern.then(|| vec![0x0401]),
            ticket: Ticket::Unknown,
            identities: Vec::new(),
            psk_with_exchange: false,
            protocols: Vec::new(),
        }
    }

    /// The options that suit it, and what is weak about it.
    fn options(hello: &Hello) -> String {
        match fit(hello) {
            Fit::Modern => "none".to_owned(),
            Fit::Old(old) => {
                let (version, ciphers) = (old.version, old.ciphers);
                let words = [
                    version.map(str::to_owned),
                    ciphers,
                    old.weak.map(str::to_owned),
                ];
                words.into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
            Fit::None(why) => format!("{why:?}"),
        }
    }

    #[test]
    fn the_options_are_no_more_than_a_client_asks_for() {
        use Version as V;
        for (version, suites, expected) in [
            (V::TLS12, &[0xc02f, 0x002f][..], "none"),
            (V::TLS12, &[0xcca8], "none"),
            (V::TLS12, &[0x009c], "AES128-GCM-SHA256"),
            (V::TLS12, &[0x000a], "DES-CBC3-SHA 3DES"),
            (V::TLS12, &[0x0005], "RC4-SHA RC4"),
            (V::TLS11, &[0x002f, 0x000a], "TLSv1.1"),
            // A service that does not speak TLS 1.0 has 3DES by name alone.
            (V::TLS11, &[0x000a], "TLSv1.1 DES-CBC3-SHA 3DES"),
            (V::TLS10, &[0x000a], "TLSv1 3DES"),
            (V::TLS10, &[0x0005, 0x000a, 0x002f], "TLSv1"),
            (V::TLS10, &[0x0004], "TLSv1 ALL:RC4-MD5 RC4"),
            (V::TLS10, &[0x0009, 0x0003], "Suites"),
            (V::TLS10, &[], "Suites"),
            (V::TLS12, &[0xc02b], "Ecdsa"),
            (V::SSL3, &[0x000a], "Version(Some(Version(768)))"),
        ] {
            let hello = hello(version, suites);
            assert_eq!(options(&hello), expected, "{version} {suites:04x?}");
        }
    }

    #[test]
    fn what_rustls_asks_for_besides_suites_counts() {
        let mut later = hello(Version::TLS12, &[0x1301]);
        assert_eq!(options(&later), "Suites");
        later.supported_versions = Some(vec![Version::TLS13]);
        assert_eq!(options(&later), "none");
        later.supported_versions = Some(Vec::new());
        assert_eq!(options(&later), "Version(None)");
        let mut without_groups = hello(Version::TLS12, &[0xc02f, 0x002f]);
        without_groups.groups = None;
        assert_eq!(options(&without_groups), "AES128-SHA");
    }

    #[test]
    fn a_client_without_sha256_is_told_by_what_it_says() {
        let mut hello = hello(Version::TLS12, &[0x002f]);
        assert!(!wants_sha1(&hello));
        hello.signature_schemes = Some(vec![0x0201]);
        assert!(wants_sha1(&hello));
        // TLS 1.1 does not say.
        hello.signature_schemes = None;
        assert!(!wants_sha1(&hello));
    }
}

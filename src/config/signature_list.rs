//! `config = SignatureAlgorithms:LIST` and `ClientSignatureAlgorithms:LIST`: OpenSSL's words for signatures of
//! handshakes, to their numbers in TLS.

use super::diagnostic::nearest;
use super::option::Fault;
use super::service::SecurityLevel;

/// The number of a signature scheme (RFC 8446, section 4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheme(pub(crate) u16);

/// The signatures that the two commands allow; an empty list is none given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SignatureLists {
    pub(crate) all: Vec<Scheme>,
    /// Those of clients, where they have a list of their own.
    pub(crate) clients: Vec<Scheme>,
}

impl SignatureLists {
    /// By what this end signs, as the client or as the server.
    pub(crate) fn made(&self, client: bool) -> &[Scheme] {
        match client && !self.clients.is_empty() {
            true => &self.clients,
            false => &self.all,
        }
    }

    /// By what the peer of this end may sign.
    pub(crate) fn taken(&self, client: bool) -> &[Scheme] {
        self.made(!client)
    }

    /// Takes away what is below the level, and allows the rest where nothing was said. `false`: nothing is left of a
    /// list.
    pub(super) fn keep_to(&mut self, level: SecurityLevel) -> bool {
        let strong = of_level(level);
        if strong.is_empty() {
            return true;
        }
        let keep = |list: &mut Vec<Scheme>| {
            list.retain(|scheme| strong.contains(scheme));
            !list.is_empty()
        };
        let clients = self.clients.is_empty() || keep(&mut self.clients);
        if self.all.is_empty() {
            self.all = strong.to_vec();
        }
        keep(&mut self.all) && clients
    }

    /// What a level allows, where nothing else is said.
    pub(crate) fn of_level(level: SecurityLevel) -> SignatureLists {
        SignatureLists {
            all: of_level(level).to_vec(),
            clients: Vec::new(),
        }
    }

    /// These, which a section gives, over what every section begins with.
    pub(super) fn over(self, general: SignatureLists) -> SignatureLists {
        let or = |own: Vec<Scheme>, other| if own.is_empty() { other } else { own };
        SignatureLists {
            all: or(self.all, general.all),
            clients: or(self.clients, general.clients),
        }
    }
}

/// What adit has: the name in TLS, OpenSSL's other ones, and the number.
#[rustfmt::skip]
const SERVED: [(&str, &[&str], u16); 10] = [
    ("ecdsa_secp256r1_sha256", &["ECDSA+SHA256"], 0x0403),
    ("ecdsa_secp384r1_sha384", &["ECDSA+SHA384"], 0x0503),
    ("ecdsa_secp521r1_sha512", &["ECDSA+SHA512"], 0x0603),
    ("ed25519", &[], 0x0807),
    ("rsa_pss_rsae_sha256", &["RSA-PSS+SHA256", "PSS+SHA256"], 0x0804),
    ("rsa_pss_rsae_sha384", &["RSA-PSS+SHA384", "PSS+SHA384"], 0x0805),
    ("rsa_pss_rsae_sha512", &["RSA-PSS+SHA512", "PSS+SHA512"], 0x0806),
    ("rsa_pkcs1_sha256", &["RSA+SHA256"], 0x0401),
    ("rsa_pkcs1_sha384", &["RSA+SHA384"], 0x0501),
    ("rsa_pkcs1_sha512", &["RSA+SHA512"], 0x0601),
];

/// What a level above 3 allows, by hashes of twice its bits; empty: all that is served.
fn of_level(level: SecurityLevel) -> &'static [Scheme] {
    match level {
        SecurityLevel::Five => &[Scheme(0x0603), Scheme(0x0806), Scheme(0x0601)],
        SecurityLevel::Four => &[
            Scheme(0x0503),
            Scheme(0x0603),
            Scheme(0x0805),
            Scheme(0x0806),
            Scheme(0x0501),
            Scheme(0x0601),
        ],
        _ => &[],
    }
}

/// What OpenSSL has besides.
#[rustfmt::skip]
const UNSERVED: &[&str] = &[
    "ed448", "rsa_pss_pss_sha256", "rsa_pss_pss_sha384", "rsa_pss_pss_sha512",
    "rsa_pkcs1_sha224", "RSA+SHA224", "rsa_pkcs1_sha1", "RSA+SHA1",
    "ecdsa_sha224", "ECDSA+SHA224", "ecdsa_sha1", "ECDSA+SHA1",
    "dsa_sha512", "DSA+SHA512", "dsa_sha384", "DSA+SHA384", "dsa_sha256", "DSA+SHA256",
    "dsa_sha224", "DSA+SHA224", "dsa_sha1", "DSA+SHA1",
    "ecdsa_brainpoolP256r1_sha256", "ecdsa_brainpoolP384r1_sha384", "ecdsa_brainpoolP512r1_sha512",
    "ecdsa_brainpoolP256r1tls13_sha256", "ecdsa_brainpoolP384r1tls13_sha384", "ecdsa_brainpoolP512r1tls13_sha512",
    "mldsa44", "mldsa65", "mldsa87",
];

/// The name in TLS of a scheme that is served.
pub(crate) fn name(scheme: Scheme) -> &'static str {
    let found = SERVED.iter().find(|(.., code)| *code == scheme.0);
    found.map_or("unknown", |(name, ..)| name)
}

/// The names of schemes, as a list has them.
pub(crate) fn names(schemes: impl IntoIterator<Item = Scheme>) -> String {
    let names: Vec<_> = schemes.into_iter().map(name).collect();
    names.join(":")
}

/// Every scheme that is served.
pub(crate) fn served() -> impl Iterator<Item = Scheme> {
    SERVED.iter().map(|(.., code)| Scheme(*code))
}

/// Reads the list of `command` to `place`. What is known and not served is left out, with a note; so is what is
/// unknown behind a `?`, OpenSSL 3.5's sign for that.
///
/// # Errors
/// A word is no signature, or nothing is left; or the note.
pub(super) fn set(place: &mut Vec<Scheme>, command: &str, list: &str) -> Result<(), Fault> {
    let (mut schemes, mut without) = (Vec::new(), Vec::new());
    for word in list.split(':').map(str::trim) {
        let (name, optional) = match word.strip_prefix('?') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        let served = |(one, others, _): &&(&str, &[&str], u16)| {
            same(one) || others.iter().any(|other| same(other))
        };
        match SERVED.iter().find(served) {
            Some((.., code)) if schemes.contains(&Scheme(*code)) => {}
            Some((.., code)) => schemes.push(Scheme(*code)),
            None if optional || UNSERVED.iter().any(|known| same(known)) => without.push(name),
            None => return Err(unknown(command, word, name)),
        }
    }
    if schemes.is_empty() {
        let text = format!("{command}: adit has no signature of {list:?}");
        return Err(Fault::new(text).help(format!("it has {}", names(served()))));
    }
    *place = schemes;
    match without.is_empty() {
        true => Ok(()),
        false => Err(Fault::note(format!(
            "adit has no {} of {command}",
            without.join(", ")
        ))),
    }
}

fn unknown(command: &str, word: &str, name: &str) -> Fault {
    let fault = Fault::new(format!("`{word}` of {command} is no signature"));
    let known = SERVED.iter().flat_map(|(one, others, _)| {
        let others = others.iter().copied();
        std::iter::once(*one).chain(others)
    });
    match nearest(name, known) {
        Some(meant) => fault.help(format!("did you mean `{meant}`?")),
        None => fault.help(format!("separate by colons; adit has {}", names(served()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    fn read(list: &str) -> (String, Option<Fault>) {
        let mut schemes = Vec::new();
        let fault = set(&mut schemes, "SignatureAlgorithms", list).err();
        (names(schemes), fault)
    }

    #[test]
    fn each_word_of_openssl_names_its_scheme() {
        for (list, expected) in [
            ("RSA+SHA256", "rsa_pkcs1_sha256"),
            (
                " rsa+sha512 : ECDSA+SHA384",
                "rsa_pkcs1_sha512:ecdsa_secp384r1_sha384",
            ),
            ("RSA-PSS+SHA256:PSS+SHA256", "rsa_pss_rsae_sha256"),
            (
                "ed25519:ecdsa_secp256r1_sha256",
                "ed25519:ecdsa_secp256r1_sha256",
            ),
        ] {
            let (found, fault) = read(list);
            assert_eq!(found, expected, "{list}");
            assert!(fault.is_none(), "{list}: {fault:?}");
        }
    }

    #[test]
    fn what_is_not_served_is_told() {
        for (list, severity, text, help, left) in [
            (
                "ed448:ed25519",
                Severity::Note,
                "adit has no ed448 of",
                "",
                "ed25519",
            ),
            (
                "?new+SHA3:ed25519:RSA+SHA1",
                Severity::Note,
                "no new+SHA3, RSA+SHA1",
                "",
                "ed25519",
            ),
            (
                "ed448",
                Severity::Error,
                "has no signature of \"ed448\"",
                "it has ecdsa_",
                "",
            ),
            (
                "?x",
                Severity::Error,
                "has no signature of",
                "it has ecdsa_",
                "",
            ),
            (
                "RSA+SHA265",
                Severity::Error,
                "`RSA+SHA265` of",
                "`RSA+SHA256`",
                "",
            ),
            (
                "RSA+SHA256,ed25519",
                Severity::Error,
                "is no signature",
                "",
                "",
            ),
            (
                "ed25519::ed25519",
                Severity::Error,
                "`` of",
                "by colons",
                "",
            ),
        ] {
            let (found, fault) = read(list);
            let fault = fault.expect("a fault");
            assert_eq!(found, left, "{list}");
            assert_eq!(fault.severity, severity, "{list}");
            assert!(fault.text.contains(text), "{list}: {}", fault.text);
            let said = fault.help.unwrap_or_default();
            assert!(said.contains(help), "{list}: {said}");
        }
    }

    /// A server's list holds for both; the clients' own for what clients sign, whichever end this is.
    #[test]
    fn lists_hold_for_the_end_that_signs() {
        let (one, two) = (Scheme(0x0403), Scheme(0x0804));
        let both = |clients: &[Scheme]| SignatureLists {
            all: vec![one],
            clients: clients.to_vec(),
        };
        for (lists, client, made, taken) in [
            (both(&[]), false, one, one),
            (both(&[]), true, one, one),
            (both(&[two]), false, one, two),
            (both(&[two]), true, two, one),
        ] {
            assert_eq!(lists.made(client), [made], "{lists:?} {client}");
            assert_eq!(lists.taken(client), [taken], "{lists:?} {client}");
        }
        let general = both(&[two]);
        let own = SignatureLists {
            all: vec![two],
            ..SignatureLists::default()
        };
        assert_eq!(own.over(general).made(true), [two]);
    }

    /// Compared with the library that stunnel uses.
    #[test]
    fn every_name_is_openssls() {
        let help = |name: &str| {
            let output = std::process::Command::new("openssl")
                .args(["s_client", "-sigalgs", name, "-connect", "127.0.0.1:0"])
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        for (name, others, _) in SERVED {
            for name in [name].iter().chain(others) {
                let said = help(name);
                assert!(!said.contains("SSL_CONF_cmd"), "{name}: {said}");
            }
        }
        assert!(help("RSA+SHA3").contains("SSL_CONF_cmd"));
    }
}

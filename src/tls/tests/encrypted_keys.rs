//! PKCS#12 and encrypted PEM, as OpenSSL writes them.

mod pbmac1;

use std::path::Path;

use x509_parser::asn1_rs::{Any, FromBer, Tag};

use super::*;
use crate::config::Severity;
use crate::tls::keys::{Identity, identity, locked_file};

/// A certificate, its authorities above it, and its key, in files.
struct Files {
    pki: Pki,
    leaf: Vec<u8>,
    middle: Vec<u8>,
    root: Vec<u8>,
}

impl Files {
    fn new() -> Files {
        Files::with_key(&[])
    }

    /// With a key by `openssl genpkey`; without arguments ECDSA on P-256.
    fn with_key(genpkey: &[&str]) -> Files {
        let pki = Pki::new();
        let root = authority("root");
        let middle = CertifiedIssuer::signed_by(
            authority_params("middle"),
            KeyPair::generate().unwrap(),
            &root,
        )
        .unwrap();
        let key = match genpkey {
            [] => KeyPair::generate().unwrap(),
            _ => {
                openssl(&pki, &[&["genpkey", "-out", "made"], genpkey].concat());
                KeyPair::from_pem(&std::fs::read_to_string(pki.path("made")).unwrap()).unwrap()
            }
        };
        let params = leaf(&["mail.example.com"], "server");
        let leaf = params.signed_by(&key, &middle).unwrap();
        pki.write("leaf.pem", &leaf.pem());
        // In the wrong order.
        pki.write("above.pem", &(root.pem() + &middle.pem()));
        if genpkey.is_empty() {
            pki.write("made", &key.serialize_pem());
        }
        Files {
            leaf: leaf.der().to_vec(),
            middle: middle.der().to_vec(),
            root: root.der().to_vec(),
            pki,
        }
    }

    /// `openssl pkcs12 -export` of all of it into `file`.
    fn export(&self, file: &str, phrase: &str, more: &[&str]) -> TlsOptions {
        let pass = format!("pass:{phrase}");
        let export = [
            "pkcs12",
            "-export",
            "-in",
            "leaf.pem",
            "-inkey",
            "made",
            "-certfile",
            "above.pem",
            "-out",
            file,
            "-passout",
            &pass,
        ];
        openssl(&self.pki, &[&export[..], more].concat());
        self.options(file)
    }

    fn options(&self, file: &str) -> TlsOptions {
        TlsOptions {
            cert: Some(self.pki.path(file)),
            ..TlsOptions::default()
        }
    }
}

fn openssl(pki: &Pki, arguments: &[&str]) {
    let output = std::process::Command::new("openssl")
        .args(arguments)
        .current_dir(pki.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

fn phrases(all: &[&str]) -> PassPhrases {
    let mut phrases = PassPhrases::none();
    for phrase in all {
        phrases.push(phrase.as_bytes());
    }
    phrases
}

fn loaded(options: &TlsOptions, known: &[&str]) -> Result<(Identity, Vec<Problem>), Vec<Problem>> {
    let mut warnings = Vec::new();
    let cert = options.cert.clone().unwrap();
    identity(options, &cert, &phrases(known), &mut warnings).map(|found| (found, warnings))
}

fn chain(options: &TlsOptions, known: &[&str]) -> Vec<Vec<u8>> {
    let (found, warnings) = loaded(options, known).unwrap_or_else(|e| panic!("{e:#?}"));
    let severe: Vec<_> = warnings
        .iter()
        .filter(|w| !w.text.contains("permissions"))
        .collect();
    assert!(severe.is_empty(), "{severe:#?}");
    found.key.cert.iter().map(|der| der.to_vec()).collect()
}

#[track_caller]
fn refused(options: &TlsOptions, known: &[&str], words: &[&str]) {
    let problems = loaded(options, known).err().expect("an error");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].severity, Severity::Error);
    for word in words {
        assert!(problems[0].text.contains(word), "{word} in {problems:#?}");
    }
}

fn is_locked(options: &TlsOptions, known: &[&str]) -> bool {
    locked_file(options, &phrases(known)).is_some()
}

#[test]
fn pkcs12_gives_key_and_chain_leaf_first_whatever_encrypts_it() {
    let files = Files::new();
    let whole = [&files.leaf, &files.middle, &files.root].map(Clone::clone);
    let ways: [&[&str]; 12] = [
        &[],
        &["-legacy"],
        &["-legacy", "-descert"],
        &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"],
        &[
            "-legacy",
            "-keypbe",
            "PBE-SHA1-2DES",
            "-certpbe",
            "PBE-SHA1-RC2-128",
        ],
        &["-keypbe", "aes-128-cbc", "-certpbe", "aes-192-cbc"],
        &["-keypbe", "des-ede3-cbc", "-certpbe", "NONE"],
        &["-keypbe", "NONE", "-certpbe", "NONE"],
        &["-macalg", "sha512"],
        &["-macalg", "sha384"],
        &["-nomac"],
        &["-iter", "50000"],
    ];
    for (number, way) in ways.into_iter().enumerate() {
        for phrase in ["s\u{e4}cret \u{1f511}", ""] {
            let options = files.export(&format!("{number}.p12"), phrase, way);
            assert_eq!(chain(&options, &[phrase]), whole, "{way:?} {phrase:?}");
            let open = phrase.is_empty() || way.contains(&"-nomac") && way.len() > 1;
            assert_eq!(is_locked(&options, &[]), !open, "{way:?} {phrase:?}");
            assert!(
                !is_locked(&options, &["other", phrase]),
                "{way:?} {phrase:?}"
            );
        }
    }
}

#[test]
fn pkcs12_may_have_any_kind_of_key() {
    for genpkey in [
        &["-algorithm", "RSA"][..],
        &["-algorithm", "ED25519"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ] {
        let files = Files::with_key(genpkey);
        let options = files.export("a.p12", "secret", &[]);
        assert_eq!(chain(&options, &["secret"])[0], files.leaf, "{genpkey:?}");
    }
}

#[test]
fn a_pass_phrase_that_is_wrong_or_missing_is_told_and_what_to_do() {
    let files = Files::new();
    for way in [&[][..], &["-legacy"], &["-nomac"]] {
        let options = files.export("a.p12", "secret", way);
        for known in [&[][..], &["wrong"], &["", "Secret", "secret "]] {
            refused(&options, known, &["a.p12", "encrypted", "keyPasswordFile"]);
            assert!(is_locked(&options, known));
        }
    }
}

#[test]
fn damaged_pkcs12_is_told_wherever_it_is_cut_or_changed() {
    let files = Files::new();
    files.export("whole.p12", "secret", &["-iter", "1"]);
    let whole = std::fs::read(files.pki.path("whole.p12")).unwrap();
    let options = files.options("damaged.p12");
    let tried = |bytes: &[u8]| {
        std::fs::write(files.pki.path("damaged.p12"), bytes).unwrap();
        loaded(&options, &["secret"])
    };
    assert!(tried(&whole).is_ok());
    for cut in (8..whole.len()).step_by(13) {
        let problems = tried(&whole[..cut]).err().expect("an error");
        assert!(problems[0].text.contains("damaged.p12"), "{problems:#?}");
    }
    // After the version everything is covered by the MAC, or is the MAC; a change elsewhere has no
    // effect.
    let mut accepted = 0;
    for at in (0..whole.len()).step_by(3) {
        for bit in [1, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            accepted += usize::from(tried(&changed).is_ok());
        }
    }
    assert!(accepted * 30 < whole.len(), "{accepted} of {}", whole.len());
}

/// The same, with every length unknown and every longer string in two pieces.
fn in_ber(der: &[u8]) -> Vec<u8> {
    let (mut rest, mut ber) = (der, Vec::new());
    while !rest.is_empty() {
        let (behind, any) = <Any<'_> as FromBer<'_>>::from_ber(rest).unwrap();
        let whole = &rest[..rest.len() - behind.len()];
        rest = behind;
        if any.header.is_constructed() {
            ber.extend([whole[0], 0x80]);
            ber.extend(in_ber(any.data));
            ber.extend([0, 0]);
        } else if any.tag() == Tag::OctetString && any.data.len() > 100 {
            let (one, two) = any.data.split_at(100);
            ber.extend([0x24, 0x80, 4, 100]);
            ber.extend(one);
            ber.extend([4, 0x82]);
            ber.extend((two.len() as u16).to_be_bytes());
            ber.extend(two);
            ber.extend([0, 0]);
        } else {
            ber.extend(whole);
        }
    }
    ber
}

#[test]
fn pkcs12_in_ber_is_read_as_well() {
    let files = Files::new();
    let options = files.export("a.p12", "secret", &[]);
    let whole = chain(&options, &["secret"]);
    let der = std::fs::read(files.pki.path("a.p12")).unwrap();
    let ber = in_ber(&der);
    assert_eq!(ber[1], 0x80);
    std::fs::write(files.pki.path("a.p12"), ber).unwrap();
    assert_eq!(chain(&options, &["secret"]), whole);
}

#[test]
fn pkcs12_without_a_key_or_a_certificate_says_so() {
    let files = Files::new();
    let export = ["pkcs12", "-export", "-out", "a.p12", "-passout", "pass:"];
    openssl(
        &files.pki,
        &[&export[..], &["-nokeys", "-in", "leaf.pem"]].concat(),
    );
    let options = files.options("a.p12");
    refused(&options, &[], &["a.p12", "without a private key", "key"]);
    // The key may be elsewhere.
    let made = Some(files.pki.path("made"));
    let elsewhere = TlsOptions {
        key: made,
        ..options
    };
    assert_eq!(chain(&elsewhere, &[]), std::slice::from_ref(&files.leaf));
    openssl(
        &files.pki,
        &[&export[..], &["-nocerts", "-inkey", "made", "-in", "made"]].concat(),
    );
    refused(
        &files.options("a.p12"),
        &[],
        &["a.p12", "without a certificate"],
    );
    // A key alone, for a certificate in PEM.
    let options = TlsOptions {
        key: Some(files.pki.path("a.p12")),
        ..files.options("leaf.pem")
    };
    assert_eq!(chain(&options, &[]), std::slice::from_ref(&files.leaf));
}

#[test]
fn a_key_named_beside_pkcs12_is_said_to_have_no_effect() {
    let files = Files::new();
    let options = TlsOptions {
        key: Some("/nowhere.key".into()),
        ..files.export("a.p12", "", &[])
    };
    let (_, warnings) = loaded(&options, &[]).unwrap_or_else(|e| panic!("{e:#?}"));
    let about_key = |w: &Problem| w.option == "key" && w.text.contains("no effect");
    assert!(warnings.iter().any(about_key), "{warnings:#?}");
}

#[test]
fn encrypted_pem_is_opened_whatever_encrypts_it() {
    let files = Files::new();
    let write = |arguments: &[&str]| {
        let rest = [
            "-in",
            "made",
            "-out",
            "locked.key",
            "-passout",
            "pass:s\u{e4}cret",
        ];
        openssl(&files.pki, &[arguments, &rest].concat());
    };
    let options = TlsOptions {
        key: Some(files.pki.path("locked.key")),
        ..files.options("leaf.pem")
    };
    for way in [
        &["pkcs8", "-topk8"][..],
        &[
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-128-cbc",
            "-v2prf",
            "hmacWithSHA1",
        ],
        &["pkcs8", "-topk8", "-v2", "des3", "-v2prf", "hmacWithSHA512"],
        &["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"],
        &["ec", "-aes128"],
        &["ec", "-aes256"],
        &["ec", "-des3"],
    ] {
        write(way);
        assert_eq!(
            chain(&options, &["s\u{e4}cret"]),
            std::slice::from_ref(&files.leaf),
            "{way:?}"
        );
        refused(
            &options,
            &["wrong"],
            &["locked.key", "encrypted", "keyPasswordFile"],
        );
        assert!(is_locked(&options, &["wrong"]) && !is_locked(&options, &["s\u{e4}cret"]));
    }
    for way in [
        &["pkcs8", "-topk8", "-scrypt"][..],
        &["pkcs8", "-topk8", "-v2", "camellia-256-cbc"],
        &["ec", "-camellia128"],
    ] {
        write(way);
        refused(
            &options,
            &["s\u{e4}cret"],
            &["locked.key", "does not support", "openssl pkey"],
        );
        // Asking would not help.
        assert!(!is_locked(&options, &[]));
    }
}

#[test]
fn old_rsa_keys_in_pem_are_opened() {
    let files = Files::with_key(&["-algorithm", "RSA"]);
    let pass = ["-aes256", "-passout", "pass:secret", "-out", "locked.key"];
    openssl(
        &files.pki,
        &[&["rsa", "-traditional", "-in", "made"][..], &pass].concat(),
    );
    let text = std::fs::read_to_string(files.pki.path("locked.key")).unwrap();
    assert!(text.contains("Proc-Type: 4,ENCRYPTED"), "{text}");
    // One file with both.
    let both = text + &std::fs::read_to_string(files.pki.path("leaf.pem")).unwrap();
    files.pki.write("both.pem", &both);
    let options = files.options("both.pem");
    assert_eq!(
        chain(&options, &["secret"]),
        std::slice::from_ref(&files.leaf)
    );
    let locked = locked_file(&options, &PassPhrases::none());
    assert_eq!(locked.map(Path::to_owned), options.cert);
}

#[test]
fn a_file_may_have_the_pass_phrases() {
    let files = Files::new();
    let with = |text: &str| TlsOptions {
        key_password_file: Some(files.pki.write("pass", text)),
        ..files.export("a.p12", "secret", &[])
    };
    for text in ["secret", "secret\n", "other\r\nsecret\r\nmore\n"] {
        assert_eq!(chain(&with(text), &[])[0], files.leaf, "{text:?}");
    }
    refused(&with("secret \n"), &[], &["a.p12"]);
    let missing = TlsOptions {
        key_password_file: Some(files.pki.path("missing")),
        ..files.options("a.p12")
    };
    refused(&missing, &[], &["missing", "pass phrase file"]);
    let (_, warnings) = loaded(&with("secret"), &[]).unwrap_or_else(|e| panic!("{e:#?}"));
    let readable = |w: &Problem| w.option == "keyPasswordFile" && w.text.contains("permissions");
    assert!(warnings.iter().any(readable), "{warnings:#?}");
}

#[test]
fn nobody_asked_a_locked_key_is_a_warning() {
    let files = Files::new();
    let options = files.export("a.p12", "secret", &[]);
    let loaded = Context::load(
        wanted(&service(false, options)),
        None,
        &PassPhrases::unasked("nobody is there"),
        &Resumption::new().unwrap(),
        &mut SharedLists::default(),
        &LOG,
    );
    let problems = loaded.unwrap_err();
    let locked = |p: &&Problem| p.text.contains("not checked");
    assert_eq!(problems.iter().filter(locked).count(), 1, "{problems:#?}");
    let errors = problems.iter().any(|p| p.severity == Severity::Error);
    assert!(!errors, "{problems:#?}");
}

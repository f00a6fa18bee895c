//! Files that are missing, faulty, or do not match, explained to the administrator.

mod trust;

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::Severity;

fn with_cert(cert: PathBuf) -> TlsOptions {
    TlsOptions {
        cert: Some(cert),
        ..TlsOptions::default()
    }
}

/// Exactly one error, about `option`, with these words.
#[track_caller]
fn error(options: TlsOptions, option: &str, words: &[&str]) {
    let client = options.cert.is_none();
    let problems = problems(client, options);
    let errors: Vec<_> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect();
    assert_eq!(errors.len(), 1, "{problems:#?}");
    assert_eq!(errors[0].option, option, "{problems:#?}");
    for word in words {
        assert!(errors[0].text.contains(word), "{word} in {problems:#?}");
    }
}

fn openssl(arguments: &[&str]) {
    let output = std::process::Command::new("openssl")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_is_not_there_or_not_readable_is_named() {
    let pki = Pki::new();
    error(
        with_cert(pki.path("missing.pem")),
        "cert",
        &["missing.pem", "No such file"],
    );
    error(
        TlsOptions {
            key: Some(pki.path("missing.key")),
            ..server_options(&pki)
        },
        "key",
        &["missing.key", "private key file"],
    );
    std::fs::create_dir(pki.path("folder")).unwrap();
    error(with_cert(pki.path("folder")), "cert", &["Is a directory"]);
    error(with_cert(PathBuf::from("/dev/zero")), "cert", &["too long"]);
}

#[test]
fn files_that_hold_something_else_are_explained() {
    let pki = Pki::new();
    error(
        with_cert(pki.write("text", "hello")),
        "cert",
        &["no PEM certificate"],
    );
    let key = KeyPair::generate().unwrap();
    let certificate = leaf(&["a"], "a").self_signed(&key).unwrap();
    error(
        with_cert(pki.write("alone.pem", &certificate.pem())),
        "cert",
        &["no PEM private key"],
    );
    error(
        with_cert(pki.write("key.pem", &key.serialize_pem())),
        "cert",
        &["no PEM certificate"],
    );
    let file = pki.write("both.pem", &(key.serialize_pem() + &certificate.pem()));
    let file = file.to_str().unwrap();
    let made = |name: &str| pki.path(name).to_str().unwrap().to_owned();
    let (der, pfx, locked, locked_old) = (
        made("a.der"),
        made("a.p12"),
        made("locked.key"),
        made("old.key"),
    );
    openssl(&["x509", "-in", file, "-outform", "der", "-out", &der]);
    openssl(&[
        "pkcs12", "-export", "-in", file, "-out", &pfx, "-passout", "pass:",
    ]);
    openssl(&[
        "pkey", "-in", file, "-aes256", "-passout", "pass:x", "-out", &locked,
    ]);
    openssl(&[
        "ec",
        "-in",
        file,
        "-aes256",
        "-passout",
        "pass:x",
        "-out",
        &locked_old,
    ]);
    let with_key = |key: &str| TlsOptions {
        key: Some(key.into()),
        ..with_cert(file.into())
    };
    error(with_key(&locked), "key", &["encrypted", "keyPasswordFile"]);
    error(
        with_key(&locked_old),
        "key",
        &["encrypted", "keyPasswordFile"],
    );
    let problems = problems(false, with_cert(der.into()));
    assert!(problems[0].text.contains("DER"), "{problems:#?}");
    let trust = TlsOptions {
        ca_file: Some(pfx.into()),
        verification: verify_chain(),
        ..with_cert(file.into())
    };
    error(trust, "CAfile", &["PKCS#12", "openssl pkcs12"]);
}

#[test]
fn a_key_of_another_certificate_is_found() {
    let pki = Pki::new();
    let other = KeyPair::generate().unwrap();
    error(
        TlsOptions {
            key: Some(pki.write("other.key", &other.serialize_pem())),
            ..server_options(&pki)
        },
        "key",
        &["key values mismatch", "other.key", "server.pem"],
    );
}

#[test]
fn keys_of_every_kind_and_coding_serve() {
    let pki = Pki::new();
    for (name, arguments, recode) in [
        ("rsa", &["rsa:2048"][..], Some("rsa")),
        (
            "p256",
            &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Some("ec"),
        ),
        ("p384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], None),
        ("ed25519", &["ed25519"], None),
    ] {
        let (cert, key) = (
            pki.path(&format!("{name}.pem")),
            pki.path(&format!("{name}.key")),
        );
        let (cert_text, key_text) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let mut all = vec![
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/CN=mail.example.com",
            "-days",
            "99",
        ];
        all.extend(["-out", cert_text, "-keyout", key_text, "-newkey"]);
        all.extend(arguments);
        openssl(&all);
        let mut keys = vec![key.clone()];
        if let Some(tool) = recode {
            // PKCS#1 and SEC1, the old encodings.
            let old = pki.path(&format!("{name}.old.key"));
            let mut recode = vec![tool, "-in", key_text, "-out", old.to_str().unwrap()];
            if tool == "rsa" {
                recode.push("-traditional");
            }
            openssl(&recode);
            keys.push(old);
        }
        for key in keys {
            let options = TlsOptions {
                key: Some(key),
                ..with_cert(cert.clone())
            };
            let (mut client, _) = connect(&TlsOptions::default(), &options);
            assert_eq!(client.negotiated().version, "TLSv1.3", "{name}");
        }
    }
}

#[test]
fn a_key_that_others_can_read_and_a_certificate_that_ends_are_warned_about() {
    let pki = Pki::new();
    let warnings = |cert: PathBuf, mode| {
        std::fs::set_permissions(&cert, std::fs::Permissions::from_mode(mode)).unwrap();
        let problems = problems(false, with_cert(cert));
        assert!(
            problems
                .iter()
                .all(|problem| problem.severity == Severity::Warning)
        );
        problems
    };
    let fresh = pki.self_signed("fresh.pem", &leaf(&["a"], "fresh"));
    assert_eq!(warnings(fresh.clone(), 0o600), []);
    let found = warnings(fresh, 0o644);
    assert!(
        found[0].text.contains("insecure file permissions"),
        "{found:#?}"
    );
    // An authority's certificate is there for others.
    let alone = pki.authority("ca.pem", &authority("ca"));
    std::fs::set_permissions(&alone, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = problems(false, with_cert(alone));
    assert!(found[0].text.contains("no PEM private key"), "{found:#?}");
    assert_eq!(found.len(), 1, "{found:#?}");

    let mut params = leaf(&["a"], "old");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let found = warnings(pki.self_signed("old.pem", &params), 0o600);
    assert!(found[0].text.contains("of CN=old in"), "{found:#?}");
    assert!(found[0].text.contains("expired"), "{found:#?}");

    let cert = pki.path("soon.pem");
    let key = pki.path("soon.key");
    openssl(&[
        "req",
        "-x509",
        "-nodes",
        "-subj",
        "/CN=soon",
        "-days",
        "7",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        cert.to_str().unwrap(),
        "-keyout",
        key.to_str().unwrap(),
    ]);
    let options = TlsOptions {
        key: Some(key),
        ..with_cert(cert)
    };
    let found = problems(false, options);
    assert!(
        found[0].text.contains("expires in 6 day(s)")
            || found[0].text.contains("expires in 7 day(s)"),
        "{found:#?}"
    );
}

#[test]
fn without_a_suite_of_tls_1_2_only_tls_1_3_is_spoken_if_it_may_be() {
    let with = |version_max| TlsOptions {
        ciphers: Some("AES128-CCM:!DH".into()),
        version_max,
        ..TlsOptions::default()
    };
    let warned = problems(true, with(None));
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].severity, Severity::Warning);
    error(
        with(Some(TlsVersion::V1_2)),
        "ciphers",
        &["no cipher match", "TLS 1.3 is not asked for; it has ECDHE-"],
    );
    assert_eq!(problems(true, with(Some(TlsVersion::V1_2))).len(), 1);
}

#[test]
fn every_problem_is_found_in_one_run() {
    let pki = Pki::new();
    let problems = problems(
        false,
        TlsOptions {
            cert: Some(pki.path("missing.pem")),
            key: Some(pki.path("missing.key")),
            ca_file: Some(pki.path("missing.ca")),
            ciphers: Some("NONSENSE".into()),
            ciphersuites: Some("NONSENSE".into()),
            curves: Some("NONSENSE".into()),
            ..TlsOptions::default()
        },
    );
    let mut options: Vec<_> = problems.iter().map(|problem| problem.option).collect();
    options.sort_unstable();
    assert_eq!(
        options,
        ["CAfile", "cert", "ciphers", "ciphersuites", "curves", "key"]
    );
    assert!(
        super::problems(false, TlsOptions::default())[0]
            .text
            .contains("needs a certificate")
    );
}

/// As OpenSSL reads PEM: a byte-order mark, and each label that a certificate may have.
#[test]
fn certificates_and_keys_are_read_under_every_label_and_behind_a_mark() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let params = leaf(&["mail.example.com"], "server");
    let certificate = params.self_signed(&key).unwrap().pem();
    let labelled = |label: &str| certificate.replace("CERTIFICATE", label);
    pki.write("plain.pem", &certificate);
    let trusted = pki.path("trusted.pem");
    openssl(&[
        "x509",
        "-trustout",
        "-addtrust",
        "serverAuth",
        "-in",
        pki.path("plain.pem").to_str().unwrap(),
        "-out",
        trusted.to_str().unwrap(),
    ]);
    let trusted = std::fs::read_to_string(trusted).unwrap();
    assert!(trusted.contains("TRUSTED CERTIFICATE"));
    let key = key.serialize_pem();
    for text in [
        labelled("X509 CERTIFICATE"),
        labelled("TRUSTED CERTIFICATE"),
        trusted.clone(),
        format!("\u{feff}{certificate}"),
        format!("\u{feff}# a comment\n{certificate}"),
    ] {
        let options = TlsOptions {
            cert: Some(pki.write("cert.pem", &text)),
            key: Some(pki.write("key.pem", &format!("\u{feff}{key}"))),
            ..TlsOptions::default()
        };
        let context = load(false, &options, &Resumption::new().unwrap());
        assert!(context.certificate_ends().is_some(), "{text}");
        let (mut client, _) = connect(&TlsOptions::default(), &options);
        client.stream();
        // Each works in CAfile; only the last one alone does not, as in stunnel.
        let options = TlsOptions {
            ca_file: Some(pki.write("ca.pem", &text)),
            verification: verify_chain(),
            ..TlsOptions::default()
        };
        match text.contains("TRUSTED") {
            false => drop(load(true, &options, &Resumption::new().unwrap())),
            true => error(options, "CAfile", &["TRUSTED CERTIFICATE", "openssl x509"]),
        }
    }
}

/// An unusable key is described.
#[test]
fn a_key_that_cannot_be_used_is_named() {
    let pki = Pki::new();
    let path = |name: &str| pki.path(name).to_str().unwrap().to_owned();
    openssl(&["genrsa", "-traditional", "-out", &path("small"), "1024"]);
    openssl(&["pkey", "-in", &path("small"), "-out", &path("small8")]);
    openssl(&[
        "ecparam",
        "-name",
        "secp256k1",
        "-genkey",
        "-noout",
        "-out",
        &path("odd"),
    ]);
    openssl(&["pkey", "-in", &path("odd"), "-out", &path("odd8")]);
    let explicit = ["-genkey", "-noout", "-param_enc", "explicit", "-name"];
    let spelt = |curve: &str, out: &str| {
        let out = path(out);
        let arguments = [&["ecparam"][..], &explicit, &[curve, "-out", &out]].concat();
        openssl(&arguments);
    };
    spelt("secp256k1", "spelt");
    openssl(&["pkey", "-in", &path("spelt"), "-out", &path("spelt8")]);
    for (key, words) in [
        ("small", "RSA of 1024 bits"),
        ("small8", "RSA of 1024 bits"),
        ("odd", "an EC key on the curve 1.3.132.0.10"),
        ("odd8", "an EC key on the curve 1.3.132.0.10"),
        ("spelt", "an EC key with explicit parameters"),
        ("spelt8", "an EC key with explicit parameters"),
    ] {
        let options = TlsOptions {
            key: Some(pki.path(key)),
            ..server_options(&pki)
        };
        error(options, "key", &[key, words, "P-256"]);
    }
    // A known curve spelt out: adit serves it, as stunnel does, with a warning.
    spelt("prime256v1", "known");
    // Of the 30 days that it has by default, a second later there are 29, of which a warning tells.
    let request = [
        "req",
        "-x509",
        "-new",
        "-days",
        "90",
        "-subj",
        "/CN=server",
        "-key",
    ];
    openssl(&[&request[..], &[&path("known"), "-out", &path("known.pem")]].concat());
    let options = TlsOptions {
        key: Some(pki.path("known")),
        ..with_cert(pki.path("known.pem"))
    };
    let found = problems(false, options.clone());
    let [warning] = &found[..] else {
        panic!("{found:#?}");
    };
    assert_eq!(warning.severity, Severity::Warning);
    assert!(warning.text.contains("explicit parameters"), "{warning:?}");
    // adit itself is one of the peers that cannot use it, and says why.
    let (client, _) = connect(&TlsOptions::default(), &options);
    let text = client.failure().to_string();
    assert!(
        text.starts_with("SSL_connect: wrong signature type (an EC key with explicit parameters"),
        "{text}"
    );
}

#[test]
fn two_services_with_one_key_are_known_by_it() {
    let pki = Pki::new();
    let options = server_options(&pki);
    let resumption = Resumption::new().unwrap();
    let key = |options: &TlsOptions| load(false, options, &resumption).public_key();
    let again = TlsOptions {
        version_min: Some(TlsVersion::V1_0),
        ..options.clone()
    };
    assert!(key(&options).is_some());
    assert_eq!(key(&options), key(&again), "whichever library");
    assert_ne!(key(&options), key(&server_options(&pki)), "another key");
    assert_eq!(
        load(true, &TlsOptions::default(), &resumption).public_key(),
        None
    );
}

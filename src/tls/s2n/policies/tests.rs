//! The table is what s2n-tls has, which is asked suite by suite.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::tls::hello::Reading;
use crate::tls::s2n::bindings::{Config, Connection, Identity};

fn config(key: &KeyPair, allowed: &Allowed) -> Arc<Config> {
    crate::tls::s2n::start().unwrap();
    let params = CertificateParams::new(vec!["mail.example.com".into()]).unwrap();
    let chain = params.self_signed(key).unwrap().pem();
    let key = key.serialize_pem();
    let identity = Identity::new(&mut chain.into_bytes(), &mut key.into_bytes()).unwrap();
    let mut config = Config::new().unwrap();
    let policy = allowed.policy(true).unwrap();
    config.set_policy(Arc::new(policy)).unwrap();
    config.set_identity(Arc::new(identity)).unwrap();
    config
        .set_dh_parameters(crate::tls::s2n::load::FFDHE2048)
        .unwrap();
    Arc::new(config)
}

/// A ClientHello of this version with these suites and no extension.
fn hello(version: Version, suites: &[u16]) -> Vec<u8> {
    let mut body = version.wire().0.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    record
}

/// What s2n chooses.
fn chosen(config: &Arc<Config>, version: Version, suites: &[u16]) -> Option<u16> {
    let mut connection = Connection::new(config, false, TLS13).unwrap();
    let mut output = Vec::new();
    let _ = connection.negotiate(&hello(version, suites), &mut output);
    // A ServerHello, and not an error that came after the choice.
    (output.get(5) == Some(&2))
        .then(|| connection.suite())
        .flatten()
}

/// Each kind of key.
fn keys() -> [(Authentication, KeyPair); 2] {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    [
        (Authentication::Ecdsa, KeyPair::generate().unwrap()),
        (Authentication::Rsa, rsa.unwrap()),
    ]
}

/// Every suite, from TLS 1.0 on.
fn everything() -> Allowed {
    let suites = SUITES.iter().map(|suite| suite.code).collect();
    let (low, high) = (TLS10, TLS13);
    Allowed {
        low,
        high,
        suites,
        level: SecurityLevel::default(),
    }
}

#[test]
fn s2n_has_every_suite_of_the_table_and_chooses_by_its_order() {
    for (kind, key) in keys() {
        let config = config(&key, &everything());
        for version in [TLS10, TLS12] {
            let expected = SUITES.iter().filter(|suite| {
                suite.is_old() && suite.since <= version && suite.authentication == kind
            });
            let expected: Vec<u16> = expected.map(|suite| suite.code).collect();
            let mut offered: Vec<u16> = SUITES.iter().map(|suite| suite.code).collect();
            // With nothing else s2n would settle for a suite for a later version, and fail.
            offered.retain(|code| find(*code).is_some_and(|suite| suite.since <= version));
            let mut found = Vec::new();
            while let Some(suite) = chosen(&config, version, &offered) {
                found.push(suite);
                offered.retain(|code| *code != suite);
            }
            assert_eq!(found, expected, "{version:?} {kind:?}");
        }
    }
}

#[test]
fn s2n_keeps_to_any_list_whatever_key_exchanges_it_mixes() {
    let [_, (kind, rsa)] = keys();
    let all: Vec<u16> = SUITES.iter().map(|suite| suite.code).collect();
    for list in [
        &[0x0005][..],
        &[0x0005, 0x0039],
        &[0x0004, 0xc013, 0x0033],
        &[0xc012, 0x0016],
        &[0x0035, 0x0016],
        &[0xc014],
    ] {
        let allowed = Allowed {
            suites: list.iter().copied().collect(),
            ..everything()
        };
        let config = config(&rsa, &allowed);
        let offered = all
            .iter()
            .filter(|code| find(**code).unwrap().since <= TLS10);
        let offered: Vec<u16> = offered.copied().collect();
        let expected = SUITES.iter().find(|suite| list.contains(&suite.code));
        let expected = expected.map(|suite| suite.code);
        assert_eq!(chosen(&config, TLS10, &offered), expected, "{list:x?}");
        let others: Vec<u16> = offered
            .into_iter()
            .filter(|code| !list.contains(code))
            .collect();
        assert_eq!(chosen(&config, TLS10, &others), None, "{list:x?}");
        // What is foretold is what happens.
        for offered in [&all, &others] {
            let record = hello(TLS10, offered);
            let Reading::Hello(read) = hello::read(&record) else {
                panic!("a hello");
            };
            let foretold = allowed.choice(&read, kind).map(|(_, suite)| suite);
            assert_eq!(chosen(&config, TLS10, offered), foretold, "{list:x?}");
            assert_eq!(allowed.serve(&read, kind).is_ok(), foretold.is_some());
        }
    }
}

#[test]
fn sslv3_is_never_spoken() {
    let [_, (_, rsa)] = keys();
    let config = config(&rsa, &everything());
    let all: Vec<u16> = SUITES.iter().map(|suite| suite.code).collect();
    assert_eq!(chosen(&config, Version(30), &all), None);
    assert!(chosen(&config, TLS10, &all).is_some());
}

#[test]
fn a_list_selects_what_s2n_has_of_it_and_rc4_by_its_own_names_alone() {
    let names_of = |list| selected(list).map(|selected| names(&selected.codes));
    for (list, expected) in [
        (
            "3DES",
            vec![
                "ECDHE-RSA-DES-CBC3-SHA",
                "DES-CBC3-SHA",
                "DHE-RSA-DES-CBC3-SHA",
            ],
        ),
        ("3DES+kRSA", vec!["DES-CBC3-SHA"]),
        ("RC4-MD5:RC4-SHA", vec!["RC4-SHA", "RC4-MD5"]),
        ("RC4:DES-CBC3-SHA", vec!["DES-CBC3-SHA"]),
        ("MEDIUM:!ECDH:!DH", vec!["DES-CBC3-SHA"]),
        ("RC4-SHA:AES128-SHA:!RC4", vec!["AES128-SHA"]),
        ("SHA1+kRSA+HIGH", vec!["AES128-SHA", "AES256-SHA"]),
        (
            "kRSA+AESGCM",
            vec!["AES128-GCM-SHA256", "AES256-GCM-SHA384"],
        ),
    ] {
        assert_eq!(names_of(list), Ok(expected), "{list}");
    }
    for word in [
        "ALL",
        "DEFAULT",
        "HIGH",
        "RSA",
        "MEDIUM",
        "COMPLEMENTOFDEFAULT:AES128-SHA",
    ] {
        let codes = selected(word).unwrap().codes;
        assert!(!RC4.iter().any(|code| codes.contains(code)), "{word}");
    }
    for word in ["DEFAULT", "HIGH"] {
        let codes = selected(word).unwrap().codes;
        assert!(
            !TRIPLE_DES.iter().any(|code| codes.contains(code)),
            "{word}"
        );
    }
    assert_eq!(selected("NULL"), Err(BadList::Nothing));
    assert_eq!(selected("RC4"), Err(BadList::Nothing));
    assert_eq!(selected("ALL:@SECLEVEL=3"), Err(BadList::Level(3)));
    assert_eq!(selected("ALL:@X"), Err(BadList::Command("@X".into())));
}

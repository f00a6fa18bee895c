//! Lists as they are written, whole and damaged, and what a certificate's distribution points say about them.

use rcgen::{CertificateParams, DnType, IsCa, KeyPair};
use x509_parser::prelude::FromDer;

use super::points::Scope;
use super::*;
use crate::tls::der::{self, element};

const SEQUENCE: u8 = der::SEQUENCE;

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

fn time(text: &str) -> Vec<u8> {
    element(0x17, text.as_bytes())
}

/// sha256WithRSAEncryption
fn algorithm() -> Vec<u8> {
    let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    sequence(&[&element(6, &oid), &element(5, &[])])
}

fn name(tag: u8, text: &str) -> Vec<u8> {
    let attribute = sequence(&[&element(6, &[0x55, 4, 3]), &element(tag, text.as_bytes())]);
    sequence(&[&element(0x31, &attribute)])
}

fn extension(which: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = match critical {
        true => element(1, &[0xff]),
        false => Vec::new(),
    };
    sequence(&[
        &element(6, &[0x55, 0x1d, which]),
        &critical,
        &element(4, value),
    ])
}

fn entry(serial: &[u8], extensions: &[u8]) -> Vec<u8> {
    let extensions = match extensions {
        [] => Vec::new(),
        some => sequence(&[some]),
    };
    sequence(&[&element(2, serial), &time("260101000000Z"), &extensions])
}

/// A list of these fields behind its algorithm, not signed.
fn list_of(fields: &[&[u8]]) -> Vec<u8> {
    let body = [&algorithm()[..], &fields.concat()].concat();
    let signature = element(3, &[0, 1, 2, 3]);
    sequence(&[&element(SEQUENCE, &body), &algorithm(), &signature])
}

fn usual(entries: &[u8], extensions: &[u8]) -> Vec<u8> {
    let entries = sequence(&[entries]);
    let extensions = match extensions {
        [] => Vec::new(),
        some => element(0xa0, &sequence(&[some])),
    };
    let (this, next) = (time("260101000000Z"), time("270101000000Z"));
    list_of(&[&name(0x0c, "root"), &this, &next, &entries, &extensions])
}

/// 2026-01-01
const THIS: i64 = 1_767_225_600;
/// 2027-01-01
const NEXT: i64 = 1_798_761_600;

#[test]
fn a_list_is_in_force_from_its_time_on_and_before_the_next() {
    let list = List::read(&usual(&entry(&[7], &[]), &[])).unwrap();
    for (now, age) in [
        (THIS - 1, Age::NotYet),
        (THIS, Age::InForce),
        (NEXT - 1, Age::InForce),
        (NEXT, Age::Over),
    ] {
        assert_eq!(list.age(now), age, "{now}");
    }
    let forever = list_of(&[&name(0x0c, "root"), &time("260101000000Z")]);
    let forever = List::read(&forever).unwrap();
    assert_eq!(forever.age(NEXT * 2), Age::InForce);
}

#[test]
fn serial_numbers_are_found_however_they_are_written() {
    let entries = [
        entry(&[7], &[]),
        entry(&[0, 0x80], &[]),
        entry(&[0xff], &[]),
        entry(&[0, 0, 9], &[]),
    ];
    let list = List::read(&usual(&entries.concat(), &[])).unwrap();
    for (serial, revoked) in [
        (&[7][..], true),
        (&[0, 7], true),
        (&[0, 0x80], true),
        (&[0x80], false),
        (&[0xff, 0xff], true),
        (&[0, 0xff], false),
        (&[9], true),
        (&[8], false),
        (&[], false),
        (&[0], false),
    ] {
        assert_eq!(list.revokes(serial), revoked, "{serial:?}");
    }
    let many: Vec<u8> = (1..=10_000_u32)
        .flat_map(|nth| entry(&[&[1][..], &nth.to_be_bytes()].concat(), &[]))
        .collect();
    let list = List::read(&usual(&many, &[])).unwrap();
    for nth in [0_u32, 1, 5000, 10_000, 10_001] {
        let serial = [&[1][..], &nth.to_be_bytes()].concat();
        assert_eq!(list.revokes(&serial), (1..=10_000).contains(&nth), "{nth}");
    }
}

/// As long as one entry revokes it, it is revoked.
#[test]
fn a_serial_number_that_is_listed_twice_is_good_only_by_both() {
    let removed = extension(21, false, &element(10, &[8]));
    for (first, second, revoked) in [
        (&removed[..], &[][..], true),
        (&[], &removed, true),
        (&removed, &removed, false),
    ] {
        let entries = [entry(&[7], first), entry(&[7], second)].concat();
        let list = List::read(&usual(&entries, &[])).unwrap();
        assert_eq!(list.revokes(&[7]), revoked);
    }
}

/// A list that is half understood would let through what it revokes.
#[test]
fn what_is_damaged_is_no_list() {
    let good = entry(&[7], &[]);
    assert!(List::read(&usual(&good, &[])).is_some());
    let this = time("260101000000Z");
    let root = name(0x0c, "root");
    let delta = extension(27, true, &element(2, &[1]));
    let number = extension(20, false, &element(2, &[1]));
    assert!(List::read(&usual(&good, &[&delta[..], &number].concat())).is_some());
    for damaged in [
        Vec::new(),
        sequence(&[]),
        // Entries: a number that is none, no time, something behind, a reason that is none.
        usual(&sequence(&[&element(4, &[7]), &this]), &[]),
        usual(&sequence(&[&element(2, &[7])]), &[]),
        usual(&sequence(&[&element(2, &[7]), &this, &this]), &[]),
        usual(&[&good[..], &[1]].concat(), &[]),
        usual(&entry(&[7], &extension(21, false, &[9])), &[]),
        usual(&entry(&[7], &element(SEQUENCE, &[])), &[]),
        // Extensions: a scope that is none, one about two kinds, a key that is none, a delta to nothing.
        usual(&good, &extension(28, true, &[5, 0])),
        usual(
            &good,
            &extension(28, true, &sequence(&[&element(0x86, &[1])])),
        ),
        usual(
            &good,
            &extension(
                28,
                true,
                &sequence(&[&element(0x81, &[1]), &element(0x82, &[1])]),
            ),
        ),
        usual(&good, &extension(35, false, &[5, 0])),
        usual(&good, &delta),
        // Fields: none of them, no time, a time that is none, too many.
        list_of(&[]),
        list_of(&[&root]),
        list_of(&[&root, &time("269901000000Z")]),
        list_of(&[&root, &this, &time("2")]),
        list_of(&[&root, &this, &sequence(&[]), &sequence(&[])]),
        list_of(&[&name(0x0c, "\u{fffd}")[..3], &this]),
    ] {
        assert!(List::read(&damaged).is_none(), "{damaged:?}");
    }
    // Another algorithm within than without.
    let other = usual(&good, &[]);
    let mut other = other.clone();
    let at = other.len() - 11;
    other[at] ^= 1;
    assert!(List::read(&other).is_none());
    let whole = usual(&good, &extension(20, false, &element(2, &[1])));
    for length in 0..whole.len() {
        assert!(List::read(&whole[..length]).is_none(), "{length}");
    }
}

fn uri(text: &str) -> Vec<u8> {
    element(0x86, text.as_bytes())
}

fn full(names: &[u8]) -> Vec<u8> {
    element(0xa0, &element(0xa0, names))
}

/// The last part of a name.
fn relative(text: &str) -> Vec<u8> {
    let attribute = sequence(&[&element(6, &[0x55, 4, 3]), &element(0x0c, text.as_bytes())]);
    element(0xa0, &element(0xa1, &attribute))
}

/// A directory name of the root and one part more.
fn below_root(text: &str) -> Vec<u8> {
    let root = name(0x13, "ROOT");
    let part = name(0x13, text);
    let both = [
        der::only(&root, SEQUENCE).unwrap(),
        der::only(&part, SEQUENCE).unwrap(),
    ];
    element(0xa4, &element(SEQUENCE, &both.concat()))
}

#[test]
fn a_list_is_about_certificates_that_send_to_it() {
    let root = canonical::name(&name(0x0c, "root")).unwrap();
    let (a, b) = (uri("http://a.test/"), uri("http://b.test/"));
    let point = |parts: &[&[u8]]| sequence(&[&sequence(parts)]);
    let elsewhere = element(0xa2, &element(0xa4, &name(0x0c, "other")));
    let here = element(0xa2, &element(0xa4, &name(0x13, "Root")));
    for (scope, points, reached) in [
        (vec![full(&a)], point(&[&full(&a)]), true),
        (vec![full(&a)], point(&[&full(&b)]), false),
        (
            vec![full(&[&b[..], &a].concat())],
            point(&[&full(&a)]),
            true,
        ),
        (
            vec![full(&a)],
            sequence(&[&sequence(&[&full(&b)]), &sequence(&[&full(&a)])]),
            true,
        ),
        // Names by their text, whole or the last part.
        (
            vec![relative("lists")],
            point(&[&full(&below_root("LISTS"))]),
            true,
        ),
        (
            vec![full(&below_root("lists"))],
            point(&[&relative("Lists")]),
            true,
        ),
        (
            vec![relative("lists")],
            point(&[&relative("others")]),
            false,
        ),
        // A point without a name has any; one of another issuer has none.
        (vec![full(&a)], point(&[&here]), true),
        (vec![full(&a)], point(&[&full(&a), &here]), true),
        (vec![full(&a)], point(&[&full(&a), &elsewhere]), false),
        (vec![], point(&[&full(&a), &elsewhere]), true),
        (vec![], sequence(&[]), true),
        (vec![full(&a)], sequence(&[]), false),
    ] {
        let value = element(SEQUENCE, &scope.concat());
        let points = Point::read_all(&points, &root).unwrap();
        let extension = extension(28, true, &value);
        let list = List::read(&usual(&[], &extension)).unwrap();
        let reach = reach(&list, false, &points);
        assert_eq!(reach.is_some(), reached, "{scope:?} {points:?}");
    }
}

#[test]
fn what_cannot_be_read_as_points_is_refused() {
    let root = canonical::name(&name(0x0c, "root")).unwrap();
    for value in [
        element(4, &[]),
        sequence(&[&element(4, &[])]),
        sequence(&[&sequence(&[&element(0xa5, &[])])]),
        sequence(&[&sequence(&[&element(0xa0, &element(0xa3, &[]))])]),
        sequence(&[&sequence(&[&element(0xa2, &element(0xa4, &[1]))])]),
    ] {
        assert!(Point::read_all(&value, &root).is_none(), "{value:?}");
    }
    for value in [element(4, &[]), sequence(&[&element(0xa0, &[])])] {
        assert!(Scope::read(&value, &root).is_none(), "{value:?}");
    }
}

/// A handshake looks up a number: hashing a large list would cost more than all else in it.
#[test]
fn signatures_are_checked_at_the_start_and_once() {
    use crate::tls::trust::{Authority, Ends, Trust};
    let made = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (root, imitation) = (made("root"), made("root"));
    let listed = |issuer: &rcgen::CertifiedIssuer<'_, KeyPair>| {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2027, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        List::read(params.signed_by(issuer).unwrap().der()).unwrap()
    };
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let authorities = vec![Authority::from(root.der().clone())];
    let (trust, _) = Trust::new(authorities, Ends::Roots, true);
    let lists = Lists::new(vec![listed(&root)], algorithms);
    let options = crate::config::TlsOptions::default();
    let (_, certificate) = X509Certificate::from_der(root.der()).unwrap();
    let list = || &lists.by_issuer.values().next().unwrap()[0];
    assert!(!list().is_checked());
    lists.remarks(&options, &trust);
    assert!(list().is_checked());
    assert!(list().is_signed_by(&certificate, &algorithms));
    let (_, other) = X509Certificate::from_der(imitation.der()).unwrap();
    assert!(!list().is_signed_by(&other, &algorithms));
    let forged = listed(&imitation);
    assert!(!forged.is_signed_by(&certificate, &algorithms) && !forged.is_checked());
}

/// A list may have 30 MB, and each of many services names it.
#[test]
fn services_with_the_same_files_have_one_copy_of_the_lists() {
    use std::sync::Arc;

    use crate::config::{SecurityLevel, TlsOptions};
    use crate::tls::old_signatures::of_level;

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, list: &[u8]| {
        let path = folder.path().join(name);
        let text = pem::encode(&pem::Pem::new("X509 CRL", list));
        std::fs::write(&path, text).unwrap();
        path
    };
    let list = usual(&entry(&[7], &[]), &[]);
    let (one, other) = (file("one", &list), file("other", &list));
    let damaged = file("damaged", &[0x30, 0]);
    let modern = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let log = crate::log::Log {
        level: 0,
        id: crate::log::Id::Ui,
        from: None,
    };
    let mut shared = SharedLists::default();
    let mut load =
        |file: Option<&std::path::PathBuf>, trusted: Option<&std::path::PathBuf>, level| {
            let options = TlsOptions {
                crl_file: file.cloned(),
                ca_file: trusted.cloned(),
                ..TlsOptions::default()
            };
            let mut problems = Vec::new();
            let lists = shared.load(&options, None, of_level(level, modern), &log, &mut problems);
            (lists, problems)
        };
    let two = SecurityLevel::Two;
    let (first, _) = load(Some(&one), None, two);
    let first = first.unwrap();
    for (file, trusted, level, same) in [
        (&one, None, two, true),
        (&one, None, SecurityLevel::Three, true),
        (&one, None, SecurityLevel::One, false),
        (&one, Some(&other), two, false),
        (&other, None, two, false),
        (&one, None, two, true),
    ] {
        let (lists, problems) = load(Some(file), trusted, level);
        assert_eq!(
            Arc::ptr_eq(&lists.unwrap(), &first),
            same,
            "{file:?} {level}"
        );
        assert!(problems.is_empty(), "{problems:?}");
    }
    assert!(load(None, Some(&one), two).0.is_none());
    // Each is told of it.
    for _ in 0..2 {
        let (lists, problems) = load(Some(&damaged), None, two);
        assert!(lists.is_none());
        let [problem] = &problems[..] else {
            panic!("{problems:?}");
        };
        assert!(problem.text.contains("is damaged"), "{problem:?}");
    }
}

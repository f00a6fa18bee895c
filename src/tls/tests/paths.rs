//! Paths linked by names that are equal by text but not by bytes; and what such a path must not make
//! acceptable.

use std::time::Instant;

use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{
    Certificate, CustomExtension, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, Issuer,
    NameConstraints,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::tls::path::Search;
use crate::tls::trust::{Ends, Trust};

/// The same text with other encodings, case and blanks; the first is as rcgen writes it.
fn spellings() -> Vec<DnValue> {
    vec![
        DnValue::Utf8String("Example Root".into()),
        DnValue::PrintableString(PrintableString::try_from("Example Root").unwrap()),
        DnValue::Utf8String("  example\tROOT  ".into()),
        DnValue::Ia5String(Ia5String::try_from("EXAMPLE  ROOT").unwrap()),
        DnValue::TeletexString(TeletexString::try_from("Example Root").unwrap()),
        DnValue::BmpString(BmpString::try_from("Example Root").unwrap()),
        DnValue::UniversalString(UniversalString::try_from("example root").unwrap()),
    ]
}

pub(super) fn printable(text: &str) -> DnValue {
    DnValue::PrintableString(PrintableString::try_from(text).unwrap())
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// An authority with this name.
pub(super) fn ca(name: impl Into<DnValue>) -> CertificateParams {
    let mut params = authority_params("");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn permitted(name: &str) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(name.into())],
        excluded_subtrees: Vec::new(),
    }
}

fn excluded(name: &str) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![GeneralSubtree::DnsName(name.into())],
    }
}

pub(super) fn server_leaf() -> CertificateParams {
    leaf(&["mail.example.com"], "server")
}

/// `params` signed by `key`, with `issuer` as the issuer's name.
pub(super) fn signed(
    params: &CertificateParams,
    public: &KeyPair,
    issuer: impl Into<DnValue>,
    key: &KeyPair,
) -> Certificate {
    let issuer = ca(issuer);
    params
        .signed_by(public, &Issuer::from_params(&issuer, key))
        .unwrap()
}

fn trust(certificates: &[&Certificate], ends: Ends) -> Trust {
    let ders = certificates
        .iter()
        .map(|one| one.der().clone().into_owned().into());
    let (trust, unusable) = Trust::new(ders.collect(), ends, true);
    assert_eq!(unusable, 0);
    trust
}

pub(super) fn search(
    trust: &Trust,
    leaf: &Certificate,
    sent: &[&Certificate],
) -> Result<Vec<String>, webpki::Error> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let (_, certificate) = X509Certificate::from_der(leaf.der()).unwrap();
    let sent: Vec<CertificateDer<'_>> = sent.iter().map(|one| one.der().clone()).collect();
    Search {
        trust,
        algorithms: &provider.signature_verification_algorithms,
        usage: KeyUsage::server_auth(),
        now: UnixTime::now(),
        lists: None,
        smallest_key: 2048,
        too_small: std::cell::Cell::new(None),
        with_certificates: false,
    }
    .path(leaf.der(), &certificate, &sent)
    .map(|above| above.names)
}

#[test]
fn a_root_is_found_by_the_text_of_its_name() {
    let (root_key, leaf_key) = (key(), key());
    for subject in spellings() {
        let root = ca(subject.clone()).self_signed(&root_key).unwrap();
        let trust = trust(&[&root], Ends::Roots);
        for issuer in spellings() {
            let leaf = signed(&server_leaf(), &leaf_key, issuer.clone(), &root_key);
            let path = search(&trust, &leaf, &[]);
            assert_eq!(path.as_ref().map(Vec::len), Ok(1), "{subject:?} {issuer:?}");
        }
        let leaf = signed(&server_leaf(), &leaf_key, "Example Roots", &root_key);
        assert_eq!(
            search(&trust, &leaf, &[]),
            Err(webpki::Error::UnknownIssuer)
        );
    }
}

#[test]
fn each_link_of_a_path_may_be_by_text_and_the_log_has_the_names_as_they_stand() {
    let keys: Vec<_> = (0..4).map(|_| key()).collect();
    let root = ca("Example Root").self_signed(&keys[0]).unwrap();
    let upper = signed(&ca("Upper"), &keys[1], printable("EXAMPLE ROOT"), &keys[0]);
    let lower = signed(&ca("Lower  CA"), &keys[2], printable("upper"), &keys[1]);
    let leaf = signed(&server_leaf(), &keys[3], printable("lower ca"), &keys[2]);
    let expected = ["CN=Lower  CA", "CN=Upper", "CN=Example Root"].map(String::from);
    let roots = trust(&[&root], Ends::Roots);
    assert_eq!(
        search(&roots, &leaf, &[&lower, &upper]),
        Ok(expected.into())
    );
    assert_eq!(
        search(&roots, &leaf, &[&upper, &root, &lower]).map(|path| path.len()),
        Ok(3)
    );
    let error = search(&roots, &leaf, &[&lower]);
    assert_eq!(error, Err(webpki::Error::UnknownIssuer));
    // The same with the intermediates in CAfile.
    let all = trust(&[&upper, &root, &lower], Ends::Roots);
    assert_eq!(search(&all, &leaf, &[]).map(|path| path.len()), Ok(3));
}

#[test]
fn the_same_name_with_another_key_is_no_issuer() {
    let (root_key, other_key, leaf_key) = (key(), key(), key());
    let root = ca(printable("Example Root"))
        .self_signed(&root_key)
        .unwrap();
    let trust = trust(&[&root], Ends::Roots);
    let leaf = signed(&server_leaf(), &leaf_key, "example root", &other_key);
    let error = search(&trust, &leaf, &[]);
    assert_eq!(error, Err(webpki::Error::InvalidSignatureForPublicKey));
    // Sending the imitation along does not help either.
    let imitation = ca("EXAMPLE ROOT").self_signed(&other_key).unwrap();
    assert!(search(&trust, &leaf, &[&imitation]).is_err());
    // The one that signed is found beside it, whichever of them spells the name as the leaf does.
    let twins = paths::trust(
        &[&ca("example root").self_signed(&key()).unwrap(), &root],
        Ends::Roots,
    );
    let leaf = signed(&server_leaf(), &leaf_key, "example root", &root_key);
    assert_eq!(search(&twins, &leaf, &[]).map(|path| path.len()), Ok(1));
}

/// A root, an intermediate, a leaf: what is refused with names equal by bytes is refused with names
/// equal by text.
#[test]
fn what_webpki_refuses_is_refused_whichever_way_names_are_compared() {
    let (root_key, middle_key, leaf_key) = (key(), key(), key());
    type Change = fn(&mut CertificateParams, &mut CertificateParams);
    let cases: [(&str, Change); 10] = [
        ("no CA", |middle, _| middle.is_ca = IsCa::ExplicitNoCa),
        ("no basicConstraints", |middle, _| middle.is_ca = IsCa::NoCa),
        ("no keyCertSign", |middle, _| {
            middle.key_usages = vec![KeyUsagePurpose::CrlSign];
        }),
        ("another name permitted", |middle, _| {
            middle.name_constraints = Some(permitted("example.org"));
        }),
        ("this name excluded", |middle, _| {
            middle.name_constraints = Some(excluded("example.com"));
        }),
        ("an authority for clients", |middle, _| {
            middle.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        ("an expired authority", |middle, _| {
            middle.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }),
        ("an unknown critical extension", |middle, _| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            middle.custom_extensions.push(extension);
        }),
        ("an expired leaf", |_, leaf| {
            leaf.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }),
        ("a leaf for clients", |_, leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
    ];
    let root = ca("Example Root").self_signed(&root_key).unwrap();
    let trust = trust(&[&root], Ends::Roots);
    for (root_name, middle_name) in [
        ("Example Root", "Middle"),
        ("EXAMPLE ROOT", "Middle"),
        ("Example Root", "MIDDLE"),
        ("example root", "middle"),
    ] {
        let chain = |middle: &CertificateParams, below: &CertificateParams| {
            let middle = signed(middle, &middle_key, root_name, &root_key);
            let leaf = signed(below, &leaf_key, middle_name, &middle_key);
            search(&trust, &leaf, &[&middle])
        };
        assert_eq!(
            chain(&ca("Middle"), &server_leaf()).map(|path| path.len()),
            Ok(2)
        );
        for (what, change) in &cases {
            let (mut middle, mut below) = (ca("Middle"), server_leaf());
            change(&mut middle, &mut below);
            let result = chain(&middle, &below);
            assert!(
                result.is_err(),
                "{what} {root_name} {middle_name}: {result:?}"
            );
        }
    }
}

#[test]
fn the_constraints_of_the_root_and_the_length_of_the_path_count_by_text_too() {
    let (root_key, upper_key, lower_key, leaf_key) = (key(), key(), key(), key());
    let mut constrained = ca(printable("Example Root"));
    constrained.name_constraints = Some(permitted("example.org"));
    let root = constrained.self_signed(&root_key).unwrap();
    let roots = trust(&[&root], Ends::Roots);
    let good = signed(
        &leaf(&["a.example.org"], "a"),
        &leaf_key,
        "example root",
        &root_key,
    );
    assert_eq!(search(&roots, &good, &[]).map(|path| path.len()), Ok(1));
    let bad = signed(&server_leaf(), &leaf_key, "example root", &root_key);
    assert_eq!(
        search(&roots, &bad, &[]),
        Err(webpki::Error::NameConstraintViolation)
    );

    let root = ca(printable("Example Root"))
        .self_signed(&root_key)
        .unwrap();
    let roots = trust(&[&root], Ends::Roots);
    let mut short = ca("Upper");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let upper = signed(&short, &upper_key, "example root", &root_key);
    let lower = signed(&ca("Lower"), &lower_key, "UPPER", &upper_key);
    let direct = signed(&server_leaf(), &leaf_key, "UPPER", &upper_key);
    assert_eq!(
        search(&roots, &direct, &[&upper]).map(|path| path.len()),
        Ok(2)
    );
    let long = signed(&server_leaf(), &leaf_key, "LOWER", &lower_key);
    let error = search(&roots, &long, &[&lower, &upper]);
    assert_eq!(error, Err(webpki::Error::PathLenConstraintViolated));
}

#[test]
fn a_changed_certificate_is_not_taken_for_its_twin() {
    let (root_key, middle_key, leaf_key) = (key(), key(), key());
    let root = ca("Example Root").self_signed(&root_key).unwrap();
    let trust = trust(&[&root], Ends::Roots);
    let middle = signed(&ca("Middle"), &middle_key, "EXAMPLE ROOT", &root_key);
    let leaf = signed(&server_leaf(), &leaf_key, "MIDDLE", &middle_key);
    // The leaf's names in another case: the same twin, but not what was signed.
    let mut changed = leaf.der().to_vec();
    let at = changed.windows(6).position(|six| six == b"server").unwrap();
    changed[at] = b'S';
    let (_, certificate) = X509Certificate::from_der(&changed).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let search = Search {
        trust: &trust,
        algorithms: &provider.signature_verification_algorithms,
        usage: KeyUsage::server_auth(),
        now: UnixTime::now(),
        lists: None,
        smallest_key: 2048,
        too_small: std::cell::Cell::new(None),
        with_certificates: false,
    };
    let changed = CertificateDer::from(changed.clone());
    let sent = [leaf.der().clone(), middle.der().clone()];
    for sent in [&sent[1..], &sent] {
        let error = search.path(&changed, &certificate, sent);
        assert_eq!(error, Err(webpki::Error::InvalidSignatureForPublicKey));
    }
}

/// 150 authorities with one name: each could have issued each.
#[test]
fn many_authorities_of_one_name_cost_little() {
    let (root_key, leaf_key) = (key(), key());
    let root = ca("Example Root").self_signed(&root_key).unwrap();
    let trust = trust(&[&root], Ends::Roots);
    for (issuer, subject) in [
        ("Elsewhere", "Elsewhere"),
        ("ELSEWHERE", "Elsewhere"),
        ("Example Root", "Example Root"),
        ("EXAMPLE ROOT", "Example Root"),
    ] {
        let crowd: Vec<_> = (0..150)
            .map(|_| signed(&ca(subject), &key(), issuer, &leaf_key))
            .collect();
        let leaf = signed(&server_leaf(), &leaf_key, issuer, &leaf_key);
        let started = Instant::now();
        assert!(search(&trust, &leaf, &crowd.iter().collect::<Vec<_>>()).is_err());
        let took = started.elapsed();
        // In a debug build; without a limit it takes minutes.
        assert!(
            took < Duration::from_secs(20),
            "{issuer} {subject} {took:?}"
        );
        eprintln!("{issuer} {subject} {took:?}");
    }
}

#[test]
fn a_path_is_found_among_many_certificates_that_have_nothing_to_do_with_it() {
    let keys: Vec<_> = (0..3).map(|_| key()).collect();
    let root = ca("Example Root").self_signed(&keys[0]).unwrap();
    let middle = signed(&ca("Middle"), &keys[1], "Example Root", &keys[0]);
    let leaf = signed(&server_leaf(), &keys[2], "Middle", &keys[1]);
    let others: Vec<_> = (0..20)
        .map(|nth| signed(&ca(format!("Other {nth}")), &key(), "Others", &keys[2]))
        .collect();
    let mut sent: Vec<_> = others.iter().collect();
    sent.push(&middle);
    let roots = trust(&[&root], Ends::Roots);
    assert_eq!(search(&roots, &leaf, &sent).map(|path| path.len()), Ok(2));
    // As many intermediates in CAfile.
    sent.push(&root);
    let all = trust(&sent, Ends::Roots);
    assert_eq!(search(&all, &leaf, &[]).map(|path| path.len()), Ok(2));
}

#[test]
fn authorities_that_issued_each_other_lead_nowhere() {
    let (one, two, leaf_key) = (key(), key(), key());
    let root = ca("Example Root").self_signed(&key()).unwrap();
    let trust = trust(&[&root], Ends::Roots);
    let (first, second) = (
        signed(&ca("One"), &one, "TWO", &two),
        signed(&ca("Two"), &two, "ONE", &one),
    );
    let leaf = signed(&server_leaf(), &leaf_key, "one", &one);
    let error = search(&trust, &leaf, &[&first, &second]);
    assert_eq!(error, Err(webpki::Error::UnknownIssuer));
}

#[test]
fn an_intermediate_alone_ends_no_path_but_verify_server_s() {
    let (root_key, middle_key, leaf_key) = (key(), key(), key());
    let root = ca("Example Root").self_signed(&root_key).unwrap();
    let middle = signed(&ca("Middle"), &middle_key, "Example Root", &root_key);
    let leaf = signed(&server_leaf(), &leaf_key, "Middle", &middle_key);
    let alone = trust(&[&middle], Ends::Roots);
    for sent in [&[][..], &[&middle], &[&middle, &root]] {
        assert_eq!(
            search(&alone, &leaf, sent),
            Err(webpki::Error::UnknownIssuer)
        );
    }
    let both = trust(&[&middle, &root], Ends::Roots);
    assert_eq!(search(&both, &leaf, &[]).map(|path| path.len()), Ok(2));
    let browser = trust(&[&middle], Ends::Authorities);
    assert_eq!(search(&browser, &leaf, &[]).map(|path| path.len()), Ok(1));
}

/// CA:TRUE in a leaf: as in OpenSSL, and by any path.
#[test]
fn a_leaf_with_ca_true_has_a_path_like_any_other() {
    let (root_key, middle_key, leaf_key) = (key(), key(), key());
    let root = ca("Example Root").self_signed(&root_key).unwrap();
    let roots = trust(&[&root], Ends::Roots);
    let mut odd = server_leaf();
    odd.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (root_name, middle_name) in [("Example Root", "Middle"), ("example root", "middle")] {
        let middle = signed(&ca("Middle"), &middle_key, root_name, &root_key);
        let leaf = signed(&odd, &leaf_key, middle_name, &middle_key);
        assert_eq!(
            search(&roots, &leaf, &[&middle]).map(|path| path.len()),
            Ok(2)
        );
        assert!(search(&roots, &leaf, &[]).is_err());
        let forged = signed(&odd, &leaf_key, middle_name, &leaf_key);
        assert!(search(&roots, &forged, &[&middle]).is_err());
        let mut constrained = ca("Middle");
        constrained.name_constraints = Some(excluded("example.com"));
        let middle = signed(&constrained, &middle_key, root_name, &root_key);
        let error = search(&roots, &leaf, &[&middle]);
        assert_eq!(error, Err(webpki::Error::NameConstraintViolation));
    }
}

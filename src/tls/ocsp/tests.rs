//! Requests that OpenSSL's responder reads, and its answers, honest and not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SerialNumber,
};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::der;
use super::known::Known;
use super::subject::Subject;
use super::{Checks, Doubt, Refusal, Refused, Status, Terms, Told, Turn, response};
use crate::config::Ocsp;
use crate::log::{Id, Log};

type Ca = Issuer<'static, KeyPair>;

/// A folder with an authority, certificates, and the index by which a responder answers.
struct Place {
    folder: TempDir,
    ca: Ca,
    ca_der: Vec<u8>,
}

const LEAF: u8 = 0x11;
const REVOKED: u8 = 0x12;
const STRANGE: u8 = 0x13;

fn authority(name: &str, folder: &Path, file: &str) -> (Ca, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    write(folder, file, &certificate.pem(), &key);
    let der = certificate.der().to_vec();
    (Issuer::new(params, key), der)
}

fn write(folder: &Path, file: &str, certificate: &str, key: &KeyPair) {
    fs::write(folder.join(format!("{file}.pem")), certificate).unwrap();
    fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, ca_der) = authority("an authority", folder.path(), "ca");
        let index = "V\t491231235959Z\t\t11\tunknown\t/CN=leaf\n\
                     R\t491231235959Z\t260101000000Z,keyCompromise\t12\tunknown\t/CN=gone\n";
        fs::write(folder.path().join("index"), index).unwrap();
        Self { folder, ca, ca_der }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificate with this serial number, to be asked about.
    fn subject(&self, serial: u8) -> Subject {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.serial_number = Some(SerialNumber::from(vec![serial]));
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.ca).unwrap().der().to_vec();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        Subject::new(0, &certificate, &self.ca_der)
    }

    /// A responder's certificate by `issuer`, in `NAME.pem`, changed before it is signed.
    fn responder(&self, name: &str, issuer: &Ca, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        // id-pkix-ocsp-nocheck
        let nocheck =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 5], vec![5, 0]);
        params.custom_extensions.push(nocheck);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        write(self.folder.path(), name, &certificate.pem(), &key);
    }

    /// What OpenSSL's responder answers, signed as `signer`.
    fn answer(&self, request: &[u8], signer: &str, more: &[&str]) -> Vec<u8> {
        fs::write(self.file("request"), request).unwrap();
        let output = Command::new("openssl")
            .arg("ocsp")
            .arg("-index")
            .arg(self.file("index"))
            .arg("-CA")
            .arg(self.file("ca.pem"))
            .arg("-rsigner")
            .arg(self.file(&format!("{signer}.pem")))
            .arg("-rkey")
            .arg(self.file(&format!("{signer}.key")))
            .arg("-reqin")
            .arg(self.file("request"))
            .arg("-respout")
            .arg(self.file("response"))
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::read(self.file("response")).unwrap()
    }
}

fn now() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

fn terms(delegated: bool) -> Terms {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Terms {
        algorithms: provider.signature_verification_algorithms,
        delegated,
    }
}

fn judge(answer: &[u8], subject: &Subject) -> Result<Told, Doubt> {
    response::judge(answer, subject, None, &terms(true), now())
}

const DAY: &[&str] = &["-ndays", "1"];

#[test]
fn the_issuer_says_good_revoked_or_unknown() {
    let place = Place::new();
    for more in [DAY, &["-ndays", "1", "-resp_key_id"]] {
        let status = |serial| {
            let subject = place.subject(serial);
            let answer = place.answer(&subject.request(None).unwrap(), "ca", more);
            judge(&answer, &subject).map(|told| {
                assert!(told.next_update > Some(now() + 80_000), "{told:?}");
                told.status
            })
        };
        assert_eq!(status(LEAF), Ok(Status::Good));
        // 2026-01-01, keyCompromise.
        assert_eq!(status(REVOKED), Ok(Status::Revoked(1_767_225_600, Some(1))));
        assert_eq!(status(STRANGE), Err(Doubt::Unknown));
    }
}

#[test]
fn an_answer_about_another_certificate_is_none() {
    let place = Place::new();
    let (leaf, other) = (place.subject(LEAF), place.subject(REVOKED));
    let answer = place.answer(&leaf.request(None).unwrap(), "ca", DAY);
    assert_eq!(judge(&answer, &other), Err(Doubt::Other));
}

#[test]
fn a_responder_that_the_issuer_has_delegated_counts_and_no_other() {
    let place = Place::new();
    let (other, _) = authority("another authority", place.folder.path(), "other");
    let (namesake, _) = authority("an authority", place.folder.path(), "namesake");
    place.responder("delegate", &place.ca, |_| {});
    place.responder("server", &place.ca, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    place.responder("expired", &place.ca, |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    });
    place.responder("stranger", &other, |_| {});
    place.responder("forger", &namesake, |_| {});
    let subject = place.subject(LEAF);
    let request = subject.request(None).unwrap();
    for (signer, expected) in [
        ("delegate", Ok(Status::Good)),
        ("server", Err(Doubt::Delegate)),
        ("expired", Err(Doubt::Delegate)),
        ("stranger", Err(Doubt::Delegate)),
        ("forger", Err(Doubt::Delegate)),
        // It has the issuer's name, and another key.
        ("namesake", Err(Doubt::Delegate)),
    ] {
        let answer = place.answer(&request, signer, DAY);
        let told = judge(&answer, &subject).map(|told| told.status);
        assert_eq!(told, expected, "{signer}");
        let strict = response::judge(&answer, &subject, None, &terms(false), now());
        assert!(strict.is_err(), "{signer}");
        // Without its certificate nothing tells whose signature it is.
        let bare = place.answer(&request, signer, &["-ndays", "1", "-resp_no_certs"]);
        assert!(judge(&bare, &subject).is_err(), "{signer}");
    }
}

#[test]
fn a_changed_answer_has_no_signature() {
    let place = Place::new();
    let subject = place.subject(REVOKED);
    let request = subject.request(None).unwrap();
    let answer = place.answer(&request, "ca", &["-ndays", "1", "-badsig"]);
    assert_eq!(judge(&answer, &subject), Err(Doubt::Signature));
    // Any byte of an honest one.
    let answer = place.answer(&request, "ca", &["-ndays", "1", "-resp_no_certs"]);
    let told = judge(&answer, &subject);
    assert!(told.is_ok());
    for at in 0..answer.len() {
        let mut changed = answer.clone();
        changed[at] ^= 1;
        assert!(judge(&changed, &subject).is_err(), "byte {at}");
        assert!(judge(&answer[..at], &subject).is_err(), "to {at}");
    }
}

#[test]
fn an_answer_counts_from_its_time_to_the_next() {
    let place = Place::new();
    let subject = place.subject(LEAF);
    let answer = place.answer(&subject.request(None).unwrap(), "ca", &["-nmin", "10"]);
    let at = |time| {
        let told = response::judge(&answer, &subject, None, &terms(true), time);
        told.map(|told| told.status)
    };
    let told = judge(&answer, &subject).unwrap();
    let next = told.next_update.unwrap();
    assert_eq!(next, told.this_update + 600);
    assert_eq!(at(told.this_update - 60), Ok(Status::Good));
    assert_eq!(at(told.this_update - 61), Err(Doubt::Early));
    assert_eq!(at(next + 60), Ok(Status::Good));
    assert_eq!(at(next + 61), Err(Doubt::Late));
    // Without a next time it is the newest that there is.
    let answer = place.answer(&subject.request(None).unwrap(), "ca", &[]);
    assert_eq!(judge(&answer, &subject).unwrap().next_update, None);
}

#[test]
fn a_nonce_comes_back() {
    let place = Place::new();
    let subject = place.subject(LEAF);
    let nonce = [7; 32];
    let request = subject.request(Some(&nonce)).unwrap();
    let judge = |answer: &[u8], nonce: &[u8]| {
        let told = response::judge(answer, &subject, Some(nonce), &terms(true), now());
        told.map(|told| told.status)
    };
    let fresh = place.answer(&request, "ca", DAY);
    assert_eq!(judge(&fresh, &nonce), Ok(Status::Good));
    assert_eq!(judge(&fresh, &[8; 32]), Err(Doubt::Nonce));
    let old = place.answer(&subject.request(None).unwrap(), "ca", DAY);
    assert_eq!(judge(&old, &nonce), Err(Doubt::Nonce));
    // One that was not asked for does no harm.
    let told = response::judge(&fresh, &subject, None, &terms(true), now());
    assert_eq!(told.map(|told| told.status), Ok(Status::Good));
}

#[test]
fn what_is_no_answer_is_told_by_its_kind() {
    let place = Place::new();
    let subject = place.subject(LEAF);
    for (answer, doubt) in [
        (&b""[..], Doubt::Unreadable),
        (b"<html>", Doubt::Unreadable),
        (&[0x30, 3, 0x0a, 1, 6], Doubt::Responder(6)),
        (&[0x30, 3, 0x0a, 1, 0], Doubt::NotBasic),
        (&[0x30, 4, 0x0a, 2, 0, 0], Doubt::Unreadable),
    ] {
        assert_eq!(judge(answer, &subject), Err(doubt), "{answer:x?}");
    }
    let said = Doubt::Responder(6).to_string();
    assert_eq!(said, "OCSP: OCSP responder error: 6: unauthorized");
}

/// As some public responders answer.
#[test]
fn an_identifier_by_another_hash_is_recognised() {
    let place = Place::new();
    let subject = place.subject(LEAF);
    for hash in ["sha1", "sha256", "sha384", "sha512"] {
        let leaf = place.file("leaf.pem");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.serial_number = Some(SerialNumber::from(vec![LEAF]));
        let key = KeyPair::generate().unwrap();
        fs::write(&leaf, params.signed_by(&key, &place.ca).unwrap().pem()).unwrap();
        let made = Command::new("openssl")
            .args(["ocsp", "-no_nonce", &format!("-{hash}")])
            .arg("-issuer")
            .arg(place.file("ca.pem"))
            .arg("-cert")
            .arg(&leaf)
            .arg("-reqout")
            .arg(place.file("theirs"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let request = fs::read(place.file("theirs")).unwrap();
        if hash == "sha1" {
            assert_eq!(request, subject.request(None).unwrap());
        }
        let answer = place.answer(&request, "ca", DAY);
        let told = judge(&answer, &subject).map(|told| told.status);
        assert_eq!(told, Ok(Status::Good), "{hash}");
    }
}

#[test]
fn what_is_known_is_forgotten_when_it_is_over() {
    let place = Place::new();
    let (one, other) = (place.subject(LEAF), place.subject(REVOKED));
    let told = |next_update| Told {
        status: Status::Good,
        this_update: 1000,
        next_update,
    };
    let known = Known::default();
    known.put(&one, &[], told(Some(2000)), 1500);
    assert_eq!(known.get(&one, &[], 2060), Some(told(Some(2000))));
    assert_eq!(known.get(&other, &[], 1500), None);
    assert_eq!(known.get(&one, b"stapled", 1500), None);
    assert_eq!(known.get(&one, &[], 2061), None);
    assert_eq!(known.get(&one, &[], 1500), None, "it is gone");
    known.put(&one, &[], told(None), 1500);
    assert_eq!(known.get(&one, &[], 1500), None);
}

/// An authority below another; both it and its leaf name a responder.
#[test]
fn an_authority_between_is_asked_about_before_the_leaf() {
    let place = Place::new();
    let issued = |name: &str, serial: u8, is_ca, issuer: &Ca| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(vec![serial]));
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let url = format!("http://{name}/");
        let length = |more: usize| u8::try_from(url.len() + more).unwrap();
        // SEQUENCE, SEQUENCE, id-ad-ocsp, and the URL.
        let mut access = vec![0x30, length(14), 0x30, length(12)];
        access.extend([6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, length(0)]);
        access.extend(url.bytes());
        let access = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access);
        params.custom_extensions.push(access);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, issuer).unwrap().der().to_vec();
        (Issuer::new(params, key), der)
    };
    for (serial, refused) in [(LEAF, None), (REVOKED, Some("depth=1: CN=middle"))] {
        let (middle, middle_der) = issued("middle", serial, true, &place.ca);
        let (_, leaf_der) = issued("leaf", STRANGE, false, &middle);
        let (_, leaf) = X509Certificate::from_der(&leaf_der).unwrap();
        let above = [middle_der, place.ca_der.clone()];
        let wanted = Ocsp {
            aia: true,
            require: false,
            ..Ocsp::default()
        };
        let checks = Checks::new(&wanted, false, terms(true).algorithms);
        let look = || checks.look(&leaf, &above, &[], now(), &mut |_, _| {});
        let mut inquiry = look().unwrap().expect("a question");
        let log = Log {
            level: 0,
            id: Id::Main,
            from: None,
        };
        let Turn::Ask { url, body } = inquiry.next(now(), &log) else {
            panic!("it asks");
        };
        assert_eq!(url, "http://middle/");
        inquiry.answer(Ok(place.answer(&body, "ca", DAY)), now(), &log);
        match (inquiry.next(now(), &log), refused) {
            (Turn::Ask { url, .. }, None) => {
                assert_eq!(url, "http://leaf/");
                inquiry.answer(Err("no answer".into()), now(), &log);
                assert_eq!(inquiry.next(now(), &log), Turn::Accepted);
                // The authority's answer is known now.
                let mut again = look().unwrap().expect("a question");
                let next = again.next(now(), &log);
                assert!(matches!(next, Turn::Ask { url, .. } if url == "http://leaf/"));
            }
            (Turn::Refused(_), Some(_)) => {
                // Known, it is refused within the handshake.
                let Refused { depth, name, why } = look().unwrap_err();
                assert_eq!(Some(&*format!("depth={depth}: {name}")), refused);
                assert_eq!(why, Refusal::Revoked);
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_are_der() {
    let place = Place::new();
    let request = place.subject(LEAF).request(Some(&[1; 32])).unwrap();
    assert!(der::only(&request, der::SEQUENCE).is_some());
}

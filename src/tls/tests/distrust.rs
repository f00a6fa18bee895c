//! What CAfile's trust settings reject, whatever its issuer; and what only looks like a root.

use rcgen::{Certificate, CustomExtension, KeyIdMethod};

use super::paths::{ca, key, printable, search, server_leaf, signed};
use super::verification::{accepted, client, refused, server};
use super::*;
use crate::tls::der::{self, OBJECT_IDENTIFIER, SEQUENCE};
use crate::tls::trust::{self, Ends, Trust};

const DISTRUSTED: webpki::Error = webpki::Error::CertDistrusted;
const UNKNOWN: webpki::Error = webpki::Error::UnknownIssuer;

const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const MAIL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// Trust settings with one list.
fn settings(tag: u8, uses: &[u8]) -> Vec<u8> {
    let list = der::element(tag, &der::element(OBJECT_IDENTIFIER, uses));
    der::element(SEQUENCE, &list)
}

fn rejecting(uses: &[u8]) -> Option<Vec<u8>> {
    Some(settings(0xa0, uses))
}

fn trusting(uses: &[u8]) -> Option<Vec<u8>> {
    Some(settings(SEQUENCE, uses))
}

type Installed<'a> = (&'a Certificate, Option<Vec<u8>>);

fn trust(certificates: &[Installed<'_>]) -> Trust {
    let all = certificates.iter().map(|(one, settings)| trust::Authority {
        der: one.der().clone().into_owned(),
        settings: settings.clone(),
    });
    let (trust, unusable) = Trust::new(all.collect(), Ends::Roots, true);
    assert_eq!(unusable, 0);
    trust
}

#[test]
fn a_rejected_root_is_rejected_by_whatever_certificate_it_comes_back() {
    let (root_key, other_key, leaf_key) = (key(), key(), key());
    let root = ca("Root").self_signed(&root_key).unwrap();
    let again = ca("Root").self_signed(&root_key).unwrap();
    let other = ca("Other").self_signed(&other_key).unwrap();
    let cross = signed(&ca("Root"), &root_key, "Other", &other_key);
    let spelt = signed(&ca(printable("ROOT")), &root_key, "OTHER", &other_key);
    let leaf = signed(&server_leaf(), &leaf_key, "Root", &root_key);
    for (what, uses, expected) in [
        ("plain", None, Ok(())),
        ("rejected", rejecting(SERVER), Err(DISTRUSTED)),
        ("for anything", rejecting(ANY), Err(DISTRUSTED)),
        ("for clients", rejecting(CLIENT), Ok(())),
        ("for mail", rejecting(MAIL), Ok(())),
        ("trusted", trusting(SERVER), Ok(())),
        ("trusted for anything", trusting(ANY), Ok(())),
        (
            "trusted for clients only",
            trusting(CLIENT),
            Err(DISTRUSTED),
        ),
        ("trusted for mail only", trusting(MAIL), Err(DISTRUSTED)),
    ] {
        let first = (&root, uses);
        let second = (&other, None);
        for all in [[first.clone(), second.clone()], [second, first]] {
            for sent in [&cross, &spelt] {
                let found = search(&trust(&all), &leaf, &[sent]).map(drop);
                assert_eq!(found, expected, "{what}");
            }
        }
    }
    // Also in CAfile: the same key as a root again, issued by another authority, and the very same
    // certificate.
    for plain in [&again, &cross, &spelt, &root] {
        let rejected = (&root, rejecting(SERVER));
        for all in [
            [(&other, None), (plain, None), rejected.clone()],
            [rejected.clone(), (plain, None), (&other, None)],
            [(plain, trusting(SERVER)), rejected, (&other, None)],
        ] {
            let trust = trust(&all);
            assert_eq!(search(&trust, &leaf, &[]), Err(UNKNOWN));
            assert_eq!(search(&trust, &leaf, &[&cross]), Err(DISTRUSTED));
            assert_eq!(trust.names().collect::<Vec<_>>(), ["CN=Other"]);
        }
    }
}

#[test]
fn a_rejected_intermediate_is_rejected_when_issued_anew_and_its_name_with_another_key_is_not() {
    let (root_key, middle_key, other_key, leaf_key) = (key(), key(), key(), key());
    let root = ca("Root").self_signed(&root_key).unwrap();
    let middle = |name: &str, key| signed(&ca(name), key, "Root", &root_key);
    let rejected = middle("Middle", &middle_key);
    let trust = trust(&[(&rejected, rejecting(SERVER)), (&root, None)]);
    for (name, key, expected) in [
        ("Middle", &middle_key, Err(DISTRUSTED)),
        ("MIDDLE", &middle_key, Err(DISTRUSTED)),
        ("Middle", &other_key, Ok(())),
        ("Elsewhere", &middle_key, Ok(())),
    ] {
        let leaf = signed(&server_leaf(), &leaf_key, name, key);
        let found = search(&trust, &leaf, &[&middle(name, key)]).map(drop);
        assert_eq!(found, expected, "{name}");
    }
}

/// A point on a curve may be encoded as x and y, or as x alone.
#[test]
fn a_key_is_the_same_however_it_is_encoded() {
    let pki = Pki::new();
    run(
        &pki,
        r"
        openssl ecparam -name prime256v1 -genkey -noout -out a.key
        openssl ec -in a.key -conv_form compressed -out b.key
        for name in a b; do
            openssl req -x509 -key $name.key -subj /CN=mail.example.com -out $name.pem
        done
        openssl x509 -in a.pem -trustout -addreject serverAuth -out ca.pem
        ",
    );
    let read = |name| crate::tls::keys::ca_file(&pki.path(name));
    let mut all = read("b.pem").unwrap();
    let text = std::fs::read_to_string(pki.path("ca.pem")).unwrap() + &authority("root").pem();
    pki.write("both.pem", &text);
    all.extend(read("both.pem").unwrap());
    let (trust, _) = Trust::new(all, Ends::Roots, true);
    assert_eq!(trust.names().collect::<Vec<_>>(), ["CN=root"]);
}

#[test]
fn a_leaf_is_rejected_by_subject_and_key_whatever_is_verified() {
    let pki = Pki::new();
    let root = authority("root");
    let (own, other) = (key(), key());
    let rejected = server_leaf().signed_by(&own, &root).unwrap();
    pki.write("leaf.pem", &rejected.pem());
    run(
        &pki,
        "openssl x509 -in leaf.pem -trustout -addreject serverAuth -out rejected.pem",
    );
    let rejected = std::fs::read_to_string(pki.path("rejected.pem")).unwrap();
    let serving = |certificate: &Certificate, key: &KeyPair| {
        server(pki.write("server.pem", &(key.serialize_pem() + &certificate.pem())))
    };
    let verify_server = PeerVerification {
        server: true,
        ..PeerVerification::default()
    };
    for (certificate, key, good) in [
        (server_leaf().signed_by(&own, &root).unwrap(), &own, false),
        (server_leaf().self_signed(&own).unwrap(), &own, false),
        (
            server_leaf().signed_by(&other, &root).unwrap(),
            &other,
            true,
        ),
    ] {
        // All three are also in CAfile as plain certificates; the first two are rejected all the same.
        let text = certificate.pem() + &rejected + &root.pem();
        let ca_file = pki.write("ca.pem", &text);
        for verification in [verify_chain(), verify_peer(), verify_server] {
            let options = client(verification, ca_file.clone());
            let serving = serving(&certificate, key);
            if good {
                accepted(&options, &serving);
            } else {
                let (text, _) = refused(&options, &serving);
                assert!(text.contains("(certificate rejected)"), "{text}");
            }
        }
    }
}

/// Tags with their contents.
type Parts<'a> = &'a [(u8, &'a [u8])];

/// An authorityKeyIdentifier with these parts.
fn identifier(parts: Parts<'_>) -> CustomExtension {
    let parts = parts
        .iter()
        .map(|(tag, content)| der::element(*tag, content));
    let content = der::element(SEQUENCE, &parts.collect::<Vec<_>>().concat());
    CustomExtension::from_oid_content(&[2, 5, 29, 35], content)
}

/// Compared with OpenSSL's EXFLAG_SS.
#[test]
fn a_certificate_that_names_itself_as_issuer_is_a_root_unless_it_speaks_of_another_key() {
    let pki = Pki::new();
    let (old_key, new_key, leaf_key) = (key(), key(), key());
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let directory = |name: &str| {
        let text = der::element(0x0c, name.as_bytes());
        let kind = der::element(OBJECT_IDENTIFIER, &[0x55, 4, 3]);
        let rdn = der::element(SEQUENCE, &[kind, text].concat());
        let name = der::element(SEQUENCE, &der::element(der::SET, &rdn));
        der::element(0xa4, &name)
    };
    const OWN: &[u8] = &[1, 2, 3];
    let (own_name, other_name) = (directory("authority"), directory("Other"));
    let leaf = signed(&server_leaf(), &leaf_key, "Authority", &new_key);
    let old = ca("Authority").self_signed(&old_key).unwrap();
    let old_rsa = ca("Authority").self_signed(&rsa).unwrap();
    let rows: [(&str, &KeyPair, Parts<'_>, bool); 10] = [
        ("nothing", &old_key, &[], true),
        ("its own key", &old_key, &[(0x80, OWN)], true),
        ("another key", &old_key, &[(0x80, &[9, 9])], false),
        ("its own serial", &old_key, &[(0x82, &[77])], true),
        ("another serial", &old_key, &[(0x82, &[78])], false),
        (
            "its own name",
            &old_key,
            &[(0xa1, &own_name), (0x82, &[77])],
            true,
        ),
        (
            "another name",
            &old_key,
            &[(0xa1, &other_name), (0x82, &[77])],
            false,
        ),
        (
            "its name, another serial",
            &old_key,
            &[(0xa1, &own_name), (0x82, &[78])],
            false,
        ),
        (
            "key right, serial wrong",
            &old_key,
            &[(0x80, OWN), (0x82, &[78])],
            false,
        ),
        ("a signature of another kind", &rsa, &[], false),
    ];
    for (what, by, parts, is_root) in rows {
        let mut params = ca("Authority");
        params.serial_number = Some(77.into());
        params.key_identifier_method = KeyIdMethod::PreSpecified(OWN.into());
        if !parts.is_empty() {
            params.custom_extensions.push(identifier(parts));
        }
        let link = signed(&params, &new_key, "Authority", by);
        let alone = search(&trust(&[(&link, None)]), &leaf, &[]);
        let expected = if is_root { Ok(1) } else { Err(UNKNOWN) };
        assert_eq!(alone.map(|path| path.len()), expected, "{what}");
        pki.write("link.pem", &link.pem());
        pki.write("leaf.pem", &leaf.pem());
        let said = run(
            &pki,
            "openssl verify -no-CApath -no-CAstore -CAfile link.pem leaf.pem 2>&1 || :",
        );
        let answer = if is_root {
            "leaf.pem: OK"
        } else {
            "error 2 at 1 depth"
        };
        assert!(said.contains(answer), "{what} {said}");
        // Trusted by name, or with the root above it.
        let named = search(&trust(&[(&link, trusting(SERVER))]), &leaf, &[]);
        assert_eq!(named.map(|path| path.len()), Ok(1), "{what}");
        let (_, root) = [(&old_key, &old), (&rsa, &old_rsa)]
            .into_iter()
            .find(|(key, _)| std::ptr::eq(*key, by))
            .unwrap();
        let both = search(&trust(&[(&link, None), (root, None)]), &leaf, &[]);
        let expected = if is_root { Ok(1) } else { Ok(2) };
        assert_eq!(both.map(|path| path.len()), expected, "{what}");
        let sent = search(&trust(&[(root, None)]), &leaf, &[&link]);
        assert_eq!(sent.map(|path| path.len()), Ok(2), "{what}");
    }
}

/// The output of commands in the folder; each must succeed.
fn run(pki: &Pki, script: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-ec", &format!("cd \"$1\"\n{script}"), "sh"])
        .arg(pki.0.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

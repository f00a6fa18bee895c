//! CApath: trust depends on the names of files, as in stunnel.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::config::Severity;
use crate::tls::keys::ca_path;
use crate::tls::trust::Authority;

/// OpenSSL's name for the file of a certificate, without the `.0`.
fn hash(pki: &Pki, pem: &str) -> String {
    let file = pki.write("hash.pem", pem);
    let output = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-hash", "-in"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

fn load_folder(
    jail: Option<&Path>,
    folder: &Path,
) -> (Result<Vec<Authority>, Problem>, Vec<Problem>) {
    let mut notes = Vec::new();
    let found = ca_path(jail, folder, &mut notes);
    (found, notes)
}

/// Every string type, blanks, letters beyond ASCII, an empty name, two attributes in one RDN.
#[test]
fn a_name_has_the_hash_that_openssl_gives_it() {
    use rcgen::DnValue as Value;
    use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
    let pki = Pki::new();
    let names: [(DnType, Value); 9] = [
        (
            DnType::CommonName,
            Value::Utf8String("  Zażółć   GĘŚLĄ\t jaźń ".into()),
        ),
        (
            DnType::CountryName,
            Value::PrintableString(PrintableString::try_from("PL").unwrap()),
        ),
        (
            DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
            Value::Ia5String(Ia5String::try_from("A@B.example").unwrap()),
        ),
        (
            DnType::OrganizationName,
            Value::BmpString(BmpString::try_from("Grüße  GMBH").unwrap()),
        ),
        (
            DnType::LocalityName,
            Value::TeletexString(TeletexString::try_from("Old Town").unwrap()),
        ),
        (
            DnType::StateOrProvinceName,
            Value::UniversalString(UniversalString::try_from("Œuvre 𝄞").unwrap()),
        ),
        (
            DnType::OrganizationalUnitName,
            Value::Utf8String(String::new()),
        ),
        (
            DnType::CustomDnType(vec![1, 2, 3, 4]),
            Value::Utf8String("Own".into()),
        ),
        (DnType::CommonName, Value::Utf8String("plain".into())),
    ];
    let mut subjects: Vec<rcgen::DistinguishedName> = names
        .iter()
        .map(|(kind, value)| {
            let mut name = rcgen::DistinguishedName::new();
            name.push(kind.clone(), value.clone());
            name
        })
        .collect();
    let mut all = rcgen::DistinguishedName::new();
    for (kind, value) in names {
        all.push(kind, value);
    }
    subjects.push(all);
    subjects.push(rcgen::DistinguishedName::new());
    for subject in subjects {
        let mut params = authority_params("");
        params.distinguished_name = subject;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        let name = format!("{}.0", hash(&pki, &certificate.pem()));
        std::fs::write(folder.path().join(&name), certificate.pem()).unwrap();
        let (found, notes) = load_folder(None, folder.path());
        let what = &params.distinguished_name;
        assert_eq!(found.unwrap().len(), 1, "{name} {what:?} {notes:?}");
    }
}

#[test]
fn only_what_a_hash_names_is_trusted_and_the_rest_is_told() {
    let pki = Pki::new();
    let (root, other) = (authority("root").pem(), authority("other").pem());
    let name = |nth: &str| format!("{}.{nth}", hash(&pki, &root));
    let both = format!("{other}{root}");
    let old_label = root.replace("CERTIFICATE", "X509 CERTIFICATE");
    type Files<'a> = &'a [(String, &'a str)];
    let cases: [(Files<'_>, usize, usize); 12] = [
        (&[(name("0"), &root)], 1, 0),
        (&[(name("0"), &root), ("root.pem".into(), &root)], 1, 0),
        (&[("root.pem".into(), &root)], 0, 1),
        (&[(name("1"), &root)], 0, 1),
        (&[(name("00"), &root)], 0, 1),
        (&[("00000000.0".into(), &root)], 0, 1),
        (&[(name("0").to_uppercase() + "x", &root)], 0, 1),
        (&[(name("0"), "garbage"), (name("1"), &root)], 1, 0),
        (
            &[(name("0"), &other), (name("1"), &root), (name("3"), &other)],
            1,
            1,
        ),
        (&[(name("0"), &both)], 1, 1),
        (
            &[(name("0"), &old_label), ("other.pem".into(), &other)],
            1,
            1,
        ),
        (&[(name("0"), &root), ("readme".into(), "text")], 1, 0),
    ];
    for (files, trusted, told) in cases {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        let (found, notes) = load_folder(None, folder.path());
        assert_eq!(found.unwrap().len(), trusted, "{names:?} {notes:?}");
        assert_eq!(notes.len(), usize::from(told > 0), "{names:?} {notes:?}");
        for note in notes {
            assert!(
                note.text.starts_with(&format!("{told} certificate(s)")),
                "{note:?}"
            );
            let remedy = format!("openssl rehash {}", folder.path().display());
            assert!(note.text.contains(&remedy), "{note:?}");
            let expected = match trusted {
                0 => Severity::Warning,
                _ => Severity::Note,
            };
            assert_eq!(note.severity, expected);
        }
    }
}

#[test]
fn an_authority_whose_link_was_removed_is_trusted_no_more() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let certs = pki.path("certs");
    std::fs::create_dir(&certs).unwrap();
    std::fs::create_dir(certs.join("subfolder")).unwrap();
    pki.authority("certs/ca.pem", &ca);
    pki.write("certs/README", "no certificate");
    let cert = pki.signed("server.pem", &leaf(&["mail.example.com"], "server"), &ca);
    let link = certs.join(hash(&pki, &ca.pem()) + ".0");
    let options = TlsOptions {
        ca_path: Some(certs),
        verification: verify_chain(),
        ..TlsOptions::default()
    };
    let serving = TlsOptions {
        cert: Some(cert),
        ..TlsOptions::default()
    };
    symlink("ca.pem", &link).unwrap();
    let (mut client, _) = connect(&options, &serving);
    client.stream();
    std::fs::remove_file(&link).unwrap();
    let (client, _) = connect(&options, &serving);
    let text = client.failure().to_string();
    assert!(
        text.contains("unable to get local issuer certificate"),
        "{text}"
    );
    // A link to nothing counts as missing.
    symlink("gone.pem", &link).unwrap();
    connect(&options, &serving).0.failure();
}

#[test]
fn a_folder_is_looked_for_in_the_jail_first_and_no_link_leads_out_of_it() {
    let pki = Pki::new();
    let (inner, outer) = (authority("inner").pem(), authority("outer").pem());
    let name = |pem: &str| hash(&pki, pem) + ".0";
    let (jail, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::write(outside.path().join(name(&outer)), &outer).unwrap();
    // Outside, since there is no such folder inside.
    let (found, _) = load_folder(Some(jail.path()), outside.path());
    assert_eq!(found.unwrap().len(), 1);
    let seen = jail.path().join(outside.path().strip_prefix("/").unwrap());
    std::fs::create_dir_all(&seen).unwrap();
    // Inside, where a link to the file outside leads nowhere, and one to a file inside works.
    symlink(outside.path().join(name(&outer)), seen.join(name(&outer))).unwrap();
    let inside = outside.path().join("inner.pem");
    std::fs::write(seen.join("inner.pem"), &inner).unwrap();
    symlink(&inside, seen.join(name(&inner))).unwrap();
    let (found, notes) = load_folder(Some(jail.path()), outside.path());
    let found = found.unwrap();
    assert_eq!((found.len(), notes.len()), (1, 0));
    assert_eq!(crate::tls::names::subject_of(&found[0].der), "CN=inner");
    std::fs::remove_file(seen.join(name(&inner))).unwrap();
    let (found, notes) = load_folder(Some(jail.path()), outside.path());
    assert!(found.unwrap().is_empty());
    // Named by the path outside the jail.
    assert!(
        notes[0]
            .text
            .contains(&format!("rehash {}", seen.display())),
        "{notes:?}"
    );
}

#[test]
fn a_pipe_in_the_folder_holds_nothing_up() {
    let pki = Pki::new();
    let root = authority("root").pem();
    let folder = TempDir::new().unwrap();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&folder.path().join("0a1b2c3d.0"), mode).unwrap();
    nix::unistd::mkfifo(&folder.path().join("pipe"), mode).unwrap();
    std::fs::write(folder.path().join(hash(&pki, &root) + ".0"), &root).unwrap();
    for jail in [None, Some(Path::new("/"))] {
        let (found, notes) = load_folder(jail, folder.path());
        assert_eq!((found.unwrap().len(), notes.len()), (1, 0));
    }
}

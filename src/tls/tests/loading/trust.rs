//! What is trusted: files that cannot be loaded, or whose members are of no use.

use super::*;

#[test]
fn trust_that_cannot_be_loaded_is_an_error() {
    let pki = Pki::new();
    let client = |ca_file: Option<PathBuf>, ca_path: Option<PathBuf>| TlsOptions {
        ca_file,
        ca_path,
        verification: verify_chain(),
        ..TlsOptions::default()
    };
    error(
        client(Some(pki.path("none")), None),
        "CAfile",
        &["none", "No such file"],
    );
    error(
        client(Some(pki.write("empty", "")), None),
        "CAfile",
        &["no PEM certificate"],
    );
    error(
        client(None, Some(pki.path("none"))),
        "CApath",
        &["none", "No such file"],
    );
    std::fs::create_dir(pki.path("folder")).unwrap();
    error(
        client(None, Some(pki.path("folder"))),
        "CApath",
        &["no trusted certificates found"],
    );
    let damaged = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    error(
        client(Some(pki.write("bad", damaged)), None),
        "CAfile",
        &["certificate 1 in", "damaged PEM", "remove it"],
    );
    // One among good ones, with a line missing or changed.
    let good = authority("the authority").pem();
    let mut missing: Vec<_> = good.lines().collect();
    let zeros = "A".repeat(missing[5].len());
    let mut other = missing.clone();
    missing.remove(3);
    other[5] = &zeros;
    for lines in [missing, other] {
        let text = format!("{good}{}\n{good}", lines.join("\n"));
        error(
            client(Some(pki.write("one-bad", &text)), None),
            "CAfile",
            &["certificate 2 in", "is damaged", "remove it"],
        );
    }
}

#[test]
fn trusted_certificates_that_nothing_uses_may_be_missing() {
    let pki = Pki::new();
    std::fs::create_dir(pki.path("folder")).unwrap();
    let damaged = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let request = PeerVerification {
        request: true,
        require: true,
        ..Default::default()
    };
    let files = ["none", "folder", "empty", "bad"].map(|name| pki.path(name));
    pki.write("empty", "");
    pki.write("bad", damaged);
    let mut asked: Vec<TlsOptions> = Vec::new();
    for path in files {
        for verification in [PeerVerification::default(), request] {
            asked.push(TlsOptions {
                ca_file: Some(path.clone()),
                verification,
                ..TlsOptions::default()
            });
            asked.push(TlsOptions {
                ca_path: Some(path.clone()),
                verification,
                ..TlsOptions::default()
            });
        }
    }
    for options in asked {
        let problems = wanted(&service(false, options.clone())).look_at_files(None);
        let [problem] = &problems[..] else {
            panic!("{options:?}: {problems:?}");
        };
        assert_eq!(problem.severity, Severity::Note, "{options:?}");
        assert!(problem.text.contains("nothing uses it"), "{problem:?}");
    }
}

#[test]
fn an_unusable_member_of_a_list_is_a_note() {
    let problems = problems(
        true,
        TlsOptions {
            curves: Some("X25519:X448".into()),
            ..TlsOptions::default()
        },
    );
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].severity, Severity::Note);
    assert!(problems[0].text.contains("X448"));
}

#[test]
fn the_system_s_roots_load_for_verify_server() {
    let options = TlsOptions {
        verification: PeerVerification {
            server: true,
            ..PeerVerification::default()
        },
        ..TlsOptions::default()
    };
    let problems = problems(true, options);
    // Either they exist, or the administrator is told what to install.
    assert!(
        problems
            .iter()
            .all(|problem| problem.severity != Severity::Error
                || problem.text.contains("ca-certificates")),
        "{problems:#?}"
    );
}

#[test]
fn an_authority_without_its_root_is_warned_about_under_verify_chain_alone() {
    let pki = Pki::new();
    let root = authority("root");
    let middle = CertifiedIssuer::signed_by(
        authority_params("middle"),
        KeyPair::generate().unwrap(),
        &root,
    )
    .unwrap();
    let alone = pki.write("middle.pem", &middle.pem());
    let both = pki.write("both.pem", &(middle.pem() + &root.pem()));
    let verify_server = PeerVerification {
        server: true,
        ..PeerVerification::default()
    };
    for (ca_file, verification, warned) in [
        (&alone, verify_chain(), true),
        (&both, verify_chain(), false),
        (&alone, verify_peer(), false),
        (&alone, verify_server, false),
    ] {
        let options = TlsOptions {
            ca_file: Some(ca_file.clone()),
            verification,
            ..TlsOptions::default()
        };
        let found = problems(true, options);
        let told = found
            .iter()
            .any(|one| one.severity == Severity::Warning && one.text.contains("add the root"));
        assert_eq!(told, warned, "{verification:?} {found:#?}");
    }
}

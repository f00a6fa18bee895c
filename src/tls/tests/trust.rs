//! What a certificate is trusted for: by what it says, by its key, and by its name.

use super::verification::{accepted, client, has, refused, server};
use super::*;
use crate::tls::notes;

/// `openssl x509 -req` without extensions makes version 1, as do many home-made authorities.
#[test]
fn certificates_of_version_1_serve_and_are_verified() {
    let pki = Pki::new();
    let script = r#"
        set -e
        cd "$1"
        for name in ca other; do
            openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=$name -keyout $name.key -out $name.pem
        done
        openssl req -new -nodes -newkey rsa:2048 -subj /CN=mail.example.com -keyout v1.key -out v1.csr
        openssl x509 -req -in v1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -out v1.pem
        openssl x509 -in v1.pem -noout -text | grep -q 'Version: 1'
    "#;
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(pki.0.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let serving = TlsOptions {
            key: Some(pki.path("v1.key")),
            ..only(version, server(pki.path("v1.pem")))
        };
        accepted(&TlsOptions::default(), &serving);
        let mut options = client(verify_chain(), pki.path("ca.pem"));
        options.subject.hosts = vec!["mail.example.com".into()];
        let lines = accepted(&options, &serving);
        has(&lines, "6 Certificate accepted at depth=1: CN=ca");
        has(
            &lines,
            "5 Certificate accepted at depth=0: CN=mail.example.com",
        );
        accepted(&client(verify_peer(), pki.path("v1.pem")), &serving);
        let (text, _) = refused(&client(verify_chain(), pki.path("other.pem")), &serving);
        assert!(text.contains("unable to get local issuer"), "{text}");
    }
}

#[test]
fn a_leaf_in_ca_file_is_not_trusted_to_sign_others() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let trusted = leaf(&["a.example.com"], "a");
    let file = pki.write("a.pem", &trusted.self_signed(&key).unwrap().pem());
    let issuer = CertifiedIssuer::self_signed(trusted, key).unwrap();
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = leaf(&["mail.example.com"], "forged");
        params.is_ca = is_ca;
        let forged = server(pki.signed("forged.pem", &params, &issuer));
        let (text, _) = refused(&client(verify_chain(), file.clone()), &forged);
        assert!(text.contains("invalid CA certificate"), "{text}");
    }
}

#[test]
fn a_certificate_with_ca_true_that_an_authority_signed_is_a_leaf_as_well() {
    let pki = Pki::new();
    let (ca, other) = (authority("the authority"), authority("the authority"));
    let mut params = leaf(&["mail.example.com"], "server");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let options = client(verify_chain(), pki.authority("ca.pem", &ca));
    accepted(&options, &server(pki.signed("server.pem", &params, &ca)));
    refused(&options, &server(pki.signed("forged.pem", &params, &other)));
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    refused(&options, &server(pki.signed("old.pem", &params, &ca)));
}

#[test]
fn what_is_trusted_is_known_by_name() {
    let pki = Pki::new();
    let file = pki.authority("ca.pem", &authority("the authority"));
    let found = crate::tls::keys::ca_file(&file).unwrap();
    let (trust, unusable) =
        crate::tls::trust::Trust::new(found, crate::tls::trust::Ends::Roots, true);
    assert_eq!(unusable, 0);
    assert_eq!(trust.names().collect::<Vec<_>>(), ["CN=the authority"]);
}

#[test]
fn a_root_that_was_renewed_with_its_key_is_good_beside_its_expired_self() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let mut params = authority_params("root");
    let new = params.self_signed(&key).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let old = CertifiedIssuer::self_signed(params, key).unwrap();
    let cert = pki.signed("server.pem", &leaf(&["mail.example.com"], "server"), &old);
    for files in [old.pem() + &new.pem(), new.pem() + &old.pem()] {
        let options = client(verify_chain(), pki.write("ca.pem", &files));
        accepted(&options, &server(cert.clone()));
    }
    refused(
        &client(verify_chain(), pki.authority("old.pem", &old)),
        &server(cert),
    );
}

/// A renewed root whose name has another encoding, above certificates that have the old one.
#[test]
fn names_are_compared_by_text_in_both_roles_and_by_verify_peer() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let named = |name: &str| {
        let mut params = authority_params("");
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = rcgen::string::PrintableString::try_from(name).unwrap();
        let name = rcgen::DnValue::PrintableString(name);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let root = authority_params("the authority").self_signed(&key).unwrap();
    let root = pki.write("root.pem", &root.pem());
    let old = CertifiedIssuer::self_signed(named("The  AUTHORITY"), key).unwrap();
    let cert = pki.signed("server.pem", &leaf(&["mail.example.com"], "server"), &old);
    let lines = accepted(&client(verify_chain(), root.clone()), &server(cert.clone()));
    has(
        &lines,
        "6 Certificate accepted at depth=1: CN=the authority",
    );
    let verify_server = PeerVerification {
        server: true,
        ..PeerVerification::default()
    };
    accepted(&client(verify_server, root.clone()), &server(cert.clone()));
    let asking = TlsOptions {
        verification: verify_chain(),
        ca_file: Some(root),
        ..server_options(&pki)
    };
    let showing = TlsOptions {
        cert: Some(pki.signed("client.pem", &leaf(&[], "client"), &old)),
        ..TlsOptions::default()
    };
    let (mut client_end, mut server_end) = connect(&showing, &asking);
    client_end.stream();
    server_end.stream();
    // verifyPeer: the same subject and key, with the subject spelt differently.
    let key = KeyPair::generate().unwrap();
    let known = leaf(&["mail.example.com"], "server")
        .signed_by(&key, &old)
        .unwrap();
    let renewed = leaf(&["mail.example.com"], "SERVER")
        .signed_by(&key, &old)
        .unwrap();
    let serving = pki.write("renewed.pem", &(key.serialize_pem() + &renewed.pem()));
    let known = pki.write("known.pem", &known.pem());
    accepted(&client(verify_peer(), known), &server(serving));
}

#[test]
fn key_usage_must_allow_the_role() {
    use rcgen::KeyUsagePurpose as Usage;
    let pki = Pki::new();
    let ca = authority("the authority");
    let ca_file = pki.authority("ca.pem", &ca);
    for (usage, serves, asks) in [
        (Usage::DigitalSignature, true, true),
        (Usage::KeyAgreement, true, true),
        (Usage::KeyEncipherment, true, false),
        (Usage::ContentCommitment, false, false),
        (Usage::KeyCertSign, false, false),
    ] {
        let mut params = leaf(&["mail.example.com"], "a");
        params.key_usages = vec![usage];
        let cert = pki.signed("a.pem", &params, &ca);
        for options in [
            client(verify_chain(), ca_file.clone()),
            client(verify_peer(), cert.clone()),
        ] {
            let (client_end, _) = connect(&options, &server(cert.clone()));
            assert_eq!(
                !matches!(client_end.state, Some(State::Failed(_))),
                serves,
                "{usage:?}"
            );
            let asking = TlsOptions {
                cert: server_options(&pki).cert,
                ..options
            };
            let (_, server_end) = connect(&server(cert.clone()), &asking);
            match &server_end.state {
                Some(State::Failed(failure)) => {
                    assert!(!asks, "{usage:?} {failure}");
                    let text = failure.to_string();
                    assert!(text.contains("(unsuitable certificate purpose)"), "{text}");
                }
                _ => assert!(asks, "{usage:?}"),
            }
        }
    }
}

/// `openssl x509 -trustout` writes what a certificate is trusted for, and stunnel obeys.
#[test]
fn a_trusted_certificate_is_trusted_for_what_it_says() {
    let pki = Pki::new();
    let (root, other) = (authority("root"), authority("other"));
    let middle = CertifiedIssuer::signed_by(
        authority_params("middle"),
        KeyPair::generate().unwrap(),
        &root,
    )
    .unwrap();
    let with = |authority: &Authority, arguments: &[&str]| {
        let file = pki.authority("plain.pem", authority);
        let output = std::process::Command::new("openssl")
            .args(["x509", "-trustout", "-in"])
            .arg(file)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap() + &other.pem()
    };
    let direct = server(pki.signed("direct.pem", &leaf(&["mail.example.com"], "a"), &root));
    let below = pki.signed("below.pem", &leaf(&["mail.example.com"], "b"), &middle);
    let below = std::fs::read_to_string(below).unwrap() + &middle.pem();
    let below = server(pki.write("below.pem", &below));
    let server_trusted = ["-addtrust", "serverAuth"];
    let server_rejected = ["-addreject", "serverAuth"];
    for (ca_file, serving, good) in [
        (with(&root, &[]), &direct, true),
        (with(&root, &server_trusted), &direct, true),
        (with(&root, &["-addtrust", "clientAuth"]), &direct, false),
        (with(&root, &server_rejected), &direct, false),
        // A trusted intermediate ends a path; a rejected one blocks it.
        (with(&middle, &[]), &below, false),
        (with(&middle, &server_trusted), &below, true),
        (with(&middle, &server_rejected) + &root.pem(), &below, false),
    ] {
        let options = client(verify_chain(), pki.write("ca.pem", &ca_file));
        match good {
            true => drop(accepted(&options, serving)),
            false => drop(refused(&options, serving)),
        }
    }
}

/// A key by which nothing can be verified, from a peer that is verified and from one that is not.
#[test]
fn a_key_that_is_too_small_is_named_and_nothing_is_said_of_verification_where_there_is_none() {
    let pki = Pki::new();
    let path = |name: &str| pki.path(name).to_str().unwrap().to_owned();
    let output = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "rsa:1024",
            "-subj",
            "/CN=small",
        ])
        .args(["-keyout", &path("small.key"), "-out", &path("small.pem")])
        .output()
        .unwrap();
    assert!(output.status.success());
    // adit does not serve such a key: another rustls presents the certificate, with any key.
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let shown = |version| {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(
            &PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        );
        let chain = vec![CertificateDer::from_pem_file(pki.path("small.pem")).unwrap()];
        let certified = rustls::sign::CertifiedKey::new(chain, signing.unwrap());
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        rustls::ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(std::sync::Arc::new(resolver))
    };
    let failure = |options: &TlsOptions, config: rustls::ServerConfig| {
        let context = load(true, options, &Resumption::new().unwrap());
        let mut client = End::begin(&context);
        let config = std::sync::Arc::new(config);
        let mut server = End {
            state: Some(State::Shaking(Handshake::of_rustls(&config))),
            ..End::begin(&context)
        };
        settle(&mut client, &mut server, usize::MAX);
        client.failure().to_string()
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        notes::written();
        let text = failure(&TlsOptions::default(), shown(version));
        assert!(
            text.starts_with(
                "SSL_connect: ee key too small (RSA of 1024 bits): the server's fault"
            ),
            "{text}"
        );
        let lines = notes::written().join("\n") + &text;
        assert!(!lines.contains("certificate verify failed"), "{lines}");
        let options = client(verify_chain(), pki.path("small.pem"));
        let text = failure(&options, shown(version));
        assert!(
            text.starts_with(
                "SSL_connect: certificate verify failed (EE certificate key too weak, RSA of 1024"
            ),
            "{text}"
        );
        // The right size, but not the certificate's key.
        let mut other = shown(version);
        let good = pki.self_signed("good.pem", &leaf(&["mail.example.com"], "a"));
        let another = pki.self_signed("another.pem", &leaf(&["mail.example.com"], "b"));
        let certified = |cert: &PathBuf, key: &PathBuf| {
            use rustls::pki_types::pem::PemObject;
            let chain = vec![rustls::pki_types::CertificateDer::from_pem_file(cert).unwrap()];
            let key = rustls::pki_types::PrivateKeyDer::from_pem_file(key).unwrap();
            let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
            rustls::sign::CertifiedKey::new(chain, signing)
        };
        let resolver = rustls::sign::SingleCertAndKey::from(certified(&good, &another));
        other.cert_resolver = std::sync::Arc::new(resolver);
        let text = failure(&TlsOptions::default(), other);
        assert!(
            text.starts_with("SSL_connect: bad signature: the server's fault"),
            "{text}"
        );
    }
}

/// Not `certificate signature failure`, and no list of numbers.
#[test]
fn an_authority_with_a_small_key_or_an_old_digest_is_named() {
    let pki = Pki::new();
    let script = r#"
        set -e
        cd "$1"
        openssl req -x509 -nodes -newkey rsa:1024 -subj /CN=small -keyout small.key -out small.pem
        openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=good -keyout good.key -out good.pem
        openssl req -new -nodes -newkey rsa:2048 -subj /CN=leaf -keyout leaf.key -out leaf.csr
        echo subjectAltName=DNS:mail.example.com > ext
        sign() {
            openssl x509 -req -in leaf.csr -CA $1.pem -CAkey $1.key -CAcreateserial -extfile ext $2 -out $3
        }
        sign small -sha256 small-leaf.pem
        sign good -sha1 sha1.pem
        sign good -md5 md5.pem
    "#;
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(pki.0.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for (cert, ca, words) in [
        (
            "small-leaf.pem",
            "small.pem",
            "(CA certificate key too weak, RSA of 1024 bits)",
        ),
        (
            "sha1.pem",
            "good.pem",
            "(CA signature digest algorithm too weak)",
        ),
        (
            "md5.pem",
            "good.pem",
            "(CA signature digest algorithm too weak)",
        ),
    ] {
        let serving = TlsOptions {
            key: Some(pki.path("leaf.key")),
            ..server(pki.path(cert))
        };
        let (text, _) = refused(&client(verify_chain(), pki.path(ca)), &serving);
        assert!(text.contains(words), "{cert} {text}");
    }
}

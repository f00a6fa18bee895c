//! Every kind of verification, with peers that pass and peers that fail, in stunnel's words.

use super::*;
use crate::ipc::scoreboard::HandshakeFailure;
use crate::tls::notes;

pub(super) fn client(verification: PeerVerification, ca_file: PathBuf) -> TlsOptions {
    TlsOptions {
        verification,
        ca_file: Some(ca_file),
        ..TlsOptions::default()
    }
}

pub(super) fn server(cert: PathBuf) -> TlsOptions {
    TlsOptions {
        cert: Some(cert),
        ..TlsOptions::default()
    }
}

/// The client's log lines of a handshake that must succeed.
pub(super) fn accepted(client: &TlsOptions, server: &TlsOptions) -> Vec<String> {
    notes::written();
    let (mut client, mut server) = connect(client, server);
    client.stream();
    server.stream();
    notes::written()
}

/// The failure, and the log lines, of a handshake that the client must end.
pub(super) fn refused(client: &TlsOptions, server: &TlsOptions) -> (String, Vec<String>) {
    notes::written();
    let (client, server) = connect(client, server);
    assert_eq!(client.failure().kind(), HandshakeFailure::Certificate);
    server.failure();
    let text = client.failure().to_string();
    assert!(
        text.starts_with("SSL_connect: certificate verify failed ("),
        "{text}"
    );
    (text, notes::written())
}

fn has(lines: &[String], line: &str) {
    assert!(
        lines.iter().any(|found| found == line),
        "{line} in {lines:#?}"
    );
}

#[test]
fn verify_chain_takes_what_the_authority_signed_and_says_so() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let cert = pki.signed("server.pem", &leaf(&["mail.example.com"], "server"), &ca);
    let lines = accepted(
        &client(verify_chain(), pki.authority("ca.pem", &ca)),
        &server(cert),
    );
    assert_eq!(
        lines,
        [
            "6 Certificate accepted at depth=1: CN=the authority",
            "7 CERT: Pre-verification succeeded",
            "6 CERT: No subject checks configured",
            "5 Certificate accepted at depth=0: CN=server",
            "6 OCSP: No OCSP stapling response received",
        ]
    );
}

#[test]
fn an_intermediate_that_is_sent_along_is_followed() {
    let pki = Pki::new();
    let root = authority("root");
    let middle = CertifiedIssuer::signed_by(
        authority_params("middle"),
        KeyPair::generate().unwrap(),
        &root,
    )
    .unwrap();
    let alone = pki.signed(
        "server.pem",
        &leaf(&["mail.example.com"], "server"),
        &middle,
    );
    let options = client(verify_chain(), pki.authority("ca.pem", &root));
    let (text, lines) = refused(&options, &server(alone.clone()));
    assert!(
        text.contains("unable to get local issuer certificate"),
        "{text}"
    );
    has(&lines, "4 Rejected by CERT at depth=0: CN=server");
    let chain = std::fs::read_to_string(alone).unwrap() + &middle.pem();
    let lines = accepted(&options, &server(pki.write("chain.pem", &chain)));
    has(&lines, "6 Certificate accepted at depth=2: CN=root");
    has(&lines, "6 Certificate accepted at depth=1: CN=middle");
}

#[test]
fn verify_chain_refuses_another_authority_and_the_self_signed() {
    let pki = Pki::new();
    let (good, bad) = (authority("the authority"), authority("the authority"));
    let options = client(verify_chain(), pki.authority("ca.pem", &good));
    let names = leaf(&["mail.example.com"], "server");
    let (text, _) = refused(&options, &server(pki.signed("bad.pem", &names, &bad)));
    assert!(text.contains("certificate verify failed"), "{text}");
    let (text, lines) = refused(&options, &server(pki.self_signed("self.pem", &names)));
    assert!(text.contains("(self-signed certificate)"), "{text}");
    assert!(text.contains("CAfile"), "{text}");
    has(
        &lines,
        "4 CERT: Pre-verification error: certificate not found in local repository: self-signed certificate",
    );
    has(&lines, "4 Rejected by CERT at depth=0: CN=server");
}

#[test]
fn dates_are_checked_of_leaf_and_root() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let options = client(verify_chain(), pki.authority("ca.pem", &ca));
    let mut params = leaf(&["mail.example.com"], "server");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let (text, lines) = refused(&options, &server(pki.signed("old.pem", &params, &ca)));
    assert!(text.contains("(certificate has expired)"), "{text}");
    has(
        &lines,
        "4 CERT: Pre-verification error: certificate has expired",
    );
    let mut params = leaf(&["mail.example.com"], "server");
    params.not_before = rcgen::date_time_ymd(3000, 1, 1);
    params.not_after = rcgen::date_time_ymd(3001, 1, 1);
    let (text, _) = refused(&options, &server(pki.signed("new.pem", &params, &ca)));
    assert!(text.contains("(certificate is not yet valid)"), "{text}");

    let mut params = authority_params("old root");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let old = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let options = client(verify_chain(), pki.authority("old-ca.pem", &old));
    let names = leaf(&["mail.example.com"], "server");
    let (text, _) = refused(&options, &server(pki.signed("leaf.pem", &names, &old)));
    assert!(text.contains("(certificate has expired)"), "{text}");
}

#[test]
fn a_self_signed_certificate_that_is_in_ca_file_is_accepted_also_as_an_authority() {
    let pki = Pki::new();
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = leaf(&["mail.example.com"], "server");
        params.is_ca = is_ca;
        let cert = pki.self_signed("server.pem", &params);
        let mut options = client(verify_chain(), cert.clone());
        options.subject.hosts = vec!["mail.example.com".into()];
        has(
            &accepted(&options, &server(cert.clone())),
            "5 Certificate accepted at depth=0: CN=server",
        );
        options.subject.hosts = vec!["other.example.com".into()];
        let (text, _) = refused(&options, &server(cert));
        assert!(text.contains("subject checks failed"), "{text}");
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let cert = pki.self_signed("old.pem", &params);
        let (text, _) = refused(&client(verify_chain(), cert.clone()), &server(cert));
        assert!(text.contains("(certificate has expired)"), "{text}");
    }
}

#[test]
fn verify_peer_wants_the_certificate_itself_and_no_chain() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let names = leaf(&["mail.example.com"], "server");
    let cert = pki.signed("server.pem", &names, &ca);
    let lines = accepted(&client(verify_peer(), cert.clone()), &server(cert.clone()));
    has(&lines, "6 CERT: Locally installed certificate matched");
    has(&lines, "5 Certificate accepted at depth=0: CN=server");
    // The authority alone is not enough, nor is another certificate with the same name.
    for other in [
        pki.authority("ca.pem", &ca),
        pki.signed("twin.pem", &names, &ca),
    ] {
        let (text, lines) = refused(&client(verify_peer(), other), &server(cert.clone()));
        assert!(text.contains("verifyPeer"), "{text}");
        has(&lines, "4 CERT: Certificate not found in local repository");
        has(&lines, "4 Rejected by CERT at depth=0: CN=server");
    }
    // Level 3: both.
    let both = PeerVerification {
        chain: true,
        ..verify_peer()
    };
    let files = std::fs::read_to_string(&cert).unwrap() + &ca.pem();
    accepted(
        &client(both, pki.write("both.pem", &files)),
        &server(cert.clone()),
    );
    refused(
        &client(both, pki.authority("ca.pem", &ca)),
        &server(cert.clone()),
    );
}

#[test]
fn verify_peer_knows_a_certificate_that_was_renewed_with_its_key_but_not_an_expired_one() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let key = KeyPair::generate().unwrap();
    let mut params = leaf(&["mail.example.com"], "server");
    let serving = |pem: String| server(pki.write("server.pem", &(key.serialize_pem() + &pem)));
    let old = params.signed_by(&key, &ca).unwrap();
    let known = pki.write("known.pem", &old.pem());
    params.serial_number = Some(77.into());
    let new = params.signed_by(&key, &ca).unwrap();
    accepted(&client(verify_peer(), known.clone()), &serving(new.pem()));
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = params.signed_by(&key, &ca).unwrap();
    let (text, _) = refused(&client(verify_peer(), known), &serving(expired.pem()));
    assert!(text.contains("(certificate has expired)"), "{text}");
}

/// As in OpenSSL, and so in stunnel: a self-signed certificate could say anything else about itself.
#[test]
fn verify_peer_takes_a_self_signed_certificate_only_to_the_last_byte() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let mut params = leaf(&["mail.example.com"], "server");
    let old = params.self_signed(&key).unwrap();
    params.serial_number = Some(77.into());
    let new = params.self_signed(&key).unwrap();
    let serving = |pem: String| server(pki.write("server.pem", &(key.serialize_pem() + &pem)));
    let client = client(verify_peer(), pki.write("known.pem", &old.pem()));
    accepted(&client, &serving(old.pem()));
    let (text, lines) = refused(&client, &serving(new.pem()));
    assert!(text.contains("(self-signed certificate)"), "{text}");
    has(
        &lines,
        "4 CERT: Pre-verification error: certificate not found in local repository: \
         self-signed certificate",
    );
}

#[test]
fn one_subject_check_that_matches_is_enough() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let ca_file = pki.authority("ca.pem", &ca);
    let params = leaf(&["*.example.com", "192.0.2.7"], "server");
    let cert = server(pki.signed("server.pem", &params, &ca));
    let mut options = client(verify_chain(), ca_file);
    options.subject.hosts = vec!["no.example.org".into(), "mail.example.com".into()];
    has(
        &accepted(&options, &cert),
        "6 CERT: Host name \"mail.example.com\" matched with \"*.example.com\"",
    );
    options.subject.hosts.pop();
    options.subject.addresses = vec!["192.0.2.7".parse().unwrap()];
    has(
        &accepted(&options, &cert),
        "6 CERT: IP address \"192.0.2.7\" matched",
    );
    options.subject.addresses = vec!["192.0.2.8".parse().unwrap()];
    let (_, lines) = refused(&options, &cert);
    has(&lines, "4 CERT: Subject checks failed");
    has(&lines, "4 Rejected by CERT at depth=0: CN=server");
    // Without alternative names the common name counts.
    let cert = server(pki.signed("cn.pem", &leaf(&[], "mail.example.com"), &ca));
    options.subject.hosts = vec!["mail.example.com".into()];
    has(
        &accepted(&options, &cert),
        "6 CERT: Host name \"mail.example.com\" matched with \"mail.example.com\"",
    );
}

#[test]
fn verify_server_checks_the_name_of_sni_or_connect() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let verify_server = PeerVerification {
        server: true,
        ..PeerVerification::default()
    };
    let mut options = client(verify_server, pki.authority("ca.pem", &ca));
    let good = server(pki.signed("good.pem", &leaf(&["mail.example.com"], "x"), &ca));
    let bad = server(pki.signed(
        "bad.pem",
        &leaf(&["other.example.com"], "mail.example.com"),
        &ca,
    ));
    has(
        &accepted(&options, &good),
        "6 CERT: Host name \"mail.example.com\" matched",
    );
    let (text, _) = refused(&options, &bad);
    assert!(text.contains("hostname mismatch"), "{text}");
    assert!(text.contains("mail.example.com"), "{text}");
    options.sni = Some("other.example.com".into());
    accepted(&options, &bad);
    refused(&options, &good);
    // No name is sent; the name in connect is still verified.
    options.sni = Some(String::new());
    accepted(&options, &good);
    refused(&options, &bad);
    let other = authority("the authority");
    options.ca_file = Some(pki.authority("ca.pem", &other));
    refused(&options, &good);
}

#[test]
fn verify_server_without_a_name_begins_no_handshake() {
    let pki = Pki::new();
    let ca = pki.authority("ca.pem", &authority("the authority"));
    let verify_server = PeerVerification {
        server: true,
        ..PeerVerification::default()
    };
    let context = load(
        true,
        &client(verify_server, ca),
        &Resumption::new().unwrap(),
    );
    let failure = context.begin(None, &LOG).unwrap_err();
    assert!(failure.to_string().contains("no server name to verify"));
}

#[test]
fn without_verification_everything_is_taken_but_a_signature_must_be_true() {
    let pki = Pki::new();
    let mut params = leaf(&["whatever.example"], "server");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let cert = pki.self_signed("server.pem", &params);
    let lines = accepted(&TlsOptions::default(), &server(cert));
    assert_eq!(lines, ["6 CERT: Certificate verification disabled"]);
}

#[test]
fn a_server_asks_its_clients_as_it_is_told() {
    let pki = Pki::new();
    let ca = authority("the authority");
    let asking = |verification| TlsOptions {
        verification,
        ca_file: Some(pki.authority("ca.pem", &ca)),
        ..server_options(&pki)
    };
    let with = |cert: PathBuf| TlsOptions {
        cert: Some(cert),
        ..TlsOptions::default()
    };
    let good = with(pki.signed("client.pem", &leaf(&[], "client"), &ca));
    let bad = with(pki.self_signed("bad.pem", &leaf(&[], "stranger")));
    let none = TlsOptions::default();

    let (mut client, mut server) = connect(&good, &asking(verify_chain()));
    client.stream();
    server.stream();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let (client, server) = connect(&only(version, none.clone()), &asking(verify_chain()));
        let text = server.failure().to_string();
        assert!(
            text.starts_with(
                "SSL_accept: peer did not return a certificate: give the peer a certificate"
            ),
            "{text}"
        );
        assert_eq!(server.failure().kind(), HandshakeFailure::Certificate);
        client.failure();
        notes::written();
        let (client, server) = connect(&only(version, bad.clone()), &asking(verify_chain()));
        let text = server.failure().to_string();
        assert!(
            text.starts_with("SSL_accept: certificate verify failed"),
            "{text}"
        );
        has(
            &notes::written(),
            "4 Rejected by CERT at depth=0: CN=stranger",
        );
        let told = client.failure().to_string();
        assert!(told.contains("alert unknown ca"), "{told}");
    }
    let optional = PeerVerification {
        require: false,
        ..verify_chain()
    };
    let (mut client, mut server) = connect(&none, &asking(optional));
    client.stream();
    server.stream();
    let (_, server) = connect(&bad, &asking(optional));
    server.failure();
    let curious = PeerVerification {
        request: true,
        ..PeerVerification::default()
    };
    let (mut client, mut server) = connect(&bad, &asking(curious));
    client.stream();
    server.stream();
}

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

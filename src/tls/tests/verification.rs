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

pub(super) fn has(lines: &[String], line: &str) {
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

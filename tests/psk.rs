//! `PSKsecrets`: pre-shared keys of TLS 1.3 on either side, with OpenSSL, with stunnel, and between two of us.

mod files;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::require;
use crate::support::openssl::Tool;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, installed, openssl, tls, wait_for};

const KEY: &str = "8d5c8a1d3b0f4e6a92c7d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071829";
const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const AES_128: &str = "TLS_AES_128_GCM_SHA256";

/// A file of keys, mode 0600.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn of(text: &str) -> Keys {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = Keys { folder };
        keys.write(text);
        keys
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("psk.txt")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("writing");
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    fn line(&self) -> String {
        format!("PSKsecrets = {}\n", self.path().display())
    }
}

fn one(identity: &str, key: &str) -> Keys {
    Keys::of(&format!("{identity}:{key}\n"))
}

/// What lives as long as the instance.
struct Served {
    adit: Adit,
    keys: Keys,
    _upstream: Server,
}

/// Server mode in front of an echo, with these keys.
fn server_mode(keys: Keys, more: &str) -> Served {
    let upstream = Server::echo();
    let lines = upstream.line() + &keys.line() + more;
    Served {
        adit: Adit::serve(lines),
        keys,
        _upstream: upstream,
    }
}

impl Served {
    fn address(&self) -> SocketAddr {
        self.adit.address("test")
    }
}

fn s_client(address: SocketAddr, identity: &str, key: &str, more: &[&str]) -> Tool {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-quiet", "-state", "-ign_eof", "-tls1_3"])
        .args(["-connect", &address.to_string()])
        .args(["-psk_identity", identity, "-psk", key])
        .args(more);
    Tool::start(&mut command)
}

/// Has it echo through adit.
#[track_caller]
fn echoes(client: &mut Tool) {
    writeln!(client.input(), "a word").expect("sending");
    client.wait_for("a word\n");
}

/// What it says once its handshake has failed.
#[track_caller]
fn refused(mut client: Tool) -> String {
    client.end_input();
    client.succeeds();
    client.said()
}

/// `openssl s_server` without a certificate that sends back each line, reversed.
fn s_server(identity: &str, key: &str, more: &[&str]) -> (Tool, SocketAddr) {
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-accept", "127.0.0.1:0", "-nocert", "-rev"])
        .args(["-psk_identity", identity, "-psk", key])
        .args(more);
    let tool = Tool::start(&mut command);
    let address = wait_for("s_server's port", || {
        let said = tool.said();
        let line = said.lines().find(|line| line.starts_with("ACCEPT"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    });
    (tool, address)
}

fn client_mode(address: SocketAddr, keys: &Keys, more: &str) -> Adit {
    Adit::serve(format!(
        "client = yes\nconnect = {address}\n{}{more}",
        keys.line()
    ))
}

#[test]
fn openssl_clients_are_served_by_their_key_without_a_certificate() {
    require!(adit);
    require!(program "openssl");
    let served = server_mode(one("office", KEY), "");
    for suites in [
        AES_128,
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
    ] {
        // With a group that needs a second hello, too.
        for group in ["X25519", "P-256", "P-521:P-384"] {
            let more = ["-ciphersuites", suites, "-curves", group];
            let mut client = s_client(served.address(), "office", KEY, &more);
            echoes(&mut client);
        }
    }
    served
        .adit
        .wait_for_log("LOG5[0]: Key configured for PSK identity \"office\"");
    served
        .adit
        .wait_for_log("TLSv1.3 ciphersuite: TLS_CHACHA20_POLY1305_SHA256");
    let log = served.adit.log();
    assert!(!log.contains(&KEY[..16]), "{log}");
}

#[test]
fn adit_shows_its_key_to_openssl_servers() {
    require!(adit);
    require!(program "openssl");
    for more in [
        &["-ciphersuites", AES_128][..],
        &["-curves", "X25519"],
        &["-curves", "P-384"],
        &[],
    ] {
        let (_server, address) = s_server("office", KEY, more);
        let keys = Keys::of(&format!("home:{OTHER}\noffice:{KEY}\n"));
        let adit = client_mode(address, &keys, "PSKidentity = office\n");
        let mut client = adit.connect("test");
        client.write_all(b"a word\n").expect("sending");
        peers::says_and_hears_nothing_but(&mut client, "drow a");
        adit.wait_for_log("LOG6[0]: PSK client configured for identity \"office\"");
        adit.wait_for_log("TLSv1.3 ciphersuite: TLS_AES_128_GCM_SHA256");
    }
}

#[test]
fn stunnel_is_served_and_serves() {
    require!(adit);
    require!(program "stunnel4");
    let stunnel = installed("stunnel4").expect("asked for before");
    let keys = one("office", KEY);
    let served = server_mode(one("office", KEY), "");
    let client = Plan::new()
        .program(&stunnel)
        .service(
            "test",
            format!(
                "client = yes\nconnect = {}\n{}",
                served.address(),
                keys.line()
            ),
        )
        .start();
    peers::says_and_hears(&mut client.connect("test"), "from stunnel");

    let (certs, upstream) = (Certs::new(), Server::echo());
    // Also where it could show a certificate.
    for more in [String::new(), certs.server().lines()] {
        let server = Plan::new()
            .program(&stunnel)
            .service("test", upstream.line() + &keys.line() + &more)
            .start();
        let adit = client_mode(server.address("test"), &keys, "");
        peers::says_and_hears(&mut adit.connect("test"), "to stunnel");
        server.wait_for_log("Key configured for PSK identity \"office\"");
    }
}

/// The client's end is not old, and is served beside the other by the same worker.
#[test]
fn a_client_service_may_speak_tls_with_its_clients_too() {
    require!(adit);
    let certs = Certs::new();
    let served = server_mode(one("office", KEY), "");
    let pair = certs.server();
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let front = format!("acceptTLS = yes\nacceptCert = {cert}\nacceptKey = {key}\n");
    let adit = client_mode(served.address(), &served.keys, &front);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "both ways");
}

#[test]
fn two_of_us_take_each_others_key() {
    require!(adit);
    let served = server_mode(one("office", KEY), "");
    let adit = client_mode(served.address(), &served.keys, "");
    for nth in 0..3 {
        peers::says_and_hears(&mut adit.connect("test"), &format!("word {nth}"));
    }
    let log = adit.log();
    assert!(
        !log.contains("needs authentication to prevent MITM attacks"),
        "{log}"
    );
}

#[test]
fn a_wrong_key_is_refused_at_once_and_told_to_both() {
    require!(adit);
    require!(program "openssl");
    let served = server_mode(one("office", KEY), "");
    let said = refused(s_client(served.address(), "office", OTHER, &[]));
    assert!(said.contains("alert decrypt error"), "{said}");
    served.adit.wait_for_log(
        "SSL_accept: binder does not verify (identity \"office\"): the two sides do not agree",
    );
    let adit = client_mode(served.address(), &one("office", OTHER), "");
    let mut client = adit.connect("test");
    assert!(
        peers::read_until_gone(&mut client)
            .unwrap_or_default()
            .is_empty()
    );
    adit.wait_for_log("compare PSKidentity, and its key in PSKsecrets, with the server's");
    // It goes on with those that know it.
    echoes(&mut s_client(served.address(), "office", KEY, &[]));
}

#[test]
fn an_unknown_identity_is_refused_and_named() {
    require!(adit);
    require!(program "openssl");
    let served = server_mode(one("office", KEY), "");
    let said = refused(s_client(served.address(), "e\u{1b}ve", KEY, &[]));
    assert!(said.contains("alert unknown psk identity"), "{said}");
    served
        .adit
        .wait_for_log("SSL_accept: PSK identity not found (identity \"e\\x1bve\")");
    let said = refused(Tool::start(Command::new("openssl").args([
        "s_client",
        "-connect",
        &served.address().to_string(),
    ])));
    assert!(said.contains("handshake failure"), "{said}");
    served
        .adit
        .wait_for_log("SSL_accept: no PSK identity offered");
    let log = served.adit.log();
    assert!(!log.contains(&KEY[..16]), "{log}");
}

#[test]
fn a_client_without_tls_1_3_or_without_sha_256_is_told_what_it_lacks() {
    require!(adit);
    require!(program "openssl");
    let served = server_mode(one("office", KEY), "");
    let address = served.address().to_string();
    let mut old = Command::new("openssl");
    old.args([
        "s_client", "-connect", &address, "-tls1_2", "-cipher", "PSK",
    ]);
    let said = refused(Tool::start(old.args([
        "-psk_identity",
        "office",
        "-psk",
        KEY,
    ])));
    assert!(said.contains("alert protocol version"), "{said}");
    served.adit.wait_for_log(
        "adit has no PSK suites of TLS 1.2: the client needs a TLS library with TLS 1.3",
    );
    let suite = ["-ciphersuites", "TLS_AES_256_GCM_SHA384"];
    let said = refused(s_client(served.address(), "office", KEY, &suite));
    assert!(said.contains("alert handshake failure"), "{said}");
    served
        .adit
        .wait_for_log("the client offers TLS_AES_256_GCM_SHA384; adit has TLS_AES_128_GCM_SHA256");
}

#[test]
fn a_server_that_shows_a_certificate_instead_is_refused() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let (_server, address) = openssl::s_server(&certs.server(), &[]);
    let adit = client_mode(address, &one("office", KEY), "");
    let mut client = adit.connect("test");
    let _ = client.write_all(b"a secret");
    assert!(
        peers::read_until_gone(&mut client)
            .unwrap_or_default()
            .is_empty()
    );
    adit.wait_for_log("SSL_connect: PSK not accepted: the two sides do not agree");
}

/// As in stunnel, but for the one that verifies nothing.
#[test]
fn a_server_that_shows_a_certificate_instead_is_verified_where_that_is_asked_for() {
    require!(adit);
    let certs = Certs::new();
    let server = tls::echo_server(&certs, tls::ONLY_13);
    let keys = one("office", KEY);
    let client = |trusted: &Certs| {
        let lines = format!("client = yes\nverifyChain = yes\n{}", trusted.ca_line());
        Adit::serve(server.line() + &keys.line() + &lines)
    };
    peers::says_and_hears(&mut client(&certs).connect("test"), "by certificate");
    let adit = client(&Certs::new());
    let _ = peers::read_until_gone(&mut adit.connect("test"));
    adit.wait_for_log("certificate verify failed");
}

#[test]
fn a_certificate_beside_serves_those_without_a_key_and_their_sessions_resume() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let served = server_mode(one("office", KEY), &certs.server().lines());
    for versions in [tls::ONLY_13, tls::ONLY_12] {
        let config = tls::client_config(&certs.ca(), versions, None);
        for _ in 0..2 {
            let mut client = tls::connect(config.clone(), served.address());
            peers::says_and_hears(&mut client, "by certificate");
        }
    }
    served
        .adit
        .wait_for_log_times("TLS accepted: previous session reused", 2);
    echoes(&mut s_client(served.address(), "office", KEY, &[]));
    served
        .adit
        .wait_for_log("Key configured for PSK identity \"office\"");
    // An unknown identity may do without.
    echoes(&mut s_client(served.address(), "eve", KEY, &[]));
    served
        .adit
        .wait_for_log("LOG6[5]: PSK identity not found (session resumption?)");
    // And AES-256 has the certificate alone.
    let suite = [
        "-ciphersuites",
        "TLS_AES_256_GCM_SHA384",
        "-curves",
        "P-256",
    ];
    echoes(&mut s_client(served.address(), "office", KEY, &suite));
    // Shared keys are no reason for weaker suites.
    let address = served.address().to_string();
    let mut weak = Command::new("openssl");
    weak.args([
        "s_client",
        "-connect",
        &address,
        "-tls1_2",
        "-cipher",
        "ECDHE-ECDSA-AES128-SHA",
    ]);
    let said = refused(Tool::start(&mut weak));
    assert!(said.contains("alert handshake failure"), "{said}");
}

/// The certificate of such a service may be another's too: it knows no RSA key exchange.
#[test]
fn a_modern_service_may_have_the_same_certificate() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let keys = one("office", KEY);
    let lines = upstream.line() + &certs.server().lines();
    let adit = Plan::new()
        .service("modern", lines.clone())
        .service("shared", lines.clone() + &keys.line())
        .start();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for service in ["modern", "shared"] {
        let mut client = tls::connect(config.clone(), adit.address(service));
        peers::says_and_hears(&mut client, service);
    }
}

#[test]
fn each_of_a_thousand_identities_is_found() {
    require!(adit);
    require!(program "openssl");
    let line = |nth: usize| format!("client-{nth}:{nth:064x}\n");
    let all: String = (1..=1000).map(line).collect();
    let served = server_mode(Keys::of(&all), "");
    for nth in [1, 2, 499, 1000] {
        let key = format!("{nth:064x}");
        echoes(&mut s_client(
            served.address(),
            &format!("client-{nth}"),
            &key,
            &[],
        ));
    }
    served.adit.wait_for_log("PSK identities: 1000 retrieved");
}

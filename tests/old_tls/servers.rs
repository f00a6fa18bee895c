//! Servers with old TLS alone are reached, with what they have.

use std::io::Write;

use crate::require;
use crate::support::certs::{Kind, Pair, Wish};
use crate::support::peers;
use crate::support::{Adit, Certs, old_tls, openssl};

use super::{client_mode, rsa};

#[test]
fn a_server_with_old_tls_alone_is_reached() {
    require_peers!();
    let certs = Certs::new();
    let pair = rsa(&certs);
    for (options, more, suite) in [
        (
            &["--cipher", "3des"][..],
            "sslVersionMin = TLSv1\n",
            "TLSv1 ciphersuite: DES-CBC3-SHA",
        ),
        (
            &["--cipher", "aes128", "--kx", "dhe_rsa"],
            "sslVersionMin = TLSv1\n",
            "TLSv1 ciphersuite: DHE-RSA-AES128-SHA",
        ),
        (
            &[
                "--version",
                "1.2",
                "--min",
                "1.2",
                "--cipher",
                "aes256",
                "--kx",
                "rsa",
            ],
            "ciphers = AES256-SHA\n",
            "TLSv1.2 ciphersuite: AES256-SHA",
        ),
        (
            &[
                "--version",
                "1.2",
                "--min",
                "1.2",
                "--cipher",
                "aes128gcm",
                "--kx",
                "dhe_rsa",
            ],
            "ciphers = DHE-RSA-AES128-GCM-SHA256\n",
            "TLSv1.2 ciphersuite: DHE-RSA-AES128-GCM-SHA256",
        ),
    ] {
        let (_server, address) = old_tls::server(&pair, options);
        let adit = client_mode(address, &certs, more);
        let mut client = adit.connect("test");
        peers::says_and_hears(&mut client, "hello");
        adit.wait_for_log(suite);
    }
}

#[test]
fn openssls_servers_with_suites_of_old_are_reached() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let pair = rsa(&certs);
    for (arguments, more, suite) in [
        (
            ["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"],
            "sslVersion = TLSv1\n",
            "TLSv1 ciphersuite: AES128-SHA",
        ),
        (
            ["-tls1_1", "-cipher", "DHE-RSA-AES256-SHA:@SECLEVEL=0"],
            "sslVersionMin = TLSv1\n",
            "TLSv1.1 ciphersuite: DHE-RSA-AES256-SHA",
        ),
        (
            ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"],
            "ciphers = ECDHE-RSA-AES256-SHA384\n",
            "TLSv1.2 ciphersuite: ECDHE-RSA-AES256-SHA384",
        ),
        (
            ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
            "ciphers = AES128-GCM-SHA256\n",
            "TLSv1.2 ciphersuite: AES128-GCM-SHA256",
        ),
    ] {
        let (_server, address) = openssl::s_server(&pair, &[&arguments[..], &["-rev"]].concat());
        let adit = client_mode(address, &certs, more);
        let mut client = adit.connect("test");
        client.write_all(b"abc\n").expect("sending");
        peers::says_and_hears_nothing_but(&mut client, "cba\n");
        adit.wait_for_log(suite);
    }
}

#[test]
fn one_list_reaches_a_server_with_rc4_alone_and_every_other() {
    require_peers!();
    require!(program "openssl");
    let certs = Certs::new();
    let pair = rsa(&certs);
    let list = "sslVersionMin = TLSv1\nciphers = ALL:RC4-SHA\n";
    for (options, suite) in [
        (&["--cipher", "rc4"][..], "TLSv1 ciphersuite: RC4-SHA"),
        (&["--cipher", "3des"], "TLSv1 ciphersuite: DES-CBC3-SHA"),
        (
            &["--cipher", "aes128", "--kx", "dhe_rsa"],
            "TLSv1 ciphersuite: DHE-RSA-AES128-SHA",
        ),
    ] {
        let (_server, address) = old_tls::server(&pair, options);
        let adit = client_mode(address, &certs, list);
        let mut client = adit.connect("test");
        peers::says_and_hears(&mut client, "hello");
        adit.wait_for_log(suite);
    }
    for (arguments, suite) in [
        (
            &["-tls1", "-cipher", "ECDHE-RSA-AES256-SHA:@SECLEVEL=0"][..],
            "TLSv1 ciphersuite: ECDHE-RSA-AES256-SHA",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
            "TLSv1.2 ciphersuite: ECDHE-RSA-CHACHA20-POLY1305",
        ),
        (&["-tls1_3"], "TLSv1.3 ciphersuite: TLS_AES_"),
    ] {
        let (_server, address) = openssl::s_server(&pair, &[arguments, &["-rev"]].concat());
        let adit = client_mode(address, &certs, list);
        let mut client = adit.connect("test");
        client.write_all(b"abc\n").expect("sending");
        peers::says_and_hears_nothing_but(&mut client, "cba\n");
        adit.wait_for_log(suite);
    }
}

#[test]
fn a_list_that_mixes_key_exchanges_reaches_servers_with_each_of_them() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let pair = rsa(&certs);
    let list = ["ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-SHA", "AES256-SHA"];
    for one in list {
        let (_server, address) = openssl::s_server(
            &pair,
            &["-tls1_1", "-cipher", &format!("{one}:@SECLEVEL=0"), "-rev"],
        );
        let more = format!("sslVersionMin = TLSv1\nciphers = {}\n", list.join(":"));
        let adit = client_mode(address, &certs, &more);
        let mut client = adit.connect("test");
        client.write_all(b"abc\n").expect("sending");
        peers::says_and_hears_nothing_but(&mut client, "cba\n");
        adit.wait_for_log(&format!("TLSv1.1 ciphersuite: {one} "));
    }
    // What is not in it is not offered.
    let arguments = ["-tls1_1", "-cipher", "AES128-SHA:@SECLEVEL=0", "-rev"];
    let (_server, address) = openssl::s_server(&pair, &arguments);
    let more = format!("sslVersionMin = TLSv1\nciphers = {}\n", list.join(":"));
    let adit = client_mode(address, &certs, &more);
    let mut client = adit.connect("test");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("alert handshake failure");
}

#[test]
fn a_pinned_servers_small_key_is_taken_at_a_lower_security_level() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let (cert, key) = (
        certs.folder().join("1024.pem"),
        certs.folder().join("1024.key"),
    );
    let subject = [
        "-subj",
        "/CN=localhost",
        "-days",
        "30",
        "-sha1",
        "-nodes",
        "-x509",
    ];
    let mut make = std::process::Command::new("openssl");
    make.args(["req", "-newkey", "rsa:1024", "-keyout"])
        .arg(&key);
    openssl::run(make.arg("-out").arg(&cert).args(subject));
    let pair = Pair { cert, key };
    let arguments = ["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0", "-rev"];
    let (_server, address) = openssl::s_server(&pair, &arguments);
    let serve = |level: &str| {
        Adit::serve(format!(
            "client = yes\nconnect = {address}\nCAfile = {}\nverifyPeer = yes\nsslVersionMin = TLSv1\n{level}",
            pair.cert.display()
        ))
    };
    let adit = serve("");
    let mut client = adit.connect("test");
    let _ = peers::read_until_gone(&mut client);
    adit.wait_for_log("EE certificate key too weak, RSA of 1024 bits");
    let adit = serve("securityLevel = 1\n");
    let mut client = adit.connect("test");
    client.write_all(b"abc\n").expect("sending");
    peers::says_and_hears_nothing_but(&mut client, "cba\n");
}

#[test]
fn an_old_servers_certificate_is_verified_as_any_other() {
    require_peers!();
    let certs = Certs::new();
    let strangers = Certs::named("another test CA");
    let stranger = rsa(&strangers);
    let wrong = certs.issue(
        "wrong",
        Wish {
            kind: Kind::Rsa,
            name: "other.test",
            subjects: &["other.test"],
            ..Wish::default()
        },
    );
    for (pair, phrase) in [
        (&stranger, "unable to get local issuer certificate"),
        (&wrong, "subject checks failed"),
    ] {
        let (_server, address) = old_tls::server(pair, &["--cipher", "aes128"]);
        let adit = client_mode(address, &certs, "sslVersionMin = TLSv1\n");
        let mut client = adit.connect("test");
        let _ = client.write_all(b"secret");
        assert!(
            peers::read_until_gone(&mut client)
                .unwrap_or_default()
                .is_empty()
        );
        adit.wait_for_log(phrase);
    }
}

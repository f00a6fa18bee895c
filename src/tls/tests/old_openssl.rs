//! Old TLS with OpenSSL, as far as it still has it: no 3DES, no RC4.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::old::{from, rsa_options, with_ciphers};
use super::openssl::{OPEN, carry, free_port, openssl, wait_until_it_accepts};
use super::*;

/// OpenSSL's arguments for what it does not speak by itself.
const OLD: [&str; 2] = ["-cipher", "ALL:@SECLEVEL=0"];

fn megabyte() -> Vec<u8> {
    (0..1u32 << 20)
        .map(|number| b'a' + (number % 23) as u8)
        .collect()
}

#[test]
fn an_old_openssl_client_gets_a_megabyte_and_gives_one() {
    let pki = Pki::new();
    let options = from(TlsVersion::V1_0, rsa_options(&pki));
    let context = load(false, &options, &Resumption::new().unwrap());
    for (version, list, name, suite) in [
        ("-tls1", "AES128-SHA", "TLSv1", "AES128-SHA"),
        (
            "-tls1",
            "ECDHE-RSA-AES256-SHA",
            "TLSv1",
            "ECDHE-RSA-AES256-SHA",
        ),
        ("-tls1_1", "AES256-SHA", "TLSv1.1", "AES256-SHA"),
        ("-tls1_2", "AES256-SHA", "TLSv1.2", "AES256-SHA"),
        ("-tls1_2", "AES256-SHA256", "TLSv1.2", "AES256-SHA256"),
        (
            "-tls1_2",
            "ECDHE-RSA-AES256-SHA384",
            "TLSv1.2",
            "ECDHE-RSA-AES256-SHA384",
        ),
        (
            "-tls1_2",
            "DHE-RSA-AES256-GCM-SHA384",
            "TLSv1.2",
            "DHE-RSA-AES256-GCM-SHA384",
        ),
        (
            "-tls1_2",
            "AES128-GCM-SHA256",
            "TLSv1.2",
            "AES128-GCM-SHA256",
        ),
        ("-tls1_3", "AES128-SHA", "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let list = format!("{list}:@SECLEVEL=0");
        let mut client = openssl(&[
            "s_client",
            "-connect",
            &address,
            version,
            "-cipher",
            &list,
            "-nocommands",
            "-quiet",
            "-no_ign_eof",
        ]);
        let (mut socket, _) = listener.accept().unwrap();
        let mut end = End::begin(&context);
        carry(&mut socket, &mut end, OPEN);
        let negotiated = end.negotiated();
        assert_eq!((negotiated.version, negotiated.suite), (name, suite));
        let data = megabyte();
        let mut stdin = client.0.stdin.take().unwrap();
        let mut stdout = client.0.stdout.take().unwrap();
        std::thread::scope(|scope| {
            let data = &data;
            scope.spawn(move || {
                let mut got = vec![0; data.len()];
                stdout.read_exact(&mut got).unwrap();
                assert!(got == *data, "to the client");
                // Only now, or s_client would take turns.
                stdin.write_all(data).unwrap();
            });
            end.send(data);
            carry(&mut socket, &mut end, |end| end.plain.len() >= data.len());
            assert!(end.plain == *data, "to the server");
            carry(&mut socket, &mut end, |end| end.closed);
        });
    }
}

#[test]
fn we_reach_every_old_openssl_server_and_resume() {
    let pki = Pki::new();
    let cert = rsa_options(&pki).cert.unwrap();
    let cert = cert.to_str().unwrap();
    let client = from(TlsVersion::V1_0, TlsOptions::default());
    for (version, list, name, suite) in [
        ("-tls1", "AES128-SHA", "TLSv1", "AES128-SHA"),
        ("-tls1", "DHE-RSA-AES256-SHA", "TLSv1", "DHE-RSA-AES256-SHA"),
        (
            "-tls1_1",
            "ECDHE-RSA-AES128-SHA",
            "TLSv1.1",
            "ECDHE-RSA-AES128-SHA",
        ),
        ("-tls1_2", "AES256-SHA", "TLSv1.2", "AES256-SHA"),
        ("-tls1_2", "AES256-SHA256", "TLSv1.2", "AES256-SHA256"),
        (
            "-tls1_2",
            "DHE-RSA-AES128-GCM-SHA256",
            "TLSv1.2",
            "DHE-RSA-AES128-GCM-SHA256",
        ),
        ("-tls1_3", OLD[1], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ] {
        let port = free_port().to_string();
        let list = format!("{list}:@SECLEVEL=0");
        let mut server = openssl(&[
            "s_server", "-accept", &port, "-cert", cert, "-key", cert, version, "-cipher", &list,
        ]);
        wait_until_it_accepts(&mut server);
        let context = load(true, &client, &Resumption::new().unwrap());
        for round in 0..3 {
            let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
            let mut end = End::begin(&context);
            end.turn();
            carry(&mut socket, &mut end, OPEN);
            let negotiated = end.negotiated();
            assert_eq!((negotiated.version, negotiated.suite), (name, suite));
            assert_eq!(negotiated.resumed, round > 0, "{version} {list}");
            server
                .0
                .stdin
                .as_mut()
                .unwrap()
                .write_all(b"hello\n")
                .unwrap();
            carry(&mut socket, &mut end, |end| end.plain == b"hello\n");
            end.send(b"to the server\n");
            let mut alert = Vec::new();
            end.stream().close_notify(&mut alert);
            end.outbox.extend(alert);
            socket.write_all(&end.outbox).unwrap();
        }
    }
}

#[test]
fn an_openssl_client_resumes_by_identifier_and_verifies() {
    let pki = Pki::new();
    let resumption = Resumption::new().unwrap();
    let options = with_ciphers(
        "AES128-SHA:AES256-SHA",
        from(TlsVersion::V1_0, rsa_options(&pki)),
    );
    let workers = [
        load(false, &options, &resumption),
        load(false, &options, &resumption),
    ];
    let session = pki.path("session");
    let session = session.to_str().unwrap();
    for round in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut arguments = vec!["s_client", "-connect", &address, "-tls1_1", "-no_ticket"];
        arguments.extend(OLD);
        arguments.extend(["-nocommands", "-quiet", "-no_ign_eof", "-sess_out", session]);
        if round > 0 {
            arguments.extend(["-sess_in", session]);
        }
        let mut client = openssl(&arguments);
        let (mut socket, _) = listener.accept().unwrap();
        let mut end = End::begin(&workers[round % 2]);
        carry(&mut socket, &mut end, OPEN);
        assert_eq!(end.negotiated().resumed, round > 0, "{round}");
        client
            .0
            .stdin
            .take()
            .unwrap()
            .write_all(b"question\n")
            .unwrap();
        carry(&mut socket, &mut end, |end| {
            end.plain == b"question\n" && end.closed
        });
        drop(socket);
        // The session is written when it ends.
        client.0.wait().unwrap();
    }
}

#[test]
fn a_server_with_a_small_group_is_told_apart() {
    let pki = Pki::new();
    let cert = rsa_options(&pki).cert.unwrap();
    let cert = cert.to_str().unwrap();
    let group = pki.write("dh.pem", SMALL_GROUP);
    let port = free_port().to_string();
    let mut server = openssl(&[
        "s_server",
        "-accept",
        &port,
        "-cert",
        cert,
        "-key",
        cert,
        "-dhparam",
        group.to_str().unwrap(),
        "-tls1_2",
        "-cipher",
        "DHE:kRSA:@SECLEVEL=0",
        "-serverpref",
    ]);
    wait_until_it_accepts(&mut server);
    let reach = |options: TlsOptions| {
        let options = from(TlsVersion::V1_0, options);
        let context = load(true, &options, &Resumption::new().unwrap());
        let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let mut end = End::begin(&context);
        end.turn();
        carry(&mut socket, &mut end, |end| {
            !matches!(end.state, Some(State::Shaking(_)))
        });
        end
    };
    let failure = reach(TlsOptions::default()).failure().to_string();
    assert!(
        failure.starts_with("SSL_connect: dh key too small: the server's fault; "),
        "{failure}"
    );
    // What the line advises.
    let mut end = reach(with_ciphers("ALL:!DH", TlsOptions::default()));
    assert_eq!(end.negotiated().suite, "AES256-GCM-SHA384");
}

/// 1024 bits (RFC 2409, section 6.2).
const SMALL_GROUP: &str = "-----BEGIN DH PARAMETERS-----
MIGHAoGBAP//////////yQ/aoiFowjTExmKLgNwc0SkCTgiKZ8x0Agu+pjsTmyJR
Sgh5jjQE3e+VGbPNOkMbMCsKbfJfFDdP4TVtbVHCReSFtXZiXn7G9ExC6aY37WsL
/1y29Aa37e44a/taiZ+lrp8kEXxLH+ZJKGZR7OZTgf//////////AgEC
-----END DH PARAMETERS-----
";

/// One shared secret of 256 begins with a zero, which has to go (RFC 5246, section 8.1.2).
#[test]
fn diffie_hellman_succeeds_every_time() {
    const TIMES: usize = 300;
    let pki = Pki::new();
    let cert = rsa_options(&pki).cert.unwrap();
    let client = with_ciphers(
        "DHE-RSA-AES128-SHA",
        only(TlsVersion::V1_0, TlsOptions::default()),
    );
    let client = load(true, &client, &Resumption::new().unwrap());
    let parameters = pki.path("dh.pem");
    // Small, so that it is fast.
    let mut made = openssl(&[
        "dhparam",
        "-dsaparam",
        "-out",
        parameters.to_str().unwrap(),
        "1024",
    ]);
    assert!(made.0.wait().unwrap().success());
    let port = free_port().to_string();
    let mut server = openssl(&[
        "s_server",
        "-accept",
        &port,
        "-cert",
        cert.to_str().unwrap(),
        "-dhparam",
        parameters.to_str().unwrap(),
        "-tls1",
        "-cipher",
        "DHE-RSA-AES128-SHA:@SECLEVEL=0",
        "-no_cache",
        "-no_ticket",
        "-rev",
    ]);
    wait_until_it_accepts(&mut server);
    // It says something of each, and would wait to be heard.
    let mut said = server.0.stdout.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    for time in 0..TIMES {
        let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let mut end = End::begin(&client);
        end.turn();
        carry(&mut socket, &mut end, |end| match &end.state {
            Some(State::Shaking(_)) => false,
            Some(State::Open(_)) => true,
            _ => panic!("at the {time}th time: {}", end.failure()),
        });
        assert!(!end.negotiated().resumed);
    }
}

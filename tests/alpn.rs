//! `alpn`: what is offered to servers, and chosen of what clients offer (RFC 7301).

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;

use rustls::{AlertDescription, ClientConfig, Error};

use crate::require;
use crate::support::certs::{Kind, Pair, Wish};
use crate::support::openssl::{s_client, s_server};
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, old_tls, tls};

/// The client's TLS, which offers these.
fn offering(certs: &Certs, names: &[&str]) -> Arc<ClientConfig> {
    let mut config = Arc::unwrap_or_clone(tls::client_config(&certs.ca(), tls::BOTH, None));
    config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What a client that asks for `localhost` and offers these agrees on with the service.
fn agreed(certs: &Certs, address: SocketAddr, names: &[&str]) -> Result<Option<String>, Error> {
    let config = offering(certs, names);
    match tls::start_client(config, peers::connect(address)) {
        Ok(mut stream) => {
            // Its server has been told of it then.
            stream.write_all(b"?").expect("sending");
            stream.read_exact(&mut [0]).expect("an answer");
            let chosen = stream.conn.alpn_protocol();
            Ok(chosen.map(|name| String::from_utf8_lossy(name).into_owned()))
        }
        Err(error) => {
            let inner = error.into_inner().expect("TLS says why");
            Err(*inner.downcast().expect("TLS says why"))
        }
    }
}

#[test]
fn a_server_chooses_by_its_own_order_and_refuses_a_client_that_has_none_of_it() {
    require!(adit);
    let certs = Certs::new();
    let (tell, heard) = channel();
    let server = Server::start(move |mut stream| {
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        while bytes.last() != Some(&b'?') && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            bytes.extend(byte);
        }
        let _ = tell.send(bytes);
        let _ = stream.write_all(b"x");
    });
    let common = format!(
        "{}{}protocol = proxy\nproxyVersion = 2\n",
        server.line(),
        certs.server().lines()
    );
    let adit = Plan::new()
        .service("test", format!("{common}alpn = postgresql, h2\n"))
        .service("none", &*common)
        .service(
            "named",
            format!("{common}alpn = a\nsni = test:localhost.other\n"),
        )
        .service(
            "inner",
            format!("{common}alpn = imap\nsni = none:localhost\n"),
        )
        .start();
    let (at, inner) = (adit.address("test"), adit.address("none"));
    let some = |name: &str| Ok(Some(name.to_owned()));
    for (address, offered, chosen) in [
        (at, &["h2", "postgresql"][..], some("postgresql")),
        (at, &["x", "h2"], some("h2")),
        (at, &[], Ok(None)),
        // The name leads to a service with a list of its own.
        (inner, &["h2", "imap"], some("imap")),
        (
            at,
            &["smtp", "x"],
            Err(Error::AlertReceived(
                AlertDescription::NoApplicationProtocol,
            )),
        ),
    ] {
        assert_eq!(agreed(&certs, address, offered), chosen, "{offered:?}");
    }
    adit.wait_for_log("ALPN: postgresql");
    adit.wait_for_log(
        "SSL_accept: no application protocol (the client offers smtp, x): the two sides do not agree; the client has \
         none of those in alpn",
    );
    // The server behind is told of it.
    let mut headers = (0..4).map(|_| heard.recv().expect("a connection"));
    assert!(headers.any(|header| {
        header
            .windows(13)
            .any(|part| part == b"\x01\0\x0apostgresql")
    }));
    // OpenSSL agrees.
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-alpn", "h2", "-connect", &at.to_string()]);
    let output = openssl.stdin(std::process::Stdio::null()).output();
    let said = String::from_utf8(output.expect("openssl").stdout).expect("a text");
    assert!(said.contains("ALPN protocol: h2"), "{said}");
}

#[test]
fn a_client_offers_its_list_and_refuses_a_server_that_has_none_of_it() {
    require!(adit);
    let certs = Certs::new();
    let mut config = Arc::unwrap_or_clone(tls::server_config(&certs.server(), tls::BOTH, None));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let (tell, heard) = channel();
    let server = tls::server(Arc::new(config), move |mut stream| {
        let _ = tell.send(stream.conn.alpn_protocol().map(<[u8]>::to_vec));
        let _ = peers::echo(&mut stream);
    });
    let lines = |more: &str| format!("client = yes\n{}{more}", server.line());
    let adit = Plan::new()
        .service("test", lines("alpn = h2:http/1.1\n"))
        .service("none", lines(""))
        .service("other", lines("alpn = imap\n"))
        .start();
    for (service, chosen) in [("test", Some(&b"http/1.1"[..])), ("none", None)] {
        let mut client = adit.connect(service);
        peers::says_and_hears(&mut client, "hello");
        assert_eq!(heard.recv().expect("a handshake").as_deref(), chosen);
    }
    adit.wait_for_log("ALPN: http/1.1");
    let _refused = adit.connect("other");
    adit.wait_for_log(
        "tlsv1 alert no application protocol: the two sides do not agree; the peer takes none of the protocols that \
         were offered: see alpn",
    );
}

/// What s2n-tls serves: suites without forward secrecy, and their ALPN.
const RSA: [&str; 4] = ["-tls1_2", "-cipher", "AES128-SHA", "-alpn"];

fn with_rsa_key(certs: &Certs) -> Pair {
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    certs.self_signed("rsa", wish)
}

/// Down to TLS 1.0, and with pre-shared keys: s2n-tls itself would go on where nothing is shared.
#[test]
fn clients_with_old_tls_and_pre_shared_keys_agree_on_one_too() {
    require!(adit);
    require!(program "openssl");
    const KEY: &str = "00112233445566778899aabbccddeeff";
    const PSK: [&str; 6] = ["-tls1_3", "-psk", KEY, "-psk_identity", "office", "-alpn"];
    let certs = Certs::new();
    let upstream = Server::greeting("hello\n");
    let plan = Plan::new();
    let secrets = plan.folder().join("secrets");
    fs::write(&secrets, format!("office:{KEY}\n")).expect("writing");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).expect("chmod");
    let common = format!("{}alpn = imap, h2\n", upstream.line());
    let old = with_rsa_key(&certs).lines() + "sslVersionMin = TLSv1\n";
    let keys = format!("PSKsecrets = {}\n", secrets.display());
    let adit = plan
        .service("old", format!("{common}{old}"))
        .service("keys", format!("{common}{keys}"))
        .start();
    let [at, keys] = ["old", "keys"].map(|name| adit.address(name));
    for (address, arguments, offers, chosen) in [
        (at, &RSA[..], Some("x,h2,imap"), Some("imap")),
        (at, &["-tls1_3", "-alpn"], Some("h2"), Some("h2")),
        (at, &RSA[..3], None, None),
        (keys, &PSK, Some("h2"), Some("h2")),
    ] {
        let arguments = arguments.iter().copied().chain(offers).chain(["-ign_eof"]);
        let said = s_client(address, &arguments.collect::<Vec<_>>(), "");
        let mut lines = said.lines();
        let agreed = lines.find_map(|line| line.strip_prefix("ALPN protocol: "));
        assert_eq!(agreed, chosen, "{offers:?}: {said}");
        assert!(said.contains("hello\n"), "{offers:?}: {said}");
    }
    for (address, arguments) in [(at, &RSA[..]), (keys, &PSK)] {
        let said = s_client(address, &[arguments, &["smtp,x"]].concat(), "");
        assert!(said.contains("SSL alert number 120"), "{said}");
    }
    let phrase = "SSL_accept: no application protocol (the client offers smtp, x)";
    adit.wait_for_log_times(phrase, 2);
    require!(
        old_tls::available(),
        "tlslite-ng is not installed; tests/run does it"
    );
    let of_imap = adit.count_in_log("ALPN: imap");
    old_tls::client(at, &["--alpn", "x,imap"]);
    adit.wait_for_log_times("ALPN: imap", of_imap + 1);
    let refused = old_tls::refused(at, &["--alpn", "x"]);
    assert!(refused.contains("description=120"), "{refused}");
}

#[test]
fn old_servers_are_offered_the_list_too() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let pair = with_rsa_key(&certs);
    let (_server, address) = s_server(&pair, &[&RSA[..], &["http/1.1,h2", "-rev"]].concat());
    let client = format!("client = yes\nconnect = {address}\nsslVersionMin = TLSv1\n");
    let adit = Plan::new()
        .service("test", format!("{client}alpn = h2:http/1.1\n"))
        .service("other", format!("{client}alpn = imap\n"))
        .start();
    // That server has one client at a time.
    let _refused = adit.connect("other");
    adit.wait_for_log("tlsv1 alert no application protocol");
    let mut client = adit.connect("test");
    client.write_all(b"abc\n").expect("sending");
    peers::says_and_hears_nothing_but(&mut client, "cba\n");
    adit.wait_for_log("ALPN: http/1.1");
}

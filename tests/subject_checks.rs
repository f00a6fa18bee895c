//! `checkURI`, `checkOU`, `checkCN` and `checkPin`: what a peer's certificate must have beside a chain that is good.

use std::process::Command;

use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::openssl::{run, s_client, s_server};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan};

/// What keeps a service to each of the two TLS libraries, with what `openssl s_client` needs for it.
const LIBRARIES: [(&str, &[&str]); 2] = [
    ("", &["-tls1_3"]),
    (
        "sslVersion = TLSv1.2\nciphers = ECDHE-ECDSA-AES128-SHA\n",
        &["-tls1_2"],
    ),
];

const MAIL: &str = "spiffe://example.org/mail";

/// A certificate of the authority with these names.
fn named(certs: &Certs, file: &str, name: &str, unit: Option<&str>, uris: &[&str]) -> Pair {
    let wish = Wish {
        name,
        unit,
        uris,
        ..Wish::default()
    };
    certs.issue(file, wish)
}

/// The hash of its public key, by the commands that curl's manual gives.
fn pin(pair: &Pair) -> String {
    let pipe = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform DER | \
                openssl dgst -sha256 -binary | openssl base64";
    let hash = run(Command::new("sh").args(["-c", pipe]).arg(&pair.cert)).stdout;
    format!("sha256//{}", String::from_utf8_lossy(&hash).trim())
}

/// What a client with this certificate hears.
fn hears(adit: &Adit, service: &str, pair: &Pair, arguments: &[&str]) -> String {
    let files = [&pair.cert, &pair.key].map(|file| file.to_str().expect("UTF-8"));
    let identity = ["-cert", files[0], "-key", files[1], "-ign_eof"];
    s_client(adit.address(service), &[&identity, arguments].concat(), "")
}

#[test]
fn clients_are_let_in_by_what_their_certificate_has() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let server = Server::greeting("the server\n");
    let mail = named(&certs, "mail", "post", Some("couriers"), &[MAIL]);
    let other = named(
        &certs,
        "other",
        "Post",
        Some("Couriers"),
        &["spiffe://example.org/mail/2"],
    );
    let double = named(
        &certs,
        "double",
        "box",
        None,
        &[MAIL, "https://example.org/?a"],
    );
    let pins = [&mail, &other].map(pin);
    let rows = [
        (
            format!("checkURI = {MAIL}\n"),
            "URI \"spiffe://example.org/mail\" matched",
            &mail,
            &other,
        ),
        // More than one URI, and it is no SPIFFE ID.
        (
            format!("checkURI = {MAIL}\ncheckURI = https://example.org/?a\n"),
            "URI \"https://example.org/?a\" matched",
            &double,
            &other,
        ),
        (format!("checkURI = {MAIL}\n"), "URI \"", &mail, &double),
        (
            "checkOU = couriers\n".to_owned(),
            "Organizational unit \"couriers\" matched",
            &mail,
            &other,
        ),
        (
            "checkCN = post\n".to_owned(),
            "Common name \"post\" matched",
            &mail,
            &other,
        ),
        // One of several is enough, of any kind.
        (
            format!("checkHost = nowhere\ncheckOU = none\ncheckCN = box\ncheckURI = {MAIL}\n"),
            "Common name \"box\" matched",
            &double,
            &other,
        ),
        (
            format!("checkPin = {};{}\n", pins[1], pins[0]),
            "Public key \"sha256//",
            &mail,
            &double,
        ),
        // A pin counts beside the names.
        (
            format!("checkHost = localhost\ncheckPin = {}\n", pins[0]),
            "Host name \"localhost\" matched",
            &mail,
            &other,
        ),
        (
            format!(
                "checkPin = {}\ncheckPin = {}\ncheckCN = Post\n",
                pins[0], pins[1]
            ),
            "Common name \"Post\" matched",
            &other,
            &mail,
        ),
    ];
    let mut plan = Plan::new();
    for (library, (part, _)) in LIBRARIES.iter().enumerate() {
        for (row, (checks, ..)) in rows.iter().enumerate() {
            let lines = format!(
                "{}{}{}{part}verifyChain = yes\n{checks}",
                server.line(),
                certs.server().lines(),
                certs.ca_line(),
            );
            plan = plan.service(&format!("{library}-{row}"), lines);
        }
    }
    let adit = plan.start();
    let mut number = 0;
    for (library, (_, arguments)) in LIBRARIES.iter().enumerate() {
        for (row, (checks, phrase, good, bad)) in rows.iter().enumerate() {
            let service = format!("{library}-{row}");
            let heard = hears(&adit, &service, good, arguments);
            assert!(heard.contains("the server"), "{checks}: {heard}");
            adit.wait_for_log(&format!("LOG6[{number}]: CERT: {phrase}"));
            let heard = hears(&adit, &service, bad, arguments);
            assert!(!heard.contains("the server"), "{checks}: {heard}");
            number += 1;
            let said = match phrase.starts_with("Public") || phrase.starts_with("Host") {
                true => "Public key checks failed",
                false => "Subject checks failed",
            };
            adit.wait_for_log(&format!("LOG4[{number}]: CERT: {said}"));
            adit.wait_for_log(&format!("LOG4[{number}]: Rejected by CERT at depth=0: "));
            number += 1;
        }
    }
}

#[test]
fn a_pin_is_what_curl_pins() {
    require!(adit);
    require!(program "openssl");
    require!(program "curl");
    let certs = Certs::new();
    let [mine, next] = ["mine", "next"].map(|file| certs.issue(file, Wish::default()));
    let rows = [
        (pin(&mine), true),
        (pin(&next), false),
        (format!("{};{}", pin(&next), pin(&mine)), true),
    ];
    let webs = LIBRARIES.map(|(_, version)| s_server(&mine, &[version, &["-www"]].concat()));
    let mut plan = Plan::new();
    for (library, (part, _)) in LIBRARIES.iter().enumerate() {
        for (row, (pins, _)) in rows.iter().enumerate() {
            let port = webs[library].1.port();
            let lines = format!(
                "client = yes\nconnect = localhost:{port}\n{part}{}verifyServer = yes\ncheckPin = {pins}\n",
                certs.ca_line(),
            );
            plan = plan.service(&format!("{library}-{row}"), lines);
        }
    }
    let adit = plan.start();
    for (library, (_web, address)) in webs.iter().enumerate() {
        for (row, (pins, expected)) in rows.iter().enumerate() {
            let url = format!("https://localhost:{}/", address.port());
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--ipv4",
                "--noproxy",
                "*",
                "--output",
                "/dev/null",
            ]);
            curl.args(["--pinnedpubkey", pins, "--cacert"]);
            let status = curl.arg(certs.ca()).arg(url).status().expect("curl");
            // 90: CURLE_SSL_PINNEDPUBKEYNOTMATCH
            let code = if *expected { 0 } else { 90 };
            assert_eq!(status.code(), Some(code), "{pins}");

            let mut client = adit.connect(&format!("{library}-{row}"));
            let request = b"GET / HTTP/1.0\r\n\r\n";
            // Refused, it may be gone by then.
            let _ = std::io::Write::write_all(&mut client, request);
            let heard = peers::read_until_gone(&mut client).unwrap_or_default();
            assert_eq!(heard.starts_with(b"HTTP/1.0 200"), *expected, "{pins}");
        }
    }
    // The hash that the certificate has, to be pasted.
    let known = format!("public key checks failed, its hash is {}", pin(&mine));
    let line = adit.wait_for_log_times(&known, 2);
    assert!(line.contains("certificate verify failed"), "{line}");
}

#[test]
fn a_session_keeps_the_verdict_of_its_certificate() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let [server, lobby] = ["the server\n", "the lobby\n"].map(Server::greeting);
    let [mail, other] = [("mail", "couriers"), ("other", "guests")]
        .map(|(file, unit)| named(&certs, file, file, Some(unit), &[]));
    // With old TLS nothing is resumed where clients show certificates.
    for arguments in [&["-tls1_3"], &["-tls1_2"]] {
        // Secrets that outlive the change of what is asked.
        let lines = format!(
            "{}{}{}verifyChain = yes\nredirect = {}\ncheckOU = couriers\n\
             ticketKeySecret = 000102030405060708090a0b0c0d0e0f\nticketMacSecret = 000102030405060708090a0b0c0d0e0f\n",
            server.line(),
            certs.server().lines(),
            certs.ca_line(),
            lobby.address
        );
        let adit = Plan::new().service("test", lines).start();
        let session = adit.plan.folder().join("session");
        let session = session.to_str().expect("UTF-8");
        for (pair, greeting) in [(&other, "the lobby"), (&mail, "the server")] {
            let first = [&arguments[..], &["-sess_out", session]].concat();
            let said = hears(&adit, "test", pair, &first);
            assert!(said.contains(greeting), "{said}");
            // With a certificate at hand that is good, which is not asked for again.
            let again = [&arguments[..], &["-sess_in", session]].concat();
            let said = hears(&adit, "test", &mail, &again);
            assert!(
                said.contains("Reused, TLSv1") && said.contains(greeting),
                "{said}"
            );
        }
        adit.rewrite(|text| text.replace("checkOU = couriers", "checkOU = guests"));
        adit.reload(1);
        let again = [&arguments[..], &["-sess_in", session]].concat();
        let said = hears(&adit, "test", &mail, &again);
        assert!(
            said.contains("New, TLSv1") && said.contains("the lobby"),
            "{said}"
        );
    }
}

#[test]
fn checks_without_verification_or_of_another_shape_are_errors() {
    require!(adit);
    let certs = Certs::new();
    for (lines, phrases) in [
        (
            "checkPin = sha256//AAAA\n",
            ["is not the hash of a public key", "openssl dgst -sha256"],
        ),
        (
            "checkURI = spiffe://example.org/*\n",
            ["has no wildcards", "a line for each URI"],
        ),
        ("checkURI = example.org\n", ["is not a URI", "checkHost"]),
        ("checkOU =\n", ["checkOU", "a value is missing"]),
        (
            "checkCN = a\n",
            [
                "checkCN = a",
                "Either \"verifyChain\" or \"verifyPeer\" has to be enabled",
            ],
        ),
    ] {
        let lines = format!("{}connect = 127.0.0.1:1\n{lines}", certs.server().lines());
        let outcome = Plan::new().service("test", lines).run();
        outcome.exits(1).says(&phrases);
    }
}

//! Clients without a valid certificate: `redirect`.

use std::path::Path;

use super::{openssl, phrases, same, stunnel};
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

/// Both where nothing but the chain is asked for; TLS 1.3 is enough to tell the rest apart.
fn versions(how: &str) -> &[&str] {
    match how {
        "verifyChain = yes\n" => &["-tls1_3", "-tls1_2"],
        _ => &["-tls1_3"],
    }
}

#[test]
fn clients_that_are_redirected_and_clients_that_are_not() {
    require!(program "stunnel4");
    require!(program "openssl");
    let certs = Certs::new();
    let [server, lobby] = ["the server\n", "the lobby\n"].map(Server::greeting);
    let expired = Wish {
        years: (2024, 2025),
        ..Wish::default()
    };
    let clients = [
        None,
        Some(certs.client()),
        Some(certs.issue("expired", expired)),
        Some(certs.self_signed("itself", Wish::default())),
    ];
    for how in [
        "verifyChain = yes\n",
        "verifyPeer = yes\n",
        "verify = 2\n",
        "verifyChain = yes\ncheckHost = other\n",
    ] {
        let lines = format!(
            "{}{}{}{how}redirect = {}\n",
            server.line(),
            certs.server().lines(),
            certs.ca_line(),
            lobby.address
        );
        for (nth, client) in clients.iter().enumerate() {
            let files = client.as_ref().map(|pair| [&pair.cert, &pair.key]);
            let files = files.map(|files| files.map(|file| file.to_str().expect("UTF-8")));
            let identity = files.map(|[cert, key]| ["-cert", cert, "-key", key]);
            let identity = identity.as_ref().map_or(&[][..], |identity| &identity[..]);
            for version in versions(how) {
                // stunnel goes through a refused certificate again, and says that it is accepted, or finds
                // more that is wrong.
                let differs = [
                    "Certificate accepted at depth=0: CN=localhost",
                    "CERT: Subject checks failed",
                ];
                same(&lines, &differs, |adit| {
                    let session = adit.plan.folder().join("session");
                    let session = session.to_str().expect("UTF-8");
                    let seen = |said: &str| {
                        let words = ["the server", "the lobby", "New, TLS", "Reused, TLS"];
                        let seen = words.into_iter().filter(|word| said.contains(word));
                        seen.collect::<Vec<_>>().join(", ")
                    };
                    let store = [identity, &[version, "-sess_out", session]].concat();
                    let first = seen(&openssl(adit, &store));
                    let again = seen(&openssl(adit, &[version, "-sess_in", session]));
                    format!("{how} {nth}: {first}; {again}")
                });
            }
        }
    }
}

#[test]
fn redirects_that_are_refused() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = format!(
        "connect = 127.0.0.1:9\n{}{}",
        certs.server().lines(),
        certs.ca_line()
    );
    for lines in [
        "redirect = 127.0.0.1:9",
        "verify = 0\nredirect = 127.0.0.1:9",
        "verifyChain = yes\nprotocol = smtp\nredirect = 127.0.0.1:9",
        "client = yes\nverifyChain = yes\ncheckHost = x\nredirect = 127.0.0.1:9",
    ] {
        let lines = format!("{server}{lines}\n");
        let outcome = |path: &Path| {
            let plan = Plan::new().program(path);
            let outcome = plan.service("test", lines.as_str()).run();
            (outcome.status.code(), phrases(&outcome.said))
        };
        let (theirs, ours) = (outcome(&stunnel()), outcome(&program()));
        assert_eq!(theirs, ours, "stunnel's left, adit's right, of\n{lines}");
    }
}

//! Virtual hosts: `sni` in server mode.

use std::path::Path;

use super::{openssl, phrases, same, stunnel};
use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

#[test]
fn names_that_clients_ask_for() {
    require!(program "stunnel4");
    require!(program "openssl");
    let certs = Certs::new();
    let [first, host, others] = ["first\n", "host\n", "others\n"].map(Server::greeting);
    let named = |name| {
        let wish = Wish {
            name,
            ..Wish::default()
        };
        certs.issue(name, wish).lines()
    };
    let lines = format!(
        "{}{}[host]\nsni = test:mail.example.com\n{}{}[others]\nsni = test:*example.com\n{}{}\
         [unreached]\nsni = test:www.example.com\n{}{}",
        first.line(),
        named("first"),
        host.line(),
        named("host"),
        others.line(),
        named("others"),
        host.line(),
        named("host"),
    );
    for asked in [
        &["-servername", "mail.example.com"][..],
        &["-servername", "MAIL.EXAMPLE.COM"],
        &["-servername", "www.example.com"],
        &["-servername", "example.com"],
        &["-servername", "mail.example.com.evil.test"],
        &["-noservername"],
    ] {
        same(&lines, &["Service [test] finished (0 left)"], |adit| {
            let said = openssl(adit, asked);
            let whose = ["first", "host", "others"].into_iter();
            let seen = whose.filter(|name| {
                said.contains(&format!("CN = {name}\n")) && said.contains(&format!("\n{name}\n"))
            });
            seen.collect()
        });
    }
}

#[test]
fn names_that_are_wrong() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = format!("connect = 127.0.0.1:9\n{}", certs.server().lines());
    for (first, sni) in [
        ("", "test"),
        ("", ""),
        ("", "nobody:a.example"),
        ("", "later:a.example"),
        ("client = yes\n", "test:a.example"),
        ("", "test:a.example\naccept = 127.0.0.1:0"),
    ] {
        let lines = format!(
            "{first}{server}[host]\nsni = {sni}\n{server}[later]\naccept = 127.0.0.1:0\n{server}"
        );
        let outcome = |path: &Path| {
            let plan = Plan::new().program(path);
            let outcome = plan.service("test", lines.as_str()).run();
            (outcome.status.code(), phrases(&outcome.said))
        };
        let (mut theirs, ours) = (outcome(&stunnel()), outcome(&program()));
        // adit says nothing of authentication when it refuses.
        let warning = "needs authentication to prevent MITM attacks";
        theirs
            .1
            .retain(|phrase| *phrase != warning || ours.1.contains(phrase));
        assert_eq!(theirs, ours, "stunnel's left, adit's right, of\n{lines}");
    }
}

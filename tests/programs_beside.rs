//! `exec` beside what else decides on a client's way: names, redirection; and what becomes of programs when adit is
//! replaced, or its kernel is old.

use std::fs;
use std::io::Write;

use crate::require;
use crate::support::certs::{Pair, Wish};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Kernel, Plan, openssl::s_client, tls, wait_for};
use crate::upgrade::next_version;

fn dial(adit: &Adit, certs: &Certs, pair: Option<&Pair>) -> tls::ClientStream {
    let config = tls::client_config(&certs.ca(), tls::BOTH, pair);
    tls::connect(config, adit.address("test"))
}

/// What a client hears that says this and ends its half.
fn ask(adit: &Adit, certs: &Certs, pair: Option<&Pair>, text: &str) -> String {
    let mut client = dial(adit, certs, pair);
    client.write_all(text.as_bytes()).expect("room for it");
    tls::end(&mut client);
    String::from_utf8(peers::read_to_end(&mut client)).expect("text")
}

#[test]
fn a_client_without_a_certificate_is_redirected_and_meets_no_program() {
    require!(adit);
    let certs = Certs::new();
    let lobby = Server::greeting("the lobby\n");
    let lines = format!(
        "{}{}verifyChain = yes\nexec = /bin/cat\nredirect = {}\n",
        certs.server().lines(),
        certs.ca_line(),
        lobby.address
    );
    let adit = Plan::new().service("test", lines).start();
    assert_eq!(ask(&adit, &certs, None, "hello"), "the lobby\n");
    assert_eq!(adit.count_in_log("Local mode child started"), 0);
    let pair = certs.client();
    assert_eq!(ask(&adit, &certs, Some(&pair), "hello"), "hello");
    assert_eq!(lobby.connections(), 1);
}

#[test]
fn a_name_may_lead_to_a_program() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let server = Server::greeting("the server\n");
    let named = |name: &str| {
        let wish = Wish {
            name,
            ..Wish::default()
        };
        certs.issue(name, wish).lines()
    };
    let first = named("first.example.com") + &server.line();
    let second = named("mail.example.com")
        + "sni = first:mail.example.com\nexec = /bin/echo\nexecArgs = echo the program\n";
    let adit = Plan::new()
        .service("first", first)
        .service("mail", second)
        .start();
    let address = adit.address("first");
    for (name, words) in [
        ("mail.example.com", "the program"),
        ("other.example.com", "the server"),
    ] {
        let heard = s_client(address, &["-servername", name, "-ign_eof"], "");
        assert!(heard.contains(words), "{name}: {heard}");
    }
    assert_eq!(adit.count_in_log("Local mode child started"), 1);
}

#[test]
fn a_new_binary_lets_programs_live_and_starts_others() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let path = plan.folder().join("adit");
    fs::copy(crate::support::adit::program(), &path).expect("copy");
    let lines = certs.server().lines() + "exec = /bin/cat\n";
    let adit = plan.program(&path).service("test", lines).start();
    let mut old = dial(&adit, &certs, None);
    peers::says_and_hears(&mut old, "hello");
    next_version(&path);
    adit.reload(1);
    adit.wait_for_log("has taken over");
    peers::says_and_hears(&mut old, "again");
    assert_eq!(ask(&adit, &certs, None, "hello"), "hello");
    tls::end(&mut old);
    assert!(peers::read_to_end(&mut old).is_empty());
    // Both ended, the one that the program before had started too.
    wait_for("the end of both", || {
        (adit.count_in_log("finished with code 0") == 2).then_some(())
    });
}

#[test]
fn programs_and_terminals_are_there_on_older_kernels_too() {
    require!(adit);
    let certs = Certs::new();
    for kernel in [Kernel::linux_4_18(), Kernel::behind_an_allow_list()] {
        let lines = certs.server().lines() + "exec = /bin/cat\n";
        let terminal = format!("{}exec = /usr/bin/tty\npty = yes\n", certs.server().lines());
        let adit = Plan::new()
            .kernel(kernel)
            .service("test", lines)
            .service("terminal", terminal)
            .start();
        assert_eq!(ask(&adit, &certs, None, "hello"), "hello");
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, adit.address("terminal"));
        let said = String::from_utf8(peers::read_to_end(&mut client)).expect("text");
        assert!(said.contains("/dev/pts/"), "{said}");
        adit.wait_for_log_times("finished with code 0", 2);
    }
}

//! What both programs accept, and what both refuse, in a configuration's text.

use std::path::Path;

use super::{phrases, stunnel};
use crate::require;
use crate::support::adit::program;
use crate::support::{Certs, Plan};

#[test]
fn configurations_that_are_refused() {
    require!(program "stunnel4");
    let certs = Certs::new();
    let server = certs.server().lines();
    // Not here: `CAfile` with a missing file, and `connect` without a port. stunnel accepts these until
    // a connection comes; adit refuses them at once.
    for lines in [
        server.clone(),
        format!("connect = 127.0.0.1:9\n{server}nonsense = 1\n"),
        format!("connect = 127.0.0.1:9\n{server}TIMEOUTidle = soon\n"),
        format!("connect = 127.0.0.1:9\n{server}sslVersion = TLSv9\n"),
        format!("connect = 127.0.0.1:9\n{server}verify = 9\n"),
        format!("connect = 127.0.0.1:9\n{server}verifyChain = yes\n"),
        format!("connect = 127.0.0.1:9\n{server}options = NONSENSE\n"),
        format!("connect = 127.0.0.1:9\n{server}ciphers = NONSENSE\n"),
        format!("connect = 127.0.0.1:9\n{server}socket = l:NONSENSE=1\n"),
        format!("connect = 127.0.0.1:9\n{server}config = NONSENSE:1\n"),
        format!("connect = 127.0.0.1:9\n{server}config = MinProtocol\n"),
        format!("connect = 127.0.0.1:9\n{server}ticketKeySecret = 00\n"),
        format!(
            "connect = 127.0.0.1:9\n{server}ticketKeySecret = {}\n",
            "ab".repeat(16)
        ),
        format!("client = maybe\nconnect = 127.0.0.1:9\n{server}"),
        "connect = 127.0.0.1:9\n".to_owned(),
    ] {
        let outcome = |path: &Path| {
            let outcome = Plan::new()
                .program(path)
                .service("test", lines.as_str())
                .run();
            (outcome.status.code(), phrases(&outcome.said))
        };
        let (theirs, ours) = (outcome(&stunnel()), outcome(&program()));
        assert_eq!(
            theirs, ours,
            "stunnel's outcome left, adit's right, of\n{lines}"
        );
    }
}

/// One service, with its text changed by `change`: both serve it.
#[track_caller]
fn is_served_by_both(change: impl Fn(String) -> String) {
    let certs = Certs::new();
    for path in [stunnel(), program()] {
        let plan = Plan::new().program(&path);
        let text = change(format!(
            "foreground = yes\noutput = {}/log\npid =\nsyslog = no\ndebug = info\n\
             [test]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n{}",
            plan.folder().display(),
            certs.server().lines()
        ));
        plan.verbatim(text).start();
    }
}

#[test]
fn files_of_every_shape_that_editors_leave_are_taken() {
    require!(program "stunnel4");
    is_served_by_both(|text| format!("\u{feff}{}", text.replace('\n', "\r\n")));
    is_served_by_both(|text| text.replace(" = ", "\t=\t"));
    is_served_by_both(|text| text.replace('\n', "  \n   "));
    is_served_by_both(|text| text.replace(" = ", "=").trim_end().to_owned());
    is_served_by_both(|text| text.replace('\n', "\n\n ; a comment\n\t# another\n"));
    is_served_by_both(|text| text.replace("[test]", "[ a service's name ]"));
    is_served_by_both(|text| {
        text.replace("accept", "ACCEPT")
            .replace("connect", "Connect")
    });
}

#[test]
fn values_that_articles_and_old_files_have_are_taken() {
    require!(program "stunnel4");
    for accept in ["0", "localhost:0", "0.0.0.0:0"] {
        is_served_by_both(|text| text.replace("127.0.0.1:0", accept));
    }
    for line in [
        "ciphers = HIGH:!aNULL:!SSLv2:!DH:!kDHEPSK",
        "ciphers = ALL:!ADH:!LOW:!EXP:@STRENGTH",
        "ciphers = DEFAULT",
        "curve = prime256v1",
        "curves = X25519:P-256:X448:P-521:P-384",
        "sslVersion = all",
        "options = NO_SSLv2",
        "options = -ALL",
        "socket = l:TCP_NODELAY=1",
        "socket = r:SO_KEEPALIVE=1",
        "socket = a:SO_BINDTODEVICE=lo",
        "renegotiation = no",
        "protocolHost = mail.example.com",
        "verify = 0",
        "service = another",
        "stack = 65536",
    ] {
        is_served_by_both(|text| format!("{text}{line}\n"));
    }
    is_served_by_both(|text| format!("fips = no\nRNDfile = /dev/urandom\nTIMEOUTidle = 5\n{text}"));
}

//! What the dialogue is told, and where.

use super::{client, errors, served};
use crate::config::{Authentication, Protocol, Secret};

/// What is said of `lines` in a client service that is served.
#[track_caller]
fn said_of(lines: &str) -> Vec<String> {
    served(&client(lines)).1
}

#[test]
fn a_way_through_a_proxy_and_the_server_behind_it() {
    for (host, behind) in [
        ("www.example.com:443", Some(("www.example.com", 443))),
        ("192.0.2.1:1", Some(("192.0.2.1", 1))),
        ("[2001:db8::1]:443", Some(("2001:db8::1", 443))),
    ] {
        let lines = format!(
            "protocol = connect\nprotocolHost = {host}\nprotocolHeader = A: b\nprotocolHeader = C: d"
        );
        let (config, _) = served(&client(&lines));
        let service = &config.services[0];
        assert_eq!(service.protocol, Some(Protocol::Connect));
        assert_eq!(service.dialogue.behind_proxy(service.protocol), behind);
        // The server is verified by its own name, not by the proxy's.
        let name = behind.map(|(host, _)| host);
        assert_eq!(service.tls.connect_host.as_deref(), name);
        let headers: Vec<_> = service
            .dialogue
            .header_lines()
            .map(|line| line.reveal().to_owned())
            .collect();
        assert_eq!(headers, ["A: b", "C: d"]);
        assert_eq!(service.dialogue.account(), None);
    }
    let lines =
        "protocol = connect\nprotocolHost = h:1\nprotocolUsername = u\nprotocolPassword = p q";
    let service = served(&client(lines)).0.services.remove(0);
    assert_eq!(service.dialogue.account(), Some(("u", Secret::new("p q"))));
    let domain = "protocol = connect\nprotocolHost = h:1\nprotocolUsername = u:v\nprotocolPassword = p\n\
                  protocolAuthentication = NTLM\nprotocolDomain = OFFICE";
    let (config, said) = served(&client(domain));
    let ntlm = &config.services[0].dialogue;
    assert_eq!(ntlm.authentication, Some(Authentication::Ntlm));
    assert_eq!(ntlm.domain.as_deref(), Some("OFFICE"));
    assert!(
        !said.iter().any(|said| said.contains("no effect")),
        "{said:?}"
    );
    let copy = service.clone();
    copy.dialogue.forget();
    assert!(copy.dialogue.is_forgotten() && !service.dialogue.is_forgotten());
    assert_eq!(copy.dialogue.account(), None);
    assert!(!format!("{service:?}").contains("p q"));
}

#[test]
fn what_no_proxy_can_do_is_an_error() {
    for (lines, expected) in [
        ("", "protocolHost not specified"),
        (
            "protocolHost = www.example.com",
            "`protocolHost` is not HOST:PORT",
        ),
        (
            "protocolHost = www.example.com:https",
            "`protocolHost` is not HOST:PORT",
        ),
        ("protocolHost = :443", "`protocolHost` is not HOST:PORT"),
        ("protocolHost = a b:443", "`protocolHost` is not HOST:PORT"),
        ("protocolHost = h:0", "`protocolHost` is not HOST:PORT"),
        ("protocolHost = ::1:443", "`protocolHost` is not HOST:PORT"),
        (
            "protocolHost = h:1\nprotocolHeader = no header",
            "this is no header of HTTP",
        ),
        (
            "protocolHost = h:1\nprotocolUsername = a:b\nprotocolPassword = p",
            "a name with a colon cannot be told from its password",
        ),
    ] {
        let errors = errors(&client(&format!("protocol = connect\n{lines}")));
        assert_eq!(errors.len(), 1, "{lines}: {errors:?}");
        assert!(errors[0].contains(expected), "{lines}: {errors:?}");
    }
    let server =
        "[s]\naccept = 1\nconnect = h:2\ncert = /c\nprotocol = connect\nprotocolHost = h:3\n";
    let errors = errors(server);
    assert!(
        errors[0].contains("`protocol = connect` is for client mode"),
        "{errors:?}"
    );
}

#[test]
fn half_a_login_and_a_port_that_begins_in_plain_are_warned_of() {
    for (lines, expected) in [
        (
            "protocolUsername = u",
            "no effect without `protocolUsername` and `protocolPassword`",
        ),
        (
            "protocolHost = h:587",
            "port 587 begins in plain, but behind the proxy",
        ),
        (
            "protocolUsername = u\nprotocolPassword = p\nprotocolAuthentication = login",
            "`protocol = connect` logs in by `basic`",
        ),
    ] {
        let host = if lines.contains("Host") {
            ""
        } else {
            "protocolHost = h:443\n"
        };
        let said = said_of(&format!("protocol = connect\n{host}{lines}"));
        assert_eq!(said.len(), 1, "{lines}: {said:?}");
        assert!(
            said[0].starts_with("warning: ") && said[0].contains(expected),
            "{said:?}"
        );
    }
}

#[test]
fn what_is_not_served_in_a_mode_is_an_error_and_what_has_no_use_is_told() {
    for (protocol, expected) in [
        (
            "proxy",
            "The 'proxy' protocol is not supported in the client mode",
        ),
        ("socks\nprotocolHost = h", "`protocolHost` is not HOST:PORT"),
    ] {
        let errors = errors(&client(&format!("protocol = {protocol}")));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(expected), "{errors:?}");
    }
    let socks = |length| format!("protocol = socks\nprotocolHost = {}:1", "h".repeat(length));
    assert!(said_of(&socks(255)).is_empty());
    let found = errors(&client(&socks(256)));
    assert!(found[0].contains("names of 255 bytes at most"), "{found:?}");
    let server = |lines: &str| format!("[s]\naccept = 1\nconnect = h:2\ncert = /c\n{lines}\n");
    let found = errors(&server("protocol = ldap"));
    assert!(
        found[0].contains("The 'ldap' protocol is not supported in the server mode"),
        "{found:?}"
    );
    let (_, said) = served(&server("proxyVersion = 2"));
    assert!(
        said[0].contains("`proxyVersion` has no effect without"),
        "{said:?}"
    );
    let unix = server("protocol = proxy").replace("accept = 1", "accept = /run/s");
    let (_, said) = served(&unix);
    assert!(
        said[0].contains("clients of a Unix socket have no address"),
        "{said:?}"
    );
    let login = "protocol = smtp\nprotocolUsername = u\nprotocolPassword = p";
    assert!(said_of(login).is_empty());
    let said = said_of(&format!("{login}\nprotocolAuthentication = basic"));
    assert!(
        said[0].contains("`protocol = smtp` logs in by `plain`"),
        "{said:?}"
    );
}

#[test]
fn tls_is_told_what_the_dialogue_needs_of_it() {
    let server = |lines: &str| {
        let text = format!("[s]\naccept = 1\nconnect = h:2\ncert = /c\n{lines}\n");
        served(&text).0.services.remove(0)
    };
    assert!(!server("protocol = proxy").tls.introduces);
    assert!(server("protocol = proxy\nproxyVersion = 2").tls.introduces);
    assert_eq!(server("protocol = pgsql").tls.alpn, ["postgresql"]);
    assert!(server("protocol = smtp").tls.alpn.is_empty());
    let pgsql = served(&client("protocol = pgsql")).0.services.remove(0);
    assert!(pgsql.tls.alpn.is_empty());
    assert_eq!(pgsql.begins_within_tls(), None);
    let socks = served(&client("protocol = socks")).0.services.remove(0);
    assert_eq!(socks.begins_within_tls(), Some(Protocol::Socks));
}

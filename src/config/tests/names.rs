//! `sni` in server mode: which service is whose secondary one, and what is wrong with that.

use super::*;

/// A primary service, and sections besides.
fn with(sections: &str) -> String {
    format!("[p]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c\n{sections}\n")
}

#[test]
fn a_secondary_service_accepts_nothing_and_knows_its_primary() {
    let (config, said) = served(&with(
        "[s]\nsni = p:*.example.com\nconnect = 3\ncert = /d\n\
         [t]\nsni = p:a.example.org\nconnect = 4\ncert = /d\nclient = no",
    ));
    assert!(said.is_empty(), "{said:?}");
    let [primary, second, third] = &config.services[..] else {
        panic!("three services");
    };
    assert_eq!(primary.secondaries, [1, 2]);
    assert_eq!(primary.virtual_host, None);
    for (service, pattern) in [(second, "*.example.com"), (third, "a.example.org")] {
        let host = service.virtual_host.as_ref().unwrap();
        assert_eq!((host.primary, host.pattern.as_str()), (0, pattern));
        assert!(!service.takes_passed_socket());
        assert_eq!((&service.accept, &service.tls.sni), (&vec![], &None));
    }
}

#[test]
fn what_the_section_does_not_say_of_the_handshake_its_primary_says() {
    let primary = "[p]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c\nsslVersion = TLSv1.3\n\
                   ciphersuites = A\ncurves = B\noptions = NO_TICKET\n";
    let secondary = "[s]\nsni = p:a.example\nconnect = 2\ncert = /c\n";
    let of = |lines: &str| -> TlsOptions {
        let text = format!("{primary}{secondary}{lines}");
        served(&text).0.services.remove(1).tls
    };
    let all = of("");
    assert_eq!(all.version_min, Some(TlsVersion::V1_3));
    assert_eq!(all.ciphersuites.as_deref(), Some("A"));
    assert_eq!(all.curves.as_deref(), Some("B"));
    assert!(all.no_ticket);
    let own = of("sslVersionMin = TLSv1.2\nciphersuites = C\noptions = -NO_TICKET\n");
    assert_eq!(own.version_min, Some(TlsVersion::V1_2));
    assert_eq!(own.version_max, Some(TlsVersion::V1_3));
    assert_eq!(own.ciphersuites.as_deref(), Some("C"));
    assert_eq!(own.curves.as_deref(), Some("B"));
    assert!(!own.no_ticket);
}

#[test]
fn a_secondary_service_decides_what_its_lines_say_and_nothing_else() {
    let primary = "[p]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c\nsslVersionMin = TLSv1.3\n\
                   ciphersuites = A\ncurves = B\nciphers = D\nsessionResume = no\n\
                   config = Options:ServerPreference\noptions = DISABLE_TLSEXT_CA_NAMES\n\
                   ticketKeySecret = 000102030405060708090a0b0c0d0e0f\n\
                   ticketMacSecret = 000102030405060708090a0b0c0d0e0f\n";
    let of = |general: &str, lines: &str| -> TlsOptions {
        let text = format!("{general}{primary}[s]\nsni = p:a\nconnect = 2\ncert = /c\n{lines}");
        served(&text).0.services.remove(1).tls
    };
    let all = of("", "");
    assert_eq!(all.version_min, Some(TlsVersion::V1_3));
    assert!(all.no_ca_names && all.server_preference && all.sessions.none);
    let with = |change: fn(&mut TlsOptions)| {
        let mut tls = all.clone();
        change(&mut tls);
        tls
    };
    for (lines, expected) in [
        ("options = NO_TICKET", with(|tls| tls.no_ticket = true)),
        (
            "config = Groups:C",
            with(|tls| tls.curves = Some("C".to_owned())),
        ),
        (
            "config = CipherString:C",
            with(|tls| tls.ciphers = Some("C".to_owned())),
        ),
        (
            "config = Options:CANames",
            with(|tls| tls.no_ca_names = false),
        ),
        (
            "options = -CIPHER_SERVER_PREFERENCE",
            with(|tls| tls.server_preference = false),
        ),
        ("options = NO_TLSv1_2", with(|_| ())),
        (
            "config = MinProtocol:None",
            with(|tls| tls.version_min = None),
        ),
        (
            "sessionCacheSize = 5",
            with(|tls| tls.sessions.cache_size = Some(5)),
        ),
        (
            "sessionCacheTimeout = 5",
            with(|tls| tls.sessions.lifetime = Some(5)),
        ),
        ("sessionResume = yes", with(|tls| tls.sessions.none = false)),
    ] {
        assert_eq!(of("", lines), expected, "{lines}");
        // What holds for every service decides nothing for this one.
        let general = "sslVersionMin = TLSv1.2\nconfig = MinProtocol:TLSv1.2\n";
        let stricter = primary_with("config = MinProtocol:TLSv1.3", general, lines);
        assert_eq!(stricter.version_min, expected.version_min, "{lines}");
    }
}

/// A secondary service whose primary has this line; `general` stands before both.
fn primary_with(line: &str, general: &str, lines: &str) -> TlsOptions {
    let primary = with(line);
    let text = format!("{general}{primary}[s]\nsni = p:a\nconnect = 2\ncert = /c\n{lines}");
    served(&text).0.services.remove(1).tls
}

#[test]
fn a_secondary_service_is_as_strict_as_its_primary_for_other_reasons_too() {
    let forbids = primary_with("options = NO_TLSv1_3", "", "options = NO_TICKET");
    assert_eq!(forbids.version_max, Some(TlsVersion::V1_2));
    let back = primary_with("options = NO_TLSv1_2", "", "options = -NO_TLSv1_2");
    assert_eq!(back.version_min, None);
    let general = "options = NO_TLSv1_2\n";
    let back = primary_with("options = -NO_TLSv1_2", general, "curves = A");
    assert_eq!(back.version_min, None);
    let text = "[p]\naccept = 127.0.0.1:1\nconnect = 2\nPSKsecrets = /k\n\
                [s]\nsni = p:a\nconnect = 2\ncert = /c\noptions = NO_TICKET\n";
    let psk = served(text).0.services.remove(1).tls;
    assert_eq!(psk.version_min, Some(TlsVersion::V1_3));
    let level = primary_with("securityLevel = 3", "", "options = DISABLE_TLSEXT_CA_NAMES");
    assert!(level.no_ticket);
    let text = with("sslVersionMin = TLSv1.3") + "[s]\nsni = p:a\nconnect = 2\ncert = /c\n";
    let errors = errors(&(text + "sslVersionMax = TLSv1.2\n"));
    assert!(
        errors[0].contains("Invalid protocol version range"),
        "{errors:?}"
    );
    assert!(
        errors[0].contains("that of its primary service"),
        "{errors:?}"
    );
}

#[test]
fn a_dialogue_before_tls_is_the_primarys() {
    use crate::relay::Route;
    let of = |first: &str, second: &str| {
        let primary = with(first);
        let text = format!("{primary}[s]\nsni = p:a\nconnect = 2\ncert = /c\n{second}");
        let (mut config, said) = served(&text);
        assert!(said.is_empty(), "{said:?}");
        config.services.remove(1)
    };
    for protocol in ["smtp", "imap", "mysql", "sieve", "pgsql"] {
        let line = format!("protocol = {protocol}");
        let (silent, said) = (of(&line, ""), of(&line, &line));
        assert_eq!(silent.protocol, said.protocol, "{protocol}");
        assert_eq!(Route::of(&silent), Route::of(&said), "{protocol}");
        assert_eq!(silent.tls.alpn, said.tls.alpn, "{protocol}");
    }
    // These begin after TLS: each service has its own.
    assert_eq!(of("protocol = proxy", "").protocol, None);
    assert_eq!(of("", "protocol = proxy").protocol, Some(Protocol::Proxy));
    let behind = of("protocol = pgsql", "protocol = proxy");
    assert_eq!(behind.protocol, Some(Protocol::Proxy));
    assert_eq!(behind.tls.alpn, ["postgresql"]);
}

#[test]
fn what_is_wrong_with_a_name_is_told_with_its_line() {
    let secondary = |sni: &str| with(&format!("[s]\nconnect = 2\ncert = /c\nsni = {sni}"));
    for (text, expected) in [
        (
            secondary("p"),
            "test.conf:8: \"sni = p\": Service [s]: Invalid SNI parameter format",
        ),
        (
            secondary(""),
            "test.conf:8: \"sni =\": Service [s]: Invalid SNI parameter format",
        ),
        (
            secondary("q:a"),
            "SNI section name not found (there is no section [q]",
        ),
        (
            secondary("s:a"),
            "SNI section name not found (a service cannot be its own primary",
        ),
        (
            secondary("t:a") + "[t]\naccept = 3\nconnect = 2\ncert = /c",
            "SNI section name not found ([t] stands below",
        ),
        (
            secondary("p:a") + "[t]\nsni = s:b\nconnect = 2\ncert = /c",
            "Service [t]: [s] is a secondary service itself, which no client asks for a name \
             (name the service that accepts: `sni = p:b`)",
        ),
        (
            secondary("p:a\naccept = 5"),
            "Service [s]: Each service must define two endpoints (`sni = SERVICE:PATTERN` stands",
        ),
        (
            secondary("p:a").replace("cert = /c\n[s]", "client = yes\n[s]"),
            "SNI primary service is a TLS client (only a server knows",
        ),
        (
            secondary("p:a\nprotocol = smtp"),
            "Service [s]: this dialogue comes before TLS, so it is that of [p]",
        ),
        (
            secondary("p:a\nprotocol = proxy")
                .replace("cert = /c\n[s]", "cert = /c\nprotocol = smtp\n[s]"),
            "Service [s]: `protocol = proxy` begins when the server is connected, and [p] has spoken with it",
        ),
        (
            secondary("p:a\nprotocol = socks")
                .replace("cert = /c\n[s]", "cert = /c\nprotocol = imap\n[s]"),
            "Service [s]: `protocol = socks` begins when the server is connected",
        ),
        (
            "[s]\nsni = p:a\ncert = /c\n".to_owned() + &with(""),
            "`connect = [HOST:]PORT` is missing",
        ),
    ] {
        let errors = errors(&text);
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "{expected}\n{errors:#?}\nof\n{text}"
        );
    }
}

#[test]
fn what_no_client_can_ask_for_is_warned_of() {
    let first = "[f]\nsni = p:*.Example.com\nconnect = 2\ncert = /c\n";
    let second = |pattern: &str| {
        with(&format!(
            "{first}[s]\nconnect = 2\ncert = /c\nsni = p:{pattern}"
        ))
    };
    for (pattern, expected) in [
        ("a.example.org", None),
        ("*", None),
        ("example.com", None),
        ("*.org", None),
        ("", Some("no client asks for a name of the pattern ``")),
        (
            "a.*.org",
            Some("no client asks for a name of the pattern `a.*.org`"),
        ),
        ("a.org.", Some("no client asks for")),
        ("b\u{fc}cher.example", Some("no client asks for")),
        (
            "a.example.COM",
            Some("[f] stands above with the pattern `*.Example.com`"),
        ),
        ("*.a.example.com", Some("[f] stands above")),
        ("*.example.com", Some("[f] stands above")),
    ] {
        let said = served(&second(pattern)).1;
        match expected {
            None => assert!(said.is_empty(), "{said:?}"),
            Some(expected) => {
                assert!(said[0].starts_with("warning: test.conf:12: "), "{said:?}");
                assert!(said[0].contains(expected), "{said:?}");
            }
        }
    }
    let starttls = "[p]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c\nprotocol = smtp\n";
    let text = format!("{starttls}[s]\nsni = p:a\nconnect = 3\ncert = /c\n");
    let said = served(&text).1;
    assert!(said[0].contains("`connect` has no effect"), "{said:?}");
    let text = format!("{starttls}[s]\nsni = p:a\nconnect = 2\ncert = /c\nprotocol = smtp\n");
    assert!(served(&text).1.is_empty());
}

#[test]
fn old_tls_by_name_is_for_the_addresses_of_the_primary() {
    let old = |accept: &str| {
        format!(
            "[p]\naccept = {accept}\nconnect = 2\ncert = /c\nsslVersionMin = TLSv1\n\
             [s]\nsni = p:a\nconnect = 2\ncert = /c\nsslVersionMin = TLSv1\n"
        )
    };
    assert!(served(&old("127.0.0.1:1")).1.is_empty());
    let said = served(&old("1")).1;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1].contains("Service [s]: TLSv1 is not served on `accept = 1`"),
        "{said:?}"
    );
}

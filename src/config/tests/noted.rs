//! What is said of a configuration that is served: warnings and notes.

use super::*;

#[test]
fn options_without_effect_are_said_once_and_warnings_are_told_apart() {
    let (config, said) = served(&client(
        "libwrap = no\nretry = no\noptions = ALL\nrenegotiation = no\nreset = no\nreset = yes\n\
         delay = yes\nfailover = rr",
    ));
    let expected = [
        "note: test.conf:8: \"options = ALL\": `ALL` has no effect",
        "note: test.conf:9: \"renegotiation = no\": `renegotiation` has no effect: adit never",
        "warning: test.conf:11: \"reset = yes\": `reset` is given again: this value replaces that of test.conf:10",
        "warning: test.conf:13: \"failover = rr\": Service [s]: `failover = rr` has no effect with",
    ];
    assert_eq!(config.services[0].failover, Failover::Priority);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    let (_, said) = served(&format!(
        "compression = zlib\nfips = no\nEGD = /e\n{}",
        client("")
    ));
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said.iter().all(|line| line.starts_with("note: ")),
        "{said:?}"
    );
}

/// stunnel takes these, so a file with them must serve.
#[test]
fn protocol_host_without_its_protocol_is_warned_about() {
    for lines in ["protocolHost = me", "protocol = imap\nprotocolHost = me"] {
        let (_, said) = served(&client(lines));
        assert_eq!(said.len(), 1, "{lines}: {said:#?}");
        assert!(said[0].starts_with("warning: test.conf:"), "{}", said[0]);
        assert!(
            said[0].contains("`protocolHost` has no effect here"),
            "{}",
            said[0]
        );
    }
}

#[test]
fn a_client_that_verifies_nothing_is_warned_about_in_stunnels_words() {
    let (_, said) = served("[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with(
        "warning: test.conf:1: \"[s]\": Service [s] needs authentication to prevent MITM attacks"
    ));
    let (_, said) = served(
        "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nverifyChain = yes\nCApath = /c",
    );
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("Service [s] uses \"verifyChain\" without subject checks"));
    // A server may well take every client that its authority signed.
    let (_, said) = served("[s]\naccept = 1\nconnect = h:2\nverifyChain=yes\nCApath=/c\ncert=/c");
    assert!(said.is_empty(), "{said:?}");
}

/// What is said of `lines` in a client service that is served.
#[track_caller]
fn said_of(lines: &str) -> Vec<String> {
    served(&client(lines)).1
}

#[test]
fn options_that_ask_for_nothing_where_they_stand_are_taken_with_a_note() {
    for (line, expected) in [
        ("retry = yes", "`retry` has no effect without `exec`"),
        ("retry = 500", "`retry` has no effect without `exec`"),
        ("execArgs = a b", "`execArgs` has no effect without `exec`"),
        ("pty = yes", "`pty` has no effect without `exec`"),
        (
            "OCSPflag = NOCERTS",
            "`OCSPflag = NOCERTS` has no effect: it is for requests that are signed",
        ),
        ("OCSPnonce = yes", "`OCSPnonce` has no effect without"),
        ("OCSPrequire = yes", "`OCSPrequire` has no effect without"),
        ("TIMEOUTocsp = 5", "`TIMEOUTocsp` has no effect without"),
        (
            "OCSPaia = no\nOCSPnonce = yes",
            "`OCSPnonce` has no effect without",
        ),
        (
            "PSKidentity = me",
            "`PSKidentity` has no effect without `PSKsecrets`",
        ),
        ("protocolUsername = u", "it is for `protocol = connect`"),
        ("protocolPassword = p", "it is for `protocol = connect`"),
        (
            "protocolAuthentication = basic",
            "it is for `protocol = connect`",
        ),
        (
            "protocolDomain = d",
            "this has no effect: it is for `protocolAuthentication = ntlm`",
        ),
        (
            "protocolHeader = a: b",
            "this has no effect: it is for `protocol = connect`",
        ),
        (
            "protocol = pop3\nprotocolUsername = u",
            "it is for `protocol = connect`",
        ),
        (
            "sessionCacheSize = 1000",
            "`sessionCacheSize` has no effect in client mode",
        ),
        (
            "sessionCacheTimeout = 300",
            "`sessionCacheTimeout` has no effect in client mode",
        ),
        (
            "session = 300",
            "`sessionCacheTimeout` has no effect in client mode",
        ),
        (
            "ticketKeySecret = 000102030405060708090a0b0c0d0e0f",
            "ticketKeySecret is ignored in the client mode",
        ),
        ("CAfile =", "`CAfile` without a value counts as not given"),
        ("CApath =", "`CApath` without a value counts as not given"),
        (
            "protocolHost =",
            "`protocolHost` without a value counts as not given",
        ),
        ("CRLfile =", "`CRLfile` without a value counts as not given"),
        ("CRLpath =", "`CRLpath` without a value counts as not given"),
        ("OCSP =", "`OCSP` without a value counts as not given"),
        ("sessiond =", "without a value this line asks for nothing"),
        (
            "OCSP =\nOCSPnonce = yes",
            "`OCSPnonce` has no effect without",
        ),
        ("execArgs =", "`execArgs` has no effect without `exec`"),
    ] {
        let said = said_of(line);
        let note = said
            .iter()
            .any(|said| said.starts_with("note: ") && said.contains(expected));
        assert!(note, "{line}: {said:?}");
        assert!(!said.concat().contains("warning"), "{line}: {said:?}");
    }
    // stunnel asks port 113 of each client, and refuses them all.
    let said = said_of("ident =");
    assert!(said[0].starts_with("warning: "), "{said:?}");
    assert!(said_of("retry = no").is_empty());
    // A server asks about its own certificate.
    let (_, said) =
        served("[s]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c.pem\nTIMEOUTocsp = 5\n");
    assert!(said.is_empty(), "{said:?}");
    // A default that several services say nothing of is noted once.
    let (_, said) = served(&format!(
        "retry = yes\n{}{}",
        client(""),
        client("service = two")
    ));
    assert_eq!(said.len(), 1, "{said:?}");
    // What a section takes back.
    let (_, said) = served(&format!("retry = yes\n{}", client("retry = no")));
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn what_is_for_connecting_is_noted_beside_a_program() {
    let program = |lines: &str| {
        format!(
            "[s]\nclient = yes\naccept = 127.0.0.1:1\nexec = /x\nverifyChain = yes\nCAfile = /ca\ncheckHost = h\n{lines}\n"
        )
    };
    let (_, bare) = served(&program(""));
    for (lines, option) in [
        ("delay = yes", "delay"),
        ("local = 127.0.0.1", "local"),
        ("delay = yes\nfailover = rr", "delay"),
    ] {
        let (_, said) = served(&program(lines));
        let said: Vec<_> = said.iter().filter(|said| !bare.contains(said)).collect();
        assert_eq!(said.len(), 1, "{lines}: {said:?}");
        let text = format!("`{option}` has no effect with `exec`");
        assert!(
            said[0].starts_with("note: ") && said[0].ends_with(&text),
            "{said:?}"
        );
    }
    // As a default it is for others.
    let both = format!("delay = yes\n{}{}", program(""), client("service = two"));
    assert_eq!(served(&both).1, bare);
    // In inetd mode every line is the service's own.
    let (_, said) = served("exec = /x\ncert = /c.pem\nlocal = 127.0.0.1\n");
    assert!(
        said.iter()
            .any(|said| said.contains("`local` has no effect with `exec`")),
        "{said:?}"
    );
    // With `connect` it goes before: then both count.
    let (_, said) = served(
        &client("service = front").replace("accept = 127.0.0.1:1", "exec = /x\ndelay = yes"),
    );
    assert!(!said.concat().contains("has no effect"), "{said:?}");
}

#[test]
fn what_is_hardly_part_of_a_value_is_warned_of() {
    for (line, rest) in [
        ("cert = /c.pem ; ours", "`; ours` is part of the value"),
        ("cert = /c.pem\t# ours", "`# ours` is part of the value"),
        ("cert = \"/c.pem\"", "`\"` is part of the value"),
        (
            "checkHost = h.example # theirs",
            "`# theirs` is part of the value",
        ),
    ] {
        let said = said_of(line);
        let warned = said
            .iter()
            .any(|said| said.starts_with("warning: ") && said.contains(rest));
        assert!(warned, "{line}: {said:?}");
    }
    assert!(said_of("cert = /c;d#e.pem").is_empty());
}

#[test]
fn a_client_whose_protocol_does_not_fit_its_port_is_warned_of_with_the_line() {
    let said = said_of("connect = h:465\nconnect = h:587\nprotocol = smtp");
    assert_eq!(
        said,
        [
            "warning: test.conf:6: \"connect = h:465\": Service [s]: port 465 speaks TLS from the \
          first byte, but `protocol = smtp` waits for plain text first \
          (leave `protocol` out, or connect to port 587)"
        ]
    );
    let said = said_of("connect = h:465\nconnect = h:143");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("warning: test.conf:7: \"connect = h:143\""),
        "{said:?}"
    );
    // In server mode it is the clients that begin.
    let server = "[s]\naccept = 993\nconnect = 143\ncert = /c\n";
    assert!(served(server).1.is_empty());
}

#[test]
fn a_name_that_is_not_sent_as_it_stands_is_said() {
    for (line, words) in [
        (
            "sni = 192.0.2.1",
            "an address is no server name: none is sent",
        ),
        ("sni = h.example.", "the final dot of `sni` is not sent"),
    ] {
        let said = said_of(line);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("note: test.conf:6: ") && said[0].contains(words),
            "{said:?}"
        );
    }
}

#[test]
fn old_tls_is_kept_from_public_addresses() {
    let server = |lines: &str| format!("[s]\ncert = /c\nconnect = 9\n{lines}\n");
    let said_of = |lines: &str| {
        let (config, said) = served(&server(lines));
        (config.services[0].tls.version_min, said.join("\n"))
    };
    let (min, said) = said_of("accept = 192.168.1.2:465\nsslVersionMin = TLSv1");
    assert_eq!((min, said.as_str()), (Some(TlsVersion::V1_0), ""));
    let (min, said) = said_of("accept = 465\nsslVersionMin = TLSv1");
    assert_eq!(min, Some(TlsVersion::V1_2));
    assert!(
        said.contains("warning") && said.contains("TLSv1 is not served on `accept = 465`"),
        "{said}"
    );
    // A socket that systemd passes may be any.
    let sources = Sources {
        passed: 1,
        text: Some(("f".to_owned(), server("sslVersionMin = TLSv1").into())),
        ..Sources::default()
    };
    let loaded = load(&sources).unwrap();
    let min = loaded.config.services[0].tls.version_min;
    assert_eq!(min, Some(TlsVersion::V1_2));
    let (min, said) = said_of("accept = 465\nsslVersionMin = TLSv1\nacceptAnywhere = yes");
    assert_eq!(min, Some(TlsVersion::V1_0));
    assert!(said.contains("TLSv1 is served to every client"), "{said}");
    for (lines, error) in [
        ("sslVersion = TLSv1", "TLSv1 is not served on `accept"),
        (
            "sslVersion = TLSv1\nacceptAnywhere = yes\nciphers = RC4-SHA",
            "RC4 is broken",
        ),
    ] {
        let errors = errors(&server(&format!("accept = 0.0.0.0:465\n{lines}")));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(error), "{errors:?}");
    }
}

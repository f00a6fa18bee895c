//! What is refused, and the words it is refused with.

use super::*;

/// Lines in a client service, and what the one error about them says.
const IN_A_CLIENT: &[(&str, &str)] = &[
    // Names.
    (
        "conect = h:3",
        "no option is called `conect` (did you mean `connect`?)",
    ),
    (
        "frobnicate = 1",
        "Specified option name is not valid here: no option is called `frobnicate`",
    ),
    (
        "chroot = /x",
        "`chroot` holds for the whole program (it belongs before the first [section])",
    ),
    ("workers = 2", "`workers` holds for the whole program"),
    // Never served.
    (
        "verifyServer = no\nOCSP = http://h/",
        "\"verifyChain\" has to be enabled for OCSP support",
    ),
    (
        "verifyServer = no\nOCSPaia = yes",
        "\"verifyChain\" has to be enabled for OCSP support",
    ),
    (
        "OCSP = https://h/",
        "TLS not supported for OCSP - an additional stunnel service needs to be defined",
    ),
    ("OCSP = h", "it does not begin with http://"),
    (
        "OCSPflag = NOVERIFY",
        "adit does not serve `OCSPflag = NOVERIFY`: anyone on the way could answer",
    ),
    ("engineId = pkcs11", "adit does not serve `engineId`: "),
    (
        "retry = maybe",
        "The argument needs to be either 'yes' or 'no'",
    ),
    ("OCSPflag = NONE", "Illegal OCSP flag"),
    ("sessionCacheSize = x", "Illegal session cache size"),
    ("sessionCacheTimeout = x", "Illegal session cache timeout"),
    ("securityLevel = 6", "`6` is not a number that fits"),
    (
        "redirect = 80",
        "\"redirect\" is unsupported in client sections",
    ),
    (
        "CAengine = x",
        "adit does not serve `CAengine`: adit's TLS library has no engines",
    ),
    ("PSKsecrets =", "a value is missing behind the `=`"),
    (
        "PSKsecrets = /f\nsslVersionMax = TLSv1.2",
        "`PSKsecrets` needs TLS 1.3, which is left out here",
    ),
    (
        "PSKsecrets = /f\nsslVersion = TLSv1.2",
        "`PSKsecrets` needs TLS 1.3, which is left out here",
    ),
    (
        "PSKsecrets = /f\noptions = NO_TLSv1_3",
        "adit has no PSK suites of TLS 1.2",
    ),
    (
        "PSKsecrets = /f\nciphersuites = TLS_AES_256_GCM_SHA384",
        "add TLS_AES_128_GCM_SHA256 or TLS_CHACHA20_POLY1305_SHA256",
    ),
    ("sessiond = h:1", "adit does not serve `sessiond`"),
    (
        "protocol = capwin",
        "adit does not serve `protocol = capwin`",
    ),
    (
        "protocol = smpt",
        "Protocol not supported: `smpt` is not known (did you mean `smtp`?)",
    ),
    // Values.
    (
        "client = maybe",
        "The argument needs to be either 'yes' or 'no'",
    ),
    (
        "failover = random",
        "The argument needs to be either 'rr', 'prio' or 'leastconn'",
    ),
    (
        "logId = seq",
        "The argument needs to be either 'sequential', 'unique', 'thread' or 'process'",
    ),
    ("debug = 8", "Illegal debug level"),
    ("debug = daemon.info", "Illegal debug level"),
    ("TIMEOUTidle = 1h", "`1h` is not a number of seconds"),
    ("TIMEOUTidle = -1", "`-1` is not a number of seconds"),
    ("verify = 5", "Bad verify level"),
    (
        "sslVersion = SSLv3",
        "SSLv3 is broken, and adit never speaks it",
    ),
    (
        "sslVersionMax = SSLv2",
        "SSLv2 is broken, and adit never speaks it",
    ),
    ("sslVersion = TLS", "Invalid protocol version"),
    (
        "acceptProtocol = nntp",
        "adit does not serve `acceptProtocol = nntp` (STARTTLS is offered in smtp",
    ),
    (
        "acceptProtocol = ldap",
        "adit does not serve `acceptProtocol = ldap` (STARTTLS is offered in smtp",
    ),
    (
        "options = NO_TLSv1.3",
        "Illegal TLS option: `NO_TLSv1.3` is not known",
    ),
    (
        "socket = l:TCP_NODLAY=1",
        "`TCP_NODLAY` is not known (did you mean `TCP_NODELAY`?)",
    ),
    ("checkIP = localhost", "`localhost` is not an IP address"),
    ("local =", "a value is missing"),
    ("accept = 65536", "`65536` is not a port"),
    ("accept = +5", "`+5` is not a port"),
    ("accept = h:", "the port is missing behind `h`"),
    (
        "connect = https://h:443",
        "is a URL, and not an address (write `h:443`)",
    ),
    (
        "connect = h.example",
        "the port is missing behind `h.example`",
    ),
    // What stands behind a value or around it.
    (
        "connect = h:993 ; the provider",
        "`; the provider` is taken as part of the value (write `connect = h:993`: comments",
    ),
    (
        "delay = yes # slow",
        "`# slow` is taken as part of the value (write `delay = yes`",
    ),
    (
        "delay = \"yes\"",
        "`\"` is taken as part of the value (write `delay = yes`",
    ),
    ("TIMEOUTidle = 60 ; a minute", "(write `TIMEOUTidle = 60`"),
    (
        "accept = :25",
        "is not a host name or an address (leave the host",
    ),
    (
        "accept = a b c:25",
        "`a b c` is not a host name or an address",
    ),
    ("accept = [::1:25", "`[::1` is not an IPv6 address"),
    (
        "accept = 2001:db8::1",
        "the port is missing behind `2001:db8::1`",
    ),
    (
        "accept = 2001:db8:1:25",
        "`2001:db8:1` is not an IPv6 address",
    ),
    ("connect = h:0", "port 0 cannot be connected to"),
    (
        "sni = h.example:993",
        "is no server name (a port belongs to `connect`",
    ),
    ("sni = *.example", "`*.example` is no server name"),
    (
        "sni = h.example ; theirs",
        "(a name has no blank, and comments stand on lines",
    ),
    // How options stand to each other.
    (
        "sslVersionMin = TLSv1.3\nsslVersionMax = TLSv1.2",
        "Invalid protocol version range",
    ),
    (
        "options = NO_TLSv1_2\nsslVersion = TLSv1.2",
        "no TLS version is left to speak",
    ),
    (
        "verifyChain = yes",
        "Either \"CAfile\" or \"CApath\" has to be configured",
    ),
    (
        "verify = 4",
        "Either \"CAfile\" or \"CApath\" has to be configured",
    ),
    (
        "verifyServer = no\ncheckHost = h",
        "Either \"verifyChain\" or \"verifyPeer\" has to be enabled",
    ),
];

#[test]
fn each_offence_has_one_error_that_names_its_line() {
    for (lines, expected) in IN_A_CLIENT {
        let errors = errors(&client(lines));
        assert_eq!(errors.len(), 1, "{lines}: {errors:#?}");
        assert!(errors[0].contains(expected), "{lines}: {}", errors[0]);
        assert!(errors[0].starts_with("test.conf:"), "{}", errors[0]);
        let last = lines.lines().last().unwrap();
        let shown = lines
            .lines()
            .any(|line| errors[0].contains(&format!("\"{line}\": ")));
        assert!(shown, "{last}: {}", errors[0]);
    }
}

#[test]
fn global_values() {
    for (line, expected) in [
        ("foreground = true", "either 'yes', 'quiet' or 'no'"),
        ("log = truncate", "either 'append' or 'overwrite'"),
        ("output = adit.log", "Log file must include full path name"),
        ("pid = adit.pid", "Pid file must include full path name"),
        ("chroot = jail", "this must be a full path name"),
        ("control = sock", "this must be a full path name"),
        ("chroot =", "a value is missing"),
        ("debug = demon.info", "Illegal syslog facility"),
        ("workers = 0", "`0` is not a number that fits"),
        ("threads = many", "`many` is not a number that fits"),
        ("drainTimeout = soon", "`soon` is not a number of seconds"),
        ("fips = yes", "FIPS support is not available"),
        ("engine = auto", "adit does not serve `engine`"),
        ("setEnv = A", "there is no `=` in it"),
        ("setEnv = =b", "the name of the variable is missing"),
        ("maxConnections = many", "`many` is not a number that fits"),
        (
            "maxConnectionsPerAddress = -1",
            "`-1` is not a number that fits",
        ),
        ("connectRate = 10", "`10` is no rate"),
        ("connectRate = 10/day", "`10/day` is no rate"),
        ("connectRate = 0/s", "`0` is not a number that fits"),
    ] {
        let errors = errors(&format!("{line}\n{}", client("")));
        assert_eq!(errors.len(), 1, "{line}: {errors:#?}");
        assert!(errors[0].contains(expected), "{line}: {}", errors[0]);
    }
    // In the foreground, a path may begin where adit was started, as in stunnel.
    served(&format!(
        "foreground = yes\noutput = log\npid = pid\n{}",
        client("")
    ));
}

#[test]
fn a_service_lacks_something() {
    for (text, expected) in [
        (
            "client = yes",
            "Inetd mode: Inetd mode must define one endpoint, `connect` or `exec`, and no [section] is there",
        ),
        (
            "client = yes\nconnect = h:1\nexec = /x",
            "Inetd mode must define one endpoint",
        ),
        (
            "connect = h:2",
            "Inetd mode: TLS server needs a certificate",
        ),
        (
            "accept = 1\nconnect = h:2\ncert = /c",
            "test.conf:1: \"accept = 1\": Inetd mode: 'accept' option is only allowed in a [section]",
        ),
        (
            "[s]\nclient = yes\naccept = 1",
            "test.conf:1: \"[s]\": Service [s]: Each service must define two endpoints (`connect",
        ),
        ("[s]\nclient = yes\nconnect = h:1", "two endpoints (`accept"),
        (
            "[s]\nclient = yes",
            "two endpoints (`accept = [HOST:]PORT` and `connect",
        ),
        (
            "[s]\naccept = 1\nconnect = h:2",
            "Service [s]: TLS server needs a certificate",
        ),
        // That it would be a server follows from a value that was not taken.
        (
            "[s]\nclient = true\naccept = 1\nconnect = h:2",
            "'yes' or 'no' (did you mean `yes`?)",
        ),
        (
            "[s]\nclient = yes\naccept = 1\nconnect = \u{201c}h:2\u{201d}",
            "write `connect = h:2`",
        ),
        (
            "[s]\nclient = yes\naccept = 1\nconnect = h:2;",
            "`;` is taken as part of the value (write `connect = h:2`",
        ),
        (
            "[s]\nclient = yes\naccept = 1\nconnect = $HOST:2",
            "nothing is replaced within a value",
        ),
        (
            "[s]\naccept = 1\nconnect = h:2\ncert = /c\nverifyServer = yes",
            "for client mode",
        ),
        (
            "[s]\naccept = 1\nconnect = h:2\ncert = /c\nsni = b",
            "Invalid SNI parameter format",
        ),
        (
            "[s]\nconnect = h:2\ncert = /c\nsni = a:b",
            "SNI section name not found",
        ),
        (
            "[s]\naccept = 1\nconnect = h:2\ncert = /c\nticketMacSecret = 000102030405060708090a0b0c0d0e0f",
            "\"ticketKeySecret\" and \"ticketMacSecret\" must be set together",
        ),
        (
            "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = /s\nverifyServer = yes",
            "`verifyServer` has no name to look for",
        ),
        (
            "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:1\nexec = /bin/sh",
            "two endpoints (one of the three is too many",
        ),
        (
            "[s]\nclient = yes\nexec = /bin/sh",
            "two endpoints (`accept = [HOST:]PORT` is missing",
        ),
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
        assert!(errors[0].contains(expected), "{text}: {}", errors[0]);
    }
}

#[test]
fn every_error_comes_out_in_one_run_in_the_order_of_the_lines() {
    let text = "chroot = x\nfrobnicate = 1\nnonsense\n[a]\nclient = yes\naccept = 127.0.0.1:1\n\
        verify = 9\n[b]\nclinet = yes\naccept = 127.0.0.1:1\nconnect = h:1\n[a]\nclient = yes\naccept = 127.0.0.1:2\n";
    let errors = errors(text);
    let lines: Vec<&str> = errors
        .iter()
        .map(|error| error.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["1", "2", "3", "4", "7", "9", "12"], "{errors:#?}");
}

#[test]
fn warnings_come_out_beside_the_errors() {
    let text = "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nconect = 3";
    let diagnostics = load_text(text).unwrap_err();
    let severities: Vec<_> = diagnostics.0.iter().map(|d| d.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Error]);
    assert_eq!(
        diagnostics.to_string().lines().skip(3).collect::<Vec<_>>(),
        [
            "test.conf:5: error: Specified option name is not valid here: no option is called `conect`",
            "    conect = 3",
            "  help: did you mean `connect`?",
        ]
    );
}

#[test]
fn a_wrong_value_is_reported_where_it_was_given() {
    let sources = sources(&client(""));
    let variables = [
        ("ADIT_DEBUG".to_owned(), Some("loud".to_owned())),
        ("ADIT_SYSLOG".to_owned(), None),
        ("ADIT_DEBGU".to_owned(), Some("1".to_owned())),
    ];
    let errors = load_from(&sources, &variables, 4, &NoFiles).unwrap_err();
    let lines: Vec<_> = errors.0.iter().map(Diagnostic::one_line).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let expected = "environment variable ADIT_DEBUG: \"ADIT_DEBUG=loud\": Illegal debug level";
    assert!(
        lines.iter().any(|line| line.starts_with(expected)),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("did you mean ADIT_DEBUG?")),
        "{lines:?}"
    );
}

#[test]
fn no_secret_is_shown() {
    let text = client("protocolPassword = hunter2\nprotocolPaswrd = hunter2");
    let said = load_text(&text).unwrap_err();
    assert_eq!(said.0.len(), 2);
    assert!(!said.to_string().contains("hunter2"), "{said}");
}

#[test]
fn without_any_source_there_is_an_error() {
    let errors = load_from(&Sources::default(), &[], 4, &NoFiles).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "error: no configuration was given\n  help: name a file: `adit FILE`"
    );
    let sources = Sources {
        file: Some("/etc/none.conf".into()),
        ..Sources::default()
    };
    let errors = load_from(&sources, &[], 4, &NoFiles).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "error: Cannot open configuration file /etc/none.conf: No such file or directory\n  help: check \
         the path, or name another file: `adit FILE`; what is root's only root can read"
    );
}

#[test]
fn a_misspelt_option_is_one_error_and_nothing_is_derived_from_it() {
    for text in [
        "[s]\nclient = yes\naccept = 127.0.0.1:1\nconect = h:2\nverifyServer = yes\n",
        "[s]\nclient = yes\nacept = 1\nconnect = h:2\nverifyServer = yes\n",
        "[s]\naccept = 1\nconnect = h:2\ncrt = /f\n",
        "[s]\nclent = yes\naccept = 127.0.0.1:1\nconnect = h:2\nverifyServer = yes\nsni = n\n",
        "clent = yes\n[s]\naccept = 127.0.0.1:1\nconnect = h:2\n",
        "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nverifyServr = yes\n",
        "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nverifyChain = yes\nCAfil = /f\ncheckHost = h\n",
        "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nverifyServer = yes\nprotocl = smtp\nprotocolHost = n\n",
    ] {
        let Err(found) = load_text(text) else {
            panic!("this is served:\n{text}");
        };
        assert_eq!(found.0.len(), 1, "{text}\n{found}");
        assert!(
            found.to_string().contains("did you mean"),
            "{text}\n{found}"
        );
    }
    // What has nothing to do with it is told.
    let found = errors("[s]\nclient = yes\nconect = h:2\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .any(|e| e.contains("`accept = [HOST:]PORT` is missing")),
        "{found:?}"
    );
}

#[test]
fn what_asks_for_something_beside_another_option_is_refused() {
    for (lines, names) in [("CAstore = file:/ca", "CAstore")] {
        let errors = errors(&client(lines));
        let expected: Vec<_> = names
            .split(' ')
            .map(|name| format!("adit does not serve `{name}`"))
            .collect();
        assert_eq!(errors.len(), expected.len(), "{lines}: {errors:?}");
        for (error, expected) in errors.iter().zip(&expected) {
            assert!(error.contains(expected), "{lines}: {errors:?}");
        }
    }
    // An empty CAfile is none.
    let errors = errors(&client("verifyChain = yes\nCAfile ="));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("Either \"CAfile\" or \"CApath\" has to be configured"));
}

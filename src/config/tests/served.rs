//! What a configuration that is served comes to.

use super::*;
use std::time::Duration;

/// The one service of a client configuration with `lines`.
#[track_caller]
fn service(lines: &str) -> Service {
    served(&client(lines)).0.services.remove(0)
}

fn tcp(host: Option<&str>, port: u16) -> Endpoint {
    let host = host.map(str::to_owned);
    Endpoint::Tcp { host, port }
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let (config, said) = served(&client(""));
    assert!(said.is_empty(), "{said:?}");
    let global = &config.global;
    assert_eq!((global.debug, global.facility), (5, 3));
    assert_eq!((global.workers, global.threads), (4, 2));
    assert_eq!(global.foreground, Foreground::No);
    assert_eq!(global.log, LogMode::Append);
    assert!(global.syslog);
    assert_eq!(global.service, "adit");
    assert_eq!(
        (&global.pid, &global.chroot, &global.output),
        (&None, &None, &None)
    );
    assert_eq!((&global.control, &global.drain_timeout), (&None, &None));

    let service = &config.services[0];
    assert_eq!(service.name, "s");
    assert_eq!(service.failover, Failover::Priority);
    assert_eq!(service.log_id, LogId::Sequential);
    assert!(service.reset && !service.delay);
    assert_eq!(service.debug, 5);
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        busy: seconds(300),
        close: seconds(60),
        handshake: None,
        connect: seconds(10),
        idle: seconds(43200),
        ocsp: seconds(5),
    };
    assert_eq!(service.timeouts, timeouts);
    let sockets: Vec<_> = service.socket.iter().map(|o| (o.on, o.name)).collect();
    assert_eq!(
        sockets,
        [
            ('a', "SO_REUSEADDR"),
            ('l', "TCP_NODELAY"),
            ('r', "TCP_NODELAY")
        ]
    );
    let tls = &service.tls;
    assert_eq!((tls.version_min, tls.version_max), (None, None));
    assert!(!tls.no_ticket && !tls.server_preference);
    assert_eq!(tls.connect_host.as_deref(), Some("h"));
}

#[test]
fn one_processor_still_gets_two_workers() {
    let loaded = load_from(&sources(&client("")), &[], 1, &NoFiles).unwrap();
    assert_eq!(loaded.config.global.workers, 2);
}

#[test]
fn global_options() {
    let text = "CHROOT = /jail\nsetuid=nobody\nsetgid = 65534\npid =\nforeground = quiet\n\
        debug = mail.warning\noutput = /l\nlog = overwrite\nsyslog = no\nservice = mine\n\
        workers = 3\nthreads = 7\ndrainTimeout = 60\ncontrol = /run/c\n";
    let (config, said) = served(&format!("{text}{}", client("")));
    assert!(said.is_empty(), "{said:?}");
    let global = config.global;
    assert_eq!(global.chroot.as_deref(), Some(Path::new("/jail")));
    assert_eq!(global.setuid.as_deref(), Some("nobody"));
    assert_eq!(global.setgid.as_deref(), Some("65534"));
    assert_eq!(global.pid, None);
    assert_eq!(global.foreground, Foreground::Quiet);
    assert_eq!((global.debug, global.facility), (4, 2));
    assert_eq!(global.output.as_deref(), Some(Path::new("/l")));
    assert_eq!(global.log, LogMode::Overwrite);
    assert!(!global.syslog);
    assert_eq!(global.service, "mine");
    assert_eq!((global.workers, global.threads), (3, 7));
    assert_eq!(global.drain_timeout, Some(Duration::from_mins(1)));
    assert_eq!(global.control.as_deref(), Some(Path::new("/run/c")));
    let chroot = global.origins.get("chroot").unwrap();
    assert_eq!(
        (chroot.to_string().as_str(), &*chroot.text),
        ("test.conf:1", "CHROOT = /jail")
    );
    // As stunnel: the owner of the accept Unix socket, unless the section has its own.
    assert_eq!(config.services[0].setuid.as_deref(), Some("nobody"));
    assert_eq!(config.services[0].debug, 4);
}

#[test]
fn what_stands_before_the_sections_is_a_default_that_lists_add_to() {
    let text = "debug = 7\nTIMEOUTidle = 5\ncheckHost = a\nclient = yes\nverifyServer = yes\n\
        socket = l:TCP_NODELAY=no\n\
        [one]\naccept = 127.0.0.1:1\nconnect = h:1\ncheckHost = b\nTIMEOUTidle = 6\n\
        [two]\naccept = 127.0.0.1:2\nconnect = h:2\ndebug = 3\n";
    let (config, said) = served(text);
    assert!(said.is_empty(), "{said:?}");
    let [one, two] = &config.services[..] else {
        panic!("{config:?}");
    };
    assert_eq!(one.tls.subject.hosts, ["a", "b"]);
    assert_eq!(two.tls.subject.hosts, ["a"]);
    assert_eq!(one.timeouts.idle, Duration::from_secs(6));
    assert_eq!(two.timeouts.idle, Duration::from_secs(5));
    assert_eq!((one.debug, two.debug, config.global.debug), (7, 3, 7));
    assert_eq!(two.socket.last().unwrap().value, SocketOptionValue::Int(0));
}

#[test]
fn every_form_of_an_address() {
    for (value, expected) in [
        ("0", tcp(None, 0)),
        ("993", tcp(None, 993)),
        ("imaps", tcp(None, 993)),
        ("*:993", tcp(None, 993)),
        ("0.0.0.0:25", tcp(Some("0.0.0.0"), 25)),
        ("mail.example.com:0", tcp(Some("mail.example.com"), 0)),
        (
            "mail_1.example.com:SMTP",
            tcp(Some("mail_1.example.com"), 25),
        ),
        (":::993", tcp(Some("::"), 993)),
        ("::1:993", tcp(Some("::1"), 993)),
        ("[2001:db8::1]:993", tcp(Some("2001:db8::1"), 993)),
        ("fe80::1%eth0:25", tcp(Some("fe80::1%eth0"), 25)),
        ("/run/x y.sock", Endpoint::Unix("/run/x y.sock".into())),
    ] {
        let text = client("").replace("accept = 127.0.0.1:1", &format!("accept = {value}"));
        assert_eq!(served(&text).0.services[0].accept, [expected], "{value}");
    }
}

#[test]
fn several_accepts_and_connects_know_their_lines() {
    let service = service("accept = 2\nconnect = /s\nconnect = 25\nfailover = rr");
    assert_eq!(service.accept, [tcp(Some("127.0.0.1"), 1), tcp(None, 2)]);
    assert_eq!(
        service.connect,
        [
            tcp(Some("h"), 2),
            Endpoint::Unix("/s".into()),
            tcp(None, 25)
        ]
    );
    assert_eq!(service.failover, Failover::RoundRobin);
    let error = diagnostic_at(&service.origins, "accept", "Address already in use");
    assert_eq!(
        error.one_line(),
        "test.conf:6: \"accept = 2\": Address already in use"
    );
    let error = diagnostic_at(&service.origins, "key", "it does not match");
    assert_eq!(error.one_line(), "test.conf:1: \"[s]\": it does not match");
}

#[test]
fn verification_is_put_together_as_in_stunnel() {
    // request, require, chain, peer, server
    let cases: &[(&str, [u8; 5])] = &[
        ("", [0, 0, 0, 0, 0]),
        ("verify = 0", [1, 0, 0, 0, 0]),
        ("verify = 1", [1, 0, 1, 0, 0]),
        ("verify = 2", [1, 1, 1, 0, 0]),
        ("verify = 3", [1, 1, 1, 1, 0]),
        ("verify = 4", [1, 1, 0, 1, 0]),
        ("verifyChain = yes", [1, 1, 1, 0, 0]),
        ("verifyPeer = yes", [1, 1, 0, 1, 0]),
        ("requireCert = yes", [1, 1, 0, 0, 0]),
        ("verifyChain = yes\nrequireCert = no", [1, 0, 1, 0, 0]),
        ("requireCert = no\nverifyChain = yes", [1, 1, 1, 0, 0]),
        ("verify = 3\nverifyChain = no", [1, 1, 0, 1, 0]),
        ("verifyPeer = yes\nverify = 0", [1, 0, 0, 0, 0]),
        ("client = yes\nverifyServer = yes", [1, 1, 0, 0, 1]),
    ];
    for (lines, bits) in cases {
        let text = format!("[s]\naccept = 1\nconnect = h:2\ncert = /c\nCAfile = /ca\n{lines}");
        let verification = served(&text).0.services[0].tls.verification;
        let [request, require, chain, peer, server] = bits.map(|bit| bit == 1);
        let expected = PeerVerification {
            request,
            require,
            chain,
            peer,
            server,
        };
        assert_eq!(verification, expected, "{lines}");
    }
}

#[test]
fn a_server_among_verifying_clients_demands_no_certificate() {
    let text = "client = yes\nverifyServer = yes\n\
        [s]\nclient = no\nverifyServer = no\naccept = 1\nconnect = h:2\ncert = /c";
    let verification = served(text).0.services[0].tls.verification;
    assert_eq!(verification, PeerVerification::default());
}

#[test]
fn versions_and_what_options_forbid() {
    use TlsVersion::{V1_0, V1_1, V1_2, V1_3};
    for (lines, min, max) in [
        ("sslVersion = TLSv1.2", Some(V1_2), Some(V1_2)),
        ("sslVersion = TLSv1.3", Some(V1_3), Some(V1_3)),
        ("sslVersion = all", None, None),
        ("sslVersionMin = TLSv1.3", Some(V1_3), None),
        (
            "sslVersion = TLSv1.2\nsslVersionMax = all",
            Some(V1_2),
            None,
        ),
        ("sslVersion = TLSv1", Some(V1_0), Some(V1_0)),
        ("sslVersionMin = TLSv1", Some(V1_0), None),
        ("sslVersionMin = SSLv3", Some(V1_0), None),
        ("sslVersionMax = TLSv1.1", Some(V1_1), Some(V1_1)),
        (
            "sslVersionMin = TLSv1\noptions = NO_TLSv1",
            Some(V1_1),
            None,
        ),
        (
            "sslVersionMin = TLSv1\noptions = NO_TLSv1\noptions = NO_TLSv1_1",
            Some(V1_2),
            None,
        ),
        ("options = NO_TLSv1", None, None),
        ("options = NO_TLSv1_2", Some(V1_3), None),
        ("options = NO_TLSv1_3", None, Some(V1_2)),
        ("options = NO_TLSv1_3\noptions = -NO_TLSv1_3", None, None),
        (
            "options = NO_TLSv1_2\nsslVersionMax = TLSv1.3",
            Some(V1_3),
            Some(V1_3),
        ),
    ] {
        let tls = service(lines).tls;
        assert_eq!((tls.version_min, tls.version_max), (min, max), "{lines}");
    }
    let tls = service("options = NO_TICKET\noptions = CIPHER_SERVER_PREFERENCE").tls;
    assert!(tls.no_ticket && tls.server_preference);
}

#[test]
fn the_other_options_of_a_service() {
    let service = service(
        "protocol = SMTP\nprotocolHost = me.example\ndelay = yes\nlocal = 192.0.2.1\nreset = no\n\
         logId = unique\nsni =\nciphers = HIGH\nciphersuites = A:B\ncurves = X25519\ncert = /c\n\
         key = /k\nCApath = /p\ncheckIP = ::1\ncheckEmail = a@b\nTIMEOUTclose = 0\nsetuid = mail",
    );
    assert_eq!(service.protocol, Some(Protocol::Smtp));
    assert_eq!(service.dialogue.host.as_deref(), Some("me.example"));
    assert!(service.delay && !service.reset);
    assert_eq!(service.local.as_deref(), Some("192.0.2.1"));
    assert_eq!(service.log_id, LogId::Unique);
    assert_eq!(service.setuid.as_deref(), Some("mail"));
    assert_eq!(service.timeouts.close, Duration::ZERO);
    let tls = service.tls;
    assert_eq!(tls.sni.as_deref(), Some(""));
    assert_eq!(tls.ciphers.as_deref(), Some("HIGH"));
    assert_eq!(tls.ciphersuites.as_deref(), Some("A:B"));
    assert_eq!(tls.curves.as_deref(), Some("X25519"));
    assert_eq!(tls.cert.as_deref(), Some(Path::new("/c")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("/k")));
    assert_eq!(tls.ca_path.as_deref(), Some(Path::new("/p")));
    assert_eq!(
        tls.subject.addresses,
        ["::1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(tls.subject.emails, ["a@b"]);
}

#[test]
fn the_host_that_the_server_is_verified_by() {
    for (connect, host) in [
        ("mail.example.com:465", Some("mail.example.com")),
        ("465", Some("localhost")),
        ("[::1]:465", Some("::1")),
        ("/sock\nsni = x", None),
    ] {
        let text = client("").replace("connect = h:2", &format!("connect = {connect}"));
        let tls = served(&text).0.services.remove(0).tls;
        assert_eq!(tls.connect_host.as_deref(), host, "{connect}");
    }
}

#[test]
fn variables_and_flags_stand_above_the_file() {
    let mut sources = sources(&format!("debug = 1\nworkers = 9\n{}", client("")));
    sources.flags = vec![("workers".to_owned(), "5".to_owned())];
    let variables = [
        ("ADIT_DEBUG".to_owned(), Some("6".to_owned())),
        ("ADIT_DRAIN_TIMEOUT".to_owned(), Some("30".to_owned())),
        ("ADIT_WORKERS".to_owned(), Some("3".to_owned())),
    ];
    let global = load_from(&sources, &variables, 4, &NoFiles)
        .unwrap()
        .config
        .global;
    assert_eq!((global.debug, global.workers), (6, 5));
    assert_eq!(global.drain_timeout, Some(Duration::from_secs(30)));
    let place = |option| global.origins.get(option).unwrap().to_string();
    assert_eq!(place("workers"), "flag --workers");
    assert_eq!(
        place("drainTimeout"),
        "environment variable ADIT_DRAIN_TIMEOUT"
    );
}

#[test]
fn a_relay_from_flags_verifies_the_server() {
    let flags = |flags: &[(&str, &str)]| Sources {
        flags: flags
            .iter()
            .map(|f| (f.0.to_owned(), f.1.to_owned()))
            .collect(),
        relay: true,
        called_as_stunnel: true,
        ..Sources::default()
    };
    let load = |sources| load_from(&sources, &[], 4, &NoFiles).unwrap();
    let both = [
        ("accept", "127.0.0.1:1587"),
        ("connect", "smtp.example.com:587"),
        ("protocol", "smtp"),
    ];
    let loaded = load(flags(&both));
    assert!(loaded.diagnostics.is_empty());
    assert_eq!(loaded.config.global.service, "stunnel");
    let service = &loaded.config.services[0];
    assert_eq!(service.name, "relay");
    assert!(service.client && service.tls.verification.server);

    let loaded = load(flags(&[
        both[0],
        both[1],
        both[2],
        ("client", "yes"),
        ("verify-server", "no"),
    ]));
    assert!(!loaded.config.services[0].tls.verification.server);
    assert_eq!(loaded.diagnostics.len(), 1);
    let loaded = load(flags(&[both[0], both[1], ("cert", "/c")]));
    assert!(!loaded.config.services[0].client);
}

#[test]
fn what_packages_install_is_served_without_a_word() {
    let text = include_str!("../../../etc/adit.conf");
    let (config, said) = served(text);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(config.services.len(), 4);
    for service in &config.services {
        assert!(
            service.client && service.tls.verification.server,
            "{}",
            service.name
        );
    }
    assert_eq!(config.global.setuid.as_deref(), Some("nobody"));
    // So is every example in it, once its `;` is taken away.
    let text: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix(';') {
            Some(rest) if !rest.starts_with([' ', '-']) => rest,
            _ => line,
        })
        .collect();
    let (config, said) = served(&text.join("\n"));
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(config.services.len(), 10);
    assert_eq!(config.global.workers, 2);
}

#[test]
fn files_and_directories_are_read_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir_all(dir.path().join("conf.d/sub")).unwrap();
    let path = dir.path().display();
    write(
        "main.conf",
        &format!("\u{feff}debug = 6\r\ninclude = {path}/conf.d\r\n"),
    );
    write("conf.d/20.conf", &client("").replace("[s]", "[two]"));
    write("conf.d/10.conf", &client("").replace("[s]", "[one]"));
    let mut sources = Sources {
        file: Some(dir.path().join("main.conf")),
        ..Sources::default()
    };
    let names = |sources: &Sources| -> Vec<String> {
        let services = load(sources).unwrap().config.services;
        services.into_iter().map(|service| service.name).collect()
    };
    assert_eq!(names(&sources), ["one", "two"]);
    write("glob.conf", &format!("include = {path}/conf.d/2*.conf\n"));
    sources.file = Some(dir.path().join("glob.conf"));
    assert_eq!(names(&sources), ["two"]);
    write(
        "conf.d/30.conf",
        "[three]\nclient = yes\nacept = 1\nconnect = h:3\nverifyServer = yes",
    );
    sources.file = Some(dir.path().join("main.conf"));
    let errors = load(&sources).unwrap_err();
    let first = errors.0.first().unwrap().one_line();
    let place = dir.path().join("conf.d/30.conf:3");
    assert!(first.starts_with(&place.display().to_string()), "{first}");
    sources.file = Some(dir.path().join("none.conf"));
    let errors = load(&sources).unwrap_err().to_string();
    assert!(errors.contains("Cannot open configuration file") && errors.contains("No such file"));
}

#[test]
fn sections_of_one_name_are_each_served_and_numbered() {
    let (config, said) = served(&client("").repeat(3));
    let names: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["s", "s#2", "s#3"]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(
        said[0],
        "warning: test.conf:7: \"[s]\": section [s] is there again: the first is at test.conf:1 \
         (both are served, this one as [s#2]; give each a name of its own)"
    );
    // A number that is a section's own name is left to it, and `service` gives a name too.
    let text = [
        client("").replace("[s]", "[s#2]"),
        client(""),
        client("").replace("[s]", "[t]") + "service = s\n",
    ];
    let (config, said) = served(&text.concat());
    let names: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["s#2", "s", "s#3"]);
    assert!(
        said[0].starts_with("warning: test.conf:19: \"service = s\""),
        "{said:?}"
    );
}

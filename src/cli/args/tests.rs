use super::*;

fn parsed(arguments: &[&str]) -> Result<Command, String> {
    parse(arguments.iter().map(OsString::from), false).map_err(|error| error.to_string())
}

fn file(path: &str) -> Configuration {
    Configuration {
        source: Source::File(path.into()),
        flags: Vec::new(),
    }
}

fn descriptor(number: RawFd) -> Configuration {
    Configuration {
        source: Source::Descriptor(number),
        flags: Vec::new(),
    }
}

#[test]
fn commands_are_understood() {
    let default = file("/etc/adit/adit.conf");
    let check = |configuration, strict| Command::Check {
        configuration,
        strict,
        passed: 0,
        route: false,
    };
    let status = |control, json| Command::Status {
        control,
        how: if json { Shown::Json } else { Shown::Once },
    };
    let ca_in = |dir: &str, what| {
        Command::Ca(ca::Asked {
            dir: dir.into(),
            what,
        })
    };
    let named = |configuration| ControlAt::Configuration(configuration);
    for (arguments, command) in [
        (&[][..], Command::Run(default.clone())),
        (&["a.conf"], Command::Run(file("a.conf"))),
        (&["./check"], Command::Run(file("./check"))),
        (&["-fd", "0"], Command::Run(descriptor(0))),
        (&["--fd=7"], Command::Run(descriptor(7))),
        (&["-version"], Command::Version),
        (&["--version"], Command::Version),
        (&["-V"], Command::Version),
        (&["-help"], Command::Help),
        (&["-h"], Command::Help),
        (&["-sockets"], Command::Sockets),
        (&["-options"], Command::Options),
        (&["check"], check(default.clone(), false)),
        (&["check", "--strict", "a"], check(file("a"), true)),
        (&["check", "a", "--strict"], check(file("a"), true)),
        (&["check", "-fd", "3"], check(descriptor(3), false)),
        (
            &["check", "--route", "a"],
            Command::Check {
                configuration: file("a"),
                strict: false,
                passed: 0,
                route: true,
            },
        ),
        (&["check", "--help"], Command::HelpOn("check")),
        (&["add", "-h"], Command::HelpOn("add")),
        (&["providers"], Command::Providers(None)),
        (
            &["providers", "gmx"],
            Command::Providers(Some("gmx".to_owned())),
        ),
        (&["ca", "show", "-h"], Command::HelpOn("ca")),
        (&["listen-in", "--help"], Command::HelpOn("listen-in")),
        (
            &["diff-stunnel", "--stunnel", "/s", "f"],
            Command::DiffStunnel(diff_stunnel::Asked {
                file: "f".into(),
                stunnel: Some("/s".into()),
            }),
        ),
        (
            &["diff-stunnel"],
            Command::DiffStunnel(diff_stunnel::Asked {
                file: "/etc/stunnel/stunnel.conf".into(),
                stunnel: None,
            }),
        ),
        (&["status"], status(named(default), false)),
        (&["status", "a", "--json"], status(named(file("a")), true)),
        (
            &["status", "--control", "/c"],
            status(ControlAt::Socket("/c".into()), false),
        ),
        (&["stop", "a"], Command::Stop(named(file("a")))),
        (
            &["stop", "--control", "/c"],
            Command::Stop(ControlAt::Socket("/c".into())),
        ),
        (&["reload"], Command::Reload(file("/etc/adit/adit.conf"))),
        (&["reload", "a"], Command::Reload(file("a"))),
        (&["man", "adit.8"], Command::Man("adit.8".into())),
        (&["completions", "zsh"], Command::Completions("zsh".into())),
        (&["demo"], Command::Demo),
        (
            &[
                "ca",
                "--name",
                "Mail.example.com",
                "--name=192.0.2.1",
                "--sha1",
            ],
            ca_in(
                ca::FOLDER,
                ca::What::Make {
                    names: ["mail.example.com", "192.0.2.1"]
                        .map(|name| ca::Name::parse(name).unwrap())
                        .to_vec(),
                    sha1: true,
                    file: ca::FILE.into(),
                },
            ),
        ),
        (
            &["ca", "--dir", "d", "renew", "--force"],
            ca_in("d", ca::What::Renew { force: true }),
        ),
        (
            &["ca", "show", "--serve", "8080"],
            ca_in(
                ca::FOLDER,
                ca::What::Show {
                    serve: Some("8080".into()),
                },
            ),
        ),
        (
            &[
                "listen-in",
                "--accept",
                "h:1587",
                "--protocol",
                "smtp",
                "--timeout=9",
            ],
            Command::ListenIn(listen_in::Asked {
                accept: "h:1587".into(),
                protocol: Some(Mail::Smtp),
                timeout: Some(Duration::from_secs(9)),
            }),
        ),
    ] {
        assert_eq!(parsed(arguments), Ok(command), "{arguments:?}");
    }
}

#[test]
fn a_word_near_a_command_was_meant_to_be_it() {
    for (word, meant) in [
        ("chek", Some("`adit check`")),
        ("Check", Some("`adit check`")),
        ("relod", Some("`adit reload`")),
        ("stauts", Some("`adit status`")),
        ("stpo", Some("`adit stop`")),
        ("start", Some("`systemctl start adit`")),
        ("Restart", Some("`adit reload [FILE]`")),
        ("shutdown", Some("`adit stop [FILE]`")),
        ("configtest", Some("`adit check [FILE]`")),
        ("help", Some("`adit -help`")),
        ("mail", None),
        ("relay", None),
        ("stop", None),
        ("chek.conf", None),
        ("./start", None),
    ] {
        let advice = meant_command(word.as_ref());
        assert_eq!(advice.is_some(), meant.is_some(), "{word}: {advice:?}");
        let advice = advice.unwrap_or_default();
        assert!(
            advice.contains(meant.unwrap_or_default()),
            "{word}: {advice}"
        );
    }
}

#[test]
fn any_option_of_a_file_can_be_a_flag() {
    let Ok(Command::Run(configuration)) = parsed(&["--debug=7", "a", "--drain-timeout", "5"])
    else {
        panic!("not a run");
    };
    assert_eq!(configuration.source, Source::File("a".into()));
    let flags = [("debug", "7"), ("drainTimeout", "5")];
    assert_eq!(
        configuration.flags,
        flags.map(|(n, v)| (n.into(), v.into()))
    );
}

#[test]
fn a_relay_is_made_of_flags_and_shows_what_it_does() {
    let relay = |arguments: &[&str]| match parsed(arguments) {
        Ok(Command::Run(Configuration {
            source: Source::Flags,
            flags,
        })) => flags,
        other => panic!("{other:?}"),
    };
    let base = [
        "relay",
        "--accept",
        "1587",
        "--connect",
        "smtp.example.com:587",
    ];
    let flags = relay(&[&base[..], &["--protocol", "smtp"]].concat());
    let expected = [
        ("accept", "1587"),
        ("connect", "smtp.example.com:587"),
        ("protocol", "smtp"),
        ("foreground", "yes"),
        ("syslog", "no"),
        ("debug", "info"),
    ];
    assert_eq!(flags, expected.map(|(n, v)| (n.into(), v.into())));

    let server = relay(&[&base[..], &["--server", "--cert", "c", "--debug", "7"]].concat());
    assert!(server.contains(&("client".into(), "no".into())));
    assert!(server.contains(&("debug".into(), "7".into())));
    assert!(!server.contains(&("debug".into(), "info".into())));
    for flag in ["--insecure", "--verify-none"] {
        let open = relay(&[&base[..], &[flag]].concat());
        assert!(open.contains(&("verifyServer".into(), "no".into())));
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (arguments, word) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["--frobnicate", "a"], "--frobnicate"),
        (&["-x"], "-x"),
        (&["a", "b"], "b"),
        (&["-fd"], "--fd"),
        (&["-fd", "x"], "x"),
        (&["-fd", "-1"], "-fd"),
        (&["-fd", "0", "a"], "a"),
        (&["--debug"], "--debug"),
        (&["check", "--json"], "--json"),
        (&["reload", "a", "b"], "b"),
        (&["man", "adit.8", "b"], "b"),
        (&["relay", "--accept", "1"], "--connect"),
        (&["relay", "--connect", "1"], "--accept"),
        (&["relay", "a"], "a"),
        (&["relay", "--fd", "0"], "--fd"),
        (&["status", "--control", "/c", "a"], "--control"),
        (&["status", "--strict"], "--strict"),
        (&["stop", "--control", "/c", "a"], "--control"),
        (&["stop", "--json"], "--json"),
        (&["demo", "a"], "a"),
        (&["ca", "make"], "make"),
        (&["ca", "--name", "a b"], "a b"),
        (&["ca", "--force"], "'--force' belongs to `adit ca renew`"),
        (&["ca", "--file", "../x.pem"], "../x.pem"),
        (&["ca", "--file", "old.pem", "show"], "show"),
        (
            &["ca", "--serve", "1"],
            "'--serve' belongs to `adit ca show`",
        ),
        (&["ca", "renew", "--sha1"], "--sha1"),
        (&["ca", "--sha1", "renew"], "renew"),
        (&["ca", "show", "renew"], "renew"),
        (&["listen-in"], "--accept"),
        (&["listen-in", "--accept", "1", "a"], "a"),
        (
            &["listen-in", "--accept", "1", "--protocol", "nntp"],
            "nntp",
        ),
        (&["listen-in", "--accept", "1", "--timeout", "x"], "x"),
    ] {
        let error = parsed(arguments).unwrap_err();
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
}

#[test]
fn by_stunnels_name_there_are_stunnels_file_and_no_commands() {
    for (program, expected) in [
        ("stunnel", true),
        ("/usr/bin/stunnel", true),
        ("/usr/bin/stunnel4", true),
        ("adit", false),
        ("/opt/stunnel/adit", false),
    ] {
        assert_eq!(called_as_stunnel(Some(program.as_ref())), expected);
    }
    assert!(!called_as_stunnel(None));
    let as_stunnel = |arguments: &[&str]| parse(arguments.iter().map(OsString::from), true);
    assert_eq!(
        as_stunnel(&[]),
        Ok(Command::Run(file("/etc/stunnel/stunnel.conf")))
    );
    assert_eq!(as_stunnel(&["check"]), Ok(Command::Run(file("check"))));
}

#[test]
fn adit_add_takes_an_address_and_how_it_is_reached() {
    use crate::cli::add::{Address, Asked, Reader, What, by_hand};
    use crate::cli::providers::{Mail, Provider};

    let asked = |change: &dyn Fn(&mut Asked)| {
        let mut asked = Asked {
            address: Address::parse("you@gmx.de").unwrap(),
            file: "/etc/adit/adit.conf".into(),
            what: What::Write,
            reader: Reader::OutlookExpress,
            listen: None,
            from: None,
            name: None,
            provider: None,
            servers: Vec::new(),
            yes: false,
        };
        change(&mut asked);
        Ok(Command::Add(asked))
    };
    assert_eq!(parsed(&["add", "you@gmx.de"]), asked(&|_| {}));
    let line = [
        "add",
        "--print",
        "you@GMX.de",
        "--for",
        "printer",
        "--listen=[fd00::1]",
        "--from",
        "fd00::7,fd00:1::/64",
        "a.conf",
    ];
    assert_eq!(
        parsed(&line),
        asked(&|asked| {
            asked.what = What::Print;
            asked.reader = Reader::Printer;
            asked.listen = Some("fd00::1".parse().unwrap());
            asked.from = Some("fd00::7, fd00:1::/64".to_owned());
            asked.file = "a.conf".into();
        })
    );
    let line = [
        "add",
        "you@gmx.de",
        "--imap",
        "m.example.com:993",
        "--smtp",
        "nas:587",
        "--yes",
    ];
    assert_eq!(
        parsed(&line),
        asked(&|asked| {
            let server = |text| by_hand(text).unwrap();
            asked.servers = vec![
                (Mail::Imap, server("m.example.com:993")),
                (Mail::Smtp, server("nas:587")),
            ];
            asked.yes = true;
        })
    );
    let line = ["add", "you@gmx.de", "--remove", "--provider", "ionos"];
    assert_eq!(
        parsed(&line),
        asked(&|asked| {
            asked.what = What::Remove;
            asked.provider = Provider::with_id("ionos");
        })
    );
    for (arguments, part) in [
        (&["add"][..], "needs an address"),
        (&["add", "gmx.de"], "has no @"),
        (&["add", "a@b.de", "c", "d"], "d"),
        (
            &["add", "a@b.de", "--for", "mutt"],
            "outlook-express, printer, thunderbird",
        ),
        (&["add", "a@b.de", "--listen", "nas"], "without a port"),
        (&["add", "a@b.de", "--from", "192.0.2.7"], "add '--listen'"),
        (
            &["add", "a@b.de", "--listen", "10.1.1.1", "--from", "nas"],
            "neither an IP address nor a network",
        ),
        (&["add", "a@b.de", "--name", "a/b"], "--name a/b"),
        (
            &["add", "a@b.de", "--print", "--remove"],
            "do not go together",
        ),
        (
            &["add", "a@b.de", "--provider", "gmx-d"],
            "did you mean gmx-de?",
        ),
        (
            &["add", "a@b.de", "--provider", "ionos", "--smtp", "a.de:465"],
            "leave out",
        ),
        (
            &["add", "a@b.de", "--smtp", "a.de:465", "--smtp", "a.de:465"],
            "--smtp",
        ),
        (&["add", "a@b.de", "--nntp", "a.de:563"], "--nntp"),
        (&["providers", "a", "b"], "b"),
    ] {
        let error = parsed(arguments).unwrap_err();
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

#[test]
fn a_connection_is_named_by_what_the_log_shows_though_that_begins_with_a_dash() {
    let cut = |arguments: &[&str]| match parsed(arguments) {
        Ok(Command::Cut { connection, .. }) => connection,
        other => panic!("{arguments:?}: {other:?}"),
    };
    for id in ["4711", "-h1cHBJoWD8gyTzvOoQBOg", "--1cHBJoWD8gyTzvOoQB_g"] {
        assert_eq!(cut(&["cut", id]), id);
        assert_eq!(cut(&["cut", id, "a.conf"]), id);
        assert_eq!(cut(&["cut", "--control", "c", id]), id);
    }
    assert_eq!(parsed(&["cut", "-h"]), Ok(Command::HelpOn("cut")));
    assert!(
        parsed(&["cut", "-h1cHBJoWD8gyTzvOoQBO="]).is_ok_and(|it| it == Command::HelpOn("cut"))
    );
    assert!(parsed(&["drain", "--1cHBJoWD8gyTzvOoQB_g"]).is_err());
}

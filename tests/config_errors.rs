//! A bad configuration never half-starts: every error is reported in one run, with file, line and what
//! would be right; the exit status is 1, and nothing is bound.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, own_loopback, stand_in, tls};

/// A complete server-mode service.
fn good(certs: &Certs) -> String {
    format!("connect = 127.0.0.1:9\n{}", certs.server().lines())
}

/// The number of the configuration's line that contains `text`.
fn line_of(file: &std::path::Path, text: &str) -> usize {
    let all = fs::read_to_string(file).expect("the configuration");
    all.lines()
        .position(|line| line.contains(text))
        .expect("the line")
        + 1
}

#[test]
fn an_unknown_option_is_told_with_its_line_and_the_nearest_name() {
    require!(adit);
    let certs = Certs::new();
    let outcome = Plan::new()
        .service("test", good(&certs) + "conect = 1\n")
        .run();
    let line = line_of(&outcome.folder.path().join("adit.conf"), "conect");
    outcome.exits(1).says(&[
        &format!("adit.conf:{line}"),
        "conect = 1",
        "connect",
        "Configuration failed",
    ]);
}

#[test]
fn every_error_is_told_in_one_run() {
    require!(adit);
    let certs = Certs::new();
    let outcome = Plan::new()
        .global("debug = 9\nworkerz = 2")
        .service("one", good(&certs) + "TIMEOUTidle = soon\n")
        .service("two", good(&certs) + "sslVersion = TLSv9\nverify = 7\n")
        .run();
    outcome
        .exits(1)
        .says(&["debug = 9", "workerz", "soon", "TLSv9", "verify = 7"]);
}

#[test]
fn sections_of_one_name_are_each_served_and_told_apart() {
    require!(adit);
    let certs = Certs::new();
    let adit = Plan::new()
        .service("twin", good(&certs))
        .service("twin", good(&certs))
        .service("twin", good(&certs))
        .start();
    let log = adit.log();
    for name in ["twin", "twin#2", "twin#3"] {
        let bound = log
            .lines()
            .filter(|line| line.contains(&format!("Service [{name}] (FD=")))
            .count();
        assert_eq!(bound, 1, "{name}\n{log}");
    }
    let warned = log.matches("section [twin] is there again").count();
    assert_eq!(warned, 2, "{log}");
}

#[test]
fn a_service_needs_two_endpoints() {
    let certs = Certs::new();
    let outcome = Plan::new().service("lonely", certs.server().lines()).run();
    outcome.exits(1).says(&[
        "Each service must define two endpoints",
        "Configuration failed",
    ]);
}

#[test]
fn server_mode_needs_a_certificate() {
    let outcome = Plan::new()
        .service("naked", "connect = 127.0.0.1:9\n")
        .run();
    outcome.exits(1).says(&["naked", "Configuration failed"]);
}

#[test]
fn a_certificate_file_that_is_not_there_is_told_by_its_path() {
    let outcome = Plan::new()
        .service("test", "connect = 127.0.0.1:9\ncert = /nowhere/mail.pem\n")
        .run();
    outcome
        .exits(1)
        .says(&["/nowhere/mail.pem", "Configuration failed"]);
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let certs = Certs::new();
    let (one, other) = (certs.server(), certs.client());
    let outcome = Plan::new()
        .service(
            "test",
            format!(
                "connect = 127.0.0.1:9\ncert = {}\nkey = {}\n",
                one.cert.display(),
                other.key.display()
            ),
        )
        .run();
    outcome.exits(1).says(&["Configuration failed"]);
    if stand_in().is_none() {
        outcome.says(&["client.key", "match"]);
    }
}

#[test]
fn a_key_that_cannot_be_read_is_told_with_the_systems_reason() {
    require!(root);
    let certs = Certs::new();
    // The key is root's, and adit runs as nobody.
    let outcome = Plan::new()
        .user(65534, 65534)
        .service("test", good(&certs))
        .run();
    outcome
        .exits(1)
        .says(&["server.key", "Permission denied", "Configuration failed"]);
}

#[test]
fn files_that_are_no_certificates_are_told() {
    let certs = Certs::new();
    let junk = certs.folder().join("junk.pem");
    fs::write(&junk, "this is no certificate\n").expect("writing");
    let junk = junk.display();
    for lines in [
        format!("connect = 127.0.0.1:9\ncert = {junk}\n"),
        format!("client = yes\nconnect = 127.0.0.1:9\nCAfile = {junk}\nverifyChain = yes\n"),
    ] {
        let outcome = Plan::new().service("test", lines).run();
        outcome.exits(1).says(&["Configuration failed"]);
        if stand_in().is_none() {
            outcome.says(&["junk.pem"]);
        }
    }
}

#[test]
fn every_port_that_is_taken_is_listed_and_none_is_kept() {
    let certs = Certs::new();
    let taken: Vec<TcpListener> = (0..2)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let free = own_loopback();
    let mut plan = Plan::new().service("free", format!("accept = {free}:7001\n{}", good(&certs)));
    let mut phrases = Vec::new();
    for (number, listener) in taken.iter().enumerate() {
        let address = listener.local_addr().expect("its address");
        plan = plan.service(
            &format!("taken{number}"),
            format!("accept = {address}\n{}", good(&certs)),
        );
        phrases.push(format!(
            "Binding service [taken{number}] to {address}: Address already in use"
        ));
        phrases.push(format!("Binding service [taken{number}] failed"));
    }
    let outcome = plan.run();
    let phrases: Vec<&str> = phrases.iter().map(String::as_str).collect();
    // stunnel stops at the first.
    outcome.exits(1).says(if stand_in().is_some() {
        &phrases[..2]
    } else {
        &phrases
    });
    TcpListener::bind((free, 7001)).expect("nothing is left bound");
}

#[test]
fn one_accept_of_several_that_is_taken_is_gone_past() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let held_address = held.local_addr().expect("its address");
    let adit = Plan::new()
        .service(
            "test",
            format!(
                "accept = {held_address}\naccept = 127.0.0.1:0\n{}{}",
                upstream.line(),
                certs.server().lines()
            ),
        )
        .start();
    adit.wait_for_log(&format!(
        "Binding service [test] to {held_address}: Address already in use (98)"
    ));
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
}

#[test]
fn a_chroot_folder_that_is_not_there_is_told() {
    require!(root);
    let certs = Certs::new();
    let outcome = Plan::new()
        .global("chroot = /nowhere/jail\nsetuid = nobody")
        .service("test", good(&certs))
        .run();
    outcome.exits(1).says(&["No such file or directory"]);
    if stand_in().is_none() {
        outcome.says(&["/nowhere/jail"]);
    }
}

#[test]
fn an_unknown_user_or_group_is_told() {
    require!(root);
    let certs = Certs::new();
    for line in ["setuid = nosuchuser", "setgid = nosuchgroup"] {
        let outcome = Plan::new().global(line).service("test", good(&certs)).run();
        outcome
            .exits(1)
            .says(&[line.rsplit(' ').next().expect("a word")]);
    }
}

#[test]
fn users_groups_and_files_that_are_not_there_are_told_in_one_run() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let bad = |plan: Plan| {
        plan.global("setuid = nosuchuser\nsetgid = nosuchgroup\nchroot = /nowhere/jail")
            .global("control = /nowhere/control\npid = /inside/the/jail")
            .service("one", good(&certs))
            .service("two", "connect = 127.0.0.1:9\ncert = /nowhere/two.pem")
            .service(
                "three",
                "client = yes\nconnect = 127.0.0.1:9\nCAfile = /nowhere/ca.pem\nverifyChain = yes",
            )
    };
    let files = [
        "nosuchuser",
        "nosuchgroup",
        "/nowhere/jail",
        "/nowhere/two.pem",
        "/nowhere/ca.pem",
        "control: there is no folder /nowhere",
        "Configuration failed",
    ];
    bad(Plan::new()).run().exits(1).says(&files);
    // With errors in the text as well, so that there is no configuration to load.
    let text = "TIMEOUTidle = soon\nconnect = 127.0.0.1:9\ncert = /nowhere/four.pem";
    let plan = bad(Plan::new().global("workerz = 2")).service("four", text);
    let outcome = plan.run();
    outcome.exits(1).says(&files);
    outcome.says(&["workerz", "soon", "/nowhere/four.pem"]);
    // A line for each error.
    let errors = outcome.said.matches(": error: ").count();
    assert_eq!(errors, 9, "{}", outcome.said);
}

#[test]
fn an_error_in_an_included_file_names_that_file() {
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let included = plan.folder().join("conf.d");
    fs::create_dir(&included).expect("mkdir");
    fs::write(
        included.join("10-mail.conf"),
        format!(
            "[mail]\naccept = 127.0.0.1:0\n{}tiemoutidle = 3\n",
            good(&certs)
        ),
    )
    .expect("writing");
    let line = format!("include = {}", included.display());
    let outcome = plan.global(line).run();
    outcome.exits(1).says(&["10-mail.conf:6", "TIMEOUTidle"]);
}

#[test]
fn options_that_are_not_served_are_refused_by_name_and_never_ignored() {
    require!(adit);
    let certs = Certs::new();
    for option in [
        "engine = auto",
        "sessiond = 127.0.0.1:9",
        "sslVersion = SSLv3",
        "fips = yes",
    ] {
        let name = option.split(' ').next().expect("a word");
        let plan = Plan::new();
        let plan = match name {
            "engine" | "fips" => plan.global(option).service("test", good(&certs)),
            _ => plan.service("test", good(&certs) + option + "\n"),
        };
        plan.run().exits(1).says(&[name]);
    }
}

#[test]
fn an_option_without_effect_is_noted_and_served() {
    require!(adit);
    let certs = Certs::new();
    let adit = Plan::new()
        .global("fips = no\ncompression = zlib")
        .service("test", good(&certs) + "stack = 65536\n")
        .start();
    for name in ["compression", "stack"] {
        let line = adit.wait_for_log(name);
        assert!(line.contains("LOG5["), "{line}");
    }
}

#[test]
fn byte_order_mark_crlf_and_leading_blanks_are_taken() {
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let log = plan.folder().join("log");
    let text = format!(
        "\u{feff}; made on Windows\n  foreground = yes\n\toutput = {}\n syslog = no\n debug = 7\n\
         pid =\n  [test]\n # a remark\n  ACCEPT=127.0.0.1:0\n{}{}",
        log.display(),
        upstream.line(),
        certs.server().lines()
    );
    let adit = plan.verbatim(text.replace('\n', "\r\n")).start();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
}

#[test]
fn the_environment_stands_above_the_file() {
    require!(adit);
    let certs = Certs::new();
    let adit = Plan::new()
        .global("workers = 1")
        .environment("ADIT_WORKERS", "3")
        .service("test", good(&certs))
        .start();
    assert_eq!(crate::support::proc::roles(adit.pid()).workers.len(), 3);
    drop(adit);
    let outcome = Plan::new()
        .environment("ADIT_WORKERZ", "3")
        .service("test", good(&certs))
        .run();
    outcome.exits(1).says(&["ADIT_WORKERZ"]);
}

#[test]
fn certificates_about_to_expire_and_keys_others_can_read_are_warned_of() {
    require!(adit);
    let certs = Certs::new();
    let expired = certs.issue(
        "expired",
        Wish {
            years: (2020, 2021),
            ..Wish::default()
        },
    );
    fs::set_permissions(
        &expired.key,
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("chmod");
    let adit = Plan::new()
        .service(
            "test",
            format!("connect = 127.0.0.1:9\n{}", expired.lines()),
        )
        .start();
    for phrase in ["expired.pem", "expired.key"] {
        let log = adit.log();
        let warned = log
            .lines()
            .any(|line| line.contains("LOG4[") && line.contains(phrase));
        assert!(warned, "no warning about {phrase}");
    }
}

#[test]
fn one_certificate_of_three_services_is_warned_of_once() {
    require!(adit);
    let certs = Certs::new();
    let wish = Wish {
        years: (2020, 2021),
        ..Wish::default()
    };
    let expired = certs.issue("expired", wish);
    let lines = format!("connect = 127.0.0.1:9\n{}", expired.lines());
    let mut plan = Plan::new();
    for name in ["one", "two", "three"] {
        plan = plan.service(name, &lines);
    }
    let adit = plan.start();
    let log = adit.log();
    let warned: Vec<_> = log
        .lines()
        .filter(|line| line.contains("expired.pem exp"))
        .collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("Service [one], [two], [three]: the certificate of"),
        "{warned:?}"
    );
}

#[test]
fn a_file_in_utf_16_is_one_error_with_the_remedy() {
    require!(adit);
    let certs = Certs::new();
    let text = format!("[test]\naccept = 127.0.0.1:0\n{}", good(&certs));
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("adit.conf");
    fs::write(&file, wide).expect("writing");
    let by_name = Command::new(program()).arg("check").arg(&file).output();
    let by_descriptor = Command::new(program())
        .args(["-fd", "0"])
        .stdin(fs::File::open(&file).expect("the file"))
        .output();
    for output in [by_name, by_descriptor] {
        let said = output.expect("starting the program").stderr;
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
        assert!(said.contains("iconv -f UTF-16 -t UTF-8"), "{said}");
    }
}

//! `adit check` tells what is wrong, and what a start would not find.

use std::fs;
use std::process::Command;

use crate::require;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

use super::{good, run};

/// `adit check` for this plan's configuration.
#[track_caller]
fn check(plan: &Plan, strict: bool) -> (Option<i32>, String) {
    // Written as for a start, but not started.
    let _ = plan.command();
    let file = plan.file();
    let file = file.to_str().expect("a path in UTF-8");
    let arguments: &[&str] = if strict {
        &["check", "--strict", file]
    } else {
        &["check", file]
    };
    let (output, said) = run(arguments);
    (output.status.code(), said)
}

#[test]
fn check_passes_a_good_file() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new().service("test", good(&certs, &upstream));
    let (code, said) = check(&plan, true);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn check_tells_every_error_and_fails() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new()
        .global("nonsense = 1")
        .service("test", good(&certs, &upstream) + "verify = 9\n")
        .service(
            "other",
            format!("connect = 127.0.0.1:9\ncert = {}\n", "/nowhere.pem"),
        );
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    for phrase in ["nonsense = 1", "verify = 9", "/nowhere.pem"] {
        assert!(said.contains(phrase), "no {phrase:?} in {said}");
    }
}

#[test]
fn check_loads_what_the_file_names() {
    require!(adit);
    let plan = Plan::new().service(
        "test",
        "connect = 127.0.0.1:9\ncert = /nowhere/server.pem\n",
    );
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nowhere/server.pem"), "{said}");
}

#[test]
fn strict_fails_on_a_client_service_that_verifies_nothing() {
    require!(adit);
    let plan = Plan::new().service("test", "client = yes\nconnect = 127.0.0.1:9\n");
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("needs authentication to prevent MITM attacks"),
        "{said}"
    );
    let (code, said) = check(&plan, true);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn check_and_the_log_warn_of_a_certificate_that_ends_within_thirty_days() {
    require!(adit);
    require!(program "openssl");
    let upstream = Server::echo();
    for (days, warned) in [("29", true), ("32", false)] {
        let plan = Plan::new();
        let file = |name: &str| plan.folder().join(name).display().to_string();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-days",
                days,
            ])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-out", &cert, "-keyout", &key])
            .output()
            .expect("openssl");
        assert!(made.status.success());
        let lines = format!("{}cert = {cert}\nkey = {key}\n", upstream.line());
        let plan = plan.service("test", lines);
        let (status, said) = check(&plan, false);
        assert_eq!(
            (status, said.contains("day(s): renew it")),
            (Some(0), warned),
            "{said}"
        );
        assert_eq!(check(&plan, true).0, Some(i32::from(warned)));
        let adit = plan.start();
        assert_eq!(adit.count_in_log("day(s): renew it") > 0, warned);
    }
}

#[test]
fn check_names_every_folder_that_a_start_would_not_find() {
    require!(adit);
    let plan = Plan::new()
        .global("output = /no/such/log")
        .global("pid = /no/such/pid")
        .global("control = /no/such/control")
        .service("test", "client = yes\nconnect = 127.0.0.1:9\n");
    let (code, said) = check(&plan, false);
    assert_eq!(code, Some(1), "{said}");
    for option in ["output", "pid", "control"] {
        let phrase = format!("{option}: there is no folder /no/such");
        assert!(said.contains(&phrase), "{said}");
    }
}

#[test]
fn the_packaged_configuration_passes_strict_checking() {
    require!(adit);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/adit.conf");
    let text = fs::read_to_string(file).expect("the packaged configuration");
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    // The package makes the folder.
    let text = text.replace("/var/lib/adit", &jail.display().to_string());
    let (code, said) = check(&plan.verbatim(text), true);
    assert_eq!(code, Some(0), "{said}");
}

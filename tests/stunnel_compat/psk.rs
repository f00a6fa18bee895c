//! Files of pre-shared keys: what both programs read in them, and what both refuse.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::stunnel;
use crate::require;
use crate::support::adit::program;
use crate::support::{Plan, wait_for};

const KEY: &str = "00112233445566778899aabbccddeeff";

/// Whether it starts, and what it says about lines of the file, as far as both word it alike.
fn read(path: &Path, text: &str, more: &str) -> (bool, Vec<String>) {
    let plan = Plan::new().program(path);
    let file = plan.folder().join("psk.txt");
    fs::write(&file, text).expect("writing");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    let lines = format!(
        "connect = 127.0.0.1:9\nPSKsecrets = {}\n{more}",
        file.display()
    );
    let adit = plan.service("test", lines).launch();
    let started = wait_for("a start or its failure", || {
        let said = adit.everything_said();
        let failed = said.contains("Configuration failed");
        (failed || said.contains("Accepting new connections")).then_some(!failed)
    });
    let said = adit.everything_said();
    let about = said.lines().filter_map(|line| {
        let told = [
            "PSKsecrets line ",
            "PSK identities: ",
            "PSK identity is ignored",
        ];
        let start = told.iter().find_map(|phrase| line.find(phrase))?;
        // adit tells what to do in brackets, and counts bytes of an identity where stunnel counts one too many.
        let about = line[start..].split(" (").next()?;
        let about = about.split(" longer than ").next()?;
        // A refused file's good lines are of no use.
        let good = about.contains("configured for") || about.contains("retrieved");
        (started || !good).then(|| about.to_owned())
    });
    let mut about: Vec<String> = about.collect();
    // The order is no promise.
    about.sort();
    about.dedup();
    (started, about)
}

#[test]
fn files_of_pre_shared_keys() {
    require!(program "stunnel4");
    let colons: Vec<&str> = (0..16).map(|nth| &KEY[nth * 2..nth * 2 + 2]).collect();
    let colons = colons.join(":");
    for (text, more, starts) in [
        (format!("a:{KEY}\nb:{KEY}\n"), "", true),
        (format!("a:{KEY}"), "", true),
        (format!("\n\r\na:{KEY}\r\n"), "", true),
        (format!("a:{}\n", KEY.to_uppercase()), "", true),
        (format!("a:{KEY}0\n"), "", true),
        (format!("a:{KEY} \n"), "", true),
        (format!("a: {KEY}\n"), "", true),
        (format!(" a :{KEY}\n"), "", true),
        (format!("a:{colons}\n"), "", true),
        (format!("a::{colons}::\n"), "", true),
        (format!("a:{}:0\n", &KEY[1..]), "", true),
        (format!("a:0:{}\n", &KEY[1..]), "", true),
        (format!(":{KEY}\n"), "", true),
        (format!("a:{KEY}\na:{KEY}\n"), "", true),
        (
            format!("{}:{}\n", "i".repeat(255), "k".repeat(512)),
            "",
            true,
        ),
        (format!("{}:{KEY}\n", "i".repeat(256)), "", false),
        (format!("a:{}\n", "k".repeat(513)), "", false),
        (format!("a:{}\n", &KEY[2..]), "", false),
        ("a:fifteen letters\n".into(), "", false),
        ("a:\n".into(), "", false),
        (format!("# a comment\na:{KEY}\n"), "", false),
        (format!("a:{KEY}\n \n"), "", false),
        ("\n\n".into(), "", false),
        (String::new(), "", false),
        (format!("a:{KEY}\n"), "PSKidentity = b\n", true),
        (
            format!("a:{KEY}\n"),
            "client = yes\nPSKidentity = b\n",
            false,
        ),
        (
            format!("a:{KEY}\n"),
            "client = yes\nPSKidentity = a\n",
            true,
        ),
        (format!("a:{KEY}\n"), "client = yes\nPSKidentity =\n", false),
    ] {
        let theirs = read(&stunnel(), &text, more);
        let ours = read(&program(), &text, more);
        assert_eq!(
            theirs.0, starts,
            "stunnel, of {text:?} {more:?}: {:?}",
            theirs.1
        );
        assert_eq!(
            theirs, ours,
            "stunnel left, adit right, of {text:?} {more:?}"
        );
    }
}

//! README and docs/ are right: their configurations, their steps, and the log lines that they explain.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::certs::{Kind, Wish};
use crate::support::openssl::run;
use crate::support::{Certs, Plan};

const README: &str = include_str!("../README.md");

/// The configurations in it: between ```` ```ini ```` and the closing fence.
fn configurations() -> Vec<&'static str> {
    let blocks = README.split("```ini\n").skip(1);
    blocks
        .map(|block| block.split("```").next().expect("a closing fence"))
        .collect()
}

#[test]
fn every_configuration_in_readme_passes_strict_checking() {
    require!(adit);
    let certs = Certs::new();
    let found = configurations();
    assert!(!found.is_empty());
    for text in found {
        let plan = Plan::new();
        // The files that README's steps make, and names that resolve without a network.
        let mut text = text.replace(".example.com:", ".localhost:");
        for made in ["/var/lib/adit", "/var/log/adit"] {
            let folder = plan.folder().join(&made[1..]);
            fs::create_dir_all(&folder).expect("mkdir");
            text = text.replace(made, &folder.display().to_string());
        }
        for name in ["company-ca.pem", "mail.example.com.pem"] {
            let file = certs.ca().display().to_string();
            text = text.replace(&format!("/etc/adit/{name}"), &file);
        }
        // As `adit ca --file` makes it: the certificate and its key.
        let wish = Wish {
            kind: Kind::Rsa,
            ..Wish::default()
        };
        let pair = certs.issue("old", wish);
        let both = [pair.cert, pair.key].map(|file| fs::read_to_string(file).expect("PEM"));
        let file = certs.folder().join("both.pem");
        fs::write(&file, both.concat()).expect("writing");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
        // An address that this machine has, and the internet has not.
        text = text.replace("192.168.1.5:", "127.0.0.1:");
        text = text.replace("/etc/adit/ca/old.pem", &file.display().to_string());
        for host in ["smtp", "pop", "imap", "mail"] {
            text = text.replace(&format!("{host}.localhost"), "localhost");
        }
        let plan = plan.verbatim(text);
        plan.passes_strict_check();
    }
}

#[test]
fn the_unit_and_the_init_script_by_hand_start_the_program_that_was_installed_by_hand() {
    let folder = Plan::new();
    for (line, wanted) in [
        (
            "packaging/systemd/adit.service >",
            "ExecStart=/usr/local/sbin/adit ",
        ),
        ("packaging/init.d/adit >", "DAEMON=/usr/local/sbin/adit"),
    ] {
        let step = README.lines().find(|step| step.contains(line));
        let step = step.unwrap_or_else(|| panic!("no step with {line}"));
        let (command, _) = step.split_once('>').expect("a redirection");
        let made = folder.folder().join("made");
        run(Command::new("sh")
            .args(["-ec", &format!("{command} >\"$0\"")])
            .arg(&made)
            .current_dir(env!("CARGO_MANIFEST_DIR")));
        let made = fs::read_to_string(made).expect("what it made");
        assert!(made.contains(wanted), "{made}");
        assert!(!made.contains("/usr/bin/adit"), "{made}");
    }
}

/// A text without its ports, and without the width of its columns.
fn without_ports(line: &str) -> String {
    let words = line
        .split_whitespace()
        .map(|word| match word.parse::<u16>() {
            Ok(_) => "PORT",
            Err(_) => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_readme_shows_of_adit_add_is_what_it_says() {
    require!(adit);
    let (_, shown) = README
        .split_once("**3. Type what it says.**")
        .expect("the step");
    let (shown, _) = shown.split_once("**4. Start**").expect("the next step");
    let shown: Vec<String> = shown
        .lines()
        .filter(|line| line.starts_with("    "))
        .map(without_ports)
        .collect();
    assert!(shown.len() > 10, "{shown:?}");
    let folder = Plan::new();
    let mut add = Command::new(program());
    add.args(["add", "you@gmx.de", "--print"])
        .arg(folder.file());
    let said = add.output().expect("adit add").stdout;
    let said = String::from_utf8(said).expect("text");
    let said: Vec<String> = said
        .lines()
        .map(|line| without_ports(line.trim_start_matches([';', ' '])))
        .collect();
    let mut said = said.iter();
    for line in &shown {
        assert!(
            said.any(|one| one == line),
            "{line:?} is not said, or not there"
        );
    }
}

/// The text of every source file below a folder, except this one.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("readme.rs") {
            into.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}

#[test]
fn readme_explains_no_line_of_the_log_that_adit_does_not_write() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    sources(&root.join("tests"), &mut text);
    let (_, table) = README
        .split_once("## What the log says")
        .expect("the section");
    let (table, _) = table.split_once("\n## ").expect("another section");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| the log"))
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let first = row.split('|').nth(1).expect("a first column");
        for phrase in first.split('`').skip(1).step_by(2) {
            assert!(text.contains(phrase), "no source has {phrase:?}");
        }
    }
}

#[test]
fn readme_and_docs_name_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["docs", "docs/examples"].map(|folder| fs::read_dir(root.join(folder)));
    let docs = folders
        .into_iter()
        .flat_map(|folder| folder.expect("a folder"));
    let files = docs.flatten().map(|entry| entry.path());
    let files = files.filter(|file| file.is_file());
    for file in files.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&file).expect("a document");
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().expect("a target");
            let there = target.contains("://") || file.with_file_name(target).exists();
            assert!(there, "{}: no {target}", file.display());
        }
    }
}

//! What those find who know stunnel: its names, its folders, its options.

use std::process::{Command, Stdio};

use crate::require;
use crate::support::adit::program;

use super::run;

#[test]
fn called_as_stunnel_it_looks_for_stunnels_file() {
    require!(adit);
    require!(
        !std::path::Path::new("/etc/stunnel/stunnel.conf").exists(),
        "there is a /etc/stunnel/stunnel.conf"
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("stunnel");
    std::os::unix::fs::symlink(program(), &link).expect("a link");
    let output = Command::new(link)
        .stdin(Stdio::null())
        .output()
        .expect("starting");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("/etc/stunnel/stunnel.conf"), "{said}");
}

#[test]
fn called_as_stunnel_it_tells_about_itself_where_and_how_stunnel_does() {
    require!(adit);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("stunnel");
    std::os::unix::fs::symlink(program(), &link).expect("a link");
    for (flag, line) in [
        ("-version", "stunnel 5."),
        ("-version", "Compiled/running with OpenSSL 3."),
        ("-help", "checkHost "),
        ("-sockets", "    TCP_NODELAY"),
        ("-options", "options = NO_TICKET"),
    ] {
        let output = Command::new(&link).arg(flag).output().expect("starting");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(
            said.lines().any(|told| told.starts_with(line)),
            "no {line:?} in {said}"
        );
        assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    }
}

/// The options that the manual lists in sections whose heading begins with this: one tag each, or all
/// in the sentence on what is not served.
fn options_in_manual(heading: &str) -> Vec<String> {
    let (output, page) = run(&["man", "adit.conf.5"]);
    assert!(output.status.success(), "{page}");
    let mut found = Vec::new();
    for section in page.split(".SH ").filter(|text| text.starts_with(heading)) {
        let (tags, sentence) = section
            .split_once("Not served by this version")
            .unwrap_or((section, ""));
        let tags = tags.split(".TP\n").skip(1);
        found.extend(tags.filter_map(|text| text.split("\\f").nth(1)));
        found.extend(sentence.split("\\f").filter(|text| text.starts_with('B')));
    }
    found.iter().map(|name| name[1..].to_owned()).collect()
}

#[test]
fn the_manual_lists_as_stunnels_only_what_stunnel_has() {
    require!(adit);
    require!(program "stunnel4");
    // Options of versions after Debian's 5.68, and of the Windows version.
    const NOT_HERE: [&str; 11] = [
        "setEnv",
        "provider",
        "providerParameter",
        "CAstore",
        "OCSPrequire",
        "TIMEOUTocsp",
        "iconActive",
        "iconError",
        "iconIdle",
        "taskbar",
        "fips",
    ];
    let help = Command::new("stunnel4")
        .arg("-help")
        .output()
        .expect("stunnel4 -help");
    let help = String::from_utf8_lossy(&help.stderr).into_owned();
    let stunnel: Vec<&str> = help
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let listed = options_in_manual("OPTIONS OF STUNNEL");
    assert!(listed.len() > 10, "{listed:?}");
    for name in listed {
        let known = stunnel.contains(&name.as_str()) || NOT_HERE.contains(&name.as_str());
        assert!(known, "{name} is no option of stunnel's");
    }
    let own = options_in_manual("OPTIONS OF ADIT");
    assert!(own.iter().all(|name| !stunnel.contains(&name.as_str())));

    // Of those that are served, each of adit's own is called so.
    let (_, page) = run(&["man", "adit.conf.5"]);
    let sections = page.split(".SH ").filter(|text| {
        text.starts_with("GLOBAL OPTIONS") || text.starts_with("OPTIONS OF A SERVICE")
    });
    let mut told = 0;
    for text in sections.flat_map(|section| section.split(".TP\n").skip(1)) {
        let name = text.split("\\f").nth(1).expect("a name in bold");
        let (name, own) = (&name[1..], text.contains("stunnel has no such option"));
        let known = stunnel.contains(&name) || NOT_HERE.contains(&name);
        assert_eq!(known, !own, "{name}: {text}");
        told += 1;
    }
    assert!(told > 50, "{told}");
}

//! The pages of docs/examples do what they say: tests/examples/run does it, with the real programs, in a copy
//! of the system of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::openssl::Tool;
use crate::support::{apart, postgres};

fn does_what_it_says(page: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/run");
    let mut tool = Tool::start(Command::new(script).arg(program()).arg(page));
    tool.end_input();
    let well = tool.succeeds();
    assert!(
        well && tool.said().contains(": as it says"),
        "{}",
        tool.said()
    );
}

/// Each page is a test, which is named for it and has the programs that it needs.
macro_rules! pages {
    ($($page:ident needs $($program:literal)+;)+) => {
        $(
            #[test]
            fn $page() {
                require!(adit);
                require!(root);
                require!(program "unshare");
                $(
                    require!(
                        apart::program($program).is_some() || $program == "postgres" && postgres::is_there(),
                        concat!($program, " is not there; tests/run installs it")
                    );
                )+
                does_what_it_says(stringify!($page));
            }
        )+

        #[test]
        fn every_page_has_a_test() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
            let files = fs::read_dir(folder).expect("the pages").flatten();
            let mut pages: BTreeSet<_> = files
                .filter_map(|file| file.file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
                .collect();
            assert!(pages.remove("README"));
            let tests = [$(stringify!($page)),+].map(str::to_owned);
            assert_eq!(pages, BTreeSet::from(tests));
        }
    };
}

pages! {
    ldap needs "slapd" "ldapsearch";
    mariadb needs "mariadbd" "mariadb";
    mqtt needs "mosquitto" "mosquitto_pub";
    nfs needs "ganesha.nfsd" "nfs-ls" "stunnel4";
    postgresql needs "postgres" "psql";
    redis needs "redis-server" "redis-cli";
    rsync needs "rsync" "rsync-ssl";
    socks needs "curl" "python3";
    syslog needs "rsyslogd" "logger";
    vnc needs "x11vnc" "vncsnapshot";
}

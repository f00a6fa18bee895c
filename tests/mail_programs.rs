//! The manual's settings for mail programs: every program of that table sends or fetches a mail through
//! adit with exactly those settings, and fails without them as the table says.

mod desk;
mod fetching;
mod ldap;
mod sending;
mod servers;

use adit::cli::man::mail_programs::{MAIL_PROGRAMS, MailProgram};

use crate::require;
use crate::support::{apart, installed, say_skipped, test_name};
use desk::{Desk, Try};

/// Where a program comes from.
enum From {
    /// A package that is installed, by the program's name.
    Package(&'static str),
    /// A package that `tests/run` only unpacks.
    Unpacked(&'static str),
}

/// A program of the table, and how to run it with some lines of configuration.
type Row = (&'static str, From, fn(&Desk, &[String]) -> Try);

macro_rules! require_servers {
    () => {
        require!(root);
        require!(adit);
        require!(program "dovecot");
        require!(program "postfix");
    };
}

/// Why a program is not run here.
fn missing(desk: &Desk, from: &From) -> Option<String> {
    match from {
        From::Package(program) => installed(program)
            .is_none()
            .then(|| format!("{program} is not installed")),
        From::Unpacked(program) => apart::missing(program).or_else(|| {
            (!desk.own().works()).then(|| "mounting an overlay is forbidden".to_owned())
        }),
    }
}

/// Runs each program with the settings of the table, and without them.
#[track_caller]
fn walk(rows: &[Row]) {
    let desk = Desk::new();
    for (name, from, run) in rows {
        if let Some(why) = missing(&desk, from) {
            say_skipped(&format!("{}, {name}", test_name()), &why);
            continue;
        }
        let program = the_row(name);
        run(&desk, &desk.filled_in(program.settings)).worked(name);
        if !program.messages.is_empty() {
            run(&desk, &desk.filled_in(program.instead)).failed(name, program.messages);
        }
    }
}

fn the_row(name: &str) -> &'static MailProgram {
    let row = MAIL_PROGRAMS.iter().find(|program| program.name == name);
    row.unwrap_or_else(|| panic!("{name} is not in the table"))
}

#[test]
fn programs_that_send_are_content_with_what_the_manual_tells() {
    require_servers!();
    walk(sending::ROWS);
}

#[test]
fn programs_that_fetch_are_content_with_what_the_manual_tells() {
    require_servers!();
    walk(fetching::ROWS);
}

#[test]
fn mail_servers_that_send_through_adit_are_content_with_what_the_manual_tells() {
    require_servers!();
    walk(servers::ROWS);
}

/// As the manual tells of the two.
#[test]
fn dma_and_ssmtp_never_log_in_by_plain() {
    require_servers!();
    let desk = Desk::new();
    for name in ["dma", "ssmtp"] {
        if let Some(why) = missing(&desk, &From::Unpacked(name)) {
            say_skipped(&format!("{}, {name}", test_name()), &why);
            return;
        }
    }
    for (program, said) in servers::said_where_plain_is_offered(&desk) {
        assert!(said[0].starts_with("EHLO"), "{program}: {said:?}");
        let other = |line: &&String| !line.starts_with("AUTH LOGIN") && *line != "AUTH CRAM-MD5";
        let unexpected: Vec<_> = said
            .iter()
            .filter(|line| line.starts_with("AUTH"))
            .filter(other)
            .collect();
        assert!(unexpected.is_empty(), "{program}: {said:?}");
        assert!(!said.contains(&"DATA".to_owned()), "{program}: {said:?}");
    }
}

#[test]
fn every_program_of_the_manual_is_run_but_those_it_says_are_not() {
    let mut run: Vec<&str> = [sending::ROWS, fetching::ROWS, servers::ROWS]
        .iter()
        .flat_map(|rows| rows.iter().map(|row| row.0))
        .collect();
    run.sort_by_key(|name| name.to_ascii_lowercase());
    run.dedup();
    let mut said: Vec<&str> = MAIL_PROGRAMS
        .iter()
        .filter(|program| !program.version.is_empty())
        .map(|program| program.name)
        .collect();
    said.sort_by_key(|name| name.to_ascii_lowercase());
    assert_eq!(run, said);
}

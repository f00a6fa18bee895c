//! README's table of what is not served, held against the tables of the options.

use std::collections::BTreeSet;

use super::super::option::{Verdict, options};
use super::super::service::PROTOCOLS_NOT_YET;

const README: &str = include_str!("../../../README.md");

/// What stands in backticks in the second column.
fn told() -> Vec<&'static str> {
    let (_, section) = README.split_once("## Coming from stunnel").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn readme_tells_every_option_and_protocol_that_is_refused_and_no_other() {
    let refused = options().filter_map(|option| match option.verdict {
        Verdict::NotYet { .. } | Verdict::Refused(_) => Some(option.name),
        Verdict::Served | Verdict::NoEffect(_) => None,
    });
    let refused: BTreeSet<&str> = refused.chain(PROTOCOLS_NOT_YET.iter().copied()).collect();
    let told = told();
    let once: BTreeSet<&str> = told.iter().copied().collect();
    assert_eq!(once.len(), told.len(), "something stands twice");
    assert_eq!(
        once, refused,
        "README's table \"Coming from stunnel\" (left) is not what the program refuses (right)"
    );
}

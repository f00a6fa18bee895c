//! The tables of options in README and docs/reference.md, held against those of the program.

use std::collections::BTreeSet;

use super::super::dialogue::PROTOCOLS_REFUSED;
use super::super::option::{Verdict, options};

const README: &str = include_str!("../../../README.md");

const REFERENCE: &str = include_str!("../../../docs/reference.md");

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
        Verdict::Refused(_) => Some(option.name),
        Verdict::Served | Verdict::NoEffect(_) => None,
    });
    let refused: BTreeSet<&str> = refused.chain(PROTOCOLS_REFUSED.iter().copied()).collect();
    let told = told();
    let once: BTreeSet<&str> = told.iter().copied().collect();
    assert_eq!(once.len(), told.len(), "something stands twice");
    assert_eq!(
        once, refused,
        "README's table \"Coming from stunnel\" (left) is not what the program refuses (right)"
    );
}

#[test]
fn the_reference_tells_every_option_that_stunnel_has_not() {
    let (_, section) = REFERENCE.split_once("## Options").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let options_told = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let told: BTreeSet<&str> = options_told
        .filter_map(|text| text.split(" =").next())
        .filter(|name| options().any(|option| option.name == *name))
        .collect();
    let own = options().filter(|option| option.own && matches!(option.verdict, Verdict::Served));
    let own: BTreeSet<&str> = own.map(|option| option.name).collect();
    assert_eq!(
        told, own,
        "docs/reference.md (left) and the program (right)"
    );
}

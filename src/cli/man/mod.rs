//! The manual pages adit(8) and adit.conf(5), made from the tables that the program itself uses: the
//! configuration's options, and the commands. Hidden command: `adit man PAGE`.

mod audit;
mod command;
mod configuration;
mod dialogues;
mod differences;
pub mod mail_programs;
mod roff;
mod transparent;
mod upstreams;

use crate::status::Utc;

pub(super) use command::capitalised;

/// The pages, by file name.
pub const PAGES: [&str; 2] = ["adit.8", "adit.conf.5"];

/// The source of a page in the man(7) language; `None` for an unknown page.
///
/// `revised` is the date for its footer, in seconds since 1970 in UTC. Without it the page has no date,
/// since its text depends only on the program.
pub fn page(name: &str, revised: Option<u64>) -> Option<String> {
    let date = revised.map(date).unwrap_or_default();
    match name {
        "adit.8" => Some(command::page(&date)),
        "adit.conf.5" => Some(configuration::page(&date)),
        _ => None,
    }
}

/// The date of the source in a reproducible build
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub fn source_date() -> Option<u64> {
    std::env::var("SOURCE_DATE_EPOCH").ok()?.parse().ok()
}

/// `2026-11-24`, from seconds since 1970 in UTC.
fn date(seconds: u64) -> String {
    Utc(seconds).to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_short_lined_ascii_and_name_no_other_page() {
        for name in PAGES {
            let page = page(name, Some(0)).unwrap();
            assert!(page.contains("1970-01-01"));
            for line in page.lines() {
                // mandoc complains of longer text, but not of what begins with an escape.
                let most = if line.starts_with(['.', '\\']) {
                    100
                } else {
                    80
                };
                assert!(line.is_ascii() && line.len() <= most, "{name}: {line}");
                assert_eq!(line.trim_end(), line, "{name}: blanks at the end");
            }
        }
        assert!(page("adit.1", None).is_none());
    }

    #[test]
    fn text_is_ragged_right_and_examples_fit_into_80_columns() {
        for name in PAGES {
            let page = page(name, None).unwrap();
            assert!(page.lines().any(|line| line == ".ad l"), "{name}");
            let mut example = false;
            for line in page.lines() {
                match line {
                    ".nf" => example = true,
                    ".fi" => example = false,
                    // Indented by 7 columns and 4 more; each escape is longer than what it shows.
                    _ => assert!(
                        !example || line.replace('\\', "").len() <= 69,
                        "{name}: {line}"
                    ),
                }
            }
        }
    }
}

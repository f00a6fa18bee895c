//! The manual pages adit(8) and adit.conf(5), made of the tables that the program itself works by:
//! the options of the configuration, and the commands. Hidden command: `adit man PAGE`.

mod command;
mod configuration;
mod roff;

/// The pages, by the names of their files.
pub const PAGES: [&str; 2] = ["adit.8", "adit.conf.5"];

/// The source of a page in the man(7) language; `None`: there is no such page.
///
/// `revised` is the date in its footer, in seconds since 1970 began in UTC; without it the page
/// has none, as its text depends on nothing but the program.
pub fn page(name: &str, revised: Option<u64>) -> Option<String> {
    let date = revised.map(civil).unwrap_or_default();
    match name {
        "adit.8" => Some(command::page(&date)),
        "adit.conf.5" => Some(configuration::page(&date)),
        _ => None,
    }
}

/// The date of the source that a reproducible build is made of
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub fn source_date() -> Option<u64> {
    std::env::var("SOURCE_DATE_EPOCH").ok()?.parse().ok()
}

/// `2026-11-24`, from seconds since 1970 began in UTC. Years are counted from March, so that the
/// day of a leap year is its last.
fn civil(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_709_251_200, "2024-03-01"),
            (1_795_478_400, "2026-11-24"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(civil(seconds), date);
        }
    }

    #[test]
    fn pages_are_short_lined_ascii_and_name_no_other_page() {
        for name in PAGES {
            let page = page(name, Some(0)).unwrap();
            assert!(page.contains("1970-01-01"));
            for line in page.lines() {
                assert!(line.is_ascii() && line.len() <= 100, "{name}: {line}");
                assert_eq!(line.trim_end(), line, "{name}: blanks at the end");
            }
        }
        assert!(page("adit.1", None).is_none());
    }
}

//! "Differences from stunnel" in the manual, made of the table in `docs/differences.md`.

use super::command::capitalised;
use super::roff::Page;

const DOCUMENT: &str = include_str!("../../../docs/differences.md");

/// The section.
pub(super) fn section(page: &mut Page) {
    page.section("Differences from stunnel");
    page.text(
        "What is served does as stunnel does, but for these. Each was seen with stunnel 5.68, by a \
         test.",
    );
    for [what, stunnel, adit, why] in rows() {
        let text = format!(
            "stunnel: {stunnel}. adit: {adit}. {}.",
            capitalised(why).trim_end_matches('.')
        );
        page.tagged(&capitalised(what), &text);
    }
}

/// The table's rows, without its header and without the tests' names.
fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let lines = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    lines.skip(1).filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some([cells.next()?, cells.next()?, cells.next()?, cells.next()?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_document_has_its_four_cells_and_a_test() {
        let count = DOCUMENT
            .lines()
            .filter(|line| line.ends_with("` |"))
            .count();
        assert!(count > 10);
        assert_eq!(rows().count(), count);
        for row in rows() {
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }
}

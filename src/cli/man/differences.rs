//! The manual's "Differences from stunnel", made from the tables in `docs/differences.md` and
//! `docs/differences-certificates.md`.

use super::command::capitalised;
use super::roff::Page;

const DOCUMENTS: [&str; 2] = [
    include_str!("../../../docs/differences.md"),
    include_str!("../../../docs/differences-certificates.md"),
];

/// The section.
pub(super) fn section(page: &mut Page) {
    page.section("Differences from stunnel");
    page.text(
        "Everything that adit serves works as in stunnel, except for these. Each was observed with stunnel 5.68 and adit.",
    );
    for [what, stunnel, adit, why] in DOCUMENTS.into_iter().flat_map(rows) {
        let theirs = match stunnel {
            // stunnel has no equivalent.
            "-" => String::new(),
            text => format!("stunnel: {text}. "),
        };
        let text = format!("{theirs}adit: {adit}. {}.", capitalised(why));
        page.tagged(&capitalised(what), &text);
    }
}

/// A table's rows, without its header and without the tests' names.
fn rows(document: &'static str) -> impl Iterator<Item = [&'static str; 4]> {
    let lines = document.lines().filter(|line| line.starts_with("| "));
    lines.skip(1).filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some([cells.next()?, cells.next()?, cells.next()?, cells.next()?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_documents_has_its_four_cells() {
        for document in DOCUMENTS {
            let lines = document.lines().filter(|line| line.starts_with("| "));
            // One of them is the header.
            assert_eq!(rows(document).count() + 1, lines.count());
            for row in rows(document) {
                assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
            }
        }
    }
}

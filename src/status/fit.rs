//! Text that fits into a terminal: names are cut, columns of less weight left out, sentences go on in another line.
//! Never in here: what is shown.

use std::fmt::Write as _;

/// Between two columns, and before the first.
pub(super) const GAP: usize = 2;
/// A name is not cut to less than that while a column can be left out.
const SHORTEST_NAME: usize = 8;

/// Columns in a terminal; `None`: it goes elsewhere, and nothing is cut.
pub(crate) type Width = Option<usize>;

/// A column of numbers, aligned right.
pub(super) struct Column {
    pub head: &'static str,
    /// The lightest are left out first.
    pub weight: u8,
    pub cells: Vec<String>,
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.head.len()]).max().unwrap_or(0)
    }
}

/// A name in so many characters, the last of which says that more follows.
pub(super) fn cut(name: &str, room: usize) -> String {
    if name.chars().count() <= room {
        return name.to_owned();
    }
    let kept = name.chars().take(room.saturating_sub(1));
    kept.chain(std::iter::once('…')).collect()
}

/// Lines, the first with the heads: names, then the columns that there is room for.
pub(super) fn lines(
    head: &str,
    names: &[String],
    mut columns: Vec<Column>,
    width: Width,
) -> Vec<String> {
    let all = names.iter().map(|name| name.chars().count());
    let longest = all.chain([head.len()]).max().unwrap_or(0);
    let taken = |columns: &[Column]| -> usize {
        let each = columns.iter().map(|column| GAP + column.width());
        GAP + each.sum::<usize>()
    };
    let mut room = longest;
    if let Some(width) = width {
        let least = longest.min(SHORTEST_NAME);
        while taken(&columns) + least > width && columns.len() > 1 {
            let lightest = columns.iter().map(|column| column.weight).min();
            columns.retain(|column| Some(column.weight) != lightest);
        }
        room = longest.min(width.saturating_sub(taken(&columns)).max(1));
    }
    let line = |name: &str, cell: &dyn Fn(&Column) -> String| {
        let mut line = format!("{:GAP$}{:<room$}", "", cut(name, room));
        for column in &columns {
            let _ = write!(
                line,
                "{:GAP$}{:>width$}",
                "",
                cell(column),
                width = column.width()
            );
        }
        line.truncate(line.trim_end().len());
        line
    };
    let heads = line(head, &|column| column.head.to_owned());
    let rows = names.iter().enumerate().map(|(row, name)| {
        line(name, &|column| {
            column.cells.get(row).cloned().unwrap_or_default()
        })
    });
    std::iter::once(heads).chain(rows).collect()
}

/// Appends a sentence behind `indent` blanks, in as many lines as it needs. A word that is longer than a line is left
/// whole: it may be a path to be copied.
pub(super) fn say(text: &mut String, indent: usize, sentence: &str, width: Width) {
    let mut used = 0;
    for word in sentence.split(' ') {
        let length = word.chars().count();
        let goes_on = used > 0 && width.is_none_or(|width| used + 1 + length <= width);
        match (used, goes_on) {
            (0, _) => {
                let _ = write!(text, "{:indent$}{word}", "");
                used = indent + length;
            }
            (_, true) => {
                let _ = write!(text, " {word}");
                used += 1 + length;
            }
            (_, false) => {
                let _ = write!(text, "\n{:indent$}{word}", "", indent = indent + GAP);
                used = indent + GAP + length;
            }
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |head, weight, cell: &str| Column {
            head,
            weight,
            cells: vec![cell.to_owned(); 2],
        };
        vec![
            column("open", 3, "12"),
            column("to back", 1, "1.0 GiB"),
            column("failed", 2, "7"),
        ]
    }

    #[test]
    fn names_are_cut_before_columns_go_and_no_line_is_too_long() {
        let names = [
            "imap".to_owned(),
            "a-very-long-name-of-a-service".to_owned(),
        ];
        let whole = lines("service", &names, columns(), None);
        assert_eq!(whole[0].len(), 2 + 29 + 6 + 9 + 8);
        assert!(whole[2].contains(&names[1]), "{whole:?}");
        for width in 11..60 {
            let fitted = lines("service", &names, columns(), Some(width));
            let widest = fitted.iter().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{width}: {fitted:#?}");
        }
        let fitted = lines("service", &names, columns(), Some(34));
        assert_eq!(fitted[0], "  service    open  to back  failed");
        assert_eq!(fitted[2], "  a-very-l…    12  1.0 GiB       7");
        let fitted = lines("service", &names, columns(), Some(30));
        assert_eq!(fitted[0], "  service         open  failed");
    }

    #[test]
    fn a_sentence_goes_on_in_the_next_line() {
        let mut text = String::new();
        say(&mut text, 2, "one two three four", Some(12));
        say(&mut text, 0, "one two three four", None);
        say(&mut text, 0, "/a/very/long/path is whole", Some(8));
        let expected = "  one two\n    three\n    four\none two three four\n/a/very/long/path\n  is\n  whole\n";
        assert_eq!(text, expected);
    }
}

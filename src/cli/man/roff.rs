//! A manual page in the man(7) language, written so that `mandoc -Tlint` and `man --warnings` report
//! nothing.

/// The longest source line; mandoc asks for 80.
const WIDTH: usize = 76;

/// A page being written. In every text, what is in backticks is set in bold.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    /// Starts a page; `date` is shown in the footer.
    pub(super) fn new(name: &str, section: u8, date: &str, title: &str) -> Page {
        let version = env!("CARGO_PKG_VERSION");
        let name = name.to_ascii_uppercase();
        // Ragged-right, no hyphenation, one space after a sentence: in 80 columns a justified line is
        // stretched, and an option's name must not be split.
        Page(format!(
            ".TH {name} {section} \"{date}\" \"adit {version}\" \"{title}\"\n.ad l\n.nh\n.ss 12 0\n"
        ))
    }

    /// The finished source.
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// `.SH`: a heading.
    pub(super) fn section(&mut self, title: &str) {
        self.0.push_str(".SH ");
        self.0.push_str(&title.to_uppercase());
        self.0.push('\n');
    }

    /// `.SS`: a heading below a heading.
    pub(super) fn subsection(&mut self, title: &str) {
        self.0.push_str(".SS ");
        self.0.push_str(title);
        self.0.push('\n');
    }

    /// Text directly after a heading or a tag.
    pub(super) fn text(&mut self, text: &str) {
        for sentence in sentences(text) {
            for line in wrapped(sentence) {
                self.line(&line);
            }
        }
    }

    /// The content of the NAME section, which apropos(1) reads.
    pub(super) fn name(&mut self, name: &str, what: &str) {
        self.section("Name");
        self.0.push_str(&format!("{name} \\- {what}\n"));
    }

    /// Text on a new line after other text.
    pub(super) fn break_text(&mut self, text: &str) {
        self.0.push_str(".br\n");
        self.text(text);
    }

    /// `.RS`: until [`Page::outdent`], text belongs to the tagged text before it.
    pub(super) fn indent(&mut self) {
        self.0.push_str(".RS\n");
    }

    /// `.RE`
    pub(super) fn outdent(&mut self) {
        self.0.push_str(".RE\n");
    }

    /// `.PP`: a new paragraph.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push_str(".PP\n");
        self.text(text);
    }

    /// `.TP`: a tag with its text beside it.
    pub(super) fn tagged(&mut self, tag: &str, text: &str) {
        self.0.push_str(".TP\n");
        self.line(tag);
        self.text(text);
    }

    /// Verbatim lines, as a paragraph of their own.
    pub(super) fn example(&mut self, lines: &str) {
        self.0.push_str(".PP\n.nf\n.RS 4\n");
        for line in lines.lines() {
            self.0.push_str(&guarded(&escaped(line)));
            self.0.push('\n');
        }
        self.0.push_str(".RE\n.fi\n");
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(&guarded(&marked(line)));
        self.0.push('\n');
    }
}

/// A new sentence starts a new source line, so that the formatter sets the space before it.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    let mut from = 0;
    while let Some(at) = rest[from..].find(". ") {
        let end = from + at + 1;
        if rest[end..]
            .trim_start()
            .starts_with(|c: char| c.is_ascii_uppercase() || c == '`')
        {
            found.push(&rest[..end]);
            rest = rest[end..].trim_start();
            from = 0;
        } else {
            from = end;
        }
    }
    found.push(rest);
    found
}

/// Source lines of limited length. What is in backticks stays on one line.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for unit in units(text) {
        // Each backtick becomes a font change.
        let wide = unit.len() + 2 * unit.matches(['`', '-']).count();
        if length > 0 && length + wide >= WIDTH {
            lines.push(String::new());
            length = 0;
        }
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&unit);
        length += wide + 1;
    }
    lines
}

/// Words; what is in backticks is one of them.
fn units(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut quoted = false;
    for word in text.split_whitespace() {
        match found.last_mut() {
            Some(last) if quoted => {
                last.push(' ');
                last.push_str(word);
            }
            _ => found.push(word.to_owned()),
        }
        quoted ^= word.matches('`').count() % 2 == 1;
    }
    found
}

/// Bold for what is in backticks, with a `-` that can be copied.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(n, part)| match n % 2 {
            0 => part.replace('\\', "\\e"),
            _ => format!("\\fB{}\\fR", escaped(part)),
        })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Escapes a line that would be taken for a request.
fn guarded(line: &str) -> String {
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_marked_and_split_into_sentences() {
        let mut page = Page::new("x", 5, "", "T");
        page.text(".begins like a request. Uses `--flag a` and a\\b. e.g. this");
        let lines: Vec<String> = page.finish().lines().skip(4).map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "\\&.begins like a request.",
                "Uses \\fB\\-\\-flag a\\fR and a\\eb. e.g. this"
            ]
        );
    }

    #[test]
    fn long_lines_are_broken_but_not_inside_bold() {
        let text = format!("{} `{}` end", "word ".repeat(14), "bold ".repeat(3).trim());
        let lines = wrapped(&text);
        assert!(lines.len() > 1, "{lines:?}");
        for line in &lines {
            assert_eq!(line.matches('`').count() % 2, 0, "{line}");
        }
    }
}

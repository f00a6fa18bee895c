//! What is wrong with a configuration, shown with the line it is about.

use std::borrow::Cow;
use std::fmt;

use super::value::{Origin, Origins};
use crate::incidents::{Cause, Diagnosis};

/// Longest piece of a line that a message shows, in characters.
const LINE_SHOWN: usize = 160;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing is served.
    Error,
    /// Served, but hardly as it was meant; `adit check --strict` fails.
    Warning,
    /// Good to know: an option that has no effect here.
    Note,
}

impl Severity {
    /// The level of its log line: 3, 4 or 5.
    pub(crate) fn level(self) -> u8 {
        match self {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Note => 5,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// An error, a warning or a note. Its Display is for people, over several lines and without a line
/// end; [`Diagnostic::one_line`] is for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The line it is about, which knows its own text; `None` for the configuration as a whole.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub text: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Diagnostic {
    /// As why a reload failed.
    pub(crate) fn diagnosis(&self) -> Diagnosis {
        let without_help = Diagnostic {
            help: None,
            ..self.clone()
        };
        let remedy: Cow<'static, str> = match &self.help {
            Some(help) => help.clone().into(),
            None => "mend the file, see `adit check`, and reload again".into(),
        };
        Diagnosis::new(Cause::Reload, without_help.one_line(), remedy)
    }

    /// A diagnostic about `origin`.
    pub(crate) fn new(
        severity: Severity,
        origin: Option<&Origin>,
        text: impl Into<String>,
    ) -> Self {
        Diagnostic {
            severity,
            origin: origin.cloned(),
            text: text.into(),
            help: None,
        }
    }

    /// Adds what would be right.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The line it is about, as it was written; `None` where there is none.
    pub(crate) fn line_text(&self) -> Option<&str> {
        let origin = self.origin.as_ref()?;
        (!origin.text.is_empty()).then_some(&*origin.text)
    }

    /// For a log line, as stunnel writes it: `FILE:LINE: "the line": what is wrong`.
    pub(crate) fn one_line(&self) -> String {
        let mut line = String::new();
        if let Some(origin) = &self.origin {
            line = format!("{}: ", Shown(&origin.to_string(), usize::MAX));
        }
        if let Some(text) = self.line_text() {
            line += &format!("\"{}\": ", Shown(text, LINE_SHOWN));
        }
        line += &Shown(&self.text, usize::MAX).to_string();
        if let Some(help) = &self.help {
            line += &format!(" ({})", Shown(help, usize::MAX));
        }
        line
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Shown(&self.text, usize::MAX);
        match &self.origin {
            Some(origin) => {
                let place = origin.to_string();
                write!(
                    f,
                    "{}: {}: {text}",
                    Shown(&place, usize::MAX),
                    self.severity
                )?;
            }
            None => write!(f, "{}: {text}", self.severity)?,
        }
        if let Some(text) = self.line_text() {
            write!(f, "\n    {}", Shown(text, LINE_SHOWN))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {}", Shown(help, usize::MAX))?;
        }
        Ok(())
    }
}

/// Text from a file on its way to a terminal or a log: no control character, no endless line.
struct Shown<'a>(&'a str, usize);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.0.chars().enumerate() {
            if count == self.1 {
                return f.write_str(" ...");
            }
            match c {
                '\t' => f.write_str(" ")?,
                c if c.is_control() => write!(f, "{}", c.escape_unicode())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether one of them is an error.
    pub(crate) fn failed(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// The first error, as why a reload failed.
    pub(crate) fn diagnosis(&self) -> Diagnosis {
        let mut errors = self.0.iter().filter(|d| d.severity == Severity::Error);
        errors.next().map_or_else(
            || Diagnosis::new(Cause::Reload, "the configuration cannot be read", ""),
            Diagnostic::diagnosis,
        )
    }

    /// Puts them in the order in which the lines were read; what has no line comes last. What
    /// several services say of one line, as of a default, stays once.
    pub(crate) fn sort(&mut self) {
        let mut seen: Vec<Diagnostic> = Vec::new();
        self.0.retain(|diagnostic| {
            let new = !seen.contains(diagnostic);
            if new {
                seen.push(diagnostic.clone());
            }
            new
        });
        let mut places: Vec<std::sync::Arc<str>> = Vec::new();
        for origin in self.0.iter().filter_map(|d| d.origin.as_ref()) {
            if !places.contains(&origin.place) {
                places.push(origin.place.clone());
            }
        }
        self.0.sort_by_key(|d| match &d.origin {
            Some(origin) => (
                places.iter().position(|place| *place == origin.place),
                origin.line,
            ),
            None => (Some(places.len()), 0),
        });
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// An error about an option that turned out wrong later: a key that does not match, a port in use.
/// It shows the line where `option` was given, or else the line of its section.
pub(crate) fn diagnostic_at(
    origins: &Origins,
    option: &str,
    text: impl Into<String>,
) -> Diagnostic {
    let origin = origins.get(option).or_else(|| origins.section());
    Diagnostic::new(Severity::Error, origin, text)
}

/// The candidate nearest to `word`, if one is near enough to be meant. One number is not meant by another: of several that
/// differ by it alone, as `TLSv1.1` and `TLSv1.2` do, none is.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let letters: Vec<char> = word.to_ascii_lowercase().chars().take(64).collect();
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(&letters, candidate), candidate))
        .filter(|(distance, candidate)| {
            let longest = candidate.len().max(letters.len());
            *distance <= 1 + candidate.len().min(letters.len()) / 5 && *distance < longest
        });
    let near: Vec<(usize, &str)> = near.collect();
    let (least, nearest) = *near.iter().min_by_key(|(distance, _)| *distance)?;
    let is_digit = |letter: char| letter.is_ascii_digit();
    let bare = |text: &str| text.replace(is_digit, "").to_ascii_lowercase();
    let like = |(distance, other): &&(usize, &str)| *distance == least && bare(other) == bare(word);
    (least == 0 || near.iter().filter(like).count() < 2).then_some(nearest)
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(word: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.to_ascii_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=candidate.len()).collect();
    for (i, a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in candidate.iter().enumerate() {
            let mut cost = (above[j] + usize::from(a != b)).min(above[j + 1].min(row[j]) + 1);
            if i > 0 && j > 0 && *a == candidate[j - 1] && word[i - 1] == *b {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[candidate.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let names = ["accept", "connect", "cert", "CAfile", "CApath", "client"];
        for (typed, meant) in [
            ("conect", Some("connect")),
            ("connetc", Some("connect")),
            ("cafiel", Some("CAfile")),
            ("aceptt", Some("accept")),
            ("Client_", Some("client")),
            ("zzzzzz", None),
            // Half of it is another word.
            ("curt", Some("cert")),
            ("sort", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        for (typed, names, meant) in [
            ("3", &["1", "2"][..], None),
            ("3", &["1"], None),
            ("n", &["yes", "no"], Some("no")),
            ("TLSv1.4", &["TLSv1.1", "TLSv1.2", "TLSv1.3"], None),
            (
                "TLSv12",
                &["TLSv1.1", "TLSv1.2", "TLSv1.3"],
                Some("TLSv1.2"),
            ),
            ("pop4", &["smtp", "pop3"], Some("pop3")),
            ("http", &["smtp", "nntp", "imap"], None),
        ] {
            assert_eq!(nearest(typed, names.iter().copied()), meant, "{typed}");
        }
    }

    #[test]
    fn a_message_shows_the_line_and_no_control_character() {
        let origin = Origin {
            place: "a.conf".into(),
            line: 3,
            text: "conect = \u{1b}[31m".into(),
        };
        let d = Diagnostic::new(Severity::Error, Some(&origin), "no such option").help("connect");
        assert_eq!(
            d.to_string(),
            "a.conf:3: error: no such option\n    conect = \\u{1b}[31m\n  help: connect"
        );
        assert_eq!(
            d.one_line(),
            "a.conf:3: \"conect = \\u{1b}[31m\": no such option (connect)"
        );
    }

    #[test]
    fn a_long_line_is_cut() {
        let origin = Origin {
            place: "a.conf".into(),
            line: 1,
            text: "x".repeat(1 << 20).into(),
        };
        let d = Diagnostic::new(Severity::Error, Some(&origin), "no");
        assert!(d.to_string().len() < 300);
        assert!(d.one_line().len() < 300);
    }
}

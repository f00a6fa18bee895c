//! The shape of a stunnel.conf: lines to names and values. It knows one option by name, `include`,
//! because that is where other lines come from. It opens no file itself: see [`Files`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::diagnostic::{Diagnostic, Severity};
use super::option::{self, OptionDef};
use super::value::Origin;

/// How deep `include` may nest.
const INCLUDE_DEPTH: usize = 16;

/// Where included text comes from: the disk, or a table in a test.
pub(super) trait Files {
    /// The files that `include = pattern` names, in the order in which they are to be read.
    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, String>;
    /// The bytes of one of them.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;
}

/// A line that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// `[name]`
    Section { name: String, origin: Origin },
    /// `name = value`
    Option {
        name: String,
        /// It may be a secret.
        value: Zeroizing<String>,
        origin: Origin,
    },
}

/// What the text came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parsed {
    /// The lines that mean something, in order.
    pub items: Vec<Item>,
    /// Part of the text was not understood, so a section may be missing from `items`.
    pub incomplete: bool,
}

/// Reads configuration text and what it includes. Everything wrong is pushed to `diagnostics`, and
/// reading goes on behind it.
pub(super) fn parse(
    place: &str,
    text: &[u8],
    files: &dyn Files,
    diagnostics: &mut Vec<Diagnostic>,
) -> Parsed {
    let mut parser = Parser {
        files,
        open: vec![PathBuf::from(place)],
        parsed: Parsed::default(),
        diagnostics,
    };
    parser.text(place, text);
    parser.parsed
}

struct Parser<'a> {
    files: &'a dyn Files,
    /// The files being read, the innermost last.
    open: Vec<PathBuf>,
    parsed: Parsed,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Parser<'_> {
    fn text(&mut self, place: &str, text: &[u8]) {
        let place: Arc<str> = place.into();
        if is_wide(text) {
            self.wide(place);
            return;
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            // As isspace(3), which stunnel trims by.
            let line = line.trim_ascii();
            let line = trim_vertical_tabs(line);
            if line.is_empty() || line[0] == b'#' || line[0] == b';' {
                continue;
            }
            let line_number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            self.line(&place, line_number, line);
        }
    }

    fn line(&mut self, place: &Arc<str>, number: u32, bytes: &[u8]) {
        let lossy = String::from_utf8_lossy(bytes);
        // stunnel drops every CR, wherever it stands.
        let line = Zeroizing::new(lossy.replace('\r', ""));
        let mut origin = Origin {
            place: place.clone(),
            line: number,
            text: option::shown_line(&line).into(),
        };
        if std::str::from_utf8(bytes).is_err() || line.contains('\0') {
            let line = Zeroizing::new(line.replace('\0', "\u{fffd}"));
            origin.text = origin.text.replace('\0', "\u{fffd}").into();
            let (text, help) = match std::str::from_utf8(bytes) {
                Ok(_) => (
                    "a zero byte is in this line",
                    "take it out: only a comment may have one",
                ),
                Err(_) => (
                    "this line is not text in UTF-8",
                    "save the file as UTF-8; only comments may hold other bytes",
                ),
            };
            self.error(&origin, text, help);
            if line.starts_with('[')
                && let Some(name) = meant_section(&line)
            {
                let name = name.to_owned();
                self.parsed.items.push(Item::Section { name, origin });
            }
            return;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let name = name.to_owned();
            self.parsed.items.push(Item::Section { name, origin });
            return;
        }
        if let Some(name) = meant_section(&line) {
            self.bad_section(name, &line, origin);
            return;
        }
        match line.split_once('=') {
            None => {
                let help = match meant_option(&line) {
                    Some((option, value)) if !option.secret => {
                        format!("write `{} = {value}`", option.name)
                    }
                    _ => "a line is `name = value`, `[section]`, or a comment behind `;` or `#`"
                        .into(),
                };
                self.error(&origin, "No '=' found", &help);
            }
            Some((name, value)) => {
                let name = name.trim_end().to_owned();
                let value = Zeroizing::new(value.trim_start().to_owned());
                if name.eq_ignore_ascii_case("include") {
                    self.include(&origin, &value);
                } else {
                    self.parsed.items.push(Item::Option {
                        name,
                        value,
                        origin,
                    });
                }
            }
        }
    }

    fn include(&mut self, origin: &Origin, pattern: &str) {
        let paths = match self.files.expand(pattern) {
            Ok(paths) => paths,
            Err(reason) => {
                let text = format!("Failed to include directory: {reason}");
                self.error(
                    origin,
                    &text,
                    "include takes a directory, a file, or a pattern as conf.d/*.conf",
                );
                return;
            }
        };
        for path in paths {
            if self.open.contains(&path) || self.open.len() >= INCLUDE_DEPTH {
                let text = format!("{} includes itself", path.display());
                self.error(
                    origin,
                    &text,
                    "keep the parts in a directory of their own, away from the main file",
                );
                continue;
            }
            match self.files.read(&path) {
                Ok(text) => {
                    let text = Zeroizing::new(text);
                    let place = path.display().to_string();
                    self.open.push(path);
                    self.text(&place, &text);
                    self.open.pop();
                }
                Err(reason) => {
                    let text = format!("Failed to include a file: {}: {reason}", path.display());
                    self.error(origin, &text, "adit must be able to read each part");
                }
            }
        }
    }

    /// Complains about a line that was to begin a section. The section is kept, or its options
    /// would seem to belong elsewhere.
    fn bad_section(&mut self, name: &str, line: &str, origin: Origin) {
        let text = match line.contains('=') {
            true => "Specified option name is not valid here: this is no section's line either",
            false => "No '=' found",
        };
        let help = format!(
            "a section's line is `[{name}]` and nothing else; comments stand on lines of their own"
        );
        self.error(&origin, text, &help);
        let name = name.to_owned();
        self.parsed.items.push(Item::Section { name, origin });
    }

    /// Complains about a file in UTF-16, once.
    fn wide(&mut self, place: Arc<str>) {
        let origin = Origin {
            place,
            line: 1,
            text: "".into(),
        };
        self.error(
            &origin,
            "the file is in UTF-16, not in UTF-8",
            "`iconv -f UTF-16 -t UTF-8 < OLD > NEW` makes UTF-8 of it",
        );
        self.parsed.incomplete = true;
    }

    fn error(&mut self, origin: &Origin, text: &str, help: &str) {
        let diagnostic = Diagnostic::new(Severity::Error, Some(origin), text).help(help);
        self.diagnostics.push(diagnostic);
    }
}

/// Whether the text is in UTF-16, with a byte-order mark or by every other byte being zero.
fn is_wide(text: &[u8]) -> bool {
    let start = &text[..text.len().min(64)];
    let zeros = |skip| start.iter().skip(skip).step_by(2).all(|byte| *byte == 0);
    let marked = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    marked || (start.len() >= 4 && (zeros(0) || zeros(1)))
}

/// The name of the section that a line was to begin, though it is not `[name]`: something stands
/// behind the bracket, one bracket is missing, or they are of another kind.
fn meant_section(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix('[') {
        let end = rest.find([']', ';', '#']).unwrap_or(rest.len());
        return Some(rest[..end].trim());
    }
    if line.contains('=') {
        return None;
    }
    for (open, close) in [('(', ')'), ('{', '}'), ('<', '>')] {
        if let Some(inside) = line.strip_prefix(open) {
            return Some(inside.strip_suffix(close).unwrap_or(inside).trim());
        }
    }
    line.strip_suffix([']', ':']).map(str::trim)
}

/// The option of a line that has a colon or a blank for the equals sign, and its value.
fn meant_option(line: &str) -> Option<(&'static OptionDef, &str)> {
    let (name, value) = line.split_once([':', ' ', '\t'])?;
    let value = value.trim_start_matches([':', ' ', '\t']);
    let option = option::find(name)?;
    (!value.is_empty()).then_some((option, value))
}

/// isspace(3) knows the vertical tab, `trim_ascii` does not.
fn trim_vertical_tabs(mut line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    while let [first, rest @ ..] = line {
        if !blank(first) {
            break;
        }
        line = rest;
    }
    while let [rest @ .., last] = line {
        if !blank(last) {
            break;
        }
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Files in memory; a pattern names every file whose path begins with it.
    struct Memory(BTreeMap<&'static str, &'static str>);

    impl Files for Memory {
        fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
            let found: Vec<PathBuf> = self
                .0
                .keys()
                .filter(|path| path.starts_with(pattern))
                .map(PathBuf::from)
                .collect();
            if found.is_empty() {
                return Err("No such file or directory".into());
            }
            Ok(found)
        }

        fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
            let text = path.to_str().and_then(|path| self.0.get(path));
            text.map(|text| text.as_bytes().to_vec())
                .filter(|text| text != b"unreadable")
                .ok_or_else(|| "Permission denied".into())
        }
    }

    /// What was read, each line as `place:line name=value`, and the errors in one line each.
    fn read(text: &[u8], files: &[(&'static str, &'static str)]) -> (Vec<String>, Vec<String>) {
        let files = Memory(files.iter().copied().collect());
        let mut diagnostics = Vec::new();
        let parsed = parse("main", text, &files, &mut diagnostics);
        let items = parsed.items.iter().map(|item| match item {
            Item::Section { name, origin } => format!("{origin} [{name}]"),
            Item::Option {
                name,
                value,
                origin,
            } => format!("{origin} {name}={}", value.as_str()),
        });
        (
            items.collect(),
            diagnostics.iter().map(Diagnostic::one_line).collect(),
        )
    }

    #[test]
    fn every_shape_of_line() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"", &[]),
            (b"a=b", &["main:1 a=b"]),
            (b"\xef\xbb\xbf  a  =  b c \r\n", &["main:1 a=b c"]),
            (b"\xef\xbb\xbf[s]\n", &["main:1 [s]"]),
            (b"; a=b\n  # \xff\xfe\n\n\t[x y]\x0b\n", &["main:4 [x y]"]),
            (b"a = b = c", &["main:1 a=b = c"]),
            (b"pid =", &["main:1 pid="]),
            (b"\ra\r = \rb\r\n", &["main:1 a=b"]),
            // As stunnel, which looks at the first and the last character only.
            (b"[a] = [b]", &["main:1 [a] = [b]"]),
        ];
        for (text, expected) in cases {
            let (items, errors) = read(text, &[]);
            assert_eq!(&items, expected, "{}", String::from_utf8_lossy(text));
            assert!(errors.is_empty(), "{errors:?}");
        }
    }

    #[test]
    fn errors_do_not_stop_the_reading() {
        let (items, errors) = read(
            b"accept\n[smtp] ; mail\na = b\n\xff = c\nd = \0\n[\xff]\n",
            &[],
        );
        assert_eq!(items, ["main:2 [smtp]", "main:3 a=b", "main:6 [\u{fffd}]"]);
        assert_eq!(errors.len(), 5);
        assert!(errors[0].starts_with("main:1: \"accept\": No '=' found (a line is"));
        assert!(errors[1].starts_with("main:2: \"[smtp] ; mail\": No '=' found (a section's"));
        assert!(errors[2].starts_with("main:4: \"\u{fffd} = c\": this line is not text in UTF-8"));
        assert!(errors[3].starts_with("main:5: \"d = \u{fffd}\": a zero byte is in this line"));
    }

    #[test]
    fn what_stands_for_an_equals_sign_is_told() {
        for (line, help) in [
            ("verifychain yes", "(write `verifyChain = yes`)"),
            ("connect: a:1", "(write `connect = a:1`)"),
            ("protocolPassword secret", "(a line is `name = value`"),
            ("connected a:1", "(a line is `name = value`"),
        ] {
            let (_, errors) = read(line.as_bytes(), &[]);
            assert!(errors[0].contains(help), "{errors:?}");
        }
    }

    #[test]
    fn a_bad_section_line_still_begins_its_section() {
        for (line, name) in [
            ("[a] ; mail", "a"),
            ("[a] # x = y", "a"),
            ("[a", "a"),
            ("[ a ;", "a"),
            ("[a]x=y", "a"),
            ("[a] = x", "a"),
            ("a]", "a"),
            ("(a)", "a"),
            ("{a}", "a"),
            ("<a>", "a"),
            ("a b:", "a b"),
        ] {
            let (items, errors) = read(format!("x = 1\n{line}\ny = 2").as_bytes(), &[]);
            let section = format!("main:2 [{name}]");
            assert_eq!(items, ["main:1 x=1", section.as_str(), "main:3 y=2"]);
            assert_eq!(errors.len(), 1, "{line}: {errors:?}");
            assert!(errors[0].contains(&format!("a section's line is `[{name}]`")));
        }
        // No section was meant.
        for line in ["accept 25", "a = [b", "x: y", "<a> = b"] {
            let (items, _) = read(line.as_bytes(), &[]);
            assert!(!items.concat().contains(" ["), "{line}: {items:?}");
        }
    }

    #[test]
    fn a_file_in_utf_16_is_one_error_that_tells_how_to_convert_it() {
        let text = "; mail\n[s]\naccept = 1\n";
        let units = || text.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            [b"\xff\xfe".as_slice(), &little].concat(),
            [b"\xfe\xff".as_slice(), &big].concat(),
            little,
            big,
        ] {
            let (items, errors) = read(&bytes, &[]);
            assert!(items.is_empty(), "{items:?}");
            assert_eq!(
                errors,
                ["main:1: the file is in UTF-16, not in UTF-8 \
                  (`iconv -f UTF-16 -t UTF-8 < OLD > NEW` makes UTF-8 of it)"]
            );
        }
    }

    #[test]
    fn included_lines_know_their_own_file() {
        let files = [("d/1", "x = 1\n[s]\n"), ("d/2", "y = 2\nno equals")];
        let (items, errors) = read(b"a = b\ninclude = d/\nz = 3", &files);
        assert_eq!(
            items,
            [
                "main:1 a=b",
                "d/1:1 x=1",
                "d/1:2 [s]",
                "d/2:1 y=2",
                "main:3 z=3"
            ]
        );
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("d/2:2: \"no equals\": No '='"));
    }

    #[test]
    fn an_include_that_cannot_be_followed() {
        let files = [
            ("e/1", "include = e/1"),
            ("u", "unreadable"),
            ("main", "include = main"),
        ];
        let (_, errors) = read(
            b"include = n\nInclude = e/\ninclude=u\ninclude=main",
            &files,
        );
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert!(errors[0].contains("Failed to include directory: No such file"));
        assert!(errors[1].starts_with("e/1:1: \"include = e/1\": e/1 includes itself"));
        assert!(errors[2].contains("Failed to include a file: u: Permission denied"));
        assert!(errors[3].contains("main includes itself"));
    }

    #[test]
    fn a_secret_is_blotted_out_even_when_misspelt() {
        for line in [
            "protocolPassword = hunter2",
            "protocolPasword = hunter2",
            "ProtocolPassword hunter2",
            "ticketKeySecret=hunter2",
        ] {
            let mut diagnostics = Vec::new();
            let parsed = parse(
                "m",
                line.as_bytes(),
                &Memory(BTreeMap::new()),
                &mut diagnostics,
            );
            let origin = match (&parsed.items[..], &diagnostics[..]) {
                ([Item::Option { origin, .. }], []) => origin.clone(),
                ([], [diagnostic]) => diagnostic.origin.clone().unwrap(),
                other => panic!("{other:?}"),
            };
            assert!(!origin.text.contains("hunter2"), "{}", origin.text);
        }
    }
}

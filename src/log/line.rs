//! A line in stunnel's shape, as a slog drain over slog-term's decorators:
//! `2026.11.24 09:46:10 LOG5[17]: text`.

use std::fmt::{self, Write as _};
use std::io;

use slog::{Drain, Level, OwnedKVList, Record};
use slog_term::Decorator;

use super::clock::Moment;
use super::{format, json};
use crate::config::LogFormat;

/// The longest text of a line, in bytes; the rest is cut. With its prefix a line stays below PIPE_BUF
/// (4096), so that lines of several processes never mix in a pipe.
const MAX_TEXT: usize = 3900;
/// More than nearly every line has, in bytes.
const USUAL: usize = 192;

/// Formats records; level and id are in the record's tag, see [`tag`].
pub(super) struct LineFormat<D: Decorator> {
    decorator: D,
}

impl<D: Decorator> LineFormat<D> {
    pub(super) fn new(decorator: D) -> Self {
        Self { decorator }
    }
}

impl<D: Decorator> Drain for LineFormat<D> {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        self.decorator.with_record(record, values, |decorator| {
            if format() == LogFormat::Json {
                writeln!(decorator, "{}", json::object(record, values))?;
                return decorator.flush();
            }
            // The decorator's own buffer would grow with each piece.
            let mut line = Vec::with_capacity(USUAL);
            line.extend_from_slice(&Moment::now().text());
            line.push(b' ');
            line.extend_from_slice(record.tag().as_bytes());
            line.extend_from_slice(b": ");
            text(&mut line, record.msg())?;
            line.push(b'\n');
            decorator.write_all(&line)?;
            decorator.flush()
        })
    }
}

/// The head of a line, `LOG5[17]`, as the record's tag: slog has six levels, syslog eight.
pub(super) fn tag(level: u8, id: super::Id) -> String {
    // 8 bytes and the longest id, 22, in one allocation.
    let mut tag = String::with_capacity(32);
    let _ = write!(tag, "LOG{level}[{id}]");
    tag
}

/// The level of a record made with [`tag`]; otherwise the nearest to its slog level.
pub(super) fn level_of(record: &Record<'_>) -> u8 {
    match record.tag().as_bytes() {
        [b'L', b'O', b'G', digit @ b'0'..=b'7', b'[', ..] => digit - b'0',
        _ => match record.level() {
            Level::Critical => 2,
            Level::Error => 3,
            Level::Warning => 4,
            Level::Info => 5,
            Level::Debug => 6,
            Level::Trace => 7,
        },
    }
}

/// The slog level nearest to a syslog level.
pub(super) fn slog_level(level: u8) -> Level {
    match level {
        0..=2 => Level::Critical,
        3 => Level::Error,
        4 => Level::Warning,
        5 => Level::Info,
        6 => Level::Debug,
        _ => Level::Trace,
    }
}

/// Writes a message as one line of bounded length, whatever a peer has put into it.
pub(super) fn text<W: io::Write + ?Sized>(
    out: &mut W,
    message: &fmt::Arguments<'_>,
) -> io::Result<()> {
    let mut escaped = Escaped {
        out,
        left: MAX_TEXT,
        error: None,
    };
    match escaped.write_fmt(*message) {
        Ok(()) => Ok(()),
        // A Display that fails costs only the rest of its text.
        Err(fmt::Error) => escaped.error.map_or(Ok(()), Err),
    }
}

struct Escaped<'a, W: io::Write + ?Sized> {
    out: &'a mut W,
    left: usize,
    error: Option<io::Error>,
}

/// The longest prefix of `text` with at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// A character that would end a line, move a terminal's cursor, or change the reading direction.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<W: io::Write + ?Sized> Escaped<'_, W> {
    fn put(&mut self, piece: &str) -> fmt::Result {
        if let Some(left) = self.left.checked_sub(piece.len()) {
            self.left = left;
            return self.pass(piece);
        }
        match std::mem::take(&mut self.left) {
            0 => Ok(()),
            left => {
                self.pass(cut(piece, left))?;
                self.pass("...")
            }
        }
    }

    fn pass(&mut self, piece: &str) -> fmt::Result {
        self.out.write_all(piece.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

impl<W: io::Write + ?Sized> fmt::Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // As nearly all is: each connection has some lines.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.put(text);
        }
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
            self.put(&rest[..at])?;
            let code = u32::from(c);
            match code {
                0..=0xff => self.put(&format!("\\x{code:02x}"))?,
                _ => self.put(&format!("\\u{{{code:x}}}"))?,
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.put(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(message: fmt::Arguments<'_>) -> String {
        let mut out = Vec::new();
        text(&mut out, &message).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_of_a_peer_never_begin_a_line() {
        let name = "CN=a\r\n2026.11.24 09:46:10 LOG5[1]: forged\u{1b}[2J\u{85}\u{202e}\0";
        assert_eq!(
            escaped(format_args!("DN {name}, bien sûr \\")),
            "DN CN=a\\x0d\\x0a2026.11.24 09:46:10 LOG5[1]: forged\\x1b[2J\\x85\\u{202e}\\x00, bien sûr \\"
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "é".repeat(MAX_TEXT);
        let cut = escaped(format_args!("x{long}{long}"));
        assert!(cut.ends_with("é..."), "{}", &cut[cut.len() - 9..]);
        assert!(cut.len() <= MAX_TEXT + 3);
        let fits = "y".repeat(MAX_TEXT);
        assert_eq!(escaped(format_args!("{fits}")), fits);
    }

    #[test]
    fn the_tag_keeps_the_number_of_all_eight_levels() {
        static LOCATION: slog::RecordLocation = slog::RecordLocation {
            file: "",
            line: 0,
            column: 0,
            function: "",
            module: "",
        };
        for level in 0..8 {
            let tag = tag(level, crate::log::Id::Main);
            let fixed = slog::RecordStatic {
                location: &LOCATION,
                tag: &tag,
                level: slog_level(level),
            };
            assert_eq!(
                level_of(&Record::new(&fixed, &format_args!("x"), slog::b!())),
                level
            );
        }
    }
}

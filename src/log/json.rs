//! A line as a JSON object, `logFormat = json`. Never in here: a byte of a text that is not escaped, or a line that is
//! too long to be written at once.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use slog::{KV, Key, OwnedKVList, Record, Serializer};

use super::clock::Rfc3339;
use super::line::{is_unsafe, level_of};

/// The longest line, in bytes, with its newline: below PIPE_BUF (4096).
const MAX_LINE: usize = 4000;

/// The longest text of a field, in bytes as it is written.
const MAX_FIELD: usize = 300;

/// By level, as the option `debug` has them.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// The object, without a newline.
pub(super) fn object(record: &Record<'_>, values: &OwnedKVList) -> String {
    let mut fields = Object(String::with_capacity(128));
    // None of them fails.
    let _ = record.kv().serialize(record, &mut fields);
    let _ = values.serialize(record, &mut fields);
    line(level_of(record), *record.msg(), &fields.0)
}

/// The object of a line without fields.
pub(super) fn bare(level: u8, text: &str) -> String {
    line(level, format_args!("{text}"), "")
}

fn line(level: u8, text: fmt::Arguments<'_>, fields: &str) -> String {
    let mut line = String::with_capacity(256);
    let (time, level) = (
        Rfc3339(SystemTime::now()),
        LEVELS[usize::from(level.min(7))],
    );
    let _ = write!(
        line,
        "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":"
    );
    let room = MAX_LINE.saturating_sub(line.len() + fields.len());
    quote(&mut line, text, room);
    line.push_str(fields);
    line.push('}');
    line
}

/// Fields, each with a comma before it.
struct Object(String);

impl Object {
    fn key(&mut self, key: Key) {
        let _ = write!(self.0, ",\"{key}\":");
    }

    fn plain(&mut self, key: Key, value: fmt::Arguments<'_>) -> slog::Result {
        self.key(key);
        self.0.write_fmt(value)?;
        Ok(())
    }
}

impl Serializer for Object {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.key(key);
        quote(&mut self.0, *value, MAX_FIELD);
        Ok(())
    }

    fn emit_u64(&mut self, key: Key, value: u64) -> slog::Result {
        self.plain(key, format_args!("{value}"))
    }

    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.plain(key, format_args!("{value}"))
    }

    fn emit_f64(&mut self, key: Key, value: f64) -> slog::Result {
        self.plain(key, format_args!("{value:.6}"))
    }
}

/// Adds a string of so many bytes at most, its quotation marks and the mark of a cut not counted.
fn quote(out: &mut String, text: fmt::Arguments<'_>, room: usize) {
    out.push('"');
    let mut quoted = Quoted { out, room };
    if quoted.write_fmt(text).is_err() && quoted.room == 0 {
        out.push_str("...");
    }
    out.push('"');
}

struct Quoted<'a> {
    out: &'a mut String,
    room: usize,
}

impl Quoted<'_> {
    fn put(&mut self, piece: &str) -> fmt::Result {
        match self.room.checked_sub(piece.len()) {
            Some(room) => {
                self.room = room;
                self.out.push_str(piece);
                Ok(())
            }
            None => {
                self.room = 0;
                Err(fmt::Error)
            }
        }
    }
}

impl fmt::Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
        if text.len() <= self.room && text.bytes().all(is_plain) {
            return self.put(text);
        }
        for c in text.chars() {
            match c {
                '"' => self.put("\\\"")?,
                '\\' => self.put("\\\\")?,
                // All of these are of the basic plane.
                c if is_unsafe(c) => self.put(&format!("\\u{:04x}", u32::from(c)))?,
                c => self.put(c.encode_utf8(&mut [0; 4]))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Fields, Value};
    use super::super::line::slog_level;
    use super::super::{Id, Subject};
    use super::*;
    use slog::{RecordLocation, RecordStatic};
    use std::time::Duration;

    fn written(text: fmt::Arguments<'_>, fields: Fields<'_>) -> serde_json::Value {
        static LOCATION: RecordLocation = RecordLocation {
            file: "",
            line: 0,
            column: 0,
            function: "",
            module: "",
        };
        let fixed = RecordStatic {
            location: &LOCATION,
            tag: "LOG4[17]",
            level: slog_level(4),
        };
        let none = slog::o!().into();
        let line = object(&Record::new(&fixed, &text, slog::b!(fields)), &none);
        assert!(line.len() < 4096, "{}", line.len());
        assert!(!line.contains(is_unsafe), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    const NONE: Fields<'_> = Fields {
        id: Id::Main,
        about: None,
        more: &[],
    };

    #[test]
    fn whatever_a_peer_sends_stays_within_its_string() {
        let name = "\",\"level\":\"forged\\\r\n\u{1b}[2J\u{85}\u{202e}\0é😀";
        let more = [("sni", Value::Text(name)), ("reason", Value::Shown(&name))];
        let fields = Fields {
            id: Id::Connection(17),
            more: &more,
            ..NONE
        };
        let value = written(format_args!("DN {name}"), fields);
        assert_eq!(value["message"], format!("DN {name}"));
        assert_eq!(
            (&value["sni"], &value["reason"]),
            (&name.into(), &name.into())
        );
        assert_eq!(
            (&value["level"], &value["connection"]),
            (&"warning".into(), &17.into())
        );
    }

    #[test]
    fn a_line_is_bounded_and_whole_json_however_long_its_texts_are() {
        for long in ["\u{1b}", "é", "x", "\""] {
            let long = long.repeat(5000);
            let more = [("sni", Value::Text(&long)); 8];
            let value = written(
                format_args!("x{long}"),
                Fields {
                    more: &more,
                    ..NONE
                },
            );
            let text = value["message"].as_str().unwrap();
            assert!(text.len() > 200 && text.ends_with("..."), "{}", text.len());
        }
    }

    #[test]
    fn values_have_their_types() {
        super::super::fields::name_services(["one", "two"].map(str::to_owned).into_iter());
        let more = [
            ("bytes", Value::Number(u64::MAX)),
            ("took", Value::Seconds(Duration::from_micros(1_234_567))),
            ("resumed", Value::Truth(true)),
        ];
        let about = Subject {
            origin: None,
            service: 1,
        };
        let fields = Fields {
            id: Id::Unique(0),
            about: Some(about),
            more: &more,
        };
        let value = written(format_args!("x"), fields);
        assert_eq!(value["bytes"], u64::MAX);
        assert_eq!(value["took"], 1.234_567);
        assert_eq!(value["resumed"], true);
        assert_eq!(value["service"], "two");
        assert_eq!(value["connection"], "AAAAAAAAAAAAAAAAAAAAAA");
        let time = value["time"].as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        let none = written(format_args!("x"), NONE);
        assert!(none.get("connection").is_none() && none.get("service").is_none());
    }
}

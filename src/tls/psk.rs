//! The file of `PSKsecrets`: identities and their pre-shared keys, read as stunnel reads it. Never in here: a
//! key in a message, or a line that may hold one.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Problem, keys};
use crate::config::TlsOptions;
use crate::hexadecimal;
use crate::log::Log;

/// As in OpenSSL (PSK_MAX_IDENTITY_LEN less a zero, PSK_MAX_PSK_LEN), in bytes.
const LONGEST_IDENTITY: usize = 255;
const LONGEST_KEY: usize = 512;
/// In bytes: 128 bits.
const SHORTEST_KEY: usize = 16;
/// Of an identity that is unknown the log has no more than this, in bytes.
const LONGEST_SHOWN: usize = 64;
/// The log names no more identities than this.
const NAMED: usize = 32;

const OPTION: &str = "PSKsecrets";

/// An identity and its key.
pub(super) struct PreShared {
    pub(super) identity: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
    /// In the file, from 1.
    line: usize,
    hexadecimal: bool,
}

impl PreShared {
    /// The identity for the log.
    pub(super) fn name(&self) -> String {
        self.identity.escape_ascii().to_string()
    }
}

impl fmt::Debug for PreShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreShared").field(&self.name()).finish()
    }
}

/// An identity that a peer has chosen, for the log: it may be long, as a ticket of another server.
pub(super) fn shown(identity: &[u8]) -> String {
    match identity.split_at_checked(LONGEST_SHOWN) {
        None => identity.escape_ascii().to_string(),
        Some((start, _)) => format!("{}...", start.escape_ascii()),
    }
}

/// The keys of a file; there is one at least.
#[derive(Debug)]
pub(super) struct PreSharedKeys {
    /// By identity; those of one identity in the order of the file.
    sorted: Vec<PreShared>,
    /// The place of the file's first one.
    first: usize,
}

impl PreSharedKeys {
    /// The key of an identity. Of several it is the one that stunnel takes, by bsearch(3).
    pub(super) fn find(&self, identity: &[u8]) -> Option<&PreShared> {
        let (mut low, mut high) = (0, self.sorted.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let one = self.sorted.get(middle)?;
            match identity.cmp(&one.identity) {
                std::cmp::Ordering::Less => high = middle,
                std::cmp::Ordering::Greater => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(one),
            }
        }
        None
    }

    /// The first one of the file.
    fn first(&self) -> Option<&PreShared> {
        self.sorted.get(self.first)
    }

    /// Pairs of lines with one identity: the one that counts, and one that does not.
    fn repeated(&self) -> impl Iterator<Item = (usize, usize)> {
        self.sorted.iter().filter_map(|one| {
            let counts = self.find(&one.identity)?.line;
            (counts != one.line).then_some((counts, one.line))
        })
    }

    /// All but the one that a client shows are forgotten.
    fn keep(&mut self, identity: Option<&str>) -> Result<(), &'static str> {
        let chosen = match identity {
            Some(identity) => self.find(identity.as_bytes()),
            None => self.first(),
        };
        let line = chosen
            .ok_or("No key found for the specified PSK identity")?
            .line;
        self.sorted.retain(|one| one.line == line);
        self.first = 0;
        match self.first() {
            Some(one) if one.identity.is_empty() => {
                Err("the identity is empty, which TLS 1.3 does not allow")
            }
            _ => Ok(()),
        }
    }

    /// A client's: the one that it shows.
    pub(super) fn shows(&self) -> Option<&PreShared> {
        self.first()
    }
}

/// A line that cannot be used: which, from 1, and why.
#[derive(Debug, PartialEq, Eq)]
struct BadLine(usize, Why);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    NoColon,
    LongIdentity,
    LongKey,
    ShortKey,
    ZeroKey,
    ZeroByte,
}

impl fmt::Display for BadLine {
    /// stunnel's words first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PSKsecrets line {}: ", self.0)?;
        match self.1 {
            Why::NoColon => f.write_str(
                "Not in identity:key format (write IDENTITY:KEY; there are no comments in this file)",
            ),
            Why::LongIdentity => write!(
                f,
                "Identity longer than {LONGEST_IDENTITY} bytes (it ends at the first colon)"
            ),
            Why::LongKey => write!(f, "Key longer than {LONGEST_KEY} bytes"),
            Why::ShortKey => write!(
                f,
                "Key shorter than {SHORTEST_KEY} bytes (two hexadecimal digits are one byte: \
                 `openssl rand -hex 32` makes a key)"
            ),
            Why::ZeroKey => {
                f.write_str("the key is nothing but zeros (`openssl rand -hex 32` makes one)")
            }
            Why::ZeroByte => f.write_str("a zero byte, so this is no text file"),
        }
    }
}

/// Reads the file's text.
///
/// # Errors
/// Every line that cannot be used; none at all, if nothing is in it.
fn parse(text: &[u8]) -> Result<PreSharedKeys, Vec<BadLine>> {
    let (mut sorted, mut bad) = (Vec::new(), Vec::new());
    for (nth, line) in text.split(|byte| *byte == b'\n').enumerate() {
        // stunnel leaves out each carriage return, wherever it stands.
        let mut plain = Zeroizing::new(Vec::with_capacity(line.len()));
        plain.extend(line.iter().copied().filter(|byte| *byte != b'\r'));
        if plain.is_empty() {
            continue;
        }
        match entry(&plain, nth + 1) {
            Ok(entry) => sorted.push(entry),
            Err(why) => bad.push(BadLine(nth + 1, why)),
        }
    }
    let line = sorted.first().map(|entry: &PreShared| entry.line);
    let (Some(line), true) = (line, bad.is_empty()) else {
        return Err(bad);
    };
    // Stable, as the C library's qsort is here.
    sorted.sort_by(|a, b| a.identity.cmp(&b.identity));
    let first = sorted.iter().position(|entry| entry.line == line);
    Ok(PreSharedKeys {
        sorted,
        first: first.unwrap_or(0),
    })
}

fn entry(plain: &[u8], line: usize) -> Result<PreShared, Why> {
    if plain.contains(&0) {
        return Err(Why::ZeroByte);
    }
    let mut parts = plain.splitn(2, |byte| *byte == b':');
    let (Some(identity), Some(text)) = (parts.next(), parts.next()) else {
        return Err(Why::NoColon);
    };
    if identity.len() > LONGEST_IDENTITY {
        return Err(Why::LongIdentity);
    }
    let binary = hexadecimal::decode_with_colons(text);
    let hexadecimal = binary.is_some();
    let key = binary.unwrap_or_else(|| Zeroizing::new(text.to_vec()));
    match key.len() {
        ..SHORTEST_KEY => Err(Why::ShortKey),
        length if length > LONGEST_KEY => Err(Why::LongKey),
        // s2n-tls takes it for a mistake of the program.
        _ if key.iter().all(|byte| *byte == 0) => Err(Why::ZeroKey),
        _ => Ok(PreShared {
            identity: identity.to_vec(),
            key,
            line,
            hexadecimal,
        }),
    }
}

/// Loads the file that a service names, if it names one; in client mode the one key that is shown stays.
pub(super) fn load(
    options: &TlsOptions,
    client: bool,
    problems: &mut Vec<Problem>,
    log: &Log,
) -> Option<PreSharedKeys> {
    let path = options.psk_secrets.as_deref()?;
    let text = match keys::psk_file(OPTION, path, problems) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let mut found = match parse(&text) {
        Ok(found) => found,
        Err(bad) => {
            problems.extend(refusals(path, &bad));
            return None;
        }
    };
    tell(&found, path, problems, log);
    if client && let Err(why) = found.keep(options.psk_identity.as_deref()) {
        let option = match options.psk_identity {
            Some(_) => "PSKidentity",
            None => OPTION,
        };
        let text = format!(
            "{why} (see {}, where identities end at the first colon)",
            path.display()
        );
        problems.push(Problem::error(option, text));
        return None;
    }
    Some(found)
}

fn refusals(path: &Path, bad: &[BadLine]) -> Vec<Problem> {
    let error = |what: &dyn fmt::Display| {
        let text = format!(
            "cannot use the file of pre-shared keys {}: {what}",
            path.display()
        );
        Problem::error(OPTION, text)
    };
    match bad {
        [] => vec![error(&"there is no key in it (write IDENTITY:KEY)")],
        bad => bad.iter().map(|line| error(line)).collect(),
    }
}

fn tell(found: &PreSharedKeys, path: &Path, problems: &mut Vec<Problem>, log: &Log) {
    if found.sorted.len() <= NAMED {
        for one in &found.sorted {
            let kind = match one.hexadecimal {
                true => "hexadecimal",
                false => "ASCII",
            };
            crate::info!(
                *log,
                "PSKsecrets line {}: {}-byte {kind} key configured for identity \"{}\"",
                one.line,
                one.key.len(),
                one.name()
            );
        }
    }
    crate::info!(*log, "PSK identities: {} retrieved", found.sorted.len());
    for (counts, line) in found.repeated() {
        let text = format!(
            "{}: line {line} has the identity of line {counts}, which is the one that counts: leave one out",
            path.display()
        );
        problems.push(Problem::warning(OPTION, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn read(text: &str) -> Result<PreSharedKeys, Vec<BadLine>> {
        parse(text.as_bytes())
    }

    fn key(text: &str, identity: &str) -> Vec<u8> {
        read(text)
            .unwrap()
            .find(identity.as_bytes())
            .unwrap()
            .key
            .to_vec()
    }

    #[test]
    fn keys_are_read_as_stunnel_reads_them() {
        let binary: Vec<u8> = (0..16).map(|nth| nth * 0x11).collect();
        let with_colons: Vec<&str> = (0..16).map(|nth| &KEY[nth * 2..nth * 2 + 2]).collect();
        let with_colons = with_colons.join(":");
        for (text, identity, expected) in [
            (format!("a:{KEY}"), "a", &binary[..]),
            (format!("a:{}\n", KEY.to_uppercase()), "a", &binary),
            (format!("\n\r\n\r\na:{KEY}\r\n\n"), "a", &binary),
            (format!("a:{}\r{}\n", &KEY[..8], &KEY[8..]), "a", &binary),
            (format!("a:{with_colons}\n"), "a", &binary),
            (format!("a::{with_colons}::\n"), "a", &binary),
            (format!(" a b :{KEY}\n"), " a b ", &binary),
            (format!(":{KEY}\n"), "", &binary),
            // An odd digit, a blank, a letter: the characters themselves.
            (format!("a:{KEY}0\n"), "a", format!("{KEY}0").as_bytes()),
            (format!("a:{KEY} \n"), "a", format!("{KEY} ").as_bytes()),
            (format!("a: {KEY}\n"), "a", format!(" {KEY}").as_bytes()),
            ("a:sixteen letters:\n".into(), "a", b"sixteen letters:"),
            ("a:0:0112233445566778\n".into(), "a", b"0:0112233445566778"),
        ] {
            assert_eq!(key(&text, identity), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_used_is_told_with_its_number() {
        for (text, expected) in [
            (String::new(), vec![]),
            ("\n\r\n".into(), vec![]),
            (format!("# keys\na:{KEY}\n"), vec![BadLine(1, Why::NoColon)]),
            (format!("a:{KEY}\n{KEY}"), vec![BadLine(2, Why::NoColon)]),
            ("a:".into(), vec![BadLine(1, Why::ShortKey)]),
            (format!("a:{}", &KEY[2..]), vec![BadLine(1, Why::ShortKey)]),
            ("a:fifteen letters".into(), vec![BadLine(1, Why::ShortKey)]),
            (
                format!("a:{}", "x".repeat(513)),
                vec![BadLine(1, Why::LongKey)],
            ),
            (
                format!("{}:{KEY}", "i".repeat(256)),
                vec![BadLine(1, Why::LongIdentity)],
            ),
            (
                format!("a:{}", "0".repeat(32)),
                vec![BadLine(1, Why::ZeroKey)],
            ),
            (format!("a:{KEY}\0"), vec![BadLine(1, Why::ZeroByte)]),
            (
                format!("short:1\na:{KEY}\n\nnothing\n"),
                vec![BadLine(1, Why::ShortKey), BadLine(4, Why::NoColon)],
            ),
        ] {
            assert_eq!(read(&text).unwrap_err(), expected, "{text:?}");
        }
        let longest = format!("{}:{}\n", "i".repeat(255), "x".repeat(512));
        assert_eq!(key(&longest, &"i".repeat(255)).len(), 512);
    }

    /// Seen with stunnel 5.68.
    #[test]
    fn of_one_identity_twice_the_key_counts_that_counts_in_stunnel() {
        let (a, b, c) = ("1".repeat(32), "2".repeat(32), "3".repeat(32));
        for (text, counts) in [
            (format!("a:{a}\na:{b}\n"), 0x22),
            (format!("a:{a}\na:{b}\na:{c}\n"), 0x22),
            (format!("0:{c}\na:{a}\na:{b}\n"), 0x11),
            (format!("a:{a}\na:{b}\nz:{c}\n"), 0x22),
            (format!("a:{a}\na:{b}\nx:{c}\ny:{c}\nz:{c}\n"), 0x22),
            (format!("0:{c}\n1:{c}\n2:{c}\na:{a}\na:{b}\n"), 0x22),
        ] {
            assert_eq!(key(&text, "a"), [counts; 16], "{text}");
            assert!(read(&text).unwrap().repeated().count() > 0);
        }
        assert_eq!(
            read(&format!("a:{a}\nb:{a}")).unwrap().repeated().count(),
            0
        );
    }

    #[test]
    fn a_client_keeps_the_first_or_the_one_that_is_named() {
        let text = format!("z:{KEY}\na:{KEY}1\nb:{KEY}2\n:{KEY}\n");
        for (identity, expected) in [
            (None, Ok("z")),
            (Some("b"), Ok("b")),
            (Some("c"), Err(())),
            // TLS has no empty identity.
            (Some(""), Err(())),
        ] {
            let mut keys = read(&text).unwrap();
            let kept = keys.keep(identity).map_err(|_| ());
            let shown = kept.map(|()| keys.shows().unwrap().name());
            assert_eq!(shown, expected.map(str::to_owned), "{identity:?}");
        }
    }

    #[test]
    fn each_of_a_thousand_is_found() {
        let line = |nth: usize| format!("client-{nth}:{nth:064x}\n");
        let text: String = (1..=1000).map(line).collect();
        let keys = read(&text).unwrap();
        for nth in 1..=1000 {
            let found = keys.find(format!("client-{nth}").as_bytes()).unwrap();
            assert_eq!(found.line, nth);
        }
        assert!(keys.find(b"client-0").is_none() && keys.find(b"").is_none());
    }

    #[test]
    fn no_message_has_a_key() {
        let secret = "0123456789abcd";
        let bad = read(&format!("{secret}\na:{secret}\n")).unwrap_err();
        for problem in refusals(Path::new("/f"), &bad) {
            assert!(!problem.text.contains(secret), "{}", problem.text);
        }
        let shown = format!("{:?}", read(&format!("a:{KEY}")).unwrap());
        assert!(!shown.contains(KEY) && !shown.contains("17"), "{shown}");
    }
}

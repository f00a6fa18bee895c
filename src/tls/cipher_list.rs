//! OpenSSL's cipher list language (openssl-ciphers(1)), read as OpenSSL reads it: over all of OpenSSL's
//! suites, in order to tell a list that stunnel accepts from one that it refuses.

mod row;

pub(super) use row::Row;
use row::{OLD, rows};

/// The result of reading a list.
#[derive(Debug, Default)]
pub(super) struct Selected {
    /// The suites, in order of preference.
    pub(super) rows: Vec<Row>,
    /// Each item that adds suites, with the suites it stands for.
    pub(super) added: Vec<(String, Vec<Row>)>,
    /// `@SECLEVEL=n`
    pub(super) security_level: Option<u8>,
}

/// OpenSSL's words for a list it cannot read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidCommand(pub(super) String);

/// A suite while the list is processed.
#[derive(Debug)]
struct Place {
    row: Row,
    active: bool,
}

/// Reads a list.
///
/// # Errors
/// A character or a command that the language does not have.
pub(super) fn select(list: &str) -> Result<Selected, InvalidCommand> {
    select_of(rows(), list)
}

/// As [`select`], of an OpenSSL that still had 3DES and RC4.
///
/// # Errors
/// As [`select`].
pub(super) fn select_with_old(list: &str) -> Result<Selected, InvalidCommand> {
    let old = OLD.lines().filter_map(Row::read);
    select_of(rows().into_iter().chain(old).collect(), list)
}

fn select_of(names: Vec<Row>, list: &str) -> Result<Selected, InvalidCommand> {
    let place = |row: &Row| Place {
        row: *row,
        active: false,
    };
    let mut reader = Reader {
        rest: suite_b(list).unwrap_or(list),
        places: names.iter().map(place).collect(),
        names,
        selected: Selected::default(),
    };
    // A word only at the beginning.
    if let Some(rest) = reader.rest.strip_prefix("DEFAULT") {
        reader.rest = "ALL:!COMPLEMENTOFDEFAULT:!eNULL";
        reader.items()?;
        reader.rest = rest;
    }
    reader.items()?;
    let active = reader.places.iter().filter(|place| place.active);
    reader.selected.rows = active.map(|place| place.row).collect();
    Ok(reader.selected)
}

/// The names of NSA's Suite B, which are lists of their own (RFC 6460).
fn suite_b(list: &str) -> Option<&'static str> {
    [
        ("SUITEB128ONLY", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("SUITEB128C2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("SUITEB192", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (
            "SUITEB128",
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ]
    .into_iter()
    .find(|(name, _)| list.starts_with(name))
    .map(|(_, list)| list)
}

struct Reader<'a> {
    rest: &'a str,
    /// All of OpenSSL's suites.
    names: Vec<Row>,
    places: Vec<Place>,
    selected: Selected,
}

fn is_separator(c: char) -> bool {
    matches!(c, ':' | ' ' | ';' | ',')
}

impl<'a> Reader<'a> {
    fn items(&mut self) -> Result<(), InvalidCommand> {
        loop {
            self.rest = self.rest.trim_start_matches(is_separator);
            let Some(first) = self.rest.chars().next() else {
                return Ok(());
            };
            let operator = matches!(first, '!' | '-' | '+' | '@').then_some(first);
            if operator.is_some() {
                self.rest = &self.rest[1..];
            }
            match operator {
                Some('@') => self.command()?,
                _ => self.words(operator)?,
            }
        }
    }

    fn word(&mut self) -> Result<&'a str, InvalidCommand> {
        let part_of_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=');
        let end = self
            .rest
            .find(|c| !part_of_it(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(InvalidCommand(self.item().to_owned()));
        }
        self.rest = rest;
        Ok(word)
    }

    /// The rest of this item.
    fn item(&self) -> &'a str {
        let end = self.rest.find(is_separator).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    /// `@STRENGTH` and `@SECLEVEL=n`.
    fn command(&mut self) -> Result<(), InvalidCommand> {
        let command = self.word()?;
        match command.strip_prefix("SECLEVEL=").map(str::as_bytes) {
            Some([level @ b'0'..=b'5']) => self.selected.security_level = Some(level - b'0'),
            None if command == "STRENGTH" => {
                let active = |place: &mut Place| place.active;
                let mut active: Vec<Place> = self.places.extract_if(.., active).collect();
                active.sort_by_key(|place| std::cmp::Reverse(place.row.bits));
                self.places.extend(active);
            }
            _ => return Err(InvalidCommand(format!("@{command}"))),
        }
        self.rest = &self.rest[self.item().len()..];
        Ok(())
    }

    /// `a+b+c` after an operator, or without one.
    fn words(&mut self, operator: Option<char>) -> Result<(), InvalidCommand> {
        let item = self.item();
        let mut words = Vec::new();
        loop {
            let word = self.word()?;
            words.push(word);
            if !self.names.iter().any(|row| row.is(word).is_some()) {
                // Ignored, with the rest of this item.
                if operator.is_none() {
                    self.selected.added.push((item.to_owned(), Vec::new()));
                }
                self.rest = &self.rest[self.item().len()..];
                return Ok(());
            }
            match self.rest.strip_prefix('+') {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        let all = |row: &Row| words.iter().all(|word| row.is(word).unwrap_or(false));
        if operator.is_none() {
            let meant = self.places.iter().map(|place| place.row).filter(all);
            self.selected.added.push((words.join("+"), meant.collect()));
        }
        self.apply(operator, &all);
        Ok(())
    }

    fn apply(&mut self, operator: Option<char>, all: &dyn Fn(&Row) -> bool) {
        // `-` and `+` apply to selected suites, a bare word to the others.
        let active = operator.is_some();
        let concerned = |place: &mut Place| {
            all(&place.row) && (operator == Some('!') || place.active == active)
        };
        let mut moved: Vec<Place> = self.places.extract_if(.., concerned).collect();
        match operator {
            Some('!') => {}
            Some('-') => {
                for place in &mut moved {
                    place.active = false;
                }
                self.places.splice(..0, moved);
            }
            Some(_) => self.places.extend(moved),
            None => {
                for place in &mut moved {
                    place.active = true;
                }
                self.places.extend(moved);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What OpenSSL selects; `None` if it refuses the list, or is not OpenSSL 3.0.
    fn openssl(list: &str) -> Option<Vec<String>> {
        // Otherwise it would be an option.
        let list = match list.starts_with('-') {
            true => format!(":{list}"),
            false => list.to_owned(),
        };
        let output = Command::new("openssl")
            .args(["ciphers", &list])
            .output()
            .ok()?;
        let names = String::from_utf8(output.stdout).ok()?;
        let below_1_3 = names
            .trim()
            .split(':')
            .filter(|name| !name.starts_with("TLS_"));
        let names: Vec<String> = below_1_3.map(str::to_owned).collect();
        (output.status.success() && !names.is_empty()).then_some(names)
    }

    fn is_openssl_3_0() -> bool {
        let version = Command::new("openssl").arg("version").output();
        version.is_ok_and(|output| output.stdout.starts_with(b"OpenSSL 3.0"))
    }

    fn ours(list: &str) -> Option<Vec<String>> {
        let rows = select(list).ok()?.rows;
        let names: Vec<String> = rows.iter().map(|row| row.name.to_owned()).collect();
        (!names.is_empty()).then_some(names)
    }

    const WORDS: &[&str] = &[
        "ALL",
        "HIGH",
        "MEDIUM",
        "LOW",
        "FIPS",
        "COMPLEMENTOFALL",
        "COMPLEMENTOFDEFAULT",
        "RSA",
        "kRSA",
        "aRSA",
        "DH",
        "DHE",
        "EDH",
        "kDHE",
        "kEDH",
        "ECDH",
        "ECDHE",
        "EECDH",
        "kECDHE",
        "kEECDH",
        "ADH",
        "AECDH",
        "PSK",
        "kPSK",
        "aPSK",
        "kRSAPSK",
        "kDHEPSK",
        "kECDHEPSK",
        "SRP",
        "kSRP",
        "aSRP",
        "aNULL",
        "eNULL",
        "NULL",
        "AES",
        "AES128",
        "AES256",
        "AESGCM",
        "AESCCM",
        "AESCCM8",
        "CAMELLIA",
        "CAMELLIA128",
        "CAMELLIA256",
        "ARIA",
        "ARIA128",
        "ARIA256",
        "ARIAGCM",
        "CHACHA20",
        "CBC",
        "SEED",
        "3DES",
        "RC4",
        "MD5",
        "SHA",
        "SHA1",
        "SHA256",
        "SHA384",
        "SSLv3",
        "TLSv1",
        "TLSv1.0",
        "TLSv1.2",
        "aECDSA",
        "ECDSA",
        "aDSS",
        "DSS",
        "EXP",
        "NONSENSE",
        "AES128-GCM-SHA256",
        "AES256-SHA",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_AES_256_GCM_SHA384",
    ];

    /// splitmix64
    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 33) as usize
    }

    #[test]
    fn every_list_selects_what_openssl_selects_in_its_order() {
        if !is_openssl_3_0() {
            return;
        }
        let mut lists: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
        for list in [
            "DEFAULT",
            "DEFAULT@SECLEVEL=2",
            "DEFAULT:!kRSA",
            "ALL:DEFAULT",
            "HIGH:!aNULL",
            "AES128-GCM-SHA256:!DH",
            "ALL!aNULL",
            "FOO!aNULL:HIGH",
            "HIGH:!aNULL*",
            "HIGH # x",
            "HIGH ; x",
            "SUITEB128",
            "SUITEB192",
            "SUITEB128ONLY",
            "@SYSTEM",
            "PROFILE=SYSTEM",
            "ALL:@STRENGTH",
            "AES128:AES256:@STRENGTH",
            "HIGH:@SECLEVEL=9",
            "HIGH:@FOO",
            "",
            "HIGH:!DH:!aNULL:!SSLv2:!RC4:!3DES",
            "ALL:!ADH:!LOW:!EXP:@STRENGTH",
            "!ALL:HIGH",
            "EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH",
            "HIGH:+SHA1",
            "ALL:-AES:AES128",
        ] {
            lists.push(list.to_owned());
        }
        let mut state = 1;
        for _ in 0..150 {
            let mut list = String::new();
            for _ in 0..=next(&mut state) % 5 {
                list += [":", ":!", ":-", ":+", ":", ":"][next(&mut state) % 6];
                list += WORDS[next(&mut state) % WORDS.len()];
                if next(&mut state).is_multiple_of(3) {
                    list += "+";
                    list += WORDS[next(&mut state) % WORDS.len()];
                }
                if next(&mut state).is_multiple_of(12) {
                    list += ":@STRENGTH";
                }
            }
            lists.push(list.trim_start_matches(':').to_owned());
        }
        for list in lists {
            // To the command line tool, an empty argument would be no list at all.
            let theirs = openssl(&list).filter(|_| !list.is_empty());
            let ours = ours(&list);
            let pair = |nth: usize| [&ours, &theirs].map(|names| names.as_ref()?.get(nth).cloned());
            let differs = (0..200).map(pair).find(|[ours, theirs]| ours != theirs);
            assert_eq!(differs, None, "{list}: ours, and OpenSSL's");
        }
    }

    #[test]
    fn what_an_item_adds_and_what_cannot_be_read() {
        let selected = select("AES128-GCM-SHA256:NONSENSE:!DH:ECDHE+CHACHA20@SECLEVEL=1").unwrap();
        let added: Vec<_> = selected
            .added
            .iter()
            .map(|(item, rows)| (item.as_str(), rows.len()))
            .collect();
        assert_eq!(
            added,
            [
                ("AES128-GCM-SHA256", 1),
                ("NONSENSE", 0),
                ("ECDHE+CHACHA20", 2)
            ]
        );
        assert_eq!(selected.security_level, Some(1));
        for (list, command) in [
            ("HIGH:@FOO", "@FOO"),
            ("DEFAULT@SECLEVEL=9", "@SECLEVEL=9"),
            ("HIGH:!aNULL*:x", "*"),
            ("HIGH # x", "#"),
        ] {
            assert_eq!(
                select(list).unwrap_err(),
                InvalidCommand(command.to_owned())
            );
        }
    }
}

//! What in hosts.allow and hosts.deny does not do what it seems to, for `adit check`.

use std::fs;
use std::io;
#[cfg(fuzzing)]
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::judge::{FILES, World, is_comment, shown, split_behind_first};
use super::options;
use super::pattern::{Net, quad};
use super::server::System;
use super::text::{Line, is, lines, number, split_at, words};

/// A line that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    /// File and line.
    pub place: String,
    /// What is wrong.
    pub text: String,
    /// What would be right.
    pub help: String,
}

/// Reads both files.
pub(crate) fn remarks() -> Vec<Remark> {
    let hidden =
        |file: &&str| fs::metadata(file).is_ok_and(|about| about.mode() & OTHERS_READ == 0);
    let hidden = FILES.iter().map(|(file, _)| *file).filter(hidden);
    let hidden = hidden.map(|file| Remark {
        place: file.to_owned(),
        text: "its mode hides it from the process that reads it, and every client is refused"
            .to_owned(),
        help: TO_BE_READ.to_owned(),
    });
    hidden.chain(remarks_of(&System)).collect()
}

/// In the mode of a file.
const OTHERS_READ: u32 = 0o004;
const TO_BE_READ: &str = "`chmod o+r` it: the gatekeeper process is neither root nor in a group";

pub(super) fn remarks_of(world: &dyn World) -> Vec<Remark> {
    let mut all = Vec::new();
    for (file, grants) in FILES {
        match world.read(Path::new(file)) {
            Ok(text) => {
                for line in lines(&text) {
                    let place = format!("{file}:{}", line.number);
                    let found = of_line(&line, grants).into_iter();
                    all.extend(found.map(|(text, help)| Remark {
                        place: place.clone(),
                        text,
                        help,
                    }));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => all.push(Remark {
                place: file.to_owned(),
                text: format!("it cannot be read, and every client is refused: {error}"),
                help: TO_BE_READ.to_owned(),
            }),
        }
    }
    all
}

type Found = (String, String);

fn of_line(line: &Line, grants: bool) -> Vec<Found> {
    if !line.whole {
        let text = match grants {
            true => "no newline ends this line, or it is too long: it is ignored",
            false => "no newline ends this line, or it is too long: it refuses every client",
        };
        let help = "end it with a newline, within 2047 bytes";
        return vec![(text.to_owned(), help.to_owned())];
    }
    if is_comment(&line.text) {
        return Vec::new();
    }
    let (daemons, Some(rest)) = split_at(&line.text, b':') else {
        let text = "this line has no colon: it is ignored";
        let help = "as `SERVICE: CLIENTS`; a comment begins with `#` in the first column";
        return vec![(text.to_owned(), help.to_owned())];
    };
    let (clients, options) = split_at(rest, b':');
    let mut found = Vec::new();
    for word in words(daemons) {
        if let (_, Some(host)) = split_behind_first(word) {
            found.extend(of_pattern(host));
        }
    }
    for word in words(clients) {
        match split_behind_first(word) {
            (user, Some(host)) => {
                if !is(user, "ALL") {
                    found.push((
                        format!(
                            "`{}`: adit asks for no user: it refuses every client that the host matches",
                            shown(word)
                        ),
                        "write the host alone, and `ident = USERNAME` in the service".to_owned(),
                    ));
                }
                found.extend(of_pattern(host));
            }
            (_, None) => found.extend(of_pattern(word)),
        }
    }
    if let Some(Err(offence)) = options.map(options::decide) {
        found.push((
            format!("a client that this line matches is refused: {offence}"),
            "hosts_options(5) has them all".to_owned(),
        ));
    }
    found
}

fn of_pattern(word: &[u8]) -> Option<Found> {
    let told = shown(word);
    if word.starts_with(b"@") {
        let text = format!(
            "`{told}`: adit asks for no netgroup: it refuses every client that this line may match"
        );
        return Some((text, "write its hosts or networks".to_owned()));
    }
    if word.starts_with(b"/") {
        return None;
    }
    let help_of = |prefix: &str| format!("as {prefix}");
    match Net::of(word)? {
        Net::V4 { net, mask } if net & !mask != 0 => {
            let meant = std::net::Ipv4Addr::from_bits(net & mask);
            let text = format!("`{told}` matches no address: it has bits behind its prefix");
            Some((text, help_of(&format!("{meant}/{}", mask.leading_ones()))))
        }
        Net::V6 { mask: 0, .. } if !told.ends_with("/0") => {
            let text = format!("`{told}` matches every IPv6 address: its prefix is no number");
            Some((text, help_of("[2001:db8::]/32")))
        }
        Net::V4 { .. } | Net::V6 { .. } => None,
        Net::Wrong => {
            let (net, mask) = split_at(word, b'/');
            let all = quad(net).is_some() && mask.is_some_and(|mask| number(mask) == 0);
            let text = format!("`{told}` matches no address");
            let help = match (all, mask) {
                (true, _) => {
                    "`ALL` is every client, and `0.0.0.0/0.0.0.0` every one by IPv4".to_owned()
                }
                (false, Some(b"255.255.255.255")) => {
                    "an address alone has no mask: write it without one".to_owned()
                }
                _ => help_of("10.0.0.0/8, 10. or [2001:db8::]/32"),
            };
            Some((text, help))
        }
    }
}

/// A world of one file; every address has a name.
#[cfg(fuzzing)]
struct Hostile<'a>(&'a [u8]);

#[cfg(fuzzing)]
impl World for Hostile<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn name(&self, _: IpAddr) -> super::judge::Name {
        super::judge::Name::Known("host.example".to_owned())
    }
}

/// What `fuzz/` does with this room: whatever the files say, there is an end, and the same answer again. A rule that
/// refuses everything in front lets nothing pass.
#[cfg(fuzzing)]
pub(crate) fn fuzz(file: &[u8]) {
    use super::judge::{Judgement, Question, judge};
    use std::net::{Ipv4Addr, Ipv6Addr};
    let modern = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    for client in [IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), IpAddr::V6(modern)] {
        let question = Question {
            daemon: "smtp".to_owned(),
            client,
            server: ([192, 0, 2, 1], 25).into(),
        };
        let first = judge(&question, &Hostile(file));
        assert_eq!(first, judge(&question, &Hostile(file)));
        let closed = [b"ALL: ALL: DENY\n", file].concat();
        assert_ne!(judge(&question, &Hostile(&closed)), Judgement::Permitted);
    }
    let _ = remarks_of(&Hostile(file));
    if let Some((id, question)) = super::message::decode(file) {
        let again = super::message::decode(&super::message::encode(id, &question));
        assert_eq!(again, Some((id, question)));
    }
}

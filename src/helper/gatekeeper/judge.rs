//! Judges a client by the texts of hosts.allow and hosts.deny, as hosts_access(3) does. What cannot be judged is
//! refused. Never in here: a file or a name server, which are the caller's.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::options::{self, Offence};
use super::pattern::{Net, is_of_addresses, text_matches};
use super::text::{Line, is, lines, split_at, words};

/// Files of patterns that are read for one client.
const MAX_FILES: usize = 64;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The service's name.
    pub daemon: String,
    /// Where the client comes from.
    pub client: IpAddr,
    /// Where it has connected to.
    pub server: SocketAddr,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It may connect.
    Permitted,
    /// It may not, as this says.
    Refused(String),
    /// It may not, since something is wrong.
    Undecided(String),
}

/// A host's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// It has the address.
    Known(String),
    /// None can be had.
    Unknown,
    /// It has not the address that it was found by, or is an alias.
    Paranoid,
}

impl Name {
    /// As patterns are compared with it.
    fn text(&self) -> &str {
        match self {
            Name::Known(name) => name,
            Name::Unknown => "unknown",
            Name::Paranoid => "paranoid",
        }
    }
}

/// The two files, in the order in which they are asked.
pub(super) const FILES: [(&str, bool); 2] =
    [("/etc/hosts.allow", true), ("/etc/hosts.deny", false)];

/// What the judge must ask others for.
pub(super) trait World {
    /// The content of a file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;

    /// The name of a host. It may take its time.
    fn name(&self, address: IpAddr) -> Name;
}

/// Why a rule cannot be judged.
#[derive(Debug)]
enum Obstacle {
    Netgroup(String),
    User(String),
    File(PathBuf, io::Error),
    Files,
    Option(Offence),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Netgroup(word) => write!(
                f,
                "adit asks for no netgroup, as `{word}` is one: write its hosts or networks"
            ),
            Obstacle::User(word) => write!(
                f,
                "adit asks for no user here, as `{word}` wants: write the host alone, and `ident = USERNAME` in the service"
            ),
            Obstacle::File(file, error) => write!(f, "{}: {error}", file.display()),
            Obstacle::Files => {
                f.write_str("it names too many files of patterns, or each other without end")
            }
            Obstacle::Option(offence) => offence.fmt(f),
        }
    }
}

/// Judges a client.
pub(super) fn judge(question: &Question, world: &dyn World) -> Judgement {
    let mut judge = Judge {
        question,
        world,
        client: None,
        server: None,
        files: 0,
    };
    for (file, grants) in FILES {
        let text = match world.read(Path::new(file)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // libwrap goes past it.
            Err(error) => return Judgement::Undecided(format!("{file}: {error}")),
        };
        for line in lines(&text) {
            let place = || format!("{file}, line {}", line.number);
            let granted = match judge.line(&line, grants) {
                Ok(None) => continue,
                Ok(Some(granted)) => granted,
                Err(obstacle) => return Judgement::Undecided(format!("{}: {obstacle}", place())),
            };
            return match granted {
                true => Judgement::Permitted,
                false if !line.whole => Judgement::Refused(format!(
                    "{}: no newline ends it, or it is too long",
                    place()
                )),
                false => Judgement::Refused(place()),
            };
        }
    }
    Judgement::Permitted
}

/// Which end of a connection a pattern is of.
#[derive(Clone, Copy)]
enum End {
    Client,
    Server,
}

struct Judge<'a> {
    question: &'a Question,
    world: &'a dyn World,
    /// Their names, once they were asked for.
    client: Option<Name>,
    server: Option<Name>,
    /// Files of patterns that were read.
    files: usize,
}

impl Judge<'_> {
    /// What a line decides; `None`: it is of others.
    fn line(&mut self, line: &Line, grants: bool) -> Result<Option<bool>, Obstacle> {
        if !line.whole {
            return Ok((!grants).then_some(false));
        }
        if is_comment(&line.text) {
            return Ok(None);
        }
        let (daemons, Some(rest)) = split_at(&line.text, b':') else {
            return Ok(None);
        };
        let (clients, options) = split_at(rest, b':');
        let matches = list_matches(&words(daemons), &mut |word| self.daemon_matches(word))?
            && list_matches(&words(clients), &mut |word| self.client_matches(word))?;
        if !matches {
            return Ok(None);
        }
        let decided = options.map(options::decide).transpose();
        let decided = decided.map_err(Obstacle::Option)?.flatten();
        Ok(Some(decided.unwrap_or(grants)))
    }

    fn daemon_matches(&mut self, word: &[u8]) -> Result<bool, Obstacle> {
        let (daemon, host) = split_behind_first(word);
        let port = is_port(daemon) && super::text::number(daemon) == self.port();
        if !port && !text_matches(daemon, &self.question.daemon) {
            return Ok(false);
        }
        match host {
            Some(host) => self.host_matches(host, End::Server),
            None => Ok(true),
        }
    }

    fn port(&self) -> i64 {
        self.question.server.port().into()
    }

    fn client_matches(&mut self, word: &[u8]) -> Result<bool, Obstacle> {
        let (user, host) = match split_behind_first(word) {
            (_, None) => (None, word),
            (user, Some(host)) => (Some(user), host),
        };
        if !self.host_matches(host, End::Client)? {
            return Ok(false);
        }
        match user {
            Some(user) if !is(user, "ALL") => Err(Obstacle::User(shown(word))),
            _ => Ok(true),
        }
    }

    fn host_matches(&mut self, pattern: &[u8], end: End) -> Result<bool, Obstacle> {
        let address = self.address(end);
        match pattern {
            [] => return Ok(false),
            [b'@', ..] => return Err(Obstacle::Netgroup(shown(pattern))),
            [b'/', ..] => return self.file_matches(pattern, end),
            _ => {}
        }
        if is(pattern, "KNOWN") {
            return Ok(matches!(self.name(end), Name::Known(_)));
        }
        if is(pattern, "LOCAL") {
            return Ok(matches!(self.name(end), Name::Known(name) if !name.contains('.')));
        }
        if let Some(net) = Net::of(pattern) {
            return Ok(net.contains(address));
        }
        let by_address = text_matches(pattern, &address.to_string());
        Ok(by_address || !is_of_addresses(pattern) && text_matches(pattern, self.name(end).text()))
    }

    /// A file of patterns, with blanks between them; it knows no comments.
    fn file_matches(&mut self, file: &[u8], end: End) -> Result<bool, Obstacle> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(Obstacle::Files);
        }
        let path = PathBuf::from(String::from_utf8_lossy(file).as_ref());
        let text = match self.world.read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Obstacle::File(path, error)),
        };
        let patterns = text.split(u8::is_ascii_whitespace);
        for pattern in patterns.filter(|pattern| !pattern.is_empty()) {
            if self.host_matches(pattern, end)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn address(&self, end: End) -> IpAddr {
        let address = match end {
            End::Client => self.question.client,
            End::Server => self.question.server.ip(),
        };
        address.to_canonical()
    }

    fn name(&mut self, end: End) -> &Name {
        let (address, world) = (self.address(end), self.world);
        let name = match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        };
        name.get_or_insert_with(|| world.name(address))
    }
}

/// Whether a line says nothing.
pub(super) fn is_comment(line: &[u8]) -> bool {
    line.starts_with(b"#") || line.iter().all(|byte| b" \t\r\n".contains(byte))
}

/// A word as the log may show it.
pub(super) fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).escape_debug().to_string()
}

/// `A@B`; a word that begins with `@` is a netgroup.
pub(super) fn split_behind_first(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some((_, rest)) = word.split_first() else {
        return (word, None);
    };
    match split_at(rest, b'@') {
        (before, Some(behind)) => (&word[..before.len() + 1], Some(behind)),
        (_, None) => (word, None),
    }
}

/// Whether a daemon is given by its port.
fn is_port(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// Whether a list has what `matches` finds, and no exception has.
fn list_matches(
    list: &[&[u8]],
    matches: &mut dyn FnMut(&[u8]) -> Result<bool, Obstacle>,
) -> Result<bool, Obstacle> {
    for (nth, word) in list.iter().enumerate() {
        if is(word, "EXCEPT") {
            return Ok(false);
        }
        if matches(word)? {
            let behind = &list[nth + 1..];
            let except = behind.iter().position(|word| is(word, "EXCEPT"));
            return match except {
                None => Ok(true),
                Some(at) => Ok(!list_matches(&behind[at + 1..], matches)?),
            };
        }
    }
    Ok(false)
}

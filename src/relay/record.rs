//! The record of a connection: what it was and how it ended, told in one line at its end where `logFormat` asks for
//! that. Never in here: payload, a secret, or a cost for connections of which no record is kept.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::Upstream;
use super::step::{Common, Ending};
use crate::config::LogFormat;
use crate::incidents::{Cause, Diagnosis, Group};
use crate::log::{self, Field, Rfc3339, Value};
use crate::protocol::Side;
use crate::tls::hello::{self, Arriving, Reading};
use crate::tls::{Negotiated, Stream};

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 200;

/// Whose fault an end is, where that is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Client,
    Server,
    Adit,
    /// The configuration's, or a command's.
    Administrator,
}

impl Fault {
    /// The fault of the peer of this side.
    pub(crate) fn of(side: Side) -> Fault {
        match side {
            Side::Front => Fault::Client,
            Side::Back => Fault::Server,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Server => "server",
            Fault::Adit => "adit",
            Fault::Administrator => "administrator",
        }
    }
}

/// How a connection ended that was not closed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Failed,
    /// Nothing was carried for too long.
    Idle,
    /// It was ended on purpose.
    Cut,
    /// A peer that had been told of the end closed its socket at once.
    Parted,
}

/// What ended it.
#[derive(Debug)]
struct Blame {
    how: How,
    fault: Option<Fault>,
    reason: String,
}

/// A handshake that is over.
#[derive(Debug)]
struct Agreed {
    at: Instant,
    tls: Negotiated,
    alpn: Option<String>,
}

/// What is kept while the connection lasts.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The name that the client asked for.
    sni: Option<String>,
    /// Its hello was read as a whole, or is none.
    is_read: bool,
    arriving: Arriving,
    /// Where it is connected to.
    upstream: Option<Upstream>,
    hello: Option<Instant>,
    connected: Option<Instant>,
    talked: Option<Instant>,
    relayed: Option<Instant>,
    front: Option<Agreed>,
    back: Option<Agreed>,
    /// The last that was found wrong.
    blame: RefCell<Option<Blame>>,
}

impl Record {
    /// One, if lines tell of it.
    pub(crate) fn if_wanted() -> Option<Box<Record>> {
        (log::format() != LogFormat::Stunnel).then(Box::default)
    }
}

/// The highest level at which lines on a connection are written, of the `configured` one: where a line tells all of
/// its course, the steps are told only to those that ask for more.
pub(super) fn level_of_steps(configured: u8) -> u8 {
    match (log::format(), configured) {
        (LogFormat::Short, 5) => 4,
        _ => configured,
    }
}

impl Common {
    /// These bytes of the client's are there at the beginning of its handshake.
    pub(super) fn hears_hello(&mut self, bytes: &[u8]) {
        let Some(record) = self.record.as_deref_mut().filter(|record| !record.is_read) else {
            return;
        };
        record.hello.get_or_insert_with(Instant::now);
        if !record.arriving.is_worth_reading(bytes) {
            return;
        }
        record.is_read = match hello::read(bytes) {
            Reading::Incomplete => false,
            Reading::Hello(hello) => {
                record.sni = hello.server_name;
                true
            }
            Reading::NotTls | Reading::Malformed(_) => true,
        };
    }

    /// The handshake with a side is over.
    pub(super) fn shook_hands(&mut self, side: Side, stream: &Stream) {
        if let Some(record) = &mut self.record {
            let agreed = Some(Agreed {
                at: Instant::now(),
                tls: stream.negotiated(),
                alpn: stream.alpn().map(|name| name.escape_ascii().to_string()),
            });
            match side {
                Side::Front => record.front = agreed,
                Side::Back => record.back = agreed,
            }
        }
    }

    /// The server is connected, or the program runs.
    pub(super) fn is_connected(&mut self) {
        if let Some(record) = &mut self.record {
            record.connected = Some(Instant::now());
        }
    }

    /// That is its address.
    pub(super) fn is_connected_to(&mut self, upstream: &Upstream) {
        if let Some(record) = &mut self.record {
            record.upstream = Some(upstream.clone());
        }
    }

    /// A dialogue is over.
    pub(super) fn has_talked(&mut self) {
        if let Some(record) = &mut self.record {
            record.talked = Some(Instant::now());
        }
    }

    /// Payload was carried, for the first time or again.
    pub(super) fn has_carried(&mut self) {
        if self.to_back > 0 {
            self.is_no_check();
        }
        if let Some(record) = &mut self.record {
            record.relayed.get_or_insert_with(Instant::now);
        }
    }

    /// Keeps what is wrong, as long as nothing else is; it counts if the connection ends out of order.
    pub(crate) fn blame(&self, how: How, fault: Option<Fault>, reason: impl fmt::Display) {
        if let Some(record) = &self.record {
            let mut reason = reason.to_string();
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            *record.blame.borrow_mut() = Some(Blame { how, fault, reason });
        }
    }

    /// What is known of why it ends.
    pub(super) fn is_found(&self, diagnosis: &Diagnosis) {
        if let Some(record) = &self.record {
            let fault = fault_of(diagnosis.cause, self.meets(record));
            self.blame(How::Failed, fault, &diagnosis.reason);
        }
    }

    /// The side with which a handshake is under way, or is to come.
    fn meets(&self, record: &Record) -> Option<Side> {
        let service = self.service();
        let front = service.front.is_some() && record.front.is_none();
        let back = service.back.is_some() && record.back.is_none();
        match (record.connected, front, back) {
            (None, true, _) | (Some(_), true, false) => Some(Side::Front),
            (Some(_), _, true) => Some(Side::Back),
            _ => None,
        }
    }

    /// Writes the line on a connection that is over. `text`: stunnel's.
    pub(super) fn summarise(&self, ending: Ending, text: fmt::Arguments<'_>) {
        const KIND: u32 = log::kind(file!(), line!());
        // Where everything is told, that of a check is told too.
        // In the other formats the lines before it are written already.
        let is_silent = ending == Ending::Closed && self.has_said_nothing();
        let was_a_check = self.was_a_check() || is_silent && log::format() == LogFormat::Short;
        let level = if was_a_check { 7 } else { 5 };
        let is_wanted = self.config().debug >= level && !self.is_hushed();
        let Some(record) = self.record.as_deref().filter(|_| is_wanted) else {
            return;
        };
        let lasted = self.began.elapsed();
        let accepted = Rfc3339(SystemTime::now() - lasted);
        let blame = record.blame.borrow();
        let blame = blame.as_ref().filter(|_| ending != Ending::Closed);
        let mut fields = Vec::with_capacity(32);
        fields.push(("event", Value::Text("connection")));
        self.identity(record, &mut fields);
        fields.push(("bytes_to_back", Value::Number(self.to_back)));
        fields.push(("bytes_to_front", Value::Number(self.to_front)));
        fields.push(("accepted", Value::Shown(&accepted)));
        self.times(record, &mut fields);
        fields.push(("duration", Value::Seconds(lasted)));
        let ended = match was_a_check {
            true => "check",
            false => how(ending, blame),
        };
        fields.push(("ended", Value::Text(ended)));
        let fault = blame.and_then(|blame| blame.fault);
        fields.extend(fault.map(|fault| ("fault", Value::Text(fault.name()))));
        fields.extend(blame.map(|blame| ("reason", Value::Text(&blame.reason))));
        match log::format() {
            LogFormat::Short => {
                let line = short(&self.config().name, &fields[1..]);
                self.log.write(level, KIND, format_args!("{line}"));
            }
            LogFormat::Json | LogFormat::Stunnel => self.log.write_with(level, KIND, text, &fields),
        }
    }

    /// Who spoke with whom, and how.
    fn identity<'a>(&'a self, record: &'a Record, fields: &mut Vec<Field<'a>>) {
        let peer = self.peer.as_ref();
        fields.extend(peer.map(|peer| ("peer", Value::Shown(peer))));
        let sni = record.sni.as_deref();
        fields.extend(sni.map(|name| ("front_sni", Value::Text(name))));
        if let Some(agreed) = &record.front {
            fields.push(("front_version", Value::Text(agreed.tls.version)));
            fields.push(("front_suite", Value::Text(agreed.tls.suite)));
            let group = agreed.tls.group;
            fields.extend(group.map(|group| ("front_group", Value::Text(group))));
            let alpn = agreed.alpn.as_deref();
            fields.extend(alpn.map(|name| ("front_alpn", Value::Text(name))));
            fields.push(("front_resumed", Value::Truth(agreed.tls.resumed)));
        }
        let upstream = record.upstream.as_ref();
        fields.extend(upstream.map(|upstream| match upstream {
            Upstream::Tcp(address, _) => ("upstream", Value::Shown(address)),
            // As a text, which is quoted where a space is in it.
            Upstream::Unix(path) => {
                let path = path.to_str().map(Value::Text);
                ("upstream", path.unwrap_or(Value::Shown(upstream)))
            }
        }));
        let host = self.upstream.as_deref().filter(|name| is_name(name));
        fields.extend(host.map(|host| ("upstream_name", Value::Text(host))));
        if let Some(agreed) = &record.back {
            let sni = self.sent_sni();
            fields.extend(sni.map(|name| ("back_sni", Value::Text(name))));
            fields.push(("back_version", Value::Text(agreed.tls.version)));
            fields.push(("back_suite", Value::Text(agreed.tls.suite)));
            let group = agreed.tls.group;
            fields.extend(group.map(|group| ("back_group", Value::Text(group))));
            let alpn = agreed.alpn.as_deref();
            fields.extend(alpn.map(|name| ("back_alpn", Value::Text(name))));
            fields.push(("back_resumed", Value::Truth(agreed.tls.resumed)));
        }
    }

    /// When each stage was over, after the connection was accepted.
    fn times(&self, record: &Record, fields: &mut Vec<Field<'_>>) {
        let stages = [
            ("hello_at", record.hello),
            (
                "front_handshake_at",
                record.front.as_ref().map(|agreed| agreed.at),
            ),
            ("connect_at", record.connected),
            (
                "back_handshake_at",
                record.back.as_ref().map(|agreed| agreed.at),
            ),
            ("dialogue_at", record.talked),
            ("first_byte_at", record.relayed),
        ];
        fields.extend(stages.into_iter().filter_map(|(name, at)| {
            let after = at?.saturating_duration_since(self.began);
            Some((name, Value::Seconds(after)))
        }));
    }

    /// The name that the server was asked for.
    fn sent_sni(&self) -> Option<&str> {
        let config = self.config();
        let behind = config.dialogue.behind_proxy(config.protocol);
        let host = behind.map(|(host, _)| host).or(self.upstream.as_deref());
        let name = config.tls.sni.as_deref().or(host);
        name.filter(|name| is_name(name))
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.parse::<IpAddr>().is_err()
}

/// Whose fault something is that was met with the peer of that side; `None`: either side can mend it, or a person.
fn fault_of(cause: Cause, with: Option<Side>) -> Option<Fault> {
    use Group as G;
    match (cause, cause.group()) {
        (
            Cause::NotTls | Cause::BrokenTls | Cause::Alert | Cause::Vanished | Cause::TimedOut,
            _,
        ) => with.map(Fault::of),
        (Cause::ClientDialogue | Cause::ClientEncrypts | Cause::BalancerHeader, _) => {
            Some(Fault::Client)
        }
        (Cause::LocalPassword | Cause::Password | Cause::ProgramLogin, _) => Some(Fault::Client),
        (_, G::ClientCertificate) => Some(Fault::Client),
        (Cause::Program, _) => Some(Fault::Administrator),
        (_, G::ServerCertificate | G::Upstream | G::Dialogue) => Some(Fault::Server),
        (_, G::Access | G::Limits) if cause != Cause::Memory => Some(Fault::Administrator),
        (_, G::Limits | G::Adit) => Some(Fault::Adit),
        (_, G::OwnCertificate) => Some(Fault::Administrator),
        _ => None,
    }
}

fn how(ending: Ending, blame: Option<&Blame>) -> &'static str {
    match blame.map(|blame| blame.how) {
        _ if ending == Ending::Closed => "closed",
        Some(How::Parted) => "closed",
        Some(How::Idle) => "idle",
        Some(How::Cut) => "cut",
        Some(How::Failed) | None => "failed",
    }
}

/// The fields as text: `Connection: service=pop3 peer=192.0.2.7:1042`.
fn short(service: &str, fields: &[Field<'_>]) -> String {
    let mut line = String::with_capacity(256);
    line.push_str("Connection:");
    let service = ("service", Value::Text(service));
    for (name, value) in std::iter::once(&service).chain(fields) {
        let _ = match value {
            Value::Text(text) => write!(line, " {name}={}", Word(text)),
            Value::Shown(value) => write!(line, " {name}={value}"),
            Value::Number(number) => write!(line, " {name}={number}"),
            Value::Seconds(time) => write!(line, " {name}={}", Seconds(*time)),
            Value::Truth(truth) => write!(line, " {name}={truth}"),
        };
    }
    line
}

/// A word, or in quotation marks what is more, or none.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
        match !self.0.is_empty() && self.0.chars().all(is_word) {
            true => f.write_str(self.0),
            false => write!(f, "{:?}", self.0),
        }
    }
}

/// As the objects of `logFormat = json` have it.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_can_be_told_apart_into_its_values() {
        let fields = [
            ("peer", Value::Shown(&"[::1]:1")),
            ("reason", Value::Text("a \"b\"\n=c")),
            ("front_sni", Value::Text("")),
            ("duration", Value::Seconds(Duration::from_micros(1_000_002))),
            ("front_resumed", Value::Truth(false)),
        ];
        assert_eq!(
            short("two words", &fields),
            "Connection: service=\"two words\" peer=[::1]:1 reason=\"a \\\"b\\\"\\n=c\" \
             front_sni=\"\" duration=1.000002 front_resumed=false"
        );
    }
}

//! The ClientHello at the front of a connection, read before a library gets it: to choose the library,
//! to answer what none of them serves, and to say what the client offers.
//! Never in here: a socket, a wait, trust in a length.

mod bytes;

use std::fmt;

use bytes::Bytes;

use super::record::{HEADER, MAX_PLAIN};

/// A hello that is longer, with the headers of its records, is refused: in bytes. A buffer for an
/// incomplete one never holds more. Hellos with post-quantum keys and a ticket have some 4 KiB.
pub(crate) const MAX_HELLO: usize = 1 << 16;

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746) and TLS_FALLBACK_SCSV (RFC 7507), which are no suites.
const RENEGOTIATION_SCSV: u16 = 0x00ff;
const FALLBACK_SCSV: u16 = 0x5600;

/// A version as the wire has it (RFC 8446, section 4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u16);

impl Version {
    pub(crate) const SSL2: Version = Version(0x0002);
    pub(crate) const SSL3: Version = Version(0x0300);
    pub(crate) const TLS10: Version = Version(0x0301);
    pub(crate) const TLS11: Version = Version(0x0302);
    pub(crate) const TLS12: Version = Version(0x0303);
    pub(crate) const TLS13: Version = Version(0x0304);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Version::SSL2 => f.write_str("SSLv2"),
            Version::SSL3 => f.write_str("SSLv3"),
            Version::TLS10 => f.write_str("TLS 1.0"),
            Version::TLS11 => f.write_str("TLS 1.1"),
            Version::TLS12 => f.write_str("TLS 1.2"),
            Version::TLS13 => f.write_str("TLS 1.3"),
            Version(other) => write!(f, "version 0x{other:04X}"),
        }
    }
}

/// What stands at the front of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// So far it may be a hello: more bytes are needed, which are fewer than [`MAX_HELLO`] in all.
    Incomplete,
    /// The client speaks something else.
    NotTls,
    /// It begins as TLS does, and is no hello that can be read.
    Malformed(Fault),
    /// A whole hello; what stands behind it was not looked at.
    Hello(Box<Hello>),
}

/// Why a hello cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record is empty, too long, or no handshake record.
    Record,
    /// The first message is another one.
    OtherMessage,
    /// It would be longer than [`MAX_HELLO`].
    TooLong,
    /// A length in it contradicts another.
    Lengths,
    /// It has an extension twice (RFC 8446, section 4.2).
    Repeated,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Record => "one of its records is empty, too long, or of another kind",
            Fault::OtherMessage => "the first message is no ClientHello",
            Fault::TooLong => "the ClientHello is longer than 64 KiB",
            Fault::Lengths => "a length in the ClientHello contradicts another",
            Fault::Repeated => "the ClientHello has an extension twice",
        })
    }
}

/// How a hello is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In records of SSLv3 and TLS, the first of which says this version.
    Records(Version),
    /// As SSLv2's CLIENT-HELLO (RFC 5246, appendix E.2): it has neither extensions nor compression.
    Ssl2,
}

/// What a client shows of an earlier session, by a ticket (RFC 5077).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// It knows no tickets.
    Unknown,
    /// It would take one.
    Wanted,
    /// It has one.
    Shown,
}

/// What a client offers. Reserved values without a meaning (RFC 8701) are left out everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) form: Form,
    /// What the hello itself says; TLS 1.3 says 1.2 there.
    pub(crate) legacy_version: Version,
    /// The extension of that name; `None` if it is absent, as in each client older than TLS 1.3.
    pub(crate) supported_versions: Option<Vec<Version>>,
    /// In the client's order, without the signals. SSLv2's own suites are left out.
    pub(crate) suites: Vec<u16>,
    /// The client has tried a later version before (RFC 7507).
    pub(crate) fallback: bool,
    /// It knows secure renegotiation, by the signal or by the extension (RFC 5746).
    pub(crate) secure_renegotiation: bool,
    /// 0 is none, 1 is DEFLATE (RFC 3749).
    pub(crate) compression: Vec<u8>,
    /// Empty if no session is to be resumed by it; TLS 1.3 sends one in any case.
    pub(crate) session_id: Vec<u8>,
    /// The types of all extensions, in the client's order; empty if it has none.
    pub(crate) extensions: Vec<u16>,
    /// SNI; what is no visible ASCII character is escaped.
    pub(crate) server_name: Option<String>,
    /// `None` if the client does not say (RFC 8422, RFC 8446).
    pub(crate) groups: Option<Vec<u16>>,
    /// `None` if the client does not say, as before TLS 1.2.
    pub(crate) signature_schemes: Option<Vec<u16>>,
    pub(crate) ticket: Ticket,
    /// The identities of pre-shared keys, among them the tickets of TLS 1.3; empty if there are none.
    pub(crate) identities: Vec<Vec<u8>>,
    /// Pre-shared keys may go with a fresh key exchange (psk_dhe_ke).
    pub(crate) psk_with_exchange: bool,
    /// ALPN, escaped as `server_name` is; empty if it is absent.
    pub(crate) protocols: Vec<String>,
}

impl Hello {
    /// The latest version that the client may speak; `None` if there is none of those that have a name.
    pub(crate) fn highest_version(&self) -> Option<Version> {
        match &self.supported_versions {
            None => Some(self.legacy_version.min(Version::TLS12)),
            Some(versions) => {
                let known = versions.iter().copied();
                known.filter(|version| *version <= Version::TLS13).max()
            }
        }
    }

    /// Whether the client may speak `version`. Without the extension a client does not say which older
    /// ones it refuses.
    pub(crate) fn may_speak(&self, version: Version) -> bool {
        match &self.supported_versions {
            None => version <= self.legacy_version.min(Version::TLS12),
            Some(versions) => versions.contains(&version),
        }
    }
}

/// How far a hello has come in, so that one in small pieces is not read anew for each.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    /// Where the first record begins that was not whole.
    next: usize,
    /// How much of the message was in those before it.
    seen: usize,
    /// Its first bytes, which say its length.
    head: [u8; 4],
}

impl Arriving {
    /// Whether [`read`] says more of `input` than that it is incomplete. Between calls nothing may be taken
    /// from it.
    pub(crate) fn is_worth_reading(&mut self, input: &[u8]) -> bool {
        // SSLv2's form has its length in front; all else is told at once.
        if input.len() >= MAX_HELLO || !matches!(input, [] | [22] | [22, 3, ..]) {
            return true;
        }
        loop {
            let rest = input.get(self.next..).unwrap_or_default();
            let Some((&[kind, major, _, high, low], behind)) = rest.split_first_chunk::<HEADER>()
            else {
                return rest.first().is_some_and(|kind| *kind != 22);
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if kind != 22 || major != 3 || !(1..=MAX_PLAIN).contains(&length) {
                return true;
            }
            let fragment = behind.get(..length).unwrap_or(behind);
            let head = self.head.iter_mut().skip(self.seen);
            head.zip(fragment).for_each(|(place, byte)| *place = *byte);
            let seen = self.seen + fragment.len();
            let [kind, a, b, c] = self.head;
            let whole = self.head.len() + u32::from_be_bytes([0, a, b, c]) as usize;
            let tells = seen >= self.head.len() && (seen >= whole || whole > MAX_HELLO);
            if tells || seen > 0 && kind != 1 {
                return true;
            }
            if behind.len() < length {
                return false;
            }
            (self.next, self.seen) = (self.next + HEADER + length, seen);
        }
    }
}

/// Reads the hello at the front of `input`, all that the client has said so far.
pub(crate) fn read(input: &[u8]) -> Reading {
    let reading = match input {
        [] | [22] => Reading::Incomplete,
        [22, 3, ..] => from_records(input),
        [first, rest @ ..] if first & 0x80 != 0 => from_ssl2(rest, *first),
        _ => Reading::NotTls,
    };
    match reading {
        Reading::Incomplete if input.len() >= MAX_HELLO => Reading::Malformed(Fault::TooLong),
        reading => reading,
    }
}

/// Joins the message from its records.
fn from_records(input: &[u8]) -> Reading {
    let mut message = Vec::new();
    let mut rest = input;
    loop {
        let Some((&[kind, major, _, high, low], behind)) = rest.split_first_chunk::<HEADER>()
        else {
            return match rest.first() {
                Some(kind) if *kind != 22 => Reading::Malformed(Fault::Record),
                _ => Reading::Incomplete,
            };
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != 22 || major != 3 || !(1..=MAX_PLAIN).contains(&length) {
            return Reading::Malformed(Fault::Record);
        }
        let whole = behind.split_at_checked(length);
        message.extend_from_slice(whole.map_or(behind, |(fragment, _)| fragment));
        match content(&message) {
            Content::Whole(content) => {
                let form = Form::Records(Version(u16::from_be_bytes([input[1], input[2]])));
                return or_fault(parse(content, form));
            }
            Content::Never(fault) => return Reading::Malformed(fault),
            Content::Part => {}
        }
        match whole {
            Some((_, behind)) => rest = behind,
            None => return Reading::Incomplete,
        }
    }
}

/// How much of the first handshake message is there.
enum Content<'a> {
    Part,
    Whole(&'a [u8]),
    Never(Fault),
}

fn content(message: &[u8]) -> Content<'_> {
    match message {
        [kind, ..] if *kind != 1 => Content::Never(Fault::OtherMessage),
        [_, a, b, c, content @ ..] => {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            match content.get(..length) {
                Some(content) => Content::Whole(content),
                None if length > MAX_HELLO => Content::Never(Fault::TooLong),
                None => Content::Part,
            }
        }
        _ => Content::Part,
    }
}

fn or_fault(parsed: Result<Hello, Fault>) -> Reading {
    match parsed {
        Ok(hello) => Reading::Hello(Box::new(hello)),
        Err(fault) => Reading::Malformed(fault),
    }
}

/// `rest` is what stands behind the first byte of the length.
fn from_ssl2(rest: &[u8], high: u8) -> Reading {
    // MSG-CLIENT-HELLO, and a version that there is: no protocol of text begins like this.
    let looks_like_it = match rest {
        [] | [_] => true,
        [_, kind] => *kind == 1,
        [_, kind, major] => *kind == 1 && (*major == 0 || *major == 3),
        [_, kind, major, minor, ..] => *kind == 1 && (*major == 3 || [*major, *minor] == [0, 2]),
    };
    if !looks_like_it {
        return Reading::NotTls;
    }
    // Whatever the length says, nothing is judged before the version is there.
    let [low, rest @ ..] = rest else {
        return Reading::Incomplete;
    };
    if rest.len() < 3 {
        return Reading::Incomplete;
    }
    let length = usize::from(u16::from_be_bytes([high & 0x7f, *low]));
    match rest.get(..length) {
        Some(message) => or_fault(parse_ssl2(message)),
        None => Reading::Incomplete,
    }
}

/// The content of a ClientHello (RFC 8446, section 4.1.2).
fn parse(content: &[u8], form: Form) -> Result<Hello, Fault> {
    let mut content = Bytes(content);
    let mut hello = Hello::new(form, Version(content.number()?));
    content.take(32)?;
    hello.session_id = content.short_block()?.to_vec();
    for suite in Bytes(content.block()?).numbers()? {
        hello.add_suite(suite);
    }
    hello.compression = content.short_block()?.to_vec();
    // SSLv3 and plain TLS 1.0 end here.
    if content.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Bytes(content.block()?);
    content.end()?;
    while !extensions.0.is_empty() {
        let (kind, content) = (extensions.number()?, extensions.block()?);
        if hello.extensions.contains(&kind) {
            return Err(Fault::Repeated);
        }
        if is_grease(kind) {
            continue;
        }
        hello.extensions.push(kind);
        hello.add_extension(kind, Bytes(content))?;
    }
    Ok(hello)
}

/// SSLv2's CLIENT-HELLO behind its length (RFC 5246, appendix E.2).
fn parse_ssl2(message: &[u8]) -> Result<Hello, Fault> {
    let mut message = Bytes(message);
    message.take(1)?;
    let mut hello = Hello::new(Form::Ssl2, Version(message.number()?));
    let mut length = || message.number().map(usize::from);
    let (suites, session_id, challenge) = (length()?, length()?, length()?);
    let (suites, rest) = message.take(suites)?.as_chunks();
    hello.session_id = message.take(session_id)?.to_vec();
    message.take(challenge)?;
    message.end()?;
    Bytes(rest).end()?;
    for &[own, high, low] in suites {
        // Where the first byte is not 0 it is a suite of SSLv2 alone.
        if own == 0 {
            hello.add_suite(u16::from_be_bytes([high, low]));
        }
    }
    hello.compression = vec![0];
    Ok(hello)
}

impl Hello {
    fn new(form: Form, legacy_version: Version) -> Hello {
        Hello {
            form,
            legacy_version,
            supported_versions: None,
            suites: Vec::new(),
            fallback: false,
            secure_renegotiation: false,
            compression: Vec::new(),
            session_id: Vec::new(),
            extensions: Vec::new(),
            server_name: None,
            groups: None,
            signature_schemes: None,
            ticket: Ticket::Unknown,
            identities: Vec::new(),
            psk_with_exchange: false,
            protocols: Vec::new(),
        }
    }

    fn add_suite(&mut self, suite: u16) {
        match suite {
            RENEGOTIATION_SCSV => self.secure_renegotiation = true,
            FALLBACK_SCSV => self.fallback = true,
            suite if is_grease(suite) => {}
            suite => self.suites.push(suite),
        }
    }

    fn add_extension(&mut self, kind: u16, mut content: Bytes<'_>) -> Result<(), Fault> {
        match kind {
            // server_name (RFC 6066, section 3): a list, of which host_name is the only kind.
            0 => {
                let mut names = Bytes(content.block()?);
                while !names.0.is_empty() {
                    let (kind, name) = (names.take(1)?, names.block()?);
                    if kind == [0] && self.server_name.is_none() {
                        self.server_name = Some(name.escape_ascii().to_string());
                    }
                }
            }
            // supported_groups (RFC 8422, section 5.1.1)
            10 => self.groups = Some(Bytes(content.block()?).meaningful()?),
            // signature_algorithms (RFC 8446, section 4.2.3)
            13 => self.signature_schemes = Some(Bytes(content.block()?).meaningful()?),
            // application_layer_protocol_negotiation (RFC 7301, section 3.1)
            16 => {
                let mut names = Bytes(content.block()?);
                while !names.0.is_empty() {
                    let name = names.short_block()?;
                    let grease = matches!(name, &[a, b] if is_grease(u16::from_be_bytes([a, b])));
                    if !grease {
                        self.protocols.push(name.escape_ascii().to_string());
                    }
                }
            }
            // session_ticket (RFC 5077, section 3.2)
            35 => {
                self.ticket = match content.0 {
                    [] => Ticket::Wanted,
                    _ => Ticket::Shown,
                };
                return Ok(());
            }
            // pre_shared_key (RFC 8446, section 4.2.11): identities with their ages, and the binders.
            41 => {
                let mut identities = Bytes(content.block()?);
                while !identities.0.is_empty() {
                    self.identities.push(identities.block()?.to_vec());
                    identities.take(4)?;
                }
                content.block()?;
            }
            // psk_key_exchange_modes (RFC 8446, section 4.2.9)
            45 => self.psk_with_exchange = content.short_block()?.contains(&1),
            // supported_versions (RFC 8446, section 4.2.1)
            43 => {
                let versions = Bytes(content.short_block()?).meaningful()?;
                self.supported_versions = Some(versions.into_iter().map(Version).collect());
            }
            // renegotiation_info (RFC 5746, section 3.2)
            0xff01 => {
                self.secure_renegotiation = true;
                return Ok(());
            }
            _ => return Ok(()),
        }
        content.end()
    }
}

/// Reserved values without a meaning (RFC 8701).
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

#[cfg(test)]
mod tests;

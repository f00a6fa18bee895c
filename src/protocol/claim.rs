//! Reads the PROXY header (haproxy's proxy-protocol.txt), versions 1 and 2, with which a balancer names its
//! client. Never in here: whether it may say so; and a byte behind the header.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::proxy::{
    CLIENT_CERT_CONN, CLIENT_CERT_SESS, CLIENT_SSL, SIGNATURE, Secured, Shown, TCP4, TCP6,
    TLV_ALPN, TLV_AUTHORITY, TLV_SSL, TLV_SSL_CIPHER, TLV_SSL_CN, TLV_SSL_VERSION, TLV_UNIQUE_ID,
};

/// What a balancer says of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Claim {
    /// Its client, or itself.
    pub who: Who,
    /// The name that the client asked for.
    pub authority: Option<String>,
    /// The protocol that was agreed on with it.
    pub alpn: Option<Vec<u8>>,
    /// What the balancer calls the connection.
    pub unique_id: Option<Vec<u8>>,
    /// The client's TLS, which ends at the balancer.
    pub tls: Option<ClaimedTls>,
}

/// For whom a balancer connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Who {
    /// For itself: a health check.
    Itself,
    /// For a client of which no address is known that TCP has.
    #[default]
    Unknown,
    /// For a client, from this address, that it accepted at that one.
    Client(SocketAddr, SocketAddr),
}

/// A client's TLS with the balancer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClaimedTls {
    /// `TLSv1.3`
    pub version: Option<String>,
    /// OpenSSL's name of the suite.
    pub cipher: Option<String>,
    /// The common name in the client's certificate.
    pub name: Option<String>,
    /// Whether it showed one, in this connection.
    shown: bool,
    /// The same, or in the one whose session this is.
    known: bool,
    /// It was verified.
    pub verified: bool,
}

impl Claim {
    /// The client's TLS, as a server behind is told of it.
    pub(crate) fn secured(&self) -> Option<Secured<'_>> {
        let tls = self.tls.as_ref()?;
        Some(Secured {
            version: tls.version.as_deref().unwrap_or_default(),
            cipher: tls.cipher.as_deref().unwrap_or_default(),
            resumed: tls.known && !tls.shown,
            server_name: self.authority.as_deref(),
            alpn: self.alpn.as_deref(),
            certificate: (tls.shown || tls.known).then_some(Shown {
                verified: tls.verified,
                name: tls.name.as_deref(),
            }),
        })
    }
}

/// Why a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// TLS began.
    Tls,
    /// Something else came, or a line that is not as version 1 has it.
    Other(&'static str),
    /// It is longer than any.
    TooLong,
    /// Its checksum is that of another.
    Checksum,
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoHeader::Tls => f.write_str("TLS begins without one"),
            NoHeader::Other(what) => f.write_str(what),
            NoHeader::TooLong => write!(f, "it is longer than {LONGEST} bytes"),
            NoHeader::Checksum => f.write_str("its checksum is wrong"),
        }
    }
}

/// The longest header in bytes: haproxy's buffer. What is longer would only be memory for a stranger's certificates.
const LONGEST: usize = 16 * 1024;
/// The longest line of version 1, its end counted.
const LONGEST_LINE: usize = 107;
/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// The head of version 2: signature, command, family, length.
const HEAD: usize = 16;
/// The longest name of a version or of a suite: longer than any, and both have room in what is sent on.
const WORD_MAX: usize = 48;
/// The longest identifier.
const LONGEST_ID: usize = 128;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Families whose addresses say nothing about TCP: UDP, and Unix sockets; and the length of both addresses.
const OTHER_FAMILIES: [(u8, usize); 4] = [(0x12, 12), (0x22, 36), (0x31, 216), (0x32, 216)];
const TLV_CRC32C: u8 = 0x03;

/// Reads what a balancer says first. `None`: the header is not whole yet; else the claim, and its length in bytes.
///
/// # Errors
/// It is no header.
pub(crate) fn read(words: &[u8]) -> Result<Option<(Claim, usize)>, NoHeader> {
    match words {
        [] => Ok(None),
        [first, ..] if *first == SIGNATURE[0] => binary(words),
        [first, ..] if *first == WORD[0] => text(words),
        [0x16, ..] => Err(NoHeader::Tls),
        _ => Err(NoHeader::Other("something else came")),
    }
}

/// Whether a header begins so, of which version does not matter.
pub(crate) fn begins_so(words: &[u8]) -> bool {
    words.starts_with(SIGNATURE) || words.starts_with(WORD)
}

fn begin_alike(words: &[u8], expected: &[u8]) -> bool {
    words.iter().zip(expected).all(|(one, other)| one == other)
}

/// Version 1.
fn text(words: &[u8]) -> Result<Option<(Claim, usize)>, NoHeader> {
    if !begin_alike(words, WORD) {
        return Err(NoHeader::Other("something else came"));
    }
    let line = &words[..words.len().min(LONGEST_LINE)];
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        return match line.len() < LONGEST_LINE {
            true => Ok(None),
            false => Err(NoHeader::Other("its line is longer than 107 bytes")),
        };
    };
    let line = std::str::from_utf8(&line[..end]);
    let line = line.map_err(|_| NoHeader::Other("its line is no text"))?;
    let fields: Vec<&str> = line.split(' ').skip(1).collect();
    let who = match fields[..] {
        // Whatever follows says nothing.
        ["UNKNOWN", ..] => Who::Unknown,
        ["TCP4", from, to, source, own] => {
            let address = |ip: &str| ip.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
            client(address(from), address(to), source, own)?
        }
        ["TCP6", from, to, source, own] => {
            let address = |ip: &str| ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
            client(address(from), address(to), source, own)?
        }
        _ => {
            return Err(NoHeader::Other(
                "its line is neither TCP4 nor TCP6 with two addresses and two ports, nor UNKNOWN",
            ));
        }
    };
    let claim = Claim {
        who,
        ..Claim::default()
    };
    Ok(Some((claim, end + 2)))
}

fn client(
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    source: &str,
    own: &str,
) -> Result<Who, NoHeader> {
    // Without leading zeros, and nothing but digits.
    let port = |text: &str| {
        let port: Option<u16> = text.parse().ok();
        port.filter(|port| port.to_string() == text)
    };
    let (Some(from), Some(to)) = (from, to) else {
        return Err(NoHeader::Other("an address in its line is none"));
    };
    let (Some(source), Some(own)) = (port(source), port(own)) else {
        return Err(NoHeader::Other("a port in its line is none"));
    };
    possible(SocketAddr::new(from, source), SocketAddr::new(to, own))
}

/// No client has an address that stands for none, or for many.
fn possible(from: SocketAddr, to: SocketAddr) -> Result<Who, NoHeader> {
    let ip = from.ip().to_canonical();
    match ip.is_unspecified() || ip.is_multicast() {
        true => Err(NoHeader::Other("no client has the address that it names")),
        false => Ok(Who::Client(from, to)),
    }
}

/// Version 2.
fn binary(words: &[u8]) -> Result<Option<(Claim, usize)>, NoHeader> {
    if !begin_alike(words, SIGNATURE) {
        return Err(NoHeader::Other("something else came"));
    }
    let Some((head, rest)) = words.split_at_checked(HEAD) else {
        return Ok(None);
    };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if HEAD + length > LONGEST {
        return Err(NoHeader::TooLong);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let whole = &words[..HEAD + length];
    let claim = match command {
        // What stands in it is to be passed over.
        LOCAL => Claim {
            who: Who::Itself,
            ..Claim::default()
        },
        PROXY => claim(family, body, whole)?,
        _ if command >> 4 != 2 => {
            return Err(NoHeader::Other("its version is neither 1 nor 2"));
        }
        _ => return Err(NoHeader::Other("its command is neither LOCAL nor PROXY")),
    };
    Ok(Some((claim, whole.len())))
}

fn claim(family: u8, body: &[u8], whole: &[u8]) -> Result<Claim, NoHeader> {
    let cut = NoHeader::Other("it ends in the middle of its addresses");
    let other = OTHER_FAMILIES.iter().find(|(other, _)| *other == family);
    let (who, values) = match (family, other) {
        (0, _) => (Who::Unknown, body),
        (TCP4, _) => {
            let (from, rest) = body.split_first_chunk::<4>().ok_or(cut)?;
            let (to, rest) = rest.split_first_chunk::<4>().ok_or(cut)?;
            let (ports, values) = rest.split_first_chunk::<4>().ok_or(cut)?;
            (addressed([*from, *to].map(IpAddr::from), *ports)?, values)
        }
        (TCP6, _) => {
            let (from, rest) = body.split_first_chunk::<16>().ok_or(cut)?;
            let (to, rest) = rest.split_first_chunk::<16>().ok_or(cut)?;
            let (ports, values) = rest.split_first_chunk::<4>().ok_or(cut)?;
            (addressed([*from, *to].map(IpAddr::from), *ports)?, values)
        }
        (_, Some((_, length))) => (Who::Unknown, body.get(*length..).ok_or(cut)?),
        (_, None) => return Err(NoHeader::Other("its family of addresses is none")),
    };
    told(who, values, whole)
}

fn addressed([from, to]: [IpAddr; 2], ports: [u8; 4]) -> Result<Who, NoHeader> {
    let [a, b, c, d] = ports;
    let (source, own) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    possible(SocketAddr::new(from, source), SocketAddr::new(to, own))
}

/// The claim with what stands behind the addresses.
fn told(who: Who, values: &[u8], whole: &[u8]) -> Result<Claim, NoHeader> {
    let mut claim = Claim {
        who,
        ..Claim::default()
    };
    let mut checksum = None;
    for value in Values(values) {
        let (kind, value) = value?;
        match kind {
            TLV_ALPN => claim.alpn = Some(value.to_vec()).filter(|alpn| !alpn.is_empty()),
            TLV_AUTHORITY => claim.authority = text_of(value),
            // Each would be a look at the whole header, and the sum is over one place for it.
            TLV_CRC32C if checksum.is_some() => {
                return Err(NoHeader::Other("it has two checksums"));
            }
            TLV_CRC32C => checksum = Some(value),
            TLV_UNIQUE_ID if value.len() > LONGEST_ID => {
                return Err(NoHeader::Other("its identifier is longer than 128 bytes"));
            }
            TLV_UNIQUE_ID => claim.unique_id = Some(value.to_vec()),
            TLV_SSL => claim.tls = secured(value)?,
            _ => {}
        }
    }
    if let Some(value) = checksum {
        verify(value, whole)?;
    }
    Ok(claim)
}

/// A value that is a text; others say nothing.
fn text_of(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn secured(value: &[u8]) -> Result<Option<ClaimedTls>, NoHeader> {
    let cut = NoHeader::Other("what it says of TLS is cut short");
    let ([client, verify @ ..], values) = value.split_first_chunk::<5>().ok_or(cut)?;
    let mut tls = ClaimedTls {
        shown: client & CLIENT_CERT_CONN != 0,
        known: client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0,
        ..ClaimedTls::default()
    };
    // It is zero without a certificate as well.
    tls.verified = tls.known && *verify == [0; 4];
    for value in Values(values) {
        let (kind, value) = value?;
        match kind {
            TLV_SSL_VERSION => tls.version = text_of(value).filter(|text| text.len() <= WORD_MAX),
            TLV_SSL_CIPHER => tls.cipher = text_of(value).filter(|text| text.len() <= WORD_MAX),
            TLV_SSL_CN => tls.name = text_of(value),
            _ => {}
        }
    }
    Ok((client & CLIENT_SSL != 0).then_some(tls))
}

/// Types, lengths and values.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Result<(u8, &'a [u8]), NoHeader>;

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length, rest) = match std::mem::take(&mut self.0) {
            [] => return None,
            [kind, high, low, rest @ ..] => (*kind, u16::from_be_bytes([*high, *low]), rest),
            _ => return Some(Err(CUT_VALUE)),
        };
        Some(match rest.split_at_checked(length.into()) {
            Some((value, rest)) => {
                self.0 = rest;
                Ok((kind, value))
            }
            None => Err(CUT_VALUE),
        })
    }
}

const CUT_VALUE: NoHeader = NoHeader::Other("it ends in the middle of a value");

/// The checksum is over the whole header, with zeros in its own place.
fn verify(value: &[u8], whole: &[u8]) -> Result<(), NoHeader> {
    let Ok(told) = <[u8; 4]>::try_from(value) else {
        return Err(NoHeader::Other("its checksum has not four bytes"));
    };
    let place = value.as_ptr() as usize - whole.as_ptr() as usize;
    let zeroed = |nth: usize| (place..place + 4).contains(&nth);
    let bytes = whole.iter().enumerate();
    let sum = bytes.fold(u32::MAX, |sum, (nth, byte)| {
        let byte = if zeroed(nth) { 0 } else { *byte };
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            // RFC 4960, appendix B: the polynomial, its bits reversed.
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    });
    match !sum == u32::from_be_bytes(told) {
        true => Ok(()),
        false => Err(NoHeader::Checksum),
    }
}

/// What `fuzz/` does with this room: a header stays the same however it is cut into pieces and whatever is behind it, and
/// what is sent on of it is read back.
#[cfg(fuzzing)]
pub(crate) fn fuzz(words: &[u8]) {
    use super::Introduction;
    use super::proxy::binary as sent;

    let read_whole = read(words);
    let until = match &read_whole {
        Ok(Some((_, length))) => *length,
        Ok(None) | Err(_) => words.len(),
    };
    assert!(until <= words.len());
    let first = (0..=until).map(|end| (end, read(&words[..end])));
    let decided = first.into_iter().find(|(_, read)| *read != Ok(None));
    let agree = match (&read_whole, &decided) {
        (Ok(None), None) => true,
        (Ok(Some(_)), Some((end, read))) => *end == until && *read == read_whole,
        // Of two faults the one that shows first is told.
        (Err(_), Some((_, read))) => read.is_err(),
        _ => false,
    };
    assert!(agree, "{read_whole:?}, in pieces {decided:?}");
    if let Ok(Some((claim, _))) = read_whole
        && let Who::Client(from, to) = claim.who
    {
        let header = sent(&Introduction {
            addresses: Some((from, to)),
            tls: claim.secured(),
            unique_id: claim.unique_id.as_deref(),
        });
        let again = read(&header);
        assert!(again.is_ok_and(|again| {
            again.is_some_and(|(again, length)| {
                let Who::Client(same, own) = again.who else {
                    return false;
                };
                let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
                length == header.len()
                    && canonical(same) == canonical(from)
                    && canonical(own) == canonical(to)
                    && again.tls.is_some() == claim.tls.is_some()
            })
        }));
    }
}

//! The PROXY protocol (haproxy's proxy-protocol.txt), versions 1 and 2: a header that tells the server where the
//! client comes from, and in version 2 what its TLS is. Never in here: an address that is not known, or LOCAL, for
//! which a server takes the client for its own.

use std::net::{IpAddr, SocketAddr};

use super::{Action, Dialogue, Event, Progress, ProtocolError, Side};
use crate::config::ProxyVersion;

/// What a server is told of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Introduction<'a> {
    /// Its own address and the one it connected to; `None` for a Unix socket.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Its TLS.
    pub tls: Option<Secured<'a>>,
    /// What a balancer in front calls the connection.
    pub unique_id: Option<&'a [u8]>,
}

/// A client's TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Secured<'a> {
    /// `TLSv1.3`
    pub version: &'a str,
    /// OpenSSL's name of the suite.
    pub cipher: &'a str,
    /// An earlier session goes on.
    pub resumed: bool,
    /// The name that the client asked for.
    pub server_name: Option<&'a str>,
    /// The protocol that was agreed on.
    pub alpn: Option<&'a [u8]>,
    /// Its certificate.
    pub certificate: Option<Shown<'a>>,
}

/// A client's certificate, shown in this handshake or in the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    /// It was verified.
    pub verified: bool,
    /// Its common name.
    pub name: Option<&'a str>,
}

/// Says the header.
#[derive(Debug)]
pub(super) struct Header(Option<Vec<u8>>);

impl Header {
    pub(super) fn new(version: ProxyVersion, introduction: &Introduction<'_>) -> Header {
        Header(Some(match version {
            ProxyVersion::V1 => text(introduction),
            ProxyVersion::V2 => binary(introduction),
        }))
    }

    /// Of a client that nothing was told of: an error when it is to be said, never `UNKNOWN`.
    pub(super) fn unsaid() -> Header {
        Header(None)
    }
}

impl Dialogue for Header {
    fn feed(
        &mut self,
        _event: Event<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Progress, ProtocolError> {
        let header = self.0.take().ok_or(ProtocolError::Over)?;
        out.push(Action::Send(Side::Back, header));
        Ok(Progress::Next)
    }

    fn take_rest(&mut self, _side: Side) -> Vec<u8> {
        Vec::new()
    }

    fn hears(&self, _side: Side) -> bool {
        false
    }

    #[cfg(test)]
    fn held(&self, _side: Side) -> usize {
        0
    }
}

/// Both addresses in one family: IPv4 if both are, also where they are written as IPv6.
fn in_one_family((from, to): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let canonical = [from, to].map(|address| address.ip().to_canonical());
    let same = canonical[0].is_ipv4() == canonical[1].is_ipv4();
    let [client, own] = match same {
        true => canonical,
        false => [from, to].map(|address| match address.ip() {
            IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
            v6 @ IpAddr::V6(_) => v6,
        }),
    };
    (
        SocketAddr::new(client, from.port()),
        SocketAddr::new(own, to.port()),
    )
}

/// Version 1, a line.
fn text(introduction: &Introduction<'_>) -> Vec<u8> {
    let line = match introduction.addresses.map(in_one_family) {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((from, to)) => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            let (client, own) = (from.ip(), to.ip());
            format!(
                "PROXY {family} {client} {own} {} {}\r\n",
                from.port(),
                to.port()
            )
        }
    };
    line.into_bytes()
}

/// The longest header in bytes. Apache 2.4.71 closes a connection that begins with one of 233, lighttpd 1.4.69 with one of 257.
const LONGEST: usize = 232;
/// What version 2 begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, the command PROXY.
const PROXY: u8 = 0x21;
/// AF_UNSPEC; TCP over IPv4; TCP over IPv6.
const UNKNOWN: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;

pub(super) const TLV_ALPN: u8 = 0x01;
pub(super) const TLV_AUTHORITY: u8 = 0x02;
pub(super) const TLV_UNIQUE_ID: u8 = 0x05;
pub(super) const TLV_SSL: u8 = 0x20;
pub(super) const TLV_SSL_VERSION: u8 = 0x21;
pub(super) const TLV_SSL_CN: u8 = 0x22;
pub(super) const TLV_SSL_CIPHER: u8 = 0x23;

/// The client speaks TLS; it showed a certificate in this connection; or in this session.
pub(super) const CLIENT_SSL: u8 = 0x01;
pub(super) const CLIENT_CERT_CONN: u8 = 0x02;
pub(super) const CLIENT_CERT_SESS: u8 = 0x04;

pub(super) fn binary(introduction: &Introduction<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match introduction.addresses.map(in_one_family) {
        None => UNKNOWN,
        Some((from, to)) => {
            for address in [from, to] {
                match address.ip() {
                    IpAddr::V4(ip) => body.extend(ip.octets()),
                    IpAddr::V6(ip) => body.extend(ip.octets()),
                }
            }
            body.extend(from.port().to_be_bytes());
            body.extend(to.port().to_be_bytes());
            if from.is_ipv4() { TCP4 } else { TCP6 }
        }
    };
    let room = LONGEST - SIGNATURE.len() - 4 - body.len();
    let tls = introduction.tls.as_ref();
    let tls = tls.map_or_else(Vec::new, |tls| briefly(tls, room));
    let mut id = Vec::new();
    if let Some(unique_id) = introduction.unique_id {
        add(&mut id, TLV_UNIQUE_ID, unique_id);
    }
    // What servers decide by comes first.
    if id.len() + tls.len() <= room {
        body.extend(id);
    }
    body.extend(tls);
    let length = u16::try_from(body.len()).unwrap_or_default().to_be_bytes();
    [&SIGNATURE[..], &[PROXY, family], &length, &body].concat()
}

/// A client's TLS in at most `room` bytes. Where that is too little the protocol goes first, then the name that the
/// client asked for, then the one in its certificate. That it speaks TLS, and whether it was verified, always stays.
fn briefly(tls: &Secured<'_>, room: usize) -> Vec<u8> {
    let without_alpn = Secured { alpn: None, ..*tls };
    let without_names = Secured {
        server_name: None,
        ..without_alpn
    };
    let nameless = Secured {
        certificate: tls.certificate.map(|shown| Shown {
            name: None,
            ..shown
        }),
        ..without_names
    };
    [tls, &without_alpn, &without_names, &nameless]
        .into_iter()
        .map(told)
        .find(|values| values.len() <= room)
        .unwrap_or_default()
}

fn told(tls: &Secured<'_>) -> Vec<u8> {
    let mut values = Vec::new();
    if let Some(alpn) = tls.alpn {
        add(&mut values, TLV_ALPN, alpn);
    }
    if let Some(name) = tls.server_name {
        add(&mut values, TLV_AUTHORITY, name.as_bytes());
    }
    add(&mut values, TLV_SSL, &secured(tls));
    values
}

fn secured(tls: &Secured<'_>) -> Vec<u8> {
    let certificate = match (&tls.certificate, tls.resumed) {
        (None, _) => 0,
        (Some(_), false) => CLIENT_CERT_CONN | CLIENT_CERT_SESS,
        (Some(_), true) => CLIENT_CERT_SESS,
    };
    // Zero for a certificate that was verified, and for nothing else.
    let verified = tls.certificate.is_some_and(|shown| shown.verified);
    let mut value = vec![CLIENT_SSL | certificate, 0, 0, 0, u8::from(!verified)];
    add(&mut value, TLV_SSL_VERSION, tls.version.as_bytes());
    let name = tls.certificate.and_then(|shown| shown.name);
    // One beyond any header would take the value that it stands in beyond what a length can tell.
    if let Some(name) = name.filter(|name| name.len() < LONGEST) {
        add(&mut value, TLV_SSL_CN, name.as_bytes());
    }
    add(&mut value, TLV_SSL_CIPHER, tls.cipher.as_bytes());
    value
}

/// Appends a type, a length and a value; nothing for one that no length can tell.
fn add(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()) {
        to.push(kind);
        to.extend(length.to_be_bytes());
        to.extend(value);
    }
}

//! Values that options of several kinds share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::option::Fault;

/// Where a value was written: a file and its line, an `ADIT_*` variable, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's path as it was named, or `environment variable ADIT_X`, or `flag --x`.
    pub place: Arc<str>,
    /// The line, from 1; 0 where there is none (environment, flags).
    pub line: u32,
    /// The line as it was written, for messages; a secret's value is blotted out.
    pub text: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.place),
            line => write!(f, "{}:{line}", self.place),
        }
    }
}

/// Where each option that was given was written, by its canonical name (`CAfile`). An option that
/// may be repeated has a place for each time, in order. `""` is the section's own line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(BTreeMap<&'static str, Vec<Origin>>);

impl Origins {
    /// None given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the place where `option` was given (again).
    pub fn insert(&mut self, option: &'static str, origin: Origin) {
        self.0.entry(option).or_default().push(origin);
    }

    /// Forgets that `option` was given.
    pub(super) fn remove(&mut self, option: &str) {
        self.0.remove(option);
    }

    /// Where the value that counts was given: the last place.
    pub fn get(&self, option: &str) -> Option<&Origin> {
        self.all(option).last()
    }

    /// Every place where `option` was given, in order: the n-th `accept` stands at index n.
    pub fn all(&self, option: &str) -> &[Origin] {
        self.0.get(option).map_or(&[], Vec::as_slice)
    }

    /// Where the section begins; `None` in the global part.
    pub fn section(&self) -> Option<&Origin> {
        self.get("")
    }

    /// Whether `option` was given at all.
    pub fn has(&self, option: &str) -> bool {
        self.0.contains_key(option)
    }
}

/// An address as the configuration writes it; names are resolved later, by the resolver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `port`, `host:port`, `:::port`, `[v6]:port`. Without a host: for `accept` every IPv4 address,
    /// and every IPv6 one where the system keeps the families apart; loopback for `connect`.
    Tcp {
        /// A name or an address in text, without brackets.
        host: Option<String>,
        /// The port; 0 asks the kernel for a free one (`accept` and `redirect` only).
        port: u16,
    },
    /// `/unix/socket/path`
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host: None, port } => write!(f, "{port}"),
            Endpoint::Tcp {
                host: Some(host),
                port,
            } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Endpoint::Tcp {
                host: Some(host),
                port,
            } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Longest path that fits into `sun_path` with its NUL (unix(7)).
const UNIX_PATH_MAX: usize = 107;

/// Services whose names stand for ports in stunnel.conf files, from IANA's registry. stunnel asks
/// getservbyname(3); this process opens no file for it, and these do not change.
const SERVICE_PORTS: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("http", 80),
    ("pop3", 110),
    ("nntp", 119),
    ("imap", 143),
    ("imap2", 143),
    ("ldap", 389),
    ("https", 443),
    ("submissions", 465),
    ("smtps", 465),
    ("ssmtp", 465),
    ("urd", 465),
    ("nntps", 563),
    ("submission", 587),
    ("ldaps", 636),
    ("rsync", 873),
    ("ftps", 990),
    ("telnets", 992),
    ("imaps", 993),
    ("pop3s", 995),
    ("mysql", 3306),
    ("sieve", 4190),
    ("xmpp-client", 5222),
    ("postgresql", 5432),
    ("http-alt", 8080),
];

impl Endpoint {
    /// Reads an address. `zero` says whether port 0 has a meaning.
    ///
    /// # Errors
    /// No port, a port out of range, a host that can be neither a name nor an address, a Unix
    /// path that is too long.
    pub(super) fn parse(text: &str, zero: bool) -> Result<Endpoint, Fault> {
        if text.starts_with('/') {
            if text.len() > UNIX_PATH_MAX {
                return Err(Fault::new("Unix socket path is too long").help(format!(
                    "at most {UNIX_PATH_MAX} bytes; this one has {}",
                    text.len()
                )));
            }
            return Ok(Endpoint::Unix(PathBuf::from(text)));
        }
        let (host, port) = match text.rsplit_once(':') {
            // getaddrinfo(3) of glibc takes `*` for no host.
            Some(("*", port)) => (None, port),
            Some((host, port)) => (Some(host_name(host)?), port),
            None => (None, text),
        };
        let port = port_number(port)?;
        if port == 0 && !zero {
            return Err(Fault::new("port 0 cannot be connected to"));
        }
        Ok(Endpoint::Tcp { host, port })
    }
}

fn port_number(text: &str) -> Result<u16, Fault> {
    if let Some(known) = SERVICE_PORTS
        .iter()
        .find(|known| known.0.eq_ignore_ascii_case(text))
    {
        return Ok(known.1);
    }
    // `parse` would take a sign.
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(port) = text.parse()
    {
        return Ok(port);
    }
    Err(Fault::new(format!("`{text}` is not a port")).help(
        "an address is PORT, HOST:PORT, [IPV6]:PORT or /path/of/a/socket; a port is a number \
         from 1 to 65535 or the name of a well-known service",
    ))
}

/// Checks what stands before the last colon of an address.
fn host_name(text: &str) -> Result<String, Fault> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(text);
    if bracketed.is_some() || host.contains(':') {
        // `fe80::1%eth0`: the zone is the resolver's to judge (RFC 4007).
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(host.to_owned()),
            Err(_) => Err(Fault::new(format!("`{host}` is not an IPv6 address"))
                .help("write [2001:db8::1]:993, host:993, or :::993 for every IPv6 address")),
        };
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(fits) {
        return Err(
            Fault::new(format!("`{host}` is not a host name or an address"))
                .help("leave the host and its colon out for the default address"),
        );
    }
    Ok(host.to_owned())
}

/// A value that never reaches a log: its Debug shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

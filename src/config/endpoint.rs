//! Addresses: what `accept` and `connect` take, and which mistake a wrong one is.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::option::Fault;

/// An address as the configuration writes it; names are resolved later, outside the jail.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
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

/// The ports that names of TCP services stand for on this system: getservbyname(3).
pub(super) type Ports = fn(&str) -> Option<u16>;

/// Services whose names stand for ports in stunnel.conf files, from IANA's registry: for systems
/// without /etc/services, as containers often are.
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
    /// path that is too long; the mistake is named where it is a common one.
    pub(super) fn parse(text: &str, zero: bool, ports: Ports) -> Result<Endpoint, Fault> {
        read(text, zero, ports).map_err(|fault| mistake(text, ports).unwrap_or(fault))
    }
}

/// Reads an address as `accept` takes it, for a flag of a command that serves no configuration.
///
/// # Errors
/// As [`Endpoint::parse`], with the remedy in the text.
pub(crate) fn accept_address(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text, true, crate::ports::tcp).map_err(|fault| match fault.help {
        Some(help) => format!("{} ({help})", fault.text),
        None => fault.text,
    })
}

fn read(text: &str, zero: bool, ports: Ports) -> Result<Endpoint, Fault> {
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
    let port = port_number(port, ports)?;
    if port == 0 && !zero {
        return Err(Fault::new("port 0 cannot be connected to")
            .help("give the port that the server listens on, 1 to 65535"));
    }
    Ok(Endpoint::Tcp { host, port })
}

fn port_number(text: &str, ports: Ports) -> Result<u16, Fault> {
    // `parse` would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = match digits {
        true => text.parse().ok(),
        false => service_port(text, ports),
    };
    port.ok_or_else(|| {
        Fault::new(format!("`{text}` is not a port")).help(
            "an address is PORT, HOST:PORT, [IPV6]:PORT or /path/of/a/socket; a port is a number \
             from 1 to 65535 or a name from /etc/services",
        )
    })
}

/// The port of a service's name; as it is written, then in small letters.
fn service_port(name: &str, ports: Ports) -> Option<u16> {
    let known = SERVICE_PORTS
        .iter()
        .find(|known| known.0.eq_ignore_ascii_case(name))
        .map(|known| known.1);
    ports(name)
        .or_else(|| ports(&name.to_ascii_lowercase()))
        .or(known)
}

/// Checks what stands before the last colon of an address.
fn host_name(text: &str) -> Result<String, Fault> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(text);
    if bracketed.is_some() || host.contains(':') {
        // `fe80::1%eth0`: the zone is for the system to judge (RFC 4007).
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(host.to_owned()),
            Err(_) if bracketed.is_none() && host.matches(':').count() == 1 => {
                Err(Fault::new("there is a colon too many").help("an address is HOST:PORT"))
            }
            Err(_) => Err(Fault::new(format!("`{host}` is not an IPv6 address"))
                .help("write [2001:db8::1]:993, host:993, or :::993 for every IPv6 address")),
        };
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(fits) {
        let fault = Fault::new(format!("`{host}` is not a host name or an address"));
        return Err(fault.help(match () {
            () if host.is_empty() => "leave the host and its colon out for the default address",
            () if host.contains(['$', '{', '%']) => {
                "nothing is replaced within a value: write the name itself"
            }
            () => "letters, digits, `.`, `-` and `_` make a name; IPv6 stands in brackets",
        }));
    }
    Ok(host.to_owned())
}

/// What the writer of a wrong address probably had in mind; `None` where nothing is probable.
fn mistake(text: &str, ports: Ports) -> Option<Fault> {
    let right = |text: &str| read(text, true, ports).is_ok();
    let instead = |fault: &str, meant: &str| {
        let fault = Fault::new(fault);
        right(meant).then(|| fault.help(format!("write `{meant}`")))
    };
    if let Some((scheme, rest)) = text.split_once("://") {
        return Some(url(text, scheme, rest, ports));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return instead("an address has no `unix:`", path);
    }
    if text.contains(',') {
        let fault = Fault::new("an address has no comma");
        return Some(fault.help("write HOST:PORT, and each address on a line of its own"));
    }
    if let Some((_, address)) = text.split_once('@') {
        return instead("an address has no user name", address);
    }
    if let Some((address, _)) = text.split_once('/') {
        return instead("an address has no path behind its port", address);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [host, port] = words[..] {
        return instead("an address has no blank", &format!("{host}:{port}"));
    }
    without_port(text, ports)
}

/// A URL in the place of an address.
fn url(text: &str, scheme: &str, rest: &str, ports: Ports) -> Fault {
    let fault = Fault::new(format!("`{text}` is a URL, and not an address"));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let address = rest[..end].to_owned();
    let with_port = match service_port(scheme, ports) {
        Some(port) => format!("{address}:{port}"),
        None => format!("{address}:PORT"),
    };
    let meant = match read(&address, true, ports) {
        Ok(Endpoint::Tcp { host: Some(_), .. }) => address,
        _ => with_port,
    };
    fault.help(format!("write `{meant}`"))
}

/// A host alone. `2001:db8::1` is one too, though its last colon could stand before a port.
fn without_port(text: &str, ports: Ports) -> Option<Fault> {
    let host = text.strip_suffix(':').unwrap_or(text);
    let bare_v6 = host.parse::<Ipv6Addr>().is_ok();
    let known = host.contains('.') || host.starts_with('[') || bare_v6 || host != text;
    let meant = match bare_v6 {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let with_port = format!("{meant}:1");
    let is_host = !host.is_empty() && read(&with_port, true, ports).is_ok();
    if !is_host {
        return None;
    }
    if known {
        let fault = Fault::new(format!("the port is missing behind `{host}`"));
        return Some(fault.help(format!("write `{meant}:PORT`")));
    }
    // A name of a port that the system does not know, or a host without a dot.
    let digits = host.bytes().all(|byte| byte.is_ascii_digit());
    (!digits && !host.contains(':')).then(|| {
        Fault::new(format!("`{host}` is not a port")).help(format!(
            "/etc/services has no such name; if it is a host, write `{host}:PORT`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<u16> {
        [("own-service", 4711), ("https", 443)]
            .iter()
            .find(|known| known.0 == name)
            .map(|known| known.1)
    }

    #[test]
    fn port_names_are_the_systems() {
        for (text, port) in [
            ("own-service", 4711),
            ("OWN-Service", 4711),
            ("imaps", 993),
            ("993", 993),
        ] {
            for text in [text.to_owned(), format!("h:{text}")] {
                let read = Endpoint::parse(&text, false, own);
                assert!(
                    matches!(read, Ok(Endpoint::Tcp { port: read, .. }) if read == port),
                    "{text}: {read:?}"
                );
            }
        }
    }

    #[test]
    fn a_common_mistake_is_named() {
        for (text, what, help) in [
            (
                "https://h.example:8443",
                "is a URL, and not",
                "write `h.example:8443`",
            ),
            (
                "https://h.example",
                "is a URL, and not",
                "write `h.example:443`",
            ),
            (
                "http://h.example/a?b",
                "is a URL, and not",
                "write `h.example:80`",
            ),
            (
                "smtp://localhost",
                "is a URL, and not",
                "write `localhost:25`",
            ),
            (
                "tcp://h.example",
                "is a URL, and not",
                "write `h.example:PORT`",
            ),
            ("unix:/run/x", "has no `unix:`", "write `/run/x`"),
            (
                "h.example:443/path",
                "no path behind its port",
                "write `h.example:443`",
            ),
            (
                "me@h.example:993",
                "has no user name",
                "write `h.example:993`",
            ),
            ("h.example 993", "has no blank", "write `h.example:993`"),
            (
                "h.example,993",
                "has no comma",
                "each address on a line of its own",
            ),
            (
                "a:1, b:2",
                "has no comma",
                "each address on a line of its own",
            ),
            (
                "h.example",
                "the port is missing behind `h.example`",
                "write `h.example:PORT`",
            ),
            (
                "h.example:",
                "the port is missing behind",
                "write `h.example:PORT`",
            ),
            (
                "10.0.0.1",
                "the port is missing behind",
                "write `10.0.0.1:PORT`",
            ),
            ("::1", "the port is missing behind", "write `[::1]:PORT`"),
            ("[::1]", "the port is missing behind", "write `[::1]:PORT`"),
            ("[::1]:", "the port is missing behind", "write `[::1]:PORT`"),
            (
                "mailhost",
                "`mailhost` is not a port",
                "if it is a host, write `mailhost:PORT`",
            ),
            ("127.0.0.1:993:tls", "a colon too many", "HOST:PORT"),
            (
                "h:nosuchport",
                "`nosuchport` is not a port",
                "a name from /etc/services",
            ),
            ("99999", "`99999` is not a port", "from 1 to 65535"),
            ("h:-1", "`-1` is not a port", "from 1 to 65535"),
        ] {
            let fault = Endpoint::parse(text, true, own).unwrap_err();
            assert!(fault.text.contains(what), "{text}: {fault:?}");
            assert!(
                fault.help.as_ref().unwrap().contains(help),
                "{text}: {fault:?}"
            );
        }
    }
}

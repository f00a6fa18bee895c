//! `metrics = [HOST:]PORT | /path`: where metrics and health are served.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::option::Fault;

/// An address that root binds, and so never a name: root asks no name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MetricsAddress {
    /// An address and its port; 0 asks the kernel for a free one.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAddress::Tcp(address) => address.fmt(f),
            MetricsAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

impl MetricsAddress {
    /// The path of a Unix socket.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            MetricsAddress::Tcp(_) => None,
            MetricsAddress::Unix(path) => Some(path),
        }
    }

    /// Reads one. Without a host it is loopback; `*` is every IPv4 address.
    ///
    /// # Errors
    /// As [`Endpoint::parse`]; a name.
    pub(super) fn parse(text: &str) -> Result<MetricsAddress, Fault> {
        let (host, port) = match Endpoint::parse(text, true, |_| None)? {
            Endpoint::Unix(path) => return Ok(MetricsAddress::Unix(path)),
            Endpoint::Tcp { host, port } => (host, port),
        };
        let ip: IpAddr = match host.as_deref() {
            None if text.starts_with("*:") => Ipv4Addr::UNSPECIFIED.into(),
            None => Ipv4Addr::LOCALHOST.into(),
            Some(name) if name.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
            Some(host) => host.parse().map_err(|_| {
                Fault::new(format!("`{host}` is not an address")).help(
                    "root binds it and asks no name server: write 127.0.0.1:PORT, [::1]:PORT, or PORT \
                     alone, which is on loopback",
                )
            })?,
        };
        Ok(MetricsAddress::Tcp(SocketAddr::new(ip, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_it_is_loopback() {
        for (text, address) in [
            ("9100", "127.0.0.1:9100"),
            ("localhost:9100", "127.0.0.1:9100"),
            ("192.0.2.7:9100", "192.0.2.7:9100"),
            ("*:9100", "0.0.0.0:9100"),
            (":::9100", "[::]:9100"),
            ("[::1]:0", "[::1]:0"),
            ("/run/adit/metrics", "/run/adit/metrics"),
        ] {
            assert_eq!(MetricsAddress::parse(text).unwrap().to_string(), address);
        }
        for text in [
            "mail.example:9100",
            "fe80::1%eth0:9100",
            "70000",
            "host",
            "http://h:1/",
        ] {
            assert!(MetricsAddress::parse(text).is_err(), "{text}");
        }
    }
}

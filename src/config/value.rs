//! Values that options of several kinds share.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was written: a file and its line, an `ADIT_*` variable, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's path as it was named, or `environment variable ADIT_X`, or `flag --x`.
    pub place: Arc<str>,
    /// The line, from 1; 0 where there is none (environment, flags).
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.place),
            line => write!(f, "{}:{line}", self.place),
        }
    }
}

/// An address as the configuration writes it; names are resolved later, by the resolver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `port`, `host:port`, `:::port`, `[v6]:port`. Without a host: the wildcard address for
    /// `accept` (IPv4 any, as stunnel), loopback for `connect`.
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

/// A value that never reaches a log: its Debug shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

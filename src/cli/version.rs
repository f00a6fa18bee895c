//! `adit -version`.

use std::env::consts::ARCH;
use std::fmt;

/// The first line is shaped as stunnel's, which scripts take apart.
pub(super) struct Version;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "adit {version} on {ARCH}-linux-gnu platform")?;
        writeln!(f, "TLS: rustls with aws-lc-rs; TLSv1.2, TLSv1.3")?;
        writeln!(f, "Sockets: EPOLL,IPv6,UNIX  Sandbox: SECCOMP,LANDLOCK")
    }
}

//! `adit -version`.

use std::env::consts::ARCH;
use std::fmt;

/// The first line has stunnel's format, which scripts parse.
pub(super) struct Version;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "adit {version} on {ARCH}-linux-gnu platform")?;
        write!(f, "Compiled for {}", env!("BUILT_FOR"))?;
        match env!("BUILT_FROM") {
            "" => writeln!(f)?,
            commit => writeln!(f, " from commit {commit}")?,
        }
        writeln!(
            f,
            "TLS: TLSv1, TLSv1.1, TLSv1.2, TLSv1.3 by {}",
            env!("BUILT_WITH")
        )?;
        writeln!(f, "Sockets: EPOLL,IPv6,UNIX  Sandbox: SECCOMP,LANDLOCK")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_the_target_and_the_version_of_each_library() {
        let text = Version.to_string();
        assert!(text.contains(&format!("Compiled for {ARCH}-unknown-linux-")));
        for library in [
            "rustls 0.",
            "rustls-webpki 0.",
            "aws-lc-rs 1.",
            "aws-lc-sys 0.",
            "s2n-tls-sys 0.",
        ] {
            assert!(text.contains(library), "{text}");
        }
    }
}

//! The output of `-version`, `-help`, `-sockets` and `-options` when the program is called as stunnel:
//! on standard error and in stunnel's format, because scripts parse it there. They look for the
//! version, or for the name of an option at the start of a line.

use std::env::consts::ARCH;
use std::fmt;

use super::help;
use crate::config::{self, OptionDef, Scope};

/// The stunnel release whose configurations adit understands.
const RELEASE: &str = "5.75";

/// `stunnel -version`: the versions and the defaults.
pub(super) struct Version;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{Banner}")?;
        list(f, |f, option| {
            option
                .defaults
                .iter()
                .try_for_each(|default| writeln!(f, "{:<22} = {default}", option.name))
        })
    }
}

/// `stunnel -help`: the options that adit serves.
pub(super) struct Help;

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{Banner}")?;
        list(f, |f, option| {
            let OptionDef {
                name, syntax, doc, ..
            } = option;
            writeln!(f, "{name:<22} = {syntax}: {doc}")
        })
    }
}

/// `stunnel -options`.
pub(super) struct TlsOptions;

impl fmt::Display for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{Banner}\nSupported TLS options:")?;
        config::tls_option_names().try_for_each(|name| writeln!(f, "options = {name}"))
    }
}

/// `stunnel -sockets`.
pub(super) struct SocketOptions;

impl fmt::Display for SocketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{Banner}\nSocket options:")?;
        config::socket_option_names().try_for_each(|name| writeln!(f, "    {name}"))
    }
}

/// stunnel's first lines, worded so that a reader takes neither adit for stunnel nor rustls for
/// OpenSSL.
struct Banner;

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            f,
            "stunnel {RELEASE} on {ARCH}-pc-linux-gnu platform is stood in for by adit {version}"
        )?;
        writeln!(
            f,
            "Compiled/running with OpenSSL 3.0.0 replaced by rustls with aws-lc-rs"
        )?;
        writeln!(f, "Threading:PTHREAD Sockets:EPOLL,IPv6 TLS:SNI")
    }
}

/// The options that adit serves, under stunnel's two titles.
fn list(
    f: &mut fmt::Formatter<'_>,
    line: impl Fn(&mut fmt::Formatter<'_>, &OptionDef) -> fmt::Result,
) -> fmt::Result {
    f.write_str("Global options:\n")?;
    help::served(Scope::Global).try_for_each(|option| line(f, option))?;
    f.write_str("\nService-level options:\n")?;
    help::served(Scope::Service).try_for_each(|option| line(f, option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_where_scripts_look_for_it() {
        let text = Version.to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("stunnel 5.75 on "), "{first}");
        assert!(first.contains("adit"), "{first}");
        let second = lines.next().unwrap();
        assert!(
            second.starts_with("Compiled/running with OpenSSL 3."),
            "{second}"
        );
        assert!(
            text.contains("\nTIMEOUTidle            = 43200\n"),
            "{text}"
        );
    }

    #[test]
    fn an_option_begins_its_line_if_it_is_served_and_only_then() {
        let text = Help.to_string();
        let begins = |name: &str| text.lines().any(|line| line.starts_with(name));
        assert!(begins("checkHost "));
        assert!(begins("chroot "));
        assert!(begins("CRLfile") && !begins("engineId"));
    }

    #[test]
    fn options_are_told_as_they_are_written() {
        assert!(TlsOptions.to_string().contains("\noptions = NO_TICKET\n"));
        assert!(SocketOptions.to_string().contains("TCP_NODELAY\n"));
    }
}

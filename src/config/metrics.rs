//! `metrics = [HOST:]PORT | /path`: where metrics, health and the page are served; `metricsAllow`: which
//! networks may ask.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::global::Global;
use super::networks::{self, Networks};
use super::option::{Fault, OptionDef, Scope};

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

impl Global {
    /// Networks that may ask where metrics are served; `None`: all, but for the page.
    pub(crate) fn metrics_allowed(&self) -> Option<Networks> {
        let given = !self.metrics_allow.is_empty();
        given.then(|| Networks::of(self.metrics_allow.clone()))
    }
}

/// The options.
pub(super) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "metrics",
        Scope::Global,
        "[HOST:]PORT | PATH",
        "HTTP, without TLS: a page to look at (/), /metrics for Prometheus, /health; empty: none",
    )
    .own()
    .example("metrics = 9797")
    .unless_given("no metrics")
    .global(|global, value| {
        global.metrics = match value.is_empty() {
            true => None,
            false => Some(MetricsAddress::parse(value)?),
        };
        Ok(())
    }),
    OptionDef::new(
        "metricsAllow",
        Scope::Global,
        "NETWORKS",
        "addresses and networks that may ask at `metrics`, parted by commas",
    )
    .own()
    .repeatable()
    .example("metricsAllow = 192.168.1.0/24")
    .unless_given("/metrics and /health: any; the page: this machine")
    .global(|global, value| {
        global.metrics_allow.extend(networks::parse(value)?);
        Ok(())
    }),
];

/// `metricsAllow` where no other machine can ask.
pub(super) fn without_effect(global: &Global) -> Option<(&'static str, Fault)> {
    if global.metrics_allow.is_empty() {
        return None;
    }
    let (text, help) = match &global.metrics {
        None => (
            "nothing is served, since there is no `metrics`".to_owned(),
            "add `metrics = ADDRESS:9797`, where ADDRESS is this machine's in that network",
        ),
        Some(MetricsAddress::Unix(_)) => (
            "no address asks at a Unix socket: its folder decides who may".to_owned(),
            "leave the line out, or give `metrics` an address and a port",
        ),
        Some(MetricsAddress::Tcp(address)) if address.ip().is_loopback() => (
            format!("no other machine reaches `metrics = {address}`"),
            "leave the line out, or write `metrics = ADDRESS:PORT`, where ADDRESS is this machine's in \
             that network",
        ),
        Some(MetricsAddress::Tcp(_)) => return None,
    };
    let text = format!("`metricsAllow` has no effect: {text}");
    Some(("metricsAllow", Fault::warning(text).help(help)))
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

    #[test]
    fn networks_that_cannot_ask_are_told_of() {
        let said = |metrics: Option<&str>| {
            let mut global = Global::blank("adit");
            global.metrics = metrics.map(|text| MetricsAddress::parse(text).unwrap());
            global.metrics_allow = networks::parse("192.0.2.0/24").unwrap();
            assert!(global.metrics_allowed().is_some());
            without_effect(&global).map(|(_, fault)| fault.text)
        };
        assert_eq!(said(Some("*:9797")), None);
        assert_eq!(said(Some("192.0.2.1:9797")), None);
        for (metrics, part) in [
            (
                Some("9797"),
                "no other machine reaches `metrics = 127.0.0.1:9797`",
            ),
            (Some("/run/metrics"), "its folder decides who may"),
            (None, "there is no `metrics`"),
        ] {
            let said = said(metrics).unwrap();
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(without_effect(&Global::blank("adit")), None);
    }
}

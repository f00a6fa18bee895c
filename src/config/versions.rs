//! Which TLS versions a service speaks, and which clients may use the old ones.
//!
//! Both follow from the version limits, `options` and the addresses that it accepts on.

use std::net::IpAddr;

use super::checks::Faults;
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::service::{SecurityLevel, Service, TlsOptions, TlsVersion};
use super::signature_list::{self, SignatureLists};
use super::tls_options::{TlsFlags, version_name};

/// Each version, and the member of `options` that forbids it.
const FORBIDDEN: [(TlsVersion, TlsFlags); 4] = [
    (TlsVersion::V1_0, TlsFlags::NO_TLS1_0),
    (TlsVersion::V1_1, TlsFlags::NO_TLS1_1),
    (TlsVersion::V1_2, TlsFlags::NO_TLS1_2),
    (TlsVersion::V1_3, TlsFlags::NO_TLS1_3),
];

/// The lowest version unless another is asked for; below it nothing is spoken by default.
pub(super) const LOWEST: TlsVersion = TlsVersion::V1_2;

/// The limits and `options` that a service asks for, before they are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    pub(super) min: Option<TlsVersion>,
    pub(super) max: Option<TlsVersion>,
    pub(super) flags: TlsFlags,
}

/// Brings the limits and what `options` forbids together.
pub(super) fn limit(service: &mut Service, flags: TlsFlags, faults: &mut Faults) {
    let tls = &mut service.tls;
    service.asked = Asked {
        min: tls.version_min,
        max: tls.version_max,
        flags,
    };
    let max = tls.version_max.unwrap_or(TlsVersion::V1_3);
    // An upper limit below the default lower one asks for what is below it.
    let min = tls.version_min.unwrap_or(LOWEST.min(max));
    let option = ["sslVersionMin", "sslVersionMax", "sslVersion"]
        .into_iter()
        .find(|option| service.origins.has(option));
    if max < min {
        faults.error(
            option.unwrap_or(""),
            "Invalid protocol version range",
            match service.virtual_host {
                None => "sslVersionMin may not be above sslVersionMax",
                Some(_) => {
                    "sslVersionMin may not be above sslVersionMax; the one that the section does not give is \
                     that of its primary service"
                }
            },
        );
        return;
    }
    let spoken = FORBIDDEN
        .into_iter()
        .filter(|(version, flag)| (min..=max).contains(version) && !flags.has(*flag))
        .map(|(version, _)| version);
    let Some((low, high)) = spoken.clone().min().zip(spoken.max()) else {
        faults.error(
            "options",
            "no TLS version is left to speak",
            "take back a NO_TLSv1_2 or NO_TLSv1_3, or widen sslVersion",
        );
        return;
    };
    if low != min || low < LOWEST {
        tls.version_min = Some(low);
    }
    if high != max {
        tls.version_max = Some(high);
    }
}

/// From `securityLevel = 3` on there are no TLS 1.0 and no session tickets, from 4 on no TLS 1.1, and strong hashes
/// alone.
pub(super) fn keep_to_level(service: &mut Service, faults: &mut Faults) {
    let tls = &mut service.tls;
    let level = tls.security_level;
    if level < SecurityLevel::Three {
        return;
    }
    tls.no_ticket = true;
    if !tls.signatures.keep_to(level) {
        let text = format!("`securityLevel = {level}` leaves none of the signatures of a list");
        let strong = SignatureLists::of_level(level).all;
        let help = format!("it allows {}", signature_list::names(strong));
        faults.error("config", &text, &help);
    }
    let (lowest, below) = match level {
        SecurityLevel::Three => (TlsVersion::V1_1, "TLSv1"),
        _ => (TlsVersion::V1_2, "TLS below 1.2"),
    };
    let highest = tls.version_max.unwrap_or(TlsVersion::V1_3);
    if tls.version_min.unwrap_or(LOWEST.min(highest)) >= lowest {
        return;
    }
    let text = format!("{below} is not served with `securityLevel = {level}`");
    if highest < lowest {
        let help = "take securityLevel back, or widen sslVersion";
        faults.error("securityLevel", &text, help);
        return;
    }
    tls.version_min = Some(lowest);
    let lowest = version_name(lowest);
    let text = format!("{text}: the lowest version is {lowest}");
    let help = format!("`sslVersionMin = {lowest}`, or a lower securityLevel");
    faults.push(Severity::Warning, "securityLevel", &text, &help);
}

/// Keeps what is broken from clients anywhere: TLS below 1.2 is served on loopback and private addresses,
/// elsewhere only where `acceptAnywhere` says so, and RC4 nowhere else at all.
pub(super) fn expose(service: &mut Service, faults: &mut Faults) {
    let Some(public) = public(service) else {
        return;
    };
    let (anywhere, client) = (service.accept_anywhere, service.client);
    let Some(tls) = accepted(service) else {
        return;
    };
    let (option, ciphers) = match client {
        true => ("acceptSSLVersionMin", "acceptCiphers"),
        false => ("sslVersionMin", "ciphers"),
    };
    if tls.ciphers.as_deref().is_some_and(names_rc4) {
        faults.error(
            ciphers,
            &format!(
                "RC4 is broken, and is served on loopback and private addresses alone, not on {public}"
            ),
            "`accept` on an address of the LAN, as 192.168.1.2:465",
        );
    }
    let Some(min) = tls.version_min.filter(|min| *min < LOWEST) else {
        return;
    };
    if anywhere {
        let help = "`accept` on loopback or on an address of the LAN, if the clients are there";
        faults.push(
            Severity::Warning,
            "acceptAnywhere",
            &exposure(min, &public),
            help,
        );
        return;
    }
    let old = version_name(min);
    let may_rise = tls.version_max.is_none_or(|max| max >= LOWEST);
    let help = "`accept` on loopback or on an address of the LAN, as 192.168.1.2:465; or `acceptAnywhere = yes`";
    match may_rise && !client {
        // As with a stunnel whose OpenSSL leaves old versions out: those that speak newer ones are served.
        true => {
            tls.version_min = Some(LOWEST);
            faults.push(
                Severity::Warning,
                option,
                &format!(
                    "{old} is not served on {public}, which the internet may reach: the lowest \
                     version is TLSv1.2"
                ),
                help,
            );
        }
        false => faults.error(
            option,
            &format!("{old} is not served on {public}, which the internet may reach"),
            help,
        ),
    }
}

/// What to warn of for as long as a service runs that has `acceptAnywhere`; `None`: it exposes nothing.
pub(crate) fn exposed(service: &Service) -> Option<String> {
    let min = service
        .accepted_tls()?
        .version_min
        .filter(|min| *min < LOWEST)?;
    let public = public(service).filter(|_| service.accept_anywhere)?;
    Some(exposure(min, &public))
}

fn exposure(min: TlsVersion, public: &str) -> String {
    let old = version_name(min);
    format!("{old} is served to every client that reaches {public}; it can be broken")
}

/// TLS with clients.
fn accepted(service: &mut Service) -> Option<&mut TlsOptions> {
    match service.client {
        true => service
            .accept_tls
            .as_deref_mut()
            .map(|accept| &mut accept.tls),
        false => Some(&mut service.tls),
    }
}

/// An address of a service that may be public, in words. What systemd passes may be any.
fn public(service: &Service) -> Option<String> {
    if service.takes_passed_socket() {
        return Some("a socket that systemd passes".to_owned());
    }
    let accept = match &service.virtual_host {
        // Nothing is known of the socket that its primary is passed.
        Some(host) if host.accept.is_empty() => {
            return Some("a socket that systemd passes".to_owned());
        }
        Some(host) => &host.accept,
        None => &service.accept,
    };
    let public = accept.iter().find(|endpoint| is_public(endpoint))?;
    Some(format!("`accept = {public}`"))
}

/// Whether others than this machine and its LAN may connect there. A name or a port alone may be any address.
pub(crate) fn is_public(endpoint: &Endpoint) -> bool {
    let host = match endpoint {
        Endpoint::Unix(_) => return false,
        Endpoint::Tcp { host, .. } => host.as_deref(),
    };
    match host.map(str::parse::<IpAddr>) {
        Some(Ok(IpAddr::V4(ip))) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        Some(Ok(IpAddr::V6(ip))) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
        Some(Err(_)) => host != Some("localhost"),
        None => true,
    }
}

/// Whether an OpenSSL cipher list asks for RC4 by name.
fn names_rc4(list: &str) -> bool {
    list.split([':', ',', ' ', ';'])
        .any(|word| !word.starts_with(['!', '-']) && word.to_ascii_uppercase().contains("RC4"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn public_is_what_others_than_the_lan_may_reach() {
        let at = |host: Option<&str>| Endpoint::Tcp {
            host: host.map(str::to_owned),
            port: 465,
        };
        for host in [
            "127.0.0.1",
            "::1",
            "localhost",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.2",
            "169.254.1.1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(!is_public(&at(Some(host))), "{host}");
        }
        for host in [
            "0.0.0.0",
            "::",
            "192.0.2.1",
            "2001:db8::1",
            "172.32.0.1",
            "mail",
        ] {
            assert!(is_public(&at(Some(host))), "{host}");
        }
        assert!(is_public(&at(None)));
        assert!(!is_public(&Endpoint::Unix(PathBuf::from("/run/s"))));
    }

    #[test]
    fn rc4_is_named_or_forbidden() {
        assert!(names_rc4("RC4-SHA") && names_rc4("AES128-SHA:+rc4-md5"));
        assert!(!names_rc4("HIGH:!RC4:-RC4-MD5") && !names_rc4("ALL"));
    }
}

//! The addresses that a configuration names: where services accept, and where they connect. Never in here: a
//! certificate, a key, a listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::sockopt::Ipv6V6Only;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket};

use super::at;
use crate::config::{Config, Diagnostic, Endpoint, Front, Service, Severity};
use crate::helper::NameClient;
use crate::ipc::words::Accept;
use crate::jail;
use crate::master::names::Names;
use crate::relay::Upstream;
use crate::remedy;
use crate::sys::sockopt;

/// How long all names together may take to resolve; one without an answer by then is resolved when it
/// is needed. Shorter than the time the supervisor gives a candidate to load.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What of a configuration needs no certificate and no key.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(super) services: Vec<Places>,
    /// What is wrong.
    pub(super) found: Vec<Diagnostic>,
}

/// The addresses of one service.
#[derive(Debug)]
pub(super) struct Places {
    /// Where it accepts.
    pub(super) accept: Vec<Accept>,
    /// Where it connects to.
    pub(super) upstreams: Vec<Upstream>,
    /// Where it connects clients to without a valid certificate.
    pub(super) redirects: Vec<Upstream>,
    /// From which address.
    pub(super) local: Option<IpAddr>,
}

impl Addresses {
    /// Resolves the names of a configuration.
    pub(crate) fn look_up(config: &Config, names: &mut NameClient) -> Addresses {
        let names = &mut Names::ask(&config.services, names, RESOLVE_TIMEOUT);
        let mut found = Vec::new();
        let mut passed = 0;
        let of_one = |service: &Service| {
            let accept = match service.takes_passed_socket() {
                true => {
                    passed += 1;
                    vec![Accept::Passed(passed - 1)]
                }
                // A secondary service has none.
                false => addresses(service, names, &mut found),
            };
            let mut resolved = |option, endpoints: &[Endpoint]| {
                upstreams(service, option, endpoints, names, &mut found)
            };
            Places {
                accept,
                upstreams: resolved("connect", &service.connect),
                redirects: resolved("redirect", &service.redirect),
                local: local(service, names, &mut found),
            }
        };
        let services = config.services.iter().map(of_one).collect();
        Addresses { services, found }
    }

    /// The ports at which clients of a service are accepted, where it has to know them. `None`: those of sockets that
    /// were made for it, or that the kernel chooses, are not known.
    pub(super) fn ports(&self, config: &Config, index: usize) -> Option<Arc<[u16]>> {
        let service = &config.services[index];
        let host = service.virtual_host.as_ref();
        let primary = host.map_or(index, |host| host.primary);
        let listens = &config.services[primary];
        let foreign = listens.front == Front::Inetd || listens.takes_passed_socket();
        if !service.transparent.destination || foreign {
            return None;
        }
        let all = self.services[primary].accept.iter();
        let known = all.filter_map(|accept| match accept {
            Accept::Tcp(address) => Some(Some(address.port()).filter(|port| *port != 0)),
            Accept::Unix(_) | Accept::Passed(_) => None,
        });
        known.collect()
    }
}

/// Where to listen, with names resolved. A name that does not resolve is an error, since nothing could
/// be bound.
fn addresses(service: &Service, names: &mut Names<'_>, found: &mut Vec<Diagnostic>) -> Vec<Accept> {
    let mut addresses = Vec::new();
    for endpoint in &service.accept {
        match endpoint {
            Endpoint::Unix(path) => {
                found.extend(unknown_owner(service));
                addresses.push(Accept::Unix(path.clone()));
            }
            Endpoint::Tcp { host: None, port } => {
                let any = |ip: IpAddr| Accept::Tcp(SocketAddr::new(ip, *port));
                addresses.push(any(Ipv4Addr::UNSPECIFIED.into()));
                if is_v6_alone(service) {
                    addresses.push(any(Ipv6Addr::UNSPECIFIED.into()));
                }
            }
            Endpoint::Tcp {
                host: Some(host),
                port,
            } => match names.resolve(host, *port) {
                Ok(all) => addresses.extend(all.into_iter().map(Accept::Tcp)),
                Err(error) => {
                    let name = &service.name;
                    let text = format!("Service [{name}]: accept = {endpoint}: {error}");
                    let error = at(Severity::Error, &service.origins, "accept", text);
                    found.push(error.help(remedy::RESOLVING));
                }
            },
        }
    }
    addresses
}

/// The configured owner of a Unix socket, if the system knows no such user or group.
fn unknown_owner(service: &Service) -> Option<Diagnostic> {
    let error = jail::owner(service.setuid.as_deref(), service.setgid.as_deref()).err()?;
    let text = format!("Service [{}]: {error}", service.name);
    let option = error.option().unwrap_or_default();
    Some(at(Severity::Error, &service.origins, option, text).help(error.remedy()))
}

/// Whether `::` means IPv6 only, as with `net.ipv6.bindv6only = 1`, so that `0.0.0.0` can be bound
/// beside it. stunnel always tries both and keeps those that can be bound; without IPv6, IPv4 alone.
pub(crate) fn is_v6_alone(service: &Service) -> bool {
    let family = AddressFamily::Inet6;
    let Ok(probe) = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None) else {
        return false;
    };
    for option in service.socket.iter().filter(|option| option.on == 'a') {
        // An option that cannot be set is reported when the listener itself is made.
        let _ = sockopt::set(probe.as_fd(), option);
    }
    getsockopt(&probe, Ipv6V6Only).unwrap_or(false)
}

/// Where to connect. A name that does not resolve now is resolved when it is needed.
fn upstreams(
    service: &Service,
    option: &'static str,
    endpoints: &[Endpoint],
    names: &mut Names<'_>,
    found: &mut Vec<Diagnostic>,
) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for endpoint in endpoints {
        let (host, port) = match endpoint {
            Endpoint::Unix(path) => {
                upstreams.push(Upstream::Unix(path.clone()));
                continue;
            }
            Endpoint::Tcp { host, port } => (host.as_deref().unwrap_or("localhost"), *port),
        };
        if service.delay {
            continue;
        }
        match names.resolve(host, port) {
            Ok(all) => upstreams.extend(
                all.into_iter()
                    .map(|address| Upstream::Tcp(address, host.to_owned())),
            ),
            Err(error) => {
                let text = format!(
                    "Service [{}]: {option} = {endpoint}: {error}: Cannot resolve {option} target - \
                     delaying DNS lookup",
                    service.name
                );
                let warning = at(Severity::Warning, &service.origins, option, text);
                found.push(warning.help(remedy::RESOLVING));
            }
        }
    }
    if service.delay {
        upstreams.clear();
    }
    upstreams
}

/// `local = HOST`: the address to connect from.
fn local(service: &Service, names: &mut Names<'_>, found: &mut Vec<Diagnostic>) -> Option<IpAddr> {
    let host = service.local.as_deref()?;
    match names.resolve(host, 0) {
        Ok(all) => all.first().map(SocketAddr::ip),
        Err(error) => {
            let text = format!("Service [{}]: local = {host}: {error}", service.name);
            let error = at(Severity::Error, &service.origins, "local", text);
            found.push(error.help(remedy::RESOLVING));
            None
        }
    }
}

//! The addresses that a configuration names: where services accept, and where they connect. Never in here: a
//! certificate, a key, a listener.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::sockopt::Ipv6V6Only;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket};

use super::at;
use crate::config::{Config, Diagnostic, Endpoint, Front, Service, Severity};
use crate::helper::{KnownNames, NameClient, ResolveError};
use crate::ipc::words::Accept;
use crate::jail;
use crate::master::names::{Found, Names};
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
    /// The names that have addresses.
    known: KnownNames,
    /// The resolver has not answered in time.
    late: bool,
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
    /// Resolves the names of a configuration; those that DNS does not answer for have the addresses that are known.
    pub(crate) fn look_up(
        config: &Config,
        names: &mut NameClient,
        known: &KnownNames,
    ) -> Addresses {
        let mut asked = Names::ask(&config.services, names, known, RESOLVE_TIMEOUT);
        let names = &mut asked;
        let mut found = Vec::new();
        let mut passed = 0;
        let of_one = |(number, service)| {
            let mut asking = Asking {
                service,
                number,
                names,
                found: &mut found,
            };
            let accept = match service.takes_passed_socket() {
                true => {
                    passed += 1;
                    vec![Accept::Passed(passed - 1)]
                }
                // A secondary service has none.
                false => asking.accept(),
            };
            Places {
                accept,
                upstreams: asking.upstreams("connect", &service.connect),
                redirects: asking.upstreams("redirect", &service.redirect),
                local: asking.local(),
            }
        };
        let services = config.services.iter().enumerate().map(of_one).collect();
        Addresses {
            services,
            found,
            late: asked.are_late(),
            known: asked.known(),
        }
    }

    /// The names that have addresses.
    pub(crate) fn known(&self) -> &KnownNames {
        &self.known
    }

    /// Whether the resolver has not answered in time: it may stand still.
    pub(crate) fn came_late(&self) -> bool {
        self.late
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

/// One service, whose names are resolved.
struct Asking<'a, 'n> {
    service: &'a Service,
    /// Its number.
    number: usize,
    names: &'a mut Names<'n>,
    found: &'a mut Vec<Diagnostic>,
}

impl Asking<'_, '_> {
    /// Where to listen. A name that does not resolve is an error, since nothing could be bound.
    fn accept(&mut self) -> Vec<Accept> {
        let mut addresses = Vec::new();
        for endpoint in &self.service.accept {
            match endpoint {
                Endpoint::Unix(path) => {
                    self.found.extend(unknown_owner(self.service));
                    addresses.push(Accept::Unix(path.clone()));
                }
                Endpoint::Tcp { host: None, port } => {
                    let any = |ip: IpAddr| Accept::Tcp(SocketAddr::new(ip, *port));
                    addresses.push(any(Ipv4Addr::UNSPECIFIED.into()));
                    if is_v6_alone(self.service) {
                        addresses.push(any(Ipv6Addr::UNSPECIFIED.into()));
                    }
                }
                Endpoint::Tcp {
                    host: Some(host),
                    port,
                } => match self.resolve("accept", endpoint, host, *port) {
                    Ok(all) => addresses.extend(all.into_iter().map(Accept::Tcp)),
                    Err(error) => self.tell(Severity::Error, "accept", endpoint, error),
                },
            }
        }
        addresses
    }

    /// Where to connect. A name that does not resolve now is resolved when it is needed.
    fn upstreams(&mut self, option: &'static str, endpoints: &[Endpoint]) -> Vec<Upstream> {
        let mut upstreams = Vec::new();
        if self.service.delay {
            return upstreams;
        }
        for endpoint in endpoints {
            let (host, port) = match endpoint {
                Endpoint::Unix(path) => {
                    upstreams.push(Upstream::Unix(path.clone()));
                    continue;
                }
                Endpoint::Tcp { host, port } => (host.as_deref().unwrap_or("localhost"), *port),
            };
            match self.resolve(option, endpoint, host, port) {
                Ok(all) => upstreams.extend(
                    all.into_iter()
                        .map(|address| Upstream::Tcp(address, host.to_owned())),
                ),
                Err(error) => {
                    let text =
                        format!("{error}: Cannot resolve {option} target - delaying DNS lookup");
                    self.tell(Severity::Warning, option, endpoint, text);
                }
            }
        }
        upstreams
    }

    /// `local = HOST`: the address to connect from.
    fn local(&mut self) -> Option<IpAddr> {
        let host = self.service.local.as_deref()?;
        match self.resolve("local", host, host, 0) {
            Ok(all) => all.first().map(SocketAddr::ip),
            Err(error) => {
                self.tell(Severity::Error, "local", host, error);
                None
            }
        }
    }

    /// The addresses of a name that stands in this value of this option; warns where they are those that it had before.
    fn resolve(
        &mut self,
        option: &'static str,
        value: impl fmt::Display,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let Found { addresses, kept } = self.names.resolve(self.number, host, port)?;
        if let Some(error) = kept {
            let all = addresses.iter().map(|address| address.ip().to_string());
            let all = all.collect::<Vec<_>>().join(", ");
            let text = format!("{error}: keeping the addresses that it had: {all}");
            self.tell(Severity::Warning, option, value, text);
        }
        Ok(addresses)
    }

    fn tell(
        &mut self,
        severity: Severity,
        option: &'static str,
        value: impl fmt::Display,
        what: impl fmt::Display,
    ) {
        let name = &self.service.name;
        let text = format!("Service [{name}]: {option} = {value}: {what}");
        let told = at(severity, &self.service.origins, option, text);
        self.found.push(told.help(remedy::RESOLVING));
    }
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

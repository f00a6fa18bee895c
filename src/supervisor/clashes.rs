//! Services of one configuration that want one address: only the first can have it, whatever else
//! runs on the machine.

use std::net::{IpAddr, SocketAddr};

use super::bind_error::describe;
use crate::config::{Config, Diagnostic, Endpoint, Origin, Service, Severity};
use crate::ipc::words::Accept;
use crate::master::load::is_v6_alone;

/// What to do about it.
pub(crate) const REMEDY: &str = "give each service an address or a port of its own";

/// For each address that an earlier line has already: an error where its service has no other, and
/// a warning where it has.
pub(crate) fn found(config: &Config, accept: &[Vec<Accept>]) -> Vec<Diagnostic> {
    let mut had: Vec<(&Service, &Accept)> = Vec::new();
    let mut found = Vec::new();
    for (service, addresses) in config.services.iter().zip(accept) {
        let mut taken = Vec::new();
        for address in addresses {
            let other = had
                .iter()
                .find(|other| clash(**other, (service, address)))
                .copied();
            match other {
                Some(other) => taken.push((address, other)),
                None => had.push((service, address)),
            }
        }
        let severity = match taken.len() == addresses.len() {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let told = taken
            .into_iter()
            .map(|(address, other)| told(severity, service, address, other));
        found.extend(told);
    }
    found
}

fn told(
    severity: Severity,
    service: &Service,
    address: &Accept,
    (other, others): (&Service, &Accept),
) -> Diagnostic {
    let mut text = format!(
        "Service [{}]: service [{}] has {} already",
        service.name,
        other.name,
        describe(others)
    );
    if let Some(place) = places(other, others).first() {
        text += &format!(", by {place}");
    }
    let place = place(service, address).or(service.origins.section());
    Diagnostic::new(severity, place, text).help(REMEDY)
}

/// The line that asks for an address; the last, where several do.
pub(crate) fn place<'a>(service: &'a Service, address: &Accept) -> Option<&'a Origin> {
    places(service, address).pop()
}

fn places<'a>(service: &'a Service, address: &Accept) -> Vec<&'a Origin> {
    let exact = |endpoint: &Endpoint| match (endpoint, address) {
        (Endpoint::Unix(path), Accept::Unix(asked)) => path == asked,
        (Endpoint::Tcp { host, port }, Accept::Tcp(asked)) if *port == asked.port() => match host {
            None => asked.ip().is_unspecified(),
            Some(host) => host.parse().is_ok_and(|ip: IpAddr| ip == asked.ip()),
        },
        _ => false,
    };
    // A name, which was resolved.
    let likely = |endpoint: &Endpoint| match (endpoint, address) {
        (Endpoint::Tcp { port, .. }, Accept::Tcp(asked)) => *port == asked.port(),
        _ => false,
    };
    let lines = |asks: &dyn Fn(&Endpoint) -> bool| -> Vec<&'a Origin> {
        let lines = service.accept.iter().zip(service.origins.all("accept"));
        lines
            .filter(|(endpoint, _)| asks(endpoint))
            .map(|(_, line)| line)
            .collect()
    };
    let found = lines(&exact);
    match found.is_empty() {
        true => lines(&likely),
        false => found,
    }
}

/// Whether the kernel gives only one of them its address.
pub(super) fn clash(one: (&Service, &Accept), other: (&Service, &Accept)) -> bool {
    let (Accept::Tcp(first), Accept::Tcp(second)) = (one.1, other.1) else {
        return one.1 == other.1;
    };
    if first.port() != second.port() || first.port() == 0 {
        return false;
    }
    if first == second {
        return true;
    }
    let bound = [one.0, other.0].into_iter().any(is_bound_to_a_device);
    !bound && (covers(one, *second) || covers(other, *first))
}

/// Whether an address is one of many, with this other among them.
fn covers((service, address): (&Service, &Accept), other: SocketAddr) -> bool {
    match address {
        Accept::Tcp(SocketAddr::V4(all)) => all.ip().is_unspecified() && other.is_ipv4(),
        Accept::Tcp(SocketAddr::V6(all)) => {
            all.ip().is_unspecified() && (other.is_ipv6() || !is_v6_alone(service))
        }
        _ => false,
    }
}

fn is_bound_to_a_device(service: &Service) -> bool {
    let mut options = service.socket.iter();
    options.any(|option| option.on == 'a' && option.name == "SO_BINDTODEVICE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    /// What is said of services with these lines, each `[a]`, `[b]` and so on.
    fn said(services: &[&str]) -> Vec<String> {
        let mut text = String::new();
        for (name, lines) in ["a", "b", "c"].into_iter().zip(services) {
            text +=
                &format!("[{name}]\n{lines}\nclient = yes\nverifyServer = yes\nconnect = h:9\n");
        }
        let sources = Sources {
            text: Some(("f".to_owned(), text.into())),
            ..Sources::default()
        };
        let config = load(&sources).unwrap().config;
        let accept: Vec<Vec<Accept>> = config.services.iter().map(accept).collect();
        found(&config, &accept)
            .iter()
            .map(|d| format!("{}: {}", d.severity, d.one_line()))
            .collect()
    }

    fn accept(service: &Service) -> Vec<Accept> {
        let mut addresses = Vec::new();
        for endpoint in &service.accept {
            match endpoint {
                Endpoint::Unix(path) => addresses.push(Accept::Unix(path.clone())),
                Endpoint::Tcp { host, port } => {
                    let host = host.as_deref().unwrap_or("0.0.0.0");
                    addresses.push(Accept::Tcp(SocketAddr::new(host.parse().unwrap(), *port)));
                }
            }
        }
        addresses
    }

    #[test]
    fn the_second_of_two_services_on_one_address_is_told_with_both_lines() {
        assert_eq!(
            said(&["accept = 127.0.0.1:7001", "accept = 127.0.0.1:7001"]),
            [
                "error: f:7: \"accept = 127.0.0.1:7001\": Service [b]: service [a] has 127.0.0.1:7001 \
              already, by f:2 (give each service an address or a port of its own)"
            ]
        );
        for (one, other) in [
            ("accept = 7001", "accept = 127.0.0.1:7001"),
            ("accept = 127.0.0.1:7001", "accept = 7001"),
            ("accept = :::7001", "accept = ::1:7001"),
            ("accept = /run/x", "accept = /run/x"),
        ] {
            assert_eq!(said(&[one, other]).len(), 1, "{one} {other}");
        }
        for (one, other) in [
            ("accept = 127.0.0.1:0", "accept = 127.0.0.1:0"),
            ("accept = 127.0.0.1:7001", "accept = 127.0.0.2:7001"),
            ("accept = 127.0.0.1:7001", "accept = 127.0.0.1:7002"),
            ("accept = 127.0.0.1:7001", "accept = ::1:7001"),
            ("accept = /run/x", "accept = /run/y"),
        ] {
            assert!(said(&[one, other]).is_empty(), "{one} {other}");
        }
        let (all, one) = ("accept = 7001", "accept = 127.0.0.1:7001");
        let bound = format!("{one}\nsocket = a:SO_BINDTODEVICE=lo");
        assert!(said(&[all, &bound]).is_empty());
    }

    #[test]
    fn a_service_with_another_address_is_served() {
        let said = said(&[
            "accept = 127.0.0.1:7001\naccept = 127.0.0.1:7001",
            "accept = 7002\naccept = 7001",
        ]);
        assert_eq!(said.len(), 2, "{said:?}");
        for (said, line) in said.iter().zip(["f:3", "f:9"]) {
            assert!(said.starts_with(&format!("warning: {line}: ")), "{said}");
        }
    }
}

//! Resolves the names of a configuration side by side while it loads: an unresponsive name server costs one timeout,
//! not one for each name. What had addresses keeps them for as long as DNS does not answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::{Endpoint, Service};
use crate::helper::{self, KnownNames, NameClient, ResolveError, Resolved};

/// Questions about names, pending or answered.
pub(super) struct Names<'a> {
    client: &'a mut NameClient,
    /// What was known of them before.
    before: &'a KnownNames,
    known: KnownNames,
    asked: HashMap<String, Asked>,
    end: Instant,
    late: bool,
}

enum Asked {
    /// The question's number.
    Waiting(u64),
    /// Addresses without a port.
    Told(Resolved),
}

/// The addresses of a name.
pub(super) struct Found {
    pub addresses: Vec<SocketAddr>,
    /// Why they are those that it had when it was resolved last.
    pub kept: Option<ResolveError>,
}

impl Names<'_> {
    /// Asks for every name that these services need now, within `timeout` for all of them.
    pub(super) fn ask<'a>(
        services: &[Service],
        client: &'a mut NameClient,
        before: &'a KnownNames,
        timeout: Duration,
    ) -> Names<'a> {
        let mut names = Names {
            client,
            before,
            known: KnownNames::default(),
            asked: HashMap::new(),
            end: Instant::now() + timeout,
            late: false,
        };
        // First the names without which nothing can be served, then those that can also be resolved
        // later.
        for (number, service) in services.iter().enumerate() {
            let accept = service.accept.iter().filter_map(host_of);
            let local = service.local.as_deref();
            let hosts = accept.chain(local);
            hosts.for_each(|host| names.begin(number, host));
        }
        let now = services.iter().enumerate().filter(|(_, it)| !it.delay);
        for (number, service) in now {
            let connect = service.connect.iter().chain(&service.redirect);
            let connect = connect.filter_map(host_of);
            connect.for_each(|host| names.begin(number, host));
        }
        names
    }

    /// With too many questions pending, this one is asked when its answer is awaited.
    fn begin(&mut self, service: usize, host: &str) {
        if helper::literal(host).is_none()
            && !self.asked.contains_key(host)
            && let Ok(id) = self.client.ask(service, host, 0)
        {
            self.asked.insert(host.to_owned(), Asked::Waiting(id));
        }
    }

    /// The addresses of a name that the service of that number has, with this port.
    ///
    /// # Errors
    /// It does not resolve, or the time for all names is over; and it never had an address.
    pub(super) fn resolve(
        &mut self,
        service: usize,
        host: &str,
        port: u16,
    ) -> Result<Found, ResolveError> {
        if let Some(ip) = helper::literal(host) {
            let addresses = vec![SocketAddr::new(ip, port)];
            return Ok(Found {
                addresses,
                kept: None,
            });
        }
        let told = match self.asked.remove(host) {
            Some(Asked::Told(told)) => told,
            Some(Asked::Waiting(id)) => self.client.wait_for(id, host, self.end),
            None => self.client.resolve(service, host, 0, self.end),
        };
        self.asked
            .insert(host.to_owned(), Asked::Told(told.clone()));
        let found = match told {
            Ok(mut addresses) => {
                for address in &mut addresses {
                    address.set_port(port);
                }
                Found {
                    addresses,
                    kept: None,
                }
            }
            Err(error) => {
                self.late |= !error.answered && Instant::now() >= self.end;
                match self.before.of(host, port) {
                    // What DNS says of a name counts: its addresses may be another's by now.
                    Some(addresses) if !error.answered => Found {
                        addresses,
                        kept: Some(error),
                    },
                    _ => return Err(error),
                }
            }
        };
        self.known
            .learn(host, &found.addresses, found.kept.is_some());
        Ok(found)
    }

    /// Whether the time for all was over before the last answer.
    pub(super) fn are_late(&self) -> bool {
        self.late
    }

    /// What is known by now of the names that were resolved.
    pub(super) fn known(self) -> KnownNames {
        self.known
    }
}

fn host_of(endpoint: &Endpoint) -> Option<&str> {
    match endpoint {
        // Without a host, `accept` needs no name, while `connect` goes to localhost.
        Endpoint::Tcp { host, .. } => host.as_deref(),
        Endpoint::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use nix::sys::socket::{MsgFlags, send};

    use super::*;
    use crate::helper::resolver_says;
    use crate::ipc::channel::Channel;

    const TIMEOUT: Duration = Duration::from_millis(200);

    #[test]
    fn what_does_not_answer_is_waited_for_once_not_once_a_name() {
        let (ours, _silent) = Channel::pair().unwrap();
        let begun = Instant::now();
        let mut client = NameClient::new(ours.into(), 1);
        let before = KnownNames::default();
        let mut names = Names::ask(&[], &mut client, &before, TIMEOUT);
        for n in 0..20 {
            let told = names.resolve(0, &format!("{n}.example"), 25);
            assert_eq!(told.err().unwrap().reason, "no answer in time");
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
        // An address needs no answer, and so no time.
        let address = "192.0.2.1:25".parse().unwrap();
        let found = names.resolve(0, "192.0.2.1", 25).ok().unwrap();
        assert_eq!(found.addresses, [address]);
    }

    #[test]
    fn a_name_keeps_its_addresses_until_dns_says_otherwise() {
        let address: SocketAddr = "192.0.2.1:25".parse().unwrap();
        let other: SocketAddr = "192.0.2.2:25".parse().unwrap();
        let failed = |answered| {
            Err(ResolveError {
                host: "a.example".to_owned(),
                reason: "for a reason".to_owned(),
                answered,
            })
        };
        for (said, expected) in [
            (None, Some((address, true))),
            (Some(failed(false)), Some((address, true))),
            (Some(failed(true)), None),
            (Some(Ok(vec![other])), Some((other, false))),
        ] {
            let mut before = KnownNames::default();
            before.learn("a.example", &[address], false);
            let (ours, theirs) = Channel::pair().unwrap();
            let mut client = NameClient::new(ours.into(), 1);
            if let Some(said) = &said {
                let packet = resolver_says(said, 1);
                send(theirs.as_fd().as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
            }
            let mut names = Names::ask(&[], &mut client, &before, TIMEOUT);
            let found = names.resolve(0, "a.example", 25).ok();
            let found = found.map(|found| (found.addresses[0], found.kept.is_some()));
            assert_eq!(found, expected, "{said:?}");
            let known = names.known();
            let kept = known.kept().collect::<Vec<_>>();
            assert_eq!(!kept.is_empty(), expected.is_some_and(|(_, kept)| kept));
            assert_eq!(known.of("a.example", 25), expected.map(|(it, _)| vec![it]));
        }
    }
}

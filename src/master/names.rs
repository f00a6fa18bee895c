//! Resolves the names of a configuration in parallel while it loads: an unresponsive name server costs
//! one timeout, not one for each name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::{Endpoint, Service};
use crate::helper::{self, NameClient, ResolveError};

/// Questions about names, pending or answered.
pub(super) struct Names<'a> {
    client: &'a mut NameClient,
    asked: HashMap<String, Asked>,
    end: Instant,
}

enum Asked {
    /// The question's number.
    Waiting(u64),
    /// Addresses without a port.
    Told(Result<Vec<SocketAddr>, ResolveError>),
}

impl Names<'_> {
    /// Asks for every name that these services need now, within `timeout` for all of them.
    pub(super) fn ask<'a>(
        services: &[Service],
        client: &'a mut NameClient,
        timeout: Duration,
    ) -> Names<'a> {
        let mut names = Names {
            client,
            asked: HashMap::new(),
            end: Instant::now() + timeout,
        };
        // First the names without which nothing can be served, then those that can also be resolved
        // later.
        for service in services {
            let accept = service.accept.iter().filter_map(host_of);
            let local = service.local.as_deref();
            accept.chain(local).for_each(|host| names.begin(host));
        }
        for service in services.iter().filter(|service| !service.delay) {
            let connect = service.connect.iter().chain(&service.redirect);
            let connect = connect.filter_map(host_of);
            connect.for_each(|host| names.begin(host));
        }
        names
    }

    /// With too many questions pending, this one is asked when its answer is awaited.
    fn begin(&mut self, host: &str) {
        if helper::literal(host).is_none()
            && !self.asked.contains_key(host)
            && let Ok(id) = self.client.ask(host, 0)
        {
            self.asked.insert(host.to_owned(), Asked::Waiting(id));
        }
    }

    /// The addresses of a name, with this port.
    ///
    /// # Errors
    /// It does not resolve, or the time for all names is over.
    pub(super) fn resolve(
        &mut self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let told = match self.asked.get(host) {
            Some(Asked::Told(told)) => told.clone(),
            Some(Asked::Waiting(id)) => self.client.wait_for(*id, host, self.end),
            None => {
                let left = self.end.saturating_duration_since(Instant::now());
                self.client.resolve_blocking(host, 0, left)
            }
        };
        self.asked
            .insert(host.to_owned(), Asked::Told(told.clone()));
        let mut addresses = told?;
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(addresses)
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
    use super::*;
    use crate::ipc::channel::Channel;

    #[test]
    fn what_does_not_answer_is_waited_for_once_not_once_a_name() {
        let (ours, _silent) = Channel::pair().unwrap();
        let begun = Instant::now();
        let mut client = NameClient::new(ours.into());
        let mut names = Names::ask(&[], &mut client, Duration::from_millis(200));
        for n in 0..20 {
            let told = names.resolve(&format!("{n}.example"), 25).unwrap_err();
            assert_eq!(told.reason, "no answer in time");
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
        // An address needs no answer, and so no time.
        let address = "192.0.2.1:25".parse().unwrap();
        assert_eq!(names.resolve("192.0.2.1", 25).unwrap(), [address]);
    }
}

//! `maxConnections`, `maxConnectionsPerAddress` and `connectRate`: how much clients may take. Never in here: a count of
//! what they have.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::checks::Faults;
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::option::{Fault, number};
use super::program::Front;
use super::service::{Draft, Service};
use crate::incidents::{Cause, Diagnosis};

/// The largest number of each: more are never open at once.
const MOST: u32 = 10_000_000;
/// The largest number in `connectRate`.
const MOST_AT_ONCE: u32 = 100_000;

/// What the clients of a service may take; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quota {
    /// Connections at once.
    pub connections: Option<NonZeroU32>,
    /// Connections at once of one address.
    pub per_address: Option<NonZeroU32>,
    /// New connections of one address.
    pub rate: Option<Pace>,
}

/// How often something may happen: so many at once, and in each such time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// At least 1.
    pub count: u32,
    /// A second, a minute or an hour.
    pub period: Duration,
}

impl Quota {
    /// Whether clients are told apart by their addresses.
    pub(crate) fn knows_addresses(&self) -> bool {
        self.per_address.is_some() || self.rate.is_some()
    }
}

/// What a client is refused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its address has as many connections as it may.
    Address(NonZeroU32),
    /// Its address connects too often.
    Rate(Pace),
}

impl Over {
    /// As what went wrong with a session.
    pub(crate) fn diagnosis(self) -> Diagnosis {
        let remedy = "where that is no abuse, raise it";
        Diagnosis::new(Cause::Limit, format!("REFUSED by {self}"), remedy)
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Over::Address(most) => write!(f, "maxConnectionsPerAddress = {most}"),
            Over::Rate(pace) => write!(f, "connectRate = {pace}"),
        }
    }
}

const UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];

impl Pace {
    fn parse(value: &str) -> Result<Pace, Fault> {
        let wrong = || {
            let fault = Fault::new(format!("`{value}` is no rate"));
            fault.help("as `10/s`, `30/min` or `100/h`; `0`: any")
        };
        let (count, unit) = value.split_once('/').ok_or_else(wrong)?;
        let unit = unit.trim();
        let known = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let (_, seconds) = known.ok_or_else(wrong)?;
        Ok(Pace {
            count: number(count.trim(), 1..=MOST_AT_ONCE)?,
            period: Duration::from_secs(*seconds),
        })
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        let unit = UNITS.iter().find(|(_, length)| *length == seconds);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

/// Reads a number of connections; 0 is any.
pub(super) fn connections(value: &str) -> Result<Option<NonZeroU32>, Fault> {
    number(value, 0..=MOST).map(NonZeroU32::new)
}

/// `maxConnections` in a section; before the first one it is that of the whole program.
pub(super) fn set_connections(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let connections = connections(value)?;
    if !draft.defaults {
        draft.service.quota.connections = connections;
    }
    Ok(())
}

/// `maxConnectionsPerAddress`
pub(super) fn set_per_address(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.quota.per_address = connections(value)?;
    Ok(())
}

/// `connectRate`; 0 is any.
pub(super) fn set_rate(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.quota.rate = match value {
        "0" => None,
        _ => Some(Pace::parse(value)?),
    };
    Ok(())
}

/// Takes back what is counted nowhere, and warns where the section itself asks for it.
pub(super) fn limit(service: &mut Service, own: &BTreeSet<&'static str>, faults: &mut Faults) {
    let quota = service.quota;
    let given = [
        ("maxConnections", quota.connections.is_some(), false),
        (
            "maxConnectionsPerAddress",
            quota.per_address.is_some(),
            true,
        ),
        ("connectRate", quota.rate.is_some(), true),
    ];
    let unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_));
    let without_addresses = !service.accept.is_empty() && service.accept.iter().all(unix);
    let without_addresses = without_addresses && !service.balancers.have_unix();
    let (why, help) = match service.front {
        _ if service.virtual_host.is_some() => (
            "the primary service accepts the clients",
            "give it to that service",
        ),
        Front::Program => (
            "the client is a program that adit starts",
            "leave the line out",
        ),
        Front::Inetd => (
            "inetd, xinetd or systemd accepts the clients",
            "they have limits of their own",
        ),
        Front::Listener if without_addresses => (
            "clients of a Unix socket have no address",
            "leave the line out",
        ),
        Front::Listener => return of_one_address(&quota, own, faults),
    };
    let by_address_alone = service.front == Front::Listener && service.virtual_host.is_none();
    let idle = given
        .iter()
        .filter(|(_, asks, by_address)| *asks && (*by_address || !by_address_alone));
    for (option, ..) in idle.filter(|(option, ..)| own.contains(option)) {
        let text = format!("`{option}` has no effect: {why}");
        faults.push(Severity::Warning, option, &text, help);
    }
    service.quota = Quota {
        connections: quota.connections.filter(|_| by_address_alone),
        ..Quota::default()
    };
}

/// Warns where one address may take all that the service has.
fn of_one_address(quota: &Quota, own: &BTreeSet<&'static str>, faults: &mut Faults) {
    if let (Some(all), Some(one)) = (quota.connections, quota.per_address)
        && one >= all
        && own.contains("maxConnections")
    {
        let text = format!(
            "`maxConnectionsPerAddress = {one}` has no effect beside `maxConnections = {all}`"
        );
        let help = "let one address have less than all";
        faults.push(Severity::Warning, "maxConnections", &text, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        for (text, count, seconds, shown) in [
            ("10/s", 10, 1, "10/s"),
            ("30 / MIN", 30, 60, "30/min"),
            ("1/h", 1, 3600, "1/h"),
        ] {
            let pace = Pace::parse(text).unwrap();
            assert_eq!((pace.count, pace.period.as_secs()), (count, seconds));
            assert_eq!(pace.to_string(), shown);
        }
        for text in [
            "10", "10/", "/s", "0/s", "-1/s", "1.5/s", "10/day", "100001/s", "10/s/s",
        ] {
            assert!(Pace::parse(text).is_err(), "{text}");
        }
    }
}

//! Reads everything that a configuration names: certificates, keys, addresses. Runs as root, before the
//! jail, and for `adit check`. Never in here: a listener.

mod addresses;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::problems::Problems;
use crate::config::{
    Config, Diagnostic, Endpoint, Global, Origins, Service, Severity, diagnostic_at,
};
use crate::helper::{KnownNames, NameClient};
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::words::Accept;
use crate::jail::Plan;
use crate::log::Log;
use crate::relay::{Hosts, Route, ServiceContext};
use crate::remedy;
use crate::tls::{self, Context, PassPhrases, Resumption, SharedLists, Wanted};
use crate::worker::group::Group;
pub(crate) use addresses::{Addresses, is_v6_alone};

/// Everything that was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The services. One that other workers serve has no TLS here.
    pub services: Arc<[ServiceContext]>,
    /// Where each service accepts.
    pub accept: Vec<Vec<Accept>>,
    /// The user and the jail.
    pub plan: Plan,
    /// Problems that are worth reporting and stop nothing.
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// Notes on the scoreboard to which services' certificates something is stapled, for the supervisor.
    pub(super) fn note_staples(&self, scoreboard: &Scoreboard) {
        for (index, service) in self.services.iter().enumerate() {
            if let Some(staple) = service.front.as_ref().and_then(Context::staple) {
                let slot = staple.index() as u64 + 1;
                scoreboard.shared(index).staple().store(slot, Relaxed);
            }
        }
    }

    /// The certificates that were loaded.
    pub(super) fn presented(&self) -> Vec<Presented> {
        let presented = self
            .services
            .iter()
            .enumerate()
            .flat_map(|(index, service)| {
                let of = |front, context: Option<&Context>| {
                    context.map(|context| Presented {
                        service: index,
                        front,
                        ends: context.certificate_ends(),
                        key: context.public_key().map(words),
                        exchanges_by_rsa: context.exchanges_by_rsa(),
                    })
                };
                let front = of(true, service.front.as_ref());
                front.into_iter().chain(of(false, service.back.as_ref()))
            });
        presented.collect()
    }
}

/// What is known of a certificate that a service presents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Presented {
    /// The service's index.
    pub service: usize,
    /// It is presented to clients.
    pub front: bool,
    /// When it ends, in seconds since 1970.
    pub ends: Option<i64>,
    /// The hash of its public key, as words: each takes less room in a message than its bytes would.
    pub key: Option<[u64; 4]>,
    /// Clients may use it for RSA key exchange.
    pub exchanges_by_rsa: bool,
}

/// Notes on the scoreboard when the certificates of services end.
pub(super) fn note_ends(presented: &[Presented], scoreboard: &Scoreboard) {
    for one in presented {
        let row = scoreboard.shared(one.service);
        let cell = match one.front {
            true => row.ends_to_clients(),
            false => row.ends_to_servers(),
        };
        // One that ended before 1970 has ended.
        let ends = one.ends.map(|at| u64::try_from(at).unwrap_or(1).max(1));
        cell.store(ends.unwrap_or(0), Relaxed);
    }
}

fn words(hash: [u8; 32]) -> [u64; 4] {
    let (words, _) = hash.as_chunks();
    [0, 1, 2, 3].map(|at| words.get(at).map_or(0, |word| u64::from_be_bytes(*word)))
}

/// An end of a service that cannot be served; what is wrong with it is told elsewhere.
struct Unusable;

/// Reads everything.
///
/// # Errors
/// Every problem of every service, not only the first, including warnings.
pub(crate) fn load(
    config: &Config,
    names: &mut NameClient,
    known: &KnownNames,
    phrases: &PassPhrases,
    resumption: &Resumption,
    log: &Log,
) -> Result<Loaded, Vec<Diagnostic>> {
    if config.services.iter().any(|s| Group::of(s) == Group::Old)
        && let Err(error) = tls::prepare_old()
    {
        let text = format!("old TLS cannot be served: {}", crate::log::Reason(&error));
        return Err(vec![Diagnostic::new(Severity::Error, None, text)]);
    }
    let addresses = Addresses::look_up(config, names, known);
    let loaded = load_group(config, &addresses, None, phrases, resumption, log)?;
    let shared = shared_keys(config, &loaded.presented());
    let failed = shared.iter().any(|found| found.severity == Severity::Error);
    let warnings = loaded.warnings.into_iter().chain(shared).collect();
    match failed {
        false => Ok(Loaded { warnings, ..loaded }),
        true => Err(warnings),
    }
}

/// Reads the certificates and keys of the services of one group; of all, without one. What is wrong beside
/// those is told with the modern group.
///
/// # Errors
/// As [`load`].
pub(super) fn load_group(
    config: &Config,
    addresses: &Addresses,
    group: Option<Group>,
    phrases: &PassPhrases,
    resumption: &Resumption,
    log: &Log,
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut services = Vec::new();
    let mut problems = Problems::default();
    let mut lists = SharedLists::default();
    let each = config.services.iter().zip(&addresses.services);
    for (index, (service, places)) in each.enumerate() {
        let mut context = |wanted: Wanted<'_>| {
            let jail = config.global.chroot.as_deref();
            let loaded = Context::load(wanted, jail, phrases, resumption, &mut lists, log);
            let (context, found) = match loaded {
                Ok((context, warnings)) => (Ok(context), warnings),
                Err(problems) => (Err(Unusable), problems),
            };
            problems.add(service, wanted.name_options(found));
            context
        };
        // Each end is loaded, whatever the other came to: all problems are told at once.
        let here = group.is_none_or(|group| group == Group::of(service));
        if here && service.dialogue.is_forgotten() {
            let text = format!(
                "Service [{}]: this process has forgotten its secrets: that is a fault of adit's",
                service.name
            );
            found.push(Diagnostic::new(Severity::Error, None, text));
        }
        let accepted = Wanted::accepted(service).filter(|_| here);
        let connected = Wanted::connected(service).filter(|_| here);
        let front = accepted.map(&mut context).transpose();
        let back = connected.map(&mut context).transpose();
        if let (Ok(front), Ok(back)) = (front, back) {
            services.push(ServiceContext {
                config: service.clone(),
                front,
                back,
                hosts: Hosts::of(index, &config.services),
                route: Route::of(service),
                upstreams: places.upstreams.clone(),
                redirects: places.redirects.clone(),
                local: places.local,
                ports: addresses.ports(config, index),
            });
        }
    }
    found.extend(problems.told());
    if group != Some(Group::Old) {
        found.extend(mixed(config));
    }
    let mut common = addresses.found.clone();
    let plan = plan(&config.global, &mut common);
    if plan.as_ref().is_some_and(Plan::stays_root) {
        common.extend(config.services.iter().filter_map(everybody_is_root));
    }
    let root = plan.as_ref().and_then(Plan::root);
    common.extend(
        config
            .services
            .iter()
            .filter_map(|s| missing_program(s, root)),
    );
    if group != Some(Group::Old) {
        found.append(&mut common);
    }
    let failed = found.iter().any(|d| d.severity == Severity::Error);
    match plan {
        Some(plan) if !failed => {
            let accept = addresses
                .services
                .iter()
                .map(|places| places.accept.clone());
            Ok(Loaded {
                services: services.into(),
                accept: accept.collect(),
                plan,
                warnings: found,
            })
        }
        _ => Err(found),
    }
}

/// Refuses secondary services that other workers serve than their primary: these have their connections by
/// then, and may not have the keys of the others.
fn mixed(config: &Config) -> Vec<Diagnostic> {
    let of_one = |service: &Service| {
        let host = service.virtual_host.as_ref()?;
        let primary = config.services.get(host.primary)?;
        if Group::of(service) == Group::of(primary) {
            return None;
        }
        let (old, other) = match Group::of(service) {
            Group::Old => (service, primary),
            Group::Modern => (primary, service),
        };
        let why = Wanted::accepted(old).map(|wanted| wanted.backend().reason);
        let text = format!(
            "Service [{}]: [{}] is served by workers for old TLS ({}) and [{}] is not: a client cannot go from \
             one to the other",
            service.name,
            old.name,
            why.unwrap_or_default(),
            other.name
        );
        let help = "give both the same TLS versions and ciphers, or this service an `accept` of its own \
                    instead of `sni`";
        Some(at(Severity::Error, &service.origins, "sni", text).help(help))
    };
    config.services.iter().filter_map(of_one).collect()
}

/// Refuses a key with which a service serves clients by RSA key exchange if it has another use too: there a
/// fault makes signatures by it, or opens every connection, also recorded ones. Warns of any other key that
/// old workers and modern ones share. One line is told once.
pub(super) fn shared_keys(config: &Config, presented: &[Presented]) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let service = |one: &Presented| config.services.get(one.service);
    for (one, other) in presented.iter().flat_map(|one| {
        let same = move |other: &&Presented| other.key.is_some() && other.key == one.key;
        presented.iter().filter(same).map(move |other| (one, other))
    }) {
        let (Some(own), Some(theirs)) = (service(one), service(other)) else {
            continue;
        };
        let by_rsa = |one: &Presented| one.front && one.exchanges_by_rsa;
        let (severity, why) = if by_rsa(one) && !by_rsa(other) {
            let why = "which has no RSA key exchange: with that, whatever is told of the key opens the \
                 connections of both";
            (Severity::Error, why)
        } else if Group::of(own) == Group::Old && Group::of(theirs) == Group::Modern {
            let why = "which has no old TLS: a fault in the library for it would show the key";
            (Severity::Warning, why)
        } else {
            continue;
        };
        let text = format!(
            "Service [{}]: its key is also the key of service [{}], {why}",
            own.name, theirs.name
        );
        let option = match own.client && one.front {
            true => "acceptCert",
            false => "cert",
        };
        let help = "give the service with old TLS a certificate and a key of its own: `adit ca --file old.pem` makes one";
        let told = at(severity, &own.origins, option, text).help(help);
        let known = |known: &Diagnostic| known.origin == told.origin && known.severity == severity;
        if !found.iter().any(known) {
            found.push(told);
        }
    }
    found
}

/// Warns where a server would ask its Unix socket for the client's identity: it learns the worker's,
/// for every client.
fn everybody_is_root(service: &Service) -> Option<Diagnostic> {
    let is_unix = |endpoint: &&Endpoint| matches!(endpoint, Endpoint::Unix(_));
    let endpoint = service.connect.iter().find(is_unix)?;
    let text = format!(
        "Service [{}]: connect = {endpoint}: the workers run as root, so a server that asks the \
         socket for the client's identity, as MariaDB (unix_socket), slapd (EXTERNAL) and PostgreSQL \
         (peer) do, takes every client for root",
        service.name
    );
    let help = "`setuid = USER` before the first section makes the workers run as another user";
    Some(at(Severity::Warning, &service.origins, "connect", text).help(help))
}

/// Warns of a program that is not there now: each connection would fail.
fn missing_program(service: &Service, root: Option<&Path>) -> Option<Diagnostic> {
    let path = &service.program.as_deref()?.path;
    let inside = path.strip_prefix("/").ok()?;
    let seen = root.unwrap_or(Path::new("/")).join(inside);
    let error = std::fs::metadata(&seen).err()?;
    let reason = crate::log::Reason(&error).to_string();
    let text = format!(
        "Service [{}]: exec = {}: {reason}",
        service.name,
        path.display()
    );
    let warning = at(Severity::Warning, &service.origins, "exec", text);
    Some(warning.help(remedy::executing(&error)))
}

/// Checks the files, user and group that a configuration names when its text already has errors, so
/// that more cannot be said about it.
pub(crate) fn look_at_files(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut problems = Problems::default();
    for service in &config.services {
        for wanted in [Wanted::accepted(service), Wanted::connected(service)] {
            let more = wanted.map(|wanted| wanted.look_at_files(config.global.chroot.as_deref()));
            problems.add(service, more.unwrap_or_default());
        }
    }
    found.extend(problems.told());
    plan(&config.global, &mut found);
    found.retain(|diagnostic| diagnostic.severity == Severity::Error);
    found
}

/// The user and the jail.
fn plan(global: &Global, found: &mut Vec<Diagnostic>) -> Option<Plan> {
    match Plan::look_up(global) {
        Ok(plan) => Some(plan),
        Err(errors) => {
            found.extend(errors.into_iter().map(|error| {
                let option = error.option().unwrap_or_default();
                diagnostic_at(&global.origins, option, error.to_string()).help(error.remedy())
            }));
            None
        }
    }
}

fn at(severity: Severity, origins: &Origins, option: &str, text: String) -> Diagnostic {
    Diagnostic {
        severity,
        ..diagnostic_at(origins, option, text)
    }
}

/// Logs what was found, one line each.
pub(crate) fn tell(found: &[Diagnostic], log: &Log) {
    for diagnostic in found {
        crate::log_at!(
            log,
            diagnostic.severity.level(),
            "{}",
            diagnostic.one_line()
        );
    }
}

//! What no single option of a service can know: how the options stand to each other.

use std::collections::BTreeSet;

use super::accepted;
use super::admission;
use super::balancers;
use super::diagnostic::Severity;
use super::dialogue::{self, Protocol};
use super::endpoint::Endpoint;
use super::first_byte;
use super::hold;
use super::login;
use super::ocsp;
use super::option::Fault;
use super::probe;
use super::program::{self, Front};
use super::psk;
use super::quota;
use super::redirect;
use super::server_name;
use super::service::{Draft, Failover, Service};
use super::sessions;
use super::subject;
use super::tls_options::TlsFlags;
use super::transparent;
use super::versions;
use super::virtual_hosts::{self, Sections};

/// Options that were probably meant; see [`Draft::meant`].
pub(super) type Meant = BTreeSet<&'static str>;

/// What makes a client verify its server.
const VERIFY: [&str; 4] = ["verify", "verifyChain", "verifyPeer", "verifyServer"];

/// What is wrong, and where.
pub(super) struct Found {
    /// The option whose line shows it; `""` is the section's line.
    pub(super) option: &'static str,
    /// Which of its lines, for one that may be repeated; `None`: the last.
    pub(super) nth: Option<usize>,
    pub(super) fault: Fault,
    /// The text names the service itself, as stunnel words it, or needs no name.
    pub(super) names_service: bool,
}

/// Collects what is wrong.
pub(super) struct Faults(Vec<Found>);

impl Faults {
    pub(super) fn push(
        &mut self,
        severity: Severity,
        option: &'static str,
        text: &str,
        help: &str,
    ) {
        let fault = Fault {
            severity,
            ..Fault::new(text).help(help)
        };
        self.add(option, None, fault);
    }

    pub(super) fn add(&mut self, option: &'static str, nth: Option<usize>, fault: Fault) {
        self.0.push(Found {
            option,
            nth,
            fault,
            names_service: false,
        });
    }

    /// A warning about the service as a whole, in stunnel's words, which name it.
    fn warn_in_its_name(&mut self, text: &str, help: &str) {
        self.push(Severity::Warning, "", text, help);
        if let Some(found) = self.0.last_mut() {
            found.names_service = true;
        }
    }

    /// A note about a line, which is the same in every service that it is a default of.
    fn note(&mut self, option: &'static str, text: &str) {
        self.add(option, None, Fault::note(text));
        if let Some(found) = self.0.last_mut() {
            found.names_service = true;
        }
    }

    pub(super) fn error(&mut self, option: &'static str, text: &str, help: &str) {
        self.push(Severity::Error, option, text, help);
    }
}

/// Completes a service whose lines have all been read. An option that was given, but with a value
/// that was refused, or under a name that is misspelt, counts as given: one mistake is not reported
/// twice.
/// A service without `accept` takes one of the `passed` sockets, unless it is a secondary one.
pub(super) fn finish(
    mut draft: Draft,
    sections: Sections<'_>,
    passed: &mut usize,
) -> (Service, Vec<Found>) {
    let mut faults = Faults(Vec::new());
    let (mut flags, decided) = draft.apply_commands();
    // As a default for every service it counts where it has a use.
    let accept = draft.accept;
    let admitted = draft.admission;
    let given_balancers = draft.balancers;
    let own = draft.own;
    let mut service = draft.service;
    // Only here: `verifyServer = no` in a section takes back all that a default of `yes` asked for,
    // so that a server among clients does not demand certificates.
    let asked = &mut service.tls.verification;
    asked.request |= asked.server;
    asked.require |= asked.server;
    let meant = draft.meant;
    let secondary = !service.client && service.tls.sni.is_some();
    let primary = virtual_hosts::attach(&mut service, sections, &meant, &mut faults);
    let program_given = draft.program;
    endpoints(&mut service, secondary, &meant, passed, &mut faults);
    program(&service, &program_given, &own, &meant, &mut faults);
    service.program = program_given.program().map(Box::new);
    upstream(&mut service, &meant, &mut faults);
    balancers::finish(&mut service, given_balancers);
    let given = |option: &str| own.contains(option);
    dialogue::judge(&mut service, &given, &meant, &mut faults);
    accepted::finish(&mut service, accept, &own, &meant, &mut faults);
    admission::finish(&mut service, admitted, &own, &meant, &mut faults);
    quota::limit(&mut service, &own, &mut faults);
    let given = |option: &str| own.contains(option);
    login::judge(&mut service, &given, &meant, &mut faults);
    hold::judge(&mut service, &given, &meant, &mut faults);
    probe::judge(&mut service, &given, &meant, &mut faults);
    if let Some(primary) = primary {
        flags = virtual_hosts::inherit(&mut service, primary, decided, flags, &own);
    }
    versions::limit(&mut service, flags, &mut faults);
    let lowest = service.tls.version_min;
    service.tls.no_ticket = flags.has(TlsFlags::NO_TICKET);
    service.tls.no_ca_names = flags.has(TlsFlags::NO_CA_NAMES);
    service.tls.server_preference = flags.has(TlsFlags::SERVER_PREFERENCE);
    versions::keep_to_level(&mut service, &mut faults);
    introduce_to_the_program(&mut service);
    let identity = own.contains("PSKidentity");
    psk::limit(&mut service, identity, &meant, &mut faults);
    versions::expose(&mut service, &mut faults);
    service.hold_secondaries_to(lowest);
    sessions::limit(&mut service, |name| own.contains(name), &mut faults);
    redirect::limit(&mut service, primary, &meant, &mut faults);
    transparent::limit(&service, &own, &meant, &mut faults);
    balancers::limit(&mut service, &own, &mut faults);
    certificate(&service, &meant, &mut faults);
    verification(&service, &meant, &mut faults);
    revocation(&service, &own, &meant, &mut faults);
    ocsp::limit(&mut service, &own, &meant, &mut faults);
    authentication(&service, &meant, &mut faults);
    (service, faults.0)
}

/// `Each service must define two endpoints`. A `secondary` one says so, rightly or not.
fn endpoints(
    service: &mut Service,
    secondary: bool,
    meant: &Meant,
    passed: &mut usize,
    faults: &mut Faults,
) {
    let given = |names: &[&str]| {
        let mut names = names.iter();
        names.any(|name| service.origins.has(name) || meant.contains(name))
    };
    let misspelt = !service.client && meant.contains("sni");
    let mut accept = given(&["accept"]) || secondary || misspelt;
    let exec = given(&["exec"]);
    // SOCKS clients say where to.
    let mut connect =
        given(&["connect"]) || service.protocol == Some(Protocol::Socks) && !service.client;
    if service.transparent.destination {
        if exec || connect {
            let text = "Each service must define two endpoints";
            let help = "`transparent = destination` is one itself: clients go where they wanted to go. Leave out \
                 `connect` or `exec`, and `protocol = socks`";
            faults.error("", text, help);
            return;
        }
        connect = true;
    }
    connect |= meant.contains("transparent");
    if service.front == Front::Inetd {
        return inetd(accept, exec != connect, faults);
    }
    let two = accept || exec && connect;
    if !two && *passed > 0 {
        *passed -= 1;
        accept = true;
    }
    let help = match (accept, exec, connect) {
        (true, true, false) | (true, false, true) => return,
        (false, true, true) => {
            service.front = Front::Program;
            return;
        }
        (true, true, true) => {
            "one of the three is too many: `accept` with `connect` or with `exec`, or, for a program \
             that adit starts by itself, `exec` with `connect`"
        }
        (true, false, false) => "`connect = [HOST:]PORT` is missing, or `exec = PATH`",
        (false, _, _) if exec || connect => {
            "`accept = [HOST:]PORT` is missing, and systemd passes no socket in its place"
        }
        (false, _, _) => "`accept = [HOST:]PORT` and `connect = [HOST:]PORT` are missing",
    };
    faults.error("", "Each service must define two endpoints", help);
}

/// A program is told who its client is.
fn introduce_to_the_program(service: &mut Service) {
    if service.program.is_none() {
        return;
    }
    match service.client {
        false => service.tls.introduces = true,
        true => {
            let accept = service.accept_tls.as_deref_mut();
            accept
                .into_iter()
                .for_each(|accept| accept.tls.introduces = true);
        }
    }
}

/// The endpoint of inetd mode, whose other one is there already.
fn inetd(accept: bool, one: bool, faults: &mut Faults) {
    let help = "a service begins with a line of its own, such as [smtp]; without one, adit serves the one \
         connection on descriptor 0";
    if accept {
        let text = "'accept' option is only allowed in a [section], and no [section] is there";
        faults.error("accept", text, help);
    } else if !one {
        let text =
            "Inetd mode must define one endpoint, `connect` or `exec`, and no [section] is there";
        faults.error("", text, help);
    }
}

/// The program behind the service, or before it.
fn program(
    service: &Service,
    given: &program::Given,
    own: &BTreeSet<&'static str>,
    meant: &Meant,
    faults: &mut Faults,
) {
    let exec = service.origins.has("exec") || meant.contains("exec");
    let idle = [
        ("execArgs", service.origins.has("execArgs")),
        ("pty", given.pty),
    ];
    for (option, asks) in idle {
        if asks && !exec {
            faults.note(option, &format!("`{option}` has no effect without `exec`"));
        }
    }
    if given.retry.is_some() && !(exec && service.front == Front::Program) {
        faults.note(
            "retry",
            "`retry` has no effect without `exec` and `connect`",
        );
    }
    // As defaults for every service they count where something is connected to.
    let counts = |option| own.contains(option) || service.front == Front::Inetd;
    let of_connecting = [("delay", service.delay), ("local", service.local.is_some())];
    for (option, asks) in of_connecting {
        if asks && exec && !connects(service, meant) && counts(option) {
            faults.note(option, &format!("`{option}` has no effect with `exec`"));
        }
    }
}

/// Whether the service, or what it was meant to be, connects to something.
fn connects(service: &Service, meant: &Meant) -> bool {
    let exec = service.origins.has("exec") || meant.contains("exec");
    !exec || service.origins.has("connect") || meant.contains("connect")
}

/// Where to connect to, under which name, and what is said there first.
fn upstream(service: &mut Service, meant: &Meant, faults: &mut Faults) {
    if service.delay && service.failover == Failover::RoundRobin {
        // As stunnel: "Delayed resolver inflicts failover = prio".
        service.failover = Failover::Priority;
        if connects(service, meant) {
            faults.push(
                Severity::Warning,
                "failover",
                "`failover = rr` has no effect with `delay = yes`: the order is `prio`",
                "leave `delay` out to have the load spread",
            );
        }
    }
    if service.client {
        let sni = service.tls.sni.as_deref().unwrap_or_default();
        if let Some(fault) = server_name::judge(sni) {
            faults.add("sni", None, fault);
        }
        let behind = service.dialogue.behind_proxy(service.protocol);
        service.tls.connect_host = match service.connect.first() {
            _ if behind.is_some() => behind.map(|(host, _)| host.to_owned()),
            Some(Endpoint::Tcp { host, .. }) => {
                Some(host.clone().unwrap_or_else(|| "localhost".to_owned()))
            }
            Some(Endpoint::Unix(_)) | None => None,
        };
    }
    if service.protocol == Some(Protocol::Socks)
        && !meant.contains("client")
        && !service.client
        && !service.connect.is_empty()
    {
        faults.push(
            Severity::Warning,
            "connect",
            "`connect` has no effect with `protocol = socks`",
            "clients say where they want to be connected to",
        );
    }
    first_byte(service, meant, faults);
}

/// Whether each port on the side of TLS begins as the service does.
fn first_byte(service: &Service, meant: &Meant, faults: &mut Faults) {
    // A `protocol` that was refused is told already.
    let refused = service.protocol.is_none() && service.origins.has("protocol");
    if refused || meant.contains("protocol") || meant.contains("client") {
        return;
    }
    let (option, endpoints) = match service.client {
        true => ("connect", &service.connect),
        false => ("accept", &service.accept),
    };
    for (nth, endpoint) in endpoints.iter().enumerate() {
        let Endpoint::Tcp { host, port } = endpoint else {
            continue;
        };
        let host = host.as_deref().unwrap_or_default();
        let fault = match service.client {
            true => first_byte::judge(host, *port, service.protocol),
            false => first_byte::judge_accept(*port, service.protocol),
        };
        if let Some(fault) = fault {
            faults.add(option, Some(nth), fault);
        }
    }
}

/// Our own certificate.
fn certificate(service: &Service, meant: &Meant, faults: &mut Faults) {
    let given = |name| service.origins.has(name) || meant.contains(name);
    if !service.client && !meant.contains("client") && !given("cert") && !given("PSKsecrets") {
        faults.error(
            "",
            "TLS server needs a certificate",
            "give `cert = FILE` (and `key = FILE`), or `client = yes` if the remote side speaks TLS",
        );
    }
    if service.client && given("key") && !given("cert") {
        faults.push(
            Severity::Warning,
            "key",
            "`key` has no effect without `cert`",
            "name the certificate that the key belongs to",
        );
    }
}

/// What is asked of the peer's certificate, in stunnel's words where it has them.
fn verification(service: &Service, meant: &Meant, faults: &mut Faults) {
    let asked = service.tls.verification;
    let given = |names: &[&'static str]| {
        let mut names = names.iter().copied();
        names.find(|name| service.origins.has(name) || meant.contains(name))
    };
    let trusted = given(&["CAfile", "CApath", "CAengine", "CAstore"]).is_some();
    if (asked.chain || asked.peer) && !trusted {
        let option = match asked.chain {
            true => given(&["verifyChain", "verify"]),
            false => given(&["verifyPeer", "verify"]),
        };
        faults.error(
            option.unwrap_or(""),
            "Either \"CAfile\" or \"CApath\" has to be configured",
            "as `CApath = /etc/ssl/certs`; in client mode, `verifyServer = yes` needs neither",
        );
    }
    let check = given(&subject::OPTIONS);
    if let Some(check) = check
        && !(asked.chain || asked.peer || asked.server || VERIFY.iter().any(|n| meant.contains(n)))
    {
        faults.error(
            check,
            "Either \"verifyChain\" or \"verifyPeer\" has to be enabled",
            "or `verifyServer = yes` in client mode",
        );
    }
    if !asked.server {
        return;
    }
    if !service.client && !meant.contains("client") {
        faults.error(
            "verifyServer",
            "`verifyServer` is for client mode",
            "a server verifies its clients with verifyChain or verifyPeer",
        );
    } else if (!service.connect.is_empty() || service.transparent.destination)
        && no_name(service)
        && !meant.contains("sni")
    {
        faults.error(
            "verifyServer",
            "`verifyServer` has no name to look for in the certificate",
            "a Unix socket has none, nor has `transparent = destination`: give `sni = HOST`",
        );
    }
}

/// Warns of lists in which no peer is looked up.
fn revocation(service: &Service, own: &BTreeSet<&'static str>, meant: &Meant, faults: &mut Faults) {
    let asked = service.tls.verification;
    let verifies = asked.chain || asked.peer || asked.server;
    if verifies || VERIFY.iter().any(|option| meant.contains(option)) {
        return;
    }
    let given = [
        ("CRLfile", service.tls.crl_file.is_some()),
        ("CRLpath", service.tls.crl_path.is_some()),
    ];
    for (option, given) in given {
        if given && own.contains(option) {
            faults.push(
                Severity::Warning,
                option,
                &format!("`{option}` has no effect: this service verifies no certificate"),
                "`verifyChain = yes` and `CAfile` verify peers; in client mode `verifyServer = yes` alone does",
            );
        }
    }
}

/// Whether neither `sni` nor `connect` gives the name of the server.
fn no_name(service: &Service) -> bool {
    let sni = service.tls.sni.as_deref().unwrap_or_default();
    sni.is_empty() && service.tls.connect_host.is_none()
}

/// stunnel's warnings about clients that do not verify their server.
fn authentication(service: &Service, meant: &Meant, faults: &mut Faults) {
    let asked = service.tls.verification;
    let name = &service.name;
    let misspelt = VERIFY.iter().any(|option| meant.contains(option));
    // As in stunnel, a pre-shared key is authentication enough.
    let psk = service.origins.has("PSKsecrets") || meant.contains("PSKsecrets");
    if !service.client || asked.peer || asked.server || misspelt || psk {
        return;
    }
    let checks = subject::OPTIONS;
    if !asked.chain {
        faults.warn_in_its_name(
            &format!("Service [{name}] needs authentication to prevent MITM attacks"),
            "`verifyServer = yes` verifies the server as a browser does",
        );
    } else if !checks
        .iter()
        .any(|check| service.origins.has(check) || meant.contains(check))
    {
        faults.warn_in_its_name(
            &format!("Service [{name}] uses \"verifyChain\" without subject checks"),
            "Use \"checkHost\" or \"checkIP\" to restrict trusted certificates, or `verifyServer = yes`",
        );
    }
}

//! Text to typed configuration: stunnel.conf syntax, one definition per option, every error of a
//! file in one run. Never in here: a socket, a clock, or the contents of a certificate. The only
//! files opened are the configuration itself and what it includes, by `load.rs` alone.
//!
//! The way of a line: `syntax` makes names and values of it, `provider` layers them with the
//! environment and the flags, `assemble` gives each value to its definition in the tables of
//! `global`, `service` and `unserved`, and `checks` looks at a service as a whole.
#![forbid(unsafe_code)]

mod accepted;
mod admission;
mod alpn;
mod assemble;
mod balancers;
mod checks;
mod commands;
mod control;
mod diagnostic;
mod dialogue;
mod endpoint;
mod first_byte;
mod global;
mod hold;
mod http_url;
mod idle;
mod keeper;
mod load;
mod login;
mod metrics;
mod networks;
mod ocsp;
mod option;
mod probe;
mod program;
mod provider;
mod psk;
mod quota;
mod redirect;
mod secret;
mod server_name;
mod service;
mod sessions;
mod signature_list;
mod socket;
mod subject;
mod syntax;
mod tls_options;
mod transparent;
mod unserved;
mod value;
mod versions;
mod virtual_hosts;

#[cfg(test)]
mod tests;

pub(crate) use accepted::{Beginning, MailProtocol, Reception};
pub(crate) use balancers::Balancers;
pub(crate) use diagnostic::{Diagnostic, Diagnostics, Severity, diagnostic_at, nearest};
#[cfg(test)]
pub(crate) use dialogue::protocol_names;
pub(crate) use dialogue::{Authentication, DialogueOptions, Protocol, ProxyVersion};
pub(crate) use endpoint::{Endpoint, accept_address};
pub(crate) use global::{Foreground, Global, LogFormat, LogMode, PreferChaCha20};
pub(crate) use http_url::HttpUrl;
pub(crate) use keeper::KeeperOptions;
#[cfg(fuzzing)]
pub(crate) use load::fuzzing::{fuzz, fuzz_service};
pub(crate) use load::{Loaded, Sources, control_folders, control_sockets, load, load_partly};
pub(crate) use metrics::MetricsAddress;
pub(crate) use networks::{Network, Networks, accept_networks};
pub(crate) use ocsp::Ocsp;
pub(crate) use option::{OptionDef, Scope, Verdict, find, options};
pub(crate) use program::{Front, Program};
pub(crate) use psk::SUITES as PSK_SUITES;
pub(crate) use quota::{Over, Pace, Quota};
pub(crate) use secret::{Forgotten, Secret};
pub(crate) use service::{
    Failover, LogId, PeerVerification, SecurityLevel, Service, Timeouts, TlsOptions, TlsVersion,
};
pub(crate) use sessions::SessionOptions;
pub(crate) use signature_list::{
    Scheme, SignatureLists, names as scheme_names, served as served_schemes,
};
pub(crate) use socket::{SocketOption, SocketOptionValue, socket_option_names};
pub(crate) use subject::{Pin, SubjectChecks};
pub(crate) use tls_options::tls_option_names;
pub(crate) use transparent::Transparent;
pub(crate) use value::{Origin, Origins};
pub(crate) use versions::{exposed, is_public};

/// A whole configuration: what stands before the first section, and the services in file order.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Options that hold for the whole program.
    pub global: Global,
    /// One entry per `[section]`, in the order of the file.
    pub services: Vec<Service>,
}

impl Config {
    /// Forgets the secrets of these services, in a process that must not know them. Those of others stay.
    pub(crate) fn forget_secrets(&self, of: impl Fn(&Service) -> bool) {
        let services = self.services.iter().filter(|service| of(service));
        for service in services {
            service.dialogue.forget();
            service.each_tls().for_each(|tls| tls.sessions.forget());
        }
    }

    /// Whether it serves one connection that is there already, and no other.
    pub(crate) fn is_for_inetd(&self) -> bool {
        self.services.iter().any(|s| s.front == Front::Inetd)
    }
}

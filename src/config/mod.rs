//! Text to typed configuration: stunnel.conf syntax, one definition per option, every error of a
//! file in one run. Never in here: a socket, a clock, or the contents of a certificate. The only
//! files opened are the configuration itself and what it includes.
#![forbid(unsafe_code)]

mod global;
mod service;
mod value;

pub use global::{Foreground, Global, LogMode};
pub use service::{
    Failover, LogId, PeerVerification, Protocol, Service, SocketOption, SocketOptionValue,
    Timeouts, TlsOptions, TlsVersion,
};
pub use value::{Endpoint, Origin, Secret};

/// A whole configuration: what stands before the first section, and the services in file order.
#[derive(Debug, Clone)]
pub struct Config {
    /// Options that hold for the whole program.
    pub global: Global,
    /// One entry per `[section]`, in the order of the file.
    pub services: Vec<Service>,
    /// The file it came from, for messages; `None` when it came from flags alone.
    pub file: Option<std::path::PathBuf>,
}

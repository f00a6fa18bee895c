//! One connection's life, between a front (accepted) and a back (connected) end.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Service;
use crate::tls;

/// What the sessions of a service need to know of it, made when the configuration is loaded.
#[derive(Debug)]
pub struct ServiceContext {
    /// Its options.
    pub config: Service,
    /// Its TLS side.
    pub tls: tls::Context,
    /// What its `connect` entries resolved to when the configuration was loaded, in their order;
    /// empty with `delay = yes` or when nothing resolved.
    pub upstreams: Vec<Upstream>,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// TCP, and the host as the configuration names it.
    Tcp(SocketAddr, String),
    /// A Unix socket.
    Unix(PathBuf),
}

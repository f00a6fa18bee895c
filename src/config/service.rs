//! The options of one service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::value::{Endpoint, Origin};

/// Canonical option name (`CAfile`) to the place where it was given.
pub type Origins = BTreeMap<&'static str, Origin>;

/// `failover = rr | prio`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// Start at the next entry each time.
    RoundRobin,
    /// Start at the first entry each time (the default).
    Priority,
}

/// `logId = sequential | unique | thread | process`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogId {
    /// The connection's number, counted over all workers (the default).
    Sequential,
    /// A random identifier, unique over machines.
    Unique,
    /// The relay thread's system thread id.
    Thread,
    /// The worker's process id.
    Process,
}

/// `protocol = ...`: what is said in plain before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Protocol {
    Smtp,
    Pop3,
    Imap,
}

/// A TLS protocol version adit can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246
    V1_2,
    /// RFC 8446
    V1_3,
}

/// What `verify`, `verifyChain`, `verifyPeer`, `requireCert`, `verifyServer` come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerVerification {
    /// Ask the peer for a certificate (server mode; a TLS server always sends one).
    pub request: bool,
    /// A peer without a certificate is refused.
    pub require: bool,
    /// The chain must end at a certificate of CAfile/CApath (verify 2, verifyChain).
    pub chain: bool,
    /// The leaf itself must be in CAfile/CApath (verify 3 and 4, verifyPeer).
    pub peer: bool,
    /// verifyServer: the system's roots unless CAfile/CApath is given, and the name in `sni` or `connect`.
    pub server: bool,
}

/// The four waiting times of the relay, as in stunnel(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Waiting for expected data (handshake, dialogue). Default 300 s.
    pub busy: Duration,
    /// Waiting for close_notify. Default 60 s.
    pub close: Duration,
    /// Waiting to connect. Default 10 s.
    pub connect: Duration,
    /// An idle connection is ended after this. Default 43200 s.
    pub idle: Duration,
}

/// `socket = a|l|r:OPTION=VALUE[:VALUE]`, stored per option for setsockopt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOption {
    /// `a` accept, `l` local, `r` remote.
    pub on: char,
    /// The system's name, as `TCP_NODELAY`.
    pub name: &'static str,
    /// setsockopt's level.
    pub level: i32,
    /// setsockopt's option.
    pub option: i32,
    /// setsockopt's value.
    pub value: SocketOptionValue,
}

/// A socket option's value by the type that setsockopt wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketOptionValue {
    /// An int, or a flag as 0/1.
    Int(i32),
    /// SO_LINGER: on, seconds.
    Linger(bool, i32),
    /// SO_RCVTIMEO and its like.
    Duration(Duration),
    /// SO_BINDTODEVICE
    Text(String),
}

/// What the TLS side of a service is asked to do. Read by `tls`, and by nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// Certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// Private key, PEM; default: the file of `cert`.
    pub key: Option<PathBuf>,
    /// Trusted certificates, one file.
    pub ca_file: Option<PathBuf>,
    /// Trusted certificates, a folder.
    pub ca_path: Option<PathBuf>,
    /// What is asked of the peer's certificate.
    pub verification: PeerVerification,
    /// Subject checks; one that matches is enough for each kind given.
    pub check_host: Vec<String>,
    /// As `check_host`, for addresses.
    pub check_ip: Vec<std::net::IpAddr>,
    /// As `check_host`, for mail addresses.
    pub check_email: Vec<String>,
    /// Client mode: the name to send. `None`: the host of `connect`; `Some("")`: send none.
    pub sni: Option<String>,
    /// Client mode, `sni` not given: the host names of `connect`, for SNI and verifyServer.
    pub connect_host: Option<String>,
    /// Lowest version spoken. Default TLS 1.2.
    pub version_min: Option<TlsVersion>,
    /// Highest version spoken. Default TLS 1.3.
    pub version_max: Option<TlsVersion>,
    /// TLS 1.2 suites, an OpenSSL cipher list.
    pub ciphers: Option<String>,
    /// TLS 1.3 suites, colon separated.
    pub ciphersuites: Option<String>,
    /// Groups, colon separated, OpenSSL's names.
    pub curves: Option<String>,
    /// `options = NO_TICKET`
    pub no_ticket: bool,
    /// `options = CIPHER_SERVER_PREFERENCE`: our order rules.
    pub server_preference: bool,
}

/// One `[section]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The section's name.
    pub name: String,
    /// Addresses to accept on.
    pub accept: Vec<Endpoint>,
    /// Addresses to connect to.
    pub connect: Vec<Endpoint>,
    /// Client mode: plain front, TLS back. Otherwise TLS front, plain back.
    pub client: bool,
    /// The order in which `connect` is tried.
    pub failover: Failover,
    /// Resolve `connect` at each connection.
    pub delay: bool,
    /// Source address for connecting.
    pub local: Option<String>,
    /// setsockopt calls.
    pub socket: Vec<SocketOption>,
    /// Pass an RST on as an RST. Default yes.
    pub reset: bool,
    /// What stands in a log line's brackets.
    pub log_id: LogId,
    /// Highest level this service logs; the global one unless given.
    pub debug: u8,
    /// Waiting times.
    pub timeouts: Timeouts,
    /// The dialogue before TLS.
    pub protocol: Option<Protocol>,
    /// Argument of the dialogue (`EHLO` name in SMTP client mode).
    pub protocol_host: Option<String>,
    /// Owner of a Unix accept socket.
    pub setuid: Option<String>,
    /// Group of a Unix accept socket.
    pub setgid: Option<String>,
    /// The TLS side.
    pub tls: TlsOptions,
    /// Where each option that was given was written, by its canonical name; `""` is the section line.
    pub origins: Origins,
}

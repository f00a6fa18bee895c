//! adit: a TLS relay for Linux servers that reads stunnel.conf.
//!
//! The map of the house, in the order in which a connection meets the rooms:
//!
//! * [`cli`]: the command line, `adit [FILE]`, `check`, `relay`, `demo`, `status`, `listen-in`, `ca`.
//! * [`config`]: text to typed configuration; every error with file, line and a suggestion.
//! * [`supervisor`]: root's part. Binds ports, keeps generations of masters, reloads as a transaction.
//! * [`master`]: loads keys, enters the [`jail`], accepts, and hands each socket to a worker.
//! * [`worker`]: a pool of relay threads with a poller each.
//! * [`relay`]: one connection's life, between a front (accepted) and a back (connected) end.
//! * [`protocol`]: the plain dialogue before TLS starts (STARTTLS and its like).
//! * [`tls`]: rustls behind one small face; nothing outside it may name rustls.
//! * [`helper`]: the processes that others ask, the DNS process first, so that neither root nor the jail
//!   parses an answer.
//! * [`base64`], [`hexadecimal`]: encodings of logins and of secrets.
//! * [`oauth`]: signing in by OAuth2: token servers, and the accounts that are kept.
//! * [`http`], [`dial`]: one request and what comes back, sans-IO; a connection that waits for it.
//! * [`providers`]: the mail providers that are known, from a table.
//! * [`ports`]: what the system calls its ports.
//! * [`inside`]: files in the jail that root opens from outside it.
//! * [`ipc`]: descriptors and words between the processes, and the scoreboard they share.
//! * [`process`], [`children`], [`signals`], [`sandbox`], [`step`]: what every process does at its birth, and
//!   what a parent does about deaths.
//! * [`incidents`]: what goes wrong, by cause, and what is kept of it.
//! * [`status`]: what the scoreboard says, as one document.
//! * [`memory`]: the allocator: what a thread holds, and what happens when nothing is left.
//! * [`sys`]: system calls behind safe faces.
//! * [`log`]: slog drains in stunnel's line shape: terminal, file, syslog.
#![deny(unsafe_code)]

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
compile_error!(include_str!("unserved_target.txt"));

mod audit;
mod base64;
mod carry;
mod children;
pub mod cli;
mod config;
mod dial;
#[cfg(fuzzing)]
pub mod fuzzing;
mod helper;
mod hexadecimal;
mod http;
mod incidents;
mod inetd;
mod inside;
mod ipc;
mod jail;
mod limits;
mod log;
mod master;
mod memory;
mod oauth;
mod ports;
mod process;
mod protocol;
mod providers;
mod relay;
mod remedy;
mod sandbox;
mod signals;
#[cfg(test)]
mod skips;
mod status;
mod step;
mod supervisor;
mod sys;
mod tls;
mod worker;

pub use ipc::inherit::note_given;

//! The fetcher process: posts requests to OCSP responders and gives back what they answer, so that workers, which
//! may open no connection but their services', need not. It reads HTTP and no more; what an answer is worth is
//! for the one that asked. Holds no key, no listener, and can write to nothing.
//!
//! Those that ask have a [`Client`]; the process answers on the other end of its socket, in whatever order
//! answers come in ([`message`]). [`server`] is its threads' work, [`exchange`] one request.

mod client;
mod exchange;
mod message;
mod server;

use super::{Kind, Life, Role, pool};
use crate::sandbox;
pub(crate) use client::Client;

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Fetcher,
    life: Life::Outside(sandbox::fetcher, pool::serve::<server::Posts>),
};

/// The longest body of a request, in bytes.
const MAX_REQUEST: usize = 4 << 10;
/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

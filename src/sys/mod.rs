//! Safe wrappers for system calls, where neither std nor nix has one that will do. Never in here: a decision.

pub(crate) mod diag;
pub(crate) mod handshakes;
pub(crate) mod page;
pub(crate) mod queues;
pub(crate) mod quiet;
pub(crate) mod sockopt;
pub(crate) mod terminal;
pub(crate) mod watch;
pub(crate) mod zeros;

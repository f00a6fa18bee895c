//! Safe wrappers for system calls, where neither std nor nix has one that will do. Never in here: a decision.

pub mod sockopt;
pub mod watch;

//! Safe wrappers for system calls that neither std nor nix wraps. Never in here: a decision.

pub mod sockopt;

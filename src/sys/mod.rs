//! Safe wrappers for what neither std nor nix gives safely. Never in here: a decision.

pub mod watch;

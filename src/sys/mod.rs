//! System calls behind safe faces, for what std and nix have no wrapper for. Never in here: a decision.

pub mod sockopt;

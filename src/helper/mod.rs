//! The processes that others ask: how one is started, jailed, introduced, renewed and ended. What a kind
//! does is its own room's business. Never in here: a key, or what a helper is asked.

pub mod process;
pub mod resolver;

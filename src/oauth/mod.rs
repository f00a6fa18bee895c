//! Signing in by OAuth2 (RFC 6749): token servers, what they answer, and the accounts that are kept. The keeper and
//! `adit login` work by it. Never in here: a session, a terminal; a secret in a message.
//!
//! * [`provider`]: the token servers that are known;
//! * [`form`], [`answer`]: what is asked and what comes back, sans-IO; [`ask`]: both over HTTPS;
//! * [`account`]: what is kept of one; [`seal`]: how its secrets are locked; [`store`]: its file.
#![forbid(unsafe_code)]

pub(crate) mod account;
pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod form;
pub(crate) mod provider;
pub(crate) mod seal;
pub(crate) mod store;

/// Wiped, and never shown.
pub(crate) use crate::config::Secret;

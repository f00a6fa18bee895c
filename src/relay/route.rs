//! What a session goes through before bytes are carried.

use super::ServiceContext;
use crate::protocol::Side;

/// What must be done before bytes are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connect the back.
    Connect,
    /// The dialogue in plain.
    Dialogue,
    /// TLS on one end.
    Handshake(Side),
}

/// The stages of a service's sessions, in their order.
pub(super) fn plan(service: &ServiceContext) -> &'static [Stage] {
    use Stage::{Connect, Dialogue, Handshake};
    match (
        service.tls.is_some(),
        service.config.client,
        service.config.protocol.is_some(),
    ) {
        (false, _, false) => &[Connect],
        (false, _, true) => &[Connect, Dialogue],
        (true, true, false) => &[Connect, Handshake(Side::Back)],
        (true, true, true) => &[Connect, Dialogue, Handshake(Side::Back)],
        (true, false, false) => &[Handshake(Side::Front), Connect],
        (true, false, true) => &[Connect, Dialogue, Handshake(Side::Front)],
    }
}

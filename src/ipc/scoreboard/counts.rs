//! What is counted for a service, to be carried from one generation to the next. Never in here: an open connection,
//! which is its own generation's.

use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::ServiceRow;

macro_rules! counts {
    ($($name:ident,)*) => {
        /// The counters of one service: a [`ServiceRow`] without `active`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct Counts { $(pub $name: u64,)* }

        impl Counts {
            /// The higher of two, count by count.
            #[must_use]
            pub(crate) fn highest(self, other: Counts) -> Counts {
                Counts { $($name: self.$name.max(other.$name),)* }
            }

            /// Adds the counts of another.
            pub(crate) fn add(&mut self, other: Counts) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
            }

            pub(super) fn of(row: ServiceRow<'_>, read: fn(&AtomicU64) -> u64) -> Counts {
                Counts { $($name: read(row.$name()),)* }
            }
        }
    };
}

counts! {
    accepted,
    handshakes_new,
    handshakes_resumed,
    failed_certificate,
    failed_negotiation,
    failed_protocol,
    failed_vanished,
    failed_before_tls,
    failed_within_tls,
    bytes_to_back,
    bytes_to_front,
    connect_failed,
    refused,
    shed,
}

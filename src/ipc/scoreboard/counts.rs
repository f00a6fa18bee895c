//! What is counted for a service, to be carried from one generation to the next. Never in here: an open connection,
//! which is its own generation's.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::{Scoreboard, ServiceRow};
use crate::ipc::durations::{Durations, Histogram};

macro_rules! counts {
    ($($name:ident,)*) => {
        /// The counters of one service: a [`ServiceRow`] without `active`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct Counts {
            $(pub $name: u64,)*
            /// TLS handshakes that succeeded, by their durations: see [`Durations::handshake`].
            #[serde(skip_serializing_if = "Histogram::is_empty")]
            pub handshake: Histogram,
            /// Connections to servers: see [`Durations::connect`].
            #[serde(skip_serializing_if = "Histogram::is_empty")]
            pub connect: Histogram,
            /// Connections that are over: see [`Durations::session`].
            #[serde(skip_serializing_if = "Histogram::is_empty")]
            pub session: Histogram,
        }

        impl Counts {
            /// The higher of two, count by count.
            #[must_use]
            pub(crate) fn highest(self, other: Counts) -> Counts {
                Counts {
                    $($name: self.$name.max(other.$name),)*
                    handshake: self.handshake.highest(other.handshake),
                    connect: self.connect.highest(other.connect),
                    session: self.session.highest(other.session),
                }
            }

            /// Adds the counts of another.
            pub(crate) fn add(&mut self, other: Counts) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
                self.handshake.add(other.handshake);
                self.connect.add(other.connect);
                self.session.add(other.session);
            }

            pub(super) fn of(row: ServiceRow<'_>, took: Durations<'_>, read: fn(&AtomicU64) -> u64) -> Counts {
                Counts {
                    $($name: read(row.$name()),)*
                    handshake: took.handshake().read(read),
                    connect: took.connect().read(read),
                    session: took.session().read(read),
                }
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
    probes,
    full_tls10,
    full_tls11,
    full_tls12,
    full_tls13,
    resumed_tls10,
    resumed_tls11,
    resumed_tls12,
    resumed_tls13,
    late,
    over_rate,
    over_address,
    full,
}

impl Scoreboard {
    /// The counts of service `service` (from 0), summed over all workers.
    pub(crate) fn counts(&self, service: usize) -> Counts {
        self.sum(service, |cell| cell.load(Relaxed))
    }

    /// As [`Scoreboard::counts`], and resets them to zero.
    pub(crate) fn take_counts(&self, service: usize) -> Counts {
        self.sum(service, |cell| cell.swap(0, Relaxed))
    }

    fn sum(&self, service: usize, read: fn(&AtomicU64) -> u64) -> Counts {
        let mut total = Counts::default();
        for worker in 0..self.workers {
            let took = self.durations(worker, service);
            total.add(Counts::of(self.service(worker, service), took, read));
        }
        total
    }
}

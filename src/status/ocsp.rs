//! What is stapled to a service's certificate.

use serde::{Deserialize, Serialize};

use crate::tls::{Seen, StapleState};

/// What a responder says about a service's own certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OcspStatus {
    /// `good`, `revoked`; `expired` if it was good and counts no more, so that nothing is stapled; `waiting` while no
    /// responder has answered.
    pub status: String,
    /// Until when the answer counts, in seconds since 1970; 0 without one.
    pub until: u64,
    /// Tries since the last answer that brought none.
    pub failures: u64,
}

impl OcspStatus {
    /// What is seen at `now`, in seconds since 1970.
    pub(super) fn at(now: u64, seen: Seen) -> OcspStatus {
        let status = match seen.state {
            StapleState::Waiting => "waiting",
            StapleState::Good if seen.until <= now => "expired",
            StapleState::Good => "good",
            StapleState::Revoked => "revoked",
        };
        OcspStatus {
            status: status.to_owned(),
            until: seen.until,
            failures: seen.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_no_more_is_not_good() {
        for (state, until, status) in [
            (StapleState::Good, 11, "good"),
            (StapleState::Good, 10, "expired"),
            (StapleState::Revoked, 10, "revoked"),
            (StapleState::Waiting, 0, "waiting"),
        ] {
            let failures = 0;
            let seen = Seen {
                state,
                until,
                failures,
            };
            assert_eq!(OcspStatus::at(10, seen).status, status);
        }
    }
}

//! The metrics of the servers that services connect to. Never in here: a connection's.

use std::collections::BTreeMap;

use super::{Page, Seen};
use crate::ipc::probes::Tally;

/// What probes found, where there are any.
pub(super) fn about_servers(page: &mut Page, seen: &Seen<'_>) {
    let Some((serving, board)) = seen.serving() else {
        return;
    };
    let mut all: BTreeMap<&str, Tally> = BTreeMap::new();
    for (index, name) in serving.services.iter().enumerate() {
        let tally = board.tally(index);
        if tally.probed > 0 {
            let sum = all.entry(name).or_default();
            sum.probed = sum.probed.saturating_add(tally.probed);
            sum.ejected = sum.ejected.saturating_add(tally.ejected);
        }
    }
    let mut probed = page.gauge("adit_service_upstreams", "Servers that probes look at.");
    for (service, tally) in &all {
        probed.of("service", service, u64::from(tally.probed));
    }
    let mut ejected = page.gauge(
        "adit_service_upstreams_ejected",
        "Those of them that do not answer, and come last.",
    );
    for (service, tally) in &all {
        ejected.of("service", service, u64::from(tally.ejected));
    }
}

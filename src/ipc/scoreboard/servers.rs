//! What all workers share of the servers that services connect to. Never in here: a count.

use super::{SHARED_ROWS, Scoreboard};
use crate::ipc::addresses::AddressRow;
use crate::ipc::probes::ProbeRow;

impl Scoreboard {
    /// What all workers know of the addresses of service `service`, from 0.
    ///
    /// # Panics
    /// There is no such row.
    pub(crate) fn addresses(&self, service: usize) -> AddressRow<'_> {
        assert!(service < self.services);
        AddressRow::on(self.row(self.workers + service * SHARED_ROWS + 1))
    }

    /// What probes found of the servers of service `service`, from 0.
    ///
    /// # Panics
    /// There is no such row.
    pub(crate) fn probes(&self, service: usize) -> ProbeRow<'_> {
        assert!(service < self.services);
        ProbeRow::on(self.rows(self.workers + service * SHARED_ROWS + 2, 2))
    }
}

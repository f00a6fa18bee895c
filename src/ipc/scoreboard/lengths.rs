//! How many words a board has. Never in here: a word of it.

use std::io;
use std::os::fd::OwnedFd;

use super::{ROW, SERVICE_ROWS, SHARED_ROWS, open};
use crate::ipc::shared::SharedWords;
use crate::ipc::{incidents, shares};

/// As [`length`], of numbers that came in a message.
pub(super) fn checked_length(workers: usize, services: usize) -> Option<usize> {
    let counted = workers.checked_mul(services)?.checked_mul(SERVICE_ROWS)?;
    let rows = counted.checked_add(workers.checked_mul(1 + open::ROWS)?)?;
    let shared = services.checked_mul(SHARED_ROWS)?;
    let words = rows.checked_add(shared)?.checked_mul(ROW)?;
    // And one part for adit itself.
    words.checked_add(incidents::checked_length(services.checked_add(1)?)?)
}

/// Words of memory that begins with so many for rows: there may be more of it, for addresses.
pub(super) fn whole_length(descriptor: &OwnedFd, rows: usize, workers: usize) -> io::Result<usize> {
    let more = shares::length(workers);
    let whole = rows.checked_add(more).ok_or(io::ErrorKind::InvalidInput)?;
    // Any other length is refused where it is mapped.
    Ok(match SharedWords::length(descriptor)? == whole {
        true => whole,
        false => rows,
    })
}

/// Words of all rows, and of what went wrong.
pub(super) fn length(workers: usize, services: usize) -> usize {
    counted(workers, services) + incidents::length(services + 1)
}

/// Words of the rows, which come first.
pub(super) fn counted(workers: usize, services: usize) -> usize {
    (rows_of_counts(workers, services) + workers * open::ROWS) * ROW
}

/// Rows before those of `open`.
pub(super) fn rows_of_counts(workers: usize, services: usize) -> usize {
    workers + services * SHARED_ROWS + workers * services * SERVICE_ROWS
}

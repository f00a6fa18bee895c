//! What went wrong with each service, from the boards and what the supervisor has told. Never in here: how it is shown.

use std::collections::BTreeMap;

use super::exposition::Boards;
use super::picture::Picture;
use crate::incidents::Ledger;

/// Of adit itself.
pub(super) fn of_adit(picture: &Picture, boards: &Boards) -> Ledger {
    let mut all = picture.own_incidents.clone();
    boards
        .values()
        .for_each(|board| all.add(board.own_ledger()));
    all
}

/// Of each service of the configuration in force, by name: services of one name are one.
pub(super) fn by_service(picture: &Picture, boards: &Boards) -> BTreeMap<String, Ledger> {
    let named = picture.services.iter().cloned();
    let mut all: BTreeMap<String, Ledger> = named.map(|name| (name, Ledger::default())).collect();
    for generation in &picture.generations {
        let Some(board) = boards.get(&generation.number) else {
            continue;
        };
        for (index, name) in generation.services.iter().enumerate() {
            if let Some(ledger) = all.get_mut(name) {
                ledger.add(board.ledger(index));
            }
        }
    }
    for (name, carried) in &picture.incidents {
        if let Some(ledger) = all.get_mut(name) {
            ledger.add(carried.clone());
        }
    }
    all
}

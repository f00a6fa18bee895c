//! USR2: every worker lists its connections; the sum is the last line.

use std::collections::BTreeSet;
use std::time::Duration;

use super::due::Due;
use super::generations::State;
use super::note::Note;
use super::{Decider, Order, Turn};

/// How long masters may take to list their connections.
pub(super) const LISTING_TIMEOUT: Duration = Duration::from_secs(3);

/// A list of connections being put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    waiting: BTreeSet<u64>,
    count: usize,
}

impl Decider {
    pub(super) fn list(&mut self, turn: &mut Turn) {
        let asked = self
            .generations
            .in_state(&[State::Serving, State::Draining]);
        asked.iter().for_each(|n| turn.order(Order::List(*n)));
        turn.order(Order::ListOrphans);
        self.due.set(Due::Listing, turn.after(LISTING_TIMEOUT));
        self.listing = Some(Listing {
            waiting: asked.into_iter().collect(),
            count: 0,
        });
        self.finish_listing_if_done(turn);
    }

    /// A generation has listed so many, or none and is no more.
    pub(super) fn listed(&mut self, number: u64, count: usize, turn: &mut Turn) {
        let Some(listing) = &mut self.listing else {
            return;
        };
        if listing.waiting.remove(&number) {
            listing.count = listing.count.saturating_add(count);
            self.finish_listing_if_done(turn);
        }
    }

    fn finish_listing_if_done(&mut self, turn: &mut Turn) {
        let listing = self.listing.as_ref();
        if listing.is_some_and(|listing| listing.waiting.is_empty()) {
            self.finish_listing(turn);
        }
    }

    pub(super) fn finish_listing(&mut self, turn: &mut Turn) {
        if let Some(listing) = self.listing.take() {
            self.due.clear(Due::Listing);
            turn.log(Note::Listed(listing.count));
        }
    }
}

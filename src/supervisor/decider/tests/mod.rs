//! The promises of the supervisor, held against thousands of histories: deaths of masters, workers and
//! helpers, words out of turn, late and doubled, every signal, upgrades, and a clock that jumps.
//!
//! A failure prints its seed and its history; `ADIT_SEED=n` runs that one alone.

mod happenings;
mod promises;
mod pulse;
mod walks;
mod world;

use super::Why;
use world::{Mood, World};

/// Histories, and what happens in each.
const SEEDS: u64 = 2000;
const STEPS: usize = 200;

/// xorshift64*: the same on every machine.
struct Seeded(u64);

impl Seeded {
    fn new(seed: u64) -> Seeded {
        Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound
    }

    fn in_hundred(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.below(all.len())])
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("ADIT_SEED") {
        Ok(seed) => vec![seed.parse().expect("ADIT_SEED is a number")],
        Err(_) => (1..=SEEDS).collect(),
    }
}

#[test]
fn whatever_happens_the_promises_hold() {
    let mut seen = world::Seen::default();
    for seed in seeds() {
        let mut world = World::new(seed, Mood::Hostile);
        world.begin(Why::Start);
        for _ in 0..STEPS {
            if world.has_ended() {
                break;
            }
            world.turn();
        }
        seen.add(&world);
    }
    // A history in which nothing happens keeps every promise.
    if seen.histories > 1 {
        seen.assert_all();
    }
}

#[test]
fn when_the_trouble_is_over_one_master_serves_what_was_wanted_last() {
    for seed in seeds() {
        let mut world = World::new(seed, Mood::Hostile);
        world.begin(Why::Start);
        for _ in 0..STEPS / 4 {
            world.turn();
        }
        if world.is_stopping() {
            continue;
        }
        world.calm_down();
        // The first candidate of all may have failed.
        if !world.has_ended() {
            world.assert_settled();
        }
    }
}

#[test]
fn a_signal_to_end_ends_it_within_its_bounds_whatever_masters_do() {
    for seed in seeds() {
        let mut world = World::new(seed, Mood::Hostile);
        world.begin(Why::Start);
        for _ in 0..STEPS / 8 {
            world.turn();
        }
        if !world.has_ended() {
            world.stop();
        }
        // Each turn moves the clock, and checks the bound.
        for _ in 0..20 * STEPS {
            if world.has_ended() {
                break;
            }
            world.turn();
            // An impatient administrator makes it no longer.
            if !world.has_ended() && world.seeded.in_hundred(10) {
                world.stop();
            }
        }
        assert!(world.has_ended(), "seed {seed}: it has not ended");
    }
}

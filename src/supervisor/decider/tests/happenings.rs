//! What happens by itself in a world: what masters, helpers, administrators and the clock do.

use std::time::Duration;

use super::world::{Mood, Phase, World};
use crate::helper::Kind;
use crate::ipc::words::{Accept, FromMaster};
use crate::supervisor::decider::{Event, Rehearsed, State};

impl World {
    pub(super) fn something_happens(&mut self) {
        match self.seeded.below(100) {
            0..4 => self.a_spare_acts(),
            4..6 => self.a_spare_forks(),
            6..45 => {
                if let Some(number) = self.any_master() {
                    self.acts(number);
                }
            }
            45..51 => self.a_word_comes_out_of_turn(),
            51..55 => self.a_master_dies(),
            55..65 => self.a_death_is_noticed(),
            65..67 => self.a_helper_dies(),
            67..71 => self.a_rehearsal_ends(),
            71..73 => self.orphans_end(),
            73..79 => self.happen(Event::Reload),
            79 => self.happen(Event::ReopenLog),
            80..83 => self.happen(Event::List),
            83 => self.happen(Event::FileWritten),
            84 => self.happen(Event::SyslogAppeared),
            85 => self.happen(Event::Missed),
            86 => self.happen(Event::ControlPaused),
            87..89 => self.happen(Event::StatusWanted),
            89 if self.seeded.in_hundred(25) => self.stop(),
            _ => self.time_passes(),
        }
    }

    fn time_passes(&mut self) {
        let pause = match self.seeded.below(4) {
            // Just to the next deadline, and just before it.
            0 | 1 => {
                let soonest = self.decider.soonest();
                let left = soonest.map(|at| at.saturating_duration_since(self.now));
                left.unwrap_or_default()
            }
            2 => Duration::from_millis(self.seeded.next() % 3000),
            _ => Duration::from_millis(self.seeded.next() % 40_000),
        };
        self.now += pause;
    }

    fn any_master(&mut self) -> Option<u64> {
        let all: Vec<u64> = self.masters.keys().copied().collect();
        self.seeded.pick(&all).copied()
    }

    /// What a master does by itself, and says.
    pub(super) fn acts(&mut self, number: u64) {
        let hostile = self.mood == Mood::Hostile;
        let fails = hostile && self.seeded.in_hundred(10);
        let Some(process) = self.masters.get_mut(&number) else {
            return;
        };
        if process.stuck {
            return;
        }
        if process.asked > 0 && process.phase != Phase::Dead {
            process.asked -= 1;
            return self.happen(Event::Said(number, FromMaster::Alive));
        }
        if process.listed > 0 && process.phase != Phase::Dead {
            process.listed -= 1;
            return self.happen(Event::Said(number, FromMaster::Listed(3)));
        }
        let word = match process.phase {
            Phase::Dead => return,
            _ if process.is_to_end => {
                process.phase = Phase::Dead;
                return;
            }
            Phase::Loads if fails => FromMaster::Failed,
            Phase::Loads => {
                process.phase = Phase::AwaitsListeners;
                FromMaster::Loaded(vec![vec![Accept::Passed(process.config)]])
            }
            Phase::AwaitsListeners => return,
            Phase::Starts => {
                process.phase = Phase::Accepts;
                process.stuck = fails;
                FromMaster::Serving
            }
            Phase::Accepts if process.is_to_go => {
                process.phase = Phase::AcceptsNoMore;
                FromMaster::Draining
            }
            Phase::Accepts => return,
            Phase::AcceptsNoMore => {
                process.phase = Phase::Dead;
                return;
            }
        };
        self.happen(Event::Said(number, word));
    }

    /// It is forked, and says so; or it dies, and that is noticed.
    pub(super) fn a_spare_acts(&mut self) {
        let behind: Vec<u64> = self.spares.keys().copied().collect();
        let Some(&number) = self.seeded.pick(&behind) else {
            return;
        };
        let hostile = self.mood == Mood::Hostile;
        let (dies, fails) = (self.seeded.in_hundred(10), self.seeded.in_hundred(10));
        let in_jail = self
            .masters
            .get(&number)
            .is_some_and(|master| !matches!(master.phase, Phase::Loads | Phase::AwaitsListeners));
        let Some(spare) = self.spares.get_mut(&number) else {
            return;
        };
        if spare.dead {
            self.spares.remove(&number);
            return self.happen(Event::SpareLost(number, "was killed by SIGKILL".into()));
        }
        if hostile && dies {
            spare.dead = true;
        } else if !spare.stands && !spare.stuck && in_jail {
            if hostile && fails {
                return self.happen(Event::Said(number, FromMaster::NotForked("no".into())));
            }
            spare.stands = true;
            self.happen(Event::SpareStands(number));
        }
    }

    /// Of one that is long gone, or that never was, too.
    fn a_word_comes_out_of_turn(&mut self) {
        let highest = usize::try_from(self.last_started).unwrap() + 2;
        let number = self.seeded.below(highest) as u64;
        // A candidate that says `loaded` or `serving` when it is its turn is believed, whether it has come so
        // far or not: it is a fork of this very program. Every other word at every other time must be safe.
        let state = self.decider.state(number);
        let event = match self.seeded.below(16) {
            0 if state != Some(State::Loading) => {
                Event::Said(number, FromMaster::Loaded(Vec::new()))
            }
            1 if !matches!(state, Some(State::Starting | State::TakingOver)) => {
                Event::Said(number, FromMaster::Serving)
            }
            2 => Event::Said(number, FromMaster::Failed),
            3 if !self.accepts(number) => Event::Said(number, FromMaster::Draining),
            4 => Event::Said(number, FromMaster::Listed(5)),
            5 => Event::Said(number, FromMaster::Alive),
            6 => Event::Said(number, FromMaster::Missed),
            7 => Event::Said(number, FromMaster::Forked(9)),
            8 => Event::Said(number, FromMaster::Standing(None)),
            10 => Event::Said(number, FromMaster::Silent(Kind::Resolver)),
            11 => Event::ClientCame,
            12 => Event::ClientsWait,
            13 => Event::ReadersWait,
            14 => Event::Said(number, FromMaster::Silent(Kind::Launcher)),
            9 if self.unborn != Some(number) => Event::NotForked(number, "no".into()),
            _ => Event::InvalidMessage(number, "no word".into()),
        };
        self.happen(event);
    }

    fn a_master_dies(&mut self) {
        if let Some(number) = self.any_master() {
            self.masters.get_mut(&number).unwrap().phase = Phase::Dead;
        }
    }

    pub(super) fn a_death_is_noticed(&mut self) {
        let masters = self.masters.iter();
        let dead: Vec<u64> = masters
            .filter(|(_, process)| process.phase == Phase::Dead)
            .map(|(number, _)| *number)
            .collect();
        if let Some(number) = self.seeded.pick(&dead) {
            self.happen(Event::MasterDied(*number, "was killed by SIGKILL".into()));
        }
    }

    fn a_helper_dies(&mut self) {
        let Some(&kind) = self.seeded.pick(&Kind::ALL) else {
            return;
        };
        if self.dead_helpers.insert(kind) {
            let pause = Duration::from_millis(self.seeded.next() % 1000);
            self.happen(Event::HelperDied {
                kind,
                pid: 8,
                how: "failed with status 1".into(),
                pause,
            });
        }
    }

    pub(super) fn a_rehearsal_ends(&mut self) {
        // Killed, it ended before it was noticed.
        let running = self.decider.rehearsal_runs();
        if running {
            self.rehearses = false;
            let well = self.seeded.in_hundred(60);
            self.proven = well;
            self.happen(Event::Rehearsed(match well {
                true => Rehearsed::Well,
                false => Rehearsed::Badly("failed with status 1".into()),
            }));
        }
    }

    pub(super) fn orphans_end(&mut self) {
        let all: Vec<u64> = self.orphans.iter().copied().collect();
        if let Some(number) = self.seeded.pick(&all) {
            self.orphans.remove(number);
            self.happen(Event::OrphansEnded(*number));
        }
    }
}

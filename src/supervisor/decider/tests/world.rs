//! What the decider decides about: masters, workers, helpers, listeners and a clock, as hostile as a
//! seed makes them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::Seeded;
use crate::helper::Kind;
use crate::ipc::words::FromMaster;
use crate::supervisor::decider::{
    Binary, Decider, Event, Master, Order, Orphaned, Spare, State, Why, note::Note,
};

/// Whether what can go wrong does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Hostile,
    Calm,
}

/// How far a master's process has really come, whatever is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Loads,
    AwaitsListeners,
    Starts,
    Accepts,
    AcceptsNoMore,
    Dead,
}

/// A master that was not reaped yet.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) phase: Phase,
    pub(super) config: usize,
    /// It was told to drain, or to end.
    pub(super) is_to_go: bool,
    pub(super) is_to_end: bool,
    /// It hears nothing and says nothing.
    pub(super) stuck: bool,
    pub(super) asked: usize,
    pub(super) listed: usize,
}

/// A spare that was asked for: how far its process has really come.
#[derive(Debug)]
pub(super) struct SpareProcess {
    pub(super) stands: bool,
    pub(super) dead: bool,
    pub(super) stuck: bool,
    pub(super) config: usize,
}

/// A transition's things.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) config: usize,
    pub(super) candidate: Option<u64>,
    pub(super) bound: bool,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) seeded: Seeded,
    pub(super) mood: Mood,
    pub(super) decider: Decider,
    pub(super) now: Instant,
    start: Instant,
    /// The last events, and what was ordered.
    history: VecDeque<(Duration, Event, Vec<Order>)>,
    pub(super) masters: BTreeMap<u64, Process>,
    /// Dead masters of which workers are left.
    pub(super) orphans: BTreeSet<u64>,
    /// Spares, by the generation behind which each stands.
    pub(super) spares: BTreeMap<u64, SpareProcess>,
    /// A master that a spare is to fork.
    pub(super) unborn: Option<u64>,
    pub(super) last_started: u64,
    /// What the administrator has written, by number; each has its `drainTimeout`.
    drain_timeouts: Vec<Option<Duration>>,
    /// The configuration whose listeners are open.
    pub(super) in_force: Option<usize>,
    pub(super) closed: bool,
    pub(super) pending: Option<Pending>,
    pub(super) rehearses: bool,
    pub(super) proven: bool,
    pub(super) dead_helpers: BTreeSet<Kind>,
    pub(super) stops_by: Option<Instant>,
    pub(super) ended: Option<u8>,
    pub(super) manager_waits: bool,
    /// Those of which a list is awaited.
    pub(super) to_list: BTreeSet<u64>,
    pub(super) count: Count,
}

/// How often what happened.
#[derive(Debug, Default)]
pub(super) struct Count {
    started: usize,
    replaced: usize,
    reloaded: usize,
    refused: usize,
    handed_over_late: usize,
    taken_over: usize,
    stood_still: usize,
    listed: usize,
    ended: usize,
    ended_with_orphans: usize,
    spared: usize,
    forked_by_spares: usize,
}

/// All histories together.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) histories: usize,
    all: [usize; 12],
}

impl Seen {
    pub(super) fn add(&mut self, world: &World) {
        let count = &world.count;
        let counts = [
            count.started,
            count.replaced,
            count.reloaded,
            count.refused,
            count.handed_over_late,
            count.taken_over,
            count.stood_still,
            count.listed,
            count.ended,
            count.ended_with_orphans,
            count.spared,
            count.forked_by_spares,
        ];
        self.histories += 1;
        for (all, one) in self.all.iter_mut().zip(counts) {
            *all += one;
        }
    }

    /// Each kind of thing happened in plenty.
    pub(super) fn assert_all(&self) {
        assert!(self.all.iter().all(|count| *count > 100), "{self:?}");
    }
}

impl World {
    pub(super) fn new(seed: u64, mood: Mood) -> World {
        let mut seeded = Seeded::new(seed);
        let start = Instant::now();
        let watchdog = seeded.in_hundred(30).then_some(Duration::from_secs(15));
        let first = drain_timeout(&mut seeded);
        World {
            seed,
            decider: Decider::new(first, watchdog, start),
            seeded,
            mood,
            now: start,
            start,
            history: VecDeque::new(),
            masters: BTreeMap::new(),
            orphans: BTreeSet::new(),
            spares: BTreeMap::new(),
            unborn: None,
            last_started: 0,
            drain_timeouts: vec![first],
            in_force: None,
            closed: false,
            pending: None,
            rehearses: false,
            proven: false,
            dead_helpers: BTreeSet::new(),
            stops_by: None,
            ended: None,
            manager_waits: false,
            to_list: BTreeSet::new(),
            count: Count::default(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stops_by.is_some() || self.closed
    }

    pub(super) fn begin(&mut self, why: Why) {
        self.happen(Event::Begin(why));
    }

    pub(super) fn stop(&mut self) {
        let in_force = self.in_force.unwrap_or(0);
        let drain = self.drain_timeouts[in_force].filter(|_| !self.is_stopping());
        let bound = self.now + drain.unwrap_or_default() + Duration::from_secs(5);
        self.stops_by = Some(self.stops_by.map_or(bound, |before| before.min(bound)));
        self.happen(Event::Stop("SIGTERM"));
    }

    /// As the loop's turn: what happened, the clock, and what is wanted.
    pub(super) fn turn(&mut self) {
        for _ in 0..=self.seeded.below(3) {
            if self.has_ended() {
                return;
            }
            self.something_happens();
        }
        self.clock_comes_round();
        if !self.has_ended() {
            self.happen(Event::TurnOver);
        }
        self.check_deadlines();
    }

    pub(super) fn clock_comes_round(&mut self) {
        for _ in 0..1000 {
            if self.has_ended() || self.decider.soonest().is_none_or(|at| at > self.now) {
                return;
            }
            self.happen(Event::Clock);
        }
        panic!("the clock never comes round");
    }

    /// One event, its orders, and what comes of them.
    pub(super) fn happen(&mut self, event: Event) {
        if self.has_ended() {
            return;
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let before = self.snapshot(&event);
            let orders = self.decider.on(event.clone(), self.now);
            self.remember(&event, &orders);
            self.follow_the_list(&event);
            self.check_refusal(&event, before, &orders);
            for order in orders {
                self.check_order(&order);
                events.extend(self.obey(order));
            }
        }
        self.check_state();
    }

    fn follow_the_list(&mut self, event: &Event) {
        match event {
            // A list that has had its time ends without the missing.
            Event::Clock if self.decider.listing.is_none() => self.to_list.clear(),
            Event::List => self.to_list.clear(),
            Event::Said(number, FromMaster::Listed(_))
            | Event::Unasked(number)
            | Event::Buried(number, _) => drop(self.to_list.remove(number)),
            _ => {}
        }
    }

    fn remember(&mut self, event: &Event, orders: &[Order]) {
        let at = self.now.duration_since(self.start);
        self.history.push_back((at, event.clone(), orders.to_vec()));
        if self.history.len() > 60 {
            self.history.pop_front();
        }
    }

    /// As the supervisor's hands do; what comes of it.
    fn obey(&mut self, order: Order) -> Option<Event> {
        let hostile = self.mood == Mood::Hostile;
        let fails = |this: &mut World, share| hostile && this.seeded.in_hundred(share);
        match order {
            Order::Log(note) => self.note(&note),
            Order::Reloading => self.manager_waits = true,
            Order::Ready(_) => self.manager_waits = false,
            Order::Compare => {
                let new = fails(self, 30);
                return Some(Event::Compared(if new {
                    Binary::New
                } else {
                    Binary::Same
                }));
            }
            Order::Rehearse if fails(self, 20) => return Some(Event::NotRehearsing),
            Order::Rehearse => {
                self.rehearses = true;
                return Some(Event::Rehearsing);
            }
            Order::KillRehearsal | Order::EndRehearsal => self.rehearses = false,
            Order::TakeOver if fails(self, 30) => return Some(Event::NotTakenOver),
            Order::TakeOver => return Some(self.take_over()),
            Order::Query(Why::Reload) if fails(self, 20) => return Some(Event::NotQueried),
            Order::Query(why) => {
                let config = self.read(why);
                self.pending = Some(Pending {
                    config,
                    candidate: None,
                    bound: false,
                });
                return Some(Event::Queried);
            }
            Order::Start(number) => {
                let fails = fails(self, 10);
                return Some(self.start_master(number, fails));
            }
            Order::Listen(number, _) if fails(self, 15) => {
                return Some(Event::NotListening(number));
            }
            Order::Listen(number, _) => {
                self.pending.as_mut().unwrap().bound = true;
                let process = self.masters.get_mut(&number).unwrap();
                if process.phase == Phase::AwaitsListeners {
                    process.phase = Phase::Starts;
                }
                return Some(Event::Listening(number, vec!["bound to".into()]));
            }
            Order::Spare(number) if fails(self, 10) => {
                return Some(Event::NotSpared(number, "no process".into()));
            }
            Order::Spare(number) => {
                let spare = SpareProcess {
                    stands: false,
                    dead: false,
                    stuck: hostile && self.seeded.in_hundred(10),
                    config: self.masters[&number].config,
                };
                self.spares.insert(number, spare);
            }
            Order::DropSpare(number) => drop(self.spares.remove(&number)),
            Order::Replace { dead, by } => return self.replace(dead, by),
            Order::GiveUp(_) => self.unborn = None,
            Order::RollBack => self.pending = None,
            Order::Commit(number) if fails(self, 5) => {
                // It accepts nothing that it was not told to.
                let process = self.masters.get_mut(&number).unwrap();
                if process.phase == Phase::Accepts {
                    process.phase = Phase::AcceptsNoMore;
                }
                return Some(Event::NotListening(number));
            }
            Order::Commit(number) => {
                self.in_force = self.pending.as_ref().map(|p| p.config);
                return Some(Event::Committed(number));
            }
            Order::CloseTheRetired(_) if fails(self, 50) => return Some(Event::RetiredLeft),
            Order::CloseTheRetired(_) => {}
            Order::PutIntoForce(_) => {
                self.pending = None;
                let every = [None, Some(Duration::from_mins(5))];
                return Some(Event::NamesWanted(every[usize::from(fails(self, 50))]));
            }
            Order::Drain(number) => self.masters.get_mut(&number).unwrap().is_to_go = true,
            Order::Cut(number) => {
                let process = self.masters.get_mut(&number).unwrap();
                (process.is_to_go, process.is_to_end) = (true, true);
            }
            Order::Kill(number) => self.masters.get_mut(&number).unwrap().phase = Phase::Dead,
            Order::Ask(number) => self.masters.get_mut(&number).unwrap().asked += 1,
            Order::List(number) if fails(self, 10) => return Some(Event::Unasked(number)),
            Order::List(number) => {
                self.to_list.insert(number);
                self.masters.get_mut(&number).unwrap().listed += 1;
            }
            Order::Bury(number) => return Some(self.bury(number)),
            Order::StartHelper(kind) if fails(self, 30) => {
                return Some(Event::HelperNotStarted(kind));
            }
            Order::StartHelper(kind) => {
                self.dead_helpers.remove(&kind);
                return Some(Event::HelperStarted(kind));
            }
            Order::AskHelper(_) if fails(self, 50) => {}
            Order::AskHelper(kind) => return Some(Event::HelperAnswered(kind)),
            Order::KillHelper(kind) => {
                self.dead_helpers.insert(kind);
                return Some(Event::HelperDied {
                    kind,
                    pid: 8,
                    how: "was killed by SIGKILL".into(),
                    pause: Duration::ZERO,
                });
            }
            Order::ConnectSyslog if fails(self, 50) => return Some(Event::SyslogRefused),
            Order::ConnectSyslog => return Some(Event::SyslogConnected),
            Order::CloseListeners => self.closed = true,
            Order::End(status) => {
                self.ended = Some(status);
                self.count.ended += 1;
                self.count.ended_with_orphans += usize::from(!self.orphans.is_empty());
            }
            Order::TellStopping(_)
            | Order::FeedWatchdog
            | Order::WritePidFile
            | Order::ReleaseStarter
            | Order::ListOrphans
            | Order::ReopenLog
            | Order::LookAtBacklog
            | Order::LookUpNames
            | Order::WatchBacklog
            | Order::Resend
            | Order::ResumeControl => {}
        }
        None
    }

    /// The spare's process is told to fork a master, which takes its time.
    fn replace(&mut self, dead: u64, by: u64) -> Option<Event> {
        self.last_started = by;
        let spare = self.spares.remove(&dead)?;
        let is_deaf = spare.dead || self.mood == Mood::Hostile && self.seeded.in_hundred(5);
        self.spares.insert(by, spare);
        if is_deaf {
            return Some(Event::NotForked(by, "it is dead".into()));
        }
        self.unborn = Some(by);
        None
    }

    /// A spare has forked the master that it was told to fork.
    pub(super) fn a_spare_forks(&mut self) {
        let Some(number) = self.unborn else {
            return;
        };
        let hostile = self.mood == Mood::Hostile;
        let Some(spare) = self.spares.get(&number).filter(|s| !s.dead) else {
            self.unborn = None;
            return self.happen(Event::NotForked(number, "it has ended".into()));
        };
        if spare.stuck {
            return;
        }
        self.unborn = None;
        if hostile && self.seeded.in_hundred(10) {
            return self.happen(Event::NotForked(number, "no process".into()));
        }
        let process = Process {
            phase: Phase::Starts,
            config: spare.config,
            is_to_go: false,
            is_to_end: false,
            stuck: hostile && self.seeded.in_hundred(10),
            asked: 0,
            listed: 0,
        };
        let master = self.master(process.config);
        self.masters.insert(number, process);
        self.count.forked_by_spares += 1;
        self.happen(Event::Forked(number, master));
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Reloaded(_) => self.count.reloaded += 1,
            Note::RunningGoesOn => self.count.refused += 1,
            Note::StillAccepting(_) => self.count.handed_over_late += 1,
            Note::NotResponding { .. } => self.count.stood_still += 1,
            Note::InPlace(_) => self.count.replaced += 1,
            Note::Spared(_) => self.count.spared += 1,
            Note::Listed(_) => self.count.listed += 1,
            Note::Accepting => self.count.started += 1,
            _ => {}
        }
    }

    /// A start reads the first configuration, a reload a new one, a replacement the one in force.
    fn read(&mut self, why: Why) -> usize {
        if why == Why::Reload {
            let timeout = drain_timeout(&mut self.seeded);
            self.drain_timeouts.push(timeout);
            return self.drain_timeouts.len() - 1;
        }
        self.in_force.unwrap_or(0)
    }

    fn start_master(&mut self, number: u64, fails: bool) -> Event {
        let pending = self.pending.as_mut().unwrap();
        pending.candidate = Some(number);
        self.last_started = number;
        if fails {
            return Event::NotStarted(number);
        }
        let config = pending.config;
        let process = Process {
            phase: Phase::Loads,
            config,
            is_to_go: false,
            is_to_end: false,
            stuck: self.mood == Mood::Hostile && self.seeded.in_hundred(10),
            asked: 0,
            listed: 0,
        };
        self.masters.insert(number, process);
        Event::Started(number, self.master(config))
    }

    fn master(&self, config: usize) -> Master {
        Master {
            pid: 7,
            drain_timeout: self.drain_timeouts[config],
        }
    }

    fn bury(&mut self, number: u64) -> Event {
        self.masters.remove(&number);
        let left = self.mood == Mood::Hostile && self.seeded.in_hundred(40);
        if left {
            self.orphans.insert(number);
        }
        let orphaned = if left {
            Orphaned::Workers
        } else {
            Orphaned::None
        };
        Event::Buried(number, orphaned)
    }

    /// The new program knows what the old one saved, and no more.
    fn take_over(&mut self) -> Event {
        self.count.taken_over += 1;
        self.proven = false;
        let drain_timeout = self.drain_timeouts[self.in_force.unwrap_or(0)];
        let old = std::mem::replace(
            &mut self.decider,
            Decider::new(drain_timeout, None, self.now),
        );
        self.decider
            .go_on_counting(old.next_number(), old.reloads());
        for (number, process) in &self.masters {
            let master = self.master(process.config);
            let state = match old.state(*number) {
                Some(State::Serving) => State::Serving,
                _ => State::Draining,
            };
            let until = old.drains_until(*number);
            self.decider
                .go_on_with(*number, master, state, until, self.now);
        }
        for number in self.masters.keys().chain(self.spares.keys()) {
            let stands = old.spare(*number) == Some(Spare::Standing);
            if stands || old.state(*number) == Some(State::Serving) {
                self.decider.go_on_with_spare(*number, stands, self.now);
            }
        }
        self.spares
            .retain(|n, _| old.spare(*n) == Some(Spare::Standing));
        for number in &self.orphans {
            self.decider.go_on_with_orphans(*number);
        }
        for kind in &self.dead_helpers {
            self.decider.go_on_without(*kind, self.now);
        }
        Event::Begin(Why::Reload)
    }
}

fn drain_timeout(seeded: &mut Seeded) -> Option<Duration> {
    let seconds = [None, Some(0), Some(3), Some(20), Some(3600)];
    let seconds = *seeded.pick(&seconds).unwrap();
    seconds.map(Duration::from_secs)
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, which came so far:", self.seed);
            for (at, event, orders) in &self.history {
                eprintln!("{at:?} {event:?}\n    {orders:?}");
            }
        }
    }
}

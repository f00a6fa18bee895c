//! The walks, order by order, as a reader would want to see them.

use std::time::{Duration, Instant};

use crate::helper::Kind;
use crate::ipc::words::{Accept, FromMaster};
use crate::supervisor::decider::note::Note;
use crate::supervisor::decider::reload::{HANDOVER_TIMEOUT, LOAD_TIMEOUT};
use crate::supervisor::decider::{Binary, Decider, Event, Master, Order, Orphaned, Rehearsed, Why};

/// A decider, and its clock.
pub(super) struct Walk {
    pub(super) decider: Decider,
    now: Instant,
}

impl Walk {
    fn new(drain_timeout: Option<Duration>) -> Walk {
        let now = Instant::now();
        Walk {
            decider: Decider::new(drain_timeout, None, now),
            now,
        }
    }

    pub(super) fn on(&mut self, event: Event) -> Vec<Order> {
        self.decider.on(event, self.now)
    }

    pub(super) fn said(&mut self, number: u64, word: FromMaster) -> Vec<Order> {
        self.on(Event::Said(number, word))
    }

    pub(super) fn after(&mut self, pause: Duration) -> Vec<Order> {
        self.now += pause;
        self.on(Event::Clock)
    }

    /// The candidate is started.
    fn starts(&mut self, number: u64) {
        assert_eq!(self.on(Event::Queried), [Order::Start(number)]);
        let master = Master {
            pid: 7,
            drain_timeout: None,
        };
        assert_eq!(self.on(Event::Started(number, master)), []);
    }

    /// The candidate loads and listens.
    pub(super) fn listens(&mut self, number: u64) {
        let accept = vec![vec![Accept::Passed(0)]];
        let orders = self.said(number, FromMaster::Loaded(accept.clone()));
        assert_eq!(orders.last(), Some(&Order::Listen(number, accept)));
        self.on(Event::Listening(number, vec!["bound to x".into()]));
        let spared = Order::Log(Note::Spared(number));
        assert_eq!(self.on(Event::SpareStands(number)), [spared]);
    }

    /// The candidate serves, and its listeners take connections. Nothing that they had before is left.
    pub(super) fn serves(&mut self, number: u64) -> Vec<Order> {
        let commit = self.said(number, FromMaster::Serving);
        assert_eq!(commit, [Order::Commit(number)]);
        let orders = self.on(Event::Committed(number));
        let before = self.now;
        let looked = self.after(Duration::from_millis(20));
        assert!(
            matches!(&looked[..], [Order::CloseTheRetired(masters)] if masters.contains(&number))
        );
        self.now = before;
        orders
    }

    /// A program that serves generation 1.
    pub(super) fn serving() -> Walk {
        let mut walk = Walk::new(None);
        assert_eq!(
            walk.on(Event::Begin(Why::Start)),
            [Order::Query(Why::Start)]
        );
        walk.starts(1);
        walk.listens(1);
        assert_eq!(
            walk.serves(1),
            [
                Order::PutIntoForce(Why::Start),
                Order::WritePidFile,
                Order::Log(Note::Accepting),
                Order::Ready("Accepting new connections".into()),
                Order::ReleaseStarter,
            ]
        );
        assert_eq!(walk.on(Event::TurnOver), []);
        walk
    }

    /// A reload has begun, and its candidate has been started.
    pub(super) fn reloading() -> Walk {
        let mut walk = Walk::serving();
        assert_eq!(walk.on(Event::Reload), []);
        assert_eq!(walk.on(Event::TurnOver), [Order::Compare]);
        assert_eq!(
            walk.on(Event::Compared(Binary::Same)),
            [Order::Reloading, Order::Query(Why::Reload)]
        );
        walk.starts(2);
        walk
    }
}

const REFUSED: &str =
    "Failed to reload the configuration file: the running configuration stays in force";

fn refused() -> [Order; 3] {
    [
        Order::Log(Note::Refused(Why::Reload)),
        Order::Log(Note::RunningGoesOn),
        Order::Ready(REFUSED.into()),
    ]
}

#[test]
fn a_reload_commits_before_the_old_master_drains_and_is_announced_after() {
    let mut walk = Walk::reloading();
    walk.listens(2);
    assert_eq!(
        walk.serves(2),
        [
            Order::DropSpare(1),
            Order::Drain(1),
            Order::PutIntoForce(Why::Reload)
        ]
    );
    assert!(walk.decider.is_reloading());
    assert_eq!(
        walk.said(1, FromMaster::Draining),
        [
            Order::Log(Note::Bound(Why::Reload, "bound to x".into())),
            Order::Log(Note::Reloaded(2)),
            Order::Ready("Generation 2 serves".into()),
        ]
    );
    assert_eq!(walk.decider.reloads().counts(), (1, 0));
    assert!(!walk.decider.is_reloading());
}

#[test]
fn a_refused_reload_ends_its_candidate_and_no_other() {
    let mut walk = Walk::reloading();
    let mut expected = vec![Order::RollBack, Order::Cut(2)];
    expected.extend(refused());
    assert_eq!(walk.said(2, FromMaster::Failed), expected);
    assert_eq!(walk.decider.serving(), Some(1));
    assert_eq!(walk.decider.reloads().counts(), (0, 1));
}

#[test]
fn a_candidate_that_hangs_is_killed_at_once() {
    let mut walk = Walk::reloading();
    let mut expected = vec![Order::Log(Note::TooSlow(2)), Order::RollBack, Order::Cut(2)];
    expected.extend(refused());
    expected.push(Order::Kill(2));
    assert_eq!(walk.after(LOAD_TIMEOUT), expected);
}

#[test]
fn an_old_master_that_goes_on_accepting_is_killed() {
    let mut walk = Walk::reloading();
    walk.listens(2);
    walk.serves(2);
    assert_eq!(
        walk.after(HANDOVER_TIMEOUT),
        [Order::Log(Note::StillAccepting(1)), Order::Kill(1)]
    );
}

#[test]
fn a_reload_that_the_next_overtakes_leaves_it_the_masters_that_may_still_accept() {
    let mut walk = Walk::reloading();
    walk.listens(2);
    walk.serves(2);
    walk.on(Event::Compared(Binary::Same));
    walk.starts(3);
    walk.listens(3);
    let orders = walk.serves(3);
    assert!(
        orders.contains(&Order::Log(Note::Reloaded(2))),
        "{orders:?}"
    );
    assert_eq!(walk.said(2, FromMaster::Draining), []);
    let orders = walk.said(1, FromMaster::Draining);
    assert!(
        orders.contains(&Order::Log(Note::Reloaded(3))),
        "{orders:?}"
    );
}

#[test]
fn a_program_that_took_over_while_no_master_served_starts_one_even_if_its_reload_is_refused() {
    let mut walk = Walk::new(None);
    let counts = walk.decider.reloads();
    walk.decider.go_on_counting(7, counts);
    walk.on(Event::Begin(Why::Reload));
    assert_eq!(walk.on(Event::NotQueried), refused());
    assert_eq!(walk.on(Event::TurnOver), [Order::Query(Why::Replace)]);
    walk.starts(7);
}

#[test]
fn a_new_binary_takes_over_when_it_has_proved_itself() {
    let mut walk = Walk::serving();
    walk.on(Event::Reload);
    walk.on(Event::TurnOver);
    assert_eq!(
        walk.on(Event::Compared(Binary::New)),
        [Order::Reloading, Order::Rehearse]
    );
    walk.on(Event::Rehearsing);
    assert_eq!(walk.on(Event::TurnOver), []);
    walk.on(Event::Rehearsed(Rehearsed::Well));
    assert_eq!(walk.on(Event::TurnOver), [Order::TakeOver]);
    assert_eq!(
        walk.on(Event::NotTakenOver),
        [Order::Reloading, Order::Query(Why::Reload)]
    );
}

#[test]
fn the_spare_of_a_dead_master_forks_another_whatever_else_is_under_way() {
    let mut walk = Walk::reloading();
    let how = || "was killed by SIGKILL".to_owned();
    let died = |number| {
        Order::Log(Note::Died {
            number,
            pid: 7,
            how: how(),
            pause: Duration::ZERO,
            spared: true,
        })
    };
    assert_eq!(
        walk.on(Event::MasterDied(1, how())),
        [died(1), Order::Replace { dead: 1, by: 3 }, Order::Bury(1)]
    );
    let master = Master {
        pid: 7,
        drain_timeout: None,
    };
    assert_eq!(walk.on(Event::Forked(3, master)), []);
    assert_eq!(
        walk.said(3, FromMaster::Serving),
        [Order::Log(Note::InPlace(3))]
    );
    // The reload goes on, and the spare goes with the generation behind which it stands now.
    walk.listens(2);
    assert_eq!(
        walk.serves(2),
        [
            Order::DropSpare(3),
            Order::Drain(3),
            Order::PutIntoForce(Why::Reload)
        ]
    );
}

#[test]
fn a_master_that_dies_again_and_again_waits_and_its_spare_with_it() {
    let mut walk = Walk::serving();
    let master = Master {
        pid: 7,
        drain_timeout: None,
    };
    walk.on(Event::MasterDied(1, "ended".into()));
    walk.on(Event::Forked(2, master));
    let orders = walk.on(Event::MasterDied(2, "ended".into()));
    let replaces = |order: &Order| matches!(order, Order::Replace { .. });
    assert!(!orders.iter().any(replaces), "{orders:?}");
    assert_eq!(walk.on(Event::TurnOver), []);
    assert_eq!(
        walk.after(Duration::from_millis(100)),
        [Order::Replace { dead: 2, by: 3 }]
    );
}

#[test]
fn a_spare_that_cannot_fork_is_asked_again_and_stays_when_files_are_read_in_vain() {
    let mut walk = Walk::serving();
    let mut by = 2;
    walk.on(Event::MasterDied(1, "ended".into()));
    for pause in [100, 200, 400, 800].map(Duration::from_millis) {
        let failed = Note::NotForked {
            reason: "no process".into(),
            again: Some(pause),
        };
        assert_eq!(
            walk.on(Event::NotForked(by, "no process".into())),
            [Order::GiveUp(by), Order::Log(failed)]
        );
        assert_eq!(walk.on(Event::TurnOver), []);
        let replace = Order::Replace {
            dead: by,
            by: by + 1,
        };
        assert_eq!(walk.after(pause), [replace]);
        by += 1;
    }
    walk.on(Event::NotForked(by, "no process".into()));
    assert_eq!(walk.on(Event::TurnOver), [Order::Query(Why::Replace)]);
    assert_eq!(walk.on(Event::Queried), [Order::Start(by + 1)]);
    walk.on(Event::NotStarted(by + 1));
    assert_eq!(
        walk.after(Duration::from_secs(5)),
        [Order::Replace {
            dead: by,
            by: by + 2
        }]
    );
    assert_eq!(walk.on(Event::TurnOver), []);
}

#[test]
fn when_no_master_of_a_spare_serves_all_is_read_again_and_the_spare_stays() {
    let mut walk = Walk::serving();
    let master = Master {
        pid: 7,
        drain_timeout: None,
    };
    walk.on(Event::MasterDied(1, "ended".into()));
    let replaces = |order: &Order| matches!(order, Order::Replace { .. });
    for number in [2, 3] {
        walk.on(Event::Forked(number, master));
        walk.on(Event::MasterDied(number, "ended".into()));
        assert_eq!(walk.on(Event::TurnOver), []);
        assert!(walk.after(Duration::from_secs(1)).iter().any(replaces));
    }
    walk.on(Event::Forked(4, master));
    let orders = walk.on(Event::MasterDied(4, "ended".into()));
    assert!(!orders.iter().any(replaces), "{orders:?}");
    assert_eq!(walk.on(Event::TurnOver), [Order::Query(Why::Replace)]);
    assert_eq!(walk.on(Event::Queried), [Order::Start(5)]);
    walk.on(Event::NotStarted(5));
    let replace = Order::Replace { dead: 4, by: 6 };
    assert_eq!(walk.after(Duration::from_secs(5)), [replace]);
}

#[test]
fn a_spare_that_dies_is_asked_for_again_and_one_that_cannot_be_had_later() {
    let mut walk = Walk::serving();
    let how = || "was killed by SIGKILL".to_owned();
    let lost = Note::SpareLost {
        number: 1,
        how: how(),
        pause: Duration::ZERO,
    };
    assert_eq!(walk.on(Event::SpareLost(1, how())), [Order::Log(lost)]);
    assert_eq!(walk.after(Duration::ZERO), [Order::Spare(1)]);
    let orders = walk.on(Event::NotSpared(1, "no process".into()));
    assert_eq!(orders[0], Order::DropSpare(1));
    assert_eq!(walk.after(Duration::from_secs(4)), []);
    assert_eq!(walk.after(Duration::from_secs(1)), [Order::Spare(1)]);
}

#[test]
fn a_dead_master_without_a_spare_is_replaced_at_once_and_later_when_that_fails() {
    let mut walk = Walk::serving();
    let how = || "was killed by SIGKILL".to_owned();
    walk.on(Event::SpareLost(1, how()));
    let died = Note::Died {
        number: 1,
        pid: 7,
        how: how(),
        pause: Duration::ZERO,
        spared: false,
    };
    assert_eq!(
        walk.on(Event::MasterDied(1, how())),
        [Order::Log(died), Order::Bury(1)]
    );
    walk.on(Event::Buried(1, Orphaned::Workers));
    assert_eq!(walk.after(Duration::ZERO), []);
    assert_eq!(walk.on(Event::TurnOver), [Order::Query(Why::Replace)]);
    assert_eq!(walk.on(Event::Queried), [Order::Start(2)]);
    let pause = Duration::from_secs(5);
    assert_eq!(
        walk.on(Event::NotStarted(2)),
        [Order::RollBack, Order::Log(Note::NoMaster(pause))]
    );
    assert_eq!(walk.on(Event::TurnOver), []);
    walk.after(pause);
    assert_eq!(walk.on(Event::TurnOver), [Order::Query(Why::Replace)]);
}

#[test]
fn a_helper_that_has_just_died_is_there_again_before_a_candidate_is_started() {
    let mut walk = Walk::serving();
    let kind = Kind::Resolver;
    walk.on(Event::HelperDied {
        kind,
        pid: 8,
        how: "failed with status 1".into(),
        pause: Duration::from_secs(1),
    });
    walk.on(Event::Compared(Binary::Same));
    assert_eq!(
        walk.on(Event::Queried),
        [Order::StartHelper(kind), Order::Start(2)]
    );
    walk.on(Event::HelperStarted(kind));
    assert_eq!(walk.after(Duration::from_secs(1)), []);
}

#[test]
fn a_program_that_is_told_to_reload_and_to_end_ends() {
    let mut walk = Walk::serving();
    walk.on(Event::Reload);
    assert_eq!(
        walk.on(Event::Stop("SIGTERM")),
        [
            Order::Log(Note::Stopping("SIGTERM")),
            Order::DropSpare(1),
            Order::Cut(1),
            Order::CloseListeners,
            Order::TellStopping(Duration::from_secs(10)),
        ]
    );
    assert_eq!(walk.on(Event::TurnOver), []);
    walk.on(Event::MasterDied(1, "ended".into()));
    assert_eq!(walk.on(Event::TurnOver), [Order::End(0)]);
}

#[test]
fn files_make_a_reload_when_they_have_stopped_changing() {
    let mut walk = Walk::serving();
    walk.on(Event::FileWritten);
    let half = Duration::from_millis(500);
    assert_eq!(walk.after(half), []);
    walk.on(Event::FileWritten);
    assert_eq!(walk.after(half), []);
    assert_eq!(walk.after(half), [Order::Log(Note::FileChanged)]);
    assert_eq!(walk.on(Event::TurnOver), [Order::Compare]);
}

#[test]
fn what_had_no_room_is_sent_again_once_a_moment_later() {
    let mut walk = Walk::serving();
    walk.said(1, FromMaster::Missed);
    let half = Duration::from_millis(500);
    assert_eq!(walk.after(half), []);
    walk.said(1, FromMaster::Missed);
    assert_eq!(walk.after(half), [Order::Resend]);
    assert_eq!(walk.after(half), []);
}

#[test]
fn the_watchdog_is_fed_when_it_is_time_and_not_before() {
    let every = Duration::from_secs(10);
    let start = Instant::now();
    let mut decider = Decider::new(None, Some(every), start);
    let mut at = |after| decider.on(Event::Clock, start + after);
    assert_eq!(at(Duration::ZERO), [Order::FeedWatchdog]);
    assert_eq!(at(every / 2), []);
    assert_eq!(at(every), [Order::FeedWatchdog]);
}

#[test]
fn syslogd_is_tried_so_often_and_no_more() {
    let mut walk = Walk::serving();
    walk.on(Event::SyslogAppeared);
    let mut tries = 0;
    while walk.decider.soonest().is_some() && tries < 100 {
        assert_eq!(
            walk.after(Duration::from_millis(200)),
            [Order::ConnectSyslog]
        );
        walk.on(Event::SyslogRefused);
        tries += 1;
    }
    assert_eq!(tries, 26);
}

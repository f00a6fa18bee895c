//! Whether masters and helpers go round their loops: when they are asked, and what comes of silence.

use std::time::Duration;

use super::walks::Walk;
use crate::helper::Kind;
use crate::ipc::words::FromMaster;
use crate::supervisor::decider::pulse::ANSWER_TIMEOUT;
use crate::supervisor::decider::{Event, Order};

#[test]
fn a_machine_that_slept_gives_its_master_time_to_answer() {
    let mut walk = Walk::serving();
    assert_eq!(walk.on(Event::StatusWanted), [Order::Ask(1)]);
    assert_eq!(walk.after(Duration::from_hours(1)), []);
    let kill = walk.after(Duration::from_secs(5));
    assert_eq!(kill.first(), Some(&Order::Kill(1)));
}

#[test]
fn only_the_master_that_was_asked_can_answer() {
    let mut walk = Walk::reloading();
    assert_eq!(walk.on(Event::StatusWanted), [Order::Ask(1)]);
    walk.said(2, FromMaster::Alive);
    assert_eq!(walk.on(Event::StatusWanted), []);
    let kill = walk.after(Duration::from_secs(5));
    assert_eq!(kill.first(), Some(&Order::Kill(1)));
}

#[test]
fn a_master_is_asked_when_clients_wait_a_second_and_nothing_is_due_before_the_next_comes() {
    let mut walk = Walk::serving();
    let second = Duration::from_secs(1);
    let look = [Order::LookAtBacklog, Order::WatchBacklog];
    assert_eq!(walk.on(Event::ClientCame), []);
    assert_eq!(walk.after(second / 2), []);
    assert_eq!(walk.after(second / 2), look);
    assert_eq!(walk.decider.soonest(), None, "it took the client");
    walk.on(Event::ClientCame);
    assert_eq!(walk.after(second), look);
    assert_eq!(walk.on(Event::ClientsWait), [Order::Ask(1)]);
    let kill = walk.after(Duration::from_secs(5));
    assert_eq!(kill.first(), Some(&Order::Kill(1)));
}

#[test]
fn a_helper_that_others_wait_for_is_asked_once_and_killed_unless_it_answers() {
    let mut walk = Walk::serving();
    let kind = Kind::Resolver;
    let ask = |walk: &mut Walk| walk.said(1, FromMaster::Silent(kind));
    assert_eq!(ask(&mut walk), [Order::AskHelper(kind)]);
    assert_eq!(ask(&mut walk), []);
    walk.on(Event::HelperAnswered(kind));
    assert_eq!(walk.decider.soonest(), None);
    assert_eq!(ask(&mut walk), [Order::AskHelper(kind)]);
    // The machine slept: nothing is known of it.
    assert_eq!(walk.after(Duration::from_hours(1)), []);
    let timeout = Duration::from_secs(5);
    assert_eq!(walk.after(timeout), [Order::KillHelper(kind)]);
    let (pid, how, pause) = (8, "was killed by SIGKILL".to_owned(), timeout);
    walk.on(Event::HelperDied {
        kind,
        pid,
        how,
        pause,
    });
    assert_eq!(ask(&mut walk), [], "another is to come");
    assert_eq!(walk.after(timeout), [Order::StartHelper(kind)]);
    walk.on(Event::HelperStarted(kind));
    // A reload may put another in its place as well.
    assert_eq!(ask(&mut walk), [Order::AskHelper(kind)]);
    walk.on(Event::HelperStarted(kind));
    assert_eq!(walk.decider.soonest(), None, "that one was not asked");
    // The clients of some are not masters.
    let teller = Kind::Teller;
    assert_eq!(walk.on(Event::ReadersWait), [Order::AskHelper(teller)]);
    assert_eq!(walk.after(timeout), [Order::KillHelper(teller)]);
}

#[test]
fn a_helper_of_a_generation_is_asked_while_that_serves_and_not_killed_for_the_one_before() {
    let mut walk = Walk::reloading();
    let (kind, ask) = (Kind::Launcher, [Order::AskHelper(Kind::Launcher)]);
    assert_eq!(walk.said(2, FromMaster::Silent(kind)), []);
    assert_eq!(walk.said(1, FromMaster::Silent(kind)), ask);
    walk.listens(2);
    walk.serves(2);
    let kill = Order::KillHelper(kind);
    assert!(!walk.after(ANSWER_TIMEOUT).contains(&kill));
    assert_eq!(walk.said(1, FromMaster::Silent(kind)), []);
    assert_eq!(walk.said(2, FromMaster::Silent(kind)), ask);
    assert!(walk.after(ANSWER_TIMEOUT).contains(&kill));
}

#[test]
fn names_are_looked_up_as_often_as_the_configuration_in_force_says_until_the_end() {
    let mut walk = Walk::serving();
    let minute = Duration::from_mins(1);
    walk.on(Event::NamesWanted(Some(minute)));
    for _ in 0..2 {
        assert_eq!(walk.after(minute / 2), []);
        assert_eq!(walk.after(minute / 2), [Order::LookUpNames]);
    }
    walk.on(Event::NamesWanted(None));
    assert_eq!(walk.decider.soonest(), None);
    walk.on(Event::NamesWanted(Some(minute / 60)));
    walk.on(Event::Stop("SIGTERM"));
    assert!(!walk.after(minute / 60).contains(&Order::LookUpNames));
}

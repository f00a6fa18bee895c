//! Whether the master that serves still goes round its loop: it is asked whenever systemd's watchdog is
//! fed, and whenever the status is asked for. One that does not answer is replaced; while there is no
//! need to know, nothing wakes up.

use std::time::{Duration, Instant};

use super::due::Due;
use super::generations::State;
use super::note::Note;
use super::{Decider, Order, Turn};

/// How long a master may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Woken so much later than wanted, this process was stopped itself, or the machine slept: then nothing
/// is known of the master.
const LATE: Duration = Duration::from_secs(1);

/// A question that is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    generation: u64,
}

impl Decider {
    /// The watchdog is fed.
    pub(super) fn watchdog(&mut self, turn: &mut Turn) {
        if let Some(every) = self.watchdog {
            self.due.set(Due::Watchdog, turn.after(every));
            turn.order(Order::FeedWatchdog);
            self.ask_master(turn);
        }
    }

    /// Asks the master that serves, unless it was asked already.
    pub(super) fn ask_master(&mut self, turn: &mut Turn) {
        if self.asked.is_some() {
            return;
        }
        if let [generation, ..] = self.generations.in_state(&[State::Serving])[..] {
            // One that is not there, or whose queue is full, does not answer either.
            turn.order(Order::Ask(generation));
            self.asked = Some(Asked { generation });
            self.due.set(Due::Answer, turn.after(ANSWER_TIMEOUT));
        }
    }

    pub(super) fn answered(&mut self, number: u64) {
        let asked = self.asked.take_if(|asked| asked.generation == number);
        if asked.is_some() {
            self.due.clear(Due::Answer);
        }
    }

    /// Kills a master that does not answer; its death has another started.
    pub(super) fn answer_timed_out(&mut self, at: Instant, turn: &mut Turn) {
        if turn.now.duration_since(at) > LATE {
            self.due.set(Due::Answer, turn.after(ANSWER_TIMEOUT));
            return;
        }
        let Some(Asked { generation: number }) = self.asked.take() else {
            return;
        };
        let serves = |life: &&super::Life| life.state() == State::Serving;
        if let Some(life) = self.generations.get(number).filter(serves) {
            let pid = life.pid();
            turn.order(Order::Kill(number));
            turn.log(Note::NotResponding { number, pid });
        }
    }
}

//! The generations and how far each has come. A state and its deadline are entered together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::due::Due;
use super::note::Note;
use super::{Decider, Master, Order, Turn};
use crate::ipc::words::FromMaster;

/// How long a master may take to end once it was told to end every connection: longer than it
/// waits for its workers.
pub(super) const CUT_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Reads what the configuration names, still as root.
    Loading,
    /// Was given its listeners; enters the jail and starts workers.
    Starting,
    /// Was forked by the spare of a dead master, and was given its listeners; starts workers.
    TakingOver,
    /// Accepts.
    Serving,
    /// Accepts no more; its connections go on until they end, or until its deadline.
    Draining,
    /// Was told to end every connection, or was killed; is killed at its deadline.
    Ending,
}

impl State {
    /// The word for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Loading => "loading",
            State::Starting => "starting",
            State::TakingOver => "taking over",
            State::Serving => "serving",
            State::Draining => "draining",
            State::Ending => "ending",
        }
    }
}

/// What is known of a generation whose master was not reaped yet.
#[derive(Debug)]
pub(super) struct Life {
    state: State,
    master: Master,
}

impl Life {
    pub(super) fn new(master: Master, state: State) -> Life {
        Life { state, master }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn pid(&self) -> i32 {
        self.master.pid
    }

    pub(super) fn drain_timeout(&self) -> Option<Duration> {
        self.master.drain_timeout
    }
}

/// By number, which is the order in which they were started.
#[derive(Debug, Default)]
pub(super) struct Generations(BTreeMap<u64, Life>);

impl Generations {
    pub(super) fn add(&mut self, number: u64, life: Life) {
        self.0.insert(number, life);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Life> {
        self.0.remove(&number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Life> {
        self.0.get(&number)
    }

    pub(super) fn state(&self, number: u64) -> Option<State> {
        self.0.get(&number).map(Life::state)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.0.keys().copied().collect()
    }

    /// Those in one of these states.
    pub(super) fn in_state(&self, states: &[State]) -> Vec<u64> {
        let among = self
            .0
            .iter()
            .filter(|(_, life)| states.contains(&life.state));
        among.map(|(number, _)| *number).collect()
    }
}

impl Decider {
    /// A generation comes so far, and may stay there until then.
    pub(super) fn enter(&mut self, number: u64, state: State, until: Option<Instant>) {
        let Some(life) = self.generations.0.get_mut(&number) else {
            return;
        };
        life.state = state;
        match until {
            Some(until) => self.due.set(Due::Generation(number), until),
            None => self.due.clear(Due::Generation(number)),
        }
    }

    /// Has a master accept no more, and end what is left by its configured time.
    pub(super) fn drain(&mut self, number: u64, turn: &mut Turn) {
        let Some(life) = self.generations.get(number) else {
            return;
        };
        let until = life.drain_timeout().map(|timeout| turn.after(timeout));
        self.drop_spare(number, turn);
        self.enter(number, State::Draining, until);
        turn.order(Order::Drain(number));
    }

    /// Has a master end everything.
    pub(super) fn cut(&mut self, number: u64, turn: &mut Turn) {
        if self.generations.get(number).is_some() {
            self.drop_spare(number, turn);
            self.enter(number, State::Ending, Some(turn.after(CUT_TIMEOUT)));
            turn.order(Order::Cut(number));
        }
    }

    /// Ends a master that does not hear. Its workers let their connections end, and go.
    pub(super) fn kill(&mut self, number: u64, turn: &mut Turn) {
        if self.generations.get(number).is_some() {
            self.drop_spare(number, turn);
            self.enter(number, State::Ending, Some(turn.after(CUT_TIMEOUT)));
            turn.order(Order::Kill(number));
        }
    }

    /// A generation's state has lasted as long as it may.
    pub(super) fn generation_timed_out(&mut self, number: u64, turn: &mut Turn) {
        match self.generations.state(number) {
            Some(State::Loading | State::Starting) => self.candidate_timed_out(number, turn),
            Some(State::TakingOver) => self.taking_over_timed_out(number, turn),
            Some(State::Draining) => self.cut(number, turn),
            Some(State::Ending) => self.kill(number, turn),
            // It has no deadline.
            Some(State::Serving) | None => {}
        }
    }

    /// A word counts in the state in which it may be said, and in no other: once it was given its
    /// listeners a master is in the jail or on its way there, and root takes no path from it.
    pub(super) fn heard(&mut self, number: u64, word: FromMaster, turn: &mut Turn) {
        let Some(state) = self.generations.state(number) else {
            return;
        };
        match (word, state) {
            (FromMaster::Loaded(accept), State::Loading) => self.loaded(number, accept, turn),
            (FromMaster::Failed, State::Loading) => self.candidate_failed(number, turn),
            (FromMaster::Serving, State::Starting) => self.candidate_serves(number, turn),
            (FromMaster::Serving, State::TakingOver) => self.replaced(number, turn),
            (FromMaster::NotForked(reason), _) => self.not_spared(number, reason, turn),
            (FromMaster::Draining, State::Draining | State::Ending) => {
                self.accepts_no_more(number, turn);
            }
            (FromMaster::Listed(count), _) => self.listed(number, count, turn),
            (FromMaster::Alive, _) => self.answered(number),
            (FromMaster::Missed, _) => self.missed(turn),
            (FromMaster::Silent(kind), _) => self.helper_does_not_answer(number, kind, turn),
            (
                FromMaster::Loaded(_)
                | FromMaster::Resolved(_)
                | FromMaster::Failed
                | FromMaster::Serving
                | FromMaster::Draining
                | FromMaster::Forked(_)
                | FromMaster::Standing(_),
                _,
            ) => turn.log(Note::OutOfTurn(number)),
        }
    }

    /// A master that says what is no word is not to be trusted with listeners. Its death has another
    /// started.
    pub(super) fn heard_invalid_message(&mut self, number: u64, error: String, turn: &mut Turn) {
        if self.generations.get(number).is_some() {
            turn.order(Order::Kill(number));
            turn.log(Note::InvalidMessage { number, error });
        }
    }
}

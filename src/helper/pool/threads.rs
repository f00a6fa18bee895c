//! The threads of a pool, as many as there is work for, and what they have in common. Never in here: a client's
//! socket that is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::lanes::{Begun, Bounds, Lanes};
use super::{Asked, Client, Waiter, Work, tell};
use crate::step::NameStep;

/// Different pieces of work that may wait in a lane; what is beyond fails at once.
pub(super) const QUEUE: usize = 1024;
/// The same, in all lanes together.
const QUEUES: usize = 4 * QUEUE;
/// Requests that may wait for one piece of work; what is beyond fails at once.
const WAITERS: usize = 65_536;

/// The threads. They end when this is dropped; those that are at work, a good while later.
pub(super) struct Threads<W: Work>(Arc<Common<W>>);

/// What became of a request.
pub(super) enum Taken<W: Work> {
    /// It waits for its answer.
    Queued,
    /// There is no room for it.
    Refused(W::Key, Waiter<W>),
    /// Work that never ends leaves no thread for it.
    Stuck,
}

struct Common<W: Work> {
    work: W,
    state: Mutex<State<W>>,
    /// Told when there is work, and at the end.
    news: Condvar,
}

struct State<W: Work> {
    /// What is queued or under way.
    pending: HashMap<W::Key, Pending<W>>,
    lanes: Lanes<W::Lane, W::Key>,
    threads: usize,
    idle: usize,
    over: bool,
}

/// A piece of work, and what waits for it.
struct Pending<W: Work> {
    waiters: Vec<Waiter<W>>,
    /// `None` once it is under way.
    terms: Option<W::Terms>,
    /// Where it is queued: once another lane asks for it too, it waits in both, for whichever has its turn sooner.
    lanes: Vec<W::Lane>,
}

/// Work for a thread.
struct Job<W: Work> {
    key: W::Key,
    terms: W::Terms,
    begun: Begun<W::Lane>,
}

impl<W: Work> Threads<W> {
    /// Starts those that stay.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(work: W) -> io::Result<Self> {
        let state = State {
            pending: HashMap::new(),
            lanes: Lanes::new(Bounds {
                threads: W::THREADS,
                share: W::SHARE,
                queue: QUEUE,
                all: QUEUES,
                patience: W::PATIENCE,
            }),
            threads: 0,
            idle: 0,
            over: false,
        };
        let threads = Self(Arc::new(Common {
            work,
            state: Mutex::new(state),
            news: Condvar::new(),
        }));
        for _ in 0..W::KEPT {
            threads.start_one()?;
        }
        Ok(threads)
    }

    /// Takes a request, and has a thread begin with it as soon as may be.
    pub(super) fn take(&self, client: Client, asked: Asked<W>) -> Taken<W> {
        let mut state = self.0.lock();
        if let Err((key, waiter)) = state.queue(client, asked) {
            return Taken::Refused(key, waiter);
        }
        let ready = state.lanes.ready();
        if state.lanes.are_stuck(Instant::now()) {
            return Taken::Stuck;
        }
        let is_short = ready > state.idle && state.threads < W::THREADS;
        drop(state);
        self.0.news.notify_one();
        if is_short {
            // Where there can be no more of them, those that there are have more to do.
            let _ = self.start_one();
        }
        Taken::Queued
    }

    fn start_one(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        let number = state.threads;
        state.threads += 1;
        drop(state);
        let common = Arc::clone(&self.0);
        let started = thread::Builder::new()
            .name(format!("{} {number}", W::THREAD))
            .spawn(move || common.serve())
            .step("starting a thread");
        if started.is_err() {
            self.0.lock().threads -= 1;
        }
        started.map(drop)
    }
}

impl<W: Work> Drop for Threads<W> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.news.notify_all();
    }
}

impl<W: Work> Common<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn serve(&self) {
        let mut state = self.lock();
        while !state.over {
            if let Some(Job { key, terms, begun }) = state.begin() {
                drop(state);
                let outcome = self.work.perform(&key, terms);
                let waiters = self.lock().end(&key, &begun);
                tell(waiters, &outcome);
                state = self.lock();
            } else if state.idle >= W::KEPT {
                break;
            } else {
                state.idle += 1;
                state = self
                    .news
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        state.threads -= 1;
    }
}

impl<W: Work> State<W> {
    /// Adds a request; it comes back where there is no room for it.
    fn queue(&mut self, client: Client, asked: Asked<W>) -> Result<(), (W::Key, Waiter<W>)> {
        let Asked {
            key,
            terms,
            lane,
            ticket,
        } = asked;
        let waiter = Waiter { client, ticket };
        let has_room = self.lanes.have_room(&lane);
        match self.pending.entry(key.clone()) {
            Entry::Vacant(_) if !has_room => return Err((key, waiter)),
            Entry::Vacant(entry) => {
                entry.insert(Pending {
                    waiters: vec![waiter],
                    terms: Some(terms),
                    lanes: vec![lane.clone()],
                });
                self.lanes.push(lane, key);
            }
            Entry::Occupied(mut entry) => {
                let pending = entry.get_mut();
                if pending.waiters.len() >= WAITERS {
                    return Err((key, waiter));
                }
                pending.waiters.push(waiter);
                let waits = pending.terms.is_some() && !pending.lanes.contains(&lane);
                if waits && has_room {
                    pending.lanes.push(lane.clone());
                    self.lanes.push(lane, key);
                }
            }
        }
        Ok(())
    }

    /// What a thread is to do next.
    fn begin(&mut self) -> Option<Job<W>> {
        loop {
            let (begun, key) = self.lanes.begin(Instant::now())?;
            let pending = self.pending.get_mut(&key);
            match pending.and_then(|pending| pending.terms.take()) {
                Some(terms) => return Some(Job { key, terms, begun }),
                // It had its turn in another lane.
                None => self.lanes.end(&begun),
            }
        }
    }

    /// A piece of work is done; what waited for it.
    fn end(&mut self, key: &W::Key, begun: &Begun<W::Lane>) -> Vec<Waiter<W>> {
        self.lanes.end(begun);
        self.pending
            .remove(key)
            .map_or_else(Vec::new, |pending| pending.waiters)
    }
}

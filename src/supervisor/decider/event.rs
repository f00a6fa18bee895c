//! What the decider is told.

use std::time::Duration;

use super::Why;
use crate::helper::Kind;
use crate::ipc::words::FromMaster;

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The program begins, as a start, or as a reload after an exec.
    Begin(Why),
    /// A turn of the loop is over: what is wanted may begin.
    TurnOver,
    /// The soonest deadline, if its time has come.
    Clock,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ReopenLog,
    /// SIGUSR2.
    List,
    /// A signal to end; its name.
    Stop(&'static str),
    /// A client of the control socket is answered.
    StatusWanted,
    /// The control socket takes no more clients for a while.
    ControlPaused,
    /// A file that the configuration names was written.
    FileWritten,
    /// A configuration has come into force whose names are to be looked up again this often; `None`: it has none, or
    /// they are not.
    NamesWanted(Option<Duration>),
    /// A syslogd has appeared.
    SyslogAppeared,
    /// Every process was passed a connection to it.
    SyslogConnected,
    /// It could not be connected to.
    SyslogRefused,
    /// A process had no room for what it was sent.
    Missed,
    /// A master said a word.
    Said(u64, FromMaster),
    /// A master said what is no word; why it cannot be read.
    InvalidMessage(u64, String),
    /// A master could not be asked for its list.
    Unasked(u64),
    /// A master died; in words, how.
    MasterDied(u64, String),
    /// A dead master was buried; whether workers of it go on without it.
    Buried(u64, Orphaned),
    /// The spare behind a generation stands.
    SpareStands(u64),
    /// It is dead; in words, how it died.
    SpareLost(u64, String),
    /// It could not be forked, and why.
    NotSpared(u64, String),
    /// A spare has forked the master of a generation.
    Forked(u64, Master),
    /// It could not, and why.
    NotForked(u64, String),
    /// The last worker of a dead master has ended.
    OrphansEnded(u64),
    /// A helper died.
    HelperDied {
        /// Which.
        kind: Kind,
        /// Its process.
        pid: i32,
        /// In words.
        how: String,
        /// How long to wait before another is started.
        pause: Duration,
    },
    /// A helper has shown that its loop comes round.
    HelperAnswered(Kind),
    /// A client has come, while [`super::Order::WatchBacklog`] was in force.
    ClientCame,
    /// Clients wait that the master has not taken.
    ClientsWait,
    /// The same of the metrics, and the teller.
    ReadersWait,
    /// A helper was started.
    HelperStarted(Kind),
    /// A helper could not be started.
    HelperNotStarted(Kind),
    /// Whether the program's file is another than the one that runs.
    Compared(Binary),
    /// A new binary rehearses.
    Rehearsing,
    /// It could not be started.
    NotRehearsing,
    /// Its rehearsal is over.
    Rehearsed(Rehearsed),
    /// It could not be executed.
    NotTakenOver,
    /// The configuration for a transition was read, and what the supervisor must open for it is open.
    Queried,
    /// It cannot be.
    NotQueried,
    /// The candidate's master runs.
    Started(u64, Master),
    /// It could not be started.
    NotStarted(u64),
    /// The candidate was given its listeners; where each is bound, as the log says it.
    Listening(u64, Vec<String>),
    /// Its listeners are in force.
    Committed(u64),
    /// Retired listeners have clients in their queues, or on their way there.
    RetiredLeft,
    /// They could not be bound, or not be given to it, or not listen.
    NotListening(u64),
}

/// Whether a dead master leaves workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphaned {
    /// They end with their connections.
    Workers,
    /// There is none.
    None,
}

/// The program's file beside the program that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    /// Another, which may be executed.
    New,
    /// The same, or one that cannot take over.
    Same,
}

/// How a rehearsal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rehearsed {
    /// The new binary left its proof.
    Well,
    /// It did not; in words, how it ended.
    Badly(String),
}

/// What is to be known of a master that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Master {
    /// Its process.
    pub pid: i32,
    /// How long its connections may drain.
    pub drain_timeout: Option<Duration>,
}

//! What the decider orders.

use std::time::Duration;

use super::Why;
#[cfg(doc)]
use super::event::Event;
use super::note::Note;
use crate::helper::Kind;
use crate::ipc::words::Accept;
#[cfg(doc)]
use crate::ipc::words::FromMaster;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Write a line.
    Log(Note),
    /// Tell the manager that a reload has begun.
    Reloading,
    /// Tell the manager that a start or reload is over, and how.
    Ready(String),
    /// Tell the manager that the end has begun, and how long it may take.
    TellStopping(Duration),
    /// Tell the manager that the loop comes round.
    FeedWatchdog,
    /// See whether there is a new binary: [`Event::Compared`].
    Compare,
    /// Let the new binary rehearse: [`Event::Rehearsing`] or [`Event::NotRehearsing`].
    Rehearse,
    /// Kill the binary that rehearses; its death is told by [`Event::Rehearsed`].
    KillRehearsal,
    /// Kill the binary that rehearses, and wait for its end, which is not told.
    EndRehearsal,
    /// Execute the new binary. It returns only as [`Event::NotTakenOver`].
    TakeOver,
    /// Read the configuration and open what is new in it: [`Event::Queried`] or
    /// [`Event::NotQueried`], which leaves nothing behind.
    Query(Why),
    /// Start the candidate's master: [`Event::Started`] or [`Event::NotStarted`].
    Start(u64),
    /// Bind what is new and pass the candidate its listeners, which it named:
    /// [`Event::Listening`] or [`Event::NotListening`].
    Listen(u64, Vec<Vec<Accept>>),
    /// Give up all that was made for the transition.
    RollBack,
    /// Put the candidate's listeners into force, and have it accept; what only others had is closed, or retired
    /// where the port goes on: [`Event::Committed`] or [`Event::NotListening`].
    Commit(u64),
    /// Close retired listeners with which no handshake is under way and whose queue is empty, and have these masters
    /// do so: [`Event::RetiredLeft`] where any stay.
    CloseTheRetired(Vec<u64>),
    /// Put the candidate's configuration into force, with all that was opened for it; helpers that are
    /// others by it are started anew: [`Event::HelperStarted`] or [`Event::HelperNotStarted`] each.
    PutIntoForce(Why),
    /// Write the pid file.
    WritePidFile,
    /// Let the process end that started the daemon, with success.
    ReleaseStarter,
    /// Have a master fork its spare: [`Event::SpareStands`], [`Event::SpareLost`] or [`Event::NotSpared`].
    Spare(u64),
    /// End a spare.
    DropSpare(u64),
    /// Have the spare of a dead master fork another, with the listeners in force, and stand behind that:
    /// [`Event::Forked`] or [`Event::NotForked`].
    Replace {
        /// The dead one's generation.
        dead: u64,
        /// That of the other.
        by: u64,
    },
    /// A master that a spare was to fork is not wanted any more.
    GiveUp(u64),
    /// Have a master accept no more.
    Drain(u64),
    /// Have a master end everything.
    Cut(u64),
    /// Kill a master.
    Kill(u64),
    /// Ask a master to say [`FromMaster::Alive`].
    Ask(u64),
    /// Ask a master to list its connections: [`Event::Unasked`] where it cannot be asked.
    List(u64),
    /// Say how many connections dead masters have left.
    ListOrphans,
    /// Give a dead master's room back, and see what it leaves: [`Event::Buried`].
    Bury(u64),
    /// Ask a helper whether its loop comes round: [`Event::HelperAnswered`].
    AskHelper(Kind),
    /// Kill a helper that does not.
    KillHelper(Kind),
    /// Look whether clients wait that the master, or the teller, has not taken: [`Event::ClientsWait`],
    /// [`Event::ReadersWait`].
    LookAtBacklog,
    /// Tell of the next client that comes: [`Event::ClientCame`], once.
    WatchBacklog,
    /// Look the names of the configuration in force up again.
    LookUpNames,
    /// Start a helper: [`Event::HelperStarted`] or [`Event::HelperNotStarted`].
    StartHelper(Kind),
    /// Open the log file anew and pass it on.
    ReopenLog,
    /// Connect to syslogd and pass that on: [`Event::SyslogConnected`] or [`Event::SyslogRefused`].
    ConnectSyslog,
    /// Send the log file, the connection to syslogd and the helpers' channels once more.
    Resend,
    /// Take clients of the control socket again.
    ResumeControl,
    /// Close every listener.
    CloseListeners,
    /// End with this status.
    End(u8),
}

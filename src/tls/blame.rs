//! What the tables of offences and of alerts say of each: its phrase, whose fault it is, what to do,
//! and how it counts.

use crate::ipc::scoreboard::HandshakeFailure;

/// Which side has to mend it, where that is sure: a verdict that is wrong sends an administrator to
/// the wrong machine.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Peer,
    Ours,
    /// They have nothing in common, and either side can change that.
    Either,
    /// It may be either side, or what lies between them: nothing is said.
    Unsure,
}

/// What the table says of an offence.
pub(super) struct Row {
    pub(super) phrase: &'static str,
    pub(super) fault: Fault,
    pub(super) hint: &'static str,
    pub(super) kind: HandshakeFailure,
}

impl From<(&'static str, Fault, &'static str, HandshakeFailure)> for Row {
    /// A line of a table.
    fn from(line: (&'static str, Fault, &'static str, HandshakeFailure)) -> Row {
        let (phrase, fault, hint, kind) = line;
        Row {
            phrase,
            fault,
            hint,
            kind,
        }
    }
}

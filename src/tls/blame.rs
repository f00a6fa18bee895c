//! The entries of the tables of offences and alerts: the phrase, which side is at fault, what to do,
//! and how the scoreboard counts it.

use crate::ipc::scoreboard::HandshakeFailure;

/// Which side has to act, where that is certain: a wrong verdict sends an administrator to the wrong
/// machine.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Peer,
    Ours,
    /// They have nothing in common; either side can change that.
    Either,
    /// Either side, or something between them: the line names none.
    Unsure,
}

/// An entry of a table.
pub(super) struct Row {
    pub(super) phrase: &'static str,
    pub(super) fault: Fault,
    pub(super) hint: &'static str,
    pub(super) kind: HandshakeFailure,
}

impl From<(&'static str, Fault, &'static str, HandshakeFailure)> for Row {
    /// Makes an entry of a line in a table.
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

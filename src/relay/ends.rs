//! The ends of a session: the front from its beginning, both once the back is connected.

use super::end::End;
use crate::protocol::Side;

/// Both ends.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Accepted.
    pub front: End,
    /// Connected.
    pub back: End,
}

impl Pair {
    /// The end of `side`, and the other one.
    pub(crate) fn facing(&mut self, side: Side) -> (&mut End, &mut End) {
        match side {
            Side::Front => (&mut self.front, &mut self.back),
            Side::Back => (&mut self.back, &mut self.front),
        }
    }

    /// The end of `side`.
    pub(crate) fn end(&mut self, side: Side) -> &mut End {
        self.facing(side).0
    }
}

/// The ends that a dialogue speaks with.
#[derive(Debug)]
pub(crate) enum Ends<'a> {
    /// The client alone.
    Front(&'a mut End),
    /// Both.
    Both(&'a mut Pair),
}

impl Ends<'_> {
    /// The end of `side`, if it is there, and the other one.
    pub(crate) fn facing(&mut self, side: Side) -> Option<(&mut End, Option<&mut End>)> {
        match (self, side) {
            (Ends::Front(front), Side::Front) => Some((front, None)),
            (Ends::Front(_), Side::Back) => None,
            (Ends::Both(pair), side) => {
                let (end, other) = pair.facing(side);
                Some((end, Some(other)))
            }
        }
    }

    /// The end of `side`, if it is there.
    pub(crate) fn end(&mut self, side: Side) -> Option<&mut End> {
        self.facing(side).map(|(end, _)| end)
    }
}

//! The ends of a session: the front from its beginning, both once the back is connected.

use super::end::End;
use crate::protocol::Side;

/// Both ends.
#[derive(Debug)]
pub struct Pair {
    /// Accepted.
    pub front: End,
    /// Connected.
    pub back: End,
}

impl Pair {
    /// The end of `side`, and the other one.
    pub fn facing(&mut self, side: Side) -> (&mut End, &mut End) {
        match side {
            Side::Front => (&mut self.front, &mut self.back),
            Side::Back => (&mut self.back, &mut self.front),
        }
    }

    /// The end of `side`.
    pub fn end(&mut self, side: Side) -> &mut End {
        self.facing(side).0
    }

    /// Both, the front first.
    pub fn each(&mut self) -> [&mut End; 2] {
        [&mut self.front, &mut self.back]
    }
}

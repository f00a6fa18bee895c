//! What connects the processes: shared memory, and channels for messages and descriptors. Never in
//! here: what a message means to a role.

pub mod accept;
pub mod channel;
pub mod handoff;
pub mod inherit;
pub mod leash;
pub mod retire;
pub mod scoreboard;
pub mod shared;
pub mod wait;
pub mod words;

//! What connects the processes: shared memory, and channels for messages and descriptors. Never in
//! here: what a message means to a role.

pub(crate) mod accept;
pub(crate) mod addresses;
pub(crate) mod channel;
pub(crate) mod durations;
pub(crate) mod handoff;
pub(crate) mod incidents;
pub(crate) mod inherit;
pub(crate) mod inquiry;
pub(crate) mod leash;
pub(crate) mod probes;
pub(crate) mod request;
pub(crate) mod retire;
pub(crate) mod scoreboard;
pub(crate) mod shared;
pub(crate) mod shares;
pub(crate) mod wait;
pub(crate) mod words;

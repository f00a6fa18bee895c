//! `benches/run`: what a unit of work costs adit, stunnel, hitch, haproxy and nginx, side by side.
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that fails shows where"
)]

#[path = "mod.rs"]
mod compare;

use std::process::ExitCode;

fn main() -> ExitCode {
    compare::run(std::env::args_os().skip(1))
}

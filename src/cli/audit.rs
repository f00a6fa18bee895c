//! `adit audit`: shows what each process of the running adit is and may do. Never in here: how that is found out.

use std::process::ExitCode;

use super::running::Running;
use super::{complain, print};
use crate::audit;

/// Prints what was found; fails if a process may more than its role needs.
pub(super) fn run(running: &Running, json: bool) -> ExitCode {
    let report = match running.status().and_then(|status| audit::look(&status)) {
        Ok(report) => report,
        Err(error) => {
            complain(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let printed = match json.then(|| serde_json::to_string(&report)) {
        None => print(format_args!("{report}")),
        Some(Ok(document)) => print(format_args!("{document}\n")),
        Some(Err(error)) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    };
    match report.is_wider() {
        true => ExitCode::FAILURE,
        false => printed,
    }
}

//! Unit tests that this machine cannot run say so here, where `tests/run` looks: a test that only returns
//! would count as passed.

use std::io::Write as _;

/// Says that the test of this thread did not run, and why.
pub(crate) fn say(why: &str) {
    let thread = std::thread::current();
    let line = format!("SKIP {}: {why}\n", thread.name().unwrap_or("unnamed test"));
    eprint!("{line}");
    if let Some(path) = std::env::var_os("TEST_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

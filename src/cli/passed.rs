//! Only the running adit has the sockets that systemd passed (`LISTEN_FDS`). A command that checks a
//! configuration which relies on them asks it for their number.

use super::running;
use crate::config::{self, Config, Service, Sources};

/// The sources, with the running adit's number of passed sockets if a service needs one.
pub(super) fn as_running(sources: Sources) -> Sources {
    if sources.passed > 0 {
        return sources;
    }
    if !whatever_is_passed(&sources).is_some_and(|config| needs_one(&config)) {
        return sources;
    }
    let running = running::find(&sources).ok();
    let status = running.and_then(|running| running.status().ok());
    Sources {
        passed: status.map_or(0, |status| status.passed),
        ..sources
    }
}

/// The configuration, if it is valid with enough passed sockets.
fn whatever_is_passed(sources: &Sources) -> Option<Config> {
    let sources = Sources {
        passed: usize::MAX,
        ..sources.clone()
    };
    config::load(&sources).ok().map(|loaded| loaded.config)
}

fn needs_one(config: &Config) -> bool {
    config.services.iter().any(Service::takes_passed_socket)
}

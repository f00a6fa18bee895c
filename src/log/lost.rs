//! Tells that lines begin to be lost: the log itself cannot. Never in here: a line, or what makes one.

use std::sync::{PoisonError, RwLock};

type Teller = Box<dyn Fn(&str) + Send + Sync>;

/// Of this process, and of those that it forks from now on. The lock is held for no longer than the telling takes, and
/// only a process with one thread forks.
static TELLER: RwLock<Option<Teller>> = RwLock::new(None);

/// Has that told from now on: why lines begin to be lost. It must not log.
pub(crate) fn tell_losses_by(teller: impl Fn(&str) + Send + Sync + 'static) {
    *TELLER.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(teller));
}

/// Lines begin to be lost. Whether that is told.
pub(super) fn tell(why: &str) -> bool {
    let teller = TELLER.read().unwrap_or_else(PoisonError::into_inner);
    teller.as_ref().map(|teller| teller(why)).is_some()
}

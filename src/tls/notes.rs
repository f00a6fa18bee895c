//! What verification has to say. rustls calls a shared verifier from deep inside a step, where no
//! connection's log is at hand; the lines wait here, in the thread that runs the step, until the
//! step writes them under its connection's number.

use std::cell::{Cell, RefCell};

use super::failure::Offence;
use crate::log::Log;

thread_local! {
    static LINES: RefCell<Vec<(u8, String)>> = const { RefCell::new(Vec::new()) };
    #[cfg(test)]
    static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static VERDICT: Cell<Option<Offence>> = const { Cell::new(None) };
}

/// Leaves a line at a numeric level.
pub(super) fn note(level: u8, text: String) {
    LINES.with_borrow_mut(|lines| lines.push((level, text)));
}

/// Leaves why the certificate or the signature of the peer is refused; rustls' own error has no room
/// for it.
pub(super) fn blame(why: Offence) {
    VERDICT.set(Some(why));
}

/// Forgets what a step that panicked left behind, so that it is not taken for the next one's.
pub(super) fn forget() {
    LINES.with_borrow_mut(Vec::clear);
    VERDICT.set(None);
}

/// Takes what `blame` left.
pub(super) fn verdict() -> Option<Offence> {
    VERDICT.take()
}

/// Writes and forgets the lines.
pub(super) fn drain(log: &Log) {
    LINES.with_borrow_mut(|lines| {
        for (level, text) in lines.drain(..) {
            #[cfg(test)]
            WRITTEN.with_borrow_mut(|written| written.push(format!("{level} {text}")));
            crate::log_at!(*log, level, "{text}");
        }
    });
}

/// Every line that this thread wrote since it was last asked, `LEVEL TEXT`.
#[cfg(test)]
pub(super) fn written() -> Vec<String> {
    WRITTEN.take()
}

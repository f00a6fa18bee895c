//! What verification has to say. rustls calls a shared verifier from deep inside a step, where no
//! connection's log is at hand. The lines wait in thread-local storage until the step writes them under
//! its connection's number.

use std::cell::{Cell, RefCell};

use super::failure::Offence;
use super::ocsp::Inquiry;
use crate::log::Log;

thread_local! {
    static LINES: RefCell<Vec<(u8, String)>> = const { RefCell::new(Vec::new()) };
    #[cfg(test)]
    static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static VERDICT: Cell<Option<Offence>> = const { Cell::new(None) };
    static INQUIRY: Cell<Option<Box<Inquiry>>> = const { Cell::new(None) };
}

/// Leaves a line at a numeric level.
pub(super) fn note(level: u8, text: String) {
    LINES.with_borrow_mut(|lines| lines.push((level, text)));
}

/// Leaves the reason why the peer's certificate or signature is refused; rustls' own error cannot carry
/// it.
pub(super) fn blame(why: Offence) {
    VERDICT.set(Some(why));
}

/// Leaves what has to be asked before the connection may be used.
pub(super) fn ask(inquiry: Option<Box<Inquiry>>) {
    INQUIRY.set(inquiry);
}

/// Takes what was left by `ask`.
pub(super) fn inquiry() -> Option<Box<Inquiry>> {
    INQUIRY.take()
}

/// Discards what a panicked step left, so that the next one does not take it for its own.
pub(super) fn forget() {
    LINES.with_borrow_mut(Vec::clear);
    VERDICT.set(None);
    INQUIRY.set(None);
}

/// Takes the reason left by `blame`.
pub(super) fn verdict() -> Option<Offence> {
    VERDICT.take()
}

/// Writes the lines and removes them.
pub(super) fn drain(log: &Log) {
    LINES.with_borrow_mut(|lines| {
        for (level, text) in lines.drain(..) {
            #[cfg(test)]
            WRITTEN.with_borrow_mut(|written| written.push(format!("{level} {text}")));
            crate::log_at!(*log, level, "{text}");
        }
    });
}

/// The lines this thread has written since the last call, as `LEVEL TEXT`.
#[cfg(test)]
pub(super) fn written() -> Vec<String> {
    WRITTEN.take()
}

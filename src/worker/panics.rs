//! A panic in a session's step ends that session, not the worker. Its location is logged, since stderr
//! may lead nowhere.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// `None` on threads whose panics are not caught here.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, keeps this thread's panics for [`caught`] instead of printing them to stderr.
pub(super) fn keep_places() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = PLACE.with_borrow_mut(|place| {
                let Some(place) = place else {
                    return false;
                };
                *place = match info.location() {
                    Some(location) => format!("panic at {location}"),
                    None => "panic at an unknown location".to_owned(),
                };
                true
            });
            if !kept {
                before(info);
            }
        }));
    });
    PLACE.set(Some(String::new()));
}

/// Runs `step`; a panic is returned as its location and message.
///
/// # Errors
/// It panicked.
pub(super) fn caught<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    // Only the session can be left half changed, and the session is thrown away.
    panic::catch_unwind(AssertUnwindSafe(step)).map_err(|payload| {
        let place = PLACE.with_borrow(|place| place.clone().unwrap_or_default());
        format!("{place}: {}", said(&*payload))
    })
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place() {
        keep_places();
        let number = [1, 2, 3].len();
        let told = caught(|| assert_eq!(number, 4, "three is not four")).unwrap_err();
        assert!(told.contains("panics.rs:"), "{told}");
        assert!(told.contains("three is not four"), "{told}");
        assert_eq!(caught(|| 7), Ok(7));
    }
}

//! Options that adit does not serve, where they ask for nothing: without a value, say. stunnel takes such lines, and
//! files have them.

use super::option::Fault;
use super::service::Draft;

/// Says what a line comes to in a service that is read to its end: a note where it asks for
/// nothing, an error where its value is wrong. `None`: it asks for what adit does not serve.
pub(super) type Idle = fn(&Draft, &str) -> Option<Fault>;

/// An option without a value.
pub(super) fn empty(_: &Draft, value: &str) -> Option<Fault> {
    value
        .is_empty()
        .then(|| Fault::note("without a value this line asks for nothing"))
}

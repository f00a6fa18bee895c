//! Options that adit does not serve, where they ask for nothing: `ident` without a name, say. stunnel takes
//! such lines, and files have them.

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

/// stunnel would ask all the same, and refuse every client: no user has an empty name.
pub(super) fn ident(_: &Draft, value: &str) -> Option<Fault> {
    value.is_empty().then(|| {
        let fault = Fault::warning("`ident` names no user: adit asks for none");
        fault.help("leave the line out; stunnel refuses every client here")
    })
}

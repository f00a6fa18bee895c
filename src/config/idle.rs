//! Options that adit does not serve, where they ask for nothing: `OCSPnonce` without `OCSP`, say. stunnel takes
//! such lines, and files have them.

use super::option::{Fault, number, yes_no};
use super::service::Draft;

/// Says what a line comes to in a service that is read to its end: a note where it asks for
/// nothing, an error where its value is wrong. `None`: it asks for what adit does not serve.
pub(super) type Idle = fn(&Draft, &str) -> Option<Fault>;

/// For an option that is nothing without one of `others`.
fn without(draft: &Draft, name: &str, others: &[&str]) -> Option<Fault> {
    if others.iter().any(|other| draft.asked.contains(other)) {
        return None;
    }
    let quoted: Vec<String> = others.iter().map(|other| format!("`{other}`")).collect();
    let others = quoted.join(" or ");
    Some(Fault::note(format!(
        "`{name}` has no effect without {others}"
    )))
}

/// An option without a value.
pub(super) fn empty(_: &Draft, value: &str) -> Option<Fault> {
    value
        .is_empty()
        .then(|| Fault::note("without a value this line asks for nothing"))
}

const OCSP: &[&str] = &["OCSP", "OCSPaia"];

pub(super) fn ocsp_flag(draft: &Draft, value: &str) -> Option<Fault> {
    let known = [
        "NOCERTS",
        "NOINTERN",
        "NOSIGS",
        "NOCHAIN",
        "NOVERIFY",
        "NOEXPLICIT",
        "NOCASIGN",
        "NODELEGATED",
        "NOCHECKS",
        "TRUSTOTHER",
        "RESPID_KEY",
        "NOTIME",
    ];
    if !known.iter().any(|flag| flag.eq_ignore_ascii_case(value)) {
        return Some(Fault::new("Illegal OCSP flag").help(known.join(", ")));
    }
    without(draft, "OCSPflag", OCSP)
}

pub(super) fn ocsp_nonce(draft: &Draft, value: &str) -> Option<Fault> {
    yes_no(value)
        .err()
        .or_else(|| without(draft, "OCSPnonce", OCSP))
}

pub(super) fn ocsp_require(draft: &Draft, value: &str) -> Option<Fault> {
    yes_no(value)
        .err()
        .or_else(|| without(draft, "OCSPrequire", OCSP))
}

pub(super) fn ocsp_timeout(draft: &Draft, value: &str) -> Option<Fault> {
    let valid = number(value, 0..=u32::MAX).err();
    valid.or_else(|| without(draft, "TIMEOUTocsp", OCSP))
}

/// stunnel would ask all the same, and refuse every client: no user has an empty name.
pub(super) fn ident(_: &Draft, value: &str) -> Option<Fault> {
    value.is_empty().then(|| {
        let fault = Fault::warning("`ident` names no user: adit asks for none");
        fault.help("leave the line out; stunnel refuses every client here")
    })
}

/// What NTLM alone has a use for, which is refused by name.
pub(super) fn of_ntlm(_: &Draft, _: &str) -> Option<Fault> {
    let note = "this has no effect: it is for `protocolAuthentication = ntlm`";
    Some(Fault::note(note))
}

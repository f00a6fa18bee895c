//! The capability sets of this process. Never in here: another process's.

use nix::errno::Errno;

use super::{JailError, call};

/// capget(2), version 3: two sets of 32 bits of each kind.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CapabilityData {
    pub(super) effective: u32,
    pub(super) permitted: u32,
    pub(super) inheritable: u32,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn capability_header() -> CapabilityHeader {
    CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    }
}

/// prctl(2) reads unsigned longs, and wants unused ones to be 0.
const NONE: libc::c_ulong = 0;

pub(super) fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<libc::c_int, Errno> {
    // SAFETY: these options take plain numbers and touch no memory of ours.
    Errno::result(unsafe { libc::prctl(option, argument, NONE, NONE, NONE) })
}

/// The capabilities that this kernel knows.
fn known_capabilities() -> impl Iterator<Item = libc::c_ulong> {
    (0..64).take_while(|&n| prctl(libc::PR_CAPBSET_READ, n).is_ok())
}

pub(super) fn drop_bounding_set() -> Result<(), JailError> {
    for n in known_capabilities() {
        prctl(libc::PR_CAPBSET_DROP, n).map_err(call("prctl(PR_CAPBSET_DROP)"))?;
    }
    Ok(())
}

pub(super) fn clear_capabilities() -> Result<(), JailError> {
    set_capabilities([CapabilityData::default(); 2])
}

/// Keeps these alone; none is passed on to what is executed.
pub(super) fn set_capabilities(sets: [CapabilityData; 2]) -> Result<(), JailError> {
    let all = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, all).map_err(call("prctl(PR_CAP_AMBIENT)"))?;
    let header = capability_header();
    // SAFETY: both pointers are to live values, laid out as capset(2) version 3 wants.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    Errno::result(result).map(drop).map_err(call("capset"))
}

/// The sets that this process has.
pub(super) fn capabilities() -> Result<[CapabilityData; 2], JailError> {
    let mut header = capability_header();
    let mut sets = [CapabilityData::default(); 2];
    // SAFETY: both pointers are to live values, laid out as capget(2) version 3 wants.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    Errno::result(result).map_err(call("capget"))?;
    Ok(sets)
}

/// Whether this process has a capability.
pub(super) fn has_capability() -> Result<bool, JailError> {
    let none = [CapabilityData::default(); 2];
    Ok(capabilities()? != none)
}

/// The set of what a process may still gain.
pub(super) const BOUNDING: &str = "bounding";

/// The name of a capability set that is not empty, if there is one.
pub(super) fn capabilities_left() -> Result<Option<&'static str>, JailError> {
    let sets = capabilities()?;
    let any = |set: fn(&CapabilityData) -> u32| sets.iter().any(|data| set(data) != 0);
    let ambient = libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong;
    Ok(if any(|data| data.effective) {
        Some("effective")
    } else if any(|data| data.permitted) {
        Some("permitted")
    } else if any(|data| data.inheritable) {
        Some("inheritable")
    } else if known_capabilities().any(|n| prctl(libc::PR_CAPBSET_READ, n) == Ok(1)) {
        Some(BOUNDING)
    } else if known_capabilities().any(|n| is_ambient(ambient, n)) {
        Some("ambient")
    } else {
        None
    })
}

fn is_ambient(query: libc::c_ulong, capability: libc::c_ulong) -> bool {
    // SAFETY: PR_CAP_AMBIENT_IS_SET takes plain numbers.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, query, capability, NONE, NONE) == 1 }
}

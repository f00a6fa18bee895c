//! A filter's rules: which calls, with which arguments. Never in here: what a role may do.

use std::collections::BTreeMap;
use std::fmt;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::SandboxError;

/// What any process may set or ask about itself; also PR_SET_DUMPABLE, to 0.
const PRCTL: [u64; 8] = [
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_VMA as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
    libc::PR_GET_NO_NEW_PRIVS as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_GET_SECCOMP as u64,
    libc::PR_SET_PDEATHSIG as u64,
];

/// A filter's rules: alternatives for each call; no alternative means "with any arguments".
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

pub(super) fn plain(groups: &[&[i64]]) -> Rules {
    let calls = groups.iter().copied().flatten();
    calls.map(|&call| (call, Vec::new())).collect()
}

/// Calls that every role may make, with some arguments only.
pub(super) fn narrow() -> Result<Rules, SandboxError> {
    // No executable memory: no code is loaded once the sandbox is in force.
    let not_executable = || masked(2, libc::PROT_EXEC as u64, 0);
    let stream = || masked(1, 0xf, libc::SOCK_STREAM as u64);
    let write = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64;
    Ok(BTreeMap::from([
        (libc::SYS_mmap, vec![rule([not_executable()])?]),
        (libc::SYS_mprotect, vec![rule([not_executable()])?]),
        // For reading; landlock, or the jail, decides what.
        (libc::SYS_openat, vec![rule([masked(2, write, 0)])?]),
        (
            libc::SYS_socket,
            vec![
                rule([equal(0, libc::AF_INET as u64), stream()])?,
                rule([equal(0, libc::AF_INET6 as u64), stream()])?,
                rule([equal(0, libc::AF_UNIX as u64), stream()])?,
            ],
        ),
        (libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX as u64])?),
        (
            libc::SYS_ioctl,
            one_of(
                1,
                &[libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS],
            )?,
        ),
        // Reading limits, but not setting them.
        (libc::SYS_prlimit64, vec![rule([null(2)])?]),
        // Names of threads and of the allocator's mappings, and what the sandbox itself needs.
        (
            libc::SYS_prctl,
            [
                one_of(0, &PRCTL)?,
                vec![rule([equal(0, libc::PR_SET_DUMPABLE as u64), equal(1, 0)])?],
            ]
            .concat(),
        ),
    ]))
}

pub(super) type Condition = Result<SeccompCondition, SandboxError>;

pub(super) fn condition(
    index: u8,
    length: SeccompCmpArgLen,
    how: SeccompCmpOp,
    value: u64,
) -> Condition {
    SeccompCondition::new(index, length, how, value).map_err(seccomp_error)
}

pub(super) fn equal(index: u8, value: u64) -> Condition {
    condition(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

pub(super) fn null(index: u8) -> Condition {
    condition(index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

pub(super) fn masked(index: u8, mask: u64, value: u64) -> Condition {
    condition(
        index,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(mask),
        value,
    )
}

/// clone(2) for a thread of this process. The flags are the first argument on both architectures.
pub(super) fn thread_only() -> Condition {
    masked(0, libc::CLONE_THREAD as u64, libc::CLONE_THREAD as u64)
}

/// clone(2), except into a namespace in which the process could be root.
pub(super) fn no_new_namespace() -> Condition {
    let namespaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    masked(0, namespaces as u64, 0)
}

pub(super) fn one_of(index: u8, values: &[u64]) -> Result<Vec<SeccompRule>, SandboxError> {
    let rules = values.iter().map(|&value| rule([equal(index, value)]));
    rules.collect()
}

pub(super) fn rule<const N: usize>(
    conditions: [Condition; N],
) -> Result<SeccompRule, SandboxError> {
    let conditions: Result<Vec<_>, _> = conditions.into_iter().collect();
    SeccompRule::new(conditions?).map_err(seccomp_error)
}

pub(super) fn seccomp_error(error: impl fmt::Display) -> SandboxError {
    SandboxError {
        mechanism: "seccomp",
        reason: error.to_string(),
    }
}

/// A filter that answers `matched` for what is in `rules`, and `other` for the rest. A call through
/// another architecture's table kills the process.
pub(super) fn compile(
    rules: Rules,
    matched: SeccompAction,
    other: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let architecture = std::env::consts::ARCH.try_into().map_err(seccomp_error)?;
    SeccompFilter::new(rules, other, matched, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(seccomp_error)
}

//! What each process of a running adit is, and what it may still do: read from outside and tried from inside. Never
//! in here: a word to one of these processes, or anything that one of them says.

mod descriptors;
mod expected;
mod filter;
mod process;
mod table;
mod tracee;
mod tree;
mod trials;

use std::io;

use serde::Serialize;

use crate::sandbox::Strength;
use crate::status::Status;
use expected::Finding;
use process::Process;
use tree::{Member, Role};

/// What an audit has found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The supervisor's process.
    pid: u32,
    /// Its version of adit.
    version: String,
    /// What the kernel offers, by the supervisor's own word.
    sandbox: Option<Strength>,
    /// In the order of the tree.
    processes: Vec<Process>,
    /// What is wider than a role's expectation.
    findings: Vec<Finding>,
    /// What could not be seen.
    unseen: Vec<Unseen>,
}

/// What could not be seen of a process.
#[derive(Debug, Serialize)]
struct Unseen {
    pid: i32,
    role: Role,
    what: &'static str,
    reason: String,
}

impl Report {
    /// Whether a process may more than its role needs.
    pub(crate) fn is_wider(&self) -> bool {
        !self.findings.is_empty()
    }
}

/// Looks at every process of the adit that has this status.
///
/// # Errors
/// /proc cannot be read.
pub(crate) fn look(status: &Status) -> io::Result<Report> {
    let members = tree::members(status)?;
    let sockets = descriptors::Sockets::read(status.pid);
    let mut unseen = Vec::new();
    let mut processes: Vec<Process> = Vec::new();
    for member in &members {
        // One that has ended meanwhile is none of the tree.
        let Ok(mut process) = Process::read(member) else {
            continue;
        };
        let mut note = |what, error: &io::Error| {
            unseen.push(Unseen {
                pid: member.pid,
                role: member.role,
                what,
                reason: reason(error),
            });
        };
        process.look_inside(&sockets, &mut note);
        if member.role != Role::Other {
            let sibling = sibling(member, &members);
            trials::run(&mut process, sibling, &mut note);
        }
        processes.push(process);
    }
    // The first is the supervisor.
    let (first, others) = match processes.split_first_mut() {
        Some((first, others)) if first.role == Role::Supervisor => (first, others),
        _ => return Err(io::Error::other("adit has ended meanwhile")),
    };
    others.iter_mut().for_each(|other| other.compare(first));
    first.namespaces = first.namespaces_seen().then(Vec::new);
    let findings = expected::findings(&processes, status.sandbox);
    Ok(Report {
        pid: status.pid,
        version: status.version.clone(),
        sandbox: status.sandbox,
        processes,
        findings,
        unseen,
    })
}

/// Why something was not seen, and what helps.
fn reason(error: &io::Error) -> String {
    let reason = crate::log::Reason(error);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!(
            "{reason} (run this as root, with CAP_SYS_PTRACE and CAP_SYS_ADMIN, and while nothing else traces it)"
        ),
        Some(libc::ENOENT | libc::ESRCH) => {
            format!("{reason} (it has ended meanwhile: run this again)")
        }
        _ => reason.to_string(),
    }
}

/// What a process is tried to signal and to trace: another of adit's that is not below it, or for want of one any.
fn sibling(member: &Member, members: &[Member]) -> Option<i32> {
    let mut others = members.iter().filter(|other| other.pid != member.pid);
    let beside = |other: &&Member| {
        !matches!(other.role, Role::Supervisor | Role::Other) && !other.is_below(member)
    };
    let found = others.clone().find(beside).or_else(|| others.next());
    found.map(|other| other.pid)
}

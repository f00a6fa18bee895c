//! Which processes there are, and the role of each: by what the supervisor knows of its children, and by whose child
//! each one is. A title counts only between a worker and the process that forks old ones.
#![forbid(unsafe_code)]

use std::fs;
use std::io;

use serde::{Serialize, Serializer};

use crate::helper::Kind;
use crate::status::Status;

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Supervisor,
    Master,
    Spare,
    Zygote,
    Worker,
    OldWorker,
    Helper(Kind),
    /// A program of `exec`, or a process that is about to have a role.
    Other,
}

impl Role {
    /// As `ps` shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Supervisor => "supervisor",
            Role::Master => "master",
            Role::Spare => "spare",
            Role::Zygote => "zygote",
            Role::Worker => "worker",
            Role::OldWorker => "old worker",
            Role::Helper(kind) => kind.name(),
            Role::Other => "other",
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// A process of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub pid: i32,
    pub role: Role,
    /// When it began, in ticks: with the number, it names one process alone.
    pub started: u64,
    /// Its parents, the nearest first, up to the supervisor.
    pub above: Vec<i32>,
}

impl Member {
    /// Whether it is this one, or a descendant.
    pub(super) fn is_below(&self, other: &Member) -> bool {
        self.pid == other.pid || self.above.contains(&other.pid)
    }
}

/// Every process of this adit, each behind its parent.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn members(status: &Status) -> io::Result<Vec<Member>> {
    let supervisor = i32::try_from(status.pid).map_err(io::Error::other)?;
    let mut members = vec![Member {
        pid: supervisor,
        role: Role::Supervisor,
        started: Seen::of(supervisor).ok_or(io::ErrorKind::NotFound)?.started,
        above: Vec::new(),
    }];
    add_below(0, status, &all()?, &mut members);
    Ok(members)
}

fn add_below(parent: usize, status: &Status, all: &[Seen], members: &mut Vec<Member>) {
    let above = members[parent].clone();
    for seen in all.iter().filter(|seen| seen.parent == above.pid) {
        members.push(Member {
            pid: seen.pid,
            role: role(seen.pid, above.role, status),
            started: seen.started,
            above: [&[above.pid], &above.above[..]].concat(),
        });
        add_below(members.len() - 1, status, all, members);
    }
}

fn role(pid: i32, parent: Role, status: &Status) -> Role {
    let is = |other: u32| i32::try_from(other) == Ok(pid);
    let titled = |word: &str| title(pid).contains(word);
    match parent {
        Role::Master if titled("zygote") => Role::Zygote,
        Role::Master => Role::Worker,
        Role::Zygote => Role::OldWorker,
        Role::Supervisor => {
            let mut generations = status.generations.iter();
            let mut workers = generations.clone().flat_map(|g| &g.workers);
            let helper = status.helpers.iter().find(|helper| is(helper.pid));
            let kind = helper.and_then(|helper| Kind::named(&helper.kind));
            if generations.clone().any(|g| is(g.pid)) {
                Role::Master
            } else if generations.any(|g| g.spare.is_some_and(is)) {
                Role::Spare
            } else if let Some(kind) = kind {
                Role::Helper(kind)
            } else if let Some(worker) = workers.find(|worker| is(worker.pid)) {
                match worker.old {
                    true => Role::OldWorker,
                    false => Role::Worker,
                }
            } else if titled("zygote") {
                Role::Zygote
            } else {
                Role::Other
            }
        }
        Role::Spare | Role::Worker | Role::OldWorker | Role::Helper(_) | Role::Other => Role::Other,
    }
}

/// What `ps` shows, if anything.
fn title(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// A process that lives.
struct Seen {
    pid: i32,
    parent: i32,
    started: u64,
}

impl Seen {
    fn of(pid: i32) -> Option<Seen> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc_pid_stat(5): the state is field 3, the parent field 4, the start field 22. The name in field 2 may have
        // blanks.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (!is_dead).then_some(Seen {
            pid,
            parent,
            started,
        })
    }
}

/// Whether this number is still that process's.
pub(super) fn is_still(pid: i32, started: u64) -> bool {
    Seen::of(pid).is_some_and(|seen| seen.started == started)
}

/// Every process.
fn all() -> io::Result<Vec<Seen>> {
    let numbers = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut all: Vec<Seen> = numbers.filter_map(Seen::of).collect();
    all.sort_unstable_by_key(|seen| seen.pid);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_process_has_by_now_is_not_taken_for_the_first() {
        let pid = std::process::id().cast_signed();
        let started = Seen::of(pid).unwrap().started;
        assert!(is_still(pid, started));
        assert!(!is_still(pid, started + 1));
    }
}

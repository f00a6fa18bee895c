//! An audit's report as tables.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use super::Report;
use super::process::Process;
use super::trials;
use crate::status::table;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "adit {}, supervisor {}", self.version, self.pid)?;
        if let Some(strength) = &self.sandbox {
            writeln!(f, "Sandbox: {strength}")?;
        }
        for part in [rights, places, holdings, attempts] {
            write!(f, "\n{}", part(&self.processes))?;
        }
        if !self.findings.is_empty() || !self.unseen.is_empty() {
            f.write_char('\n')?;
        }
        for found in &self.findings {
            let (role, pid) = (found.role.name(), found.pid);
            writeln!(f, "Wider: {role} {pid}: {} ({})", found.what, found.remedy)?;
        }
        for unseen in &self.unseen {
            let (role, pid) = (unseen.role.name(), unseen.pid);
            writeln!(
                f,
                "Not seen: {role} {pid}: {}: {}",
                unseen.what, unseen.reason
            )?;
        }
        Ok(())
    }
}

/// Between two columns: four tables are wide.
const GAP: usize = 1;

fn name(process: &Process) -> String {
    process.role.name().to_owned()
}

fn seen<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "?".to_owned(), text)
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Users, capabilities and sandbox.
fn rights(processes: &[Process]) -> String {
    let head = [
        "process", "pid", "user", "groups", "caps", "bound", "nnp", "dump", "seccomp", "landlock",
    ];
    let rows = processes.iter().map(|process| {
        let sets = process.capabilities;
        let filters = match (process.seccomp, process.filters) {
            (0, _) => "no".to_owned(),
            (_, filters) => seen(filters, |count| count.to_string()),
        };
        [
            name(process),
            process.pid.to_string(),
            format!("{}:{}", each(&process.uid), each(&process.gid)),
            match process.groups.as_slice() {
                [] => "-".to_owned(),
                groups => groups
                    .iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
            },
            capabilities(sets.permitted | sets.effective | sets.inheritable | sets.ambient),
            capabilities(sets.bounding),
            yes(process.no_new_privs),
            seen(process.dumpable, yes),
            filters,
            seen(process.landlock, yes),
        ]
    });
    table(GAP, head, rows)
}

/// One number where all four are the same.
fn each(ids: &[u32; 4]) -> String {
    match ids {
        [real, others @ ..] if others.iter().all(|id| id == real) => real.to_string(),
        _ => ids.map(|id| id.to_string()).join("/"),
    }
}

fn capabilities(set: u64) -> String {
    match set {
        0 => "-".to_owned(),
        super::expected::NET_RAW => "net_raw".to_owned(),
        set => set.count_ones().to_string(),
    }
}

/// Where they are.
fn places(processes: &[Process]) -> String {
    let head = ["process", "pid", "threads", "namespaces", "cwd", "root"];
    let rows = processes.iter().map(|process| {
        let path = |path: &Option<std::path::PathBuf>| {
            seen(path.as_ref(), |path| path.display().to_string())
        };
        [
            name(process),
            process.pid.to_string(),
            process.threads.to_string(),
            seen(process.namespaces.as_ref(), |names| {
                match names.as_slice() {
                    [] => "the supervisor's".to_owned(),
                    names => names.join(","),
                }
            }),
            path(&process.cwd),
            path(&process.root),
        ]
    });
    table(GAP, head, rows)
}

/// Their descriptors.
fn holdings(processes: &[Process]) -> String {
    let head = [
        "process", "pid", "listen", "sockets", "unix", "files", "pipes", "epoll", "memory", "other",
    ];
    let rows = processes.iter().map(|process| {
        let counts = process.descriptors;
        [
            name(process),
            process.pid.to_string(),
            seen(counts, |c| c.listeners.to_string()),
            seen(counts, |c| c.sockets.to_string()),
            seen(counts, |c| c.unix.to_string()),
            seen(counts, |c| c.files.to_string()),
            seen(counts, |c| c.pipes.to_string()),
            seen(counts, |c| c.epoll.to_string()),
            seen(counts, |c| c.memory.to_string()),
            seen(counts, |c| c.other.to_string()),
        ]
    });
    table(GAP, head, rows)
}

/// What they may.
fn attempts(processes: &[Process]) -> String {
    let names = trials::ALL.map(trials::Trial::name);
    let mut head = ["process", "pid", "", "", "", "", "", "", "", "", "", ""];
    head[2..].copy_from_slice(&names);
    let rows = processes.iter().map(|process| {
        std::array::from_fn(|column| match column {
            0 => name(process),
            1 => process.pid.to_string(),
            column => {
                let mut trials = process.trials.iter();
                let tried = trials.find(|tried| tried.call == head[column]);
                seen(tried, |tried| {
                    match (tried.allowed, tried.answer.as_str()) {
                        (true, _) => "yes".to_owned(),
                        (false, "killed") => "kill".to_owned(),
                        (false, answer) => answer.to_owned(),
                    }
                })
            }
        })
    });
    table(GAP, head, rows)
}

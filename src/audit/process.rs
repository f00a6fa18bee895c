//! A process as /proc shows it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::descriptors::{Descriptors, Sockets};
use super::tree::{Member, Role};
use super::trials::Outcome;

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Process {
    pub pid: i32,
    pub parent: i32,
    pub role: Role,
    /// As [`Member::started`].
    #[serde(skip)]
    pub started: u64,
    /// Real, effective, saved, and of the file system.
    pub uid: [u32; 4],
    pub gid: [u32; 4],
    /// Supplementary ones.
    pub groups: Vec<u32>,
    pub capabilities: Capabilities,
    pub no_new_privs: bool,
    /// 0: off, 1: strict, 2: filters.
    pub seccomp: u32,
    /// `None` before Linux 5.9, which does not tell.
    pub filters: Option<u32>,
    pub threads: usize,
    /// A thread has other rights than the first.
    pub threads_differ: bool,
    /// `None`: not seen, as what follows.
    pub root: Option<PathBuf>,
    pub cwd: Option<PathBuf>,
    /// The namespaces that are not the supervisor's.
    pub namespaces: Option<Vec<String>>,
    pub descriptors: Option<Descriptors>,
    /// Whether others of its user may look into its memory.
    pub dumpable: Option<bool>,
    /// Whether landlock(7) closes the file system: what a trial tells.
    pub landlock: Option<bool>,
    /// What it was tried to do.
    pub trials: Vec<Outcome>,
    #[serde(skip)]
    links: BTreeMap<String, PathBuf>,
}

/// The five sets of capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Capabilities {
    #[serde(serialize_with = "in_hexadecimal")]
    pub inheritable: u64,
    #[serde(serialize_with = "in_hexadecimal")]
    pub permitted: u64,
    #[serde(serialize_with = "in_hexadecimal")]
    pub effective: u64,
    #[serde(serialize_with = "in_hexadecimal")]
    pub bounding: u64,
    #[serde(serialize_with = "in_hexadecimal")]
    pub ambient: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes by reference"
)]
fn in_hexadecimal<S: serde::Serializer>(set: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{set:016x}"))
}

impl Process {
    /// Reads what every user may read.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn read(member: &Member) -> io::Result<Process> {
        let pid = member.pid;
        let lines = Lines::of(&format!("/proc/{pid}/status"))?;
        let mut process = Process {
            pid,
            parent: lines.number("PPid", 10)?,
            role: member.role,
            started: member.started,
            uid: lines.four("Uid")?,
            gid: lines.four("Gid")?,
            groups: lines.numbers("Groups").collect(),
            capabilities: lines.capabilities()?,
            no_new_privs: lines.number::<u32>("NoNewPrivs", 10)? == 1,
            seccomp: lines.number("Seccomp", 10).unwrap_or(0),
            filters: lines.number("Seccomp_filters", 10).ok(),
            threads: 0,
            threads_differ: false,
            root: None,
            cwd: None,
            namespaces: None,
            descriptors: None,
            dumpable: None,
            landlock: None,
            trials: Vec::new(),
            links: BTreeMap::new(),
        };
        process.look_at_threads(&lines)?;
        Ok(process)
    }

    fn look_at_threads(&mut self, first: &Lines) -> io::Result<()> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let path = thread?.path().join("status");
            // One that has ended meanwhile has no rights.
            let Ok(lines) = Lines::of(&path.to_string_lossy()) else {
                continue;
            };
            self.threads += 1;
            self.threads_differ |= RIGHTS.iter().any(|name| lines.get(name) != first.get(name));
        }
        Ok(())
    }

    /// Reads what root may read.
    pub(super) fn look_inside(
        &mut self,
        sockets: &Sockets,
        note: &mut impl FnMut(&'static str, &io::Error),
    ) {
        let pid = self.pid;
        let mut link = |what, name: &str| {
            let read = fs::read_link(format!("/proc/{pid}/{name}"));
            read.inspect_err(|error| note(what, error)).ok()
        };
        self.root = link("root", "root");
        self.cwd = link("cwd", "cwd");
        match namespaces(pid) {
            Ok(links) => self.links = links,
            Err(error) => note("namespaces", &error),
        }
        let counted = Descriptors::of(pid, sockets);
        self.descriptors = counted.inspect_err(|error| note("descriptors", error)).ok();
    }

    /// Whether its namespaces could be looked at.
    pub(super) fn namespaces_seen(&self) -> bool {
        !self.links.is_empty()
    }

    /// Names what differs from the supervisor's.
    pub(super) fn compare(&mut self, supervisor: &Process) {
        if self.namespaces_seen() && supervisor.namespaces_seen() {
            let differs =
                |(name, link): &(&String, &PathBuf)| supervisor.links.get(*name) != Some(*link);
            let others = self.links.iter().filter(differs);
            self.namespaces = Some(others.map(|(name, _)| name.clone()).collect());
        }
    }
}

fn namespaces(pid: i32) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut links = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/ns"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        links.insert(name, fs::read_link(entry.path())?);
    }
    Ok(links)
}

/// The lines by which threads of one process could differ.
const RIGHTS: [&str; 10] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "Seccomp",
    "Seccomp_filters",
];

/// `/proc/PID/status`, by name.
struct Lines(BTreeMap<String, String>);

impl Lines {
    fn of(path: &str) -> io::Result<Lines> {
        let text = fs::read_to_string(path)?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let lines = lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok(Lines(lines.collect()))
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn numbers(&self, name: &str) -> impl Iterator<Item = u32> {
        let words = self.get(name).split_whitespace();
        words.filter_map(|word| word.parse().ok())
    }

    fn number<N: TryFrom<u64>>(&self, name: &str, base: u32) -> io::Result<N> {
        let number = u64::from_str_radix(self.get(name), base).ok();
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| io::Error::other(format!("/proc: no line {name}")))
    }

    fn four(&self, name: &str) -> io::Result<[u32; 4]> {
        let numbers: Vec<u32> = self.numbers(name).collect();
        numbers
            .try_into()
            .map_err(|_| io::Error::other(format!("/proc: no line {name}")))
    }

    fn capabilities(&self) -> io::Result<Capabilities> {
        Ok(Capabilities {
            inheritable: self.number("CapInh", 16)?,
            permitted: self.number("CapPrm", 16)?,
            effective: self.number("CapEff", 16)?,
            bounding: self.number("CapBnd", 16)?,
            // Since Linux 4.3.
            ambient: self.number("CapAmb", 16)?,
        })
    }
}

#[cfg(test)]
impl Process {
    /// One without any right, of the user nobody.
    pub(super) fn example(pid: i32, parent: i32, role: Role) -> Process {
        Process {
            pid,
            parent,
            role,
            started: 0,
            uid: [65534; 4],
            gid: [65534; 4],
            groups: Vec::new(),
            capabilities: Capabilities::example(0),
            no_new_privs: true,
            seccomp: 2,
            filters: None,
            threads: 1,
            threads_differ: false,
            root: Some("/".into()),
            cwd: Some("/".into()),
            namespaces: Some(Vec::new()),
            descriptors: Some(Descriptors::default()),
            dumpable: Some(false),
            landlock: Some(true),
            trials: Vec::new(),
            links: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
impl Capabilities {
    /// The same in each set.
    pub(super) fn example(set: u64) -> Capabilities {
        Capabilities {
            inheritable: set,
            permitted: set,
            effective: set,
            bounding: set,
            ambient: set,
        }
    }
}

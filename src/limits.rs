//! The limits of this process: open files, for messages, with the remedy; and the memory that there is.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many files this process may have open; the usual number if the kernel does not say.
pub(crate) fn open_files() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Soft and hard, before [`raise`].
static AT_THE_START: OnceLock<(u64, u64)> = OnceLock::new();

/// Takes all files that the system's limit gives, up to `most`: each connection needs two descriptors.
pub(crate) fn raise(most: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = AT_THE_START.set((soft, hard));
        // Refused, the lower limit stays in force, and capacities are counted from it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(most), hard);
    }
}

/// The limit that [`raise`] has raised, soft and hard; none where it was not called.
pub(crate) fn at_the_start() -> Option<(u64, u64)> {
    AT_THE_START.get().copied()
}

/// Takes over what the program before an exec knew of it.
pub(crate) fn remember(limit: Option<(u64, u64)>) {
    if let Some(limit) = limit {
        let _ = AT_THE_START.set(limit);
    }
}

/// The memory that a process of adit may use at most, in bytes: see [`measure_memory`].
static MEMORY: OnceLock<u64> = OnceLock::new();

/// Without a measurement: a small machine's.
const SMALL_MEMORY: u64 = 1 << 30;

/// Looks up how much memory there is: the machine's, that of the control group, and by RLIMIT_AS and RLIMIT_DATA,
/// whichever is least. Those that are forked later know it, where /proc is gone.
pub(crate) fn measure_memory() {
    MEMORY.get_or_init(|| {
        let limit = |resource| getrlimit(resource).map_or(u64::MAX, |(soft, _)| soft);
        let machine = nix::sys::sysinfo::sysinfo().map_or(SMALL_MEMORY, |info| info.ram_total());
        machine
            .min(limit(Resource::RLIMIT_AS))
            .min(limit(Resource::RLIMIT_DATA))
            .min(of_control_group())
    });
}

/// What [`measure_memory`] found.
pub(crate) fn memory() -> u64 {
    MEMORY.get().copied().unwrap_or(SMALL_MEMORY)
}

/// The least limit of the control group and those above it, as far as they are to be seen.
fn of_control_group() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (kind, path) = (fields.next(), fields.next().unwrap_or("/"));
        let (root, file) = match kind {
            Some("") => ("/sys/fs/cgroup", "memory.max"),
            Some("memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let above = Path::new(path).ancestors();
        let files = above.map(|group| {
            let group = group.strip_prefix("/").unwrap_or(group);
            Path::new(root).join(group).join(file)
        });
        // "max" is no limit.
        files
            .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
            .collect()
    });
    limits.min().unwrap_or(u64::MAX)
}

/// The end of a message about an error: advice in brackets when no descriptor is left, nothing for any
/// other error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advice {
    /// The error that the message is about.
    pub errno: Errno,
    /// Open connections, in this process or in all of them.
    pub connections: u64,
}

/// How to raise the limit of a process.
pub(crate) const RAISE: &str = "raise that limit: `LimitNOFILE=` in the systemd unit, or `ulimit -n` before adit \
     is started";

/// What to do where the system had no room for a connection.
pub(crate) fn remedy(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::EMFILE) => RAISE,
        Some(Errno::ENFILE) => "raise the sysctl fs.file-max",
        Some(Errno::ENOSPC) => "raise the sysctl fs.epoll.max_user_watches",
        _ => "give the machine, or adit's unit, more memory; the log has more",
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.connections;
        match self.errno {
            Errno::EMFILE => write!(
                f,
                " (a process of adit may open {} files, and needs two for each connection; connections \
                 now: {connections}; {RAISE})",
                open_files()
            ),
            Errno::ENFILE => write!(
                f,
                " (the system as a whole has reached its limit of open files; connections now: {connections}; \
                 raise the sysctl fs.file-max)"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_and_the_remedy_are_told_where_descriptors_ran_out_and_nowhere_else() {
        let of = |errno| {
            let advice = Advice {
                errno,
                connections: 7,
            };
            advice.to_string()
        };
        let said = of(Errno::EMFILE);
        for part in [
            &format!("open {} files", open_files()),
            "connections now: 7",
            "ulimit -n",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(of(Errno::ENFILE).contains("fs.file-max"));
        assert_eq!(of(Errno::ECONNREFUSED), "");
    }
}

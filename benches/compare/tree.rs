//! What a process tree has cost: CPU and memory of a process and all its descendants, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// A process, told from a later one of the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    parent: i32,
    started: u64,
    /// User and system time of its children that died and were waited for, in clock ticks.
    reaped: u64,
}

impl Process {
    /// Whether it is still there.
    pub fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|now| now.started == self.started)
    }
}

/// Reads /proc/PID/stat; see proc_pid_stat(5) for the numbers of its fields.
fn stat(pid: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself contain blanks and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        started: number(22)?,
        reaped: number(16)? + number(17)?,
    })
}

/// `root` and all its living descendants, parents first.
pub fn processes(root: i32) -> io::Result<Vec<Process>> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(process) = name.to_str().and_then(|n| n.parse().ok()).and_then(stat) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let mut tree: Vec<Process> = stat(root).into_iter().collect();
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        tree.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    Ok(tree)
}

/// User and system time of the tree since it started, its dead threads and reaped children
/// included. Living processes are read to the nanosecond (their CPU clock is the sum that utime
/// and stime are made of), reaped ones in clock ticks.
pub fn cpu(root: i32) -> io::Result<Duration> {
    // SAFETY: sysconf only reads its argument.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    let mut total = Duration::ZERO;
    for process in processes(root)? {
        total += Duration::from_nanos(process.reaped * 1_000_000_000 / ticks);
        // One that ended since it was listed is in its parent's sum the next time.
        total += clock(process.pid).unwrap_or_default();
    }
    Ok(total)
}

/// The living processes of the tree whose title begins with `title`, as adit's roles name
/// themselves, in the order of their titles.
///
/// # Errors
/// /proc cannot be read.
pub fn titled(root: i32, title: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for process in processes(root)? {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        if line.starts_with(title.as_bytes()) {
            found.push((line, process.pid));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, pid)| pid).collect())
}

/// User and system time of one process so far; `None` if it is gone.
pub fn clock(pid: i32) -> Option<Duration> {
    let mut id: libc::clockid_t = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls write only to the two locals, which outlive them.
    let done = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut id) == 0
            && libc::clock_gettime(id, &raw mut time) == 0
    };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    done.then(|| Duration::new(seconds, nanoseconds))
}

/// Proportional set size of the tree, in KiB: a page that n processes share counts 1/n in each.
///
/// # Errors
/// /proc/PID/smaps_rollup of another user's process may be read by root only.
pub fn pss(root: i32) -> io::Result<u64> {
    let mut total = 0;
    for process in processes(root)? {
        total += pss_of(process.pid)?;
    }
    Ok(total)
}

/// The same of one process.
///
/// # Errors
/// As [`pss`]'s.
pub fn pss_of(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|l| l.split_ascii_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("no Pss in smaps_rollup"))
}

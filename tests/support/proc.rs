//! What `/proc` says about a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DEADLINE, poll_for};

/// A process identified beyond its end: its number may be reused, its start time not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    pub started: u64,
}

fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may contain blanks and brackets.
    let rest = &text[text.rfind(')')? + 2..];
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// The process with that number; `None` if there is none, or it is a zombie.
pub fn process(pid: i32) -> Option<Process> {
    let fields = stat(pid)?;
    if matches!(fields[0].as_str(), "Z" | "X") {
        return None;
    }
    Some(Process {
        pid,
        started: fields[19].parse().ok()?,
    })
}

/// Whether it runs.
pub fn alive(pid: i32) -> bool {
    process(pid).is_some()
}

/// Stops a process with SIGSTOP and waits until all its threads have stopped.
#[track_caller]
pub fn freeze(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("a process");
    let stopped = || {
        let mut threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        threads
            .all(|thread| {
                let text = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
                text.is_ok_and(|text| text[text.rfind(')').unwrap_or(0)..].starts_with(") T"))
            })
            .then_some(())
    };
    poll_for(DEADLINE, stopped).expect("a process that stands still");
}

/// How often a process has gone to sleep, all its threads together.
pub fn sleeps(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a living process");
    let of_one = |thread: std::io::Result<fs::DirEntry>| {
        let file = thread.expect("a thread").path().join("status");
        let status = fs::read_to_string(file).unwrap_or_default();
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse::<u64>().ok()
    };
    threads.filter_map(of_one).sum()
}

/// The processor time it has used, in steps of 10 ms.
#[track_caller]
pub fn cpu_time(pid: i32) -> std::time::Duration {
    let fields = stat(pid).expect("a living process");
    let ticks = |field: &String| field.parse::<u64>().expect("a number");
    std::time::Duration::from_millis(10 * (ticks(&fields[11]) + ticks(&fields[12])))
}

/// Sets how many descriptors it may have (prlimit(1)): a number, or `SOFT:HARD`.
#[track_caller]
pub fn limit_descriptors(pid: i32, limit: &str) {
    self::limit(pid, &format!("--nofile={limit}"));
}

/// Sets a limit of a running process, as an option of prlimit(1).
#[track_caller]
pub fn limit(pid: i32, option: &str) {
    let mut prlimit = Command::new("prlimit");
    let status = prlimit.arg(format!("--pid={pid}")).arg(option).status();
    assert!(status.expect("prlimit").success());
}

/// Lowers that limit so that it can open nothing more; returns the previous one.
#[track_caller]
pub fn leave_no_descriptor(pid: i32) -> String {
    leave_descriptors(pid, 0)
}

/// Lowers that limit so that it can open `count` more, if its descriptors are numbered without a gap.
#[track_caller]
pub fn leave_descriptors(pid: i32, count: usize) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a living process");
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let mut fields = line.expect("its limit").split_whitespace();
    let (soft, hard) = (fields.next().expect("soft"), fields.next().expect("hard"));
    let mut open: Vec<i32> = descriptors(pid).iter().map(|(number, _)| *number).collect();
    open.sort_unstable();
    let lowest_free = (0..).zip(&open).take_while(|(n, open)| n == *open).count();
    limit_descriptors(pid, &format!("{}:{hard}", lowest_free + count));
    format!("{soft}:{hard}")
}

/// Its live child processes.
pub fn children(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&other| {
            stat(other).is_some_and(|fields| fields[1] == pid.to_string() && fields[0] != "Z")
        })
        .collect()
}

/// It and all its descendants.
pub fn family(pid: i32) -> Vec<Process> {
    let mut all: Vec<Process> = process(pid).into_iter().collect();
    for child in children(pid) {
        all.extend(family(child));
    }
    all
}

/// Waits until none of them lives; fails with those that do.
#[track_caller]
pub fn wait_for_end(family: &[Process]) {
    let left = || -> Vec<(Process, String)> {
        let lives = |one: &&Process| process(one.pid) == Some(**one);
        family
            .iter()
            .filter(lives)
            .map(|one| (*one, title(one.pid)))
            .collect()
    };
    assert!(
        poll_for(DEADLINE, || left().is_empty().then_some(())).is_some(),
        "these processes are left over: {:?}",
        left()
    );
}

/// Kills those that are left.
pub fn end_all(family: &[Process]) {
    for one in family {
        if process(one.pid) == Some(*one) {
            let _ = kill(Pid::from_raw(one.pid), Signal::SIGKILL);
        }
    }
}

/// What `ps` shows.
pub fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// `/proc/PID/status`, by name.
#[track_caller]
pub fn status(pid: i32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// A number of kB, as `VmRSS`.
#[track_caller]
pub fn kilobytes(pid: i32, name: &str) -> u64 {
    let value = status(pid).remove(name).unwrap_or_default();
    value
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or_else(|_| panic!("{name} of {pid}: {value:?}"))
}

/// How many kB of its memory are never swapped.
#[track_caller]
pub fn memory_locked(pid: i32) -> u64 {
    kilobytes(pid, "VmLck")
}

/// Its root directory.
#[track_caller]
pub fn root(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/root")).expect("a living process, and root to look at it")
}

/// Its descriptors: number, and what `/proc` says they are.
#[track_caller]
pub fn descriptors(pid: i32) -> Vec<(i32, String)> {
    descriptors_if_alive(pid).expect("a living process")
}

/// How a descriptor was opened, the flags of open(2).
pub fn open_flags(pid: i32, descriptor: i32) -> i32 {
    let path = format!("/proc/{pid}/fdinfo/{descriptor}");
    let info = fs::read_to_string(&path).expect("a descriptor that is open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    i32::from_str_radix(flags.expect("flags").trim(), 8).expect("an octal number")
}

/// Whether it has the file at this path open, or one that was there; a process that has exited has
/// none.
pub fn has_open(pid: i32, path: &std::path::Path) -> bool {
    let all = descriptors_if_alive(pid).unwrap_or_default();
    all.iter().any(|(_, target)| path.to_str() == Some(target))
}

fn descriptors_if_alive(pid: i32) -> std::io::Result<Vec<(i32, String)>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let mut all: Vec<(i32, String)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                target.display().to_string(),
            ))
        })
        .collect();
    all.sort();
    Ok(all)
}

/// The inodes of all listening TCP sockets of this machine, as `/proc/PID/fd` names them.
pub fn listening_sockets() -> Vec<String> {
    let mut all = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN.
            if fields.len() > 9 && fields[3] == "0A" {
                all.push(format!("socket:[{}]", fields[9]));
            }
        }
    }
    all
}

/// How many listening TCP sockets it holds.
#[track_caller]
pub fn listeners(pid: i32) -> usize {
    let listening = listening_sockets();
    descriptors(pid)
        .iter()
        .filter(|(_, target)| listening.contains(target))
        .count()
}

/// Whether these bytes are anywhere in the memory that is its own.
#[track_caller]
pub fn memory_holds(pid: i32, needle: &[u8]) -> bool {
    copies_in_memory(pid, [needle]) != [0]
}

/// How often each of these is there.
#[track_caller]
pub fn copies_in_memory<const N: usize>(pid: i32, needles: [&[u8]; N]) -> [usize; N] {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a living process");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("root looks at memory");
    let mut copies = [0; N];
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [range, access, _, _, inode, ..] = fields[..] else {
            continue;
        };
        let is_kernels = line.contains("[vv") || line.contains("[vs");
        let is_others = access.ends_with('s') || inode != "0" && !access.contains('w');
        let Some((start, end)) = range.split_once('-') else {
            continue;
        };
        if is_kernels || is_others || !access.starts_with('r') {
            continue;
        }
        let start = u64::from_str_radix(start, 16).expect("an address");
        let end = u64::from_str_radix(end, 16).expect("an address");
        let mut bytes = vec![0; (end - start) as usize];
        // A page may be gone by now, or belong to a device.
        let read = memory.read_at(&mut bytes, start).unwrap_or(0);
        for (count, needle) in copies.iter_mut().zip(needles) {
            *count += memchr::memmem::find_iter(&bytes[..read], needle).count();
        }
    }
    copies
}

/// The processes of a running adit by their role.
pub struct Roles {
    /// The process that was started.
    pub supervisor: i32,
    /// The DNS process.
    pub resolver: i32,
    /// The serving generation's accepting process.
    pub master: i32,
    /// Its workers.
    pub workers: Vec<i32>,
}

/// The spare of the serving generation: its last.
#[track_caller]
pub fn spare(supervisor: i32) -> i32 {
    let look = || {
        let below = children(supervisor).into_iter();
        let spares = below.filter(|&pid| title(pid).contains("spare"));
        spares.filter_map(process).max_by_key(|one| one.started)
    };
    poll_for(DEADLINE, look).expect("a spare").pid
}

/// Finds the roles by what `ps` shows of the supervisor's descendants; waits while one is being
/// replaced.
#[track_caller]
pub fn roles(supervisor: i32) -> Roles {
    let look = || {
        let named = |pids: &[i32], role: &str| -> Vec<i32> {
            pids.iter()
                .copied()
                .filter(|&pid| title(pid).contains(role))
                .collect()
        };
        let below = children(supervisor);
        let resolver = *named(&below, "resolver").first()?;
        // The newest generation is the serving one. (Not by number: numbers may start again.)
        let masters = named(&below, "master");
        let master = masters
            .into_iter()
            .filter_map(process)
            .max_by_key(|one| one.started);
        let master = master?.pid;
        let workers = named(&children(master), "worker");
        (!workers.is_empty()).then_some(Roles {
            supervisor,
            resolver,
            master,
            workers,
        })
    };
    match poll_for(DEADLINE, look) {
        Some(roles) => roles,
        None => {
            let titles: Vec<_> = family(supervisor)
                .iter()
                .map(|one| title(one.pid))
                .collect();
            panic!("no resolver, master and workers among {titles:?}");
        }
    }
}

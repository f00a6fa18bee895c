//! What does not depend on how busy a machine is: instructions (by callgrind) and system calls (by
//! strace) of adit's master and workers for each handshake, MiB and message, compared with those
//! that stand in the tree.
//!
//! The whole program runs under the tool, as it serves, though under callgrind without a jail and
//! without a sandbox, whose system calls valgrind does not know. Valgrind's processor has AVX2, but
//! neither VAES nor AVX-512: cryptography takes the way it takes on older machines. One connection
//! works at a time, and adit yields to the load generator. What is left of chance, in random
//! numbers and in what is there when a socket is read, is a tenth of a percent for instructions of
//! handshakes and messages, one for their system calls, and more for bulk, see [`tolerance`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::load::{Manner, Scene};
use super::peers::{CALLGRIND, Peer, STRACE, Shape, Tool, VGDB};
use super::pki::Pki;
use super::report::table;
use super::rows::{ROWS, Row, Work};
use super::tree;

/// Where the numbers stand that a change is compared with.
pub const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.baseline");
/// The part by which a number may change before that is told. Handshakes and messages repeat to a
/// small part of it. In bulk it is chance how full a socket is when it is read, and how empty when
/// it is written, above all where three threads share two cores: instructions were seen to differ
/// by a twentieth between two runs of the same program, and system calls by a quarter.
pub fn tolerance(name: &str) -> f64 {
    match (name.contains("bulk"), name.ends_with("system calls")) {
        (false, _) => 0.02,
        (true, false) => 0.06,
        (true, true) => 0.30,
    }
}
/// Samples of which the least counts: chance makes wakings and part reads, and never spares one.
const SAMPLES: usize = 3;
/// Bytes of a sample of bulk. A read of 64 KiB ends elsewhere in a record each time, 88 bytes
/// earlier; where it does decides how much is copied. So many bytes are all such places once.
const BULK: f64 = 12.2e6;
/// A dump of callgrind's that is asked for is there after this long.
const DUMP: Duration = Duration::from_mins(1);
/// Extensions that cryptography is chosen by, where valgrind has them too.
const EXTENSIONS: [&str; 8] = [
    "aes",
    "adx",
    "avx",
    "avx2",
    "bmi1",
    "bmi2",
    "pclmulqdq",
    "sha_ni",
];

/// Numbers, and what they depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Versions of what counts and of what made the program. Only equal ones can be compared.
    pub tools: BTreeMap<String, String>,
    /// By row and unit.
    pub counts: BTreeMap<String, f64>,
}

/// Counts all of `rows`.
///
/// # Errors
/// A tool is missing, or adit does not do its work under it.
pub fn count(
    rows: &[&'static Row],
    log_level: u8,
    pki: &Pki,
    scratch: &Path,
) -> io::Result<Counts> {
    let tools = tools(log_level)?;
    let mut counts = BTreeMap::new();
    let rows = rows.iter().filter(|row| work(row).is_some());
    for row in rows {
        eprint!("{}:", row.label);
        for (tool, unit) in [
            (Tool::Callgrind, "instructions"),
            (Tool::Strace, "system calls"),
        ] {
            let value = sample(row, tool, log_level, pki, scratch)?;
            eprint!(" {value:.1} {unit}");
            counts.insert(format!("{} {unit}", row.id), value);
        }
        eprintln!();
    }
    Ok(Counts { tools, counts })
}

/// The part of a row's work that is enough here, and how many of what it counts by are one unit;
/// `None` for a row that counts something else.
fn work(row: &Row) -> Option<(f64, f64)> {
    match row.work {
        Work::Handshakes(count) => Some((40.0 / count as f64, 1.0)),
        Work::Down(bytes) | Work::Up(bytes) => {
            const MIB: f64 = 1_048_576.0;
            Some((BULK / bytes as f64, MIB))
        }
        Work::Echo(count) => Some((500.0 / count as f64, 1.0)),
        Work::Idle(_) => None,
    }
}

/// Instructions or system calls per unit of a row.
fn sample(
    row: &'static Row,
    tool: Tool,
    log_level: u8,
    pki: &Pki,
    scratch: &Path,
) -> io::Result<f64> {
    let (factor, unit) = work(row).unwrap_or((1.0, 1.0));
    let shape = Shape {
        workers: 1,
        under: tool,
        log_level,
        ..Shape::default()
    };
    let scene = Scene::set(Peer::Adit, shape, row, pki, scratch)?;
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let (value, _) = scene.play(Manner::Single, factor, &mut |work| {
            scene.settled()?;
            let before = match tool {
                Tool::Callgrind => instructions(&scene).map(|_| 0)?,
                _ => system_calls(&scene)?,
            };
            work()?;
            scene.settled()?;
            let after = match tool {
                Tool::Callgrind => instructions(&scene)?,
                _ => system_calls(&scene)?,
            };
            Ok(after.saturating_sub(before) as f64)
        })?;
        samples.push(value * unit);
    }
    let least = samples.into_iter().reduce(f64::min);
    least.ok_or_else(|| io::Error::other("no sample"))
}

/// The processes that do the work: the others rest.
fn workers(scene: &Scene<'_>) -> io::Result<Vec<i32>> {
    let mut found = tree::titled(scene.proxy.pid(), "adit: master")?;
    found.extend(tree::titled(scene.proxy.pid(), "adit: worker")?);
    Ok(found)
}

/// Instructions since this was asked last.
fn instructions(scene: &Scene<'_>) -> io::Result<u64> {
    let mut total = 0;
    for pid in workers(scene)? {
        let known = dumps(scene, pid)?.len();
        let prefix = scene.proxy.file(VGDB);
        let output = Command::new("vgdb")
            .arg(format!("--vgdb-prefix={}", prefix.display()))
            .arg(format!("--pid={pid}"))
            .arg("dump")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| io::Error::new(error.kind(), format!("vgdb: {error}")))?;
        let deadline = Instant::now() + DUMP;
        let newest = loop {
            let mut found = dumps(scene, pid)?;
            if found.len() > known
                && let Some((_, Some(total))) = found.pop()
            {
                break total;
            }
            if Instant::now() > deadline {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(io::Error::other(format!(
                    "callgrind does not dump {pid}: {said}"
                )));
            }
            thread::sleep(Duration::from_millis(10));
        };
        total += newest;
    }
    Ok(total)
}

/// The dumps of a process by number, each with its total if it is whole.
fn dumps(scene: &Scene<'_>, pid: i32) -> io::Result<Vec<(u32, Option<u64>)>> {
    let stem = scene.proxy.file(&format!("{CALLGRIND}.{pid}."));
    let mut found = Vec::new();
    for entry in fs::read_dir(stem.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        let rest = path.to_str().zip(stem.to_str());
        let Some(rest) = rest.and_then(|(path, stem)| path.strip_prefix(stem)) else {
            continue;
        };
        if let Ok(number) = rest.parse() {
            found.push((number, totals(&fs::read_to_string(&path)?)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The last line of one of callgrind's files.
pub fn totals(text: &str) -> Option<u64> {
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

/// System calls so far.
fn system_calls(scene: &Scene<'_>) -> io::Result<u64> {
    let mut threads = Vec::new();
    for pid in workers(scene)? {
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            threads.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    let text = fs::read_to_string(scene.proxy.file(STRACE))?;
    Ok(calls(&text, &threads))
}

/// Calls that these threads made, in strace's words.
pub fn calls(text: &str, threads: &[String]) -> u64 {
    let mut count = 0;
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        // "<... read resumed>" ends a call that was counted; "+++ exited" is none.
        let call = call.trim_start();
        if call.starts_with(|c: char| c.is_ascii_alphabetic())
            && threads.iter().any(|known| known == thread)
        {
            count += 1;
        }
    }
    count
}

/// The versions that decide, and the log level, which does as well.
fn tools(log_level: u8) -> io::Result<BTreeMap<String, String>> {
    let mut tools = BTreeMap::new();
    tools.insert("log level".to_owned(), log_level.to_string());
    for (name, program, flag) in [
        ("valgrind", "valgrind", "--version"),
        ("strace", "strace", "--version"),
        ("rustc", "rustc", "--version"),
    ] {
        let output = Command::new(program).arg(flag).output();
        let output =
            output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next().unwrap_or_default();
        tools.insert(name.to_owned(), line.trim().to_owned());
    }
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let flags = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let has = |name: &&str| flags.is_some_and(|line| line.split_whitespace().any(|f| f == *name));
    let extensions: Vec<&str> = EXTENSIONS.into_iter().filter(has).collect();
    tools.insert(
        "processor".to_owned(),
        format!("{} {}", std::env::consts::ARCH, extensions.join(" ")),
    );
    Ok(tools)
}

/// What makes two sets of numbers incomparable, in words; empty where nothing does.
pub fn differences(then: &Counts, now: &Counts) -> Vec<String> {
    let mut told = Vec::new();
    for (name, now) in &now.tools {
        let then = then.tools.get(name).map_or("nothing", String::as_str);
        if then != now {
            told.push(format!("{name}: {then} then, {now} now"));
        }
    }
    told
}

/// The table of changes, and whether anything became dearer by more than its [`tolerance`].
pub fn compare(then: &Counts, now: &Counts) -> (String, bool) {
    let head = ["work", "then", "now", "change", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut dearer = false;
    for (name, now) in &now.counts {
        let Some(then) = then.counts.get(name).copied() else {
            rows.push(vec![
                name.clone(),
                "-".to_owned(),
                number(*now),
                String::new(),
                "new".to_owned(),
            ]);
            continue;
        };
        let (change, tolerance) = (now / then - 1.0, tolerance(name));
        let word = match change {
            change if change > tolerance => "DEARER",
            change if change < -tolerance => "cheaper",
            _ => "",
        };
        dearer |= change > tolerance;
        rows.push(vec![
            name.clone(),
            number(then),
            number(*now),
            format!("{:+.1} %", change * 100.0),
            word.to_owned(),
        ]);
    }
    (table(&rows), dearer)
}

fn number(value: f64) -> String {
    match value {
        value if value < 1000.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

/// Counts and compares, or writes the baseline anew; whether nothing became dearer.
///
/// # Errors
/// There is no baseline, or one of other tools; as [`count`]'s.
pub fn check(
    rows: &[&'static Row],
    rewrite: bool,
    log_level: u8,
    pki: &Pki,
    scratch: &Path,
) -> io::Result<bool> {
    let mut old: Option<Counts> = match fs::read_to_string(BASELINE) {
        Ok(text) => Some(serde_json::from_str(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound && rewrite => None,
        Err(error) => return Err(io::Error::new(error.kind(), format!("{BASELINE}: {error}"))),
    };
    if !rewrite && let Some(old) = &old {
        let now = Counts {
            tools: tools(log_level)?,
            counts: BTreeMap::new(),
        };
        let differences = differences(old, &now);
        if !differences.is_empty() {
            return Err(io::Error::other(format!(
                "the baseline was counted by other tools, so that a difference would say nothing; \
                 count it anew where it was last true, with --baseline:\n  {}",
                differences.join("\n  ")
            )));
        }
    }
    let now = count(rows, log_level, pki, scratch)?;
    let mut good = true;
    if let Some(old) = &old {
        let (text, dearer) = compare(old, &now);
        println!("{text}");
        good = !dearer;
    }
    if rewrite {
        let mut all = now;
        // Rows that were not asked for stay, if they still can be compared.
        if rows.len() < ROWS.len()
            && let Some(old) = old.take_if(|old| differences(old, &all).is_empty())
        {
            for (name, value) in old.counts {
                all.counts.entry(name).or_insert(value);
            }
        }
        for value in all.counts.values_mut() {
            *value = (*value * 100.0).round() / 100.0;
        }
        fs::write(BASELINE, serde_json::to_string_pretty(&all)? + "\n")?;
        return Ok(true);
    }
    Ok(good)
}

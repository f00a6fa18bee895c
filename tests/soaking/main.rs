//! A soak: many short connections through adit while its processes are killed and stopped, its configuration is loaded
//! anew, its logs are rotated and its program is replaced, by a plan that its seed gives again. Every connection
//! compares its bytes. What comes out wrong is counted and ends it with status 1; see CONTRIBUTING.md.
//!
//! `tests/soak --minutes N [--seed S] [--rate R]`
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    missing_docs,
    reason = "in what tests share, as in tests"
)]

mod deeds;
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use deeds::Deeds;
use load::{Counts, Load, Target};
use support::adit::program;
use support::peers::Server;
use support::{Adit, Certs, Plan, is_root, poll_for, proc, tls};

/// By how much the memory at the end may exceed that after the warming up.
const GROWTH: f64 = 1.2;
/// How many descriptors more the processes may have together: one that is just being handed on.
const DESCRIPTORS: usize = 2;
/// How long the processes have to come to rest, in which hung ones are found and generations drain.
const REST: Duration = Duration::from_secs(30);

/// What is asked for on the command line.
struct Wish {
    time: Duration,
    seed: u64,
    rate: u32,
}

/// The processes at rest.
struct State {
    /// Kilobytes of memory, shared pages divided among those that share them.
    memory: u64,
    descriptors: usize,
    processes: usize,
}

fn main() -> ExitCode {
    let wish = match wish() {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("soak: {why}\nusage: tests/soak --minutes N [--seed S] [--rate R]");
            return ExitCode::from(2);
        }
    };
    let misses = run(&wish);
    for miss in &misses {
        println!("soak: MISS: {miss}");
    }
    match misses.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn wish() -> Result<Wish, String> {
    let mut wish = Wish {
        time: Duration::from_mins(1),
        seed: u64::from(std::process::id()),
        rate: 300,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let wrong = || format!("{name} {value}: not a number");
        match &*name {
            "--minutes" => {
                let minutes: f64 = value.parse().map_err(|_| wrong())?;
                let time = Duration::try_from_secs_f64(minutes * 60.0);
                wish.time = time.map_err(|_| wrong())?;
            }
            "--seed" => wish.seed = value.parse().map_err(|_| wrong())?,
            "--rate" => wish.rate = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(wish)
}

/// Runs it, prints what it came to, and returns what went wrong.
fn run(wish: &Wish) -> Vec<String> {
    let certs = Certs::new();
    let plain = Server::echo();
    let encrypted = tls::echo_server(&certs, tls::BOTH);
    let mut adit = start(&certs, &plain, &encrypted);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let address = |name| adit.address(name);
    let targets = [
        Target::over_tls("server", address("server"), &config),
        Target::plain("client", address("client")),
        Target::over_tls("program", address("program"), &config),
    ];
    let (family, full) = (proc::family(adit.pid()), is_root());
    println!(
        "soak: seed {}, {} s, {} connections/s wanted, {} processes, {}",
        wish.seed,
        wish.time.as_secs(),
        wish.rate,
        family.len(),
        if full {
            "with upgrades"
        } else {
            "not root: no upgrades"
        },
    );
    // A sixth of the time warms it up, with a reload: what is loaded once more is not new then.
    let load = Load::new(&targets, wish.rate, wish.seed);
    let warming = load.during(wish.time / 6, || adit.reload(3));
    let warm = rest(&adit, family.len());
    let mut deeds = Deeds::new(&adit, wish.seed, full);
    let began = Instant::now();
    let time = wish.time - wish.time / 6;
    let counts = load.during(time, || deeds.carry_out_until(began + time));
    let end = rest(&adit, family.len());
    let mut misses = judge(&warming, &counts, &deeds, &warm, &end);
    println!("soak: {}", deeds.summary());
    println!("soak: {}", counts.summary(began.elapsed()));
    println!(
        "soak: at rest before and after: {} and {} kB, {} and {} descriptors, {} and {} processes",
        warm.memory, end.memory, warm.descriptors, end.descriptors, warm.processes, end.processes
    );
    let said = deeds.everything_logged();
    misses.extend(
        said.lines()
            .filter(|line| is_internal(line))
            .map(str::to_owned),
    );
    let family = proc::family(adit.pid());
    adit.signal(Signal::SIGTERM);
    let status = adit.wait_for_exit();
    if !status.success() {
        misses.push(format!("adit ended with {status}"));
    }
    let left = || family.iter().filter(|one| proc::alive(one.pid)).count();
    if poll_for(REST, || (left() == 0).then_some(())).is_none() {
        misses.push(format!("{} processes are left over", left()));
    }
    misses
}

fn start(certs: &Certs, plain: &Server, encrypted: &Server) -> Adit {
    let plan = Plan::new();
    // A program of its own, which upgrades replace.
    let path = plan.folder().join("adit");
    fs::copy(program(), &path).expect("a copy");
    let pair = certs.server().lines();
    let verifies = format!("{}verifyChain = yes\n", certs.ca_line());
    plan.program(path)
        .global("workers = 2\nthreads = 2\ndebug = 6")
        .service("server", format!("{}{pair}", plain.line()))
        .service(
            "client",
            format!("client = yes\n{}{verifies}", encrypted.line()),
        )
        .service("program", format!("exec = /bin/cat\n{pair}"))
        .start()
}

/// What is held when nothing is carried, once the processes are as many as in the beginning.
fn rest(adit: &Adit, processes: usize) -> State {
    let pid = adit.pid();
    poll_for(REST, || {
        (proc::family(pid).len() == processes).then_some(())
    });
    // A process that has just begun is still settling: the least of some looks counts.
    let looks = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        look(pid)
    });
    looks.min_by_key(|state| state.memory).expect("a look")
}

fn look(pid: i32) -> State {
    let family = proc::family(pid);
    let memory = family.iter().map(|one| pss(one.pid)).sum();
    let descriptors = family
        .iter()
        .map(|one| proc::descriptors(one.pid).len())
        .sum();
    State {
        memory,
        descriptors,
        processes: family.len(),
    }
}

/// Its share of memory in kilobytes; 0 if it has just ended.
fn pss(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

fn judge(
    warming: &Counts,
    counts: &Counts,
    deeds: &Deeds<'_>,
    warm: &State,
    end: &State,
) -> Vec<String> {
    let mut misses = Vec::new();
    let mut miss = |is_one: bool, text: String| {
        if is_one {
            misses.push(text);
        }
    };
    miss(counts.good == 0, "no connection was served".into());
    for (what, number) in [
        ("refused", counts.refused.len() + warming.refused.len()),
        ("wrong", counts.wrong.len() + warming.wrong.len()),
        ("cut while nothing was done", warming.cut.len()),
    ] {
        miss(number > 0, format!("{number} connections {what}"));
    }
    for wrong in counts.wrong.iter().chain(&counts.refused).take(5) {
        miss(true, wrong.what.clone());
    }
    for cut in counts.cut.iter().filter(|cut| !deeds.excuse(cut)).take(5) {
        miss(
            true,
            format!("cut without a death that explains it: {}", cut.what),
        );
    }
    let most = (warm.memory as f64 * GROWTH) as u64;
    miss(
        end.memory > most,
        format!("memory: {} kB, more than {most}", end.memory),
    );
    let most = warm.descriptors + DESCRIPTORS;
    let text = format!("descriptors: {}, more than {most}", end.descriptors);
    miss(end.descriptors > most, text);
    let text = format!("processes: {}, not {}", end.processes, warm.processes);
    miss(end.processes != warm.processes, text);
    misses
}

fn is_internal(line: &str) -> bool {
    line.contains("INTERNAL ERROR") || line.contains("panicked")
}

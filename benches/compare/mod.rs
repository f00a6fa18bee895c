//! CPU and memory per unit of work of TLS proxies, side by side on one machine.
//!
//! A round measures the peers of a row one after the other, the next round in the reverse order;
//! ratios are taken within a round, so that a machine that grows slower or faster meanwhile does
//! not favour anyone. Each measurement has a fresh proxy with a configuration of its own, on
//! loopback, between a client and an upstream that live in this program. What is counted is the CPU time of
//! the proxy's whole process tree, never the clock's: the load generator may cost what it likes.

mod alone;
mod answerer;
mod args;
pub mod chart;
pub mod counts;
mod crowd;
mod echo;
pub mod figures;
mod first_byte;
mod floor;
pub mod latency;
mod load;
mod nginx;
mod opening;
mod peers;
mod pki;
mod proxy;
pub mod report;
mod rows;
pub mod scale;
mod start;
pub mod tree;
pub mod upstream;
mod watch;
pub mod wire;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use args::{Command, Plan};
use figures::Figure;
use peers::Peer;
use pki::Pki;
use report::{Cell, Line, Report};
use rows::Row;
use scale::Field;
use tempfile::TempDir;

/// The whole program, its name not among `args`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match args::parse(args) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("{error}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Print(text) => {
            print!("{text}");
            Ok(true)
        }
        Command::Relay(accept, connect) => floor::run(accept, connect)
            .map(|never| match never {})
            .map_err(Into::into),
        Command::Echo => echo::run().map(|never| match never {}).map_err(Into::into),
        Command::Measure(plan) => measure(&plan),
        Command::Scale(plan) => tell(&plan, "How adit's cost grows", scale::measure),
        Command::Latency(plan) => tell(&plan, "How long an echo takes", |field| {
            latency::measure(field, &plan.peers)
        }),
        Command::FirstByte(plan) => first_byte(&plan),
        Command::Draw(json, chart) => draw(&json, &chart),
        Command::Check(plan) => count(&plan, false),
        Command::Baseline(plan) => count(&plan, true),
        Command::Start(plan) => tell(&plan, "Size, start and rest", start::measure),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The picture of an earlier run.
fn draw(json: &Path, chart: &Path) -> Result<bool, Box<dyn Error>> {
    let text = fs::read_to_string(json).map_err(|error| format!("{}: {error}", json.display()))?;
    chart::draw(&serde_json::from_str(&text)?, chart)?;
    Ok(true)
}

/// Takes figures and tells them.
fn tell(
    plan: &Plan,
    title: &str,
    take: impl FnOnce(&Field<'_>) -> io::Result<Vec<Figure>>,
) -> Result<bool, Box<dyn Error>> {
    let (scratch, pki) = prepare(plan)?;
    let figures = take(&field(plan, &pki, &scratch))?;
    println!("{}", figures::text(title, &figures));
    keep(plan, title, &figures)
}

/// Measures first bytes and tells them.
fn first_byte(plan: &Plan) -> Result<bool, Box<dyn Error>> {
    let (scratch, pki) = prepare(plan)?;
    let report = first_byte::measure(&field(plan, &pki, &scratch), &plan.peers, &plan.rows)?;
    println!("{}", report.text());
    keep(plan, "A new connection's first byte", &report.figures())
}

/// Writes figures for programs.
fn keep(plan: &Plan, title: &str, figures: &[Figure]) -> Result<bool, Box<dyn Error>> {
    if let Some(file) = &plan.json {
        fs::write(file, format!("{:#}\n", figures::json(title, figures)))?;
    }
    Ok(true)
}

fn field<'a>(plan: &Plan, pki: &'a Pki, scratch: &'a TempDir) -> Field<'a> {
    Field {
        pki,
        scratch: scratch.path(),
        work: plan.work,
        rounds: plan.rounds,
        log_level: plan.log_level,
    }
}

/// Counts instructions and system calls; whether nothing became dearer.
fn count(plan: &Plan, rewrite: bool) -> Result<bool, Box<dyn Error>> {
    let (scratch, pki) = prepare(plan)?;
    let (rows, level) = (&plan.rows, plan.log_level);
    Ok(counts::check(rows, rewrite, level, &pki, scratch.path())?)
}

/// A folder, watched, and the certificates in it.
fn prepare(plan: &Plan) -> Result<(TempDir, Pki), Box<dyn Error>> {
    allow_many_descriptors()?;
    let scratch = tempfile::tempdir()?;
    // Proxies that dropped root must reach what is theirs in it.
    fs::set_permissions(
        scratch.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    watch::start(plan.limit, scratch.path().to_owned())?;
    let pki = Pki::make(scratch.path())?;
    Ok((scratch, pki))
}

/// Measures and reports; whether all went as it should.
fn measure(plan: &Plan) -> Result<bool, Box<dyn Error>> {
    let (scratch, pki) = prepare(plan)?;
    let mut peers = Vec::new();
    for peer in &plan.peers {
        peers.push((*peer, peer.version()?));
    }
    let mut lines = Vec::new();
    for (number, row) in plan.rows.iter().enumerate() {
        eprint!("[{}/{}] {}:", number + 1, plan.rows.len(), row.label);
        let sample = |peer| match peer {
            Peer::Rustls => alone::sample(row, plan.work, &pki),
            _ => load::sample(peer, row, plan, &pki, scratch.path()),
        };
        lines.push(line(plan, row, sample));
        eprintln!();
    }
    let report = Report {
        peers,
        rounds: plan.rounds,
        work: plan.work,
        at_once: plan.at_once,
        log_level: plan.log_level,
        lines,
    };
    println!("{}", report.text());
    if let Some(file) = &plan.json {
        fs::write(file, format!("{:#}\n", report.json()))?;
    }
    if let Some(file) = &plan.chart {
        chart::draw(&report.json(), file)?;
    }
    Ok(report.is_sound())
}

/// A measurement. A peer's that fails, for whatever reason, is tried a second time: one that resets
/// its first connection now and then should not cost the whole run. Adit has one try.
fn twice<T>(peer: Peer, sample: impl Fn(Peer) -> io::Result<T>) -> io::Result<T> {
    match sample(peer) {
        Err(error) if peer != Peer::Adit => {
            eprint!(" {} again ({error})", peer.name());
            sample(peer)
        }
        result => result,
    }
}

/// All rounds of a row; a peer that failed is not asked again.
fn line(plan: &Plan, row: &'static Row, sample: impl Fn(Peer) -> io::Result<load::Sample>) -> Line {
    let mut cells: Vec<Cell> = plan
        .peers
        .iter()
        .map(|peer| match peer.can(row) {
            true => Cell::Measured(Vec::new()),
            false => Cell::Cannot,
        })
        .collect();
    for round in 0..plan.rounds {
        let mut order: Vec<usize> = (0..plan.peers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let peer = plan.peers[place];
            let Cell::Measured(samples) = &mut cells[place] else {
                continue;
            };
            match twice(peer, &sample) {
                Ok(sample) => {
                    eprint!(" {} {:.1}", peer.name(), sample.value);
                    samples.push(sample);
                }
                Err(error) => {
                    eprint!(" {} FAILED", peer.name());
                    cells[place] = Cell::Failed(error.to_string());
                }
            }
        }
    }
    Line { row, cells }
}

/// A thousand idle connections are two thousand descriptors here and in a proxy, which inherits
/// the limit.
fn allow_many_descriptors() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

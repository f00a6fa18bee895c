//! How adit's cost grows with connections, services and workers, and what bounds it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::crowd::{SHAKERS, Stage};
use super::figures::{Bar, Figure, judged, told};
use super::load::finish;
use super::peers::{Peer, Shape};
use super::pki::Pki;
use super::report::median;
use super::rows::{ROWS, Row};
use super::tree;

/// Nothing happens for this long while CPU is counted.
const SILENCE: Duration = Duration::from_secs(5);
/// Of so many such times the cheapest counts.
const SILENCES: usize = 3;
/// Memory may take this long to go back.
const RELEASE: Duration = Duration::from_secs(10);
/// Connections of a flood.
const FLOOD: usize = 64;
/// Descriptors of a process that are not connections.
const OTHERS: u64 = 500;

/// Everything that is measured shares this.
#[derive(Debug)]
pub struct Field<'a> {
    /// Certificates.
    pub pki: &'a Pki,
    /// Where proxies have their folders.
    pub scratch: &'a Path,
    /// Less or more work per measurement.
    pub work: f64,
    /// Rounds of what is compared, in changing order.
    pub rounds: usize,
    /// `debug` of those that have it.
    pub log_level: u8,
}

impl Field<'_> {
    /// A proxy's usual shape.
    pub fn shape(&self) -> Shape {
        Shape {
            log_level: self.log_level,
            ..Shape::default()
        }
    }

    fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.work) as usize).max(8)
    }

    fn stage(&self, name: &str, workers: usize, services: usize) -> io::Result<Stage> {
        let shape = Shape {
            workers,
            services,
            ..self.shape()
        };
        let dir = self.scratch.join(name);
        Stage::set(Peer::Adit, shape, row(), self.pki, &dir)
    }
}

/// TLS 1.3, P-256, full handshakes, server mode.
fn row() -> &'static Row {
    &ROWS[0]
}

/// All of it.
///
/// # Errors
/// A proxy that does not do its work.
pub fn measure(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    type Part = fn(&Field<'_>) -> io::Result<Vec<Figure>>;
    let parts: [(&str, Part); 7] = [
        ("idle connections", idle),
        ("open connections", open),
        ("a burst", burst),
        ("shares", evenly),
        ("a second worker", second_worker),
        ("workers and services", sizes),
        ("accepting", accepting),
    ];
    let mut figures = Vec::new();
    for (number, (name, part)) in parts.into_iter().enumerate() {
        eprintln!("[{}/{}] {name}", number + 1, parts.len());
        figures.extend(part(field)?);
    }
    Ok(figures)
}

/// Memory of connections that do nothing, and CPU.
fn idle(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = (limit.saturating_sub(OTHERS) as usize).min(20_000);
    let stage = field.stage("idle", 4, 1)?;
    stage.settled()?;
    let base = tree::pss(stage.proxy.pid())?;
    let mut wires = Vec::new();
    let (mut figures, mut each) = (Vec::new(), Vec::new());
    for wanted in [1000, 10_000, 20_000] {
        let count = field.scaled(wanted).min(most);
        wires.extend(stage.hold(count.saturating_sub(wires.len()))?);
        let spent = spent_in_silence(&stage)?;
        let kib = (tree::pss(stage.proxy.pid())?.saturating_sub(base)) as f64 / count as f64;
        each.push(kib);
        let what = format!("PSS of each of {count} idle connections");
        figures.push(judged(what, kib, "KiB", Bar::AtMost(8.0)));
        let idle = spent.as_secs_f64() * 1e3 / SILENCE.as_secs_f64();
        let what = format!("CPU with {count} idle connections, 4 workers");
        figures.push(judged(what, idle, "ms/s", Bar::AtMost(1.0)));
    }
    let what = "PSS of each, most connections to fewest";
    figures.push(judged(what, each[2] / each[0], "", Bar::AtMost(1.10)));
    drop(wires);
    Ok(figures)
}

/// The CPU that nothing costs, once what follows a connection's beginning is over: its bytes are
/// reported some seconds later.
fn spent_in_silence(stage: &Stage) -> io::Result<Duration> {
    let root = stage.proxy.pid();
    let mut least = Duration::MAX;
    for _ in 0..SILENCES {
        let before = tree::cpu(root)?;
        thread::sleep(SILENCE);
        least = least.min(tree::cpu(root)?.saturating_sub(before));
    }
    Ok(least)
}

/// A handshake's cost while others are open.
fn open(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let counts = [1, 100, 5000].map(|count: usize| field.scaled(count).min(count));
    let mut stages = Vec::new();
    for count in counts {
        let stage = field.stage(&format!("open-{count}"), 2, 1)?;
        let held = stage.hold(count)?;
        stages.push((stage, held));
    }
    let costs = in_turns(field.rounds, stages.len(), |place| {
        stages[place].0.cost(field.scaled(800))
    })?;
    Ok(compared(&costs, |place| {
        let what = format!("handshake with {} connections open", counts[place]);
        (what, Some(1.10))
    }))
}

/// Memory after many connections came and went.
fn burst(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let stage = field.stage("burst", 2, 1)?;
    let root = stage.proxy.pid();
    stage.settled()?;
    let before = tree::pss(root)? as f64;
    let count = field.scaled(5000);
    let wires = stage.hold(count)?;
    stage.settled()?;
    let during = tree::pss(root)? as f64;
    finish(wires)?;
    stage.settled()?;
    let at_once = tree::pss(root)? as f64;
    let deadline = Instant::now() + RELEASE;
    let mut after = at_once;
    while after > before * 1.2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
        after = tree::pss(root)? as f64;
    }
    let again = stage.hold(count)?;
    drop(again);
    stage.settled()?;
    let twice = tree::pss(root)? as f64;
    Ok(vec![
        told("PSS of the tree before a burst", before, "KiB"),
        told(format!("... with {count} connections"), during, "KiB"),
        told("... after it, at once", at_once, "KiB"),
        told("... after it", after, "KiB"),
        told("... after a second one", twice, "KiB"),
        judged(
            "PSS after a burst to before",
            after / before,
            "",
            Bar::AtMost(1.2),
        ),
    ])
}

/// How evenly connections are shared between two workers.
fn evenly(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for count in [4, 400] {
        let stage = field.stage(&format!("evenly-{count}"), 2, 1)?;
        stage.settled()?;
        let held = stage.hold(count)?;
        let active = active(&stage)?;
        drop(held);
        let (most, least) = (active.iter().max(), active.iter().min());
        let ratio = *most.unwrap_or(&0) as f64 / (*least.unwrap_or(&0)).max(1) as f64;
        let what = format!("{count} connections, the busier worker's to the other's");
        figures.push(judged(what, ratio, "", Bar::AtMost(1.10)));
    }
    Ok(figures)
}

/// Connections of each worker, as adit counts them.
fn active(stage: &Stage) -> io::Result<Vec<u64>> {
    let mut document = String::new();
    UnixStream::connect(stage.proxy.control())?.read_to_string(&mut document)?;
    let status: serde_json::Value = serde_json::from_str(&document)?;
    let workers = status["generations"][0]["workers"].as_array();
    let workers = workers.ok_or_else(|| io::Error::other("a status without workers"))?;
    let active = workers.iter().map(|worker| worker["active"].as_u64());
    active
        .collect::<Option<_>>()
        .ok_or_else(|| io::Error::other("a worker's status without `active`"))
}

/// What a run of handshakes cost whom, in microseconds for each.
struct Costs {
    /// The busiest worker.
    worker: f64,
    /// The whole tree.
    tree: f64,
    /// The load generator and its echo server.
    generator: f64,
    /// By the clock.
    clock: f64,
}

fn costs(stage: &Stage, count: usize) -> io::Result<Costs> {
    let root = stage.proxy.pid();
    let workers = tree::titled(root, "adit: worker")?;
    let clocks = || -> Vec<Duration> {
        let clock = |pid: &i32| tree::clock(*pid).unwrap_or_default();
        workers.iter().map(clock).collect()
    };
    let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let own = std::process::id().cast_signed();
    let generator = || -> io::Result<Duration> {
        let own = tree::clock(own).unwrap_or_default();
        Ok(own + tree::clock(stage.echo.pid()).unwrap_or_default())
    };
    let whole = stage.settled()?;
    let (before, load, start) = (clocks(), generator()?, Instant::now());
    stage.shake(count)?;
    let (clock, load) = (start.elapsed(), generator()?.saturating_sub(load));
    let whole = stage.settled()?.saturating_sub(whole);
    let after = clocks();
    let spent = after.iter().zip(&before).map(|(a, b)| a.saturating_sub(*b));
    Ok(Costs {
        worker: us(spent.max().unwrap_or_default()),
        tree: us(whole),
        generator: us(load),
        clock: us(clock),
    })
}

/// Handshakes a second of two cores: by what bounds them first, the busiest worker, which is on
/// one core at a time, or both cores together.
pub fn capacity(worker: f64, tree: f64) -> f64 {
    1e6 / worker.max(tree / 2.0)
}

/// One worker and two, on two cores. The load generator needs a part of the same cores, so what a
/// clock sees is told, and what the proxy could do alone is reckoned from its CPU.
fn second_worker(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let stages = [
        field.stage("one-worker", 1, 1)?,
        field.stage("two-workers", 2, 1)?,
    ];
    let count = field.scaled(2000);
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..field.rounds {
        for place in order(round, 2) {
            all[place].push(costs(&stages[place], count)?);
        }
    }
    let of = |place: usize, part: fn(&Costs) -> f64| {
        let values: Vec<f64> = all[place].iter().map(part).collect();
        median(&values).unwrap_or(f64::NAN)
    };
    let mut figures = Vec::new();
    for (place, name) in ["1 worker", "2 workers"].into_iter().enumerate() {
        let rate = 1e6 / of(place, |costs| costs.clock);
        figures.push(told(format!("{name}: handshakes by the clock"), rate, "/s"));
        let load = of(place, |costs| costs.generator / costs.clock / 2.0);
        let what = format!("{name}: both cores' share that the load generator took");
        figures.push(told(what, load, ""));
        let rate = of(place, |costs| capacity(costs.worker, costs.tree));
        let what = format!("{name}: handshakes two cores can do, by CPU");
        figures.push(told(what, rate, "/s"));
    }
    let gain = of(1, |costs| capacity(costs.worker, costs.tree))
        / of(0, |costs| capacity(costs.worker, costs.tree));
    let what = "2 workers' handshakes to 1 worker's, by CPU";
    figures.push(judged(what, gain, "", Bar::AtLeast(1.8)));
    Ok(figures)
}

/// Cost by numbers of workers and of services.
fn sizes(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, shapes) in [
        ("worker(s)", [(1, 1), (2, 1), (4, 1), (8, 1)].as_slice()),
        ("service(s)", &[(2, 1), (2, 100), (2, 1000)]),
    ] {
        let number = |place: usize| match name {
            "worker(s)" => shapes[place].0,
            _ => shapes[place].1,
        };
        let stage = |place: usize| {
            let (workers, services) = shapes[place];
            field.stage(&format!("size-{workers}-{services}"), workers, services)
        };
        // One at a time: two would share the program's pages, and count them by halves.
        for place in 0..shapes.len() {
            let stage = stage(place)?;
            stage.settled()?;
            let what = format!("PSS of the tree with {} {name}", number(place));
            figures.push(told(what, tree::pss(stage.proxy.pid())? as f64, "KiB"));
        }
        let stages = (0..shapes.len()).map(stage);
        let stages = stages.collect::<io::Result<Vec<_>>>()?;
        let costs = in_turns(field.rounds, stages.len(), |place| {
            stages[place].cost(field.scaled(800))
        })?;
        figures.extend(compared(&costs, |place| {
            (format!("handshake with {} {name}", number(place)), None)
        }));
    }
    Ok(figures)
}

/// What accepting and handing over costs the one master: handshakes, so many at once, and a flood of
/// connections that say nothing. Where they are few it is woken for each, and pays for that.
fn accepting(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let stage = field.stage("accepting", 2, 1)?;
    let masters = tree::titled(stage.proxy.pid(), "adit: master")?;
    let [master] = masters[..] else {
        return Err(io::Error::other("not one process is adit's master"));
    };
    let each = |count: usize, work: &dyn Fn() -> io::Result<()>| -> io::Result<f64> {
        let clock = || tree::clock(master).unwrap_or_default();
        let mut costs = Vec::new();
        for _ in 0..field.rounds {
            stage.settled()?;
            let before = clock();
            work()?;
            stage.settled()?;
            let spent = clock().saturating_sub(before);
            costs.push(spent.as_secs_f64() * 1e6 / count as f64);
        }
        Ok(median(&costs).unwrap_or(f64::NAN))
    };
    let count = field.scaled(1600).max(SHAKERS);
    let mut figures = Vec::new();
    let mut cost = f64::NAN;
    for at_once in [1, 4, SHAKERS] {
        cost = each(count, &|| stage.shake_at_once(count, at_once))?;
        let what = format!("master's CPU per handshake, {at_once} at once");
        figures.push(told(what, cost, "us"));
    }
    let what = format!("connections one master can hand over, handshakes {SHAKERS} at once");
    figures.push(told(what, 1e6 / cost, "/s"));
    let rounds = (count / FLOOD).max(1);
    cost = each(rounds * FLOOD, &|| {
        (0..rounds).try_for_each(|_| flood(stage.address()))
    })?;
    let what = format!("master's CPU per connection, {FLOOD} at once that say nothing");
    figures.push(told(what, cost, "us"));
    let what = "connections one master can hand over in such a flood";
    figures.push(told(what, 1e6 / cost, "/s"));
    Ok(figures)
}

/// So many connections at once, all there before any has ended.
fn flood(address: std::net::SocketAddr) -> io::Result<()> {
    let open = |_| TcpStream::connect(address);
    let mut wires = (0..FLOOD).map(open).collect::<io::Result<Vec<_>>>()?;
    for wire in &mut wires {
        wire.shutdown(std::net::Shutdown::Write)?;
        // The proxy ends it: it has been handed over.
        let _ = wire.read(&mut [0]);
    }
    Ok(())
}

/// The places of a round, each round in the reverse order of the one before.
fn order(round: usize, places: usize) -> Vec<usize> {
    match round % 2 {
        0 => (0..places).collect(),
        _ => (0..places).rev().collect(),
    }
}

/// Every place's samples, one a round.
fn in_turns(
    rounds: usize,
    places: usize,
    sample: impl Fn(usize) -> io::Result<f64>,
) -> io::Result<Vec<Vec<f64>>> {
    let mut samples = vec![Vec::new(); places];
    for round in 0..rounds {
        for place in order(round, places) {
            samples[place].push(sample(place)?);
        }
    }
    Ok(samples)
}

/// Each place's cost, and its ratio to the first's, round by round.
fn compared(costs: &[Vec<f64>], name: impl Fn(usize) -> (String, Option<f64>)) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (place, samples) in costs.iter().enumerate() {
        let (what, bar) = name(place);
        let cost = median(samples).unwrap_or(f64::NAN);
        figures.push(told(what.clone(), cost, "us"));
        if place > 0 {
            let ratios = super::report::ratios(samples, &costs[0]);
            let ratio = median(&ratios).unwrap_or(f64::NAN);
            let bar = bar.map_or(Bar::None, Bar::AtMost);
            figures.push(judged("... to the first", ratio, "", bar));
        }
    }
    figures
}

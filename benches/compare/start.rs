//! How large adit is, how long it takes to start, and what it needs at rest.

use std::fs;
use std::io;
use std::time::Instant;

use super::crowd::Stage;
use super::figures::{Bar, Figure, judged, told};
use super::peers::Peer;
use super::proxy::Proxy;
use super::report::median;
use super::rows::ROWS;
use super::scale::Field;
use super::tree;

/// Starts of which the median is taken, for a work factor of 1.
const STARTS: f64 = 20.0;

/// All of it.
///
/// # Errors
/// A proxy that does not start.
pub fn measure(field: &Field<'_>) -> io::Result<Vec<Figure>> {
    let size = fs::metadata(Peer::Adit.program())?.len() as f64 / 1e6;
    let mut figures = vec![judged("the program's file", size, "MB", Bar::AtMost(6.0))];
    let dir = field.scratch.join("start");
    fs::create_dir_all(&dir)?;
    let (mut bound, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..((STARTS * field.work) as usize).max(3) {
        let start = Instant::now();
        // Nobody connects behind it: a port that is bound is enough.
        let proxy = Proxy::shaped(field.shape(), Peer::Adit, &dir, field.pki, &ROWS[0], 9)?;
        bound.push((proxy.bound() - start).as_secs_f64() * 1e3);
        cpu.push(super::crowd::settled(proxy.pid())?.as_secs_f64() * 1e3);
    }
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    let what = "command to ports bound";
    figures.push(judged(what, middle(&bound), "ms", Bar::AtMost(30.0)));
    figures.push(told("CPU of the tree to start", middle(&cpu), "ms"));
    let proxy = Proxy::shaped(field.shape(), Peer::Adit, &dir, field.pki, &ROWS[0], 9)?;
    super::crowd::settled(proxy.pid())?;
    let rest = tree::pss(proxy.pid())? as f64 / 1024.0;
    for role in ["supervisor", "resolver", "master", "worker"] {
        let mut sum = 0;
        for pid in tree::titled(proxy.pid(), &format!("adit: {role}"))? {
            sum += tree::pss_of(pid)?;
        }
        figures.push(told(
            format!("PSS at rest: {role}"),
            sum as f64 / 1024.0,
            "MiB",
        ));
    }
    let what = "PSS at rest: the tree, 2 workers";
    figures.push(judged(what, rest, "MiB", Bar::AtMost(12.0)));
    drop(proxy);
    let dir = field.scratch.join("start-served");
    let stage = Stage::set(Peer::Adit, field.shape(), &ROWS[0], field.pki, &dir)?;
    stage.settled()?;
    let served = tree::pss(stage.proxy.pid())? as f64 / 1024.0;
    let what = "PSS at rest after some connections";
    figures.push(judged(what, served, "MiB", Bar::AtMost(12.0)));
    Ok(figures)
}

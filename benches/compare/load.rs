//! One measurement: a fresh proxy, a warm-up, the work, and what it cost the proxy's process tree.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use super::args::Plan;
use super::crowd::settled;
use super::peers::{Peer, Shape};
use super::pki::Pki;
use super::proxy::Proxy;
use super::rows::{Mode, Row, Work};
use super::tree;
use super::upstream::{Request, Upstream, send_pattern, take_pattern};
use super::wire::{self, Ledger, Negotiated, Wire};

/// Connections opened at once where they are only to be open.
const OPENERS: usize = 4;
/// Connections that carry bulk: one for each of the proxy's workers.
const CARRIERS: usize = 2;
/// Connections that echo.
const ECHOERS: usize = 16;
/// Bytes of an echo.
const MESSAGE: usize = 64;
/// Connections of each opener, and of each of those that shake hands, before anything is counted:
/// enough for each worker to have had some of each service.
const WARM_SHAKES: u64 = 20;
/// Bytes of each carrier before anything is counted.
const WARM_BYTES: u64 = 8_000_000;
/// Messages of each echoer before anything is counted.
const WARM_MESSAGES: u64 = 50;
/// How long a connection that is alone is silent before it ends: what adit puts off for some
/// milliseconds is over then, so that each connection has the same part of it.
const REST: Duration = Duration::from_millis(30);
/// Of handshakes that are to be resumed, this many must be.
const RESUMED: f64 = 0.98;

/// What a measurement gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// In the row's unit.
    pub value: f64,
    /// What most connections negotiated; `None` where there is no TLS.
    pub negotiated: Option<Negotiated>,
}

/// Over how many services of the proxy's the connections of a row are spread. Peers that are
/// the client keep one session for each (haproxy for each thread, nginx for each worker, too) and
/// replace it when its successor arrives; a connection that has just taken it for its own then shakes
/// hands in full. So where a proxy is the client that resumes, each of those that are under way at
/// once has a service of its own.
fn services(peer: Peer, row: &Row, at_once: usize) -> usize {
    match row.work {
        Work::Handshakes(_) if peer.tls() && row.mode == Mode::Client && row.resumed => at_once,
        _ => 1,
    }
}

/// Measures a row on a peer, as planned, with its files under `scratch`.
///
/// # Errors
/// The proxy does not start, does not do the work, or does another (a full handshake where it
/// should resume); with the end of its log.
pub fn sample(
    peer: Peer,
    row: &'static Row,
    plan: &Plan,
    pki: &Pki,
    scratch: &Path,
) -> io::Result<Sample> {
    let shape = Shape {
        services: services(peer, row, plan.at_once),
        log_level: plan.log_level,
        ..Shape::default()
    };
    let scene = Scene::set(peer, shape, row, pki, scratch)?;
    let manner = Manner::Crowd(plan.at_once);
    let (value, negotiated) = scene.play(manner, plan.work, &mut |work| {
        let before = scene.settled()?;
        work()?;
        Ok(scene.settled()?.saturating_sub(before).as_secs_f64())
    })?;
    let value = match row.work {
        Work::Handshakes(_) | Work::Echo(_) => value * 1e6,
        Work::Down(_) | Work::Up(_) => value * 1e3 * 1e9,
        Work::Idle(_) => value,
    };
    Ok(Sample { value, negotiated })
}

/// How many connections do the work at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As many as keep a proxy's workers busy; of handshakes, so many.
    Crowd(usize),
    /// One, so that the same happens each time.
    Single,
}

/// Does a part of the work and says what it cost.
pub type Meter<'a> = dyn FnMut(&mut dyn FnMut() -> io::Result<()>) -> io::Result<f64> + 'a;

/// A proxy for a row, with what stands around it.
#[derive(Debug)]
pub struct Scene<'a> {
    peer: Peer,
    row: &'static Row,
    pki: &'a Pki,
    ledger: Ledger,
    dir: PathBuf,
    /// The proxy; ends before its upstream does.
    pub proxy: Proxy,
    upstream: Upstream,
}

impl<'a> Scene<'a> {
    /// Starts all, with files under `scratch`.
    ///
    /// # Errors
    /// A part does not start.
    pub fn set(
        peer: Peer,
        shape: Shape,
        row: &'static Row,
        pki: &'a Pki,
        scratch: &Path,
    ) -> io::Result<Scene<'a>> {
        let dir = scratch.join(peer.name());
        fs::create_dir_all(&dir)?;
        let ledger = Ledger::default();
        let tls = match row.mode {
            Mode::Client if peer.tls() => Some(wire::server_config(row, pki.identity(row.key))?),
            Mode::Client | Mode::Server => None,
        };
        let upstream = Upstream::start(tls, ledger.clone())?;
        Ok(Scene {
            peer,
            row,
            pki,
            ledger,
            proxy: Proxy::shaped(shape, peer, &dir, pki, row, upstream.port())?,
            dir,
            upstream,
        })
    }

    /// Waits until the proxy rests; the CPU of its tree so far.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn settled(&self) -> io::Result<Duration> {
        settled(self.proxy.pid())
    }

    /// Does the row's work; what `meter` says of it per handshake, byte, message, or connection
    /// that is idle (there in KiB), and what was negotiated.
    ///
    /// # Errors
    /// As [`sample`]'s.
    pub fn play(
        &self,
        manner: Manner,
        factor: f64,
        meter: &mut Meter<'_>,
    ) -> io::Result<(f64, Option<Negotiated>)> {
        let load = Load {
            peer: self.peer,
            row: self.row,
            pki: self.pki,
            proxy: &self.proxy,
            ledger: &self.ledger,
            manner,
        };
        let result = load
            .run(factor, meter)
            .and_then(|value| Ok((value, load.negotiated()?)));
        result.map_err(|error| {
            let there = self.upstream.trouble();
            let there = there.map_or(String::new(), |t| format!(" (the upstream says: {t})"));
            io::Error::other(self.proxy.explain(&format!("{error}{there}")))
        })
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        // The whole scratch folder goes at the end in any case.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Load<'a> {
    peer: Peer,
    row: &'static Row,
    pki: &'a Pki,
    proxy: &'a Proxy,
    ledger: &'a Ledger,
    manner: Manner,
}

/// A client: where it connects, and what its TLS is made with.
struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Load<'_> {
    fn run(&self, factor: f64, meter: &mut Meter<'_>) -> io::Result<f64> {
        let scaled = |amount: u64| ((amount as f64 * factor) as u64).max(1);
        match self.row.work {
            Work::Handshakes(count) => self.handshakes(scaled(count), meter),
            Work::Down(bytes) => self.bulk(scaled(bytes), down, meter),
            Work::Up(bytes) => self.bulk(scaled(bytes), up, meter),
            Work::Echo(messages) => self.echo(scaled(messages), meter),
            Work::Idle(connections) => self.idle(scaled(connections)),
        }
    }

    /// How many work at once.
    fn width(&self, crowd: usize) -> usize {
        match self.manner {
            Manner::Crowd(_) => crowd,
            Manner::Single => 1,
        }
    }

    /// So many clients, spread over the proxy's services; each has its own session cache.
    fn clients(&self, count: usize) -> io::Result<Vec<Client>> {
        let client = |number| {
            let tls = match self.row.mode {
                Mode::Server if self.peer.tls() => Some(wire::client_config(self.row, self.pki)?),
                Mode::Server | Mode::Client => None,
            };
            let address = self.proxy.address_of(number);
            Ok(Client { address, tls })
        };
        (0..count).map(client).collect()
    }

    /// A connection with a byte there and back: the whole path stands.
    fn open(&self, client: &Client) -> io::Result<Wire> {
        let mut first = Request::Echo(1).bytes().to_vec();
        first.push(b'x');
        let mut wire = Wire::saying(&first, client.address, client.tls.as_ref(), self.ledger)?;
        wire.read_exact(&mut [0])?;
        Ok(wire)
    }

    fn shake(&self, client: &Client, times: u64) -> io::Result<()> {
        for _ in 0..times {
            let mut wire = self.open(client)?;
            if self.manner == Manner::Single {
                thread::sleep(REST);
            }
            wire.finish()?;
        }
        Ok(())
    }

    fn handshakes(&self, count: u64, meter: &mut Meter<'_>) -> io::Result<f64> {
        let shakers = match self.manner {
            Manner::Crowd(at_once) => at_once,
            Manner::Single => 1,
        };
        let mut clients = self.clients(shakers)?;
        in_parallel(&mut clients, |client| self.shake(client, WARM_SHAKES))?;
        let each = count.div_ceil(shakers as u64);
        let spent = meter(&mut || {
            self.ledger.take();
            in_parallel(&mut clients, |client| self.shake(client, each))
        })?;
        Ok(spent / (each * shakers as u64) as f64)
    }

    fn bulk(&self, bytes: u64, carry: Carry, meter: &mut Meter<'_>) -> io::Result<f64> {
        let mut wires = self.connections(self.width(CARRIERS))?;
        in_parallel(&mut wires, |wire| carry(wire, WARM_BYTES))?;
        let each = bytes.div_ceil(wires.len() as u64);
        let spent = meter(&mut || in_parallel(&mut wires, |wire| carry(wire, each)))?;
        let all = each * wires.len() as u64;
        finish(wires)?;
        Ok(spent / all as f64)
    }

    fn echo(&self, messages: u64, meter: &mut Meter<'_>) -> io::Result<f64> {
        let mut wires = self.connections(self.width(ECHOERS))?;
        in_parallel(&mut wires, |wire| exchange(wire, WARM_MESSAGES))?;
        let each = messages.div_ceil(wires.len() as u64);
        let spent = meter(&mut || in_parallel(&mut wires, |wire| exchange(wire, each)))?;
        let all = each * wires.len() as u64;
        finish(wires)?;
        Ok(spent / all as f64)
    }

    /// What comes with the first connections, as a worker's code pages, is not counted.
    fn idle(&self, count: u64) -> io::Result<f64> {
        let mut clients = self.clients(OPENERS)?;
        in_parallel(&mut clients, |client| self.shake(client, WARM_SHAKES))?;
        self.settled()?;
        let before = tree::pss(self.proxy.pid())?;
        let each = count.div_ceil(OPENERS as u64);
        let mut groups: Vec<(Client, Vec<Wire>)> = clients
            .into_iter()
            .map(|client| (client, Vec::new()))
            .collect();
        in_parallel(&mut groups, |(client, wires)| {
            (0..each).try_for_each(|_| {
                wires.push(self.open(client)?);
                Ok(())
            })
        })?;
        self.settled()?;
        let after = tree::pss(self.proxy.pid())?;
        finish(groups.into_iter().flat_map(|(_, wires)| wires).collect())?;
        Ok((after as f64 - before as f64) / (each * OPENERS as u64) as f64)
    }

    fn connections(&self, count: usize) -> io::Result<Vec<Wire>> {
        let clients = self.clients(count)?;
        clients.iter().map(|client| self.open(client)).collect()
    }

    fn settled(&self) -> io::Result<Duration> {
        settled(self.proxy.pid())
    }

    /// What most connections negotiated.
    fn negotiated(&self) -> io::Result<Option<Negotiated>> {
        if !self.peer.tls() {
            return Ok(None);
        }
        let counts = self.ledger.take();
        let all: u64 = counts.values().sum();
        let resumed: u64 = counts
            .iter()
            .map(|(n, c)| if n.resumed { *c } else { 0 })
            .sum();
        let right = match self.row.resumed {
            true => resumed as f64 >= all as f64 * RESUMED,
            false => resumed == 0,
        };
        if !right {
            let what = format!("{resumed} of {all} handshakes were resumed, which is another work");
            return Err(io::Error::other(what));
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(negotiated, _)| Some(negotiated))
            .ok_or_else(|| io::Error::other("no TLS handshake was seen"))
    }
}

type Carry = fn(&mut Wire, u64) -> io::Result<()>;

fn down(wire: &mut Wire, bytes: u64) -> io::Result<()> {
    Request::Send(bytes).write(wire)?;
    take_pattern(wire, bytes)
}

fn up(wire: &mut Wire, bytes: u64) -> io::Result<()> {
    Request::Take(bytes).write(wire)?;
    send_pattern(wire, bytes)?;
    wire.read_exact(&mut [0])
}

fn exchange(wire: &mut Wire, messages: u64) -> io::Result<()> {
    Request::Echo(messages * MESSAGE as u64).write(wire)?;
    let sent = [b'm'; MESSAGE];
    let mut received = [0; MESSAGE];
    for _ in 0..messages {
        wire.write_all(&sent)?;
        wire.read_exact(&mut received)?;
    }
    Ok(())
}

/// Closes them all cleanly.
pub fn finish(mut wires: Vec<Wire>) -> io::Result<()> {
    wires.iter_mut().try_for_each(Wire::finish)
}

/// Does `work` on each item, each in a thread of its own; the first error of any.
pub fn in_parallel<T: Send>(
    items: &mut [T],
    work: impl Fn(&mut T) -> io::Result<()> + Sync,
) -> io::Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter_mut()
            .map(|item| scope.spawn(|| work(item)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let died = |_| Err(io::Error::other("a load thread panicked"));
            thread.join().unwrap_or_else(died)
        })
    })
}

//! Many connections through a proxy to an echo server, opened a few at a time and held.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use super::echo::Echo;
use super::load::in_parallel;
use super::peers::{Peer, Shape};
use super::pki::Pki;
use super::proxy::Proxy;
use super::rows::Row;
use super::tree;
use super::wire::{self, Ledger, Wire};

/// Connections being opened at once where they are held.
const OPENERS: usize = 4;
/// Connections under way at once where they come and go, if nothing else is asked for: a worker with
/// a single connection sleeps and wakes for each of its steps, which is not what many handshakes cost.
pub const SHAKERS: usize = 32;
/// Connections of each worker before anything is measured, so that first-time costs are over.
pub const WARM: usize = 40;

/// A proxy between clients and an echo server.
#[derive(Debug)]
pub struct Stage {
    /// The proxy.
    pub proxy: Proxy,
    /// What stands behind it.
    pub echo: Echo,
    tls: Arc<ClientConfig>,
}

impl Stage {
    /// Sets it up and warms it.
    ///
    /// # Errors
    /// A part does not start or work.
    pub fn set(
        peer: Peer,
        shape: Shape,
        row: &'static Row,
        pki: &Pki,
        dir: &Path,
    ) -> io::Result<Stage> {
        std::fs::create_dir_all(dir)?;
        let echo = Echo::start()?;
        let stage = Stage {
            proxy: Proxy::shaped(shape, peer, dir, pki, row, echo.port())?,
            echo,
            tls: wire::client_config(row, pki)?,
        };
        // As few at once as where they are held: what many leave behind is not to be there yet.
        stage.shake_at_once(WARM * shape.workers, OPENERS)?;
        Ok(stage)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// The clients' side of TLS.
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// Opens a connection, with a byte there and back.
    ///
    /// # Errors
    /// What the proxy did instead, with the end of its log.
    pub fn open(&self) -> io::Result<Wire> {
        let open = || {
            let mut wire = Wire::connect(self.address(), Some(&self.tls), &Ledger::default())?;
            wire.write_all(b"x")?;
            wire.read_exact(&mut [0])?;
            Ok(wire)
        };
        open().map_err(|error: io::Error| {
            io::Error::other(self.proxy.explain(&format!("a connection: {error}")))
        })
    }

    /// Opens so many, and holds them.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub fn hold(&self, count: usize) -> io::Result<Vec<Wire>> {
        let mut groups: Vec<(usize, Vec<Wire>)> = shares(count, OPENERS)
            .into_iter()
            .map(|share| (share, Vec::with_capacity(share)))
            .collect();
        in_parallel(&mut groups, |(share, wires)| {
            for _ in 0..*share {
                wires.push(self.open()?);
            }
            Ok(())
        })?;
        Ok(groups.into_iter().flat_map(|(_, wires)| wires).collect())
    }

    /// Opens and closes so many.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub fn shake(&self, count: usize) -> io::Result<()> {
        self.shake_at_once(count, SHAKERS)
    }

    /// As [`Stage::shake`], with so many under way at once.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub fn shake_at_once(&self, count: usize, at_once: usize) -> io::Result<()> {
        in_parallel(&mut shares(count, at_once), |share| {
            (0..*share).try_for_each(|_| self.open()?.finish())
        })
    }

    /// CPU of the proxy's whole tree so far, once it rests.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn settled(&self) -> io::Result<Duration> {
        settled(self.proxy.pid())
    }

    /// Microseconds of the tree's CPU for each of so many handshakes.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub fn cost(&self, count: usize) -> io::Result<f64> {
        let before = self.settled()?;
        self.shake(count)?;
        let spent = self.settled()?.saturating_sub(before);
        Ok(spent.as_secs_f64() * 1e6 / count as f64)
    }
}

/// Waits until a tree rests (a heartbeat may go on), a second at most; its CPU so far.
pub fn settled(root: i32) -> io::Result<Duration> {
    const REST: Duration = Duration::from_millis(20);
    const HEARTBEAT: Duration = Duration::from_micros(200);
    let mut before = tree::cpu(root)?;
    for _ in 0..50 {
        thread::sleep(REST);
        let now = tree::cpu(root)?;
        if now.saturating_sub(before) < HEARTBEAT {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// `count` in `parts` parts.
fn shares(count: usize, parts: usize) -> Vec<usize> {
    (0..parts).map(|part| (count + part) / parts).collect()
}

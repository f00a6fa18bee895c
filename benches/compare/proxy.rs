//! A running proxy: started, waited for, stopped by pid.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::peers::{CONTROL, Peer, Shape, Site, host};
use super::pki::Pki;
use super::rows::Row;
use super::{tree, watch};

/// From the command to a port that accepts, a slow tool before it.
const START: Duration = Duration::from_mins(1);
/// From SIGTERM to SIGKILL.
const STOP: Duration = Duration::from_secs(5);
/// Between two looks at a process that is starting or stopping.
const LOOK: Duration = Duration::from_micros(500);
/// A port that was free just before may be taken a moment later.
const TRIES: usize = 3;

/// A proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    services: usize,
    log: PathBuf,
    bound: Instant,
}

impl Proxy {
    /// Starts `peer` for a row, with its files in `dir`; it accepts when this returns.
    ///
    /// # Errors
    /// It cannot be run, ends at once, or does not accept in time; with the end of its log.
    pub fn shaped(
        shape: Shape,
        peer: Peer,
        dir: &Path,
        pki: &Pki,
        row: &Row,
        connect: u16,
    ) -> io::Result<Proxy> {
        let mut tries = 1;
        loop {
            let site = Site {
                dir,
                pki,
                accept: free_port()?,
                connect,
                row,
                shape,
            };
            match Proxy::start_at(peer, &site) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe && tries < TRIES => {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn start_at(peer: Peer, site: &Site<'_>) -> io::Result<Proxy> {
        let mut command = peer.prepare(site)?;
        let log = site.dir.join("log");
        let file = File::create(&log)?;
        command
            .current_dir(site.dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        die_with_parent(&mut command);
        let child = command.spawn()?;
        watch::add(child.id().cast_signed());
        let mut proxy = Proxy {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, site.accept)),
            services: site.shape.services,
            log,
            bound: Instant::now(),
        };
        proxy.wait_until_it_accepts()?;
        Ok(proxy)
    }

    /// The last service's port: they are bound one after the other.
    fn wait_until_it_accepts(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let why = self.explain(&format!("it ended at once, {status}"));
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, why));
            }
            if TcpStream::connect(self.address_of(self.services - 1)).is_ok() {
                self.bound = Instant::now();
                return Ok(());
            }
            if Instant::now() > deadline {
                let why = self.explain("it does not accept");
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            thread::sleep(LOOK);
        }
    }

    /// When its port was first seen to be bound.
    pub fn bound(&self) -> Instant {
        self.bound
    }

    /// Where its first service accepts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where client `number` connects, if they are spread over all services.
    pub fn address_of(&self, number: usize) -> SocketAddr {
        SocketAddr::from((host(number % self.services), self.address.port()))
    }

    /// Adit's control socket.
    pub fn control(&self) -> PathBuf {
        self.file(CONTROL)
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.log.with_file_name(name)
    }

    /// The root of its process tree.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// `what`, and what the proxy itself had to say, at most ten lines.
    pub fn explain(&self, what: &str) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.reverse();
        if lines.is_empty() {
            what.to_owned()
        } else {
            format!("{what}; its log ends:\n    {}", lines.join("\n    "))
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let root = self.pid();
        let tree = tree::processes(root).unwrap_or_default();
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(root), Signal::SIGTERM);
        // Under strace, which lets nothing through, the root is not the proxy.
        for pid in tree::titled(root, "adit: supervisor").unwrap_or_default() {
            if pid != root {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        let deadline = Instant::now() + STOP;
        while tree.iter().any(tree::Process::lives) && Instant::now() < deadline {
            // A child that is not waited for still is in /proc.
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                watch::remove(root);
            }
            thread::sleep(LOOK);
        }
        watch::kill_all(&tree);
        watch::remove(root);
        let _ = self.child.wait();
    }
}

/// A port of loopback that nobody has now.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The proxy gets SIGTERM when this program dies in any way.
fn die_with_parent(command: &mut Command) {
    let set = || nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from);
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

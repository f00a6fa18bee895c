//! An upstream for thousands of connections at once: it sends back what it gets. One thread, a
//! process of its own, so that its descriptors are not the load generator's.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use polling::{Event, Events, PollMode, Poller};

use super::watch;

/// The listener's key; a connection has its number.
const LISTENER: usize = usize::MAX - 1;
/// The backlog: bursts are of thousands.
const BACKLOG: i32 = 4096;

/// An echo server; it ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    child: Child,
    port: u16,
}

impl Echo {
    /// Starts this program once more, as an echo server.
    ///
    /// # Errors
    /// It cannot be started, or says no port.
    pub fn start() -> io::Result<Echo> {
        let mut child = Command::new("/proc/self/exe")
            .arg("--echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        watch::add(child.id().cast_signed());
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse();
        Ok(Echo {
            child,
            port: port.map_err(|_| io::Error::other("the echo server names no port"))?,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The root of its process tree.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        watch::remove(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a port of loopback, and says which, until whoever started it is gone.
///
/// # Errors
/// Polling fails, or no descriptor is left.
pub fn run() -> io::Result<Infallible> {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0)
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(BACKLOG)?)?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let poller = Poller::new()?;
    // SAFETY: the listener lives as long as this function, which never returns.
    unsafe { poller.add_with_mode(&listener, Event::readable(LISTENER), PollMode::Level) }?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Events::new();
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            if event.key == LISTENER {
                accept(&listener, &poller, &mut connections, &mut free)?;
            } else if let Some(slot) = connections.get_mut(event.key)
                && slot.as_mut().is_some_and(|socket| !echo(socket))
                && let Some(socket) = slot.take()
            {
                poller.delete(&socket)?;
                free.push(event.key);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poller: &Poller,
    connections: &mut Vec<Option<TcpStream>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    let socket = match listener.accept() {
        Ok((socket, _)) => socket,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    socket.set_nodelay(true)?;
    let number = free.pop().unwrap_or(connections.len());
    if number == connections.len() {
        connections.push(None);
    }
    let event = Event::readable(number);
    // SAFETY: `run` takes a connection out of the poller before it is dropped.
    unsafe { poller.add_with_mode(&socket, event, PollMode::Level) }?;
    connections[number] = Some(socket);
    Ok(())
}

/// Sends back what there is, a little at a time; false at the end. Blocks where the client does
/// not read, which clients here do.
fn echo(socket: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    match socket.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(count) => socket.write_all(&buffer[..count]).is_ok(),
    }
}

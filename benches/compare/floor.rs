//! The floor: a relay of plain TCP, as little as can be between two sockets. What a TLS proxy
//! costs above it is TLS, or its own. Two threads, level-triggered, each with a scratch buffer;
//! run as a process of its own by this program itself, so that it is counted like the others.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use polling::{Event, Events, PollMode, Poller};

/// Threads that accept and relay.
const WORKERS: usize = 2;
/// Bytes per read.
const SCRATCH: usize = 64 * 1024;
/// The listener's key; a session's ends have twice its number, and one more.
const LISTENER: usize = usize::MAX - 1;

/// Relays from one port of loopback to another until it is killed.
///
/// # Errors
/// The port is taken, or polling fails.
pub fn run(accept: u16, connect: u16) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, accept))?;
    listener.set_nonblocking(true)?;
    let listener = Arc::new(listener);
    for _ in 1..WORKERS {
        let listener = listener.clone();
        thread::spawn(move || Worker::new(&listener, connect)?.run());
    }
    Worker::new(&listener, connect)?.run()
}

/// One side of a session.
struct End {
    socket: TcpStream,
    /// It will send no more.
    ended: bool,
    /// What its socket did not take yet.
    pending: Vec<u8>,
    /// What the poller waits for, readable and writable.
    interest: (bool, bool),
}

struct Worker<'a> {
    listener: &'a TcpListener,
    connect: u16,
    poller: Poller,
    sessions: Vec<Option<[End; 2]>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(listener: &'a TcpListener, connect: u16) -> io::Result<Worker<'a>> {
        let poller = Poller::new()?;
        let event = Event::readable(LISTENER);
        // SAFETY: the worker borrows the listener, and owns the poller that is dropped before.
        unsafe { poller.add_with_mode(listener, event, PollMode::Level) }?;
        Ok(Worker {
            listener,
            connect,
            poller,
            sessions: Vec::new(),
            free: Vec::new(),
            scratch: vec![0; SCRATCH],
        })
    }

    fn run(mut self) -> io::Result<Infallible> {
        let mut events = Events::new();
        loop {
            events.clear();
            self.poller.wait(&mut events, None)?;
            for event in events.iter() {
                if event.key == LISTENER {
                    self.accept()?;
                } else if self.step(event).is_err() {
                    self.close(event.key / 2)?;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let front = match self.listener.accept() {
            Ok((socket, _)) => socket,
            // The other worker was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        // On loopback this takes no time.
        let back = TcpStream::connect((Ipv4Addr::LOCALHOST, self.connect))?;
        let number = self.free.pop().unwrap_or(self.sessions.len());
        if number == self.sessions.len() {
            self.sessions.push(None);
        }
        for (side, socket) in [&front, &back].into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let event = Event::readable(number * 2 + side);
            // SAFETY: `close` takes the socket out of the poller before it is dropped.
            unsafe { self.poller.add_with_mode(socket, event, PollMode::Level) }?;
        }
        self.sessions[number] = Some([front, back].map(|socket| End {
            socket,
            ended: false,
            pending: Vec::new(),
            interest: (true, false),
        }));
        Ok(())
    }

    fn step(&mut self, event: Event) -> io::Result<()> {
        let (number, side) = (event.key / 2, event.key % 2);
        let Some(Some(ends)) = self.sessions.get_mut(number) else {
            return Ok(());
        };
        let [front, back] = ends;
        let (from, to) = match side {
            0 => (front, back),
            _ => (back, front),
        };
        if event.writable && !from.pending.is_empty() {
            let written = some(from.socket.write(&from.pending))?.unwrap_or(0);
            from.pending.drain(..written);
        }
        if event.readable
            && to.pending.is_empty()
            && let Some(read) = some(from.socket.read(&mut self.scratch))?
        {
            let written = match read {
                0 => 0,
                _ => some(to.socket.write(&self.scratch[..read]))?.unwrap_or(0),
            };
            to.pending.extend_from_slice(&self.scratch[written..read]);
            from.ended = read == 0;
            if from.ended {
                to.socket.shutdown(Shutdown::Write)?;
            }
        }
        if from.ended && to.ended {
            return self.close(number);
        }
        self.poll_for(number)
    }

    /// Tells the poller what is waited for, where that has changed.
    fn poll_for(&mut self, number: usize) -> io::Result<()> {
        let Some(Some(ends)) = self.sessions.get_mut(number) else {
            return Ok(());
        };
        for side in [0, 1] {
            let readable = !ends[side].ended && ends[1 - side].pending.is_empty();
            let interest = (readable, !ends[side].pending.is_empty());
            if ends[side].interest != interest {
                ends[side].interest = interest;
                let event = Event::new(number * 2 + side, interest.0, interest.1);
                self.poller
                    .modify_with_mode(&ends[side].socket, event, PollMode::Level)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, number: usize) -> io::Result<()> {
        if let Some(ends) = self.sessions.get_mut(number).and_then(Option::take) {
            for end in &ends {
                self.poller.delete(&end.socket)?;
            }
            self.free.push(number);
        }
        Ok(())
    }
}

/// `None` where the socket would block.
fn some(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

//! The process's loop: one thread takes requests, a pool of them sits in getaddrinfo.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use super::ResolveError;
use super::lookup::{IpAddrScope, lookup, with_port};
use super::message::{Answer, MAX_HOST, Request, Want};
use crate::helper::Post;
use crate::helper::words::{self, Heard};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::Unprivileged;
use crate::step::NameStep;
use crate::sys::watch::{self, Interest, Watch};

/// Lookups under way at a time. Requests for the same name share one, so that this many names
/// must be slow at a time before another has to wait.
const THREADS: usize = 8;
/// Different names that may wait for a thread; what is beyond fails at once.
const QUEUE: usize = 1024;
/// Requests that may wait for one name; what is beyond fails at once.
const WAITERS: usize = 65_536;
/// Requests taken from one client before the next has its turn.
const TURN: usize = 64;
/// How long a client that does not read may hold a thread, in milliseconds.
const WRITE_TIMEOUT_MS: u16 = 1000;

/// Answers clients until none is left that could ask.
///
/// Returns once the channel or the leash is at its end. Threads may sit in getaddrinfo for a good
/// while then, so the process should go by `_exit`. Starts threads: the sandbox comes before.
///
/// # Errors
/// No thread can be started; waiting or the channel fails.
pub(super) fn serve(post: Post, _: &Unprivileged) -> io::Result<()> {
    answer_all(&post.channel, &post.leash)
}

/// As [`serve`], which alone may be handed what is hostile.
pub(super) fn answer_all(channel: &Channel, leash: &Leash) -> io::Result<()> {
    let (jobs, queue) = bounded::<Key>(QUEUE);
    let pending = Arc::new(Pending::default());
    for number in 0..THREADS {
        let (queue, pending) = (queue.clone(), Arc::clone(&pending));
        thread::Builder::new()
            .name(format!("lookup {number}"))
            .spawn(move || work(&queue, &pending))
            .step("starting a thread")?;
    }
    drop(queue);
    let watch = Watch::new()?;
    watch.add(leash, Source::Leash)?;
    watch.add(channel, Source::Channel)?;
    let mut clients: HashMap<usize, Client> = HashMap::new();
    let mut next = 0;
    loop {
        let ready = watch.wait(None)?;
        if ready.contains(&Source::Leash) {
            return Ok(());
        }
        for source in &ready {
            let Source::Client(number) = source else {
                continue;
            };
            if let Some(client) = clients.get(number)
                && !take_requests(client, &pending, &jobs)
            {
                // A lookup may hold it open.
                watch.remove(&**client);
                clients.remove(number);
            }
        }
        if ready.contains(&Source::Channel) {
            let Some(new) = take_clients(channel)? else {
                return Ok(());
            };
            for client in new {
                // Closed for want of memory, it is introduced again.
                if watch.add(&client, Source::Client(next)).is_ok() {
                    clients.insert(next, Arc::new(client));
                    next += 1;
                }
            }
        }
    }
}

/// What is waited for; clients by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Leash,
    Channel,
    Client(usize),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Leash => 0,
            Source::Channel => 1,
            Source::Client(number) => 2 + number,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Channel,
            key => Source::Client(key - 2),
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Channel | Source::Client(_) => Interest::Read,
        }
    }
}

/// A client's socket; a lookup that is under way keeps it open.
type Client = Arc<OwnedFd>;

/// What is looked up once, for all that ask.
type Key = (String, Want);

/// Who waits for a name.
struct Waiter {
    client: Client,
    id: u64,
    port: u16,
}

/// The names that are queued or being looked up.
#[derive(Default)]
struct Pending(Mutex<HashMap<Key, Vec<Waiter>>>);

impl Pending {
    fn remove(&self, key: &Key) -> Vec<Waiter> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(key).unwrap_or_default()
    }

    /// Adds a waiter. `Ok(true)`: it is the first, and the name must be queued.
    fn add(&self, key: &Key, waiter: Waiter) -> Result<bool, Waiter> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match names.entry(key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(vec![waiter]);
                Ok(true)
            }
            Entry::Occupied(entry) if entry.get().len() >= WAITERS => Err(waiter),
            Entry::Occupied(mut entry) => {
                entry.get_mut().push(waiter);
                Ok(false)
            }
        }
    }
}

fn non_blocking(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Takes new clients off the channel; `None` at its end.
fn take_clients(channel: &Channel) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut clients = match words::hear(channel)? {
        Heard::Clients(clients) => clients,
        Heard::News(..) | Heard::Nothing => Vec::new(),
        Heard::End => return Ok(None),
    };
    clients.retain(|client| non_blocking(client).is_ok());
    Ok(Some(clients))
}

/// Takes what a client asks; false when it is gone.
fn take_requests(client: &Client, pending: &Pending, jobs: &Sender<Key>) -> bool {
    for _ in 0..TURN {
        // A byte more than the longest request, so that a longer one does not pass for it.
        let mut packet = [0; 11 + MAX_HOST + 1];
        match recv(client.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return false,
            Ok(length) => {
                // A client that sends what is no request is broken, or worse: it is heard no more.
                let Some(request) = Request::decode(&packet[..length]) else {
                    return false;
                };
                take_request(client, request, pending, jobs);
            }
            Err(Errno::EINTR) => (),
            Err(Errno::EAGAIN) => return true,
            Err(_) => return false,
        }
    }
    true
}

fn take_request(client: &Client, request: Request, pending: &Pending, jobs: &Sender<Key>) {
    let key = (request.host, request.want);
    let waiter = Waiter {
        client: Arc::clone(client),
        id: request.id,
        port: request.port,
    };
    let refused = match pending.add(&key, waiter) {
        Ok(false) => return,
        Ok(true) => match jobs.try_send(key) {
            Ok(()) => return,
            Err(TrySendError::Full(key) | TrySendError::Disconnected(key)) => {
                let waiters = pending.remove(&key);
                (key, waiters)
            }
        },
        Err(waiter) => (key, vec![waiter]),
    };
    let ((host, _), waiters) = refused;
    let overloaded = Err(ResolveError {
        host,
        reason: "too many names are being resolved".to_owned(),
    });
    tell(waiters, &overloaded);
}

/// A thread of the pool.
fn work(queue: &Receiver<Key>, pending: &Pending) {
    for key in queue {
        let result = lookup(&key.0, key.1);
        tell(pending.remove(&key), &result);
    }
}

/// Tells all who waited. A client that does not read loses its answers; it has time limits of
/// its own.
fn tell(waiters: Vec<Waiter>, result: &Result<Vec<IpAddrScope>, ResolveError>) {
    let mut deaf: Vec<Client> = Vec::new();
    for Waiter { client, id, port } in waiters {
        if deaf.iter().any(|other| Arc::ptr_eq(other, &client)) {
            continue;
        }
        let result = match result {
            Ok(found) => Ok(found.iter().map(|each| with_port(each, port)).collect()),
            Err(error) => Err(error.clone()),
        };
        if !answer(&client, &Answer { id, result }) {
            deaf.push(client);
        }
    }
}

/// Sends an answer; false if it could not be sent.
fn answer(client: &Client, answer: &Answer) -> bool {
    let packet = answer.encode();
    loop {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(client.as_raw_fd(), &packet, flags) {
            Ok(_) => return true,
            Err(Errno::EINTR) => (),
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
                if !matches!(poll(&mut fds, PollTimeout::from(WRITE_TIMEOUT_MS)), Ok(1..)) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

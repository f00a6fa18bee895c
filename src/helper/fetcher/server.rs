//! The process's loop: one thread takes requests, a pool of them talks to responders.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use super::exchange;
use super::message::{Answer, MAX_REQUEST_PACKET, Request};
use crate::helper::Post;
use crate::helper::words::{self, Heard};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::Unprivileged;
use crate::step::NameStep;
use crate::sys::watch::{self, Interest, Watch};

/// Requests under way at a time. The same request by several clients is one.
const THREADS: usize = 16;
/// Different requests that may wait for a thread; what is beyond fails at once.
const QUEUE: usize = 1024;
/// Clients that may wait for one request; what is beyond fails at once.
const WAITERS: usize = 65_536;
/// Requests taken from one client before the next has its turn.
const TURN: usize = 64;
/// How long a client that does not read may hold a thread, in milliseconds.
const PATIENCE: u16 = 1000;

/// Answers clients until none is left that could ask.
///
/// Returns once the channel or the leash is at its end. Threads may be at work for a good while then, so the
/// process should go by `_exit`. Starts threads: the sandbox comes before.
///
/// # Errors
/// No thread can be started; waiting or the channel fails.
pub(super) fn serve(post: Post, _: &Unprivileged) -> io::Result<()> {
    answer_all(&post.channel, &post.leash)
}

/// As [`serve`], which alone may be handed what is hostile.
pub(super) fn answer_all(channel: &Channel, leash: &Leash) -> io::Result<()> {
    let (jobs, queue) = bounded::<Job>(QUEUE);
    let pending = Arc::new(Pending::default());
    for number in 0..THREADS {
        let (queue, pending) = (queue.clone(), Arc::clone(&pending));
        thread::Builder::new()
            .name(format!("fetch {number}"))
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
                // A request under way may hold it open.
                watch.remove(&**client);
                clients.remove(number);
            }
        }
        if ready.contains(&Source::Channel) {
            let new = match words::hear(channel)? {
                Heard::Clients(clients) => clients,
                Heard::News(..) | Heard::Nothing => Vec::new(),
                Heard::End => return Ok(()),
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

/// A client's socket; a request that is under way keeps it open.
type Client = Arc<OwnedFd>;

/// What is fetched once for all that ask: the URL and the body.
type Key = (String, Vec<u8>);

/// A request, and until when its first client waits.
type Job = (Key, Instant);

/// Who waits, and for which answer.
type Waiter = (Client, u64);

/// The requests that are queued or under way.
#[derive(Default)]
struct Pending(Mutex<HashMap<Key, Vec<Waiter>>>);

impl Pending {
    fn remove(&self, key: &Key) -> Vec<Waiter> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(key).unwrap_or_default()
    }

    /// Adds a waiter. `Ok(true)`: it is the first, and the request must be queued.
    fn add(&self, key: &Key, waiter: Waiter) -> Result<bool, Waiter> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.entry(key.clone()) {
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

/// Takes what a client asks; false when it is gone.
fn take_requests(client: &Client, pending: &Pending, jobs: &Sender<Job>) -> bool {
    let mut packet = [0; MAX_REQUEST_PACKET];
    for _ in 0..TURN {
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

fn take_request(client: &Client, request: Request, pending: &Pending, jobs: &Sender<Job>) {
    let key = (request.url, request.body);
    let waiter = (Arc::clone(client), request.id);
    let refused = match pending.add(&key, waiter) {
        Ok(false) => return,
        Ok(true) => match jobs.try_send((key, Instant::now() + request.patience)) {
            Ok(()) => return,
            Err(TrySendError::Full((key, _)) | TrySendError::Disconnected((key, _))) => {
                pending.remove(&key)
            }
        },
        Err(waiter) => vec![waiter],
    };
    tell(
        refused,
        &Err("too many responders are being asked".to_owned()),
    );
}

/// A thread of the pool.
fn work(queue: &Receiver<Job>, pending: &Pending) {
    for (key, deadline) in queue {
        // Its clients have given up.
        let result = match deadline <= Instant::now() {
            true => Err("TIMEOUTocsp exceeded: other responders are too slow".to_owned()),
            false => exchange::post(&key.0, &key.1, deadline),
        };
        tell(pending.remove(&key), &result);
    }
}

/// Tells all who waited. A client that does not read loses its answers; it has time limits of its own.
fn tell(waiters: Vec<Waiter>, result: &Result<Vec<u8>, String>) {
    let mut deaf: Vec<Client> = Vec::new();
    for (client, id) in waiters {
        if deaf.iter().any(|other| Arc::ptr_eq(other, &client)) {
            continue;
        }
        let result = result.clone();
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
                if !matches!(poll(&mut fds, PollTimeout::from(PATIENCE)), Ok(1..)) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::time::Duration;

    use nix::sys::socket::{
        AddressFamily, ControlMessage, SockFlag, SockType, sendmsg, socketpair,
    };

    use super::super::Client;
    use super::super::client::Told;
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
    }

    /// A fetcher in a thread of this process.
    struct Fetcher {
        control: OwnedFd,
        leash: io::PipeWriter,
        thread: thread::JoinHandle<io::Result<()>>,
    }

    impl Fetcher {
        fn start() -> Self {
            let (control, theirs) = pair();
            let (reader, leash) = io::pipe().unwrap();
            let thread =
                thread::spawn(|| answer_all(&theirs.into(), &OwnedFd::from(reader).into()));
            Self {
                control,
                leash,
                thread,
            }
        }

        fn client(&self) -> Client {
            let (ours, theirs) = pair();
            sendmsg::<()>(
                self.control.as_raw_fd(),
                &[IoSlice::new(b"c")],
                &[ControlMessage::ScmRights(&[theirs.as_raw_fd()])],
                MsgFlags::empty(),
                None,
            )
            .unwrap();
            Client::new(ours, 1)
        }
    }

    /// Waits for that many answers.
    fn told(client: &mut Client, count: usize) -> Vec<Told> {
        let end = Instant::now() + DEADLINE;
        let mut told = Vec::new();
        while told.len() < count {
            assert!(Instant::now() < end, "{told:?}");
            let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(10_u16));
            told.extend(client.answers());
        }
        told
    }

    fn request(stream: &mut TcpStream) {
        let mut heard = Vec::new();
        while !heard.ends_with(b"body") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
    }

    #[test]
    fn those_that_ask_the_same_share_one_request() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let fetcher = Fetcher::start();
        let mut clients = [fetcher.client(), fetcher.client()];
        let ask = |client: &mut Client| client.ask(&url, b"body", DEADLINE).unwrap();
        let ids = [
            ask(&mut clients[0]),
            ask(&mut clients[0]),
            ask(&mut clients[1]),
        ];
        let (mut stream, _) = listener.accept().unwrap();
        request(&mut stream);
        // Another request is another connection; that it is there says that those before it were taken.
        let other = clients[1].ask(&url, b"a body", DEADLINE).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        request(&mut second);
        second.write_all(b"HTTP/1.0 200 OK\r\n\r\nother").unwrap();
        drop(second);
        assert_eq!(told(&mut clients[1], 1), [(other, Ok(b"other".to_vec()))]);
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nthe same")
            .unwrap();
        drop(stream);
        let same = |id| (id, Ok(b"the same".to_vec()));
        assert_eq!(told(&mut clients[0], 2), [same(ids[0]), same(ids[1])]);
        assert_eq!(told(&mut clients[1], 1), [same(ids[2])]);
    }

    #[test]
    fn what_gives_no_answer_is_told_with_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fetcher = Fetcher::start();
        let mut client = fetcher.client();
        let mut why = |url: &str, patience| {
            client.ask(url, b"body", patience).unwrap();
            told(&mut client, 1).remove(0).1.unwrap_err()
        };
        let short = Duration::from_millis(50);
        // It is accepted by the kernel, and nothing comes.
        let said = why(&format!("http://{address}/"), short);
        assert!(said.contains("TIMEOUTocsp exceeded"), "{said}");
        let said = why(&format!("http://{address}/"), Duration::ZERO);
        assert!(said.contains("TIMEOUTocsp exceeded"), "{said}");
        drop(listener);
        let said = why(&format!("http://{address}/"), DEADLINE);
        assert!(said.contains("Connection refused (111)"), "{said}");
        let said = why("https://localhost/", DEADLINE);
        assert!(said.contains("TLS not supported for OCSP"), "{said}");
        let said = why("http://nowhere.invalid/", DEADLINE);
        assert!(said.contains("Failed to resolve"), "{said}");
    }

    #[test]
    fn a_fetcher_ends_with_its_supervisor_and_a_client_that_sends_nonsense_is_let_go_of() {
        let fetcher = Fetcher::start();
        let mut client = fetcher.client();
        send(client.as_fd().as_raw_fd(), b"nonsense", MsgFlags::empty()).unwrap();
        let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
        assert!(client.answers().is_empty());
        let mut other = fetcher.client();
        other.ask("ftp://x/", b"", DEADLINE).unwrap();
        assert!(told(&mut other, 1)[0].1.is_err());
        let (done, waits) = mpsc::channel();
        let Fetcher {
            control,
            leash,
            thread,
        } = fetcher;
        thread::spawn(move || done.send(thread.join()));
        drop(leash);
        waits.recv_timeout(DEADLINE).unwrap().unwrap().unwrap();
        drop(control);
    }
}

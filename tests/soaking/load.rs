//! The connections of a soak: each sends a pattern of some length, and compares what comes back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::support::{peers, tls};

/// How many connections are made at a time.
const THREADS: u32 = 8;
/// The longest that one sends, in bytes.
const LONGEST: u64 = 40_000;

/// A small generator of numbers, the same for the same seed.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// A service, as its clients see it.
#[derive(Clone)]
pub struct Target {
    name: &'static str,
    address: SocketAddr,
    /// What a client of TLS goes by.
    config: Option<Arc<ClientConfig>>,
}

impl Target {
    pub fn plain(name: &'static str, address: SocketAddr) -> Target {
        let config = None;
        Target {
            name,
            address,
            config,
        }
    }

    pub fn over_tls(name: &'static str, address: SocketAddr, config: &Arc<ClientConfig>) -> Target {
        let config = Some(Arc::clone(config));
        Target {
            name,
            address,
            config,
        }
    }
}

/// A connection that did not go well.
pub struct Trouble {
    pub began: Instant,
    pub ended: Instant,
    pub service: &'static str,
    pub what: String,
}

/// What the connections came to.
#[derive(Default)]
pub struct Counts {
    pub good: u64,
    /// The kernel, or adit, took no connection.
    pub refused: Vec<Trouble>,
    /// Other bytes came back, or fewer with an end in order by close_notify.
    pub wrong: Vec<Trouble>,
    /// It broke: without TLS, the end of the process that carries it may be a FIN.
    pub cut: Vec<Trouble>,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.good += other.good;
        self.refused.extend(other.refused);
        self.wrong.extend(other.wrong);
        self.cut.extend(other.cut);
    }

    pub fn summary(&self, time: Duration) -> String {
        let (refused, wrong, cut) = (self.refused.len(), self.wrong.len(), self.cut.len());
        let rate = self.good as f64 / time.as_secs_f64();
        let good = self.good;
        format!("{good} good ({rate:.0}/s), {refused} refused, {wrong} wrong, {cut} cut by deaths")
    }
}

/// Makes connections.
pub struct Load<'a> {
    targets: &'a [Target],
    rate: u32,
    seed: u64,
}

impl<'a> Load<'a> {
    pub fn new(targets: &'a [Target], rate: u32, seed: u64) -> Load<'a> {
        Load {
            targets,
            rate,
            seed,
        }
    }

    /// Makes them for this long, and does something beside.
    pub fn during(&self, time: Duration, beside: impl FnOnce()) -> Counts {
        let end = Instant::now() + time;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    let stop = &stop;
                    scope.spawn(move || self.run(u64::from(number), end, stop))
                })
                .collect();
            beside();
            let mut counts = Counts::default();
            for thread in threads {
                counts.add(thread.join().expect("no panic"));
            }
            stop.store(true, Ordering::SeqCst);
            counts
        })
    }

    fn run(&self, number: u64, end: Instant, stop: &AtomicBool) -> Counts {
        let mut numbers = Numbers::new(self.seed ^ (number + 1));
        let mut counts = Counts::default();
        let pace = Duration::from_secs(1) * THREADS / self.rate.max(1);
        let mut next = Instant::now();
        while Instant::now() < end && !stop.load(Ordering::SeqCst) {
            let which = numbers.below(self.targets.len() as u64) as usize;
            let length = 1 + numbers.below(LONGEST);
            let began = Instant::now();
            let target = &self.targets[which];
            let outcome = talk(target, length);
            let trouble = |what| Trouble {
                began,
                ended: Instant::now(),
                service: target.name,
                what: format!("[{}], {length} bytes: {what}", target.name),
            };
            match outcome {
                Ok(()) => counts.good += 1,
                Err(Failed::Refused(error)) => {
                    counts.refused.push(trouble(format!("refused: {error}")));
                }
                Err(Failed::Wrong(what)) => counts.wrong.push(trouble(what)),
                Err(Failed::Ended(have)) => match &target.config {
                    None => &mut counts.cut,
                    Some(_) => &mut counts.wrong,
                }
                .push(trouble(format!("an end after {have} bytes"))),
                Err(Failed::Cut(error)) => counts.cut.push(trouble(error.to_string())),
            }
            // What is late is not made up for: a machine that is too slow is not asked for more.
            next = (next + pace).max(Instant::now());
            std::thread::sleep(next.saturating_duration_since(Instant::now()).min(pace));
        }
        counts
    }
}

enum Failed {
    Refused(io::Error),
    Wrong(String),
    /// An end in order after so many bytes.
    Ended(usize),
    Cut(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Cut(error)
    }
}

fn talk(target: &Target, length: u64) -> Result<(), Failed> {
    let stream = TcpStream::connect(target.address).map_err(Failed::Refused)?;
    let stream = peers::with_deadline(stream);
    match &target.config {
        None => {
            let mut stream = stream;
            exchange(&mut stream, length)?;
            stream.shutdown(Shutdown::Write)?;
            ends(&mut stream)
        }
        Some(config) => {
            let mut stream = tls::start_client(Arc::clone(config), stream)?;
            exchange(&mut stream, length)?;
            tls::end(&mut stream);
            ends(&mut stream)
        }
    }
}

/// Sends a pattern and reads it back.
fn exchange(stream: &mut (impl Read + Write), length: u64) -> Result<(), Failed> {
    let mut sent = vec![0; length as usize];
    peers::pattern(length, &mut sent);
    stream.write_all(&sent)?;
    stream.flush()?;
    let mut heard = vec![0; sent.len()];
    let mut have = 0;
    while have < heard.len() {
        match stream.read(&mut heard[have..]) {
            Ok(0) => return Err(Failed::Ended(have)),
            Ok(count) => have += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    match heard == sent {
        true => Ok(()),
        false => Err(Failed::Wrong("other bytes came back".into())),
    }
}

/// Nothing but the end comes.
fn ends(stream: &mut impl Read) -> Result<(), Failed> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Failed::Wrong("more came back than was sent".into())),
    }
}

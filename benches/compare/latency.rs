//! How long an echo takes, through proxies in turn. One thread and one poller for all connections:
//! the load generator's own part is the same for every proxy.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polling::{Event, Events, PollMode, Poller};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::crowd::Stage;
use super::figures::{Bar, Figure, judged, told};
use super::peers::Peer;
use super::pki::HOST;
use super::report::median;
use super::rows::ROWS;
use super::scale::Field;

/// Bytes of an echo.
const MESSAGE: usize = 64;
/// Messages before any is counted, for each connection.
const WARM: usize = 5;
/// Messages a second where the proxies are not kept busy, over all connections.
const PACE: f64 = 2000.0;
/// How long nothing may come back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(10);

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Each connection sends its next message when the last one is back.
    Busy,
    /// [`PACE`] messages a second, each connection in its turn.
    Calm,
}

/// A connection whose socket does not block.
struct Talker {
    socket: TcpStream,
    tls: ClientConnection,
    /// When the message that is under way was due.
    sent: Option<Instant>,
    received: usize,
}

impl Talker {
    fn connect(stage: &Stage) -> io::Result<Talker> {
        let mut socket = TcpStream::connect(stage.address())?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let mut tls =
            ClientConnection::new(Arc::clone(stage.tls()), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Talker {
            socket,
            tls,
            sent: None,
            received: 0,
        })
    }

    fn send(&mut self, due: Instant) -> io::Result<()> {
        self.sent = Some(due);
        self.tls.writer().write_all(&[b'm'; MESSAGE])?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Takes what is there; how long the message took, if it is back as a whole.
    fn receive(&mut self) -> io::Result<Option<Duration>> {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let mut buffer = [0; MESSAGE];
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let count = self.tls.reader().read(&mut buffer)?;
                self.received += count;
                left -= count;
            }
        }
        if self.received < MESSAGE {
            return Ok(None);
        }
        self.received -= MESSAGE;
        Ok(self.sent.take().map(|sent| sent.elapsed()))
    }
}

/// Connections through one proxy.
struct Crew {
    talkers: Vec<Talker>,
    poller: Poller,
}

impl Crew {
    fn gather(stage: &Stage, count: usize) -> io::Result<Crew> {
        let poller = Poller::new()?;
        let talkers = (0..count)
            .map(|_| Talker::connect(stage))
            .collect::<io::Result<Vec<_>>>()?;
        for (number, talker) in talkers.iter().enumerate() {
            let event = Event::readable(number);
            // SAFETY: a crew's poller and sockets are dropped together, and none before.
            unsafe { poller.add_with_mode(&talker.socket, event, PollMode::Level) }?;
        }
        Ok(Crew { talkers, poller })
    }

    /// Exchanges so many messages; each one's time.
    fn talk(&mut self, pace: Pace, messages: usize) -> io::Result<Vec<Duration>> {
        let start = Instant::now();
        let mut times = Vec::with_capacity(messages);
        let mut begun = 0;
        if pace == Pace::Busy {
            for talker in self.talkers.iter_mut().take(messages) {
                talker.send(Instant::now())?;
                begun += 1;
            }
        }
        let mut events = Events::new();
        while times.len() < messages {
            let mut timeout = ECHO_TIMEOUT;
            if pace == Pace::Calm && begun < messages {
                let due = start + Duration::from_secs_f64(begun as f64 / PACE);
                timeout = due.saturating_duration_since(Instant::now());
                let place = begun % self.talkers.len();
                if timeout.is_zero() && self.talkers[place].sent.is_none() {
                    self.talkers[place].send(due)?;
                    begun += 1;
                    continue;
                }
            }
            events.clear();
            let some = self.poller.wait(&mut events, Some(timeout))?;
            if some == 0 && timeout == ECHO_TIMEOUT {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "an echo does not come back",
                ));
            }
            for event in events.iter() {
                let talker = &mut self.talkers[event.key];
                if let Some(time) = talker.receive()? {
                    times.push(time);
                    if pace == Pace::Busy && begun < messages {
                        talker.send(Instant::now())?;
                        begun += 1;
                    }
                }
            }
        }
        Ok(times)
    }
}

/// The value that this part of the sorted values is below; NaN of nothing.
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = (part * sorted.len() as f64).ceil() as usize;
    let found = sorted.get(place.saturating_sub(1));
    found.copied().unwrap_or(f64::NAN)
}

/// Percentiles through each of `peers`, in turns; ratios are of the first.
///
/// # Errors
/// A proxy that does not do its work.
pub fn measure(field: &Field<'_>, peers: &[Peer]) -> io::Result<Vec<Figure>> {
    let peers: Vec<Peer> = peers.iter().copied().filter(|peer| peer.tls()).collect();
    let mut figures = Vec::new();
    for connections in [16, 500] {
        let mut stages = Vec::new();
        for peer in &peers {
            let dir = field
                .scratch
                .join(format!("latency-{}-{connections}", peer.name()));
            let stage = Stage::set(*peer, field.shape(), &ROWS[0], field.pki, &dir)?;
            let mut crew = Crew::gather(&stage, connections)?;
            crew.talk(Pace::Busy, connections * WARM)?;
            stages.push((stage, crew));
        }
        for (pace, name) in [(Pace::Calm, "calm"), (Pace::Busy, "busy")] {
            let messages = (20_000.0 * field.work) as usize;
            let mut samples = vec![[Vec::new(), Vec::new()]; peers.len()];
            for round in 0..field.rounds {
                let mut order: Vec<usize> = (0..peers.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for place in order {
                    let (stage, crew) = &mut stages[place];
                    let times = crew.talk(pace, messages.max(connections));
                    let times = times.map_err(|error| {
                        let peer = peers[place].name();
                        let what =
                            format!("an echo through {peer}, {connections} connections, {name}");
                        io::Error::other(stage.proxy.explain(&format!("{what}: {error}")))
                    })?;
                    let mut us: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1e6).collect();
                    us.sort_by(f64::total_cmp);
                    samples[place][0].push(percentile(&us, 0.50));
                    samples[place][1].push(percentile(&us, 0.99));
                }
            }
            for (number, share) in ["p50", "p99"].into_iter().enumerate() {
                for (place, peer) in peers.iter().enumerate() {
                    let values = &samples[place][number];
                    let what = format!(
                        "echo {share}, {connections} connections, {name}: {}",
                        peer.name()
                    );
                    figures.push(told(what, median(values).unwrap_or(f64::NAN), "us"));
                    if place > 0 {
                        let ratios = super::report::ratios(&samples[0][number], values);
                        let bar = match (share, peer) {
                            ("p99", Peer::Nginx) => Bar::AtMost(1.0),
                            _ => Bar::None,
                        };
                        let what = format!("... {} to it", peers[0].name());
                        figures.push(judged(what, median(&ratios).unwrap_or(f64::NAN), "", bar));
                    }
                }
            }
        }
    }
    Ok(figures)
}

//! How long a new connection takes to its first byte: directly, through adit, through the others. A
//! turn is some connections one after the other; all have a turn, in an order that changes, before any
//! has the next. Ratios are taken within a turn.
//!
//! Where one side's Nagle algorithm waits for an acknowledgement that the other side's TCP delays, that
//! is a stall of 40 ms, in a direct connection too.
//!
//! Direct is what a client has without any proxy: in server mode a web server's own TLS, by OpenSSL as most
//! servers have it, and in client mode a client that speaks TLS itself. The floor has the load generator on both
//! sides: in server mode with nothing between them, which is told and not judged; in client mode through a
//! relay of plain TCP, since a second connection takes a good part of the time on loopback, whatever is done
//! between the two.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::answerer::{Answerer, Manner};
use super::figures::{Bar, Figure, judged, told};
use super::latency::percentile;
use super::opening::Opening;
use super::peers::Peer;
use super::proxy::Proxy;
use super::report::{machine, median, ratios, table};
use super::rows::{Mode, ROWS, Row};
use super::scale::Field;
use super::wire;

/// Turns in a round, for a work factor of 1, and connections in a turn: few, so that what else the
/// machine does strikes all alike.
const TURNS: f64 = 16.0;
const EACH: usize = 5;
/// Connections of each before any is counted: enough for both workers to have had some.
const WARM: usize = 6;
/// How far a server with Nagle's algorithm is; see [`Manner::distance`].
const DISTANCE: Duration = Duration::from_millis(1);
/// A delayed acknowledgement takes 40 ms, a connection without one on loopback far less.
const STALL: f64 = 20.0;
/// Of connections that are to be resumed, this many must be: a peer that is the client may lose a session
/// to another of its workers now and then.
const RESUMED: f64 = 0.8;

/// A line of the report.
#[derive(Debug)]
struct Case {
    label: &'static str,
    /// Its row in the table of costs: mode, version, resumption.
    row: &'static str,
    /// Nagle's algorithm is on, at the TLS peer.
    nagle: bool,
    /// The client writes record by record.
    pieces: bool,
    /// The server speaks first.
    greets: bool,
}

/// Columns before the peers'.
const DIRECT: usize = 0;
const FLOOR: usize = 1;
/// The first peer, whose ratios are told.
const FIRST: usize = 2;

const fn case(label: &'static str, row: &'static str, nagle: bool) -> Case {
    Case {
        label,
        row,
        nagle,
        pieces: false,
        greets: false,
    }
}

const FULL_13: &str = "server-handshake-p256";
const RESUMED_13: &str = "server-resumed-tls13";
const RESUMED_12: &str = "server-resumed-tls12";
const CLIENT: &str = "client-resumed";

const CASES: [Case; 11] = [
    case("TLS 1.3 full", FULL_13, false),
    case("TLS 1.3 full, Nagle", FULL_13, true),
    Case {
        pieces: true,
        ..case("TLS 1.3 full, Nagle, in pieces", FULL_13, true)
    },
    case("TLS 1.3 resumed", RESUMED_13, false),
    case("TLS 1.3 resumed, Nagle", RESUMED_13, true),
    case("TLS 1.2 resumed", RESUMED_12, false),
    case("TLS 1.2 resumed, Nagle", RESUMED_12, true),
    case("client mode, request", CLIENT, false),
    case("client mode, request, Nagle", CLIENT, true),
    Case {
        greets: true,
        ..case("client mode, greeting", CLIENT, false)
    },
    Case {
        greets: true,
        ..case("client mode, greeting, Nagle", CLIENT, true)
    },
];

impl Case {
    fn row(&self) -> io::Result<&'static Row> {
        let found = ROWS.iter().find(|row| row.id == self.row);
        found.ok_or_else(|| io::Error::other(format!("no row {}", self.row)))
    }
}

/// What a contender did in a case, in milliseconds.
#[derive(Debug, Default)]
struct Times {
    /// Of every connection.
    all: Vec<f64>,
    /// The median of each turn.
    turns: Vec<f64>,
}

impl Times {
    fn add(&mut self, turn: Vec<f64>) {
        self.turns.push(median(&turn).unwrap_or(f64::NAN));
        self.all.extend(turn);
        self.all.sort_by(f64::total_cmp);
    }
}

/// A case, measured, by columns; `None` where one cannot.
#[derive(Debug)]
struct Line {
    case: &'static Case,
    times: Vec<Option<Times>>,
}

/// All that was measured.
#[derive(Debug)]
pub struct Report {
    peers: Vec<Peer>,
    lines: Vec<Line>,
}

/// A way to the server.
struct Way {
    name: &'static str,
    /// `None`: directly.
    proxy: Option<Proxy>,
    opening: Opening,
}

impl Way {
    fn explain(&self, case: &Case, error: &io::Error) -> io::Error {
        let what = format!("{}: {}: {error}", case.label, self.name);
        io::Error::other(match &self.proxy {
            Some(proxy) => proxy.explain(&what),
            None => what,
        })
    }

    fn turn(&self, case: &Case, count: usize) -> io::Result<Vec<f64>> {
        let once = |_| {
            self.opening
                .once()
                .map(|(time, _)| time.as_secs_f64() * 1e3)
        };
        let times: io::Result<Vec<f64>> = (0..count).map(once).collect();
        times.map_err(|error| self.explain(case, &error))
    }

    /// Some connections that do not count, the last of which must be of the right kind.
    fn warm(&self, case: &Case, server: &Answerer, resumed: bool) -> io::Result<()> {
        self.turn(case, WARM)?;
        server.take_shakes();
        let mut kinds = Vec::new();
        for _ in 0..WARM {
            let (_, kind) = self
                .opening
                .once()
                .map_err(|error| self.explain(case, &error))?;
            kinds.push(kind);
        }
        let seen = match self.opening.tls {
            Some(_) => kinds.iter().filter(|kind| **kind).count() as u64,
            None => server.take_shakes().1,
        };
        let right = match resumed {
            true => seen as f64 >= WARM as f64 * RESUMED,
            false => seen == 0,
        };
        match right {
            true => Ok(()),
            false => {
                let what = format!("{seen} of {WARM} handshakes were resumed");
                Err(self.explain(case, &io::Error::other(what)))
            }
        }
    }
}

/// Measures the cases of these rows through each of `peers` and directly; ratios are of the first peer. The
/// floor of client mode is [`Peer::Sockets`].
///
/// # Errors
/// A proxy that does not do its work.
pub fn measure(field: &Field<'_>, peers: &[Peer], rows: &[&'static Row]) -> io::Result<Report> {
    let relay = peers.contains(&Peer::Sockets);
    let peers: Vec<Peer> = peers.iter().copied().filter(|peer| peer.tls()).collect();
    let mut lines = Vec::new();
    let chosen = |case: &&Case| rows.iter().any(|row| row.id == case.row);
    for case in CASES.iter().filter(chosen) {
        eprintln!("{}", case.label);
        lines.push(Line {
            case,
            times: measure_one(field, &peers, relay, case)?,
        });
    }
    Ok(Report { peers, lines })
}

fn measure_one(
    field: &Field<'_>,
    peers: &[Peer],
    relay: bool,
    case: &'static Case,
) -> io::Result<Vec<Option<Times>>> {
    let row = case.row()?;
    let config = wire::server_with_tickets(row, field.pki)?;
    let encrypted = Answerer::start(Some(config))?;
    // The same server, where the proxy takes TLS off.
    let plain = Answerer::start(None)?;
    let far = case.nagle && row.mode == Mode::Client;
    let manner = Manner {
        nagle: far,
        greets: case.greets,
        distance: if far { DISTANCE } else { Duration::ZERO },
    };
    encrypted.behave(manner);
    plain.behave(manner);
    let through = |peer, behind: &Answerer| through(peer, field, case, row, behind.port());
    let rustls = directly("rustls", field, case, row, encrypted.port())?;
    let mut ways = match row.mode {
        Mode::Client => {
            let mut floor = relay
                .then(|| through(Peer::Sockets, &encrypted))
                .transpose()?;
            if let Some(floor) = &mut floor {
                floor.opening.tls.clone_from(&rustls.opening.tls);
            }
            vec![Some(rustls), floor]
        }
        Mode::Server => {
            let has_nginx = peers.contains(&Peer::Nginx);
            let web_server = has_nginx.then(|| through(Peer::WebServer, &plain));
            vec![web_server.transpose()?, Some(rustls)]
        }
    };
    let behind = match row.mode {
        Mode::Server => &plain,
        Mode::Client => &encrypted,
    };
    for peer in peers {
        let way = peer.can(row).then(|| through(*peer, behind));
        ways.push(way.transpose()?);
    }
    for way in ways.iter().flatten() {
        way.warm(case, &encrypted, row.resumed)?;
    }
    in_turns(field, case, &ways)
}

fn directly(
    name: &'static str,
    field: &Field<'_>,
    case: &Case,
    row: &Row,
    port: u16,
) -> io::Result<Way> {
    Ok(Way {
        name,
        proxy: None,
        opening: Opening {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            tls: Some(wire::client_config(row, field.pki)?),
            nagle: case.nagle && row.mode == Mode::Server,
            pieces: case.pieces,
            greeted: case.greets,
        },
    })
}

fn through(
    peer: Peer,
    field: &Field<'_>,
    case: &Case,
    row: &'static Row,
    port: u16,
) -> io::Result<Way> {
    let dir = field.scratch.join(format!("first-byte-{}", peer.name()));
    std::fs::create_dir_all(&dir)?;
    let proxy = Proxy::shaped(field.shape(), peer, &dir, field.pki, row, port)?;
    let mut way = directly(peer.name(), field, case, row, proxy.address().port())?;
    way.opening.tls = way.opening.tls.filter(|_| row.mode == Mode::Server);
    way.proxy = Some(proxy);
    Ok(way)
}

fn in_turns(
    field: &Field<'_>,
    case: &Case,
    ways: &[Option<Way>],
) -> io::Result<Vec<Option<Times>>> {
    let turns = ((TURNS * field.work) as usize).max(2);
    let mut times: Vec<Option<Times>> = ways
        .iter()
        .map(|way| way.as_ref().map(|_| Times::default()))
        .collect();
    for turn in 0..field.rounds * turns {
        let mut order: Vec<usize> = (0..ways.len()).collect();
        order.rotate_left(turn / 2 % ways.len());
        if turn % 2 == 1 {
            order.reverse();
        }
        for place in order {
            if let (Some(way), Some(times)) = (&ways[place], &mut times[place]) {
                times.add(way.turn(case, EACH)?);
            }
        }
    }
    Ok(times)
}

impl Line {
    fn percentile(&self, place: usize, part: f64) -> Option<f64> {
        self.times[place]
            .as_ref()
            .map(|times| percentile(&times.all, part))
    }

    /// The first peer's time as a part of another's, and the bar it is held against.
    fn ratio(&self, place: usize) -> Option<(f64, Bar)> {
        let (first, other) = (self.times[FIRST].as_ref()?, self.times[place].as_ref()?);
        let ratio = median(&ratios(&first.turns, &other.turns))?;
        let direct = self
            .percentile(DIRECT, 0.50)
            .or(self.percentile(FLOOR, 0.50));
        let bar = match (place, direct? > STALL) {
            (DIRECT, false) if self.case.row != CLIENT => Bar::AtMost(1.25),
            (FLOOR, false) if self.case.row == CLIENT => Bar::AtMost(1.25),
            (DIRECT | FLOOR, _) => Bar::None,
            (_, false) => Bar::AtMost(1.0),
            (_, true) => Bar::AtMost(0.05),
        };
        Some((ratio, bar))
    }
}

impl Report {
    /// The columns' names.
    fn names(&self) -> Vec<&'static str> {
        let peers = self.peers.iter().map(|peer| peer.name());
        ["direct", "floor"].into_iter().chain(peers).collect()
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        (0..FIRST + self.peers.len()).filter(|place| *place != FIRST)
    }

    fn times(&self, part: f64) -> String {
        let head = std::iter::once("first byte, ms").chain(self.names());
        let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        for line in &self.lines {
            let cell = |place| {
                let value = line.percentile(place, part);
                value.map_or("-".to_owned(), |value| format!("{value:.2}"))
            };
            let label = std::iter::once(line.case.label.to_owned());
            rows.push(label.chain((0..line.times.len()).map(cell)).collect());
        }
        table(&rows)
    }

    fn comparison(&self) -> String {
        let names = self.names();
        let head = std::iter::once("first byte").chain(self.others().map(|place| names[place]));
        let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        for line in &self.lines {
            let cell = |place| match line.ratio(place) {
                None => "-".to_owned(),
                Some((ratio, bar)) => {
                    let missed = judged("", ratio, "", bar).met() == Some(false);
                    let digits = if ratio < 0.1 { 3 } else { 2 };
                    format!("{ratio:.digits$}{}", if missed { " missed" } else { "" })
                }
            };
            let label = std::iter::once(line.case.label.to_owned());
            rows.push(label.chain(self.others().map(cell)).collect());
        }
        table(&rows)
    }

    /// For people, as Markdown.
    pub fn text(&self) -> String {
        let mut text = format!("A new connection's first byte, {}\n", machine());
        for (name, part) in [("Medians", 0.50), ("99 of 100 are below", 0.99)] {
            let _ = write!(text, "\n{name}:\n\n{}", self.times(part));
        }
        if let Some(first) = self.peers.first() {
            let _ = write!(
                text,
                "\nRatios, medians of each turn's {} / other. Bars: 1.25 of a web server, or in client mode of the \
                 floor; below every peer, and 0.05 of each where a direct connection stalls.\n\n{}",
                first.name(),
                self.comparison()
            );
        }
        text
    }

    /// For programs.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for line in &self.lines {
            let label = line.case.label;
            for (place, name) in self.names().into_iter().enumerate() {
                for (share, part) in [("p50", 0.50), ("p99", 0.99)] {
                    let value = line.percentile(place, part);
                    let figure = |value| told(format!("{label}: {name}, {share}"), value, "ms");
                    figures.extend(value.map(figure));
                }
                if place != FIRST
                    && let Some((ratio, bar)) = line.ratio(place)
                {
                    let what = format!("{label}: {} to {name}", self.names()[FIRST]);
                    figures.push(judged(what, ratio, "", bar));
                }
            }
        }
        figures
    }
}
